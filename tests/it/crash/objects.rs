//! Writers of ConfigMaps and those who watch them: no acknowledged change is lost, versions never go back, and whoever
//! follows misses nothing and sees nothing twice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures::future::{join, join_all};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{Client, Cut, Lines, name, version};
use super::{Progress, START, Server, Settings, report, run};
use crate::support::Husk;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 3;
const WATCHERS: usize = 3;
/// Objects of each writer.
const NAMES: usize = 8;
/// Changes that are acknowledged in one life, at most.
const CHANGES: usize = 40;

/// What all know.
struct World {
    /// Changes that were acknowledged.
    progress: Progress,
    /// The highest version that anybody was told.
    highest: Cell<u64>,
    /// Version and name of each change that was acknowledged with its version.
    acknowledged: RefCell<Vec<(u64, String)>>,
    /// Whether writers are to wait.
    paused: watch::Sender<bool>,
    /// Writers that have sent something.
    busy: Cell<usize>,
    /// How far each watcher has come.
    seen: Vec<Cell<u64>>,
    over: Cell<bool>,
    tally: RefCell<BTreeMap<&'static str, usize>>,
}

impl World {
    fn new() -> Self {
        Self {
            progress: Progress::default(),
            highest: Cell::new(0),
            acknowledged: RefCell::default(),
            paused: watch::Sender::new(false),
            busy: Cell::new(0),
            seen: (0..WATCHERS).map(|_| Cell::new(0)).collect(),
            over: Cell::new(false),
            tally: RefCell::default(),
        }
    }

    /// A version was told.
    fn told(&self, version: u64) {
        self.highest.set(self.highest.get().max(version));
    }

    fn count(&self, what: &'static str) {
        *self.tally.borrow_mut().entry(what).or_default() += 1;
    }

    /// Waits until nothing is under way, and every watcher has seen everything.
    async fn settle(&self, client: &mut Client) {
        self.paused.send_replace(true);
        self.progress.until(|| self.busy.get() == 0).await;
        let before = self.highest.get();
        // Deletions are not answered with their version; this one comes after all of them.
        let mark = json!({"metadata": {"name": "mark"}, "data": {"n": before.to_string()}});
        let answer = client.send("PATCH", &format!("{MAPS}/mark"), &mark).await.unwrap();
        let (_, made) = if answer.0 == 404 { client.send("POST", MAPS, &mark).await.unwrap() } else { answer };
        let version = version(&made);
        assert!(version > before, "{version} after {before}");
        self.progress.until(|| self.seen.iter().all(|seen| seen.get() >= version)).await;
    }
}

/// An object as it was acknowledged.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    version: u64,
    n: String,
}

impl Known {
    fn of(object: &Value) -> Self {
        Self { version: version(object), n: object["data"]["n"].as_str().unwrap_or_default().to_owned() }
    }
}

/// Changes objects of its own, and knows what they are.
struct Writer<'w> {
    world: &'w World,
    client: Client,
    random: fastrand::Rng,
    id: usize,
    next: usize,
    objects: BTreeMap<String, Known>,
}

