//! The table: one line for each field of the Pod type and what becomes of it. Change a line here when a runtime learns
//! something, and regenerate `docs/pod-fields.md`.

use super::{Row, Support, When};

/// The same on both runtimes, until [`Row::linux`] says otherwise.
const fn row(path: &'static str, support: Support) -> Row {
    Row { path, when: When::Set, wasm: support, linux: support }
}

const fn yes(path: &'static str) -> Row {
    row(path, Support::Honoured(""))
}

const fn yes_because(path: &'static str, how: &'static str) -> Row {
    row(path, Support::Honoured(how))
}

const fn warned(path: &'static str, meaning: &'static str) -> Row {
    row(path, Support::Warned(meaning))
}

const fn refused(path: &'static str, reason: &'static str) -> Row {
    row(path, Support::Refused(reason))
}

/// A kind of volume, refused even when nothing is set in it.
const fn refused_volume(path: &'static str, reason: &'static str) -> Row {
    refused(path, reason).when(When::Present)
}

impl Row {
    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// What native containers do.
    const fn linux(self, linux: Support) -> Self {
        Self { linux, ..self }
    }

    /// Native containers honour it.
    const fn native(self) -> Self {
        self.linux(Support::Honoured(""))
    }
}

const SECCOMP_PROFILES: &str = "localhostProfile is a file below `seccomp` in the data directory";
const OWN: &str = "husk sets this itself; what is written is dropped";
const ONE_NODE: &str = "ignored: there is one machine, and every pod runs on it";
const PROBES: &str = "exec, httpGet, tcpSocket and grpc, over the pod's own network";
const HOOKS: &str = "exec, httpGet and sleep; tcpSocket fails, as in Kubernetes";
const WORKING_DIR: &str = "in $PWD: WASI has no working directory, so programs go there themselves";
const NO_USERS: &str = "ignored: there are no users inside the sandbox";
const NON_ROOT: &str = "a container whose runAsUser or image says root is not started";
const ONLY_FILE: &str = "written to /etc/resolv.conf only: lookups of the sandbox itself do without it";
const NO_CLOUD: &str = "volumes of network and cloud storage are not supported; use hostPath, emptyDir or a claim";
const NO_DEVICES: &str = "there are no devices inside the sandbox";
const NO_HOST_NAMESPACES: &str = "a WebAssembly container shares no namespace with the host";
const NO_KERNEL: &str = "a WebAssembly container makes no system calls that this could govern";
const NO_APP_ARMOR: &str = "husk loads no AppArmor profiles";
const NO_SE_LINUX: &str = "ignored: husk sets no SELinux labels";
const NO_BLOCK_DEVICES: &str = "block devices are not given to containers";
const ONE_USER_NAMESPACE: &str =
    "ignored: all pods have the users of husk's own user namespace, which are the host's where husk runs as root";
const NO_WINDOWS: &str = "there are no Windows containers";
const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const NO_STORAGE_LIMIT: &str = "ignored: disk use is bounded by husk's own limits";
const NO_EXTENDED: &str = "only cpu and memory exist here";

