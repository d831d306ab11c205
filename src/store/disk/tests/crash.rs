//! Crashes at any moment: what is left is everything up to some revision that is no earlier than what was acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// The environment variable that makes a test the process to be killed.
const VICTIM: &str = "HUSK_TEST_STORE_TO_WRITE";

/// What a store should hold, at each of its revisions.
#[derive(Debug, Default)]
struct Model {
    changes: Vec<(u64, String, Option<String>)>,
}

impl Model {
    fn at(&self, revision: u64) -> Vec<String> {
        let mut objects = BTreeMap::new();
        for (_, name, json) in self.changes.iter().filter(|(at, ..)| *at <= revision) {
            match json {
                Some(json) => objects.insert(name, json.clone()),
                None => objects.remove(name),
            };
        }
        objects.into_values().collect()
    }

    /// Changes an object of the store in a random way.
    fn change(&mut self, store: &Store, random: &mut fastrand::Rng) {
        let name = format!("s{}", random.u8(..20));
        if random.u8(..4) == 0 && store.get_object(secrets(), "ns", &name).is_some() {
            self.changes.push((remove(store, &name), name, None));
        } else {
            let content = "x".repeat(1 << random.u8(..14)) + &random.u8(..).to_string();
            let object = write(store, &name, &content).unwrap();
            let json = String::from_utf8(object.json().to_vec()).unwrap();
            // It may have been so before.
            self.changes.push((object.revision(), name, Some(json)));
        }
    }
}

#[tokio::test]
async fn a_crash_leaves_what_was_acknowledged() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut disk = new_disk();
        let mut model = Model::default();
        let mut seen = 0;
        for _ in 0..4 {
            let store = open(&disk).unwrap();
            assert!(store.revision() >= seen, "seed {seed}");
            let mut acknowledged = 0;
            for _ in 0..random.usize(..40) {
                model.change(&store, &mut random);
                if random.u8(..3) == 0 {
                    let revision = store.revision();
                    store.durable(revision).await.unwrap();
                    acknowledged = revision;
                }
            }
            let image = match random.u8(..3) {
                0 => disk.after_kill(),
                _ => disk.after_power_loss(&mut random),
            };
            seen = store.revision() + 1;
            drop(store);
            disk = SimDisk::with(image);

            let recent = Arc::default();
            let opened = open_disk(Arc::new(SimDisk::with(disk.after_kill())), Path::new("objects"), &recent);
            let opened = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(opened.rest >= acknowledged, "seed {seed}: {} < {acknowledged}", opened.rest);
            model.changes.retain(|(at, ..)| *at <= opened.rest);
            assert_eq!(content(&open(&disk).unwrap()), model.at(opened.rest), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_model_and_a_store_agree_through_reopening() {
    for seed in 100..120 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = new_disk();
        let mut model = Model::default();
        for _ in 0..4 {
            let store = open(&disk).unwrap();
            for _ in 0..random.usize(..60) {
                model.change(&store, &mut random);
            }
            let revision = store.revision();
            assert_eq!(content(&store), model.at(revision), "seed {seed}");
            drop(store);
            let store = open(&disk).unwrap();
            assert_eq!((content(&store), store.revision()), (model.at(revision), revision), "seed {seed}");
        }
    }
}

#[test]
fn revisions_never_go_back_even_if_nothing_is_ever_written() {
    let mut disk = new_disk();
    let mut seen = 0;
    for _ in 0..3 {
        let store = open(&disk).unwrap();
        disk.hold(true);
        assert!(store.revision() >= seen);
        for n in 0..5 {
            write(&store, "a", &n.to_string()).unwrap();
        }
        seen = store.revision() + 1;
        let image = disk.after_kill();
        disk.hold(false);
        disk = SimDisk::with(image);
    }
}

#[test]
fn what_can_be_followed_after_a_restart_is_what_came_since() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    for n in 0..5 {
        write(&store, "a", &n.to_string()).unwrap();
    }
    drop(store);
    let store = open(&disk).unwrap();
    let error = store.watch(secrets(), None, 4).unwrap_err();
    assert_eq!(error.to_string(), "too old resource version: 4 (5)");
    let mut watch = store.watch(secrets(), None, 5).unwrap();
    assert!(watch.try_next().unwrap().is_none());
    let image = disk.after_kill();

    // After a crash, revisions that may have been given for what is lost now are not known.
    let disk = SimDisk::with(image);
    let store = open(&disk).unwrap();
    let opened = store.revision();
    assert_eq!(opened, 5 + super::super::MAX_UNWRITTEN);
    for (since, fine) in [(4, false), (5, true), (6, false), (opened - 1, false), (opened, true), (opened + 1, false)] {
        assert_eq!(store.watch(secrets(), None, since).is_ok(), fine, "{since}");
    }
}

/// Runs as the victim, too: then it writes until it is killed, and prints what was acknowledged.
#[tokio::test]
async fn a_process_that_is_killed_loses_nothing_it_acknowledged() {
    if let Some(path) = std::env::var_os(VICTIM) {
        let store = Store::open(Path::new(&path)).unwrap();
        // Never what was there before, for that would be no change.
        for n in store.revision().. {
            let object = write(&store, &format!("s{}", n % 50), &n.to_string()).unwrap();
            store.durable(object.revision()).await.unwrap();
            let line = format!("{} {} {n}\n", object.revision(), object.name());
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects");
    let this = "store::disk::tests::crash::a_process_that_is_killed_loses_nothing_it_acknowledged";
    let mut latest = 0;
    for round in 0..5 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture", "--quiet"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged = BTreeMap::new();
        let mut note = |line: String| {
            let fields: Vec<_> = line.split(' ').collect();
            let [revision, name, n] = fields[..] else { return };
            let Ok(revision) = revision.parse::<u64>() else { return };
            assert!(revision > latest, "{revision} after {latest}");
            latest = revision;
            acknowledged.insert(name.to_owned(), (revision, n.to_owned()));
        };
        for _ in 0..40 * (round + 1) {
            note(lines.next().expect("the victim writes until it is killed"));
        }
        victim.kill().unwrap();
        lines.for_each(note);
        victim.wait().unwrap();

        let store = Store::open(&path).unwrap();
        assert!(store.revision() >= latest);
        for (name, (revision, n)) in acknowledged {
            let object = store.get_object(secrets(), "ns", &name).unwrap();
            let found: u64 = object.value()["stringData"]["key"].as_str().unwrap().parse().unwrap();
            assert!(
                object.revision() >= revision && found >= n.parse().unwrap(),
                "{name}: {object:?} is older than {n}"
            );
        }
    }
}
