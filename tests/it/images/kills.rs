//! Processes that are killed while they pull, load and build: whenever that happens, the store works.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::registry::{TestRegistry, Wanted};
use crate::support::{Husk, guest_file};

/// Kills of each verb.
const ROUNDS: u32 = 10;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// A directory of which an image of several layers is built.
fn context(husk: &Husk, name: &str, seed: u64) -> String {
    for number in 0..3 {
        husk.write(&format!("{name}/file{number}"), noise(seed + number, 1_500_000));
    }
    let guest = fs::read(guest_file("p1", "hello")).unwrap();
    husk.write(&format!("{name}/app.wasm"), guest);
    let file = "FROM scratch\nCOPY file0 /\nCOPY file1 /\nCOPY file2 app.wasm /\nENTRYPOINT [\"/app.wasm\"]\n";
    husk.write(&format!("{name}/Dockerfile"), file);
    husk.dir().join(name).display().to_string()
}

/// Whatever is under its name has its digest, and what the index names is there.
fn is_sound(husk: &Husk, what: &str) {
    let root = husk.dir().join("data/images");
    let blobs = root.join("blobs/sha256");
    for directory in [&blobs, &root.join("uncompressed/sha256")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(hex(&path), path.file_name().unwrap().to_string_lossy(), "{what}");
        }
    }
    let listed = husk.husk(["image", "ls"]).ok();
    assert!(!listed.contains("<damaged>"), "{what}: {listed}");
    let index: serde_json::Value = serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    for entry in index["manifests"].as_array().unwrap() {
        let named = |descriptor: &serde_json::Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let path = blobs.join(digest.trim_start_matches("sha256:"));
            assert!(path.exists(), "{what}: {digest} is missing");
            path
        };
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(named(entry)).unwrap()).unwrap();
        manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]).for_each(|blob| drop(named(blob)));
    }
}

fn hex(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_kill_at_any_point_of_a_pull_load_or_build_leaves_a_store_that_works() {
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let husk = Husk::new();
    let (pulled, built) = (format!("{}/pulled:1", registry.address), "built:1");
    let built_from = context(&husk, "built", 100);
    let archive = husk.dir().join("loaded.tar").display().to_string();
    husk.husk(["image", "build", "-t", &pulled, "-t", "loaded:1", &context(&husk, "pulled", 200)]).exits(0);
    husk.husk(["image", "push", "-q", &pulled]).exits(0);
    husk.husk(["image", "save", "-o", &archive, "loaded:1"]).exits(0);
    husk.husk(["image", "rm", &pulled, "loaded:1"]).exits(0);
    husk.husk(["image".as_ref(), "import".as_ref(), guest_file("p2", "hello").as_os_str(), "kept:1".as_ref()]).exits(0);
    let verbs: [&[&str]; 3] = [
        &["image", "pull", "-q", &pulled],
        &["image", "load", "-i", &archive],
        &["image", "build", "-t", built, &built_from],
    ];
    let names = [pulled.as_str(), "loaded:1", built];
    let mut random = fastrand::Rng::with_seed(11);
    for (verb, name) in verbs.iter().zip(names) {
        // How long it takes if it is left alone.
        let begun = tokio::time::Instant::now();
        husk.husk(*verb).exits(0);
        let whole = begun.elapsed();
        for round in 0..ROUNDS {
            if husk.husk(["image", "ls"]).ok().contains(name.split(':').next().unwrap()) {
                husk.husk(["image", "rm", name]);
            }
            let mut child = husk.command(*verb).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let pause =
                whole.mul_f64(f64::from(round) / f64::from(ROUNDS)) + Duration::from_micros(random.u64(..20_000));
            let (_sender, receiver) = std::sync::mpsc::channel::<()>();
            let _elapsed = receiver.recv_timeout(pause);
            child.kill().unwrap();
            child.wait().unwrap();
            is_sound(&husk, &format!("{verb:?} killed after {pause:?}"));
        }
        husk.husk(*verb).exits(0);
        is_sound(&husk, &format!("{verb:?} at last"));
    }
    for image in names.iter().chain(&["kept:1"]) {
        husk.run(&crate::support::pod(image, &[], ""), &["--no-prefix"]).exits(0).has("hello from wasm");
    }
    // Nothing that was begun is left.
    husk.husk(["image", "prune", "--all"]).exits(0);
    let root = husk.dir().join("data/images");
    for directory in ["ingest", "leases", "blobs/sha256", "uncompressed/sha256"] {
        assert_eq!(fs::read_dir(root.join(directory)).unwrap().count(), 0, "{directory}");
    }
}
