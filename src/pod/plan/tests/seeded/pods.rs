//! Pods nobody would write by hand: every kind of container, policy, rule, probe and hook in any combination that
//! validation lets through.

use fastrand::Rng;
use k8s_openapi::api::core::v1::{
    Container, ContainerResizePolicy, ContainerRestartRule, ContainerRestartRuleOnExitCodes, EmptyDirVolumeSource,
    ExecAction, Lifecycle, LifecycleHandler, Pod, PodReadinessGate, PodSpec, Probe, ResourceRequirements, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Few images, so that containers share the back-off of their pulls.
const IMAGES: [&str; 3] = ["x", "y", "z"];
/// More CPU than a node has.
pub(super) const EXCESS: &str = "9";
/// Names of app containers, which the status sorts.
const APPS: [&str; 3] = ["web", "api", "job"];
/// Exit codes that programs end with and rules ask for.
pub(super) const EXIT_CODES: [i32; 6] = [0, 1, 3, 42, 137, 143];

/// Whether something happens that does so `percent` times in a hundred.
pub(super) fn chance(rng: &mut Rng, percent: u8) -> bool {
    rng.u8(0..100) < percent
}

/// One of `values`.
pub(super) fn pick<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(0..values.len())]
}

fn some<T>(rng: &mut Rng, percent: u8, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    chance(rng, percent).then(|| make(rng))
}

/// A pod as the agent gets it: validated, not necessarily with every default filled in.
pub(super) fn pod(rng: &mut Rng) -> Pod {
    let volumes = rng.usize(0..3);
    let mut init = Vec::new();
    for (prefix, sidecar) in [("init", false), ("side", true)] {
        for number in 0..pick(rng, &[0, 0, 1, 1, 2, 3]) {
            let mut container = container(rng, format!("{prefix}{number}"), volumes);
            if sidecar {
                container.restart_policy = Some("Always".into());
                container.restart_policy_rules = some(rng, 10, |rng| vec![rule(rng)]);
                serve(rng, &mut container);
            } else {
                choose_policy(rng, &mut container, &["OnFailure", "Never"]);
            }
            init.insert(rng.usize(0..=init.len()), container);
        }
    }
    let mut names = APPS;
    rng.shuffle(&mut names);
    let apps = names.into_iter().take(rng.usize(1..=3)).map(|name| {
        let mut container = container(rng, name.into(), volumes);
        choose_policy(rng, &mut container, &["Always", "OnFailure", "Never"]);
        serve(rng, &mut container);
        container
    });
    let spec = PodSpec {
        containers: apps.collect(),
        init_containers: Some(init).filter(|init| !init.is_empty()),
        restart_policy: pick(rng, &[None, Some("Always"), Some("OnFailure"), Some("Never")]).map(Into::into),
        termination_grace_period_seconds: pick(rng, &[None, Some(0), Some(1), Some(5), Some(30), Some(600)]),
        active_deadline_seconds: some(rng, 12, |rng| rng.i64(1..200)),
        readiness_gates: some(rng, 15, |rng| gates(rng.usize(1..3))),
        host_network: some(rng, 5, |_| true),
        volumes: Some((0..volumes).map(volume).collect()),
        ..PodSpec::default()
    };
    let named = |name: &str| Some(name.to_owned());
    let metadata = ObjectMeta {
        name: named("p"),
        namespace: named("ns"),
        uid: named("u"),
        generation: Some(1),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: Some(spec), status: None }
}

fn gates(count: usize) -> Vec<PodReadinessGate> {
    (0..count).map(|number| PodReadinessGate { condition_type: format!("example.com/gate{number}") }).collect()
}

fn volume(number: usize) -> Volume {
    let empty_dir = Some(EmptyDirVolumeSource::default());
    Volume { name: format!("v{number}"), empty_dir, ..Volume::default() }
}

fn container(rng: &mut Rng, name: String, volumes: usize) -> Container {
    let mounts = (0..volumes).filter(|_| rng.bool()).map(|number| VolumeMount {
        name: format!("v{number}"),
        mount_path: format!("/v{number}"),
        read_only: Some(number == 1),
        ..VolumeMount::default()
    });
    Container {
        name,
        volume_mounts: Some(mounts.collect()),
        image: Some(pick(rng, &IMAGES).into()),
        image_pull_policy: pick(rng, &[None, Some("Always"), Some("IfNotPresent"), Some("Never")]).map(Into::into),
        resources: some(rng, 40, resources),
        resize_policy: some(rng, 30, resize_policy),
        ..Container::default()
    }
}

/// An image for a container whose image is changed.
pub(super) fn image(rng: &mut Rng) -> String {
    pick(rng, &IMAGES).into()
}

/// Requests and limits, of which the largest are more than a node has.
pub(super) fn resources(rng: &mut Rng) -> ResourceRequirements {
    let mut quantities = || {
        let cpu = ("cpu".to_owned(), Quantity(pick(rng, &["100m", "200m", "0.2", EXCESS]).into()));
        let memory = ("memory".to_owned(), Quantity(pick(rng, &["64Mi", "128Mi"]).into()));
        [cpu, memory].into_iter().collect()
    };
    ResourceRequirements { requests: Some(quantities()), limits: Some(quantities()), ..Default::default() }
}

fn resize_policy(rng: &mut Rng) -> Vec<ContainerResizePolicy> {
    let policy =
        |name: &str, policy: &str| ContainerResizePolicy { resource_name: name.into(), restart_policy: policy.into() };
    let policies = ["NotRequired", "RestartContainer"];
    vec![policy("cpu", pick(rng, &policies)), policy("memory", pick(rng, &policies))]
}

/// Sometimes a policy of the container's own, and rules beside it.
fn choose_policy(rng: &mut Rng, container: &mut Container, policies: &[&str]) {
    if !chance(rng, 35) {
        return;
    }
    container.restart_policy = Some(pick(rng, policies).into());
    if rng.bool() {
        container.restart_policy_rules = Some((0..rng.usize(1..3)).map(|_| rule(rng)).collect());
    }
}

fn rule(rng: &mut Rng) -> ContainerRestartRule {
    let values = (0..rng.usize(1..3)).map(|_| pick(rng, &EXIT_CODES)).collect();
    ContainerRestartRule {
        action: pick(rng, &["Restart", "RestartAllContainers"]).into(),
        exit_codes: Some(ContainerRestartRuleOnExitCodes {
            operator: pick(rng, &["In", "In", "NotIn"]).into(),
            values: Some(values),
        }),
    }
}

/// What containers have that are to serve: probes and hooks.
fn serve(rng: &mut Rng, container: &mut Container) {
    container.startup_probe = some(rng, 20, |rng| probe(rng, true));
    container.readiness_probe = some(rng, 25, |rng| probe(rng, false));
    container.liveness_probe = some(rng, 25, |rng| probe(rng, true));
    let post_start = some(rng, 20, handler);
    let pre_stop = some(rng, 25, handler);
    if post_start.is_some() || pre_stop.is_some() {
        container.lifecycle = Some(Lifecycle { post_start, pre_stop, stop_signal: None });
    }
}

fn probe(rng: &mut Rng, kills: bool) -> Probe {
    Probe {
        exec: Some(exec()),
        termination_grace_period_seconds: some(rng, 40, |rng| pick(rng, &[1, 3, 60])).filter(|_| kills),
        ..Probe::default()
    }
}

fn handler(_: &mut Rng) -> LifecycleHandler {
    LifecycleHandler { exec: Some(exec()), ..LifecycleHandler::default() }
}

fn exec() -> ExecAction {
    ExecAction { command: Some(vec!["true".into()]) }
}
