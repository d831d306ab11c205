//! Pods on a server that is killed (semantics §9, "Agent restart"): their containers are gone with it and count as ended
//! in a way nobody saw; restart counts go on and never miss a start; what was ended or was being deleted stays so.
//!
//! Guests append a line to a file of this machine's when they start, which tells what really happened.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join3;
use serde_json::{Value, json};

use super::client::{Client, Cut, name, version};
use super::{Progress, START, Server, Settings, report, run};
use crate::support::Husk;

/// How long what was deleted may take to be gone, at the most.
const END_LIMIT: Duration = Duration::from_secs(120);
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Containers that are seen to run in one life, at most.
const STARTS: usize = 12;
/// Pods of each kind at the same time.
const FEW: usize = 3;
/// Pods that are not to be restarted, at the same time.
const MANY: usize = 12;
/// How long to wait for something to happen that need not.
const PAUSE: Duration = Duration::from_millis(20);

/// What a pod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its container is started again whenever it has ended, which it does only with its server.
    Always,
    /// Its container is started once, if ever.
    Never,
    /// Its container ignores that it is asked to end.
    Stubborn,
}

impl Kind {
    fn pod(self, name: &str, starts: &Path) -> Value {
        let file = format!("/v/{name}");
        let counts = ["append", &file, "started\n", ",", "wait"];
        let (policy, image, args) = match self {
            Self::Always => ("Always", "test/p1/files", &counts[..]),
            Self::Never => ("Never", "test/p1/files", &counts[..]),
            Self::Stubborn => ("Always", "test/p1/signals", &["ignore"][..]),
        };
        let container = json!({
            "name": "c", "image": image, "args": args, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        });
        json!({
            "metadata": {"name": name, "labels": {"kind": format!("{self:?}")}},
            "spec": {
                "restartPolicy": policy, "terminationGracePeriodSeconds": 1,
                "volumes": [{"name": "v", "hostPath": {"path": starts}}], "containers": [container],
            },
        })
    }
}

/// What is known of a pod that was created.
#[derive(Debug)]
struct Created {
    kind: Kind,
    uid: String,
    /// Whether its deletion was acknowledged.
    deleted: bool,
}

#[derive(Default)]
struct World {
    /// Where pods write that they start.
    starts: PathBuf,
    /// Containers that were told to run.
    progress: Progress,
    created: RefCell<BTreeMap<String, Created>>,
    told: RefCell<BTreeMap<String, Told>>,
    over: Cell<bool>,
}

/// A pod as clients were told last.
#[derive(Debug, Default)]
struct Told {
    restarts: i64,
    /// The container that ran last.
    container: Option<String>,
    ended: Option<String>,
    deletion: Option<String>,
    gone: bool,
}

impl Told {
    /// Takes in what is told now, which must not be at odds with what was told before. Whether it is that a container runs.
    fn take(&mut self, pod: &Value) -> bool {
        assert!(!self.gone, "it has come back: {pod}");
        let status = &pod["status"];
        let container = &status["containerStatuses"][0];
        let restarts = container["restartCount"].as_i64().unwrap_or(self.restarts);
        assert!(restarts >= self.restarts, "was restarted {} times: {pod}", self.restarts);
        self.restarts = restarts;
        let phase = status["phase"].as_str().unwrap_or_default();
        if let Some(ended) = &self.ended {
            assert_eq!(phase, ended, "{pod}");
        }
        self.ended = ["Succeeded", "Failed"].contains(&phase).then(|| phase.to_owned());
        let deletion = pod["metadata"]["deletionTimestamp"].as_str().map(str::to_owned);
        match (&self.deletion, &deletion) {
            (Some(before), Some(now)) => assert!(now <= before, "was to be gone by {before}: {pod}"),
            (before, now) => assert!(before.is_none() || now.is_some(), "was being deleted: {pod}"),
        }
        let ends = [&container["state"]["terminated"], &container["lastState"]["terminated"]];
        for end in ends.into_iter().filter(|end| end.is_object() && deletion.is_none()) {
            let (code, reason) = (end["exitCode"].as_i64(), end["reason"].as_str());
            assert_eq!((code, reason), (Some(137), Some("ContainerStatusUnknown")), "{pod}");
        }
        self.deletion = deletion;
        let runs = container["containerID"].as_str().filter(|_| container["state"]["running"].is_object());
        let is_new = runs.is_some() && runs != self.container.as_deref();
        self.container = runs.map(str::to_owned).or(self.container.take());
        is_new
    }
}

