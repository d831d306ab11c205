//! Clients that mean harm: whatever they send is an error to them, at once or in time, and nobody else notices.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::watching::Watching;
use super::*;
use crate::api::resources::RESOURCES;

/// What no server should trip over.
fn hostile_bodies() -> Vec<Vec<u8>> {
    let deep_yaml = "[".repeat(100_000);
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg", "gh"].map(|pair| pair.split_at(1)) {
        bomb.push_str(&format!("{to}: &{to} [{}*{from}]\n", format!("*{from},").repeat(9)));
    }
    let texts = [
        "",
        "{",
        "[]",
        "null",
        "true",
        "\"text\"",
        "1e999",
        "{\"metadata\": null, \"spec\": 5}",
        "{\"metadata\": {\"name\": 7}}",
        "{\"metadata\": {\"name\": \"../../etc\"}}",
        "{\"metadata\": {\"name\": \"a\\u0000b\"}}",
        "{\"metadata\": {\"name\": \"a\", \"managedFields\": [{\"fieldsV1\": {\"f:a\": 1}}]}}",
        "{\"kind\": \"Pod\", \"apiVersion\": \"v2\"}",
        "{\"kind\": {}, \"apiVersion\": []}",
        "[{\"op\": \"copy\", \"from\": \"\", \"path\": \"/a\"}]",
        "[{\"op\": \"add\", \"path\": \"/metadata/name/x/-/~2\", \"value\": 1}]",
        "{\"$patch\": \"replace\", \"$retainKeys\": 5}",
        "{\"spec\": {\"$setElementOrder/containers\": [[]], \"containers\": [{\"$patch\": \"delete\"}]}}",
        "%YAML 9\n---\n&a [*a]",
        "a: *nothing",
        "!!binary x: y",
        &deep_yaml,
        &bomb,
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000)).into_bytes());
    bodies.push(b"{\"metadata\": {\"name\": \"\xff\xfe\"}}".to_vec());
    // Protobuf: an envelope with lengths beyond its end, and one in itself.
    bodies.push(b"k8s\0\x0a\xff\xff\xff\xff\x7f".to_vec());
    bodies.push([b"k8s\0\x12".as_slice(), &[0x0a; 4096]].concat());
    bodies
}

const MEDIA: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/html; =;",
];

#[tokio::test]
async fn whatever_is_sent_wherever_in_whichever_form_is_an_error() {
    let cluster = Cluster::new().await;
    let revision = cluster.store.revision();
    for resource in RESOURCES {
        let group = if resource.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", resource.group) };
        let namespace = if resource.namespaced { "/namespaces/default" } else { "" };
        let all = format!("{group}/{}{namespace}/{}", resource.version, resource.plural);
        let below = resource.subresources.iter().map(|subresource| format!("{all}/none/{}", subresource.name));
        let paths: Vec<String> = [all.clone(), format!("{all}/none")].into_iter().chain(below).collect();
        for (index, path) in paths.iter().enumerate() {
            // Subresources take bodies as the others do: some of them will do there.
            for body in hostile_bodies().into_iter().skip(index / 2).step_by(1 + index / 2) {
                // Each body in one form in which it might be understood, and in one in which it is not.
                for media in [MEDIA[body.len() % 3], MEDIA[3 + body.len() % 5]] {
                    for method in ["POST", "PUT", "PATCH", "DELETE"] {
                        // To delete all that there is, nothing need be said.
                        if method == "DELETE" && *path == all {
                            continue;
                        }
                        let query = "?fieldManager=m&dryRun=All";
                        let uri = format!("{path}{query}");
                        let answer = cluster.send(method, &uri, &[("content-type", media)], body.clone()).await;
                        let begin = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                        let is_told = answer.code.is_client_error() || answer.code.is_success();
                        assert!(is_told, "{method} {path} {media} {begin}: {} {}", answer.code, answer.text);
                        assert!(answer.text.len() < 16 * 1024, "{method} {path} {media} {begin}: {}", answer.text);
                    }
                }
            }
        }
    }
    assert_eq!(cluster.store.revision(), revision, "nothing has come of it");
}

