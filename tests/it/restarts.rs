//! Ends and restarts on real guests: each way to end, what follows it, and what is left of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerStateTerminated;

use crate::story::{Story, pods};
use crate::support::{Husk, container, pod, termination};

/// How the instance before the last one ended.
#[track_caller]
fn last_end(story: &Story, pod: &str, name: &str) -> ContainerStateTerminated {
    let last = container(story.pod(pod), name).last_state.clone();
    last.unwrap_or_default().terminated.unwrap_or_else(|| panic!("{pod}/{name} has not been restarted: {story:#?}"))
}

#[test]
fn each_way_to_end_has_its_exit_code() {
    let husk = Husk::new();
    let spec = "
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - {name: well, image: busybox, command: ['true']}
    - {name: three, image: test/p1/exit, args: ['3']}
    - {name: default, image: busybox, command: [sleep, '3600']}
    - {name: linked, image: test/p1/signals}
    - {name: component, image: test/p2/signals}
    - {name: deaf, image: test/p1/signals, args: [ignore]}
";
    let traps = "
  restartPolicy: Never
  containers: [{name: c, image: test/p2/trap}]
";
    let mut story = Story::start(&husk, &pods(&[("p", spec), ("traps", traps)]));
    story.wait_for_output(&["p/linked | waiting", "p/component | waiting", "p/deaf | waiting"]);
    story.wait_for_all(&["p/well Exited", "p/three Exited", "p/default Started", "traps Phase: Phase is Failed"]);
    assert_eq!(story.stop(), 130);
    let error = "Error";
    for (name, code, reason) in [
        ("well", 0, "Completed"),
        ("three", 3, error),
        ("default", 143, error),
        ("linked", 0, "Completed"),
        ("component", 0, "Completed"),
        ("deaf", 137, error),
    ] {
        let (found, why, _) = termination(story.pod("p"), name);
        assert_eq!((found, why.as_str()), (code, reason), "{name}");
    }
    let (code, _, message) = termination(story.pod("traps"), "c");
    assert!(code == 134 && message.contains("unreachable"), "{code} {message}");
    assert!(story.time_between("p/deaf Killing", "p/deaf Exited") >= Duration::from_secs(2));
    assert_eq!(story.printed("p/linked | got signal 15"), 1);
    assert_eq!(story.phase("p"), "Failed");
}

#[test]
fn a_pod_can_be_stopped_wherever_it_is() {
    let husk = Husk::new();
    let init = "
  initContainers:
    - {name: first, image: test/p2/probed, args: [trap]}
    - {name: second, image: busybox, command: ['true']}
  containers: [{name: c, image: busybox, command: ['true']}]
";
    let hook = "
  containers:
    - name: c
      image: test/p2/probed
      args: [trap, --exit, '4']
      lifecycle: {postStart: {exec: {command: [/probed.wasm, sleep, '3600']}}}
    - {name: never, image: busybox, command: ['true']}
";
    let crashing = "
  containers: [{name: c, image: test/p1/exit, args: ['5']}]
";
    let init_crashing = "
  initContainers: [{name: i, image: test/p1/exit, args: ['6']}]
  containers: [{name: c, image: busybox, command: ['true']}]
";
    let mut story = Story::start(
        &husk,
        &pods(&[("init", init), ("hook", hook), ("crashing", crashing), ("init-crashing", init_crashing)]),
    );
    story.wait_for_output(&["init/first | waiting for TERM", "hook/c | waiting for TERM"]);
    story.wait_for_all(&["init/first Started", "hook/c Started", "crashing/c BackOff", "init-crashing/i BackOff"]);
    assert_eq!(story.stop(), 130);
    assert_eq!(story.row("init"), ["0/1", "Init:0/2", "0"]);
    assert_eq!(story.row("hook"), ["0/2", "ContainerCreating", "0"]);
    assert_eq!(story.row("crashing"), ["0/1", "CrashLoopBackOff", "1"]);
    assert_eq!(story.row("init-crashing"), ["0/1", "Init:CrashLoopBackOff", "1"]);
    for (pod, name, code) in [("init", "first", 0), ("hook", "c", 4), ("crashing", "c", 5), ("init-crashing", "i", 6)] {
        assert_eq!(story.phase(pod), "Failed", "{pod}");
        assert_eq!(termination(story.pod(pod), name).0, code, "{pod}");
    }
    story.never_tells("init/second Started");
    story.never_tells("hook/never Started");
}

