//! What a native container is made of beyond what all have: its root filesystem as directories and files of the host, and
//! what the security contexts of the container and its pod say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, PodSecurityContext, SecurityContext};

use super::container::{StartError, TERMINATION_LOG_FILE};
use super::context::{PodContext, host_network};
use super::rootfs::{has_mount_at, image_volumes};
use super::{NodeConfig, run_directory};
use crate::api::qos::{QosClass, qos_class};
use crate::api::quantity::Quantity;
use crate::image::{Image, PlatformChoice, UnpackedImage};
use crate::pod::command;
use crate::pod::dns::{self, PodNames};
use crate::runtime::{
    LinuxContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig, Mount,
    Propagation, RootfsSpec, SeccompProfile, signal_number,
};
use crate::volume::{PodVolumes, clean_path};

/// Where in the data directory profiles of system calls are.
const SECCOMP_FOLDER: &str = "seccomp";

/// Processes and threads a container may have where nobody says otherwise, as with podman and CRI-O.
const PIDS_LIMIT: u64 = 2048;

/// What a native container's configuration is made of beside the container itself.
pub(super) struct Parts<'a> {
    pub(super) image: &'a Image,
    pub(super) volumes: &'a PodVolumes,
    /// Where what the container changes is kept; beside it are the files that the kubelet writes.
    pub(super) scratch: PathBuf,
    pub(super) names: &'a PodNames,
    /// Where in the container the termination message goes.
    pub(super) termination_path: &'a str,
}

/// A native container's configuration, and the file of its termination message.
pub(super) struct Native {
    pub(super) config: LinuxContainerConfig,
    pub(super) termination_log: PathBuf,
    /// Keeps the layers' directories.
    pub(super) unpacked: UnpackedImage,
}

/// Unpacks the image and writes the files that the kubelet manages. `variables` is what `subPathExpr` refers to. Reads and
/// writes files.
pub(super) fn build(
    context: &PodContext<'_>,
    container: &ContainerSpec,
    parts: Parts<'_>,
    variables: &[(String, String)],
) -> Result<Native, StartError> {
    let unpacked = context.config.images.unpack(&parts.image.reference, PlatformChoice::Linux);
    let unpacked = unpacked.map_err(StartError::create)?;
    let files = run_directory::managed_files(&parts.scratch);
    let termination_log = files.join(TERMINATION_LOG_FILE);
    let mut mounts = managed_files(context, container, &parts, &files).map_err(|error| {
        StartError::create(format!("cannot write the container's files in {}: {error}", files.display()))
    })?;
    mounts.extend(volumes(container, parts.volumes, variables)?);
    let own = container.security_context.clone().unwrap_or_default();
    let rootfs = RootfsSpec {
        layers: unpacked.directories.clone(),
        scratch: parts.scratch,
        read_only: own.read_only_root_filesystem == Some(true),
        writable: image_volumes(parts.image, container).map(Into::into).collect(),
        mounts,
    };
    let security = security(context, &own, &parts.image.config.user)?;
    let stop_signal = parts.image.config.stop_signal.as_deref().and_then(signal_number);
    let resources = resources(context, container);
    let config =
        LinuxContainerConfig { rootfs, security, resources, target: target(context.pod, container), stop_signal };
    Ok(Native { config, termination_log, unpacked })
}

/// The container whose processes an ephemeral one is to be among.
fn target(pod: &Pod, container: &ContainerSpec) -> Option<String> {
    let mut ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let own = ephemeral.find(|ephemeral| ephemeral.name == container.name)?;
    own.target_container_name.clone().filter(|name| !name.is_empty())
}

/// `/etc/hosts` and its like, but where volumes are mounted.
fn managed_files(
    context: &PodContext<'_>,
    container: &ContainerSpec,
    parts: &Parts<'_>,
    directory: &Path,
) -> std::io::Result<Vec<Mount>> {
    fs::create_dir_all(directory)?;
    let own_network = !host_network(context.pod);
    let hosts = if own_network {
        dns::hosts_file(context.pod, parts.names, &context.facts.pod_ips)
    } else {
        dns::host_network_hosts_file(context.pod, &context.config.host_hosts)
    };
    let files = [
        ("hosts", "/etc/hosts", hosts, 0o644),
        ("hostname", "/etc/hostname", dns::hostname_file(parts.names), 0o644),
        ("resolv.conf", "/etc/resolv.conf", context.resolv_conf(), 0o644),
        (TERMINATION_LOG_FILE, parts.termination_path, String::new(), 0o666),
    ];
    let mut mounts = Vec::new();
    for (name, target, content, mode) in files {
        let source = directory.join(name);
        fs::write(&source, content)?;
        fs::set_permissions(&source, fs::Permissions::from_mode(mode))?;
        if !has_mount_at(container, target) {
            mounts.push(Mount { source, target: clean_path(target).into(), ..Mount::default() });
        }
    }
    Ok(mounts)
}