impl Writer<'_> {
    async fn run(mut self) -> BTreeMap<String, Known> {
        let mut paused = self.world.paused.subscribe();
        loop {
            let _ = paused.wait_for(|paused| !*paused || self.world.over.get()).await;
            if self.world.over.get() {
                return self.objects;
            }
            self.world.busy.set(self.world.busy.get() + 1);
            let acknowledged = self.change().await;
            self.world.busy.set(self.world.busy.get() - 1);
            if acknowledged { self.world.progress.step() } else { self.world.progress.news() }
        }
    }

    /// Changes an object, or finds out whether it did. Whether that was acknowledged.
    async fn change(&mut self) -> bool {
        let name = format!("w{}-{}", self.id, self.random.usize(..NAMES));
        self.next += 1;
        let n = format!("{}-{}", self.id, self.next);
        let path = format!("{MAPS}/{name}");
        let data = json!({"n": n, "filling": "x".repeat(1 << self.random.usize(..13))});
        let object = json!({"metadata": {"name": name, "labels": {"writer": self.id.to_string()}}, "data": data});
        let known = self.objects.get(&name).cloned();
        let before = self.world.highest.get();
        let sent = match (&known, self.random.usize(..4)) {
            (None, _) => self.client.send("POST", MAPS, &object).await,
            (Some(_), 0) => self.client.send("DELETE", &path, &Value::Null).await,
            (Some(_), 1) => self.client.send("PATCH", &path, &json!({"data": data})).await,
            (Some(known), _) => {
                let mut object = object;
                object["metadata"]["resourceVersion"] = known.version.to_string().into();
                self.client.send("PUT", &path, &object).await
            }
        };
        match sent {
            Ok((200 | 201, answer)) if answer["kind"] == "Status" => {
                self.objects.remove(&name);
            }
            Ok((200 | 201, answer)) => {
                let now = Known::of(&answer);
                assert!(now.version > before, "{} after {before}: {answer}", now.version);
                assert_eq!(now.n, n);
                self.world.told(now.version);
                self.world.acknowledged.borrow_mut().push((now.version, name.clone()));
                self.objects.insert(name, now);
            }
            Ok(other) => panic!("{name}: {other:?}, and it was {known:?}"),
            Err(Cut) => {
                self.look(&name, &n, before).await;
                return false;
            }
        }
        true
    }

    /// The server was gone while the object `name` was to become `n`, or nothing: all else must be as it was.
    async fn look(&mut self, name: &str, n: &str, before: u64) {
        let list = self.client.read(&format!("{MAPS}?labelSelector=writer%3D{}", self.id)).await.unwrap();
        assert!(version(&list) >= before, "{} after {before}", version(&list));
        self.world.told(version(&list));
        let items = list["items"].as_array().unwrap().iter();
        let mut found: BTreeMap<String, Known> =
            items.map(|object| (super::client::name(object), Known::of(object))).collect();
        let (was, is) = (self.objects.remove(name), found.remove(name));
        assert_eq!(found, self.objects, "of writer {}, but for {name}", self.id);
        if let Some(is) = is {
            let happened = is.n == n && is.version > before;
            assert!(happened || was.as_ref() == Some(&is), "{name} was {was:?}, should be {n:?}, and is {is:?}");
            self.world.count(if happened { "cut off and done" } else { "cut off and not done" });
            self.objects.insert(name.to_owned(), is);
        }
    }
}

/// Follows all ConfigMaps.
struct Watcher<'w> {
    world: &'w World,
    id: usize,
    list: Client,
    watch: Client,
    objects: BTreeMap<String, Known>,
    last: u64,
    /// Name by version of all changes it was told.
    events: BTreeMap<u64, String>,
    /// Versions between which it was told everything: after the first, up to the second.
    covered: Vec<(u64, u64)>,
    /// Whether it has just listed, and so has nothing to go on with.
    fresh: bool,
}

impl Watcher<'_> {
    async fn run(mut self) -> Self {
        self.list().await;
        while !self.world.over.get() {
            let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={}", self.last);
            let Ok(mut lines) = self.watch.watch(&path).await else { continue };
            let mut goes_on = !std::mem::take(&mut self.fresh);
            while let Some(event) = self.next(&mut lines).await {
                if event["type"] == "ERROR" {
                    assert_eq!(event["object"]["code"], 410, "{event}");
                    self.world.count("told to list anew");
                    self.list().await;
                    break;
                }
                if std::mem::take(&mut goes_on) {
                    self.world.count("went on");
                }
                self.take(event["type"].as_str().unwrap(), &event["object"]);
            }
        }
        self
    }

    /// The next event, until the server is gone or all is over.
    async fn next(&self, lines: &mut Lines) -> Option<Value> {
        tokio::select! {
            line = lines.next() => line.ok(),
            () = self.world.progress.until(|| self.world.over.get()) => None,
        }
    }

    /// Begins anew.
    async fn list(&mut self) {
        let before = self.world.highest.get();
        let list = self.list.read(MAPS).await.unwrap();
        let version = version(&list);
        assert!(version >= before, "{version} after {before}");
        let items = list["items"].as_array().unwrap().iter();
        self.objects = items.map(|object| (name(object), Known::of(object))).collect();
        self.covered.push((version, version));
        self.fresh = true;
        self.come_to(version);
    }

    /// Takes in what has happened.
    fn take(&mut self, kind: &str, object: &Value) {
        let version = version(object);
        if kind == "BOOKMARK" {
            assert!(version >= self.last, "{version} after {}", self.last);
            return self.come_to(version);
        }
        assert!(version > self.last, "{version} after {}: {kind} {object}", self.last);
        let (name, known) = (name(object), Known::of(object));
        let was = if kind == "DELETED" { self.objects.remove(&name) } else { self.objects.insert(name.clone(), known) };
        assert_eq!(was.is_some(), kind != "ADDED", "{kind} {object}, which was {was:?}");
        self.events.insert(version, name);
        self.come_to(version);
    }

    fn come_to(&mut self, version: u64) {
        self.last = version;
        self.covered.last_mut().unwrap().1 = version;
        self.world.told(version);
        self.world.seen[self.id].set(version);
        self.world.progress.news();
    }

    /// Every change that was acknowledged, and that it must have been told, it was told.
    fn check(&self) {
        for (version, name) in self.world.acknowledged.borrow().iter() {
            let covered = self.covered.iter().any(|(from, to)| from < version && version <= to);
            let told = self.events.get(version);
            assert!(
                if covered { told == Some(name) } else { told.is_none() },
                "{version} of {name} was told as {told:?} to one who was told everything {:?}",
                self.covered
            );
        }
    }
}

