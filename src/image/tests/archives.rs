//! Images in files and registries, to and from the tools that others use: what they write is read, and the reverse.

use super::pull::{MadeImage, noise, pull, started};
use super::registry::{TestRegistry, Wanted, has_tool, place, tool};
use super::*;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A store with an image of two layers, compressed differently, loaded as `example.test/team/made:1`.
fn stored() -> (Fixture, MadeImage) {
    stored_of("zstd")
}

/// The second layer is compressed as said: tools of others do not all turn zstd into Docker's archives.
fn stored_of(compression: &str) -> (Fixture, MadeImage) {
    let layers = [("gzip", noise(1, 50_000)), (compression, noise(2, 40_000))];
    let made = MadeImage::of_platform(&layers, "linux", crate::image::platform::host_architecture());
    let fixture = Fixture::new();
    let loaded = fixture.open().load(made.directory.path(), Some("example.test/team/made:1")).unwrap();
    assert_eq!(loaded[0].reference, "example.test/team/made:1");
    (fixture, made)
}

const NAME: &str = "example.test/team/made:1";

#[test]
fn what_is_saved_is_loaded_as_the_same_image() {
    let (fixture, _made) = stored();
    let store = fixture.open();
    store.tag(NAME, "other:2").unwrap();
    let names = [NAME.to_owned(), "other:2".to_owned()];
    let id = store.resolve(NAME).unwrap().id;
    for (format, file) in
        [(SaveFormat::DockerArchive, "docker.tar"), (SaveFormat::OciArchive, "oci.tar"), (SaveFormat::OciDir, "oci")]
    {
        let path = fixture.directory.path().join(file);
        store.save(&names, format, &path).unwrap();
        let target = Fixture::new();
        let loaded = target.open().load(&path, None).unwrap();
        let mut loaded: Vec<_> = loaded.into_iter().map(|image| image.reference).collect();
        loaded.sort();
        assert_eq!(loaded, ["docker.io/library/other:2", NAME], "{format:?}");
        assert_eq!(target.open().resolve(NAME).unwrap().id, id, "{format:?}");
        assert!(fixture.directory.path().join(file).exists());
    }
    assert!(store.save(&names, SaveFormat::OciDir, &fixture.directory.path().join("oci")).is_err(), "not over another");
}

#[test]
fn compressed_archives_and_docker_saves_of_old_are_loaded() {
    let (fixture, _made) = stored();
    let path = fixture.directory.path().join("a.tar");
    fixture.open().save(&[NAME.to_owned()], SaveFormat::DockerArchive, &path).unwrap();
    let compressed = fixture.file("a.tar.gz", &gzip(&fs::read(&path).unwrap()));
    assert_eq!(Fixture::new().open().load(&compressed, None).unwrap()[0].reference, NAME);
    // Layers in directories of their own, one a symlink to another's.
    let layer = {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_data(&mut header(3), "f", &b"abc"[..]).unwrap();
        tar.into_inner().unwrap()
    };
    let diff_id = Sha256Hex::of(&layer).to_string();
    let config = json!({ "architecture": "wasm", "os": "wasip1", "rootfs": { "type": "layers", "diff_ids": [diff_id, diff_id] } }).to_string();
    let manifest =
        json!([{ "Config": "c.json", "RepoTags": ["old:1"], "Layers": ["aa/layer.tar", "bb/layer.tar"] }]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, contents) in
        [("c.json", config.as_bytes()), ("aa/layer.tar", &layer), ("manifest.json", manifest.as_bytes())]
    {
        archive.append_data(&mut header(contents.len()), name, contents).unwrap();
    }
    let mut link = header(0);
    link.set_entry_type(tar::EntryType::Symlink);
    archive.append_link(&mut link, "bb/layer.tar", "../aa/layer.tar").unwrap();
    let old = fixture.file("old.tar", &archive.into_inner().unwrap());
    let target = Fixture::new();
    target.open().load(&old, None).unwrap();
    assert_eq!(target.open().resolve("old:1").unwrap().layers.len(), 2);
}

