//! The life of pods on the real planner and real guests: order, restarts, ends.

use rustix::process::Signal;

use crate::support::{Husk, container, pod, termination};

const BASE: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";

#[test]
fn init_containers_run_in_order_before_the_others() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}]
  initContainers:
    - {{name: one, image: busybox, command: [touch, /v/one], volumeMounts: [{{name: v, mountPath: /v}}]}}
    - {{name: two, image: busybox, command: [mv, /v/one, /v/two], volumeMounts: [{{name: v, mountPath: /v}}]}}
  containers:
    - {{name: c, image: busybox, command: [ls, /v], volumeMounts: [{{name: v, mountPath: /v}}]}}
"
    );
    husk.run(&yaml, &["--no-prefix"]).exits(0).has("two");
}

#[test]
fn a_failed_init_container_fails_the_pod_and_nothing_else_starts() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: Never
  initContainers: [{{name: i, image: test/p1/exit, args: ['9']}}]
  containers: [{{name: c, image: test/p1/hello}}]
"
    );
    let outcome = husk.run(&yaml, &["--no-prefix"]).exits(9).says("Init:Error");
    assert!(!outcome.stdout.contains("hello"), "{outcome:?}");
    let pod = husk.final_pod(&yaml);
    assert_eq!(pod.status.as_ref().unwrap().phase.as_deref(), Some("Failed"));
    let waiting = container(&pod, "c").state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
}

#[test]
fn a_failing_container_is_restarted_at_once_and_then_backs_off() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:\n  restartPolicy: OnFailure\n  containers: [{{name: c, image: test/p1/exit, args: ['3']}}]\n"
    );
    let mut running = husk.start(&yaml, &[]);
    running.wait_for("Container exited with code 3 (Error)");
    running.wait_for("Container started");
    running.wait_for("Container exited with code 3 (Error)");
    running.wait_for("BackOff: Back-off restarting failed container c in pod p_default(");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    let row = lines.iter().find(|line| line.starts_with("p ")).expect("a table");
    assert!(row.split_whitespace().any(|cell| cell == "1"), "one restart in {row}");
}

#[test]
fn on_failure_ends_with_the_first_success() {
    let husk = Husk::new();
    // The first instance has no folder to rename, which counts as a failure, and makes one; the second renames it.
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: OnFailure
  volumes: [{{name: v, emptyDir: {{}}}}]
  containers:
    - name: c
      image: test/p1/files
      args: [rename, /v/next, /v/last, ',', mkdir, /v/next]
      volumeMounts: [{{name: v, mountPath: /v}}]
    - {{name: other, image: busybox, command: ['true']}}
"
    );
    let pod = husk.final_pod(&yaml);
    assert_eq!(pod.status.as_ref().unwrap().phase.as_deref(), Some("Succeeded"));
    assert_eq!(container(&pod, "c").restart_count, 1);
    assert_eq!(container(&pod, "other").restart_count, 0);
}

#[test]
fn a_sidecar_runs_beside_the_others_and_ends_after_them() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  initContainers: [{{name: side, image: test/p1/signals, restartPolicy: Always}}]
  containers: [{{name: c, image: test/p2/hello}}]
"
    );
    let outcome = husk.run(&yaml, &[]).exits(0);
    let place = |text: &str| outcome.stderr.find(text).unwrap_or_else(|| panic!("no {text:?} in {outcome:?}"));
    assert!(place("p/side: Container started") < place("p/c: Container started"));
    assert!(place("p/c: Container exited with code 0") < place("p/side: Container exited with code 0"));
    assert!(outcome.stdout.contains("got signal 15"), "{outcome:?}");
}

#[test]
fn ctrl_c_once_is_graceful_and_twice_kills() {
    let husk = Husk::new();
    let mut running = husk.start(&pod("test/p2/busy", &[], ""), &[]);
    running.wait_for("busy");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("exited with code 143")), "{lines:?}");

    let mut running = husk.start(&pod("test/p1/signals", &["ignore"], ""), &[]);
    running.wait_for("waiting");
    running.signal(Signal::INT);
    running.wait_for("got signal 15");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("exited with code 137")), "{lines:?}");
}

#[test]
fn the_grace_period_ends_with_kill() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  activeDeadlineSeconds: 1
  containers: [{{name: c, image: test/p2/signals, args: [ignore]}}]
