//! The runtime of `kube` (watcher, reflector, controller) against a live server, while many objects are made, changed and
//! deleted: everything is told once and in order, also where streams break off and where clients have to list anew.
//!
//! An ordinary run takes some seconds; `HUSK_CHURN` is the number of changes of a longer one.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt};
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::{Body, ClientBuilder};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Config, Resource, ResourceExt};
use serde_json::json;
use tower::{BoxError, Layer, Service};

use crate::cluster;
use crate::support::Husk;

/// Names the number of changes.
const CHURN: &str = "HUSK_CHURN";
/// So many of an ordinary run.
const CHANGES: usize = 800;
/// Who make them, each of objects of its own.
const WRITERS: usize = 4;
/// How many objects each has.
const OBJECTS: usize = 12;
/// Is made last: whoever has heard of it has heard everything.
const LAST: &str = "last";
/// How long a change may take, with everything that follows from it.
const CHANGE_LIMIT: Duration = Duration::from_millis(200);
/// How long everything else may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How many changes a controller is given when it has done all its work.
const MORE: usize = 20;
/// The most errors that a watcher may tell of, each of a stream that was broken on purpose.
const MAX_ERRORS: usize = 10_000;

/// What became of one object, in order: revisions and, when it was deleted, its UID.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Put(String),
    Gone(String),
}

/// The changes of every object, by its name.
type Log = BTreeMap<String, Vec<Change>>;

/// What goes wrong with a client's watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Nothing but that they end after a second, as they always do after a while.
    None,
    /// They break off after some bytes, in the midst of a line.
    Broken,
    /// They break off, and every third asks for what happened since a revision that is long forgotten.
    Forgotten,
}

/// What a watcher has told.
#[derive(Debug)]
enum Told {
    /// All objects, by their revisions.
    Listed(BTreeMap<String, String>),
    Changed(String, Change),
}

#[test]
fn watchers_and_controllers_follow_churn() {
    let changes = std::env::var(CHURN).map_or(CHANGES, |text| text.parse().unwrap());
    let limit = LIMIT + CHANGE_LIMIT * u32::try_from(changes).unwrap();
    let seed = fastrand::u64(..);
    let husk = Husk::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = Served(&husk);
    runtime.block_on(async {
        let followed = tokio::time::timeout(limit, follow(&server, changes, seed)).await;
        assert!(followed.is_ok(), "not at an end after {limit:?}; seed {seed}");
    });
}

/// A server that ends with the test.
struct Served<'h>(&'h Husk);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.husk(["stop", "--timeout", "10s"]);
    }
}

async fn follow(server: &Served<'_>, changes: usize, seed: u64) {
    // What has happened before a server began is history that it does not have.
    let before: Api<ConfigMap> = Api::default_namespaced(cluster::client(cluster::start(server.0).await));
    let forgotten = before.create(&PostParams::default(), &config_map("forgotten", "no", 0)).await.unwrap();
    before.delete("forgotten", &DeleteParams::default()).await.unwrap();
    server.0.husk(["stop"]).exits(0);
    let config = cluster::start(server.0).await;
    let forgotten = forgotten.resource_version().unwrap();

    let listed = || watcher::Config::default().labels("churn=yes").timeout(1);
    let observers = [
        (Trouble::None, listed().page_size(7)),
        (Trouble::None, listed().streaming_lists()),
        (Trouble::Broken, listed()),
        (Trouble::Broken, listed().streaming_lists()),
        (Trouble::Forgotten, listed().page_size(7)),
        (Trouble::Forgotten, listed().streaming_lists()),
    ];
    let observing = observers.map(|(trouble, watched)| {
        let observed = observe(troubled(&config, trouble, &forgotten), watched.clone());
        tokio::spawn(observed.map(move |observed| (trouble, watched, observed)))
    });
    let client = cluster::client(config);
    let reconciled = Arc::new(AtomicUsize::new(0));
    let controlling = tokio::spawn(control(client.clone(), Arc::clone(&reconciled)));
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let writers = (0..WRITERS)
        .map(|writer| tokio::spawn(write(api.clone(), writer, changes / WRITERS, seed.wrapping_add(writer as u64))));
    let mut log: Log = BTreeMap::new();
    for written in futures::future::join_all(writers).await {
        log.extend(written.unwrap());
    }
    let last = api.create(&PostParams::default(), &config_map(LAST, "yes", 0)).await.unwrap();
    log.insert(LAST.to_owned(), vec![Change::Put(last.resource_version().unwrap())]);
    for observed in observing {
        let (trouble, watched, (told, state)) = observed.await.unwrap();
        let who = format!("{trouble:?} {:?}, seed {seed}", watched.initial_list_strategy);
        check(&who, &log, &told);
        assert_eq!(state, standing(&log), "{who}: the reflector");
        let lists = told.iter().filter(|told| matches!(told, Told::Listed(_))).count();
        match trouble {
            Trouble::None | Trouble::Broken => assert_eq!(lists, 1, "{who}: lists"),
            Trouble::Forgotten => assert!(lists > 1, "{who}: was never told that a revision is forgotten"),
        }
    }
    check_controlled(&api, &reconciled).await;
    controlling.abort();
}

