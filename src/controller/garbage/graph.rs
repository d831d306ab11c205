//! Who owns whom, and what has to be done about an object because of it. Pure. Source of the rules: Kubernetes v1.36
//! `pkg/controller/garbagecollector` (`attemptToDeleteItem`, `processDeletingDependentsItem`, `orphanDependents`,
//! `graph_builder`).

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::api::deletion::{FOREGROUND, ORPHAN, Propagation};
use crate::api::resources::{self, ResourceType};
use crate::store::StoredObject;

/// Tells objects from each other for good.
pub(super) type Uid = String;

/// All objects, with their owners.
#[derive(Debug, Default)]
pub(super) struct Graph {
    items: HashMap<Uid, Item>,
    /// The objects that name each owner, whether that exists or not.
    dependents: HashMap<Uid, BTreeSet<Uid>>,
}

/// What matters of one object.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its resource.
    pub resource: &'static ResourceType,
    /// Its namespace; empty for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    deleting: bool,
    foreground: bool,
    orphan: bool,
}

/// What has to be done about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    None,
    /// It is to be deleted, because none of its owners is left, or because one waits for it.
    Delete {
        /// What becomes of what it owns, where nothing else says.
        propagation: Propagation,
        /// Whether its owners are not to wait for it, because it waits for an object that waits for them.
        unblock: bool,
    },
    /// It is to forget these owners, for it has others.
    Disown(BTreeSet<Uid>),
    /// All that it has waited for is gone.
    FinishForeground,
    /// It waits for these objects to be deleted.
    Await(Vec<Uid>),
    /// These objects are to forget it, and then it need not wait any more.
    Orphan(Vec<Uid>),
}

/// What an owner that is named comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It exists, or nobody can tell.
    Solid,
    /// It exists, and waits for its dependents to be deleted.
    Waiting,
    /// It does not exist.
    Absent,
}

impl Item {
    fn of(object: &StoredObject) -> Self {
        let metadata = object.metadata();
        let has = |finalizer: &str| metadata.finalizers.iter().any(|found| found == finalizer);
        let deleting = metadata.deletion_timestamp.is_some();
        Self {
            resource: object.resource(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            owners: metadata.owner_references.clone(),
            deleting,
            foreground: deleting && has(FOREGROUND),
            orphan: deleting && has(ORPHAN),
        }
    }

    fn is_blocked_by(&self, owner: &str) -> bool {
        self.owners.iter().any(|found| found.uid == owner && found.block_owner_deletion == Some(true))
    }
}

impl Graph {
    /// Takes in an object as it is now; gives those about which something may have to be done.
    pub(super) fn put(&mut self, object: &StoredObject) -> Vec<Uid> {
        let (uid, item) = (object.uid().to_owned(), Item::of(object));
        if uid.is_empty() {
            return Vec::new();
        }
        let before = self.items.insert(uid.clone(), item.clone());
        let old: BTreeSet<_> = owners(before.as_ref()).collect();
        let new: BTreeSet<_> = owners(Some(&item)).collect();
        for owner in old.difference(&new) {
            self.forget(owner, &uid);
        }
        for owner in &new {
            self.dependents.entry((*owner).to_owned()).or_default().insert(uid.clone());
        }
        // Owners may have waited for what no longer holds them up.
        let mut affected: Vec<Uid> = old.into_iter().map(str::to_owned).collect();
        if item.foreground && !before.is_some_and(|before| before.foreground) {
            affected.extend(self.dependents_of(&uid));
        }
        affected.push(uid);
        affected
    }

    /// Takes an object out; gives those about which something may have to be done.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let Some(item) = self.items.remove(uid) else { return Vec::new() };
        let mut affected = self.dependents_of(uid);
        for owner in owners(Some(&item)) {
            self.forget(owner, uid);
            affected.push(owner.to_owned());
        }
        affected
    }

    fn forget(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// An object.
    pub(super) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    fn dependents_of(&self, uid: &str) -> Vec<Uid> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// What is to be done about an object now. `exists` looks for an owner that the graph does not have (yet).
    pub(super) fn step(
        &self,
        uid: &str,
        exists: &dyn Fn(&'static ResourceType, &str, &OwnerReference) -> bool,
    ) -> Step {
        let Some(item) = self.items.get(uid) else { return Step::None };
        if item.orphan {
            return Step::Orphan(self.dependents_of(uid));
        }
        if item.foreground {
            return self.foreground_step(uid);
        }
        if item.deleting || item.owners.is_empty() {
            return Step::None;
        }
        let found: Vec<_> = item.owners.iter().map(|owner| (self.classify(item, owner, exists), owner)).collect();
        let has = |kind| found.iter().any(|(found, _)| *found == kind);
        if has(Owner::Solid) {
            let others = found.iter().filter(|(kind, _)| *kind != Owner::Solid).map(|(_, owner)| owner.uid.clone());
            let others: BTreeSet<_> = others.collect();
            return if others.is_empty() { Step::None } else { Step::Disown(others) };
        }
        let dependents = self.dependents_of(uid);
        if has(Owner::Waiting) && !dependents.is_empty() {
            let unblock = dependents.iter().any(|other| self.items.get(other).is_some_and(|other| other.foreground));
            return Step::Delete { propagation: Propagation::Foreground, unblock };
        }
        Step::Delete { propagation: Propagation::Background, unblock: false }
    }

    /// `processDeletingDependentsItem`.
    fn foreground_step(&self, uid: &str) -> Step {
        let blocks = |other: &Uid| self.items.get(other).is_some_and(|item| item.is_blocked_by(uid));
        let blocking: Vec<_> = self.dependents_of(uid).into_iter().filter(blocks).collect();
        if blocking.is_empty() {
            return Step::FinishForeground;
        }
        let not_asked = |other: &Uid| self.items.get(other).is_some_and(|item| !item.deleting);
        Step::Await(blocking.into_iter().filter(not_asked).collect())
    }

    fn classify(
        &self,
        item: &Item,
        owner: &OwnerReference,
        exists: &dyn Fn(&'static ResourceType, &str, &OwnerReference) -> bool,
    ) -> Owner {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        // Of a kind that is not served, nobody knows what there is.
        let Some(resource) = resources::of_kind(group, &owner.kind).map(ResourceType::stored) else {
            return Owner::Solid;
        };
        if resource.namespaced && !item.resource.namespaced {
            return Owner::Solid;
        }
        let namespace = if resource.namespaced { item.namespace.as_str() } else { "" };
        match self.items.get(&owner.uid) {
            Some(found)
                if std::ptr::eq(found.resource, resource)
                    && (found.name.as_str(), found.namespace.as_str()) == (owner.name.as_str(), namespace) =>
            {
                if found.foreground { Owner::Waiting } else { Owner::Solid }
            }
            _ if exists(resource, namespace, owner) => Owner::Solid,
            _ => Owner::Absent,
        }
    }
}

fn owners(item: Option<&Item>) -> impl Iterator<Item = &str> {
    item.into_iter().flat_map(|item| item.owners.iter().map(|owner| owner.uid.as_str()))
}
