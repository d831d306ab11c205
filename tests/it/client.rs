//! husk's own verbs against a server, or a run in another terminal: what somebody without kubectl types and sees.

#![cfg(unix)]

use std::fs;

use crate::support::{Husk, Outcome, Running, http_get};

/// A pod that prints a line and stays, with a web server beside it and a service in front.
const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: server, image: nginx, ports: [{containerPort: 80, name: http}]}
  - {name: talker, image: busybox, command: [sh, -c, 'echo hello; sleep 3600']}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: web}, ports: [{port: 8080, targetPort: http}]}
";

/// A husk whose server runs, with the manifest applied and its pod ready.
struct Served(Husk);

impl Served {
    fn start() -> Self {
        let husk = Husk::new();
        husk.husk(["serve", "--detach", "--port", "0"]).ok();
        let served = Self(husk);
        served.0.write("web.yaml", MANIFEST);
        assert_eq!(served.run("apply -f web.yaml").ok(), "pod/web created\nservice/front created\n");
        assert_eq!(served.run("wait --for=condition=Ready pod/web --timeout=60s").ok(), "pod/web condition met\n");
        served
    }

    fn run(&self, line: &str) -> Outcome {
        self.0.husk(line.split_whitespace())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.run("stop --timeout 10s");
    }
}

#[test]
fn objects_are_applied_printed_and_deleted() {
    let served = Served::start();
    assert_eq!(served.run("apply -f web.yaml").ok(), "pod/web unchanged\nservice/front unchanged\n");
    served.run("create -f web.yaml").exits(1).says("Error from server (AlreadyExists): ");
    let table = served.run("get pods").ok();
    assert!(
        table.starts_with("NAME   READY   STATUS    RESTARTS   AGE\nweb    2/2     Running   0          "),
        "{table}"
    );
    assert_eq!(served.run("get pods,svc/front -o name").exits(1).stdout, "", "two ways to name things do not mix");
    assert_eq!(served.run("get pod/web svc/front -o name").ok(), "pod/web\nservice/front\n");
    assert_eq!(served.run("get pod web -o jsonpath={.status.phase}").ok(), "Running");
    assert_eq!(served.run("get pods -o custom-columns=N:.metadata.name --no-headers -A").ok(), "web\n");
    served.run("get pods -l app=other").exits(0).says("No resources found in default namespace.");
    served.run("get pod nope").exits(1).says("Error from server (NotFound): pods \"nope\" not found");
    served.run("get nonsense").exits(1).says("error: the server doesn't have a resource type \"nonsense\"");
    assert_eq!(served.run("delete pod web").ok(), "pod \"web\" deleted from default namespace\n");
    served.run("get pod web").exits(1).says("not found");
    served.run("delete pod web").exits(1).says("not found");
    served.run("delete pod web --ignore-not-found").exits(0);
}