fn volumes(
    container: &ContainerSpec,
    volumes: &PodVolumes,
    variables: &[(String, String)],
) -> Result<Vec<Mount>, StartError> {
    let specs = container.volume_mounts.as_deref().unwrap_or_default();
    let sub_path = |expression: &str| command::sub_path(expression, variables).map_err(|missing| missing.to_string());
    let mounts = volumes.host_mounts_for(&container.name, specs, &sub_path).map_err(StartError::config)?;
    let mount = |(mount, spec): (crate::volume::HostMount, &k8s_openapi::api::core::v1::VolumeMount)| Mount {
        source: mount.source,
        sub_path: mount.sub_path,
        target: mount.path.into(),
        read_only: mount.read_only,
        propagation: match spec.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::None,
        },
    };
    Ok(mounts.into_iter().zip(specs).map(mount).collect())
}

/// Fields of the container come before those of the pod, one by one (kubelet v1.36 `DetermineEffectiveSecurityContext`).
fn security(
    context: &PodContext<'_>,
    own: &SecurityContext,
    image_user: &str,
) -> Result<LinuxContainerSecurityContext, StartError> {
    let shared = context.pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let id = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let capabilities = own.capabilities.clone().unwrap_or_default();
    Ok(LinuxContainerSecurityContext {
        run_as_user: id(own.run_as_user.or(shared.run_as_user)),
        run_as_group: id(own.run_as_group.or(shared.run_as_group)),
        image_user: image_user.to_owned(),
        supplemental_groups: groups(&shared),
        strict_groups: shared.supplemental_groups_policy.as_deref() == Some("Strict"),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        privileged: own.privileged == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp: seccomp(own, &shared, &context.config.data_dir)?,
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    })
}

fn groups(shared: &PodSecurityContext) -> Vec<u32> {
    let groups = shared.supplemental_groups.iter().flatten().chain(shared.fs_group.as_ref());
    groups.filter_map(|group| u32::try_from(*group).ok()).collect()
}

// Differs from Kubernetes: where nobody says anything, RuntimeDefault, as podman has it and `SeccompDefault` makes it.
fn seccomp(
    own: &SecurityContext,
    shared: &PodSecurityContext,
    data_directory: &Path,
) -> Result<SeccompProfile, StartError> {
    let Some(profile) = own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref()) else {
        return Ok(SeccompProfile::RuntimeDefault);
    };
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Unconfined", _) => Ok(SeccompProfile::Unconfined),
        // A kubelet looks in the same directory of its root's.
        ("Localhost", Some(path)) => Ok(SeccompProfile::Localhost(data_directory.join(SECCOMP_FOLDER).join(path))),
        ("Localhost", None) => Err(StartError::config("seccompProfile Localhost: localhostProfile is not set")),
        _ => Ok(SeccompProfile::RuntimeDefault),
    }
}

fn resources(context: &PodContext<'_>, container: &ContainerSpec) -> LinuxContainerResources {
    let amount = |name: &str| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        Quantity::of(requests.get(name)?).ok()
    };
    let cpu = amount("cpu").and_then(|cpu| u64::try_from(cpu.milli_value()).ok());
    let memory = amount("memory").and_then(|memory| u64::try_from(memory.value()).ok()).unwrap_or_default();
    LinuxContainerResources {
        cpu_request_millis: cpu,
        pids_limit: Some(PIDS_LIMIT),
        oom_score_adj: oom_score_adjustment(context.pod, memory, context.config.allocatable_memory),
    }
}

/// How readily the kernel kills a container when memory is short (kubelet v1.36 `GetContainerOOMScoreAdjust`).
fn oom_score_adjustment(pod: &Pod, requested: u64, capacity: u64) -> i32 {
    let Some(spec) = &pod.spec else { return 1000 };
    match qos_class(spec) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let used = requested.saturating_mul(1000) / capacity.max(1);
            let adjustment = 1000_i64.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX));
            i32::try_from(adjustment.clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// What native containers need of their pod. `directory` is the sandbox's own, within the pod's.
pub(super) fn pod_sandbox(
    config: &NodeConfig,
    pod: &Pod,
    domain: Option<&str>,
    directory: PathBuf,
) -> LinuxPodSandboxConfig {
    let spec = pod.spec.as_ref();
    let security = spec.and_then(|spec| spec.security_context.as_ref());
    let sysctls = security.and_then(|security| security.sysctls.as_ref()).into_iter().flatten();
    LinuxPodSandboxConfig {
        directory,
        domainname: domain.map(str::to_owned),
        host_network: host_network(pod),
        host_pid: spec.and_then(|spec| spec.host_pid) == Some(true),
        host_ipc: spec.and_then(|spec| spec.host_ipc) == Some(true),
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        shm_bytes: 0,
        adoptable: config.adoptable,
    }
}