fn header(size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header
}

#[test]
fn archives_that_lie_are_refused_and_leave_nothing() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    let root = made.directory.path();
    let blob = |digest: &str| root.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let layer = blob(&made.layers[0].0);
    let target = Fixture::new();
    let refused = |expected: &str| {
        let error = target.open().load(root, Some("made")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(target.open().list().unwrap().iter().all(|image| image.kind != ImageKind::Stored));
    };
    let right = fs::read(&layer).unwrap();
    let mut wrong = right.clone();
    wrong[500] ^= 1;
    fs::write(&layer, wrong).unwrap();
    refused("does not match its digest");
    fs::write(&layer, &right[1..]).unwrap();
    refused("bytes instead of");
    fs::remove_file(&layer).unwrap();
    refused("is missing in the archive");
    fs::write(root.join("index.json"), "{}").unwrap();
    refused("index.json of the archive is invalid");
    fs::remove_file(root.join("index.json")).unwrap();
    refused("neither index.json nor manifest.json");
    let text = target.file("x", b"no archive at all, but longer than a header of one would be".repeat(20).as_slice());
    assert!(target.open().load(&text, None).unwrap_err().to_string().contains("is no archive of images"));
    target.open().prune(Prune::Unnamed).unwrap();
    assert_eq!(target.blobs(), Vec::<String>::new());
}

#[test]
fn skopeo_and_umoci_read_what_is_saved_and_the_reverse() {
    if !has_tool("skopeo") || !has_tool("umoci") {
        return;
    }
    let (fixture, _made) = stored_of("gzip");
    let store = fixture.open();
    let at = |name: &str| fixture.directory.path().join(name);
    let names = [NAME.to_owned()];
    store.save(&names, SaveFormat::OciDir, &at("oci")).unwrap();
    store.save(&names, SaveFormat::OciArchive, &at("oci.tar")).unwrap();
    store.save(&names, SaveFormat::DockerArchive, &at("docker.tar")).unwrap();
    let id = store.resolve(NAME).unwrap().id;
    for from in [
        place("oci", &at("oci"), NAME),
        place("oci-archive", &at("oci.tar"), NAME),
        place("docker-archive", &at("docker.tar"), NAME),
        // The store itself is an OCI layout.
        place("oci", &fixture.root(), NAME),
    ] {
        let raw = tool("skopeo", &["inspect", "--config", "--raw", &from]);
        assert_eq!(Sha256Hex::of(raw.as_bytes()).to_string(), id, "{from}");
    }
    // What skopeo writes.
    for (kind, file) in [("oci-archive", "s-oci.tar"), ("docker-archive", "s-docker.tar"), ("oci", "s-oci")] {
        tool(
            "skopeo",
            &[
                "copy",
                "--insecure-policy",
                &place("oci", &at("oci"), NAME),
                &place(kind, &at(file), "example.test/back:1"),
            ],
        );
        let target = Fixture::new();
        let loaded = target.open().load(&at(file), None).unwrap();
        assert_eq!(loaded[0].reference, "example.test/back:1", "{kind}");
        let image = target.open().resolve("example.test/back:1").unwrap();
        assert_eq!(image.config.cmd, ["/file0"]);
        let unpacked = target.open().unpack("example.test/back:1", PlatformChoice::Linux).unwrap();
        assert!(fs::read(unpacked.directories[1].join("file1")).unwrap() == noise(2, 40_000), "{kind}");
    }
    // umoci changes an image in a layout, which is loaded again.
    let layout = format!("{}:one", text(&at("u")));
    tool("umoci", &["init", "--layout", &text(&at("u"))]);
    tool("umoci", &["new", "--image", &layout]);
    fs::create_dir_all(at("files")).unwrap();
    fs::write(at("files/hello"), "from umoci").unwrap();
    tool("umoci", &["insert", "--rootless", "--image", &layout, &text(&at("files")), "/opt"]);
    tool("umoci", &["config", "--image", &layout, "--config.cmd", "/opt/hello"]);
    let loaded = store.load(&at("u"), Some("example.test/umoci")).unwrap();
    assert_eq!(loaded[0].reference, "example.test/umoci:latest");
    assert_eq!(store.resolve("example.test/umoci").unwrap().config.cmd, ["/opt/hello"]);
}

