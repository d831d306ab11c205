//! Starting, restarting and back-off.

use super::sim::{Program, Sim};
use super::{ends, serves};
use crate::pod::{Event, ImageFailure, ImageNote, Lifecycle, Observed, StartFailureReason};

/// §6, the timeline of a container that sleeps 1 s and exits 1.
#[test]
fn a_crashing_container_restarts_at_once_and_then_backs_off() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.0, 1)]);
    sim.run(1200.0);
    let starts = sim.only(&["start"]);
    let expected: Vec<String> = [0, 1, 12, 33, 74, 155, 316, 617, 918]
        .iter()
        .enumerate()
        .map(|(attempt, at)| format!("{at} start c/{attempt}"))
        .collect();
    assert_eq!(starts, expected);
    let states = sim.only(&["state", "phase"]);
    assert_eq!(
        states[..10],
        [
            "0 phase Pending",
            "0 state c ContainerCreating",
            "0 phase Running",
            "0 state c Running",
            "1 state c Error:1",
            "1 state c Running after Error:1 (1)",
            "2 state c Error:1 after Error:1 (1)",
            "2 state c CrashLoopBackOff after Error:1 (1)",
            "12 state c Running after Error:1 (2)",
            "13 state c Error:1 after Error:1 (2)",
        ]
    );
    let back_off = sim.posted(&["BackOff"]);
    assert_eq!(back_off[0], "2 BackOff Back-off restarting failed container c in pod p_ns(u)");
    assert_eq!(back_off.len(), 8, "one for each wait: {back_off:?}");
    let waiting = sim.container("c").state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(waiting.message.as_deref(), Some("back-off 5m0s restarting failed container=c pod=p_ns(u)"));
    assert_eq!(sim.phase(), "Running", "§5: a crash-looping app");
}

/// §6: more than 600 s between the last advance and an exit, and the sequence restarts.
#[test]
fn a_long_run_resets_the_back_off() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]")
        .script("c", &[ends(1.0, 1), ends(1.0, 1), ends(700.0, 1), ends(1.0, 1)]);
    sim.run(740.0);
    assert_eq!(sim.only(&["start"]), ["0 start c/0", "1 start c/1", "12 start c/2", "712 start c/3", "723 start c/4"]);
}

/// §6: another image, another sequence.
#[test]
fn a_new_image_starts_a_new_back_off() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.0, 1)]);
    sim.run(3.0);
    sim.edit(|pod| pod.spec.as_mut().unwrap().containers[0].image = Some("other".into()));
    sim.run(4.0);
    assert_eq!(sim.only(&["start"]), ["0 start c/0", "1 start c/1", "3 start c/2"]);
}

/// §4 "Restart decision" and §5.5: policy, exit code, starts within 5 s, phase at the end.
#[test]
fn the_restart_policy_decides_what_follows_an_exit() {
    for (policy, code, starts, phase, state) in [
        ("Always", 0, 2, "Running", "CrashLoopBackOff after Completed:0 (1)"),
        ("Always", 1, 2, "Running", "CrashLoopBackOff after Error:1 (1)"),
        ("OnFailure", 0, 1, "Succeeded", "Completed:0"),
        ("OnFailure", 1, 2, "Running", "CrashLoopBackOff after Error:1 (1)"),
        ("Never", 0, 1, "Succeeded", "Completed:0"),
        ("Never", 1, 1, "Failed", "Error:1"),
    ] {
        let spec = format!("restartPolicy: {policy}, containers: [{{name: c, image: i}}]");
        let mut sim = Sim::new(&spec).script("c", &[ends(1.0, code)]);
        sim.run(5.0);
        let seen = (sim.only(&["start"]).len(), sim.phase(), sim.shows("c"));
        assert_eq!(seen, (starts, phase, state.to_owned()), "{policy} {code}");
    }
}

