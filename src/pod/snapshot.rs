//! What of a pod outlives the agent that ran it, and how another agent goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use serde::{Deserialize, Serialize};

use super::instance::{ContainerRecord, Exit, HookState, Instance, InstanceState, ProbeVerdicts};
use super::observed::{Lifecycle, NodeFacts, Observed, SandboxState, TerminationCause, VolumesState};
use super::phase;
use super::status::UNKNOWN_EXIT_CODE;
use crate::base::clock::Timestamp;

/// `reason` of a container that is gone without anybody having seen its end.
pub(super) const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// `message` of such a container (kubelet v1.36 `convertStatusToAPIStatus`).
const UNKNOWN_MESSAGE: &str =
    "The container could not be located when the pod was deleted.  The container used to be Running";

/// What has to be known of a pod in order to go on with it. Back-offs are not part of it: like kubelet's, they end with
/// the agent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PodSnapshot {
    /// The status last published.
    pub status: PodStatus,
    /// How often the pod had started over.
    epoch: u32,
    /// Whether it had a sandbox.
    sandbox: bool,
    /// Whether its volumes were set up, or were about to be.
    volumes: bool,
    /// Why it was being terminated, if it was.
    ending: Option<TerminationCause>,
    /// Why it was being evicted, if it was.
    #[serde(default)]
    eviction: Option<String>,
    /// The instances of its containers.
    containers: BTreeMap<String, Vec<Instance>>,
}

/// A container that was being started: from then on its program may have done something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The container.
    pub container: String,
    /// Which of its instances.
    pub attempt: u32,
    /// The instance's identifier, as `<runtime>://<id>`.
    pub id: String,
    /// When.
    pub at: Timestamp,
}

/// An instance that ran when an agent was seen last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftInstance {
    /// The container.
    pub container: String,
    /// Which of its instances.
    pub attempt: u32,
    /// The instance's identifier, as `<runtime>://<id>`.
    pub id: String,
    /// When it was started.
    pub started_at: Timestamp,
}

/// A [`PodSnapshot`] on its way out, without a copy of anything.
#[derive(Debug, Serialize)]
pub struct Snapshot<'a> {
    status: &'a PodStatus,
    epoch: u32,
    sandbox: bool,
    volumes: bool,
    ending: Option<TerminationCause>,
    eviction: Option<&'a str>,
    containers: BTreeMap<&'a str, Vec<&'a Instance>>,
}

/// Tells whether a pod has changed in a way that another agent has to know, at less cost than comparing snapshots. A
/// change of the image or the resources of an instance is one of the status too.
#[derive(Debug, Clone)]
pub struct SnapshotMark {
    /// `None` before anything of the pod has run: what changes until then comes about again by itself.
    status: Option<Arc<PodStatus>>,
    epoch: u32,
    sandbox: bool,
    volumes: bool,
    ending: Option<TerminationCause>,
    instances: Vec<(u32, bool, ProbeVerdicts)>,
}

impl PartialEq for SnapshotMark {
    fn eq(&self, other: &Self) -> bool {
        let status = |mark: &Self| mark.status.as_ref().map(Arc::as_ptr);
        let rest = |mark: &Self| (mark.epoch, mark.sandbox, mark.volumes, mark.ending);
        status(self) == status(other) && rest(self) == rest(other) && self.instances == other.instances
    }
}

/// What of a pod is still there when another agent takes it up. Of WebAssembly containers, nothing is.
#[derive(Debug, Clone, Default)]
pub struct Survivors {
    /// The pod's addresses, if its sandbox is.
    pub sandbox: Option<Vec<String>>,
    /// The IDs of the containers that run, as `<runtime>://<id>`.
    pub containers: Vec<String>,
}

impl PodSnapshot {
    /// What can be told from the published status alone, if nothing else is left: what ran is known, and how often, but
    /// not whether files are left.
    pub fn of_status(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let images = images(pod);
        let all = status.init_container_statuses.iter().chain(&status.container_statuses);
        let all = all.chain(&status.ephemeral_container_statuses).flatten();
        let containers = all.filter_map(|container| {
            let image = images.get(container.name.as_str()).copied().unwrap_or(&container.image);
            let instances = instances_of(container, image);
            (!instances.is_empty()).then(|| (container.name.clone(), instances))
        });
        let containers: BTreeMap<_, _> = containers.collect();
        let has_run = !containers.is_empty() || status.pod_ip.is_some();
        Self { status, epoch: 0, sandbox: has_run, volumes: has_run, ending: None, eviction: None, containers }
    }

