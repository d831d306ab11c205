//! Rules of containers: names, ports, environment, mounts, probes, hooks, resources, security.

use super::*;

#[test]
fn names_are_unique_labels() {
    let long = "a".repeat(64);
    assert_eq!(
        pod_errors(&format!("{{containers: [{{name: {long}, image: x}}]}}")),
        [format!("spec.containers[0].name: Invalid value: \"{long}\": must be no more than 63 characters")]
    );
    assert_eq!(
        container_errors("", "initContainers: [{name: a, image: ' x'}]"),
        [
            "spec.initContainers[0].name: Duplicate value: \"a\"",
            "spec.initContainers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace",
        ]
    );
}

#[test]
fn port_rules() {
    check_container(&[
        ("ports: [{containerPort: 0}]", "", &["spec.containers[0].ports[0].containerPort: Required value"]),
        (
            "ports: [{containerPort: 1, hostPort: 65536}]",
            "",
            &["spec.containers[0].ports[0].hostPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "ports: [{containerPort: 1, protocol: ICMP}]",
            "",
            &[
                "spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \
             \"UDP\"",
            ],
        ),
        (
            "ports: [{containerPort: 1, name: web}, {containerPort: 2, name: web}]",
            "",
            &["spec.containers[0].ports[1].name: Duplicate value: \"web\""],
        ),
        (
            "ports: [{containerPort: 1, name: abcdefghijklmnop}]",
            "",
            &[
                "spec.containers[0].ports[0].name: Invalid value: \"abcdefghijklmnop\": must be no more than 15 characters",
            ],
        ),
        (
            "ports: [{containerPort: 1, name: -1--}]",
            "",
            &[
                "spec.containers[0].ports[0].name: Invalid value: \"-1--\": must contain at least one letter (a-z)",
                "spec.containers[0].ports[0].name: Invalid value: \"-1--\": must not contain consecutive hyphens",
                "spec.containers[0].ports[0].name: Invalid value: \"-1--\": must not begin or end with a hyphen",
            ],
        ),
        (
            "ports: [{containerPort: 1, name: WEB}]",
            "",
            &[
                "spec.containers[0].ports[0].name: Invalid value: \"WEB\": must contain only alpha-numeric characters \
             (a-z, 0-9), and hyphens (-)",
                "spec.containers[0].ports[0].name: Invalid value: \"WEB\": must contain at least one letter (a-z)",
            ],
        ),
        (
            "ports: [{containerPort: 1, hostPort: 8080}, {containerPort: 2, hostPort: 8080}]",
            "",
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//8080\""],
        ),
        ("ports: [{containerPort: 1, hostPort: 8080}, {containerPort: 2, hostPort: 8080, protocol: UDP}]", "", &[]),
        (
            "ports: [{containerPort: 1, hostPort: 2}]",
            "hostNetwork: true",
            &[
                "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is \
             true",
            ],
        ),
        (
            "ports: [{containerPort: 1, hostPort: 8080}]",
            "initContainers: [{name: i, image: x, ports: [{containerPort: 1, hostPort: 8080}]}]",
            &[],
        ),
    ]);
}

#[test]
fn environment_rules() {
    check_container(&[
        ("env: [{value: x}]", "", &["spec.containers[0].env[0].name: Required value"]),
        ("env: [{name: 'a b.c-1'}]", "", &[]),
        (
            "env: [{name: 'a=b'}]",
            "",
            &[
                "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist \
             only of printable ASCII characters other than '='",
            ],
        ),
        (
            "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            "",
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            ],
        ),
        (
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k}, secretKeyRef: {name: s, key: k}}}]",
            "",
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a \
             time",
            ],
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]",
            "",
            &[
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported \
             values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \
             \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ],
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.image}}}]",
            "",
            &[
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.image\": error converting \
             fieldPath: field label not supported: spec.image",
            ],
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.name['x']\"}}}]",
            "",
            &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name['x']\": error \
             converting fieldPath: field label does not support subscript: metadata.name['x']"],
        ),
        ("env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]", "", &[]),
    ]);
}

