//! Running containers: probes, hooks, kills, changes in place.

use super::sim::{Program, Sim};
use super::{ends, serves};
use crate::pod::{Event, HookKind, ProbeKind, ProbeReport};

const PROBED: &str = "containers: [{name: c, image: i,
    startupProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}]";

fn slow_to_stop() -> Program {
    Program::Serves { stops_after: 3.0, code: 0 }
}

/// §7, §4: startup gates started, readiness gates ready; a readiness failure flips it and restarts nothing.
#[test]
fn probes_gate_started_and_ready() {
    let mut sim = Sim::new(PROBED)
        .script("c", &[serves()])
        .probe("c", ProbeKind::Startup, 5.0, true)
        .probe("c", ProbeKind::Readiness, 6.0, true)
        .probe("c", ProbeKind::Readiness, 9.0, false);
    sim.run(1.0);
    assert_eq!((sim.container("c").started, sim.container("c").ready), (Some(false), false));
    sim.run(5.0);
    assert_eq!((sim.container("c").started, sim.container("c").ready), (Some(true), false));
    assert_eq!(sim.condition("Ready"), "False ContainersNotReady containers with unready status: [c]");
    sim.run(6.0);
    assert_eq!(sim.condition("Ready"), "True");
    sim.run(100.0);
    assert_eq!(sim.condition("Ready"), "False ContainersNotReady containers with unready status: [c]");
    assert_eq!(
        sim.only(&["start", "probe", "readiness", "term"]),
        ["0 start c/0", "0 probe c/0", "5 readiness c/0", "9 readiness c/0",]
    );
}

/// §7 "Kill", §4 "Restart decision", §6: killed with grace and restarted at once, whatever it exits with; Never stays.
#[test]
fn a_failed_liveness_probe_kills_and_the_policy_decides() {
    for (policy, suffix, starts) in
        [("Always", ", will be restarted", 2), ("OnFailure", ", will be restarted", 2), ("Never", "", 1)]
    {
        let mut sim = Sim::new(&format!("restartPolicy: {policy}, {PROBED}"))
            .script("c", &[slow_to_stop(), serves()])
            .probe("c", ProbeKind::Startup, 1.0, true)
            .probe("c", ProbeKind::Liveness, 20.0, false);
        sim.run(30.0);
        let told = format!("20 Killing Container c failed liveness probe{suffix}");
        assert_eq!(sim.posted(&["Killing"]), [told]);
        let starts_seen = sim.only(&["start", "term"]);
        assert_eq!(starts_seen[..2], ["0 start c/0", "20 term c/0"]);
        assert_eq!(starts_seen.len(), starts + 1, "{policy}: {starts_seen:?}");
        if policy != "Never" {
            assert_eq!(starts_seen[2], "23 start c/1");
        }
    }
}

/// §7 "Kill grace": the probe's own, which may exceed the pod's; the preStop hook runs first and is deducted.
#[test]
fn a_probe_has_a_grace_period_of_its_own() {
    let spec = "terminationGracePeriodSeconds: 5, containers: [{name: c, image: i,
        livenessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 40},
        lifecycle: {preStop: {sleep: {seconds: 4}}}}]";
    let mut sim = Sim::new(spec).script("c", &[Program::Ignores]).hook("c", HookKind::PreStop, 4.5).probe(
        "c",
        ProbeKind::Liveness,
        10.0,
        false,
    );
    sim.run(51.0);
    let seen = sim.only(&["preStop", "term", "kill", "start"]);
    assert_eq!(seen, ["0 start c/0", "10 preStop c/0", "14.5 term c/0", "50.5 kill c/0", "50.5 start c/1"]);
}

/// §6: the first restart after a kill never waits; later ones look at the older exit, and wait when that is too near.
#[test]
fn kills_back_off_by_the_exit_before() {
    let mut sim = Sim::new(PROBED).script("c", &[serves()]).probe("c", ProbeKind::Startup, 1.0, true).probe(
        "c",
        ProbeKind::Liveness,
        9.0,
        false,
    );
    sim.run(200.0);
    let starts = ["0 start c/0", "9 start c/1", "18 start c/2", "37 start c/3", "66 start c/4", "115 start c/5"];
    assert_eq!(sim.only(&["start"]), starts);
}

