//! Objects are created, read, listed, changed and deleted.

use super::*;

const MAP: &str = "/api/v1/namespaces/default/configmaps/m";
const NO_PATH: &str = "the server could not find the requested resource";

/// A method, a path and a body; the code, the reason and the message that they are answered with.
type Wrong = (&'static str, &'static str, &'static str, u16, &'static str, &'static str);

const WRONG: &[Wrong] = &[
    ("GET", "/api/v1/namespaces/default/pods/p", "", 404, "NotFound", r#"pods "p" not found"#),
    (
        "GET",
        "/apis/coordination.k8s.io/v1/namespaces/default/leases/l",
        "",
        404,
        "NotFound",
        r#"leases.coordination.k8s.io "l" not found"#,
    ),
    ("GET", "/nothing", "", 404, "NotFound", NO_PATH),
    ("GET", "/api/v1/unicorns", "", 404, "NotFound", NO_PATH),
    ("POST", MAPS, r#"{"metadata": {"name": "m"}}"#, 409, "AlreadyExists", r#"configmaps "m" already exists"#),
    (
        "POST",
        "/api/v1/namespaces/none/configmaps",
        r#"{"metadata": {"name": "m"}}"#,
        404,
        "NotFound",
        r#"namespaces "none" not found"#,
    ),
    (
        "POST",
        MAPS,
        r#"{"metadata": {"name": "x", "namespace": "other"}}"#,
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    (
        "POST",
        MAPS,
        r#"{"metadata": {"name": "x", "resourceVersion": "5"}}"#,
        500,
        "",
        "resourceVersion should not be set on objects to be created",
    ),
    (
        "PUT",
        MAP,
        r#"{"metadata": {"name": "x"}}"#,
        400,
        "BadRequest",
        "the name of the object (x) does not match the name on the URL (m)",
    ),
    (
        "PUT",
        "/api/v1/namespaces/default/configmaps/none",
        r#"{"metadata": {"name": "none"}}"#,
        404,
        "NotFound",
        r#"configmaps "none" not found"#,
    ),
    (
        "PUT",
        MAP,
        r#"{"metadata": {"name": "m", "resourceVersion": "1"}}"#,
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes to the \
         latest version and try again",
    ),
    (
        "DELETE",
        MAP,
        r#"{"preconditions": {"resourceVersion": "1"}}"#,
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"m\": the ResourceVersion in the precondition (1) does not match the \
         ResourceVersion in record (4). The object might have been modified",
    ),
    (
        "POST",
        MAPS,
        r#"{"metadata": {"name": "A_B"}, "data": {"a b": "c"}}"#,
        422,
        "Invalid",
        "ConfigMap \"A_B\" is invalid: [metadata.name: Invalid value: \"A_B\": a lowercase RFC 1123 subdomain must consist \
         of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
         'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), data[a b]: Invalid value: \"a b\": a valid \
         config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
         'key-name', regex used for validation is '[-._a-zA-Z0-9]+')]",
    ),
    (
        "POST",
        MAPS,
        r#"{"kind": "Secret", "apiVersion": "v1"}"#,
        400,
        "BadRequest",
        "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (v1.ConfigMap): unknown \
         conversion",
    ),
    ("GET", "/api/v1/pods?fieldSelector=spec.foo=x", "", 400, "BadRequest", "field label not supported: spec.foo"),
    ("GET", "/api/v1/pods?resourceVersion=9999", "", 504, "Timeout", "Too large resource version: 9999, current: 4"),
    (
        "POST",
        "/api/v1/namespaces/default/configmaps?dryRun=None",
        r#"{"metadata": {"name": "x"}}"#,
        422,
        "Invalid",
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"None\": supported values: \"All\"",
    ),
];

#[tokio::test]
async fn errors_are_kubernetes_own() {
    let cluster = Cluster::new().await;
    cluster.config_map("m", json!({"a": "b"})).await;
    for (method, path, body, code, reason, message) in WRONG {
        let answer = cluster.send(method, path, &[], *body).await;
        assert_eq!(answer.error(), (*code, *reason, *message), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn an_error_names_what_it_is_about() {
    let cluster = Cluster::new().await;
    let details = cluster.get("/apis/node.k8s.io/v1/runtimeclasses/r").await.body["details"].clone();
    assert_eq!(details, json!({"name": "r", "group": "node.k8s.io", "kind": "runtimeclasses"}));
    let details = cluster.post(MAPS, json!({"data": {"a b": "c"}})).await.body["details"].clone();
    assert_eq!(details["kind"], "ConfigMap");
    assert_eq!(
        details["causes"][0],
        json!({"reason": "FieldValueRequired", "message": "Required value: name or generateName is required",
            "field": "metadata.name"})
    );
    assert_eq!(details["causes"][1]["field"], "data[a b]");
}

#[tokio::test]
async fn who_does_not_say_who_they_are_gets_nothing() {
    let cluster = Cluster::new().await;
    let request = Request::get("/api/v1/pods").body(Body::empty()).unwrap();
    let response = cluster.send_raw(request).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&body["reason"], &body["message"]), (&json!("Unauthorized"), &json!("Unauthorized")));
}

#[tokio::test]
async fn an_object_is_what_was_written() {
    let cluster = Cluster::new().await;
    let created =
        cluster.post(MAPS, json!({"metadata": {"name": "m", "labels": {"a": "b"}}, "data": {"k": "v"}})).await;
    assert_eq!(created.code, StatusCode::CREATED);
    let created = created.good();
    assert_eq!(created["metadata"]["namespace"], "default");
    assert_eq!(created["metadata"]["creationTimestamp"], "2027-01-15T08:00:00Z");
    assert_eq!(created["metadata"]["uid"].as_str().unwrap().len(), 36);
    let path = format!("{MAPS}/m");
    assert_eq!(cluster.get(&path).await.good(), created);

    let mut changed = created.clone();
    changed["data"]["k"] = "w".into();
    changed["metadata"]["uid"] = Value::Null;
    changed["metadata"]["creationTimestamp"] = Value::Null;
    let updated = cluster.put(&path, changed.clone()).await.good();
    assert_eq!(updated["data"]["k"], "w");
    assert_eq!(updated["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(updated["metadata"]["creationTimestamp"], created["metadata"]["creationTimestamp"]);
    assert_ne!(updated["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    // The same once more is an old revision; without one, it changes nothing.
    assert_eq!(cluster.put(&path, changed.clone()).await.error().1, "Conflict");
    changed["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(cluster.put(&path, changed).await.good(), updated);

    let deleted = cluster.delete(&path, json!({})).await.good();
    assert_eq!((&deleted["kind"], &deleted["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(deleted["details"], json!({"name": "m", "kind": "configmaps", "uid": created["metadata"]["uid"]}));
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn names_are_generated() {
    let cluster = Cluster::new().await;
    let name = cluster.post(MAPS, json!({"metadata": {"generateName": "m-"}})).await.good()["metadata"]["name"].clone();
    let name = name.as_str().unwrap();
    assert!(name.starts_with("m-") && name.len() == 7, "{name}");
    let long = cluster.post(MAPS, json!({"metadata": {"generateName": "a".repeat(80)}})).await.good();
    assert_eq!(long["metadata"]["name"].as_str().unwrap().len(), 63);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let cluster = Cluster::new().await;
    let path = format!("{MAPS}/m");
    let dry = cluster.post(&format!("{MAPS}?dryRun=All"), json!({"metadata": {"name": "m"}})).await;
    assert_eq!(dry.code, StatusCode::CREATED);
    assert_eq!(dry.body["metadata"]["name"], "m");
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
    let before = cluster.config_map("m", json!({"k": "v"})).await;
    let dry = cluster.put(&format!("{path}?dryRun=All"), json!({"metadata": {"name": "m"}, "data": {"k": "w"}})).await;
    assert_eq!(dry.good()["data"]["k"], "w");
    cluster.delete(&format!("{path}?dryRun=All"), json!({})).await.good();
    cluster.delete(&path, json!({"dryRun": ["All"]})).await.good();
    cluster.delete(&format!("{MAPS}?dryRun=All"), json!({})).await.good();
    assert_eq!(cluster.get(&path).await.good(), before);
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let cluster = Cluster::new().await;
    for index in 0..5 {
        let parity = if index % 2 == 0 { "even" } else { "odd" };
        let object = json!({"metadata": {"name": format!("m{index}"), "labels": {"parity": parity}}});
        cluster.post(MAPS, object).await.good();
    }
    let names = |list: &Value| {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("", "m0 m1 m2 m3 m4"),
        ("?labelSelector=parity%3Deven", "m0 m2 m4"),
        ("?labelSelector=parity+notin+(even)", "m1 m3"),
        ("?labelSelector=!parity", ""),
        ("?fieldSelector=metadata.name%3Dm3", "m3"),
        ("?fieldSelector=metadata.name!%3Dm3,", "m0 m1 m2 m4"),
        ("?fieldSelector=metadata.namespace=other", ""),
    ] {
        let list = cluster.get(&format!("{MAPS}{query}")).await.good();
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
        assert_eq!(names(&list), expected, "{query}");
    }
    let page = cluster.get(&format!("{MAPS}?limit=2")).await.good();
    assert_eq!((names(&page).as_str(), &page["metadata"]["remainingItemCount"]), ("m0 m1", &json!(3)));
    // What happens between pages does not show.
    cluster.delete(&format!("{MAPS}/m3"), json!({})).await.good();
    cluster.put(&format!("{MAPS}/m2"), json!({"metadata": {"name": "m2"}, "data": {"new": "x"}})).await.good();
    cluster.config_map("m22", json!({})).await;
    let token = page["metadata"]["continue"].as_str().unwrap().replace('=', "%3D");
    let next = cluster.get(&format!("{MAPS}?limit=2&continue={token}")).await.good();
    assert_eq!(names(&next), "m2 m3");
    assert_eq!(next["items"][0]["data"], Value::Null);
    assert_eq!(next["metadata"]["resourceVersion"], page["metadata"]["resourceVersion"]);
    let token = next["metadata"]["continue"].as_str().unwrap().replace('=', "%3D");
    let last = cluster.get(&format!("{MAPS}?limit=2&continue={token}")).await.good();
    assert_eq!((names(&last).as_str(), &last["metadata"]["continue"]), ("m4", &Value::Null));
    assert_eq!(names(&cluster.get(MAPS).await.good()), "m0 m1 m2 m22 m4");
}

#[tokio::test]
async fn a_page_that_is_too_old_says_how_to_go_on() {
    let cluster = Cluster::new().await;
    for index in 0..3 {
        cluster.config_map(&format!("m{index}"), json!({})).await;
    }
    let page = cluster.get(&format!("{MAPS}?limit=1")).await.good();
    let map: k8s_openapi::api::core::v1::ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "churn", "namespace": "other"}})).unwrap();
    cluster.store.create(map).unwrap();
    for round in 0..=crate::store::MAX_HISTORY {
        let change = |map: &mut k8s_openapi::api::core::v1::ConfigMap| {
            map.data = Some([("k".to_owned(), round.to_string())].into());
        };
        cluster.store.update("other", "churn", change).unwrap();
    }
    let token = page["metadata"]["continue"].as_str().unwrap().replace('=', "%3D");
    let answer = cluster.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((answer.error().0, answer.error().1), (410, "Expired"));
    let token = answer.body["metadata"]["continue"].as_str().unwrap().replace('=', "%3D");
    let next = cluster.get(&format!("{MAPS}?limit=1&continue={token}")).await.good();
    assert_eq!(next["items"][0]["metadata"]["name"], "m1");
    let exact = cluster.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!((exact.error().0, exact.error().1), (410, "Expired"));
}
