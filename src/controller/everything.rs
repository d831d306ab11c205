//! Following the objects of all resources at once, for the controllers that care for objects of every kind.

use futures::future::select_all;

use super::informer::Informer;
use crate::api::resources::{Nature, RESOURCES, ResourceType};
use crate::store::{Store, WatchEvent};

/// Tells of the objects of all resources that are kept.
#[derive(Debug)]
pub(super) struct Everything {
    informers: Vec<Informer>,
}

/// The resources whose objects are kept.
pub(super) fn stored_resources() -> impl Iterator<Item = &'static ResourceType> {
    RESOURCES.iter().filter(|resource| resource.nature == Nature::Stored && !resource.is_other_version())
}

impl Everything {
    /// Begins with the objects that are there now.
    pub(super) fn new(store: &Store) -> Self {
        Self { informers: stored_resources().map(|resource| Informer::new(store, resource)).collect() }
    }

    /// The next change of any object. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> WatchEvent {
        if let Some(event) = self.try_next() {
            return event;
        }
        let waiting = self.informers.iter_mut().map(|informer| Box::pin(informer.next()));
        let (event, _, _) = select_all(waiting).await;
        event
    }

    /// The next change, if there is one by now.
    pub(super) fn try_next(&mut self) -> Option<WatchEvent> {
        self.informers.iter_mut().find_map(Informer::try_next)
    }

    /// The resources whose objects live in namespaces.
    pub(super) fn namespaced(&self) -> impl Iterator<Item = &'static ResourceType> {
        self.informers.iter().map(Informer::resource).filter(|resource| resource.namespaced)
    }
}
