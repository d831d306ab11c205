//! Following changes.

use super::*;

fn watch(store: &Store, namespace: Option<&str>, since: u64) -> Result<Watch, Expired> {
    store.watch(resource("configmaps"), namespace, since)
}

fn add(store: &Store, namespace: &str, name: &str) -> u64 {
    let mut object = config_map(name);
    object.metadata.namespace = Some(namespace.into());
    store.create(object).unwrap();
    store.revision()
}

/// Makes another revision of a ConfigMap.
fn touch(store: &Store, namespace: &str, name: &str) -> u64 {
    let change = |object: &mut ConfigMap| {
        let data = object.data.get_or_insert_default().entry("count".into()).or_default();
        *data = (data.parse::<u64>().unwrap_or_default() + 1).to_string();
    };
    store.update(namespace, name, change).unwrap();
    store.revision()
}

/// All events that are there: kind, object, revision and the revision before.
fn events(watch: &mut Watch) -> Vec<(WatchKind, String, u64, Option<u64>)> {
    let mut events = Vec::new();
    while let Some(event) = watch.try_next().unwrap() {
        assert_eq!(event.revision, event.object.revision());
        let name = format!("{}/{}", event.object.namespace(), event.object.name());
        events.push((event.kind, name, event.revision, event.previous.map(|previous| previous.revision())));
    }
    events
}

#[test]
fn every_change_is_told_in_order() {
    use WatchKind::{Added, Deleted, Modified};
    let store = Store::default();
    add(&store, "ns", "before");
    let mut all = watch(&store, None, 1).unwrap();
    let mut one = watch(&store, Some("ns"), 1).unwrap();
    add(&store, "ns", "a");
    store.create_object(resource("secrets"), secret("a", "")).unwrap();
    add(&store, "other", "a");
    touch(&store, "ns", "a");
    store.delete::<ConfigMap>("ns", "a").unwrap();
    let expected = [
        (Added, "ns/a".to_owned(), 2, None),
        (Added, "other/a".to_owned(), 4, None),
        (Modified, "ns/a".to_owned(), 5, Some(2)),
        (Deleted, "ns/a".to_owned(), 6, Some(5)),
    ];
    assert_eq!(events(&mut all), expected);
    assert_eq!(events(&mut one), [&expected[..1], &expected[2..]].concat());
    // What is remembered can be followed later, too.
    assert_eq!(events(&mut watch(&store, None, 4).unwrap()), expected[2..]);
}

#[test]
fn what_is_gone_is_told_as_it_was_at_last() {
    let store = Store::default();
    add(&store, "ns", "a");
    touch(&store, "ns", "a");
    store.delete::<ConfigMap>("ns", "a").unwrap();
    let event = watch(&store, None, 2).unwrap().try_next().unwrap().unwrap();
    assert_eq!(
        String::from_utf8_lossy(event.object.json()),
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"3","name":"a","namespace":"ns"},"data":{"count":"1"}}"#
    );
    assert_eq!(event.object.typed::<ConfigMap>().unwrap().metadata.resource_version.as_deref(), Some("3"));
}

#[test]
fn a_watch_knows_how_far_it_is() {
    let store = Store::default();
    let mut watch = watch(&store, Some("ns"), 0).unwrap();
    assert_eq!(watch.revision(), Ok(0));
    add(&store, "other", "a");
    assert_eq!(watch.revision(), Ok(1));
    add(&store, "ns", "a");
    add(&store, "other", "b");
    assert_eq!(watch.revision(), Ok(1));
    watch.try_next().unwrap().unwrap();
    assert_eq!(watch.revision(), Ok(3));
}