/// A client whose watches have troubles.
fn troubled(config: &Config, trouble: Trouble, forgotten: &str) -> Api<ConfigMap> {
    let builder = ClientBuilder::try_from(config.clone()).unwrap();
    let layer = Troubling { trouble, forgotten: forgotten.to_owned(), watches: Arc::default() };
    Api::default_namespaced(builder.with_layer(&layer).build())
}

fn config_map(name: &str, churn: &str, number: usize) -> ConfigMap {
    let metadata = json!({"name": name, "labels": {"churn": churn}});
    let number = number.to_string();
    serde_json::from_value(json!({"metadata": metadata, "data": {"number": number}})).unwrap()
}

/// Makes, changes and deletes objects, one change after the other.
async fn write(api: Api<ConfigMap>, writer: usize, changes: usize, seed: u64) -> Log {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut log: Log = BTreeMap::new();
    let mut uids: BTreeMap<String, String> = BTreeMap::new();
    for number in 0..changes {
        let name = format!("w{writer}-{}", random.usize(..OBJECTS));
        let change = match uids.remove(&name) {
            None => {
                let made = api.create(&PostParams::default(), &config_map(&name, "yes", number)).await.unwrap();
                uids.insert(name.clone(), made.uid().unwrap());
                Change::Put(made.resource_version().unwrap())
            }
            Some(uid) if random.u8(..4) == 0 => {
                api.delete(&name, &DeleteParams::default()).await.unwrap();
                Change::Gone(uid)
            }
            Some(uid) => {
                let patch = Patch::Merge(json!({"data": {"number": number.to_string()}}));
                let changed = api.patch(&name, &PatchParams::default(), &patch).await.unwrap();
                uids.insert(name.clone(), uid);
                Change::Put(changed.resource_version().unwrap())
            }
        };
        log.entry(name).or_default().push(change);
    }
    log
}

/// The objects that are there in the end, by their revisions.
fn standing(log: &Log) -> BTreeMap<String, String> {
    let standing = log.iter().filter_map(|(name, changes)| match changes.last() {
        Some(Change::Put(revision)) => Some((name.clone(), revision.clone())),
        Some(Change::Gone(_)) | None => None,
    });
    standing.collect()
}