/// §3.3: init containers one after the other, then the apps in spec order; conditions in the order of §5.
#[test]
fn init_containers_run_in_order_before_the_apps() {
    let spec = "initContainers: [{name: i1, image: i}, {name: i2, image: i}], containers: [{name: b, image: i}, {name: a, image: i}]";
    let mut sim = Sim::new(spec)
        .script("i1", &[ends(1.0, 0)])
        .script("i2", &[ends(2.0, 0)])
        .script("a", &[serves()])
        .script("b", &[serves()]);
    sim.run(0.5);
    assert_eq!(sim.shows("i2"), "PodInitializing", "§4: for init containers too");
    assert_eq!(
        sim.condition("Initialized"),
        "False ContainersNotInitialized containers with incomplete status: [i1 i2]"
    );
    assert_eq!(sim.condition("ContainersReady"), "False ContainersNotReady containers with unready status: [b a]");
    sim.run(10.0);
    assert_eq!(sim.only(&["start"]), ["0 start i1/0", "1 start i2/0", "3 start b/0", "3 start a/0"]);
    assert_eq!(
        sim.only(&["condition"]),
        [
            "0 condition PodReadyToStartContainers=False",
            "0 condition Initialized=False",
            "0 condition Ready=False",
            "0 condition ContainersReady=False",
            "0 condition PodScheduled=True",
            "0 condition PodReadyToStartContainers=True",
            "3 condition Initialized=True",
            "3 condition Ready=True",
            "3 condition ContainersReady=True",
        ]
    );
    assert_eq!(sim.only(&["phase"]), ["0 phase Pending", "3 phase Running"]);
    let names: Vec<&str> =
        sim.observed.status.container_statuses.iter().flatten().map(|status| status.name.as_str()).collect();
    assert_eq!(names, ["a", "b"], "§4: sorted by name");
    let i1 = sim.container("i1");
    assert_eq!((i1.ready, i1.started), (true, Some(false)));
}

/// §4: a plain init container is restarted on failure unless the policy is Never; then the pod fails.
#[test]
fn a_failing_init_container_is_retried_or_fails_the_pod() {
    let spec = |policy| {
        format!("restartPolicy: {policy}, initContainers: [{{name: i, image: i}}], containers: [{{name: a, image: i}}]")
    };
    let scripted = |policy| Sim::new(&spec(policy)).script("i", &[ends(1.0, 1), ends(1.0, 0)]).script("a", &[serves()]);
    for policy in ["Always", "OnFailure"] {
        let mut sim = scripted(policy);
        sim.run(5.0);
        assert_eq!(sim.only(&["start"]), ["0 start i/0", "1 start i/1", "2 start a/0"], "{policy}");
        assert_eq!(sim.phase(), "Running");
    }
    let mut sim = scripted("Never");
    sim.run(5.0);
    assert_eq!(sim.only(&["start"]), ["0 start i/0"]);
    assert_eq!((sim.phase(), sim.shows("i"), sim.shows("a")), ("Failed", "Error:1".into(), "PodInitializing".into()));
    let mut sim = Sim::new(&spec("Always")).script("i", &[ends(1.0, 1)]);
    sim.run(5.0);
    assert_eq!((sim.phase(), sim.shows("i")), ("Pending", "CrashLoopBackOff after Error:1 (1)".into()), "§5");
}

/// §3.3: the next init container waits for a sidecar to be started, not for its end; it restarts under any policy,
/// also while later init containers run.
#[test]
fn a_sidecar_gates_on_started_and_always_restarts() {
    let spec = "restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}, {name: i, image: i}], containers: [{name: a, image: i}]";
    let mut sim =
        Sim::new(spec).script("s", &[ends(1.0, 0), serves()]).script("i", &[ends(3.0, 0)]).script("a", &[ends(2.0, 0)]);
    sim.run(4.0);
    assert_eq!(sim.only(&["start"]), ["0 start s/0", "0 start i/0", "1 start s/1", "3 start a/0"]);
    assert_eq!(sim.phase(), "Running");
    sim.run(60.0);
    assert_eq!(sim.only(&["term", "exit s/1"]), ["5 term s/1", "5 exit s/1 0"], "§3.5: stopped once the apps are done");
    assert_eq!(sim.phase(), "Succeeded");
}

