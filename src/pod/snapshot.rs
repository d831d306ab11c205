//! What of a pod outlives the agent that ran it, and how another agent goes on from there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodStatus;
use serde::{Deserialize, Serialize};

use super::instance::{ContainerRecord, Exit, Instance, InstanceState};
use super::observed::{Lifecycle, NodeFacts, Observed, SandboxState, TerminationCause};
use super::status::UNKNOWN_EXIT_CODE;
use crate::base::clock::Timestamp;

/// `reason` of a container that is gone without anybody having seen its end.
pub(super) const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";
/// `message` of such a container (kubelet v1.36 `convertStatusToAPIStatus`).
const UNKNOWN_MESSAGE: &str =
    "The container could not be located when the pod was deleted.  The container used to be Running";

/// What has to be known of a pod in order to go on with it. Back-offs are not part of it: like kubelet's, they end with
/// the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodSnapshot {
    /// The status last published.
    pub status: PodStatus,
    /// How often the pod had started over.
    epoch: u32,
    /// Whether it had a sandbox.
    sandbox: bool,
    /// Why it was being terminated, if it was.
    ending: Option<TerminationCause>,
    /// The instances of its containers.
    containers: BTreeMap<String, Vec<Instance>>,
}

/// What of a pod is still there when another agent takes it up. Of WebAssembly containers, nothing is.
#[derive(Debug, Clone, Default)]
pub struct Survivors {
    /// Whether the sandbox is.
    pub sandbox: Option<Vec<String>>,
    /// The IDs of the containers that run, as `<runtime>://<id>`.
    pub containers: Vec<String>,
}

impl Observed {
    /// What another agent would have to know.
    pub fn snapshot(&self) -> PodSnapshot {
        let instances = |(name, record): (&String, &ContainerRecord)| (name.clone(), record.instances.clone());
        PodSnapshot {
            status: PodStatus::clone(&self.status),
            epoch: self.epoch,
            sandbox: matches!(self.sandbox, SandboxState::Ready { .. } | SandboxState::Lost),
            ending: match self.lifecycle {
                Lifecycle::Syncing => self.ending,
                Lifecycle::Terminating { cause, .. } | Lifecycle::Terminated { cause } => Some(cause),
            },
            containers: self.containers.iter().map(instances).collect(),
        }
    }

    /// A pod that another agent ran. Containers that no longer run have ended in a way nobody knows, and their policies
    /// decide what follows; if the sandbox is gone the pod starts over in a new one. A termination that was in
    /// progress begins anew, with its whole grace period.
    pub fn restore(node: NodeFacts, snapshot: PodSnapshot, survivors: &Survivors, now: Timestamp) -> Self {
        let PodSnapshot { status, epoch, sandbox, ending, containers } = snapshot;
        let mut observed = Self::new(node, status);
        let is_alive = |id: &str| survivors.containers.iter().any(|survivor| survivor == id);
        for (name, mut instances) in containers {
            // Of a start that was under way nothing is known to have come.
            instances.retain(|instance| instance.state != InstanceState::Starting);
            for instance in &mut instances {
                if let InstanceState::Running { id, started_at } = &instance.state
                    && !is_alive(id)
                {
                    instance.state = InstanceState::Exited(unknown_end(id, *started_at, now));
                }
            }
            observed.containers.insert(name, ContainerRecord { instances, ..ContainerRecord::default() });
        }
        observed.epoch = epoch;
        observed.ending = ending;
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
