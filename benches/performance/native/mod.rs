//! Native containers, next to `crun` and podman doing the same: starts, ends, executed programs, localhost.
//!
//! What is measured is the runtime itself, as the node uses it: there is no image store and no manifest in the way. Pods
//! of both kinds of containers are `husk run`'s. Where
//! native containers cannot be run, or there is no root for the peers, the rows are missing, and a line says why.

mod mixed;
mod peers;
mod pods;

use anyhow::ensure;
use husk::runtime::Container;
use tokio::time::Instant;

pub(crate) use self::peers::time;
use self::peers::{Crun, Podman};
use self::pods::{Keeper, ends_well};
use crate::programs::{Programs, numbers};
use crate::report::{Aim, Report, Value, quantile};

/// Samples of each measure; the first few are not counted.
const SAMPLES: usize = 60;
const WARM_UP: usize = 5;

/// podman takes so much longer that fewer have to do.
const PODMAN_SAMPLES: usize = 7;

/// Beside `crun`, and beside podman.
const NEXT_TO_CRUN: Aim = Aim::RatioAtMost(1.2);
const NEXT_TO_PODMAN: Aim = Aim::RatioAtMost(0.2);

/// What the two ends of a connection print.
const NAMES: [&str; 2] = ["round-trip-ns", "bytes-per-second"];
const ADDRESS: &str = "127.0.0.1:8080";

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("native containers are not measured: that takes root, for its peers");
        return Ok(());
    }
    let layer = pods::busybox(programs.directory())?;
    let crun = Crun::find(programs.directory(), &layer)?;
    let podman = Podman::find(programs.directory(), &layer)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let keeper = Keeper::new(programs.directory(), layer.clone())?;
    runtime.block_on(async {
        starts(&keeper, crun.as_ref(), podman.as_ref(), report).await?;
        executions(&keeper, crun.as_ref(), podman.as_ref(), report).await?;
        localhost(&keeper, report).await
    })?;
    mixed::measure(programs, &layer, report)
}

/// The median, without those taken to warm up.
fn median(mut samples: Vec<f64>) -> f64 {
    let mut counted = samples.split_off(WARM_UP.min(samples.len() - 1));
    quantile(&mut counted, 0.5)
}

fn show(seconds: Vec<f64>) -> Value {
    Value::seconds(median(seconds))
}

async fn starts(
    keeper: &Keeper,
    crun: Option<&Crun>,
    podman: Option<&Podman>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let standing = keeper.pod()?;
    let other = keeper.start(&standing, &["sleep", "1000"]).await?;
    let [mut further, mut ready, mut whole, mut removed, mut of_crun] = [const { Vec::new() }; 5];
    for _ in 0..SAMPLES + WARM_UP {
        let begun = Instant::now();
        ends_well(keeper.start(&standing, &["true"]).await?.as_ref()).await?;
        further.push(begun.elapsed().as_secs_f64());
        let (begun, pod) = (Instant::now(), keeper.pod()?);
        let container = keeper.start(&pod, &["true"]).await?;
        ready.push(begun.elapsed().as_secs_f64());
        ends_well(container.as_ref()).await?;
        whole.push(begun.elapsed().as_secs_f64());
        keeper.remove(&pod).await;
        removed.push(begun.elapsed().as_secs_f64());
        if let Some(crun) = crun {
            of_crun.push(crun.run()?);
        }
    }
    drop(other);
    keeper.remove(&standing).await;
    let crun_run = || ("crun run", crun.map(|_| show(of_crun.clone())));
    report.add("native: a further container of a pod, start to end", show(further), crun_run(), Some(NEXT_TO_CRUN));
    report.add("native: a pod of one container, start to end", show(whole.clone()), crun_run(), Some(NEXT_TO_CRUN));
    let what = "native: the same, until nothing is left of it";
    report.add(what, show(removed.clone()), crun_run(), Some(NEXT_TO_CRUN));
    let (mut runs, mut plays) = (Vec::new(), Vec::new());
    for _ in 0..podman.map_or(0, |_| PODMAN_SAMPLES) {
        runs.extend(podman.map(Podman::run).transpose()?);
        plays.extend(podman.map(Podman::play).transpose()?);
    }
    let value = |samples: &mut Vec<f64>| podman.map(|_| Value::seconds(quantile(samples, 0.5)));
    report.add(what, show(removed), ("podman run --rm", value(&mut runs)), Some(NEXT_TO_PODMAN));
    let what = "native: a pod of one container, until that runs";
    report.add(what, show(ready), ("podman kube play", value(&mut plays)), Some(NEXT_TO_PODMAN));
    Ok(())
}

async fn executions(
    keeper: &Keeper,
    crun: Option<&Crun>,
    podman: Option<&Podman>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let pod = keeper.pod()?;
    let container = keeper.start(&pod, &["sleep", "1000"]).await?;
    let of_crun = crun.map(Crun::start).transpose()?;
    let of_podman = podman.map(Podman::start).transpose()?;
    let [mut husk, mut crun, mut podman] = [const { Vec::new() }; 3];
    for _ in 0..SAMPLES + WARM_UP {
        husk.push(pods::execute(container.as_ref(), &["true"]).await?);
        crun.extend(of_crun.as_ref().map(peers::Running::execute).transpose()?);
    }
    for _ in 0..PODMAN_SAMPLES {
        podman.extend(of_podman.as_ref().map(peers::Running::execute).transpose()?);
    }
    keeper.remove(&pod).await;
    let what = "native: exec of `true` in a running container";
    let value = of_crun.map(|_| show(crun));
    report.add(what, show(husk.clone()), ("crun exec", value), Some(NEXT_TO_CRUN));
    let value = of_podman.map(|_| Value::seconds(quantile(&mut podman, 0.5)));
    report.add(what, show(husk), ("podman exec", value), Some(NEXT_TO_PODMAN));
    Ok(())
}

/// Two containers of a pod, next to two processes outside of any.
async fn localhost(keeper: &Keeper, report: &mut Report) -> anyhow::Result<()> {
    let pod = keeper.pod()?;
    let serving = keeper.start_peer(&pod, &["serve", ADDRESS]).await?;
    let asking = keeper.start_peer(&pod, &["request", ADDRESS]).await?;
    let said = asking.output().await? + &serving.output().await?;
    keeper.remove(&pod).await;
    let [trip, rate] = numbers(&said, NAMES)?;
    let [peer_trip, peer_rate] = crate::network::native_pair()?;
    ensure!(trip > 0.0, "the clock stands still");
    let name = "native, kernel loopback";
    let what = "native: localhost between containers, round trip of 64 bytes";
    report.add(what, Value::nanos(trip), (name, Some(Value::nanos(peer_trip))), None);
    let what = "native: localhost between containers, throughput";
    report.add(what, Value::Rate(rate), (name, Some(Value::Rate(peer_rate))), None);
    Ok(())
}

/// What is measured of a container.
type Measured = std::sync::Arc<dyn Container>;
