//! Which endpoints Services have, as tables, and that the store follows.

use serde_json::{Value, json};

use super::*;
use crate::base::clock::Timestamp;

/// The slices that the controller makes of these objects.
fn wanted(services: &[Arc<Service>], pods: &[Arc<Pod>], endpoints: &[Arc<Endpoints>]) -> Vec<EndpointSlice> {
    let store = Store::default();
    services.iter().for_each(|object| drop(store.create(Service::clone(object)).unwrap()));
    pods.iter().for_each(|object| drop(store.create(Pod::clone(object)).unwrap()));
    endpoints.iter().for_each(|object| drop(store.create(Endpoints::clone(object)).unwrap()));
    controller(&store).catch_up();
    let mut slices: Vec<_> = store.list_all().iter().map(|slice| EndpointSlice::clone(slice)).collect();
    slices.sort_by_key(|slice| show(std::slice::from_ref(slice)));
    slices
}

fn controller(store: &Store) -> EndpointsController {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    EndpointsController::new(store, Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap()))
}

/// A pod in namespace `ns` with the label `app: web` and the container ports `http` (8080) and `dns` (53/UDP).
fn pod(name: &str, fields: &str, status: &str) -> Arc<Pod> {
    let containers = "containers: [{name: c, ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 53, \
                      protocol: UDP}]}]";
    let yaml = format!(
        "{{metadata: {{name: {name}, namespace: ns, labels: {{app: web}}}}, spec: {{{containers}{fields}}}, \
         status: {{phase: Running, {status}}}}}"
    );
    Arc::new(serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}")))
}

const READY: &str = "podIP: 10.88.0.2, conditions: [{type: Ready, status: 'True'}]";
const UNREADY: &str = "podIP: 10.88.0.2, conditions: [{type: Ready, status: 'False'}]";

fn service(spec: &str) -> Arc<Service> {
    let yaml = format!("{{metadata: {{name: web, namespace: ns}}, spec: {{{spec}}}}}");
    Arc::new(serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}")))
}

/// Each slice as `ports -> address ready/serving/terminating hostname`.
fn show(slices: &[EndpointSlice]) -> Vec<String> {
    let port = |port: &k8s_openapi::api::discovery::v1::EndpointPort| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        format!("{}:{}/{}", text(&port.name), port.port.unwrap(), text(&port.protocol))
    };
    let endpoint = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = endpoint.conditions.clone().unwrap();
        let flag = |value: Option<bool>| value.map_or("-", |value| if value { "T" } else { "F" });
        let flags = [conditions.ready, conditions.serving, conditions.terminating].map(flag).concat();
        let hostname = endpoint.hostname.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{} {flags}{hostname}", endpoint.addresses.join(" "))
    };
    let show = |slice: &EndpointSlice| {
        let ports: Vec<_> = slice.ports.iter().flatten().map(port).collect();
        let endpoints: Vec<_> = slice.endpoints.iter().flatten().map(endpoint).collect();
        format!("{} -> {}", ports.join(" "), endpoints.join(", "))
    };
    slices.iter().map(show).collect()
}

#[test]
fn the_pods_a_service_selects_are_its_endpoints() {
    let selects = "selector: {app: web}, ports: [{port: 80, targetPort: 8080}]";
    let named = "selector: {app: web}, ports: [{name: a, port: 80, targetPort: http}, {name: b, port: 53, protocol: UDP, \
                 targetPort: dns}, {name: c, port: 1, targetPort: dns}]";
    for (what, spec, fields, status, expected) in [
        ("ready", selects, "", READY, &[":8080/TCP -> 10.88.0.2 TTF"][..]),
        ("not ready", selects, "", UNREADY, &[":8080/TCP -> 10.88.0.2 FFF"]),
        ("no condition yet", selects, "", "podIP: 10.88.0.2", &[":8080/TCP -> 10.88.0.2 FFF"]),
        ("no address yet", selects, "", "reason: x", &[]),
        (
            "published all the same",
            &format!("{selects}, publishNotReadyAddresses: true"),
            "",
            UNREADY,
            &[":8080/TCP -> 10.88.0.2 TFF"],
        ),
        ("no target", "selector: {app: web}, ports: [{port: 80}]", "", READY, &[":80/TCP -> 10.88.0.2 TTF"]),
        ("by name", named, "", READY, &["a:8080/TCP b:53/UDP -> 10.88.0.2 TTF"]),
        ("others", "selector: {app: db}, ports: [{port: 80}]", "", READY, &[]),
        ("no selector", "ports: [{port: 80}]", "", READY, &[]),
        ("empty selector", "selector: {}, ports: [{port: 80}]", "", READY, &[]),
        ("headless without ports", "clusterIP: None, selector: {app: web}", "", READY, &[" -> 10.88.0.2 TTF"]),
        ("a name of its own", selects, ", hostname: h, subdomain: web", READY, &[":8080/TCP -> 10.88.0.2 TTF h"]),
        ("another subdomain", selects, ", hostname: h, subdomain: x", READY, &[":8080/TCP -> 10.88.0.2 TTF"]),
        ("no hostname", selects, ", subdomain: web", READY, &[":8080/TCP -> 10.88.0.2 TTF"]),
    ] {
        let slices = wanted(&[service(spec)], &[pod("p", fields, status)], &[]);
        assert_eq!(show(&slices), expected, "{what}");
    }
}

