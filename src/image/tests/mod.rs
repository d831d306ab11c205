//! The image store as its users see it: import, resolve, list, remove; damage, interruption and company; images that
//! other tools have put into the layout.

mod archives;
mod damage;
mod names;
mod pull;
#[allow(dead_code, reason = "some of it is for other tests")]
mod registry;
mod store;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::layout::Sha256Hex;
use super::*;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A directory with a store in `images/` and room for files.
struct Fixture {
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("images")
    }

    fn open(&self) -> Arc<ImageStore> {
        ImageStore::open(&self.root(), true).unwrap()
    }

    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// A module that differs from every other with another `mark`.
    fn program(&self, mark: &str) -> PathBuf {
        self.file("program.wasm", &[MODULE, mark.as_bytes()].concat())
    }

    fn import(&self, name: &str, mark: &str) -> ImageSummary {
        self.open().import_wasm(&self.program(mark), name).unwrap()
    }

    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root().join("blobs/sha256")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Stores a blob as another tool would, and returns its descriptor.
    fn put(&self, media_type: &str, contents: &[u8]) -> Value {
        let digest = Sha256Hex::of(contents).to_string();
        fs::create_dir_all(self.root().join("blobs/sha256")).unwrap();
        fs::write(self.blob(&digest), contents).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": contents.len() })
    }

    fn put_json(&self, media_type: &str, value: &Value) -> Value {
        self.put(media_type, value.to_string().as_bytes())
    }

    fn name(&self, name: &str, mut descriptor: Value) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        fs::write(self.root().join("index.json"), index.to_string()).unwrap();
    }

    /// An image of one layer, under `docker.io/library/made:latest`.
    fn make_image(&self, layer: Value, diff_id: &str) {
        let manifest = self.manifest(layer, diff_id);
        self.name("docker.io/library/made:latest", manifest);
    }

    fn manifest(&self, layer: Value, diff_id: &str) -> Value {
        let config = json!({
            "architecture": "wasm", "os": "wasip1",
            "config": {
                "Entrypoint": ["/app"], "Cmd": ["serve"], "Env": ["A=b=c", "EMPTY="], "WorkingDir": "/srv",
                "User": "1000", "StopSignal": "SIGQUIT",
            },
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        });
        let config = self.put_json("application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        self.put_json("application/vnd.oci.image.manifest.v1+json", &manifest)
    }
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn layer_path(image: &Image) -> PathBuf {
    match &image.layers[0].content {
        LayerContent::TarFile(path) => path.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_imported_program_is_an_image_with_it_as_entry_point() {
    let fixture = Fixture::new();
    let summary = fixture.import("localhost/app:v1", "one");
    let image = fixture.open().resolve("localhost/app:v1").unwrap();
    assert_eq!(image.reference, "localhost/app:v1");
    assert_eq!((&image.id, image.stands_in.as_ref()), (&summary.id, None));
    assert_eq!(image.config.entrypoint, ["/app.wasm"]);

    let archive = fs::read(layer_path(&image)).unwrap();
    assert_eq!(image.layers[0].diff_id, Sha256Hex::of(&archive).to_string());
    let mut archive = tar::Archive::new(archive.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("app.wasm"));
    assert_eq!(entry.header().mode().unwrap(), 0o755);
    let mut contents = Vec::new();
    entry.read_to_end(&mut contents).unwrap();
    assert_eq!(contents, [MODULE, b"one"].concat());
}

#[test]
fn the_configuration_says_which_wasi_the_program_is_for() {
    let fixture = Fixture::new();
    for (contents, os) in [(MODULE, "wasip1"), (COMPONENT, "wasip2")] {
        let summary = fixture.open().import_wasm(&fixture.file("p", contents), "app").unwrap();
        let config: Value = serde_json::from_slice(&fs::read(fixture.blob(&summary.id)).unwrap()).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!(os)));
    }
}

#[test]
fn the_same_program_under_the_same_name_is_the_same_image() {
    let (one, other) = (Fixture::new(), Fixture::new());
    assert_eq!(one.import("app", "same").id, other.import("app", "same").id);
    assert_ne!(one.import("app", "same").id, other.import("app", "different").id);
}

#[test]
fn what_is_no_program_or_no_name_for_one_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let cases: &[(&[u8], &str, &str)] = &[
        (b"\x7fELF....", "app", "native (ELF) program"),
        (b"", "app", "empty file"),
        (b"(module)", "app", "WebAssembly text"),
        (b"#!/bin/sh", "app", "not a WebAssembly program"),
        (b"\0asm\x09\0\0\0", "app", "unknown version"),
        (MODULE, "App", "must be lowercase"),
        (MODULE, "builtin/app", "images in the binary"),
        (
            MODULE,
            "app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "cannot be stored under a digest",
        ),
    ];
    for (contents, name, reason) in cases {
        let error = store.import_wasm(&fixture.file("p", contents), name).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let missing = store.import_wasm(&fixture.directory.path().join("none.wasm"), "app").unwrap_err();
    assert!(missing.to_string().contains("none.wasm"), "{missing}");
    assert!(store.import_wasm(fixture.directory.path(), "app").is_err());
    assert!(!fixture.root().exists(), "a refused import leaves nothing behind");
}

#[test]
fn the_list_has_stored_images_first_and_then_what_the_binary_has() {
    let fixture = Fixture::new();
    let app = fixture.import("app:2", "one");
    fixture.import("aaa", "two");
    let list = fixture.open().list().unwrap();
    let names: Vec<_> = list.iter().map(|image| (image.repository.as_str(), image.tag.as_str())).collect();
    assert_eq!(names[..2], [("docker.io/library/aaa", "latest"), ("docker.io/library/app", "2")]);
    assert!(names.contains(&("builtin/nginx", "latest")) && names.contains(&("docker.io/library/nginx", "*")));
    assert_eq!(list[1], app);
    assert!(app.created.is_some() && app.size >= 2048, "{app:?}");
}

#[test]
fn importing_again_replaces_the_image_and_deletes_the_old_content() {
    let fixture = Fixture::new();
    let old = fixture.import("app", "old");
    let new = fixture.import("app", "new");
    assert_eq!(fixture.open().resolve("app").unwrap().id, new.id);
    assert!(!fixture.blob(&old.id).exists());
    assert_eq!(fixture.blobs().len(), 3, "layer, configuration and manifest");
}

#[test]
fn removing_an_image_keeps_what_another_name_needs() {
    let fixture = Fixture::new();
    fixture.import("one/app", "shared");
    fixture.import("two/app", "shared");
    let store = fixture.open();
    store.remove("one/app").unwrap();
    assert!(matches!(store.resolve("one/app"), Err(ImageError::NotFound(_))));
    drop(store);
    assert!(fixture.open().resolve("two/app").is_ok());
    fixture.open().remove("two/app").unwrap();
    assert_eq!(fixture.blobs(), Vec::<String>::new());
}

#[test]
fn only_stored_images_can_be_removed() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for name in ["builtin/nginx", "nginx:1.15"] {
        assert!(store.remove(name).unwrap_err().to_string().contains("part of husk"), "{name}");
    }
    assert!(matches!(store.remove("none"), Err(ImageError::NotFound(_))));
}

