//! Guests that read files of their container: many small ones, and a large one in blocks.

use std::process::Command;

use crate::programs::{Programs, WASMTIME, guest, native, printed};
use crate::report::{Report, Sample, Value, medians};

const SAMPLES: usize = 5;

/// What `bench-files` prints.
const NAMES: [&str; 2] = ["open-read-close-ns", "bytes-per-second"];

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let directory = programs.directory().join("files");
    std::fs::create_dir_all(&directory)?;
    for (level, shown) in [("p1", "0.1"), ("p2", "0.2")] {
        let program = guest(level, "bench-files");
        let mut husk = programs.husk();
        husk.arg("run").arg(&program).args(["--", "/"]);
        let native = native(["files".as_ref(), directory.as_os_str()])?;
        let wasmtime = programs.wasmtime().map(|mut command| {
            command.args(["run", "--dir", "files::/"]).arg(&program).arg("/");
            command
        });
        for (name, peer) in [("native", Some(native)), (WASMTIME, wasmtime)] {
            compare(report, shown, &mut husk, name, peer)?;
        }
    }
    Ok(())
}

fn compare(
    report: &mut Report,
    level: &str,
    husk: &mut Command,
    name: &str,
    mut peer: Option<Command>,
) -> anyhow::Result<()> {
    let mut peer = peer.as_mut().map(|command| || printed(command, NAMES));
    let peer = peer.as_mut().map(|peer| peer as Sample<'_, 2>);
    let ([open, rate], peer) = medians(SAMPLES, &mut || printed(husk, NAMES), peer)?;
    let what = format!("files: open, read 1 KiB, close, WASI {level}");
    report.add(&what, Value::nanos(open), (name, peer.map(|[open, _]| Value::nanos(open))), None);
    let what = format!("files: reading 4 KiB blocks, WASI {level}");
    report.add(&what, Value::Rate(rate), (name, peer.map(|[_, rate]| Value::Rate(rate))), None);
    Ok(())
}
