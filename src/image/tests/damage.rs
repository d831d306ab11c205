//! Images that are not what they should be: as they were published, and as a disk has left them.

use super::pull::{MadeImage, noise};
use super::registry::{ENOUGH, FaultyProxy};
use super::*;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// Changes a byte of a blob.
fn flip(path: &Path) {
    let mut contents = fs::read(path).unwrap();
    let middle = contents.len() / 2;
    contents[middle] ^= 1;
    fs::write(path, contents).unwrap();
}

async fn pull(store: &Arc<ImageStore>, image: &str, verify: bool) -> Result<Pulled, PullError> {
    let request =
        PullRequest { image: image.to_owned(), platform: PlatformChoice::default(), keyring: Arc::default(), verify };
    tokio::time::timeout(ENOUGH, store.pull(request)?.wait()).await.expect("the pull took too long")
}

#[test]
fn a_damaged_image_is_named_and_stops_no_other_from_going() {
    for what in ["configuration", "manifest"] {
        let fixture = Fixture::new();
        let damaged = fixture.import("damaged:1", "one");
        fixture.import("good:1", "two");
        if what == "manifest" {
            let manifest = fs::read_to_string(fixture.blob(&damaged.digest)).unwrap();
            let wrong = Sha256Hex::of(b"x").to_string();
            fs::write(fixture.blob(&damaged.digest), manifest.replace(&damaged.id, &wrong)).unwrap();
        } else {
            flip(&fixture.blob(&damaged.id));
        }
        fixture.file("images/blobs/sha256/garbage", &[0; 1000]);
        let collected = fixture.open().prune(Prune::Unnamed).unwrap();
        assert!(collected.bytes >= 1000, "{what}: {collected:?}");
        assert_eq!(collected.damaged[0].name, "docker.io/library/damaged:1");
        assert!(collected.damaged[0].problem.contains("does not match its digest"), "{collected:?}");
        // What the damaged one names is kept as far as it is known; the byte was in one of the digests of its manifest.
        let known = if what == "manifest" { 2 } else { 3 };
        assert_eq!(fixture.blobs().len(), known + 3, "{what}");
        fixture.open().remove("good:1").unwrap();
        assert_eq!(fixture.blobs().len(), known, "{what}");
        fixture.open().remove("damaged:1").unwrap();
        assert_eq!(fixture.blobs(), Vec::<String>::new());
    }
}

