//! `--resume`: finds what husks that were killed have left of the pods to run, and takes it over. Without it, removes
//! what they have left.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Container, Pod};
use tracing::warn;

use super::cluster::PodKey;
use crate::api;
use crate::node::{Contents, Journal, JournalProblem, RunDirectory};
use crate::pod::PodSnapshot;

/// What husks that were killed have left, the newest first. While it is held, nobody else touches it.
pub(super) struct Leftovers {
    runs: Vec<LeftRun>,
}

/// What one of them has left.
struct LeftRun {
    directory: RunDirectory,
    journal: Option<Journal>,
    contents: Contents,
}

/// A pod that is gone on with.
#[derive(Debug)]
pub(super) struct Resumed {
    /// The pod as it is wanted now, with the status it had.
    pub(super) pod: Pod,
    /// How it was left; `None` if nothing was done for it.
    pub(super) snapshot: Option<PodSnapshot>,
}

impl Leftovers {
    /// Everything that was left in `pods`, and what could not be read of it.
    pub(super) fn find(pods: &Path) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut runs = Vec::new();
        for directory in RunDirectory::left_behind(pods) {
            match Journal::open(directory.path()) {
                Ok(opened) => {
                    let (journal, contents) = opened.map_or_else(Default::default, |(journal, contents)| {
                        problems.extend(contents.problems.iter().map(explain));
                        (Some(journal), contents)
                    });
                    runs.push(LeftRun { directory, journal, contents });
                }
                Err(error) => problems.push(format!("{}: {error}: {REMEDY}", directory.path().display())),
            }
        }
        (Self { runs }, problems)
    }

    /// The pod that is to be `pod`, if one was left.
    ///
    /// # Errors
    /// When it cannot become that.
    pub(super) fn resume(&self, pod: &Pod) -> anyhow::Result<Option<Resumed>> {
        let key = PodKey::of(pod);
        let mut recorded = self.runs.iter().flat_map(|run| run.contents.pods.values());
        let Some(left) = recorded.find(|left| PodKey::of(&left.pod) == key) else { return Ok(None) };
        let mut updated = update(&left.pod, pod)?;
        updated.status = left.snapshot.as_ref().map(|snapshot| snapshot.status.clone());
        Ok(Some(Resumed { pod: updated, snapshot: left.snapshot.clone() }))
    }

    /// Moves the files of pods to where this process has its own.
    pub(super) fn move_files(&self, pods: &[Arc<Pod>], target: &RunDirectory) -> anyhow::Result<()> {
        for uid in pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()) {
            let Some(run) = self.runs.iter().find(|run| run.directory.has(uid)) else { continue };
            target.take(uid, &run.directory).with_context(|| {
                format!("cannot move {} to {}", run.directory.path().join(uid).display(), target.path().display())
            })?;
        }
        Ok(())
    }

    /// Strikes out pods that this process has now, and older ones of the same names, and removes what nobody can take
    /// up any more.
    pub(super) fn strike_out(self, pods: &[PodKey]) {
        for LeftRun { directory, journal, mut contents } in self.runs {
            let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut contents.pods)
                .into_iter()
                .partition(|(_, left)| pods.contains(&PodKey::of(&left.pod)));
            for uid in ours.keys() {
                let forgotten = journal.as_ref().map_or(Ok(()), |journal| journal.forget(uid));
                if let Err(error) = forgotten.and_then(|()| directory.remove_pod(uid)) {
                    warn!(%error, directory = %directory.path().display(), "a pod was not removed completely");
                }
            }
            if others.is_empty() && contents.problems.is_empty() {
                remove(directory);
            }
        }
    }
}

/// Removes all that husks which were killed have left in `pods`.
pub(super) fn remove_all(pods: &Path) {
    RunDirectory::left_behind(pods).into_iter().for_each(remove);
}

fn remove(directory: RunDirectory) {
    let path = directory.path().to_owned();
    if let Err(error) = directory.remove() {
        warn!(%error, directory = %path.display(), "what a killed husk has left was not removed completely");
    }
}

/// What to do about what cannot be read.
const REMEDY: &str = "a pod that this was about starts anew; a run without --resume removes what is left of it";

fn explain(problem: &JournalProblem) -> String {
    format!("{problem}: {REMEDY}")
}

/// What to do about a pod that has changed too much.
pub(super) const CANNOT_CHANGE: &str = "Change it back, or run without --resume to start all pods anew";

/// What becomes of a pod, for its user.
pub(super) fn notice(resumed: Option<&Resumed>) -> String {
    let Some(Resumed { pod, snapshot }) = resumed else {
        return "Nothing of it was left: it starts anew".to_owned();
    };
    match snapshot {
        Some(snapshot) if snapshot.is_finished() => {
            format!("It had ended ({}) and is not run again", snapshot.status.phase.as_deref().unwrap_or_default())
        }
        _ if pod.metadata.deletion_timestamp.is_some() => "Goes on being stopped".to_owned(),
        _ => "Goes on where a killed husk left it".to_owned(),
    }
}

/// What becomes of a pod that exists when `manifest` is applied to it.
fn update(old: &Pod, manifest: &Pod) -> anyhow::Result<Pod> {
    let mut new = Pod { metadata: old.metadata.clone(), ..manifest.clone() };
    new.metadata.labels.clone_from(&manifest.metadata.labels);
    new.metadata.annotations.clone_from(&manifest.metadata.annotations);
    if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
        new.node_name.clone_from(&old.node_name);
        keep_pull_policies(&mut new.containers, &old.containers);
        let old_init = old.init_containers.as_deref().unwrap_or_default();
        keep_pull_policies(new.init_containers.as_deref_mut().unwrap_or_default(), old_init);
    }
    let errors = api::validate_pod_update(&new, old);
    if !errors.is_empty() {
        let PodKey { namespace, name } = PodKey::of(old);
        let problem = |error| format!("pod {namespace}/{name} cannot be gone on with as it is now: {error}");
        bail!("{}", errors.iter().map(problem).collect::<Vec<_>>().join("\nerror: "));
    }
    if new.spec != old.spec {
        new.metadata.generation = new.metadata.generation.map(|generation| generation + 1);
    }
    Ok(new)
}

/// A pull policy that follows from the image is decided when a pod is created, and not again when the image changes.
fn keep_pull_policies(containers: &mut [Container], old: &[Container]) {
    for (container, old) in containers.iter_mut().zip(old) {
        if container.image != old.image {
            container.image_pull_policy.clone_from(&old.image_pull_policy);
        }
    }
}
