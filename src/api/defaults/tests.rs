//! Every default, seen on objects that set as little as possible.

use serde_json::{Value, json};

use super::*;
use crate::api::decode_documents;

fn defaulted(text: &str) -> Value {
    let mut decoded = decode_documents("-", text).unwrap_or_else(|errors| panic!("{errors:?}"));
    let object = &mut decoded[0].object;
    apply_defaults(object, DEFAULT_NAMESPACE);
    let once = object.clone();
    apply_defaults(object, DEFAULT_NAMESPACE);
    assert_eq!(*object, once, "defaulting twice changed something");
    match object {
        Object::Pod(pod) => serde_json::to_value(pod).unwrap(),
        Object::Service(service) => serde_json::to_value(service).unwrap(),
        Object::Endpoints(endpoints) => serde_json::to_value(endpoints).unwrap(),
        Object::EndpointSlice(slice) => serde_json::to_value(slice).unwrap(),
        Object::Secret(secret) => serde_json::to_value(secret).unwrap(),
        Object::PersistentVolumeClaim(claim) => serde_json::to_value(claim).unwrap(),
        Object::Namespace(namespace) => serde_json::to_value(namespace).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The value at a JSON pointer in a defaulted pod with this spec.
fn pod_value(spec: &str, pointer: &str) -> Value {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n");
    defaulted(&text).pointer(pointer).cloned().unwrap_or(Value::Null)
}

#[test]
fn pods_get_kubernetes_defaults() {
    let minimal = "{containers: [{name: a, image: x}]}";
    for (pointer, expected) in [
        ("/metadata/namespace", json!("default")),
        ("/metadata/generation", json!(1)),
        ("/spec/restartPolicy", json!("Always")),
        ("/spec/dnsPolicy", json!("ClusterFirst")),
        ("/spec/schedulerName", json!("default-scheduler")),
        ("/spec/terminationGracePeriodSeconds", json!(30)),
        ("/spec/securityContext", json!({})),
        ("/spec/enableServiceLinks", json!(true)),
        ("/spec/serviceAccountName", json!("default")),
        ("/spec/priority", json!(0)),
        ("/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/containers/0/terminationMessagePath", json!("/dev/termination-log")),
        ("/spec/containers/0/terminationMessagePolicy", json!("File")),
        (
            "/spec/tolerations/0",
            json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300}),
        ),
        ("/spec/tolerations/1/key", json!("node.kubernetes.io/unreachable")),
        ("/spec/tolerations/2", Value::Null),
    ] {
        assert_eq!(pod_value(minimal, pointer), expected, "{pointer}");
    }
}

