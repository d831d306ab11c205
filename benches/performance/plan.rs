//! Planning for pods of which nothing has changed, as a node does whenever something stirs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use husk::base::clock::Timestamp;
use husk::pod::{Action, Desired, Event, NodeFacts, Observed, ProbeKind, plan};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::programs::Programs;
use crate::report::{Aim, Report, Value};
use crate::workload::now;

const ROUNDS: u32 = 200_000;

const AIM: Aim = Aim::TimeAtMost(Duration::from_micros(2));

const ONE: &str = "{metadata: {name: p, namespace: ns, uid: u, generation: 1}, spec: {containers: [
    {name: web, image: nginx, readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}}]}}";
const SIX: &str = "{metadata: {name: p, namespace: ns, uid: u, generation: 1}, spec: {
    initContainers: [{name: a, image: i}, {name: b, image: i, restartPolicy: Always}],
    containers: [{name: c, image: i}, {name: d, image: i}, {name: e, image: i}, {name: f, image: i}]}}";

pub(crate) fn measure(_: &Programs, report: &mut Report) -> anyhow::Result<()> {
    for (what, yaml) in [("a pod of one probed container", ONE), ("a pod of six containers", SIX)] {
        let pod: Pod = serde_yaml::from_str(yaml)?;
        let nanos = unchanged(pod);
        report.add_alone(&format!("plan of {what}, unchanged"), Value::nanos(nanos), Some(AIM));
    }
    Ok(())
}

/// Nanoseconds that one plan takes once the pod is running and at rest.
fn unchanged(pod: Pod) -> f64 {
    let desired = Desired { pod: Arc::new(pod) };
    let mut observed = Observed::new(NodeFacts::default(), PodStatus::default());
    let at = Timestamp::now();
    loop {
        let plan = plan(&desired, &observed, at);
        observed.record(&plan, at);
        if plan.actions.is_empty() && plan.wake_at != Some(at) {
            break;
        }
        for event in plan.actions.into_iter().flat_map(|action| answers(action, at)) {
            observed.apply(event, at);
        }
    }
    let begun = now();
    for _ in 0..ROUNDS {
        black_box(plan(black_box(&desired), black_box(&observed), at));
    }
    begun.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}

/// What a node reports of an action that goes well.
fn answers(action: Action, at: Timestamp) -> Vec<Event> {
    match action {
        Action::SetUpVolumes => vec![Event::VolumesReady],
        Action::CreateSandbox => vec![Event::SandboxReady { ips: vec!["10.88.0.2".to_owned()] }],
        Action::PullImage { container, .. } => vec![Event::ImagePresent {
            container,
            resolved: "docker.io/library/nginx:latest".to_owned(),
            image_id: "sha256:0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
            pulled: None,
            note: None,
        }],
        Action::StartContainer { container, attempt, .. } if container == "a" => {
            let started = Event::ContainerStarted { container: container.clone(), attempt, id: "wasm://1".into(), at };
            let (reason, message) = (None, None);
            vec![started, Event::ContainerExited { container, attempt, exit_code: 0, reason, message, at }]
        }
        Action::StartContainer { container, attempt, .. } => {
            vec![Event::ContainerStarted { container, attempt, id: "wasm://1".into(), at }]
        }
        Action::StartProbes { container, attempt } => {
            vec![Event::ProbeResult { container, attempt, kind: ProbeKind::Readiness, success: true }]
        }
        _ => Vec::new(),
    }
}
