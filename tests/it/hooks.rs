//! Hooks on real guests: what comes before a container counts as running, and before it is told to stop.

use std::time::Duration;

use crate::story::{Story, pods};
use crate::support::{Husk, container, pod, termination};

#[test]
fn post_start_hooks_end_before_the_next_container_starts() {
    let husk = Husk::new();
    let spec = "
  terminationGracePeriodSeconds: 2
  initContainers:
    - name: web
      image: test/p2/probed
      args: [serve, --port, '80', --print-headers]
      restartPolicy: Always
      startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, timeoutSeconds: 9, failureThreshold: 60}
  containers:
    - name: makes
      image: busybox:1.32.0
      imagePullPolicy: IfNotPresent
      lifecycle:
        postStart:
          exec: { command: [mkdir, -p, /lagou/k8s/index.html] }
      command: [sleep, '5000']
      readinessProbe: {exec: {command: [test, -d, /lagou/k8s/index.html]}, timeoutSeconds: 9}
    - name: asks
      image: busybox
      command: [sleep, '5000']
      lifecycle: {postStart: {httpGet: {port: 80, path: '/status?code=500', httpHeaders: [{name: X-Hook, value: start}]}}}
    - name: naps
      image: busybox
      command: [sleep, '5000']
      lifecycle: {postStart: {sleep: {seconds: 2}}}
    - name: last
      image: busybox
      command: [sleep, '5000']
";
    let mut story = Story::start(&husk, &pods(&[("p", spec)]));
    story.wait_for_all(&["p Ready", "p Phase: Phase is Running"]);
    // Whatever the answer, it is one.
    story.wait_for_output(&[
        "web | GET /status?code=500 500",
        "web | X-Hook: start",
        "web | User-Agent: kube-lifecycle/1.36",
    ]);
    story.tells(&["p/web Started", "p/makes Started", "p/asks Started", "p/naps Started", "p/last Started", "p Ready"]);
    story.tells(&["p/last Started", "p Phase: Phase is Running"]);
    story.never_tells("p/makes Unhealthy");
    assert!(story.time_between("p/naps Pulled", "p/last Started") >= Duration::from_secs(2));
    story.stop();
    assert_eq!(story.row("p"), ["5/5", "Running", "0"]);
}

#[test]
fn a_post_start_hook_that_fails_kills_its_container_and_counts_as_a_crash() {
    let husk = Husk::new();
    let exec = "
  containers:
    - name: c
      image: busybox
      command: [sleep, '3600']
      lifecycle:
        postStart: {exec: {command: [cat, /nothing]}}
        preStop: {exec: {command: [cp, /etc/hostname, /dev/termination-log]}}
";
    let missing = "
  containers:
    - name: c
      image: test/p2/probed
      args: [trap, --exit, '3']
      lifecycle: {postStart: {exec: {command: [sh, -c, 'true']}}}
";
    let http = "
  restartPolicy: Never
  containers:
    - name: c
      image: busybox
      command: [sleep, '3600']
      lifecycle: {postStart: {httpGet: {port: 80}}}
    - {name: after, image: busybox, command: [echo, hello]}
";
    let mut story = Story::start(&husk, &pods(&[("exec", exec), ("missing", missing), ("http", http)]));
    story.wait_for_all(&["exec/c BackOff", "missing/c BackOff", "http Phase: Phase is Failed"]);
    story.tells(&[
        "exec/c Started",
        "exec/c FailedPostStartHook: PostStartHook failed",
        "exec/c Killing: FailedPostStartHook",
        "exec/c Exited: Container exited with code 143 (Error)",
        "exec/c Started: Container started (x2",
        "exec/c FailedPostStartHook: PostStartHook failed (x2",
        "exec/c Exited: Container exited with code 143 (Error)",
        "exec/c BackOff: Back-off restarting failed container c in pod exec_default(",
    ]);
    story.tells(&["missing/c FailedPostStartHook", "missing/c Killing: FailedPostStartHook", "missing/c BackOff"]);
    story.tells(&["http/c FailedPostStartHook", "http/after Started"]);
    story.never_tells("http/c Started: Container started (x2");
    story.never_tells("exec Ready");
    assert_eq!(story.stop(), 130);
    for pod in ["exec", "missing"] {
        // How often, until the others had come so far, is the machine's affair.
        let [ready, status, restarts] = story.row(pod);
        assert_eq!(
            (ready, status, restarts.parse::<u32>().is_ok_and(|count| count >= 1)),
            ("0/1", "CrashLoopBackOff", true)
        );
    }
    assert_eq!(story.row("http"), ["0/2", "Error", "0"]);
    assert_eq!(termination(story.pod("exec"), "c"), (143, "Error".to_owned(), "exec\n".to_owned()));
    assert_eq!(termination(story.pod("http"), "c").0, 143);
    assert_eq!(story.printed("http/after | hello"), 1);
}

