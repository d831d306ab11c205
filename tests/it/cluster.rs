//! A cluster as its users see it: pods, Services, namespaces and owners through the API of a real server, with real guests.

#![cfg(unix)]

use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, Service};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::support::Husk;

/// How long something may take that must come.
const LIMIT: Duration = Duration::from_secs(120);

/// A server in the background, and a client of it.
pub(crate) struct Cluster<'h> {
    pub(crate) husk: &'h Husk,
    pub(crate) runtime: Runtime,
    pub(crate) client: kube::Client,
    /// Whether the server ends with this value.
    is_own: bool,
}

impl<'h> Cluster<'h> {
    pub(crate) fn start(husk: &'h Husk) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(serve(husk));
        Self { husk, runtime, client, is_own: true }
    }

    /// Another client of the same server.
    pub(crate) fn another(&self) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kubeconfig = Kubeconfig::read_from(self.husk.dir().join("data/kubeconfig")).unwrap();
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            client(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap())
        });
        Self { husk: self.husk, runtime, client, is_own: false }
    }

    /// The server is killed, and another takes its place.
    fn kill(&mut self) {
        self.kill_and(|| {});
    }

    /// The same, with something that happens in between.
    pub(crate) fn kill_and(&mut self, meanwhile: impl FnOnce()) {
        let state = fs::read(self.husk.dir().join("data/server/state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let pid = Pid::from_raw(state["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        self.husk.husk(["stop"]).exits(0);
        meanwhile();
        self.client = self.runtime.block_on(serve(self.husk));
    }

    /// The server is stopped, and another takes its place.
    fn restart(&mut self) {
        self.husk.husk(["stop"]).exits(0).says("has ended");
        self.client = self.runtime.block_on(serve(self.husk));
    }

    /// Creates what a manifest says, in the namespace `default` where it names none.
    pub(crate) fn create(&self, yaml: &str) {
        let documents =
            yaml.split("\n---").filter(|text| text.lines().any(|line| !line.starts_with('#') && !line.is_empty()));
        for document in documents {
            let object: DynamicObject =
                serde_yaml::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"));
            let types = object.types.clone().unwrap();
            let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
            let api: Api<DynamicObject> = match (types.kind.as_str(), &object.metadata.namespace) {
                ("Namespace" | "RuntimeClass", _) => Api::all_with(self.client.clone(), &kind),
                (_, Some(namespace)) => Api::namespaced_with(self.client.clone(), namespace, &kind),
                (_, None) => Api::default_namespaced_with(self.client.clone(), &kind),
            };
            let created = self.runtime.block_on(api.create(&PostParams::default(), &object));
            created.unwrap_or_else(|error| panic!("{error}\n{document}"));
        }
    }

    /// Creates a manifest of those that must run unchanged.
    pub(crate) fn create_file(&self, name: &str) {
        self.create(&fs::read_to_string(format!("tests/data/manifests/{name}.yaml")).unwrap());
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    pub(crate) fn pod(&self, name: &str) -> Pod {
        self.runtime.block_on(self.pods().get(name)).unwrap()
    }

    pub(crate) fn logs(&self, name: &str) -> String {
        self.runtime.block_on(self.pods().logs(name, &LogParams::default())).unwrap()
    }

    /// Waits until an object is so.
    pub(crate) fn until<K>(&self, api: Api<K>, name: &str, what: &str, is_so: impl Fn(Option<&K>) -> bool)
    where
        K: Clone + Debug + Send + serde::de::DeserializeOwned + kube::Resource<DynamicType = ()> + 'static,
    {
        let watched = api.clone();
        let reached =
            self.runtime.block_on(async { tokio::time::timeout(LIMIT, await_condition(watched, name, is_so)).await });
        assert!(
            matches!(reached, Ok(Ok(_))),
            "{name} is never {what}: {:#?}",
            self.runtime.block_on(api.get_opt(name))
        );
    }

    pub(crate) fn until_pod(&self, name: &str, phase: &str) {
        self.until(self.pods(), name, phase, |pod| phase_of(pod) == phase);
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if self.is_own {
            self.husk.husk(["stop", "--timeout", "10s"]);
        }
    }
}

async fn serve(husk: &Husk) -> kube::Client {
    client(start(husk).await)
}

/// Starts a server, and gives what a client of it has to know.
pub(crate) async fn start(husk: &Husk) -> kube::Config {
    let kubeconfig = husk.husk(["serve", "--detach", "--port", "0"]).ok();
    let config = Kubeconfig::read_from(kubeconfig.trim_end()).unwrap();
    kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap()
}

pub(crate) fn client(config: kube::Config) -> kube::Client {
    kube::Client::try_from(config).unwrap()
}

pub(crate) fn phase_of(pod: Option<&Pod>) -> &str {
    pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count
}

/// A pod that sleeps, with what its spec says besides.
fn sleeper(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  containers:\n  - {{name: c, image: busybox, \
         command: [sleep, '3600']}}\n"
    )
}

/// Manifest 16: the token and the address that every pod gets lead to the API.
#[test]
fn a_pod_uses_the_api_it_runs_under() {
    let husk = Husk::new();
    use_the_api(&Cluster::start(&husk));
}

pub(crate) fn use_the_api(cluster: &Cluster<'_>) {
    cluster.create_file("16-service-account");
    cluster.until_pod("uses-the-api", "Succeeded");
    let log = cluster.logs("uses-the-api");
    let mut lines = log.lines();
    assert_eq!(lines.next(), Some("defaultca.crt"), "{log}");
    assert_eq!((lines.next(), lines.next()), (Some("namespace"), Some("token")), "{log}");
    let answer: Pod = serde_json::from_str(lines.next().unwrap()).unwrap_or_else(|error| panic!("{error}: {log}"));
    assert_eq!(answer.metadata.name.as_deref(), Some("uses-the-api"));
    // As it was when it asked, which may be before it was told that it runs.
    assert!(["Pending", "Running"].contains(&phase_of(Some(&answer))), "{answer:?}");
}

/// Manifests 08, 08a and 08b: a pod waits for the names of Services, which come later.
#[test]
fn a_pod_waits_for_services_that_come_later() {
    let husk = Husk::new();
    wait_for_services(&Cluster::start(&husk));
}

pub(crate) fn wait_for_services(cluster: &Cluster<'_>) {
    cluster.create_file("08-init-containers");
    let waits_in = |index: usize| {
        move |pod: Option<&Pod>| {
            let statuses = pod.and_then(|pod| pod.status.as_ref()?.init_container_statuses.as_ref());
            statuses.is_some_and(|all| all[index].state.as_ref().is_some_and(|state| state.running.is_some()))
        }
    };
    cluster.until(cluster.pods(), "myapp-pod", "waiting for the first", waits_in(0));
    let params = LogParams { container: Some("init-myservice".to_owned()), follow: true, ..LogParams::default() };
    cluster.runtime.block_on(async {
        let log = cluster.pods().log_stream("myapp-pod", &params).await.unwrap();
        let mut lines = log.lines();
        loop {
            let line = tokio::time::timeout(LIMIT, lines.try_next()).await.expect("nothing is said").unwrap();
            if line.expect("the log ends").contains("waiting for myservice") {
                return;
            }
        }
    });
    cluster.create_file("08a-myservice");
    cluster.until(cluster.pods(), "myapp-pod", "waiting for the second", waits_in(1));
    cluster.create_file("08b-mydb");
    cluster.until_pod("myapp-pod", "Running");
}

/// §9 "Agent restart", and what a stop of the server is.
#[test]
fn pods_outlive_their_server() {
    let husk = Husk::new();
    let mut cluster = Cluster::start(&husk);
    cluster.create(&sleeper("always", "terminationGracePeriodSeconds: 2"));
    cluster.create(&sleeper("never", "restartPolicy: Never"));
    cluster.until_pod("always", "Running");
    cluster.until_pod("never", "Running");
    let uid = cluster.pod("always").metadata.uid;
    let runs_again = |count: i32| {
        move |pod: Option<&Pod>| {
            pod.is_some_and(|pod| phase_of(Some(pod)) == "Running" && restarts(pod) == count)
                && pod.is_some_and(|pod| {
                    let status = pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].clone();
                    status.state.is_some_and(|state| state.running.is_some())
                })
        }
    };
    cluster.kill();
    cluster.until(cluster.pods(), "always", "restarted once", runs_again(1));
    cluster.until_pod("never", "Failed");
    let last = cluster.pod("always").status.unwrap().container_statuses.unwrap()[0].last_state.clone().unwrap();
    assert_eq!(last.terminated.unwrap().reason.as_deref(), Some("ContainerStatusUnknown"));
    cluster.restart();
    cluster.until(cluster.pods(), "always", "restarted twice", runs_again(2));
    let pod = cluster.pod("always");
    let last = pod.status.unwrap().container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (143, Some("Error")), "it was told to end");
    assert_eq!(pod.metadata.uid, uid);
    let deleted = cluster.runtime.block_on(cluster.pods().delete("always", &DeleteParams::default()));
    deleted.unwrap();
    cluster.until(cluster.pods(), "always", "gone", |pod| pod.is_none());
    // Its files are removed once its object is.
    let files = husk.dir().join("data/server/pods").join(uid.unwrap());
    let gone = (0..600).any(|_| {
        std::thread::park_timeout(Duration::from_millis(50));
        !files.exists()
    });
    assert!(gone, "{} is still there", files.display());
}

