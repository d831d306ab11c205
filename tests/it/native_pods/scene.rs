//! What tests of a cluster's pods ask again and again.

use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, WatchEvent, WatchParams};

use crate::cluster::Cluster;
use crate::support::{Outcome, container};

/// How long something may take that must come, and the pause before it is looked for again.
const LIMIT: Duration = Duration::from_secs(150);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until something is so.
#[track_caller]
pub(super) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LIMIT.as_millis() / PAUSE.as_millis() {
        if let Some(found) = attempt() {
            return found;
        }
        std::thread::park_timeout(PAUSE);
    }
    panic!("{what} never comes");
}

/// Whether a pod's containers are ready, all of them.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// When a container that runs was started.
#[track_caller]
pub(super) fn started_at(status: &ContainerStatus) -> Timestamp {
    let state = status.state.as_ref().unwrap();
    let running = state.running.as_ref().unwrap_or_else(|| panic!("it does not run: {status:?}"));
    running.started_at.as_ref().unwrap().0
}

/// Seconds from one time to another.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

impl Cluster<'_> {
    /// Waits until all of a pod's containers are ready.
    #[track_caller]
    pub(super) fn until_ready(&self, pod: &str) {
        self.until(self.pods(), pod, "ready", |pod| pod.is_some_and(is_ready));
    }

    /// Waits until a container's status is so.
    #[track_caller]
    pub(super) fn until_container(&self, pod: &str, name: &str, what: &str, is_so: impl Fn(&ContainerStatus) -> bool) {
        self.until(self.pods(), pod, what, |pod| {
            let status = pod.and_then(|pod| pod.status.as_ref());
            let all = status.iter().flat_map(|status| {
                status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
            });
            all.into_iter().any(|status| status.name == name && is_so(status))
        });
    }

    /// The status of a pod's only container.
    #[track_caller]
    pub(super) fn status(&self, pod: &str) -> ContainerStatus {
        let pod = self.pod(pod);
        container(&pod, &pod.spec.as_ref().unwrap().containers[0].name).clone()
    }

    /// Runs a program in a pod's first container.
    pub(super) fn exec(&self, pod: &str, argv: &[&str]) -> Outcome {
        self.husk.husk([&["exec", pod, "--"], argv].concat())
    }

    /// What was said of a pod for this reason, in the order in which it was said first.
    pub(super) fn events(&self, pod: &str, reason: &str) -> Vec<Event> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let about = ListParams::default().fields(&format!("involvedObject.name={pod},reason={reason}"));
        let mut events = self.runtime.block_on(events.list(&about)).unwrap().items;
        events.sort_by_key(|event| event.first_timestamp.as_ref().map(|time| time.0));
        events
    }

    /// Messages of events.
    pub(super) fn told(&self, pod: &str, reason: &str) -> Vec<String> {
        self.events(pod, reason).into_iter().filter_map(|event| event.message).collect()
    }

    /// Deletes a pod, waits until it is gone, and gives its last state.
    pub(super) fn delete(&self, name: &str) -> Pod {
        let pods = self.pods();
        self.runtime.block_on(async {
            let since = pods.get(name).await.unwrap().metadata.resource_version.unwrap();
            let one = WatchParams::default().fields(&format!("metadata.name={name}"));
            let mut events = std::pin::pin!(pods.watch(&one, &since).await.unwrap());
            pods.delete(name, &DeleteParams::default()).await.unwrap();
            loop {
                let event = tokio::time::timeout(LIMIT, events.try_next()).await.expect("it does not go");
                if let WatchEvent::Deleted(pod) = event.unwrap().expect("the watch ends before the pod") {
                    return pod;
                }
            }
        })
    }
}