#[test]
fn content_in_use_is_deleted_only_by_a_later_change() {
    let fixture = Fixture::new();
    fixture.import("app", "one");
    let user = fixture.open();
    let image = user.resolve("app").unwrap();
    let path = layer_path(&image);
    fixture.open().remove("app").unwrap();
    assert!(path.exists(), "someone may still run it");
    drop(image);
    fixture.import("other", "two");
    assert!(!path.exists());
}

#[test]
fn a_stored_image_hides_a_stand_in() {
    let fixture = Fixture::new();
    fixture.import("busybox:1", "mine");
    let store = fixture.open();
    assert_eq!(store.resolve("busybox:1").unwrap().stands_in, None);
    assert_eq!(store.resolve("busybox:2").unwrap().stands_in.as_deref(), Some("builtin/busybox"));
    let strict = ImageStore::open(&fixture.root(), false).unwrap();
    assert!(matches!(strict.resolve("busybox:2"), Err(ImageError::NotFound(_))));
}

#[test]
fn resolving_in_a_store_that_is_not_there_creates_nothing() {
    let fixture = Fixture::new();
    assert!(fixture.open().resolve("busybox").is_ok());
    assert!(matches!(fixture.open().resolve("app"), Err(ImageError::NotFound(name)) if name == "app"));
    assert!(matches!(fixture.open().resolve("App"), Err(ImageError::InvalidName { .. })));
    assert!(!fixture.root().exists());
}

