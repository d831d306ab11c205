//! `grpc` probes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::body::Body;
use tonic::codegen::BoxStream;
use tonic::{Code, Status};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_service::Service as _;

use super::{Outcome, Scene, failure, lock, response, scene_with_probe};

/// A health service that takes its time.
#[derive(Clone)]
struct Healthy {
    answer: Result<i32, (Code, &'static str)>,
    delay: Duration,
    asked: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        tokio::time::sleep(self.delay).await;
        let user_agent = request.metadata().get("user-agent").unwrap().to_str().unwrap().to_owned();
        lock(&self.asked).push(format!("{} {user_agent}", request.get_ref().service));
        let status = self.answer.map_err(|(code, message)| Status::new(code, message))?;
        Ok(tonic::Response::new(HealthCheckResponse { status }))
    }

    async fn watch(
        &self,
        _request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

/// Serves HTTP/2 on port 50051.
fn serve(
    scene: &Scene,
    service: impl Fn(Request<Incoming>) -> BoxFuture<'static, Result<Response<Body>, Infallible>> + Send + Sync + 'static,
) {
    let (listener, service) = (scene.listen("0.0.0.0:50051"), Arc::new(service));
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let service = Arc::clone(&service);
            let service = hyper::service::service_fn(move |request| service(request));
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
        }
    });
}

fn serve_health(scene: &Scene, answer: Result<i32, (Code, &'static str)>, delay: u64) -> Arc<Mutex<Vec<String>>> {
    let health = Healthy { answer, delay: Duration::from_secs(delay), asked: Arc::default() };
    let asked = Arc::clone(&health.asked);
    let server = HealthServer::new(health);
    serve(scene, move |request| server.clone().call(request).boxed());
    asked
}

#[tokio::test(start_paused = true)]
async fn only_serving_passes() {
    let unhealthy = |status: &str| failure(&format!("service unhealthy (responded with \"{status}\")"));
    let error = "error: health rpc probe failed: rpc error: code =";
    let no_health = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health):";
    for (answer, expected) in [
        (Ok(1), Ok(Outcome::Success)),
        (Ok(0), unhealthy("UNKNOWN")),
        (Ok(2), unhealthy("NOT_SERVING")),
        (Ok(3), unhealthy("SERVICE_UNKNOWN")),
        (Ok(9), unhealthy("9")),
        (Err((Code::NotFound, "unknown service")), failure(&format!("{error} NotFound desc = unknown service"))),
        (Err((Code::Cancelled, "oh")), failure(&format!("{error} Canceled desc = oh"))),
        (Err((Code::Unimplemented, "none")), failure(&format!("{no_health} none"))),
        (Err((Code::DeadlineExceeded, "slow")), failure("timeout: health rpc did not complete within 1s")),
    ] {
        let scene = scene_with_probe("grpc: {port: 50051}").await;
        serve_health(&scene, answer, 0);
        assert_eq!(scene.check().await, (expected, Duration::ZERO), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_is_asked_for_by_name() {
    for (service, expected) in [("", " kube-probe/1.36"), (", service: db", "db kube-probe/1.36")] {
        let scene = scene_with_probe(&format!("grpc: {{port: 50051{service}}}")).await;
        let asked = serve_health(&scene, Ok(1), 0);
        assert_eq!(scene.check().await.0, Ok(Outcome::Success));
        assert_eq!(*lock(&asked), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_times_out() {
    let scene = scene_with_probe("timeoutSeconds: 3, grpc: {port: 50051}").await;
    serve_health(&scene, Ok(1), 4);
    let (result, took) = scene.check().await;
    assert_eq!(result, failure("timeout: health rpc did not complete within 3s"));
    assert_eq!(took.as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_check_leaves_no_connection_behind() {
    let scene = scene_with_probe("grpc: {port: 50051}").await;
    let listener = scene.listen("0.0.0.0:50051");
    let (_, stream) = tokio::join!(scene.check(), listener.accept());
    // Nothing of the client's is read while it is checked.
    let stream = stream.unwrap();
    let reading = async { while let Ok(Some(_)) = stream.reader.read(1024).await {} };
    assert!(tokio::time::timeout(Duration::from_secs(1), reading).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_speak_http2_is_tried_again_until_the_time_is_up() {
    let expected =
        failure("timeout: failed to connect service \"10.88.0.2:50051\" within 4s: context deadline exceeded");
    for answer in [None, Some("<open>"), Some("<reset>"), Some("")] {
        let scene = scene_with_probe("timeoutSeconds: 4, grpc: {port: 50051}").await;
        if let Some(answer) = answer {
            scene.serve(50051, &[answer]);
        }
        let (result, took) = scene.check().await;
        assert_eq!((result, took.as_secs()), (expected.clone(), 4), "{answer:?}");
    }
    let scene = scene_with_probe("timeoutSeconds: 4, grpc: {port: 50051}").await;
    scene.serve(50051, &[&response("400 Bad Request", "", "")]);
    assert_eq!(scene.check().await.0, expected);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_up_in_time_is_found() {
    let scene = scene_with_probe("timeoutSeconds: 4, grpc: {port: 50051}").await;
    let coming = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        serve_health(&scene, Ok(1), 0);
    };
    let ((result, took), ()) = tokio::join!(scene.check(), coming);
    assert_eq!(result, Ok(Outcome::Success));
    // The second try after 1 s is too early, the third follows 1.6 s later.
    assert_eq!(took.as_millis() / 100, 26);
}

#[tokio::test(start_paused = true)]
async fn an_http2_server_without_grpc_is_none() {
    let scene = scene_with_probe("grpc: {port: 50051}").await;
    serve(&scene, |_request| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        async { Ok(response) }.boxed()
    });
    let Ok(Outcome::Failure(text)) = scene.check().await.0 else { panic!("it passes") };
    assert!(text.starts_with("error: this server does not implement the grpc health protocol"), "{text}");
}
