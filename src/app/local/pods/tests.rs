//! Pods in a store, and what a server makes of them: the real loop, node and journal, and the scripted runtime.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Event};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::api::resources::find;
use crate::app::cluster::StoreCluster;
use crate::base::clock::Timestamp;
use crate::image::ImageStore;
use crate::net::{Egress, Switch};
use crate::node::{LogLimits, NodeConfig};
use crate::pod::print;
use crate::runtime::fake::{FakeRuntime, Script};

const NODE: &str = "n";

/// A data directory, what is stored, and the server that is there at the moment.
struct Scene {
    store: Store,
    clock: Clock,
    begun: Timestamp,
    runtime: FakeRuntime,
    directory: TempDir,
    pods: Option<Pods>,
}

impl Scene {
    fn new() -> Self {
        let begun = Timestamp::from_second(1_800_000_000).unwrap();
        let (store, clock, directory) = (Store::default(), Clock::starting_at(begun), TempDir::new().unwrap());
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "uid": NODE},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10"}},
        });
        store.create_object(find("", "nodes").unwrap(), node).unwrap();
        Self { store, clock, begun, runtime: FakeRuntime::new(), directory, pods: None }
    }

    fn script(self, container: &str, script: Script) -> Self {
        self.runtime.script(container, script);
        self
    }

    /// A server begins.
    fn serve(&mut self) {
        let directory = RunDirectory::at(self.directory.path().join("pods")).unwrap().expect("the last one is gone");
        let (journal, left) = match Journal::open(directory.path()).unwrap() {
            Some((journal, left)) => (journal, left),
            None => (Journal::create(directory.path()).unwrap(), Contents::default()),
        };
        let journal = Arc::new(journal);
        let cluster: Arc<dyn Cluster> =
            Arc::new(StoreCluster::new(self.store.clone(), NODE.to_owned(), self.clock, Arc::new(())));
        let images = ImageStore::open(&self.directory.path().join("images"), true).unwrap();
        let node = Node::new(NodeConfig {
            name: NODE.to_owned(),
            host_ips: vec!["127.0.0.1".to_owned()],
            cluster_domain: "cluster.local".to_owned(),
            allocatable_cpu_millis: 2000,
            allocatable_memory: 1 << 30,
            host_resolv_conf: String::new(),
            host_hosts: String::new(),
            pods_dir: directory.path().to_owned(),
            journal: Some(Arc::clone(&journal)),
            data_dir: self.directory.path().join("data"),
            probe_lag: Duration::ZERO,
            clock: self.clock,
            runtime: Arc::new(self.runtime.clone()),
            linux: None,
            adoptable: false,
            images: Arc::clone(&images),
            switch: Switch::new(Egress::Deny),
            cluster: Arc::clone(&cluster),
            logs: None,
            log_files: Some(LogLimits::default()),
            stdin: Box::new(|_, _| None),
        });
        self.pods = Some(Pods::start(PodsConfig {
            store: self.store.clone(),
            node,
            node_name: NODE.to_owned(),
            cluster,
            clock: self.clock,
            directory: Arc::new(directory),
            journal,
            left,
            access: node_access::Pods::new(self.clock, images),
            own: HashMap::new(),
        }));
    }

    /// The server is killed.
    async fn kill(&mut self) {
        self.pods = None;
        self.settle().await;
    }

    /// The server is asked to end.
    async fn stop(&mut self, limit: u64) {
        self.pods.as_mut().unwrap().suspend(Duration::from_secs(limit)).await;
        self.kill().await;
    }

    /// Lets everything happen that happens now.
    async fn settle(&self) {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets the clock run until `seconds` after the beginning.
    async fn at(&self, seconds: i64) {
        let time = self.begun + jiff::SignedDuration::from_secs(seconds);
        tokio::time::sleep_until(self.clock.instant_at(time)).await;
        self.settle().await;
    }

    fn add(&self, name: &str, spec: Value) {
        self.add_with(name, spec, json!({}));
    }

    fn add_with(&self, name: &str, spec: Value, metadata: Value) {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "ns", "name": name, "uid": format!("uid-{name}"), "generation": 1},
            "spec": {
                "nodeName": NODE, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "c", "image": "busybox"}],
            },
            "status": {"phase": "Pending"},
        });
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        pod["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        self.store.create_object(find("", "pods").unwrap(), pod).unwrap();
    }

    /// What a client's request to delete a pod does.
    fn delete(&self, name: &str, grace: Option<i64>) {
        let key =
            ObjectKey { namespace: "ns".into(), name: name.into(), uid: self.pod(name).metadata.uid.clone().unwrap() };
        let options = deletion::DeleteOptions { grace_period_seconds: grace, propagation: None };
        crate::controller::delete(&self.store, resource_of::<Pod>(), &key, &options, self.clock.now(), |_| true)
            .unwrap();
    }

    fn find(&self, name: &str) -> Option<Arc<Pod>> {
        self.store.get("ns", name)
    }

    fn pod(&self, name: &str) -> Arc<Pod> {
        self.find(name).unwrap_or_else(|| panic!("{name} is gone"))
    }

    /// What `kubectl get pods` shows as STATUS.
    fn status(&self, name: &str) -> String {
        print::pod_row(&self.pod(name), self.clock.now()).status
    }

    fn container(&self, name: &str) -> ContainerStatus {
        self.pod(name).status.clone().unwrap().container_statuses.unwrap().remove(0)
    }

    /// Containers whose end the runtime has seen, with their exit codes.
    fn ends(&self) -> Vec<String> {
        let calls = self.runtime.calls().into_iter();
        let ends = calls.filter_map(|call| match call {
            crate::runtime::fake::Call::End(name, code) => Some(format!("{name} {code}")),
            _ => None,
        });
        ends.collect()
    }

    /// The UIDs of pods that have something on disk.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join("pods")).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    /// What the journal has.
    fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("pods/journal")).unwrap();
        let mut uids = std::collections::BTreeSet::new();
        for line in text.lines().skip(1) {
            let line: Value = serde_json::from_str(line).unwrap();
            let uid = line["uid"].as_str().unwrap().to_owned();
            if line["gone"] == true {
                uids.remove(&uid)
            } else {
                uids.insert(uid)
            };
        }
        uids.into_iter().collect()
    }
}

