//! What users of the store notice.

mod watching;

use super::*;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn config_map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { namespace: Some("ns".into()), name: Some(name.into()), ..Default::default() };
    ConfigMap { metadata, ..Default::default() }
}

#[test]
fn a_name_is_taken_once_per_kind_and_namespace() {
    let store = Store::default();
    store.create(config_map("a")).unwrap();
    let error = store.create(config_map("a")).unwrap_err();
    assert_eq!(error.to_string(), r#"ConfigMap "a" already exists in namespace "ns""#);
    assert!(store.get::<Secret>("ns", "a").is_none());
    assert!(store.get::<ConfigMap>("other", "a").is_none());
}

#[test]
fn every_change_has_a_newer_resource_version() {
    let store = Store::default();
    let first = store.create(config_map("a")).unwrap();
    let second = store.update::<ConfigMap>("ns", "a", |object| object.immutable = Some(true)).unwrap();
    let version = |object: &ConfigMap| object.metadata.resource_version.as_deref().unwrap().parse::<u64>().unwrap();
    assert!(version(&second) > version(&first));
    assert_eq!(store.get::<ConfigMap>("ns", "a").unwrap().immutable, Some(true));
}

#[test]
fn what_is_deleted_is_gone_and_its_name_free() {
    let store = Store::default();
    let first = store.create(config_map("a")).unwrap();
    store.delete::<ConfigMap>("ns", "a").unwrap();
    assert!(store.get::<ConfigMap>("ns", "a").is_none());
    let error = store.delete::<ConfigMap>("ns", "a").unwrap_err();
    assert_eq!(error.to_string(), r#"ConfigMap "a" not found in namespace "ns""#);
    let second = store.create(config_map("a")).unwrap();
    assert_ne!(first.metadata.resource_version, second.metadata.resource_version);
}

#[tokio::test]
async fn who_waits_is_told_of_every_kind_of_change() {
    let store = Store::default();
    let mut changes = store.changes();
    let mut seen = Vec::new();
    let all: [&dyn Fn(); 3] = [
        &|| drop(store.create(config_map("a"))),
        &|| drop(store.update::<ConfigMap>("ns", "a", |object| object.immutable = Some(true))),
        &|| drop(store.delete::<ConfigMap>("ns", "a")),
    ];
    for change in all {
        change();
        changes.changed().await.unwrap();
        seen.push((*changes.borrow_and_update(), store.revision_of::<ConfigMap>(), store.revision_of::<Secret>()));
    }
    assert_eq!(seen, [(1, 1, 0), (2, 2, 0), (3, 3, 0)]);
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn a_list_holds_one_kind_of_one_namespace_in_order() {
    let store = Store::default();
    for name in ["b", "a"] {
        store.create(config_map(name)).unwrap();
    }
    let names: Vec<_> = store.list::<ConfigMap>("ns").iter().map(|object| object.metadata.name.clone()).collect();
    assert_eq!(names, [Some("a".to_owned()), Some("b".to_owned())]);
    assert!(store.list::<Secret>("ns").is_empty());
    assert_eq!(store.list_all::<ConfigMap>().len(), 2);
}

fn resource(plural: &str) -> &'static ResourceType {
    crate::api::resources::find("", plural).unwrap()
}

fn secret(name: &str, data: &str) -> Value {
    serde_json::json!({
        "data": { "key": data },
        "metadata": { "labels": { "app": "x" }, "name": name, "namespace": "ns", "uid": "u1", "finalizers": null },
        "kind": "Secret",
    })
}

fn put<E>(change: impl FnOnce(&mut Value)) -> impl FnOnce(&StoredObject) -> Result<Change, E> {
    move |object| {
        let mut value = Value::clone(&object.value());
        change(&mut value);
        Ok(Change::Put(value))
    }
}

#[test]
fn an_object_is_kept_as_json_with_its_identity_first() {
    let store = Store::default();
    let object = store.create_object(resource("secrets"), secret("a", "eA==")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(object.json()),
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"resourceVersion":"1","labels":{"app":"x"},"name":"a","namespace":"ns","uid":"u1","finalizers":null},"data":{"key":"eA=="}}"#
    );
    assert_eq!((object.namespace(), object.name(), object.uid(), object.revision()), ("ns", "a", "u1", 1));
    assert_eq!(object.labels()["app"], "x");
    assert_eq!(object.value()["metadata"]["resourceVersion"], "1");
    let typed = object.typed::<Secret>().unwrap();
    assert_eq!(typed.data.as_ref().unwrap()["key"].0, b"x");
    assert!(Arc::ptr_eq(&typed, &store.get("ns", "a").unwrap()));
    assert!(object.typed::<ConfigMap>().is_none());
}

#[test]
fn the_forms_of_an_object_are_the_same_however_it_came() {
    let store = Store::default();
    let typed = store.create(config_map("a")).unwrap();
    let object = store.get_object(resource("configmaps"), "ns", "a").unwrap();
    assert_eq!(
        String::from_utf8_lossy(object.json()),
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"1","name":"a","namespace":"ns"}}"#
    );
    assert_eq!(serde_json::from_slice::<ConfigMap>(object.json()).unwrap(), *typed);
}