/// What a watcher tells until the last object is there, and what a reflector then has.
async fn observe(api: Api<ConfigMap>, watched: watcher::Config) -> (Vec<Told>, BTreeMap<String, String>) {
    let (reader, mut reflected) = reflector::store();
    let mut events = pin!(watcher(api, watched));
    let (mut told, mut errors) = (Vec::new(), 0);
    let mut listing = BTreeMap::new();
    loop {
        let event = match events.next().await.expect("a watcher never ends") {
            Ok(event) => event,
            Err(error) => {
                errors += 1;
                assert!(errors < MAX_ERRORS, "{error}");
                continue;
            }
        };
        reflected.apply_watcher_event(&event);
        let named = |object: &ConfigMap| (object.name_any(), object.resource_version().unwrap());
        let is_last = match event {
            Event::Init => {
                listing.clear();
                false
            }
            Event::InitApply(object) => {
                listing.extend([named(&object)]);
                false
            }
            Event::InitDone => {
                let is_last = listing.contains_key(LAST);
                told.push(Told::Listed(std::mem::take(&mut listing)));
                is_last
            }
            Event::Apply(object) => {
                let (name, revision) = named(&object);
                told.push(Told::Changed(name.clone(), Change::Put(revision)));
                name == LAST
            }
            Event::Delete(object) => {
                told.push(Told::Changed(object.name_any(), Change::Gone(object.uid().unwrap())));
                false
            }
        };
        if is_last {
            return (told, reader.state().iter().map(|object| named(object.as_ref())).collect());
        }
    }
}

/// How many of an object's changes a watcher has told of.
#[derive(Debug, Clone, Copy)]
enum Known {
    Exactly(usize),
    /// At least so many: it was not in a list, as before it was made and whenever it was deleted.
    Absent(usize),
}

/// Holds what a watcher has told against what happened.
fn check(who: &str, log: &Log, told: &[Told]) {
    let mut known: BTreeMap<&str, Known> = log.keys().map(|name| (name.as_str(), Known::Absent(0))).collect();
    for told in told {
        match told {
            Told::Listed(objects) => {
                for (name, changes) in log {
                    let (Known::Exactly(least) | Known::Absent(least)) = known[name.as_str()];
                    let now = match objects.get(name) {
                        None => Known::Absent(least),
                        Some(revision) => {
                            let put = Change::Put(revision.clone());
                            let at = changes.iter().position(|change| *change == put);
                            let at = at.unwrap_or_else(|| panic!("{who}: {name} never was at {revision}: {changes:?}"));
                            assert!(at + 1 >= least, "{who}: {name} went back to {revision} in a list: {changes:?}");
                            Known::Exactly(at + 1)
                        }
                    };
                    known.insert(name, now);
                }
            }
            Told::Changed(name, change) => {
                let changes = log.get(name).unwrap_or_else(|| panic!("{who}: {name} never was"));
                let at = changes.iter().position(|other| other == change);
                let at = at.unwrap_or_else(|| panic!("{who}: {name}: {change:?} never was: {changes:?}"));
                let before = known[name.as_str()];
                let follows = match before {
                    Known::Exactly(count) => at == count,
                    Known::Absent(least) => at >= least && (at == 0 || matches!(changes[at - 1], Change::Gone(_))),
                };
                assert!(follows, "{who}: {name}: {change:?} after {before:?} of {changes:?}");
                known.insert(name, Known::Exactly(at + 1));
            }
        }
    }
    for (name, changes) in log {
        let all = match known[name.as_str()] {
            Known::Exactly(count) => count == changes.len(),
            Known::Absent(_) => matches!(changes.last(), None | Some(Change::Gone(_))),
        };
        assert!(all, "{who}: {name}: the last was never told: {:?} of {changes:?}", known[name.as_str()]);
    }
}

/// Gives every object another that belongs to it and says the same.
async fn control(client: Client, reconciled: Arc<AtomicUsize>) {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let reconcile = |object: Arc<ConfigMap>, context: Arc<(Api<ConfigMap>, Arc<AtomicUsize>)>| {
        async move {
            context.1.fetch_add(1, Ordering::Relaxed);
            let name = format!("of-{}", object.name_any());
            let owner = object.controller_owner_ref(&()).unwrap();
            let child = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": object.data,
                "metadata": {"name": name, "labels": {"churn": "child"}, "ownerReferences": [owner]},
            });
            let manager = PatchParams::apply("churn").force();
            context.0.patch(&name, &manager, &Patch::Apply(child)).await?;
            Ok::<_, kube::Error>(Action::await_change())
        }
        .boxed()
    };
    let policy = |_: Arc<ConfigMap>, _: &kube::Error, _: Arc<_>| Action::requeue(Duration::from_millis(100));
    let context = Arc::new((api.clone(), reconciled));
    Controller::new(api.clone(), watcher::Config::default().labels("churn=yes"))
        .owns(api, watcher::Config::default().labels("churn=child"))
        .run(reconcile, policy, context)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Waits until the controller has done its work, and sees that it then rests.
