//! Changes are told as they happen.

use std::time::Duration;

use super::*;

/// A watch whose lines can be awaited.
pub(super) struct Watching {
    body: Body,
    buffer: String,
}

impl Watching {
    pub(super) async fn begin(cluster: &Cluster, uri: &str, headers: &[(&str, &str)]) -> Self {
        let response = cluster.send_raw(cluster.request("GET", uri, headers, Body::empty())).await;
        assert_eq!(response.status(), StatusCode::OK);
        Self { body: response.into_body(), buffer: String::new() }
    }

    /// The next event; `None` when the watch has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.buffer.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// `TYPE name` of the next event.
    pub(super) async fn told(&mut self) -> String {
        match self.next().await {
            None => "end".to_owned(),
            Some(event) => {
                let (kind, name) = (&event["type"], &event["object"]["metadata"]["name"]);
                format!("{} {}", kind.as_str().unwrap(), name.as_str().unwrap_or_default())
            }
        }
    }
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_what_happens() {
    let cluster = Cluster::new().await;
    cluster.config_map("a", json!({})).await;
    for version in ["", "&resourceVersion=0"] {
        let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1{version}"), &[]).await;
        assert_eq!(watch.told().await, "ADDED a");
        cluster.config_map("b", json!({})).await;
        assert_eq!(watch.told().await, "ADDED b");
        cluster.put(&format!("{MAPS}/b"), json!({"metadata": {"name": "b"}, "data": {"k": "v"}})).await.good();
        assert_eq!(watch.told().await, "MODIFIED b");
        cluster.delete(&format!("{MAPS}/b"), json!({})).await.good();
        let event = watch.next().await.unwrap();
        assert_eq!((&event["type"], &event["object"]["data"]["k"]), (&json!("DELETED"), &json!("v")));
        let revision = cluster.store.revision().to_string();
        assert_eq!(event["object"]["metadata"]["resourceVersion"], revision);
    }
}

#[tokio::test]
async fn a_watch_goes_on_from_a_revision() {
    let cluster = Cluster::new().await;
    let first = cluster.config_map("a", json!({})).await;
    cluster.config_map("b", json!({})).await;
    cluster.delete(&format!("{MAPS}/a"), json!({})).await.good();
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1&resourceVersion={revision}"), &[]).await;
    assert_eq!([watch.told().await, watch.told().await], ["ADDED b", "DELETED a"]);
}

#[tokio::test]
async fn objects_come_into_a_selection_and_leave_it() {
    let cluster = Cluster::new().await;
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1&labelSelector=on"), &[]).await;
    let labelled = |labels: Value| json!({"metadata": {"name": "a", "labels": labels}});
    cluster.post(MAPS, labelled(json!({}))).await.good();
    let path = format!("{MAPS}/a");
    for (labels, expected) in [
        (json!({"on": "1"}), "ADDED a"),
        (json!({"on": "2"}), "MODIFIED a"),
        (json!({}), "DELETED a"),
        (json!({"on": "3"}), "ADDED a"),
    ] {
        cluster.put(&path, labelled(labels)).await.good();
        assert_eq!(watch.told().await, expected);
    }
    cluster.delete(&path, json!({})).await.good();
    assert_eq!(watch.told().await, "DELETED a");
}

#[tokio::test]
async fn a_watch_from_too_long_ago_is_told_so() {
    let cluster = Cluster::new().await;
    for _ in 0..=crate::store::MAX_HISTORY / 2 {
        let map: k8s_openapi::api::core::v1::ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "churn", "namespace": "other"}})).unwrap();
        cluster.store.create(map).unwrap();
        cluster.store.delete::<k8s_openapi::api::core::v1::ConfigMap>("other", "churn").unwrap();
    }
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1&resourceVersion=1"), &[]).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!(watch.told().await, "end");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_how_far_a_watch_has_come() {
    let cluster = Cluster::new().await;
    cluster.config_map("a", json!({})).await;
    let query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?{query}"), &[]).await;
    assert_eq!(watch.told().await, "ADDED a");
    let end = watch.next().await.unwrap();
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&end["object"]["kind"], &end["object"]["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    // Something that happens elsewhere is told of by the next bookmark alone.
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "third"}})).await.good();
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], cluster.store.revision().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_in_time_and_makes_room() {
    let cluster = Cluster::new().await;
    let left = || cluster.server.0.lanes.of(&Identity::admin()).watches.available_permits();
    let room = left();
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1&timeoutSeconds=5"), &[]).await;
    assert_eq!(left(), room - 1);
    let begun = tokio::time::Instant::now();
    assert_eq!(watch.told().await, "end");
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    drop(watch);
    assert_eq!(left(), room);
}

