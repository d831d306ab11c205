//! WebAssembly artifacts as the ecosystem publishes them: put into a real registry by what their tools send, pulled and
//! run by husk.

use std::fs;

use serde_json::{Value, json};

use super::registry::{TestRegistry, Wanted, has_tool, tool};
use crate::support::{Husk, guest_file};

/// Sends blobs and manifests as `oras` and `wkg` do.
pub(super) struct Publisher<'r> {
    registry: &'r TestRegistry,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl<'r> Publisher<'r> {
    pub(super) fn new(registry: &'r TestRegistry) -> Self {
        let tls = husk::base::tls::trust_anyone().unwrap();
        let http = reqwest::Client::builder().tls_backend_preconfigured((*tls).clone()).no_proxy().build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { registry, runtime, http }
    }

    pub(super) fn blob(&self, repository: &str, media_type: &str, contents: &[u8]) -> Value {
        let digest = digest(contents);
        let uploads = format!("http://{}/v2/{repository}/blobs/uploads/", self.registry.address);
        self.runtime.block_on(async {
            let begun = self.http.post(uploads).send().await.unwrap().error_for_status().unwrap();
            let place = begun.headers()["location"].to_str().unwrap().to_owned();
            let sent = self.http.put(format!("{place}&digest={digest}")).body(contents.to_vec()).send().await.unwrap();
            sent.error_for_status().unwrap();
        });
        json!({ "mediaType": media_type, "digest": digest, "size": contents.len() })
    }

    pub(super) fn manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Value {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.registry.address);
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let contents = manifest.to_string();
        self.runtime.block_on(async {
            let request = self.http.put(url).header("content-type", &media_type).body(contents.clone());
            request.send().await.unwrap().error_for_status().unwrap();
        });
        json!({ "mediaType": media_type, "digest": digest(contents.as_bytes()), "size": contents.len() })
    }
}

fn digest(contents: &[u8]) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(contents);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A pod with a container for each image, which all say hello.
fn pod_of(images: &[String]) -> String {
    let containers =
        images.iter().enumerate().map(|(number, image)| format!("  - {{name: c{number}, image: '{image}'}}\n"));
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n{}",
        containers.collect::<String>()
    )
}

fn all_say_hello(images: &[String]) {
    let husk = Husk::new();
    let outcome = husk.run(&pod_of(images), &[]).exits(0);
    for (number, image) in images.iter().enumerate() {
        let prefix = format!("c{number} ");
        let said = outcome.stdout.lines().any(|line| line.contains(&prefix) && line.contains("hello from wasm"));
        assert!(said, "{image} has said nothing: {outcome:?}");
    }
}

#[test]
fn artifacts_of_every_layout_are_pulled_and_run() {
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let publisher = Publisher::new(&registry);
    let (module, component) =
        (fs::read(guest_file("p1", "hello")).unwrap(), fs::read(guest_file("p2", "hello")).unwrap());
    let cncf = json!({
        "created": "2025-01-01T00:00:00Z", "author": "me", "architecture": "wasm", "os": "wasip2",
        "layerDigests": [digest(&component)], "component": { "exports": ["wasi:cli/run@0.2.0"], "imports": [], "target": null },
    });
    let image_config = json!({
        "architecture": "wasm", "os": "wasi", "config": {}, "rootfs": { "type": "layers", "diff_ids": [digest(&component)] },
    });
    // Who publishes so, the configuration and its type, the layer's type and the program.
    let layouts = [
        ("wkg", "application/vnd.wasm.config.v0+json", cncf, "application/wasm", &component),
        (
            "wasm-to-oci",
            "application/vnd.wasm.config.v1+json",
            json!({}),
            "application/vnd.wasm.content.layer.v1+wasm",
            &module,
        ),
        (
            "istio",
            "application/vnd.module.wasm.config.v1+json",
            json!({}),
            "application/vnd.module.wasm.content.layer.v1+wasm",
            &module,
        ),
        ("oras", "application/vnd.oci.empty.v1+json", json!({}), "application/wasm", &module),
        ("oras-config", "application/vnd.unknown.config.v1+json", json!({}), "application/wasm", &component),
        ("spin", "application/vnd.oci.image.config.v1+json", image_config.clone(), "application/wasm", &component),
        (
            "runwasi",
            "application/vnd.oci.image.config.v1+json",
            image_config,
            "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
            &component,
        ),
    ];
    let images = layouts.map(|(name, config_type, config, layer_type, program)| {
        let repository = format!("team/{name}");
        let config = publisher.blob(&repository, config_type, config.to_string().as_bytes());
        let mut layer = publisher.blob(&repository, layer_type, program);
        layer["annotations"] = json!({ "org.opencontainers.image.title": "hello.wasm" });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/wasm", "config": config,
            "layers": [layer], "annotations": { "org.opencontainers.image.created": "2025-01-01T00:00:00Z" },
        });
        publisher.manifest(&repository, "1", &manifest);
        format!("{}/{repository}:1", registry.address)
    });
    all_say_hello(&images);
}

