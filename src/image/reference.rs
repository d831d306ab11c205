//! Image references: `busybox`, `registry.example:5000/team/app:1.2@sha256:…`, parsed and completed as Docker and
//! containerd do (distribution/reference `ParseDockerRef`), with what is wrong with a bad one.

use std::fmt;

use super::ImageError;

/// Docker Hub: the registry of names that give none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where Docker Hub keeps names without a namespace.
const OFFICIAL_NAMESPACE: &str = "library";
/// The tag of names that give neither tag nor digest.
const DEFAULT_TAG: &str = "latest";
/// The namespace of the images in the binary. It names no registry, so nothing under it can be pulled or imported.
const BUILT_IN_NAMESPACE: &str = "builtin";
/// Longest repository, its registry included, by the distribution specification.
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;
/// What every refusal begins with, as Docker says it.
const INVALID: &str = "invalid reference format";

/// A complete reference: it has a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Registry and repository, such as `docker.io/library/busybox`; `builtin/…` has no registry.
    pub(super) repository: String,
    /// The tag.
    pub(super) tag: Option<String>,
    /// `sha256:…`.
    pub(super) digest: Option<String>,
}

impl Reference {
    /// Parses and completes `name`.
    pub(super) fn parse(name: &str) -> Result<Self, ImageError> {
        Self::parse_parts(name).map_err(|detail| ImageError::InvalidName { name: name.to_owned(), detail })
    }

    /// Parses the name under which an image is to be stored: one with a tag, and not one of the binary's.
    pub(super) fn parse_for_storing(name: &str) -> Result<Self, ImageError> {
        let reference = Self::parse(name)?;
        let detail = match &reference {
            Self { digest: Some(_), .. } => "an image cannot be stored under a digest, which is its content's",
            reference if reference.is_built_in() => "names under builtin/ are those of the images in the binary",
            _ => return Ok(reference),
        };
        Err(ImageError::InvalidName { name: name.to_owned(), detail: detail.to_owned() })
    }

    fn parse_parts(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err(INVALID.to_owned());
        }
        if name.len() == 64 && name.bytes().all(is_lower_hex) {
            return Err(format!("{INVALID}: cannot specify 64-byte hexadecimal strings"));
        }
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(checked_digest(digest)?)),
            None => (name, None),
        };
        // A colon after the last slash begins the tag; any other belongs to a port.
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(checked_tag(tag)?)),
            _ => (rest, None),
        };
        let repository = complete(rest)?;
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { repository, tag, digest })
    }

    /// Whether this names an image of the binary by its own name.
    pub(super) fn is_built_in(&self) -> bool {
        self.repository.split_once('/').is_some_and(|(namespace, _)| namespace == BUILT_IN_NAMESPACE)
    }

    /// The last part of the repository, such as `busybox`.
    pub(super) fn short_name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Adds the registry and namespace that `name` leaves out, and checks both parts.
fn complete(name: &str) -> Result<String, String> {
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if is_registry(first) => (first, path),
        Some((BUILT_IN_NAMESPACE, path)) => {
            check_path(path)?;
            return Ok(name.to_owned());
        }
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    check_registry(registry)?;
    check_path(path)?;
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    let repository =
        if official { format!("{registry}/{OFFICIAL_NAMESPACE}/{path}") } else { format!("{registry}/{path}") };
    if repository.len() > MAX_NAME {
        return Err(format!("repository name must not be more than {MAX_NAME} characters"));
    }
    Ok(repository)
}

/// Whether the first part of a name is a registry rather than a namespace of Docker Hub.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let port_fits = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let label_fits = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => host.split('.').all(label_fits),
    };
    if port_fits && host_fits { Ok(()) } else { Err(format!("{INVALID}: bad registry {registry:?}")) }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.split('/').all(is_path_component) {
        return Ok(());
    }
    let lower = path.to_lowercase();
    if lower != path && lower.split('/').all(is_path_component) {
        return Err(format!("{INVALID}: repository name ({path}) must be lowercase"));
    }
    Err(INVALID.to_owned())
}

/// `[a-z0-9]+` parts, joined by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let mut parts = component.split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit());
    let alphanumeric = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
    };
    alphanumeric(component.chars().next())
        && alphanumeric(component.chars().next_back())
        && parts.all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
}

fn checked_tag(tag: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits =
        tag.bytes().next().is_some_and(word) && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if fits && tag.len() <= MAX_TAG { Ok(tag.to_owned()) } else { Err(format!("{INVALID}: bad tag {tag:?}")) }
}

fn checked_digest(digest: &str) -> Result<String, String> {
    match digest.split_once(':') {
        Some(("sha256", hex)) if hex.len() == 64 && hex.bytes().all(is_lower_hex) => Ok(digest.to_owned()),
        Some((algorithm, _)) if algorithm != "sha256" => Err(format!("unsupported digest algorithm {algorithm:?}")),
        _ => Err(format!("{INVALID}: bad digest {digest:?}")),
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_completed_as_docker_does() {
        let cases = [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.32.0", "docker.io/library/busybox:1.32.0"),
            ("library/busybox", "docker.io/library/busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
            ("team/app", "docker.io/team/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.k8s.io/e2e-test-images/agnhost:2.40", "registry.k8s.io/e2e-test-images/agnhost:2.40"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("Registry/app", "Registry/app:latest"),
            ("a.b/c__d/e-f--g_h.i:T_1.2-x", "a.b/c__d/e-f--g_h.i:T_1.2-x"),
            ("builtin/nginx", "builtin/nginx:latest"),
        ];
        for (name, complete) in cases {
            assert_eq!(Reference::parse(name).unwrap().to_string(), complete, "{name}");
        }
    }

    #[test]
    fn a_digest_stands_in_for_the_tag_or_beside_it() {
        let pinned = Reference::parse(&format!("busybox@{DIGEST}")).unwrap();
        assert_eq!((pinned.tag, pinned.digest.as_deref()), (None, Some(DIGEST)));
        let both = format!("docker.io/library/busybox:1.32@{DIGEST}");
        assert_eq!(Reference::parse(&both).unwrap().to_string(), both);
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        let long = format!("a.b/{}", "x".repeat(300));
        let cases = [
            ("", "invalid reference format"),
            ("Nginx", "repository name (Nginx) must be lowercase"),
            ("nginx:", "bad tag"),
            ("nginx:-x", "bad tag"),
            ("nginx:la test", "bad tag"),
            (" nginx", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("/nginx", "invalid reference format"),
            ("nginx/", "invalid reference format"),
            ("../../etc/passwd", "bad registry"),
            ("a.b/../c", "invalid reference format"),
            ("a_-b", "invalid reference format"),
            ("host:port/app", "bad registry"),
            ("-a.b/app", "bad registry"),
            ("https://registry/app", "bad registry"),
            ("nginx@sha256:abc", "bad digest"),
            ("nginx@md5:abc", "unsupported digest algorithm"),
            (&DIGEST[7..], "64-byte hexadecimal"),
            (long.as_str(), "not be more than 255"),
        ];
        for (name, reason) in cases {
            match Reference::parse(name) {
                Err(ImageError::InvalidName { name: shown, detail }) => {
                    assert_eq!(shown, name);
                    assert!(detail.contains(reason), "{name:?}: {detail}");
                }
                other => panic!("{name:?} gave {other:?}"),
            }
        }
    }
}
