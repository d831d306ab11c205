//! Bases for several platforms, and what the image says it is for.

use oci_spec::image::MediaType;
use serde_json::json;

use super::*;

/// An image of `base` for several platforms, of which `present` are stored, each with a file of its name.
fn scene(platforms: &[&str], present: &[&str], source: &Source) -> Scene {
    let scene = Scene::new(&[("Dockerfile", b"FROM base\nARG TARGETPLATFORM\nUSER $TARGETPLATFORM\n")]);
    let (store, lease) = (&scene.store, scene.store.layout.new_lease().unwrap());
    let mut manifests = Vec::new();
    for platform in platforms {
        let parts: Vec<&str> = platform.split('/').collect();
        let dockerfile = Some(format!("FROM scratch\nLABEL of={platform}\n"));
        let request = BuildRequest { platform: Some((*platform).to_owned()), dockerfile, ..scene.request("one") };
        store.build(&request).unwrap();
        let entry = store.find(&Reference::parse("one").unwrap()).unwrap().unwrap();
        let mut manifest = serde_json::to_value(&entry).unwrap();
        manifest["annotations"].take();
        manifest["platform"] = json!({ "os": parts[0], "architecture": parts[1] });
        if let Some(variant) = parts.get(2) {
            manifest["platform"]["variant"] = json!(variant);
        }
        manifest.as_object_mut().unwrap().remove("annotations");
        manifests.push((manifest, load::manifest(&store.layout, &entry, PlatformChoice::WasmFirst).unwrap()));
        // So that it is kept.
        store.tag("one", &format!("kept:{}", platform.replace('/', "-"))).unwrap();
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageIndex.to_string(),
        "manifests": manifests.iter().map(|(manifest, _)| manifest).collect::<Vec<_>>(),
    });
    let index = store.layout.write_document(&lease, MediaType::ImageIndex, &index).unwrap();
    store.name(&lease, source.clone(), vec![(Reference::parse("base").unwrap(), index)]).unwrap();
    for (platform, (_, found)) in platforms.iter().zip(&manifests) {
        if !present.contains(platform) {
            store.remove(&format!("kept:{}", platform.replace('/', "-"))).unwrap();
            let _gone = fs::remove_file(store.layout.blob_path(&found.digest));
        }
    }
    scene
}

const FROM_REGISTRY: Source = Source::Registry { signed_by: None };

fn other() -> &'static str {
    if host_platform() == "linux/arm64" { "linux/amd64" } else { "linux/arm64" }
}

/// What is there, what is wanted, and of which platform the base is then, or what is said.
type Case<'a> = (&'a [&'a str], Option<&'a str>, Result<&'a str, &'a str>);

