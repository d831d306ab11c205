//! Another agent takes a pod up (§9 "Agent restart").

use super::sim::{Program, Sim};
use super::{ends, serves};
use crate::pod::{Event, HookKind, Lifecycle, ProbeKind};

/// §4, §9: the containers are gone, each with an end that nobody saw; which come back is for the policy to say.
#[test]
fn vanished_containers_are_restarted_as_their_policy_says() {
    let unknown = "ContainerStatusUnknown:137";
    for (policy, phase, vanished, succeeded) in [
        ("Always", "Running", format!("Running after {unknown} (1)"), format!("Running after {unknown} (2)")),
        ("OnFailure", "Running", format!("Running after {unknown} (1)"), "Completed:0".to_owned()),
        ("Never", "Failed", unknown.to_owned(), "Completed:0".to_owned()),
    ] {
        let spec = format!("restartPolicy: {policy}, containers: [{{name: c, image: i}}, {{name: done, image: i}}]");
        let mut sim = Sim::new(&spec).script("c", &[serves()]).script("done", &[ends(2.0, 0), serves()]);
        sim.run(50.0).crash(false).run(55.0);
        assert_eq!((sim.shows("c"), sim.shows("done"), sim.phase()), (vanished, succeeded, phase), "{policy}");
        let changed = "50 SandboxChanged Pod sandbox changed, it will be killed and re-created.";
        assert_eq!(sim.posted(&["SandboxChanged"]), if policy == "Never" { vec![] } else { vec![changed] });
    }
}

/// §4: the end that nobody saw says what it is.
#[test]
fn a_vanished_container_is_explained() {
    let mut sim = Sim::new("restartPolicy: Never, containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(10.0).crash(false).run(20.0);
    let end = sim.container("c").state.clone().unwrap().terminated.unwrap();
    let message = "The container could not be located when the pod was deleted.  The container used to be Running";
    assert_eq!(end.message.as_deref(), Some(message));
    assert_eq!(end.container_id.as_deref(), Some("sim://c-0"));
    assert_eq!(end.started_at.unwrap().0.as_second(), end.finished_at.unwrap().0.as_second() - 10);
}

/// §3.1, §9: a new sandbox means init containers from the first one, and everything counts on.
#[test]
fn init_containers_and_sidecars_run_again_and_count_on() {
    let spec = "initContainers: [{name: i, image: i}, {name: s, image: i, restartPolicy: Always}, {name: j, image: i}],
        containers: [{name: c, image: i}]";
    let mut sim = Sim::new(spec)
        .script("i", &[ends(1.0, 0)])
        .script("s", &[serves()])
        .script("j", &[ends(1.0, 0)])
        .script("c", &[serves()]);
    for count in 1..=3 {
        sim.run(f64::from(count) * 10.0).crash(false);
    }
    sim.run(40.0);
    assert_eq!(
        sim.only(&["start", "crash"])[4..10],
        ["10 crash", "10 start i/1", "11 start s/1", "11 start j/1", "12 start c/1", "20 crash"]
    );
    let counts = ["i", "s", "j", "c"].map(|name| sim.container(name).restart_count);
    assert_eq!((counts, sim.phase()), ([3; 4], "Running"));
    assert_eq!(sim.shows("c"), "Running after ContainerStatusUnknown:137 (3)");
}

/// §3.1: a pod that never restarts is not started over once anything of it ran; one of which nothing ran goes on.
#[test]
fn a_pod_that_never_restarts_goes_on_only_if_nothing_ran() {
    let spec = "restartPolicy: Never, initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]";
    let script = |spec| Sim::new(spec).script("i", &[ends(5.0, 0)]).script("c", &[ends(5.0, 0)]);
    let mut sim = script(spec);
    sim.run(2.0).crash(false).run(100.0);
    assert_eq!((sim.phase(), sim.shows("i").as_str()), ("Failed", "ContainerStatusUnknown:137"));
    assert_eq!(sim.only(&["start"]), ["0 start i/0"]);
    let mut sim = script(spec);
    sim.pull_seconds = 5.0;
    sim.run(2.0).crash(false).run(100.0);
    assert_eq!(sim.phase(), "Succeeded");
    assert_eq!(sim.only(&["start"]), ["7 start i/0", "17 start c/0"]);
}

/// §6: back-offs end with the agent, counts do not.
#[test]
fn a_crash_loop_starts_over_with_its_count() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.0, 1)]);
    sim.run(20.0);
    assert_eq!(sim.shows("c"), "CrashLoopBackOff after Error:1 (2)");
    sim.crash(false).run(21.0);
    assert_eq!(sim.only(&["start"]).last().unwrap(), "20 start c/3");
    sim.run(40.0);
    assert_eq!(sim.only(&["start"])[4..], ["31 start c/4"], "the first back-off again");
}

