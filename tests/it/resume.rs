//! husk is killed, and another one goes on with its pods, or removes what they have left.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Husk, Running, container, pod};

/// A pod that makes a folder in a volume and then waits. `more` is YAML at the level of its `spec`.
fn waiting(more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:
  terminationGracePeriodSeconds: 1
  volumes: [{{name: v, emptyDir: {{}}}}]
  initContainers:
    - {{name: i, image: busybox, command: [mkdir, -p, /v/kept], volumeMounts: [{{name: v, mountPath: /v}}]}}
  containers:
    - {{name: c, image: busybox, command: [sleep, '1000'], volumeMounts: [{{name: v, mountPath: /v}}]}}
{more}"
    )
}

/// A pod that ends at once.
fn ending() -> String {
    pod("busybox", &[], "command: ['true']")
}

impl Husk {
    /// What is in the directory of all runs.
    fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.dir().join("data/pods")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Waits until there are so many: what was left behind is removed beside what else a run does.
    #[track_caller]
    fn wait_for_runs(&self, count: usize) {
        for _ in 0..600 {
            if self.runs().len() == count {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        panic!("not {count}: {:?}", self.runs());
    }

    /// The volume `v` of the only pod of the only run.
    fn volume(&self) -> PathBuf {
        let run = self.runs().pop().unwrap();
        let pods = std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
        let pod = pods.filter(|path| path.is_dir()).last().expect("a pod");
        pod.join("volumes/kubernetes.io~empty-dir/v")
    }
}

fn kill(running: Running) {
    running.signal(Signal::KILL);
    assert_eq!(running.end().0, -1);
}

/// Starts the pod and kills husk once its container runs.
fn killed(husk: &Husk, yaml: &str) {
    let mut running = husk.start(yaml, &[]);
    running.wait_for("p/c: Container started");
    kill(running);
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let husk = Husk::new();
    killed(&husk, &waiting(""));
    std::fs::write(husk.volume().join("kept/note"), "written before").unwrap();
    let uid_before = husk.volume().ancestors().nth(3).unwrap().file_name().unwrap().to_owned();
    for restarts in 1..=2 {
        let mut running = husk.start(&waiting(""), &["--resume", "--events"]);
        running.wait_for("p: Goes on where a killed husk left it");
        running.wait_for("p/c: Container exited with code 137 (ContainerStatusUnknown)");
        running.wait_for("p: Pod is ready");
        husk.wait_for_runs(1);
        assert_eq!(husk.volume().ancestors().nth(3).unwrap().file_name().unwrap(), uid_before);
        assert_eq!(std::fs::read_to_string(husk.volume().join("kept/note")).unwrap(), "written before");
        if restarts == 1 {
            kill(running);
            continue;
        }
        running.signal(Signal::INT);
        let (code, lines) = running.end();
        assert_eq!(code, 130, "{lines:?}");
        let row = lines.iter().find(|line| line.starts_with("p ")).expect("a table");
        assert_eq!(row.split_whitespace().nth(3), Some("2"), "{row}");
    }
    assert_eq!(husk.runs(), [""; 0].map(PathBuf::from));
}

#[test]
fn without_resume_what_was_left_is_removed() {
    let husk = Husk::new();
    killed(&husk, &waiting(""));
    killed(&husk, &waiting(""));
    husk.run(&ending(), &[]).ok();
    assert_eq!(husk.runs(), [""; 0].map(PathBuf::from));
}

#[test]
fn husks_that_run_leave_each_other_alone() {
    let husk = Husk::new();
    let mut first = husk.start(&waiting(""), &[]);
    first.wait_for("p/c: Container started");
    for args in [&[][..], &["--resume"]] {
        let mut second = husk.start(&waiting(""), args);
        if !args.is_empty() {
            second.wait_for("p: Nothing of it was left: it starts anew");
        }
        second.wait_for("p/c: Container started");
        assert_eq!(husk.runs().len(), 2);
        second.signal(Signal::INT);
        assert_eq!(second.end().0, 130);
    }
    assert_eq!(husk.runs().len(), 1);
    assert!(husk.volume().join("kept").exists());
    first.signal(Signal::INT);
    assert_eq!(first.end().0, 130);
    assert_eq!(husk.runs().len(), 0);
}

/// Pods that are not named are left for whoever names them; those that had ended are told of and not run again.
#[test]
fn each_pod_is_taken_up_once_and_by_whoever_names_it() {
    let husk = Husk::new();
    let pod = |name: &str, command: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: \
             [{{name: c, image: busybox, command: {command}}}]}}}}\n---\n"
        )
    };
    let (done, other) = (pod("done", "[sleep, '1']"), pod("other", "[sleep, '1000']"));
    let mut running = husk.start(&format!("{done}{other}"), &["--events"]);
    running.wait_for("other: Pod is ready");
    running.wait_for("done: Phase is Succeeded");
    kill(running);
    let resumed = husk.run(&done, &["--resume"]).says("done: It had ended (Succeeded) and is not run again").exits(0);
    assert!(!resumed.stderr.contains("Container"), "nothing of it is told again: {resumed:?}");
    assert_eq!(husk.runs().len(), 1);
    husk.run(&done, &["--resume"]).says("done: Nothing of it was left: it starts anew").exits(0);
    let pod = husk.run(&other, &["--resume", "-o", "json"]).says("other: Goes on where").exits(137);
    let pod = serde_json::from_str(&pod.stdout).unwrap();
    let end = container(&pod, "c").state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(end.reason.as_deref(), Some("ContainerStatusUnknown"));
    assert_eq!(husk.runs().len(), 0);
}

/// A manifest that has changed is applied as Kubernetes would: images may change, little else may.
#[test]
fn a_manifest_may_have_changed_as_far_as_kubernetes_lets_it() {
    let husk = Husk::new();
    killed(&husk, &waiting(""));
    let changed = husk.run(&waiting("  restartPolicy: OnFailure"), &["--resume"]).exits(2);
    let changed =
        changed.says("error: pod default/p cannot be gone on with as it is now: spec: Forbidden: pod updates");
    changed.says(": spec.restartPolicy\nChange it back, or run without --resume to start all pods anew");
    let mut running =
        husk.start(&waiting("").replace("name: c, image: busybox", "name: c, image: 'busybox:2'"), &["--resume"]);
    running.wait_for("p/c: Image \"busybox:2\" is served by");
    running.wait_for("p/c: Container started");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
}

/// A journal that makes no sense is told with its place, and does not keep other pods from coming back.
#[test]
fn a_broken_journal_is_told_and_the_rest_goes_on() {
    let husk = Husk::new();
    killed(&husk, &waiting(""));
    let journal = husk.runs().pop().unwrap().join("journal");
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines = text.lines().count();
    std::fs::write(&journal, text + "{\"uid\":\"x\",\"pod\":nonsense}\n").unwrap();
    let mut running = husk.start(&waiting(""), &["--resume"]);
    running.wait_for(&format!("journal:{}: not a record of husk", lines + 1));
    running.wait_for("p: Goes on where");
    running.wait_for("p/c: Container started");
    running.signal(Signal::INT);
    assert_eq!(running.end().0, 130);
    assert!(journal.exists(), "another husk might make sense of it");
    husk.run(&ending(), &[]).ok();
    assert_eq!(husk.runs().len(), 0);
}
