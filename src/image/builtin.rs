//! The images in the binary, and the well-known names they stand in for. `build.rs` makes the table from the programs
//! in `wasm-apps/`; nothing is computed at run time.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::program::ProgramKind;
use super::reference::Reference;
use super::{Image, ImageConfig, ImageKind, ImageLayer, ImageSummary, LayerContent};

/// One layer, shared by the images that stand on it.
#[derive(Debug)]
struct BuiltInLayer {
    diff_id: &'static str,
    archive: &'static [u8],
}

/// One image of the binary.
#[derive(Debug)]
pub(super) struct BuiltInImage {
    name: &'static str,
    id: &'static str,
    entrypoint: &'static [&'static str],
    cmd: &'static [&'static str],
    path: &'static str,
    stop_signal: Option<&'static str>,
    layers: &'static [&'static BuiltInLayer],
}

mod images {
    //! The table.

    use super::{BuiltInImage, BuiltInLayer};

    include!(concat!(env!("OUT_DIR"), "/builtin_images.rs"));
}

use images::IMAGES;

/// Repositories that a built-in image stands in for, whatever the tag. One that is pinned by digest is never replaced.
const ALIASES: &[(&str, &str)] = &[
    ("docker.io/library/busybox", "builtin/busybox"),
    ("docker.io/curlimages/curl", "builtin/curl"),
    ("docker.io/library/grpc-health", "builtin/grpc-health"),
    ("docker.io/library/nginx", "builtin/nginx"),
    ("docker.io/kennethreitz/httpbin", "builtin/httpbin"),
    ("docker.io/mccutchen/go-httpbin", "builtin/httpbin"),
    ("ghcr.io/mccutchen/go-httpbin", "builtin/httpbin"),
    ("registry.k8s.io/pause", "builtin/pause"),
    ("k8s.gcr.io/pause", "builtin/pause"),
];

/// The image that is nothing but tools.
const TOOLS: &str = "builtin/busybox";

/// The built-in image that `reference` names itself, or by an alias if `use_aliases`.
pub(super) fn find(reference: &Reference, use_aliases: bool) -> Option<Image> {
    if reference.digest.is_some() {
        return None;
    }
    if reference.is_built_in() {
        let latest = reference.tag.as_deref() == Some("latest");
        return by_name(&reference.repository).filter(|_| latest).map(|found| found.image(found.name.to_owned(), None));
    }
    let (_, name) = ALIASES.iter().find(|(alias, _)| use_aliases && *alias == reference.repository)?;
    by_name(name).map(|found| found.image(reference.to_string(), Some((*name).to_owned())))
}

/// The diff IDs of the layers of built-in images that hold nothing but tools.
pub fn tool_layers() -> Vec<String> {
    by_name(TOOLS).iter().flat_map(|image| image.layers).map(|layer| layer.diff_id.to_owned()).collect()
}

fn by_name(name: &str) -> Option<&'static BuiltInImage> {
    IMAGES.iter().find(|image| image.name == name)
}

/// Rows for a listing: the images, then the names they stand in for.
pub(super) fn list(use_aliases: bool) -> impl Iterator<Item = ImageSummary> {
    let images = IMAGES.iter().map(|image| image.summary(image.name, "latest", ImageKind::BuiltIn));
    let aliases = ALIASES.iter().filter(move |_| use_aliases).filter_map(|(alias, name)| {
        Some(by_name(name)?.summary(alias, "*", ImageKind::Alias { of: (*name).to_owned() }))
    });
    images.chain(aliases)
}

impl BuiltInImage {
    fn image(&self, reference: String, stands_in: Option<String>) -> Image {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let config = ImageConfig {
            entrypoint: owned(self.entrypoint),
            cmd: owned(self.cmd),
            env: vec![("PATH".to_owned(), self.path.to_owned())],
            stop_signal: self.stop_signal.map(str::to_owned),
            volumes: Vec::new(),
            ..ImageConfig::default()
        };
        let layers = self.layers.iter().map(|layer| ImageLayer {
            diff_id: layer.diff_id.to_owned(),
            content: LayerContent::TarBytes(Bytes::from_static(layer.archive)),
        });
        Image {
            reference,
            id: self.id.to_owned(),
            repo_digest: None,
            stands_in,
            platform: ProgramKind::Module.platform(),
            annotations: BTreeMap::new(),
            config,
            layers: layers.collect(),
            lease: None,
        }
    }