/// Hooks that take their time, and hooks that fail.
const STOPPED: [(&str, &str); 2] = [
    (
        "patient",
        "
  terminationGracePeriodSeconds: 3
  containers:
    - name: polite
      image: test/p2/probed
      args: [trap]
      lifecycle:
        preStop:
          exec: { command: [/probed.wasm, write, /dev/termination-log, bye, --then, sleep, '1'] }
    - {name: stubborn, image: test/p2/probed, args: [trap, --ignore]}
    - name: outlasted
      image: test/p2/probed
      args: [trap, --exit, '7']
      lifecycle: {preStop: {exec: {command: [/probed.wasm, sleep, '3600', --then, touch, /never]}}}
    - name: naps
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {sleep: {seconds: 2}}}
",
    ),
    (
        "failing",
        "
  containers:
    - name: fails
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {exec: {command: [/probed.wasm, say, 'no', --exit, '3']}}}
    - name: missing
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {exec: {command: [sh, -c, sleep 10]}}}
    - name: refused
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {httpGet: {port: 81}}}
    - name: asks
      image: test/p2/probed
      args: [serve, --port, '80']
      lifecycle: {preStop: {httpGet: {port: 80, path: /bye}}}
",
    ),
];

#[test]
fn pre_stop_hooks_come_before_term_and_share_its_grace_period() {
    let husk = Husk::new();
    let mut story = Story::start(&husk, &pods(&STOPPED));
    let waiting = ["patient/polite", "patient/stubborn", "patient/outlasted", "patient/naps", "failing/fails"];
    let waiting = waiting.map(|source| format!("{source} | waiting for TERM"));
    story.wait_for_output(&waiting.each_ref().map(String::as_str));
    story.wait_for_output(&["failing/missing | waiting for TERM", "failing/refused | waiting for TERM"]);
    story.wait_for_output(&["failing/asks | listening on port 80"]);
    story.wait_for_all(&["patient Ready", "failing Ready"]);
    assert_eq!(story.stop(), 130);
    let took = |name| {
        let (killing, exited) = (format!("patient/{name} Killing: Stopping"), format!("patient/{name} Exited"));
        story.time_between(&killing, &exited)
    };
    assert!(took("polite") >= Duration::from_secs(1));
    assert!(took("naps") >= Duration::from_secs(2));
    assert!(took("outlasted") >= Duration::from_secs(3));
    assert!(took("stubborn") >= Duration::from_secs(3));
    let ended = |pod, name| {
        let (code, reason, message) = termination(story.pod(pod), name);
        (code, format!("{reason}{message}"))
    };
    let completed = (0, "Completed".to_owned());
    assert_eq!(ended("patient", "polite"), (0, "Completedbye".to_owned()));
    assert_eq!(ended("patient", "naps"), completed);
    // Whoever is told of the end when it is over still has two seconds.
    assert_eq!(ended("patient", "outlasted"), (7, "Error".to_owned()));
    assert_eq!(ended("patient", "stubborn"), (137, "Error".to_owned()));
    for name in ["fails", "missing", "refused"] {
        story.tells(&[
            &format!("failing/{name} Killing: Stopping container {name}"),
            &format!("failing/{name} FailedPreStopHook: PreStopHook failed"),
            &format!("failing/{name} Exited: Container exited with code 0 (Completed)"),
        ]);
        assert_eq!(story.printed(&format!("failing/{name} | got TERM")), 1);
    }
    assert_eq!(story.printed("failing/asks | GET /bye 200"), 1);
    story.never_tells("failing/asks FailedPreStopHook");
    assert_eq!((story.phase("patient"), story.phase("failing")), ("Failed", "Failed"));
}

