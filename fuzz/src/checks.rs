//! What must be true of whatever bytes come: no panic, and what is read says the same when it is written and read again.
//! The fuzzers' targets are these functions; `tests/it/fuzz.rs` calls them, too, with what it has of its own.

use husk::api::body::{ACCEPTED, decode_body, parse_json};
use husk::api::patch::{FieldManager, json_patch, merge_patch, strategic_merge_patch};
use husk::api::resources::{RESOURCES, ResourceType};
use husk::api::schema::{GroupVersionKind, conform};
use husk::api::selector::{FieldQuery, LabelQuery};
use husk::api::support::{RuntimeKind, check_support};
use husk::api::{LoadOptions, Object, apply_defaults, decode_documents, load, validate, validate_update};
use jiff::Timestamp;
use serde_json::Value;

/// What patches change and selectors pick unless the input has something of its own.
const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "labels": {"app": "web"},
    "annotations": {"a": "b"}, "finalizers": ["f/a", "f/b"]}, "spec": {"nodeName": "node", "containers": [{"name": "c",
    "image": "i", "args": ["x", "y"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "ports":
    [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}], "resources": {"limits": {"cpu":
    "100m"}}}], "tolerations": [{"key": "k", "operator": "Exists"}], "volumes": [{"name": "v", "emptyDir": {}}]}, "status":
    {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}}"#;

/// Manifests as users write them: what is understood stays what it is, defaults are defaults of themselves, and an object
/// that is valid may replace itself.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut suffix = || "bcdfg".to_owned();
    let mut options =
        LoadOptions { namespace: "default", runtime: &|_| Some(RuntimeKind::Wasm), name_suffix: &mut suffix };
    if let Err(errors) = load("-", text, &mut options) {
        assert!(!errors.to_string().is_empty());
    }
    let Ok(documents) = decode_documents("-", text) else { return };
    for mut object in documents.into_iter().map(|decoded| decoded.object) {
        assert_eq!(Object::from_json(&object.to_json()).as_ref(), Ok(&object), "read again");
        if let Object::Pod(pod) = &object {
            check_support(pod, &|_| None);
        }
        apply_defaults(&mut object, "default");
        let once = object.clone();
        apply_defaults(&mut object, "default");
        assert_eq!(once, object, "defaulted again");
        if validate(&object).is_empty() {
            assert_eq!(validate_update(&object, &object), [], "as its own successor");
        }
    }
}

/// Bodies of requests. The first byte says for which resource and in which format; what is accepted is accepted again.
pub fn body(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let kind = GroupVersionKind::of(resource(first / 3));
    let Ok(decoded) = decode_body(bytes, Some(ACCEPTED[usize::from(first % 3)]), kind) else { return };
    decoded.violations();
    let written = decoded.value.to_string();
    match decode_body(written.as_bytes(), None, kind) {
        Ok(again) => {
            assert_eq!(again.value, decoded.value, "decoded again");
            assert_eq!(again.violations(), [""; 0], "decoded again");
        }
        // Aliases and escapes make it longer than it came.
        Err(error) => assert!(written.len() > husk::api::body::MAX_BODY, "{error}: {written}"),
    }
    if let Ok(mut object) = Object::from_json(&decoded.value) {
        apply_defaults(&mut object, "default");
        validate(&object);
    }
}

/// Patches. The first byte says of which kind they are and for which resource; then comes the patch, and the object that it
/// is for behind a zero byte.
pub fn patch(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let resource = resource(first / 4);
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let patch = parts.next().unwrap_or_default();
    let document = parts.next().and_then(json).filter(Value::is_object).unwrap_or_else(pod);
    let kind = (resource.group, resource.kind);
    let patched = match first % 4 {
        0 => json_patch(&document, patch).ok(),
        1 => json(patch).and_then(|patch| merge(&document, &patch)),
        2 => json(patch).and_then(|patch| strategic_merge_patch(&document, &patch, kind).ok()),
        _ => json(patch).and_then(|patch| apply(resource, &document, &patch)),
    };
    if let Some(mut patched) = patched {
        track(kind, &document, &mut patched);
        let _ = conform(&mut patched, GroupVersionKind::of(resource));
    }
}

/// Selectors of labels and of fields, for the resource that the first byte says: one that is there twice picks the same.
pub fn selector(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (resource, object) = (resource(first), pod());
    let twice = format!("{text},{text}");
    if let Ok(query) = LabelQuery::parse(text) {
        let picks = query.matches_object(&object);
        assert!(picks || !query.is_everything());
        if let Ok(twice) = LabelQuery::parse(&twice) {
            assert_eq!(twice.matches_object(&object), picks);
        }
    }
    if let Ok(query) = FieldQuery::parse(text, resource) {
        let picks = query.matches_object(&object);
        assert!(picks || !query.is_everything());
        if let Ok(twice) = FieldQuery::parse(&twice, resource) {
            assert_eq!(twice.matches_object(&object), picks);
        }
    }
}

/// Once it is as a merge patch wants it, the patch has nothing to do (RFC 7396).
fn merge(document: &Value, patch: &Value) -> Option<Value> {
    let patched = merge_patch(document, patch).ok()?;
    assert_eq!(merge_patch(&patched, patch).as_ref(), Ok(&patched), "merged again");
    Some(patched)
}

/// What was applied can be applied again, without conflicts and without effect.
fn apply(resource: &ResourceType, document: &Value, configuration: &Value) -> Option<Value> {
    let by = |name| manager(name, (resource.group, resource.kind));
    let _ = by("other").apply(Some(document), configuration, false);
    let applied = by("fuzz").apply(Some(document), configuration, true).ok()?;
    assert_eq!(by("fuzz").apply(Some(&applied), configuration, false).as_ref(), Ok(&applied), "applied again");
    Some(applied)
}

/// An update that changes nothing changes no managers.
fn track(kind: (&str, &str), old: &Value, new: &mut Value) {
    manager("writer", kind).track_update(Some(old), new);
    let mut again = new.clone();
    manager("another", kind).track_update(Some(new), &mut again);
    assert_eq!(&again, new, "updated with nothing");
}

fn manager<'m>(name: &'m str, kind: (&'m str, &'m str)) -> FieldManager<'m> {
    FieldManager { name, subresource: None, kind, time: Timestamp::UNIX_EPOCH }
}

fn resource(byte: u8) -> &'static ResourceType {
    &RESOURCES[usize::from(byte) % RESOURCES.len()]
}

/// Bytes as the server reads them.
fn json(bytes: &[u8]) -> Option<Value> {
    parse_json(bytes).ok().map(|(value, _)| value)
}

fn pod() -> Value {
    json(POD.as_bytes()).unwrap_or_default()
}
