//! Kubeconfigs, by which clients find the server and prove who they are: one of the server's own, and entries in one that
//! the user has. Such a file keeps all that is in it but comments; it is written as a whole or not at all, under the lock
//! that kubectl uses, and what was written is read again before it counts.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::authority::Issued;
use super::private;

/// What the cluster, the user and the context are called.
pub(super) const NAME: &str = "husk";

/// How to reach a server, and as whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access<'a> {
    /// Its URL.
    pub(super) server: &'a str,
    /// The authority's certificate, in PEM.
    pub(super) ca_certificate: &'a str,
    /// The client's certificate.
    pub(super) client: &'a Issued,
}

/// Writes a kubeconfig that knows this server and no other.
pub(super) fn write(path: &Path, access: Access<'_>) -> anyhow::Result<()> {
    let mut config = empty();
    add(&mut config, access)?;
    private::write_for_now(path, render(&config)?.as_bytes())
}

/// Adds a server to a kubeconfig of the user's, or makes one. Tells whether it is the one that clients use by default.
pub(super) fn merge(path: &Path, access: Access<'_>) -> anyhow::Result<bool> {
    let context = || format!("cannot add this server to the kubeconfig {}; it is as it was", path.display());
    // A link stays one.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
                private::make_directory(parent)?;
            }
            path.to_owned()
        }
        Err(error) => return Err(error).with_context(context),
    };
    let _lock = Lock::take(&path)?;
    merge_locked(&path, access).with_context(context)
}

fn merge_locked(path: &Path, access: Access<'_>) -> anyhow::Result<bool> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let mut config = if text.trim().is_empty() { Value::Null } else { serde_yaml::from_str(&text)? };
    if config.is_null() {
        config = empty();
    }
    add(&mut config, access)?;
    private::write(path, render(&config)?.as_bytes())?;
    Ok(config["current-context"] == NAME)
}

/// A kubeconfig that knows nobody.
fn empty() -> Value {
    json!({
        "apiVersion": "v1",
        "clusters": [],
        "contexts": [],
        "current-context": "",
        "kind": "Config",
        "users": [],
    })
}

fn add(config: &mut Value, access: Access<'_>) -> anyhow::Result<()> {
    let config = config.as_object_mut().context("it is not a kubeconfig")?;
    match config.get("kind") {
        None | Some(Value::Null) => {}
        Some(kind) => ensure!(kind == "Config", "it is not a kubeconfig, but of kind {kind}"),
    }
    let cluster =
        json!({ "certificate-authority-data": BASE64.encode(access.ca_certificate), "server": access.server });
    let user = json!({
        "client-certificate-data": BASE64.encode(&access.client.certificate),
        "client-key-data": BASE64.encode(&access.client.key),
    });
    set(config, "clusters", "cluster", cluster)?;
    set(config, "contexts", "context", json!({ "cluster": NAME, "user": NAME }))?;
    set(config, "users", "user", user)?;
    config.entry("apiVersion").or_insert(json!("v1"));
    config.entry("kind").or_insert(json!("Config"));
    // Whatever is used by default goes on being that.
    let current = config.entry("current-context").or_insert(Value::Null);
    if current.as_str().is_none_or(str::is_empty) {
        *current = json!(NAME);
    }
    Ok(())
}

/// Puts the entry in a list of named ones, in place of one of the same name.
fn set(config: &mut Map<String, Value>, list: &str, kind: &str, content: Value) -> anyhow::Result<()> {
    let entries = config.entry(list).or_insert(Value::Null);
    if entries.is_null() {
        *entries = json!([]);
    }
    let entries = entries.as_array_mut().with_context(|| format!("its {list} are not a list"))?;
    let entry = json!({ kind: content, "name": NAME });
    match entries.iter_mut().find(|entry| entry["name"] == NAME) {
        Some(found) => *found = entry,
        None => entries.push(entry),
    }
    Ok(())
}

