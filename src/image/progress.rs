//! What can be told of a pull or push while it goes on. Whoever wants to know sees the latest state, never a queue of
//! what happened, and may come late.

use tokio::sync::watch;

/// How a transfer is getting on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// What is transferred, in the order of the manifest: configuration, then layers from the lowest.
    pub blobs: Vec<BlobProgress>,
}

/// What is being done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing yet, or waiting for another process.
    #[default]
    Waiting,
    /// A registry is asked what the name stands for.
    Resolving {
        /// Which one.
        registry: String,
    },
    /// Content is transferred.
    Transferring {
        /// With which registry.
        registry: String,
    },
    /// All is there and becomes part of the store.
    Finishing,
    /// It is done.
    Done,
}

/// One blob of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobProgress {
    /// `sha256:…`.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// How much of it is there.
    pub done: u64,
    /// How it is getting on.
    pub state: BlobState,
}

/// How a blob is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobState {
    /// Its turn has not come.
    Waiting,
    /// It is being transferred.
    Transferring,
    /// It was there before.
    Existing,
    /// It is there now.
    Complete,
    /// It will be tried again, because of this.
    Retrying(String),
}

/// Where a transfer tells of itself.
#[derive(Debug, Clone)]
pub(super) struct Reporter(watch::Sender<Progress>);

impl Reporter {
    pub(super) fn new() -> (Self, watch::Receiver<Progress>) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Self(sender), receiver)
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.0.send_modify(|progress| progress.phase = phase);
    }

    pub(super) fn blobs(&self, blobs: Vec<BlobProgress>) {
        self.0.send_modify(|progress| progress.blobs = blobs);
    }

    pub(super) fn blob(&self, number: usize, change: impl FnOnce(&mut BlobProgress)) {
        self.0.send_modify(|progress| {
            if let Some(blob) = progress.blobs.get_mut(number) {
                change(blob);
            }
        });
    }
}