fn with_volume() -> Value {
    json!({
        "containers": [{"name": "c", "image": "busybox", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    })
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_is_gone_when_it_was_deleted() {
    let mut scene = Scene::new().script("c", Script::runs_forever().exits_on_term(Duration::from_secs(3), 0));
    scene.serve();
    scene.add("p", with_volume());
    scene.at(1).await;
    assert_eq!((scene.status("p").as_str(), scene.files()), ("Running", vec!["uid-p".to_owned()]));
    scene.delete("p", None);
    scene.at(2).await;
    assert_eq!(scene.status("p"), "Terminating");
    scene.at(5).await;
    assert!(scene.find("p").is_none());
    assert_eq!((scene.ends(), scene.files(), scene.journal()), (vec!["c 0".to_owned()], vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn pods_of_other_nodes_or_of_none_are_not_touched() {
    let mut scene = Scene::new();
    scene.serve();
    scene.add("waits", json!({"nodeName": ""}));
    scene.add("elsewhere", json!({"nodeName": "other"}));
    scene.at(5).await;
    assert_eq!((scene.status("waits"), scene.status("elsewhere")), ("Pending".into(), "Pending".into()));
    scene.store.update::<Pod>("ns", "waits", |pod| pod.spec.as_mut().unwrap().node_name = Some(NODE.into())).unwrap();
    scene.at(6).await;
    assert_eq!(scene.status("waits"), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_the_pod_and_a_status_is_no_change() {
    let mut scene = Scene::new();
    scene.serve();
    scene.add("p", json!({"readinessGates": [{"conditionType": "example.com/ok"}]}));
    scene.at(1).await;
    let revision = scene.store.revision();
    scene.at(10).await;
    assert_eq!(scene.store.revision(), revision, "it comes to rest");
    let condition = json!({"type": "example.com/ok", "status": "True"});
    scene
        .store
        .update::<Pod>("ns", "p", |pod| {
            let conditions = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
            conditions.push(serde_json::from_value(condition).unwrap());
        })
        .unwrap();
    scene.at(11).await;
    let conditions = scene.pod("p").status.clone().unwrap().conditions.unwrap();
    let shown: Vec<_> = conditions.iter().map(|found| format!("{} {}", found.type_, found.status)).collect();
    assert_eq!(shown[0], "example.com/ok True", "{shown:?}");
    assert!(shown.contains(&"Ready True".to_owned()), "{shown:?}");
    scene
        .store
        .update::<Pod>("ns", "p", |pod| {
            pod.spec.as_mut().unwrap().containers[0].image = Some("busybox:2".into());
            pod.metadata.generation = Some(2);
        })
        .unwrap();
    scene.at(15).await;
    assert_eq!(scene.container("p").restart_count, 1);
    assert_eq!(scene.pod("p").status.as_ref().unwrap().observed_generation, Some(2));
}

/// §9 "Force delete": the object goes at once, the containers have a second.
#[tokio::test(start_paused = true)]
async fn what_was_deleted_by_force_is_stopped_all_the_same() {
    let mut scene = Scene::new().script("c", Script::runs_forever().ignores_term());
    scene.serve();
    scene.add("p", with_volume());
    scene.at(1).await;
    scene.delete("p", Some(0));
    assert!(scene.find("p").is_none());
    // Another of the name is another pod, which the first one's statuses do not touch.
    scene.add_with("p", json!({}), json!({"uid": "uid-q"}));
    scene.at(2).await;
    assert_eq!((scene.ends(), scene.status("p").as_str()), (vec![], "Running"));
    scene.at(5).await;
    assert_eq!((scene.ends(), scene.status("p").as_str()), (vec!["c 137".to_owned()], "Running"));
    assert_eq!((scene.files(), scene.journal()), (vec!["uid-q".to_owned()], vec!["uid-q".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_keeps_the_object_when_the_pod_has_ended() {
    let mut scene = Scene::new();
    scene.serve();
    scene.add_with("p", with_volume(), json!({"finalizers": ["example.com/hold"]}));
    scene.at(1).await;
    scene.delete("p", None);
    scene.at(5).await;
    let pod = scene.pod("p");
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(0));
    assert_eq!(pod.status.as_ref().unwrap().phase.as_deref(), Some("Failed"));
    assert_eq!(scene.journal(), ["uid-p"]);
    let key = ObjectKey { namespace: "ns".into(), name: "p".into(), uid: "uid-p".into() };
    let remove = |pod: &mut Value| crate::controller::remove_finalizer(pod, "example.com/hold");
    crate::controller::edit(&scene.store, resource_of::<Pod>(), &key, remove).unwrap();
    scene.at(6).await;
    assert!(scene.find("p").is_none());
    assert_eq!(scene.journal(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_ended_stays_until_it_is_deleted() {
    let mut scene = Scene::new().script("c", Script::exits(Duration::from_secs(2), 0));
    scene.serve();
    scene.add("p", json!({"restartPolicy": "Never"}));
    scene.at(5).await;
    assert_eq!(scene.status("p"), "Completed");
    // What is to be read after its end is there until then.
    std::fs::create_dir_all(scene.directory.path().join("pods/uid-p/logs")).unwrap();
    scene.kill().await;
    scene.serve();
    scene.at(10).await;
    assert_eq!((scene.status("p").as_str(), scene.files()), ("Completed", vec!["uid-p".to_owned()]));
    assert_eq!(scene.ends(), ["c 0"], "it is not run again");
    scene.delete("p", None);
    scene.at(11).await;
    assert!(scene.find("p").is_none());
    assert_eq!((scene.files(), scene.journal()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_waits_for_may_come_later() {
    let mut scene = Scene::new();
    scene.serve();
    scene.add("p", json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}]}));
    scene.at(3).await;
    assert_eq!(scene.status("p"), "ContainerCreating");
    let config_map = |namespace: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "m"}, "data": {"k": "v"}});
    scene.store.create_object(find("", "configmaps").unwrap(), config_map("other")).unwrap();
    scene.settle().await;
    assert_eq!(scene.status("p"), "ContainerCreating");
    scene.store.create_object(find("", "configmaps").unwrap(), config_map("ns")).unwrap();
    // Volumes are written by other threads, which have a time of their own.
    for _ in 0..10_000 {
        scene.settle().await;
        if scene.status("p") == "Running" {
            break;
        }
    }
    assert_eq!((scene.status("p").as_str(), scene.clock.now().duration_since(scene.begun).as_secs()), ("Running", 3));
}

/// §2, end: who writes a node into a pod has not asked whether there is room.
#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_rejected() {
    let mut scene = Scene::new().script("c", Script::exits(Duration::from_secs(5), 0));
    scene.serve();
    let with = |cpu: &str| {
        let containers = json!([{"name": "c", "image": "busybox", "resources": {"requests": {"cpu": cpu}}}]);
        json!({"restartPolicy": "Never", "containers": containers})
    };
    scene.add("first", with("1500m"));
    scene.add("second", with("1"));
    scene.at(1).await;
    assert_eq!((scene.status("first").as_str(), scene.status("second").as_str()), ("Running", "OutOfcpu"));
    let status = scene.pod("second").status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let why = "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000";
    assert_eq!(status.message.unwrap(), format!("Pod was rejected: {why}"));
    let events: Vec<Arc<Event>> = scene.store.list("ns");
    let event = events.iter().find(|event| event.reason.as_deref() == Some("OutOfcpu")).unwrap();
    assert_eq!((event.message.as_deref(), event.type_.as_deref()), (Some(why), Some("Warning")));
    scene.at(6).await;
    scene.add("third", with("1"));
    scene.at(7).await;
    assert_eq!(scene.status("third"), "Running", "the first has ended");
    scene.delete("second", None);
    scene.at(8).await;
    assert!(scene.find("second").is_none());
}

/// §9 "Agent restart", with the journal.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_killed_is_followed_by_one_that_goes_on() {
    let mut scene = Scene::new();
    scene.serve();
    scene.add("p", with_volume());
    scene.add("never", json!({"restartPolicy": "Never"}));
    for count in 1..=3 {
        scene.at(count * 10).await;
        scene.kill().await;
        assert_eq!(scene.status("p"), "Running", "nobody says otherwise");
        scene.serve();
    }
    scene.at(35).await;
    assert_eq!((scene.status("p").as_str(), scene.container("p").restart_count), ("Running", 3));
    assert_eq!(scene.status("never"), "ContainerStatusUnknown");
    // The logs of a pod that has ended stay until its object goes.
    assert_eq!(scene.files(), ["uid-never", "uid-p"]);
}

/// The machine went down, and what was written last of the journal is not there.
#[tokio::test(start_paused = true)]
async fn what_is_published_counts_if_the_journal_knows_less() {
    let mut scene = Scene::new().script("c", Script::exits(Duration::from_secs(1), 1));
    scene.serve();
    scene.add("p", json!({}));
    scene.at(1).await;
    let path = scene.directory.path().join("pods/journal");
    let early = std::fs::read(&path).unwrap();
    scene.at(5).await;
    assert_eq!(scene.container("p").restart_count, 1);
    scene.kill().await;
    for journal in [Some(early), None] {
        match journal {
            Some(early) => std::fs::write(&path, early).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let before = scene.container("p").restart_count;
        scene.runtime.script("c", Script::runs_forever());
        scene.serve();
        scene.at(10 + i64::from(before)).await;
        assert_eq!((scene.status("p"), scene.container("p").restart_count), ("Running".into(), before + 1));
        scene.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn deletions_go_on_when_a_server_comes_back() {
    let mut scene = Scene::new().script("c", Script::runs_forever().ignores_term());
    scene.serve();
    scene.add("under-way", with_volume());
    scene.add("meanwhile", with_volume());
    scene.add("forced", with_volume());
    scene.at(1).await;
    scene.delete("under-way", None);
    scene.at(2).await;
    scene.kill().await;
    scene.delete("meanwhile", None);
    scene.delete("forced", Some(0));
    assert_eq!(scene.files().len(), 3);
    scene.serve();
    scene.at(5).await;
    for name in ["under-way", "meanwhile", "forced"] {
        assert!(scene.find(name).is_none(), "{name}");
    }
    assert_eq!((scene.files(), scene.journal()), (vec![], vec![]));
}

/// As on a machine that is switched off and on again.
#[tokio::test(start_paused = true)]
async fn a_server_that_ends_stops_its_pods_and_the_next_goes_on_with_them() {
    let mut scene = Scene::new().script("c", Script::runs_forever().exits_on_term(Duration::from_secs(3), 0));
    scene.serve();
    scene.add("always", with_volume());
    scene.add("never", json!({"restartPolicy": "Never"}));
    scene.add("deleted", json!({}));
    scene.at(1).await;
    scene.delete("deleted", None);
    scene.at(2).await;
    scene.stop(30).await;
    assert_eq!(scene.clock.now().duration_since(scene.begun).as_secs(), 5);
    assert_eq!(scene.ends(), ["c 0"; 3]);
    assert!(scene.find("deleted").is_none());
    let end = scene.container("always").state.unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (0, Some("Completed")));
    assert_eq!(scene.status("never"), "Completed");
    scene.serve();
    scene.at(10).await;
    assert_eq!((scene.status("always").as_str(), scene.container("always").restart_count), ("Running", 1));
    let (always, never) = ("uid-always".to_owned(), "uid-never".to_owned());
    assert_eq!((scene.status("never").as_str(), scene.files()), ("Completed", vec![always, never]));
}

#[tokio::test(start_paused = true)]
async fn a_server_in_a_hurry_kills() {
    let mut scene = Scene::new().script("c", Script::runs_forever().ignores_term());
    scene.serve();
    scene.add("p", json!({}));
    scene.at(1).await;
    let pods = scene.pods.as_mut().unwrap();
    let patient = tokio::time::timeout(Duration::from_secs(4), pods.suspend(Duration::from_secs(20))).await;
    assert!(patient.is_err());
    pods.suspend(Duration::ZERO).await;
    assert_eq!(scene.clock.now().duration_since(scene.begun).as_secs(), 5);
    assert_eq!(scene.ends(), ["c 137"]);
}