/// As YAML, which is read again: no quoting rule that was missed may cost the user something.
fn render(config: &Value) -> anyhow::Result<String> {
    let mut options = serde_yaml::SerializerOptions::default();
    options.prefer_block_scalars = false;
    let text = serde_yaml::to_string_with_options(config, options)?;
    let read: Value = serde_yaml::from_str(&text)?;
    ensure!(read == *config, "it would not come out as it should");
    Ok(text)
}

/// The lock that kubectl takes on a kubeconfig while changing it (client-go `lockFile`): a file beside it.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> anyhow::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("another program is changing {}: if that is not so, remove {}", path.display(), lock.display())
            }
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A lock that stays is told of by the next who wants it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(client: &Issued) -> Access<'_> {
        Access { server: "https://127.0.0.1:6443", ca_certificate: "CA", client }
    }

    fn client() -> Issued {
        Issued { certificate: "CERTIFICATE".repeat(100), key: "KEY".to_owned() }
    }

    fn read(path: &Path) -> Value {
        serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_kubeconfig_of_its_own_has_one_context_which_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        write(&path, access(&client())).unwrap();
        let config = read(&path);
        assert_eq!(config["current-context"], "husk");
        assert_eq!(config["contexts"], json!([{ "context": { "cluster": "husk", "user": "husk" }, "name": "husk" }]));
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
        assert_eq!(config["users"][0]["user"]["client-key-data"], BASE64.encode("KEY"));
    }

    #[test]
    fn a_kubeconfig_of_the_users_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let before = r#"
apiVersion: v1
kind: Config
preferences: {colors: true}
extensions:
- name: "0x10"
  extension: {since: "2026-01-01", "yes": "no", number: 1.50, nothing: null, text: "a: b # c\n\ttwo\n"}
clusters:
- cluster: &kind {server: "https://[::1]:1234", insecure-skip-tls-verify: true}
  name: kind
- cluster: *kind
  name: other
contexts:
- context: {cluster: kind, user: "007", namespace: "null"}
  name: kind
current-context: kind
users:
- name: "007"
  user:
    token: "1e3"
    exec: {command: aws, args: ["--region", "~", "on", "0o17", "1_000", ".inf", ""], env: null}
"#;
        fs::write(&path, before).unwrap();
        assert!(!merge(&path, access(&client())).unwrap());
        let (mut expected, after) = (serde_yaml::from_str::<Value>(before).unwrap(), read(&path));
        for list in ["clusters", "contexts", "users"] {
            let added = after[list].as_array().unwrap().last().unwrap().clone();
            assert_eq!(added["name"], "husk");
            expected[list].as_array_mut().unwrap().push(added);
        }
        assert_eq!(after, expected);
        assert_eq!(
            after["users"][0]["user"]["exec"]["args"],
            json!(["--region", "~", "on", "0o17", "1_000", ".inf", ""])
        );
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["config"], "no lock and no half of a file is left");
    }

    #[test]
    fn what_was_added_before_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config");
        assert!(merge(&path, access(&client())).unwrap());
        let again = client();
        assert!(merge(&path, Access { server: "https://127.0.0.1:7777", ..access(&again) }).unwrap());
        let config = read(&path);
        assert_eq!(config["clusters"].as_array().unwrap().len(), 1);
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:7777");
    }

    #[test]
    fn what_is_no_kubeconfig_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        for text in ["kind: Pod\n", "- a\n", "clusters: {}\n", "a: [\n", "kind: Config\nkind: Config\n", "\u{0}"] {
            fs::write(&path, text).unwrap();
            assert!(merge(&path, access(&client())).is_err(), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn nobody_elses_change_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(dir.path().join("config.lock"), "").unwrap();
        let error = merge(&path, access(&client())).unwrap_err().to_string();
        assert!(error.contains("config.lock"), "{error}");
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_the_file_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        merge(&link, access(&client())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
