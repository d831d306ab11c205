//! A server of the run's own, and the processor time it takes.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::client::Client;
use crate::programs::Programs;

/// How long a server may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often Linux counts processor time in a second, whatever the machine.
const TICKS: f64 = 100.0;

/// A server under way; told to end when dropped.
pub(super) struct Server {
    child: Child,
    data: PathBuf,
}

impl Server {
    /// Starts a server with nothing in it, and waits until it answers.
    pub(super) async fn start(programs: &Programs, name: &str) -> anyhow::Result<Self> {
        let data = programs.directory().join(name);
        let log = File::create(programs.directory().join(format!("{name}.log")))?;
        let mut command = programs.husk();
        command.args(["serve", "--port", "0"]).env("HUSK_DATA_DIR", &data);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut server = Self { child: child.with_context(|| format!("cannot start {command:?}"))?, data };
        let begun = Instant::now();
        // The account comes last of what is made for whoever uses the namespace.
        while !server.answers("/api/v1/namespaces/default/serviceaccounts/default").await {
            if begun.elapsed() > START_LIMIT || server.child.try_wait()?.is_some() {
                bail!("{command:?} does not serve");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    async fn answers(&self, path: &str) -> bool {
        let Ok(mut client) = self.client().await else { return false };
        client.get(path, "").await.is_ok()
    }

    /// A connection to it.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(&self.data.join("server/api.sock")).await
    }

    /// The kubeconfig that it wrote.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    /// Seconds of processor time that it took so far; none where the system does not say.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name before it may have spaces.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / TICKS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_has_ended = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _it_has_ended = self.child.wait();
    }
}