#[test]
fn containers_are_listened_to_and_used() {
    let served = Served::start();
    assert_eq!(served.run("logs web -c talker").ok(), "hello\n");
    assert_eq!(served.run("logs -l app=web -c talker --prefix").ok(), "[pod/web/talker] hello\n");
    served.run("logs web -c nope").exits(1).says("container nope is not valid for pod web");
    let spoken = served.run("exec web -c talker -- busybox echo spoken").exits(0);
    assert_eq!(spoken.stdout, "spoken\n");
    let failed = served.run("exec web -c talker -- false").exits(1);
    assert!(failed.stderr.contains("command terminated with exit code 1"), "{failed:?}");
    let content = (0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    served.0.write("there/data", &content);
    served.run("cp there web:/tmp/copy -c talker").ok();
    served.run("cp web:/tmp/copy back -c talker").ok();
    assert!(fs::read(served.0.dir().join("back/data")).unwrap() == content, "what comes back is what went there");
    let mut forward = Running::spawn(&mut served.0.command(["port-forward", "svc/front", "0:8080"]));
    let line = forward.wait_for("Forwarding from 127.0.0.1:");
    let port = line.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap();
    assert!(http_get(port, "/").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_program_reads_what_is_typed() {
    let served = Served::start();
    let mut cat = Running::spawn(&mut served.0.command(["exec", "-i", "web", "-c", "talker", "--", "cat"]));
    cat.write_stdin("typed\n");
    cat.wait_for("typed");
    cat.close_stdin();
    assert_eq!(cat.end().0, 0);
}

#[test]
fn a_server_tells_of_itself() {
    let served = Served::start();
    let events = served.run("events --for pod/web").ok();
    assert!(events.starts_with("LAST SEEN   TYPE     REASON"), "{events}");
    assert!(events.contains("Successfully assigned default/web to"), "{events}");
    served
        .run("api-resources")
        .has("pods                        po           v1                         true         Pod");
    let explained = served.run("explain pod.spec.restartPolicy").ok();
    assert!(explained.contains("FIELD: restartPolicy <string>"), "{explained}");
    assert!(served.run("version").ok().contains("Server Version: v1."));
    served.run("wait --for=condition=Nonsense pod/web --timeout=1s").exits(1).says("timed out waiting");
    served.run("wait --for=delete pod/nope").exits(0);
}

#[test]
fn without_a_server_verbs_say_how_to_start_one() {
    let husk = Husk::new();
    husk.husk(["get", "pods"]).exits(1).says("start one with `husk serve --detach");
}

#[test]
fn a_run_in_another_terminal_is_like_a_server() {
    let husk = Husk::new();
    let mut run = husk.start(MANIFEST, &[]);
    run.wait_for("hello");
    let on = |line: &str| husk.husk(line.split_whitespace());
    assert_eq!(on("wait --for=condition=Ready pod/web --timeout=60s").ok(), "pod/web condition met\n");
    let table = on("get pods").ok();
    assert!(
        table.starts_with("NAME   READY   STATUS    RESTARTS   AGE\nweb    2/2     Running   0          "),
        "{table}"
    );
    assert_eq!(on("logs web -c talker").ok(), "hello\n");
    assert_eq!(on("logs svc/front -c talker").ok(), "hello\n");
    assert_eq!(on("exec svc/front -c talker -- busybox echo spoken").ok(), "spoken\n");
    on("get pod nope").exits(1).says("Error from server (NotFound): pods \"nope\" not found");
    assert!(on("events --for pod/web").ok().contains("Successfully assigned default/web to"));
    assert!(on("describe node").ok().contains("Non-terminated Pods:          (1 in total)"));
    let mut forward = Running::spawn(&mut husk.command(["port-forward", "svc/front", "0:8080"]));
    let line = forward.wait_for("Forwarding from 127.0.0.1:");
    let port = line.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap();
    assert!(http_get(port, "/").starts_with("HTTP/1.1 200"));
    drop(forward);
    // What is made beside its pods lives as long as they do.
    husk.write("beside.yaml", MANIFEST.replace("name: web,", "name: beside,").replace("name: front", "name: other"));
    assert_eq!(on("apply -f beside.yaml").ok(), "pod/beside created\nservice/other created\n");
    let met = "pod/beside condition met\npod/beside condition met\n";
    assert_eq!(on("wait --for=condition=PodScheduled --for=condition=Ready pod/beside --timeout=60s").ok(), met);
    let mut watched = Running::spawn(&mut husk.command(["get", "pods", "-w"]));
    watched.wait_for("web ");
    assert_eq!(on("delete pod web").ok(), "pod \"web\" deleted from default namespace\n");
    watched.wait_for("Terminating");
    let (_, watched) = watched.end();
    assert!(watched.iter().all(|line| !line.trim().is_empty()), "every row has its cells: {watched:#?}");
    let (_, lines) = run.end();
    assert!(lines.iter().any(|line| line.starts_with("web ")), "its table has the pod: {lines:#?}");
    on("get pods").exits(1).says("no husk server and no `husk run` is at work on ");
    let left = fs::read_dir(husk.dir().join("data/pods")).unwrap().count();
    assert_eq!(left, 0, "files of pods go with the run");
}

#[test]
fn of_several_runs_one_is_chosen() {
    let husk = Husk::new();
    let sleeper = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: c, image: busybox, \
             command: [sh, -c, 'echo {name} runs; sleep 3600']}}\n"
        )
    };
    let [mut one, mut other] = ["one", "other"].map(|name| {
        let file = husk.write(&format!("{name}.yaml"), sleeper(name));
        Running::spawn(husk.command(["run", "--timeout", "120s"]).arg(file))
    });
    one.wait_for("one runs");
    other.wait_for("other runs");
    let asked = husk.husk(["get", "pods"]).exits(1).says("several `husk run` are under way: choose one with --run=PID");
    let row = asked.stderr.lines().find(|line| line.ends_with("other.yaml")).unwrap();
    let run = format!("--run={}", row.split_whitespace().next().unwrap());
    assert_eq!(husk.husk(["get", "pods", &run, "-o", "name"]).ok(), "pod/other\n");
    husk.husk(["get", "pods", "--run=1"]).exits(1).says("is process 1");
    // A server is what is meant before any of them.
    husk.husk(["serve", "--detach", "--port", "0"]).ok();
    husk.husk(["get", "pods"]).exits(0).says("No resources found in default namespace.");
    assert_eq!(husk.husk(["get", "pods", &run, "-o", "name"]).ok(), "pod/other\n");
    husk.husk(["stop"]).exits(0);
    drop(other);
    assert_eq!(husk.husk(["get", "pods", "-o", "name"]).ok(), "pod/one\n");
}

#[test]
fn objects_are_made_of_options_and_edited() {
    let served = Served::start();
    assert_eq!(served.run("create configmap settings --from-literal=a=b").ok(), "configmap/settings created\n");
    served
        .run("create configmap settings")
        .exits(1)
        .says("Error from server (AlreadyExists): failed to create configmap: configmaps \"settings\" already exists");
    assert_eq!(served.run("create service clusterip web --tcp=80:8080 -o name").ok(), "service/web\n");
    let dry = served.run("create secret generic s --from-literal=k=v --dry-run=client -o yaml").ok();
    assert!(dry.contains("k: dg==") && dry.contains("kind: Secret"), "{dry}");
    served.run("get secret s").exits(1).says("not found");
    let edit = |script: &str, target: &str| served.0.husk_with([("EDITOR", script)], ["edit", target]);
    assert_eq!(edit("sed -i s/'a: b'/'a: c'/", "configmap/settings").ok(), "configmap/settings edited\n");
    assert_eq!(served.run("get configmap settings -o jsonpath={.data.a}").ok(), "c");
    edit("true", "configmap/settings").exits(0).says("Edit cancelled, no changes made.");
    edit("sed -i s/'a: c'/'a: [d]'/", "configmap/settings")
        .exits(1)
        .says("A copy of your changes has been stored to ")
        .says("Error from server (BadRequest)");
    let mut watched = Running::spawn(&mut served.0.command(["events", "-w", "--types=Normal"]));
    watched.wait_for("Pod/web");
    served.0.write("late.yaml", MANIFEST.replace("name: web,", "name: late,"));
    served.run("apply -f late.yaml").ok();
    watched.wait_for("Pod/late");
}
