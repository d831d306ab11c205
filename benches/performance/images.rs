//! An image of 200 MB from a registry on this machine: loading it, next to `skopeo copy` to a layout, which does no more
//! than that; and loading and unpacking it, next to `podman pull`. All begin with nothing.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use husk::image::{ImageStore, Keyring, PlatformChoice, PullRequest, host_platform};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::programs::{Programs, output};
use crate::registry::{TestRegistry, Wanted, has_tool};
use crate::report::{Aim, Report, Sample, Value, medians};
use crate::workload::now;

const SAMPLES: usize = 5;
const LAYERS: u64 = 4;
/// Bytes of a layer's files; compressed, they are some 50 MB.
const LAYER_BYTES: usize = 67_000_000;
/// What part of a file cannot be compressed.
const NOISE: f64 = 0.65;
/// Bytes of files, one size after the other.
const FILE_SIZES: [usize; 5] = [2_000, 8_000, 30_000, 120_000, 900_000];

pub(crate) fn measure(programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return Ok(()) };
    let root = programs.directory().join("pulled");
    std::fs::create_dir_all(&root)?;
    let image = format!("{}/large:1", registry.address);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    publish(&root, &image, &runtime)?;
    let timed = |command: &mut Command| -> anyhow::Result<f64> {
        let begun = now();
        output(command)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let mut pull = || {
        let mut command = programs.husk();
        let took = timed(command.env("HUSK_DATA_DIR", root.join("husk")).args(["image", "pull", "-q", &image]))?;
        clear(&root.join("husk"))?;
        Ok([took])
    };
    let mut copy = || {
        let took = timed(&mut skopeo(&root, &image))?;
        clear(&root.join("layout"))?;
        Ok([took])
    };
    let peer: Option<Sample<'_, 1>> = if has_tool("skopeo") { Some(&mut copy) } else { None };
    add(report, "image of 200 MB: loaded", "skopeo copy", medians(SAMPLES, &mut pull, peer)?);
    let mut pull_and_unpack = || {
        let begun = now();
        pull_and_unpack(&root.join("husk"), &image, &runtime)?;
        let took = begun.elapsed().as_secs_f64();
        clear(&root.join("husk"))?;
        Ok([took])
    };
    let mut podman_pull = || {
        let took = timed(podman(&root).args(["pull", "--quiet", "--tls-verify=false", &image]))?;
        output(podman(&root).args(["rmi", "--all", "--force"]))?;
        Ok([took])
    };
    let peer: Option<Sample<'_, 1>> = if has_tool("podman") { Some(&mut podman_pull) } else { None };
    add(report, "image of 200 MB: loaded and unpacked", "podman pull", medians(SAMPLES, &mut pull_and_unpack, peer)?);
    clear(&root)
}

fn add(report: &mut Report, what: &str, peer: &str, ([husk], of_peer): ([f64; 1], Option<[f64; 1]>)) {
    let of_peer = of_peer.map(|[seconds]| Value::seconds(seconds));
    report.add(what, Value::seconds(husk), (peer, of_peer), Some(Aim::RatioAtMost(1.0)));
}

fn clear(directory: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn skopeo(root: &Path, image: &str) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
    command.args([format!("docker://{image}"), format!("oci:{}:1", root.join("layout").display())]);
    command
}

fn podman(root: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(root.join("podman")).arg("--runroot").arg(root.join("podman-run"));
    command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]);
    command
}

fn pull_and_unpack(root: &Path, image: &str, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let store = ImageStore::open(root, false)?;
    let request = PullRequest {
        image: image.to_owned(),
        platform: PlatformChoice::Linux,
        keyring: Arc::default(),
        verify: false,
    };
    runtime.block_on(async { store.pull(request)?.wait().await })?;
    #[cfg(target_os = "linux")]
    store.unpack(image, PlatformChoice::Linux)?;
    Ok(())
}

/// Makes the image and gives it to the registry.
fn publish(root: &Path, image: &str, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let layout = root.join("made");
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let put = |media_type: &str, contents: &[u8]| -> anyhow::Result<Json> {
        let digest = digest(contents);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), contents)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": contents.len() }))
    };
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for number in 0..LAYERS {
        let archive = layer(number)?;
        diff_ids.push(digest(&archive));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&archive)?;
        layers.push(put("application/vnd.oci.image.layer.v1.tar+gzip", &encoder.finish()?)?);
    }
    let platform = host_platform();
    let (os, architecture) = platform.split_once('/').unwrap_or_default();
    let config =
        json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes())?;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
    let manifest = put(media_type, manifest.to_string().as_bytes())?;
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(layout.join("index.json"), index.to_string())?;
    let store = ImageStore::open(&root.join("publisher"), false)?;
    store.load(&layout, Some(image))?;
    runtime.block_on(store.push(image, image, Keyring::default()).run())?;
    clear(&layout)?;
    clear(&root.join("publisher"))
}

fn digest(contents: &[u8]) -> String {
    let hash = Sha256::digest(contents);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Files of several sizes in many directories, as programs and libraries are: partly noise, partly text.
fn layer(number: u64) -> anyhow::Result<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut archive = tar::Builder::new(Vec::with_capacity(LAYER_BYTES));
    let (mut files, mut size) = (0, 0);
    while size < LAYER_BYTES {
        let length = FILE_SIZES[files % FILE_SIZES.len()];
        let mut contents = vec![0; length];
        let noise = (length as f64 * NOISE) as usize;
        random.fill(&mut contents[..noise]);
        contents[noise..].fill_with(|| b"etaoin shrdlu\n"[random.usize(..14)]);
        let mut header = tar::Header::new_gnu();
        header.set_size(length as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("usr/lib{number}/d{}/f{files}", files % 50), contents.as_slice())?;
        (files, size) = (files + 1, size + length);
    }
    Ok(archive.into_inner()?)
}