#[test]
fn the_deadline_counts_from_the_pods_start_and_its_end_is_graceful() {
    let husk = Husk::new();
    let init = "
  activeDeadlineSeconds: 2
  restartPolicy: Never
  initContainers: [{name: i, image: test/p2/probed, args: [trap, --exit, '3']}]
  containers: [{name: c, image: busybox, command: ['true']}]
";
    let app = "
  activeDeadlineSeconds: 3
  terminationGracePeriodSeconds: 1
  initContainers: [{name: i, image: test/p2/probed, args: [sleep, '1']}]
  containers:
    - {name: polite, image: test/p2/probed, args: [trap, --say, bye]}
    - {name: deaf, image: test/p2/probed, args: [trap, --ignore]}
";
    // The time limits are not about compiling the program.
    husk.run(&pod("test/p2/probed", &["say", "compiled"], ""), &[]).exits(0);
    let mut story = Story::start(&husk, &pods(&[("init", init), ("app", app)]));
    assert_eq!(story.end(), 3, "the code of the container that failed first");
    for (pod, name) in [("init", "i"), ("app", "deaf")] {
        let message = "Pod was active on the node longer than the specified deadline";
        story.tells(&[
            &format!("{pod}/{name} Started"),
            &format!("{pod} DeadlineExceeded: {message}"),
            &format!("{pod}/{name} Killing: Stopping container {name}"),
            &format!("{pod}/{name} Exited"),
            &format!("{pod} Phase: Phase is Failed (DeadlineExceeded)"),
        ]);
        let status = story.pod(pod).status.as_ref().unwrap();
        let told = (status.reason.as_deref(), status.message.as_deref());
        assert_eq!(told, (Some("DeadlineExceeded"), Some(message)));
    }
    story.never_tells("init/c Started");
    assert!(story.time_between("app Scheduled", "app DeadlineExceeded") >= Duration::from_secs(3));
    assert!(story.time_between("app/deaf Killing", "app/deaf Exited") >= Duration::from_secs(2));
    assert_eq!(termination(story.pod("app"), "polite").0, 0);
    assert_eq!(termination(story.pod("app"), "deaf").0, 137);
    assert_eq!(story.printed("app/polite | bye"), 1);
}

#[test]
fn sidecars_are_stopped_in_reverse_after_the_others_and_their_ends_do_not_matter() {
    let husk = Husk::new();
    let spec = "
  initContainers:
    - {name: s1, image: test/p2/probed, args: [trap], restartPolicy: Always}
    - {name: s2, image: test/p2/probed, args: [trap, --exit, '1'], restartPolicy: Always}
    - {name: s3, image: test/p2/probed, args: [trap, --after, '0.5'], restartPolicy: Always}
  containers:
    - {name: app, image: test/p2/probed, args: [trap, --after, '1']}
";
    let mut story = Story::start(&husk, &pods(&[("p", spec)]));
    story.wait_for("p Ready");
    story.wait_for_output(&["s1 | waiting for TERM", "s2 | waiting for TERM"]);
    story.wait_for_output(&["s3 | waiting for TERM", "app | waiting for TERM"]);
    assert_eq!(story.stop(), 130);
    story.tells(&["p/s1 Started", "p/s2 Started", "p/s3 Started", "p/app Started"]);
    story.tells(&["p/app Exited", "p/s3 Exited", "p/s2 Exited", "p/s1 Exited", "p Phase: Phase is Succeeded"]);
    assert!(story.time_between("p/app Killing", "p/s3 Exited") >= Duration::from_millis(1500));
    assert_eq!(termination(story.pod("p"), "s2").0, 1);
}

