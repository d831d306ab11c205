//! `husk node`.

use clap::Subcommand;

/// What to ask of this machine.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum NodeCommand {
    /// Show what this machine can run, and what to do about what it cannot
    Info,
}
