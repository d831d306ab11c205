//! Whole processes from start to end, with a program that prints one line: with nothing compiled yet, and with compiled
//! code in the cache. Both programs' caches are their own.

use std::path::Path;
use std::process::Command;

use crate::programs::{Programs, WASMTIME, guest, pod, seconds};
use crate::report::{Aim, Report, Sample, Value, medians};

/// Samples with an empty cache, and with a full one.
const COLD_SAMPLES: usize = 9;
const WARM_SAMPLES: usize = 101;

/// What a start with a full cache should take of `wasmtime run`.
const WARM_AIM: Aim = Aim::RatioAtMost(1.5);

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    for (level, shown) in [("p1", "0.1"), ("p2", "0.2")] {
        let hello = guest(level, "hello");
        let image = format!("bench/hello-{level}");
        programs.import(&hello, &image)?;
        let yaml = programs.write(&format!("hello-{level}.yaml"), &pod(&[("c", &image, &[])]))?;
        for (input, how) in [(&hello, "`husk run hello.wasm`"), (&yaml, "a pod of one container")] {
            cold(programs, report, &format!("start with an empty cache: {how}, WASI {shown}"), input, &hello)?;
            warm(programs, report, &format!("start with a warm cache: {how}, WASI {shown}"), input, &hello)?;
        }
    }
    let busybox = guest("builtin", "busybox");
    let yaml = programs.write("busybox.yaml", &pod(&[("c", "busybox", &["true"])]))?;
    cold(programs, report, "start with an empty cache: a busybox pod", &yaml, &busybox)?;
    let shell = guest("builtin", "sh");
    let yaml = programs.write("shell.yaml", &pod(&[("c", "busybox", &["sh", "-c", "echo hi"])]))?;
    cold(programs, report, "start with an empty cache: `sh -c 'echo hi'`", &yaml, &shell)
}

fn cold(programs: &Programs, report: &mut Report, what: &str, input: &Path, program: &Path) -> anyhow::Result<()> {
    let mut husk = || {
        let cache = tempfile::tempdir_in(programs.directory())?;
        seconds(programs.husk_with_cache(cache.path()).arg("run").arg(input))
    };
    let wasmtime = programs.wasmtime().map(|mut command| {
        command.args(["run", "-C", "cache=n"]).arg(program).arg("true");
        command
    });
    compare(report, what, COLD_SAMPLES, &mut husk, wasmtime, None)
}

fn warm(programs: &Programs, report: &mut Report, what: &str, input: &Path, program: &Path) -> anyhow::Result<()> {
    let mut husk = programs.husk();
    husk.arg("run").arg(input);
    seconds(&mut husk)?;
    let mut wasmtime = programs.wasmtime();
    if let Some(wasmtime) = &mut wasmtime {
        wasmtime.args(["run", "-C", "cache=y"]).arg(program);
        seconds(wasmtime)?;
    }
    compare(report, what, WARM_SAMPLES, &mut || seconds(&mut husk), wasmtime, Some(WARM_AIM))
}

fn compare(
    report: &mut Report,
    what: &str,
    samples: usize,
    husk: Sample<'_, 1>,
    mut wasmtime: Option<Command>,
    aim: Option<Aim>,
) -> anyhow::Result<()> {
    let mut peer = wasmtime.as_mut().map(|command| || seconds(command));
    let ([husk], peer) = medians(samples, husk, peer.as_mut().map(|peer| peer as Sample<'_, 1>))?;
    report.add(what, Value::seconds(husk), (WASMTIME, peer.map(|[peer]| Value::seconds(peer))), aim);
    Ok(())
}
