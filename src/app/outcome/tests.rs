//! Explanations of pods as they may be found at the end of a run.

use std::collections::BTreeSet;

use super::*;

const READY: &str = "conditions: [{type: Ready, status: 'True'}]";
const RUNNING: &str = "containerID: x, started: true, ready: true, state: {running: {}}";
const UNREADY: &str = "containerID: x, started: true, ready: false, state: {running: {}}";
const STOPPED: &str = "containerID: x, state: {terminated: {exitCode: 143, reason: Error, containerID: x}}";
const SPEC: &str = "{activeDeadlineSeconds: 60, initContainers: [{name: i}], containers: [{name: c, \
    readinessProbe: {httpGet: {path: /x, port: 80}}, livenessProbe: {httpGet: {path: /live, port: 80}}, \
    startupProbe: {tcpSocket: {port: 80}}}, {name: side}]}";

/// The status fields of containers, each by name.
fn containers_with(containers: &[(&str, &str)]) -> String {
    let one = |(name, fields): &(&str, &str)| {
        let all = "image: i, imageID: i, restartCount: 0, ready: false";
        let given: Vec<&str> =
            ["restartCount", "ready"].into_iter().filter(|key| fields.contains(&format!("{key}:"))).collect();
        let defaults = all.split(", ").filter(|field| !given.iter().any(|key| field.starts_with(key)));
        format!("{{name: {name}, {}, {fields}}}", defaults.collect::<Vec<_>>().join(", "))
    };
    let (init, apps): (Vec<_>, Vec<_>) = containers.iter().partition(|(name, _)| *name == "i");
    let list = |found: Vec<&(&str, &str)>| found.into_iter().map(one).collect::<Vec<_>>().join(", ");
    format!("initContainerStatuses: [{}], containerStatuses: [{}]", list(init), list(apps))
}

fn pod(phase: &str, containers: &[(&str, &str)], fields: &str) -> Arc<Pod> {
    let status = format!("{{phase: {phase}, {}, {fields}}}", containers_with(containers));
    let yaml = format!("{{metadata: {{name: p}}, spec: {SPEC}, status: {status}}}");
    Arc::new(serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}")))
}

/// An event about a container, or about the pod for `""`, that happened `count` times, the last time at this second of
/// 08:00.
fn event(container: &str, reason: &str, message: &str, count: i32, second: i64) -> Arc<Event> {
    let at = |second| format!("2027-01-15T08:00:{second:02}Z");
    let field_path = (!container.is_empty()).then(|| format!("spec.containers{{{container}}}"));
    let type_ = if reason == "Killing" { "Normal" } else { "Warning" };
    let event = serde_json::json!({
        "metadata": {}, "type": type_, "reason": reason, "message": message, "count": count,
        "firstTimestamp": at(0), "lastTimestamp": at(second), "involvedObject": {"fieldPath": field_path},
    });
    Arc::new(serde_json::from_value(event).unwrap())
}

fn ended(pod: Arc<Pod>, events: Vec<Arc<Event>>) -> Account {
    Account { pod, stop: None, events }
}

/// A pod that was so when it was stopped from outside.
fn stopped(before: Arc<Pod>, events: Vec<Arc<Event>>) -> Account {
    let after = pod("Failed", &[("c", STOPPED)], "");
    Account { pod: after, stop: Some(Stop { before, events: events.clone(), what: Stopped::Pod }), events }
}

#[track_caller]
fn check(account: &Account, expected: &[&str]) {
    assert_eq!(explain(account, "p"), expected);
}

fn failed(code: i32, at: &str) -> String {
    format!("state: {{terminated: {{exitCode: {code}, reason: Error, message: \"why\\n\", finishedAt: '{at}'}}}}")
}

#[test]
fn the_first_failure_gives_the_exit_code() {
    let [early, late] = [failed(3, "2026-01-01T00:00:01Z"), failed(4, "2026-01-01T00:00:02Z")];
    let fine = failed(0, "2026-01-01T00:00:00Z");
    let (succeeded, lately) = (pod("Succeeded", &[("c", &fine)], ""), pod("Failed", &[("c", &late)], ""));
    assert_eq!(exit_code(&[&succeeded]), 0);
    assert_eq!(exit_code(&[&pod("Failed", &[("c", &late), ("d", &early), ("e", &fine)], "")]), 3);
    assert_eq!(exit_code(&[&succeeded, &lately]), 4);
    assert_eq!(exit_code(&[&pod("Failed", &[("c", &fine)], "")]), 1);
    assert_eq!(exit_code(&[]), 0);
    let mut with_sidecar = Pod::clone(&pod("Failed", &[("i", &early), ("c", &late)], ""));
    assert_eq!(exit_code(&[&with_sidecar]), 3);
    with_sidecar.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy = Some("Always".into());
    assert_eq!(exit_code(&[&with_sidecar]), 4, "a sidecar's end does not count");
}

