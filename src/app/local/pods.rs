//! The kubelet's loop: from pods in the store to pods on the node, and back.
//!
//! ```text
//!   store ── pod with this node ──▶ admitted? ──▶ worker ──▶ ended ──▶ deleted? ──▶ object removed ──▶ files removed
//!     │                               └ no: Failed                       └ no: object and files stay
//!     ├─ pod changed ─────────────▶ worker
//!     ├─ object gone too early ───▶ worker, with a grace period of a second
//!     └─ ConfigMap, Secret, … ────▶ the workers of its namespace
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMap, Node as NodeObject, PersistentVolumeClaim, Pod, PodStatus, Secret, ServiceAccount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use crate::api::deletion;
use crate::apiserver::node_access::PodRef;
use crate::app::node_access;
use crate::base::clock::Clock;
use crate::controller::scheduler::{Occupancy, admit, has_ended};
use crate::controller::{Informer, ObjectKey, change, resource_of, seconds};
use crate::node::{Cluster, Contents, Journal, Node, PodHandle, Publish, Recorded, RunDirectory};
use crate::pod::{Correlator, EventRecord, EventType, PodSnapshot, others_conditions};
use crate::store::{Change, Store, WatchEvent, WatchKind};

/// Grace period in seconds of a pod whose object was removed before it had stopped (kubelet v1.36 `pod_workers`: the least
/// there is).
const ORPHAN_GRACE_SECONDS: i64 = 1;

/// What the loop works with.
pub(super) struct PodsConfig {
    /// Where pods come from.
    pub(super) store: Store,
    /// What runs them.
    pub(super) node: Node,
    /// Its name.
    pub(super) node_name: String,
    /// How it tells what becomes of them.
    pub(super) cluster: Arc<dyn Cluster>,
    /// The clock.
    pub(super) clock: Clock,
    /// Where pods have their files.
    pub(super) directory: Arc<RunDirectory>,
    /// What an earlier agent has left, and what this one writes down for the next.
    pub(super) journal: Arc<Journal>,
    /// What the journal said at the beginning.
    pub(super) left: Contents,
    /// Where those find the pods who reach into them.
    pub(super) access: node_access::Pods,
    /// Pods that somebody waits for, by UID.
    pub(super) own: HashMap<String, Own>,
}

/// A pod that somebody waits for. The node takes it without asking what it needs.
pub(in crate::app) struct Own {
    publish: Vec<Publish>,
    /// Dropped when nothing of the pod runs any more, nor will.
    _finished: DropGuard,
}

impl Own {
    /// A pod into which these ports of this machine are to lead, and whose end is told by cancelling a token.
    pub(in crate::app) fn new(publish: Vec<Publish>, finished: &CancellationToken) -> Self {
        Self { publish, _finished: finished.clone().drop_guard() }
    }
}

/// The loop, until dropped.
pub(super) struct Pods {
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Pods {
    /// Takes up what is in the store, and follows it.
    pub(super) fn start(config: PodsConfig) -> Self {
        let (stop, stopping) = watch::channel(None);
        let mut keeper = Keeper::new(config);
        // Before this returns, the journal has what an earlier agent has left.
        keeper.begin();
        let task = tokio::spawn(keeper.run(stopping));
        Self { stop, task }
    }

    /// Stops all containers, each within its grace period and all within `limit`, and leaves the pods for the next agent.
    /// May be called again while it lasts, with a shorter limit.
    pub(super) async fn suspend(&mut self, limit: Duration) {
        self.stop.send_replace(Some(limit));
        if !self.task.is_finished()
            && let Err(failed) = (&mut self.task).await
            && failed.is_panic()
        {
            error!("the pods' loop has failed");
        }
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        // With the task go the workers.
        self.task.abort();
    }
}

/// One pod.
struct Kept {
    key: ObjectKey,
    /// As its worker knows it.
    pod: Arc<Pod>,
    /// Its worker, until that has come to its end.
    handle: Option<PodHandle>,
    /// Whether its object is gone.
    gone: bool,
}

struct Keeper {
    config: PodsConfig,
    pods: Informer,
    /// What volumes and containers are made from.
    sources: [Informer; 4],
    kept: HashMap<String, Kept>,
    occupancy: Occupancy,
    /// Pods whose workers have ended, by UID.
    ended: JoinSet<String>,
    /// What is being removed from the disk.
    removals: JoinSet<()>,
}

impl Keeper {
    fn new(config: PodsConfig) -> Self {
        let store = &config.store;
        let sources = [
            Informer::new(store, resource_of::<ConfigMap>()),
            Informer::new(store, resource_of::<Secret>()),
            Informer::new(store, resource_of::<PersistentVolumeClaim>()),
            Informer::new(store, resource_of::<ServiceAccount>()),
        ];
        let pods = Informer::new(store, resource_of::<Pod>());
        let (kept, occupancy) = (HashMap::new(), Occupancy::default());
        let (ended, removals) = (JoinSet::new(), JoinSet::new());
        Self { config, pods, sources, kept, occupancy, ended, removals }
    }

