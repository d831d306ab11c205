//! What kinds do differently from one another.

use super::*;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec["ports"].is_null() {
        spec["ports"] = json!([{"port": 80}]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn services_get_addresses_of_their_own() {
    let cluster = Cluster::new().await;
    let first = cluster.post(SERVICES, service("a", json!({}))).await.good();
    assert_eq!(first["spec"]["clusterIP"], "10.96.1.1");
    assert_eq!(first["spec"]["clusterIPs"], json!(["10.96.1.1"]));
    let second = cluster.post(SERVICES, service("b", json!({}))).await.good();
    assert_eq!(second["spec"]["clusterIP"], "10.96.1.2");
    let taken = cluster.post(SERVICES, service("c", json!({"clusterIP": "10.96.1.1"}))).await;
    assert!(
        taken.error().2.ends_with("failed to allocate IP 10.96.1.1: provided IP is already allocated"),
        "{}",
        taken.text
    );
    // A dry run takes nothing, and what is deleted is free.
    cluster.post(&format!("{SERVICES}?dryRun=All"), service("d", json!({}))).await.good();
    cluster.delete(&format!("{SERVICES}/a"), json!({})).await.good();
    let third = cluster.post(SERVICES, service("e", json!({}))).await.good();
    assert_eq!(third["spec"]["clusterIP"], "10.96.1.1");
    let headless = cluster.post(SERVICES, service("h", json!({"clusterIP": "None"}))).await.good();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test]
async fn services_keep_what_they_were_given() {
    let cluster = Cluster::new().await;
    let created = cluster.post(SERVICES, service("s", json!({"type": "NodePort"}))).await.good();
    let port = created["spec"]["ports"][0]["nodePort"].clone();
    assert!((30_000..=32_767).contains(&port.as_i64().unwrap()), "{port}");
    assert_eq!(created["spec"]["externalTrafficPolicy"], "Cluster");
    let path = format!("{SERVICES}/s");
    let again = cluster.put(&path, service("s", json!({"type": "NodePort"}))).await.good();
    assert_eq!(again["spec"]["clusterIP"], created["spec"]["clusterIP"]);
    assert_eq!(again["spec"]["ports"][0]["nodePort"], port);
    let moved = cluster.put(&path, service("s", json!({"type": "NodePort", "clusterIP": "10.96.9.9"}))).await;
    let expected =
        "Service \"s\" is invalid: spec.clusterIPs[0]: Invalid value: [\"10.96.9.9\"]: may not change once set";
    assert_eq!(moved.error(), (422, "Invalid", expected));
    let mut plain = again.clone();
    plain["spec"]["type"] = "ClusterIP".into();
    let plain = cluster.put(&path, plain).await.good();
    assert_eq!(plain["spec"]["ports"][0]["nodePort"], Value::Null);
    let mut external = plain.clone();
    external["spec"] = json!({"type": "ExternalName", "externalName": "example.com", "clusterIP": plain["spec"]["clusterIP"],
        "clusterIPs": plain["spec"]["clusterIPs"]});
    let external = cluster.put(&path, external).await.good();
    assert_eq!((&external["spec"]["clusterIP"], &external["spec"]["clusterIPs"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn what_is_immutable_stays() {
    let cluster = Cluster::new().await;
    let map = |data: Value| json!({"metadata": {"name": "m"}, "data": data, "immutable": true});
    cluster.post(MAPS, map(json!({"a": "b"}))).await.good();
    let changed = cluster.put(&format!("{MAPS}/m"), map(json!({"a": "c"}))).await;
    let expected = "ConfigMap \"m\" is invalid: data: Forbidden: field is immutable when `immutable` is set";
    assert_eq!(changed.error(), (422, "Invalid", expected));
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = cluster.post(secrets, json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}})).await.good();
    assert_eq!(
        (&secret["data"], &secret["stringData"], &secret["type"]),
        (&json!({"a": "Yg=="}), &Value::Null, &json!("Opaque"))
    );
    let other = json!({"metadata": {"name": "s"}, "type": "example.com/x"});
    let expected = "Secret \"s\" is invalid: type: Invalid value: \"example.com/x\": field is immutable";
    assert_eq!(cluster.put(&format!("{secrets}/s"), other).await.error(), (422, "Invalid", expected));
}

#[tokio::test]
async fn a_namespace_goes_when_its_content_is_gone() {
    let cluster = Cluster::new().await;
    let path = "/api/v1/namespaces/other";
    let namespace = cluster.get(path).await.good();
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], "other");
    assert_eq!(
        (&namespace["spec"]["finalizers"], &namespace["status"]["phase"]),
        (&json!(["kubernetes"]), &json!("Active"))
    );
    let deleted = cluster.delete(path, json!({})).await.good();
    assert_eq!((&deleted["kind"], &deleted["status"]["phase"]), (&json!("Namespace"), &json!("Terminating")));
    let refused = cluster.post("/api/v1/namespaces/other/configmaps", json!({"metadata": {"name": "m"}})).await;
    let expected = "configmaps \"m\" is forbidden: unable to create new content in namespace other because it is being \
                    terminated";
    assert_eq!(refused.error(), (403, "Forbidden", expected));
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut finalized = cluster.get(path).await.good();
    finalized["spec"]["finalizers"] = json!([]);
    // Not through the namespace itself.
    cluster.put(path, finalized.clone()).await.good();
    assert_eq!(cluster.get(path).await.good()["spec"]["finalizers"], json!(["kubernetes"]));
    finalized["metadata"]["resourceVersion"] = Value::Null;
    cluster.put(&format!("{path}/finalize"), finalized).await.good();
    assert_eq!(cluster.get(path).await.code, StatusCode::NOT_FOUND);
    let expected = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    assert_eq!(cluster.delete("/api/v1/namespaces/default", json!({})).await.error(), (403, "Forbidden", expected));
}

#[tokio::test]
async fn finalizers_and_policies_hold_an_object() {
    let cluster = Cluster::new().await;
    let path = format!("{MAPS}/m");
    cluster.post(MAPS, json!({"metadata": {"name": "m", "finalizers": ["a/b"]}})).await.good();
    let held = cluster.delete(&path, json!({})).await.good();
    assert_eq!(held["metadata"]["deletionTimestamp"], "2027-01-15T08:00:00Z");
    let more = cluster.put(&path, json!({"metadata": {"name": "m", "finalizers": ["a/b", "c/d"]}})).await;
    let expected = "ConfigMap \"m\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the \
                    object is being deleted, found new finalizers []string{\"c/d\"}";
    assert_eq!(more.error(), (422, "Invalid", expected));
    cluster.put(&path, json!({"metadata": {"name": "m"}})).await.good();
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        cluster.config_map("m", json!({})).await;
        let held = cluster.delete(&format!("{path}?propagationPolicy={policy}"), json!({})).await.good();
        assert_eq!(held["metadata"]["finalizers"], json!([finalizer]));
        cluster.put(&path, json!({"metadata": {"name": "m"}})).await.good();
    }
    cluster.config_map("m", json!({})).await;
    let wrong = cluster.delete(&path, json!({"propagationPolicy": "Never"})).await;
    assert_eq!(wrong.error().0, 422);
    // Clients say the options' group in more than one way.
    let options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "propagationPolicy": "Background"});
    cluster.delete(&path, options).await.good();
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn collections_are_deleted_as_selected() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c"] {
        cluster.post(MAPS, json!({"metadata": {"name": name, "labels": {"name": name}}})).await.good();
    }
    let deleted = cluster.delete(&format!("{MAPS}?labelSelector=name!=b"), json!({})).await.good();
    assert_eq!((&deleted["kind"], deleted["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 2));
    let left = cluster.get(MAPS).await.good();
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["metadata"]["name"]), (1, &json!("b")));
}

