//! The log of a container, as an answer.

use http_body_util::BodyExt as _;

use super::node::lock;
use super::*;
use crate::apiserver::node_access::LogOptions;

const LOG: &str = "/api/v1/namespaces/default/pods/web/log";

#[tokio::test]
async fn a_log_is_the_body_of_the_answer() {
    let server = Server::new().await;
    let answer = server.get(&format!("{LOG}?tailLines=5&sinceSeconds=60&timestamps=true")).await;
    assert_eq!((answer.code, answer.text.as_str()), (200, "one\ntwo\n"));
    assert_eq!(answer.headers["content-type"], "text/plain");
    server.get(&format!("{LOG}?previous=true&container=app")).await;
    let asked = [
        LogOptions {
            container: "app".to_owned(),
            instance: 1,
            tail_lines: Some(5),
            since_seconds: Some(60),
            timestamps: true,
            ..LogOptions::default()
        },
        LogOptions { container: "app".to_owned(), instance: 0, ..LogOptions::default() },
    ];
    assert_eq!(*lock(&server.node.log_requests), asked);
}

#[tokio::test]
async fn a_log_that_is_followed_goes_on() {
    let server = Server::new().await;
    let response = server.request("GET", &format!("{LOG}?follow=true"), &[]).await;
    let mut body = response.into_body();
    let mut text = Vec::new();
    while text != b"one\ntwo\n" {
        text.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    let next = tokio::time::timeout(std::time::Duration::from_millis(50), body.frame()).await;
    assert!(next.is_err(), "it has no end");
    server.api.end_streams();
    assert!(body.frame().await.is_none(), "the end of the server's streams is that of the log");
}

#[tokio::test]
async fn what_has_no_log_says_why() {
    let server = Server::new().await;
    let path = |pod: &str, query: &str| format!("/api/v1/namespaces/default/pods/{pod}/log?{query}");
    for (path, code, reason, message) in [
        (path("nobody", ""), 404, "NotFound", "pods \"nobody\" not found"),
        (path("web", "container=x"), 400, "BadRequest", "container x is not valid for pod web"),
        (path("two", ""), 400, "BadRequest", "a container name must be specified for pod two, choose one of: [a b]"),
        (path("two", "container=a"), 400, "BadRequest", "container \"a\" in pod \"two\" is not available"),
        (
            path("web", "tailLines=-1"),
            422,
            "Invalid",
            "PodLogOptions \"web\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
    ] {
        assert_eq!(server.get(&path).await.status(), (code, reason.to_owned(), message.to_owned()), "{path}");
    }
    let unscheduled = server.get(&path("new", "")).await;
    assert_eq!((unscheduled.code, unscheduled.text.as_str()), (204, ""));
}