#[test]
fn pre_stop_runs_whenever_a_container_is_stopped_but_not_when_it_ends_by_itself() {
    let husk = Husk::new();
    let mounts = "volumeMounts: [{name: v, mountPath: /v}]";
    let own = format!(
        "
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}]
  initContainers:
    - name: side
      image: test/p2/probed
      args: [trap, --exit, '9']
      restartPolicy: Always
      lifecycle: {{preStop: {{exec: {{command: [/probed.wasm, write, /dev/termination-log, sidecar]}}}}}}
  containers:
    - name: quits
      image: busybox
      command: ['true']
      lifecycle: {{preStop: {{exec: {{command: [touch, /v/ran]}}}}}}
      {mounts}
    - {{name: looks, image: test/p2/probed, args: [sleep, '1', --then, exists, /v/ran], {mounts}}}
"
    );
    let probe = "
  restartPolicy: Never
  containers:
    - name: c
      image: test/p2/probed
      args: [trap]
      livenessProbe:
        exec: {command: [/probed.wasm, exists, /nothing]}
        initialDelaySeconds: 1
        periodSeconds: 1
        timeoutSeconds: 9
        failureThreshold: 1
      lifecycle: {preStop: {exec: {command: [/probed.wasm, write, /dev/termination-log, probed]}}}
";
    let deadline = "
  activeDeadlineSeconds: 2
  containers:
    - name: c
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {exec: {command: [/probed.wasm, write, /dev/termination-log, late]}}}
";
    // The deadline is not about compiling the program.
    husk.run(&pod("test/p2/probed", &["say", "compiled"], ""), &[]).exits(0);
    let mut story = Story::start(&husk, &pods(&[("own", &own), ("probe", probe), ("deadline", deadline)]));
    assert_eq!(story.end(), 1);
    assert_eq!(story.printed("own/looks | /v/ran does not exist"), 1);
    let message = |pod, name| termination(story.pod(pod), name).2;
    assert_eq!(message("own", "side"), "sidecar");
    assert_eq!(message("probe", "c"), "probed");
    assert_eq!(message("deadline", "c"), "late");
    assert_eq!((story.phase("own"), story.phase("probe")), ("Failed", "Succeeded"));
    assert_eq!(container(story.pod("probe"), "c").restart_count, 0);
}

#[test]
fn a_second_ctrl_c_waits_for_no_hook() {
    let husk = Husk::new();
    let slow = "
  terminationGracePeriodSeconds: 3600
  containers:
    - name: c
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {sleep: {seconds: 3600}}}
";
    let hurried = "
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      image: test/p2/probed
      args: [trap]
      lifecycle: {preStop: {exec: {command: [/probed.wasm, write, /dev/termination-log, ran]}}}
";
    let mut story = Story::start(&husk, &pods(&[("slow", slow), ("hurried", hurried)]));
    story.wait_for_output(&["slow/c | waiting for TERM", "hurried/c | waiting for TERM"]);
    story.wait_for_all(&["slow Ready", "hurried Ready"]);
    story.interrupt();
    // No grace period is none at all: no hook, no TERM.
    story.wait_for_all(&["slow/c Killing", "hurried/c Exited: Container exited with code 137 (Error)"]);
    story.never_tells("slow/c Exited");
    story.interrupt();
    assert_eq!(story.end(), 130);
    assert_eq!(termination(story.pod("slow"), "c").0, 137);
    assert_eq!(termination(story.pod("hurried"), "c").2, "");
    assert_eq!(story.printed("slow/c | got TERM") + story.printed("hurried/c | got TERM"), 0);
}
