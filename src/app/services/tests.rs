//! Services that come while pods run: the real store, controller, node and switch, and the scripted runtime.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::api::{LoadOptions, load, support::RuntimeKind};
use crate::app::cluster::StoreCluster;
use crate::app::history::{Change, Histories, QUEUE};
use crate::base::clock::Clock;
use crate::image::ImageStore;
use crate::net::{Egress, NetError};
use crate::node::{Node, NodeConfig, PodHandle};
use crate::pod::print;
use crate::runtime::fake::{FakeRuntime, Script};

const DOMAIN: &str = "cluster.local";

fn objects(text: &str) -> Vec<LoadedObject> {
    let mut options =
        LoadOptions { namespace: "default", runtime: &|_| Some(RuntimeKind::Wasm), name_suffix: &mut String::new };
    load("-", text, &mut options).unwrap_or_else(|error| panic!("{error}"))
}

/// A node on a store, with the switch kept in step.
struct Cluster {
    store: Store,
    switch: Arc<Switch>,
    runtime: FakeRuntime,
    creator: Creator,
    node: Node,
    pods: Vec<PodHandle>,
    changes: mpsc::Receiver<Change>,
    _keeping: AbortOnDropHandle<()>,
    _directory: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let store = Store::default();
        let creator = Creator::new(store.clone()).unwrap();
        let switch = Switch::new(Egress::Deny);
        let (directory, runtime, clock) = (TempDir::new().unwrap(), FakeRuntime::new(), Clock::system());
        let keeping = keep(&store, clock, Arc::clone(&switch), DOMAIN);
        let (sender, changes) = mpsc::channel(QUEUE);
        let histories = Arc::new(Histories::new(store.clone(), sender));
        let node = Node::new(NodeConfig {
            name: "node".to_owned(),
            host_ips: Vec::new(),
            cluster_domain: DOMAIN.to_owned(),
            allocatable_cpu_millis: 1000,
            allocatable_memory: 1 << 30,
            host_resolv_conf: String::new(),
            host_hosts: String::new(),
            pods_dir: directory.path().join("pods"),
            journal: None,
            data_dir: directory.path().join("data"),
            probe_lag: std::time::Duration::ZERO,
            clock,
            runtime: Arc::new(runtime.clone()),
            linux: None,
            adoptable: false,
            images: ImageStore::open(&directory.path().join("images"), true).unwrap(),
            switch: Arc::clone(&switch),
            cluster: Arc::new(StoreCluster::new(store.clone(), "node".to_owned(), clock, histories)),
            logs: None,
            log_files: None,
            stdin: Box::new(|_, _| None),
        });
        let pods = Vec::new();
        Self { store, switch, runtime, creator, node, pods, changes, _keeping: keeping, _directory: directory }
    }

    /// Creates what a manifest says, as the API would.
    fn apply(&mut self, text: &str) {
        let mut objects = objects(text);
        assert_eq!(self.creator.assign_all(&mut objects), []);
        for LoadedObject { object, .. } in objects {
            match object {
                Object::Pod(mut pod) => {
                    pod.metadata.uid = Some(PodUid::random().to_string());
                    let pod = self.store.create(*pod).unwrap();
                    self.pods.push(self.node.run_pod(pod, Vec::new()));
                }
                Object::Service(service) => drop(self.creator.create(*service).unwrap()),
                Object::Endpoints(endpoints) => drop(self.store.create(endpoints).unwrap()),
                other => panic!("{other:?}"),
            }
        }
    }

    fn status(&self, pod: &str) -> String {
        let pod = self.store.get::<Pod>("default", pod).unwrap();
        print::pod_row(&pod, Timestamp::now()).status
    }

    /// Waits until `kubectl get pods` would show this of a pod.
    async fn until(&mut self, pod: &str, status: &str) {
        let reached = async {
            while self.status(pod) != status {
                self.changes.recv().await.unwrap();
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(1000), reached).await.is_ok();
        assert!(reached, "{pod} is {}, not {status}", self.status(pod));
    }
}