/// §9: what survives the agent is left alone: no restart, no hook again; its probes begin anew.
#[test]
fn containers_that_survive_run_on() {
    let spec = "containers: [{name: c, image: i, readinessProbe: {tcpSocket: {port: 1}},
        lifecycle: {postStart: {sleep: {seconds: 1}}}}]";
    let mut sim = Sim::new(spec).script("c", &[serves()]).hook("c", HookKind::PostStart, 1.0).probe(
        "c",
        ProbeKind::Readiness,
        2.0,
        true,
    );
    sim.run(10.0).crash(true).run(20.0);
    assert_eq!(
        sim.only(&["start", "postStart", "probe"]),
        ["0 start c/0", "0 postStart c/0", "1 probe c/0", "10 probe c/0"]
    );
    assert_eq!((sim.shows("c").as_str(), sim.phase(), sim.container("c").ready), ("Running", "Running", true));
    assert_eq!(sim.posted(&["SandboxChanged"]), [""; 0]);
    // A hook that was under way is not begun again either.
    let mut sim = Sim::new(spec).script("c", &[serves()]).hook("c", HookKind::PostStart, 5.0);
    sim.run(2.0).crash(true).run(20.0);
    assert_eq!(sim.only(&["postStart"]).len(), 1);
    assert_eq!(sim.shows("c"), "Running");
}

/// §9: a termination in progress begins anew, with its hook and its whole grace period.
#[test]
fn a_termination_in_progress_is_resumed_with_full_grace() {
    let spec = "terminationGracePeriodSeconds: 10, activeDeadlineSeconds: 50,
        containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]";
    for deleted in [true, false] {
        let mut sim = Sim::new(spec).script("c", &[Program::Ignores]).hook("c", HookKind::PreStop, 2.0);
        sim.run(50.0);
        if deleted {
            sim.delete(10);
        }
        sim.run(58.0).crash(true).run(100.0);
        assert_eq!(
            sim.only(&["preStop", "term", "kill"]),
            ["50 preStop c/0", "52 term c/0", "58 preStop c/0", "60 term c/0", "68 kill c/0"]
        );
        assert_eq!(sim.phase(), "Failed");
        assert_eq!(sim.only(&["unmount"]), ["68 unmount"]);
        let reason = sim.observed.status.reason.clone();
        assert_eq!(reason.as_deref(), (!deleted).then_some("DeadlineExceeded"));
    }
}

/// §9: where nothing survives, a deletion has nothing to wait for, and takes the volumes along.
#[test]
fn a_deletion_in_progress_ends_with_what_is_left() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[Program::Ignores]);
    sim.run(10.0);
    sim.delete(30);
    sim.run(15.0).crash(false).run(100.0);
    assert_eq!((sim.phase(), sim.shows("c").as_str()), ("Failed", "ContainerStatusUnknown:137"));
    assert_eq!(sim.only(&["start", "unmount", "sandbox", "mount"])[3..], ["15 unmount"]);
    assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }));
}

