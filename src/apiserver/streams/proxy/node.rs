//! What a node answers through its `proxy`: the part of the kubelet's own API that tools read. There is no port of a
//! kubelet here to pass requests on to.

use axum::response::Response;
use http::StatusCode;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::apiserver::node_access::{Measured, PodUsage};
use crate::apiserver::streams::find;
use crate::apiserver::{ApiError, Inner, RequestInfo, answer};

/// Answers for a node.
pub(super) async fn answer(server: &Inner, info: &RequestInfo) -> Result<Response, ApiError> {
    // A port may be named, which leads nowhere.
    find::<Node>(server, info, info.name()).await?;
    if info.verb != "get" {
        return Err(ApiError::method_not_allowed(info.resource));
    }
    match info.rest.trim_end_matches('/') {
        "/healthz" => Ok(answer::text(StatusCode::OK, "ok")),
        "/pods" | "/runningpods" => Ok(answer::json(StatusCode::OK, &pods(server, info.name()))),
        "/stats/summary" => Ok(answer::json(StatusCode::OK, &summary(server, info.name()))),
        _ => Ok(answer::text(StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}

fn pods(server: &Inner, node: &str) -> Value {
    let on_node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    let pods = server.store.list_all::<Pod>();
    let items: Vec<&Pod> = pods.iter().map(|pod| &**pod).filter(|pod| on_node(pod)).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// kubelet's `stats/v1alpha1` Summary, as far as there is something to say.
fn summary(server: &Inner, node: &str) -> Value {
    let usage = server.node_access.usage();
    let mut whole = json!({"nodeName": node});
    add(&mut whole, &usage.node);
    let pods: Vec<_> = usage.pods.iter().map(pod).collect();
    json!({"node": whole, "pods": pods})
}

fn pod(usage: &PodUsage) -> Value {
    let PodUsage { pod, containers } = usage;
    let shown = containers.iter().map(|(name, measured)| {
        let mut container = json!({"name": name});
        add(&mut container, measured);
        container
    });
    let containers: Vec<_> = shown.collect();
    json!({"podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}, "containers": containers})
}

fn add(to: &mut Value, measured: &Measured) {
    let time = measured.at.to_string();
    to["cpu"] = json!({"time": time, "usageNanoCores": measured.cpu_nanocores});
    to["memory"] = json!({"time": time, "usageBytes": measured.memory_bytes, "workingSetBytes": measured.memory_bytes});
}
