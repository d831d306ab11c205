//! `husk stop`: what can be typed.

use std::time::Duration;

use clap::Args;

use super::run::parse_duration;

/// Arguments of `husk stop`.
#[derive(Debug, Args)]
#[command(after_help = "It is no error if no server runs.")]
pub struct StopArgs {
    /// How long the server may take to end before it is killed, such as 90s or 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    pub timeout: Duration,
}