    /// Whether the published status knows of instances that came later: then that is what to go on from.
    pub fn is_behind(&self, status: &PodStatus) -> bool {
        let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        let attempts =
            |name: &str| self.containers.get(name).and_then(|instances| instances.last()).map(|last| last.attempt);
        let mut counts =
            all.filter_map(|container| Some((&container.name, u32::try_from(container.restart_count).ok()?)));
        counts.any(|(name, count)| count > 0 && attempts(name).is_none_or(|attempt| attempt < count))
    }

    /// Takes in that a container was started, if that is not known yet: the agent ended before its pod's owner was told.
    pub fn note(&mut self, begun: Begun, pod: &Pod) {
        let Begun { container, attempt, id, at } = begun;
        let image = images(pod).get(container.as_str()).map(|image| (*image).clone()).unwrap_or_default();
        let instances = self.containers.entry(container).or_default();
        if instances.last().is_some_and(|last| last.attempt >= attempt) {
            return;
        }
        let instance =
            Instance { epoch: self.epoch, ..Instance::new(attempt, InstanceState::Running { id, started_at: at }) };
        instances.push(Instance { spec_image: image.clone(), image, ..instance });
        // There is no container without them.
        (self.sandbox, self.volumes) = (true, true);
    }

    /// The instances that ran when this was taken.
    pub fn running(&self) -> Vec<LeftInstance> {
        let instances = self.containers.iter().flat_map(|(name, all)| all.iter().map(move |instance| (name, instance)));
        let running = instances.filter_map(|(name, instance)| match &instance.state {
            InstanceState::Running { id, started_at } => Some(LeftInstance {
                container: name.clone(),
                attempt: instance.attempt,
                id: id.clone(),
                started_at: *started_at,
            }),
            InstanceState::Starting | InstanceState::Exited(_) => None,
        });
        running.collect()
    }

    /// What would be there if all of it were.
    pub fn all(&self) -> Survivors {
        let ips = self.status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
        let containers = self.running().into_iter().map(|instance| instance.id).collect();
        Survivors { sandbox: self.sandbox.then_some(ips), containers }
    }

    /// Whether nothing of the pod is to be run again.
    pub fn is_finished(&self) -> bool {
        self.status.phase.as_deref().is_some_and(phase::is_terminal)
    }
}

