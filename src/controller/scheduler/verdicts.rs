//! What the scheduler writes into pods: their node, why they have none yet, and that they give way.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::decision::PREEMPTED;
use crate::base::clock::Timestamp;
use crate::controller::objects::{self, ObjectKey, resource_of, seconds};
use crate::store::{Change, Changed, Store, StoreError};

/// The condition that says whether a pod has a node.
const SCHEDULED: &str = "PodScheduled";
/// The condition of pods that are about to be deleted for a reason that is not their own.
const DISRUPTION: &str = "DisruptionTarget";

/// Why a pod has no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Whether others give way to it on the node.
    pub(super) nominated: bool,
}

/// Gives a pod its node, unless it has one or is being deleted (registry/core/pod `assignPod`); whether it has it now.
pub(super) fn bind(store: &Store, key: &ObjectKey, node: &str, now: Timestamp) -> Result<bool, StoreError> {
    let changed = objects::change(store, resource_of::<Pod>(), key, |pod| {
        let placed = pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty());
        if placed || !pod["metadata"]["deletionTimestamp"].is_null() {
            return Change::Keep;
        }
        pod["spec"]["nodeName"] = node.into();
        set_condition(pod, (SCHEDULED, "True"), None, now);
        if let Some(status) = pod["status"].as_object_mut() {
            status.shift_remove("nominatedNodeName");
        }
        Change::Put(pod.take())
    })?;
    Ok(matches!(changed, Some(Changed::Put(_))))
}

/// Says in a pod why it has no node.
pub(super) fn publish(
    store: &Store,
    key: &ObjectKey,
    node: &str,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(), StoreError> {
    objects::change(store, resource_of::<Pod>(), key, |pod| {
        if pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty()) {
            return Change::Keep;
        }
        set_condition(pod, (SCHEDULED, "False"), Some((verdict.reason, &verdict.message)), now);
        if verdict.nominated {
            pod["status"]["nominatedNodeName"] = node.into();
        }
        Change::Put(pod.take())
    })?;
    Ok(())
}

/// Says in a pod that it gives way to another.
pub(super) fn disrupt(store: &Store, key: &ObjectKey, now: Timestamp) -> Result<(), StoreError> {
    objects::edit(store, resource_of::<Pod>(), key, |pod| {
        let why = "default-scheduler: preempting to accommodate a higher priority pod";
        set_condition(pod, (DISRUPTION, "True"), Some((PREEMPTED, why)), now);
    })?;
    Ok(())
}

/// Sets a condition; its transition time moves only when its status does (`UpdatePodCondition`).
fn set_condition(pod: &mut Value, (type_, status): (&str, &str), why: Option<(&str, &str)>, now: Timestamp) {
    let mut condition =
        json!({"type": type_, "status": status, "lastProbeTime": null, "lastTransitionTime": seconds(now)});
    if let Some((reason, message)) = why {
        condition["reason"] = reason.into();
        condition["message"] = message.into();
    }
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(all) = conditions.as_array_mut() else { return };
    match all.iter_mut().find(|found| found["type"] == type_) {
        Some(found) => {
            if found["status"] == status {
                condition["lastTransitionTime"] = found["lastTransitionTime"].clone();
            }
            *found = condition;
        }
        None => all.push(condition),
    }
}
