//! Rules of the objects that pods use.

use super::*;

/// Checks rows of kind, the rest of the object, and the errors.
fn check(rows: &[(&str, &str, &[&str])]) {
    for (kind, rest, expected) in rows {
        let text = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: a}}, {rest}}}");
        assert_eq!(errors(&text), *expected, "{text}");
    }
}

#[test]
fn config_maps_and_secrets() {
    const KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
                            'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
                            '[-._a-zA-Z0-9]+')";
    check(&[
        ("ConfigMap", "data: {a.b_c-D: x}, binaryData: {b: eA==}", &[]),
        ("ConfigMap", "data: {'a b': x}", &[&format!("data[a b]: Invalid value: \"a b\": {KEY_RULE}")]),
        (
            "ConfigMap",
            "data: {k: x}, binaryData: {k: eA==}",
            &["data[k]: Invalid value: \"k\": duplicate of key present in binaryData"],
        ),
        ("Secret", "stringData: {..x: x}", &["data[..x]: Invalid value: \"..x\": must not start with '..'"]),
        ("Secret", "type: kubernetes.io/tls", &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        ("Secret", "type: kubernetes.io/basic-auth, stringData: {username: u}", &[]),
    ]);
    let large = "x".repeat(1024 * 1024 + 1);
    let text = format!("{{apiVersion: v1, kind: Secret, metadata: {{name: a}}, stringData: {{k: {large}}}}}");
    assert_eq!(errors(&text), ["data: Too long: may not be more than 1048576 bytes"]);
}

#[test]
fn claims() {
    check(&[
        ("PersistentVolumeClaim", "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}", &[]),
        (
            "PersistentVolumeClaim",
            "spec: {}",
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            "PersistentVolumeClaim",
            "spec: {accessModes: [ReadWriteOnce, ReadWriteOncePod, Often], resources: {requests: {storage: 0}}, \
             volumeMode: Tape}",
            &[
                "spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \
                 \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
                "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
            ],
        ),
    ]);
}

#[test]
fn services() {
    check(&[
        ("Service", "spec: {ports: [{port: 80}], selector: {app: x}}", &[]),
        ("Service", "spec: {clusterIP: None}", &[]),
        ("Service", "spec: {}", &["spec.ports: Required value"]),
        (
            "Service",
            "spec: {ports: [{port: 0, targetPort: web}]}",
            &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "Service",
            "spec: {ports: [{port: 80}, {port: 80, name: b}]}",
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
            ],
        ),
        (
            "Service",
            "spec: {ports: [{port: 80, nodePort: 30000}]}",
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            "Service",
            "spec: {type: Magic, ports: [{port: 80}]}",
            &["spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\""],
        ),
        ("Service", "spec: {type: ExternalName}", &["spec.externalName: Required value"]),
        (
            "Service",
            "spec: {type: NodePort, clusterIP: None, ports: [{port: 80}]}",
            &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            "Service",
            "spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.8], ports: [{port: 80}]}",
            &["spec.clusterIPs: Invalid value: [\"10.96.0.8\"]: first value must match `clusterIP`"],
        ),
        (
            "Service",
            "spec: {ipFamilyPolicy: Both, ipFamilies: [IPv5], ports: [{port: 80}]}",
            &[
                "spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: \"PreferDualStack\", \
                 \"RequireDualStack\", \"SingleStack\"",
                "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"",
            ],
        ),
        (
            "Service",
            "spec: {type: ExternalName, externalName: example.com, clusterIP: 10.96.0.7}",
            &["spec.clusterIPs[0]: Forbidden: may not be set for ExternalName services"],
        ),
    ]);
    let text = "{apiVersion: v1, kind: Service, metadata: {name: 1a}, spec: {clusterIP: None}}";
    assert_eq!(
        errors(text),
        ["metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case alphanumeric characters \
             or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
             'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]
    );
}

#[test]
fn endpoints_of_services() {
    check(&[
        ("Endpoints", "subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 80}]}]", &[]),
        (
            "Endpoints",
            "subsets: [{addresses: [{ip: 127.0.0.1, hostname: A}, {ip: x}], ports: [{port: 0}, {name: b, port: 1}]}, {}]",
            &[
                "subsets[0].addresses[0].hostname: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower \
                 case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. \
                 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range \
                 (127.0.0.0/8, ::1/128)",
                "subsets[0].addresses[1].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)",
                "subsets[0].ports[0].name: Required value",
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`",
            ],
        ),
    ]);
    let slice = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s}, addressType: IPv4, \
        endpoints: [{addresses: [224.0.0.1]}, {addresses: []}], ports: [{port: 70000}]}";
    assert_eq!(
        errors(slice),
        [
            "endpoints[0].addresses[0]: Invalid value: \"224.0.0.1\": may not be in the link-local multicast range \
             (224.0.0.0/24, ff02::/10)",
            "endpoints[1].addresses: Required value: must contain at least 1 address",
            "ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ]
    );
}

#[test]
fn namespaces_and_accounts() {
    assert_eq!(
        errors("{apiVersion: v1, kind: Namespace, metadata: {name: a.b}}"),
        ["metadata.name: Invalid value: \"a.b\": must not contain dots"]
    );
    assert_eq!(
        errors("{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}"),
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
    check(&[("ServiceAccount", "automountServiceAccountToken: false", &[])]);
}