/// What becomes of each field, in the order of the documentation.
pub const TABLE: &[Row] = &[
    yes("apiVersion"),
    yes("kind"),
    // metadata
    yes("metadata.name"),
    yes("metadata.generateName"),
    yes("metadata.namespace"),
    yes("metadata.labels"),
    yes("metadata.annotations"),
    warned("metadata.finalizers", "kept, but nothing acts on it"),
    warned("metadata.ownerReferences.**", "kept, but nothing acts on it"),
    warned("metadata.uid", OWN),
    warned("metadata.resourceVersion", OWN),
    warned("metadata.generation", OWN),
    warned("metadata.creationTimestamp", OWN),
    warned("metadata.deletionTimestamp", OWN),
    warned("metadata.deletionGracePeriodSeconds", OWN),
    warned("metadata.selfLink", OWN),
    warned("metadata.managedFields.**", OWN),
    // spec: lifecycle
    yes("spec.restartPolicy"),
    yes("spec.terminationGracePeriodSeconds"),
    yes("spec.activeDeadlineSeconds"),
    warned("spec.readinessGates.**", "nothing sets such conditions here, so the pod does not become Ready"),
    refused("spec.schedulingGates.**", "nothing removes scheduling gates here, so the pod would never start"),
    refused(
        "spec.ephemeralContainers.**",
        "ephemeral containers are added to pods that run, not written into their manifests",
    ),
    // spec: containers
    yes("spec.containers[*].name"),
    yes("spec.containers[*].image"),
    yes_because(
        "spec.containers[*].imagePullPolicy",
        "images that were imported, loaded or built, and those in the binary, are used as they are, even for Always",
    ),
    yes("spec.containers[*].command"),
    yes("spec.containers[*].args"),
    yes_because("spec.containers[*].workingDir", WORKING_DIR).native(),
    yes("spec.containers[*].env[*].name"),
    yes("spec.containers[*].env[*].value"),
    yes("spec.containers[*].env[*].valueFrom.fieldRef.apiVersion"),
    yes("spec.containers[*].env[*].valueFrom.fieldRef.fieldPath"),
    yes("spec.containers[*].env[*].valueFrom.resourceFieldRef.containerName"),
    yes("spec.containers[*].env[*].valueFrom.resourceFieldRef.resource"),
    yes("spec.containers[*].env[*].valueFrom.resourceFieldRef.divisor"),
    yes("spec.containers[*].env[*].valueFrom.configMapKeyRef.name"),
    yes("spec.containers[*].env[*].valueFrom.configMapKeyRef.key"),
    yes("spec.containers[*].env[*].valueFrom.configMapKeyRef.optional"),
    yes("spec.containers[*].env[*].valueFrom.secretKeyRef.name"),
    yes("spec.containers[*].env[*].valueFrom.secretKeyRef.key"),
    yes("spec.containers[*].env[*].valueFrom.secretKeyRef.optional"),
    refused_volume("spec.containers[*].env[*].valueFrom.fileKeyRef.**", "variables cannot be read from files yet"),
    yes("spec.containers[*].envFrom[*].prefix"),
    yes("spec.containers[*].envFrom[*].configMapRef.name"),
    yes("spec.containers[*].envFrom[*].configMapRef.optional"),
    yes("spec.containers[*].envFrom[*].secretRef.name"),
    yes("spec.containers[*].envFrom[*].secretRef.optional"),
    yes("spec.containers[*].ports[*].name"),
    yes("spec.containers[*].ports[*].containerPort"),
    yes("spec.containers[*].ports[*].protocol"),
    refused("spec.containers[*].ports[*].protocol", "the pod network has TCP and UDP only").when(When::Is("SCTP")),
    yes_because(
        "spec.containers[*].ports[*].hostPort",
        "published on hostIP, or on the host's loopback; not for init containers that run to completion",
    ),
    yes("spec.containers[*].ports[*].hostIP"),
    yes_because("spec.containers[*].resources.limits", "memory and cpu are enforced")
        .linux(Support::Honoured("memory and cpu are enforced where control groups can be made; an event says if not")),
    warned("spec.containers[*].resources.limits", NO_STORAGE_LIMIT).when(When::Key("ephemeral-storage")),
    refused("spec.containers[*].resources.limits", NO_EXTENDED).when(When::KeyOutside(COMPUTE)),
    yes_because("spec.containers[*].resources.requests", "they decide the QoS class and what resourceFieldRef shows"),
    refused("spec.containers[*].resources.requests", NO_EXTENDED).when(When::KeyOutside(COMPUTE)),
    refused("spec.containers[*].resources.claims.**", NO_DEVICES),
    yes("spec.containers[*].resizePolicy[*].resourceName"),
    yes("spec.containers[*].resizePolicy[*].restartPolicy"),
    yes("spec.containers[*].restartPolicy"),
    yes("spec.containers[*].restartPolicyRules[*].action"),
    yes("spec.containers[*].restartPolicyRules[*].exitCodes.operator"),
    yes("spec.containers[*].restartPolicyRules[*].exitCodes.values"),
    yes("spec.containers[*].volumeMounts[*].name"),
    yes("spec.containers[*].volumeMounts[*].mountPath"),
    yes("spec.containers[*].volumeMounts[*].readOnly"),
    yes_because("spec.containers[*].volumeMounts[*].recursiveReadOnly", "readOnly always is recursive"),
    yes("spec.containers[*].volumeMounts[*].subPath"),
    yes("spec.containers[*].volumeMounts[*].subPathExpr"),
    warned(
        "spec.containers[*].volumeMounts[*].mountPropagation",
        "ignored: mounts do not change while a container runs",
    )
    .when(When::Not("None"))
    .native(),
    refused("spec.containers[*].volumeDevices.**", NO_DEVICES).linux(Support::Refused(NO_BLOCK_DEVICES)),
    yes_because("spec.containers[*].livenessProbe.**", PROBES),
    yes_because("spec.containers[*].readinessProbe.**", PROBES),
    yes_because("spec.containers[*].startupProbe.**", PROBES),
    yes_because("spec.containers[*].lifecycle.postStart.**", HOOKS),
    yes_because("spec.containers[*].lifecycle.preStop.**", HOOKS),
    warned("spec.containers[*].lifecycle.stopSignal", "dropped, as in Kubernetes, where its feature gate is off"),
    yes("spec.containers[*].terminationMessagePath"),
    yes("spec.containers[*].terminationMessagePolicy"),
    yes_because(
        "spec.containers[*].stdin",
        "what is attached to it; `husk run` gives the first app container that asks its own, and others the end of it",
    ),
    yes("spec.containers[*].stdinOnce"),
    yes("spec.containers[*].tty"),
    yes_because(
        "spec.containers[*].securityContext.allowPrivilegeEscalation",
        "there are no privileges to gain inside the sandbox",
    )
    .native(),
    refused("spec.containers[*].securityContext.appArmorProfile.**", NO_KERNEL).linux(Support::Refused(NO_APP_ARMOR)),
    refused("spec.containers[*].securityContext.capabilities.add", "a WebAssembly container cannot have capabilities")
        .native(),
    yes_because("spec.containers[*].securityContext.capabilities.drop", "a WebAssembly container has no capabilities")
        .native(),
    refused(
        "spec.containers[*].securityContext.privileged",
        "a WebAssembly container never leaves its sandbox, so it cannot be privileged",
    )
    .when(When::True)
    .linux(Support::Honoured("only where husk runs as root")),
    refused("spec.containers[*].securityContext.procMount", "there is no /proc to unmask")
        .when(When::Not("Default"))
        .linux(Support::Honoured("only where husk does not run as root, unless the container is privileged")),
    yes_because("spec.containers[*].securityContext.readOnlyRootFilesystem", "the root is mounted read-only").native(),
    warned("spec.containers[*].securityContext.runAsUser", NO_USERS).native(),
    warned("spec.containers[*].securityContext.runAsGroup", NO_USERS).native(),
    yes_because("spec.containers[*].securityContext.runAsNonRoot", NON_ROOT),
    refused("spec.containers[*].securityContext.seLinuxOptions.**", NO_KERNEL).linux(Support::Warned(NO_SE_LINUX)),
    warned("spec.containers[*].securityContext.seccompProfile.**", NO_KERNEL)
        .linux(Support::Honoured(SECCOMP_PROFILES)),
    refused("spec.containers[*].securityContext.windowsOptions.**", NO_WINDOWS),
    // spec: volumes
    yes("spec.volumes[*].name"),
    yes_because("spec.volumes[*].emptyDir.medium", "Memory is kept in memory, within its limit"),
    refused("spec.volumes[*].emptyDir.medium", "there are no huge pages").when(When::Prefix("HugePages")),
    yes_because("spec.volumes[*].emptyDir.sizeLimit", "writes past it fail, so that no pod needs to be evicted"),
    yes("spec.volumes[*].hostPath.path"),
    yes("spec.volumes[*].hostPath.type"),
    yes("spec.volumes[*].configMap.name"),
    yes("spec.volumes[*].configMap.items[*].key"),
    yes("spec.volumes[*].configMap.items[*].path"),
    yes("spec.volumes[*].configMap.items[*].mode"),
    yes("spec.volumes[*].configMap.defaultMode"),
    yes("spec.volumes[*].configMap.optional"),
    yes("spec.volumes[*].secret.secretName"),
    yes("spec.volumes[*].secret.items[*].key"),
    yes("spec.volumes[*].secret.items[*].path"),
    yes("spec.volumes[*].secret.items[*].mode"),
    yes("spec.volumes[*].secret.defaultMode"),
    yes("spec.volumes[*].secret.optional"),
    yes("spec.volumes[*].downwardAPI.items[*].path"),
    yes("spec.volumes[*].downwardAPI.items[*].mode"),
    yes("spec.volumes[*].downwardAPI.items[*].fieldRef.apiVersion"),
    yes("spec.volumes[*].downwardAPI.items[*].fieldRef.fieldPath"),
    yes("spec.volumes[*].downwardAPI.items[*].resourceFieldRef.containerName"),
    yes("spec.volumes[*].downwardAPI.items[*].resourceFieldRef.resource"),
    yes("spec.volumes[*].downwardAPI.items[*].resourceFieldRef.divisor"),
    yes("spec.volumes[*].downwardAPI.defaultMode"),
    yes("spec.volumes[*].projected.defaultMode"),
    yes("spec.volumes[*].projected.sources[*].configMap.name"),
    yes("spec.volumes[*].projected.sources[*].configMap.items[*].key"),
    yes("spec.volumes[*].projected.sources[*].configMap.items[*].path"),
    yes("spec.volumes[*].projected.sources[*].configMap.items[*].mode"),
    yes("spec.volumes[*].projected.sources[*].configMap.optional"),
    yes("spec.volumes[*].projected.sources[*].secret.name"),
    yes("spec.volumes[*].projected.sources[*].secret.items[*].key"),
    yes("spec.volumes[*].projected.sources[*].secret.items[*].path"),
    yes("spec.volumes[*].projected.sources[*].secret.items[*].mode"),
    yes("spec.volumes[*].projected.sources[*].secret.optional"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].path"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].mode"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].fieldRef.apiVersion"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].fieldRef.fieldPath"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef.containerName"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef.resource"),
    yes("spec.volumes[*].projected.sources[*].downwardAPI.items[*].resourceFieldRef.divisor"),
    refused_volume(
        "spec.volumes[*].projected.sources[*].serviceAccountToken.**",
        "there is no API server yet that could issue tokens",
    ),
    refused_volume("spec.volumes[*].projected.sources[*].clusterTrustBundle.**", "there are no trust bundles here"),
    refused_volume("spec.volumes[*].projected.sources[*].podCertificate.**", "there is no certificate signer here"),
    yes_because("spec.volumes[*].persistentVolumeClaim.claimName", "a claim is a directory kept under its name"),
    yes("spec.volumes[*].persistentVolumeClaim.readOnly"),
    refused_volume("spec.volumes[*].image.**", "image volumes are not supported yet"),
    refused_volume("spec.volumes[*].ephemeral.**", "claims are not made from templates yet; write the claim itself"),
    refused_volume("spec.volumes[*].awsElasticBlockStore.**", NO_CLOUD),
    refused_volume("spec.volumes[*].azureDisk.**", NO_CLOUD),
    refused_volume("spec.volumes[*].azureFile.**", NO_CLOUD),
    refused_volume("spec.volumes[*].cephfs.**", NO_CLOUD),
    refused_volume("spec.volumes[*].cinder.**", NO_CLOUD),
    refused_volume("spec.volumes[*].csi.**", NO_CLOUD),
    refused_volume("spec.volumes[*].fc.**", NO_CLOUD),
    refused_volume("spec.volumes[*].flexVolume.**", NO_CLOUD),
    refused_volume("spec.volumes[*].flocker.**", NO_CLOUD),
    refused_volume("spec.volumes[*].gcePersistentDisk.**", NO_CLOUD),
    refused_volume("spec.volumes[*].gitRepo.**", "gitRepo is gone from Kubernetes; clone in an init container"),
    refused_volume("spec.volumes[*].glusterfs.**", NO_CLOUD),
    refused_volume("spec.volumes[*].iscsi.**", NO_CLOUD),
    refused_volume("spec.volumes[*].nfs.**", NO_CLOUD),
    refused_volume("spec.volumes[*].photonPersistentDisk.**", NO_CLOUD),
    refused_volume("spec.volumes[*].portworxVolume.**", NO_CLOUD),
    refused_volume("spec.volumes[*].quobyte.**", NO_CLOUD),
    refused_volume("spec.volumes[*].rbd.**", NO_CLOUD),
    refused_volume("spec.volumes[*].scaleIO.**", NO_CLOUD),
    refused_volume("spec.volumes[*].storageos.**", NO_CLOUD),
    refused_volume("spec.volumes[*].vsphereVolume.**", NO_CLOUD),
    // spec: identity and network
    yes("spec.hostname"),
    yes("spec.hostnameOverride"),
    yes("spec.setHostnameAsFQDN"),
    yes("spec.subdomain"),
    yes("spec.hostAliases[*].ip"),
    yes("spec.hostAliases[*].hostnames"),
    yes("spec.dnsPolicy"),
    yes("spec.dnsConfig.nameservers"),
    yes("spec.dnsConfig.searches"),
    yes("spec.dnsConfig.options[*].name"),
    warned("spec.dnsConfig.options[*].name", ONLY_FILE).when(When::Not("ndots")),
    yes("spec.dnsConfig.options[*].value"),
    yes("spec.enableServiceLinks"),
    yes_because("spec.serviceAccountName", "a name that containers can ask for; it comes with no token yet"),
    yes_because("spec.serviceAccount", "the old name of serviceAccountName"),
    yes("spec.automountServiceAccountToken"),
    warned("spec.automountServiceAccountToken", "no token is mounted while there is no API server").when(When::True),
    refused("spec.hostNetwork", NO_HOST_NAMESPACES).when(When::True).native(),
    refused("spec.hostPID", NO_HOST_NAMESPACES).when(When::True).native(),
    refused("spec.hostIPC", NO_HOST_NAMESPACES).when(When::True).native(),
    yes_because("spec.hostUsers", "the sandbox has no users, so it has none of the host's")
        .linux(Support::Honoured("")),
    yes_because("spec.hostUsers", "the sandbox has no users, so it has none of the host's")
        .when(When::False)
        .linux(Support::Warned(ONE_USER_NAMESPACE)),
    yes("spec.shareProcessNamespace"),
    // spec: security
    refused("spec.securityContext.appArmorProfile.**", NO_KERNEL).linux(Support::Refused(NO_APP_ARMOR)),
    yes_because(
        "spec.securityContext.fsGroup",
        "files of volumes get the group, where the host permits, and its mode bits",
    ),
    yes("spec.securityContext.fsGroupChangePolicy"),
    warned("spec.securityContext.runAsUser", NO_USERS).native(),
    warned("spec.securityContext.runAsGroup", NO_USERS).native(),
    yes_because("spec.securityContext.runAsNonRoot", NON_ROOT),
    refused("spec.securityContext.seLinuxChangePolicy", NO_KERNEL).linux(Support::Warned(NO_SE_LINUX)),
    refused("spec.securityContext.seLinuxOptions.**", NO_KERNEL).linux(Support::Warned(NO_SE_LINUX)),
    warned("spec.securityContext.seccompProfile.**", NO_KERNEL).linux(Support::Honoured(SECCOMP_PROFILES)),
    warned("spec.securityContext.supplementalGroups", NO_USERS).native(),
    warned("spec.securityContext.supplementalGroupsPolicy", NO_USERS).native(),
    refused("spec.securityContext.sysctls.**", NO_KERNEL).native(),
    refused("spec.securityContext.windowsOptions.**", NO_WINDOWS),
    // spec: where and with what it runs
    yes("spec.imagePullSecrets.**"),
    warned("spec.nodeName", ONE_NODE),
    warned("spec.nodeSelector", ONE_NODE),
    warned("spec.affinity.**", ONE_NODE),
    warned("spec.tolerations.**", ONE_NODE),
    warned("spec.topologySpreadConstraints.**", ONE_NODE),
    warned("spec.schedulerName", ONE_NODE),
    warned("spec.schedulingGroup.**", ONE_NODE),
    warned("spec.priority", ONE_NODE),
    warned("spec.priorityClassName", ONE_NODE),
    warned("spec.preemptionPolicy", ONE_NODE),
    warned("spec.overhead", ONE_NODE),
    yes_because("spec.runtimeClassName", "wasm and linux; where it is not set, the runtime follows from each image"),
    yes("spec.os.name"),
    refused("spec.os.name", NO_WINDOWS).when(When::Is("windows")),
    warned("spec.resources.limits", "limits of the pod as a whole are not enforced yet"),
    yes_because("spec.resources.requests", "they decide the QoS class"),
    refused("spec.resources.claims.**", NO_DEVICES),
    refused("spec.resourceClaims.**", NO_DEVICES),
    warned("status.**", "dropped: a pod begins with a status of its own"),
];
