//! A cluster of one machine: everything between the store and the pods that run, for `husk serve` and `husk run` alike.
//! What comes in front of it, the API server and its doors, is put there by the composition.
//!
//! ```text
//!   store ─▶ scheduler ─▶ store ─▶ pods ─▶ node ─▶ store          a pod's way
//!     ├───▶ garbage, namespaces, accounts, claims, events         controllers
//!     ├───▶ services ─▶ switch                                    cluster IPs, names
//!     └───▶ node ports ─▶ switch                                  ports of this machine
//! ```

mod node_ports;
mod node_status;
mod pods;
pub(super) mod system;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use self::node_ports::NodePortKeeper;
use self::node_status::{NodeFacts, NodeReporter, disk_size};
pub(super) use self::pods::Own;
use self::pods::{Pods, PodsConfig};
use super::cluster::{PodKey, TokenIssuer};
use super::prepare::Host;
use super::services::NodePort;
use super::{node_access, services};
use crate::apiserver::authorize::Policy;
use crate::apiserver::tokens::Authority;
use crate::base::clock::Clock;
use crate::controller::{accounts, claims, events, garbage, namespaces, scheduler};
use crate::image::ImageStore;
use crate::net::{Switch, TcpListener, VIRTUAL_RANGE};
use crate::node::{Cluster, Contents, Journal, LogChunk, LogLimits, Node, NodeConfig, RunDirectory, StdinSource};
use crate::runtime::ContainerRuntime;
use crate::store::Store;
use crate::volume;

/// Domain of Services and pods, as clusters have it by default.
pub(super) const DOMAIN: &str = "cluster.local";
/// The version of Kubernetes whose behaviour this is.
pub(super) const VERSION: &str = "v1.36.2";

/// Thousandths of a processor in one.
const MILLIS_PER_CPU: u64 = 1000;
/// How long a kubelet takes on average to see that a container has started.
const PROBE_LAG: Duration = Duration::from_millis(500);
/// Connections from pods to the API that may wait to be accepted.
const API_BACKLOG: usize = 128;
/// How often the clock is compared with the machine's.
const CLOCK_CHECK: Duration = Duration::from_secs(10);
/// How long a controller that has failed stays away.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Where the machine is reached, which is somebody's own.
const HOST_IP: &str = "127.0.0.1";

/// What a cluster is made of.
pub(super) struct ClusterConfig {
    /// Its objects.
    pub(super) store: Store,
    /// The time.
    pub(super) clock: Clock,
    /// The machine.
    pub(super) host: Host,
    /// What its node is called.
    pub(super) node_name: String,
    /// How the node tells what becomes of pods.
    pub(super) cluster: Arc<dyn Cluster>,
    /// Where pods have their files.
    pub(super) directory: Arc<RunDirectory>,
    /// What is written down of their lives.
    pub(super) journal: Arc<Journal>,
    /// What an earlier agent has left of them.
    pub(super) left: Contents,
    /// What outlives pods.
    pub(super) data: PathBuf,
    /// Whether native containers outlive this process.
    pub(super) adoptable: bool,
    /// Runs containers.
    pub(super) runtime: Arc<dyn ContainerRuntime>,
    /// Has images.
    pub(super) images: Arc<ImageStore>,
    /// Connects pods.
    pub(super) switch: Arc<Switch>,
    /// Where those find the pods who reach into them.
    pub(super) access: node_access::Pods,
    /// Whether it has an API. Without one it is its pods, their Services, and nothing else: nobody could ask for more.
    pub(super) has_api: bool,
    /// The certificate by which pods know the API server, in PEM; `None` if it does not listen to them.
    pub(super) ca_certificate: Option<String>,
    /// What is different where somebody sits in front of it.
    pub(super) foreground: Foreground,
}

/// What is different where somebody sits in front of the cluster, who waits for certain pods.
pub(super) struct Foreground {
    /// The pods that the cluster is there for, by UID: the node takes them without asking what they need.
    pub(super) own: HashMap<String, Own>,
    /// Node ports that are open already.
    pub(super) node_ports: Vec<NodePort>,
    /// Takes what containers print.
    pub(super) logs: Option<mpsc::Sender<LogChunk>>,
    /// Whether what they print is kept.
    pub(super) keeps_logs: bool,
    /// Gives containers their standard input.
    pub(super) stdin: Box<StdinSource>,
}

impl Foreground {
    /// Nobody does.
    pub(super) fn nobody() -> Self {
        // Whoever attaches feeds containers.
        let stdin = Box::new(|_: &Pod, _: &_| None);
        Self { own: HashMap::new(), node_ports: Vec::new(), logs: None, keeps_logs: true, stdin }
    }
}

/// A cluster at work, until dropped.
pub(super) struct LocalCluster {
    node_name: String,
    api: Option<TcpListener>,
    pods: Pods,
    _tasks: Vec<AbortOnDropHandle<()>>,
    /// Where nobody else keeps them.
    _node_ports: Vec<NodePort>,
}

