//! Sleeps until a signal ends it: the image `pause`.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use husk_process::{Signal, SignalSet, open_signals};

fn main() -> ExitCode {
    let signals = SignalSet::EMPTY | Signal::INT | Signal::TERM;
    let mut number = [0; 4];
    match open_signals(signals).and_then(|descriptor| File::from(descriptor).read_exact(&mut number)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pause: {error}");
            ExitCode::FAILURE
        }
    }
}
