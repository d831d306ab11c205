//! Ways into pods: their logs, the streams of their containers, connections, and what they use.

use std::time::Duration;

use tokio::time::timeout;

use super::scene::{Scene, text};
use crate::base::pipe;
use crate::net::NetError;
use crate::node::{Attach, AttachError, ConnectVia, ContainerUsage, LogQuery, PodAccess, RunDirectory};
use crate::runtime::fake::Script;
use crate::runtime::{ExecRequest, ResourceUsage};

fn exits(seconds: u64, code: i32) -> Script {
    Script::exits(Duration::from_secs(seconds), code)
}

async fn log(access: &PodAccess, container: &str, attempt: u32, query: LogQuery) -> String {
    let mut reader = access.logs(container, attempt, query).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).unwrap()
}

/// §4: a log for each instance, of which the current one and the one before are kept.
#[tokio::test(start_paused = true)]
async fn each_instance_has_a_log_of_its_own() {
    let scene = Scene::keeping_logs("restartPolicy: OnFailure, containers: [{name: c}]");
    let attempt = |number: usize| exits(5, i32::from(number < 2)).prints(&format!("attempt {number}\n"));
    scene.runtime.script_attempts("c", (0..3).map(attempt).collect());
    let scene = scene.start();
    scene.until("state c Running").await;
    let access = scene.handle().access();
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let followed = timeout(Duration::from_secs(20), log(&access, "c", 0, follow)).await.unwrap();
    assert_eq!(followed, "attempt 0\n", "the end of the instance is that of its log");
    scene.end().await;
    let logs = [0, 1, 2].map(|attempt| log(&access, "c", attempt, LogQuery::default()));
    assert_eq!(futures::future::join_all(logs).await, ["", "attempt 1\n", "attempt 2\n"]);
}

/// What a pod needed to run goes when it has ended; its logs when nobody knows it any more.
#[tokio::test(start_paused = true)]
async fn logs_outlive_the_pod_and_the_agent() {
    let spec = "restartPolicy: Never, containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], \
                volumes: [{name: v, emptyDir: {}}]";
    let mut scene = Scene::keeping_logs(spec).script("c", exits(5, 0).prints("last words").writes("/v/file", "x"));
    let pod_directory = scene.directory.path().join("pods/u");
    scene = scene.start();
    scene.at(1).await;
    assert!(pod_directory.join("volumes").exists());
    scene.end().await;
    let left = |directory: &std::path::Path| -> Vec<_> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(left(&pod_directory), ["logs"]);
    let access = scene.handle().access();
    scene.crash().await;
    assert_eq!(log(&access, "c", 0, LogQuery::default()).await, "last words");
    scene.take_up();
    scene.end().await;
    let access = scene.handle().access();
    assert_eq!(log(&access, "c", 0, LogQuery::default()).await, "last words");
    assert!(matches!(access.check_running("c"), Err(AttachError::NotRunning { .. })));
    // As whoever runs pods does when one is deleted.
    let directory = RunDirectory::create(scene.directory.path(), "2027-01-15T08:00:00Z".parse().unwrap()).unwrap();
    std::fs::rename(&pod_directory, directory.path().join("u")).unwrap();
    directory.remove_pod("u").unwrap();
    assert!(!directory.has("u"));
}

/// The instance that was running when the agent died is the one before the next one.
#[tokio::test(start_paused = true)]
async fn the_log_of_an_instance_that_died_with_the_agent_is_kept() {
    let mut scene = Scene::keeping_logs("containers: [{name: c}]");
    let attempts = ["before\n", "after\n"].map(|text| Script::runs_forever().prints(text));
    scene.runtime.script_attempts("c", attempts.to_vec());
    scene = scene.start();
    scene.until("state c Running").await;
    scene.crash().await;
    scene.take_up();
    scene.until("state c Running after").await;
    let access = scene.handle().access();
    assert_eq!(log(&access, "c", 0, LogQuery::default()).await, "before\n");
    assert_eq!(log(&access, "c", 1, LogQuery::default()).await, "after\n");
}

