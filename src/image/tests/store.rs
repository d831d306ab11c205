//! The store under stress: what is in use stays, what is not goes, and a process that is killed leaves a store that
//! works.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::image::collect::Prune;

/// The environment variable that tells a child of a test which store to work on.
const CHILD: &str = "HUSK_TEST_IMAGE_STORE";

#[test]
fn images_in_use_are_kept_and_others_make_room() {
    let fixture = Fixture::new();
    for name in ["old", "used", "new", "mine"] {
        fixture.import(name, name);
    }
    // As if three of them had been pulled, in this order.
    let path = fixture.root().join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for entry in index["manifests"].as_array_mut().unwrap() {
        let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned();
        if !name.contains("mine") {
            entry["annotations"]["dev.husk.image.source"] = json!("registry");
        }
        let age = if name.contains("old") { 3000 } else { 1000 };
        let blob = File::open(fixture.blob(entry["digest"].as_str().unwrap())).unwrap();
        blob.set_modified(fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_secs(age)).unwrap();
    }
    fs::write(&path, index.to_string()).unwrap();
    let store = fixture.open();
    let used = store.resolve("used").unwrap();
    let copy = used.clone();
    drop(used);
    // Another process.
    let other = fixture.open();
    assert_eq!(other.collect_to_limit(other.size()).unwrap(), Collected::default());
    let collected = other.collect_to_limit(other.size() - 1).unwrap();
    assert_eq!(collected.names, ["docker.io/library/old:latest"]);
    assert!(collected.bytes > 0);
    let collected = other.collect_to_limit(0).unwrap();
    assert_eq!(collected.names, ["docker.io/library/new:latest"], "the one in use and what was never pulled stay");
    assert!(other.resolve("used").is_ok() && other.resolve("mine").is_ok());
    drop(copy);
    assert_eq!(other.collect_to_limit(0).unwrap().names, ["docker.io/library/used:latest"]);
    assert_eq!(other.prune(Prune::Unused).unwrap().names, ["docker.io/library/mine:latest"]);
    assert_eq!(fixture.blobs(), Vec::<String>::new());
    assert_eq!(fs::read_dir(fixture.root().join("leases")).unwrap().count(), 0);
}

#[test]
fn a_lease_ends_with_its_process() {
    let fixture = Fixture::new();
    fixture.import("app", "one");
    let dead = fixture.root().join("leases").join("of-a-process-that-is-gone");
    fs::write(&dead, "0".repeat(64)).unwrap();
    fixture.open().prune(Prune::Unnamed).unwrap();
    assert!(!dead.exists());
}

#[test]
fn copies_of_layers_are_given_up_before_images() {
    let fixture = Fixture::new();
    let layer = fixture.put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(&[b'x'; 100_000]));
    fixture.make_image(layer, &Sha256Hex::of(&[b'x'; 100_000]).to_string());
    let path = layer_path(&fixture.open().resolve("made").unwrap());
    assert!(path.exists());
    let store = fixture.open();
    let collected = store.collect_to_limit(50_000).unwrap();
    assert_eq!(collected.names, Vec::<String>::new());
    assert!(!path.exists() && collected.bytes >= 100_000);
    assert!(store.resolve("made").is_ok(), "it is made again");
}

/// Files of an image that is unpacked.
const FILES: usize = 20;

/// Not a test of its own: imports, loads, tags and removes until it is killed.
#[test]
fn child_that_works_until_it_is_killed() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let directory = tempfile::tempdir().unwrap();
    for number in 0.. {
        let store = ImageStore::open(Path::new(&root), true).unwrap();
        let program = directory.path().join("p.wasm");
        fs::write(&program, [MODULE, number.to_string().as_bytes(), &[b'x'; 200_000]].concat()).unwrap();
        store.import_wasm(&program, &format!("app:{}", number % 5)).unwrap();
        store.tag(&format!("app:{}", number % 5), &format!("tagged:{}", number % 3)).unwrap();
        let _image = store.resolve(&format!("tagged:{}", number % 3)).unwrap();
        if number % 4 == 3 {
            store.remove(&format!("app:{}", number % 5)).unwrap();
        }
        let context = directory.path().join("context");
        fs::create_dir_all(&context).unwrap();
        for file in 0..FILES {
            fs::write(context.join(file.to_string()), format!("{number} {file} ").repeat(500)).unwrap();
        }
        let names = vec![format!("native:{}", number % 2)];
        store.build(&BuildRequest { context, names, ..BuildRequest::default() }).unwrap();
        #[cfg(target_os = "linux")]
        store.unpack(&format!("native:{}", number % 2), PlatformChoice::Linux).unwrap();
    }
}

#[test]
fn a_kill_at_any_point_leaves_a_store_that_works() {
    let fixture = Fixture::new();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..12 {
        let children: Vec<_> = (0..2)
            .map(|_| {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["child_that_works_until_it_is_killed", "--nocapture", "--test-threads=1"]);
                command.env(CHILD, fixture.root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().unwrap()
            })
            .collect();
        for mut child in children {
            // Until something was done, and then at any moment.
            let begun = std::iter::repeat_with(|| fixture.root().join("index.json").exists())
                .take(100_000_000)
                .find(|there| *there);
            assert!(begun.is_some());
            let (_sender, receiver) = std::sync::mpsc::channel::<()>();
            let _elapsed = receiver.recv_timeout(Duration::from_micros(random.u64(0..60_000)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let store = fixture.open();
        let listed = store.list().unwrap();
        let stored: Vec<_> = listed.iter().filter(|image| image.kind == ImageKind::Stored).collect();
        for image in &stored {
            assert_ne!(image.id, "<damaged>", "round {round}: {image:?}");
            let found = store.resolve(&image.reference).unwrap();
            if !found.is_wasm() {
                continue;
            }
            let contents = fs::read(layer_path(&found)).unwrap();
            assert_eq!(Sha256Hex::of(&contents).to_string(), found.layers[0].diff_id, "round {round}");
        }
        for ownership in fs::read_dir(fixture.root().join("unpacked")).into_iter().flatten() {
            for layer in fs::read_dir(ownership.unwrap().path()).unwrap() {
                let files =
                    fs::read_dir(layer.unwrap().path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
                let files: Vec<_> = files.collect();
                assert!(files.len() == FILES && files.iter().all(|size| *size >= 2000), "round {round}: {files:?}");
            }
        }
        drop(store);
        fixture.open().prune(Prune::Unnamed).unwrap();
        let needed: std::collections::HashSet<_> = stored.iter().map(|image| image.digest.clone()).collect();
        assert_eq!(fixture.blobs().len(), 3 * needed.len(), "round {round}: garbage was left");
        assert_eq!(fs::read_dir(fixture.root().join("ingest")).unwrap().count(), 0, "round {round}");
    }
}
