//! Which namespace of Linux a kernel parameter belongs to.

/// A namespace that has kernel parameters of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlNamespace {
    /// That of the network.
    Network,
    /// That of System V and POSIX communication.
    Ipc,
    /// That of the hostname.
    Uts,
}

/// The namespace of a kernel parameter, named with dots; `None` if all of the system has it in common (kubelet v1.36
/// `sysctl.GetNamespace`, and besides the names that a host has).
pub fn namespace_of(name: &str) -> Option<SysctlNamespace> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if begins(&["net."]) {
        Some(SysctlNamespace::Network)
    } else if name == "kernel.sem" || begins(&["kernel.shm", "kernel.msg", "fs.mqueue."]) {
        Some(SysctlNamespace::Ipc)
    } else if matches!(name, "kernel.hostname" | "kernel.domainname") {
        Some(SysctlNamespace::Uts)
    } else {
        None
    }
}
