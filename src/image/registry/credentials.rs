//! Who somebody is to a registry: Docker's configuration files, image pull Secrets, and credential helpers. Which entry
//! is meant for an image is decided as kubelet does (`credentialprovider.BasicDockerKeyring`): hosts may have `*` in
//! their parts, paths are prefixes, and of several that match all are tried, the most exact first.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Largest configuration file that is read, and largest answer of a helper.
const MAX_CONFIG: u64 = 1024 * 1024;
/// Most entries looked at in one configuration.
const MAX_ENTRIES: usize = 1024;
/// How long a credential helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(20);
/// What helpers give instead of a user's name when the secret is a refresh token.
const TOKEN_USER: &str = "<token>";
/// What helpers say when they have no credentials (docker-credential-helpers, `errCredentialsNotFoundMessage`).
const NOTHING_FOUND: &[u8] = b"credentials not found";
/// How Docker's configuration calls Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What proves who somebody is. It never shows in messages.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// A user's name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that others are had for (OAuth 2 refresh token).
    Identity(String),
    /// A token that is sent as it is.
    Registry(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Registry(_) => "Registry(…)",
        })
    }
}

impl Credentials {
    /// What must not show anywhere.
    pub(in crate::image) fn secret(&self) -> &str {
        match self {
            Self::Basic { password: secret, .. } | Self::Identity(secret) | Self::Registry(secret) => secret,
        }
    }
}

/// Credentials, by the registries and repositories they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Keyring {
    entries: Vec<(Pattern, Credentials)>,
    /// Programs to ask for the credentials of a registry.
    helpers: Vec<(Pattern, String)>,
    /// The program to ask for all others.
    store: Option<String>,
    /// What could not be used, and for which registries if not for all. There are no secrets in it.
    problems: Vec<(Option<Pattern>, String)>,
}

/// Which images an entry is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pattern {
    /// As the configuration has it, for helpers.
    written: String,
    host: String,
    path: String,
}