#[test]
fn a_base_is_taken_for_the_platform_that_is_wanted() {
    let host = host_platform();
    let all = ["wasip1/wasm", host.as_str(), other()];
    let cases: &[Case<'_>] = &[
        (&all, Some(&host), Ok(&host)),
        (&all, Some(other()), Ok(other())),
        (&all, Some("wasip1/wasm"), Ok("wasip1/wasm")),
        (&all, None, Ok("wasip1/wasm")),
        (&all[1..], None, Ok(&host)),
        // What is not there is pulled.
        (&all[1..2], Some(other()), Err("not found")),
        (&all[1..2], Some("wasip1/wasm"), Err("not found")),
        (&all[2..], None, Err("not found")),
        (&[], None, Err("not found")),
        // Nobody has it.
        (&all, Some("linux/s390x"), Err("the image has no platform linux/s390x, only wasip1/wasm")),
    ];
    for (present, wanted, expected) in cases {
        let scene = scene(&all, present, &FROM_REGISTRY);
        let platform = wanted.map(str::to_owned);
        let built = scene.store.build(&BuildRequest { platform, ..scene.request("app") });
        match (built, expected) {
            (Ok(built), Ok(platform)) => {
                let document = scene.document("app");
                assert_eq!(document["config"]["Labels"]["of"], *platform, "{present:?} {wanted:?}");
                assert_eq!(document["config"]["User"], *platform);
                assert_eq!(
                    format!("{}/{}", document["os"].as_str().unwrap(), document["architecture"].as_str().unwrap()),
                    *platform
                );
                assert_eq!(built.warnings, [""; 0]);
            }
            (Err(error), Err(problem)) => {
                assert!(error.to_string().contains(problem), "{present:?} {wanted:?}: {error}");
                let missing = matches!(&error, BuildError::Base { error: ImageError::NotFound(_), .. });
                assert_eq!(missing, *problem == "not found", "{error:?}");
            }
            (built, expected) => panic!("{present:?} {wanted:?}: {built:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn what_was_loaded_is_not_looked_for_at_a_registry() {
    let scene = scene(&["wasip1/wasm", other()], &["wasip1/wasm"], &Source::Local);
    let platform = Some(other().to_owned());
    let error = scene.store.build(&BuildRequest { platform, ..scene.request("app") }).unwrap_err().to_string();
    assert!(error.contains(&format!("no platform {}, only wasip1/wasm", other())), "{error}");
}

#[test]
fn a_variant_is_one() {
    let scene = Scene::new(&[(
        "Dockerfile",
        b"FROM --platform=$TARGETPLATFORM scratch\nARG TARGETVARIANT\nUSER $TARGETVARIANT\n",
    )]);
    let request = |platform: &str| BuildRequest { platform: Some(platform.to_owned()), ..scene.request("app") };
    scene.store.build(&request("linux/arm64/v8")).unwrap();
    let document = scene.document("app");
    assert_eq!([&document["architecture"], &document["variant"], &document["config"]["User"]], ["arm64", "v8", "v8"]);
    fs::write(scene.context().join("Dockerfile"), "FROM app\n").unwrap();
    let built = scene.store.build(&request("linux/amd64")).unwrap();
    let said = "line 1: app is for linux/arm64/v8; what is built on it will say linux/amd64";
    assert_eq!(built.warnings, [said], "as docker does");
    assert_eq!(
        (&scene.document("app")["architecture"], &scene.document("app")["variant"]),
        (&json!("amd64"), &Value::Null)
    );
    let error = scene.store.build(&request("linux")).unwrap_err().to_string();
    assert!(error.contains("platform \"linux\" is not os/architecture"), "{error}");
}

#[test]
fn built_in_images_stand_in_for_webassembly_only() {
    let scene = Scene::new(&[("Dockerfile", b"ARG OF=busybox\nFROM $OF\nARG TARGETARCH\nUSER $TARGETARCH\n")]);
    let request = |of: &str, platform: Option<&str>| BuildRequest {
        args: vec![("OF".to_owned(), of.to_owned())],
        platform: platform.map(str::to_owned),
        ..scene.request("app")
    };
    scene.store.build(&request("busybox", None)).unwrap();
    assert_eq!(scene.document("app")["config"]["User"], "wasm");
    scene.store.build(&request("busybox", Some("wasip1/wasm"))).unwrap();
    let error = scene.store.build(&request("busybox", Some("linux/arm64"))).unwrap_err();
    assert!(
        matches!(&error, BuildError::Base { error: ImageError::NotFound(_), base, .. } if base.name == "busybox"),
        "{error}"
    );
    let error = scene.store.build(&request("builtin/busybox", Some("linux/arm64"))).unwrap_err().to_string();
    assert!(error.contains("no platform linux/arm64, only wasip1/wasm"), "{error}");
    let base = |request| scene.store.build_base(&request).unwrap().map(|base| base.name);
    assert_eq!(base(request("busybox", None)), None);
    assert_eq!(base(request("scratch", None)), None);
    assert_eq!(base(request("debian:12", None)), Some("debian:12".to_owned()));
    assert_eq!(base(request("busybox", Some("linux/arm64"))), Some("busybox".to_owned()));
}