/// What does not fit waits, says why, and comes to run when there is room.
#[test]
fn requests_are_counted() {
    let husk = Husk::new();
    let cluster = Cluster::start(&husk);
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = cluster.runtime.block_on(nodes.list(&ListParams::default())).unwrap().items.remove(0);
    let cpus = node.status.unwrap().allocatable.unwrap()["cpu"].0.clone();
    let greedy = |name: &str| {
        let resources = format!("resources: {{requests: {{cpu: '{cpus}'}}}}");
        sleeper(name, "terminationGracePeriodSeconds: 0").replace("name: c, ", &format!("name: c, {resources}, "))
    };
    cluster.create(&greedy("first"));
    cluster.until_pod("first", "Running");
    cluster.create(&greedy("second"));
    let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption \
        victims found for incoming pod.";
    cluster.until(cluster.pods(), "second", "unschedulable", |pod| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|found| found.message.as_deref() == Some(message)))
    });
    let events: Api<Event> = Api::default_namespaced(cluster.client.clone());
    let about = ListParams::default().fields("involvedObject.name=second,reason=FailedScheduling");
    let events = cluster.runtime.block_on(events.list(&about)).unwrap().items;
    assert_eq!(events.iter().map(|event| event.message.as_deref()).collect::<Vec<_>>(), [Some(message)]);
    cluster.runtime.block_on(cluster.pods().delete("first", &DeleteParams::default())).unwrap();
    cluster.until_pod("second", "Running");
}

