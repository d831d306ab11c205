//! What may change of a pod that exists already: images, a few other fields, labels and annotations.
//!
//! Rules and words are those of `ValidatePodUpdate` v1.36; where Kubernetes shows a difference of two Go values, the
//! fields that differ are named.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};
use serde_json::Value;

use super::errors::{BadValue, Errors, FieldPath};
use super::items;
use crate::api::quantity::Quantity;

/// The fields that may change, as the error lists them.
const MUTABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                       `spec.tolerations` (only additions to existing tolerations),\
                       `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// The most fields that an error names.
const MAX_NAMED: usize = 8;
/// The fields of pods that are maps of quantities, and those that are quantities.
const RESOURCE_LISTS: [&str; 3] = ["limits", "overhead", "requests"];
const QUANTITIES: [&str; 2] = ["divisor", "sizeLimit"];
/// The fields of pods that are maps, or objects that are always there.
const MAPS: [&str; 7] =
    ["limits", "matchLabels", "nodeSelector", "overhead", "requests", "resources", "volumeAttributes"];

pub(super) fn pod(errors: &mut Errors, pod: &Pod, old: &Pod) {
    let path = FieldPath::new("spec");
    let empty = PodSpec::default();
    let (spec, old) = (pod.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let mut same_containers = true;
    for (name, new, old) in [
        ("containers", &spec.containers[..], &old.containers[..]),
        ("initContainers", items(&spec.init_containers), items(&old.init_containers)),
    ] {
        if new.len() != old.len() {
            errors.forbidden(&path.child(name), "pod updates may not add or remove containers");
            same_containers = false;
        }
    }
    if !same_containers {
        return;
    }
    active_deadline(errors, spec, old, &path);
    let kept = |old: &Toleration| {
        let same = |new: &Toleration| *new == Toleration { toleration_seconds: new.toleration_seconds, ..old.clone() };
        items(&spec.tolerations).iter().any(same)
    };
    if !items(&old.tolerations).iter().all(kept) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&path.child("tolerations"), detail);
    }
    other_fields(errors, spec, old, &path);
}

fn active_deadline(errors: &mut Errors, spec: &PodSpec, old: &PodSpec, path: &FieldPath) {
    let path = path.child("activeDeadlineSeconds");
    match (spec.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if old < new => {
            errors.invalid(&path, new, "must be less than or equal to previous value");
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid(&path, BadValue::Bare("null".to_owned()), detail);
        }
        _ => {}
    }
}

fn other_fields(errors: &mut Errors, spec: &PodSpec, old: &PodSpec, path: &FieldPath) {
    let mut unchanged = spec.clone();
    take_images(&mut unchanged.containers, &old.containers);
    take_images(unchanged.init_containers.as_deref_mut().unwrap_or_default(), items(&old.init_containers));
    unchanged.active_deadline_seconds = old.active_deadline_seconds;
    unchanged.tolerations.clone_from(&old.tolerations);
    if old.termination_grace_period_seconds.is_some_and(|grace| grace < 0)
        && spec.termination_grace_period_seconds == Some(1)
    {
        unchanged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if unchanged == *old {
        return;
    }
    let mut fields = Vec::new();
    differing("spec", &comparable(&unchanged), &comparable(old), &mut fields);
    if fields.is_empty() {
        return;
    }
    let more = if fields.len() > MAX_NAMED { ", …" } else { "" };
    fields.truncate(MAX_NAMED);
    let fields = fields.join(", ");
    errors.forbidden(path, &format!("pod updates may not change fields other than {MUTABLE}: {fields}{more}"));
}

fn take_images(containers: &mut [Container], old: &[Container]) {
    for (container, old) in containers.iter_mut().zip(old) {
        container.image.clone_from(&old.image);
    }
}

/// A spec as Kubernetes compares it (`equality.Semantic`): lists and maps that are empty are as good as none, and
/// quantities are what they amount to, however they are written.
fn comparable(spec: &PodSpec) -> Value {
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    simplify(&mut spec);
    spec
}

fn simplify(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(simplify),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                simplify(member);
                match member {
                    Value::Object(amounts) if RESOURCE_LISTS.contains(&name.as_str()) => {
                        amounts.values_mut().for_each(canonical);
                    }
                    member if QUANTITIES.contains(&name.as_str()) => canonical(member),
                    _ => {}
                }
            }
            members.retain(|name, member| match member {
                Value::Array(items) => !items.is_empty(),
                Value::Object(members) => !members.is_empty() || !MAPS.contains(&name.as_str()),
                _ => true,
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn canonical(quantity: &mut Value) {
    if let Some(Ok(amount)) = quantity.as_str().map(str::parse::<Quantity>) {
        *quantity = Value::String(amount.to_string());
    }
}

/// The paths at which two values differ.
fn differing(path: &str, one: &Value, other: &Value, fields: &mut Vec<String>) {
    match (one, other) {
        _ if one == other || fields.len() > MAX_NAMED => {}
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                differing(&format!("{path}.{key}"), value, other.get(key).unwrap_or(&Value::Null), fields);
            }
            for key in other.keys().filter(|key| !one.contains_key(*key)) {
                fields.push(format!("{path}.{key}"));
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differing(&format!("{path}[{index}]"), one, other, fields);
            }
        }
        _ => fields.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    fn pod(spec: &str) -> Pod {
        serde_yaml::from_str(&format!("{{metadata: {{name: p}}, spec: {{{spec}}}}}")).unwrap()
    }

    fn update(old: &str, new: &str) -> Vec<String> {
        crate::api::validate_pod_update(&pod(new), &pod(old)).iter().map(ToString::to_string).collect()
    }

    /// §19 "Mutable".
    #[test]
    fn images_deadlines_and_additional_tolerations_may_change() {
        for (old, new) in [
            ("containers: [{name: c, image: a}]", "containers: [{name: c, image: b}]"),
            (
                "initContainers: [{name: i, image: a}], containers: [{name: c}]",
                "initContainers: [{name: i, image: b}], containers: [{name: c}]",
            ),
            ("containers: [{name: c}]", "activeDeadlineSeconds: 5, containers: [{name: c}]"),
            ("activeDeadlineSeconds: 5, containers: []", "activeDeadlineSeconds: 4, containers: []"),
            ("tolerations: [{key: a}], containers: []", "tolerations: [{key: b}, {key: a}], containers: []"),
            (
                "tolerations: [{key: a, tolerationSeconds: 5}], containers: []",
                "tolerations: [{key: a, tolerationSeconds: 9}], containers: []",
            ),
            ("terminationGracePeriodSeconds: -1, containers: []", "terminationGracePeriodSeconds: 1, containers: []"),
        ] {
            assert_eq!(update(old, new), [""; 0], "{old} -> {new}");
        }
    }

    /// What patches leave behind, and clients that write quantities their own way, change nothing.
    #[test]
    fn empty_lists_and_the_spelling_of_quantities_do_not_matter() {
        for (old, new) in [
            (
                "containers: [{name: c}]",
                "containers: [{name: c, env: [], resources: {}}], volumes: [], nodeSelector: {}",
            ),
            (
                "containers: [{name: c, resources: {limits: {cpu: '0.5', memory: 1024Mi}}}]",
                "containers: [{name: c, resources: {limits: {cpu: 500m, memory: 1Gi}, requests: {}}}]",
            ),
            (
                "containers: [], volumes: [{name: v, emptyDir: {sizeLimit: 1024Mi}}]",
                "containers: [], volumes: [{name: v, emptyDir: {sizeLimit: 1Gi}}]",
            ),
        ] {
            assert_eq!(update(old, new), [""; 0], "{old} -> {new}");
            assert_eq!(update(new, old), [""; 0], "{new} -> {old}");
        }
        for (old, new) in [
            ("containers: [], volumes: [{name: v}]", "containers: [], volumes: [{name: v, emptyDir: {}}]"),
            ("containers: [{name: c, args: ['1']}]", "containers: [{name: c, args: ['1.0']}]"),
            (
                "containers: [{name: c, resources: {limits: {cpu: '1'}}}]",
                "containers: [{name: c, resources: {limits: {cpu: '2'}}}]",
            ),
        ] {
            assert_eq!(update(old, new).len(), 1, "{old} -> {new}");
        }
    }

    #[test]
    fn everything_else_may_not() {
        for (old, new, error) in [
            (
                "containers: [{name: c}]",
                "containers: [{name: c}, {name: d}]",
                "spec.containers: Forbidden: pod updates may not add or remove containers",
            ),
            (
                "activeDeadlineSeconds: 5, containers: []",
                "activeDeadlineSeconds: 6, containers: []",
                "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value",
            ),
            (
                "activeDeadlineSeconds: 5, containers: []",
                "containers: []",
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
            ),
            (
                "tolerations: [{key: a}], containers: []",
                "tolerations: [{key: b}], containers: []",
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ),
        ] {
            assert_eq!(update(old, new), [error], "{old} -> {new}");
        }
        let errors = update(
            "containers: [{name: c, image: a, args: [x]}]",
            "restartPolicy: Never, containers: [{name: c, image: b, args: [y]}]",
        );
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(error.starts_with("spec: Forbidden: pod updates may not change fields other than `spec.co"), "{error}");
        assert!(error.ends_with(": spec.containers[0].args[0], spec.restartPolicy"), "{error}");
    }
}
