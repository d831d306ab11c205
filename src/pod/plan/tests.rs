//! Whole lives of pods, rule by rule; § refers to the pod semantics.

mod found;
mod living;
mod restoring;
mod seeded;
mod sim;
mod starting;
mod stopping;
mod tables;
mod whole;

use sim::Program;

fn ends(after: f64, code: i32) -> Program {
    Program::Ends { after, code }
}

fn serves() -> Program {
    Program::Serves { stops_after: 0.0, code: 0 }
}