const STORY: &str = "apiVersion: v1
kind: Pod
metadata: {name: myapp-pod}
spec:
  initContainers:
    - {name: init-myservice, image: busybox}
    - {name: init-mydb, image: busybox}
  containers:
    - {name: myapp-container, image: busybox}
";

fn plain_service(name: &str) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: 80}}]}}}}")
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_services_until_they_are_there() {
    let mut cluster = Cluster::new();
    for name in ["myservice", "mydb"] {
        let script = Script::exits(Duration::ZERO, 0).waits_for_name(name, Duration::from_secs(2));
        cluster.runtime.script(&format!("init-{name}"), script);
    }
    cluster.apply(STORY);
    cluster.until("myapp-pod", "Init:0/2").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.status("myapp-pod"), "Init:0/2");
    cluster.apply(&plain_service("myservice"));
    cluster.until("myapp-pod", "Init:1/2").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.status("myapp-pod"), "Init:1/2");
    cluster.apply(&plain_service("mydb"));
    cluster.until("myapp-pod", "Running").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_leads_to_its_pod_once_that_is_ready() {
    let mut cluster = Cluster::new();
    cluster.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, \
         targetPort: http}]}}",
    );
    cluster.runtime.script("c", Script::runs_forever().listens_after(8080, Duration::from_secs(20)));
    cluster.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
    - name: c
      image: busybox
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
",
    );
    let client = cluster.switch.attach("client", None).unwrap();
    let service = "10.96.1.1:80".parse().unwrap();
    cluster.until("web", "Running").await;
    assert_eq!(client.connect(None, service).await.unwrap_err(), NetError::ConnectionRefused);
    let ready = async {
        while client.connect(None, service).await.is_err() {
            cluster.changes.recv().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ready).await.unwrap();
    drop(cluster.pods);
}

#[tokio::test]
async fn every_cluster_has_the_services_of_its_api_and_its_dns() {
    let cluster = Cluster::new();
    let shown: Vec<_> = cluster
        .store
        .list_all::<Service>()
        .iter()
        .map(|service| {
            let spec = service.spec.clone().unwrap();
            (service.metadata.name.clone().unwrap(), spec.cluster_ip.unwrap(), spec.type_.unwrap())
        })
        .collect();
    let expected = [("kubernetes", "10.96.0.1"), ("kube-dns", "10.96.0.10")];
    assert_eq!(shown, expected.map(|(name, ip)| (name.to_owned(), ip.to_owned(), "ClusterIP".to_owned())));
    let pod = cluster.switch.attach("p", None).unwrap();
    pod.set_lookups(crate::net::LookupConfig {
        servers: vec![crate::net::DNS_ADDRESS.into()],
        searches: vec![format!("svc.{DOMAIN}")],
        ndots: 5,
    });
    assert_eq!(pod.resolve("kubernetes.default").await.unwrap(), [std::net::IpAddr::from([10, 96, 0, 1])]);
    assert_eq!(pod.connect(None, "10.96.0.1:443".parse().unwrap()).await.unwrap_err(), NetError::ConnectionRefused);
}

#[test]
fn an_address_is_given_once_and_those_who_ask_come_first() {
    let mut creator = Creator::new(Store::default()).unwrap();
    let mut objects = objects(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}
---
apiVersion: v1
kind: Service
metadata: {name: b}
spec:
  clusterIP: 10.96.1.1
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: c}
spec:
  ports: [{port: 80}]
  clusterIP: 10.96.0.10
",
    );
    let errors = creator.assign_all(&mut objects);
    let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let expected = "-:15: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP \
                    is already allocated";
    assert_eq!(said, [expected]);
    let Object::Service(first) = &objects[0].object else { panic!("{objects:?}") };
    assert_eq!(first.spec.as_ref().unwrap().cluster_ip.as_deref(), Some("10.96.1.2"));
}