/// §3.3 sidecars: what follows waits for the startup probe; a failed one restarts it, under any policy.
#[test]
fn a_sidecar_gates_by_its_startup_probe_and_is_restarted_for_it() {
    let spec = "restartPolicy: Never, containers: [{name: a, image: i}],
        initContainers: [{name: s, image: i, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}]";
    let mut sim = Sim::new(spec).script("s", &[serves()]).script("a", &[serves()]);
    sim.run(2.0);
    sim.tell(Event::ProbeResult { container: "s".into(), attempt: 0, kind: ProbeKind::Startup, success: false });
    sim.run(4.0);
    sim.tell(Event::ProbeResult { container: "s".into(), attempt: 1, kind: ProbeKind::Startup, success: true });
    sim.run(5.0);
    assert_eq!(sim.only(&["start", "term"]), ["0 start s/0", "2 term s/0", "2 start s/1", "4 start a/0"]);
    assert_eq!(sim.posted(&["Killing"]), ["2 Killing Init container s failed startup probe"]);
}

/// §8 postStart: blocks Running and the next container; then both appear.
#[test]
fn a_post_start_hook_holds_up_what_follows() {
    let spec = "containers: [{name: a, image: i, lifecycle: {postStart: {sleep: {seconds: 3}}},
        livenessProbe: {tcpSocket: {port: 1}}}, {name: b, image: i}]";
    let mut sim = Sim::new(spec).script("a", &[serves()]).script("b", &[serves()]).hook("a", HookKind::PostStart, 3.0);
    sim.run(2.0);
    assert_eq!((sim.phase(), sim.shows("a")), ("Pending", "ContainerCreating".into()));
    sim.run(4.0);
    let seen = sim.only(&["start", "postStart", "probe", "state a Running", "phase"]);
    assert_eq!(
        seen,
        [
            "0 phase Pending",
            "0 start a/0",
            "0 postStart a/0",
            "3 state a Running",
            "3 probe a/0",
            "3 start b/0",
            "3 phase Running",
        ]
    );
}

/// §8: a failed postStart hook kills the container, shows PostStartHookError, and backs off like a crash.
#[test]
fn a_failed_post_start_hook_kills_and_backs_off() {
    let spec = "containers: [{name: a, image: i, lifecycle: {postStart: {exec: {command: [x]}}}}]";
    let mut sim = Sim::new(spec).script("a", &[serves()]).failing_hook("a", HookKind::PostStart, 1.0);
    sim.run(30.0);
    assert_eq!(sim.only(&["start"]), ["0 start a/0", "1 start a/1", "12 start a/2"]);
    assert_eq!(
        sim.posted(&["FailedPostStartHook", "Killing"])[..2],
        ["1 FailedPostStartHook PostStartHook failed", "1 Killing FailedPostStartHook",]
    );
    let states = sim.only(&["state"]);
    assert_eq!(
        states[..3],
        [
            "0 state a ContainerCreating",
            "1 state a PostStartHookError after Completed:0",
            "2 state a PostStartHookError after Completed:0 (1)",
        ]
    );
}

/// §9: preStop within the grace period, TERM after it, what is left until KILL; 2 s at least.
#[test]
fn a_pre_stop_hook_takes_of_the_grace_period() {
    let spec = "terminationGracePeriodSeconds: 30, containers: [{name: c, image: i,
        lifecycle: {preStop: {sleep: {seconds: 1}}}}]";
    for (takes, term, kill) in [(10.0, 10.0, 30.0), (10.9, 10.9, 30.9), (29.0, 29.0, 31.0), (100.0, 30.0, 32.0)] {
        let mut sim = Sim::new(spec).script("c", &[Program::Ignores]).hook("c", HookKind::PreStop, takes);
        sim.run(5.0);
        sim.delete(30);
        sim.run(100.0);
        let seen = sim.only(&["preStop", "cancel", "term", "kill"]);
        let mut expected = vec!["5 preStop c/0".to_owned()];
        if takes > 30.0 {
            expected.push("35 cancel preStop c/0".into());
        }
        expected.extend([format!("{} term c/0", 5.0 + term), format!("{} kill c/0", 5.0 + kill)]);
        assert_eq!(seen, expected);
        assert_eq!((sim.phase(), sim.shows("c")), ("Failed", "Error:137".into()));
    }
}