/// A deletion that came while no agent ran is found in the object.
#[test]
fn a_deletion_that_came_meanwhile_is_carried_out() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[Program::Ignores]);
    sim.run(10.0).crash(true).delete(5);
    sim.run(100.0);
    assert_eq!(sim.only(&["term", "kill"]), ["10 term c/0", "15 kill c/0"]);
}

/// §9: the deadline counts from the start of the pod, not of the agent.
#[test]
fn a_deadline_that_has_passed_meanwhile_ends_the_pod() {
    let mut sim = Sim::new("activeDeadlineSeconds: 30, containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(20.0).crash(false);
    sim.run(25.0);
    assert_eq!(sim.shows("c"), "Running after ContainerStatusUnknown:137 (1)");
    sim.run(100.0);
    assert_eq!((sim.phase(), sim.observed.status.reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
    assert_eq!(sim.only(&["phase"]).last().unwrap(), "30 phase Failed");
}

/// §5: a terminal phase is never left, and nothing is done for such a pod any more.
#[test]
fn a_finished_pod_stays_finished() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let spec = "restartPolicy: Never, containers: [{name: c, image: i}]";
        let mut sim = Sim::new(spec).script("c", &[ends(5.0, code)]);
        sim.run(10.0);
        let before = sim.observed.status.clone();
        sim.crash(false).run(100.0);
        assert_eq!((sim.phase(), sim.timeline.last().unwrap().1.as_str()), (phase, "crash"));
        assert_eq!(sim.observed.status, before);
    }
}

/// §9: a pod that was ending because its apps were done does not start its sidecars again.
#[test]
fn a_completed_pod_goes_on_ending() {
    let spec = "restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}],
        containers: [{name: c, image: i}]";
    let mut sim = Sim::new(spec).script("s", &[Program::Ignores]).script("c", &[ends(5.0, 0)]);
    sim.run(8.0).crash(false).run(100.0);
    assert_eq!((sim.phase(), sim.shows("s").as_str()), ("Succeeded", "ContainerStatusUnknown:137"));
    assert_eq!(sim.only(&["start"]), ["0 start s/0", "0 start c/0"]);
}

/// The IDs, the times and the conditions of a pod that goes on are those it had.
#[test]
fn start_time_and_conditions_are_kept() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(10.0);
    let before = sim.observed.status.clone();
    sim.crash(false).run(30.0);
    let after = sim.observed.status.clone();
    assert_eq!(before.start_time, after.start_time);
    let scheduled = |status: &k8s_openapi::api::core::v1::PodStatus| {
        let conditions = status.conditions.clone().unwrap();
        conditions.into_iter().find(|condition| condition.type_ == "PodScheduled").unwrap().last_transition_time
    };
    assert_eq!(scheduled(&before), scheduled(&after));
    assert_eq!(
        sim.only(&["condition PodReadyToStart"])[1..],
        [
            "0 condition PodReadyToStartContainers=True",
            "10 condition PodReadyToStartContainers=False",
            "10 condition PodReadyToStartContainers=True"
        ]
    );
}

/// A crash at any moment, or at two, changes nothing of where a pod gets to, and leaves nothing behind.
#[test]
fn a_pod_gets_where_it_should_whenever_the_agent_ends() {
    for policy in ["OnFailure", "Never"] {
        crash_at_any_moment(policy);
    }
}

