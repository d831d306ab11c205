//! Deletion, deadline, completion, and what must hold whatever happens.

use proptest::prelude::*;

use super::sim::{Program, Sim};
use super::{ends, serves};
use crate::pod::{Lifecycle, StartFailureReason};

const SIDECARS: &str = "restartPolicy: Never, terminationGracePeriodSeconds: 10, initContainers: [{name: s1, image: i, restartPolicy: Always}, \
    {name: s2, image: i, restartPolicy: Always}, {name: s3, image: i, restartPolicy: Always}], containers: [{name: a, image: i}]";

/// A pod with app `a` and sidecars `s1`, `s2`, `s3`, deleted after 5 s with a grace of 10 s.
fn delete_with_sidecars(a: Program, s1: Program, s2: Program, s3: Program) -> Sim {
    let mut sim = Sim::new(SIDECARS).script("a", &[a]).script("s1", &[s1]).script("s2", &[s2]).script("s3", &[s3]);
    sim.run(5.0);
    sim.delete(10);
    sim.run(100.0);
    assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }));
    sim
}

/// §9 "Outcomes when deleting": all exit 0 on SIGTERM.
#[test]
fn sidecars_stop_after_the_app_in_reverse_order() {
    let stops = |stops_after| Program::Serves { stops_after, code: 0 };
    let sim = delete_with_sidecars(stops(1.0), stops(1.0), stops(1.0), stops(1.0));
    assert_eq!(sim.only(&["exit"]), ["6 exit a/0 0", "7 exit s3/0 0", "8 exit s2/0 0", "9 exit s1/0 0"]);
    assert_eq!(sim.phase(), "Succeeded");
    assert_eq!(
        sim.posted(&["Killing"]),
        [
            "5 Killing Stopping container s1",
            "5 Killing Stopping container s2",
            "5 Killing Stopping container s3",
            "5 Killing Stopping container a"
        ]
    );
}

/// §9: a sidecar's exit code doesn't matter.
#[test]
fn a_failing_sidecar_doesnt_fail_the_pod() {
    let sim = delete_with_sidecars(serves(), serves(), Program::Serves { stops_after: 0.0, code: 1 }, serves());
    assert_eq!((sim.phase(), sim.shows("s2")), ("Succeeded", "Error:1".into()));
    let sim = delete_with_sidecars(serves(), serves(), Program::Ignores, serves());
    assert_eq!((sim.phase(), sim.shows("s2")), ("Succeeded", "Error:137".into()));
    assert_eq!(sim.only(&["kill", "term s1"]), ["15 term s1/0", "15 kill s2/0"], "s1 waits until the grace is over");
}

/// §9: an app that ignores SIGTERM, and sidecars that need more than the 2 s that are left.
#[test]
fn an_app_that_ignores_term_is_killed_and_sidecars_get_two_seconds() {
    let slow = Program::Serves { stops_after: 3.0, code: 0 };
    let sim = delete_with_sidecars(Program::Ignores, serves(), slow, serves());
    assert_eq!(sim.phase(), "Failed");
    assert_eq!(
        ["a", "s1", "s2", "s3"].map(|name| sim.shows(name)),
        ["Error:137", "Completed:0", "Error:137", "Completed:0"]
    );
    assert_eq!(
        sim.only(&["term", "kill"]),
        ["5 term a/0", "15 term s1/0", "15 term s2/0", "15 term s3/0", "15 kill a/0", "17 kill s2/0"]
    );
}

/// §9: deleted during init: what runs stops, what never ran is not waited for; Failed.
#[test]
fn deletion_during_init_fails_the_pod() {
    let spec = "initContainers: [{name: s, image: i, restartPolicy: Always}, {name: i, image: i}], containers: [{name: a, image: i}]";
    let mut sim = Sim::new(spec).script("s", &[serves()]).script("i", &[ends(100.0, 0)]);
    sim.run(5.0);
    sim.delete(30);
    sim.run(6.0);
    assert_eq!((sim.phase(), sim.shows("i"), sim.shows("s")), ("Failed", "Error:143".into(), "Completed:0".into()));
    assert_eq!(sim.shows("a"), "PodInitializing");
    assert_eq!(sim.only(&["stop", "unmount"]), ["5 stop sandbox", "5 unmount"]);
}

/// §5: deleted before any start, in-flight pulls and starts included.
#[test]
fn deletion_before_any_start_fails_the_pod() {
    for at in [0.0, 1.0, 2.5] {
        let mut sim = Sim::new("containers: [{name: a, image: i}]").script("a", &[serves()]);
        (sim.pull_seconds, sim.start_seconds) = (2.0, 2.0);
        if at > 0.0 {
            sim.run(at);
        }
        sim.delete(30);
        sim.run(60.0);
        assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }));
        assert_eq!((sim.phase(), sim.shows("a")), ("Failed", "ContainerStatusUnknown:137".into()), "deleted at {at}");
        assert_eq!(sim.only(&["exit"]).len(), 0);
    }
}