#[test]
fn environment_source_rules() {
    check_container(&[
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]",
            "",
            &["spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": \
             supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \
             \"requests.ephemeral-storage\", \"requests.memory\""],
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2}}}]",
            "",
            &["spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only \
             divisor's values 1m and 1 are supported with the cpu resource"],
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: ..k}}}]",
            "",
            &["spec.containers[0].env[0].valueFrom.secretKeyRef.key: Invalid value: \"..k\": must not start with '..'"],
        ),
        (
            "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]",
            "",
            &["spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\""],
        ),
        (
            "env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]",
            "volumes: [{name: v, hostPath: {path: /x}}]",
            &[
                "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: \"v\": referenced volume must be \
             of type emptyDir",
            ],
        ),
        (
            "envFrom: [{}]",
            "",
            &["spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
        ),
        (
            "envFrom: [{prefix: '=', configMapRef: {}}]",
            "",
            &[
                "spec.containers[0].envFrom[0].prefix: Invalid value: \"=\": a valid environment variable name must consist \
             only of printable ASCII characters other than '='",
                "spec.containers[0].envFrom[0].configMapRef.name: Required value",
            ],
        ),
    ]);
}

#[test]
fn mount_rules() {
    let volume = "volumes: [{name: v}]";
    check_container(&[
        ("volumeMounts: [{name: v}]", volume, &["spec.containers[0].volumeMounts[0].mountPath: Required value"]),
        (
            "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a}]",
            volume,
            &["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"],
        ),
        (
            "volumeMounts: [{name: v, mountPath: /a, subPath: ../x}]",
            volume,
            &["spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'"],
        ),
        (
            "volumeMounts: [{name: v, mountPath: /a, subPath: /x}]",
            volume,
            &["spec.containers[0].volumeMounts.subPath: Invalid value: \"/x\": must be a relative path"],
        ),
        (
            "volumeMounts: [{name: v, mountPath: /a, subPath: x, subPathExpr: $(A)}]",
            volume,
            &["spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"$(A)\": subPathExpr and subPath are \
             mutually exclusive"],
        ),
        (
            "volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectional}]",
            volume,
            &[
                "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available \
             only to privileged containers",
            ],
        ),
        (
            "volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled}]",
            volume,
            &[
                "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
            ],
        ),
        (
            "volumeDevices: [{name: v, devicePath: /dev/x}]",
            volume,
            &["spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of \
             PersistentVolumeClaim or Ephemeral for block mode"],
        ),
    ]);
}