impl LocalCluster {
    /// Makes what is missing, goes on with the pods there are, and begins to work.
    pub(super) fn start(mut config: ClusterConfig) -> anyhow::Result<Self> {
        let ClusterConfig { store, clock, switch, node_name, .. } = &config;
        let (store, clock, switch, node_name) = (store.clone(), *clock, Arc::clone(switch), node_name.clone());
        let mut tasks = if config.has_api { control(&mut config)? } else { Vec::new() };
        let api = match config.ca_certificate {
            None => None,
            Some(_) => {
                let listener = switch.listen_on_node(services::API_PORT, API_BACKLOG);
                Some(listener.context("the API cannot be reached by pods")?)
            }
        };
        // Before pods run that look for Services.
        tasks.push(services::keep(&store, clock, switch, DOMAIN));
        let node_ports = std::mem::take(&mut config.foreground.node_ports);
        let pods = pods(config);
        Ok(Self { node_name, api, pods, _tasks: tasks, _node_ports: node_ports })
    }

    /// The node's name.
    pub(super) fn node_name(&self) -> &str {
        &self.node_name
    }

    /// Where pods connect to the API; given out once.
    pub(super) fn take_api_listener(&mut self) -> Option<TcpListener> {
        self.api.take()
    }

    /// Stops all containers, each within its grace period and all within `limit`, and leaves the pods for the next server.
    /// May be called again while it lasts, with a shorter limit.
    pub(super) async fn suspend(&mut self, limit: Duration) {
        self.pods.suspend(limit).await;
    }
}

/// The node's name: that which it had before, for pods are bound to it, else the machine's.
pub(super) fn node_name(store: &Store, host_name: &str) -> String {
    let is_ours = |node: &NodeObject| {
        let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
        info.is_some_and(|info| info.container_runtime_version.starts_with("wasm://"))
    };
    let before = store.list_all::<NodeObject>().into_iter().find(|node| is_ours(node));
    before.and_then(|node| node.metadata.name.clone()).unwrap_or_else(|| name_of_machine(host_name))
}

/// A machine's name as that of a node.
pub(super) fn name_of_machine(host_name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = host_name.chars().map(plain).take(63).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() || name.contains("..") { "husk".to_owned() } else { name.to_owned() }
}

/// What an API server is told of such a cluster.
pub(super) fn api_config(node_name: &str, policy: Policy, clock: Clock) -> crate::apiserver::Config {
    crate::apiserver::Config {
        cluster_domain: DOMAIN.to_owned(),
        node_name: node_name.to_owned(),
        version: VERSION.to_owned(),
        service_range: VIRTUAL_RANGE,
        policy,
        clock,
    }
}

/// What makes a cluster of pods: the objects that every cluster has, and who acts on those that clients write.
fn control(config: &mut ClusterConfig) -> anyhow::Result<Vec<AbortOnDropHandle<()>>> {
    let ClusterConfig { store, clock, switch, node_name, .. } = &*config;
    let (store, clock, switch, node_name) = (store.clone(), *clock, Arc::clone(switch), node_name.clone());
    let node_ip = switch.node_ip();
    system::ensure(&store, clock.now(), node_ip).context("cannot make what every cluster has")?;
    let reporter = NodeReporter::new(store.clone(), clock, facts(config));
    reporter.register().context("cannot register the node")?;
    let mut tasks = controllers(&store, clock, &node_name, config.ca_certificate.as_deref());
    let kept = store.clone();
    tasks.push(supervise("system", move || system::keep(kept.clone(), clock, node_ip)));
    tasks.push(supervise("node", move || reporter.clone().run()));
    tasks.push(supervise("clock", move || follow_clock(clock)));
    let open = Mutex::new(std::mem::take(&mut config.foreground.node_ports));
    tasks.push(supervise("node ports", move || {
        let open = std::mem::take(&mut *open.lock().unwrap_or_else(PoisonError::into_inner));
        NodePortKeeper::new(&store, clock, Arc::clone(&switch), &node_name).with_open(open).run()
    }));
    Ok(tasks)
}

fn facts(config: &ClusterConfig) -> NodeFacts {
    NodeFacts {
        name: config.node_name.clone(),
        address: HOST_IP.to_owned(),
        cpus: config.host.cpus,
        memory: config.host.memory_bytes,
        disk: disk_size(&config.data),
        version: VERSION.to_owned(),
    }
}