"
    );
    let pod = husk.final_pod(&yaml);
    assert_eq!(termination(&pod, "c").0, 137);
    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn a_time_limit_ends_the_run_with_124() {
    let husk = Husk::new();
    let file = husk.manifest(&pod("test/p1/busy", &[], ""));
    let outcome = husk.husk(["run".as_ref(), "--timeout".as_ref(), "1s".as_ref(), file.as_os_str()]);
    outcome.exits(124).says("Time is up").says("exited with code 143");
}

#[test]
fn nothing_of_a_pod_is_left_behind() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}]
  containers:
    - name: c
      image: test/p1/files
      args: [write, /v/f, x, ',', write, /g, x]
      volumeMounts: [{{name: v, mountPath: /v}}]
"
    );
    husk.run(&yaml, &[]).exits(0);
    let left: Vec<_> =
        std::fs::read_dir(husk.dir().join("data/pods")).map(|dir| dir.flatten().collect()).unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_crash_loop_that_runs_out_of_time_is_explained() {
    let husk = Husk::new();
    let yaml = pod("test/p1/exit", &["3"], "").replace("Never", "Always");
    let file = husk.manifest(&yaml);
    let outcome = husk.husk(["run".as_ref(), "--timeout".as_ref(), "5s".as_ref(), file.as_os_str()]).exits(124);
    let (_, end) = outcome.stderr.split_once("When the stop began:\n").unwrap_or_else(|| panic!("{outcome:?}"));
    let [_, row, why] = end.lines().collect::<Vec<_>>()[..] else { panic!("{end}") };
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["p", "0/1", "CrashLoopBackOff", "1"], "{row}");
    assert_eq!(why, "p/c: CrashLoopBackOff after 1 restart: last exited with code 3 (Error)");
}

#[test]
fn only_the_containers_that_were_not_well_are_explained() {
    let husk = Husk::new();
    let yaml = format!(
        "{BASE}spec:
  restartPolicy: Always
  containers:
    - {{name: good, image: test/p1/signals}}
    - {{name: done, image: busybox, command: ['true']}}
"
    );
    let mut running = husk.start(&yaml, &[]);
    running.wait_for("p/done: BackOff: ");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    let why = lines.iter().skip_while(|line| *line != "When the stop began:").skip(3).collect::<Vec<_>>();
    let advice = "(if it is meant to end, set restartPolicy: OnFailure)";
    let done = format!("p/done: CrashLoopBackOff after 1 restart: last exited with code 0 (Completed) {advice}");
    assert_eq!(why, [&done], "{lines:#?}");
}

#[test]
fn a_pod_that_was_well_until_it_was_stopped_is_not_explained() {
    let husk = Husk::new();
    let mut running = husk.start(&pod("test/p1/signals", &[], ""), &["--events"]);
    running.wait_for("p: Pod is ready");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    let end: Vec<_> = lines.iter().skip_while(|line| *line != "When the stop began:").skip(2).collect();
    let [row] = end[..] else { panic!("{lines:#?}") };
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["p", "1/1", "Running", "0"], "{row}");
}

#[test]
fn a_pod_that_never_gets_ready_says_why() {
    let husk = Husk::new();
    let probe = "ports: [{containerPort: 80}]\nreadinessProbe: {periodSeconds: 1, httpGet: {path: /none, port: 80}}";
    let mut running = husk.start(&pod("nginx", &[], probe), &[]);
    running.wait_for("p/c: Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404");
    running.wait_for("GET /none");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    let unhealthy = lines.iter().filter(|line| line.contains(" Unhealthy: ") && line.contains("404")).count();
    assert_eq!(unhealthy, 1, "told once: {lines:#?}");
    let end: Vec<_> = lines.iter().skip_while(|line| *line != "When the stop began:").skip(2).collect();
    let [row, why] = end[..] else { panic!("{lines:#?}") };
    assert_eq!(row.split_whitespace().take(3).collect::<Vec<_>>(), ["p", "0/1", "Running"], "{row}");
    assert!(why.starts_with("p/c: not ready: Readiness probe failed: HTTP probe failed with statuscode: 404"), "{why}");
    assert!(why.ends_with("(check readinessProbe.httpGet.path, which is /none)"), "{why}");
}
