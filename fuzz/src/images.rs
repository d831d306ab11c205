//! What must be true of images, whatever a registry or an archive has: documents and layers are read or refused, nothing
//! outside of the store is touched, and what was read once is read again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use husk::image::{ImageStore, PlatformChoice, Prune, SaveFormat};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const NAME: &str = "docker.io/library/x:latest";
/// What the first document of an image may be.
const TOPS: [&str; 4] = [
    MANIFEST,
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Most documents of one image.
const MAX_PARTS: usize = 8;

/// Documents of an image: an index or manifest, then what they refer to, separated by zero bytes. The first byte says what
/// the first one is. In a document, `@N` stands for the digest of document N, and `"#N"` for its size.
pub fn image(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let parts: Vec<&[u8]> = bytes.splitn(MAX_PARTS, |byte| *byte == 0).collect();
    let scene = Scene::new();
    let mut descriptors: Vec<(String, usize)> = vec![Default::default(); parts.len()];
    for (number, part) in parts.iter().enumerate().rev() {
        let mut text = part.to_vec();
        for (other, (digest, size)) in descriptors.iter().enumerate().skip(number + 1) {
            text = replaced(&text, format!("\"#{other}\"").as_bytes(), size.to_string().as_bytes());
            text = replaced(&text, format!("@{other}").as_bytes(), digest.as_bytes());
        }
        descriptors[number] = (scene.put(&text), text.len());
    }
    let (digest, size) = &descriptors[0];
    let media_type = TOPS[usize::from(first) % TOPS.len()];
    scene.name(json!({ "mediaType": media_type, "digest": digest, "size": size }));
    scene.check();
}

/// A layer over another one. The first byte says how it is compressed; what follows is the archive, or a stream as it is.
pub fn layer(bytes: &[u8]) {
    let Some((&first, archive)) = bytes.split_first() else { return };
    let scene = Scene::new();
    let base = base_layer();
    let (media_type, blob, diff_id) = match first % 4 {
        0 | 1 => (LAYER.to_owned(), archive.to_vec(), digest(archive)),
        2 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let written = std::io::Write::write_all(&mut encoder, archive);
            let Ok(blob) = written.and_then(|()| encoder.finish()) else { return };
            (format!("{LAYER}+gzip"), blob, digest(archive))
        }
        // What is no stream, or one of something else.
        _ if first & 4 == 0 => (format!("{LAYER}+gzip"), archive.to_vec(), digest(b"")),
        _ => (format!("{LAYER}+zstd"), archive.to_vec(), digest(b"")),
    };
    let put = |media_type: &str, contents: &[u8]| json!({ "mediaType": media_type, "digest": scene.put(contents), "size": contents.len() });
    let layers = [put(LAYER, &base), put(&media_type, &blob)];
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&base), diff_id] },
    });
    let config = put(CONFIG, config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    scene.name(put(MANIFEST, manifest.to_string().as_bytes()));
    scene.check();
}

fn digest(contents: &[u8]) -> String {
    let hash = Sha256::digest(contents);
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// What the layer lies on: files, directories and symlinks, some of which lead outside of a root that is none.
fn base_layer() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |kind, path: &str, link: Option<&str>, contents: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(contents.len() as u64);
        let put = match link {
            Some(link) => archive.append_link(&mut header, path, link),
            None => archive.append_data(&mut header, path, contents),
        };
        put.unwrap_or_else(|error| unreachable!("it is written to memory: {error}"));
    };
    put(tar::EntryType::Directory, "a", None, b"");
    put(tar::EntryType::Regular, "a/b", None, b"b");
    put(tar::EntryType::Directory, "c/d", None, b"");
    put(tar::EntryType::Symlink, "out", Some("../../../../../.."), b"");
    put(tar::EntryType::Symlink, "root", Some("/"), b"");
    put(tar::EntryType::Symlink, "loop", Some("loop"), b"");
    archive.into_inner().unwrap_or_default()
}

/// A store in a directory of its own, and files beside it that nothing may touch.
struct Scene {
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        // Memory, where that is a filesystem, for there are many of these.
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.unwrap_or_else(|error| panic!("there is no room for files: {error}"));
        let scene = Self { directory };
        scene.write(&scene.at("images/blobs/sha256/.x"), b"");
        scene.write(&scene.at("witness"), b"untouched");
        scene.write(&scene.at("a/b"), b"untouched");
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &Path, contents: &[u8]) {
        let parent = path.parent().unwrap_or(path);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, contents));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn put(&self, contents: &[u8]) -> String {
        let digest = digest(contents);
        self.write(&self.at("images/blobs/sha256").join(digest.trim_start_matches("sha256:")), contents);
        digest
    }

    fn name(&self, mut descriptor: Value) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": NAME });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        self.write(&self.at("images/index.json"), index.to_string().as_bytes());
        self.write(&self.at("images/oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
    }

    fn open(&self) -> Arc<ImageStore> {
        ImageStore::open(&self.at("images"), false)
            .unwrap_or_else(|error| panic!("a store with a bad image is still one: {error}"))
    }

    /// Does with the image what users do.
    fn check(&self) {
        let store = self.open();
        let listed = store.list().is_ok();
        for platform in [PlatformChoice::WasmFirst, PlatformChoice::Wasm, PlatformChoice::Linux] {
            let found = store.resolve_for(NAME, platform).map(|image| image.id.clone()).ok();
            let again = self.open().resolve_for(NAME, platform).map(|image| image.id.clone()).ok();
            assert_eq!(found, again, "resolved again");
        }
        let _ = (store.inspect(NAME), store.history(NAME));
        self.unpack(&store);
        for format in [SaveFormat::OciArchive, SaveFormat::DockerArchive] {
            let file = self.at("saved");
            if store.save(&[NAME.to_owned()], format, &file).is_ok() {
                let other = ImageStore::open(&self.at("other"), false);
                let loaded = other.and_then(|other| other.load(&file, None).map(drop));
                // What is stored is not all read; but what is, is the same there.
                let _ = loaded;
            }
            let _ = fs::remove_file(&file);
            let _ = fs::remove_dir_all(self.at("other"));
        }
        let _ = store.prune(Prune::Unnamed);
        if listed {
            assert!(store.remove(NAME).is_ok(), "what is listed can be removed");
        }
        self.nothing_else_is_touched();
    }

    #[cfg(target_os = "linux")]
    fn unpack(&self, store: &ImageStore) {
        if let Ok(unpacked) = store.unpack(NAME, PlatformChoice::Linux) {
            for directory in &unpacked.directories {
                assert!(directory.starts_with(self.at("images/unpacked")) && directory.is_dir());
            }
            let again = store.unpack(NAME, PlatformChoice::Linux);
            assert_eq!(again.map(|again| again.directories).ok(), Some(unpacked.directories), "unpacked again");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn unpack(&self, _store: &ImageStore) {}

    fn nothing_else_is_touched(&self) {
        for file in ["witness", "a/b"] {
            assert_eq!(fs::read(self.at(file)).ok().as_deref(), Some(b"untouched".as_slice()), "{file}");
        }
        let names = |path: &str| {
            let entries = fs::read_dir(self.at(path)).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["a", "images", "witness"]);
        assert_eq!(names("a"), ["b"]);
        assert_eq!(names("images/ingest"), [""; 0], "nothing half-done is left");
        let known = ["blobs", "index.json", "ingest", "leases", "lock", "oci-layout", "uncompressed", "unpacked"];
        assert!(names("images").iter().all(|name| known.contains(&name.as_str())), "{:?}", names("images"));
    }
}
