//! What the scheduler makes of the pods in a store.

use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};
use std::time::Duration;

use super::*;
use crate::api::resources::find;

struct Setup {
    store: Store,
    clock: Clock,
    scheduler: Scheduler,
}

fn setup() -> Setup {
    let store = Store::default();
    let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "n"},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10"}},
    });
    store.create_object(find("", "nodes").unwrap(), node).unwrap();
    let scheduler = Scheduler::new(store.clone(), clock, "n".to_owned());
    Setup { store, clock, scheduler }
}

impl Setup {
    fn add(&self, name: &str, spec: Value) {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "ns", "name": name, "uid": format!("u-{name}"), "generation": 1,
                "creationTimestamp": "2027-01-15T08:00:00Z"},
            "spec": {"schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30, "containers": [{"name": "c"}]},
            "status": {"phase": "Pending"},
        });
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.store.create_object(find("", "pods").unwrap(), pod).unwrap();
    }

    fn add_with(&self, name: &str, cpu: &str, priority: i32) {
        let containers = json!([{"name": "c", "resources": {"requests": {"cpu": cpu}}}]);
        self.add(name, json!({"containers": containers, "priority": priority}));
    }

    fn settle(&mut self) {
        let mut revision = None;
        while revision != Some(self.store.revision()) {
            revision = Some(self.store.revision());
            self.scheduler.round();
        }
    }

    /// Which node each pod has, or why it has none.
    fn shown(&mut self) -> Vec<String> {
        self.settle();
        let pods: Vec<Arc<Pod>> = self.store.list("ns");
        let shown = pods.iter().map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap();
            let going = if pod.metadata.deletion_timestamp.is_some() { "~" } else { "" };
            let node = pod.spec.as_ref().unwrap().node_name.as_deref();
            let conditions = pod.status.as_ref().unwrap().conditions.iter().flatten();
            let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled");
            let why = scheduled.map(|found| found.reason.clone().unwrap_or_else(|| found.status.clone()));
            format!("{name}{going} {} {}", node.unwrap_or("-"), why.unwrap_or_default())
        });
        shown.collect()
    }

    fn end(&self, name: &str) {
        self.store
            .update::<Pod>("ns", name, |pod| pod.status.as_mut().unwrap().phase = Some("Succeeded".into()))
            .unwrap();
    }

    fn events(&self) -> Vec<String> {
        let mut events: Vec<_> = self
            .store
            .list::<Event>("ns")
            .iter()
            .map(|event| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let pod = text(&event.involved_object.name);
                format!("{pod} {} x{}: {}", text(&event.reason), event.count.unwrap(), text(&event.message))
            })
            .collect();
        events.sort();
        events
    }
}