    fn summary(&self, repository: &str, tag: &str, kind: ImageKind) -> ImageSummary {
        ImageSummary {
            reference: if tag == "*" { repository.to_owned() } else { format!("{repository}:{tag}") },
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            id: self.id.to_owned(),
            digest: String::new(),
            size: self.layers.iter().map(|layer| layer.archive.len() as u64).sum(),
            created: None,
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn entries(image: &Image) -> Vec<(String, Option<String>, u32)> {
        let mut entries = Vec::new();
        for layer in &image.layers {
            let LayerContent::TarBytes(bytes) = &layer.content else { panic!("{layer:?}") };
            for entry in tar::Archive::new(bytes.as_ref()).entries().unwrap() {
                let entry = entry.unwrap();
                let link = entry.link_name().unwrap().map(|link| link.display().to_string());
                entries.push((entry.path().unwrap().display().to_string(), link, entry.header().mode().unwrap()));
            }
        }
        entries
    }

    fn found(name: &str, use_aliases: bool) -> Option<Image> {
        find(&Reference::parse(name).unwrap(), use_aliases)
    }

    #[test]
    fn any_tag_of_a_known_name_is_stood_in_for_unless_switched_off() {
        let cases = [
            ("busybox", Some("builtin/busybox")),
            ("busybox:1.32.0", Some("builtin/busybox")),
            ("docker.io/library/nginx:1.17.10-alpine", Some("builtin/nginx")),
            ("nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", None),
            ("grpc-health:1.0", Some("builtin/grpc-health")),
            ("curlimages/curl:8.8.0", Some("builtin/curl")),
            ("kennethreitz/httpbin", Some("builtin/httpbin")),
            ("mccutchen/go-httpbin:v2.15.0", Some("builtin/httpbin")),
            ("registry.k8s.io/pause:3.10", Some("builtin/pause")),
            ("k8s.gcr.io/pause:3.1", Some("builtin/pause")),
            ("pause", None),
            ("quay.io/library/busybox", None),
            ("team/busybox", None),
            ("redis", None),
        ];
        for (name, stands_in) in cases {
            assert_eq!(found(name, true).and_then(|image| image.stands_in).as_deref(), stands_in, "{name}");
            assert!(found(name, false).is_none(), "{name} without aliases");
        }
    }

    #[test]
    fn an_alias_keeps_the_name_that_was_asked_for() {
        let image = found("busybox:1.32.0", true).unwrap();
        assert_eq!(image.reference, "docker.io/library/busybox:1.32.0");
        assert_eq!(image.id, found("builtin/busybox", false).unwrap().id);
    }

    #[test]
    fn built_ins_are_found_by_their_own_names_with_aliases_off() {
        let image = found("builtin/nginx", false).unwrap();
        assert_eq!(image.stands_in, None);
        assert_eq!(image.config.cmd, ["nginx", "-g", "daemon off;"]);
        assert!(found("builtin/nginx:1.15", true).is_none());
        assert!(found("builtin/none", true).is_none());
        assert_eq!(found("builtin/hello-http", false).unwrap().config.entrypoint, ["/hello-http.wasm"]);
    }

    #[test]
    fn diff_ids_are_the_digests_of_the_layers() {
        for layer in IMAGES.iter().flat_map(|image| image.layers) {
            let digest = Sha256::digest(layer.archive);
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(layer.diff_id, format!("sha256:{hex}"));
        }
    }

    #[test]
    fn busybox_has_its_applets_as_links_and_a_shell() {
        let entries = entries(&found("busybox", true).unwrap());
        let link = |path: &str| entries.iter().find(|(name, ..)| name == path).and_then(|(_, link, _)| link.clone());
        assert_eq!(link("bin/sleep").as_deref(), Some("busybox"));
        assert_eq!(link("bin/wget").as_deref(), Some("nettool"));
        for program in ["bin/busybox", "bin/sh"] {
            assert!(entries.iter().any(|(name, link, mode)| name == program && link.is_none() && *mode == 0o755));
        }
        assert!(entries.iter().any(|(name, _, mode)| name == "tmp/" && *mode == 0o1777));
    }

    #[test]
    fn nginx_has_a_page_and_the_tools() {
        let entries = entries(&found("nginx", true).unwrap());
        let names: Vec<_> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        for name in ["usr/share/nginx/html/index.html", "usr/sbin/nginx", "bin/httpd", "bin/sleep"] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn httpbin_and_pause_start_by_themselves() {
        let httpbin = found("mccutchen/go-httpbin", true).unwrap();
        assert_eq!(httpbin.config.entrypoint, ["httpbin"]);
        assert!(entries(&httpbin).iter().any(|(name, ..)| name == "bin/httpbin"));
        let pause = found("registry.k8s.io/pause:3.10", true).unwrap();
        assert_eq!(pause.config.entrypoint, ["/pause"]);
        assert_eq!(entries(&pause), [("pause".to_owned(), None, 0o755)]);
    }

    #[test]
    fn the_listing_shows_aliases_only_while_they_are_on() {
        let names = |use_aliases| list(use_aliases).map(|image| image.reference).collect::<Vec<_>>();
        assert!(names(true).contains(&"docker.io/library/nginx".to_owned()));
        assert!(!names(false).contains(&"docker.io/library/nginx".to_owned()));
        assert!(names(false).contains(&"builtin/nginx:latest".to_owned()));
    }
}