#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity: String,
    #[serde(default, rename = "registrytoken")]
    registry: String,
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Keyring {
    /// The credentials that the user's tools have stored: `$REGISTRY_AUTH_FILE` and podman's places, then Docker's
    /// (`$DOCKER_CONFIG/config.json` or `~/.docker/config.json`). `environment` looks up variables. Files that cannot be
    /// used are skipped with a warning.
    pub fn of_user(environment: impl Fn(&str) -> Option<String>) -> Self {
        let place = |variable: &str, rest: &str| environment(variable).map(|value| Path::new(&value).join(rest));
        let home = |rest: &str| place("HOME", rest);
        let candidates = [
            environment("REGISTRY_AUTH_FILE").map(PathBuf::from),
            place("XDG_RUNTIME_DIR", "containers/auth.json"),
            place("XDG_CONFIG_HOME", "containers/auth.json").or_else(|| home(".config/containers/auth.json")),
            place("DOCKER_CONFIG", "config.json").or_else(|| home(".docker/config.json")),
        ];
        let mut keyring = Self::default();
        for path in candidates.into_iter().flatten() {
            match read_config(&path) {
                Ok(None) => {}
                Ok(Some(contents)) => {
                    let mut read = Self::read_docker_config(&contents).unwrap_or_else(Self::unusable);
                    for (_, problem) in &mut read.problems {
                        tracing::warn!(path = %path.display(), problem, "credentials of registries cannot be used");
                        *problem = format!("{}: {problem}", path.display());
                    }
                    keyring.extend(read);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "credentials of registries cannot be read");
                    keyring.extend(Self::unusable(format!("{} cannot be read: {error}", path.display())));
                }
            }
        }
        keyring
    }

    /// One of which nothing is known but what went wrong.
    fn unusable(problem: String) -> Self {
        Self { problems: vec![(None, problem)], ..Self::default() }
    }

    /// The credentials in Docker's `config.json`, which is also what a Secret of type
    /// `kubernetes.io/dockerconfigjson` has.
    pub fn of_docker_config(contents: &[u8]) -> Result<Self, String> {
        Self::read_docker_config(contents)?.whole()
    }

    /// Itself, if all of it can be used.
    fn whole(self) -> Result<Self, String> {
        match self.problems.first() {
            Some((_, problem)) => Err(problem.clone()),
            None => Ok(self),
        }
    }

    /// As [`Self::of_docker_config`], with what can be used if not all can.
    fn read_docker_config(contents: &[u8]) -> Result<Self, String> {
        // The parser's own message could quote a secret.
        let config: DockerConfig =
            serde_json::from_slice(contents).map_err(|error| format!("invalid at line {}", error.line()))?;
        let mut keyring = Self { store: config.store.filter(|name| is_helper(name)), ..Self::of_entries(config.auths) };
        let helpers = config.helpers.into_iter().take(MAX_ENTRIES).filter(|(_, name)| is_helper(name));
        keyring.helpers = helpers.map(|(key, name)| (Pattern::parse(&key), name)).collect();
        Ok(keyring)
    }

    /// The credentials in a Secret of type `kubernetes.io/dockerconfigjson`, which names no programs to run.
    pub fn of_docker_config_json(contents: &[u8]) -> Result<Self, String> {
        Ok(Self { helpers: Vec::new(), store: None, ..Self::of_docker_config(contents)? })
    }

    /// The credentials in a Secret of type `kubernetes.io/dockercfg`.
    pub fn of_dockercfg(contents: &[u8]) -> Result<Self, String> {
        let entries = serde_json::from_slice(contents).map_err(|error| format!("invalid at line {}", error.line()))?;
        Self::of_entries(entries).whole()
    }

    /// Credentials for one registry or repository.
    pub fn of(registry: &str, credentials: Credentials) -> Self {
        Self { entries: vec![(Pattern::parse(registry), credentials)], ..Self::default() }
    }

    fn of_entries(entries: BTreeMap<String, Entry>) -> Self {
        let mut keyring = Self::default();
        for (key, entry) in entries.into_iter().take(MAX_ENTRIES) {
            // An entry without credentials tells that a helper has them.
            match entry.credentials() {
                Ok(None) => {}
                Ok(Some(credentials)) => keyring.entries.push((Pattern::parse(&key), credentials)),
                Err(problem) => {
                    keyring.problems.push((Some(Pattern::parse(&key)), format!("entry {key:?} {problem}")));
                }
            }
        }
        keyring
    }

    /// Adds what another keyring has, after what there is.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.helpers.extend(other.helpers);
        self.store = self.store.take().or(other.store);
        self.problems.extend(other.problems);
    }

    /// The credentials for a repository, the most exact first; of no use more than once. And why there may be fewer than
    /// the user thinks. May run helpers.
    pub(in crate::image) fn find(&self, registry: &str, repository: &str) -> (Vec<Credentials>, Vec<String>) {
        let mut matching: Vec<_> =
            self.entries.iter().filter(|(pattern, _)| pattern.matches(registry, repository)).collect();
        matching.sort_by_key(|(pattern, _)| std::cmp::Reverse((pattern.path.len(), pattern.exactness())));
        let mut found: Vec<Credentials> = Vec::new();
        let concerned = self
            .problems
            .iter()
            .filter(|(pattern, _)| pattern.as_ref().is_none_or(|pattern| pattern.matches(registry, repository)));
        let mut problems: Vec<_> = concerned.map(|(_, problem)| problem.clone()).collect();
        if let Some((pattern, helper)) = self.helpers.iter().find(|(pattern, _)| pattern.matches(registry, "")) {
            found.extend(asked(helper, &pattern.written, &mut problems));
        } else if let Some(helper) = &self.store {
            let key = if registry == "docker.io" { DOCKER_HUB } else { registry };
            found.extend(asked(helper, key, &mut problems));
        }
        found.extend(matching.into_iter().map(|(_, credentials)| credentials.clone()));
        let mut seen = std::collections::HashSet::new();
        found.retain(|credentials| seen.insert(credentials.clone()));
        (found, problems)
    }
}

impl Entry {
    fn credentials(self) -> Result<Option<Credentials>, &'static str> {
        if !self.identity.is_empty() {
            return Ok(Some(Credentials::Identity(self.identity)));
        }
        if !self.registry.is_empty() {
            return Ok(Some(Credentials::Registry(self.registry)));
        }
        if self.auth.is_empty() {
            let named = !self.username.is_empty();
            return Ok(named.then_some(Credentials::Basic { username: self.username, password: self.password }));
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or("has an auth that is no base64 of text")?;
        let (username, password) = decoded.split_once(':').ok_or("has an auth without a colon")?;
        let password = password.trim_end_matches('\0');
        Ok(Some(Credentials::Basic { username: username.to_owned(), password: password.to_owned() }))
    }
}

