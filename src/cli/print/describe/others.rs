//! Everything but pods in words.

use serde_json::Value;

use super::{Context, Lines, or_none, scalar};
use crate::cli::print::object::{at, list, text};

/// How deeply an object of an unknown kind is shown.
const MAX_DEPTH: usize = 32;

/// Describes a Service.
pub(super) fn service(out: &mut Lines, service: &Value, context: &Context<'_>) {
    let spec = |field: &str| text(service, &["spec", field]);
    let several = |field: &str| list(service, &["spec", field]).iter().map(scalar).collect::<Vec<_>>().join(",");
    out.head(service);
    out.labels(service);
    let selector = at(service, &["spec", "selector"]).and_then(Value::as_object).into_iter().flatten();
    let mut pairs: Vec<String> = selector.map(|(key, value)| format!("{key}={}", scalar(value))).collect();
    pairs.sort();
    out.field(0, "Selector", or_none(&pairs.join(",")));
    out.field(0, "Type", spec("type"));
    out.some(0, "IP Family Policy", spec("ipFamilyPolicy"));
    out.some(0, "IP Families", &several("ipFamilies"));
    out.field(0, "IP", spec("clusterIP"));
    out.some(0, "IPs", &several("clusterIPs"));
    out.some(0, "External Name", spec("externalName"));
    for port in list(service, &["spec", "ports"]) {
        let number = |field: &str| port.get(field).map_or_else(String::new, scalar);
        let (name, protocol) = (text(port, &["name"]), text(port, &["protocol"]));
        let shown = if name.is_empty() { "<unset>" } else { name };
        out.line(0, &format!("Port:\t{shown}\t{}/{protocol}", number("port")));
        out.line(0, &format!("TargetPort:\t{}/{protocol}", number("targetPort")));
        if port.get("nodePort").is_some() {
            out.line(0, &format!("NodePort:\t{shown}\t{}/{protocol}", number("nodePort")));
        }
        let found = context.endpoints.iter().find(|(known, _)| known == name);
        let addresses = found.map(|(_, addresses)| addresses.as_slice()).unwrap_or_default();
        let more = addresses.len().saturating_sub(MAX_ENDPOINTS);
        let more = if more > 0 { format!(" + {more} more...") } else { String::new() };
        let shown: Vec<&str> = addresses.iter().take(MAX_ENDPOINTS).map(String::as_str).collect();
        out.field(0, "Endpoints", &format!("{}{more}", shown.join(",")));
    }
    out.field(0, "Session Affinity", spec("sessionAffinity"));
    out.some(0, "External Traffic Policy", spec("externalTrafficPolicy"));
    out.some(0, "Internal Traffic Policy", spec("internalTrafficPolicy"));
}

/// Addresses that are shown of each port.
const MAX_ENDPOINTS: usize = 3;

/// Describes a ConfigMap.
pub(super) fn config_map(out: &mut Lines, map: &Value) {
    out.head(map);
    out.labels(map);
    out.line(0, "");
    out.line(0, "Data");
    out.line(0, "====");
    for (key, value) in sorted(map.get("data")) {
        out.line(0, &format!("{key}:"));
        out.line(0, "----");
        out.line(0, &scalar(value));
        out.line(0, "");
    }
    out.line(0, "");
    out.line(0, "BinaryData");
    out.line(0, "====");
    for (key, value) in sorted(map.get("binaryData")) {
        out.line(0, &format!("{key}: {} bytes", decoded_length(value)));
    }
    out.line(0, "");
}

/// Describes a Secret: how long its values are, not what.
pub(super) fn secret(out: &mut Lines, secret: &Value) {
    out.head(secret);
    out.labels(secret);
    out.line(0, "");
    out.field(0, "Type", text(secret, &["type"]));
    out.line(0, "");
    out.line(0, "Data");
    out.line(0, "====");
    for (key, value) in sorted(secret.get("data")) {
        out.field(0, key, &format!("{} bytes", decoded_length(value)));
    }
}

/// Bytes that base64 stands for.
fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    let padding = text.len() - text.trim_end_matches('=').len();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn sorted(fields: Option<&Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.and_then(Value::as_object).into_iter().flatten().collect();
    fields.sort_by_key(|(key, _)| *key);
    fields
}

/// Describes a Namespace.
pub(super) fn namespace(out: &mut Lines, namespace: &Value) {
    out.head(namespace);
    out.labels(namespace);
    out.field(0, "Status", text(namespace, &["status", "phase"]));
}

