//! `kubectl apply` of a thousand pods, and the part of it that husk has: the same requests, one after the other, with
//! nothing in between.

use std::process::Command;

use serde_json::json;
use tokio::time::Instant;

use super::client::taken;
use super::pod;
use super::server::Server;
use crate::programs::{Programs, seconds};
use crate::report::{Aim, Report, Value};

const PODS: usize = 1000;
/// Less than half: most of the time is kubectl's own.
const AIM: Aim = Aim::RatioAtMost(0.5);

pub(super) async fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("there is no `kubectl` on PATH: applying with it is not measured");
        return Ok(());
    }
    let server = Server::start(programs, "apply").await?;
    let mut client = server.client().await?;
    for (way, namespace, options) in
        [("", "client-side", &[][..]), (" --server-side", "server-side", &["--server-side"])]
    {
        client.write("POST", "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await?;
        let pods: Vec<String> = (0..PODS).map(|number| pod(&name(number), namespace).to_string()).collect();
        let file = programs.write("apply.yaml", &format!("---\n{}", pods.join("\n---\n")))?;
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(server.kubeconfig()).arg("apply").args(options).arg("-f").arg(file);
        kubectl.env("HOME", programs.directory());
        let [whole] = seconds(&mut kubectl)?;
        let share = replay(&server, &format!("{namespace}-again"), !options.is_empty()).await?;
        let what = format!("`kubectl apply{way}` of {PODS} pods: its requests alone");
        report.add(&what, Value::seconds(share), ("with kubectl", Some(Value::seconds(whole))), Some(AIM));
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("frontend-{number:04}")
}

/// Seconds that the requests take which kubectl sends to make the pods.
async fn replay(server: &Server, namespace: &str, server_side: bool) -> anyhow::Result<f64> {
    let mut client = server.client().await?;
    client.write("POST", "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await?;
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let begun = Instant::now();
    for number in 0..PODS {
        let name = name(number);
        let mut pod = pod(&name, namespace);
        // Client-side, it looks whether there is one.
        let found = client.send_any("GET", &format!("{path}/{name}"), &[], &serde_json::Value::Null).await?;
        taken(found).await?;
        if server_side {
            let query = "fieldManager=kubectl&fieldValidation=Strict&force=false";
            let media = [("content-type", "application/apply-patch+yaml")];
            taken(client.send("PATCH", &format!("{path}/{name}?{query}"), &media, &pod).await?).await?;
        } else {
            let applied = pod.to_string();
            pod["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = applied.into();
            client.write("POST", &format!("{path}?fieldManager=kubectl-client-side-apply"), &pod).await?;
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}
