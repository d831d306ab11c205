//! How native containers begin and end, beside others of WebAssembly: order, hooks, signals, exit codes, restarts, memory.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use rustix::process::Pid;

use super::both_users;
use super::images::Image;
use super::machine::{User, husk};
use super::scene::{eventually, seconds};
use crate::cluster::Cluster;
use crate::support::{container, termination};

both_users! {
    containers_of_both_kinds_start_in_order
    containers_end_as_they_are_told
    what_fails_is_started_again_and_says_why
    memory_is_limited_or_it_is_said_that_it_is_not
    a_pod_gets_over_the_end_of_its_sandbox
    a_debugger_sees_what_it_is_for
}

const IMAGES: &[Image] = &[Image::Busybox, Image::Nginx];

fn containers_of_both_kinds_start_in_order(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 3
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
    - {name: first, image: busybox, command: [sh, -c, 'echo native > /v/order'], volumeMounts: [&v {name: v, mountPath: /v}]}
    - {name: second, image: builtin/busybox, command: [sh, -c, 'echo wasm >> /v/order'], volumeMounts: [*v]}
    - name: native-sidecar
      image: nginx
      restartPolicy: Always
      startupProbe: {httpGet: {port: 80}, periodSeconds: 1}
    - name: wasm-sidecar
      image: builtin/busybox
      restartPolicy: Always
      command: [httpd, -f, -v, -p, '8080', -h, /v]
      startupProbe: {httpGet: {port: 8080, path: /order}, periodSeconds: 1}
      volumeMounts: [*v]
  containers:
    - {name: native, image: busybox, command: [sh, -c, 'wget -q -O - http://localhost:8080/order && wget -q -O - http://localhost | grep title']}
    - {name: wasm, image: builtin/busybox, command: [sh, -c, 'wget -q -O - http://localhost:8080/order && wget -q -O - http://localhost | grep title']}
";
    let outcome = husk.run(yaml, &[]).exits(0);
    for line in ["native | native", "native | wasm", "native | <title>Welcome to nginx!</title>"] {
        let (name, text) = line.split_once(" | ").unwrap();
        for name in [name, "wasm"] {
            let found = outcome.stdout.lines().filter_map(|line| line.split_once(" | "));
            assert!(
                found.into_iter().any(|(by, said)| by.trim() == name && said == text),
                "{name} {text}: {outcome:?}"
            );
        }
    }
}

/// A pod of native containers, by name what each runs, and what is in their specs besides.
fn pod(name: &str, spec: &str, containers: &[(&str, &str, &str)]) -> String {
    let mut yaml = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  containers:\n");
    for (name, script, more) in containers {
        yaml += &format!("  - name: {name}\n    image: busybox\n    command: [sh, -c, '{script}']\n{more}");
    }
    yaml
}

fn ended_at(pod: &Pod, name: &str) -> Timestamp {
    let state = container(pod, name).state.as_ref().unwrap();
    state.terminated.as_ref().unwrap().finished_at.as_ref().unwrap().0
}

