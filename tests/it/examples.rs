//! Every example that needs no download runs as it is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Husk, Outcome, Running, http_get};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// `husk run` on an example, as its first comment says.
fn run(name: &str) -> Outcome {
    Husk::new().husk(["run".as_ref(), "--timeout".as_ref(), "120s".as_ref(), examples().join(name).as_os_str()])
}

#[test]
fn hello_is_copied_served_and_fetched() {
    let outcome = run("hello.yaml")
        .exits(0)
        .has("prepare | '/greeting/index.html' -> '/site/index.html'")
        .has("server  | 127.0.0.1 \"GET / HTTP/1.1\" 200 182")
        .has("client  | Hello! This greeting came out of a ConfigMap, was copied into")
        .has("client  | container to another, over the localhost of their pod.")
        .says("hello   0/2     Completed   0");
    assert_eq!(outcome.stdout.lines().count(), 5, "{outcome:?}");
}

#[test]
fn localhost_is_reached_by_address_by_name_and_by_the_pods_ip() {
    let outcome = run("localhost.yaml").exits(0);
    for client in ["by-loopback", "by-name    ", "by-pod-ip  "] {
        assert!(outcome.stdout.contains(&format!("{client} | localhost\n")), "{client}: {outcome:?}");
    }
    let served = outcome.stdout.lines().filter(|line| line.starts_with("server ") && line.contains("200")).count();
    assert_eq!(served, 3, "{outcome:?}");
}

#[test]
fn a_shared_volume_is_filled_and_served_under_the_usual_names() {
    let outcome = run("shared-volume.yaml")
        .exits(0)
        .says("puller  | '/site/index.html' saved")
        .has("checker | <p>A page from far away.</p>")
        .says("Image \"nginx:1.17.10-alpine\" is served by the built-in image \"builtin/nginx\"")
        .says("Image \"busybox:1.32.0\" is served by the built-in image \"builtin/busybox\"")
        .says("shared-volume/server: Container exited with code 0")
        .says("shared-volume   0/3     Completed");
    let order = ["origin: Container started", "puller: Container exited", "server: Container started"];
    let places = order.map(|text| outcome.stderr.find(text).unwrap_or_else(|| panic!("no {text:?} in {outcome:?}")));
    assert!(places.is_sorted(), "{outcome:?}");
}

#[test]
fn init_containers_prepare_the_volume() {
    run("init-volume.yaml")
        .exits(0)
        .has("copy-sources     | '/sources/secret/password' -> '/work/etc/password'")
        .has("show             | colour = blue")
        .has("show             | app=\"init-volume\"")
        .has("list             | ./data:")
        .has("list             | password")
        .says("init-volume   0/2     Completed");
}

#[test]
fn a_service_leads_to_both_of_its_pods() {
    let outcome = run("services.yaml").exits(0).says("client   0/1     Completed");
    for server in ["web-a", "web-b"] {
        let answers = outcome.stdout.lines().filter(|line| line.ends_with(&format!("| {server}"))).count();
        assert_eq!(answers, 2, "{server}: {outcome:?}");
    }
}

#[test]
fn the_http_service_answers_the_host_until_ctrl_c() {
    let husk = Husk::new();
    let mut command = husk.command(["run", "--timeout", "120s", "-p", "0:80"]);
    command.arg(examples().join("http-service.yaml"));
    let mut running = Running::spawn(&mut command);
    let line = running.wait_for("is published on 127.0.0.1:");
    let port = line.rsplit(':').next().unwrap().parse().unwrap();
    running.wait_for("Container started");
    let answer = http_get(port, "/anything");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("Hello from a component in a pod!"), "{answer}");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("http-service/hello: Container exited with code 0")), "{lines:?}");
}

#[test]
fn probes_make_a_pod_ready_and_restart_a_container() {
    let mut running = Running::spawn(&mut Husk::new().command([
        "run".as_ref(),
        "--events".as_ref(),
        examples().join("probes.yaml").as_os_str(),
    ]));
    for line in [
        "probes/web: Container started",
        "probes/health: Container started",
        "probes/worker: Container started",
        "Pod is ready",
        "probes/health: Container health failed liveness probe, will be restarted",
        "probes/health: Container started (x2",
    ] {
        running.wait_for(line);
    }
    running.signal(Signal::TERM);
    let (code, lines) = running.end();
    assert_eq!(code, 143, "{lines:?}");
    let ends: Vec<_> = lines.iter().filter(|line| line.contains("Container exited")).collect();
    assert!(ends.last().unwrap().contains("probes/web: Container exited with code 0"), "{ends:?}");
}

#[test]
fn httpbin_answers_its_neighbours() {
    run("httpbin.yaml")
        .exits(0)
        .has("form       |     \"colour\": \"blue\"")
        .has("redirected |   \"url\": \"http://localhost/get\"")
        .says("exists     | remote file exists")
        .has("httpbin    | 127.0.0.1 \"GET /stream/100 HTTP/1.1\" 200")
        .says("httpbin/httpbin: Container exited with code 0");
}

#[test]
fn a_placeholder_ends_at_once_when_told_to() {
    let husk = Husk::new();
    let mut command = husk.command(["run", "--timeout", "120s", "--events"]);
    command.arg(examples().join("pause.yaml"));
    let mut running = Running::spawn(&mut command);
    running.wait_for("Pod is ready");
    // It listens to signals a moment after its start, and says nothing of it.
    std::thread::park_timeout(Duration::from_secs(1));
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("placeholder/pause: Container exited with code 0")), "{lines:?}");
}

#[test]
fn examples_that_need_a_download_are_valid() {
    let husk = Husk::new();
    for (name, image, containers) in [
        ("c", "localhost/hello-c:latest", 1),
        ("cpython", "localhost/cpython-http:latest", 1),
        ("go", "localhost/hello-go:latest", 1),
        ("javascript", "localhost/hello-javascript:latest", 1),
        ("sqlite", "localhost/sqlite3:latest", 2),
        ("wasi-http", "localhost/wstd-http-server:latest", 1),
    ] {
        let file = examples().join(name).join("pod.yaml");
        let outcome = husk.husk(["run".as_ref(), file.as_os_str()]).exits(2);
        assert_eq!(outcome.stderr.lines().count(), containers + 1, "nothing but the image is missing: {outcome:?}");
        outcome.says(image).says("husk image import");
        assert!(examples().join(name).join("build.sh").is_file());
    }
}

#[test]
fn every_example_is_run_here_or_needs_a_download() {
    let mut found: Vec<String> = std::fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/examples.rs")).unwrap();
    for name in &found {
        assert!(source.contains(&format!("\"{name}\"")), "no test runs examples/{name}");
    }
    assert!(found.len() >= 5, "{found:?}");
}

#[test]
fn the_shell_reads_commands_where_there_is_no_terminal() {
    let husk = Husk::new();
    let mut command = husk.command(["run", "-q", "--timeout", "120s"]);
    let mut child =
        command.arg(examples().join("shell.yaml")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo in $PWD\n").unwrap();
    let outcome = Outcome::from(child.wait_with_output().unwrap()).exits(0);
    assert!(outcome.stdout.contains("in /\r\n"), "{outcome:?}");
}
