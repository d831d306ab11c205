//! Probes, hooks and changes of running containers, at exact times.

use std::time::Duration;

use super::scene::Scene;
use crate::runtime::ResourceLimits;
use crate::runtime::fake::{Call, Script};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// §7: nothing listens; three checks a period apart from the initial delay on, the kill, and so on with back-off.
#[tokio::test(start_paused = true)]
async fn a_liveness_probe_kills_again_and_again() {
    let probe =
        "livenessProbe: {tcpSocket: {port: 8080}, initialDelaySeconds: 10, periodSeconds: 3, timeoutSeconds: 5}";
    let scene = Scene::new(&format!("containers: [{{name: c, {probe}}}]")).start();
    scene.at(120).await;
    assert_eq!(scene.starts(), ["0 c", "18 c", "36 c", "54 c", "92 c"]);
    let unhealthy = "Unhealthy: Liveness probe failed: dial tcp 10.88.0.2:8080: connect: connection refused";
    let killing = "Killing: Container c failed liveness probe, will be restarted";
    let told = scene.only(&["event c Unhealthy", "event c Killing", "event c BackOff"]);
    let expected = [(12, unhealthy), (15, unhealthy), (18, unhealthy), (18, killing)];
    assert_eq!(told[..4], expected.map(|(at, what)| format!("{at} event c {what}")));
}

/// §7: started by the startup probe at its fifth check, ready at once after, never killed.
#[tokio::test(start_paused = true)]
async fn probes_of_all_kinds_see_a_slow_starter_through() {
    let probe = |kind: &str, failures: u32| {
        format!(
            "{kind}: {{tcpSocket: {{port: 80}}, initialDelaySeconds: 10, timeoutSeconds: 2, periodSeconds: 5, \
             failureThreshold: {failures}}}"
        )
    };
    let probes = [probe("startupProbe", 5), probe("readinessProbe", 2), probe("livenessProbe", 2)].join(", ");
    let scene = Scene::new(&format!("restartPolicy: Never, containers: [{{name: c, {probes}}}]"))
        .script("c", Script::runs_forever().listens_after(80, seconds(29)))
        .start();
    scene.at(29).await;
    let status = scene.container("c");
    assert_eq!((status.started, status.ready), (Some(false), false));
    let failures = scene.only(&["event c Unhealthy"]);
    let at: Vec<&str> = failures.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(at, ["10", "15", "20", "25"], "{failures:?}");
    scene.at(31).await;
    let status = scene.container("c");
    assert_eq!((status.started, status.ready), (Some(true), true));
    scene.at(1000).await;
    assert_eq!(scene.only(&["event c Killing"]), [""; 0]);
    assert!(scene.container("c").ready);
}

/// §7 exec: a check that doesn't end is killed, and counts as failed.
#[tokio::test(start_paused = true)]
async fn an_exec_check_that_hangs_is_killed_and_fails() {
    let probe = "readinessProbe: {exec: {command: [check, it]}, periodSeconds: 10, timeoutSeconds: 2}";
    let scene = Scene::new(&format!("containers: [{{name: c, {probe}}}]"));
    scene.runtime.script_execs("c", vec![Script::runs_forever().ignores_term(), Script::exits(seconds(0), 0)]);
    let scene = scene.start();
    scene.at(9).await;
    let told = "2 event c Unhealthy: Readiness probe failed: command timed out: \"check it\" timed out after 2s";
    assert_eq!(scene.only(&["event c Unhealthy"]), [told]);
    assert!(!scene.container("c").ready);
    assert!(scene.runtime.calls().contains(&Call::End("c/exec-0".to_owned(), 137)), "{:?}", scene.runtime.calls());
    scene.at(11).await;
    assert!(scene.container("c").ready);
}

/// §8 postStart: what follows waits for it; a failure kills, shows PostStartHookError and backs off.
#[tokio::test(start_paused = true)]
async fn a_post_start_hook_holds_up_or_kills() {
    let spec = "containers: [{name: c, lifecycle: {postStart: {exec: {command: [prepare]}}}}, {name: d}]";
    let scene = Scene::new(spec);
    scene.runtime.script_execs("c", vec![Script::exits(seconds(3), 0)]);
    let scene = scene.start();
    scene.at(10).await;
    assert_eq!(
        scene.only(&["state c", "state d"]),
        ["0 state c ContainerCreating", "0 state d ContainerCreating", "3 state c Running", "3 state d Running",]
    );

    let scene = Scene::new(spec);
    scene.runtime.script_execs("c", vec![Script::exits(seconds(1), 7).prints("no")]);
    let scene = scene.start();
    scene.at(11).await;
    let told = scene.only(&["event c FailedPostStartHook", "event c Killing", "event c BackOff"]);
    assert_eq!(
        told[..3],
        [
            "1 event c FailedPostStartHook: PostStartHook failed",
            "1 event c Killing: FailedPostStartHook",
            "2 event c FailedPostStartHook: PostStartHook failed",
        ]
    );
    assert!(told.last().unwrap().contains("BackOff: Back-off restarting failed container c in pod p_ns(u)"));
    assert_eq!(scene.shows("d"), "Running", "§3 (4): a start that fails does not hold up later ones");
    let states = scene.only(&["state c PostStartHookError"]);
    assert_eq!(states[0], "1 state c PostStartHookError after Error:143");
}

