//! `cargo bench`: how fast and how large husk is, next to its peers in the same run, as the table that
//! `docs/performance.md` shows. `cargo bench -- start network` measures only these groups.
//!
//! Peers are `wasmtime run` of the same program, found on `PATH`, native programs doing the same (this one, executed again,
//! and nginx), and for native containers `crun` and podman. `report` has medians and the table, `programs` runs other programs, the rest is one file per group.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the product; progress goes beside it")]

mod compute;
mod exec;
mod files;
mod images;
#[cfg(target_os = "linux")]
mod native;
mod network;
mod nodes;
mod plan;
mod pod_start;
mod probes;
mod programs;
/// Registries, as the tests have them.
#[path = "../../src/image/tests/registry.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "it is for tests, which use more of it")]
mod registry;
mod report;
mod serve;
mod size;
mod start;
mod web;
#[expect(unreachable_pub, reason = "it is a library, for guests")]
#[path = "../../wasm-apps/bench/src/lib.rs"]
mod workload;

use anyhow::{Context, bail};

use crate::programs::Programs;
use crate::report::Report;

/// Measures a group and adds its rows.
type Measure = fn(&Programs, &mut Report) -> anyhow::Result<()>;

/// The groups, in the order of the table.
const GROUPS: &[(&str, Measure)] = &[
    ("start", start::measure),
    ("pod-start", pod_start::measure),
    ("exec", exec::measure),
    ("plan", plan::measure),
    ("probes", probes::measure),
    ("network", network::measure),
    #[cfg(target_os = "linux")]
    ("native", native::measure),
    ("web", web::measure),
    ("compute", compute::measure),
    ("files", files::measure),
    ("images", images::measure),
    ("serve", serve::measure),
    ("size", size::measure),
];

/// The first argument of this program when it is a native peer.
const PEER: &str = "--native-peer";

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((PEER, args)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return native_peer(args);
    }
    // Cargo adds `--bench`.
    let wanted: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|name| GROUPS.iter().all(|(known, _)| known != *name)) {
        let known: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
        bail!("no group is called {unknown:?}: there are {}", known.join(", "));
    }
    let programs = Programs::find()?;
    let mut report = Report::default();
    for (name, measure) in GROUPS {
        if wanted.is_empty() || wanted.contains(name) {
            eprintln!("measuring {name} …");
            measure(&programs, &mut report).with_context(|| format!("measuring {name} failed"))?;
        }
    }
    println!("{}\n\n{}", programs.describe(), report.table());
    Ok(())
}

/// Does natively what the guests in `wasm-apps/bench` do.
fn native_peer(args: &[String]) -> anyhow::Result<()> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => workload::network::serve(address.parse()?)?,
        ["request", address] => workload::network::request(address.parse()?)?,
        ["files", directory] => workload::files::run(directory.as_ref())?,
        #[cfg(target_os = "linux")]
        ["time", ref argv @ ..] => native::time(argv)?,
        ["compute", name] => workload::compute::run(name),
        _ => bail!("unknown native peer {args:?}"),
    }
    Ok(())
}
