//! Keeping the file in step with memory: what waits to be written, the thread that writes it, and those who wait for it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use super::Shared;
use super::disk::{Changes, MAX_UNWRITTEN, Writer};
use super::error::StoreFailed;

/// What is to be written to a file.
#[derive(Debug)]
pub(super) struct Backlog {
    path: PathBuf,
    pub(super) changes: Changes,
    /// The latest revision on the disk.
    pub(super) durable: u64,
    failed: Option<StoreFailed>,
    closing: bool,
}

impl Backlog {
    pub(super) fn new(path: PathBuf, durable: u64) -> Self {
        Self { path, changes: Changes::default(), durable, failed: None, closing: false }
    }

    /// Whether there may be a change after `revision`.
    pub(super) fn check(&self, revision: u64) -> Result<(), StoreFailed> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let unwritten = revision - self.durable;
        if unwritten >= MAX_UNWRITTEN {
            return Err(StoreFailed::Behind { path: self.path.clone(), unwritten });
        }
        Ok(())
    }
}

/// How far the disk is.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) durable: u64,
    pub(super) failed: Option<StoreFailed>,
}

impl Default for Progress {
    /// In memory, nothing is waited for.
    fn default() -> Self {
        Self { durable: u64::MAX, failed: None }
    }
}

/// What the clones of a store share, and the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    pub(super) fn keep(shared: Arc<Shared>, writer: Writer) -> std::io::Result<Self> {
        let kept = shared.clone();
        let thread = std::thread::Builder::new().name("husk-store".to_owned()).spawn(move || kept.keep(writer))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Handle {
    /// Waits until everything is written and the file is closed.
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Some(backlog) = &mut self.shared.lock().backlog {
            backlog.closing = true;
        }
        self.shared.work.notify_all();
        // If it panicked, the file is as after a crash.
        let _ = thread.join();
    }
}

impl Shared {
    /// Writes what there is to write, until the store is closed or fails.
    fn keep(&self, mut writer: Writer) {
        while let Some((changes, revision)) = self.wait_for_changes() {
            match writer.commit(&changes, revision) {
                Ok(()) => self.committed(&changes, revision),
                Err(cause) => return self.fail(cause),
            }
        }
        if let Err(error) = writer.close() {
            tracing::error!(%error, "the file of objects was not closed; it will be checked when it is opened");
        }
    }

    /// All changes that wait to be written, and the revision of the last one; nothing once the store is closed.
    fn wait_for_changes(&self) -> Option<(Changes, u64)> {
        let idle = |state: &mut super::State| {
            state.backlog.as_ref().is_some_and(|backlog| backlog.changes.is_empty() && !backlog.closing)
        };
        let mut state = self.work.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let revision = state.revision();
        let changes = std::mem::take(&mut state.backlog.as_mut()?.changes);
        (!changes.is_empty()).then_some((changes, revision))
    }

    fn committed(&self, changes: &Changes, revision: u64) {
        let mut state = self.lock();
        if let Some(backlog) = &mut state.backlog {
            backlog.durable = revision;
        }
        let mut wakes: Vec<_> = Vec::new();
        let mut last = None;
        // They are sorted by resource.
        for resource in changes.objects().map(|object| object.resource()) {
            if last.replace(resource) != Some(resource) {
                wakes.push(state.collection(resource).wake.clone());
            }
        }
        drop(state);
        self.progress.send_modify(|progress| progress.durable = revision);
        for wake in wakes {
            wake.send_replace(revision);
        }
    }

    fn fail(&self, cause: String) {
        tracing::error!(%cause, "objects can no longer be written to disk");
        let mut state = self.lock();
        let Some(backlog) = &mut state.backlog else { return };
        let failed = StoreFailed::Disk { path: backlog.path.clone(), cause };
        backlog.failed = Some(failed.clone());
        drop(state);
        self.progress.send_modify(|progress| progress.failed = Some(failed));
    }
}