fn containers_end_as_they_are_told(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let cluster = Cluster::start(&husk);
    let hooks = "    lifecycle:
      postStart: {exec: {command: [sh, -c, 'echo started > /tmp/hook']}}
      preStop: {exec: {command: [sh, -c, 'cat /tmp/hook > /dev/termination-log; echo stopping >> /dev/termination-log']}}
";
    // A hook finds nobody, and a signal is lost, before the server listens.
    let others = "  - name: called
    image: nginx
    lifecycle: {preStop: {httpGet: {port: 80, path: /bye}}}
    readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
  - {name: wasm, image: builtin/busybox, command: [sleep, '3600']}
";
    cluster.create(
        &(pod(
            "ends",
            "terminationGracePeriodSeconds: 4",
            &[
                ("hooked", "trap \"exit 7\" TERM; while true; do sleep 0.1; done", hooks),
                ("deaf", "exec sleep 3600", ""),
            ],
        ) + others),
    );
    cluster.until_ready("ends");
    let mut server = crate::support::Running::spawn(&mut husk.command(["logs", "-f", "ends", "-c", "called"]));
    let last = cluster.delete("ends");
    server.wait_for("GET /bye");
    let (code, reason, message) = termination(&last, "hooked");
    assert_eq!((code, reason.as_str(), message.as_str()), (7, "Error", "started\nstopping\n"));
    assert_eq!(termination(&last, "called").0, 0);
    // Whoever is the first process of its namespace and does not handle TERM is killed when the grace period is over.
    assert_eq!((termination(&last, "deaf").0, termination(&last, "wasm").0), (137, 143));
    let late = seconds(last.metadata.deletion_timestamp.as_ref().unwrap().0, ended_at(&last, "deaf"));
    assert!((-1..=30).contains(&late), "{late} s");
    // Time is up for pods, too.
    cluster.create(&pod(
        "late",
        "activeDeadlineSeconds: 2\n  terminationGracePeriodSeconds: 0",
        &[("c", "exec sleep 3600", "")],
    ));
    cluster.until_pod("late", "Failed");
    assert_eq!(cluster.pod("late").status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}

fn what_fails_is_started_again_and_says_why(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let cluster = Cluster::start(&husk);
    // The volume stays from start to start; what is written elsewhere does not.
    let counting = "ls /root; echo x >> /v/starts; echo x > /root/mine; [ $(grep -c x /v/starts) = 3 ] && exit 0; echo again; exit 3";
    let volume = "    volumeMounts: [{name: v, mountPath: /v}]\n";
    let spec = "restartPolicy: OnFailure\n  volumes: [{name: v, emptyDir: {}}]";
    cluster.create(&pod("counts", spec, &[("c", counting, volume)]));
    let says = "    terminationMessagePolicy: FallbackToLogsOnError\n";
    cluster.create(&pod(
        "codes",
        "restartPolicy: Never",
        &[
            ("fault", "sh -c \"kill -s SEGV \\$\\$\"; exit $?", ""),
            ("number", "exit 42", ""),
            ("last-words", "echo what went wrong; exit 1", says),
            ("none", "true", "    workingDir: /new/directory\n"),
        ],
    ));
    let missing = pod("missing", "restartPolicy: Never", &[("c", "true", "")]).replace("[sh, -c, 'true']", "[no-such]");
    cluster.create(&missing);
    cluster.until_pod("missing", "Failed");
    let (code, reason, message) = termination(&cluster.pod("missing"), "c");
    assert_eq!((code, reason.as_str()), (128, "StartError"));
    assert!(message.ends_with("exec: \"no-such\": executable file not found in $PATH"), "{message}");
    cluster.until_pod("codes", "Failed");
    let codes = cluster.pod("codes");
    let ends = ["fault", "number", "last-words", "none"].map(|name| termination(&codes, name).0);
    assert_eq!(ends, [139, 42, 1, 0]);
    assert_eq!(termination(&codes, "last-words").2, "what went wrong\n");
    cluster.until_container("counts", "c", "backing off", |status| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
    });
    assert_eq!(husk.husk(["logs", "counts"]).ok(), "again\n");
    cluster.until_pod("counts", "Succeeded");
    let status = cluster.status("counts");
    assert_eq!((status.restart_count, termination(&cluster.pod("counts"), "c").0), (2, 0));
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 3);
}

fn memory_is_limited_or_it_is_said_that_it_is_not(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let cluster = Cluster::start(&husk);
    let limit = "    resources: {limits: {memory: 24Mi}}\n";
    cluster.create(&pod(
        "hungry",
        "restartPolicy: Never",
        &[("c", "x=$(head -c 100000000 /dev/zero | tr \"\\000\" a); echo ${#x}", limit)],
    ));
    cluster.until(cluster.pods(), "hungry", "over", |pod| {
        ["Failed", "Succeeded"].contains(&crate::cluster::phase_of(pod))
    });
    let (code, reason, _) = termination(&cluster.pod("hungry"), "c");
    let unlimited = cluster.told("hungry", "ResourceLimitsNotEnforced");
    match (user, &unlimited[..]) {
        (User::Root, [_, ..]) | (User::Ordinary, []) if reason != "OOMKilled" => {
            panic!("{code} {reason} {unlimited:?}")
        }
        (_, []) => assert_eq!((code, reason.as_str()), (137, "OOMKilled")),
        (_, said) => assert!(said.len() == 1 && said[0].contains("memory"), "{said:?}"),
    }
}

/// The parent of the process with this among its arguments.
fn parent_of(argument: &str) -> Option<Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    let is_it = |line: &[u8]| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes());
    let mut found = processes.filter(|process| std::fs::read(process.join("cmdline")).is_ok_and(|line| is_it(&line)));
    let status = std::fs::read_to_string(found.next()?.join("status")).ok()?;
    Pid::from_raw(status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?)
}

/// Somebody kills the process that holds the pod's namespaces: its native containers start again, those of WebAssembly do
/// not notice, and they find each other as before.
fn a_pod_gets_over_the_end_of_its_sandbox(test: &str, user: User) {
    let images = [Image::NativeGuests, Image::WasmGuests];
    let Some(husk) = husk(test, user, &images) else { return };
    let cluster = Cluster::start(&husk);
    let marker = (50_000_000 + std::process::id() * 2 + u32::from(user == User::Root)).to_string();
    cluster.create(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {{name: idle, image: wasm/guests, command: [sleep, '3600']}}
    - {{name: wasm, image: wasm/guests, command: [tcp-server, '0.0.0.0:7000']}}
    - {{name: marked, image: native/guests, command: [sleep, '{marker}']}}
    - {{name: native, image: native/guests, command: [tcp-server, '0.0.0.0:7001'], readinessProbe: {{tcpSocket: {{port: 7001}}, \
             periodSeconds: 1}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: other}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: native/guests, command: [sleep, '3600']}}]}}