#[test]
fn failures_are_explained_with_their_message() {
    let [bad, fine] = [failed(3, "2026-01-01T00:00:01Z"), failed(0, "2026-01-01T00:00:00Z")];
    check(&ended(pod("Failed", &[("c", &bad), ("d", &fine)], ""), vec![]), &["p/c: exited with code 3 (Error): why"]);
    check(&ended(pod("Succeeded", &[("c", &fine)], ""), vec![]), &[]);
}

#[test]
fn a_pod_that_was_ready_when_it_was_stopped_needs_no_explanation() {
    let before = pod("Running", &[("c", RUNNING)], READY);
    let once = event("c", "Unhealthy", "Readiness probe failed: connection refused", 2, 9);
    check(&stopped(before, vec![once]), &[]);
}

#[test]
fn a_pod_that_was_stopped_is_shown_as_it_was_before() {
    let before = pod("Running", &[("c", UNREADY)], "");
    let account = stopped(Arc::clone(&before), vec![]);
    assert_eq!(account.shown(), &*before);
    let by_itself = Stop { before, events: vec![], what: Stopped::Containers(BTreeSet::from(["c".to_owned()])) };
    let account = Account { stop: Some(by_itself), ..account };
    assert_eq!(account.shown().status.as_ref().unwrap().phase.as_deref(), Some("Failed"));
}