#[test]
fn a_puller_a_server_and_a_checker_share_a_volume_and_localhost() {
    let husk = Husk::new();
    let site = "volumeMounts: [{name: site, mountPath: /site}]";
    let spec = format!(
        "
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  volumes:
    - name: site
      emptyDir: {{}}
  initContainers:
    - {{name: first-page, image: test/p2/probed, args: [write, /site/index.html, page 0], {site}}}
    - name: server
      image: nginx:1.17.10-alpine
      restartPolicy: Always
      startupProbe:
        httpGet: {{ port: 80, path: /index.html }}
        periodSeconds: 1
        failureThreshold: 60
      volumeMounts: [{{ name: site, mountPath: /usr/share/nginx/html, readOnly: true }}]
  containers:
    - name: puller
      image: test/p2/probed
      args: [sleep, '5']
      lifecycle: {{postStart: {{exec: {{command: [/probed.wasm, write, /site/index.html, page 3]}}}}}}
      {site}
    - {{name: checker, image: busybox:1.32.0, command: [wget, -q, -O, '-', 'http://localhost/index.html']}}
    - {{name: named, image: busybox:1.32.0, command: [hostname]}}
"
    );
    let mut story = Story::start(&husk, &pods(&[("puller-and-server", &spec)]));
    assert_eq!(story.end(), 0);
    assert_eq!(story.row("puller-and-server"), ["0/4", "Completed", "0"]);
    assert_eq!((story.printed("checker | page 3"), story.printed("named | puller-and-server")), (1, 1));
    let pod = "puller-and-server";
    story.tells(&[
        &format!("{pod}/first-page Exited: Container exited with code 0 (Completed)"),
        &format!("{pod}/server Started"),
        &format!("{pod}/puller Started"),
        &format!("{pod}/checker Started"),
        &format!("{pod}/puller Exited"),
        &format!("{pod}/server Exited: Container exited with code 0 (Completed)"),
        &format!("{pod} Phase: Phase is Succeeded"),
    ]);
}

#[test]
fn a_termination_message_is_what_was_written_or_the_end_of_the_log() {
    let husk = Husk::new();
    let fallback = "terminationMessagePolicy: FallbackToLogsOnError";
    let spec = format!(
        "
  restartPolicy: Never
  containers:
    - {{name: elsewhere, image: test/p2/probed, args: [write, /tmp/why, because], terminationMessagePath: /tmp/why}}
    - {{name: failed, image: test/p2/probed, args: [say, one, --then, say, two, --exit, '4'], {fallback}}}
    - {{name: well, image: test/p2/probed, args: [say, one], {fallback}}}
    - {{name: both, image: test/p2/probed, args: [write, /dev/termination-log, file, --then, say, log, --exit, '4'], {fallback}}}
    - {{name: neither, image: test/p2/probed, args: [say, log, --exit, '4']}}
    - {{name: long, image: test/p2/probed, args: [write, /dev/termination-log, {}]}}
",
        "x".repeat(5000)
    );
    let again = "
  restartPolicy: OnFailure
  volumes: [{name: v, emptyDir: {}}]
  containers:
    - name: c
      image: test/p1/files
      args: [rename, /v/next, /v/last, ',', mkdir, /v/next, ',', append, /dev/termination-log, end]
      volumeMounts: [{name: v, mountPath: /v}]
";
    let mut story = Story::start(&husk, &pods(&[("p", &spec), ("again", again)]));
    assert_ne!(story.end(), 0);
    let message = |name| termination(story.pod("p"), name).2;
    assert_eq!(message("elsewhere"), "because");
    assert_eq!(message("failed"), "one\ntwo\n");
    assert_eq!(message("well"), "");
    assert_eq!(message("both"), "file");
    assert_eq!(message("neither"), "");
    assert!((1..=4096).contains(&message("long").len()), "{}", message("long").len());
    story.explains("p/failed: exited with code 4 (Error): one");
    // Each instance has a file of its own.
    assert_eq!(last_end(&story, "again", "c").message.as_deref(), Some("end"));
    assert_eq!(termination(story.pod("again"), "c"), (0, "Completed".to_owned(), "end".to_owned()));
}

/// Pods' and containers' policies, and rules.
const POLICIES: [(&str, &str); 5] = [
    (
        "always",
        "
  containers:
    - {name: well, image: busybox, command: ['true']}
    - {name: never, image: test/p1/exit, args: ['7'], restartPolicy: Never}
",
    ),
    (
        "on-failure",
        "
  restartPolicy: OnFailure
  containers:
    - {name: well, image: busybox, command: ['true']}
    - {name: failed, image: test/p1/exit, args: ['3']}
",
    ),
    (
        "never",
        "
  restartPolicy: Never
  containers:
    - name: listed
      image: test/p1/exit
      args: ['42']
      restartPolicy: Never
      restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [41, 42]}}]
    - name: unlisted
      image: test/p1/exit
      args: ['7']
      restartPolicy: Never
      restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [7]}}]
    - {name: own, image: test/p1/exit, args: ['8'], restartPolicy: OnFailure}
    - {name: failed, image: test/p1/exit, args: ['9']}
