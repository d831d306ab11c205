//! A hundred clients that follow a thousand changes a second: how long a change takes from being sent until each of them
//! has it. Every one must be told every change, or the bench fails.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use futures::future::{try_join, try_join_all};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::Client;
use super::server::Server;
use crate::programs::Programs;
use crate::report::{Aim, Report, Value, quantile};

const WATCHERS: usize = 100;
const PER_SECOND: usize = 1000;
const SECONDS: usize = 10;
const CHANGES: usize = PER_SECOND * SECONDS;
/// Connections over which the changes are written.
const WRITERS: usize = 32;
/// Who gets a change later than this does not keep up.
const AIM: Aim = Aim::TimeAtMost(Duration::from_millis(100));
/// How long the last change may take to come to all.
const PATIENCE: Duration = Duration::from_secs(60);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Before the number of a change, in its object.
const MARK: &[u8] = b"\"change\":\"";

pub(super) async fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(programs, "watches").await?;
    let mut client = server.client().await?;
    for writer in 0..WRITERS {
        client.write("POST", MAPS, &map(writer, "none")).await?;
    }
    let mut watchers = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let mut client = server.client().await?;
        // From now on, without what is there.
        let answer = client.send("GET", &format!("{MAPS}?limit=1"), &[], &serde_json::Value::Null).await?;
        let list: serde_json::Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a list has a version")?;
        watchers.push(Watcher::begin(client, version).await?);
    }
    let (busy, begun) = (server.cpu_seconds(), Instant::now() + Duration::from_millis(100));
    let writers = try_join_all((0..WRITERS).map(|index| write(&server, index, begun)));
    let watching = try_join_all(watchers.into_iter().map(|watcher| watcher.follow(begun)));
    let (_, lags) = try_join(writers, async {
        timeout(Duration::from_secs(SECONDS as u64) + PATIENCE, watching).await.context("watchers fall behind")?
    })
    .await?;
    let took = begun.elapsed().as_secs_f64();
    let mut lags: Vec<f64> = lags.into_iter().flatten().collect();
    let what = format!("{WATCHERS} watchers of {PER_SECOND} changes a second");
    report.add_alone(&format!("{what}: written in a second"), Value::Requests(CHANGES as f64 / took), None);
    for (name, at, aim) in [("p50", 0.5, None), ("p99", 0.99, Some(AIM))] {
        let lag = Value::seconds(quantile(&mut lags, at));
        report.add_alone(&format!("{what}: from sending to having it, {name}"), lag, aim);
    }
    if let (Some(before), Some(after)) = (busy, server.cpu_seconds()) {
        let busy = Value::seconds((after - before) / took);
        report.add_alone(&format!("{what}: CPU time of the server in a second"), busy, None);
    }
    Ok(())
}

fn map(writer: usize, change: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("map-{writer}")},
        "data": {"change": change, "filling": "x".repeat(256)},
    })
}

/// When a change is due.
fn due(change: usize, begun: Instant) -> Instant {
    begun + Duration::from_secs(1) / PER_SECOND as u32 * change as u32
}

/// Writes every so many changes, each when it is due.
async fn write(server: &Server, index: usize, begun: Instant) -> anyhow::Result<()> {
    let mut client = server.client().await?;
    for change in (index..CHANGES).step_by(WRITERS) {
        sleep_until(due(change, begun)).await;
        let object = map(index, &change.to_string());
        client.write("PUT", &format!("{MAPS}/map-{index}"), &object).await?;
    }
    Ok(())
}

/// Who follows the changes.
struct Watcher {
    body: hyper::body::Incoming,
    /// The connection is cut when it goes.
    _client: Client,
}

impl Watcher {
    async fn begin(mut client: Client, version: &str) -> anyhow::Result<Self> {
        let path = format!("{MAPS}?watch=true&resourceVersion={version}");
        let answer = client.send("GET", &path, &[], &serde_json::Value::Null).await?;
        Ok(Self { body: answer.into_body(), _client: client })
    }

    /// Takes all changes, and gives how long each took since it was due.
    async fn follow(mut self, begun: Instant) -> anyhow::Result<Vec<f64>> {
        let (mut lags, mut rest) = (Vec::with_capacity(CHANGES), BytesMut::new());
        while lags.len() < CHANGES {
            let frame = self.body.frame().await.context("a watch ended early")??;
            rest.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
            let now = Instant::now();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                let change =
                    number(&line).with_context(|| format!("{:?} is no change", String::from_utf8_lossy(&line)))?;
                lags.push(now.saturating_duration_since(due(change, begun)).as_secs_f64());
            }
        }
        ensure!(rest.is_empty(), "there were more changes than were written");
        Ok(lags)
    }
}

/// The number of a change, in the line that tells of it.
fn number(line: &[u8]) -> Option<usize> {
    let at = line.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = line[at..].split(|byte| !byte.is_ascii_digit()).next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}