#[tokio::test]
async fn names_are_no_paths() {
    let cluster = Cluster::new().await;
    let revision = cluster.store.revision();
    let long = "a".repeat(254);
    for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a%2fb", "a b", "a\n", "a\0", "é", "A", &long] {
        for (path, kind) in [(MAPS, "ConfigMap"), ("/api/v1/namespaces", "Namespace"), (PODS, "Pod")] {
            let object = json!({"kind": kind, "apiVersion": "v1", "metadata": {"name": name}});
            assert_eq!(cluster.post(path, object).await.error().0, 422, "{kind} {name:?}");
        }
        let map = json!({"metadata": {"name": "m"}, "data": {format!("../{name}"): "x"}});
        assert_eq!(cluster.post(MAPS, map).await.error().0, 422, "the key {name:?}");
    }
    for segment in [".", "..", "%2e%2e", "a%2fb", "%2e", "a%00", "a%", "%ff", "..%2f..%2fetc"] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = cluster.send(method, &format!("{MAPS}/{segment}"), &[], "{}").await;
            assert!(answer.code.is_client_error(), "{method} {segment}: {}", answer.code);
            let path = format!("/api/v1/namespaces/{segment}/configmaps/m");
            assert!(cluster.send(method, &path, &[], "{}").await.code.is_client_error(), "{method} {path}");
        }
    }
    for generated in ["../", "a/", "%2e", "A"] {
        let object = json!({"metadata": {"generateName": generated}});
        assert_eq!(cluster.post(MAPS, object).await.error().0, 422, "{generated}");
    }
    assert_eq!(cluster.store.revision(), revision);
}

#[tokio::test]
async fn queries_are_checked_and_bounded() {
    let cluster = Cluster::new().await;
    let long = "a%3Db,".repeat(9_000);
    for query in [
        "limit=-x",
        "limit=99999999999999999999",
        "continue=%ff",
        "continue=e30",
        "resourceVersion=-1",
        "resourceVersion=18446744073709551616",
        "resourceVersionMatch=Sometimes&resourceVersion=1",
        "labelSelector=a%20in",
        "labelSelector=((((((",
        "labelSelector=%00",
        "fieldSelector=nothing%3D1",
        "fieldSelector=%3D%3D%3D",
        "watch=1&timeoutSeconds=x",
        "watch=1&resourceVersion=x",
        "includeObject=All",
        &format!("labelSelector={long}"),
        &format!("fieldSelector={long}"),
    ] {
        let answer = cluster.get(&format!("{MAPS}?{query}")).await;
        let shown = &query[..query.len().min(60)];
        assert!([400, 422].contains(&answer.error().0), "{shown}: {}", answer.text);
        assert!(answer.text.len() < 256 * 1024, "{shown}");
    }
}

/// A request of a service account's.
fn of_account(cluster: &Cluster, method: &str, uri: &str, body: Body) -> Request<Body> {
    let mut request = cluster.request(method, uri, &[], body);
    request.extensions_mut().insert(Identity::service_account("default", "default", "u"));
    request
}

/// The beginning of a body, and no end.
fn endless_body() -> Body {
    let begin = futures::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
    Body::from_stream(begin.chain(futures::stream::pending()))
}

/// More than are worked on at the same time.
const MANY: usize = 500;

#[tokio::test(start_paused = true)]
async fn who_is_slow_to_say_what_they_want_is_in_nobodys_way() {
    let cluster = Cluster::new().await;
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let slow = (0..MANY).map(|index| {
        let request = match index % 2 {
            0 => of_account(&cluster, "POST", review, endless_body()),
            _ => cluster.request("GET", MAPS, &[], endless_body()),
        };
        tokio::spawn(cluster.service.clone().oneshot(request))
    });
    let slow: Vec<_> = slow.collect();
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    cluster.config_map("quick", json!({})).await;
    let answer = cluster.send_raw(of_account(&cluster, "GET", MAPS, Body::empty())).await;
    assert_eq!((answer.status(), begun.elapsed()), (StatusCode::OK, Duration::ZERO));
    for answer in slow.into_iter().step_by(2) {
        assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
}

#[tokio::test]
async fn watches_of_pods_leave_room_for_those_of_users() {
    let cluster = Cluster::new().await;
    let uri = format!("{MAPS}?watch=1");
    let mut watches = Vec::new();
    let refused = loop {
        let answer = cluster.send_raw(of_account(&cluster, "GET", &uri, Body::empty())).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        watches.push(answer);
        assert!(watches.len() < 5000, "there is no end to it");
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let mut watch = Watching::begin(&cluster, &format!("{uri}&resourceVersion=0"), &[]).await;
    cluster.config_map("seen", json!({})).await;
    assert!(watch.told().await.contains("seen"));
}