/// §9: no preStop at grace 0, and none for a container that ends by itself.
#[test]
fn a_pre_stop_hook_is_not_run_without_time_or_need() {
    let spec = "restartPolicy: Never, containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]";
    let mut sim = Sim::new(spec).script("c", &[Program::Ignores]);
    sim.run(5.0);
    sim.delete(0);
    sim.run(10.0);
    assert_eq!(sim.only(&["preStop", "term", "kill"]), ["5 kill c/0"]);
    let mut sim = Sim::new(spec).script("c", &[ends(1.0, 0)]);
    sim.run(10.0);
    assert_eq!(sim.only(&["preStop"]), [""; 0]);
}

/// §9: all preStop hooks start at once; sidecars wait for their turn with TERM while their grace remains.
#[test]
fn hooks_of_sidecars_run_at_once_and_term_waits_for_the_turn() {
    let hook = "lifecycle: {preStop: {sleep: {seconds: 1}}}";
    let spec = format!(
        "containers: [{{name: a, image: i}}], initContainers: [
        {{name: s1, image: i, restartPolicy: Always, {hook}}}, {{name: s2, image: i, restartPolicy: Always, {hook}}}]"
    );
    let mut sim = Sim::new(&spec)
        .script("a", &[Program::Serves { stops_after: 4.0, code: 0 }])
        .script("s1", &[serves()])
        .script("s2", &[serves()])
        .hook("s1", HookKind::PreStop, 1.0)
        .hook("s2", HookKind::PreStop, 1.0);
    sim.run(5.0);
    sim.delete(30);
    sim.run(50.0);
    let seen = sim.only(&["preStop", "term", "kill", "exit"]);
    let expected = [
        "5 preStop s1/0",
        "5 preStop s2/0",
        "5 term a/0",
        "9 exit a/0 0",
        "9 term s2/0",
        "9 exit s2/0 0",
        "9 term s1/0",
        "9 exit s1/0 0",
    ];
    assert_eq!(seen, expected);
    assert_eq!(sim.phase(), "Succeeded");
}

/// §19: a running container is killed and recreated under any policy, the others go on; a plain init is not.
#[test]
fn a_new_image_restarts_the_container_alone() {
    let spec = "restartPolicy: Never, initContainers: [{name: i, image: i}],
        containers: [{name: a, image: i}, {name: b, image: i}]";
    let mut sim = Sim::new(spec).script("i", &[ends(0.0, 0)]).script("a", &[serves()]).script("b", &[serves()]);
    sim.run(5.0);
    sim.edit(|pod| {
        let spec = pod.spec.as_mut().unwrap();
        spec.containers[0].image = Some("new".into());
        spec.init_containers.as_mut().unwrap()[0].image = Some("new".into());
    });
    sim.run(10.0);
    assert_eq!(
        sim.only(&["start", "term"]),
        ["0 start i/0", "0 start a/0", "0 start b/0", "5 term a/0", "5 start a/1"]
    );
    assert_eq!(sim.posted(&["Killing"]), ["5 Killing Container a definition changed, will be restarted"]);
    assert_eq!((sim.container("a").image.as_str(), sim.container("a").restart_count), ("new:latest", 1));
}

/// §18: started at once, never restarted, without part in phase and readiness; stopped with the pod.
#[test]
fn an_ephemeral_container_joins_a_running_pod() {
    let mut sim = Sim::new("containers: [{name: a, image: i}]")
        .script("a", &[serves()])
        .script("e", &[ends(2.0, 1)])
        .script("f", &[serves()]);
    sim.run(5.0);
    let ephemeral = |name| serde_yaml::from_str(&format!("{{name: {name}, image: i}}")).unwrap();
    sim.edit(|pod| pod.spec.as_mut().unwrap().ephemeral_containers = Some(vec![ephemeral("e"), ephemeral("f")]));
    sim.run(20.0);
    assert_eq!(sim.only(&["start"]), ["0 start a/0", "5 start e/0", "5 start f/0"]);
    assert_eq!((sim.phase(), sim.shows("e"), sim.condition("Ready")), ("Running", "Error:1".into(), "True".into()));
    sim.delete(30);
    sim.run(60.0);
    assert_eq!((sim.phase(), sim.shows("f")), ("Succeeded", "Completed:0".into()));
}

