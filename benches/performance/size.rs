//! The size of the program, as built.

use std::path::Path;
use std::process::Command;

use crate::programs::{Programs, output};
use crate::report::{Report, Value};

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let husk = Path::new(env!("CARGO_BIN_EXE_husk"));
    report.add_alone("size of the program", Value::Size(std::fs::metadata(husk)?.len()), None);
    let stripped = programs.directory().join("husk-stripped");
    // Without binutils there is no such row.
    if output(Command::new("strip").arg("-o").arg(&stripped).arg(husk)).is_ok() {
        report.add_alone("size of the program without symbols", Value::Size(std::fs::metadata(stripped)?.len()), None);
    }
    Ok(())
}