#[test]
fn pods_leave_when_they_end() {
    let service = service("selector: {app: web}, ports: [{port: 80}]");
    let mut leaving = Pod::clone(&pod("p", "", READY));
    leaving.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2027-01-15T08:00:00Z")).unwrap());
    let slices = wanted(&[Arc::clone(&service)], &[Arc::new(leaving)], &[]);
    assert_eq!(show(&slices), [":80/TCP -> 10.88.0.2 FTT"]);
    for phase in ["Succeeded", "Failed"] {
        let mut ended = Pod::clone(&pod("p", "", READY));
        ended.status.as_mut().unwrap().phase = Some(phase.to_owned());
        assert_eq!(show(&wanted(&[Arc::clone(&service)], &[Arc::new(ended)], &[])), [""; 0], "{phase}");
    }
    let mut elsewhere = Pod::clone(&pod("p", "", READY));
    elsewhere.metadata.namespace = Some("other".to_owned());
    assert_eq!(show(&wanted(&[service], &[Arc::new(elsewhere)], &[])), [""; 0]);
}

#[test]
fn ports_by_name_group_the_pods_and_sidecars_have_them_too() {
    let service = service("selector: {app: web}, ports: [{name: a, port: 80, targetPort: proxy}, {name: b, port: 81}]");
    let sidecar = ", initContainers: [{name: s, restartPolicy: Always, ports: [{name: proxy, containerPort: 99}]}]";
    let init = ", initContainers: [{name: s, ports: [{name: proxy, containerPort: 99}]}]";
    let pods = [pod("p", sidecar, READY), pod("q", init, READY)];
    assert_eq!(
        show(&wanted(&[service], &pods, &[])),
        ["a:99/TCP b:81/TCP -> 10.88.0.2 TTF", "b:81/TCP -> 10.88.0.2 TTF"]
    );
}

#[test]
fn many_pods_fill_several_slices() {
    let service = service("selector: {app: web}, ports: [{port: 80}]");
    let pods: Vec<_> = (0..250).map(|number| pod(&format!("p-{number}"), "", READY)).collect();
    let slices = wanted(&[service], &pods, &[]);
    let mut sizes: Vec<_> = slices.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
    sizes.sort();
    assert_eq!(sizes, [50, 100, 100]);
    let names: BTreeSet<_> = slices.iter().map(|slice| slice.metadata.name.clone()).collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn a_slice_is_written_as_the_controller_writes_it() {
    let mut service =
        Service::clone(&service("clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80}]"));
    service.metadata.uid = Some("u".to_owned());
    let slices = wanted(&[Arc::new(service)], &[pod("p", ", nodeName: n", READY)], &[]);
    let mut shown: Value = serde_json::to_value(&slices[0]).unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(shown["metadata"].as_object_mut().unwrap().shift_remove(field).is_some(), "{field}");
    }
    let name = slices[0].metadata.name.clone().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let expected = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name, "generateName": "web-", "namespace": "ns",
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": "web",
                "service.kubernetes.io/headless": "",
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u", "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.88.0.2"],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "n",
            "targetRef": {"kind": "Pod", "namespace": "ns", "name": "p"},
        }],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
    });
    assert_eq!(shown, expected);
}

#[test]
fn endpoints_written_by_hand_stand_in_for_a_selector() {
    let endpoints: Endpoints = serde_yaml::from_str(
        "{metadata: {name: web, namespace: ns}, subsets: [{addresses: [{ip: 192.0.2.1, hostname: a}], \
         notReadyAddresses: [{ip: 192.0.2.2}], ports: [{port: 9376}]}]}",
    )
    .unwrap();
    let endpoints = [Arc::new(endpoints)];
    let slices = wanted(&[service("ports: [{port: 80}]")], &[], &endpoints);
    assert_eq!(show(&slices), [":9376/TCP -> 192.0.2.1 T-- a, 192.0.2.2 F--"]);
    assert_eq!(slices[0].metadata.labels.as_ref().unwrap()[MANAGED_BY], MIRRORING);
    assert_eq!(show(&wanted(&[service("selector: {app: x}, ports: [{port: 80}]")], &[], &endpoints)), [""; 0]);
    assert_eq!(show(&wanted(&[], &[], &endpoints)), [""; 0]);
}

