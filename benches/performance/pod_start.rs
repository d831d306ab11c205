//! Pods in a process that runs already, as a long-lived node has them: from handing the pod to the node until the first
//! line of the guest's `main`, by the machine's clock on both sides.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use husk::base::clock::Timestamp;
use husk::base::id::PodUid;
use husk::image::ImageStore;
use husk::node::LogChunk;
use tokio::sync::mpsc;

use crate::nodes::{BareCluster, load, node, wasm};
use crate::programs::{Programs, guest, numbers, pod};
use crate::report::{Aim, Report, Value, quantile};

/// Pods started one after the other; the first few are not counted.
const PODS: usize = 500;
const WARM_UP: usize = 20;

/// Chunks of output that may wait.
const LOG_QUEUE: usize = 16;

const AIM: Aim = Aim::TimeAtMost(Duration::from_millis(1));

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (level, shown) in [("p1", "0.1"), ("p2", "0.2")] {
        let mut starts = runtime.block_on(starts(programs, level))?;
        for (at, aim) in [(0.5, Some(AIM)), (0.99, None)] {
            let what = format!("pod start to guest's main, in process, p{:.0}, WASI {shown}", at * 100.0);
            report.add_alone(&what, Value::seconds(quantile(&mut starts, at)), aim);
        }
    }
    Ok(())
}

/// Seconds each pod took to start.
async fn starts(programs: &Programs, level: &str) -> anyhow::Result<Vec<f64>> {
    let image = format!("localhost/bench-start-{level}:latest");
    let images = ImageStore::open(&programs.directory().join("node-images"), false)?;
    images.add_transient(&image, &guest(level, "bench-start"))?;
    let (logs, mut printed) = mpsc::channel(LOG_QUEUE);
    let node = node(programs, wasm(programs)?, images, logs, Arc::<BareCluster>::default())?;
    let template = load(&pod(&[("c", &image, &[])]))?;
    let mut seconds = Vec::with_capacity(PODS);
    for _ in 0..PODS {
        let mut pod = template.clone();
        pod.metadata.uid = Some(PodUid::random().to_string());
        let begun = Timestamp::now();
        let handle = node.run_pod(Arc::new(pod), Vec::new());
        let started = started(&mut printed).await?;
        seconds.push((started - begun.as_nanosecond() as f64) / 1e9);
        handle.finished().await;
    }
    Ok(seconds.split_off(WARM_UP))
}

/// The time the guest prints, read to the end of its output.
async fn started(printed: &mut mpsc::Receiver<LogChunk>) -> anyhow::Result<f64> {
    let mut text = Vec::new();
    loop {
        let chunk = printed.recv().await.context("the node is gone")?;
        if chunk.stream.is_none() {
            break;
        }
        text.extend_from_slice(&chunk.bytes);
    }
    let [started] = numbers(&String::from_utf8_lossy(&text), ["started-ns"])?;
    Ok(started)
}