#[test]
fn identity_stands_first_whatever_the_order_of_the_type_s_fields() {
    let metadata = config_map("a").metadata;
    let event = k8s_openapi::api::core::v1::Event { metadata, reason: Some("Why".into()), ..Default::default() };
    let store = Store::default();
    store.create(event).unwrap();
    let object = store.get_object(resource("events"), "ns", "a").unwrap();
    assert!(
        object.json().starts_with(br#"{"apiVersion":"v1","kind":"Event","metadata":{"resourceVersion":"1","name""#)
    );
    // Its other form is kept under the same name.
    let view = crate::api::resources::find("events.k8s.io", "events").unwrap();
    assert_eq!(store.get_object(view, "ns", "a").unwrap().value()["reason"], "Why");
}

#[test]
fn a_change_that_changes_nothing_is_no_revision() {
    let store = Store::default();
    store.create_object(resource("secrets"), secret("a", "eA==")).unwrap();
    let reordered = |object: &StoredObject| {
        let mut value = Value::clone(&object.value());
        let fields = value.as_object_mut().unwrap();
        let metadata = fields.shift_remove("metadata").unwrap();
        fields.insert("metadata".into(), metadata);
        fields["metadata"]["resourceVersion"] = "77".into();
        let fields = fields["metadata"].as_object_mut().unwrap();
        let name = fields.shift_remove("name").unwrap();
        fields.insert("name".into(), name);
        Ok::<_, ()>(Change::Put(value))
    };
    let kept = store.change_object(resource("secrets"), "ns", "a", reordered).unwrap();
    assert!(matches!(kept, Changed::Kept(object) if object.revision() == 1));
    store.update::<Secret>("ns", "a", |secret| secret.metadata.resource_version = Some("9".into())).unwrap();
    assert_eq!(store.revision(), 1);
    // As long as before, but not the same.
    let changed =
        store.change_object(resource("secrets"), "ns", "a", put::<()>(|value| value["data"]["key"] = "eQ==".into()));
    assert!(matches!(changed.unwrap(), Changed::Put(object) if object.revision() == 2));
}

#[test]
fn who_changes_an_object_may_refuse_keep_or_remove_it() {
    let store = Store::default();
    store.create_object(resource("secrets"), secret("a", "eA==")).unwrap();
    let change =
        |decision: Result<Change, &'static str>| store.change_object(resource("secrets"), "ns", "a", |_| decision);
    assert_eq!(change(Err("no")).unwrap_err(), ChangeError::Refused("no"));
    assert!(matches!(change(Ok(Change::Keep)).unwrap(), Changed::Kept(_)));
    let renamed =
        store.change_object(resource("secrets"), "ns", "a", put::<()>(|value| value["metadata"]["name"] = "b".into()));
    assert_eq!(
        renamed.unwrap_err().to_string(),
        "not a Secret that can be stored: its name or namespace is another than before"
    );
    assert_eq!(store.revision(), 1);
    let Changed::Removed(removed) = change(Ok(Change::Remove)).unwrap() else { panic!() };
    assert_eq!((removed.revision(), removed.value()["metadata"]["resourceVersion"].clone()), (2, "2".into()));
    assert_eq!(change(Ok(Change::Keep)).unwrap_err().to_string(), r#"Secret "a" not found in namespace "ns""#);
}

#[test]
fn what_is_no_object_is_not_stored() {
    let store = Store::default();
    let problem = |object: Value| store.create_object(resource("secrets"), object).unwrap_err().to_string();
    for (object, expected) in [
        (serde_json::json!([]), "it is not a JSON object"),
        (serde_json::json!({ "metadata": 1 }), "it has no metadata"),
        (serde_json::json!({ "metadata": {} }), "it has no name"),
        (serde_json::json!({ "metadata": { "name": "a\u{0}b" } }), "there is a zero byte in its name or namespace"),
        (
            serde_json::json!({ "metadata": { "name": "a", "labels": { "a": 1 } } }),
            "metadata: invalid type: integer `1`, expected a string",
        ),
    ] {
        assert_eq!(problem(object), format!("not a Secret that can be stored: {expected}"));
    }
    let large = secret("a", &"x".repeat(MAX_OBJECT_BYTES));
    assert!(problem(large).contains("more than the 1572864 an object may have"));
    assert_eq!(store.revision(), 0);
}

#[test]
fn a_list_is_read_in_pages() {
    let store = Store::default();
    for (namespace, name) in [("b", "1"), ("a", "2"), ("a", "1"), ("a-b", "1"), ("c", "1")] {
        let mut object = config_map(name);
        object.metadata.namespace = Some(namespace.into());
        store.create(object).unwrap();
    }
    let page = |namespace, after, limit| {
        let page = store.list_page(resource("configmaps"), namespace, after, limit);
        assert_eq!(page.revision, 5);
        let names: Vec<_> =
            page.objects.iter().map(|object| format!("{}/{}", object.namespace(), object.name())).collect();
        (names.join(" "), page.remaining)
    };
    assert_eq!(page(None, None, 2), ("a/1 a/2".into(), 3));
    assert_eq!(page(None, Some(("a", "2")), 2), ("a-b/1 b/1".into(), 1));
    // The object that was the last one of a page may be gone by the next.
    assert_eq!(page(None, Some(("a", "1x")), 9), ("a/2 a-b/1 b/1 c/1".into(), 0));
    assert_eq!(page(Some("a"), None, 1), ("a/1".into(), 1));
    assert_eq!(page(Some("a"), Some(("a", "1")), 9), ("a/2".into(), 0));
    assert_eq!(page(Some("b"), Some(("a", "2")), 9), ("b/1".into(), 0));
    assert_eq!(page(Some("a"), Some(("b", "1")), 9), (String::new(), 0));
    assert_eq!(page(Some("d"), None, 9), (String::new(), 0));
}