#[test]
fn probe_and_hook_rules() {
    check_container(&[
        ("livenessProbe: {}", "", &["spec.containers[0].livenessProbe: Required value: must specify a handler type"]),
        (
            "readinessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}",
            "",
            &["spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "startupProbe: {exec: {}, successThreshold: 3}",
            "",
            &[
                "spec.containers[0].startupProbe.exec.command: Required value",
                "spec.containers[0].startupProbe.successThreshold: Invalid value: 3: must be 1",
            ],
        ),
        (
            "readinessProbe: {httpGet: {port: 0, scheme: FTP, httpHeaders: [{name: 'a b'}]}, successThreshold: 3}",
            "",
            &[
                "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \
             \"HTTPS\"",
                "spec.containers[0].readinessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must \
             consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is \
             '[-A-Za-z0-9]+')",
            ],
        ),
        (
            "livenessProbe: {grpc: {port: 70000}, initialDelaySeconds: -1, terminationGracePeriodSeconds: 0}",
            "",
            &[
                "spec.containers[0].livenessProbe.grpc.port: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.containers[0].livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to \
             0",
                "spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
            ],
        ),
        (
            "readinessProbe: {tcpSocket: {port: web}, terminationGracePeriodSeconds: 5}",
            "",
            &[
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for \
             readinessProbes",
            ],
        ),
        (
            "lifecycle: {postStart: {}, preStop: {sleep: {seconds: 31}}}",
            "",
            &[
                "spec.containers[0].lifecycle.postStart: Required value: must specify a handler type",
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than \
             terminationGracePeriodSeconds (30)",
            ],
        ),
        ("lifecycle: {preStop: {sleep: {seconds: 0}}, stopSignal: SIGUSR1}", "", &[]),
    ]);
    let sidecar = "initContainers: [{name: i, image: x, restartPolicy: Always, readinessProbe: {}}]";
    assert_eq!(
        container_errors("", sidecar),
        ["spec.initContainers[0].readinessProbe: Required value: must specify a handler type"]
    );
    let plain = "initContainers: [{name: i, image: x, lifecycle: {}, readinessProbe: {}, startupProbe: {}}]";
    let rule = "Forbidden: may not be set for init containers without restartPolicy=Always";
    assert_eq!(
        container_errors("", plain),
        ["lifecycle", "readinessProbe", "startupProbe"].map(|field| format!("spec.initContainers[0].{field}: {rule}"))
    );
}

#[test]
fn restart_rules() {
    let many = vec!["{action: Restart, exitCodes: {operator: In, values: [1]}}"; 21].join(",");
    check_container(&[
        (
            "restartPolicy: Sometimes",
            "",
            &["spec.containers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
             \"Never\", \"OnFailure\""],
        ),
        (
            "restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]",
            "",
            &[
                "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
            ],
        ),
        (
            "restartPolicy: Never, restartPolicyRules: [{action: Jump}, {action: Restart, exitCodes: {operator: Near}}]",
            "",
            &[
                "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Jump\": supported values: \
             \"Restart\", \"RestartAllContainers\"",
                "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
                "spec.containers[0].restartPolicyRules[1].exitCodes.operator: Unsupported value: \"Near\": supported \
             values: \"In\", \"NotIn\"",
            ],
        ),
        (
            &format!("restartPolicy: Never, restartPolicyRules: [{many}]"),
            "",
            &["spec.containers[0].restartPolicyRules: Too many: 21: must have at most 20 items"],
        ),
        ("", "initContainers: [{name: i, image: x, restartPolicy: Never}]", &[]),
    ]);
}

#[test]
fn resource_rules() {
    check_container(&[
        (
            "resources: {limits: {cpu: -1}}",
            "",
            &[
                "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ],
        ),
        (
            "resources: {requests: {storage: 1}}",
            "",
            &[
                "spec.containers[0].resources.requests[storage]: Invalid value: \"storage\": must be a standard resource \
             for containers",
            ],
        ),
        (
            "resources: {requests: {ram: 1}}",
            "",
            &[
                "spec.containers[0].resources.requests[ram]: Invalid value: \"ram\": must be a standard resource type or \
             fully qualified",
                "spec.containers[0].resources.requests[ram]: Invalid value: \"ram\": must be a standard resource for \
             containers",
            ],
        ),
        (
            "resources: {requests: {example.com/gpu: 1}}",
            "",
            &[
                "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
            ],
        ),
        (
            "resources: {requests: {example.com/gpu: 1}, limits: {example.com/gpu: 2}}",
            "",
            &[
                "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2",
            ],
        ),
        (
            "resources: {claims: [{name: c}]}",
            "",
            &["spec.containers[0].resources.claims[0]: Not found: \"c\": must be one of the names in \
             pod.spec.resourceClaims which is empty"],
        ),
        ("resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: 1, memory: 1024Mi}}", "", &[]),
        (
            "resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]",
            "restartPolicy: Never",
            &["spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod \
             `restartPolicy` is 'Never'"],
        ),
    ]);
}

#[test]
fn security_rules() {
    check_container(&[
        (
            "securityContext: {runAsUser: 2147483648, runAsGroup: -1}",
            "",
            &[
                "spec.containers[0].securityContext.runAsUser: Invalid value: 2147483648: must be between 0 and \
             2147483647, inclusive",
                "spec.containers[0].securityContext.runAsGroup: Invalid value: -1: must be between 0 and 2147483647, \
             inclusive",
            ],
        ),
        (
            "securityContext: {allowPrivilegeEscalation: false, privileged: true}",
            "",
            &["spec.containers[0].securityContext: Invalid value: \
             {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false \
             and `privileged` to true"],
        ),
        (
            "securityContext: {procMount: Bare}",
            "",
            &[
                "spec.containers[0].securityContext.procMount: Unsupported value: \"Bare\": supported values: \"Default\", \
             \"Unmasked\"",
            ],
        ),
        (
            "terminationMessagePolicy: Telegram",
            "",
            &[
                "spec.containers[0].terminationMessagePolicy: Unsupported value: \"Telegram\": supported values: \"File\", \
             \"FallbackToLogsOnError\"",
            ],
        ),
    ]);
}