async fn check_controlled(api: &Api<ConfigMap>, reconciled: &AtomicUsize) {
    let content = |label: &'static str| async move {
        let listed = api.list(&ListParams::default().labels(label)).await.unwrap();
        let named = |object: ConfigMap| (object.name_any().trim_start_matches("of-").to_owned(), object.data);
        listed.items.into_iter().map(named).collect::<BTreeMap<_, _>>()
    };
    let settle = || async {
        // Every request is an answer from a server that goes on meanwhile; the limit is the test's.
        while content("churn=yes").await != content("churn=child").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    settle().await;
    let before = reconciled.load(Ordering::Relaxed);
    for number in 0..MORE {
        let patch = Patch::Merge(json!({"data": {"number": format!("more {number}")}}));
        api.patch(LAST, &PatchParams::default(), &patch).await.unwrap();
        settle().await;
    }
    let rounds = reconciled.load(Ordering::Relaxed) - before;
    // Of its own doing it hears, too, and finds nothing to do. What it had heard before it may still have been busy with.
    assert!(rounds <= 3 * MORE + 2 * WRITERS * OBJECTS, "{rounds} rounds for {MORE} changes");
}

/// Puts [`Troubled`] around a client's way to the server.
struct Troubling {
    trouble: Trouble,
    forgotten: String,
    watches: Arc<AtomicUsize>,
}

impl<S> Layer<S> for Troubling {
    type Service = Troubled<S>;

    fn layer(&self, inner: S) -> Troubled<S> {
        let Self { trouble, forgotten, watches } = self;
        Troubled { inner, trouble: *trouble, forgotten: forgotten.clone(), watches: Arc::clone(watches) }
    }
}

struct Troubled<S> {
    inner: S,
    trouble: Trouble,
    forgotten: String,
    watches: Arc<AtomicUsize>,
}

impl<S, B> Service<Request<Body>> for Troubled<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError> + 'static, Future: Send + 'static>,
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default().to_owned();
        // A list that is streamed is left whole: it would never come to its end in pieces.
        let watches = query.contains("watch=true") && !query.contains("sendInitialEvents");
        let count = if watches { self.watches.fetch_add(1, Ordering::Relaxed) } else { 0 };
        if self.trouble == Trouble::Forgotten && watches && count % 3 == 2 {
            *request.uri_mut() = since(request.uri(), &self.forgotten);
        }
        // Another place each time, within the first events or behind some of them.
        let bytes = if self.trouble != Trouble::None && watches { 300 + count * 37 % 4000 } else { usize::MAX };
        let answer = self.inner.call(request).map_err(Into::<BoxError>::into);
        answer.map_ok(move |answer| answer.map(|body| broken_off(body, bytes))).boxed()
    }
}

/// The same address, but of what happened since a revision.
fn since(uri: &Uri, revision: &str) -> Uri {
    let text = uri.to_string();
    let Some((before, after)) = text.split_once("resourceVersion=") else { return uri.clone() };
    let rest = after.trim_start_matches(|character: char| character.is_ascii_digit());
    format!("{before}resourceVersion={revision}{rest}").parse().unwrap()
}

/// The beginning of a body.
fn broken_off<B>(body: B, bytes: usize) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let chunks = Box::pin(body.into_data_stream());
    let beginning = futures::stream::unfold((chunks, bytes), |(mut chunks, left)| async move {
        if left == 0 {
            return None;
        }
        let chunk =
            chunks.next().await?.map(|chunk| chunk.slice(..chunk.len().min(left))).map_err(Into::<BoxError>::into);
        let left = left - chunk.as_ref().map_or(0, Bytes::len);
        Some((chunk.map(Frame::data), (chunks, left)))
    });
    StreamBody::new(beginning).boxed_unsync()
}
