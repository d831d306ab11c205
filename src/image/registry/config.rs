//! What a user says about registries, in one file: mirrors, registries without TLS, short names, keys that must have
//! signed. The tables and keys are those of `containers-registries.conf(5)` (version 2), as podman and others read
//! them, with `ca` and `signature` added:
//!
//! ```toml
//! [[registry]]
//! prefix = "docker.io"                 # what names begin with; `location` where it is left out
//! location = "docker.io"               # what is put in its place
//! insecure = false                     # plain HTTP, or TLS with any certificate
//! blocked = false
//! ca = "/etc/ssl/company.pem"          # authorities to trust beside the system's
//! [[registry.mirror]]                  # tried first, in this order
//! location = "mirror.example:5000/hub"
//! insecure = false
//! pull-from-mirror = "all"             # or "digest-only", "tag-only"
//!
//! [aliases]
//! "app" = "registry.example/team/app"
//!
//! [[signature]]
//! prefix = "registry.example/team"
//! keys = ["/etc/husk/cosign.pub"]      # one of these must have signed
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::image::reference::Reference;

/// Largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a file of registries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// It cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is not as it should be.
    #[error("{path}: {detail}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
}

/// What a user says about registries.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registries {
    #[serde(default)]
    registry: Vec<RegistryTable>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    signature: Vec<SignatureTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    ca: Option<PathBuf>,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    ca: Option<PathBuf>,
    #[serde(default)]
    pull_from_mirror: PullFrom,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFrom {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SignatureTable {
    prefix: String,
    keys: Vec<PathBuf>,
}

/// A place where the repository of an image may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Endpoint {
    /// Host and port of the registry, as names have it.
    pub(in crate::image) registry: String,
    /// The repository there.
    pub(in crate::image) repository: String,
    /// Whether plain HTTP and any certificate will do.
    pub(in crate::image) insecure: bool,
    /// A file of authorities to trust beside the system's.
    pub(in crate::image) ca: Option<PathBuf>,
}

impl Endpoint {
    /// Where a repository is, with nothing said about its registry.
    pub(in crate::image) fn of(location: &str) -> Self {
        let (registry, repository) = location.split_once('/').unwrap_or((location, ""));
        Self { registry: registry.to_owned(), repository: repository.to_owned(), insecure: false, ca: None }
    }