/// Of an index for several platforms the one that a pod of WebAssembly takes; what is pulled by digest is the same.
#[test]
fn of_several_platforms_the_webassembly_one_is_run() {
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let publisher = Publisher::new(&registry);
    let program = fs::read(guest_file("p1", "hello")).unwrap();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "bin/app", program.as_slice()).unwrap();
    let layer = archive.into_inner().unwrap().finish().unwrap();
    let mut uncompressed = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer.as_slice()), &mut uncompressed).unwrap();
    let blob = publisher.blob("app", "application/vnd.oci.image.layer.v1.tar+gzip", &layer);
    let platforms = [("linux", "amd64"), ("wasip2", "wasm"), ("wasi", "wasm"), ("linux", "arm64")];
    let manifests = platforms.map(|(os, architecture)| {
        // Only the one for WASI has a program.
        let command = if os == "wasi" { "/bin/app" } else { "/none" };
        let config = json!({
            "architecture": architecture, "os": os, "config": { "Entrypoint": [command] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&uncompressed)] },
        });
        let config = publisher.blob("app", "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [blob] });
        let mut descriptor = publisher.manifest("app", &format!("{os}-{architecture}"), &manifest);
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        descriptor
    });
    let attestation = {
        let mut attestation = manifests[0].clone();
        attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        attestation
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [&manifests[0], &manifests[1], &attestation, &manifests[2], &manifests[3]],
    });
    let index = publisher.manifest("app", "1", &index);
    let by_digest = format!("{}/app@{}", registry.address, index["digest"].as_str().unwrap());
    let by_both = format!("{}/app:1@{}", registry.address, index["digest"].as_str().unwrap());
    let of_platform = format!("{}/app@{}", registry.address, manifests[2]["digest"].as_str().unwrap());
    all_say_hello(&[format!("{}/app:1", registry.address), by_digest, by_both, of_platform]);
    let husk = Husk::new();
    let wrong = format!("{}/app@sha256:{}", registry.address, "0".repeat(64));
    husk.husk(["image", "pull", &wrong]).exits(2).says("not found");
    let listed = husk.husk(["image", "pull", "-q", &format!("{}/app:1", registry.address)]).ok();
    assert_eq!(listed.trim(), index["digest"].as_str().unwrap());
}

/// What `buildah` makes FROM scratch, for a platform of WebAssembly and for that of the machine with crun's annotation.
#[test]
fn programs_in_ordinary_images_are_run() {
    if !has_tool("buildah") || !has_tool("skopeo") {
        return;
    }
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::copy(guest_file("p1", "hello"), at("hello")).unwrap();
    fs::copy(guest_file("p2", "hello"), at("hello.wasm")).unwrap();
    fs::write(at("Containerfile"), "FROM scratch\nCOPY hello /hello\nENTRYPOINT [\"/hello\"]\n").unwrap();
    fs::write(at("Named"), "FROM scratch\nCOPY hello.wasm /\nENTRYPOINT [\"/hello.wasm\"]\n").unwrap();
    let common = ["--root", &at("root"), "--runroot", &at("run"), "--storage-driver", "vfs"];
    let build = |name: &str, file: &str, more: &[&str]| {
        let target = format!("{}/built/{name}:1", registry.address);
        let options = ["build", "--isolation", "chroot", "--quiet", "-f", &at(file), "-t", &target];
        tool("buildah", &[&common[..], &options, more, &[directory.path().to_str().unwrap()]].concat());
        tool("buildah", &[&common[..], &["push", "--tls-verify=false", "--quiet", &target]].concat());
        target
    };
    let images = [
        build("platform", "Containerfile", &["--platform", "wasi/wasm"]),
        build("annotated", "Containerfile", &["--annotation", "module.wasm.image/variant=compat-smart"]),
        build("handler", "Containerfile", &["--annotation", "run.oci.handler=wasm"]),
        build("named", "Named", &[]),
    ];
    all_say_hello(&images);
}
