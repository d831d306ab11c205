//! Byte budgets: how much a filesystem may hold, and who holds how much of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on bytes, shared by everything that takes from it.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u64,
    used: AtomicU64,
}

impl Quota {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes all of `bytes`, or nothing.
    pub(super) fn take(&self, bytes: u64) -> bool {
        bytes == 0 || self.take_up_to(bytes, bytes) == bytes
    }

    /// Takes as much of `bytes` as is left, but nothing if that is less than `least`; returns how much.
    pub(super) fn take_up_to(&self, bytes: u64, least: u64) -> u64 {
        let mut granted = 0;
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            granted = bytes.min(self.limit.saturating_sub(used));
            if granted < least {
                granted = 0;
            }
            Some(used.saturating_add(granted))
        });
        granted
    }

    pub(super) fn give_back(&self, bytes: u64) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(bytes)));
    }

    /// Counts bytes that are there already, past the limit if need be.
    pub(super) fn count(&self, bytes: u64) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_add(bytes)));
    }
}

/// What one holder has taken of a quota; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Held {
    pub(super) fn nothing(quota: &Arc<Quota>) -> Self {
        Self { quota: Arc::clone(quota), bytes: 0 }
    }

    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.quota.take(bytes);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    pub(super) fn grow_up_to(&mut self, bytes: u64) -> u64 {
        let granted = self.quota.take_up_to(bytes, 0);
        self.bytes += granted;
        granted
    }

    pub(super) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.quota.give_back(bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.quota.give_back(self.bytes);
    }
}
