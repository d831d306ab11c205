//! The agent: one worker per pod, executing what the planner decides. It sees the rest of the cluster only through
//! [`Cluster`], so that the same node serves `husk run`, a local API server or a real cluster.

mod access;
mod attach;
mod container;
mod context;
mod executor;
mod hook;
mod images;
mod instance;
mod journal;
mod logs;
#[cfg(target_os = "linux")]
mod native;
mod outcomes;
mod probe;
mod rootfs;
mod run_directory;
mod runtime_class;
mod services;
#[cfg(test)]
mod tests;
mod upkeep;
mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container as ContainerSpec, PersistentVolumeClaim, Pod, PodStatus, Secret, Service,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::journal::PodJournal;
use crate::api::support::RuntimeKind;
use crate::base::clock::Clock;
use crate::base::id::PodUid;
use crate::base::pipe::PipeReader;
use crate::image::ImageStore;
use crate::net::{PublishedPort, Switch};
use crate::pod::{NodeFacts, Observed, PodSnapshot, PostedEvent};
use crate::runtime::{ContainerRuntime, TerminalSize};
use crate::volume::{IssuedToken, TokenRequest};
#[cfg(test)]
use {crate::pod::Event, std::sync::PoisonError};

pub use access::{AttachError, ConnectVia, ContainerUsage, PodAccess};
pub use attach::{Attach, Attached};
pub use journal::{Contents, Journal, JournalProblem, Recorded};
pub use logs::{LogChunk, LogLimits, LogQuery, LogReader, LogStream};
pub use run_directory::RunDirectory;
pub use runtime_class::{RuntimeClassError, forced_runtime, platform};
pub use services::{ServiceTables, service_tables};

/// What a node needs from the cluster it belongs to, and tells it.
pub trait Cluster: Send + Sync {
    /// A ConfigMap by namespace and name.
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
    /// A Secret.
    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>;
    /// A PersistentVolumeClaim.
    fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>>;
    /// A RuntimeClass.
    fn runtime_class(&self, name: &str) -> Option<Arc<RuntimeClass>>;
    /// All Services of a namespace.
    fn services(&self, namespace: &str) -> Vec<Arc<Service>>;
    /// Issues a token of a pod's service account, bound to the pod. The error is a text for the pod's events.
    fn service_account_token(&self, pod: &Pod, request: &TokenRequest) -> Result<IssuedToken, String>;
    /// Publishes the status of a pod, unless the pod is gone. Whether that is done; if not, it is tried again.
    fn update_status(&self, pod: &Pod, status: &PodStatus) -> bool {
        self.publish(pod, Some(status), &[])
    }
    /// Posts a Kubernetes event about a pod: a new one, or the next of a series that was posted before.
    fn post_event(&self, pod: &Pod, event: &PostedEvent);

    /// Does both, so that whoever sees one of the events finds the status that goes with it: a kubelet, too, sets the status
    /// of a round before it does what it posts events of (kubelet v1.36 `SyncPod`). Whether the status is published.
    fn publish(&self, pod: &Pod, status: Option<&PodStatus>, events: &[PostedEvent]) -> bool;
}

/// What feeds a container that has `stdin: true`.
#[derive(Debug, Clone)]
pub struct Keyboard {
    /// What it reads.
    pub input: PipeReader,
    /// The size of the terminal its output is shown on, if it is.
    pub terminal_size: Option<TerminalSize>,
}

/// Gives a container its standard input when its instance starts; with `None`, only those who attach feed it.
pub type StdinSource = dyn Fn(&Pod, &ContainerSpec) -> Option<Keyboard> + Send + Sync;

/// Publishes the ports of a pod that are wanted beside its `hostPort`s, once its network is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Where the host listens.
    pub host: SocketAddr,
    /// The port inside the pod.
    pub port: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// What a node is made of.
