//! The manifests that must run unchanged, by the real husk and by the clock on the wall: natively, as root and as an
//! ordinary user, and in WebAssembly, with the same checks. All of them run at the same time, in one cluster.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;

use super::images::Image;
use super::machine::{User, husk};
use super::scene::{eventually, is_ready, seconds, started_at};
use crate::cluster::{Cluster, phase_of, use_the_api, wait_for_services};
use crate::support::{Husk, Outcome, Running, container, termination};

/// What runs the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Native(User),
    Wasm,
}

type Check = fn(&Cluster<'_>, Runtime);

const CHECKS: &[(&str, Check)] = &[
    ("01", web_server),
    ("02", overridden_command),
    ("03", ready_without_probe),
    ("04", ready_when_it_answers),
    ("05", started_when_the_probe_passes),
    ("06", hooks),
    ("07", grpc_liveness),
    ("08", |cluster, _| wait_for_services(cluster)),
    ("09", ready_once_its_page_is_there),
    ("10", restarted_when_its_file_is_gone),
    ("10-strict-error", refused_for_unknown_fields),
    ("11", gets_its_page_back),
    ("12", killed_again_and_again),
    ("13", directory_made_at_the_start),
    ("14", shared_volume_and_localhost),
    ("15", termination_politely_and_not),
    ("16", |cluster, _| use_the_api(cluster)),
    ("17", privileged),
    ("18", shared_namespaces),
];

const NATIVE_IMAGES: &[Image] = &[Image::Busybox, Image::Nginx, Image::GrpcHealth];

#[test]
fn all_run_natively_as_root() {
    let Some(husk) = husk("manifests::all_run_natively_as_root", User::Root, NATIVE_IMAGES) else { return };
    run_all(&husk, Runtime::Native(User::Root));
}

#[test]
fn all_run_natively_as_an_ordinary_user() {
    let test = "manifests::all_run_natively_as_an_ordinary_user";
    let Some(husk) = husk(test, User::Ordinary, NATIVE_IMAGES) else { return };
    run_all(&husk, Runtime::Native(User::Ordinary));
}

#[test]
fn all_run_in_webassembly() {
    run_all(&Husk::new(), Runtime::Wasm);
}

fn run_all(husk: &Husk, runtime: Runtime) {
    let cluster = Cluster::start(husk);
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let checking = CHECKS.iter().map(|(name, check)| {
            let cluster = cluster.another();
            let checked = move || catch_unwind(AssertUnwindSafe(|| check(&cluster, runtime)));
            (name, std::thread::Builder::new().name(format!("manifest {name}")).spawn_scoped(scope, checked).unwrap())
        });
        let checking: Vec<_> = checking.collect();
        let is_bad = |(name, check): (&'static &str, std::thread::ScopedJoinHandle<'_, std::thread::Result<()>>)| {
            check.join().unwrap().is_err().then_some(*name)
        };
        checking.into_iter().filter_map(is_bad).collect()
    });
    let delete = ["delete", "pods", "--all", "--grace-period=0", "--force"];
    let deleted = husk.husk(delete);
    assert!(failed.is_empty(), "{runtime:?}: {failed:?}");
    deleted.exits(0);
}

/// What `wget` gets from a pod's own web server.
fn fetch(cluster: &Cluster<'_>, pod: &str, path: &str) -> Outcome {
    cluster.exec(pod, &["wget", "-q", "-O", "-", &format!("http://localhost{path}")])
}

fn web_server(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("01-nginx");
    cluster.until_ready("nginx");
    let page = eventually("the page", || Some(fetch(cluster, "nginx", "/")).filter(|page| page.code == 0));
    assert!(page.stdout.contains("<title>Welcome to nginx!</title>"), "{page:?}");
    let mut forward = Running::spawn(&mut cluster.husk.command(["port-forward", "nginx", "0:80"]));
    let line = forward.wait_for("Forwarding from 127.0.0.1:");
    let port = line.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap();
    assert!(crate::support::http_get(port, "/").starts_with("HTTP/1.1 200"));
}

fn overridden_command(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("02-command");
    cluster.until_container("nginx-command", "nginx", "started again", |status| status.restart_count == 1);
    let status = cluster.status("nginx-command");
    let first = status.last_state.unwrap().terminated.unwrap();
    let (started, finished) = (first.started_at.unwrap().0, first.finished_at.unwrap().0);
    assert_eq!((first.exit_code, first.reason.as_deref()), (0, Some("Completed")));
    // Not sooner, and as much later as a busy machine takes.
    assert!((9..=40).contains(&seconds(started, finished)), "{started} {finished}");
    cluster.until_container("nginx-command", "nginx", "backing off", |status| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
    });
    cluster.until_container("nginx-command", "nginx", "started again", |status| status.restart_count >= 2);
}

fn ready_without_probe(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("03-no-probe");
    cluster.until_ready("nginx-no-probe");
    let refused = fetch(cluster, "nginx-no-probe", "/");
    assert!(refused.code == 1 && refused.stderr.contains("Connection refused"), "{refused:?}");
    assert!(is_ready(&cluster.pod("nginx-no-probe")));
    eventually("the page", || (fetch(cluster, "nginx-no-probe", "/").code == 0).then_some(()));
}