/// §3.4: a failing start doesn't stop later ones; §4: config errors create no instance and are retried under Never.
#[test]
fn a_config_error_is_retried_and_never_counts() {
    let spec = "restartPolicy: Never, containers: [{name: a, image: i}, {name: b, image: i}]";
    let config = Program::Fails { reason: StartFailureReason::Config, created: false };
    let mut sim = Sim::new(spec).script("a", &[config]).script("b", &[serves()]);
    sim.run(15.0);
    assert_eq!(sim.only(&["start"]), ["0 start a/0", "0 start b/0", "10 start a/0"]);
    assert_eq!((sim.phase(), sim.shows("a")), ("Pending", "CreateContainerConfigError".into()));
    assert_eq!(sim.posted(&["Failed"]), ["0 Failed Error: no such program", "10 Failed Error: no such program"]);
}

/// §4: a failed start made an instance: exit 128, counts, backs off; final under Never.
#[test]
fn a_start_error_counts_as_an_exit() {
    let run = Program::Fails { reason: StartFailureReason::Run, created: true };
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", std::slice::from_ref(&run));
    sim.run(15.0);
    assert_eq!(sim.only(&["start"]), ["0 start c/0", "0 start c/1", "10 start c/2"]);
    assert_eq!(sim.shows("c"), "CrashLoopBackOff after StartError:128 (2)");
    assert_eq!(sim.only(&["state"])[1], "0 state c RunContainerError after StartError:128");
    let mut sim = Sim::new("restartPolicy: Never, containers: [{name: c, image: i}]").script("c", &[run]);
    sim.run(15.0);
    assert_eq!((sim.phase(), sim.shows("c")), ("Failed", "StartError:128".into()));
}

/// §6 and §10: a pull backs off per image and heals; under Never too.
#[test]
fn a_failing_pull_backs_off_and_heals() {
    let spec = "restartPolicy: Never, containers: [{name: a, image: x}, {name: b, image: x}]";
    let mut sim = Sim::new(spec).script("a", &[serves()]).script("b", &[serves()]).failing_pulls("x", 2);
    sim.run(5.0);
    assert_eq!((sim.shows("a"), sim.shows("b")), ("ImagePullBackOff".into(), "ImagePullBackOff".into()));
    let message = sim.container("a").state.as_ref().unwrap().waiting.as_ref().unwrap().message.clone();
    assert_eq!(message.unwrap(), "Back-off pulling image \"x\": ErrImagePull: not found");
    assert_eq!(
        sim.only(&["state a"]),
        ["0 state a ContainerCreating", "0 state a ErrImagePull", "0 state a ImagePullBackOff"]
    );
    let posted = sim.events.iter().filter(|(_, event)| event.field_path.as_deref() == Some("spec.containers{a}"));
    let posted: Vec<String> = posted.map(|(_, event)| format!("{} {}", event.reason, event.message)).collect();
    assert_eq!(
        posted,
        [
            "Failed Failed to pull image \"x\": not found",
            "Failed Error: ErrImagePull",
            "BackOff Back-off pulling image \"x\"",
            "Failed Error: ImagePullBackOff",
        ]
    );
    sim.run(40.0);
    assert_eq!(sim.only(&["pull"]), ["0 pull a", "10 pull a", "30 pull a", "30 pull b"]);
    assert_eq!(sim.phase(), "Running");
    assert_eq!(sim.container("a").image, "x:latest");
}

/// §12: volumes come before everything; retried from 500 ms doubling; the reason stays ContainerCreating.
#[test]
fn volumes_that_fail_are_retried() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.failing_mounts = 3;
    sim.run(2.0);
    assert_eq!((sim.phase(), sim.shows("c")), ("Pending", "ContainerCreating".into()));
    assert_eq!(sim.condition("PodReadyToStartContainers"), "False");
    assert_eq!(sim.condition("Initialized"), "True");
    sim.run(10.0);
    assert_eq!(sim.only(&["mount", "sandbox"]), ["0 mount", "0.5 mount", "1.5 mount", "3.5 mount", "3.5 sandbox"]);
    assert_eq!(
        sim.posted(&["FailedMount"])[0],
        "0 FailedMount MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found"
    );
    assert_eq!(sim.phase(), "Running");
}