/// A start that was quicker than its cancellation is stopped like any other.
#[test]
fn a_start_that_cannot_be_cancelled_is_stopped() {
    let mut sim = Sim::new("containers: [{name: a, image: i}]").script("a", &[serves()]);
    (sim.start_seconds, sim.cancels_too_late) = (2.0, true);
    sim.run(1.0);
    sim.delete(30);
    sim.run(60.0);
    assert_eq!(sim.only(&["cancel", "term", "exit"]), ["1 cancel a/0", "2 term a/0", "2 exit a/0 0"]);
    assert_eq!((sim.phase(), sim.shows("a")), ("Succeeded", "Completed:0".into()));
    assert_eq!(sim.posted(&["Killing"]), ["2 Killing Stopping container a"]);
}

/// Absurd numbers in a manifest don't end time.
#[test]
fn an_endless_grace_period_is_no_overflow() {
    let spec = "activeDeadlineSeconds: 9223372036854775807, terminationGracePeriodSeconds: 9223372036854775807, containers: [{name: a, image: i}]";
    let mut sim = Sim::new(spec).script("a", &[Program::Ignores]);
    sim.run(1.0);
    sim.delete(i64::MAX / 1_000_000_000);
    sim.run(2.0);
    assert_eq!(sim.only(&["term", "kill"]), ["1 term a/0"]);
    sim.delete(0);
    sim.run(3.0);
    assert_eq!(sim.only(&["kill"]), ["2 kill a/0"]);
}

/// §3: "only the volume wait is cancelled", and what was half set up is torn down.
#[test]
fn a_volume_that_never_mounts_doesnt_hold_up_deletion() {
    let mut sim = Sim::new("containers: [{name: a, image: i}]");
    sim.failing_mounts = u32::MAX;
    sim.run(5.0);
    sim.delete(30);
    sim.run(6.0);
    assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }));
    assert_eq!((sim.phase(), sim.only(&["unmount"])), ("Failed", vec!["5 unmount".into()]));
}

/// §9: the grace period, its floor of 2 s, and 0, which kills at once.
#[test]
fn the_grace_period_ends_in_sigkill() {
    for (grace, term, kill) in [(30, Some(5), 35), (2, Some(5), 7), (1, Some(5), 7), (0, None, 5)] {
        let mut sim = Sim::new("containers: [{name: a, image: i}, {name: b, image: i}]")
            .script("a", &[Program::Ignores])
            .script("b", &[Program::Ignores]);
        sim.run(5.0);
        sim.delete(grace);
        sim.run(100.0);
        let terms = term.iter().flat_map(|at| [format!("{at} term a/0"), format!("{at} term b/0")]);
        let kills = [format!("{kill} kill a/0"), format!("{kill} kill b/0")];
        assert_eq!(sim.only(&["term", "kill"]), terms.chain(kills).collect::<Vec<_>>(), "grace {grace}");
        assert_eq!((sim.phase(), sim.shows("a")), ("Failed", "Error:137".into()));
    }
}

/// §9: a repeated deletion can only shorten, and reaches the stop in progress.
#[test]
fn a_second_deletion_can_only_shorten() {
    for (second, kill) in [(3, 9), (0, 6), (60, 35)] {
        let mut sim = Sim::new("containers: [{name: a, image: i}]").script("a", &[Program::Ignores]);
        sim.run(5.0);
        sim.delete(30);
        sim.run(6.0);
        sim.delete(second);
        sim.run(100.0);
        assert_eq!(sim.only(&["kill"]), [format!("{kill} kill a/0")], "second deletion with {second}");
    }
}

/// §3: nothing starts once the pod is deleted; §4: a crash-looping container shows its end again.
#[test]
fn a_crash_looping_pod_is_deleted_at_once() {
    let mut sim = Sim::new("containers: [{name: a, image: i}]").script("a", &[ends(1.0, 3)]);
    sim.run(5.0);
    sim.delete(30);
    sim.run(100.0);
    assert_eq!(sim.only(&["start"]).len(), 2);
    assert_eq!((sim.phase(), sim.shows("a")), ("Failed", "Error:3 after Error:3 (1)".into()));
}

/// §9 activeDeadlineSeconds: from startTime, init time included, normal grace.
#[test]
fn the_deadline_fails_the_pod() {
    let spec = "activeDeadlineSeconds: 10, terminationGracePeriodSeconds: 5, initContainers: [{name: i, image: i}], containers: [{name: a, image: i}]";
    let mut sim = Sim::new(spec).script("i", &[ends(4.0, 0)]).script("a", &[Program::Ignores]);
    sim.run(12.0);
    assert_eq!(sim.phase(), "Running", "§5: terminal only once everything has stopped");
    sim.run(100.0);
    assert_eq!(
        sim.only(&["term", "kill", "phase"]),
        ["0 phase Pending", "4 phase Running", "10 term a/0", "15 kill a/0", "15 phase Failed"]
    );
    let status = &sim.observed.status;
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(status.message.as_deref(), Some("Pod was active on the node longer than the specified deadline"));
    assert_eq!(
        sim.posted(&["DeadlineExceeded"]),
        ["10 DeadlineExceeded Pod was active on the node longer than the specified deadline"]
    );
}

