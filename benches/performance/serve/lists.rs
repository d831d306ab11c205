//! Ten thousand pods in one answer, from the request to its last byte.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::Instant;

use super::client::Client;
use super::server::Server;
use super::{pod, running};
use crate::programs::Programs;
use crate::report::{Aim, Report, Value, quantile};

const PODS: usize = 10_000;
/// Connections over which they are created.
const WRITERS: usize = 32;
const SAMPLES: usize = 11;
const AIM: Aim = Aim::TimeAtMost(Duration::from_millis(150));
const ALL: &str = "/api/v1/pods";
/// What kubectl asks for when it shows a list.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub(super) async fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(programs, "lists").await?;
    let begun = Instant::now();
    fill(&server).await?;
    let rate = (2 * PODS) as f64 / begun.elapsed().as_secs_f64();
    report.add_alone(
        &format!("creating pods and writing their status, {WRITERS} clients"),
        Value::Requests(rate),
        None,
    );
    let mut client = server.client().await?;
    let (first, bytes) = timed(&mut client, ALL, "").await?;
    let size = bytes as f64 / 1e6;
    let what = format!("{PODS} pods listed in one request ({size:.0} MB)");
    report.add_alone(&format!("{what}, for the first time"), Value::seconds(first), Some(AIM));
    report.add_alone(&what, Value::seconds(median(&mut client, ALL, "").await?), Some(AIM));
    let what = format!("{PODS} pods listed as a table, as `kubectl get` does");
    let (first, _) = timed(&mut client, ALL, TABLE).await?;
    report.add_alone(&format!("{what}, for the first time"), Value::seconds(first), None);
    report.add_alone(&what, Value::seconds(median(&mut client, ALL, TABLE).await?), Some(AIM));
    for (selector, how) in [
        ("labelSelector=tier%3Dback", "by a label that none has"),
        ("fieldSelector=status.phase%3DPending", "by a field that none has"),
    ] {
        let median = median(&mut client, &format!("{ALL}?{selector}"), "").await?;
        report.add_alone(&format!("{PODS} pods selected {how}"), Value::seconds(median), Some(AIM));
    }
    Ok(())
}

/// Creates the pods, and lets them seem to run.
async fn fill(server: &Server) -> anyhow::Result<()> {
    let path = "/api/v1/namespaces/default/pods";
    let writer = async |index: usize| {
        let mut client = server.client().await?;
        for number in (index..PODS).step_by(WRITERS) {
            let name = format!("frontend-{number:05}");
            let mut pod = pod(&name, "default");
            client.write("POST", path, &pod).await?;
            pod["status"] = running(number);
            client.write("PUT", &format!("{path}/{name}/status"), &pod).await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..WRITERS).map(writer)).await.map(drop)
}

/// Seconds from a request to the last byte of its answer, and the bytes.
async fn timed(client: &mut Client, path: &str, accept: &str) -> anyhow::Result<(f64, usize)> {
    let begun = Instant::now();
    let bytes = client.get(path, accept).await?;
    Ok((begun.elapsed().as_secs_f64(), bytes))
}

async fn median(client: &mut Client, path: &str, accept: &str) -> anyhow::Result<f64> {
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        samples.push(timed(client, path, accept).await?.0);
    }
    Ok(quantile(&mut samples, 0.5))
}