/// §4 `RestartAllContainers`: the rest is killed within 2 s, everything starts over with init, counts go on.
#[test]
fn a_rule_restarts_all_containers() {
    let spec = "restartPolicy: Never, initContainers: [{name: i, image: i}], containers: [{name: a, image: i},
        {name: b, image: i, restartPolicy: Never, restartPolicyRules: [
            {action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}]";
    let mut sim = Sim::new(spec)
        .script("i", &[ends(1.0, 0)])
        .script("a", &[Program::Ignores, serves()])
        .script("b", &[ends(5.0, 42), serves()]);
    sim.run(20.0);
    assert_eq!(
        sim.only(&["start", "term", "kill", "condition AllContainersRestarting"]),
        [
            "0 condition AllContainersRestarting=False",
            "0 start i/0",
            "1 start a/0",
            "1 start b/0",
            "6 condition AllContainersRestarting=True",
            "6 term a/0",
            "8 kill a/0",
            "8 condition AllContainersRestarting=False",
            "8 start i/1",
            "9 start a/1",
            "9 start b/1",
        ]
    );
    for name in ["a", "b"] {
        assert_eq!(sim.shows(name), "Running after RestartingAllContainers:137 (1)");
    }
    assert_eq!(sim.phase(), "Running");
}

/// §18 "Resize": in place unless the policy asks for a restart; what the node cannot give stays pending.
#[test]
fn resources_change_in_place_or_by_a_restart() {
    let spec = |policy: &str| {
        format!("containers: [{{name: c, image: i, resources: {{limits: {{memory: 64Mi}}}}, {policy}}}]")
    };
    let resize = |sim: &mut Sim| {
        sim.edit(|pod| {
            let resources = pod.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
            resources.limits.as_mut().unwrap().get_mut("memory").unwrap().0 = "128Mi".into();
        });
    };
    let memory =
        |sim: &Sim| sim.container("c").resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"].0.clone();
    let mut sim = Sim::new(&spec("")).script("c", &[serves()]);
    sim.run(5.0);
    resize(&mut sim);
    sim.run(10.0);
    assert_eq!(sim.only(&["start", "resize"]), ["0 start c/0", "5 resize c/0 Some(134217728) None"]);
    assert_eq!((memory(&sim), sim.container("c").restart_count), ("128Mi".into(), 0));
    assert_eq!(sim.posted(&["ResizeStarted", "ResizeCompleted"]).len(), 2);

    let mut sim = Sim::new(&spec("resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]"))
        .script("c", &[serves()]);
    sim.run(5.0);
    resize(&mut sim);
    sim.run(10.0);
    assert_eq!(sim.only(&["start", "resize"]), ["0 start c/0", "5 start c/1"]);
    assert_eq!(memory(&sim), "128Mi");

    let mut sim = Sim::new(&spec("")).script("c", &[serves()]);
    sim.resize_error = Some("below the current usage".into());
    sim.run(5.0);
    resize(&mut sim);
    sim.run(10.0);
    assert_eq!(
        (memory(&sim), sim.condition("PodResizeInProgress")),
        ("64Mi".into(), "True Error below the current usage".into())
    );
    sim.resize_error = None;
    sim.run(20.0);
    assert_eq!(memory(&sim), "128Mi");
}

/// §15: each check that fails is told, whether or not it changes anything.
#[test]
fn failed_checks_are_told() {
    let mut sim = Sim::new(PROBED).script("c", &[serves()]);
    sim.run(1.0);
    let (container, kind) = ("c".to_owned(), ProbeKind::Readiness);
    for report in [
        ProbeReport::Failed("HTTP probe failed with statuscode: 404".into()),
        ProbeReport::Errored("no such port".into()),
        ProbeReport::Warned("Probe terminated redirects".into()),
    ] {
        sim.tell(Event::ProbeReport { container: container.clone(), attempt: 0, kind, report });
    }
    sim.run(2.0);
    assert_eq!(
        sim.posted(&["Unhealthy", "ProbeWarning"]),
        [
            "1 Unhealthy Readiness probe failed: HTTP probe failed with statuscode: 404",
            "1 Unhealthy Readiness probe errored and resulted in unknown state: no such port",
            "1 ProbeWarning Readiness probe warning: Probe terminated redirects",
        ]
    );
}