    /// Takes up what is there.
    fn begin(&mut self) {
        let mut there = Vec::new();
        while !self.pods.has_synced()
            && let Some(event) = self.pods.try_next()
        {
            there.push(event);
        }
        // In the order in which they were made, or changed last.
        there.sort_by_key(|event| event.object.revision());
        // What has run before has its place already; others come after it.
        let has_run_before = |event: &WatchEvent| {
            event.object.typed::<Pod>().is_some_and(|pod| {
                pod.status.as_ref().is_some_and(has_run) || self.config.left.pods.contains_key(event.object.uid())
            })
        };
        let left = self.config.left.pods.values().filter_map(|recorded| recorded.snapshot.as_ref());
        self.config.node.will_resume(left);
        let (before, after): (Vec<_>, Vec<_>) = there.into_iter().partition(has_run_before);
        for event in before.iter().chain(&after) {
            self.take_pod(event);
        }
        self.remove_leftovers();
        self.removals.spawn(self.config.node.remove_leftovers());
    }

    async fn run(mut self, mut stopping: watch::Receiver<Option<Duration>>) {
        loop {
            let [config_maps, secrets, claims, accounts] = &mut self.sources;
            tokio::select! {
                event = self.pods.next() => self.take_pod(&event),
                Some(ended) = self.ended.join_next() => match ended {
                    Ok(uid) => self.note_end(&uid),
                    Err(failed) => error!(%failed, "nobody waits for the end of a pod any more"),
                },
                Some(_removed) = self.removals.join_next() => {}
                event = config_maps.next() => self.tell_of(&event),
                event = secrets.next() => self.tell_of(&event),
                event = claims.next() => self.tell_of(&event),
                event = accounts.next() => self.tell_of(&event),
                _ = stopping.changed() => break,
            }
        }
        self.suspend(stopping).await;
        while self.removals.join_next().await.is_some() {}
    }

    /// A pod in the store is new, changed or gone.
    fn take_pod(&mut self, event: &WatchEvent) {
        let (object, gone) = (&event.object, event.kind == WatchKind::Deleted);
        let Some(pod) = object.typed::<Pod>() else { return };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node != Some(self.config.node_name.as_str()) {
            return;
        }
        let uid = object.uid();
        if gone || has_ended(&pod) {
            self.occupancy.remove(uid);
        }
        match self.kept.get_mut(uid) {
            None if gone => {}
            None => self.take_up(ObjectKey::of(object), pod),
            Some(kept) if gone => {
                kept.gone = true;
                self.is_gone(uid);
            }
            Some(kept) => {
                let is_news = is_news(&kept.pod, &pod);
                kept.pod = Arc::clone(&pod);
                match &kept.handle {
                    Some(handle) if is_news => handle.update(pod),
                    Some(_) => {}
                    None => self.finish_deletion(uid),
                }
            }
        }
    }

    /// Begins with a pod, where an earlier agent has left it if there was one.
    fn take_up(&mut self, key: ObjectKey, pod: Arc<Pod>) {
        let uid = key.uid.clone();
        let kept = Kept { key, pod: Arc::clone(&pod), handle: None, gone: false };
        let kept = self.kept.entry(uid.clone()).insert_entry(kept).into_mut();
        let snapshot = snapshot(&mut self.config.left, &uid, &pod);
        let own = self.config.own.get(&uid);
        let publish = own.map(|own| own.publish.clone()).unwrap_or_default();
        let is_taken = || own.is_some() || admitted(&self.config, &self.occupancy, &pod);
        let handle = match snapshot {
            Some(snapshot) => self.config.node.resume_pod(Arc::clone(&pod), publish, snapshot),
            None if !has_ended(&pod) && is_taken() => self.config.node.run_pod(Arc::clone(&pod), publish),
            None => {
                // Nothing of it runs; its logs can be read.
                self.config.access.insert(reference(&kept.key), self.config.node.ended_pod(pod));
                return self.note_end(&uid);
            }
        };
        self.config.access.insert(reference(&kept.key), handle.access());
        let finished = handle.finished();
        kept.handle = Some(handle);
        if !has_ended(&pod) {
            self.occupancy.put(&pod);
        }
        self.ended.spawn(async move {
            finished.await;
            uid
        });
    }