#[test]
fn tampered_or_missing_content_is_noticed() {
    type Damage = fn(&Fixture, &ImageSummary, &Path);
    let cases: &[(&str, Damage)] = &[
        ("does not match its digest", |fixture, image, _| {
            let mut contents = fs::read(fixture.blob(&image.id)).unwrap();
            contents[20] ^= 1;
            fs::write(fixture.blob(&image.id), contents).unwrap();
        }),
        ("is missing", |fixture, image, _| fs::remove_file(fixture.blob(&image.id)).unwrap()),
        ("wrong size", |_, _, layer| File::options().write(true).open(layer).unwrap().set_len(100).unwrap()),
        ("index", |fixture, _, _| fs::write(fixture.root().join("index.json"), "{\"schemaVersion\":").unwrap()),
    ];
    for (expected, damage) in cases {
        let fixture = Fixture::new();
        let summary = fixture.import("app", "one");
        let layer = layer_path(&fixture.open().resolve("app").unwrap());
        damage(&fixture, &summary, &layer);
        match fixture.open().resolve("app") {
            Err(error) => assert!(error.to_string().contains(expected), "{error}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_damaged_image_is_listed_and_importing_it_again_mends_it() {
    let fixture = Fixture::new();
    let summary = fixture.import("app", "one");
    for blob in fixture.blobs() {
        fs::write(fixture.root().join("blobs/sha256").join(blob), "garbage").unwrap();
    }
    assert_eq!(fixture.open().list().unwrap()[0].id, "<damaged>");
    assert_eq!(fixture.import("app", "one").id, summary.id);
    assert!(fixture.open().resolve("app").is_ok());
}

#[test]
fn what_an_interrupted_import_left_is_ignored_and_cleared_away() {
    let fixture = Fixture::new();
    fixture.import("app", "one");
    let half_written = [".tmpAbCdEf", &"f".repeat(64)].map(|name| fixture.root().join("blobs/sha256").join(name));
    for path in &half_written {
        fs::write(path, "half a la").unwrap();
    }
    assert!(fixture.open().resolve("app").is_ok());
    fixture.import("other", "two");
    assert!(half_written.iter().all(|path| !path.exists()));
}

#[test]
fn imports_at_the_same_time_all_arrive() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let fixture = &fixture;
            scope.spawn(move || {
                let program =
                    fixture.file(&format!("{number}.wasm"), &[MODULE, number.to_string().as_bytes()].concat());
                fixture.open().import_wasm(&program, &format!("app:{number}")).unwrap();
            });
        }
    });
    let store = fixture.open();
    for number in 0..8 {
        store.resolve(&format!("app:{number}")).unwrap();
    }
}

#[test]
fn the_store_is_private_to_the_user() {
    let fixture = Fixture::new();
    fixture.import("app", "one");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(fixture.root()), 0o700);
    assert_eq!(mode(fixture.root().join("blobs/sha256")), 0o700);
}