#[tokio::test]
async fn a_watch_of_a_table_says_its_columns_once() {
    let cluster = Cluster::new().await;
    cluster.config_map("a", json!({})).await;
    cluster.config_map("b", json!({})).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1"), &accept).await;
    let (first, second) =
        (watch.next().await.unwrap()["object"].clone(), watch.next().await.unwrap()["object"].clone());
    assert_eq!((&first["kind"], &second["kind"]), (&json!("Table"), &json!("Table")));
    assert!(first["columnDefinitions"].is_array() && second["columnDefinitions"].is_null());
    assert_eq!(second["rows"][0]["cells"][0], "b");
    assert_eq!(second["rows"][0]["object"]["metadata"]["name"], "b");
}

#[tokio::test(start_paused = true)]
async fn ages_are_those_of_the_moment_not_of_the_watch() {
    let cluster = Cluster::new().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1"), &accept).await;
    tokio::time::advance(Duration::from_secs(100)).await;
    cluster.config_map("late", json!({})).await;
    assert_eq!(watch.next().await.unwrap()["object"]["rows"][0]["cells"][2], "0s");
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let cluster = Cluster::new().await;
    for (query, expected) in [
        (
            "resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch",
        ),
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents requires setting"),
        (
            "sendInitialEvents=true&resourceVersionMatch=Exact",
            "resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"",
        ),
        (
            "sendInitialEvents=1&resourceVersionMatch=NotOlderThan",
            "sendInitialEvents: Forbidden: sendInitialEvents requires",
        ),
        ("resourceVersion=9999", "Too large resource version: 9999, current: "),
        ("resourceVersion=x", "invalid resource version \"x\""),
        ("timeoutSeconds=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
    ] {
        let answer = cluster.get(&format!("{MAPS}?watch=1&{query}")).await;
        assert!(answer.error().2.contains(expected), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_watch_ends_with_the_streams_of_a_server_that_is_about_to_end() {
    let cluster = Cluster::new().await;
    cluster.config_map("a", json!({})).await;
    let mut watch = Watching::begin(&cluster, &format!("{MAPS}?watch=1"), &[]).await;
    assert_eq!(watch.told().await, "ADDED a");
    cluster.server.end_streams();
    assert_eq!(watch.told().await, "end");
}

#[tokio::test]
async fn watches_have_paths_of_old() {
    let cluster = Cluster::new().await;
    cluster.config_map("a", json!({})).await;
    cluster.config_map("b", json!({})).await;
    let mut all = Watching::begin(&cluster, "/api/v1/watch/namespaces/default/configmaps", &[]).await;
    assert_eq!((all.told().await, all.told().await), ("ADDED a".to_owned(), "ADDED b".to_owned()));
    let mut one = Watching::begin(&cluster, "/api/v1/watch/namespaces/default/configmaps/b", &[]).await;
    assert_eq!(one.told().await, "ADDED b");
    cluster.delete(&format!("{MAPS}/a"), json!({})).await.good();
    cluster.delete(&format!("{MAPS}/b"), json!({})).await.good();
    assert_eq!(one.told().await, "DELETED b");
}