fn uid(pod: &Value) -> String {
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

impl World {
    fn take(&self, pod: &Value) {
        if self.told.borrow_mut().entry(uid(pod)).or_default().take(pod) {
            self.progress.step();
        }
    }

    /// Lists all pods: the ones that were created are there, and those that are not are gone.
    async fn list(&self, client: &mut Client) -> u64 {
        let created: Vec<String> = self.created.borrow().keys().cloned().collect();
        let list = client.read(PODS).await.unwrap();
        let pods = list["items"].as_array().unwrap();
        pods.iter().for_each(|pod| self.take(pod));
        let there: BTreeSet<String> = pods.iter().map(uid).collect();
        for name in created {
            let Created { uid, deleted, .. } = &self.created.borrow()[&name];
            assert!(*deleted || there.contains(uid), "{name} is lost");
        }
        for (_, told) in self.told.borrow_mut().iter_mut().filter(|(uid, _)| !there.contains(*uid)) {
            told.gone = true;
        }
        version(&list)
    }

    /// Follows all pods.
    async fn follow(&self, mut list: Client, mut watch: Client) {
        let mut last = None;
        while !self.over.get() {
            let since = match last {
                Some(last) => last,
                None => self.list(&mut list).await,
            };
            last = Some(since);
            let Ok(mut lines) = watch.watch(&format!("{PODS}?watch=true&resourceVersion={since}")).await else {
                continue;
            };
            loop {
                let line = tokio::select! {
                    line = lines.next() => line,
                    () = self.progress.until(|| self.over.get()) => return,
                };
                let Ok(event) = line else { break };
                let pod = &event["object"];
                if event["type"] == "ERROR" {
                    assert_eq!(pod["code"], 410, "{event}");
                    last = None;
                    break;
                }
                let version = version(pod);
                assert!(last < Some(version), "{event} after {last:?}");
                last = Some(version);
                self.take(pod);
                if event["type"] == "DELETED" {
                    self.told.borrow_mut().get_mut(&uid(pod)).unwrap().gone = true;
                }
            }
        }
    }

    /// Creates and deletes pods.
    async fn churn(&self, mut client: Client, mut random: fastrand::Rng) {
        for number in 0.. {
            // Pods have time to get somewhere; if nothing happens any more, this makes that something does.
            let _ = tokio::time::timeout(PAUSE, self.progress.steps(random.usize(..4))).await;
            if self.over.get() {
                return;
            }
            let kind = [Kind::Always, Kind::Never, Kind::Stubborn][random.usize(..3)];
            let of_kind: Vec<String> = {
                let created = self.created.borrow();
                let there = created.iter().filter(|(_, created)| created.kind == kind && !created.deleted);
                there.map(|(name, _)| name.clone()).collect()
            };
            let room = if kind == Kind::Never { MANY } else { FEW };
            if of_kind.len() < room {
                self.create(&mut client, kind, &format!("{}-{number}", format!("{kind:?}").to_lowercase())).await;
            } else {
                self.delete(&mut client, &of_kind[random.usize(..of_kind.len())], random.u8(..3)).await;
            }
        }
    }

    async fn create(&self, client: &mut Client, kind: Kind, pod: &str) {
        let found = match client.send("POST", PODS, &kind.pod(pod, &self.starts)).await {
            Ok((201, created)) => Some(created),
            Ok(other) => panic!("{pod}: {other:?}"),
            Err(Cut) => client.read(&format!("{PODS}/{pod}")).await,
        };
        if let Some(found) = found {
            let created = Created { kind, uid: uid(&found), deleted: false };
            self.created.borrow_mut().insert(name(&found), created);
        }
    }

    async fn delete(&self, client: &mut Client, pod: &str, grace: u8) {
        let (path, options) = (format!("{PODS}/{pod}"), json!({"gracePeriodSeconds": grace}));
        // It may be gone before that is acknowledged.
        self.created.borrow_mut().get_mut(pod).unwrap().deleted = true;
        loop {
            match client.send("DELETE", &path, &options).await {
                Ok((200 | 202, _)) => return,
                Ok(other) => panic!("{pod}: {other:?}"),
                Err(Cut) => {
                    let found = client.read(&path).await;
                    if found.is_none_or(|found| found["metadata"]["deletionTimestamp"].is_string()) {
                        return;
                    }
                }
            }
        }
    }
}

impl World {
    /// Waits until what was deleted is gone, with its files.
    async fn end(&self, husk: &Husk, mut client: Client) {
        let directory = husk.dir().join("data/server/pods");
        let gone = async {
            loop {
                self.list(&mut client).await;
                if self.deleted_are_gone(&directory) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let left = || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        tokio::time::timeout(END_LIMIT, gone).await.unwrap_or_else(|_| panic!("what was deleted stays: {:?}", left()));
    }

    fn deleted_are_gone(&self, directory: &Path) -> bool {
        let (created, told) = (self.created.borrow(), self.told.borrow());
        let is_gone = |uid: &String| told.get(uid).is_none_or(|told| told.gone) && !directory.join(uid).exists();
        created.values().filter(|created| created.deleted).all(|Created { uid, .. }| is_gone(uid))
    }
}

/// What is true of pods in the end.
fn check(world: &World, kills: usize) {
    let told = world.told.borrow();
    let (mut restarts, mut ended) = (0, 0);
    for (name, created) in world.created.borrow().iter() {
        let written = fs::read_to_string(world.starts.join(name)).unwrap_or_default();
        let starts = written.lines().count();
        let Some(told) = told.get(&created.uid) else { continue };
        let counted = usize::try_from(told.restarts).unwrap() + 1;
        match created.kind {
            // Of one that is gone, the last start need not have been told.
            Kind::Always if !created.deleted => {
                assert!(starts <= counted, "{name} started {starts} times, and counts {counted}");
                // The others were killed before they could write.
                assert!(counted <= kills + 1, "{name} counts {counted} with {kills} servers killed");
            }
            Kind::Never => {
                assert!(starts <= 1 && told.restarts == 0, "{name} started {starts} times");
                ended += usize::from(told.ended.is_some());
            }
            Kind::Always | Kind::Stubborn => {}
        }
        restarts += told.restarts;
    }
    report(&format!("{} pods, {restarts} restarts, {ended} ended", told.len()));
    assert!(restarts > 0 && ended > 0, "nothing of interest has happened");
}

fn scenario(settings: &Settings) {
    let husk = Husk::new();
    for guest in ["files", "signals"] {
        husk.image("p1", guest);
    }
    let starts = husk.dir().join("starts");
    fs::create_dir(&starts).unwrap();
    let world = World { starts, ..World::default() };
    let mut server = Server::new(&husk);
    let (list, watch, churn) = (server.client(), server.client(), server.client());
    let random = fastrand::Rng::with_seed(settings.seed);
    run(async {
        let mut chance = fastrand::Rng::with_seed(settings.seed.wrapping_add(1));
        let killer = async {
            for _ in 0..settings.kills {
                server.start();
                if chance.u8(..8) == 0 {
                    tokio::time::sleep(START.mul_f64(chance.f64())).await;
                } else {
                    world.progress.steps(chance.usize(..STARTS)).await;
                }
                server.kill();
            }
            server.start();
            world.progress.steps(STARTS).await;
            world.over.set(true);
            world.progress.news();
        };
        join3(killer, world.follow(list, watch), world.churn(churn, random)).await;
        world.end(&husk, server.client()).await;
    });
    check(&world, settings.kills);
}

#[test]
fn pods_go_on_with_the_next_server() {
    scenario(&Settings::new(1, 45));
}

#[test]
fn pods_go_on_with_the_server_after_that() {
    scenario(&Settings::new(1000, 45));
}
