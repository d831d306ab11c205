//! The real `kubectl` against a server, as a user types it. Where there is none, the test says so.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::Husk;

/// A server, and kubectl with its kubeconfig.
struct Kubectl<'h> {
    husk: &'h Husk,
    kubeconfig: PathBuf,
}

impl<'h> Kubectl<'h> {
    /// `None` where there is no kubectl.
    fn start(husk: &'h Husk, test: &str) -> Option<Self> {
        if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
            let _ = writeln!(std::io::stderr(), "not run here: {test}: there is no kubectl");
            return None;
        }
        let said = husk.husk(["serve", "--detach", "--port", "0"]).ok();
        Some(Self { husk, kubeconfig: said.trim_end().into() })
    }

    fn run(&self, args: &[&str], stdin: &str) -> (i32, String, String) {
        let mut child = Command::new("kubectl")
            .args(args)
            .current_dir(self.husk.dir())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.husk.dir().join("kubecache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// Asserts success and gives standard output.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args, "");
        assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
        stdout
    }

    /// Asserts failure and gives standard error.
    #[track_caller]
    fn fails(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(args, "");
        assert_eq!(code, 1, "{args:?}: {stdout}{stderr}");
        stderr
    }
}

impl Drop for Kubectl<'_> {
    fn drop(&mut self) {
        self.husk.husk(["stop", "--timeout", "10s"]);
    }
}

const WEB: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec:\n  containers:\n  \
                   - {name: c, image: nginx, ports: [{containerPort: 80}]}\n";

#[test]
fn objects_are_made_shown_changed_and_deleted() {
    let husk = Husk::new();
    let Some(kubectl) = Kubectl::start(&husk, "objects_are_made_shown_changed_and_deleted") else { return };
    let lines = |text: String| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert!(kubectl.ok(&["cluster-info"]).contains("control plane"));
    assert_eq!(lines(kubectl.ok(&["get", "nodes", "--no-headers"])).len(), 1);
    assert_eq!(kubectl.ok(&["create", "configmap", "m", "--from-literal=a=1"]), "configmap/m created\n");
    assert_eq!(kubectl.ok(&["patch", "cm", "m", "-p", r#"{"data":{"b":"2"}}"#]), "configmap/m patched\n");
    let json = r#"[{"op":"add","path":"/data/c","value":"3"}]"#;
    assert_eq!(kubectl.ok(&["patch", "cm", "m", "--type", "json", "-p", json]), "configmap/m patched\n");
    assert_eq!(kubectl.ok(&["get", "cm", "m", "-o", "jsonpath={.data}"]), r#"{"a":"1","b":"2","c":"3"}"#);
    assert_eq!(kubectl.ok(&["label", "cm", "m", "x=y"]), "configmap/m labeled\n");
    assert_eq!(kubectl.ok(&["annotate", "cm", "m", "x=y"]), "configmap/m annotated\n");
    assert_eq!(kubectl.ok(&["get", "cm", "-l", "x=y", "-o", "name"]), "configmap/m\n");
    assert_eq!(
        kubectl.fails(&["create", "configmap", "m"]),
        "error: failed to create configmap: configmaps \"m\" already exists\n"
    );
    assert_eq!(kubectl.fails(&["get", "pod", "x"]), "Error from server (NotFound): pods \"x\" not found\n");
    husk.write("bad.yaml", WEB.replace("image:", "imagee: x, image:"));
    assert!(kubectl.fails(&["apply", "-f", "bad.yaml"]).contains(r#"unknown field "spec.containers[0].imagee""#));
    husk.write("invalid.yaml", WEB.replace("containerPort: 80", "containerPort: 70000"));
    let invalid = kubectl.fails(&["apply", "-f", "invalid.yaml"]);
    assert!(invalid.contains("Invalid value: 70000: must be between 1 and 65535, inclusive"), "{invalid}");
    assert_eq!(kubectl.ok(&["create", "namespace", "n"]), "namespace/n created\n");
    assert!(kubectl.ok(&["create", "token", "default", "-n", "n"]).starts_with("eyJ"));
    assert_eq!(kubectl.ok(&["delete", "namespace", "n"]), "namespace \"n\" deleted\n");
    assert!(
        kubectl.ok(&["explain", "pod.spec.restartPolicy"]).contains("Restart policy for all containers within the pod")
    );
    assert_eq!(kubectl.ok(&["auth", "can-i", "create", "pods"]), "yes\n");
    assert_eq!(kubectl.ok(&["delete", "cm", "m"]), "configmap \"m\" deleted\n");
}

#[test]
fn pods_are_run_reached_and_stopped() {
    let husk = Husk::new();
    let Some(kubectl) = Kubectl::start(&husk, "pods_are_run_reached_and_stopped") else { return };
    husk.write("web.yaml", WEB);
    assert_eq!(kubectl.ok(&["apply", "-f", "web.yaml"]), "pod/web created\n");
    assert_eq!(kubectl.ok(&["wait", "pod/web", "--for=condition=Ready", "--timeout=90s"]), "pod/web condition met\n");
    assert_eq!(kubectl.ok(&["apply", "-f", "web.yaml"]), "pod/web unchanged\n");
    let row: Vec<String> = kubectl.ok(&["get", "pods", "--no-headers"]).split_whitespace().map(str::to_owned).collect();
    assert_eq!(row[..4], ["web", "1/1", "Running", "0"]);
    let described = kubectl.ok(&["describe", "pod", "web"]);
    for line in ["Successfully assigned default/web to", "Container started", "QoS Class:                   BestEffort"]
    {
        assert!(described.contains(line), "no {line:?} in {described}");
    }
    assert_eq!(kubectl.ok(&["exec", "web", "--", "sh", "-c", "echo out"]), "out\n");
    let (code, _, said) = kubectl.run(&["exec", "web", "--", "sh", "-c", "exit 7"], "");
    assert_eq!((code, said.as_str()), (7, "command terminated with exit code 7\n"));
    assert_eq!(kubectl.run(&["exec", "-i", "web", "--", "cat"], "typed").1, "typed");
    husk.write("file", "contents");
    kubectl.ok(&["cp", "file", "web:/tmp/file"]);
    kubectl.ok(&["cp", "web:/tmp/file", "back"]);
    assert_eq!(std::fs::read_to_string(husk.dir().join("back")).unwrap(), "contents");
    assert_eq!(kubectl.ok(&["expose", "pod", "web", "--port", "80"]), "service/web exposed\n");
    let script = "wget -qO- http://web | head -1; read line; echo got $line";
    let run = ["run", "once", "-i", "--rm", "--image=busybox", "--restart=Never", "--", "sh", "-c", script];
    let (code, stdout, stderr) = kubectl.run(&run, "a line\n");
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("<!DOCTYPE html>") && stdout.contains("got a line"), "{stdout}{stderr}");
    assert!(kubectl.ok(&["logs", "web"]).contains("start worker processes"));
    assert!(kubectl.ok(&["get", "events"]).contains("Container started"));
    assert_eq!(kubectl.ok(&["delete", "pod", "web", "--now"]), "pod \"web\" deleted\n");
    assert_eq!(kubectl.ok(&["get", "pods", "-o", "name"]), "");
}