fn controllers(store: &Store, clock: Clock, node_name: &str, ca: Option<&str>) -> Vec<AbortOnDropHandle<()>> {
    let (store, node_name, ca) = (store.clone(), node_name.to_owned(), ca.map(str::to_owned));
    let of = || store.clone();
    let [garbage_store, namespaces_store, accounts_store, claims_store, events_store, scheduler_store] =
        std::array::from_fn(|_| of());
    vec![
        supervise("garbage", move || garbage::run(garbage_store.clone(), clock)),
        supervise("namespaces", move || namespaces::run(namespaces_store.clone(), clock)),
        supervise("accounts", move || accounts::run(accounts_store.clone(), clock, ca.clone())),
        supervise("claims", move || claims::run(claims_store.clone())),
        supervise("events", move || events::expire(events_store.clone(), clock)),
        supervise("scheduler", move || scheduler::run(scheduler_store.clone(), clock, node_name.clone())),
    ]
}

/// Takes up the pods that an earlier agent has left, and those that come.
fn pods(config: ClusterConfig) -> Pods {
    let ClusterConfig { store, clock, host, node_name, cluster, directory, journal, left, access, foreground, .. } =
        config;
    let Foreground { own, logs, keeps_logs, stdin, .. } = foreground;
    let node = Node::new(NodeConfig {
        name: node_name.clone(),
        host_ips: vec![config.switch.node_ip().to_string()],
        cluster_domain: DOMAIN.to_owned(),
        allocatable_cpu_millis: host.cpus as u64 * MILLIS_PER_CPU,
        allocatable_memory: host.memory_bytes,
        host_resolv_conf: host.resolv_conf,
        host_hosts: host.hosts,
        pods_dir: directory.path().to_owned(),
        journal: Some(Arc::clone(&journal)),
        data_dir: config.data,
        probe_lag: PROBE_LAG,
        clock,
        runtime: config.runtime,
        linux: linux_runtime(),
        adoptable: config.adoptable,
        images: config.images,
        switch: config.switch,
        cluster: Arc::clone(&cluster),
        logs,
        log_files: keeps_logs.then(LogLimits::default),
        stdin,
    });
    Pods::start(PodsConfig { access, store, node, node_name, cluster, clock, directory, journal, left, own })
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
fn linux_runtime() -> Option<Arc<dyn ContainerRuntime>> {
    Some(super::native::runtime())
}

#[cfg(not(target_os = "linux"))]
fn linux_runtime() -> Option<Arc<dyn ContainerRuntime>> {
    None
}

/// Issues tokens for the volumes of pods.
pub(super) fn issuer(authority: Arc<Authority>) -> Box<TokenIssuer> {
    Box::new(move |pod: &Pod, wanted: &volume::TokenRequest| {
        let PodKey { namespace, name } = PodKey::of(pod);
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(wanted.audience.iter().cloned().collect()),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(name),
                    uid: pod.metadata.uid.clone(),
                }),
                expiration_seconds: Some(wanted.seconds),
            }),
            ..TokenRequest::default()
        };
        let issued = authority.issue(&namespace, account, request).map_err(|error| error.to_string())?;
        let status = issued.status.unwrap_or_default();
        match (status.token, status.expiration_timestamp) {
            (Some(token), Some(expires_at)) => Ok(volume::IssuedToken { token, expires_at: expires_at.0 }),
            _ => Err("none was issued".to_owned()),
        }
    })
}

/// Keeps the clock in step with the machine's, which may sleep or be set while the server lives.
async fn follow_clock(clock: Clock) {
    let mut ticks = tokio::time::interval(CLOCK_CHECK);
    loop {
        ticks.tick().await;
        if let Some(by) = clock.follow_system() {
            info!(%by, "the machine has slept, or its clock was set");
        }
    }
}

/// Runs what is to run for ever; should it panic, it begins anew: what it knows, it has from the store.
fn supervise<F>(name: &'static str, work: impl Fn() -> F + Send + Sync + 'static) -> AbortOnDropHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(async move {
        while AssertUnwindSafe(async { work().await }).catch_unwind().await.is_err() {
            error!(name, "a part of the cluster has failed and begins anew");
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_called_what_it_was_called_before_or_like_the_machine() {
        let store = Store::default();
        for (host, name) in
            [("laptop.local", "laptop.local"), ("My_Machine", "my-machine"), ("--", "husk"), ("", "husk")]
        {
            assert_eq!(node_name(&store, host), name, "{host}");
        }
        let foreign: NodeObject = serde_yaml::from_str("{metadata: {name: foreign}}").unwrap();
        store.create(foreign).unwrap();
        let info = "{architecture: '', bootID: '', containerRuntimeVersion: 'wasm://1', kernelVersion: '', \
            kubeProxyVersion: '', kubeletVersion: '', machineID: '', operatingSystem: '', osImage: '', systemUUID: ''}";
        let ours = format!("{{metadata: {{name: old}}, status: {{nodeInfo: {info}}}}}");
        store.create(serde_yaml::from_str::<NodeObject>(&ours).unwrap()).unwrap();
        assert_eq!(node_name(&store, "new"), "old");
    }
}
