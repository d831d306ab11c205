//! Client libraries against a server: create, watch, patch, exec, logs, port-forward, delete. Those of other languages are
//! scripts in `tests/clients/`, which run where `.ci/run` has installed what they need; the crate `kube` is husk's own.

#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{
    Api, AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::runtime::conditions::{is_deleted, is_pod_running};
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster;
use crate::support::{Husk, Running};

/// What `.ci/run` installs, beside what the build makes.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients")
}

/// Runs a script, whose program and directory are these, to its end; says so where what it needs is not installed.
fn run(test: &str, script: &str, needed: &Path, program: &Path, directory: &Path) {
    if !needed.exists() {
        let needed = needed.display();
        let _ = writeln!(std::io::stderr(), "not run here: {test}: there is no {needed}; .ci/run makes it");
        return;
    }
    // Modules of JavaScript find others beside themselves.
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    fs::copy(scripts.join(script), directory.join(script)).unwrap();
    let husk = Husk::new();
    let kubeconfig = husk.husk(["serve", "--detach", "--port", "0"]).ok();
    let mut command = Command::new(program);
    command.arg(directory.join(script)).current_dir(husk.dir()).env("KUBECONFIG", kubeconfig.trim_end());
    let (code, lines) = Running::spawn(&mut command).end();
    husk.husk(["stop", "--timeout", "10s"]);
    assert!(code == 0 && lines.iter().any(|line| line == "done"), "{script}: {code}: {lines:#?}");
}

fn run_python(test: &str, script: &str) {
    let python = installed().join("python");
    run(test, script, &python.join("installed"), &python.join("bin/python"), &python);
}

#[test]
fn the_python_package_kubernetes() {
    run_python("the_python_package_kubernetes", "kubernetes_client.py");
}

#[test]
fn the_python_package_kr8s() {
    run_python("the_python_package_kr8s", "kr8s_client.py");
}

#[test]
fn the_javascript_package_client_node() {
    let node = installed().join("node");
    let needed = node.join("node_modules/@kubernetes/client-node");
    run("the_javascript_package_client_node", "client_node.mjs", &needed, Path::new("node"), &node);
}

/// A server that ends with the test.
struct Served(Husk);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.husk(["stop", "--timeout", "10s"]);
    }
}

#[test]
fn the_crate_kube() {
    let served = Served(Husk::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Api::default_namespaced(cluster::client(cluster::start(&served.0).await));
        make_and_change(&api).await;
        talk(&api).await;
        forward(&api).await;
        remove(&api).await;
    });
}

async fn make_and_change(api: &Api<Pod>) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "nginx"}]},
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let made = api.create(&PostParams::default(), &pod).await.unwrap();
    let refused = api.create(&PostParams::default(), &pod).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.is_already_exists()), "{refused}");
    // A watch from what was made on tells all that becomes of it.
    let watching = WatchParams::default().labels("app=web");
    let mut events = std::pin::pin!(api.watch(&watching, &made.resource_version().unwrap()).await.unwrap());
    loop {
        match events.next().await.unwrap().unwrap() {
            WatchEvent::Modified(pod) if pod.status.as_ref().unwrap().phase.as_deref() == Some("Running") => break,
            WatchEvent::Modified(_) | WatchEvent::Bookmark(_) => {}
            other @ (WatchEvent::Added(_) | WatchEvent::Deleted(_) | WatchEvent::Error(_)) => panic!("{other:?}"),
        }
    }
    await_condition(api.clone(), "web", is_pod_running()).await.unwrap();
    let label = |key: &str| json!({"metadata": {"labels": {key: "yes"}}});
    let manager = PatchParams::default();
    api.patch("web", &manager, &Patch::Merge(label("merge"))).await.unwrap();
    api.patch("web", &manager, &Patch::Strategic(label("strategic"))).await.unwrap();
    let mut applied = label("apply");
    applied["apiVersion"] = "v1".into();
    applied["kind"] = "Pod".into();
    let changed = api.patch("web", &PatchParams::apply("test"), &Patch::Apply(applied)).await.unwrap();
    for key in ["app", "merge", "strategic", "apply"] {
        assert!(changed.labels().contains_key(key), "{key}: {:?}", changed.labels());
    }
    let mut entry = api.entry("web").await.unwrap().or_insert(Pod::default);
    entry.get_mut().labels_mut().insert("entry".to_owned(), "yes".to_owned());
    entry.commit(&PostParams::default()).await.unwrap();
    let found = api.list(&ListParams::default().labels("entry=yes,merge=yes")).await.unwrap();
    assert_eq!(found.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["web"]);
}

async fn talk(api: &Api<Pod>) {
    let script = ["sh", "-c", "read line; echo got $line; echo err >&2; exit 7"];
    let mut process = api.exec("web", script, &AttachParams::default().stdin(true).stderr(true)).await.unwrap();
    let (mut stdin, mut stdout) = (process.stdin().unwrap(), process.stdout().unwrap());
    let (mut stderr, status) = (process.stderr().unwrap(), process.take_status().unwrap());
    stdin.write_all(b"typed\n").await.unwrap();
    let (mut said, mut complained) = (String::new(), String::new());
    stdout.read_to_string(&mut said).await.unwrap();
    stderr.read_to_string(&mut complained).await.unwrap();
    assert_eq!((said.as_str(), complained.as_str()), ("got typed\n", "err\n"));
    let status = status.await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("7"));
    process.join().await.unwrap();
    let whole = api.logs("web", &LogParams::default()).await.unwrap();
    assert!(whole.contains("start worker processes"), "{whole}");
    let followed = api.log_stream("web", &LogParams { follow: true, ..LogParams::default() }).await.unwrap();
    let line = followed.lines().try_next().await.unwrap().unwrap();
    assert!(line.contains("start worker processes"), "{line}");
}

async fn forward(api: &Api<Pod>) {
    let mut forward = api.portforward("web", &[80]).await.unwrap();
    let mut stream = forward.take_stream(80).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("</html>"), "{answer}");
}

async fn remove(api: &Api<Pod>) {
    let uid = api.get("web").await.unwrap().uid().unwrap();
    let going = api.delete("web", &DeleteParams::default()).await.unwrap().left().expect("a pod goes by and by");
    assert!(going.metadata.deletion_timestamp.is_some());
    await_condition(api.clone(), "web", is_deleted(&uid)).await.unwrap();
    assert!(api.get_opt("web").await.unwrap().is_none());
}