/// §3.5 and §5: completion stops the sidecars in order, takes everything down, and only then is the phase terminal.
#[test]
fn a_completed_pod_is_taken_down() {
    let mut sim = Sim::new(SIDECARS)
        .script("a", &[ends(3.0, 0)])
        .script("s1", &[serves()])
        .script("s2", &[Program::Serves { stops_after: 1.0, code: 0 }])
        .script("s3", &[serves()]);
    sim.run(100.0);
    assert_eq!(
        sim.only(&["term", "stop", "unmount", "phase"]),
        [
            "0 phase Pending",
            "0 phase Running",
            "3 term s3/0",
            "3 term s2/0",
            "4 term s1/0",
            "4 stop sandbox",
            "4 phase Succeeded",
            "4 unmount"
        ]
    );
    assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }));
    for (type_, expected) in [
        ("PodReadyToStartContainers", "False"),
        ("Initialized", "True PodCompleted"),
        ("Ready", "False PodCompleted"),
        ("ContainersReady", "False PodCompleted"),
        ("PodScheduled", "True"),
    ] {
        assert_eq!(sim.condition(type_), expected);
    }
    assert_eq!(sim.observed.status.pod_ip, None, "§13: cleared after termination");
    sim.delete(30);
    sim.run(200.0);
    assert_eq!(sim.phase(), "Succeeded");
}

/// §5: one failed app fails the pod, once all have ended.
#[test]
fn a_failed_app_fails_the_pod_when_all_have_ended() {
    let spec = "restartPolicy: Never, containers: [{name: a, image: i}, {name: b, image: i}]";
    let mut sim = Sim::new(spec).script("a", &[ends(1.0, 7)]).script("b", &[ends(3.0, 0)]);
    sim.run(2.0);
    assert_eq!(sim.phase(), "Running");
    assert_eq!(sim.condition("Ready"), "False ContainersNotReady containers with unready status: [a]");
    sim.run(10.0);
    assert_eq!((sim.phase(), sim.condition("Ready")), ("Failed", "False PodFailed".into()));
}

fn program() -> impl Strategy<Value = Program> {
    prop_oneof![
        (0u8..40, 0..3).prop_map(|(after, code)| ends(f64::from(after) / 2.0, code)),
        (0u8..10, 0..2).prop_map(|(after, code)| Program::Serves { stops_after: f64::from(after), code }),
        Just(Program::Ignores),
        Just(Program::Fails { reason: StartFailureReason::Config, created: false }),
        Just(Program::Fails { reason: StartFailureReason::Run, created: true }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// At every step the simulation checks that planning is idempotent, that a container has at most one live
    /// attempt, that restart counts don't fall and that a terminal phase stays. Deletion always ends the pod in
    /// bounded time with nothing left.
    #[test]
    fn every_life_keeps_the_invariants_and_can_be_ended(
        policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
        scripts in prop::collection::vec(prop::collection::vec(program(), 1..4), 5),
        failing_pulls in 0u32..3,
        failing_mounts in 0u32..3,
        durations in (0u8..4, 0u8..4),
        deleted_at in 0u16..120,
        grace in 0i64..20,
        deadline in prop::option::of(1i64..100),
        cancels_too_late in any::<bool>(),
    ) {
        let deadline = deadline.map_or_else(String::new, |seconds| format!("activeDeadlineSeconds: {seconds},"));
        let spec = format!("{deadline} restartPolicy: {policy}, terminationGracePeriodSeconds: 10, \
            initContainers: [{{name: i, image: x}}, {{name: s, image: x, restartPolicy: Always}}, {{name: t, image: y, restartPolicy: Always}}], \
            containers: [{{name: a, image: x}}, {{name: b, image: y}}]");
        let mut sim = Sim::new(&spec).failing_pulls("y", failing_pulls);
        for (name, script) in ["i", "s", "t", "a", "b"].iter().zip(&scripts) {
            sim = sim.script(name, script);
        }
        (sim.failing_mounts, sim.cancels_too_late) = (failing_mounts, cancels_too_late);
        (sim.pull_seconds, sim.start_seconds) = (f64::from(durations.0) / 2.0, f64::from(durations.1) / 2.0);
        let deleted_at = f64::from(deleted_at);
        sim.run(deleted_at);
        sim.delete(grace);
        sim.run(deleted_at + 13.0 + 20.0);
        prop_assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }), "{:#?}", sim.timeline);
        prop_assert!(matches!(sim.phase(), "Succeeded" | "Failed"), "{}", sim.phase());
    }
}