#[test]
fn a_readiness_probe_that_never_succeeded_is_quoted_with_a_remedy() {
    let before = || pod("Running", &[("c", UNREADY)], "");
    let events = vec![
        event("c", "Unhealthy", "Readiness probe failed: connection refused", 3, 20),
        event("side", "Unhealthy", "Readiness probe failed: of another container", 1, 45),
        event("c", "Unhealthy", "Liveness probe failed: of another probe", 1, 50),
        event("c", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404", 29, 58),
    ];
    check(
        &stopped(before(), events),
        &["p/c: not ready: Readiness probe failed: HTTP probe failed with statuscode: 404 (x29 over 58s) (check \
           readinessProbe.httpGet.path, which is /x)"],
    );
    check(&stopped(before(), vec![]), &["p/c: not ready: its readiness probe has not succeeded yet"]);
}

/// Once it is stopping, a program may well refuse its probes.
#[test]
fn what_fails_because_of_the_stop_is_not_blamed() {
    let before = event("c", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 2, 20);
    let after = event("c", "Unhealthy", "Readiness probe failed: connection reset by peer", 1, 40);
    let hook = event("c", "FailedPreStopHook", "PreStopHook failed", 1, 41);
    let account = stopped(pod("Running", &[("c", UNREADY)], ""), vec![before]);
    let account = Account { events: vec![after, hook], ..account };
    check(
        &account,
        &[
            "p/c: not ready: Readiness probe failed: HTTP probe failed with statuscode: 503 (x2 over 20s) (/x must answer \
           with a status from 200 to 399)",
        ],
    );
}

#[test]
fn similar_failures_that_were_combined_are_quoted_all_the_same() {
    let message = "(combined from similar events): Readiness probe failed: answer 12\nmore of it";
    check(
        &stopped(pod("Running", &[("c", UNREADY)], ""), vec![event("c", "Unhealthy", message, 4, 30)]),
        &["p/c: not ready: Readiness probe failed: answer 12... (x4 over 30s)"],
    );
}

#[test]
fn a_probe_that_cannot_even_be_tried_says_why() {
    let message = "Readiness probe errored and resulted in unknown state: no such program: check";
    check(
        &stopped(pod("Running", &[("c", UNREADY)], ""), vec![event("c", "Unhealthy", message, 3, 30)]),
        &["p/c: not ready: Readiness probe errored: no such program: check (x3 over 30s)"],
    );
}

#[test]
fn a_startup_probe_that_has_not_succeeded_tells_of_its_kills() {
    let starting = "containerID: x, started: false, restartCount: 2, state: {running: {}}, \
        lastState: {terminated: {exitCode: 137, startedAt: '2027-01-15T08:00:01Z'}}";
    let events = vec![
        event("c", "Killing", "Container c failed startup probe, will be restarted", 2, 40),
        event("c", "Unhealthy", "Startup probe failed: dial tcp 10.0.0.2:80: connect: connection refused", 7, 50),
    ];
    check(
        &stopped(pod("Running", &[("c", starting)], ""), events),
        &[
            "p/c: not started, killed 2 times by its startup probe: Startup probe failed: dial tcp 10.0.0.2:80: connect: \
           connection refused (x7 over 50s) (nothing listens on port 80: check startupProbe.tcpSocket.port; if it only \
           starts slowly, raise startupProbe.failureThreshold)",
        ],
    );
}

fn crash_looping(end: &str) -> String {
    format!(
        "containerID: x, restartCount: 3, state: {{waiting: {{reason: CrashLoopBackOff, message: back-off 40s}}}}, \
         lastState: {{terminated: {{startedAt: '2027-01-15T08:00:30Z', {end}}}}}"
    )
}

#[test]
fn a_crash_loop_tells_its_last_exit() {
    let why = |end: &str, events| explain(&stopped(pod("Running", &[("c", &crash_looping(end))], ""), events), "p");
    assert_eq!(
        why("exitCode: 3, reason: Error, message: no database", vec![]),
        ["p/c: CrashLoopBackOff after 3 restarts: last exited with code 3 (Error): no database"]
    );
    assert_eq!(
        why("exitCode: 137, reason: OOMKilled", vec![]),
        [
            "p/c: CrashLoopBackOff after 3 restarts: last exited with code 137 (OOMKilled) (raise resources.limits.memory)"
        ]
    );
    assert_eq!(
        why("exitCode: 0, reason: Completed", vec![]),
        ["p/c: CrashLoopBackOff after 3 restarts: last exited with code 0 (Completed) (if it is meant to end, set \
          restartPolicy: OnFailure)"]
    );
}

#[test]
fn a_crash_loop_of_liveness_kills_tells_the_last_failure() {
    let events = |killed_at| {
        vec![
            event("c", "Killing", "Container c failed liveness probe, will be restarted", 3, killed_at),
            event("c", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500", 9, 42),
        ]
    };
    let why = |killed_at| {
        let before = pod("Running", &[("c", &crash_looping("exitCode: 137, reason: Error"))], "");
        explain(&stopped(before, events(killed_at)), "p")
    };
    assert_eq!(
        why(42),
        [
            "p/c: CrashLoopBackOff after 3 restarts: killed 3 times by its liveness probe: HTTP probe failed with statuscode: \
          500 (x9 over 42s) (/live must answer with a status from 200 to 399)"
        ]
    );
    // That was an instance before the last.
    assert_eq!(why(20), ["p/c: CrashLoopBackOff after 3 restarts: last exited with code 137 (Error)"]);
}

#[test]
fn a_container_that_runs_again_tells_how_it_ended_before() {
    let again = |code: i32| {
        let last = format!("lastState: {{terminated: {{exitCode: {code}, reason: Error}}}}");
        stopped(pod("Running", &[("c", &format!("{RUNNING}, restartCount: 1, {last}"))], READY), vec![])
    };
    check(&again(3), &["p/c: 1 restart: last exited with code 3 (Error)"]);
    check(&again(0), &[]);
}

#[test]
fn failed_hooks_are_named() {
    let hook = event("c", "FailedPostStartHook", "PostStartHook failed", 3, 31);
    check(
        &stopped(pod("Running", &[("c", &crash_looping("exitCode: 0, reason: Completed"))], ""), vec![hook]),
        &["p/c: CrashLoopBackOff after 3 restarts: PostStartHook failed (x3 over 31s) (check lifecycle.postStart)"],
    );
    let waiting = "state: {waiting: {reason: PostStartHookError, message: exit code 1}}";
    check(
        &stopped(pod("Running", &[("c", waiting)], ""), vec![]),
        &["p/c: PostStartHookError: exit code 1 (check lifecycle.postStart)"],
    );
    let hook = event("c", "FailedPreStopHook", "PreStopHook failed", 1, 59);
    check(
        &stopped(pod("Running", &[("c", RUNNING)], READY), vec![hook]),
        &["p/c: PreStopHook failed (check lifecycle.preStop, which has to end in the grace period)"],
    );
}

#[test]
fn a_pod_that_could_not_start_names_what_is_missing() {
    let waiting = "state: {waiting: {reason: ContainerCreating}}";
    let healed = event("", "FailedMount", "MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found", 1, 10);
    let failing =
        event("", "FailedMount", "MountVolume.SetUp failed for volume \"w\" : configmap \"conf\" not found", 4, 30);
    let account = stopped(pod("Pending", &[("c", waiting)], ""), vec![healed, failing]);
    check(
        &account,
        &[
            "p: FailedMount: MountVolume.SetUp failed for volume \"w\" : configmap \"conf\" not found (x4 over 30s) (add \
           ConfigMap conf to the manifests)",
        ],
    );
    let unset = "state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"s\" not found'}}";
    check(
        &stopped(pod("Pending", &[("c", unset)], ""), vec![]),
        &["p/c: CreateContainerConfigError: secret \"s\" not found (add Secret s to the manifests)"],
    );
    let image = "state: {waiting: {reason: ErrImagePull, message: no such image}}";
    check(
        &stopped(pod("Pending", &[("c", image)], ""), vec![]),
        &["p/c: ErrImagePull: no such image (see `husk image ls`, `husk image import`)"],
    );
}

#[test]
fn an_init_container_that_never_ends_is_named() {
    let waiting = "state: {waiting: {reason: PodInitializing}}";
    check(
        &stopped(pod("Pending", &[("i", UNREADY), ("c", waiting)], ""), vec![]),
        &["p/i: still running (the containers after it start when it has ended)"],
    );
}

/// Nothing was stopped from outside: what was wrong is told, not that the rest was stopped.
#[test]
fn a_pod_that_ended_by_itself_does_not_blame_what_it_stopped() {
    let bad = failed(3, "2026-01-01T00:00:01Z");
    let before = pod("Running", &[("c", RUNNING), ("side", RUNNING)], READY);
    let after = pod("Failed", &[("c", &bad), ("side", STOPPED)], "");
    let stop = Stop { before, events: vec![], what: Stopped::Containers(BTreeSet::from(["side".to_owned()])) };
    let account = Account { pod: after, stop: Some(stop), events: vec![] };
    check(&account, &["p/c: exited with code 3 (Error): why"]);
}

#[test]
fn a_deadline_tells_what_the_pod_was_waiting_for() {
    let reason = "reason: DeadlineExceeded, message: Pod was active on the node longer than the specified deadline";
    let deadline = "p: DeadlineExceeded: Pod was active on the node longer than the specified deadline (raise \
        activeDeadlineSeconds, which is 60)";
    let stop = |before, names: &[&str], events| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Some(Stop { before, events, what: Stopped::Containers(names) })
    };
    let before = pod("Running", &[("c", UNREADY)], "");
    let after = pod("Failed", &[("c", STOPPED)], reason);
    let account = Account { pod: after, stop: stop(before, &["c"], vec![]), events: vec![] };
    check(&account, &[deadline, "p/c: not ready: its readiness probe has not succeeded yet"]);

    let before = pod("Pending", &[("c", "state: {waiting: {reason: ContainerCreating}}")], "");
    let unknown = "state: {terminated: {exitCode: 137, reason: ContainerStatusUnknown, message: not located}}";
    let after = pod("Failed", &[("c", unknown)], reason);
    let events = vec![event("", "FailedMount", "no such volume", 1, 30)];
    let account = Account { pod: after, stop: stop(before, &[], events), events: vec![] };
    check(&account, &[deadline, "p: FailedMount: no such volume"]);
}

#[test]
fn a_program_that_ran_alone_has_no_prefix_and_says_no_more_than_its_exit_code() {
    let one = |end: &str| ended(pod("Failed", &[("p", &format!("state: {{terminated: {{{end}}}}}"))], ""), vec![]);
    assert_eq!(explain_program(&one("exitCode: 3, reason: Error")), [""; 0]);
    assert_eq!(
        explain_program(&one("exitCode: 137, reason: OOMKilled")),
        ["p: exited with code 137 (OOMKilled) (raise resources.limits.memory)"]
    );
}