/// §9: deletion interrupts a postStart hook; the program it runs dies with it.
#[tokio::test(start_paused = true)]
async fn deletion_does_not_wait_for_a_post_start_hook() {
    let spec = "containers: [{name: c, lifecycle: {postStart: {exec: {command: [for, ever]}}}}]";
    let mut scene = Scene::new(spec);
    scene.runtime.script_execs("c", vec![Script::runs_forever().ignores_term()]);
    scene = scene.start();
    scene.at(5).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!(scene.finished_at("c"), 5);
    let mut ends = scene.ends();
    ends.sort();
    assert_eq!(ends, ["c 143", "c/exec-0 137"]);
    assert_eq!(scene.files_left(), [""; 0]);
}

/// §9: preStop, then TERM, then KILL with what is left of the grace period.
#[tokio::test(start_paused = true)]
async fn a_pre_stop_hook_comes_before_term_and_takes_of_the_grace() {
    for (takes, ends) in [(10, 35), (29, 36), (100, 37)] {
        let spec = "terminationGracePeriodSeconds: 30, containers: [{name: c, lifecycle: {preStop: {exec: {command: [bye]}}}}]";
        let mut scene = Scene::new(spec).script("c", Script::runs_forever().ignores_term());
        scene.runtime.script_execs("c", vec![Script::exits(seconds(takes), 0)]);
        scene = scene.start();
        scene.at(5).await;
        scene.delete(30);
        scene.end().await;
        assert_eq!(scene.finished_at("c"), ends, "the hook takes {takes} s");
        assert_eq!((scene.phase(), scene.shows("c")), ("Failed".to_owned(), "Error:137".to_owned()));
    }
}

/// §9: a hook that fails is told of, and the stop goes on.
#[tokio::test(start_paused = true)]
async fn a_failed_pre_stop_hook_does_not_stop_the_stop() {
    let spec = "containers: [{name: c, lifecycle: {preStop: {httpGet: {port: 9, path: /bye}}}}]";
    let mut scene = Scene::new(spec).start();
    scene.at(5).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!(scene.only(&["event c FailedPreStopHook"]), ["5 event c FailedPreStopHook: PreStopHook failed"]);
    assert_eq!(scene.finished_at("c"), 5);
}

/// §7 "Shutdown": liveness ends with the pod's stop, readiness goes on until the container has stopped.
#[tokio::test(start_paused = true)]
async fn only_readiness_is_probed_while_a_pod_stops() {
    let probes = "readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}, livenessProbe: {exec: {command: [alive]}, periodSeconds: 1}";
    let mut scene = Scene::new(&format!("containers: [{{name: c, {probes}}}]"))
        .script("c", Script::runs_forever().listens(80).exits_on_term(seconds(20), 0))
        .start();
    scene.at(5).await;
    let checks = |scene: &Scene| scene.runtime.calls().iter().filter(|call| matches!(call, Call::Exec(..))).count();
    scene.delete(30);
    scene.at(6).await;
    let before = checks(&scene);
    scene.at(20).await;
    assert_eq!(checks(&scene), before);
    assert!(scene.container("c").ready, "§7: deletion itself makes nothing unready");
    scene.end().await;
    assert_eq!(scene.phase(), "Succeeded");
}

/// §19: a new image restarts one container; §18: an ephemeral one joins, and limits change in place.
#[tokio::test(start_paused = true)]
async fn a_running_pod_is_changed() {
    let mut scene = Scene::new("containers: [{name: c, resources: {limits: {memory: 64Mi}}}, {name: d}]").start();
    scene.at(5).await;
    scene.edit(|pod| pod.spec.as_mut().unwrap().containers[0].image = Some("busybox:2".to_owned()));
    scene.at(6).await;
    assert_eq!(
        scene.only(&["event c Killing", "event c Started"]),
        [
            "0 event c Started: Container started",
            "5 event c Killing: Container c definition changed, will be restarted",
            "5 event c Started: Container started",
        ]
    );
    assert_eq!((scene.container("c").restart_count, scene.container("d").restart_count), (1, 0));
    scene.edit(|pod| {
        let debugger = serde_yaml::from_str("{name: e, image: busybox}").unwrap();
        pod.spec.as_mut().unwrap().ephemeral_containers = Some(vec![debugger]);
    });
    scene.at(7).await;
    assert_eq!(scene.shows("e"), "Running");
    scene.edit(|pod| {
        let resources = pod.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
        resources.limits.as_mut().unwrap().get_mut("memory").unwrap().0 = "128Mi".to_owned();
    });
    scene.at(8).await;
    let limits = ResourceLimits { memory_bytes: Some(128 << 20), cpu_millis: None };
    assert!(scene.runtime.calls().contains(&Call::Update("c".to_owned(), limits)));
    assert_eq!(scene.container("c").resources.unwrap().limits.unwrap()["memory"].0, "128Mi");
    assert_eq!(scene.container("c").restart_count, 1);
    scene.delete(30);
    scene.end().await;
    assert_eq!(scene.files_left(), [""; 0]);
}

/// §4: one container's exit code restarts all of them, and init containers run again.
#[tokio::test(start_paused = true)]
async fn a_rule_restarts_all_containers() {
    let rules = "restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]";
    let spec = format!("initContainers: [{{name: i}}], containers: [{{name: c, {rules}}}, {{name: d}}]");
    let scene = Scene::new(&spec).script("i", Script::exits(seconds(1), 0));
    scene.runtime.script_attempts("c", vec![Script::exits(seconds(5), 42), Script::runs_forever()]);
    let scene = scene.script("d", Script::runs_forever().ignores_term()).start();
    scene.at(60).await;
    assert_eq!(scene.starts(), ["0 i", "1 c", "1 d", "8 i", "9 c", "9 d"]);
    assert_eq!(scene.shows("d"), "Running after RestartingAllContainers:137 (1)");
}
