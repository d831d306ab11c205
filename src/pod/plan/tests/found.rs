//! What lives from seeds have found (`seeded`), each as a life that shows nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::sim::{Program, Sim};
use super::{ends, serves};
use crate::pod::{HookKind, ImageFailure, ProbeKind};

/// Fields of a container whose exit code 42 restarts all containers.
const RESTARTS_ALL: &str =
    "restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]";

fn debug(pod: &mut Pod) {
    let container =
        EphemeralContainer { name: "debug".into(), image: Some("e".into()), ..EphemeralContainer::default() };
    pod.spec.as_mut().unwrap().ephemeral_containers = Some(vec![container]);
}

/// §4: what was shown stands until a start is over, of ephemeral containers too.
#[test]
fn an_ephemeral_container_keeps_its_reason_while_its_image_is_looked_for_again() {
    let mut sim = Sim::new("containers: [{name: a, image: i}]").script("a", &[serves()]);
    sim = sim.script("debug", &[serves()]).failing_images("e", 1, ImageFailure::NeverPull);
    sim.pull_seconds = 2.0;
    sim.run(5.0);
    sim.edit(debug);
    sim.run(18.0).run(18.5);
    assert_eq!(sim.only(&["pull debug"]), ["5 pull debug", "17 pull debug"]);
    assert_eq!(sim.shows("debug"), "ErrImageNeverPull");
}

/// §3, §4: that containers are stopped to be restarted is no reason to end the pod, whatever their policies make of it.
#[test]
fn containers_that_are_stopped_to_restart_all_do_not_end_the_pod() {
    let spec = format!(
        "restartPolicy: Never, initContainers: [{{name: s, image: i, restartPolicy: Always, {RESTARTS_ALL}}}],
        containers: [{{name: a, image: i}}]"
    );
    for stubborn in [serves(), Program::Ignores] {
        let mut sim = Sim::new(&spec).script("s", &[ends(5.0, 42), serves()]).script("a", &[stubborn, serves()]);
        // To look in between, without anything having happened, changes nothing.
        sim.run(6.0).run(6.5).run(20.0);
        assert_eq!(["s", "a"].map(|name| sim.container(name).restart_count), [1, 1], "{:#?}", sim.timeline);
        assert_eq!(sim.phase(), "Running");
    }
}

/// §3: a restart of all containers has no time for hooks; those under way are given up.
#[test]
fn hooks_are_given_up_when_all_containers_restart() {
    let spec = format!(
        "containers: [{{name: a, image: i, livenessProbe: {{tcpSocket: {{port: 1}}}}, lifecycle: {{preStop: {{sleep: {{seconds: 60}}}}}}}},
        {{name: b, image: i, restartPolicy: Never, {RESTARTS_ALL}}},
        {{name: c, image: i, lifecycle: {{postStart: {{sleep: {{seconds: 60}}}}}}}}]"
    );
    let mut sim = Sim::new(&spec)
        .script("a", &[Program::Ignores])
        .script("b", &[ends(5.0, 42), serves()])
        .script("c", &[serves()])
        .probe("a", ProbeKind::Liveness, 2.0, false)
        .hook("a", HookKind::PreStop, 60.0)
        .hook("c", HookKind::PostStart, 60.0);
    sim.run(7.0);
    assert_eq!(
        sim.only(&["preStop", "postStart", "cancel", "term", "kill"])[..7],
        [
            "0 postStart c/0",
            "2 preStop a/0",
            "5 cancel preStop a/0",
            "5 term a/0",
            "5 cancel postStart c/0",
            "5 term c/0",
            "7 kill a/0"
        ]
    );
}

/// §9: nothing holds up the deadline.
#[test]
fn the_deadline_is_kept_while_all_containers_restart() {
    let spec = format!(
        "activeDeadlineSeconds: 70, containers: [{{name: a, image: i, restartPolicy: Never, {RESTARTS_ALL}}}, {{name: b, image: i}}]"
    );
    let mut sim = Sim::new(&spec).script("a", &[ends(5.0, 42)]).script("b", &[serves()]);
    (sim.start_seconds, sim.cancels_too_late) = (60.0, true);
    sim.run(200.0);
    assert_eq!(sim.only(&["cancel"]), ["65 cancel b/0"]);
    let exceeded = "DeadlineExceeded Pod was active on the node longer than the specified deadline";
    assert_eq!(sim.posted(&["DeadlineExceeded"]), [format!("70 {exceeded}")]);
}

