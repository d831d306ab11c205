//! Programs executed in a container that runs, and programs its shell starts: a probe's cost, and a script line's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use husk::base::id::PodUid;
use husk::base::pipe;
use husk::image::ImageStore;
use husk::node::{LogChunk, PodHandle};
use husk::runtime::ExecRequest;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::nodes::{BareCluster, load, node, wasm};
use crate::programs::{Programs, pod};
use crate::report::{Aim, Report, Value, quantile};

/// Programs executed one after the other; the first few are not counted.
const EXECUTIONS: usize = 300;
const WARM_UP: usize = 20;

/// Programs the shell starts in one script.
const SPAWNED: usize = 300;

/// Chunks of output that may wait.
const LOG_QUEUE: usize = 16;

/// What `true` takes at most, from start to end.
const TRUE_AIM: Aim = Aim::TimeAtMost(Duration::from_millis(1));

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let images = ImageStore::open(&programs.directory().join("exec-images"), true)?;
        let (logs, mut printed) = mpsc::channel::<LogChunk>(LOG_QUEUE);
        let node = node(programs, wasm(programs)?, images, logs, Arc::<BareCluster>::default())?;
        let mut pod = load(&pod(&[("c", "busybox", &["sh", "-c", "echo up; exec sleep 3600"])]))?;
        pod.metadata.uid = Some(PodUid::random().to_string());
        let handle = node.run_pod(Arc::new(pod), Vec::new());
        printed.recv().await.context("the container does not print")?;
        for (what, argv, aim) in [
            ("exec of `true` in a running container", vec!["true"], Some(TRUE_AIM)),
            ("exec of `sh -c true`", vec!["sh", "-c", "true"], None),
        ] {
            let mut seconds = Vec::with_capacity(EXECUTIONS);
            for _ in 0..EXECUTIONS + WARM_UP {
                seconds.push(execute(&handle, &argv).await?);
            }
            let mut seconds = seconds.split_off(WARM_UP);
            report.add_alone(&format!("{what}, p50"), Value::seconds(quantile(&mut seconds, 0.5)), aim);
        }
        let script = format!("i=0; while [ $i -lt {SPAWNED} ]; do /bin/true; i=$((i+1)); done");
        execute(&handle, &["sh", "-c", &script]).await?;
        let spawned = execute(&handle, &["sh", "-c", &script]).await? / SPAWNED as f64;
        report.add_alone("a shell script's `/bin/true`, each", Value::seconds(spawned), Some(TRUE_AIM));
        Ok(())
    })
}

/// Runs a program in the container to its end; how many seconds that took.
async fn execute(handle: &PodHandle, argv: &[&str]) -> anyhow::Result<f64> {
    let (stdout, _printed) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let request = ExecRequest { argv, stdin: None, stdout: stdout.clone(), stderr: stdout, tty: false };
    let begun = Instant::now();
    let status = handle.access().exec("c", request).await?.wait().await;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(status.code == 0, "the program failed: {status:?}");
    Ok(seconds)
}
