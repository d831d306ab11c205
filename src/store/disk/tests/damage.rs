//! Damage of any kind is noticed, or of no consequence; and the file is left alone.

use redb::{Builder, Database, ReadableTable};

use super::super::body::Body;
use super::super::header::{self, HEADER_BYTES};
use super::super::record::{self, META, OBJECTS, SUMMARY, Summary};
use super::*;

/// Files with objects: one that was closed, one whose process was killed.
fn files() -> [Vec<u8>; 2] {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    for n in 0..40 {
        let content = "x".repeat(n * 100);
        write(&store, &format!("s{n}"), &content).unwrap();
        if n.is_multiple_of(5) {
            store.wait(store.revision());
        }
    }
    for n in 0..10 {
        remove(&store, &format!("s{n}"));
    }
    write(&store, "last", "change").unwrap();
    store.wait(store.revision());
    let killed = disk.after_kill();
    drop(store);
    [disk.after_kill(), killed]
}

impl Store {
    fn wait(&self, revision: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.durable(revision)).unwrap();
    }
}

/// Opens a damaged file: gives why that fails, or checks that nothing is missing.
fn check(whole: &[u8], damaged: Vec<u8>, what: &str) -> Option<OpenError> {
    let disk = SimDisk::with(damaged.clone());
    match open(&disk) {
        Err(error) => {
            assert_eq!(disk.writes(), 0, "{what}: {error}");
            Some(error)
        }
        Ok(store) => {
            let expected = open(&SimDisk::with(whole.to_vec())).unwrap();
            assert_eq!(content(&store), content(&expected), "{what}");
            assert!(store.revision() >= expected.revision(), "{what}");
            // It stays whole when it is written.
            for n in 0..10 {
                write(&store, &format!("new{n}"), &"y".repeat(n * 500)).unwrap();
            }
            let after = content(&store);
            drop(store);
            assert_eq!(content(&open(&disk).unwrap()), after, "{what}");
            None
        }
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_does_no_harm() {
    let mut random = fastrand::Rng::with_seed(1);
    for (file, whole) in files().into_iter().enumerate() {
        let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
        let mut noticed = 0;
        let anywhere = (0..40).map(|_| random.usize(..whole.len())).collect::<Vec<_>>();
        let header = (0..128).chain(HEADER_BYTES as usize..HEADER_BYTES as usize + 320).step_by(3);
        let in_use = (0..120).map(|_| used[random.usize(..used.len())]).collect::<Vec<_>>();
        for at in anywhere.into_iter().chain(header).chain(in_use) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << random.u8(..8);
            noticed += u32::from(check(&whole, damaged, &format!("file {file}, byte {at}")).is_some());
        }
        assert!(noticed > 80, "{noticed}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_noticed_or_nothing_was_there() {
    let mut random = fastrand::Rng::with_seed(2);
    for (file, whole) in files().into_iter().enumerate() {
        let pages = (0..whole.len()).step_by(4096 * (whole.len() / 4096 / 60).max(1));
        let anywhere = (0..60).map(|_| random.usize(..whole.len())).collect::<Vec<_>>();
        for length in pages.chain(anywhere) {
            let error = check(&whole, whole[..length].to_vec(), &format!("file {file}, {length} bytes"));
            assert!(length > HEADER_BYTES as usize || error.is_some());
        }
    }
}

#[test]
fn pages_that_are_overwritten_are_noticed_or_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(3);
    for (file, whole) in files().into_iter().enumerate() {
        for _ in 0..60 {
            let page = random.usize(..whole.len() / 4096) * 4096;
            let from = random.usize(..whole.len() / 4096) * 4096;
            let mut damaged = whole.clone();
            match random.bool() {
                true => damaged[page..page + 4096].fill(0),
                false => damaged.copy_within(from..from + 4096, page),
            }
            check(&whole, damaged, &format!("file {file}, page {page}"));
        }
    }
}

#[test]
fn the_message_says_which_object_is_damaged_and_what_can_be_done() {
    for whole in files() {
        let at = whole.windows(6).rposition(|window| window == b"change").unwrap();
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        let message = check(&whole, damaged, "").unwrap().to_string();
        let record = whole[..at].windows(8).rposition(|window| window == record::MAGIC).unwrap();
        let object = format!(r#"; damaged may be: secrets "ns/last" (revision 51, at byte {record}); the file"#);
        assert!(message.starts_with(r#"the objects in "objects" are damaged: "#), "{message}");
        assert!(message.contains(&object), "{message}");
        let remedy = "the file was left as it is: put a copy in its place, or move it away to begin anew";
        assert!(message.ends_with(remedy), "{message}");
    }
}

#[test]
fn what_is_no_file_of_ours_is_not_touched() {
    let [whole, _] = files();
    let error = |bytes: Vec<u8>| check(&[], bytes, "").unwrap().to_string();
    let foreign = "is not a file in which husk keeps objects: move it away to begin anew";
    assert!(error(b"#!/bin/sh".to_vec()).ends_with(foreign));
    assert!(error(vec![7; 10_000]).ends_with(foreign));
    assert!(error(whole[HEADER_BYTES as usize..].to_vec()).ends_with(foreign));
    assert!(error(Vec::new()).contains("are damaged: it has only 0 bytes left"));
    // Ours, but not as we left it.
    for at in [0, 8, 20] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert!(error(damaged).contains("are damaged: its header is not as it was written"), "{at}");
    }
    let mut newer = whole;
    let start = header::start(2);
    newer[..start.len()].copy_from_slice(&start);
    assert!(
        error(newer).contains("are in format 2, and this husk knows format 1 only: use the version that wrote them")
    );
}

/// Changes the tables of a file as no store does.
fn tamper(file: Vec<u8>, tamper: impl FnOnce(&redb::WriteTransaction)) -> Vec<u8> {
    let disk = SimDisk::with(file);
    let database: Database = Builder::new().create_with_backend(Body(Arc::new(disk.clone()))).unwrap();
    let transaction = database.begin_write().unwrap();
    tamper(&transaction);
    transaction.commit().unwrap();
    drop(database);
    disk.after_kill()
}

#[test]
fn a_table_that_was_tampered_with_is_noticed() {
    let [whole, _] = files();
    let message = |damaged: Vec<u8>| check(&[], damaged, "").unwrap().to_string();
    const LAST: &[u8] = b"secrets\0ns\0last";
    const OTHER: &[u8] = b"secrets\0ns\0s20";

    let missing = tamper(whole.clone(), |transaction| {
        transaction.open_table(OBJECTS).unwrap().remove(LAST).unwrap();
    });
    assert!(message(missing).contains("it should hold 31 objects and holds 30"));
    let misplaced = tamper(whole.clone(), |transaction| {
        let mut table = transaction.open_table(OBJECTS).unwrap();
        let record = table.remove(LAST).unwrap().unwrap().value().to_vec();
        table.insert(OTHER, record.as_slice()).unwrap();
    });
    assert!(message(misplaced).contains(r#"secrets "ns/s20" is not as it was written"#));
    let empty = tamper(whole.clone(), |transaction| {
        transaction.delete_table(OBJECTS).unwrap();
        transaction.open_table(OBJECTS).unwrap();
    });
    assert!(message(empty).contains("it should hold 31 objects and holds 0"));
    let unsummed = tamper(whole.clone(), |transaction| {
        transaction.open_table(META).unwrap().remove(SUMMARY).unwrap();
    });
    assert!(message(unsummed).contains("its summary is not readable"));
    let older = tamper(whole.clone(), |transaction| {
        let mut table = transaction.open_table(META).unwrap();
        let mut summary = Summary::decode(table.get(SUMMARY).unwrap().unwrap().value()).unwrap();
        summary.revision -= 1;
        table.insert(SUMMARY, summary.encode().as_slice()).unwrap();
    });
    assert!(message(older).contains(r#"Secret ns/last at 51 is newer than the file"#));
}

#[test]
fn objects_of_a_resource_that_is_not_known_are_kept() {
    static CRONTABS: ResourceType = ResourceType { group: "x.io", plural: "crontabs", ..base() };
    const fn base() -> ResourceType {
        ResourceType {
            group: "",
            version: "v1",
            kind: "CronTab",
            plural: "",
            singular: "",
            short_names: &[],
            categories: &[],
            namespaced: true,
            nature: crate::api::resources::Nature::Stored,
            subresources: &[],
        }
    }
    let disk = new_disk();
    let store = open(&disk).unwrap();
    store.create_object(&CRONTABS, secret("a", "")).unwrap();
    store.wait(store.revision());
    drop(store);
    let error = check(&[], disk.after_kill(), "").unwrap();
    assert!(error.to_string().contains("there are crontabs.x.io in \"objects\", which this husk knows nothing of"));
}