/// A container that ends at once and restarts all others each time keeps no core busy.
#[test]
fn all_containers_are_restarted_at_most_once_a_second() {
    let spec = format!("containers: [{{name: a, image: i, restartPolicy: Never, {RESTARTS_ALL}}}]");
    let mut sim = Sim::new(&spec).script("a", &[ends(0.0, 42)]);
    sim.run(3.0);
    assert_eq!(sim.only(&["start"]), ["0 start a/0", "0 start a/1", "1 start a/2", "2 start a/3", "3 start a/4"]);
}

/// §5: the condition tells of every restart of all containers, even of one that finds nothing to stop.
#[test]
fn a_restart_of_all_containers_is_told() {
    let spec = format!("containers: [{{name: a, image: i, restartPolicy: Never, {RESTARTS_ALL}}}]");
    let mut sim = Sim::new(&spec).script("a", &[ends(5.0, 42), serves()]);
    sim.run(10.0);
    let told = ["0 condition AllContainersRestarting=False", "5 condition AllContainersRestarting=True"];
    let told = [told[0], told[1], "5 condition AllContainersRestarting=False"];
    assert_eq!(sim.only(&["condition AllContainersRestarting"]), told);
}

/// Gives container `c` a limit of memory.
fn limit(pod: &mut Pod, memory: &str) {
    let quantities = |value: &str| Some(BTreeMap::from([("memory".to_owned(), Quantity(value.into()))]));
    let resources =
        ResourceRequirements { limits: quantities(memory), requests: quantities(memory), ..Default::default() };
    pod.spec.as_mut().unwrap().containers[0].resources = Some(resources);
}

/// §18: a resize that failed is shown to have failed until it succeeds, or is no longer asked for.
#[test]
fn a_resize_that_failed_is_shown_while_it_is_wanted() {
    for wanted in ["128Mi", "64Mi"] {
        let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
        sim.edit(|pod| limit(pod, "64Mi"));
        (sim.resize_seconds, sim.resize_error) = (2.0, Some("it uses more".into()));
        sim.run(5.0);
        sim.edit(|pod| limit(pod, "128Mi"));
        sim.run(10.0);
        sim.edit(|pod| limit(pod, wanted));
        sim.run(18.0).run(18.5);
        let shown = sim.observed.status.conditions.iter().flatten().find(|one| one.type_ == "PodResizeInProgress");
        let shown = shown.map(|condition| condition.message.as_deref().unwrap_or("no error"));
        let (tried, expected) = if wanted == "128Mi" {
            (vec!["5 resize", "17 resize"], Some("it uses more"))
        } else {
            (vec!["5 resize"], None)
        };
        let resizes: Vec<_> =
            sim.only(&["resize"]).iter().map(|line| line[..line.find(" c/0").unwrap()].to_owned()).collect();
        assert_eq!((resizes, shown), (tried.into_iter().map(str::to_owned).collect(), expected), "{wanted}");
    }
}

/// §3.1, §4: an init container that runs again in another sandbox shows its ends until it does.
#[test]
fn an_init_container_that_runs_again_keeps_its_last_state_meanwhile() {
    let spec = "initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]";
    let mut sim = Sim::new(spec).script("i", &[ends(1.0, 0)]).script("c", &[serves()]);
    sim.start_seconds = 2.0;
    sim.run(10.0).crash(false).run(20.0).crash(false).run(21.0).run(21.5);
    assert_eq!(sim.only(&["start i"]), ["0 start i/0", "10 start i/1", "20 start i/2"]);
    assert_eq!(sim.shows("i"), "Completed:0 after Completed:0 (1)");
}

/// §5.2: an app container that is started again has existed all the while.
#[test]
fn a_restart_beside_a_sidecar_not_started_leaves_the_phase_alone() {
    let spec = "initContainers: [{name: s, image: i, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}},
        {name: t, image: i, restartPolicy: Always}], containers: [{name: a, image: i}]";
    let mut sim = Sim::new(spec)
        .script("s", &[ends(20.0, 1), serves()])
        .script("t", &[serves()])
        .script("a", &[ends(11.0, 1), serves()])
        .probe("s", ProbeKind::Startup, 10.0, true);
    sim.start_seconds = 2.0;
    sim.run(28.0).run(28.5).run(60.0);
    assert_eq!(
        sim.only(&["start s/1", "start a/1", "phase"]),
        ["0 phase Pending", "16 phase Running", "22 start s/1", "27 start a/1"]
    );
}
