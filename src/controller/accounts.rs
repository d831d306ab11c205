//! What every namespace has for its pods: the service account `default`, and the certificate by which the API server is
//! known (Kubernetes v1.36 `serviceaccounts_controller.go`, `rootcacertpublisher`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tracing::warn;

use super::informer::Informer;
use super::objects::{resource_of, stamp};
use crate::base::clock::Clock;
use crate::store::{Store, StoreError, WatchEvent};

/// The service account of pods that name none.
const ACCOUNT: &str = "default";
/// The ConfigMap with the certificate.
const ROOT_CA: &str = "kube-root-ca.crt";
/// The certificate's key in it.
const CA_KEY: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
     service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

/// Sees to every namespace for as long as it is polled. `ca` is the certificate, as PEM; without one, pods are not reached
/// by the API, and get no token for it of themselves.
pub async fn run(store: Store, clock: Clock, ca: Option<String>) {
    let mut publisher = Publisher::new(store, clock, ca);
    loop {
        let event = publisher.next().await;
        publisher.take_in(&event);
        publisher.catch_up();
    }
}

struct Publisher {
    store: Store,
    clock: Clock,
    ca: Option<String>,
    namespaces: Informer,
    accounts: Informer,
    config_maps: Informer,
    touched: BTreeSet<String>,
}

impl Publisher {
    fn new(store: Store, clock: Clock, ca: Option<String>) -> Self {
        let namespaces = Informer::new(&store, resource_of::<Namespace>());
        let accounts = Informer::new(&store, resource_of::<ServiceAccount>());
        let config_maps = Informer::new(&store, resource_of::<ConfigMap>());
        Self { store, clock, ca, namespaces, accounts, config_maps, touched: BTreeSet::new() }
    }

    async fn next(&mut self) -> WatchEvent {
        tokio::select! {
            event = self.namespaces.next() => event,
            event = self.accounts.next() => event,
            event = self.config_maps.next() => event,
        }
    }

    fn try_next(&mut self) -> Option<WatchEvent> {
        let accounts_or_maps = || self.accounts.try_next().or_else(|| self.config_maps.try_next());
        self.namespaces.try_next().or_else(accounts_or_maps)
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let object = &event.object;
        let namespace = match object.resource().kind {
            "Namespace" => object.name(),
            "ServiceAccount" if object.name() == ACCOUNT => object.namespace(),
            "ConfigMap" if object.name() == ROOT_CA => object.namespace(),
            _ => return,
        };
        self.touched.insert(namespace.to_owned());
    }

    fn catch_up(&mut self) {
        while let Some(event) = self.try_next() {
            self.take_in(&event);
        }
        for name in std::mem::take(&mut self.touched) {
            if let Err(error) = self.sync(&name) {
                warn!(%error, namespace = name, "the namespace lacks its service account or certificate");
            }
        }
    }

    fn sync(&self, namespace: &str) -> Result<(), StoreError> {
        let found = self.store.get::<Namespace>("", namespace);
        if found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()) {
            return Ok(());
        }
        let metadata = |name: &str| {
            let (name, namespace) = (Some(name.to_owned()), Some(namespace.to_owned()));
            let mut metadata = ObjectMeta { name, namespace, ..ObjectMeta::default() };
            stamp(&mut metadata, self.clock.now());
            metadata
        };
        if self.store.get::<ServiceAccount>(namespace, ACCOUNT).is_none() {
            let automount_service_account_token = self.ca.is_none().then_some(false);
            let metadata = metadata(ACCOUNT);
            let account = ServiceAccount { metadata, automount_service_account_token, ..ServiceAccount::default() };
            created(self.store.create(account))?;
        }
        let Some(ca) = &self.ca else { return Ok(()) };
        let data = BTreeMap::from([(CA_KEY.to_owned(), ca.clone())]);
        match self.store.get::<ConfigMap>(namespace, ROOT_CA) {
            None => {
                let (key, text) = DESCRIPTION;
                let annotations = BTreeMap::from([(key.to_owned(), text.to_owned())]);
                let metadata = ObjectMeta { annotations: Some(annotations), ..metadata(ROOT_CA) };
                created(self.store.create(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }))
            }
            Some(found) if found.data.as_ref() == Some(&data) => Ok(()),
            Some(_) => {
                let restore = |found: &mut ConfigMap| found.data = Some(data);
                self.store.update(namespace, ROOT_CA, restore).map(drop)
            }
        }
    }
}

/// What somebody else was quicker to create is there.
fn created<T>(result: Result<T, StoreError>) -> Result<(), StoreError> {
    match result {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    fn namespace(name: &str) -> Namespace {
        let metadata = ObjectMeta { name: Some(name.into()), uid: Some(name.into()), ..ObjectMeta::default() };
        Namespace { metadata, ..Namespace::default() }
    }

    #[tokio::test]
    async fn every_namespace_has_them_and_gets_them_back() {
        let store = Store::default();
        store.create(namespace("one")).unwrap();
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let mut publisher = Publisher::new(store.clone(), clock, Some("PEM".to_owned()));
        publisher.catch_up();
        store.create(namespace("two")).unwrap();
        publisher.catch_up();
        for name in ["one", "two"] {
            assert!(store.get::<ServiceAccount>(name, "default").unwrap().metadata.uid.is_some());
            assert_eq!(
                store.get::<ConfigMap>(name, "kube-root-ca.crt").unwrap().data.as_ref().unwrap()["ca.crt"],
                "PEM"
            );
        }
        store.delete::<ServiceAccount>("one", "default").unwrap();
        store.delete::<ConfigMap>("one", "kube-root-ca.crt").unwrap();
        store.update::<ConfigMap>("two", "kube-root-ca.crt", |found| found.data = None).unwrap();
        publisher.catch_up();
        assert!(store.get::<ServiceAccount>("one", "default").is_some());
        assert_eq!(store.list_all::<ConfigMap>().iter().filter(|found| found.data.is_some()).count(), 2);
        let revision = store.revision();
        publisher.catch_up();
        assert_eq!(store.revision(), revision, "nothing is written when nothing has changed");
    }

    #[tokio::test]
    async fn where_pods_do_not_reach_the_api_they_get_no_token_for_it() {
        let store = Store::default();
        store.create(namespace("one")).unwrap();
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        Publisher::new(store.clone(), clock, None).catch_up();
        let account = store.get::<ServiceAccount>("one", "default").unwrap();
        assert_eq!(account.automount_service_account_token, Some(false));
        assert!(store.list_all::<ConfigMap>().is_empty());
    }

    #[tokio::test]
    async fn a_namespace_that_ends_gets_nothing_back() {
        let store = Store::default();
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let mut ending = namespace("one");
        ending.metadata.deletion_timestamp = Some(super::super::objects::seconds(clock.now()));
        store.create(ending).unwrap();
        let mut publisher = Publisher::new(store.clone(), clock, Some("PEM".to_owned()));
        publisher.catch_up();
        assert!(store.list_all::<ConfigMap>().is_empty() && store.list_all::<ServiceAccount>().is_empty());
    }
}
