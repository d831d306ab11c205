//! `metrics.k8s.io`: what the node and its pods use, measured when somebody asks.

use axum::response::Response;
use http::StatusCode;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::api::resources::{self, ResourceType};
use crate::apiserver::node_access::{Measured, PodUsage};
use crate::apiserver::selection::Selection;
use crate::apiserver::status::ApiError;
use crate::apiserver::{Call, answer};
use crate::base::clock::Timestamp;
use crate::store::StoredObject;

/// Answers with what is used by one object, or by those that are selected.
pub(super) async fn answer(call: &Call<'_>) -> Result<Response, ApiError> {
    let info = call.info;
    let measured = measured(call)?;
    let (objects, revision) = call.server.store.list_objects(measured.objects, info.namespace.as_deref());
    call.server.durable(revision).await?;
    if let Some(name) = info.name.as_deref() {
        let object = objects.iter().find(|object| object.name() == name);
        let metrics = object.and_then(|object| measured.of(object));
        return metrics
            .map(|metrics| answer::json(StatusCode::OK, &metrics))
            .ok_or_else(|| ApiError::not_found(info.resource, name));
    }
    // The metrics of an object have its labels.
    let selection = Selection::of(info, call.query)?;
    let selected = objects.iter().filter(|object| selection.matches(object));
    let items: Vec<Value> = selected.filter_map(|object| measured.of(object)).collect();
    let list = json!({
        "kind": format!("{}List", info.resource.kind), "apiVersion": info.resource.api_version(), "metadata": {},
        "items": items,
    });
    Ok(answer::json(StatusCode::OK, &list))
}

/// What was measured, and of which objects.
struct Measurement {
    resource: &'static ResourceType,
    objects: &'static ResourceType,
    node: Measured,
    node_name: String,
    pods: Vec<PodUsage>,
}

fn measured(call: &Call<'_>) -> Result<Measurement, ApiError> {
    let resource = call.info.resource;
    let objects = match resource.kind {
        "NodeMetrics" => resources::of_type::<Node>(),
        "PodMetrics" => resources::of_type::<Pod>(),
        _ => None,
    };
    let objects = objects.ok_or_else(ApiError::no_such_path)?;
    let usage = call.server.node_access.usage();
    let node_name = call.server.config.node_name.clone();
    Ok(Measurement { resource, objects, node: usage.node, node_name, pods: usage.pods })
}

impl Measurement {
    /// What an object uses; nothing if it was not measured.
    fn of(&self, object: &StoredObject) -> Option<Value> {
        let (at, used) = if self.resource.kind == "NodeMetrics" {
            if object.name() != self.node_name {
                return None;
            }
            (&self.node, json!({"usage": usage(&self.node)}))
        } else {
            let pod = self.pods.iter().find(|pod| pod.pod.uid == object.uid())?;
            let latest = pod.containers.iter().map(|(_, used)| used).max_by_key(|used| used.at)?;
            let containers: Vec<Value> =
                pod.containers.iter().map(|(name, used)| json!({"name": name, "usage": usage(used)})).collect();
            (latest, json!({"containers": containers}))
        };
        let mut metrics = json!({
            "kind": self.resource.kind, "apiVersion": self.resource.api_version(),
            "metadata": {"name": object.name(), "creationTimestamp": whole_seconds(at.at)},
            "timestamp": whole_seconds(at.at),
            "window": format!("{:.3}s", at.window.as_secs_f64()),
        });
        if !object.namespace().is_empty() {
            metrics["metadata"]["namespace"] = object.namespace().into();
        }
        if !object.labels().is_empty() {
            metrics["metadata"]["labels"] = json!(object.labels());
        }
        if let (Some(metrics), Value::Object(used)) = (metrics.as_object_mut(), used) {
            metrics.extend(used);
        }
        Some(metrics)
    }
}

fn usage(used: &Measured) -> Value {
    json!({"cpu": format!("{}n", used.cpu_nanocores), "memory": format!("{}Ki", used.memory_bytes / 1024)})
}

fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}
