//! Every rule with its exact message, as tables of what was written and what is said.

use super::*;
use crate::api::decode_documents;
use crate::api::defaults::apply_defaults;

mod containers;
mod others;
mod pods;

/// The errors of one document once it has defaults.
fn errors(text: &str) -> Vec<String> {
    let mut decoded = decode_documents("-", text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let object = &mut decoded[0].object;
    apply_defaults(object, "default");
    validate(object).iter().map(ToString::to_string).collect()
}

/// The errors of a pod with this spec.
fn pod_errors(spec: &str) -> Vec<String> {
    errors(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n"))
}

/// The errors of a pod with one good container that has these fields, and these fields beside it.
fn container_errors(fields: &str, beside: &str) -> Vec<String> {
    pod_errors(&format!("{{containers: [{{name: a, image: x, {fields}}}], {beside}}}"))
}

/// Checks rows of a container's fields, the pod's other fields, and the errors.
fn check_container(rows: &[(&str, &str, &[&str])]) {
    for (fields, beside, expected) in rows {
        assert_eq!(container_errors(fields, beside), *expected, "{fields} {beside}");
    }
}

/// Checks rows of the pod's fields beside one good container, and the errors.
fn check_pod(rows: &[(&str, &[&str])]) {
    for (beside, expected) in rows {
        assert_eq!(container_errors("", beside), *expected, "{beside}");
    }
}
