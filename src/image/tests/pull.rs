//! Pulls from a real registry: what arrives, who may, what goes wrong on the way and what is said then.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::registry::{ENOUGH, Fault, FaultyProxy, Rule, TestRegistry, Wanted, has_tool, place, tool};
use super::*;
use crate::image::layout::HashingWriter;
use crate::image::registry::{Credentials, Keyring, PullError, Registries, RegistryError};

/// An image as other tools have it: an OCI layout with one name, `made`.
pub(super) struct MadeImage {
    pub(super) directory: TempDir,
    /// Layers: digest, size.
    pub(super) layers: Vec<(String, u64)>,
}

impl MadeImage {
    /// One layer for each of `contents`, compressed as said, with a file of its content in it.
    pub(super) fn new(contents: &[(&str, Vec<u8>)]) -> Self {
        Self::of_platform(contents, "wasip1", "wasm")
    }

    pub(super) fn of_platform(contents: &[(&str, Vec<u8>)], os: &str, architecture: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let blobs = directory.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |media_type: &str, contents: &[u8]| {
            let digest = Sha256Hex::of(contents);
            fs::write(blobs.join(digest.hex()), contents).unwrap();
            json!({ "mediaType": media_type, "digest": digest.to_string(), "size": contents.len() })
        };
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for (number, (compression, content)) in contents.iter().enumerate() {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("file{number}"), &content[..]).unwrap();
            let archive = archive.into_inner().unwrap();
            diff_ids.push(Sha256Hex::of(&archive).to_string());
            let (suffix, archive) = match *compression {
                "gzip" => ("+gzip", gzip(&archive)),
                "zstd" => (
                    "+zstd",
                    ruzstd::encoding::compress_to_vec(&archive[..], ruzstd::encoding::CompressionLevel::Fastest),
                ),
                _ => ("", archive),
            };
            layers.push(put(&format!("application/vnd.oci.image.layer.v1.tar{suffix}"), &archive));
        }
        let config = json!({
            "architecture": architecture, "os": os, "config": { "Cmd": ["/file0"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers,
        });
        let mut manifest = put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "made" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
        fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let layers =
            layers.iter().map(|layer| (layer["digest"].as_str().unwrap().to_owned(), layer["size"].as_u64().unwrap()));
        Self { layers: layers.collect(), directory }
    }

    pub(super) fn push(&self, registry: &TestRegistry, repository: &str) {
        let to = format!("docker://{}/{repository}", registry.address);
        tool(
            "skopeo",
            &[
                "copy",
                "--insecure-policy",
                "--preserve-digests",
                "--dest-tls-verify=false",
                "--dest-creds=husk:correct-horse",
                &place("oci", self.directory.path(), "made"),
                &to,
            ],
        );
    }
}

pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

pub(super) fn started(wanted: Wanted) -> Option<TestRegistry> {
    has_tool("skopeo").then(|| TestRegistry::start(wanted)).flatten()
}

fn husk_keyring(registry: &str, password: &str) -> Keyring {
    let credentials = Credentials::Basic { username: "husk".to_owned(), password: password.to_owned() };
    Keyring::of(registry, credentials)
}

pub(super) async fn pull(store: &Arc<ImageStore>, image: &str, keyring: Keyring) -> Result<Pulled, PullError> {
    let request = PullRequest {
        image: image.to_owned(),
        platform: PlatformChoice::default(),
        keyring: Arc::new(keyring),
        verify: false,
    };
    tokio::time::timeout(ENOUGH, store.pull(request)?.wait()).await.expect("the pull took too long")
}

/// What the last registry that was tried has said.
fn last(error: &PullError) -> &RegistryError {
    match error {
        PullError::Registry { tried, .. } => tried.last().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn contents(image: &Image, layer: usize) -> Vec<u8> {
    let LayerContent::TarFile(path) = &image.layers[layer].content else { panic!() };
    let mut archive = tar::Archive::new(File::open(path).unwrap());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let mut contents = Vec::new();
    entry.read_to_end(&mut contents).unwrap();
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_every_compression_arrives_and_is_not_loaded_twice() {
    let Some(registry) = started(Wanted::default()) else { return };
    let layers = [("gzip", noise(1, 300_000)), ("zstd", noise(2, 200_000)), ("", noise(3, 100_000))];
    MadeImage::new(&layers).push(&registry, "team/app:1");
    let fixture = Fixture::new();
    let store = fixture.open();
    let name = format!("{}/team/app:1", registry.address);
    let pulled = pull(&store, &name, Keyring::default()).await.unwrap();
    assert_eq!((&pulled.reference, pulled.loaded), (&name, pulled.size));
    let image = store.resolve(&name).unwrap();
    for (number, (_, expected)) in layers.iter().enumerate() {
        assert!(contents(&image, number) == *expected, "layer {number}");
    }
    assert_eq!(image.repo_digest.unwrap(), format!("{}/team/app@{}", registry.address, pulled.digest));
    assert_eq!(store.list().unwrap()[0].kind, ImageKind::Pulled);
    let again = pull(&store, &name, Keyring::default()).await.unwrap();
    assert_eq!((again.loaded, again.digest.as_str()), (0, pulled.digest.as_str()));
    let by_digest = format!("{}/team/app@{}", registry.address, pulled.digest);
    assert_eq!(pull(&store, &by_digest, Keyring::default()).await.unwrap().loaded, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_or_wrong_credentials_is_refused_and_told_by_whom() {
    let Some(registry) = started(Wanted { tls: true, password: true }) else { return };
    MadeImage::new(&[("gzip", noise(1, 1000))]).push(&registry, "app:1");
    let fixture = Fixture::new();
    let text = format!("[[registry]]\nlocation = \"{}\"\nca = \"{}\"\n", registry.address, registry.ca().display());
    let store = ImageStore::with_registries(&fixture.root(), true, Registries::parse(&text).unwrap());
    let name = format!("{}/app:1", registry.address);
    let failed = |keyring| {
        let (store, name) = (Arc::clone(&store), name.clone());
        async move { pull(&store, &name, keyring).await.unwrap_err().to_string() }
    };
    let none = failed(Keyring::default()).await;
    assert!(
        none.contains(&format!("registry {}: it wants credentials, and there are none", registry.address)),
        "{none}"
    );
    let wrong = failed(husk_keyring(&registry.address, "wrong-horse")).await;
    assert!(wrong.contains("the credentials were refused") && !wrong.contains("wrong-horse"), "{wrong}");
    // Of several, all are tried, as kubelet does.
    let mut keyring = husk_keyring(&registry.address, "wrong-horse");
    keyring.extend(husk_keyring(&registry.address, "correct-horse"));
    assert_eq!(pull(&store, &name, keyring).await.unwrap().reference, name);
    // Without the certificate nothing is said to it, on loopback neither.
    let strict = ImageStore::open(&Fixture::new().root(), true).unwrap();
    let error = pull(&strict, &name, husk_keyring(&registry.address, "correct-horse")).await.unwrap_err();
    assert!(
        matches!(&error, PullError::Registry { tried, .. } if matches!(tried[..], [RegistryError::Tls { .. }])),
        "{error}"
    );
    let insecure =
        Registries::parse(&format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address)).unwrap();
    let insecure = ImageStore::with_registries(&Fixture::new().root(), true, insecure);
    pull(&insecure, &name, husk_keyring(&registry.address, "correct-horse")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_had_for_every_kind_of_credentials() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    let proxy = FaultyProxy::with_tokens(made.directory.path()).await;
    let name = format!("{}/app:1", proxy.address);
    let keyring = |credentials| Keyring::of(&proxy.address, credentials);
    let pulled = async |keyring| pull(&Fixture::new().open(), &name, keyring).await.map(drop);
    let horse = |password: &str| keyring(Credentials::Basic { username: "husk".into(), password: password.into() });
    pulled(horse("correct-horse")).await.unwrap();
    assert_eq!(proxy.requests("GET", "/token").len(), 1, "one token is enough for all requests");
    pulled(keyring(Credentials::Identity("refresh-horse".into()))).await.unwrap();
    assert_eq!(proxy.requests("POST", "/token").len(), 1);
    pulled(keyring(Credentials::Registry("good-token".into()))).await.unwrap();
    let mut several = horse("wrong-horse");
    several.extend(keyring(Credentials::Identity("wrong-horse".into())));
    several.extend(horse("correct-horse"));
    pulled(several).await.unwrap();
    for (keyring, expected) in [
        (Keyring::default(), "authorization failed: unauthorized: no"),
        (horse("wrong-horse"), "the credentials were refused: unauthorized: no"),
        (keyring(Credentials::Registry("wrong-horse".into())), "the credentials were refused: unauthorized: no"),
    ] {
        let error = pulled(keyring).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("horse") && !error.contains("token"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_that_fails_is_no_denial_and_one_that_denies_is_quoted() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    let failed = async |status, body| {
        let rules = vec![Rule { path: "/token", times: usize::MAX, fault: Fault::Answer(status, Vec::new(), body) }];
        let proxy = FaultyProxy::with_tokens_and(made.directory.path(), rules).await;
        pull(&Fixture::new().open(), &format!("{}/app:1", proxy.address), Keyring::default()).await.unwrap_err()
    };
    let error = failed(500, "").await;
    assert!(matches!(last(&error), RegistryError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("its token server answered 500"), "{error}");
    let error = failed(403, r#"{"errors":[{"code":"DENIED","message":"your plan has ended"}]}"#).await;
    assert!(matches!(last(&error), RegistryError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("no anonymous access: denied: your plan has ended"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_within_seconds_is_had_again() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000)), ("gzip", noise(2, 1000))]);
    let refused = Fault::Answer(401, vec![("www-authenticate", "again".to_owned())], "");
    let rules = vec![Rule { path: layer_path_part(&made), times: 1, fault: refused }];
    let proxy = FaultyProxy::with_tokens_and(made.directory.path(), rules).await;
    let credentials = Credentials::Basic { username: "husk".into(), password: "correct-horse".into() };
    let keyring = Keyring::of(&proxy.address, credentials);
    pull(&Fixture::new().open(), &format!("{}/app:1", proxy.address), keyring).await.unwrap();
    assert_eq!(proxy.requests("GET", "/token").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_the_registrys_words() {
    let Some(registry) = started(Wanted::default()) else { return };
    MadeImage::new(&[("gzip", noise(1, 1000))]).push(&registry, "app:1");
    let store = Fixture::new().open();
    let name = format!("{}/app:2", registry.address);
    let error = pull(&store, &name, Keyring::default()).await.unwrap_err();
    assert!(matches!(last(&error), RegistryError::NotFound { .. }), "{error:?}");
    let expected = format!(
        "failed to pull image {name:?}: registry {}: manifest 2 of repository app not found: manifest_unknown: manifest unknown",
        registry.address
    );
    assert_eq!(error.to_string(), expected);
    let gone = pull(&store, "127.0.0.1:1/app", Keyring::default()).await.unwrap_err();
    assert!(matches!(last(&gone), RegistryError::Unavailable { .. }), "{gone:?}");
    assert!(gone.to_string().contains("registry 127.0.0.1:1 is unavailable: cannot connect"), "{gone}");
    let bad = pull(&store, "App", Keyring::default()).await.unwrap_err();
    assert!(matches!(bad, PullError::InvalidName { .. }), "{bad:?}");
    assert!(matches!(pull(&store, "builtin/x", Keyring::default()).await, Err(PullError::InvalidName { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_goes_on_where_it_ended() {
    let Some(registry) = started(Wanted::default()) else { return };
    let made = MadeImage::new(&[("", noise(1, 1_000_000))]);
    made.push(&registry, "app:1");
    let rules = vec![Rule { path: "/blobs/", times: 1, fault: Fault::CutAfter(usize::MAX) }];
    for ignore_range in [false, true] {
        let mut rules = rules.clone();
        rules[0] = Rule { path: layer_path_part(&made), times: 2, fault: Fault::CutAfter(400_000) };
        if ignore_range {
            rules[0].times = 1;
            rules.push(Rule { path: rules[0].path, times: 1, fault: Fault::IgnoreRange });
        }
        let proxy = FaultyProxy::start(&registry.address, rules).await;
        let store = Fixture::new();
        let name = format!("{}/app:1", proxy.address);
        pull(&store.open(), &name, Keyring::default()).await.unwrap();
        let ranges = proxy.requests("GET", layer_path_part(&made));
        assert_eq!(ranges[0], None);
        assert!(ranges[1].as_ref().unwrap().starts_with("bytes="), "{ranges:?}");
        assert!(contents(&store.open().resolve(&name).unwrap(), 0) == noise(1, 1_000_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_know_less_are_asked_otherwise() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    let rules = vec![Rule { path: "/manifests/", times: 9, fault: Fault::NoHead }];
    let proxy = FaultyProxy::of_layout(made.directory.path(), rules).await;
    let fixture = Fixture::new();
    for manifests in [1, 2] {
        pull(&fixture.open(), &format!("{}/app:1", proxy.address), Keyring::default()).await.unwrap();
        assert_eq!(proxy.requests("GET", "/manifests/").len(), manifests);
    }
    assert_eq!(proxy.requests("GET", "/blobs/").len(), 2, "nothing is loaded twice");
}

/// A pull that has failed for good has not been for nothing: the next one, of another process too, goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_pull_goes_on_where_a_failed_one_ended() {
    let content = noise(1, 1_000_000);
    let made = MadeImage::new(&[("", content.clone())]);
    let layer = layer_path_part(&made);
    let fixture = Fixture::new();
    let mut rules = vec![Rule { path: layer, times: 1, fault: Fault::CutAfter(400_000) }];
    rules.push(Rule { path: layer, times: 1, fault: Fault::Answer(403, vec![], "") });
    let proxy = FaultyProxy::of_layout(made.directory.path(), rules).await;
    let name = format!("{}/app:1", proxy.address);
    pull(&fixture.open(), &name, Keyring::default()).await.unwrap_err();
    pull(&fixture.open(), &name, Keyring::default()).await.unwrap();
    let ranges = proxy.requests("GET", layer);
    assert!(ranges.len() == 3 && ranges[2].is_some() && ranges[2] == ranges[1], "{ranges:?}");
    assert!(contents(&fixture.open().resolve(&name).unwrap(), 0) == content);
}

/// The digest of the first layer; leaked, for rules are `'static`.
fn layer_path_part(made: &MadeImage) -> &'static str {
    made.layers[0].0.clone().leak()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_never_stored_and_faults_that_pass_are_survived() {
    let Some(registry) = started(Wanted::default()) else { return };
    let made = MadeImage::new(&[("gzip", noise(1, 100_000))]);
    made.push(&registry, "app:1");
    let layer = layer_path_part(&made);
    let busy = vec![("retry-after", "0".to_owned())];
    let passing = vec![
        Rule { path: "/manifests/", times: 1, fault: Fault::Answer(429, busy.clone(), "") },
        Rule { path: "/manifests/", times: 1, fault: Fault::Answer(503, busy, "") },
        Rule { path: layer, times: 1, fault: Fault::Corrupt },
        Rule { path: layer, times: 1, fault: Fault::Answer(502, vec![], "<html>") },
        Rule { path: layer, times: 1, fault: Fault::Answer(500, vec![], "") },
    ];
    let proxy = FaultyProxy::start(&registry.address, passing).await;
    let fixture = Fixture::new();
    pull(&fixture.open(), &format!("{}/app:1", proxy.address), Keyring::default()).await.unwrap();
    let lasting = vec![Rule { path: layer, times: 99, fault: Fault::Corrupt }];
    let proxy = FaultyProxy::start(&registry.address, lasting).await;
    let fixture = Fixture::new();
    let error = pull(&fixture.open(), &format!("{}/app:1", proxy.address), Keyring::default()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("blob {layer} failed verification")), "{error}");
    assert!(!fixture.blob(layer).exists());
    let patience = vec![("retry-after", "3600".to_owned())];
    let said = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    let rules = vec![Rule { path: "/manifests/", times: 99, fault: Fault::Answer(429, patience, said) }];
    let proxy = FaultyProxy::start(&registry.address, rules).await;
    let error = pull(&fixture.open(), &format!("{}/app:1", proxy.address), Keyring::default()).await.unwrap_err();
    assert!(error.to_string().contains("too many requests (429): toomanyrequests: slow down"), "{error}");
    assert_eq!(proxy.requests("GET", "/manifests/").len(), 1, "an hour is not waited for");
}

/// Lets time pass fifty times as fast as it does. It could not pass by itself, for files are written meanwhile.
async fn hurry() {
    loop {
        let pause = tokio::task::spawn_blocking(|| std::thread::park_timeout(Duration::from_millis(20)));
        pause.await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn registries_that_stall_or_dribble_are_not_waited_for_for_ever() {
    let hurrying = tokio::spawn(hurry());
    let content = noise(1, 400_000);
    let made = MadeImage::new(&[("", content.clone())]);
    let layer = layer_path_part(&made);
    let rules = |times, fault| vec![Rule { path: layer, times, fault }];
    let pulled = async |rules| {
        let proxy = FaultyProxy::of_layout(made.directory.path(), rules).await;
        let fixture = Fixture::new();
        let name = format!("{}/app:1", proxy.address);
        let begun = tokio::time::Instant::now();
        let request = PullRequest {
            image: name.clone(),
            platform: PlatformChoice::default(),
            keyring: Arc::default(),
            verify: false,
        };
        let result = fixture.open().pull(request).unwrap().wait().await;
        if result.is_ok() {
            assert!(contents(&fixture.open().resolve(&name).unwrap(), 0) == content);
        }
        (result.map(drop), begun.elapsed(), proxy.requests("GET", layer))
    };
    let (result, _, ranges) = pulled(rules(1, Fault::StallAfter(300_000))).await;
    result.unwrap();
    assert!(ranges.len() == 2 && ranges[1].is_some(), "{ranges:?}");
    let (result, took, ranges) = pulled(rules(99, Fault::StallAfter(1000))).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("it stopped answering") && ranges.len() == 4, "{error}: {ranges:?}");
    assert!(took < Duration::from_secs(600), "{took:?}");
    // Slow, but steady.
    let (result, took, ranges) = pulled(rules(1, Fault::Slow(4000))).await;
    result.unwrap();
    assert!(ranges.len() == 1 && took >= Duration::from_secs(90), "{ranges:?}");
    let (result, took, _) = pulled(rules(99, Fault::Slow(100))).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("it sends too slowly"), "{error}");
    assert!(took < Duration::from_secs(600), "{took:?}");
    hurrying.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_not_what_was_asked_for_are_refused() {
    let Some(registry) = started(Wanted::default()) else { return };
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    made.push(&registry, "app:1");
    let cases: &[(Fault, &str)] = &[
        (Fault::Corrupt, "failed verification"),
        (Fault::WrongDigest, "failed verification"),
        (Fault::Answer(200, vec![], "{}"), "no valid JSON"),
        (Fault::Answer(200, vec![], r#"{"schemaVersion":1}"#), "schema version 1"),
        (Fault::Answer(200, vec![], r#"{"schemaVersion":2}"#), "is no valid"),
        (Fault::Answer(418, vec![], ""), "unexpected answer: 418"),
        (Fault::Answer(302, vec![("location", "file:///etc/passwd".to_owned())], ""), "unexpected answer"),
    ];
    for (fault, expected) in cases {
        let rules = vec![Rule { path: "/manifests/", times: 99, fault: fault.clone() }];
        let proxy = FaultyProxy::start(&registry.address, rules).await;
        let error = pull(&Fixture::new().open(), &format!("{}/app:1", proxy.address), Keyring::default()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{fault:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_at_the_same_time_load_everything_once() {
    let Some(registry) = started(Wanted::default()) else { return };
    let shared = ("gzip", noise(1, 500_000));
    MadeImage::new(&[shared.clone(), ("gzip", noise(2, 1000))]).push(&registry, "one:1");
    let other = MadeImage::new(&[shared, ("gzip", noise(3, 1000))]);
    other.push(&registry, "two:1");
    let proxy = FaultyProxy::start(&registry.address, Vec::new()).await;
    let fixture = Fixture::new();
    // Two stores on one directory are as two processes.
    let stores = [fixture.open(), fixture.open()];
    let pulls = (0..8).map(|number| {
        let name = format!("{}/{}:1", proxy.address, if number % 4 < 2 { "one" } else { "two" });
        let store = Arc::clone(&stores[number % 2]);
        async move { pull(&store, &name, Keyring::default()).await.unwrap() }
    });
    futures::future::join_all(pulls).await;
    let mut loaded: HashMap<String, usize> = HashMap::new();
    for (method, path, _) in proxy.seen.lock().unwrap().iter() {
        if method == "GET" && path.contains("/blobs/") {
            *loaded.entry(path.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(loaded.len(), 5, "three layers and two configurations: {loaded:?}");
    assert!(loaded.values().all(|times| *times == 1), "{loaded:?}");
    stores[0].resolve(&format!("{}/two:1", proxy.address)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_tried_first_and_their_failures_are_told() {
    let Some(registry) = started(Wanted::default()) else { return };
    let Some(mirror) = started(Wanted::default()) else { return };
    MadeImage::new(&[("gzip", noise(1, 1000))]).push(&mirror, "hub/team/app:1");
    MadeImage::new(&[("gzip", noise(2, 1000))]).push(&registry, "team/app:2");
    let text = format!(
        "[[registry]]\nprefix = \"example.test\"\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/hub\"\n[aliases]\napp = \"example.test/team/app\"\n",
        registry.address, mirror.address
    );
    let fixture = Fixture::new();
    let store = ImageStore::with_registries(&fixture.root(), true, Registries::parse(&text).unwrap());
    assert_eq!(
        pull(&store, "example.test/team/app:1", Keyring::default()).await.unwrap().reference,
        "example.test/team/app:1"
    );
    pull(&store, "app:2", Keyring::default()).await.unwrap();
    assert!(store.resolve("app:2").is_ok() && store.resolve("example.test/team/app:2").is_ok());
    let error = pull(&store, "app:3", Keyring::default()).await.unwrap_err().to_string();
    let said = [&mirror, &registry].map(|registry| format!("registry {}: manifest 3 of repository", registry.address));
    assert!(said.iter().all(|said| error.contains(said)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_and_a_pull_that_nobody_wants_ends() {
    let Some(registry) = started(Wanted::default()) else { return };
    let made = MadeImage::new(&[("", noise(1, 600_000)), ("gzip", noise(2, 1000))]);
    made.push(&registry, "app:1");
    let fixture = Fixture::new();
    let store = fixture.open();
    let request = PullRequest {
        image: format!("{}/app:1", registry.address),
        platform: PlatformChoice::default(),
        keyring: Arc::default(),
        verify: false,
    };
    let begun = store.pull(request.clone()).unwrap();
    let mut progress = begun.progress();
    begun.wait().await.unwrap();
    let last = progress.wait_for(|progress| progress.phase == Phase::Done).await.unwrap().clone();
    assert_eq!(last.blobs.len(), 3);
    assert!(last.blobs.iter().all(|blob| blob.done == blob.size && blob.state == BlobState::Complete), "{last:?}");
    let abandoned = Fixture::new();
    let store = abandoned.open();
    let mut progress = {
        let begun = store.pull(request).unwrap();
        begun.progress()
    };
    assert!(progress.wait_for(|progress| progress.phase == Phase::Done).await.is_err(), "the pull went on");
}

#[test]
fn hashing_while_writing_is_hashing() {
    let mut writer = HashingWriter::new(Vec::new());
    writer.write_all(b"abc").unwrap();
    let expected = Sha256Hex::of_hash(Sha256::digest(b"abc").as_slice());
    assert_eq!(writer.finish(), (expected, 3));
}