/// Ends lives of the server.
struct Killer<'w, 'h> {
    world: &'w World,
    server: Server<'h>,
    random: fastrand::Rng,
}

impl Killer<'_, '_> {
    async fn run(&mut self, kills: usize) {
        for _ in 0..kills {
            self.server.start();
            match self.random.usize(..8) {
                0 => {
                    self.world.count("killed while it started");
                    tokio::time::sleep(START.mul_f64(self.random.f64())).await;
                }
                1..3 => {
                    self.world.progress.steps(self.random.usize(..CHANGES)).await;
                    self.world.settle(&mut self.server.client()).await;
                    self.world.count("killed at rest");
                }
                _ => {
                    self.world.count("killed at work");
                    self.world.progress.steps(self.random.usize(..CHANGES)).await;
                }
            }
            self.server.kill();
            self.world.paused.send_replace(false);
        }
        self.server.start();
        self.world.progress.steps(CHANGES).await;
        self.world.settle(&mut self.server.client()).await;
        self.world.over.set(true);
        self.world.progress.news();
        self.world.paused.send_replace(true);
    }
}

fn scenario(settings: &Settings) {
    let husk = Husk::new();
    let world = World::new();
    let mut killer =
        Killer { world: &world, server: Server::new(&husk), random: fastrand::Rng::with_seed(settings.seed) };
    let writers = (0..WRITERS).map(|id| Writer {
        world: &world,
        client: killer.server.client(),
        random: fastrand::Rng::with_seed(settings.seed.wrapping_add(1 + id as u64)),
        id,
        next: 0,
        objects: BTreeMap::new(),
    });
    let writers: Vec<_> = writers.map(Writer::run).collect();
    let watchers = (0..WATCHERS).map(|id| Watcher {
        world: &world,
        id,
        list: killer.server.client(),
        watch: killer.server.client(),
        objects: BTreeMap::new(),
        last: 0,
        events: BTreeMap::new(),
        covered: Vec::new(),
        fresh: false,
    });
    let watchers: Vec<_> = watchers.map(Watcher::run).collect();
    run(async {
        let all = join(join_all(writers), join_all(watchers));
        let ((), (known, watchers)) = join(killer.run(settings.kills), all).await;
        let list = killer.server.client().read(MAPS).await.unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let left: BTreeMap<String, Known> = items.map(|object| (name(object), Known::of(object))).collect();
        let written = left.iter().filter(|(name, _)| name.starts_with('w'));
        let known: BTreeMap<String, Known> = known.into_iter().flatten().collect();
        assert_eq!(written.map(|(name, known)| (name.clone(), known.clone())).collect::<BTreeMap<_, _>>(), known);
        for watcher in &watchers {
            assert_eq!(watcher.objects, left);
            watcher.check();
        }
    });
    let tally = world.tally.borrow();
    report(&format!("seed {}: {} changes, {tally:?}", settings.seed, world.acknowledged.borrow().len()));
    assert!(tally.contains_key("went on"), "nobody ever went on: {tally:?}");
}

#[test]
fn what_was_acknowledged_outlives_a_server_that_is_killed() {
    scenario(&Settings::new(1, 60));
}

#[test]
fn what_was_acknowledged_outlives_another_server_that_is_killed() {
    scenario(&Settings::new(1000, 60));
}
