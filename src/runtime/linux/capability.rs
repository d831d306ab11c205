//! Capabilities by name, and those a container has unless it says otherwise.

/// All that Linux has, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those of a container that adds and drops none: podman's, which are Docker's without `AUDIT_WRITE`, `MKNOD` and
/// `NET_RAW`.
const DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A set of capabilities, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities(pub(super) u64);

/// A name that is no capability's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {0:?}")]
pub(super) struct UnknownCapability(String);

impl Capabilities {
    /// Every one.
    pub(super) const ALL: Self = Self(u64::MAX);

    /// The default ones with `add` and without `drop`. `ALL` in either stands for every one, and single names count
    /// after it (kubelet and containerd v2: `ALL` first, then the rest; what is dropped by name is dropped).
    pub(super) fn resolve(add: &[String], drop: &[String]) -> Result<Self, UnknownCapability> {
        let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
        let mut set = DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |set, bit| set | bit);
        if drop.iter().any(is_all) {
            set = 0;
        }
        if add.iter().any(is_all) {
            set = Self::ALL.0;
        }
        for name in add.iter().filter(|name| !is_all(name)) {
            set |= bit(name).ok_or_else(|| UnknownCapability(name.clone()))?;
        }
        for name in drop.iter().filter(|name| !is_all(name)) {
            set &= !bit(name).ok_or_else(|| UnknownCapability(name.clone()))?;
        }
        Ok(Self(set))
    }

    /// Whether it is in the set.
    pub(super) fn has(self, name: &str) -> bool {
        bit(name).is_some_and(|bit| self.0 & bit != 0)
    }
}

/// The bit of a capability, whose name may begin with `CAP_`.
fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(add: &[&str], drop: &[&str]) -> Result<String, String> {
        let [add, drop] = [add, drop].map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let set = Capabilities::resolve(&add, &drop).map_err(|error| error.to_string())?;
        if set == Capabilities::ALL {
            return Ok("ALL".to_owned());
        }
        Ok(NAMES.into_iter().filter(|name| set.has(name)).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn capabilities_are_added_and_dropped_by_name() {
        let by_default =
            "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP";
        assert_eq!(resolved(&[], &[]).unwrap(), by_default);
        assert_eq!(resolved(&["NET_RAW", "cap_sys_time"], &["ALL"]).unwrap(), "NET_RAW SYS_TIME");
        assert_eq!(resolved(&["ALL"], &[]).unwrap(), "ALL");
        assert!(!resolved(&["ALL"], &["SYS_ADMIN"]).unwrap().contains("SYS_ADMIN"));
        assert_eq!(resolved(&[], &["ALL"]).unwrap(), "");
        assert_eq!(resolved(&["FLY"], &[]).unwrap_err(), "unknown capability \"FLY\"");
    }
}
