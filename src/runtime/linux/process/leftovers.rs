//! Processes that a container has left behind: where it shares the PID namespace of its pod or host, they don't end with
//! its first process.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::super::mount_namespace::MountNamespace;
use super::user_namespace::pid_in_proc;

/// How often a search is repeated: what is found may have started others meanwhile.
const MAX_ROUNDS: usize = 100;

/// Kills every process in the mount namespace behind a descriptor.
pub(in super::super) fn kill_all(kept: &OwnedFd) {
    let Some(namespace) = MountNamespace::behind(kept) else { return };
    for _ in 0..MAX_ROUNDS {
        let killed = namespace.processes().iter().filter(|process| kill(process, namespace)).count();
        if killed == 0 {
            return;
        }
    }
}

/// Kills a process, unless its number has become another's. The numbers in `/proc` are those of an outer PID namespace,
/// and so the process is named as this one's namespace knows it.
fn kill(process: &Path, namespace: MountNamespace) -> bool {
    let numbers = |process: &Path| -> Option<Vec<i32>> {
        let status = fs::read_to_string(process.join("status")).ok()?;
        // A zombie has ended, and only waits to be reaped.
        let is_zombie = status.lines().any(|line| line.starts_with("State:\tZ"));
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).filter(|_| !is_zombie)?;
        Some(numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect())
    };
    let depth = numbers(Path::new("/proc/self")).map_or(1, |own| own.len());
    let number = numbers(process).and_then(|numbers| numbers.get(depth - 1).copied());
    let Some(pid) = number.and_then(Pid::from_raw) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let found = pid_in_proc(pidfd.as_fd()).ok().and_then(MountNamespace::of);
    found == Some(namespace) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}