/// §3.4: one start at a time, in spec order; the pod is Pending until all were started (§5.3).
#[test]
fn apps_start_one_after_the_other() {
    let mut sim = Sim::new("containers: [{name: b, image: i}, {name: a, image: i}]")
        .script("a", &[serves()])
        .script("b", &[serves()]);
    sim.pull_seconds = 2.0;
    sim.start_seconds = 1.0;
    sim.run(4.0);
    assert_eq!(
        (sim.phase(), sim.shows("b"), sim.shows("a")),
        ("Pending", "Running".into(), "ContainerCreating".into())
    );
    sim.run(10.0);
    assert_eq!(sim.only(&["pull", "start"]), ["0 pull b", "2 start b/0", "3 pull a", "5 start a/0"]);
    assert_eq!(sim.only(&["phase"]), ["0 phase Pending", "6 phase Running"]);
}

/// §4: container-level restart rules come before the policies.
#[test]
fn a_restart_rule_restarts_under_never() {
    let spec = "restartPolicy: Never, containers: [{name: c, image: i, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]}]";
    let mut sim = Sim::new(spec).script("c", &[ends(1.0, 42), ends(1.0, 1)]);
    sim.run(10.0);
    assert_eq!(sim.only(&["start"]), ["0 start c/0", "1 start c/1"]);
    assert_eq!((sim.phase(), sim.shows("c")), ("Failed", "Error:1 after Error:42 (1)".into()));
}

/// §15: what is posted for a container that starts.
#[test]
fn a_start_is_told_by_events() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(1.0);
    let posted: Vec<String> =
        sim.events.iter().map(|(_, event)| format!("{} {}", event.reason, event.message)).collect();
    assert_eq!(
        posted,
        [
            "Pulled Container image \"i\" already present on machine and can be accessed by the pod",
            "Created Container created",
            "Started Container started",
        ]
    );
}

/// §4: one dead instance is kept besides the current one.
#[test]
fn older_dead_instances_are_removed() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.0, 1)]);
    sim.run(40.0);
    assert_eq!(sim.only(&["remove"]), ["12 remove c/0", "33 remove c/1"]);
}

/// §5: conditions others own come first and readiness gates ask them.
#[test]
fn readiness_gates_ask_foreign_conditions() {
    let mut sim =
        Sim::new("readinessGates: [{conditionType: g}], containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(1.0);
    assert_eq!(
        sim.condition("Ready"),
        "False ReadinessGatesNotReady corresponding condition of pod readiness gate \"g\" does not exist."
    );
    for (status, expected) in [
        ("False", "False ReadinessGatesNotReady the status of pod readiness gate \"g\" is not \"True\", but False"),
        ("True", "True"),
    ] {
        sim.edit(|pod| {
            let yaml = format!("{{conditions: [{{type: g, status: '{status}'}}]}}");
            pod.status = Some(serde_yaml::from_str(&yaml).unwrap());
        });
        sim.run(2.0);
        assert_eq!(sim.condition("Ready"), expected);
    }
    let first = &sim.observed.status.conditions.as_ref().unwrap()[0];
    assert_eq!(first.type_, "g");
}

/// §5: status fields of a running pod, whole seconds, transition times that move only with the status.
#[test]
fn a_running_pod_shows_addresses_and_times() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.5, 1)]);
    sim.run(20.0);
    let status = &sim.observed.status;
    let yaml = serde_json::to_value(&**status).unwrap();
    assert_eq!(yaml["podIP"], "10.0.0.2");
    assert_eq!(yaml["hostIP"], "192.0.2.1");
    assert_eq!(yaml["qosClass"], "BestEffort");
    assert_eq!(yaml["observedGeneration"], 1);
    assert_eq!(yaml["startTime"], "2027-01-15T08:00:00Z");
    let conditions = status.conditions.as_ref().unwrap();
    let time = |type_: &str| {
        let condition = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        condition.last_transition_time.as_ref().unwrap().0.as_second() - 1_800_000_000
    };
    assert_eq!(
        (time("PodScheduled"), time("Ready")),
        (0, 14),
        "exit at 14.5 s: {:?}",
        sim.only(&["condition", "exit"])
    );
    let last = status.container_statuses.as_ref().unwrap()[0].last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(last.finished_at.as_ref().unwrap().0.subsec_nanosecond(), 0);
}

