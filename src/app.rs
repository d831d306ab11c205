//! Composition root: wires the layers together, runs a command and drains it.

use std::process::ExitCode;

/// Parses the process's arguments, runs the command they name and returns its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