/// Describes a PersistentVolumeClaim.
pub(super) fn claim(out: &mut Lines, claim: &Value) {
    out.head(claim);
    out.field(0, "StorageClass", text(claim, &["spec", "storageClassName"]));
    out.field(0, "Status", text(claim, &["status", "phase"]));
    out.field(0, "Volume", text(claim, &["spec", "volumeName"]));
    out.labels(claim);
    let finalizers: Vec<String> = list(claim, &["metadata", "finalizers"]).iter().map(scalar).collect();
    out.field(0, "Finalizers", &format!("[{}]", finalizers.join(" ")));
    out.field(0, "Capacity", text(claim, &["status", "capacity", "storage"]));
    let modes = list(claim, &["status", "accessModes"]).iter();
    let short = modes.map(|mode| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "<unknown>",
    });
    out.field(0, "Access Modes", &short.collect::<Vec<_>>().join(","));
    out.field(0, "VolumeMode", text(claim, &["spec", "volumeMode"]));
}

/// Fields of the metadata that are told at the beginning, or never.
const TOLD_BEFORE: [&str; 5] = ["name", "namespace", "labels", "annotations", "managedFields"];

/// Describes a ServiceAccount.
pub(super) fn service_account(out: &mut Lines, account: &Value) {
    out.head(account);
    out.labels(account);
    for (label, field) in [("Image pull secrets", "imagePullSecrets"), ("Mountable secrets", "secrets")] {
        let names = list(account, &[field]).iter().map(|reference| text(reference, &["name"]).to_owned());
        out.several(0, label, &names.collect::<Vec<_>>());
    }
}

/// Describes an object of any kind: its fields, in words.
pub(super) fn anything(out: &mut Lines, object: &Value) {
    out.head(object);
    out.labels(object);
    out.field(0, "API Version", text(object, &["apiVersion"]));
    out.field(0, "Kind", text(object, &["kind"]));
    let Some(fields) = object.as_object() else { return };
    let mut fields: Vec<_> = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind")).collect();
    fields.sort_by_key(|(key, _)| *key);
    for (key, value) in fields {
        if key == "metadata" {
            out.line(0, "Metadata:");
            let shown = sorted(Some(value)).into_iter().filter(|(key, _)| !TOLD_BEFORE.contains(&key.as_str()));
            shown.for_each(|(key, value)| part(out, 1, key, value));
        } else {
            part(out, 0, key, value);
        }
    }
}

fn part(out: &mut Lines, level: usize, key: &str, value: &Value) {
    let label = words(key);
    match value {
        Value::Object(fields) if level < MAX_DEPTH => {
            out.line(level, &format!("{label}:"));
            sorted(Some(value)).iter().for_each(|(key, value)| part(out, level + 1, key, value));
            if fields.is_empty() {
                out.line(level + 1, "<none>");
            }
        }
        Value::Array(items) if level < MAX_DEPTH => {
            out.line(level, &format!("{label}:"));
            for item in items {
                match item {
                    Value::Object(_) => {
                        sorted(Some(item)).iter().for_each(|(key, value)| part(out, level + 1, key, value))
                    }
                    item => out.line(level + 1, &scalar(item)),
                }
            }
        }
        value => out.field(level, &label, &scalar(value)),
    }
}

/// A field's name in words: `accessModes` is `Access Modes`; what is no such name stays.
fn words(key: &str) -> String {
    match key {
        "apiVersion" => return "API Version".to_owned(),
        "uid" => return "UID".to_owned(),
        key if !key.chars().all(char::is_alphanumeric) => return key.to_owned(),
        _ => {}
    }
    let mut out = String::new();
    let mut previous_is_small = false;
    for (index, c) in key.chars().enumerate() {
        if c.is_uppercase() && previous_is_small {
            out.push(' ');
        }
        previous_is_small = c.is_lowercase();
        if index == 0 { out.extend(c.to_uppercase()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_are_words() {
        assert_eq!(words("accessModes"), "Access Modes");
        assert_eq!(words("podIP"), "Pod IP");
        assert_eq!(words("a.b/c"), "a.b/c");
    }

    #[test]
    fn lengths_of_secrets_are_known_without_them() {
        assert_eq!(decoded_length(&Value::from("YQ==")), 1);
        assert_eq!(decoded_length(&Value::from("YWJj")), 3);
        assert_eq!(decoded_length(&Value::from("")), 0);
    }
}
