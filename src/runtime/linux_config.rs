//! What a pod sandbox and a container on the Linux runtime are made of beyond what all have: namespaces, the root
//! filesystem, rights, resources. The names are those of CRI (`LinuxPodSandboxConfig`, `LinuxContainerConfig`).
//!
//! Plain data, on every system, so that the node can be built anywhere; `runtime::linux` acts on it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A pod's namespaces and what is set in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxPodSandboxConfig {
    /// The sandbox's own directory, within the pod's: mount points, and the socket through which another agent takes it up.
    pub directory: PathBuf,
    /// The domain of the pod's hostname, as `domainname` says it.
    pub domainname: Option<String>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.hostPID`.
    pub host_pid: bool,
    /// `spec.hostIPC`.
    pub host_ipc: bool,
    /// `spec.securityContext.sysctls`: names with dots, and values.
    pub sysctls: Vec<(String, String)>,
    /// How much `/dev/shm` holds; 0 is 64 MiB, as everywhere.
    pub shm_bytes: u64,
    /// Whether the pod's native containers outlive the agent and wait for the next one; else they die with it.
    pub adoptable: bool,
}

/// A native container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxContainerConfig {
    /// Its root filesystem.
    pub rootfs: RootfsSpec,
    /// Who it runs as and what it may do.
    pub security: LinuxContainerSecurityContext,
    /// What it may use, beyond memory and CPU of the container's configuration.
    pub resources: LinuxContainerResources,
    /// `targetContainerName` of an ephemeral container: the container whose processes it is to be among.
    pub target: Option<String>,
    /// The number of the image's `StopSignal`, which the container gets instead of TERM; see [`signal_number`].
    pub stop_signal: Option<i32>,
}

/// The number of a signal on Linux, by its name (with or without `SIG`, such as `SIGRTMIN+3`) or number.
pub fn signal_number(text: &str) -> Option<i32> {
    /// By number, from 1 on.
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    /// The first and the last of the real-time signals that the C library leaves to programs.
    const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
    let text = text.trim().to_ascii_uppercase();
    if let Ok(number) = text.parse() {
        return (1..=*REAL_TIME.end()).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let real_time = |base: i32, rest: &str| {
        let number = if rest.is_empty() { base } else { base + rest.parse::<i32>().ok()? };
        REAL_TIME.contains(&number).then_some(number)
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(*REAL_TIME.start(), rest);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(*REAL_TIME.end(), rest);
    }
    let position = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(position + 1).ok()
}

/// A container's root filesystem: image layers, what is mounted over them, and where changes go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsSpec {
    /// Directories with the image's unpacked layers, the lowest first, whiteouts as overlayfs has them.
    pub layers: Vec<PathBuf>,
    /// A directory of the container's own, which is created: what it changes goes there.
    pub scratch: PathBuf,
    /// `readOnlyRootFilesystem`.
    pub read_only: bool,
    /// Directories of the image's that are made if they are missing, and can be written to in any case (`VOLUME`).
    pub writable: Vec<PathBuf>,
    /// Mounts beside those every container has, in this order.
    pub mounts: Vec<Mount>,
}

/// A file or directory of the host mounted in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The host's file or directory.
    pub source: PathBuf,
    /// `subPath`, which must be there and which no symbolic link may lead out of `source`.
    pub sub_path: Option<PathBuf>,
    /// Where in the container; created if missing.
    pub target: PathBuf,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// `mountPropagation`.
    pub propagation: Propagation,
}

/// What becomes of mounts that are made in a volume later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// They stay where they were made.
    #[default]
    None,
    /// The host's show in the container.
    HostToContainer,
    /// Those of either show in the other.
    Bidirectional,
}

/// Who a container runs as and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxContainerSecurityContext {
    /// `runAsUser`.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`.
    pub run_as_group: Option<u32>,
    /// The image's `User`: `uid`, `name`, either with `:group`; empty is root.
    pub image_user: String,
    /// `supplementalGroups`, and `fsGroup` with them.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: the image's `/etc/group` adds none.
    pub strict_groups: bool,
    /// `capabilities.add`, such as `NET_ADMIN` or `ALL`.
    pub add_capabilities: Vec<String>,
    /// `capabilities.drop`.
    pub drop_capabilities: Vec<String>,
    /// `privileged`.
    pub privileged: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `seccompProfile`.
    pub seccomp: SeccompProfile,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Those the runtime's own profile allows.
    #[default]
    RuntimeDefault,
    /// All.
    Unconfined,
    /// Those the profile in this file of the host allows, which is JSON as the OCI runtime specification has it.
    Localhost(PathBuf),
}

/// Limits of a native container beyond memory and CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxContainerResources {
    /// `resources.requests.cpu` in thousandths of a core: its share where the processors are short.
    pub cpu_request_millis: Option<u64>,
    /// How many processes and threads it may have.
    pub pids_limit: Option<u64>,
    /// How readily the kernel kills it when memory is short (kubelet's `oom_score_adj` by quality of service).
    pub oom_score_adj: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, expected) in [
            ("SIGQUIT", Some(3)),
            ("term", Some(15)),
            ("SIGWINCH", Some(28)),
            ("SYS", Some(31)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN+31", None),
            ("9", Some(9)),
            ("65", None),
            ("0", None),
            ("SIGNOTHING", None),
            ("", None),
        ] {
            assert_eq!(signal_number(text), expected, "{text}");
        }
    }
}
