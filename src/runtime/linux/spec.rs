//! From a container's configuration to what its sandbox process is told: rights, what is hidden, who it is.

use std::fs;

use super::capability::Capabilities;
use super::protocol::{CgroupSpec, IdentitySpec, Key, Label, PrivilegesSpec, ProcessSpec, RunSpec, SystemView};
use super::{seccomp, user_namespace};
use crate::runtime::{ContainerConfig, LinuxContainerConfig, LinuxContainerSecurityContext, RuntimeError};

/// Files and directories of `/proc` and `/sys` that tell of the host, or can do it harm (those of CRI runtimes and podman).
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Those that can be read but not written to.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The largest ID that this process's user namespace maps, counting from 0 without a gap.
pub(super) fn last_mapped_id() -> u32 {
    let last = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut ranges: Vec<(u64, u64)> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
            })
            .collect();
        ranges.sort_unstable();
        ranges
            .into_iter()
            .fold(0, |end, (first, count)| if first == end { first + count } else { end })
            .saturating_sub(1)
    };
    u32::try_from(last("/proc/self/uid_map").min(last("/proc/self/gid_map"))).unwrap_or(u32::MAX)
}

/// What runs as a container's main process.
pub(super) fn run_spec(
    key: Key,
    config: &ContainerConfig,
    linux: &LinuxContainerConfig,
    cgroups: Vec<CgroupSpec>,
) -> Result<RunSpec, RuntimeError> {
    let process = ProcessSpec {
        argv: config.argv.clone(),
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        terminal: terminal(config),
        stdin: config.stdin.is_some(),
        identity: identity(&linux.security),
        privileges: privileges(linux)?,
        cgroups,
    };
    let label = Label {
        id: config.id.0.clone(),
        name: config.name.clone(),
        attempt: config.attempt,
        directory: linux.rootfs.scratch.clone(),
    };
    let (rootfs, view, target) = (linux.rootfs.clone(), view(&linux.security)?, linux.target.clone());
    Ok(RunSpec { key, label, process, rootfs, view, target })
}

fn terminal(config: &ContainerConfig) -> Option<(u16, u16)> {
    config.tty.then(|| config.terminal_size.map_or((0, 0), |size| (size.rows, size.columns)))
}

fn identity(security: &LinuxContainerSecurityContext) -> IdentitySpec {
    IdentitySpec {
        user: security.run_as_user,
        group: security.run_as_group,
        image_user: security.image_user.clone(),
        supplemental_groups: security.supplemental_groups.clone(),
        strict_groups: security.strict_groups,
        may_set_groups: fs::read_to_string("/proc/self/setgroups").map_or(true, |text| text.trim() != "deny"),
        last_id: last_mapped_id(),
    }
}

fn privileges(linux: &LinuxContainerConfig) -> Result<PrivilegesSpec, RuntimeError> {
    let security = &linux.security;
    let capabilities = if security.privileged {
        Capabilities::ALL
    } else {
        let resolved = Capabilities::resolve(&security.add_capabilities, &security.drop_capabilities);
        resolved.map_err(|error| RuntimeError::Failed(error.to_string()))?
    };
    let seccomp = if security.privileged { None } else { seccomp::filter(&security.seccomp, capabilities)? };
    Ok(PrivilegesSpec {
        capabilities: capabilities.0,
        no_new_privileges: security.no_new_privileges && !security.privileged,
        seccomp: seccomp.map(|filter| filter.to_string()),
        oom_score_adj: linux.resources.oom_score_adj,
    })
}

fn view(security: &LinuxContainerSecurityContext) -> Result<SystemView, RuntimeError> {
    // What is masked protects the system from its root, and no user namespace does.
    if security.unmasked_proc && !security.privileged && !user_namespace::is_inside() {
        return Err(RuntimeError::Failed(
            "procMount Unmasked would give the container the host's /proc/sys: run husk without root, or the container privileged"
                .to_owned(),
        ));
    }
    let hides = !security.privileged && !security.unmasked_proc;
    let paths = |all: &[&str]| all.iter().filter(|_| hides).map(|path| (*path).to_owned()).collect();
    Ok(SystemView { privileged: security.privileged, masked: paths(&MASKED), read_only: paths(&READ_ONLY) })
}