/// §10: the other ways not to have an image; retried every 10 s without back-off.
#[test]
fn an_image_that_cannot_be_had_names_its_reason() {
    for (failure, reason, message, event) in [
        (
            ImageFailure::NeverPull,
            "ErrImageNeverPull",
            "Container image \"x\" is not present with pull policy of Never",
            "ErrImageNeverPull",
        ),
        (
            ImageFailure::InvalidName("invalid reference format".into()),
            "InvalidImageName",
            "Failed to apply default image tag \"x\": invalid reference format",
            "InspectFailed",
        ),
        (
            ImageFailure::Inspect("disk error".into()),
            "ImageInspectError",
            "Failed to inspect image \"x\": disk error",
            "InspectFailed",
        ),
    ] {
        let mut sim =
            Sim::new("containers: [{name: c, image: x}]").script("c", &[serves()]).failing_images("x", 2, failure);
        sim.run(5.0);
        assert_eq!(sim.only(&["state c"])[1], format!("0 state c {reason}"));
        let posted = [format!("0 {event} {message}"), format!("0 Failed Error: {reason}")];
        assert_eq!(sim.posted(&[event, "Failed"]), posted);
        sim.run(25.0);
        assert_eq!(sim.only(&["pull"]), ["0 pull c", "10 pull c", "20 pull c"]);
        assert_eq!(sim.phase(), "Running");
    }
}

/// §10: what kubelet knows beside `ErrImagePull` backs off alike, and the reason stays in the message.
#[test]
fn a_registry_that_does_not_answer_and_a_missing_signature_are_told_apart() {
    for (failure, reason, message) in [
        (
            ImageFailure::RegistryUnavailable("cannot connect".into()),
            "RegistryUnavailable",
            "image pull failed for x because the registry is unavailable: cannot connect",
        ),
        (
            ImageFailure::Signature("no signature".into()),
            "SignatureValidationFailed",
            "image pull failed for x because the signature validation failed: no signature",
        ),
    ] {
        let event = match &failure {
            ImageFailure::RegistryUnavailable(cause) | ImageFailure::Signature(cause) => {
                format!("0 Failed Failed to pull image \"x\": {reason}: {cause}")
            }
            other => panic!("{other:?}"),
        };
        let mut sim =
            Sim::new("containers: [{name: c, image: x}]").script("c", &[serves()]).failing_images("x", 2, failure);
        sim.run(5.0);
        let states = ["ContainerCreating", reason, "ImagePullBackOff"].map(|reason| format!("0 state c {reason}"));
        assert_eq!(sim.only(&["state"]), states);
        assert_eq!(sim.posted(&["Failed"])[..2], [event, format!("0 Failed Error: {reason}")]);
        let waiting = sim.container("c").state.as_ref().unwrap().waiting.clone().unwrap();
        let expected = format!("Back-off pulling image \"x\": {reason}: {message}");
        assert_eq!((waiting.reason.as_deref(), waiting.message), (Some("ImagePullBackOff"), Some(expected)));
        sim.run(30.0);
        assert_eq!(sim.only(&["pull"]), ["0 pull c", "10 pull c", "30 pull c"]);
        assert_eq!(sim.phase(), "Running");
    }
}

/// What a user should know of an image is an event of its container.
#[test]
fn what_is_to_be_known_of_an_image_is_told() {
    for (note, reason) in [
        (ImageNote::BuiltIn("stands in".into()), "BuiltInImage"),
        (ImageNote::Unpacked("2 files".into()), "ImageUnpacked"),
    ] {
        let message = match &note {
            ImageNote::BuiltIn(message) | ImageNote::Unpacked(message) => message.clone(),
        };
        let mut sim = Sim::new("containers: [{name: c, image: x}]").script("c", &[serves()]);
        sim.pull_seconds = 5.0;
        sim.run(1.0);
        let (resolved, image_id) = ("x:latest".into(), "sha256:1".into());
        sim.tell(Event::ImagePresent { container: "c".into(), resolved, image_id, pulled: None, note: Some(note) })
            .run(1.0);
        assert_eq!(sim.posted(&[reason]), [format!("1 {reason} {message}")]);
    }
}

