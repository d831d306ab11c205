//! Decisions about pods, by what the pod, the node and the node's pods are.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::*;

const NODE: &str = "{metadata: {name: n, labels: {kubernetes.io/hostname: n, kubernetes.io/os: linux, size: '4'}}, \
    status: {allocatable: {cpu: 2, memory: 1Gi, ephemeral-storage: 10Gi, pods: 4}}}";
const NO_VICTIMS: &str = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
const NOT_HELPFUL: &str = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";

fn pod(name: &str, spec: &str) -> Arc<Pod> {
    let (metadata, spec) = spec.split_once(" | ").unwrap_or(("", spec));
    let yaml = format!("{{metadata: {{name: {name}, namespace: ns, uid: u-{name}, {metadata}}}, spec: {{{spec}}}}}");
    Arc::new(serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}")))
}

fn node(yaml: &str) -> Node {
    serde_yaml::from_str(yaml).unwrap()
}

fn occupied(pods: &[&str]) -> Occupancy {
    let mut occupancy = Occupancy::default();
    for (number, spec) in pods.iter().enumerate() {
        occupancy.put(&pod(&format!("p{number}"), spec));
    }
    occupancy
}

/// What is decided about a pod: `bind`, the message, or the message and who gives way.
fn decided(node_yaml: &str, pods: &[&str], spec: &str) -> String {
    let namespaces = BTreeMap::from([("ns".to_owned(), BTreeMap::from([("team".to_owned(), "a".to_owned())]))]);
    let claim = |_: &str, name: &str| match name {
        "there" => Claim::There,
        "going" => Claim::Going,
        _ => Claim::Missing,
    };
    let (node, occupancy) = (node(node_yaml), occupied(pods));
    let surroundings = Surroundings { node: &node, occupancy: &occupancy, namespaces: &namespaces, claim: &claim };
    match decide(&pod("new", spec), &surroundings) {
        Decision::Bind => "bind".to_owned(),
        Decision::Wait(misfit) => misfit.to_string(),
        Decision::Preempt(misfit, victims) => {
            let names: Vec<_> = victims.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            format!("{misfit} {}", names.join(" "))
        }
    }
}

fn cpu(amount: &str) -> String {
    format!("containers: [{{name: c, resources: {{requests: {{cpu: {amount}}}}}}}]")
}

#[test]
fn requests_are_counted_against_what_the_node_has() {
    let one = &cpu("1")[..];
    let both = "containers: [{name: c, resources: {requests: {cpu: 1500m, memory: 1Gi}}}]";
    for (pods, spec, expected) in [
        (&[][..], "containers: [{name: c}]", "bind".to_owned()),
        (&[], one, "bind".to_owned()),
        (&[one], one, "bind".to_owned()),
        (&[one, one], "containers: [{name: c}]", "bind".to_owned()),
        (&[one, one], &cpu("1m"), format!("0/1 nodes are available: 1 Insufficient cpu. {NO_VICTIMS}")),
        (&[], &cpu("2001m"), format!("0/1 nodes are available: 1 Insufficient cpu. {NOT_HELPFUL}")),
        (&[both], both, format!("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. {NO_VICTIMS}")),
        (&[one, "", "", ""], one, format!("0/1 nodes are available: 1 Too many pods. {NO_VICTIMS}")),
        (
            &[],
            "containers: [{name: c, resources: {requests: {ephemeral-storage: 20Gi}}}]",
            format!("0/1 nodes are available: 1 Insufficient ephemeral-storage. {NOT_HELPFUL}"),
        ),
        (
            &[],
            "preemptionPolicy: Never, containers: [{name: c, resources: {requests: {cpu: 3}}}]",
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
                .to_owned(),
        ),
    ] {
        assert_eq!(decided(NODE, pods, spec), expected, "{pods:?} {spec}");
    }
}

