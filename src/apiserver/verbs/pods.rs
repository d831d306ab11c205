//! What is created below pods: bindings to nodes, and evictions. Both are forgotten, and change the pod.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::delete::{self, Deleted};
use super::not_stored;
use super::options::WriteOptions;
use crate::api::resources;
use crate::apiserver::object;
use crate::apiserver::status::ApiError;
use crate::apiserver::{Call, answer, body};
use crate::base::clock::Timestamp;
use crate::store::{Change, ChangeError, StoredObject};

fn done() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    answer::json(StatusCode::CREATED, &status)
}

/// Checks that what was sent is about the pod in the path.
fn check_name(call: &Call<'_>, value: &Value) -> Result<(), ApiError> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let asked = call.info.name();
    if name.is_empty() || name == asked {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({asked})")))
}

/// Binds a pod to a node (`registry/core/pod/storage assignPod`).
pub(super) async fn bind(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let (binding, _) = body::object(call, bytes, &options)?;
    check_name(call, &binding)?;
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() || !["", "Node"].contains(&target["kind"].as_str().unwrap_or_default()) {
        return Err(ApiError::bad_request("the target of a binding must be a Node with a name"));
    }
    let now = call.server.now();
    let changed = change_pod(call, |current, pod| {
        let conflict = |why: String| Err(ApiError::conflict(call.info.resource, call.info.name(), &why));
        if pod.metadata.deletion_timestamp.is_some() {
            return conflict(format!("pod {} is being deleted, cannot be assigned to a host", current.name()));
        }
        let spec = pod.spec.get_or_insert_default();
        if let Some(other) = spec.node_name.as_deref().filter(|name| !name.is_empty()) {
            return conflict(format!("pod {} is already assigned to node {other:?}", current.name()));
        }
        if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
            let why = format!("pod {} has non-empty .spec.schedulingGates", current.name());
            return conflict(why);
        }
        spec.node_name = Some(node.clone());
        let annotations = binding["metadata"]["annotations"].as_object().into_iter().flatten();
        for (key, value) in annotations {
            let text = value.as_str().unwrap_or_default().to_owned();
            pod.metadata.annotations.get_or_insert_default().insert(key.clone(), text);
        }
        set_condition(pod, "PodScheduled", None, None, now);
        Ok(!options.dry_run)
    });
    changed.await.map(|()| done())
}

/// Evicts a pod: it is deleted, and told why (`registry/core/pod/storage EvictionREST.Create`). Nothing here limits how
/// many may be.
pub(super) async fn evict(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let (eviction, _) = body::object(call, bytes, &options)?;
    check_name(call, &eviction)?;
    let sent = eviction.get("deleteOptions").filter(|options| !options.is_null()).cloned();
    let mut request = delete::Request::parse(&sent.unwrap_or_else(|| json!({})))?;
    request.dry_run |= options.dry_run;
    let now = call.server.now();
    let told = change_pod(call, |current, pod| {
        request.check(call.info, current)?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let ended = ["Failed", "Succeeded"].contains(&phase) || pod.metadata.deletion_timestamp.is_some();
        if !ended {
            let reason = ("EvictionByEvictionAPI", "Eviction API: evicting");
            set_condition(pod, "DisruptionTarget", Some(reason.0), Some(reason.1), now);
        }
        Ok(!ended && !request.dry_run)
    });
    told.await?;
    // What the pod was told has made another revision of it.
    request.revision = None;
    match delete::remove(call, call.info, &request).await? {
        Deleted::Gone(_) | Deleted::Stays(_) | Deleted::Dry(_) => Ok(done()),
    }
}

/// Lets `change` change a pod; it says whether the result is to be stored.
async fn change_pod(
    call: &Call<'_>,
    change: impl FnOnce(&StoredObject, &mut Pod) -> Result<bool, ApiError>,
) -> Result<(), ApiError> {
    let Some(resource) = resources::of_type::<Pod>() else { return Err(ApiError::no_such_path()) };
    let changed = call.server.store.change_object(resource, call.info.namespace(), call.info.name(), |current| {
        let Some(pod) = current.typed::<Pod>() else { return Err(ApiError::internal("it is no pod")) };
        let mut pod = Pod::clone(&pod);
        if !change(current, &mut pod)? {
            return Ok(Change::Keep);
        }
        let mut value = serde_json::to_value(pod).map_err(ApiError::internal)?;
        object::count_change(&mut value, &current.value(), "spec");
        Ok(Change::Put(value))
    });
    match changed {
        Ok(changed) => call.server.durable(changed.object().revision()).await,
        Err(ChangeError::Refused(error)) => Err(error),
        Err(ChangeError::Store(error)) => Err(not_stored(call, call.info.name(), error)),
    }
}

/// Sets a condition of a pod to true.
fn set_condition(pod: &mut Pod, kind: &str, reason: Option<&str>, message: Option<&str>, now: Timestamp) {
    let generation = pod.metadata.generation;
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let before = conditions.iter().position(|condition| condition.type_ == kind);
    let since = before.map(|index| &conditions[index]).filter(|condition| condition.status == "True");
    let condition = PodCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.map(str::to_owned),
        message: message.map(str::to_owned),
        last_transition_time: since.map_or_else(|| Some(Time(now)), |condition| condition.last_transition_time.clone()),
        observed_generation: generation,
        ..PodCondition::default()
    };
    match before {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}
