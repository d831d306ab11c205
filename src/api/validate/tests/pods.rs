//! Rules of the pod as a whole, its volumes, and how errors are put together.

use super::*;

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
                          must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
                          used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
                              or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
                              regex used for validation is \
                              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[test]
fn the_exact_examples_hold() {
    for (spec, expected) in [
        ("{containers: [{image: x}]}", "spec.containers[0].name: Required value"),
        ("{containers: [{name: a}]}", "spec.containers[0].image: Required value"),
        (
            "{containers: [{name: a, image: x}], restartPolicy: Sometimes}",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \
             \"Never\"",
        ),
        (
            "{containers: [{name: a, image: x, imagePullPolicy: Foo}]}",
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Foo\": supported values: \"Always\", \
             \"IfNotPresent\", \"Never\"",
        ),
        ("{containers: [{name: a, image: x}, {name: a, image: x}]}", "spec.containers[1].name: Duplicate value: \"a\""),
        (
            "{containers: [{name: a, image: x, ports: [{containerPort: 70000}]}]}",
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "{containers: [{name: a, image: x, volumeMounts: [{name: x, mountPath: /x}]}]}",
            "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
        ),
        (
            "{containers: [{name: a, image: x, livenessProbe: {exec: {command: [a]}, periodSeconds: -1}}]}",
            "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "{containers: [{name: a, image: x, livenessProbe: {exec: {command: [a]}, successThreshold: 2}}]}",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "{containers: [{name: a, image: x}], initContainers: [{name: i, image: x, livenessProbe: {}}]}",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without \
             restartPolicy=Always",
        ),
        (
            "{containers: [{name: a, image: x, env: [{name: A, valueFrom: {}}]}]}",
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, \
             `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        (
            "{containers: [{name: a, image: x, resources: {requests: {memory: 128Mi}, limits: {memory: 64Mi}}}]}",
            "spec.containers[0].resources.requests: Invalid value: \"128Mi\": must be less than or equal to memory \
             limit of 64Mi",
        ),
        (
            "{containers: [{name: a, image: x}], activeDeadlineSeconds: 0}",
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "{containers: [{name: a, image: x}], dnsPolicy: None}",
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
    ] {
        assert_eq!(pod_errors(spec), [expected], "{spec}");
    }
}

#[test]
fn a_good_pod_has_no_errors() {
    assert_eq!(container_errors("", ""), [""; 0]);
    assert_eq!(pod_errors("{}"), ["spec.containers: Required value"]);
    assert_eq!(errors("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"), ["spec.containers: Required value"]);
}

#[test]
fn several_errors_are_put_together_each_once() {
    let spec = "{containers: [{name: a, image: x, ports: [{containerPort: -1}]}], restartPolicy: No way}";
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n");
    let mut decoded = decode_documents("-", &text).unwrap();
    apply_defaults(&mut decoded[0].object, "default");
    let mut errors = validate(&decoded[0].object);
    let port = "spec.containers[0].ports[0].containerPort: Invalid value: -1: must be between 1 and 65535, inclusive";
    assert_eq!(invalid_message("Pod", "p", &errors[..1]), format!("Pod \"p\" is invalid: {port}"));
    errors.push(errors[0].clone());
    let policy = "spec.restartPolicy: Unsupported value: \"No way\": supported values: \"Always\", \"OnFailure\", \
                  \"Never\"";
    assert_eq!(invalid_message("Pod", "p", &errors), format!("Pod \"p\" is invalid: [{port}, {policy}]"));
}

#[test]
fn values_are_quoted_as_go_does() {
    let found = pod_errors("{containers: [{name: a, image: x}], restartPolicy: \"a\\\"\\n\\x01\\\\é\"}");
    assert!(found[0].contains(r#"Unsupported value: "a\"\n\x01\\é": "#), "{found:?}");
}

#[test]
fn metadata_rules() {
    let long = "a".repeat(254);
    for (metadata, expected) in [
        ("{}".to_owned(), vec!["metadata.name: Required value: name or generateName is required".to_owned()]),
        ("{name: A}".to_owned(), vec![format!("metadata.name: Invalid value: \"A\": {SUBDOMAIN_RULE}")]),
        (
            format!("{{name: {long}}}"),
            vec![format!("metadata.name: Invalid value: \"{long}\": must be no more than 253 characters")],
        ),
        ("{name: a.b}".to_owned(), vec![]),
        (
            "{name: a, namespace: a.b}".to_owned(),
            vec!["metadata.namespace: Invalid value: \"a.b\": must not contain dots".to_owned()],
        ),
        (
            "{name: a, labels: {k: 'a b'}}".to_owned(),
            vec![
                "metadata.labels: Invalid value: \"a b\": a valid label must be an empty string or consist of \
                 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
                 (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                    .to_owned(),
            ],
        ),
        (
            "{name: a, annotations: {'a b': c}}".to_owned(),
            vec![
                "metadata.annotations: Invalid value: \"a b\": name part must consist of alphanumeric characters, \
                 '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
                 'my.name',  or '123-abc', regex used for validation is \
                 '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
                    .to_owned(),
            ],
        ),
        ("{name: a, labels: {example.com/x: ''}, annotations: {Example.com/X: z}}".to_owned(), vec![]),
    ] {
        let text =
            format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: a, image: x}}]}}\n");
        assert_eq!(errors(&text), expected, "{metadata}");
    }
}

#[test]
fn pod_wide_rules() {
    check_pod(&[
        (
            "activeDeadlineSeconds: 2147483648",
            &["spec.activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647, inclusive"],
        ),
        (
            "dnsPolicy: Mine",
            &["spec.dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirstWithHostNet\", \
             \"ClusterFirst\", \"Default\", \"None\""],
        ),
        (
            "dnsPolicy: None, dnsConfig: {}",
            &[
                "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is \
             None",
            ],
        ),
        (
            "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, nope]}",
            &[
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"nope\"]: must not have \
             more than 3 nameservers",
                "spec.dnsConfig.nameservers[3]: Invalid value: \"nope\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)",
            ],
        ),
        (
            "dnsConfig: {searches: [., a_b.c., example.com], options: [{value: x}]}",
            &["spec.dnsConfig.options[0]: Required value: must not be empty"],
        ),
    ]);
}

#[test]
fn name_and_namespace_rules() {
    check_pod(&[
        ("hostname: a.b", &["spec.hostname: Invalid value: \"a.b\": must not contain dots"]),
        ("subdomain: a.b", &["spec.subdomain: Invalid value: \"a.b\": must not contain dots"]),
        (
            "hostnameOverride: a.b, setHostnameAsFQDN: true, hostNetwork: true",
            &[
                "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
                "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
            ],
        ),
        (
            "hostAliases: [{ip: x, hostnames: [a.b]}]",
            &["spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
             2001:db8::ffff)"],
        ),
        (
            "shareProcessNamespace: true, hostPID: true",
            &[
                "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot \
             both be enabled",
            ],
        ),
        (
            "ephemeralContainers: [{name: e, image: x}]",
            &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            "schedulingGates: [{name: g}, {name: g}], nodeName: here",
            &[
                "spec.schedulingGates[1]: Duplicate value: \"g\"",
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
        (
            "securityContext: {runAsUser: -1, fsGroup: 2147483648, supplementalGroups: [1, -2]}",
            &[
                "spec.securityContext.fsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive",
                "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "spec.securityContext.supplementalGroups[1]: Invalid value: -2: must be between 0 and 2147483647, \
             inclusive",
            ],
        ),
        (
            "securityContext: {seccompProfile: {type: Localhost}, appArmorProfile: {}}",
            &[
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is \
             Localhost",
                "spec.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is set",
            ],
        ),
    ]);
}

#[test]
fn scheduling_rules() {
    check_pod(&[
        (
            "tolerations: [{key: k, operator: Lt}, {operator: Equal}, {key: k, tolerationSeconds: 1}]",
            &[
                "spec.tolerations[0].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\", \"Lt\", \
             \"Gt\"",
                "spec.tolerations[1].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, \
             which means \"match all values and all keys\"",
                "spec.tolerations[2].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is \
             set",
            ],
        ),
        (
            "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}",
            &["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required \
             value: must have at least one node selector term"],
        ),
        (
            "topologySpreadConstraints: [{maxSkew: 0, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]",
            &["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
        ),
        ("os: {name: plan9}", &["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""]),
        (
            "resources: {requests: {cpu: 1}}, initContainers: [{name: i, image: x, resources: {requests: {cpu: 2}}}]",
            &[
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container \
             requests of 2",
            ],
        ),
        ("terminationGracePeriodSeconds: -7", &[]),
        (
            "preemptionPolicy: Always",
            &["spec.preemptionPolicy: Unsupported value: \"Always\": supported values: \"PreemptLowerPriority\", \
             \"Never\""],
        ),
    ]);
}

#[test]
fn volume_rules() {
    check_pod(&[
        ("volumes: [{name: v}, {name: v}]", &["spec.volumes[1].name: Duplicate value: \"v\""]),
        ("volumes: [{emptyDir: {}}]", &["spec.volumes[0].name: Required value"]),
        (
            "volumes: [{name: v, emptyDir: {}, hostPath: {path: /x}}]",
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            "volumes: [{name: v, emptyDir: {sizeLimit: '-1'}}]",
            &["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
        ),
        ("volumes: [{name: v, hostPath: {}}]", &["spec.volumes[0].hostPath.path: Required value"]),
        (
            "volumes: [{name: v, hostPath: {path: /a/../b, type: Pipe}}]",
            &[
                "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                "spec.volumes[0].hostPath.type: Unsupported value: \"Pipe\": supported values: \"\", \"BlockDevice\", \
             \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ],
        ),
        (
            "volumes: [{name: v, secret: {defaultMode: 01000}}]",
            &[
                "spec.volumes[0].secret.secretName: Required value",
                "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both \
             inclusive",
            ],
        ),
        (
            "volumes: [{name: v, configMap: {items: [{path: /a}, {key: k, path: a/../b}, {key: k, path: ..a, mode: -1}]}}]",
            &[
                "spec.volumes[0].configMap.name: Required value",
                "spec.volumes[0].configMap.items[0].key: Required value",
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"/a\": must be a relative path",
                "spec.volumes[0].configMap.items[1].path: Invalid value: \"a/../b\": must not contain '..'",
                "spec.volumes[0].configMap.items[2].path: Invalid value: \"..a\": must not start with '..'",
                "spec.volumes[0].configMap.items[2].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), \
             both inclusive",
            ],
        ),
    ]);
}

#[test]
fn claim_and_projection_rules() {
    check_pod(&[
        (
            "volumes: [{name: v, persistentVolumeClaim: {}}]",
            &["spec.volumes[0].persistentVolumeClaim.claimName: Required value"],
        ),
        (
            "volumes: [{name: v, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: status.podIP}}]}}]",
            &[
                "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: \"status.podIP\": supported values: \
             \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \
             \"metadata.uid\"",
            ],
        ),
        (
            "volumes: [{name: v, downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu}}, {path: b}]}}]",
            &[
                "spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value",
                "spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
            ],
        ),
        (
            "volumes: [{name: v, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, \
             {configMap: {name: c, items: [{key: k, path: p}]}}]}}]",
            &["spec.volumes[0].projected: Invalid value: \"c\": conflicting duplicate paths"],
        ),
        (
            "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 599}}, \
             {secret: {name: s}, configMap: {name: c}}]}}]",
            &[
                "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may \
                 not specify a duration less than 10 minutes",
                "spec.volumes[0].projected.sources[1]: Forbidden: may not specify more than 1 volume type per source",
            ],
        ),
    ]);
    let found = container_errors("", "volumes: [{name: A}]");
    assert_eq!(found, [format!("spec.volumes[0].name: Invalid value: \"A\": {LABEL_RULE}")]);
}