fn ready_when_it_answers(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("04-readiness-liveness");
    cluster.until_pod("nginx-probes", "Running");
    assert!(!is_ready(&cluster.pod("nginx-probes")));
    cluster.until_ready("nginx-probes");
    let status = cluster.status("nginx-probes");
    let took = seconds(started_at(&status), Timestamp::now());
    assert!((10..=60).contains(&took), "{took} s");
    assert_eq!(status.restart_count, 0);
    assert!(cluster.told("nginx-probes", "Killing").is_empty());
}

fn started_when_the_probe_passes(cluster: &Cluster<'_>, runtime: Runtime) {
    if runtime == Runtime::Wasm {
        // The server starts as the last probe comes, which is no race but where time stands still while programs compute:
        // so it is checked in `node`.
        return;
    }
    cluster.create_file("05-startup-exec");
    cluster.until_pod("nginx-startup", "Running");
    assert_eq!(cluster.status("nginx-startup").started, Some(false));
    cluster.until_container("nginx-startup", "nginx", "started", |status| status.started == Some(true));
    let status = cluster.status("nginx-startup");
    let took = seconds(started_at(&status), Timestamp::now());
    assert!((29..=90).contains(&took), "{took} s");
    cluster.until_ready("nginx-startup");
    let failed = cluster.told("nginx-startup", "Unhealthy");
    assert!(failed.iter().all(|message| message.starts_with("Startup probe failed: ")), "{failed:?}");
    // The command of the liveness probe finds the server.
    cluster.exec("nginx-startup", &["sh", "-c", "pgrep nginx"]).exits(0);
    assert_eq!(cluster.status("nginx-startup").restart_count, 0);
}

fn hooks(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("06-hooks");
    cluster.until_ready("nginx-hooks");
    cluster.exec("nginx-hooks", &["ls", "-d", "/data"]).exits(0).has("/data");
    let begun = Timestamp::now();
    let last = cluster.delete("nginx-hooks");
    let took = seconds(begun, Timestamp::now());
    assert!((9..=60).contains(&took), "{took} s");
    let (code, reason, _) = termination(&last, "nginx");
    assert_eq!((code, reason.as_str()), (0, "Completed"));
}

fn grpc_liveness(cluster: &Cluster<'_>, runtime: Runtime) {
    cluster.create_file("07-grpc-liveness");
    // The images' servers have different ways not to serve: one can be told to, the other does not know what it is asked for.
    let manifest = std::fs::read_to_string("tests/data/manifests/07-grpc-liveness.yaml").unwrap();
    let (failing, said) = match runtime {
        Runtime::Wasm => {
            let failing = manifest.replace("      ports:", "      args: [--not-serving-after, '20']\n      ports:");
            (failing, "service unhealthy (responded with \"NOT_SERVING\")")
        }
        Runtime::Native(_) => (manifest.replace("port: 2379 }", "port: 2379, service: other }"), "NotFound"),
    };
    assert_ne!(failing, manifest);
    cluster.create(&failing.replace("name: grpc-health\n", "name: grpc-failing\n"));
    cluster.until_container("grpc-failing", "server", "restarted", |status| status.restart_count == 1);
    let killing = cluster.told("grpc-failing", "Killing");
    assert_eq!(killing[0], "Container server failed liveness probe, will be restarted");
    let unhealthy = cluster.told("grpc-failing", "Unhealthy");
    // On a busy machine one may come too late besides.
    assert!(
        unhealthy.iter().any(|message| message.starts_with("Liveness probe failed: ") && message.contains(said)),
        "{unhealthy:?}"
    );
    assert!(is_ready(&cluster.pod("grpc-health")));
    assert_eq!(cluster.status("grpc-health").restart_count, 0);
}

fn ready_once_its_page_is_there(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("09-readiness-http");
    let name = "readinessprobe-pod";
    let failed = eventually("a failure", || cluster.told(name, "Unhealthy").into_iter().find(|m| m.contains("404")));
    assert_eq!(failed, "Readiness probe failed: HTTP probe failed with statuscode: 404");
    assert!(phase_of(Some(&cluster.pod(name))) == "Running" && !is_ready(&cluster.pod(name)));
    cluster.exec(name, &["sh", "-c", "echo hello > /usr/share/nginx/html/index1.html"]).exits(0);
    cluster.until_ready(name);
    assert_eq!(cluster.status(name).restart_count, 0);
}

fn restarted_when_its_file_is_gone(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("10-liveness-exec");
    let name = "livenessprobe-pod";
    cluster.until_pod(name, "Running");
    let started = started_at(&cluster.status(name));
    let killing = eventually("the kill", || cluster.events(name, "Killing").into_iter().next());
    let after = seconds(started, killing.first_timestamp.unwrap().0);
    assert!((36..=100).contains(&after), "{after} s");
    // What a first process does not handle does not end it: natively, the grace period runs out.
    cluster.until_container(name, name, "restarted", |status| status.restart_count == 1);
}

