//! Reading a pod's specification: its containers with their kinds, and the few fields planning asks for.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

use super::plan::{ContainerKind, PullPolicy};
use crate::base::clock::Timestamp;

/// `terminationGracePeriodSeconds` where the pod says nothing.
const DEFAULT_GRACE_SECONDS: i64 = 30;

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// A pod and its containers, init containers first, each list in the order of the spec.
pub(super) struct PodView<'a> {
    pub(super) pod: &'a Pod,
    pub(super) spec: &'a PodSpec,
    pub(super) init: Vec<ContainerSpec<'a>>,
    pub(super) apps: Vec<ContainerSpec<'a>>,
    pub(super) ephemeral: Vec<ContainerSpec<'a>>,
}

/// A container of the spec.
#[derive(Clone)]
pub(super) struct ContainerSpec<'a> {
    pub(super) kind: ContainerKind,
    pub(super) container: Cow<'a, Container>,
}

impl<'a> PodView<'a> {
    pub(super) fn new(pod: &'a Pod) -> Self {
        let spec = pod.spec.as_ref().unwrap_or(&NO_SPEC);
        let init = spec.init_containers.iter().flatten();
        let init = init
            .map(|container| ContainerSpec { kind: init_kind(container), container: Cow::Borrowed(container) })
            .collect();
        let apps = spec.containers.iter();
        let apps = apps
            .map(|container| ContainerSpec { kind: ContainerKind::App, container: Cow::Borrowed(container) })
            .collect();
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        let ephemeral = ephemeral
            .map(|container| ContainerSpec {
                kind: ContainerKind::Ephemeral,
                container: Cow::Owned(ephemeral_as_container(container)),
            })
            .collect();
        Self { pod, spec, init, apps, ephemeral }
    }

    /// All containers: init containers, then app containers, then ephemeral ones.
    pub(super) fn all(&self) -> impl Iterator<Item = &ContainerSpec<'a>> {
        self.init.iter().chain(&self.apps).chain(&self.ephemeral)
    }

    pub(super) fn find(&self, name: &str) -> Option<&ContainerSpec<'a>> {
        self.all().find(|spec| spec.name() == name)
    }

    /// Sidecars in start order.
    pub(super) fn sidecars(&self) -> impl Iterator<Item = &ContainerSpec<'a>> {
        self.init.iter().filter(|spec| spec.kind == ContainerKind::Sidecar)
    }

    /// `name_namespace(uid)`, as messages name a pod.
    pub(super) fn full_name(&self) -> String {
        full_name(self.pod)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// The grace period a stop begins with: the deletion's, else the pod's; negative ones count as 1.
    pub(super) fn grace_seconds(&self) -> i64 {
        let deletion = self.pod.metadata.deletion_grace_period_seconds.filter(|_| self.is_deleted());
        let grace = deletion.or(self.spec.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE_SECONDS);
        if grace < 0 { 1 } else { grace }
    }
}

/// `name_namespace(uid)`, as messages name a pod.
pub fn full_name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
    format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid))
}

fn init_kind(container: &Container) -> ContainerKind {
    match container.restart_policy.as_deref() {
        Some("Always") => ContainerKind::Sidecar,
        _ => ContainerKind::Init,
    }
}

/// An ephemeral container as what it has in common with the others, which is all but the container it targets.
pub fn ephemeral_as_container(ephemeral: &EphemeralContainer) -> Container {
    let EphemeralContainer {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        resize_policy,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        target_container_name: _,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    } = ephemeral.clone();
    Container {
        args,
        command,
        env,
        env_from,
        image,
        image_pull_policy,
        lifecycle,
        liveness_probe,
        name,
        ports,
        readiness_probe,
        resize_policy,
        resources,
        restart_policy,
        restart_policy_rules,
        security_context,
        startup_probe,
        stdin,
        stdin_once,
        termination_message_path,
        termination_message_policy,
        tty,
        volume_devices,
        volume_mounts,
        working_dir,
    }
}

impl ContainerSpec<'_> {
    pub(super) fn name(&self) -> &str {
        &self.container.name
    }

    /// Whether it has a `postStart` hook.
    pub(super) fn has_post_start(&self) -> bool {
        self.container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
    }

    /// Whether it has a `preStop` hook.
    pub(super) fn has_pre_stop(&self) -> bool {
        self.container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some())
    }

    /// Whether it has probes, of a kind of container whose probes are run.
    pub(super) fn has_probes(&self) -> bool {
        let container = &self.container;
        matches!(self.kind, ContainerKind::App | ContainerKind::Sidecar)
            && (container.startup_probe.is_some()
                || container.liveness_probe.is_some()
                || container.readiness_probe.is_some())
    }

    pub(super) fn image(&self) -> &str {
        self.container.image.as_deref().unwrap_or("")
    }

    pub(super) fn pull_policy(&self) -> PullPolicy {
        match self.container.image_pull_policy.as_deref() {
            Some("Always") => PullPolicy::Always,
            Some("Never") => PullPolicy::Never,
            _ => PullPolicy::IfNotPresent,
        }
    }

    /// `involvedObject.fieldPath` of events about the container.
    pub(super) fn field_path(&self) -> String {
        let list = match self.kind {
            ContainerKind::App => "containers",
            ContainerKind::Init | ContainerKind::Sidecar => "initContainers",
            ContainerKind::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{}}}", self.name())
    }
}

/// `at` plus `by`, at most the end of time.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `at` plus a number of seconds that a manifest may have chosen.
pub(super) fn later_by_seconds(at: Timestamp, seconds: i64) -> Timestamp {
    later(at, SignedDuration::from_secs(seconds))
}