impl Pattern {
    /// From a key such as `https://index.docker.io/v1/`, `*.example.com:5000` and `registry.example/team`.
    fn parse(key: &str) -> Self {
        let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        let host = match host {
            "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
            host => host,
        };
        Self { written: key.to_owned(), host: host.to_owned(), path: path.to_owned() }
    }

    fn matches(&self, registry: &str, repository: &str) -> bool {
        let (pattern, pattern_port) = split_port(&self.host);
        let (host, port) = split_port(registry);
        let (patterns, parts) = (pattern.split('.'), host.split('.'));
        pattern_port == port
            && patterns.clone().count() == parts.clone().count()
            && patterns.zip(parts).all(|(pattern, part)| part_matches(pattern, part))
            && repository
                .strip_prefix(&self.path)
                .is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }

    fn exactness(&self) -> usize {
        self.host.len() - self.host.matches('*').count()
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (host, None),
    }
}

/// Whether a part of a host's name is as a pattern with `*` says.
fn part_matches(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(part),
        Some((before, after)) => {
            let rest = part.strip_prefix(before);
            rest.is_some_and(|rest| {
                (0..=rest.len()).any(|at| rest.is_char_boundary(at) && part_matches(after, &rest[at..]))
            })
        }
    }
}

fn read_config(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        opened => opened?,
    };
    let mut contents = Vec::new();
    file.take(MAX_CONFIG).read_to_end(&mut contents)?;
    Ok(Some(contents))
}

/// Whether this may be part of a program's name.
fn is_helper(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// What a helper knows of a registry. One that fails knows nothing, and why is added to `problems`.
fn asked(helper: &str, registry: &str, problems: &mut Vec<String>) -> Option<Credentials> {
    match ask(helper, registry) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(helper, registry, %error, "a credential helper failed");
            let program = format!("docker-credential-{helper}");
            problems.push(match error.kind() {
                std::io::ErrorKind::NotFound => format!("credential helper {program} is not installed"),
                std::io::ErrorKind::TimedOut => {
                    format!("credential helper {program} gave no answer within {} s", HELPER_TIMEOUT.as_secs())
                }
                _ => format!("credential helper {program} failed: {error}"),
            });
            None
        }
    }
}

