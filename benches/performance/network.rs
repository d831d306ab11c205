//! Two containers of a pod that talk over localhost, next to two native processes that do so over the kernel's.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::programs::{Programs, finished, guest, native, numbers, output, pod, start};
use crate::report::{Aim, Report, Value, medians};

const SAMPLES: usize = 5;

const IMAGE: &str = "bench/network";

/// Where the server listens in its pod.
const ADDRESS: &str = "127.0.0.1:8080";

/// What the two ends print.
const NAMES: [&str; 2] = ["round-trip-ns", "bytes-per-second"];

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    programs.import(&guest("p2", "bench-network"), IMAGE)?;
    let containers: [(&str, &str, &[&str]); 2] =
        [("server", IMAGE, &["serve", ADDRESS]), ("client", IMAGE, &["request", ADDRESS])];
    let yaml = programs.write("network.yaml", &pod(&containers))?;
    let mut husk = || numbers(&output(programs.husk().args(["run", "--no-prefix"]).arg(&yaml))?, NAMES);
    let ([trip, rate], peer) = medians(SAMPLES, &mut husk, Some(&mut native_pair))?;
    let name = "native, kernel loopback";
    let peer_trip = peer.map(|[trip, _]| Value::nanos(trip));
    let what = "pod localhost: round trip of 64 bytes";
    report.add(what, Value::nanos(trip), (name, peer_trip), Some(Aim::RatioAtMost(0.5)));
    let peer_rate = peer.map(|[_, rate]| Value::Rate(rate));
    let what = "pod localhost: throughput";
    report.add(what, Value::Rate(rate), (name, peer_rate), Some(Aim::RatioAtLeast(1.0)));
    Ok(())
}

pub(crate) fn native_pair() -> anyhow::Result<[f64; 2]> {
    let address = free_address()?.to_string();
    let mut server = native(["serve", &address])?;
    let serving = start(&mut server)?;
    let client = output(&mut native(["request", &address])?)?;
    numbers(&(client + &finished(serving, &server)?), NAMES)
}

/// An address nobody listens on just now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
