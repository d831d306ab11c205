//! What a guest's socket has in its pod's network namespace, whichever that is at present: the pod gets another if the one
//! it has ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::KernelSide;
use super::stock::Stock;

/// A place for something in the namespace.
#[derive(Debug)]
pub(in crate::net) struct Slot<T>(Mutex<Option<Held<T>>>);

/// Something, and what tells of which namespace.
#[derive(Debug)]
struct Held<T> {
    of: Weak<Stock>,
    held: Arc<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Held<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in the namespace.
    pub(in crate::net) fn get(&self) -> Option<Arc<T>> {
        self.lock().as_ref().map(|slot| Arc::clone(&slot.held))
    }

    /// Whether something is in the namespace of `side`.
    pub(in crate::net) fn is_of(&self, side: &KernelSide) -> bool {
        self.lock().as_ref().is_some_and(|slot| slot.of.as_ptr() == Arc::as_ptr(&side.stock))
    }

    /// Puts something there that is in the namespace of `side`. What was in another before goes.
    pub(in crate::net) fn put(&self, side: &KernelSide, held: T) -> Arc<T> {
        let held = Arc::new(held);
        let before = self.lock().replace(Held { of: Arc::downgrade(&side.stock), held: Arc::clone(&held) });
        drop(before);
        held
    }

    /// Lets go of what is there.
    pub(in crate::net) fn clear(&self) {
        let before = self.lock().take();
        drop(before);
    }
}
