//! Reaching into a pod that runs: executing programs in its containers, attaching to them, connecting into its network,
//! reading its logs, asking what it uses. None of this keeps the pod running.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use super::attach::{Attach, Attached, Streams};
use super::executor::Shared;
use super::logs::{LogQuery, LogReader, PodLogs};
use super::{NodeConfig, PodHandle};
use crate::net::{NetError, PodNetwork, TcpStream};
use crate::runtime::{Container, ExecRequest, ResourceUsage, RuntimeError, TerminalSize};

/// Why a container could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It does not run: not yet, not any more, or there is no such container in the pod.
    #[error("container {container:?} is not running in pod {pod:?}")]
    NotRunning {
        /// The container's name.
        container: String,
        /// The pod's name.
        pod: String,
    },
    /// The program could not be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// Where a connection into a pod comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectVia {
    /// The pod itself: what it serves on its loopback is reached too.
    Loopback,
    /// The node, which connects to the pod's address.
    Node,
}

/// What a container that runs uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container's name.
    pub container: String,
    /// Its instance, counting restarts.
    pub attempt: u32,
    /// What it uses, and has used.
    pub usage: ResourceUsage,
}

/// A way into a pod. It leads nowhere once the pod's [`PodHandle`] is dropped, but for its logs. Clones are the same.
#[derive(Clone)]
pub struct PodAccess {
    pod: watch::Receiver<Arc<Pod>>,
    /// Gone with the worker, whose containers nothing else keeps.
    executor: Weak<Shared>,
    logs: Option<Arc<PodLogs>>,
}

impl PodHandle {
    /// A way into the pod that does not keep it.
    pub fn access(&self) -> PodAccess {
        self.access.clone()
    }
}

impl PodAccess {
    pub(super) fn new(pod: watch::Receiver<Arc<Pod>>, executor: &Arc<Shared>) -> Self {
        Self { pod, executor: Arc::downgrade(executor), logs: executor.logs.clone() }
    }

    /// A way that leads to logs only.
    pub(super) fn ended(pod: Arc<Pod>, config: &NodeConfig) -> Self {
        let directory = config.pods_dir.join(pod.metadata.uid.as_deref().unwrap_or_default());
        let logs = config.log_files.map(|limits| PodLogs::new(&directory, limits));
        Self { pod: watch::channel(pod).1, executor: Weak::new(), logs }
    }

    /// Checks that a container runs.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn check_running(&self, container: &str) -> Result<(), AttachError> {
        self.reach(container).map(|_running| ())
    }

    /// Runs a program in a container: with its files, network, limits and environment. Dropping what this returns kills
    /// it.
    ///
    /// # Errors
    ///
    /// The container does not run, or the program is not found or cannot be run.
    pub async fn exec(&self, container: &str, request: ExecRequest) -> Result<Arc<dyn Container>, AttachError> {
        let (process, _) = self.reach(container)?;
        Ok(process.exec(request).await?)
    }

    /// Attaches to a container's own streams until it has ended, or what this returns is dropped. Whoever does not take
    /// its output for ten seconds is left out from then on. Who attaches first to a container that reads (`stdin: true`)
    /// gets what it has printed before, as far as that was kept.
    ///
    /// # Errors
    ///
    /// The container does not run.
    pub fn attach(&self, container: &str, attach: Attach) -> Result<Attached, AttachError> {
        let (_, streams) = self.reach(container)?;
        Ok(Attached::new(streams, attach))
    }

    /// Tells a container's own terminal its size.
    ///
    /// # Errors
    ///
    /// The container does not run.
    pub fn resize(&self, container: &str, size: TerminalSize) -> Result<(), AttachError> {
        self.reach(container)?.0.resize(size);
        Ok(())
    }

    /// Connects to a TCP port of the pod.
    ///
    /// # Errors
    ///
    /// The pod has no network, or nothing of it takes the connection.
    pub async fn connect(&self, port: u16, via: ConnectVia) -> Result<TcpStream, NetError> {
        let network = self.executor.upgrade().and_then(|executor| executor.network()).ok_or(NetError::NotConnected)?;
        match via {
            ConnectVia::Node => network.connect_from_node(port).await,
            ConnectVia::Loopback => connect_loopback(&network, port).await,
        }
    }

    /// Reads the log of an instance of a container, whether or not it or the pod still runs: to the end, or nothing if
    /// logs are not kept.
    pub fn logs(&self, container: &str, attempt: u32, query: LogQuery) -> Option<LogReader> {
        Some(LogReader::new(self.logs.as_ref()?, container, attempt, query))
    }

    /// What each of its containers uses that runs now.
    pub fn usage(&self) -> Vec<ContainerUsage> {
        let used = self.executor.upgrade().map(|executor| executor.usage()).unwrap_or_default();
        used.into_iter().map(|(container, attempt, usage)| ContainerUsage { container, attempt, usage }).collect()
    }

    fn reach(&self, container: &str) -> Result<(Arc<dyn Container>, Arc<Streams>), AttachError> {
        let missing = || {
            let pod = self.pod.borrow().metadata.name.clone().unwrap_or_default();
            AttachError::NotRunning { container: container.to_owned(), pod }
        };
        self.executor.upgrade().and_then(|executor| executor.running(container)).ok_or_else(missing)
    }
}

/// By IPv4, and by IPv6 if nobody is there.
async fn connect_loopback(network: &Arc<PodNetwork>, port: u16) -> Result<TcpStream, NetError> {
    let dial = |address: IpAddr| network.connect(None, SocketAddr::new(address, port));
    match dial(Ipv4Addr::LOCALHOST.into()).await {
        Err(NetError::ConnectionRefused) => {
            // What is said of the first address says more.
            dial(Ipv6Addr::LOCALHOST.into()).await.map_err(|_refused_too| NetError::ConnectionRefused)
        }
        other => other,
    }
}