/// A namespace goes with all that is in it; what an owner leaves behind goes too.
#[test]
fn what_belongs_to_something_goes_with_it() {
    let husk = Husk::new();
    let cluster = Cluster::start(&husk);
    cluster.create("{apiVersion: v1, kind: Namespace, metadata: {name: doomed}}");
    let there = cluster.client.clone();
    let config_maps = |namespace: &str| Api::<ConfigMap>::namespaced(there.clone(), namespace);
    cluster.until(config_maps("doomed"), "kube-root-ca.crt", "published", |found| found.is_some());
    cluster
        .create(&sleeper("p", "terminationGracePeriodSeconds: 1").replace("{name: p}", "{name: p, namespace: doomed}"));
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "doomed");
    cluster.until(pods, "p", "running", |pod| phase_of(pod) == "Running");
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    cluster.runtime.block_on(namespaces.delete("doomed", &DeleteParams::default())).unwrap();
    cluster.until(namespaces, "doomed", "gone", |found| found.is_none());
    assert!(cluster.runtime.block_on(config_maps("doomed").list(&ListParams::default())).unwrap().items.is_empty());
    cluster.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: owner}}");
    let owner = cluster.runtime.block_on(config_maps("default").get("owner")).unwrap().metadata.uid.unwrap();
    let reference = format!("{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {owner}}}");
    cluster.create(&format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: owned, ownerReferences: [{reference}]}}}}"
    ));
    cluster.runtime.block_on(config_maps("default").delete("owner", &DeleteParams::default())).unwrap();
    cluster.until(config_maps("default"), "owned", "gone", |found| found.is_none());
}

/// A Service that comes later leads to a pod, from this machine too.
#[test]
fn a_node_port_comes_and_goes_with_its_service() {
    let husk = Husk::new();
    let cluster = Cluster::start(&husk);
    cluster.create(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec:\n  containers:\n  - {name: c, image: \
         nginx}\n",
    );
    cluster.until_pod("web", "Running");
    cluster.create(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, selector: {app: web}, ports: [{port: \
         80}]}}",
    );
    let services: Api<Service> = Api::default_namespaced(cluster.client.clone());
    let service = cluster.runtime.block_on(services.get("web")).unwrap();
    let port = u16::try_from(service.spec.unwrap().ports.unwrap()[0].node_port.unwrap()).unwrap();
    let answer = (0..600).find_map(|_| {
        std::thread::park_timeout(Duration::from_millis(100));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().filter(|_| !answer.is_empty())?;
        Some(answer)
    });
    assert!(answer.expect("an answer").starts_with("HTTP/1."));
    cluster.runtime.block_on(services.delete("web", &DeleteParams::default())).unwrap();
    let closed = (0..600).any(|_| {
        std::thread::park_timeout(Duration::from_millis(100));
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
    assert!(closed);
}
