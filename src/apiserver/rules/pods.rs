//! Pods: what admission adds to them, how they begin, and what may change of them through which part.
//!
//! Source of the rules: kube-apiserver v1.36 `registry/core/pod/strategy.go` and the admission plugins `ServiceAccount`,
//! `Priority` and `RuntimeClass`.

mod admission;

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use serde_json::Value;

use super::{COMMON, Part, Rules};
use crate::api::support::{SupportReport, check_support_in_cluster};
use crate::api::{self, FieldError, Object, qos};
use crate::apiserver::status::ApiError;

pub(super) const POD: Rules = Rules {
    generation: Some("spec"),
    returns_deleted: true,
    support: |admission, object| match object {
        Object::Pod(pod) => {
            check_support_in_cluster(pod, &|image| admission.server.node_access.runtime_of_image(image))
        }
        _ => SupportReport::default(),
    },
    awaits: admission::default_service_account,
    admit: |admission, object| match object {
        Object::Pod(pod) => {
            admission::service_account(admission, pod)?;
            admission::priority(admission, pod)?;
            admission::runtime_class(admission, pod)?;
            begin(pod);
            Ok(())
        }
        _ => Ok(()),
    },
    prepare_update: |_, part, new, old| {
        if let (Object::Pod(new), Object::Pod(old)) = (new, old) {
            prepare_update(part, new, old);
        }
        Ok(())
    },
    check_update,
    merge_part,
    ..COMMON
};

/// The status that a pod begins with.
fn begin(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let waiting = gated.then(|| PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..PodCondition::default()
    });
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_owned()),
        qos_class: Some(qos::qos_class(spec).to_string()),
        conditions: waiting.map(|condition| vec![condition]),
        ..PodStatus::default()
    });
}

fn prepare_update(part: Part, new: &mut Pod, old: &Pod) {
    if part == Part::Main {
        // Containers that were added meanwhile are not for this part to say.
        let ephemeral = old.spec.as_ref().and_then(|spec| spec.ephemeral_containers.clone());
        new.spec.get_or_insert_default().ephemeral_containers = ephemeral;
    }
    let class = old.status.as_ref().and_then(|status| status.qos_class.clone());
    if let (Some(status), Some(class)) = (&mut new.status, class) {
        status.qos_class = Some(class);
    }
}

fn check_update(part: Part, new: &Object, old: &Object) -> Vec<FieldError> {
    let (Object::Pod(new), Object::Pod(old)) = (new, old) else { return Vec::new() };
    let errors = match part {
        Part::Main => api::validate_pod_update(new, old),
        Part::Sub("ephemeralcontainers") => api::validate_ephemeral_containers(new, old),
        Part::Sub("resize") => api::validate_pod_resize(new, old),
        Part::Sub(_) => Vec::new(),
    };
    if !errors.is_empty() {
        return errors;
    }
    // Ephemeral containers cannot be there when a pod is created, and have rules of their own.
    let mut pod = Pod::clone(new);
    pod.spec.get_or_insert_default().ephemeral_containers = None;
    api::validate_pod(&pod)
}

/// Takes over what a subresource is about.
fn merge_part(part: &'static str, pod: &mut Value, sent: &Value) -> Result<(), ApiError> {
    match part {
        "ephemeralcontainers" => {
            match sent["spec"].get("ephemeralContainers") {
                Some(Value::Array(containers)) => {
                    pod["spec"]["ephemeralContainers"] = containers.clone().into();
                }
                _ => {
                    if let Some(spec) = pod["spec"].as_object_mut() {
                        spec.shift_remove("ephemeralContainers");
                    }
                }
            }
            Ok(())
        }
        "resize" => {
            for list in ["containers", "initContainers"] {
                merge_resources(&mut pod["spec"][list], &sent["spec"][list])?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Gives containers the resources of those of the same name.
fn merge_resources(containers: &mut Value, sent: &Value) -> Result<(), ApiError> {
    let Some(sent) = sent.as_array() else { return Ok(()) };
    let Some(containers) = containers.as_array_mut() else { return Ok(()) };
    for resized in sent {
        let Some(container) = containers.iter_mut().find(|container| container["name"] == resized["name"]) else {
            let name = resized["name"].as_str().unwrap_or_default();
            return Err(ApiError::bad_request(format!("the pod has no container {name:?} that could be resized")));
        };
        for field in ["resources", "resizePolicy"] {
            match (resized.get(field), container.as_object_mut()) {
                (Some(value), Some(container)) => drop(container.insert(field.to_owned(), value.clone())),
                (None, Some(container)) => drop(container.shift_remove(field)),
                (_, None) => {}
            }
        }
    }
    Ok(())
}
