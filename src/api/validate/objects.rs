//! The objects that pods use: ConfigMaps, Secrets and claims.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};

use super::errors::{Errors, FieldPath};
use super::{formats, items, metadata, text};
use crate::api::quantity::Quantity;

/// The most bytes a ConfigMap's or Secret's values may have together.
const MAX_DATA: usize = 1024 * 1024;

pub(super) fn config_map(errors: &mut Errors, config_map: &ConfigMap) {
    metadata::object_meta(errors, &config_map.metadata, true, formats::dns_subdomain);
    let mut size = 0;
    for (key, value) in config_map.data.iter().flatten() {
        let path = FieldPath::new("data").key(key);
        errors.invalid_each(&path, key, formats::config_key(key));
        if config_map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.invalid(&path, key, "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in config_map.binary_data.iter().flatten() {
        errors.invalid_each(&FieldPath::new("binaryData").key(key), key, formats::config_key(key));
        size += value.0.len();
    }
    if size > MAX_DATA {
        errors.too_long(&FieldPath::new(""), MAX_DATA);
    }
}

pub(super) fn secret(errors: &mut Errors, secret: &Secret) {
    metadata::object_meta(errors, &secret.metadata, true, formats::dns_subdomain);
    let path = FieldPath::new("data");
    let mut size = 0;
    for (key, value) in secret.data.iter().flatten() {
        errors.invalid_each(&path.key(key), key, formats::config_key(key));
        size += value.0.len();
    }
    if size > MAX_DATA {
        errors.too_long(&path, MAX_DATA);
    }
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let account = secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
            if account.is_none_or(String::is_empty) {
                errors.required(&FieldPath::new("metadata").child("annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => json_value(errors, value(".dockercfg"), &path.key(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => {
            json_value(errors, value(".dockerconfigjson"), &path.key(".dockerconfigjson"));
        }
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            errors.required(&path.key("username"), "");
            errors.required(&path.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(<[u8]>::is_empty) => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if value(key).is_none() {
                    errors.required(&path.key(key), "");
                }
            }
        }
        _ => {}
    }
}

fn json_value(errors: &mut Errors, value: Option<&[u8]>, path: &FieldPath) {
    match value.map(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>) {
        None => errors.required(path, ""),
        Some(Ok(_)) => {}
        Some(Err(error)) => errors.invalid(path, "<secret contents redacted>", &error.to_string()),
    }
}

pub(super) fn claim(errors: &mut Errors, claim: &PersistentVolumeClaim) {
    metadata::object_meta(errors, &claim.metadata, true, formats::dns_subdomain);
    let path = FieldPath::new("spec");
    let empty = Default::default();
    let spec = claim.spec.as_ref().unwrap_or(&empty);
    let modes_path = path.child("accessModes");
    let modes = items(&spec.access_modes);
    if modes.is_empty() {
        errors.required(&modes_path, "at least 1 access mode is required");
    }
    metadata::label_selector(errors, spec.selector.as_ref(), &path.child("selector"));
    let supported = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in modes.iter().filter(|mode| !supported.contains(&mode.as_str())) {
        errors.unsupported(&modes_path, mode, &supported);
    }
    let (alone, others): (Vec<&String>, Vec<&String>) =
        modes.iter().filter(|mode| supported.contains(&mode.as_str())).partition(|mode| *mode == "ReadWriteOncePod");
    if !alone.is_empty() && !others.is_empty() {
        errors.forbidden(&modes_path, "may not use ReadWriteOncePod with other access modes");
    }
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let storage_path = path.child("resources").key("storage");
    match requests.and_then(|requests| requests.get("storage")).map(Quantity::of) {
        Some(Ok(storage)) if storage.is_positive() => {}
        Some(Ok(storage)) => errors.invalid(&storage_path, storage.to_string(), "must be greater than zero"),
        _ => errors.required(&storage_path, ""),
    }
    let class = text(&spec.storage_class_name);
    if !class.is_empty() {
        errors.invalid_each(&path.child("storageClassName"), class, formats::dns_subdomain(class));
    }
    let volume_modes = ["Block", "Filesystem"];
    if let Some(mode) = spec.volume_mode.as_deref().filter(|mode| !volume_modes.contains(mode)) {
        errors.unsupported(&path.child("volumeMode"), mode, &volume_modes);
    }
}
