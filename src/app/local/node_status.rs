//! The Node object: the machine as the cluster has it, and the sign of life that goes with it (kubelet v1.36
//! `kubelet_node_status.go`, `nodelease`).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use tracing::warn;

use crate::base::clock::Clock;
use crate::controller::{Informer, resource_of, seconds, stamp};
use crate::store::{Store, StoreError, WatchKind};

/// Where leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// How often the lease is renewed (a quarter of [`LEASE_SECONDS`]).
const RENEWAL: Duration = Duration::from_secs(10);
/// How long a lease is good (`nodeLeaseDurationSeconds`).
const LEASE_SECONDS: i32 = 40;
/// How often the status says that it is still so (`nodeStatusReportFrequency`).
const HEARTBEAT: Duration = Duration::from_secs(300);
/// Pods that the node takes. A kubelet takes 110; what runs in this process costs far less than what a kubelet runs.
const MAX_PODS: usize = 20_000;

/// What is said of the node.
#[derive(Debug, Clone)]
pub(super) struct NodeFacts {
    /// Its name.
    pub(super) name: String,
    /// Where it is reached.
    pub(super) address: String,
    /// Its processors.
    pub(super) cpus: usize,
    /// Its memory in bytes.
    pub(super) memory: u64,
    /// The disk that the pods' files are on, in bytes.
    pub(super) disk: u64,
    /// The version that the API server says it is.
    pub(super) version: String,
}

/// Tells the cluster of the node.
#[derive(Debug, Clone)]
pub(super) struct NodeReporter {
    store: Store,
    clock: Clock,
    facts: NodeFacts,
}

impl NodeReporter {
    pub(super) fn new(store: Store, clock: Clock, facts: NodeFacts) -> Self {
        Self { store, clock, facts }
    }

