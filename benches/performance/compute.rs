//! Guests that compute and never call the host. husk's can be interrupted at any loop and call, `wasmtime run`'s
//! cannot.

use crate::programs::{Programs, WASMTIME, guest, printed};
use crate::report::{Aim, Report, Sample, Value, medians};

const SAMPLES: usize = 5;

/// The workloads of `bench-compute`, and how each is called in the table.
const WORKLOADS: [(&str, &str); 3] = [
    ("arithmetic", "computing: arithmetic in a loop"),
    ("sieve", "computing: a sieve, loops over memory"),
    ("calls", "computing: recursive calls"),
];

/// Within five percent of `wasmtime run`.
const AIM: Aim = Aim::RatioAtMost(1.05);

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let program = guest("p1", "bench-compute");
    for (workload, what) in WORKLOADS {
        let mut husk = programs.husk();
        husk.arg("run").arg(&program).args(["--", workload]);
        let mut wasmtime = programs.wasmtime();
        let mut peer = wasmtime.as_mut().map(|command| {
            command.arg("run").arg(&program).arg(workload);
            || printed(command, ["elapsed-ns"])
        });
        let peer = peer.as_mut().map(|peer| peer as Sample<'_, 1>);
        let ([husk], peer) = medians(SAMPLES, &mut || printed(&mut husk, ["elapsed-ns"]), peer)?;
        report.add(what, Value::nanos(husk), (WASMTIME, peer.map(|[peer]| Value::nanos(peer))), Some(AIM));
    }
    Ok(())
}