#[test]
fn the_store_follows_and_comes_to_rest() {
    let store = Store::default();
    let current = |store: &Store| {
        let mut slices: Vec<Arc<EndpointSlice>> = store.list_all();
        slices.sort_by_key(|slice| slice.metadata.labels.as_ref().unwrap().contains_key(MANAGED_BY));
        show(&slices.iter().map(|slice| EndpointSlice::clone(slice)).collect::<Vec<_>>())
    };
    let other: EndpointSlice = serde_yaml::from_str(
        "{metadata: {name: own, namespace: ns, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, \
         endpoints: [{addresses: [192.0.2.9], conditions: {}}], ports: [{name: '', port: 1, protocol: TCP}]}",
    )
    .unwrap();
    let by_hand = ":1/TCP -> 192.0.2.9 ---";
    store.create(other).unwrap();
    store.create(Service::clone(&service("selector: {app: web}, ports: [{port: 80}]"))).unwrap();
    store.create(Pod::clone(&pod("p", "", UNREADY))).unwrap();
    let mut controller = controller(&store);
    controller.catch_up();
    assert_eq!(current(&store), [by_hand, ":80/TCP -> 10.88.0.2 FFF"]);
    let ready = Pod::clone(&pod("p", "", READY)).status;
    store.update::<Pod>("ns", "p", |pod| pod.status = ready).unwrap();
    controller.catch_up();
    assert_eq!(current(&store), [by_hand, ":80/TCP -> 10.88.0.2 TTF"]);
    controller.catch_up();
    let revision = store.revision();
    controller.catch_up();
    assert_eq!(store.revision(), revision, "nothing is written when nothing has changed");
    store.update::<Pod>("ns", "p", |pod| pod.metadata.labels = None).unwrap();
    controller.catch_up();
    assert_eq!(current(&store), [by_hand], "it has left");
    store.delete::<Service>("ns", "web").unwrap();
    controller.catch_up();
    assert_eq!(current(&store), [by_hand]);
}

/// Old clients find the same in Endpoints, but for pods that end.
#[test]
fn endpoints_of_the_old_form_follow_too() {
    let store = Store::default();
    store.create(Service::clone(&service("selector: {app: web}, ports: [{name: http, port: 80}]"))).unwrap();
    for (name, status) in [("p", READY), ("q", UNREADY), ("r", READY)] {
        let mut pod = Pod::clone(&pod(name, "", status));
        if name == "r" {
            pod.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2027-01-15T08:00:00Z")).unwrap());
        }
        store.create(pod).unwrap();
    }
    let mut controller = controller(&store);
    controller.catch_up();
    let endpoints = store.get::<Endpoints>("ns", "web").unwrap();
    let subset = &endpoints.subsets.as_ref().unwrap()[0];
    let names = |addresses: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
        let targets = addresses.iter().flatten().map(|address| address.target_ref.clone().unwrap().name.unwrap());
        targets.collect::<Vec<_>>()
    };
    assert_eq!((names(&subset.addresses), names(&subset.not_ready_addresses)), (vec!["p".into()], vec!["q".into()]));
    let port = &subset.ports.as_ref().unwrap()[0];
    assert_eq!((port.name.as_deref(), port.port), (Some("http"), 80));
    assert!(store.list::<EndpointSlice>("ns").len() == 1, "what is made here is not mirrored");
    store.delete::<Service>("ns", "web").unwrap();
    controller.catch_up();
    assert!(store.get::<Endpoints>("ns", "web").is_none());
}

/// A pod that comes or goes changes one slice of many.
#[test]
fn endpoints_stay_where_they_are() {
    let store = Store::default();
    store.create(Service::clone(&service("selector: {app: web}, ports: [{port: 80}]"))).unwrap();
    for number in 0..250 {
        store.create(Pod::clone(&pod(&format!("p-{number:03}"), "", READY))).unwrap();
    }
    let mut controller = controller(&store);
    controller.catch_up();
    controller.catch_up();
    let revisions = |store: &Store| {
        let slices: Vec<Arc<EndpointSlice>> = store.list_all();
        slices.iter().map(|slice| slice.metadata.resource_version.clone()).collect::<BTreeSet<_>>()
    };
    let mut before = revisions(&store);
    assert_eq!(before.len(), 3);
    for change in ["p-000", "new"] {
        match change {
            "new" => drop(store.create(Pod::clone(&pod("new", "", READY))).unwrap()),
            name => store.delete::<Pod>("ns", name).unwrap(),
        }
        controller.catch_up();
        let after = revisions(&store);
        assert_eq!(after.intersection(&before).count(), 2, "{change}");
        before = after;
    }
}