#[test]
fn parts_of_pods_get_kubernetes_defaults() {
    for (spec, pointer, expected) in [
        ("{containers: [{ports: [{containerPort: 80}]}]}", "/spec/containers/0/ports/0/protocol", json!("TCP")),
        ("{containers: [{ports: [{containerPort: 80}]}]}", "/spec/containers/0/ports/0/hostPort", Value::Null),
        (
            "{hostNetwork: true, containers: [{ports: [{containerPort: 80}]}]}",
            "/spec/containers/0/ports/0/hostPort",
            json!(80),
        ),
        (
            "{containers: [{livenessProbe: {httpGet: {port: 80}}}]}",
            "/spec/containers/0/livenessProbe",
            json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                "successThreshold": 1, "failureThreshold": 3}),
        ),
        (
            "{initContainers: [{startupProbe: {periodSeconds: 0, failureThreshold: 7}}]}",
            "/spec/initContainers/0/startupProbe",
            json!({"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 7}),
        ),
        (
            "{containers: [{lifecycle: {stopSignal: SIGUSR1, preStop: {httpGet: {port: 1}}}}]}",
            "/spec/containers/0/lifecycle",
            json!({"preStop": {"httpGet": {"path": "/", "port": 1, "scheme": "HTTP"}}}),
        ),
        ("{volumes: [{name: v}]}", "/spec/volumes/0", json!({"name": "v", "emptyDir": {}})),
        ("{volumes: [{name: v, secret: {}}]}", "/spec/volumes/0/secret/defaultMode", json!(0o644)),
        ("{volumes: [{name: v, configMap: {}}]}", "/spec/volumes/0/configMap/defaultMode", json!(0o644)),
        ("{volumes: [{name: v, configMap: {defaultMode: 0}}]}", "/spec/volumes/0/configMap/defaultMode", json!(0)),
        ("{volumes: [{name: v, downwardAPI: {}}]}", "/spec/volumes/0/downwardAPI/defaultMode", json!(0o644)),
        ("{volumes: [{name: v, hostPath: {path: /x}}]}", "/spec/volumes/0/hostPath/type", json!("")),
        (
            "{volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}",
            "/spec/volumes/0/projected",
            json!({"defaultMode": 0o644, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}),
        ),
        (
            "{containers: [{env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]}",
            "/spec/containers/0/env/0/valueFrom/fieldRef/apiVersion",
            json!("v1"),
        ),
        (
            "{containers: [{resources: {limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 1500u}}}]}",
            "/spec/containers/0/resources/requests",
            json!({"cpu": "2m", "memory": "64Mi"}),
        ),
        (
            "{initContainers: [{resources: {limits: {cpu: 1}}}]}",
            "/spec/initContainers/0/resources/requests",
            json!({"cpu": "1"}),
        ),
        (
            "{resources: {limits: {cpu: 2, memory: 1Gi}}, containers: [{resources: {requests: {cpu: 500m}}}]}",
            "/spec/resources/requests",
            json!({"cpu": "500m", "memory": "1Gi"}),
        ),
        ("{terminationGracePeriodSeconds: -5}", "/spec/terminationGracePeriodSeconds", json!(1)),
        ("{terminationGracePeriodSeconds: 0}", "/spec/terminationGracePeriodSeconds", json!(0)),
        ("{serviceAccount: robot}", "/spec/serviceAccountName", json!("robot")),
        ("{tolerations: [{operator: Exists}]}", "/spec/tolerations", json!([{"operator": "Exists"}])),
    ] {
        assert_eq!(pod_value(spec, pointer), expected, "{spec}");
    }
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, expected) in [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.32.0", "IfNotPresent"),
        ("localhost:5000/busybox", "Always"),
        ("localhost:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:00", "IfNotPresent"),
        ("busybox:latest@sha256:00", "Always"),
        ("", "Always"),
    ] {
        assert_eq!(default_pull_policy(image), expected, "{image}");
    }
}

#[test]
fn other_objects_get_kubernetes_defaults() {
    let service = defaulted("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}");
    assert_eq!(
        service["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
    );
    let endpoints =
        defaulted("{apiVersion: v1, kind: Endpoints, metadata: {name: s}, subsets: [{ports: [{port: 80}]}]}");
    assert_eq!(endpoints["subsets"], json!([{"ports": [{"port": 80, "protocol": "TCP"}]}]));
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: IPv4, \
        endpoints: [], ports: [{port: 80}]}";
    assert_eq!(defaulted(slice)["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    let secret = defaulted("{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: other}}");
    assert_eq!((&secret["type"], &secret["metadata"]["namespace"]), (&json!("Opaque"), &json!("other")));
    let claim = defaulted("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}}");
    assert_eq!(claim["spec"]["volumeMode"], json!("Filesystem"));
    let namespace = defaulted("{apiVersion: v1, kind: Namespace, metadata: {name: ns}}");
    assert_eq!(namespace["metadata"], json!({"name": "ns", "labels": {"kubernetes.io/metadata.name": "ns"}}));
}

#[test]
fn generated_names_have_the_prefix_and_fit() {
    for (metadata, expected) in [
        ("{generateName: job-}".to_owned(), "job-x4k9z".to_owned()),
        ("{name: mine, generateName: job-}".to_owned(), "mine".to_owned()),
        (format!("{{generateName: {}}}", "a".repeat(80)), format!("{}x4k9z", "a".repeat(58))),
        (format!("{{generateName: {}}}", "é".repeat(80)), format!("{}x4k9z", "é".repeat(29))),
        ("{}".to_owned(), String::new()),
    ] {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\n");
        let mut object = decode_documents("-", &text).unwrap().remove(0).object;
        generate_name(&mut object, "x4k9z");
        assert_eq!(object.name(), expected, "{metadata}");
    }
}