#[test]
fn pods_of_lower_priority_give_way_and_no_more_of_them_than_need_be() {
    let with = |priority: i32, amount: &str| format!("priority: {priority}, {}", cpu(amount));
    let pods = [with(5, "500m"), with(1, "500m"), with(3, "1")];
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let short = "0/1 nodes are available: 1 Insufficient cpu.";
    for (spec, expected) in [
        (with(2, "500m"), format!("{short} p1")),
        (with(4, "500m"), format!("{short} p1")),
        (with(4, "1"), format!("{short} p2")),
        (with(4, "1500m"), format!("{short} p1 p2")),
        (with(4, "2"), format!("{short} preemption: 0/1 nodes are available: 1 Insufficient cpu.")),
        (with(6, "2"), format!("{short} p1 p2 p0")),
        (with(1, "500m"), format!("{short} {NO_VICTIMS}")),
        (
            format!("preemptionPolicy: Never, {}", with(9, "1")),
            format!("{short} preemption: not eligible due to preemptionPolicy=Never."),
        ),
    ] {
        assert_eq!(decided(NODE, &pods, &spec), expected, "{spec}");
    }
}

#[test]
fn what_the_node_is_must_suit_the_pod() {
    let affinity = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
    let required = |terms: &str| {
        let required = format!("requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{terms}]}}");
        format!("affinity: {{nodeAffinity: {{{required}}}}}, containers: [{{name: c}}]")
    };
    for (spec, fits) in [
        ("nodeSelector: {kubernetes.io/os: linux}".to_owned(), true),
        ("nodeSelector: {kubernetes.io/os: windows}".to_owned(), false),
        ("nodeSelector: {disk: ssd}".to_owned(), false),
        (required("{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [linux, bsd]}]}"), true),
        (required("{matchExpressions: [{key: kubernetes.io/os, operator: NotIn, values: [linux]}]}"), false),
        (required("{matchExpressions: [{key: disk, operator: NotIn, values: [ssd]}]}"), true),
        (required("{matchExpressions: [{key: disk, operator: Exists}]}"), false),
        (
            required(
                "{matchExpressions: [{key: disk, operator: Exists}]}, {matchExpressions: [{key: disk, operator: DoesNotExist}]}",
            ),
            true,
        ),
        (required("{matchExpressions: [{key: size, operator: Gt, values: ['3']}]}"), true),
        (required("{matchExpressions: [{key: size, operator: Lt, values: ['4']}]}"), false),
        (required("{matchFields: [{key: metadata.name, operator: In, values: [n]}]}"), true),
        (required("{matchFields: [{key: metadata.name, operator: In, values: [m]}]}"), false),
        (required("{}"), false),
    ] {
        let expected = if fits { "bind".to_owned() } else { format!("{affinity} {NOT_HELPFUL}") };
        assert_eq!(decided(NODE, &[], &spec), expected, "{spec}");
    }
}

#[test]
fn taints_and_cordons_keep_pods_away_that_do_not_bear_them() {
    let taint = |key: &str, effect: &str| {
        format!(
            "{{metadata: {{name: n}}, spec: {{taints: [{{key: {key}, value: v, effect: {effect}}}]}}, \
            status: {{allocatable: {{pods: 4}}}}}}"
        )
    };
    let away = format!("0/1 nodes are available: 1 node(s) had untolerated taint(s). {NOT_HELPFUL}");
    for (node, tolerations, expected) in [
        (taint("k", "NoSchedule"), "", &away[..]),
        (taint("k", "NoExecute"), "", &away),
        (taint("k", "PreferNoSchedule"), "", "bind"),
        (taint("k", "NoSchedule"), "{key: k, value: v}", "bind"),
        (taint("k", "NoSchedule"), "{key: k, operator: Equal, value: w}", &away),
        (taint("k", "NoSchedule"), "{key: k, operator: Exists, effect: NoSchedule}", "bind"),
        (taint("k", "NoSchedule"), "{key: k, operator: Exists, effect: NoExecute}", &away),
        (taint("k", "NoSchedule"), "{operator: Exists}", "bind"),
        (
            "{metadata: {name: n}, spec: {unschedulable: true}, status: {allocatable: {pods: 4}}}".to_owned(),
            "",
            &format!("0/1 nodes are available: 1 node(s) were unschedulable. {NOT_HELPFUL}"),
        ),
        (
            "{metadata: {name: n}, spec: {unschedulable: true}, status: {allocatable: {pods: 4}}}".to_owned(),
            "{key: node.kubernetes.io/unschedulable, operator: Exists}",
            "bind",
        ),
    ] {
        let spec = format!("tolerations: [{tolerations}], containers: [{{name: c}}]");
        assert_eq!(decided(&node, &[], &spec), expected, "{node} {tolerations}");
    }
}

