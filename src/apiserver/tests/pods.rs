//! Pods: what admission makes of them, how they are bound, evicted, resized, debugged and deleted.

use super::*;

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

/// A pod that has been bound to the node.
async fn bound(cluster: &Cluster, name: &str) -> Value {
    cluster.post(PODS, pod(name)).await.good();
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "node"}});
    let answer = cluster.post(&format!("{PODS}/{name}/binding"), binding).await;
    assert_eq!((answer.code, &answer.body["status"]), (StatusCode::CREATED, &json!("Success")));
    cluster.get(&format!("{PODS}/{name}")).await.good()
}

/// §1, §14.
#[tokio::test]
async fn a_pod_begins_complete() {
    let cluster = Cluster::new().await;
    let mut sent = pod("p");
    sent["status"] = json!({"phase": "Running"});
    let pod = cluster.post(PODS, sent).await.good();
    assert_eq!(pod["metadata"]["generation"], 1);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    let spec = &pod["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["priority"]), (&json!("default"), &json!(0)));
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    let volume = &spec["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == 21, "{name}");
    let sources = volume["projected"]["sources"].as_array().unwrap();
    assert_eq!(sources[0]["serviceAccountToken"], json!({"expirationSeconds": 3607, "path": "token"}));
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    assert_eq!(sources[2]["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"], "metadata.namespace");
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": name, "readOnly": true}])
    );
}

#[tokio::test]
async fn tokens_are_mounted_unless_the_pod_or_its_account_says_otherwise() {
    let cluster = Cluster::new().await;
    let account = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false,
        "imagePullSecrets": [{"name": "s"}]});
    cluster.post(ACCOUNTS, account).await.good();
    for (account, pods_own, expected) in
        [("quiet", None, 0), ("quiet", Some(true), 1), ("default", None, 1), ("default", Some(false), 0)]
    {
        let mut pod = pod("");
        pod["metadata"] = json!({"generateName": "p-"});
        pod["spec"]["serviceAccountName"] = account.into();
        if let Some(own) = pods_own {
            pod["spec"]["automountServiceAccountToken"] = own.into();
        }
        let pod = cluster.post(PODS, pod).await.good();
        let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().map_or(0, Vec::len);
        assert_eq!(mounts, expected, "{account} {pods_own:?}");
        let secrets = pod["spec"]["imagePullSecrets"].as_array().map_or(0, Vec::len);
        assert_eq!(secrets, usize::from(account == "quiet"));
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_refused_for_what_is_not_there() {
    let cluster = Cluster::new().await;
    for (field, value, expected) in [
        (
            "serviceAccountName",
            "none",
            "pods \"p\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found",
        ),
        ("priorityClassName", "none", "pods \"p\" is forbidden: no PriorityClass with name none was found"),
        ("runtimeClassName", "none", "pods \"p\" is forbidden: pod rejected: RuntimeClass \"none\" not found"),
    ] {
        let mut pod = pod("p");
        pod["spec"][field] = value.into();
        assert_eq!(cluster.post(PODS, pod).await.error(), (403, "Forbidden", expected));
    }
    let answer = cluster.post("/api/v1/namespaces/other/pods", pod("p")).await;
    let expected =
        "pods \"p\" is forbidden: error looking up service account other/default: serviceaccount \"default\" not found";
    assert_eq!(answer.error(), (403, "Forbidden", expected));
}

#[tokio::test]
async fn a_pod_waits_for_the_account_of_a_new_namespace() {
    let cluster = Cluster::new().await;
    let late = async {
        tokio::task::yield_now().await;
        let account = json!({"metadata": {"name": "default"}});
        cluster.post("/api/v1/namespaces/other/serviceaccounts", account).await.good();
    };
    let (created, ()) = tokio::join!(cluster.post("/api/v1/namespaces/other/pods", pod("p")), late);
    created.good();
}

#[tokio::test]
async fn priorities_come_from_their_class() {
    let cluster = Cluster::new().await;
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, value: i32, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
    cluster.post(classes, class("high", 1000, false)).await.good();
    cluster.post(classes, class("usual", 5, true)).await.good();
    let refused = cluster.post(classes, class("other", 6, true)).await;
    let expected = "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as \
                    default. Only one default can exist";
    assert_eq!(refused.error(), (403, "Forbidden", expected));
    let mut named = pod("named");
    named["spec"]["priorityClassName"] = "high".into();
    assert_eq!(cluster.post(PODS, named.clone()).await.good()["spec"]["priority"], 1000);
    let usual = cluster.post(PODS, pod("usual")).await.good();
    assert_eq!((&usual["spec"]["priority"], &usual["spec"]["priorityClassName"]), (&json!(5), &json!("usual")));
    named["metadata"]["name"] = "wrong".into();
    named["spec"]["priority"] = 7.into();
    assert!(
        cluster.post(PODS, named).await.error().2.contains("the integer value of priority (7) must not be provided")
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_and_what_has_no_effect_is_warned_of() {
    let cluster = Cluster::new().await;
    let mut wrong = pod("p");
    wrong["spec"]["hostPID"] = true.into();
    let answer = cluster.post(PODS, wrong).await;
    assert_eq!((answer.error().0, answer.error().1), (422, "Invalid"));
    assert_eq!(answer.body["details"]["causes"][0]["field"], "spec.hostPID");
    let mut warned = pod("p");
    warned["spec"]["securityContext"] = json!({"runAsUser": 5});
    let answer = cluster.post(PODS, warned).await;
    assert!(answer.warnings()[0].starts_with("299 - \"spec.securityContext.runAsUser: "), "{:?}", answer.warnings());
    answer.good();
}

/// api.md §2 "Field validation".
#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let cluster = Cluster::new().await;
    let mut odd = pod("p");
    odd["spec"]["foo"] = 1.into();
    let strict = cluster.post(&format!("{PODS}?fieldValidation=Strict"), odd.clone()).await;
    let expected =
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\"";
    assert_eq!(strict.error(), (400, "BadRequest", expected));
    let warned = cluster.post(PODS, odd.clone()).await;
    assert_eq!(warned.warnings(), [r#"299 - "unknown field \"spec.foo\"""#]);
    assert_eq!(warned.good()["spec"]["foo"], Value::Null);
    odd["metadata"]["name"] = "q".into();
    assert!(cluster.post(&format!("{PODS}?fieldValidation=Ignore"), odd.clone()).await.warnings().is_empty());
    let wrong = cluster.post(&format!("{PODS}?fieldValidation=Sometimes"), odd).await;
    assert!(
        wrong.error().2.starts_with("CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value")
    );
    let misfit = json!({"metadata": {"name": "m"}, "spec": {"containers": "none"}});
    let expected = "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field \
                    PodSpec.spec.containers of type []v1.Container";
    assert_eq!(cluster.post(PODS, misfit).await.error(), (400, "BadRequest", expected));
}

/// §19.
#[tokio::test]
async fn of_a_pod_little_can_change() {
    let cluster = Cluster::new().await;
    let created = cluster.post(PODS, pod("p")).await.good();
    let path = format!("{PODS}/p");
    let mut changed = created.clone();
    changed["metadata"]["labels"] = json!({"a": "b"});
    changed["status"] = json!({"phase": "Failed"});
    let labelled = cluster.put(&path, changed.clone()).await.good();
    assert_eq!((&labelled["metadata"]["generation"], &labelled["status"]), (&json!(1), &created["status"]));
    changed["metadata"]["resourceVersion"] = Value::Null;
    changed["spec"]["containers"][0]["image"] = "j".into();
    assert_eq!(cluster.put(&path, changed.clone()).await.good()["metadata"]["generation"], 2);
    changed["spec"]["hostname"] = "h".into();
    let answer = cluster.put(&path, changed).await;
    assert!(
        answer.error().2.contains("spec: Forbidden: pod updates may not change fields other than"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_status_is_written_apart() {
    let cluster = Cluster::new().await;
    let mut pod = cluster.post(PODS, pod("p")).await.good();
    pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
    pod["spec"]["containers"][0]["image"] = "other".into();
    pod["metadata"]["labels"] = json!({"a": "b"});
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}]);
    let written = cluster.put(&format!("{PODS}/p/status"), pod).await.good();
    assert_eq!(
        (&written["status"]["phase"], &written["status"]["qosClass"]),
        (&json!("Running"), &json!("BestEffort"))
    );
    assert_eq!(written["spec"]["containers"][0]["image"], "i");
    assert_eq!(written["metadata"]["labels"]["a"], "b");
    assert_eq!(
        (&written["metadata"]["ownerReferences"], &written["metadata"]["generation"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(cluster.get(&format!("{PODS}/p/status")).await.good(), written);
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::new().await;
    let pod = bound(&cluster, "p").await;
    assert_eq!((&pod["spec"]["nodeName"], &pod["metadata"]["generation"]), (&json!("node"), &json!(2)));
    let condition = &pod["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("PodScheduled"), &json!("True")));
    let again = json!({"target": {"kind": "Node", "name": "node"}});
    let expected = "Operation cannot be fulfilled on pods \"p\": pod p is already assigned to node \"node\"";
    assert_eq!(cluster.post(&format!("{PODS}/p/binding"), again).await.error(), (409, "Conflict", expected));
}

/// §9 "Delete".
#[tokio::test]
async fn a_pod_that_runs_is_given_time() {
    let cluster = Cluster::new().await;
    bound(&cluster, "p").await;
    let path = format!("{PODS}/p");
    let deleted = cluster.delete(&path, json!({"gracePeriodSeconds": 20})).await.good();
    assert_eq!(deleted["kind"], "Pod");
    assert_eq!(deleted["metadata"]["deletionGracePeriodSeconds"], 20);
    assert_eq!(deleted["metadata"]["deletionTimestamp"], "2027-01-15T08:00:20Z");
    let longer = cluster.delete(&format!("{path}?gracePeriodSeconds=60"), json!({})).await.good();
    assert_eq!(longer["metadata"]["resourceVersion"], deleted["metadata"]["resourceVersion"]);
    // Whoever has stopped its containers deletes it for good.
    cluster.delete(&path, json!({"gracePeriodSeconds": 0})).await.good();
    assert_eq!(cluster.get(&path).await.code, StatusCode::NOT_FOUND);
    cluster.post(PODS, pod("waiting")).await.good();
    cluster.delete(&format!("{PODS}/waiting"), json!({})).await.good();
    assert_eq!(cluster.get(&format!("{PODS}/waiting")).await.code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_evicted_pod_is_told_why_and_deleted() {
    let cluster = Cluster::new().await;
    bound(&cluster, "p").await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let path = format!("{PODS}/p/eviction");
    cluster.post(&format!("{path}?dryRun=All"), eviction.clone()).await.good();
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.good()["metadata"]["deletionTimestamp"], Value::Null);
    let answer = cluster.post(&path, eviction).await;
    assert_eq!((answer.code, &answer.body["status"]), (StatusCode::CREATED, &json!("Success")));
    let pod = cluster.get(&format!("{PODS}/p")).await.good();
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 30);
    let condition = &pod["status"]["conditions"][1];
    assert_eq!(
        (&condition["type"], &condition["reason"], &condition["message"]),
        (&json!("DisruptionTarget"), &json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting"))
    );
}

/// §18 "Ephemeral", "Resize subresource".
#[tokio::test]
async fn containers_are_added_and_resized_through_their_subresources() {
    let cluster = Cluster::new().await;
    let mut pod = pod("p");
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    cluster.post(PODS, pod).await.good();
    let patch = |path: &str, body: Value| {
        let headers = [("content-type", "application/strategic-merge-patch+json")];
        let path = format!("{PODS}/p/{path}");
        let cluster = &cluster;
        async move { cluster.send("PATCH", &path, &headers, body.to_string()).await }
    };
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "i", "targetContainerName": "c"}]}});
    let debugged = patch("ephemeralcontainers", debug.clone()).await.good();
    assert_eq!(debugged["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    assert_eq!(debugged["metadata"]["generation"], 2);
    // The pod itself cannot get any, nor lose one.
    let mut without = debugged.clone();
    without["spec"]["ephemeralContainers"] = json!([]);
    let updated = cluster.put(&format!("{PODS}/p"), without).await.good();
    assert_eq!(updated["spec"]["ephemeralContainers"], debugged["spec"]["ephemeralContainers"]);
    let unknown = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "x"}]}});
    assert_eq!(
        patch("ephemeralcontainers", unknown).await.error().2,
        "Pod \"p\" is invalid: spec.ephemeralContainers[0].targetContainerName: Not found: \"x\""
    );
    let resources =
        |cpu: &str| json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    let resized = patch("resize", resources("2")).await.good();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "2");
    assert_eq!(resized["spec"]["containers"][0]["image"], "i");
    let limited = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
    assert!(patch("resize", limited).await.error().2.contains("must be less than or equal to cpu limit of 1"));
}

#[tokio::test]
async fn a_status_is_made_of_what_a_status_can_have() {
    let cluster = Cluster::new().await;
    let created = cluster.post(PODS, pod("a")).await.good();
    let path = format!("{PODS}/a/status");
    for status in [
        json!({"phase": 5}),
        json!({"conditions": "none"}),
        json!({"containerStatuses": [{"name": "c", "restartCount": "many"}]}),
        json!({"startTime": "yesterday"}),
    ] {
        let mut sent = created.clone();
        sent["status"] = status.clone();
        assert_eq!(cluster.put(&path, sent).await.code, StatusCode::BAD_REQUEST, "{status}");
        for patch in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
            let body = json!({"status": status}).to_string();
            let answer = cluster.send("PATCH", &path, &[("content-type", patch)], body).await;
            assert!(answer.code.is_client_error(), "{patch} {status}: {}", answer.text);
        }
    }
    assert_eq!(cluster.get(&path).await.good()["status"], created["status"]);
}
