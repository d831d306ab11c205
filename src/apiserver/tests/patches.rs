//! Patches of every kind, and whose fields are whose.

use super::*;

const MAP: &str = "/api/v1/namespaces/default/configmaps/m";

async fn patch(cluster: &Cluster, media: &str, query: &str, body: Value) -> Answer {
    let media = match media {
        "apply" => "application/apply-patch+yaml".to_owned(),
        other => format!("application/{other}-patch+json"),
    };
    cluster.send("PATCH", &format!("{MAP}?{query}"), &[("content-type", &media)], body.to_string()).await
}

#[tokio::test]
async fn every_kind_of_patch_changes_what_it_says() {
    let cluster = Cluster::new().await;
    cluster.config_map("m", json!({"a": "1", "b": "2"})).await;
    for (media, body, expected) in [
        ("merge", json!({"data": {"a": null, "c": "3"}}), json!({"b": "2", "c": "3"})),
        ("strategic-merge", json!({"data": {"b": null, "d": "4"}}), json!({"c": "3", "d": "4"})),
        ("json", json!([{"op": "replace", "path": "/data/c", "value": "5"}]), json!({"c": "5", "d": "4"})),
    ] {
        let patched = patch(&cluster, media, "", body).await.good();
        assert_eq!(patched["data"], expected, "{media}");
    }
    let same = cluster.get(MAP).await.good();
    assert_eq!(patch(&cluster, "merge", "", json!({"data": {"c": "5"}})).await.good(), same);
}

#[tokio::test]
async fn wrong_patches_are_refused() {
    let cluster = Cluster::new().await;
    cluster.config_map("m", json!({"a": "1"})).await;
    for (media, query, body, code, expected) in [
        ("merge", "", json!({"metadata": {"resourceVersion": "1"}}), 409, "the object has been modified"),
        ("merge", "", json!({"metadata": {"uid": "other"}}), 409, "Precondition failed: UID in precondition: other"),
        (
            "merge",
            "",
            json!({"metadata": {"name": "n"}}),
            400,
            "the name of the object (n) does not match the name on the URL",
        ),
        ("merge", "", json!({"data": {"a b": "c"}}), 422, "data[a b]: Invalid value"),
        ("merge", "", json!({"data": 5}), 400, "cannot be handled as a ConfigMap: json: cannot unmarshal number"),
        ("merge", "fieldValidation=Strict", json!({"foo": 1}), 422, "strict decoding error: unknown field \"foo\""),
        ("merge", "force=true", json!({}), 422, "force: Forbidden: may not be specified for non-apply patch"),
        ("json", "", json!([{"op": "remove", "path": "/none"}]), 422, ""),
        ("json", "", json!({"op": "remove"}), 400, ""),
        ("apply", "", json!({"data": {}}), 422, "fieldManager: Required value: is required for apply patch"),
        (
            "unknown",
            "",
            json!({}),
            415,
            "the body of the request was in an unknown format - accepted media types include: \
            application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, \
            application/strategic-merge-patch+json",
        ),
    ] {
        let answer = patch(&cluster, media, query, body.clone()).await;
        let error = answer.error();
        assert!(error.0 == code && error.2.contains(expected), "{media} {query} {body}: {}", answer.text);
    }
    let nothing = patch(&cluster, "merge", "", json!({})).await;
    assert_eq!(nothing.good()["data"]["a"], "1");
    cluster.delete(MAP, json!({})).await.good();
    assert_eq!(patch(&cluster, "merge", "", json!({})).await.error(), (404, "NotFound", "configmaps \"m\" not found"));
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries.map(|entry| format!("{} {}", text(entry, "manager"), text(entry, "operation"))).collect()
}

#[tokio::test]
async fn applying_makes_and_keeps_what_is_said() {
    let cluster = Cluster::new().await;
    let configuration =
        |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    let created = patch(&cluster, "apply", "fieldManager=one", configuration(json!({"a": "1", "b": "2"}))).await;
    assert_eq!(created.code, StatusCode::CREATED);
    let created = created.good();
    assert_eq!(managers(&created), ["one Apply"]);
    let again = patch(&cluster, "apply", "fieldManager=one", configuration(json!({"a": "1", "b": "2"}))).await;
    assert_eq!((again.code, again.good()), (StatusCode::OK, created));
    // What is left out goes.
    let less = patch(&cluster, "apply", "fieldManager=one", configuration(json!({"a": "1"}))).await.good();
    assert_eq!(less["data"], json!({"a": "1"}));
    let conflict = patch(&cluster, "apply", "fieldManager=two", configuration(json!({"a": "2"}))).await;
    let expected = "Apply failed with 1 conflict: conflict with \"one\": .data.a";
    assert_eq!(conflict.error(), (409, "Conflict", expected));
    let cause = &conflict.body["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldManagerConflict"), &json!(".data.a")));
    let forced = patch(&cluster, "apply", "fieldManager=two&force=true", configuration(json!({"a": "2"}))).await.good();
    assert_eq!(forced["data"], json!({"a": "2"}));
    let dry = patch(&cluster, "apply", "fieldManager=two&dryRun=All", configuration(json!({"a": "3"}))).await.good();
    assert_eq!((&dry["data"]["a"], &cluster.get(MAP).await.good()["data"]["a"]), (&json!("3"), &json!("2")));
}

#[tokio::test]
async fn who_writes_manages_what_was_written() {
    let cluster = Cluster::new().await;
    let agent = [("user-agent", "kubectl-create/v1.33 (linux)")];
    let body = json!({"metadata": {"name": "m"}, "data": {"a": "1"}}).to_string();
    let created = cluster.send("POST", MAPS, &agent, body).await.good();
    assert_eq!(managers(&created), ["kubectl-create Update"]);
    let patched = patch(&cluster, "merge", "fieldManager=me", json!({"data": {"a": "2"}})).await.good();
    // Who made the map still has it, though no longer what is in it.
    assert_eq!(managers(&patched), ["kubectl-create Update", "me Update"]);
    let fields = &patched["metadata"]["managedFields"];
    assert_eq!(fields[0]["fieldsV1"], json!({"f:data": {}}));
    assert_eq!(fields[1]["fieldsV1"], json!({"f:data": {"f:a": {}}}));
    assert_eq!((&fields[1]["apiVersion"], &fields[1]["fieldsType"]), (&json!("v1"), &json!("FieldsV1")));
}