#[test]
fn a_port_of_the_host_is_had_once() {
    let port = |port: &str| format!("containers: [{{name: c, ports: [{{containerPort: 80, {port}}}]}}]");
    let taken =
        format!("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {NO_VICTIMS}");
    let there = port("hostPort: 8080, hostIP: 127.0.0.1");
    for (wanted, expected) in [
        ("hostPort: 8080", &taken[..]),
        ("hostPort: 8080, hostIP: 127.0.0.1", &taken),
        ("hostPort: 8080, hostIP: 127.0.0.2", "bind"),
        ("hostPort: 8080, protocol: UDP", "bind"),
        ("hostPort: 8081", "bind"),
        ("protocol: TCP", "bind"),
    ] {
        assert_eq!(decided(NODE, &[&there], &port(wanted)), expected, "{wanted}");
    }
}

fn near(kind: &str, term: &str) -> String {
    let term = format!("{{topologyKey: kubernetes.io/hostname, {term}}}");
    let required = format!("requiredDuringSchedulingIgnoredDuringExecution: [{term}]");
    format!("labels: {{app: web}} | affinity: {{{kind}: {{{required}}}}}, containers: [{{name: c}}]")
}

#[test]
fn pods_are_together_or_apart_as_they_require() {
    let db = "labels: {app: db} | containers: [{name: c}]";
    let with = |term: &str| near("podAffinity", term);
    let apart = |term: &str| near("podAntiAffinity", term);
    let reason = |text: &str, end: &str| format!("0/1 nodes are available: 1 node(s) {text}. {end}");
    let missing = reason("didn't match pod affinity rules", NOT_HELPFUL);
    let unwanted = reason("didn't match pod anti-affinity rules", NO_VICTIMS);
    let unwelcome = reason("didn't satisfy existing pods anti-affinity rules", NO_VICTIMS);
    for (pods, spec, expected) in [
        (vec![db.to_owned()], with("labelSelector: {matchLabels: {app: db}}"), "bind"),
        (vec![], with("labelSelector: {matchLabels: {app: db}}"), &missing[..]),
        (vec![], with("labelSelector: {matchLabels: {app: web}}"), "bind"),
        (vec![db.to_owned()], with("labelSelector: {matchLabels: {app: db}}, namespaces: [other]"), &missing),
        (vec![db.to_owned()], with("labelSelector: {}, namespaceSelector: {matchLabels: {team: a}}"), "bind"),
        (vec![db.to_owned()], apart("labelSelector: {matchLabels: {app: db}}"), &unwanted),
        (vec![db.to_owned()], apart("labelSelector: {matchLabels: {app: web}}"), "bind"),
        (
            vec![apart("labelSelector: {matchLabels: {app: web}}")],
            apart("labelSelector: {matchLabels: {app: web}}"),
            &unwelcome,
        ),
        (vec![apart("labelSelector: {matchLabels: {app: db}}")], db.to_owned(), &unwelcome),
        (vec![apart("labelSelector: {matchLabels: {app: x}}")], db.to_owned(), "bind"),
    ] {
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        assert_eq!(decided(NODE, &pods, &spec), expected, "{pods:?} {spec}");
    }
}

#[test]
fn pods_that_must_spread_over_several_places_wait_for_them() {
    let spread = |constraint: &str| {
        let constraint =
            format!("whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: w}}}}, {constraint}");
        format!("labels: {{app: w}} | topologySpreadConstraints: [{{{constraint}}}], containers: [{{name: c}}]")
    };
    let other = "labels: {app: w} | containers: [{name: c}]";
    let reason = |text: &str, end: &str| {
        format!("0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints{text}. {end}")
    };
    let host = "topologyKey: kubernetes.io/hostname, maxSkew: 1";
    for (constraint, expected) in [
        (host.to_owned(), "bind".to_owned()),
        (format!("{host}, minDomains: 2"), reason("", NO_VICTIMS)),
        ("topologyKey: kubernetes.io/hostname, maxSkew: 2, minDomains: 2".to_owned(), "bind".to_owned()),
        ("topologyKey: zone, maxSkew: 1".to_owned(), reason(" (missing required label)", NOT_HELPFUL)),
    ] {
        assert_eq!(decided(NODE, &[other], &spread(&constraint)), expected, "{constraint}");
    }
}

