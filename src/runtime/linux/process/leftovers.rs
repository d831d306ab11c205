//! Processes that a container has left behind: where it shares the PID namespace of its pod or host, they don't end with
//! its first process. They are known by their mount namespace, which no other container has.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::user_namespace::pid_in_proc;

/// How often a search is repeated: what is found may have started others meanwhile.
const MAX_ROUNDS: usize = 100;

/// What tells a container's processes from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MountNamespace(u64);

impl MountNamespace {
    /// That of a process.
    pub(super) fn of(pidfd: BorrowedFd<'_>) -> Option<Self> {
        Self::at(&Path::new("/proc").join(pid_in_proc(pidfd).ok()?.to_string()))
    }

    fn at(process: &Path) -> Option<Self> {
        fs::metadata(process.join("ns/mnt")).ok().map(|metadata| Self(metadata.ino()))
    }

    /// Kills every process in it.
    pub(super) fn kill_all(self) {
        for _ in 0..MAX_ROUNDS {
            let Ok(entries) = fs::read_dir("/proc") else { return };
            let mut found = false;
            for entry in entries.flatten() {
                let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
                if is_process && Self::at(&entry.path()) == Some(self) {
                    found |= kill(&entry.path(), self);
                }
            }
            if !found {
                return;
            }
        }
    }
}

/// Kills a process, unless its number has become another's. The numbers in `/proc` are those of an outer PID namespace,
/// and so the process is named as this one's namespace knows it.
fn kill(process: &Path, namespace: MountNamespace) -> bool {
    let Ok(status) = fs::read_to_string(process.join("status")) else { return false };
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let own_depth = fs::read_to_string("/proc/self/status").ok();
    let own_depth = own_depth.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("NSpid:")));
    let depth = own_depth.map_or(1, |text| text.split_whitespace().count());
    let number = numbers.and_then(|text| text.split_whitespace().nth(depth - 1)?.parse().ok());
    let Some(pid) = number.and_then(Pid::from_raw) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    if MountNamespace::of(pidfd.as_fd()) != Some(namespace) {
        return false;
    }
    pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}
