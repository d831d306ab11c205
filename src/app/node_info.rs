//! `husk node info`: what this machine can run, and what to do about what it cannot.

use std::io::Write;

use crate::cli::node::NodeCommand;
use crate::cli::output::table;

/// Runs the command.
pub(super) fn run(command: NodeCommand) -> anyhow::Result<u8> {
    let NodeCommand::Info = command;
    let mut rows = vec![row("WebAssembly containers", "yes", String::new())];
    let native = native(&mut rows)?;
    rows.insert(1, row("Linux containers", if native { "yes" } else { "no" }, std::env::consts::ARCH.to_owned()));
    write!(std::io::stdout(), "{}", table::render(&["WHAT", "WORKS", "MORE"], &rows))?;
    Ok(0)
}

fn row(what: &str, works: &str, more: String) -> Vec<String> {
    vec![what.to_owned(), works.to_owned(), more]
}

/// What native containers need, a row each. Whether they can be run.
#[cfg(target_os = "linux")]
fn native(rows: &mut Vec<Vec<String>>) -> anyhow::Result<bool> {
    use crate::runtime::linux::{OWN_PROGRAM, Outcome, Support};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let support = runtime.block_on(Support::find_out(OWN_PROGRAM.as_ref()));
    rows.extend(support.checks.iter().map(|check| match &check.outcome {
        Outcome::Works(how) => row(&check.what, "yes", how.clone()),
        Outcome::Limited { why, remedy } => row(&check.what, "in part", format!("{why}; {remedy}")),
        Outcome::Fails { why, remedy } => row(&check.what, "no", format!("{why}; {remedy}")),
    }));
    Ok(support.can_run())
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
fn native(_rows: &mut Vec<Vec<String>>) -> anyhow::Result<bool> {
    Ok(false)
}