/// Layouts of images that cannot be used, and why.
fn unusable() -> Vec<(Fixture, &'static str)> {
    let config_type = "application/vnd.oci.image.config.v1+json";
    let made = |layers: usize, config: &[u8]| {
        let fixture = Fixture::new();
        let layer = fixture.put(TAR, b"tar");
        let config = fixture.put(config_type, config);
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": vec![layer; layers] });
        let manifest = fixture.put_json("application/vnd.oci.image.manifest.v1+json", &manifest);
        fixture.name("docker.io/library/bad:1", manifest);
        fixture
    };
    let config = |diff_ids: Vec<String>| {
        let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
        json!({ "architecture": "wasm", "os": "wasip1", "rootfs": rootfs }).to_string()
    };
    let right = Sha256Hex::of(b"tar").to_string();
    let wrong = Sha256Hex::of(b"another").to_string();
    vec![
        (made(1, config(vec![right.clone(); 2]).as_bytes()), "has 1 layers and 2 diff IDs"),
        (made(1, config(vec![wrong]).as_bytes()), "does not match its diff ID"),
        (made(1, config(vec!["sha256:0".to_owned()]).as_bytes()), "has a bad diff ID"),
        (made(1, b"{"), "has an invalid configuration"),
        (made(128, config(vec![right; 128]).as_bytes()), "128 layers"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_neither_pulled_nor_loaded() {
    for (layout, expected) in unusable() {
        let target = Fixture::new();
        let store = target.open();
        let proxy = FaultyProxy::of_layout(&layout.root(), Vec::new()).await;
        let error = pull(&store, &format!("{}/bad:1", proxy.address), false).await.unwrap_err().to_string();
        assert!(error.contains(expected), "pulled: {error}");
        let error = store.load(&layout.root(), None).unwrap_err().to_string();
        assert!(error.contains(expected), "loaded: {error}");
        assert!(store.list().unwrap().iter().all(|image| !image.repository.contains("bad")));
        store.prune(Prune::Unnamed).unwrap();
        assert_eq!(target.blobs(), Vec::<String>::new(), "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_inside_of_another_is_called_that() {
    let layout = Fixture::new();
    let index_of = |manifests: Value| {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        layout.put_json("application/vnd.oci.image.index.v1+json", &index)
    };
    let inner = index_of(json!([]));
    layout.name("docker.io/library/made:1", index_of(json!([inner])));
    let proxy = FaultyProxy::of_layout(&layout.root(), Vec::new()).await;
    let error = pull(&Fixture::new().open(), &format!("{}/made:1", proxy.address), false).await.unwrap_err();
    assert!(error.to_string().contains("is an index inside of another, which is not supported"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_layer_is_told_and_mended_by_pulling() {
    let made = MadeImage::new(&[("gzip", noise(1, 50_000))]);
    let proxy = FaultyProxy::of_layout(made.directory.path(), Vec::new()).await;
    let (fixture, name) = (Fixture::new(), format!("{}/app:1", proxy.address));
    let store = fixture.open();
    pull(&store, &name, false).await.unwrap();
    let layer = fixture.blob(&made.layers[0].0);
    flip(&layer);
    let error = store.resolve(&name).unwrap_err().to_string();
    assert!(error.starts_with(&format!("image {name}: blob {} is damaged: ", made.layers[0].0)), "{error}");
    assert!(error.contains(&format!("husk image pull {name}")), "{error}");
    assert!(!layer.exists());
    // What is not whole counts as not there, so that pods pull it by themselves.
    assert_eq!(store.presence(&name, PlatformChoice::default()).unwrap(), Presence::Absent);
    let pulled = pull(&store, &name, false).await.unwrap();
    assert_eq!(pulled.loaded, made.layers[0].1);
    drop(store.resolve(&name).unwrap());
    // Whoever pulls by hand has what is there looked at, copies of it, too.
    flip(&layer);
    let copy = layer_path(&store.resolve(&name).unwrap());
    flip(&copy);
    assert_eq!(pull(&store, &name, true).await.unwrap().loaded, made.layers[0].1);
    assert!(!copy.exists() && store.resolve(&name).is_ok());
    assert_eq!(pull(&store, &name, true).await.unwrap().loaded, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_neither_saved_nor_pushed() {
    let made = MadeImage::new(&[("", noise(1, 50_000)), ("gzip", noise(2, 50_000))]);
    let expected = "image docker.io/library/made:1: blob ";
    for format in [SaveFormat::DockerArchive, SaveFormat::OciArchive, SaveFormat::OciDir] {
        for layer in &made.layers {
            let fixture = Fixture::new();
            let store = fixture.open();
            store.load(made.directory.path(), Some("made:1")).unwrap();
            flip(&fixture.blob(&layer.0));
            let output = fixture.directory.path().join("saved");
            let error = store.save(&["made:1".to_owned()], format, &output).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("is damaged"), "{format:?}: {error}");
            assert!(format == SaveFormat::OciDir || !output.exists());
            // Loading mends it.
            store.load(made.directory.path(), Some("made:1")).unwrap();
            assert!(store.resolve("made:1").is_ok());
        }
    }
    let Some(registry) = super::pull::started(super::registry::Wanted::default()) else { return };
    let fixture = Fixture::new();
    let store = fixture.open();
    store.load(made.directory.path(), Some("made:1")).unwrap();
    flip(&fixture.blob(&made.layers[0].0));
    let target = format!("{}/made:1", registry.address);
    let error = store.push("made:1", &target, Keyring::default()).run().await.unwrap_err();
    assert!(matches!(&error, PushError::Image { .. }) && error.to_string().contains(expected), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_layer_that_cannot_be_unpacked_says_whose_fault_it_is() {
    let host = crate::image::platform::host_architecture();
    let made = MadeImage::of_platform(&[("", noise(1, 50_000))], "linux", host);
    let fixture = Fixture::new();
    let store = fixture.open();
    store.load(made.directory.path(), Some("made:1")).unwrap();
    let mut contents = fs::read(fixture.blob(&made.layers[0].0)).unwrap();
    contents[150] ^= 1;
    fs::write(fixture.blob(&made.layers[0].0), contents).unwrap();
    let error = store.unpack("made:1", PlatformChoice::Linux).unwrap_err().to_string();
    assert!(error.contains("image docker.io/library/made:1: blob ") && error.contains("add it again"), "{error}");
    // As it was published.
    let published = Fixture::new();
    let layer = published.put(&format!("{TAR}+gzip"), &gzip(b"another archive"));
    published.make_image(layer, &Sha256Hex::of(b"an archive").to_string());
    let error = published.open().resolve("made").unwrap_err().to_string();
    assert!(error.contains("does not match its diff ID") && error.contains("only its publisher"), "{error}");
}

#[test]
fn prune_counts_all_that_it_frees() {
    let fixture = Fixture::new();
    fixture.import("app", "one");
    for (path, size) in [("ingest/.tmpLeft", 1000), ("unpacked/root/left/file", 20_000)] {
        let path = fixture.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; size]).unwrap();
    }
    assert_eq!(fixture.open().prune(Prune::Unnamed).unwrap().bytes, 21_000);
}
