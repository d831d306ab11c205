//! A node full of pods, each with a readiness probe every second: what the probes cost. Every pod has a guest of its own
//! that answers them, and what that costs counts too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::bail;
use husk::base::id::PodUid;
use husk::image::ImageStore;
use husk::node::PodHandle;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use crate::nodes::{BareCluster, load, node};
use crate::programs::{Programs, guest};
use crate::report::{Aim, Report, Value};

const PODS: usize = 10_000;
/// How long the probes are watched, in seconds.
const SECONDS: u32 = 10;
/// How long all pods may take to become ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// Chunks of output that may wait; the guests print nothing.
const LOG_QUEUE: usize = 16;

/// 15 % of one core.
const AIM: Aim = Aim::TimeAtMost(Duration::from_millis(150));

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seconds = runtime.block_on(probing(programs, "tcpSocket: {port: 80}"))?;
    report.add_alone("CPU time of 10,000 tcpSocket probes, one of each pod", Value::seconds(seconds), Some(AIM));
    // Ten thousand guests take longer to take apart than the process to end.
    std::mem::forget(runtime);
    Ok(())
}

/// Seconds of CPU time that all pods take in one second.
async fn probing(programs: &Programs, handler: &str) -> anyhow::Result<f64> {
    let image = "localhost/bench-listen:latest";
    let images = ImageStore::open(&programs.directory().join("probe-images"), false)?;
    images.add_transient(image, &guest("p2", "bench-listen"))?;
    let (logs, _printed) = mpsc::channel(LOG_QUEUE);
    let cluster = Arc::<BareCluster>::default();
    let node = node(programs, images, logs, Arc::clone(&cluster) as _)?;
    let spec = format!("containers: [{{name: c, image: {image}, readinessProbe: {{periodSeconds: 1, {handler}}}}}]");
    let template = load(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{{spec}}}}}"))?;
    let mut pods: Vec<PodHandle> = Vec::with_capacity(PODS);
    for _ in 0..PODS {
        let mut pod = template.clone();
        pod.metadata.uid = Some(PodUid::random().to_string());
        pods.push(node.run_pod(Arc::new(pod), Vec::new()));
        tokio::task::yield_now().await;
    }
    let all_ready = async {
        while cluster.ready.load(Ordering::Relaxed) < PODS {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, all_ready).await.is_err() {
        bail!("only {} of {PODS} pods became ready", cluster.ready.load(Ordering::Relaxed));
    }
    let before = cpu_time();
    tokio::time::sleep(Duration::from_secs(SECONDS.into())).await;
    let taken = (cpu_time() - before) / f64::from(SECONDS);
    std::mem::forget((pods, node));
    Ok(taken)
}

/// CPU time this process has taken, in seconds.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