fn refused_for_unknown_fields(cluster: &Cluster<'_>, _: Runtime) {
    let file = format!("{}/tests/data/manifests/10-strict-error.yaml", env!("CARGO_MANIFEST_DIR"));
    cluster
        .husk
        .husk(["create", "-f", &file])
        .exits(1)
        .says(r#"unknown field "spec.containers[0].livenessProbe.exec.initialDelaySeconds""#)
        .says(r#"unknown field "spec.containers[0].livenessProbe.exec.periodSeconds""#);
    assert!(cluster.runtime.block_on(cluster.pods().get_opt("livenessprobe-wrong")).unwrap().is_none());
}

fn gets_its_page_back(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("11-liveness-http");
    let name = "livenessprobenginx-pod";
    cluster.until_ready(name);
    eventually("the page", || (fetch(cluster, name, "/").code == 0).then_some(()));
    cluster.exec(name, &["rm", "-rf", "/usr/share/nginx/html/index.html"]).exits(0);
    cluster.until_container(name, name, "restarted", |status| {
        status.restart_count == 1 && status.state.as_ref().is_some_and(|state| state.running.is_some())
    });
    cluster.exec(name, &["ls", "/usr/share/nginx/html"]).exits(0).has("index.html");
    eventually("the page", || (fetch(cluster, name, "/").code == 0).then_some(()));
}

fn killed_again_and_again(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("12-liveness-tcp");
    let name = "livenessprobenginx-pod2";
    cluster.until_pod(name, "Running");
    let started = started_at(&cluster.status(name));
    let killing = eventually("the kill", || cluster.events(name, "Killing").into_iter().next());
    let after = seconds(started, killing.first_timestamp.unwrap().0);
    assert!((16..=70).contains(&after), "{after} s");
    cluster.until_container(name, name, "backing off", |status| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
    });
    cluster.until_container(name, name, "restarted twice", |status| status.restart_count >= 2);
}

fn directory_made_at_the_start(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("13-post-start");
    cluster.until_ready("lifecycle-pod1");
    cluster.exec("lifecycle-pod1", &["test", "-d", "/lagou/k8s/index.html"]).exits(0);
}

fn shared_volume_and_localhost(cluster: &Cluster<'_>, _: Runtime) {
    let name = "puller-and-server";
    cluster.create_file("14-puller-and-server");
    cluster.until_pod(name, "Succeeded");
    let said = cluster.husk.husk(["logs", name, "-c", "checker"]).exits(0);
    said.has("page 3").has(name);
    let pod = cluster.pod(name);
    let ended = |name: &str| {
        let state = container(&pod, name).state.as_ref().unwrap();
        state.terminated.as_ref().unwrap().finished_at.as_ref().unwrap().0
    };
    assert!(ended("server") >= ended("puller").max(ended("checker")));
}

fn termination_politely_and_not(cluster: &Cluster<'_>, _: Runtime) {
    cluster.create_file("15-termination");
    cluster.until_ready("termination");
    let mut polite = Running::spawn(&mut cluster.husk.command(["logs", "-f", "termination", "-c", "polite"]));
    let last = cluster.delete("termination");
    polite.wait_for("got TERM");
    let (code, _, message) = termination(&last, "polite");
    assert_eq!((code, message.as_str()), (0, "bye\n"));
    assert_eq!(termination(&last, "stubborn").0, 137);
    let stubborn = container(&last, "stubborn").state.as_ref().unwrap().terminated.as_ref().unwrap();
    let due = last.metadata.deletion_timestamp.as_ref().unwrap().0;
    let late = seconds(due, stubborn.finished_at.as_ref().unwrap().0);
    assert!((-1..=30).contains(&late), "{late} s");
}

fn privileged(cluster: &Cluster<'_>, runtime: Runtime) {
    match runtime {
        Runtime::Native(User::Root) => {
            cluster.create_file("17-privileged");
            cluster.until_pod("privileged", "Succeeded");
            assert_eq!(cluster.logs("privileged"), "mounted\n");
        }
        Runtime::Native(User::Ordinary) => {
            cluster.create_file("17-privileged");
            cluster.until_container("privileged", "main", "refused", |status| {
                let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
                let message = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
                message.contains("a privileged container needs husk to run as root")
            });
        }
        Runtime::Wasm => {
            let file = format!("{}/tests/data/manifests/17-privileged.yaml", env!("CARGO_MANIFEST_DIR"));
            cluster.husk.husk(["create", "-f", &file]).exits(1).says("securityContext.privileged");
        }
    }
}

fn shared_namespaces(cluster: &Cluster<'_>, runtime: Runtime) {
    cluster.create_file("18-shared-namespaces");
    cluster.until_pod("shared-namespaces", "Succeeded");
    let said = |container: &str| cluster.husk.husk(["logs", "shared-namespaces", "-c", container]).ok();
    let (a, b) = (said("a"), said("b"));
    assert!(a.starts_with("shared-namespaces\n") && b.starts_with("shared-namespaces\n"), "{a}\n{b}");
    assert!(b.contains("sleep 5"), "{b}");
    if matches!(runtime, Runtime::Native(_)) {
        assert!(b.contains("Shared Memory Segments"), "{b}");
    }
}