    /// Host and port to connect to: Docker Hub's is not what names say.
    pub(in crate::image) fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// Whether the registry is on this machine, where plain HTTP betrays nothing.
    pub(in crate::image) fn is_loopback(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { &self.registry }
        });
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl Registries {
    /// Reads a file; one that is not there says nothing.
    pub fn read(path: &Path) -> Result<Self, RegistriesError> {
        let invalid = |detail: String| RegistriesError::Invalid { path: path.to_owned(), detail };
        let text = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(metadata) if metadata.len() > MAX_FILE => return Err(invalid(format!("larger than {MAX_FILE} bytes"))),
            _ => std::fs::read_to_string(path)
                .map_err(|source| RegistriesError::Read { path: path.to_owned(), source })?,
        };
        let mut read = Self::parse(&text).map_err(invalid)?;
        let base = path.parent().unwrap_or(Path::new("."));
        let keys = read.signature.iter_mut().flat_map(|table| &mut table.keys);
        let authorities = read.registry.iter_mut().flat_map(|table| {
            table.ca.iter_mut().chain(table.mirror.iter_mut().filter_map(|mirror| mirror.ca.as_mut()))
        });
        // Paths are relative to the file that has them.
        keys.chain(authorities).for_each(|path| *path = base.join(&*path));
        Ok(read)
    }

    /// Parses and checks the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        for table in &parsed.registry {
            if table.prefix.as_ref().or(table.location.as_ref()).is_none_or(String::is_empty) {
                return Err("a [[registry]] has neither prefix nor location".to_owned());
            }
            if table.location.is_none() && table.prefix.as_ref().is_some_and(|prefix| prefix.starts_with("*.")) {
                continue;
            }
            for location in table.location.iter().chain(table.mirror.iter().map(|mirror| &mirror.location)) {
                check_location(location)?;
            }
        }
        for (alias, name) in &parsed.aliases {
            if alias.contains(['/', ':', '@']) {
                return Err(format!("alias {alias:?} must be a single word, without a tag"));
            }
            let parsed = Reference::parse(name).map_err(|error| format!("alias {alias:?}: {error}"))?;
            if parsed.digest.is_some() || parsed.to_string() != format!("{name}:latest") {
                return Err(format!("alias {alias:?} must stand for a registry and repository, without a tag"));
            }
        }
        for table in &parsed.signature {
            if table.keys.is_empty() {
                return Err(format!("[[signature]] for {:?} names no keys", table.prefix));
            }
        }
        Ok(parsed)
    }

    /// What a name stands for: its short form may be an alias. The tag or digest stays.
    pub(in crate::image) fn expand<'a>(&self, name: &'a str) -> std::borrow::Cow<'a, str> {
        let end = name.find([':', '@']).unwrap_or(name.len());
        match self.aliases.get(&name[..end]) {
            Some(full) => format!("{full}{}", &name[end..]).into(),
            None => name.into(),
        }
    }

    /// Where the image may be had, in the order to try; `None` if the user has blocked it.
    pub(in crate::image) fn endpoints(&self, reference: &Reference) -> Option<Vec<Endpoint>> {
        let Some((table, prefix)) = self.table(&reference.repository) else {
            return Some(vec![Endpoint::of(&reference.repository)]);
        };
        if table.blocked {
            return None;
        }
        let rest = &reference.repository[prefix.len()..];
        let wanted = |mirror: &&MirrorTable| match mirror.pull_from_mirror {
            PullFrom::All => true,
            PullFrom::DigestOnly => reference.digest.is_some(),
            PullFrom::TagOnly => reference.digest.is_none(),
        };
        let at = |location: &str, insecure, ca: &Option<PathBuf>| Endpoint {
            insecure,
            ca: ca.clone(),
            ..Endpoint::of(&format!("{location}{rest}"))
        };
        let mirrors = table.mirror.iter().filter(wanted);
        let mirrors = mirrors.map(|mirror| at(&mirror.location, mirror.insecure, &mirror.ca));
        let location = table.location.as_deref().unwrap_or(&prefix);
        Some(mirrors.chain([at(location, table.insecure, &table.ca)]).collect())
    }

    /// The keys one of which must have signed the image, if there must be a signature.
    pub(in crate::image) fn keys(&self, reference: &Reference) -> Option<&[PathBuf]> {
        let tables = self.signature.iter().filter(|table| matched(&table.prefix, &reference.repository).is_some());
        tables.max_by_key(|table| table.prefix.len()).map(|table| table.keys.as_slice())
    }

    /// The table with the longest prefix of a repository, and that prefix.
    fn table(&self, repository: &str) -> Option<(&RegistryTable, String)> {
        let tables = self.registry.iter().filter_map(|table| {
            let prefix = table.prefix.as_ref().or(table.location.as_ref())?;
            Some((table, matched(prefix, repository)?.to_owned()))
        });
        tables.max_by_key(|(_, prefix)| prefix.len())
    }
}

/// The beginning of a repository that a prefix matches, whole parts only. `*.example.com` matches registries under a
/// domain.
fn matched<'a>(prefix: &str, repository: &'a str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let registry = repository.split('/').next().unwrap_or_default();
        let host = registry.split(':').next().unwrap_or_default();
        return (domain.starts_with('.') && host.ends_with(domain)).then_some(registry);
    }
    let rest = repository.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| &repository[..prefix.len()])
}