impl Observed {
    /// What another agent would have to know. Of a start that is under way, nothing: it may never come to be.
    pub fn snapshot(&self) -> Snapshot<'_> {
        let instances = |(name, record)| (String::as_str(name), settled_instances(record).collect());
        Snapshot {
            status: &self.status,
            epoch: self.epoch,
            sandbox: self.has_sandbox(),
            volumes: self.has_volumes(),
            ending: self.ending_cause(),
            eviction: self.eviction.as_deref(),
            containers: self.containers.iter().map(instances).collect(),
        }
    }

    /// What tells this snapshot from others of the same pod.
    pub fn snapshot_mark(&self) -> SnapshotMark {
        let instances = self.containers.values().flat_map(settled_instances);
        let instances: Vec<_> = instances.map(|found| (found.attempt, found.is_running(), found.probes)).collect();
        let ending = self.ending_cause();
        let has_run = !instances.is_empty() || ending.is_some();
        SnapshotMark {
            status: has_run.then(|| Arc::clone(&self.status)),
            epoch: self.epoch,
            sandbox: has_run && self.has_sandbox(),
            volumes: self.has_volumes(),
            ending,
            instances,
        }
    }

    fn has_sandbox(&self) -> bool {
        matches!(self.sandbox, SandboxState::Ready { .. } | SandboxState::Lost | SandboxState::Stopping)
    }

    fn has_volumes(&self) -> bool {
        !matches!(self.volumes, VolumesState::Absent | VolumesState::TornDown)
    }

    fn ending_cause(&self) -> Option<TerminationCause> {
        match self.lifecycle {
            Lifecycle::Syncing => self.ending,
            Lifecycle::Terminating { cause, .. } | Lifecycle::Terminated { cause } => Some(cause),
        }
    }

    /// A pod that another agent ran. Containers that no longer run have ended in a way nobody knows, and their policies
    /// decide what follows; if the sandbox is gone the pod starts over in a new one. A termination that was in
    /// progress begins anew, with its whole grace period. Volumes are set up again over what is left of them.
    pub fn restore(node: NodeFacts, snapshot: PodSnapshot, survivors: &Survivors, now: Timestamp) -> Self {
        let PodSnapshot { status, epoch, sandbox, volumes, ending, eviction, containers } = snapshot;
        let mut observed = Self::new(node, status);
        let is_alive = |id: &str| survivors.containers.iter().any(|survivor| survivor == id);
        for (name, mut instances) in containers {
            for instance in &mut instances {
                let InstanceState::Running { id, started_at } = &instance.state else { continue };
                if is_alive(id) {
                    // Hooks are run once; nobody knows how far this one came (kubelet v1.36 runs it in `startContainer`).
                    instance.post_start = HookState::Over { at: now };
                } else {
                    instance.state = InstanceState::Exited(unknown_end(id, *started_at, now));
                }
            }
            observed.containers.insert(name, ContainerRecord { instances, ..ContainerRecord::default() });
        }
        observed.epoch = epoch;
        (observed.ending, observed.eviction) = (ending, eviction);
        if volumes {
            observed.volumes = VolumesState::Left;
        }
        match &survivors.sandbox {
            Some(ips) => observed.sandbox = SandboxState::Ready { ips: ips.clone() },
            None if sandbox => {
                observed.sandbox = SandboxState::Lost;
                observed.epoch += 1;
            }
            None => {}
        }
        observed
    }
}

/// The images of a pod's containers, as its spec names them.
fn images(pod: &Pod) -> BTreeMap<&str, &String> {
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    containers.filter_map(|container| Some((container.name.as_str(), container.image.as_ref()?))).collect()
}

/// The instances that the status of a container shows: the current one, and the dead one before it.
fn instances_of(status: &ContainerStatus, spec_image: &str) -> Vec<Instance> {
    let attempt = u32::try_from(status.restart_count).unwrap_or_default();
    let instance = |attempt, state| Instance {
        spec_image: spec_image.to_owned(),
        image: status.image.clone(),
        image_id: status.image_id.clone(),
        resources: status.resources.clone().map(Box::new),
        ..Instance::new(attempt, state)
    };
    let state = status.state.as_ref();
    let current = match state.and_then(|state| state.running.as_ref()) {
        Some(running) => running.started_at.as_ref().map(|started_at| InstanceState::Running {
            id: status.container_id.clone().unwrap_or_default(),
            started_at: started_at.0,
        }),
        None => state.and_then(|state| state.terminated.as_ref()).map(exited),
    };
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(exited);
    match (current, last) {
        (Some(current), Some(last)) if attempt > 0 => vec![instance(attempt - 1, last), instance(attempt, current)],
        (Some(current), _) => vec![instance(attempt, current)],
        // It waits for its restart: the last one is the current one.
        (None, Some(last)) => vec![instance(attempt, last)],
        (None, None) => Vec::new(),
    }
}

fn exited(end: &ContainerStateTerminated) -> InstanceState {
    InstanceState::Exited(Exit {
        id: end.container_id.clone().unwrap_or_default(),
        code: end.exit_code,
        reason: end.reason.clone().unwrap_or_default(),
        message: end.message.clone(),
        started_at: end.started_at.as_ref().map(|time| time.0),
        finished_at: end.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    })
}

/// The instances that run or have run.
fn settled_instances(record: &ContainerRecord) -> impl Iterator<Item = &Instance> {
    record.instances.iter().filter(|instance| instance.state != InstanceState::Starting)
}

fn unknown_end(id: &str, started_at: Timestamp, now: Timestamp) -> Exit {
    Exit {
        id: id.to_owned(),
        code: UNKNOWN_EXIT_CODE,
        reason: STATUS_UNKNOWN.into(),
        message: Some(UNKNOWN_MESSAGE.into()),
        started_at: Some(started_at),
        finished_at: now,
    }
}