#[tokio::test]
async fn events_are_one_thing_in_two_forms() {
    let cluster = Cluster::new().await;
    let (core, new) = ("/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events");
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "hello", "reason": "R", "type": "Normal", "count": 1});
    cluster.post(core, event).await.good();
    let seen = cluster.get(&format!("{new}/e")).await.good();
    assert_eq!(
        (&seen["apiVersion"], &seen["note"], &seen["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("hello"), &json!("p"))
    );
    let event = json!({"metadata": {"name": "f"}, "regarding": {"kind": "Pod", "name": "q", "namespace": "default"},
        "note": "there", "reason": "R", "type": "Normal", "eventTime": "2027-01-15T08:00:00.000000Z",
        "reportingController": "x/y", "reportingInstance": "i", "action": "a"});
    let created = cluster.post(new, event).await.good();
    assert_eq!((&created["kind"], &created["note"]), (&json!("Event"), &json!("there")));
    let stored = cluster.get(&format!("{core}/f")).await.good();
    assert_eq!(
        (&stored["apiVersion"], &stored["message"], &stored["reportingComponent"]),
        (&json!("v1"), &json!("there"), &json!("x/y"))
    );
    for (path, query) in [(core, "involvedObject.name=p"), (new, "regarding.name=p")] {
        let list = cluster.get(&format!("{path}?fieldSelector={query}")).await.good();
        assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["metadata"]["name"]), (1, &json!("e")));
    }
    let headers = [("content-type", "application/merge-patch+json")];
    let patched = cluster.send("PATCH", &format!("{new}/e"), &headers, json!({"note": "bye"}).to_string()).await.good();
    assert_eq!(patched["note"], "bye");
    assert_eq!(cluster.get(&format!("{core}/e")).await.good()["message"], "bye");
}