    /// Makes the Node object, or brings it up to date; what others have written into it stays.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn register(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let labels = self.labels();
        let mut node = Node {
            metadata: ObjectMeta { name: Some(self.facts.name.clone()), ..ObjectMeta::default() },
            spec: Some(NodeSpec::default()),
            status: Some(self.status(None, now)),
        };
        node.metadata.labels = Some(labels.clone());
        stamp(&mut node.metadata, now);
        match self.store.create(node) {
            Err(StoreError::AlreadyExists { .. }) => {}
            other => return other.map(drop),
        }
        let update = |node: &mut Node| {
            node.metadata.labels.get_or_insert_default().extend(labels);
            node.status = Some(self.status(node.status.take(), now));
        };
        self.store.update::<Node>("", &self.facts.name, update).map(drop)
    }

    /// Says again and again that the node is there, for as long as it is polled.
    pub(super) async fn run(self) {
        let mut nodes = Informer::new(&self.store, resource_of::<Node>());
        let mut renewal = tokio::time::interval(RENEWAL);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            let done = tokio::select! {
                _ = renewal.tick() => self.renew_lease(),
                _ = heartbeat.tick() => self.register(),
                event = nodes.next() => {
                    // Pods need a node, and nobody could bring it back.
                    let is_gone = event.kind == WatchKind::Deleted && event.object.name() == self.facts.name;
                    if is_gone { self.register() } else { Ok(()) }
                }
            };
            if let Err(error) = done {
                warn!(%error, "the cluster does not hear of its node");
            }
        }
    }

    fn renew_lease(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let renew = |lease: &mut Lease| {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(self.facts.name.clone());
            spec.lease_duration_seconds = Some(LEASE_SECONDS);
            spec.renew_time = Some(MicroTime(now));
        };
        match self.store.update::<Lease>(LEASES, &self.facts.name, renew) {
            Err(StoreError::NotFound { .. }) => {}
            other => return other.map(drop),
        }
        let owner = self.store.get::<Node>("", &self.facts.name).map(|node| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.facts.name.clone(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        });
        let metadata = ObjectMeta {
            name: Some(self.facts.name.clone()),
            namespace: Some(LEASES.to_owned()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        let mut lease = Lease { metadata, spec: Some(LeaseSpec::default()) };
        stamp(&mut lease.metadata, now);
        renew(&mut lease);
        match self.store.create(lease) {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The labels that every node has.
    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            ("kubernetes.io/hostname", self.facts.name.as_str()),
            // What manifests ask for: programs for Linux, on a machine like this one.
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", architecture()),
        ];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn status(&self, before: Option<NodeStatus>, now: Timestamp) -> NodeStatus {
        let NodeFacts { name, address: ip, cpus, memory, disk, .. } = &self.facts;
        let resources: BTreeMap<String, Quantity> = [
            ("cpu", cpus.to_string()),
            ("memory", format!("{}Ki", memory / 1024)),
            ("ephemeral-storage", format!("{}Ki", disk / 1024)),
            ("pods", MAX_PODS.to_string()),
        ]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .into();
        let address = |type_: &str, address: &str| NodeAddress { type_: type_.to_owned(), address: address.to_owned() };
        let before = before.unwrap_or_default();
        NodeStatus {
            addresses: Some(vec![address("InternalIP", ip), address("Hostname", name)]),
            allocatable: Some(resources.clone()),
            capacity: Some(resources),
            conditions: Some(conditions(before.conditions.unwrap_or_default(), now)),
            node_info: Some(self.info()),
            ..NodeStatus::default()
        }
    }

    fn info(&self) -> NodeSystemInfo {
        let system = system();
        NodeSystemInfo {
            architecture: architecture().to_owned(),
            boot_id: system.boot_id,
            container_runtime_version: format!("wasm://{}", env!("CARGO_PKG_VERSION")),
            kernel_version: system.kernel,
            kube_proxy_version: String::new(),
            kubelet_version: self.facts.version.clone(),
            machine_id: system.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: system.image,
            system_uuid: system.machine_id,
            ..NodeSystemInfo::default()
        }
    }
}

/// The conditions of a node that is well; a transition is noted only where there is one.
fn conditions(before: Vec<NodeCondition>, now: Timestamp) -> Vec<NodeCondition> {
    let own = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let mut all: Vec<_> =
        before.iter().filter(|found| !own.iter().any(|(type_, ..)| found.type_ == *type_)).cloned().collect();
    all.extend(own.map(|(type_, status, reason, message)| {
        let same = before.iter().find(|found| found.type_ == type_ && found.status == status);
        let since = same.and_then(|found| found.last_transition_time.clone());
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(seconds(now)),
            last_transition_time: Some(since.unwrap_or_else(|| seconds(now))),
        }
    }));
    all
}

/// The machine's architecture, as Kubernetes calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What the system says of itself.
struct System {
    kernel: String,
    image: String,
    machine_id: String,
    boot_id: String,
}

fn system() -> System {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    System {
        kernel: kernel(),
        image: name.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned()),
        machine_id: read("/etc/machine-id"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
    }
}

#[cfg(unix)]
fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn kernel() -> String {
    String::new()
}

/// The bytes of the disk that a directory is on; where the system does not tell, a hundred gigabytes.
pub(super) fn disk_size(directory: &std::path::Path) -> u64 {
    #[cfg(unix)]
    if let Ok(found) = rustix::fs::statvfs(directory) {
        return found.f_blocks.saturating_mul(found.f_frsize);
    }
    let _ = directory;
    100 << 30
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reporter() -> NodeReporter {
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let facts = NodeFacts {
            name: "n".to_owned(),
            address: "127.0.0.1".to_owned(),
            cpus: 2,
            memory: 8 << 30,
            disk: 100 << 30,
            version: "v1.36.2".to_owned(),
        };
        NodeReporter::new(Store::default(), clock, facts)
    }

    #[tokio::test]
    async fn the_node_is_registered_and_keeps_what_others_have_written() {
        let reporter = reporter();
        reporter.register().unwrap();
        let store = &reporter.store;
        let node = store.get::<Node>("", "n").unwrap();
        let status = node.status.clone().unwrap();
        let amounts = |name: &str| status.allocatable.as_ref().unwrap()[name].0.clone();
        assert_eq!(["cpu", "memory", "pods"].map(amounts), ["2", "8388608Ki", "20000"]);
        assert_eq!(node.metadata.labels.as_ref().unwrap()["kubernetes.io/os"], "linux");
        let ready = status.conditions.unwrap().into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!(ready.status, "True");
        store
            .update::<Node>("", "n", |node| {
                node.metadata.labels.as_mut().unwrap().insert("mine".to_owned(), "x".to_owned());
                node.spec.as_mut().unwrap().unschedulable = Some(true);
            })
            .unwrap();
        reporter.register().unwrap();
        let again = store.get::<Node>("", "n").unwrap();
        assert_eq!(again.metadata.uid, node.metadata.uid);
        assert_eq!(again.metadata.labels.as_ref().unwrap()["mine"], "x");
        assert_eq!(again.spec.as_ref().unwrap().unschedulable, Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_is_renewed_and_a_deleted_node_comes_back() {
        let reporter = reporter();
        let (store, clock) = (reporter.store.clone(), reporter.clock);
        reporter.register().unwrap();
        let running = tokio::spawn(reporter.run());
        tokio::time::sleep(Duration::from_secs(35)).await;
        let lease = store.get::<Lease>("kube-node-lease", "n").unwrap();
        let spec = lease.spec.clone().unwrap();
        let age = clock.now().duration_since(spec.renew_time.unwrap().0);
        assert!(age.as_secs() <= 10, "{age:?}");
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some("n"), Some(40)));
        assert_eq!(lease.metadata.owner_references.as_ref().unwrap()[0].kind, "Node");
        store.delete::<Node>("", "n").unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(store.get::<Node>("", "n").is_some());
        running.abort();
    }
}
