//! `husk serve` under load: thousands of pods in one answer, many who watch, and `kubectl apply` of a large manifest. The
//! server is a process of its own, asked over its Unix socket; its pods wait for a scheduler that never comes, so that it
//! is the API that is measured.

mod apply;
mod client;
mod lists;
mod server;
mod watches;

use serde_json::{Value, json};

use crate::programs::Programs;
use crate::report::Report;

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio.block_on(lists::measure(programs, report))?;
    tokio.block_on(watches::measure(programs, report))?;
    tokio.block_on(apply::measure(programs, report))
}

/// A pod such as people write, which nobody runs.
fn pod(name: &str, namespace: &str) -> Value {
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10});
    let container = json!({
        "name": "server", "image": "registry.example.com/shop/frontend:1.2.3",
        "args": ["--listen=:8080", "--log-format=json"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LOG_LEVEL", "value": "info"}, {"name": "BACKEND", "value": "http://backend.shop.svc:8080"},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": probe, "livenessProbe": probe,
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "frontend", "app.kubernetes.io/part-of": "shop", "tier": "front"},
            "annotations": {"example.com/owner": "team-shop@example.com"},
        },
        "spec": {
            "schedulerName": "nobody", "containers": [container],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    })
}

/// What is shown of a pod that runs.
fn running(address: usize) -> Value {
    let (a, b) = (address / 250, address % 250);
    let since = "2026-11-21T10:00:00Z";
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": since});
    json!({
        "phase": "Running", "hostIP": "127.0.0.1", "podIP": format!("10.88.{a}.{b}"),
        "podIPs": [{"ip": format!("10.88.{a}.{b}")}], "startTime": since, "qosClass": "Burstable",
        "conditions": [
            condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready"),
        ],
        "containerStatuses": [{
            "name": "server", "ready": true, "started": true, "restartCount": 1,
            "image": "registry.example.com/shop/frontend:1.2.3", "imageID": "sha256:0123456789abcdef0123456789abcdef",
            "containerID": format!("wasm://{address:032x}"), "state": {"running": {"startedAt": since}},
            "lastState": {"terminated": {
                "exitCode": 1, "reason": "Error", "startedAt": since, "finishedAt": since,
                "containerID": format!("wasm://{:032x}", address + 1),
            }},
        }],
    })
}