fn check_location(location: &str) -> Result<(), String> {
    if location.contains("://") {
        return Err(format!("location {location:?} must be host[:port][/path], without a scheme"));
    }
    // Whatever a name of an image may be, with something in the place of what follows.
    Reference::parse(&format!("{location}/x")).map(|_| ()).map_err(|error| format!("location {location:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "127.0.0.1:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "pinned.example"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/team"
        location = "registry.example/moved"
        ca = "/ca.pem"
        [[registry]]
        prefix = "*.evil.example"
        blocked = true
        [aliases]
        app = "registry.example/team/app"
        [[signature]]
        prefix = "registry.example"
        keys = ["/any.pub"]
        [[signature]]
        prefix = "registry.example/team"
        keys = ["/team.pub", "/old.pub"]
    "#;

    fn places(name: &str) -> Option<Vec<String>> {
        let endpoints = Registries::parse(CONFIG).unwrap().endpoints(&Reference::parse(name).unwrap())?;
        let shown =
            |end: Endpoint| format!("{}/{}{}", end.host(), end.repository, if end.insecure { " insecure" } else { "" });
        Some(endpoints.into_iter().map(shown).collect())
    }

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_decides() {
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let hub = "registry-1.docker.io/library/busybox";
        assert_eq!(places("busybox").unwrap(), ["127.0.0.1:5000/hub/library/busybox insecure", hub]);
        let pinned = places(&format!("busybox@{digest}")).unwrap();
        assert_eq!(pinned, ["127.0.0.1:5000/hub/library/busybox insecure", "pinned.example/library/busybox", hub]);
        assert_eq!(places("team/app:1").unwrap(), ["registry.example/moved/app"]);
        assert_eq!(places("teammate/app").unwrap().len(), 2, "prefixes are whole parts");
        assert_eq!(places("quay.io/a/b").unwrap(), ["quay.io/a/b"]);
        assert_eq!(places("r.evil.example:80/a/b"), None);
        assert!(places("evil.example/a/b").is_some());
    }

    #[test]
    fn aliases_keep_tags_and_signatures_go_by_the_longest_prefix() {
        let config = Registries::parse(CONFIG).unwrap();
        assert_eq!(config.expand("app:1"), "registry.example/team/app:1");
        assert_eq!(config.expand("app"), "registry.example/team/app");
        assert_eq!(config.expand("my/app"), "my/app");
        let keys = |name: &str| config.keys(&Reference::parse(name).unwrap()).map(<[_]>::len);
        assert_eq!(keys("registry.example/team/app"), Some(2));
        assert_eq!(keys("registry.example/teams/app"), Some(1));
        assert_eq!(keys("busybox"), None);
    }

    #[test]
    fn loopback_is_told_by_name_and_address() {
        let loopback = |location: &str| Endpoint::of(location).is_loopback();
        for yes in ["localhost/a", "localhost:5000/a", "127.0.0.1:5000/a", "127.8.9.1/a", "[::1]:80/a"] {
            assert!(loopback(yes), "{yes}");
        }
        for no in ["localhost.example/a", "10.0.0.1:5000/a", "127.0.0.1.example/a", "docker.io/a"] {
            assert!(!loopback(no), "{no}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("[[registry]]\nprefx = \"a\"", "prefx"),
            ("[[registry]]\ninsecure = true", "neither prefix nor location"),
            ("[[registry]]\nlocation = \"https://a.b\"", "without a scheme"),
            ("[[registry]]\nlocation = \"A_B/c\"", "location \"A_B/c\""),
            ("[aliases]\n\"a/b\" = \"c.d/e\"", "single word"),
            ("[aliases]\na = \"c.d/e:1\"", "without a tag"),
            ("[aliases]\na = \"E\"", "lowercase"),
            ("[[signature]]\nprefix = \"a\"\nkeys = []", "names no keys"),
            ("unqualified-search-registries = [\"a\"]", "unqualified-search-registries"),
        ];
        for (text, expected) in cases {
            let error = Registries::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
