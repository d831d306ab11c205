//! What images are called: IDs and their beginnings, tags and what they inherit, names with digests.

use super::pull::{MadeImage, noise};
use super::registry::FaultyProxy;
use super::*;

#[test]
fn an_id_or_its_beginning_is_as_good_as_a_name() {
    let fixture = Fixture::new();
    let one = fixture.import("one:1", "one");
    fixture.import("two:1", "two");
    let store = fixture.open();
    let hex = one.id.trim_start_matches("sha256:");
    for word in [&one.id, hex, &hex[..12], &one.id[..19], &one.digest] {
        assert_eq!(store.inspect(word).unwrap()["Id"], one.id.as_str(), "{word}");
        store.history(word).unwrap();
        assert_eq!(store.tag(word, "tagged:1").unwrap().id, one.id);
    }
    assert_eq!(store.resolve(&one.id).unwrap().id, one.id);
    assert_eq!(store.presence(hex, PlatformChoice::default()).unwrap(), Presence::Local);
    // For who runs images, the beginning of an ID is no name: what has one could be made.
    assert!(matches!(store.resolve(&hex[..12]), Err(ImageError::NotFound(_))));
    let saved = fixture.directory.path().join("saved.tar");
    store.save(&[hex[..12].to_owned()], SaveFormat::DockerArchive, &saved).unwrap();
    let loaded = Fixture::new().open().load(&saved, None).unwrap();
    assert!(loaded[0].reference.ends_with("one:1") || loaded[0].reference.ends_with("tagged:1"), "{loaded:?}");
    let refused = store.remove(&hex[..12]).unwrap_err().to_string();
    assert!(refused.contains("docker.io/library/one:1, docker.io/library/tagged:1"), "{refused}");
    store.remove_all_names(&hex[..12]).unwrap();
    assert!(store.list().unwrap().iter().all(|image| image.id != one.id));
    for missing in [hex, "sha256:0123", "abc"] {
        assert!(matches!(store.remove(missing), Err(ImageError::NotFound(_))), "{missing}");
    }
}

#[test]
fn a_beginning_that_several_ids_have_is_refused_with_all_of_them() {
    let fixture = Fixture::new();
    let store = fixture.open();
    // Some two among so many begin alike.
    let mut seen = HashMap::new();
    let (first, second, prefix) = (0..)
        .find_map(|number| {
            let name = format!("app:{number}");
            let id = fixture.import(&name, &number.to_string()).id.trim_start_matches("sha256:").to_owned();
            let prefix = id[..4].to_owned();
            seen.insert(prefix.clone(), name.clone()).map(|other| (other, name, prefix))
        })
        .unwrap();
    let error = store.remove(&prefix).unwrap_err().to_string();
    assert!(error.contains("ambiguous") && error.contains(&first) && error.contains(&second), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_in_the_repository_of_a_pulled_image_stays_pulled() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    let proxy = FaultyProxy::of_layout(made.directory.path(), Vec::new()).await;
    let (fixture, name) = (Fixture::new(), format!("{}/team/app:1", proxy.address));
    let store = fixture.open();
    super::pull::pull(&store, &name, Keyring::default()).await.unwrap();
    let tagged = |new: &str| store.tag(&name, new).unwrap().kind;
    assert_eq!(tagged(&name), ImageKind::Pulled);
    assert_eq!(tagged(&format!("{}/team/app:2", proxy.address)), ImageKind::Pulled);
    assert_eq!(tagged(&format!("{}/team/other:1", proxy.address)), ImageKind::Stored);
    assert_eq!(tagged("mine:1"), ImageKind::Stored);
    assert_eq!(store.tag("mine:1", &name).unwrap().kind, ImageKind::Stored, "what is the user's own stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_digest_has_no_tag() {
    let made = MadeImage::new(&[("gzip", noise(1, 1000))]);
    let proxy = FaultyProxy::of_layout(made.directory.path(), Vec::new()).await;
    let (fixture, repository) = (Fixture::new(), format!("{}/team/app", proxy.address));
    let store = fixture.open();
    let pull = async |name: String| super::pull::pull(&store, &name, Keyring::default()).await.unwrap();
    let digest = pull(format!("{repository}:1")).await.digest;
    pull(format!("{repository}:1@{digest}")).await;
    pull(format!("{repository}@{digest}")).await;
    let listed = store.list().unwrap();
    let tags: Vec<_> = listed.iter().filter(|image| image.repository == repository).map(|image| &*image.tag).collect();
    assert_eq!(tags, ["1", "<none>", "<none>"]);
    let inspected = store.inspect(&format!("{repository}:1")).unwrap();
    assert_eq!(inspected["RepoTags"], json!([format!("{repository}:1")]));
    assert_eq!(inspected["RepoDigests"], json!([format!("{repository}@{digest}")]));
    assert_eq!(store.list_named(&repository).unwrap().len(), 3);
    assert_eq!(store.list_named(&format!("{repository}:1")).unwrap().len(), 1);
}

#[test]
fn what_is_beside_images_in_an_archive_is_left_there() {
    let fixture = Fixture::new();
    let layer = fixture.put("application/vnd.oci.image.layer.v1.tar", b"tar");
    let mut image = fixture.manifest(layer, &Sha256Hex::of(b"tar").to_string());
    image["annotations"] = json!({ "org.opencontainers.image.ref.name": "example.test/app:1" });
    let config = fixture.put_json("application/vnd.oci.empty.v1+json", &json!({}));
    let referrer = json!({ "schemaVersion": 2, "config": config, "layers": [], "artifactType": "text/sbom" });
    let referrer = fixture.put_json("application/vnd.oci.image.manifest.v1+json", &referrer);
    let write = |entries: Value| {
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        fs::write(fixture.root().join("index.json"), index.to_string()).unwrap();
    };
    let load = |name| Fixture::new().open().load(&fixture.root(), name);
    write(json!([image, referrer]));
    assert_eq!(load(None).unwrap()[0].reference, "example.test/app:1");
    assert_eq!(load(Some("mine:2")).unwrap()[0].reference, "docker.io/library/mine:2");
    let mut second = image.clone();
    second["annotations"] = json!({ "org.opencontainers.image.ref.name": "example.test/app:2" });
    write(json!([image, second]));
    assert_eq!(load(None).unwrap().len(), 2);
    let refused = load(Some("mine:2")).unwrap_err().to_string();
    assert!(refused.contains("cannot name 2 images"), "{refused}");
    let compressed = fixture.file("a.tar.xz", b"\xfd7zXZ\0 and so on");
    let refused = Fixture::new().open().load(&compressed, None).unwrap_err().to_string();
    assert!(refused.contains("compressed with xz, which is not supported"), "{refused}");
}
