//! The first process of the PID namespace that the containers of a pod share, if they do: it reaps what is orphaned there.
//!
//! It is not the sandbox process itself, which has the host's filesystem and every right, and which nobody with
//! `CAP_SYS_PTRACE` in a container should find at `/proc/1`. This one has neither files nor rights.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::super::channel;
use super::super::protocol::{Context, Failure};
use super::super::sys::{self, Birth, SingleThreaded};
use super::{SMAPS, mounts, privileges, rootfs};

/// Where, in the sandbox's directory, `/proc` of the namespace is mounted.
pub(super) const PROC: &str = "proc";

/// Starts it. Its descriptor stands for the namespace.
pub(super) fn start(proof: SingleThreaded, directory: &Path) -> Result<OwnedFd, Failure> {
    let what = || "cannot make the pod's PID namespace";
    let (heard, told) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).context(what)?;
    let child = || {
        let _ = sys::close_all_but(&[told.as_fd()]);
        let smaps = File::open(SMAPS);
        let ready = show_processes(directory).and_then(|()| retire(directory));
        let _ = channel::send(told.as_fd(), &ready, &[]);
        if ready.is_ok() {
            let kept: Vec<_> = smaps.iter().map(AsFd::as_fd).collect();
            let _ = sys::close_all_but(&kept);
            drop(kept);
            sys::let_the_kernel_reap();
            sys::release_memory(smaps);
            sys::rest();
        }
        sys::exit_now(1)
    };
    let birth = Birth { namespaces: libc::CLONE_NEWPID, ..Birth::default() };
    let (_, pidfd) = sys::spawn(proof, birth, child).context(what)?;
    drop(told);
    match channel::receive::<Result<(), Failure>>(heard.as_fd()).context(what)? {
        Some(ready) => ready.message.map(|()| pidfd),
        None => Err(Failure::failed("the first process of the pod's PID namespace was killed")),
    }
}

/// Mounts a view of the namespace's processes where containers get theirs from: it is always that of the process that
/// mounts it, and containers are mounted before anything of them is in the namespace.
fn show_processes(directory: &Path) -> Result<(), Failure> {
    let what = || "cannot mount the pod's /proc";
    let path = directory.join(PROC);
    std::fs::create_dir_all(&path).context(what)?;
    mounts::mount_on(rootfs::open_directory(&path)?.as_fd(), c"proc", c"proc", mounts::PLAIN, "").context(what)?;
    sys::unshare(libc::CLONE_NEWNS).context(|| "cannot separate mounts")
}

/// Gives up everything: files, rights, and the ways to get them back.
fn retire(directory: &Path) -> Result<(), Failure> {
    let nothing = || "cannot leave the host's filesystem";
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
    let target = rootfs::open_directory(directory)?;
    mounts::mount_on(target.as_fd(), c"none", c"tmpfs", flags, "mode=555,size=4k").context(nothing)?;
    drop(target);
    rootfs::change_root(rootfs::open_directory(directory)?.as_fd())?;
    let _ = rustix::thread::set_name(c"husk-pause");
    privileges::bound_capabilities(CapabilitySet::empty())?;
    rustix::thread::set_no_new_privs(true).context(|| "cannot forbid new privileges")?;
    let empty = CapabilitySet::empty();
    let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
    rustix::thread::set_capabilities(None, none).context(|| "cannot give capabilities up")
}