fn crash_at_any_moment(policy: &str) {
    let spec = "initContainers: [{name: i, image: i}, {name: s, image: i, restartPolicy: Always}],
        containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}, {name: d, image: i}]";
    for first in 0..60 {
        for second in [1.0, 4.5] {
            let mut sim = Sim::new(&format!("restartPolicy: {policy}, {spec}"))
                .script("i", &[ends(2.0, 0)])
                .script("s", &[serves()])
                .script("c", &[ends(3.0, 1), ends(4.0, 0)])
                .script("d", &[ends(5.0, 0)]);
            (sim.pull_seconds, sim.start_seconds) = (0.3, 0.2);
            (sim.failing_mounts, sim.failing_sandboxes) = (1, 1);
            let first = f64::from(first) / 2.0;
            sim.run(first).crash(false).run(first + second).crash(false).run(300.0);
            assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }), "crash at {first}, {second}");
            assert!(policy == "Never" || sim.phase() == "Succeeded", "crash at {first}, {second}: {:#?}", sim.timeline);
            let volumes = sim.only(&["mount", "unmount"]);
            assert!(volumes.last().unwrap().ends_with("unmount"), "crash at {first}, {second}: {:#?}", sim.timeline);
        }
    }
}

/// §12: what failed for want of a source is tried again as soon as sources change, also if that was while trying.
#[test]
fn a_source_that_appears_heals_a_failed_mount_at_once() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.failing_mounts = 5;
    sim.run(6.0);
    assert_eq!(sim.only(&["mount"]), ["0 mount", "0.5 mount", "1.5 mount", "3.5 mount"]);
    sim.failing_mounts = 0;
    sim.tell(Event::SourcesChanged).run(6.0);
    assert_eq!(sim.only(&["mount", "start"])[4..], ["6 mount", "6 start c/0"]);
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.failing_mounts = 2;
    sim.step();
    sim.tell(Event::SourcesChanged).run(0.0);
    assert_eq!(sim.only(&["mount"]), ["0 mount", "0 mount"], "and once only");
}

/// What an agent has written down for the next may be lost with the machine, while the published status is kept: then that
/// is enough to go on, and no count falls.
#[test]
fn a_published_status_is_enough_to_go_on() {
    let spec = "initContainers: [{name: i, image: i}, {name: s, image: i, restartPolicy: Always}], containers: [
        {name: c, image: i}, {name: loops, image: i}, {name: done, image: i, restartPolicy: OnFailure}]";
    let mut sim = Sim::new(spec)
        .script("i", &[ends(1.0, 0)])
        .script("s", &[serves()])
        .script("c", &[ends(3.0, 1), serves()])
        .script("loops", &[ends(1.0, 1)])
        .script("done", &[ends(2.0, 0)]);
    sim.run(20.0);
    assert_eq!(sim.shows("loops"), "CrashLoopBackOff after Error:1 (2)");
    sim.crash_to_status().run(20.5);
    assert_eq!(sim.only(&["start"]).last().unwrap(), "20 start i/1");
    sim.run(22.0);
    let shown = ["i", "s", "c", "loops", "done"].map(|name| (sim.shows(name), sim.container(name).restart_count));
    assert_eq!(
        shown,
        [
            ("Completed:0 after Completed:0 (1)".to_owned(), 1),
            ("Running after ContainerStatusUnknown:137 (1)".to_owned(), 1),
            ("Running after ContainerStatusUnknown:137 (2)".to_owned(), 2),
            ("CrashLoopBackOff after Error:1 (3)".to_owned(), 3),
            ("Completed:0".to_owned(), 0),
        ]
    );
    let mut sim = Sim::new("restartPolicy: Never, containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(5.0).crash_to_status().run(10.0);
    assert_eq!((sim.phase(), sim.shows("c").as_str()), ("Failed", "ContainerStatusUnknown:137"));
    let mut sim = Sim::new("restartPolicy: Never, containers: [{name: c, image: i}]").script("c", &[ends(1.0, 0)]);
    sim.run(5.0).crash_to_status().run(10.0);
    assert_eq!((sim.phase(), sim.shows("c").as_str()), ("Succeeded", "Completed:0"));
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.pull_seconds = 5.0;
    sim.run(2.0).crash_to_status().run(10.0);
    assert_eq!((sim.phase(), sim.shows("c").as_str()), ("Running", "Running"), "nothing had run");
}