#[test]
fn only_so_many_changes_are_remembered() {
    let store = Store::default();
    add(&store, "ns", "a");
    let mut slow = watch(&store, None, 1).unwrap();
    for _ in 0..MAX_HISTORY {
        touch(&store, "ns", "a");
    }
    // The very first one was the creation.
    assert_eq!(watch(&store, None, 0).unwrap_err(), Expired { since: 0, oldest: 1 });
    assert!(slow.try_next().unwrap().is_some());
    let mut behind = watch(&store, None, 1).unwrap();
    let latest = touch(&store, "ns", "a");
    assert_eq!(watch(&store, None, 1).unwrap_err().to_string(), "too old resource version: 1 (2)");
    assert_eq!(behind.try_next().unwrap_err(), Expired { since: 1, oldest: 2 });
    assert_eq!(watch(&store, None, latest + 1).unwrap_err(), Expired { since: latest + 1, oldest: 2 });
    // Other resources have a history of their own.
    assert!(store.watch(resource("secrets"), None, 0).is_ok());
    // Whoever fell behind still gets what was taken out for them, and then no more.
    for _ in 0..300 {
        touch(&store, "ns", "a");
    }
    let expired = loop {
        match slow.try_next() {
            Ok(event) => assert!(event.unwrap().revision < 300),
            Err(expired) => break expired,
        }
    };
    assert_eq!(expired.oldest, 302);
}

#[test]
fn only_so_many_bytes_are_remembered() {
    let store = Store::default();
    add(&store, "ns", "early");
    for n in 0..100 {
        let content = n.to_string() + &"x".repeat(MAX_OBJECT_BYTES / 2);
        let put = |_: &StoredObject| Ok::<_, ()>(Change::Put(secret("a", &content)));
        if store.change_object(resource("secrets"), "ns", "a", put).is_err() {
            store.create_object(resource("secrets"), secret("a", &content)).unwrap();
        }
    }
    // The oldest go first, whatever they are of.
    assert!(watch(&store, None, 0).is_err());
    let revision = store.revision();
    let remembered = (0..revision).rev().take_while(|since| store.watch(resource("secrets"), None, *since).is_ok());
    let remembered = remembered.count();
    assert!((80..90).contains(&remembered), "{remembered}");
}

#[tokio::test]
async fn who_waits_for_an_event_is_woken() {
    let store = Store::default();
    let mut watch = watch(&store, None, 0).unwrap();
    let writer = async {
        tokio::task::yield_now().await;
        store.create_object(resource("secrets"), secret("a", "")).unwrap();
        tokio::task::yield_now().await;
        add(&store, "ns", "a")
    };
    let (event, revision) = tokio::join!(watch.next(), writer);
    assert_eq!(event.unwrap().revision, revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_watches_see_the_same() {
    const CHANGES: u64 = 1000;
    let store = Store::default();
    let watches: Vec<_> = (0..100).map(|_| watch(&store, None, 0).unwrap()).collect();
    let follow = |mut watch: Watch| async move {
        let mut last = 0;
        while last < CHANGES {
            let revision = watch.next().await.unwrap().revision;
            assert_eq!(revision, last + 1);
            last = revision;
        }
    };
    let followers: Vec<_> = watches.into_iter().map(|watch| tokio::spawn(follow(watch))).collect();
    add(&store, "ns", "a");
    for _ in 1..CHANGES {
        touch(&store, "ns", "a");
        tokio::task::yield_now().await;
    }
    for follower in followers {
        follower.await.unwrap();
    }
}

#[test]
fn the_same_object_is_decoded_once() {
    let store = Store::default();
    let object = store.create_object(resource("secrets"), secret("a", "eA==")).unwrap();
    assert!(Arc::ptr_eq(&object.value(), &object.value()));
    assert!(Arc::ptr_eq(&object.typed::<Secret>().unwrap(), &object.typed::<Secret>().unwrap()));
    // Of what is no longer the latest, no typed form is kept.
    store.delete::<Secret>("ns", "a").unwrap();
    assert!(!Arc::ptr_eq(&object.typed::<Secret>().unwrap(), &object.typed::<Secret>().unwrap()));
}

#[test]
fn changes_to_one_object_do_not_overtake_each_other() {
    let store = Store::default();
    add(&store, "ns", "a");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    touch(&store, "ns", "a");
                }
            });
        }
    });
    let object = store.get::<ConfigMap>("ns", "a").unwrap();
    assert_eq!(object.data.as_ref().unwrap()["count"], "1000");
    assert_eq!(store.revision(), 1001);
}