"
    ));
    for round in 0..2 {
        cluster.until_ready("p");
        cluster.until_ready("other");
        let ip = cluster.pod("p").status.unwrap().pod_ip.unwrap();
        for port in [7000, 7001] {
            let client = |pod, container, address: &str| {
                let words = ["exec", pod, "-c", container, "--", "tcp-client", &format!("{address}:{port}"), "ping"];
                husk.husk(words).exits(0).has("answer ping");
            };
            client("p", "idle", "localhost");
            client("p", "marked", "localhost");
            client("other", "c", &ip);
        }
        let pod = cluster.pod("p");
        for (name, count) in [("idle", 0), ("wasm", 0), ("marked", round), ("native", round)] {
            assert_eq!(container(&pod, name).restart_count, count, "{name} in round {round}");
        }
        let sandbox = parent_of(&marker).expect("the container's process shows");
        rustix::process::kill_process(sandbox, rustix::process::Signal::KILL).unwrap();
        cluster.until_container("p", "native", "restarted", |status| status.restart_count == round + 1);
        cluster.until_container("p", "marked", "restarted", |status| status.restart_count == round + 1);
    }
    let last = cluster.pod("p");
    let ended = container(&last, "native").last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.message.as_deref()), (137, Some("the pod's sandbox has ended")));
}

fn a_debugger_sees_what_it_is_for(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let cluster = Cluster::start(&husk);
    let others = "  - {name: wasm, image: builtin/busybox, command: [sleep, '3600']}\n";
    let containers = [("app", "exec sleep 1234", ""), ("other", "exec sleep 5678", "")];
    cluster.create(&(pod("p", "terminationGracePeriodSeconds: 0", &containers) + others));
    cluster.until_ready("p");
    let debugger = |name: &str, target: &str, script: &str| serde_json::json!({"name": name, "image": "busybox", "targetContainerName": target, "command": ["sh", "-c", script]});
    // It is among the processes of its target, may look into them, and ends them.
    let script = "busybox ps; cat /proc/1/comm; ls /proc/1/root/bin/busybox; sleep 1111 & exec busybox sleep 2222";
    let patch = serde_json::json!({"spec": {"ephemeralContainers": [
        debugger("into-app", "app", script), debugger("into-wasm", "wasm", "true"),
    ]}});
    let patched = cluster.runtime.block_on(cluster.pods().patch_ephemeral_containers(
        "p",
        &PatchParams::default(),
        &Patch::Strategic(patch),
    ));
    patched.unwrap();
    let ephemeral = |pod: &Pod, name: &str| {
        let statuses = pod.status.as_ref()?.ephemeral_container_statuses.as_ref()?;
        statuses.iter().find(|status| status.name == name)?.state.clone()
    };
    cluster.until(cluster.pods(), "p", "being debugged", |pod| {
        pod.and_then(|pod| ephemeral(pod, "into-app")).is_some_and(|state| state.running.is_some())
    });
    let seen = eventually("what the debugger sees", || {
        let seen = husk.husk(["logs", "p", "-c", "into-app"]).ok();
        seen.contains("/proc/1/root").then_some(seen)
    });
    assert!(seen.contains("sleep 1234") && seen.contains("\nsleep\n") && !seen.contains("5678"), "{seen}");
    let target = ["exec", "p", "-c", "app", "--", "sh", "-c"];
    let run = |script: &str| husk.husk(target.iter().chain(&[script])).ok();
    assert!(run("busybox ps").contains("sleep 2222"));
    // What it has started ends with it.
    run("kill -9 $(busybox ps | busybox awk '/[s]leep 2222/ {print $1}')");
    cluster.until(cluster.pods(), "p", "no longer debugged", |pod| {
        pod.and_then(|pod| ephemeral(pod, "into-app")).is_some_and(|state| state.terminated.is_some())
    });
    eventually("an end of what is left", || (!run("busybox ps").contains("sleep 1111")).then_some(()));
    cluster.until(cluster.pods(), "p", "without processes of WebAssembly", |pod| {
        let told = pod.and_then(|pod| ephemeral(pod, "into-wasm"));
        let message = told.and_then(|state| {
            let ended = state.terminated.and_then(|ended| ended.message);
            ended.or(state.waiting.and_then(|waiting| waiting.message))
        });
        message.is_some_and(|message| message.contains("has no processes here"))
    });
}
