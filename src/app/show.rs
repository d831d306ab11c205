//! Shows what containers print and what happens to pods, in the order a reader expects: a container's output comes after
//! the line that says it has started, and before the one that says it has ended.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cluster::PodKey;
use super::console::Console;
use super::history::Change;
use super::notices::{Notice, Notices};
use crate::cli::output::printer::{OutputStream, Printer};
use crate::node::{LogChunk, LogStream};

/// How long output waits for the line that says its container has started.
const PATIENCE: Duration = Duration::from_millis(250);
/// Chunks that wait for it at most.
const MAX_HELD: usize = 64;

/// How pods and containers are called: by as much as tells them apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    with_namespace: bool,
    with_pod: bool,
}

impl Names {
    /// Names for these pods.
    pub(super) fn new(pods: &[Arc<Pod>]) -> Self {
        let namespaces: BTreeSet<_> = pods.iter().map(|pod| &pod.metadata.namespace).collect();
        Self { with_namespace: namespaces.len() > 1, with_pod: pods.len() > 1 }
    }

    /// A pod's name.
    pub(super) fn pod(self, namespace: &str, pod: &str) -> String {
        if self.with_namespace { format!("{namespace}/{pod}") } else { pod.to_owned() }
    }

    /// A container's name before the lines it prints.
    pub(super) fn source(self, namespace: &str, pod: &str, container: &str) -> String {
        if self.with_pod { format!("{}/{container}", self.pod(namespace, pod)) } else { container.to_owned() }
    }

    /// The names of all containers.
    pub(super) fn sources(self, pods: &[Arc<Pod>]) -> Vec<String> {
        let names = pods.iter().flat_map(|pod| {
            let key = PodKey::of(pod);
            let spec = pod.spec.iter();
            spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
                .map(move |container| self.source(&key.namespace, &key.name, &container.name))
        });
        names.collect()
    }
}

/// What is shown, and what still waits for its place.
pub(super) struct Show {
    printer: Printer,
    names: Names,
    notices: Option<Notices>,
    /// Containers of which it was said that they have started, and whose output has not ended.
    started: HashSet<String>,
    held: HashMap<String, VecDeque<LogChunk>>,
    release_at: Option<Instant>,
    console: Console,
}

impl Show {
    /// Shows output alone, or `notices` too.
    pub(super) fn new(printer: Printer, names: Names, notices: Option<Notices>, console: Console) -> Self {
        let (started, held) = (HashSet::new(), HashMap::new());
        Self { printer, names, notices, started, held, release_at: None, console }
    }

    /// Shows everything that comes, until both senders are gone.
    pub(super) async fn run(mut self, mut logs: mpsc::Receiver<LogChunk>, mut changes: mpsc::Receiver<Change>) {
        loop {
            let release_at = self.release_at;
            let more_may_come = !(logs.is_closed() && changes.is_closed());
            tokio::select! {
                biased;
                Some(chunk) = logs.recv() => self.chunk(chunk).await,
                Some(change) = changes.recv() => self.change(&change).await,
                () = tokio::time::sleep_until(release_at.unwrap_or_else(Instant::now)), if release_at.is_some() && more_may_come => {
                    self.release_all().await;
                }
                else => break,
            }
        }
        self.release_all().await;
    }

    async fn chunk(&mut self, chunk: LogChunk) {
        let source = self.names.source(&chunk.namespace, &chunk.pod, &chunk.container);
        if self.notices.is_none() || self.started.contains(&source) {
            return self.print(&source, chunk).await;
        }
        let held = self.held.entry(source.clone()).or_default();
        held.push_back(chunk);
        if held.len() >= MAX_HELD {
            return self.release(&source).await;
        }
        self.release_at.get_or_insert_with(|| Instant::now() + PATIENCE);
    }

    async fn change(&mut self, change: &Change) {
        let Some(notices) = &mut self.notices else { return };
        let (Change::Event { pod, .. } | Change::Status { pod, .. }) = change;
        for Notice { tone, line, started } in notices.of(change) {
            self.printer.notice(tone, line).await;
            if let Some(container) = started {
                self.release(&self.names.source(&pod.namespace, &pod.name, &container)).await;
            }
        }
    }

    /// The container has started: prints what it printed until now, up to the end of this instance.
    async fn release(&mut self, source: &str) {
        self.started.insert(source.to_owned());
        let Some(mut held) = self.held.remove(source) else { return };
        while self.started.contains(source)
            && let Some(chunk) = held.pop_front()
        {
            self.print(source, chunk).await;
        }
        if !held.is_empty() {
            self.held.insert(source.to_owned(), held);
        }
        if self.held.is_empty() {
            self.release_at = None;
        }
    }

    /// Nothing waits for ever: a notice may have been lost.
    async fn release_all(&mut self) {
        self.release_at = None;
        for (source, held) in std::mem::take(&mut self.held) {
            self.started.insert(source.clone());
            for chunk in held {
                self.print(&source, chunk).await;
            }
        }
    }

    async fn print(&mut self, source: &str, chunk: LogChunk) {
        match chunk.stream {
            Some(LogStream::Stdout) => self.printer.log(source, OutputStream::Stdout, chunk.time, chunk.bytes).await,
            Some(LogStream::Stderr) => self.printer.log(source, OutputStream::Stderr, chunk.time, chunk.bytes).await,
            None => {
                self.started.remove(source);
                self.printer.end(source).await;
                let pod = PodKey { namespace: chunk.namespace, name: chunk.pod };
                if self.console.is_lent_to(&pod, &chunk.container) {
                    self.console.restore();
                }
            }
        }
    }
}
