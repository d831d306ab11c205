//! A user namespace of a container's own, for a user that is not mapped where the agent runs: with one ID to give, the
//! container's user is that one, under the number it wants.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::super::channel;
use super::super::protocol::{Context, Failure, Progress};
use super::super::sys;

/// In the container's first process: enters a namespace in which `user` and `group` are the only IDs, once the sandbox
/// process has mapped them.
pub(super) fn enter(user: u32, group: u32, progress: BorrowedFd<'_>) -> Result<(), Failure> {
    // The sandbox process writes to files in /proc that are root's while this process cannot be dumped.
    set_dumpable_behavior(DumpableBehavior::Dumpable).context(|| "cannot let IDs be mapped")?;
    sys::unshare(libc::CLONE_NEWUSER).context(|| "cannot make a user namespace for the container")?;
    channel::send(progress, &Progress::MapIds { user, group }, &[]).context(|| "cannot ask for IDs")?;
    let answered = channel::receive::<bool>(progress).context(|| "cannot hear of IDs")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context(|| "cannot protect the container's first process")?;
    match answered {
        Some(_) => Ok(()),
        None => Err(Failure::failed("the IDs were not mapped")),
    }
}

/// In the sandbox process: maps the IDs of a process that waits for it to this one's.
pub(super) fn map_ids(pidfd: BorrowedFd<'_>, user: u32, group: u32, progress: BorrowedFd<'_>) -> Result<(), Failure> {
    let pid = pid_in_proc(pidfd)?;
    let write = |file: &str, text: String| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, text).context(|| format!("cannot map the container's user {user} and group {group}"))
    };
    write("uid_map", format!("{user} 0 1"))?;
    write("gid_map", format!("{group} 0 1"))?;
    channel::send(progress, &true, &[]).context(|| "cannot answer the container's first process")
}

/// The number under which a process shows in `/proc`, which is that of an outer PID namespace.
pub(super) fn pid_in_proc(pidfd: BorrowedFd<'_>) -> Result<u32, Failure> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.ok_or_else(|| Failure::failed("the container's first process has ended"))
}
