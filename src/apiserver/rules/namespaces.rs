//! Namespaces: they stay until their content is gone, which `spec.finalizers` says who sees to.

use k8s_openapi::api::core::v1::NamespaceStatus;
use serde_json::Value;

use super::{COMMON, Part, Rules};
use crate::api::Object;
use crate::apiserver::status::ApiError;

/// The finalizer of those who delete the content of namespaces.
const KUBERNETES: &str = "kubernetes";
/// The namespaces that are always there (admission plugin `NamespaceLifecycle`).
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

pub(super) const NAMESPACE: Rules = Rules {
    admit: |_, object| {
        if let Object::Namespace(namespace) = object {
            let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
            if !finalizers.iter().any(|finalizer| finalizer == KUBERNETES) {
                finalizers.push(KUBERNETES.to_owned());
            }
            namespace.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None });
        }
        Ok(())
    },
    prepare_update: |_, part, new, old| {
        if let (Part::Main, Object::Namespace(new), Object::Namespace(old)) = (part, new, old) {
            new.spec.clone_from(&old.spec);
        }
        Ok(())
    },
    merge_part: |_, namespace, sent| {
        namespace["spec"]["finalizers"] = match &sent["spec"]["finalizers"] {
            Value::Array(finalizers) => finalizers.clone().into(),
            _ => Value::Array(Vec::new()),
        };
        Ok(())
    },
    check_delete: |admission, name| {
        if IMMORTAL.contains(&name) {
            return Err(ApiError::forbidden(admission.resource, name, "this namespace may not be deleted"));
        }
        Ok(())
    },
    ..COMMON
};