",
    ),
    (
        "init",
        "
  initContainers: [{name: i, image: test/p1/exit, args: ['6']}]
  containers: [{name: c, image: busybox, command: ['true']}]
",
    ),
    (
        "init-never",
        "
  initContainers: [{name: i, image: test/p1/exit, args: ['6'], restartPolicy: Never}]
  containers: [{name: c, image: busybox, command: ['true']}]
",
    ),
];

#[test]
fn policies_and_rules_decide_who_is_restarted() {
    let husk = Husk::new();
    let mut story = Story::start(&husk, &pods(&POLICIES));
    let restarted = ["always/well", "on-failure/failed", "never/listed", "never/own", "init/i"];
    for container in restarted {
        story.wait_for(&format!("{container} BackOff: Back-off restarting failed container "));
        story.tells(&[
            &format!("{container} Exited"),
            &format!("{container} Started: Container started (x2"),
            &format!("{container} Exited"),
            &format!("{container} BackOff"),
        ]);
    }
    story.wait_for_all(&["always/never Exited", "never/failed Exited", "init-never Phase: Phase is Failed"]);
    // The restart after the first waits for ten seconds.
    let second =
        "always/well Pulled: Container image \"busybox\" already present on machine and can be accessed by the pod (x2";
    let third = "always/well Started: Container started (x3";
    story.wait_for(third);
    story.wait_for_times("always/well BackOff", 2);
    assert!(story.time_between(second, third) >= Duration::from_secs(10));
    assert_eq!(story.stop(), 130);
    for (pod, name, restarts) in [
        ("always", "well", 2),
        ("always", "never", 0),
        ("on-failure", "well", 0),
        ("never", "unlisted", 0),
        ("never", "failed", 0),
        ("init-never", "i", 0),
    ] {
        assert_eq!(container(story.pod(pod), name).restart_count, restarts, "{pod}/{name}");
    }
    assert_eq!(last_end(&story, "always", "well").reason.as_deref(), Some("Completed"));
    assert_eq!(story.row("init-never"), ["0/1", "Init:Error", "0"]);
}

#[test]
fn a_rule_can_restart_all_containers_of_a_pod_and_its_volumes_stay() {
    let husk = Husk::new();
    let spec = "
  restartPolicy: Never
  volumes: [{name: v, emptyDir: {}}]
  initContainers: [{name: i, image: test/p2/probed, args: [say, initialised]}]
  containers:
    - {name: beside, image: test/p2/probed, args: [trap, --ignore]}
    - name: trigger
      image: busybox
      command: [mkdir, /v/once]
      restartPolicy: Never
      restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [0]}}]
      volumeMounts: [{name: v, mountPath: /v}]
";
    let mut story = Story::start(&husk, &pods(&[("p", spec)]));
    story.wait_for("p/trigger Exited: Container exited with code 1 (Error)");
    story.tells(&[
        "p/trigger Exited: Container exited with code 0 (Completed)",
        "p/beside Exited: Container exited with code 137 (Error)",
        "p/i Started: Container started (x2",
        "p/beside Started: Container started (x2",
        "p/trigger Started: Container started (x2",
        "p/trigger Exited: Container exited with code 1 (Error)",
    ]);
    story.wait_for("p/beside Killing: Stopping container beside to restart all containers");
    story.interrupt();
    story.wait_for_times("p/beside Killing", 2);
    story.interrupt();
    assert_eq!(story.end(), 130);
    assert_eq!(story.row("p"), ["1/2", "Error", "2"]);
    assert_eq!(story.printed("i | initialised"), 2);
    for name in ["i", "beside", "trigger"] {
        assert_eq!(container(story.pod("p"), name).restart_count, 1, "{name}");
        let last = last_end(&story, "p", name);
        assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("RestartingAllContainers")), "{name}");
    }
}