#[test]
fn a_pod_waits_for_its_claims() {
    for (name, expected) in [
        ("there", "bind".to_owned()),
        ("none", format!("0/1 nodes are available: persistentvolumeclaim \"none\" not found. {NOT_HELPFUL}")),
        ("going", format!("0/1 nodes are available: persistentvolumeclaim \"going\" is being deleted. {NOT_HELPFUL}")),
    ] {
        let spec = format!("volumes: [{{name: v, persistentVolumeClaim: {{claimName: {name}}}}}]");
        assert_eq!(decided(NODE, &[], &spec), expected, "{name}");
    }
}

#[test]
fn a_node_rejects_what_it_cannot_take() {
    let reject = |node_yaml: &str, pods: &[&str], spec: &str| match admit(
        &pod("new", spec),
        &node(node_yaml),
        &occupied(pods),
    ) {
        Ok(()) => "admitted".to_owned(),
        Err(rejection) => format!("{} {}", rejection.reason, rejection.status_message()),
    };
    let port = "containers: [{name: c, ports: [{containerPort: 80, hostPort: 80}]}]";
    let tainted = NODE.replace("status:", "spec: {taints: [{key: k, effect: NoExecute}]}, status:");
    let short = |text: &str| format!("Pod was rejected: Node didn't have enough resource: {text}");
    for (node, pods, spec, expected) in [
        (NODE, vec![], cpu("2"), "admitted".to_owned()),
        (
            NODE,
            vec![],
            "securityContext: {sysctls: [{name: net.core.somaxconn, value: '9'}, {name: vm.swappiness, value: '1'}]}"
                .to_owned(),
            "SysctlForbidden Pod was rejected: forbidden sysctl: \"vm.swappiness\" not allowlisted".to_owned(),
        ),
        (
            NODE,
            vec![cpu("500m")],
            cpu("1600m"),
            format!("OutOfcpu {}", short("cpu, requested: 1600, used: 500, capacity: 2000")),
        ),
        (
            NODE,
            vec![],
            "containers: [{name: c, resources: {requests: {memory: 2Gi}}}]".to_owned(),
            format!("OutOfmemory {}", short("memory, requested: 2147483648, used: 0, capacity: 1073741824")),
        ),
        (
            NODE,
            vec![cpu("0"), cpu("0"), cpu("0"), cpu("0")],
            cpu("0"),
            format!("OutOfpods {}", short("pods, requested: 1, used: 4, capacity: 4")),
        ),
        (
            NODE,
            vec![port.to_owned()],
            port.to_owned(),
            "NodePorts Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested \
             pod ports"
                .to_owned(),
        ),
        (
            NODE,
            vec![],
            "nodeSelector: {disk: ssd}".to_owned(),
            "NodeAffinity Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node \
             affinity/selector"
                .to_owned(),
        ),
        (
            &tainted,
            vec![],
            cpu("1"),
            "TaintToleration Pod was rejected: Predicate TaintToleration failed: node(s) had untolerated taint(s)"
                .to_owned(),
        ),
    ] {
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        assert_eq!(reject(node, &pods, &spec), expected, "{pods:?} {spec}");
    }
}

#[test]
fn what_a_pod_took_is_free_when_it_is_gone() {
    let mut occupancy = Occupancy::default();
    let one = pod("one", &cpu("2"));
    occupancy.put(&one);
    occupancy.put(&one);
    let allocatable = allocatable(&node(NODE));
    let requests = requested(&pod("two", &cpu("1")));
    let expected = Insufficient { resource: "cpu".to_owned(), requested: 1000, used: 2000, capacity: 2000 };
    assert_eq!(occupancy.insufficient(&requests, &allocatable), [expected]);
    assert!(occupancy.remove("u-one").is_some() && occupancy.remove("u-one").is_none());
    assert_eq!(occupancy.insufficient(&requests, &allocatable), []);
}
