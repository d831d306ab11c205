//! What may change of a pod that exists already: images, a few other fields, labels and annotations.
//!
//! Rules and words are those of `ValidatePodUpdate` v1.36; where Kubernetes shows a difference of two Go values, the
//! fields that differ are named.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::Value;

use super::errors::{BadValue, Errors, FieldPath};
use super::items;

/// The fields that may change, as the error lists them.
const MUTABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                       `spec.tolerations` (only additions to existing tolerations),\
                       `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// The most fields that an error names.
const MAX_NAMED: usize = 8;

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
    let kept = |toleration| items(&spec.tolerations).contains(toleration);
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
    let json = |spec: &PodSpec| serde_json::to_value(spec).unwrap_or_default();
    let mut fields = Vec::new();
    differing("spec", &json(&unchanged), &json(old), &mut fields);
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
            ("terminationGracePeriodSeconds: -1, containers: []", "terminationGracePeriodSeconds: 1, containers: []"),
        ] {
            assert_eq!(update(old, new), [""; 0], "{old} -> {new}");
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