/// §10: Secrets for pulling that are not there are told, and the pull goes on without them.
#[test]
fn missing_secrets_for_pulling_are_told() {
    let mut sim = Sim::new("containers: [{name: c, image: x}]").script("c", &[serves()]);
    sim.run(5.0);
    let missing_secrets = vec!["one".into(), "two".into()];
    sim.tell(Event::PullStarted { container: "c".into(), missing_secrets }).run(1.0);
    let expected = "5 FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (one, two); attempting to \
                    pull the image may not succeed.";
    assert_eq!(sim.posted(&["FailedToRetrieveImagePullSecret"]), [expected]);
}

/// §15 FailedCreatePodSandBox, §3: retried after 10 s.
#[test]
fn a_sandbox_that_fails_is_retried() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.failing_sandboxes = 1;
    sim.run(15.0);
    assert_eq!(sim.only(&["sandbox", "start"]), ["0 sandbox", "10 sandbox", "10 start c/0"]);
    let expected = "0 FailedCreatePodSandBox Failed to create pod sandbox: no address is free";
    assert_eq!(sim.posted(&["FailedCreatePodSandBox"]), [expected]);
}

/// §3.4, §19: a start that failed is tried again after 10 s, and at once with another image.
#[test]
fn another_image_does_not_wait_for_the_failure_of_the_last() {
    let broken = Program::Fails { reason: StartFailureReason::Config, created: false };
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[broken]);
    sim.run(12.0);
    sim.edit(|pod| pod.spec.as_mut().unwrap().containers[0].image = Some("other".into()));
    sim.run(15.0);
    assert_eq!(sim.only(&["start"]), ["0 start c/0", "10 start c/0", "12 start c/0"]);
}

/// §4: the runtime's reason and message reach the status; a container out of memory is told apart.
#[test]
fn the_runtimes_reason_and_message_are_shown() {
    let mut sim = Sim::new("restartPolicy: Never, containers: [{name: c, image: i}]").script("c", &[serves()]);
    sim.run(1.0);
    let at = "2027-01-15T08:00:01.9Z".parse().unwrap();
    let (reason, message) = (Some("OOMKilled".into()), Some("memory limit reached".into()));
    sim.tell(Event::ContainerExited { container: "c".into(), attempt: 0, exit_code: 137, reason, message, at })
        .run(2.0);
    assert_eq!((sim.shows("c"), sim.phase()), ("OOMKilled:137".into(), "Failed"));
    let end = sim.container("c").state.as_ref().unwrap().terminated.clone().unwrap();
    assert_eq!(end.message.as_deref(), Some("memory limit reached"));
}

/// Events about another instance, or repeated, change nothing.
#[test]
fn stale_events_change_nothing() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[ends(1.0, 1), serves()]);
    sim.run(5.0);
    // That nothing is to be planned is forgotten with every event, whatever it is about.
    sim.observed.settled = None;
    let before = format!("{:?}", sim.observed);
    let now = "2027-01-15T08:00:06Z".parse().unwrap();
    for event in [
        Event::VolumesReady,
        Event::SandboxReady { ips: vec![] },
        Event::SandboxStopped,
        Event::PullStarted { container: "c".into(), missing_secrets: Vec::new() },
        Event::ImageFailed { container: "c".into(), failure: ImageFailure::NeverPull },
        Event::ContainerStarted { container: "c".into(), attempt: 1, id: "x".into(), at: now },
        Event::ContainerExited {
            container: "c".into(),
            attempt: 0,
            exit_code: 1,
            reason: None,
            message: None,
            at: now,
        },
        Event::ContainerExited {
            container: "none".into(),
            attempt: 0,
            exit_code: 1,
            reason: None,
            message: None,
            at: now,
        },
    ] {
        sim.observed.apply(event, now);
    }
    assert_eq!(format!("{:?}", sim.observed), before);
}

/// §5: a pod that is finished already is left alone.
#[test]
fn a_finished_pod_is_not_run_again() {
    let mut sim = Sim::new("containers: [{name: c, image: i}]").script("c", &[serves()]);
    let status = serde_yaml::from_str("{phase: Failed, reason: Evicted}").unwrap();
    sim.observed = Observed::new(Default::default(), status);
    sim.run(10.0);
    assert_eq!(sim.timeline, []);
    assert!(matches!(sim.lifecycle, Lifecycle::Terminated { .. }));
    assert_eq!(sim.observed.status.reason.as_deref(), Some("Evicted"));
}