    /// Nothing of a pod runs any more.
    fn note_end(&mut self, uid: &str) {
        self.occupancy.remove(uid);
        if let Some(kept) = self.kept.get_mut(uid) {
            kept.handle = None;
            if kept.gone { self.is_gone(uid) } else { self.finish_deletion(uid) }
        }
        // Last: who waits for it may find its object gone.
        self.config.own.remove(uid);
    }

    /// Removes the object of a pod that has ended, if it is being deleted and nothing else holds it (kubelet v1.36
    /// `status_manager.syncPod`, which deletes it with a grace period of 0).
    fn finish_deletion(&self, uid: &str) {
        let Some(kept) = self.kept.get(uid).filter(|kept| kept.pod.metadata.deletion_timestamp.is_some()) else {
            return;
        };
        let finished = change(&self.config.store, resource_of::<Pod>(), &kept.key, |pod| {
            if !deletion::is_deleted(pod) {
                return Change::Keep;
            }
            pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            if deletion::is_due(pod) { Change::Remove } else { Change::Put(pod.take()) }
        });
        if let Err(error) = finished {
            warn!(%error, pod = uid, "a pod that has ended cannot be removed");
        }
    }

    /// The object of a pod is gone: with its end, or before.
    fn is_gone(&mut self, uid: &str) {
        let Some(kept) = self.kept.get(uid) else { return };
        let Some(handle) = &kept.handle else {
            self.config.access.remove(&reference(&kept.key));
            self.kept.remove(uid);
            self.forget(uid);
            return;
        };
        let mut pod = Pod::clone(&kept.pod);
        let metadata = &mut pod.metadata;
        let begun = metadata.deletion_timestamp.is_some();
        let grace = metadata.deletion_grace_period_seconds.unwrap_or(ORPHAN_GRACE_SECONDS);
        let grace = grace.min(ORPHAN_GRACE_SECONDS);
        // Who stops already goes on, in less time.
        if !begun {
            let due = self.config.clock.now() + jiff::SignedDuration::from_secs(grace);
            metadata.deletion_timestamp = Some(Time(due));
        }
        metadata.deletion_grace_period_seconds = Some(grace);
        handle.update(Arc::new(pod));
    }

    /// Removes what is left of a pod on disk. Nobody will ask for it any more.
    fn forget(&mut self, uid: &str) {
        if let Err(error) = self.config.journal.forget(uid) {
            warn!(%error, pod = uid, "the journal still has a pod that is gone");
        }
        let (directory, uid) = (Arc::clone(&self.config.directory), uid.to_owned());
        let left = self.config.node.remove_left(&uid);
        self.removals.spawn(async move {
            left.await;
            let _ = tokio::task::spawn_blocking(move || {
                if let Err(error) = directory.remove_pod(&uid) {
                    warn!(%error, pod = uid, "a pod was not removed completely");
                }
            })
            .await;
        });
    }

    /// Removes what an earlier agent has left of pods that are not in the store any more. Their containers have died with
    /// it.
    fn remove_leftovers(&mut self) {
        for problem in std::mem::take(&mut self.config.left.problems) {
            warn!(%problem, "the journal of pods is damaged; the pod goes on from its published status");
        }
        let written = std::mem::take(&mut self.config.left.pods).into_keys();
        let on_disk = self.config.directory.pods().unwrap_or_else(|error| {
            warn!(%error, "cannot look for what pods have left");
            Vec::new()
        });
        let all: std::collections::BTreeSet<String> = written.chain(on_disk).collect();
        for uid in all {
            if self.kept.contains_key(&uid) {
                continue;
            }
            info!(pod = uid, "what is left of a pod that is gone is removed");
            self.forget(&uid);
        }
    }