pub struct NodeConfig {
    /// The node's name, for `spec.nodeName`.
    pub name: String,
    /// The node's addresses, for `status.hostIP`.
    pub host_ips: Vec<String>,
    /// Domain of Services and pods.
    pub cluster_domain: String,
    /// CPU the node can give, in thousandths of a core.
    pub allocatable_cpu_millis: u64,
    /// Memory the node can give, in bytes.
    pub allocatable_memory: u64,
    /// The host's `/etc/resolv.conf`, for dnsPolicy Default.
    pub host_resolv_conf: String,
    /// The host's `/etc/hosts`, for pods on the host's network.
    pub host_hosts: String,
    /// Where pods keep their files, a folder per UID.
    pub pods_dir: PathBuf,
    /// What another agent will know of the pods if this one ends before them; `None` if there is not to be another.
    pub journal: Option<Arc<Journal>>,
    /// Where what outlives pods is, in `volumes/NAMESPACE/CLAIM`.
    pub data_dir: PathBuf,
    /// How much later than its container's start a probe with an initial delay begins to count its periods. A kubelet
    /// looks for containers that have started once a second, and manifests whose delays come out even rely on that.
    pub probe_lag: Duration,
    /// The clock.
    pub clock: Clock,
    /// Runs containers of WebAssembly.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Runs native containers, where that is possible.
    pub linux: Option<Arc<dyn ContainerRuntime>>,
    /// Whether native containers outlive this agent, for the next one to take up.
    pub adoptable: bool,
    /// Has images.
    pub images: Arc<ImageStore>,
    /// Connects pods.
    pub switch: Arc<Switch>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// Takes what containers print, where somebody shows it at once.
    pub logs: Option<mpsc::Sender<LogChunk>>,
    /// How large the files are in which what containers print is kept with their pod; `None` if it is not kept. Who runs
    /// the pods removes them with [`RunDirectory::remove_pod`], or all at once.
    pub log_files: Option<LogLimits>,
    /// Gives containers their standard input.
    pub stdin: Box<StdinSource>,
}

/// The agent.
pub struct Node {
    shared: Arc<NodeState>,
}

/// What the workers of a node share.
struct NodeState {
    config: NodeConfig,
    layers: rootfs::LayerCache,
    /// Pods that may be taken up from another agent, until they are.
    adopting: TaskTracker,
    /// Which report is lost, once.
    #[cfg(test)]
    loses: std::sync::Mutex<Option<WhichEvent>>,
}

/// Chooses events, for tests.
#[cfg(test)]
type WhichEvent = fn(&Event) -> bool;

/// One pod on a node. Dropping it kills what runs.
pub struct PodHandle {
    desired: watch::Sender<Arc<Pod>>,
    sources_changed: Arc<Notify>,
    suspended: watch::Sender<Option<Duration>>,
    access: PodAccess,
    task: AbortHandle,
    finished: CancellationToken,
}

impl Node {
    /// A node without pods.
    pub fn new(config: NodeConfig) -> Self {
        let shared = NodeState {
            config,
            layers: rootfs::LayerCache::default(),
            adopting: TaskTracker::new(),
            #[cfg(test)]
            loses: std::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts the worker that owns `pod` from now on. The pod must be defaulted, validated and have a UID.
    pub fn run_pod(&self, pod: Arc<Pod>, publish: Vec<Publish>) -> PodHandle {
        self.start(pod, publish, None)
    }

    /// The same for a pod that an agent before this one ran, and has left in the state of `snapshot`. Its containers of
    /// WebAssembly died with that agent; native ones may be there still. What its volumes had on disk must be in the pod's
    /// folder. When this returns, it is this
    /// node's journal that has the pod.
    pub fn resume_pod(&self, pod: Arc<Pod>, publish: Vec<Publish>, snapshot: PodSnapshot) -> PodHandle {
        self.start(pod, publish, Some(snapshot))
    }

    /// Tells of pods that will be resumed, before any is: others get no address that was theirs.
    pub fn will_resume<'a>(&self, snapshots: impl IntoIterator<Item = &'a PodSnapshot>) {
        let ips = snapshots.into_iter().filter_map(|snapshot| snapshot.status.pod_ip.as_deref()?.parse().ok());
        self.shared.config.switch.begin_after(ips);
    }

    /// Removes what agents that are dead have left beside the files of pods, once all pods are taken up that are resumed
    /// before this is called.
    pub fn remove_leftovers(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        shared.adopting.close();
        async move {
            shared.adopting.wait().await;
            if let Some(linux) = &shared.config.linux {
                linux.remove_leftovers().await;
            }
        }
    }

    /// Ends what an agent has left running of a pod that nobody wants any more.
    pub fn remove_left(&self, uid: &str) -> impl Future<Output = ()> + Send + 'static {
        let (shared, uid) = (Arc::clone(&self.shared), PodUid(uid.to_owned()));
        async move { shared.remove_left(&uid).await }
    }

    /// A way to the logs of a pod of which nothing runs any more.
    pub fn ended_pod(&self, pod: Arc<Pod>) -> PodAccess {
        PodAccess::ended(pod, &self.shared.config)
    }

