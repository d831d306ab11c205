//! `husk serve` as a process: in front and in the background, one per data directory, found, used, refused and stopped.

#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Husk, Running};

/// A server in the background, which ends with the test.
struct Server<'h> {
    husk: &'h Husk,
    kubeconfig: PathBuf,
}

impl<'h> Server<'h> {
    fn start(husk: &'h Husk, args: &[&str]) -> Self {
        let said = husk.husk([&["serve", "--detach", "--port", "0"], args].concat()).ok();
        let kubeconfig = PathBuf::from(said.trim_end());
        assert_eq!(kubeconfig, husk.dir().join("data/kubeconfig"));
        Self { husk, kubeconfig }
    }

    fn state(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.husk.dir().join("data/server/state.json")).unwrap()).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.state()["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.husk.husk(["stop", "--timeout", "10s"]);
    }
}

/// The code a real client gets for a request, with these changes to its kubeconfig.
fn status_of(kubeconfig: &Path, path: &str, change: impl FnOnce(&mut kube::Config)) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        change(&mut config);
        let client = kube::Client::try_from(config).unwrap();
        let request = http::Request::get(path).body(kube::client::Body::empty()).unwrap();
        client.send(request).await.unwrap().status().as_u16()
    })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_server_in_the_background_knows_its_user_and_nobody_else() {
    let husk = Husk::new();
    let server = Server::start(&husk, &[]);
    assert_ne!(status_of(&server.kubeconfig, "/version", |_| ()), 401, "by certificate");
    let token = fs::read_to_string(husk.dir().join("data/server/pki/admin-token")).unwrap();
    let nobody = |config: &mut kube::Config| config.auth_info = kube::config::AuthInfo::default();
    let with_token = |token: &str| {
        let token = token.trim().to_owned();
        move |config: &mut kube::Config| {
            config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        }
    };
    assert_ne!(status_of(&server.kubeconfig, "/version", with_token(&token)), 401, "by token");
    assert_eq!(status_of(&server.kubeconfig, "/version", with_token("wrong")), 401);
    assert_eq!(status_of(&server.kubeconfig, "/version", nobody), 401);
    assert_ne!(status_of(&server.kubeconfig, "/readyz", nobody), 401, "health is nobody's secret");
}

#[test]
fn what_a_server_keeps_is_the_users_alone() {
    let husk = Husk::new();
    let server = Server::start(&husk, &[]);
    let data = husk.dir().join("data");
    assert_eq!(mode(&data.join("server")), 0o700);
    assert_eq!(mode(&data.join("server/pki")), 0o700);
    let mut files = vec![server.kubeconfig.clone()];
    for directory in ["server", "server/pki"] {
        files.extend(fs::read_dir(data.join(directory)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for file in files.iter().filter(|file| !file.is_dir()) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
}

#[test]
fn there_is_one_server_per_data_directory() {
    let husk = Husk::new();
    let server = Server::start(&husk, &[]);
    let state = server.state();
    for args in [&["serve"][..], &["serve", "--detach"]] {
        let refused = husk.husk(args).exits(2).says(&format!("process {}", state["pid"]));
        let refused =
            refused.says(state["server"]["url"].as_str().unwrap()).says("since 20").says("husk stop --data-dir");
        assert_eq!(refused.stdout, "");
    }
    let other = Husk::new();
    drop(Server::start(&other, &[]));
    assert_ne!(status_of(&server.kubeconfig, "/readyz", |_| ()), 401);
}

#[test]
fn a_stopped_server_is_gone_and_its_keys_stay() {
    let husk = Husk::new();
    let server = Server::start(&husk, &[]);
    let pid = server.pid();
    let keys = fs::read(husk.dir().join("data/server/pki/ca.pem")).unwrap();
    let stopped = husk.husk(["stop"]).exits(0).says(&format!("process {}", pid.as_raw_nonzero()));
    assert!(stopped.stderr.contains("has ended"), "{stopped:?}");
    for left in ["state.json", "api.sock"] {
        assert!(!husk.dir().join("data/server").join(left).exists(), "{left}");
    }
    husk.husk(["stop"]).exits(0).says("No husk server runs");
    drop(Server::start(&husk, &[]));
    assert_eq!(fs::read(husk.dir().join("data/server/pki/ca.pem")).unwrap(), keys);
}

#[test]
fn a_server_that_does_not_end_is_killed() {
    let husk = Husk::new();
    let server = Server::start(&husk, &[]);
    kill_process(server.pid(), Signal::STOP).unwrap();
    husk.husk(["stop", "--timeout", "1s"]).exits(0).says("was killed");
    drop(Server::start(&husk, &[]));
}

#[test]
fn a_killed_server_is_in_nobodys_way() {
    let husk = Husk::new();
    let mut front = Running::spawn(&mut husk.command(["serve", "--port", "0"]));
    front.wait_for("export KUBECONFIG=");
    front.signal(Signal::KILL);
    front.end();
    assert!(husk.dir().join("data/server/state.json").exists());
    let server = Server::start(&husk, &[]);
    assert_ne!(status_of(&server.kubeconfig, "/version", |_| ()), 401);
}

#[test]
fn a_server_in_front_says_how_to_use_it_and_ends_when_it_is_asked_to() {
    for signal in [Signal::INT, Signal::TERM] {
        let husk = Husk::new();
        let mut front = Running::spawn(&mut husk.command(["serve", "--port", "0"]));
        let line = front.wait_for("export KUBECONFIG=");
        assert_eq!(line, format!("export KUBECONFIG={}", husk.dir().join("data/kubeconfig").display()));
        front.signal(signal);
        let (code, lines) = front.end();
        assert_eq!(code, 0, "{lines:?}");
        // It is said on standard error, and so in no certain order with what is on standard output.
        assert!(lines.iter().any(|line| line.contains("https://127.0.0.1:")), "{lines:?}");
        assert!(!husk.dir().join("data/server/state.json").exists());
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let husk = Husk::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for args in [&["serve", "--port", &port][..], &["serve", "--detach", "--port", &port]] {
        let refused = husk.husk(args).exits(2).says(&format!("another program listens on 127.0.0.1:{port}"));
        assert_eq!((&refused.stdout[..], refused.stderr.matches("error: ").count()), ("", 1), "{refused:?}");
    }
    husk.husk(["serve", "--listen", "0.0.0.0"]).exits(2).says("--allow-remote");
    husk.husk(["serve", "--tls-san", "a b"]).exits(2).says("\"a b\" is neither an address nor a DNS name");
    husk.husk(["stop"]).exits(0).says("No husk server runs");
}

#[test]
fn a_kubeconfig_of_the_users_gets_the_server_as_a_context() {
    let husk = Husk::new();
    let own = husk.write("own/config", "apiVersion: v1\nkind: Config\ncurrent-context: work\ncontexts: []\n");
    let server = Server::start(&husk, &["--kubeconfig", "own/config"]);
    let merged = Kubeconfig::read_from(&own).unwrap();
    assert_eq!(merged.current_context.as_deref(), Some("work"));
    assert_eq!(merged.contexts[0].name, "husk");
    let alone = Kubeconfig::read_from(&server.kubeconfig).unwrap();
    let address = |config: &Kubeconfig| config.clusters[0].cluster.as_ref().unwrap().server.clone();
    assert_eq!(address(&merged), address(&alone));
    assert_eq!(mode(&own), 0o600);
}