    /// Tells the pods of a namespace that something has changed which they may be made from.
    fn tell_of(&self, event: &WatchEvent) {
        let namespace = event.object.namespace();
        let concerned = self.kept.values().filter(|kept| kept.key.namespace == namespace);
        concerned.filter_map(|kept| kept.handle.as_ref()).for_each(PodHandle::sources_changed);
    }

    /// Lets all pods stop, and those end that are about to.
    async fn suspend(&mut self, mut stopping: watch::Receiver<Option<Duration>>) {
        loop {
            let limit = *stopping.borrow_and_update();
            for handle in self.kept.values().filter_map(|kept| kept.handle.as_ref()) {
                handle.suspend(limit.unwrap_or_default());
            }
            loop {
                tokio::select! {
                    ended = self.ended.join_next() => match ended {
                        // What goes on with the next agent has no end to be dealt with.
                        Some(Ok(uid)) => self.note_end(&uid),
                        Some(Err(_)) => {}
                        None => return,
                    },
                    event = self.pods.next() => {
                        if self.kept.contains_key(event.object.uid()) {
                            self.take_pod(&event);
                        }
                    }
                    changed = stopping.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    }
                }
            }
        }
    }
}

/// How an earlier agent has left a pod: as it has written down, unless the published status knows more, because the
/// machine went down before the disk had it all.
fn snapshot(left: &mut Contents, uid: &str, pod: &Pod) -> Option<PodSnapshot> {
    let written = left.pods.remove(uid).and_then(|Recorded { snapshot, .. }| snapshot);
    let status = pod.status.clone().unwrap_or_default();
    let published = || Some(PodSnapshot::of_status(pod)).filter(|_| has_run(&status));
    match written {
        Some(written) if written.is_behind(&status) => published(),
        Some(written) => Some(written),
        None => published(),
    }
}

/// Whether the node takes a pod; one that it does not has failed (kubelet v1.36 `rejectPod`).
fn admitted(config: &PodsConfig, occupancy: &Occupancy, pod: &Pod) -> bool {
    let Some(node) = config.store.get::<NodeObject>("", &config.node_name) else { return true };
    let Err(rejection) = admit(pod, &node, occupancy) else { return true };
    let now = config.clock.now();
    let status = pod.status.clone().unwrap_or_default();
    let status = PodStatus {
        phase: Some("Failed".to_owned()),
        message: Some(rejection.status_message()),
        reason: Some(rejection.reason.to_owned()),
        start_time: Some(status.start_time.clone().unwrap_or_else(|| seconds(now))),
        ..status
    };
    let record = EventRecord {
        type_: EventType::Warning,
        reason: rejection.reason,
        message: rejection.message,
        field_path: None,
    };
    if let Some(event) = Correlator::new(&pod.metadata).observe(record, now) {
        config.cluster.post_event(pod, &event);
    }
    if !config.cluster.update_status(pod, &status) {
        warn!("the status of a pod that was rejected is not published");
    }
    false
}

/// A pod, as those call it who reach into it.
fn reference(key: &ObjectKey) -> PodRef {
    let ObjectKey { namespace, name, uid } = key.clone();
    PodRef { namespace, name, uid }
}

/// Whether something of a pod has run, as far as its status says.
fn has_run(status: &PodStatus) -> bool {
    let all = status.init_container_statuses.iter().chain(&status.container_statuses);
    let mut all = all.chain(&status.ephemeral_container_statuses).flatten();
    status.pod_ip.is_some() || all.any(|container| container.container_id.is_some() || container.restart_count > 0)
}

/// Whether a pod has changed in a way that its worker has to know. What the worker itself has published is no news.
fn is_news(before: &Pod, after: &Pod) -> bool {
    let matters = |pod: &Pod| {
        let metadata = &pod.metadata;
        let conditions: BTreeMap<String, String> = pod
            .status
            .iter()
            .flat_map(others_conditions)
            .map(|condition| (condition.type_.clone(), condition.status.clone()))
            .collect();
        let deletion = (metadata.deletion_timestamp.clone(), metadata.deletion_grace_period_seconds);
        (metadata.generation, metadata.labels.clone(), metadata.annotations.clone(), deletion, conditions)
    };
    before.spec != after.spec || matters(before) != matters(after)
}

#[cfg(test)]
mod tests;