    fn start(&self, pod: Arc<Pod>, publish: Vec<Publish>, snapshot: Option<PodSnapshot>) -> PodHandle {
        let (desired, receiver) = watch::channel(pod);
        let sources_changed = Arc::new(Notify::new());
        let (suspended, is_suspended) = watch::channel(None);
        let inputs = worker::Inputs {
            desired: receiver.clone(),
            sources_changed: Arc::clone(&sources_changed),
            suspended: is_suspended,
        };
        let worker = worker::Worker::new(Arc::clone(&self.shared), inputs, publish, snapshot);
        let access = PodAccess::new(receiver.clone(), &worker.executor());
        let finished = CancellationToken::new();
        let guard = finished.clone().drop_guard();
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move {
            if let Err(message) = instance::catch_panic(worker.run()).await {
                // Nothing of the pod runs any more: its tasks have died with their worker. Other pods go on.
                let (pod, status) = (receiver.borrow().clone(), failed_status(message));
                let _ = shared.config.cluster.update_status(&pod, &status);
                let observed = Observed::new(NodeFacts::default(), status);
                PodJournal::new(shared.config.journal.clone()).write(&pod, &observed);
            }
            drop(guard);
        });
        PodHandle { desired, sources_changed, suspended, access, task: task.abort_handle(), finished }
    }
}

impl NodeConfig {
    /// The runtime that a pod asks for, if it does.
    fn forced_runtime(&self, pod: &Pod) -> Result<Option<RuntimeKind>, RuntimeClassError> {
        forced_runtime(|name| self.cluster.runtime_class(name), pod)
    }
}

impl NodeState {
    /// Ends what an agent has left running of a pod.
    async fn remove_left(&self, uid: &PodUid) {
        let directory = executor::sandbox_directory(&self.config.pods_dir.join(&uid.0));
        if let Some(linux) = self.config.linux.as_ref().filter(|_| directory.exists()) {
            linux.remove_left(uid, &directory).await;
        }
    }
}

#[cfg(test)]
impl NodeState {
    /// Whether a report is lost on its way, as a test has asked for.
    fn loses(&self, event: &Event) -> bool {
        let mut loses = self.loses.lock().unwrap_or_else(PoisonError::into_inner);
        loses.take_if(|lost| lost(event)).is_some()
    }
}

/// The status of a pod whose worker has failed.
fn failed_status(message: String) -> PodStatus {
    PodStatus {
        phase: Some("Failed".to_owned()),
        reason: Some("InternalError".to_owned()),
        message: Some(message),
        ..PodStatus::default()
    }
}

impl PodHandle {
    /// Tells the worker what the pod should be now; an update the worker has not seen yet is replaced.
    pub fn update(&self, pod: Arc<Pod>) {
        self.desired.send_replace(pod);
    }

    /// Tells the worker that ConfigMaps or Secrets of the pod's namespace have changed, which its volumes may show.
    pub fn sources_changed(&self) {
        self.sources_changed.notify_one();
    }

    /// The agent ends. Containers are told to stop and killed after their grace period, at the latest after `limit`;
    /// hooks are not run, nothing starts any more, and the pod stays as it is then for another agent to take up. A pod of
    /// which nothing is left to run, or that is being terminated, ends as ever.
    pub fn suspend(&self, limit: Duration) {
        self.suspended.send_replace(Some(limit));
    }

    /// Resolves when no container, sandbox or volume of the pod is left, or the pod is suspended.
    pub fn finished(&self) -> impl Future<Output = ()> + Send + 'static {
        self.finished.clone().cancelled_owned()
    }
}

impl Drop for PodHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The pod's `hostPort`s, on loopback unless `hostIP` says otherwise.
// Differs from Kubernetes: a hostPort without hostIP listens on 127.0.0.1 only, because the node is somebody's own
// machine.
pub fn host_ports(pod: &Pod) -> Vec<Publish> {
    let containers = pod.spec.iter().flat_map(|spec| {
        let init = spec.init_containers.iter().flatten();
        init.filter(|container| container.restart_policy.as_deref() == Some("Always")).chain(&spec.containers)
    });
    let ports = containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let host_port = u16::try_from(port.host_port?).ok()?;
        let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port_in_pod = u16::try_from(port.container_port).ok()?;
        let udp = port.protocol.as_deref() == Some("UDP");
        Some(Publish { host: SocketAddr::new(ip, host_port), port: port_in_pod, udp })
    });
    ports.collect()
}

/// Ports of the host that lead into a pod, kept for as long as its sandbox.
type PublishedPorts = Vec<PublishedPort>;