#[tokio::test(start_paused = true)]
async fn pods_get_the_node_while_there_is_room_and_then_wait_for_it() {
    let mut setup = setup();
    for (name, cpu) in [("a", "1500m"), ("b", "1"), ("c", "500m")] {
        setup.add_with(name, cpu, 0);
    }
    assert_eq!(setup.shown(), ["a n True", "b - Unschedulable", "c n True"]);
    let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption \
        victims found for incoming pod.";
    let waits = format!("b FailedScheduling x1: {message}");
    let assigned = |pod: &str| format!("{pod} Scheduled x1: Successfully assigned ns/{pod} to n");
    assert_eq!(setup.events(), [assigned("a"), waits.clone(), assigned("c")]);
    let pod = setup.store.get::<Pod>("ns", "b").unwrap();
    let condition = &pod.status.as_ref().unwrap().conditions.as_ref().unwrap()[0];
    assert_eq!((condition.status.as_str(), condition.message.as_deref()), ("False", Some(message)));
    setup.end("a");
    assert_eq!(setup.shown(), ["a n True", "b n True", "c n True"]);
    assert_eq!(setup.events().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_more_important_come_first_and_then_who_has_waited_longer() {
    let mut setup = setup();
    for (name, priority) in [("a", 0), ("b", 10), ("c", 10)] {
        setup.add_with(name, "1", priority);
    }
    assert_eq!(setup.shown(), ["a - Unschedulable", "b n True", "c n True"]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_holds_a_pod_until_it_is_gone() {
    let mut setup = setup();
    setup.add("a", json!({"schedulingGates": [{"name": "example.com/wait"}]}));
    assert_eq!(setup.shown(), ["a - SchedulingGated"]);
    assert!(setup.events().is_empty());
    setup.store.update::<Pod>("ns", "a", |pod| pod.spec.as_mut().unwrap().scheduling_gates = None).unwrap();
    assert_eq!(setup.shown(), ["a n True"]);
}

#[tokio::test(start_paused = true)]
async fn pods_of_other_schedulers_and_those_that_go_are_left_alone() {
    let mut setup = setup();
    setup.add("a", json!({"schedulerName": "mine"}));
    setup.add("b", json!({"nodeName": "elsewhere"}));
    setup.add("c", json!({}));
    setup
        .store
        .update::<Pod>("ns", "c", |pod| {
            pod.metadata.deletion_timestamp = Some(objects::seconds(Timestamp::from_second(1).unwrap()));
        })
        .unwrap();
    assert_eq!(setup.shown(), ["a - ", "b elsewhere ", "c~ - "]);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_pod_waiting_is_looked_at_when_it_changes() {
    let mut setup = setup();
    setup.add("affine", json!({"nodeSelector": {"disk": "ssd"}}));
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    setup.add("claiming", json!({"volumes": volumes}));
    assert_eq!(setup.shown(), ["affine - Unschedulable", "claiming - Unschedulable"]);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "ns", "name": "c", "uid": "c"},
    });
    setup.store.create_object(find("", "persistentvolumeclaims").unwrap(), claim).unwrap();
    assert_eq!(setup.shown(), ["affine - Unschedulable", "claiming n True"]);
    let label = |node: &mut Node| {
        node.metadata.labels = Some([("disk".to_owned(), "ssd".to_owned())].into());
    };
    setup.store.update::<Node>("", "n", label).unwrap();
    assert_eq!(setup.shown(), ["affine n True", "claiming n True"]);
}

#[tokio::test(start_paused = true)]
async fn lesser_pods_give_way_and_others_do_not_take_their_place() {
    let mut setup = setup();
    setup.add_with("lesser", "2", 1);
    assert_eq!(setup.shown(), ["lesser n True"]);
    setup
        .store
        .update::<Pod>("ns", "lesser", |pod| pod.status.as_mut().unwrap().phase = Some("Running".into()))
        .unwrap();
    // Events are named by their time.
    tokio::time::advance(Duration::from_secs(1)).await;
    setup.add_with("greater", "1500m", 5);
    assert_eq!(setup.shown(), ["greater - Unschedulable", "lesser~ n True"]);
    setup.add_with("small", "1", 1);
    assert_eq!(setup.shown(), ["greater - Unschedulable", "lesser~ n True", "small - Unschedulable"]);
    let preempted = setup.events().into_iter().find(|event| event.starts_with("lesser Preempted")).unwrap();
    assert_eq!(preempted, "lesser Preempted x1: Preempted by pod u-greater on node n");
    setup.store.delete::<Pod>("ns", "lesser").unwrap();
    assert_eq!(setup.shown(), ["greater n True", "small - Unschedulable"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_long_says_so_again() {
    let Setup { store, clock, .. } = setup();
    let setup = Setup { scheduler: Scheduler::new(store.clone(), clock, "n".to_owned()), store, clock };
    setup.add_with("a", "9", 0);
    let running = tokio::spawn(run(setup.store.clone(), setup.clock, "n".to_owned()));
    tokio::time::sleep(Duration::from_secs(16 * 60)).await;
    assert_eq!(setup.events().len(), 1);
    assert!(setup.events()[0].starts_with("a FailedScheduling x4: 0/1 nodes"), "{:?}", setup.events());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn without_a_node_everybody_waits() {
    let mut setup = setup();
    setup.store.delete::<Node>("", "n").unwrap();
    setup.add("a", json!({}));
    assert_eq!(setup.shown(), ["a - Unschedulable"]);
    assert_eq!(setup.events(), ["a FailedScheduling x1: no nodes available to schedule pods"]);
}