#[tokio::test(start_paused = true)]
async fn who_attaches_first_to_a_container_that_reads_gets_what_it_has_printed() {
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c, stdin: true}, {name: d}]");
    for name in ["c", "d"] {
        scene.runtime.script(name, exits(10, 0).prints("prompt> ").prints_error("!"));
    }
    let scene = scene.start();
    scene.at(5).await;
    let access = scene.handle().access();
    let attach = |name: &str| {
        let ((stdout, printed), (stderr, errors)) = (pipe::pipe(1024), pipe::pipe(1024));
        let streams = Attach { stdin: None, stdout: Some(stdout), stderr: Some(stderr) };
        (access.attach(name, streams).unwrap(), printed, errors)
    };
    let ((first, printed, errors), (second, nothing, _)) = (attach("c"), attach("c"));
    let (other, nothing_either, _) = attach("d");
    let begun = tokio::time::Instant::now();
    tokio::join!(first.ended(), second.ended(), other.ended());
    assert_eq!(begun.elapsed().as_secs(), 5, "they end with the container");
    assert_eq!((text(&printed).await, text(&errors).await), ("prompt> ".to_owned(), "!".to_owned()));
    assert_eq!((text(&nothing).await, text(&nothing_either).await), (String::new(), String::new()));
}

/// A pod is not kept running by who is attached, nor a container by a program in it.
#[tokio::test(start_paused = true)]
async fn a_way_into_a_pod_does_not_keep_it() {
    let mut scene = Scene::new("containers: [{name: c}]").start();
    scene.runtime.script_execs("c", vec![Script::runs_forever()]);
    scene.until("state c Running").await;
    let access = scene.handle().access();
    let (stdout, printed) = pipe::pipe(1024);
    let attached = access.attach("c", Attach { stdout: Some(stdout.clone()), ..Attach::default() }).unwrap();
    let request =
        ExecRequest { argv: vec!["x".to_owned()], stdin: None, stdout: stdout.clone(), stderr: stdout, tty: false };
    let program = access.exec("c", request).await.unwrap();
    scene.crash().await;
    attached.ended().await;
    assert_eq!(program.wait().await.code, 137);
    drop((program, printed));
    assert!(matches!(access.check_running("c"), Err(AttachError::NotRunning { .. })));
    assert_eq!(access.connect(80, ConnectVia::Node).await.unwrap_err(), NetError::NotConnected);
}

#[tokio::test(start_paused = true)]
async fn connections_come_from_the_node_or_from_the_pod_itself() {
    let scene = Scene::new("containers: [{name: c}]").script("c", Script::runs_forever().listens(80)).start();
    scene.until("state c Running").await;
    let access = scene.handle().access();
    let node = access.connect(80, ConnectVia::Node).await.unwrap();
    let pod = access.connect(80, ConnectVia::Loopback).await.unwrap();
    assert!(!node.peer.ip().is_loopback() && pod.peer.ip().is_loopback());
    for via in [ConnectVia::Node, ConnectVia::Loopback] {
        assert_eq!(access.connect(81, via).await.unwrap_err(), NetError::ConnectionRefused);
    }
}

#[tokio::test(start_paused = true)]
async fn what_containers_use_is_known_while_they_run() {
    let usage = ResourceUsage { memory_bytes: 1 << 20, cpu_time: Duration::from_secs(3) };
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}, {name: d}]");
    let scene = scene.script("c", Script::runs_forever().uses(usage)).script("d", exits(1, 0)).start();
    scene.at(5).await;
    let expected = ContainerUsage { container: "c".to_owned(), attempt: 0, usage };
    assert_eq!(scene.handle().access().usage(), [expected]);
}

/// A log that nobody can write costs the log, not the container.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_container_runs_without_its_log() {
    let scene = Scene::keeping_logs("restartPolicy: Never, containers: [{name: c}]");
    let scene = scene.script("c", exits(1, 0).prints("x"));
    let in_the_way = scene.directory.path().join("pods/u");
    std::fs::create_dir_all(&in_the_way).unwrap();
    std::fs::write(in_the_way.join("logs"), "").unwrap();
    let scene = scene.start();
    scene.end().await;
    assert_eq!(scene.phase(), "Succeeded");
}
