//! Whole manifests: those that must load, those that must not, and what is said about them.

use super::*;
use crate::api::support::RuntimeKind;

fn load_for_wasm(source: &str, text: &str) -> Result<Vec<LoadedObject>, LoadErrors> {
    let mut name_suffix = || "x4k9z".to_owned();
    let mut options =
        LoadOptions { namespace: "default", runtime: &|_| Some(RuntimeKind::Wasm), name_suffix: &mut name_suffix };
    load(source, text, &mut options)
}

macro_rules! manifests {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../../../tests/data/api/", $file)))),*]
    };
}

#[test]
fn ordinary_manifests_load() {
    for (file, text) in manifests![
        "01-nginx.yaml",
        "02-command.yaml",
        "03-no-probe.yaml",
        "04-readiness-liveness.yaml",
        "05-startup-exec.yaml",
        "06-hooks.yaml",
        "07-grpc-liveness.yaml",
        "08-init-containers.yaml",
        "08a-myservice.yaml",
        "08b-mydb.yaml",
        "09-readiness-http.yaml",
        "10-liveness-exec.yaml",
        "11-liveness-http.yaml",
        "12-liveness-tcp.yaml",
        "13-post-start.yaml",
        "14-puller-and-server.yaml",
        "15-termination.yaml",
        "16-service-account.yaml",
        "18-shared-namespaces.yaml",
    ] {
        let loaded = load_for_wasm(file, text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.len(), 1, "{file}");
    }
}

#[test]
fn unknown_fields_and_privileges_are_refused() {
    let [(file, strict), (_, privileged)] = manifests!["10-strict-error.yaml", "17-privileged.yaml"];
    let errors = load_for_wasm(file, strict).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "10-strict-error.yaml:14: strict decoding error: unknown field \
         \"spec.containers[0].livenessProbe.exec.initialDelaySeconds\"\n\
         10-strict-error.yaml:15: strict decoding error: unknown field \
         \"spec.containers[0].livenessProbe.exec.periodSeconds\""
    );
    let errors = load_for_wasm("p.yaml", privileged).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "p.yaml:12: spec.containers[0].securityContext.privileged: a WebAssembly container never leaves its sandbox, \
         so it cannot be privileged (WebAssembly runtime)"
    );
}

#[test]
fn warnings_name_their_place() {
    let text =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  priority: 5\n  containers: [{name: a, image: x}]\n";
    let loaded = load_for_wasm("s.yaml", text).unwrap();
    let lines: Vec<_> = loaded[0].warning_lines().collect();
    assert_eq!(lines, ["s.yaml:5: spec.priority: ignored: there is one machine, and every pod runs on it"]);
}

#[test]
fn defaults_do_not_warn_and_names_are_generated() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: job-}\nspec: {containers: [{name: a, image: x}]}\n";
    let loaded = load_for_wasm("-", text).unwrap();
    assert_eq!((loaded[0].object.name(), loaded[0].object.namespace()), ("job-x4k9z", "default"));
    assert!(loaded[0].warnings.is_empty(), "{:?}", loaded[0].warnings);
}

#[test]
fn everything_wrong_in_every_document_comes_at_once() {
    let text = "\
apiVersion: v1
kind: Pod
metadata:
  name: Bad_Name
spec:
  hostPID: true
  containers:
  - image: x
    ports:
    - containerPort: 70000
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {'a b': x}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {porst: []}
---
apiVersion: v1
kind: Pod
metadata: {name: [
";
    let errors = load_for_wasm("all.yaml", text).unwrap_err();
    let lines: Vec<String> = errors.to_string().lines().map(str::to_owned).collect();
    let beginnings = [
        "all.yaml:4: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of",
        "all.yaml:6: spec.hostPID: a WebAssembly container shares no namespace with the host (WebAssembly runtime)",
        "all.yaml:8: spec.containers[0].name: Required value",
        "all.yaml:10: spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535",
        "all.yaml:15: data[a b]: Invalid value: \"a b\": a valid config key must consist of",
        "all.yaml:20: strict decoding error: unknown field \"spec.porst\"",
        "all.yaml:24: not valid YAML: unclosed bracket",
    ];
    assert_eq!(lines.len(), beginnings.len(), "{lines:#?}");
    for (line, beginning) in lines.iter().zip(beginnings) {
        assert!(line.starts_with(beginning), "{line}\n{beginning}");
    }
}

#[test]
fn two_objects_of_one_name_are_found() {
    let text = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n";
    let namesake = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  namespace: default\n";
    let elsewhere = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  namespace: other\n";
    let mut loaded = load_for_wasm("one.yaml", &format!("{text}---\n{elsewhere}")).unwrap();
    assert!(find_duplicates(&loaded).is_empty());
    loaded.extend(load_for_wasm("two.yaml", namesake).unwrap());
    let found: Vec<_> = find_duplicates(&loaded).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["two.yaml:4: ServiceAccount \"a\" is already defined at one.yaml:4"]);
}

#[test]
fn a_pod_wrong_in_thousands_of_places_is_refused_quickly() {
    let many = |item: &str| item.repeat(20_000);
    let base = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:";
    for spec in [
        format!("{{containers: [{}]}}", many("{},")),
        format!("{{containers: [{{name: a, image: x, volumeMounts: [{}]}}]}}", many("{mountPath: /a},")),
        format!("{{containers: [{{name: a, image: x}}], topologySpreadConstraints: [{}]}}", many("{maxSkew: 1},")),
        format!("{{containers: [{{name: a, image: x, resources: {{claims: [{}]}}}}]}}", many("{name: c},")),
    ] {
        let errors = load_for_wasm("-", &format!("{base} {spec}\n")).unwrap_err();
        assert!((1..=2_000).contains(&errors.0.len()), "{}", errors.0.len());
    }
}

#[test]
fn init_containers_count_beside_the_sidecars_before_them() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers:
  - {name: first, image: x, resources: {requests: {cpu: 3, memory: 1Mi}}}
  - {name: sidecar, image: x, restartPolicy: Always, resources: {requests: {cpu: 1}}}
  - {name: second, image: x, resources: {requests: {cpu: 2500m}}}
  containers:
  - {name: a, image: x, resources: {requests: {cpu: 500m, memory: 2Mi}}}
";
    let loaded = load_for_wasm("-", text).unwrap();
    let Object::Pod(pod) = &loaded[0].object else { panic!("{loaded:?}") };
    let sums = crate::api::aggregate_requests(pod.spec.as_ref().unwrap());
    let shown: Vec<_> = sums.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    assert_eq!(shown, ["cpu=3500m", "memory=2Mi"]);
}