/// `docker-credential-NAME get` with the registry on standard input.
fn ask(helper: &str, registry: &str) -> std::io::Result<Option<Credentials>> {
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that asks for nothing may have ended already.
        let _unread = stdin.write_all(registry.as_bytes());
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            let read = stdout.take(MAX_CONFIG).read_to_end(&mut answer).map(|_| answer);
            // Nobody waits any more if it took too long.
            let _late = sender.send(read);
        });
    }
    let answer = receiver.recv_timeout(HELPER_TIMEOUT);
    if answer.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let answer = answer.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    // A helper that has nothing says so and fails.
    if !status.success() {
        let has_nothing = answer.windows(NOTHING_FOUND.len()).any(|found| found == NOTHING_FOUND);
        return if has_nothing { Ok(None) } else { Err(std::io::Error::other(format!("it ended with {status}"))) };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&answer).map_err(|_| std::io::Error::other("its answer is no JSON"))?;
    Ok(Some(match answer {
        HelperAnswer { username, secret } if username == TOKEN_USER => Credentials::Identity(secret),
        HelperAnswer { username, secret } => Credentials::Basic { username, password: secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str) -> Credentials {
        Credentials::Basic { username: username.to_owned(), password: "secret".to_owned() }
    }

    fn config(entries: &[&str]) -> Keyring {
        let auths: serde_json::Map<_, _> = entries
            .iter()
            .map(|key| ((*key).to_owned(), serde_json::json!({ "auth": STANDARD.encode(format!("{key}:secret")) })))
            .collect();
        Keyring::of_docker_config(serde_json::json!({ "auths": auths }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn entries_match_as_kubelet_has_them() {
        let keyring =
            config(&["https://index.docker.io/v1/", "r.example:5000", "*.r.example", "r.example:5000/team", "pre*.x"]);
        let cases: &[(&str, &str, &[&str])] = &[
            ("docker.io", "library/busybox", &["https://index.docker.io/v1/"]),
            ("r.example:5000", "team/app", &["r.example:5000/team", "r.example:5000"]),
            ("r.example:5000", "teams/app", &["r.example:5000"]),
            ("r.example", "team/app", &[]),
            ("eu.r.example", "app", &["*.r.example"]),
            ("a.eu.r.example", "app", &[]),
            ("prefix.x", "app", &["pre*.x"]),
        ];
        for (registry, repository, expected) in cases {
            let (found, _) = keyring.find(registry, repository);
            // The `auth` of a key with a colon has its first part as the user's name.
            let users = |key: &&str| basic(key.split(':').next().unwrap());
            let found: Vec<_> = found
                .iter()
                .map(|credentials| match credentials {
                    Credentials::Basic { username, .. } => username.clone(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|key| match users(key) {
                    Credentials::Basic { username, .. } => username,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(found.len(), expected.len(), "{registry}/{repository}: {found:?}");
            assert_eq!(found, expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn every_form_of_credentials_is_read_and_none_is_shown() {
        let text = br#"{"auths":{
            "a.example":{"username":"u","password":"hidden"},
            "b.example":{"identitytoken":"hidden"},
            "c.example":{"registrytoken":"hidden"},
            "d.example":{}
        }}"#;
        let keyring = Keyring::of_docker_config_json(text).unwrap();
        let found = |registry| keyring.find(registry, "x").0.first().cloned();
        assert_eq!(found("a.example"), Some(Credentials::Basic { username: "u".into(), password: "hidden".into() }));
        assert_eq!(found("b.example"), Some(Credentials::Identity("hidden".into())));
        assert_eq!(found("c.example"), Some(Credentials::Registry("hidden".into())));
        assert_eq!(found("d.example"), None);
        assert!(!format!("{keyring:?}").contains("hidden"));
        let old = Keyring::of_dockercfg(br#"{"a.example":{"auth":"dTpwOnc="}}"#).unwrap();
        assert_eq!(old.find("a.example", "x").0, [Credentials::Basic { username: "u".into(), password: "p:w".into() }]);
        let bad = Keyring::of_docker_config(br#"{"auths":{"a.example":{"auth":"c2VjcmV0"}}}"#).unwrap_err();
        assert_eq!(bad, "entry \"a.example\" has an auth without a colon");
        let broken = Keyring::of_docker_config(b"{\"auths\":{\"a\":\"hidden\"}}").unwrap_err();
        assert!(!broken.contains("hidden"), "{broken}");
    }

    #[test]
    fn what_cannot_be_used_of_a_users_credentials_is_told_where_it_matters() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join(".docker/config.json");
        std::fs::create_dir(home.path().join(".docker")).unwrap();
        let problems = |text: &str, registry: &str| {
            std::fs::write(&config, text).unwrap();
            let keyring = Keyring::of_user(|name| (name == "HOME").then(|| home.path().display().to_string()));
            let (found, problems) = keyring.find(registry, "x");
            (found.len(), problems.join("; "))
        };
        let auths = r#"{"auths":{"a.example":{"auth":"c2VjcmV0"},"b.example":{"auth":"dTpw"}}}"#;
        let (found, problem) = problems(auths, "a.example");
        assert!(
            found == 0 && problem.ends_with("config.json: entry \"a.example\" has an auth without a colon"),
            "{problem}"
        );
        assert_eq!(problems(auths, "b.example"), (1, String::new()), "one bad entry spoils no other");
        let (_, problem) = problems("{\"auths\": secret", "a.example");
        assert!(problem.ends_with("config.json: invalid at line 1"), "{problem}");
        let (_, problem) = problems(r#"{"credsStore":"none-of-this-name"}"#, "a.example");
        assert_eq!(problem, "credential helper docker-credential-none-of-this-name is not installed");
    }

    #[test]
    fn secrets_of_a_cluster_run_no_programs() {
        let text = br#"{"credsStore":"x","credHelpers":{"a.example":"../evil"}}"#;
        assert_eq!(Keyring::of_docker_config_json(text).unwrap(), Keyring::default());
        assert!(Keyring::of_docker_config(text).unwrap().helpers.is_empty(), "a path is no name of a helper");
    }
}