#[tokio::test]
async fn leases_must_say_what_they_replace() {
    let cluster = Cluster::new().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = |holder: &str| json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": holder}});
    // What is not there is made by an update.
    assert_eq!(cluster.put(&format!("{leases}/l"), lease("a")).await.code, StatusCode::CREATED);
    let expected = "Lease.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be \
                    specified for an update";
    assert_eq!(cluster.put(&format!("{leases}/l"), lease("b")).await.error(), (422, "Invalid", expected));
}

#[tokio::test]
async fn owners_are_named_in_full() {
    let cluster = Cluster::new().await;
    let owned = |owners: Value| json!({"metadata": {"name": "m", "ownerReferences": owners}});
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": uid, "uid": uid, "controller": true});
    for (owners, expected) in [
        (
            json!([{"kind": "Pod", "name": "p", "uid": "u"}]),
            "ownerReferences[0].apiVersion: Invalid value: \"\": version must",
        ),
        (
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "p"}]),
            "ownerReferences[0].uid: Invalid value: \"\": must not be empty",
        ),
        (
            json!([owner("a"), owner("b")]),
            "Only one reference can have Controller set to true. Found \"true\" in references for a and b",
        ),
    ] {
        let answer = cluster.post(MAPS, owned(owners)).await;
        assert!(answer.error().0 == 422 && answer.error().2.contains(expected), "{}", answer.text);
    }
    cluster.post(MAPS, owned(json!([owner("a")]))).await.good();
}

#[tokio::test]
async fn what_is_said_through_a_status_must_be_valid_too() {
    let cluster = Cluster::new().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let mut claim = cluster.post(claims, claim).await.good();
    claim["status"] = json!({"phase": "Bound"});
    let bound = cluster.put(&format!("{claims}/c/status"), claim.clone()).await.good();
    assert_eq!(bound["status"]["phase"], "Bound");
    claim["metadata"] = json!({"name": "c", "labels": {"a b": "c"}});
    let wrong = cluster.put(&format!("{claims}/c/status"), claim).await;
    assert!(wrong.error().2.contains("metadata.labels: Invalid value: \"a b\""), "{}", wrong.text);
}