#[test]
fn podman_loads_what_is_saved() {
    if !has_tool("podman") {
        return;
    }
    let (fixture, _made) = stored_of("gzip");
    let at = |name: &str| fixture.directory.path().join(name);
    let store = fixture.open();
    let (root, run) = (text(&at("podman")), text(&at("podman-run")));
    let podman = |arguments: &[&str]| {
        let common = ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
        tool("podman", &[&common[..], arguments].concat())
    };
    for (format, file) in [(SaveFormat::DockerArchive, "docker.tar"), (SaveFormat::OciArchive, "oci.tar")] {
        store.save(&[NAME.to_owned()], format, &at(file)).unwrap();
        assert!(podman(&["load", "-i", &text(&at(file))]).contains(NAME));
        let id = podman(&["image", "inspect", "--format", "{{.Id}}", NAME]);
        assert_eq!(format!("sha256:{}", id.trim()), store.resolve(NAME).unwrap().id);
    }
    for format in ["docker-archive", "oci-archive"] {
        let file = at(&format!("saved-{format}"));
        podman(&["save", "--format", format, "-o", &text(&file), NAME]);
        let target = Fixture::new();
        assert_eq!(target.open().load(&file, None).unwrap()[0].reference, NAME, "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_what_skopeo_and_others_pull() {
    let Some(registry) = started(Wanted { tls: false, password: true }) else { return };
    let (fixture, _made) = stored();
    let store = fixture.open();
    let keyring = || {
        let credentials = Credentials::Basic { username: "husk".to_owned(), password: "correct-horse".to_owned() };
        Keyring::of(&registry.address, credentials)
    };
    let target = format!("{}/team/app:1", registry.address);
    let refused = store.push(NAME, &target, Keyring::default()).run().await.unwrap_err().to_string();
    assert!(refused.contains("it wants credentials, and there are none"), "{refused}");
    let pushed = store.push(NAME, &target, keyring()).run().await.unwrap();
    assert!(pushed.sent > 90_000, "{pushed:?}");
    let again = store.push(NAME, &target, keyring()).run().await.unwrap();
    assert_eq!((again.sent, &again.digest), (0, &pushed.digest));
    let from = format!("docker://{target}");
    let raw = tool("skopeo", &["inspect", "--tls-verify=false", "--creds=husk:correct-horse", "--raw", &from]);
    assert_eq!(Sha256Hex::of(raw.as_bytes()).to_string(), pushed.digest);
    let other = Fixture::new().open();
    assert_eq!(pull(&other, &target, keyring()).await.unwrap().digest, pushed.digest);
    assert!(registry.blob(&pushed.digest).exists());
}

/// Signs as `cosign sign --key` does.
fn sign(digest: &str, key: &rcgen::KeyPair, registry: &TestRegistry, repository: &str) {
    let directory = tempfile::tempdir().unwrap();
    let blobs = directory.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, contents: &[u8]| {
        let digest = Sha256Hex::of(contents);
        fs::write(blobs.join(digest.hex()), contents).unwrap();
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": contents.len() })
    };
    let statement = json!({
        "critical": {
            "identity": { "docker-reference": "" },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let statement = statement.to_string();
    let signature = rcgen::SigningKey::sign(key, statement.as_bytes()).unwrap();
    let mut layer = put("application/vnd.dev.cosign.simplesigning.v1+json", statement.as_bytes());
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature);
    layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
    let diff_ids = [layer["digest"].clone()];
    let config =
        json!({ "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer],
    });
    let mut manifest = put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "signature" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let tag = digest.replace(':', "-");
    let to = format!("docker://{}/{repository}:{tag}.sig", registry.address);
    tool(
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &place("oci", directory.path(), "signature"),
            &to,
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_signatures_are_wanted_only_good_ones_will_do() {
    let Some(registry) = started(Wanted::default()) else { return };
    MadeImage::new(&[("gzip", noise(1, 1000))]).push(&registry, "team/app:1");
    let name = format!("{}/team/app:1", registry.address);
    let fixture = Fixture::new();
    let digest = pull(&fixture.open(), &name, Keyring::default()).await.unwrap().digest;
    let keys = [(); 2].map(|()| rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap());
    fixture.file("key.pub", keys[0].public_key_pem().as_bytes());
    let text = format!(
        "[[signature]]\nprefix = \"{}/team\"\nkeys = [\"{}\"]\n",
        registry.address,
        fixture.directory.path().join("key.pub").display()
    );
    let strict = || ImageStore::with_registries(&fixture.root(), true, Registries::parse(&text).unwrap());
    // What was pulled before it was wanted is not there any more.
    assert!(matches!(strict().resolve(&name), Err(ImageError::NotFound(_))));
    let refused = strict().tag(&name, &format!("{}/team/app:2", registry.address)).unwrap_err().to_string();
    assert!(refused.contains("is not signed as the registries file wants it"), "{refused}");
    let failed = async || pull(&strict(), &name, Keyring::default()).await.unwrap_err();
    let error = failed().await;
    assert!(matches!(error, PullError::Signature { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("signature verification failed: no signature of {digest}")), "{error}");
    sign(&digest, &keys[1], &registry, "team/app");
    assert!(failed().await.to_string().contains("by a trusted key"));
    // A good signature of something else, under this image's name.
    let other = Sha256Hex::of(b"other").to_string();
    sign(&other, &keys[0], &registry, "team/app");
    let at = |digest: &str| format!("docker://{}/team/app:{}.sig", registry.address, digest.replace(':', "-"));
    tool(
        "skopeo",
        &["copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", &at(&other), &at(&digest)],
    );
    assert!(failed().await.to_string().contains("of another image"));
    sign(&digest, &keys[0], &registry, "team/app");
    pull(&strict(), &name, Keyring::default()).await.unwrap();
    assert!(strict().resolve(&name).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_of_all_kinds_are_pulled_and_are_programs() {
    let Some(registry) = started(Wanted::default()) else { return };
    let kinds = [
        ("application/vnd.wasm.config.v0+json", "application/wasm", COMPONENT),
        ("application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm", MODULE),
        ("application/vnd.module.wasm.config.v1+json", "application/vnd.module.wasm.content.layer.v1+wasm", MODULE),
        ("application/vnd.oci.empty.v1+json", "application/wasm", COMPONENT),
    ];
    for (number, (config_type, layer_type, program)) in kinds.into_iter().enumerate() {
        let source = Fixture::new();
        let config = source.put_json(config_type, &json!({}));
        let layer = source.put(layer_type, program);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer],
            "annotations": { "org.example.kind": number.to_string() },
        });
        let manifest = source.put_json("application/vnd.oci.image.manifest.v1+json", &manifest);
        source.name("docker.io/library/artifact:latest", manifest);
        let target = format!("{}/artifact:{number}", registry.address);
        source.open().push("artifact", &target, Keyring::default()).run().await.unwrap();
        let store = Fixture::new();
        let store = store.open();
        pull(&store, &target, Keyring::default()).await.unwrap();
        let image = store.resolve_for(&target, PlatformChoice::Wasm).unwrap();
        assert_eq!(image.config.entrypoint, ["/artifact.wasm"], "{config_type}");
        assert!(image.is_wasm());
        assert_eq!(image.annotations["org.example.kind"], number.to_string());
        assert!(matches!(&image.layers[0].content, LayerContent::SingleFile { contents, .. } if contents == program));
    }
}
