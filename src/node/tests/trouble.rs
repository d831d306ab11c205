//! Things that should not happen, and ports that are taken.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::scene::Scene;
use crate::node::Publish;
use crate::runtime::fake::Script;

/// A port of the host that is taken keeps the pod waiting, and only until it is free.
#[tokio::test(start_paused = true)]
async fn a_taken_host_port_is_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let spec =
        format!("restartPolicy: Never, containers: [{{name: c, ports: [{{containerPort: 80, hostPort: {port}}}]}}]");
    let scene = Scene::new(&spec).script("c", Script::exits(Duration::from_secs(1), 0)).start();
    scene.at(15).await;
    let failures = scene.only(&["event - FailedCreatePodSandBox"]);
    assert_eq!(failures.len(), 2, "{failures:?}");
    for (failure, at) in failures.iter().zip(["0 ", "10 "]) {
        assert!(failure.starts_with(at) && failure.contains(&format!("127.0.0.1:{port}")), "{failure}");
    }
    assert_eq!(scene.shows("c"), "ContainerCreating");
    drop(taken);
    scene.end().await;
    assert_eq!((scene.starts(), scene.phase()), (vec!["20 c".to_owned()], "Succeeded".to_owned()));
}

/// Ports are published for as long as the sandbox is there.
#[tokio::test(start_paused = true)]
async fn host_ports_are_given_back_when_the_pod_ends() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tcp, udp) = (free(), free());
    let mut scene = Scene::new("containers: [{name: c}]");
    scene.publish = vec![Publish { host: tcp, port: 80, udp: false }, Publish { host: udp, port: 53, udp: true }];
    let mut scene = scene.start();
    scene.until("state c Running").await;
    assert!(TcpListener::bind(tcp).is_err() && UdpSocket::bind(udp).is_err());
    scene.delete(0);
    scene.end().await;
    // The listening tasks end when they are next run.
    for address in [tcp, udp] {
        released(address, address == udp).await;
    }
}

async fn released(address: SocketAddr, udp: bool) {
    let bind = || if udp { UdpSocket::bind(address).is_ok() } else { TcpListener::bind(address).is_ok() };
    for _ in 0..1000 {
        if bind() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{address} is still taken");
}

/// §13: a hostname that is too long keeps the pod waiting for its sandbox, and it can be deleted.
#[tokio::test(start_paused = true)]
async fn a_hostname_that_is_too_long_fails_the_sandbox() {
    let spec = format!(
        "setHostnameAsFQDN: true, subdomain: {}, containers: [{{name: c}}], volumes: [{{name: v, emptyDir: {{}}}}]",
        "s".repeat(60)
    );
    let mut scene = Scene::new(&spec).start();
    scene.at(15).await;
    assert_eq!(scene.only(&["event - FailedCreatePodSandBox"]).len(), 2, "{:#?}", scene.timeline());
    assert_eq!(scene.only(&["event - FailedMount"]), [""; 0]);
    scene.delete(30);
    scene.end().await;
    assert_eq!((scene.phase().as_str(), scene.files_left()), ("Failed", Vec::new()));
}

/// A panic in a runtime fails the start it happens in, and the pod can still end.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_start_is_a_failed_start() {
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}, {name: d}]");
    let mut scene = scene.script("c", Script::runs_forever().panics_when_created()).start();
    scene.until("state d Running").await;
    let waiting = scene.container("c").state.unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CreateContainerError"));
    assert_eq!(waiting.message.as_deref(), Some("internal error: the script says so"));
    scene.delete(30);
    scene.end().await;
    assert_eq!((scene.shows("d").as_str(), scene.phase().as_str()), ("Error:143", "Failed"));
}

/// A panic in the worker itself fails its pod: nothing of it runs on, and whoever waits for it learns of it.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_worker_fails_the_pod() {
    let mut scene = Scene::new("containers: [{name: c}]").start();
    scene.until("state c Running").await;
    scene.record.breaks.store(true, Ordering::Relaxed);
    scene.delete(30);
    scene.end().await;
    scene.at(1).await;
    let status = scene.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("InternalError")));
    assert_eq!(status.message.as_deref(), Some("internal error: the cluster is broken"));
    assert_eq!(scene.ends(), ["c 137"]);
}

/// Many containers that all end at once: more reports than the inbox holds, none lost.
#[tokio::test(start_paused = true)]
async fn a_flood_of_reports_passes_through_the_bounded_inbox() {
    const CONTAINERS: usize = 200;
    let containers: Vec<String> = (0..CONTAINERS).map(|number| format!("{{name: c{number}}}")).collect();
    let mut scene = Scene::new(&format!("containers: [{}]", containers.join(", "))).start();
    scene.until(&format!("state c{} Running", CONTAINERS - 1)).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!((scene.ends().len(), scene.phase().as_str()), (CONTAINERS, "Failed"));
}

/// A status is written only when it says something new (the scene checks each), and times never run backwards.
#[tokio::test(start_paused = true)]
async fn statuses_are_written_when_they_change() {
    let scene = Scene::new("containers: [{name: c}]").script("c", Script::exits(Duration::from_secs(1), 1)).start();
    scene.at(100).await;
    // Per restart: ended, waiting, running; a few before the first.
    assert!(scene.statuses().len() < 30, "{:#?}", scene.timeline());
}

/// §15: 25 events of a type at once, then one every 300 s; the pod itself goes on as ever.
#[tokio::test(start_paused = true)]
async fn a_container_that_crashes_all_day_posts_few_events() {
    let crash = Script::exits(Duration::from_secs(1), 1);
    let scene = Scene::new("containers: [{name: c}]").script("c", crash).start();
    scene.at(24 * 3600).await;
    assert!(scene.starts().len() > 280, "{:?}", scene.starts());
    let posted = scene.only(&["event c Pulled", "event c Created", "event c Started"]).len();
    assert!((300..=25 + 12 * 24).contains(&posted), "{posted}");
}
