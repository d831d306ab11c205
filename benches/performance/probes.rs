//! A node full of pods, each with a readiness probe every second: what the probes cost, and what answers them with them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;
use husk::base::id::PodUid;
use husk::image::ImageStore;
use husk::node::PodHandle;
use husk::runtime::ContainerRuntime;
use husk::runtime::fake::{FakeRuntime, Script};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use crate::nodes::{BareCluster, load, node, wasm};
use crate::programs::{Programs, guest};
use crate::report::{Aim, Report, Value};

/// A node full of pods.
const PODS: usize = 10_000;
/// As many guests as a process can have memory maps for, with some to spare.
const GUESTS: usize = 5_000;
/// 15 % of one core.
const AIM: Aim = Aim::TimeAtMost(Duration::from_millis(150));
/// How long the probes are watched, in seconds.
const SECONDS: u32 = 10;
/// How long all pods may take to become ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// Chunks of output that may wait; the guests print nothing.
const LOG_QUEUE: usize = 16;

/// What all pods have: a container that accepts connections, probed every second.
const SPEC: &str =
    "containers: [{name: c, image: localhost/bench-listen, readinessProbe: {periodSeconds: 1, tcpSocket: {port: 80}}}]";

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listening = FakeRuntime::new();
    listening.script("c", Script::runs_forever().listens(80));
    let mut row = |what: &str, pods: usize, containers: Arc<dyn ContainerRuntime>, aim: Option<Aim>| {
        let seconds = tokio.block_on(probing(programs, pods, containers))?;
        report.add_alone(&format!("CPU time for {pods} pods probed every second{what}"), Value::seconds(seconds), aim);
        anyhow::Ok(())
    };
    row("", PODS, Arc::new(listening), Some(AIM))?;
    // What guests do with their connections is their own, and most of it.
    row(", a guest in each that accepts", GUESTS, wasm(programs)?, None)?;
    // Thousands of guests take longer to take apart than the process to end.
    std::mem::forget(tokio);
    Ok(())
}

/// Seconds of CPU time that so many pods take in one second.
async fn probing(programs: &Programs, count: usize, containers: Arc<dyn ContainerRuntime>) -> anyhow::Result<f64> {
    let images = ImageStore::open(&programs.directory().join("probe-images"), false)?;
    images.add_transient("localhost/bench-listen:latest", &guest("p2", "bench-listen"))?;
    let (logs, _printed) = mpsc::channel(LOG_QUEUE);
    let cluster = Arc::<BareCluster>::default();
    let node = node(programs, containers, images, logs, Arc::clone(&cluster) as _)?;
    let template = load(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{{SPEC}}}}}"))?;
    let mut pods: Vec<PodHandle> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut pod = template.clone();
        pod.metadata.uid = Some(PodUid::random().to_string());
        pods.push(node.run_pod(Arc::new(pod), Vec::new()));
        tokio::task::yield_now().await;
    }
    let all_ready = async {
        while cluster.ready.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all_ready).await.is_err() {
        bail!("only {} of {count} pods became ready", cluster.ready.load(Ordering::Relaxed));
    }
    let before = cpu_time();
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let taken = (cpu_time() - before) / f64::from(SECONDS);
    drop((pods, node));
    Ok(taken)
}

/// CPU time this process has taken, in seconds.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