#[test]
fn the_store_is_an_oci_layout() {
    let fixture = Fixture::new();
    let summary = fixture.import("app", "one");
    let read = |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    assert_eq!(read(fixture.root().join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let index = read(fixture.root().join("index.json"));
    let entry = &index["manifests"][0];
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "docker.io/library/app:latest");
    let manifest = read(fixture.blob(entry["digest"].as_str().unwrap()));
    assert_eq!(manifest["config"]["digest"], summary.id.as_str());
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
}

#[test]
fn an_image_is_found_by_its_manifest_digest() {
    let fixture = Fixture::new();
    fixture.import("app:1", "one");
    let index: Value = serde_json::from_slice(&fs::read(fixture.root().join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let store = fixture.open();
    assert!(store.resolve(&format!("app@{digest}")).is_ok());
    assert!(store.resolve(&format!("other@{digest}")).is_err());
}

#[test]
fn the_configuration_of_an_image_reaches_the_container() {
    let fixture = Fixture::new();
    let layer = fixture.put("application/vnd.oci.image.layer.v1.tar", b"tar");
    fixture.make_image(layer, &Sha256Hex::of(b"tar").to_string());
    let config = fixture.open().resolve("made").unwrap().config;
    assert_eq!((config.entrypoint, config.cmd), (vec!["/app".to_owned()], vec!["serve".to_owned()]));
    assert_eq!(config.env, [("A".to_owned(), "b=c".to_owned()), ("EMPTY".to_owned(), String::new())]);
    assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/srv", "1000"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
}

#[test]
fn gzipped_layers_are_uncompressed_once() {
    let fixture = Fixture::new();
    let layer = fixture.put("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(b"an archive"));
    fixture.make_image(layer, &Sha256Hex::of(b"an archive").to_string());
    let path = layer_path(&fixture.open().resolve("made").unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"an archive");
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(layer_path(&fixture.open().resolve("made").unwrap()), path);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
    // It survives the garbage collection of an unrelated change, and goes with its image.
    fixture.import("other", "x");
    assert!(path.exists());
    fixture.open().remove("made").unwrap();
    assert!(!path.exists());
}

#[test]
fn layers_that_lie_are_refused() {
    let right = Sha256Hex::of(b"an archive").to_string();
    let gzip_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let cases: &[(&str, Vec<u8>, &str, &str)] = &[
        (gzip_type, gzip(b"another archive"), &right, "does not match its diff ID"),
        (gzip_type, b"not gzip".to_vec(), &right, "is no gzip stream"),
        (gzip_type, gzip(b"an archive")[..15].to_vec(), &right, "is no gzip stream"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", b"x".to_vec(), &right, "is no zstd stream"),
        ("application/vnd.oci.image.layer.v1.tar+lzma", b"x".to_vec(), &right, "are not supported"),
        (gzip_type, gzip(b"an archive"), "sha256:../../../../etc/passwd", "no SHA-256 digest"),
        (gzip_type, gzip(b"an archive"), "sha512:00", "no SHA-256 digest"),
    ];
    for (media_type, contents, diff_id, expected) in cases {
        let fixture = Fixture::new();
        let layer = fixture.put(media_type, contents);
        fixture.make_image(layer, diff_id);
        match fixture.open().resolve("made") {
            Err(ImageError::Invalid(problem)) => assert!(problem.contains(expected), "{problem}"),
            other => panic!("{expected}: {other:?}"),
        }
        let left = fs::read_dir(fixture.root().join("uncompressed/sha256")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{expected}: something half-done was left");
    }
}

#[test]
fn a_webassembly_artifact_is_an_image_of_one_program() {
    let fixture = Fixture::new();
    let config = fixture.put_json("application/vnd.wasm.config.v0+json", &json!({ "architecture": "wasm" }));
    let layer = fixture.put("application/wasm", COMPONENT);
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = fixture.put_json("application/vnd.oci.image.manifest.v1+json", &manifest);
    fixture.name("ghcr.io/team/app:1", manifest.clone());
    let image = fixture.open().resolve("ghcr.io/team/app:1").unwrap();
    assert_eq!(image.config.entrypoint, ["/app.wasm"]);
    assert_eq!(image.id, manifest["digest"].as_str().unwrap());
    match &image.layers[0].content {
        LayerContent::SingleFile { path, contents } => {
            assert_eq!((path.as_str(), &contents[..]), ("/app.wasm", COMPONENT))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn of_several_platforms_the_webassembly_one_is_taken() {
    let fixture = Fixture::new();
    let layer = fixture.put("application/vnd.oci.image.layer.v1.tar", b"tar");
    let mut wasm = fixture.manifest(layer, &Sha256Hex::of(b"tar").to_string());
    wasm["platform"] = json!({ "architecture": "wasm", "os": "wasi" });
    let mut native = wasm.clone();
    native["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    native["platform"] = json!({ "architecture": "s390x", "os": "linux" });
    let other = {
        let mut other = native.clone();
        other["platform"]["architecture"] = json!("mips");
        other
    };
    let index = |manifests: Value| {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        let index = fixture.put_json("application/vnd.oci.image.index.v1+json", &index);
        fixture.name("docker.io/library/made:latest", index);
        fixture.open().resolve("made")
    };
    assert_eq!(index(json!([native, wasm])).unwrap().config.entrypoint, ["/app"]);
    let problem = index(json!([native, other])).unwrap_err().to_string();
    assert!(problem.contains("no WebAssembly platform and not linux/"), "{problem}");
    assert!(problem.ends_with(", only linux/s390x, linux/mips"), "{problem}");
    // Of what could be taken, what is stored is.
    let mut host = wasm.clone();
    host["platform"] = json!({ "architecture": platform::host_architecture(), "os": "linux" });
    native["platform"] = json!({ "architecture": "wasm", "os": "wasi" });
    assert_eq!(index(json!([native, host])).unwrap().config.entrypoint, ["/app"]);
}

#[test]
fn a_transient_image_is_known_to_this_process_only() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.add_transient("localhost/app:latest", &fixture.program("one")).unwrap();
    let image = store.resolve("localhost/app").unwrap();
    assert_eq!(image.config.entrypoint, ["/app.wasm"]);
    assert!(fixture.open().resolve("localhost/app").is_err());
    assert!(!fixture.root().exists());
    assert!(store.add_transient("localhost/no", &fixture.file("p", b"text")).is_err());
}
