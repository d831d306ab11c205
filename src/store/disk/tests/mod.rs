//! Objects survive what happens to machines, and what does not survive is noticed.

mod crash;
mod damage;
mod sim_disk;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use self::sim_disk::SimDisk;
use super::open::{create_on, open_disk};
use crate::api::resources::{ResourceType, find};
use crate::store::{Change, Changed, OpenError, Store, StoreError, StoreFailed, StoredObject};

fn secrets() -> &'static ResourceType {
    find("", "secrets").unwrap()
}

fn secret(name: &str, content: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "ns" }, "stringData": { "key": content } })
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::default();
    create_on(Arc::new(disk.clone())).unwrap();
    disk
}

fn open(disk: &SimDisk) -> Result<Store, OpenError> {
    let recent = Arc::default();
    let path = Path::new("objects");
    Store::keep(open_disk(Arc::new(disk.clone()), path, &recent)?, path, recent)
}

/// Writes a secret, whether or not there is one of that name.
fn write(store: &Store, name: &str, content: &str) -> Result<Arc<StoredObject>, StoreError> {
    if store.get_object(secrets(), "ns", name).is_none() {
        return store.create_object(secrets(), secret(name, content));
    }
    let put = |_: &StoredObject| Ok::<_, ()>(Change::Put(secret(name, content)));
    match store.change_object(secrets(), "ns", name, put) {
        Ok(changed) => Ok(changed.object().clone()),
        Err(crate::store::ChangeError::Store(error)) => Err(error),
        Err(crate::store::ChangeError::Refused(())) => unreachable!("nothing refuses"),
    }
}

fn remove(store: &Store, name: &str) -> u64 {
    let removed = store.change_object(secrets(), "ns", name, |_| Ok::<_, ()>(Change::Remove)).unwrap();
    let Changed::Removed(object) = removed else { panic!("{removed:?}") };
    object.revision()
}

/// All objects, as JSON.
fn content(store: &Store) -> Vec<String> {
    let (objects, _) = store.list_objects(secrets(), None);
    objects.iter().map(|object| String::from_utf8(object.json().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn objects_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects");
    let store = Store::open(&path).unwrap();
    for name in ["a", "b", "c"] {
        write(&store, name, "1").unwrap();
    }
    write(&store, "b", "2").unwrap();
    remove(&store, "a");
    let node = json!({ "metadata": { "name": "n", "labels": { "x": "y" }, "uid": "u" } });
    let nodes = find("", "nodes").unwrap();
    store.create_object(nodes, node).unwrap();
    let (before, revision) = (content(&store), store.revision());
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!((content(&store), store.revision()), (before, revision));
    let node = store.get_object(nodes, "", "n").unwrap();
    assert_eq!((node.uid(), node.labels()["x"].as_str(), node.revision()), ("u", "y", 6));
    assert_eq!(write(&store, "d", "").unwrap().revision(), revision + 1);
    assert_eq!(store.durable(store.revision()).await, Ok(()));
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects");
    drop(Store::open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["objects"]);
}

#[test]
fn a_file_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects");
    let store = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().ends_with("are in use by another husk: stop that one first"), "{error}");
    // A watch needs the file, too.
    let watch = store.watch(secrets(), None, 0).unwrap();
    drop(store);
    assert!(matches!(Store::open(&path), Err(OpenError::Locked { .. })));
    drop(watch);
    Store::open(&path).unwrap();
}

#[test]
fn a_directory_that_is_missing_is_said_so() {
    let error = Store::open(Path::new("/nonexistent/objects")).unwrap_err();
    assert_eq!(error.to_string(), r#"the objects in "/nonexistent/objects" cannot be opened"#);
    assert!(matches!(error, OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
}

#[tokio::test]
async fn what_is_not_on_the_disk_is_neither_acknowledged_nor_told_of() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    let mut watch = store.watch(secrets(), None, 0).unwrap();
    disk.hold(true);
    let object = write(&store, "a", "").unwrap();
    let mut durable = std::pin::pin!(store.durable(object.revision()));
    assert!(futures_now(durable.as_mut()).is_none());
    assert!(watch.try_next().unwrap().is_none());
    assert_eq!(watch.revision(), Ok(0));
    assert_eq!(*store.changes().borrow(), 1);
    disk.hold(false);
    durable.await.unwrap();
    assert_eq!(watch.next().await.unwrap().object.name(), "a");
    assert_eq!(watch.revision(), Ok(1));
}

/// What a future gives if it need not wait.
fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_disk_that_fails_ends_all_writing() {
    let disk = new_disk();
    let mut writes = 0;
    loop {
        let disk = SimDisk::with(disk.after_kill());
        let store = open(&disk).unwrap();
        for name in ["a", "b"] {
            let object = write(&store, name, "1").unwrap();
            store.durable(object.revision()).await.unwrap();
        }
        let before = content(&store);
        disk.fill_up_after(writes);
        let object = write(&store, "a", "2").unwrap();
        let outcome = store.durable(object.revision()).await;
        if outcome.is_ok() {
            // There was space enough.
            assert!(writes > 3);
            return;
        }
        writes += 1;
        let failed = outcome.unwrap_err();
        assert!(matches!(failed, StoreFailed::Disk { .. }));
        assert!(failed.to_string().starts_with(r#"objects can no longer be kept in "objects": "#), "{failed}");
        // What is durable stays so; nothing more comes.
        assert_eq!(store.durable(2).await, Ok(()));
        assert_eq!(write(&store, "c", "").unwrap_err(), StoreError::Failed(failed));
        let revision = store.revision();
        drop(store);
        let store = open(&SimDisk::with(disk.after_kill())).unwrap();
        assert!(content(&store) == before || content(&store).len() == 2, "{:?}", content(&store));
        assert!(store.revision() > revision);
    }
}

#[test]
fn memory_is_ahead_of_the_disk_by_so_much_only() {
    let disk = new_disk();
    let store = open(&disk).unwrap();
    disk.hold(true);
    let last = (0..).find_map(|n| write(&store, &format!("s{}", n % 10), &n.to_string()).err()).unwrap();
    assert_eq!(
        last.to_string(),
        r#"100000 changes wait to be written to "objects": its disk does not keep up; try again later"#
    );
    assert_eq!(store.revision(), super::MAX_UNWRITTEN);
    disk.hold(false);
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!((content(&store).len(), store.revision()), (10, super::MAX_UNWRITTEN));
}
