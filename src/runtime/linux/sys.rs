//! The system calls that no safe library offers, each behind a safe function. This is the only file of the runtime with
//! unsafe code.
//!
//! Functions that duplicate the process need a [`SingleThreaded`] as proof that no other thread is there whose locks the
//! copy would inherit.
#![allow(unsafe_code, reason = "clone3, the mount calls, ioctls and the like have no safe wrapper")]

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use rustix::process::Pid;
use tokio::io::unix::AsyncFd;

/// The exit code of a copy of this process that failed before it became a program; nobody sees it but in bug reports.
const CHILD_FAILED: i32 = 253;

/// The flag of `clone3` by which the new process is born into a control group.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Proof that the process has one thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct SingleThreaded(());

impl SingleThreaded {
    /// Looks whether there is but one thread. It stays so: who has this value starts none.
    pub(super) fn claim() -> io::Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads == 1 { Ok(Self(())) } else { Err(io::Error::other(format!("{threads} threads"))) }
    }
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes possession of a descriptor that a system call has just returned.
fn owned(fd: libc::c_long) -> OwnedFd {
    let fd = RawFd::try_from(fd).unwrap_or(-1);
    assert!(fd >= 0, "the kernel returned a descriptor");
    // SAFETY: the caller got this descriptor from the kernel just now, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// How a copy of this process begins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Birth<'a> {
    /// Namespaces to make (`CLONE_NEW*`).
    pub(super) namespaces: libc::c_int,
    /// The control group of the unified hierarchy that it is born into.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    /// Whether it is a child of this process's parent, who is told of its end.
    pub(super) is_sibling: bool,
}

/// Starts a copy of this process that runs `child` and nothing else. Returns its process ID, as this process sees it, and
/// a descriptor for it.
pub(super) fn spawn(
    _proof: SingleThreaded,
    birth: Birth<'_>,
    child: impl FnOnce() -> Infallible,
) -> io::Result<(Pid, OwnedFd)> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeroes is a valid value of this plain structure: no flags, no descriptors, no stack.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = u64::from((birth.namespaces | libc::CLONE_PIDFD).cast_unsigned());
    arguments.pidfd = (&raw mut pidfd) as u64;
    if birth.is_sibling {
        // It has this process's own signal then.
        arguments.flags |= u64::from(libc::CLONE_PARENT.cast_unsigned());
    } else {
        arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    }
    if let Some(cgroup) = birth.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM this is a fork: the child goes on with a copy of all memory, this stack included. The proof
    // says that no other thread was there that could have held a lock, so the child may do what any process may.
    // `arguments` and `pidfd` live until the call returns, and the size is that of the structure passed.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, mem::size_of_val(&arguments)) })?;
    if pid == 0 {
        // What a panic would unwind into belongs to the parent.
        let _ = catch_unwind(AssertUnwindSafe(child));
        exit_now(CHILD_FAILED);
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("clone3 returned no process ID"))?;
    Ok((pid, owned(libc::c_long::from(pidfd))))
}

/// Ends the process without running anything that was registered for its end.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Becomes another program. Returns only if that failed.
pub(super) fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all three are null-terminated, the vectors by a null pointer and the strings by being `CStr`s, and live
    // until the call returns.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Leaves namespaces for new ones.
pub(super) fn unshare(flags: libc::c_int) -> io::Result<()> {
    assert_eq!(flags & libc::CLONE_FILES, 0, "descriptors stay shared: others may rely on them");
    // SAFETY: namespaces concern no memory; descriptors stay shared, as was checked.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

/// Joins the namespace behind `fd`, or those of the process behind it that `flags` name.
pub(super) fn setns(fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open; namespaces concern no memory.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), flags) }).map(drop)
}

/// `mount(2)`.
pub(super) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, options: &CStr) -> io::Result<()> {
    // SAFETY: all pointers are to null-terminated strings that live until the call returns; every filesystem that is
    // mounted here takes its options as text.
    let result = unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast::<libc::c_void>())
    };
    check_int(result).map(drop)
}

/// Takes a mount away, and all in it, as soon as nobody uses it any more.
pub(super) fn unmount_detached(target: &CStr) -> io::Result<()> {
    // SAFETY: the pointer is to a null-terminated string that lives until the call returns.
    check_int(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) }).map(drop)
}

/// A copy of the mount that an open file is in, with that file as its root, attached nowhere. `recursive`: and of the
/// mounts below.
pub(super) fn clone_mount(file: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE.cast_unsigned() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH.cast_unsigned() | recursive;
    // SAFETY: the descriptor is open, the string is null-terminated and static.
    check(unsafe { libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), flags) }).map(owned)
}

/// Attaches a mount at an open file or directory.
pub(super) fn attach_mount(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both descriptors are open, the strings are null-terminated and static.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), empty, target.as_raw_fd(), empty, flags) };
    check(result).map(drop)
}

/// What is to change about a mount.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MountChange {
    /// Attributes to set (`MOUNT_ATTR_*`).
    pub(super) set: u64,
    /// Attributes to clear.
    pub(super) clear: u64,
    /// How changes below spread (`MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`), if that is to change.
    pub(super) propagation: u64,
    /// Whether the mounts below change too.
    pub(super) recursive: bool,
}

/// Changes attributes of a mount whose root `mount` is.
pub(super) fn change_mount(mount: BorrowedFd<'_>, change: MountChange) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: 0,
    };
    let recursive = if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open, the string null-terminated and static; `attributes` lives until the call returns and
    // its size is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            mem::size_of_val(&attributes),
        )
    };
    check(result).map(drop)
}

/// Sends a signal, real-time ones included, to the process behind a descriptor.
pub(super) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_details = ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and the kernel takes a null pointer for its own details.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_details, 0) }).map(drop)
}

/// Closes everything but the standard descriptors and those in `kept`, so that nothing of the sandbox's can be reached
/// through `/proc/self/fd` while a container is prepared.
pub(super) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for last in kept.into_iter().chain([u32::MAX]) {
        let end = if last == u32::MAX { last } else { last - 1 };
        if first <= end && last > first {
            // SAFETY: called in a copy of the sandbox process that ends or becomes another program, and never goes back to
            // where the values are that own these descriptors.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, end, 0) })?;
        }
        first = last.saturating_add(1).max(first);
    }
    Ok(())
}

/// Makes `number` (0, 1 or 2) another name of an open file, which stays open in the next program.
pub(super) fn set_standard(number: RawFd, file: BorrowedFd<'_>) -> io::Result<()> {
    assert!((0..=2).contains(&number), "no other descriptor may change under its owner");
    // SAFETY: the standard descriptors are never owned by a value, so nothing loses what it relies on.
    check_int(unsafe { libc::dup2(file.as_raw_fd(), number) }).map(drop)
}

/// Makes every descriptor from `first` on close when another program is started.
pub(super) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: nothing is closed now, and descriptors concern no memory.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Blocks a signal and returns a descriptor that becomes readable when it has come.
pub(super) fn signal_descriptor(signal: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: all zeroes is a valid set of signals, and the calls get valid pointers to it.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        check_int(libc::sigemptyset(&raw mut set))?;
        check_int(libc::sigaddset(&raw mut set, signal))?;
        check_int(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()))?;
        let fd = check_int(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(owned(libc::c_long::from(fd)))
    }
}

/// Every signal as a program expects to find it: not blocked, not ignored, not caught.
pub(super) fn reset_signals() -> io::Result<()> {
    /// The kernel's `struct sigaction`, whose handler, flags, restorer and set of 64 signals are as long as this everywhere.
    const DEFAULT: [u64; 4] = [0; 4];
    // SAFETY: all zeroes is a valid set of signals and a valid action (the default one); real-time signals included, the
    // kernel knows 64. No handler is installed. libc's function would refuse the signals that libc keeps for itself, which
    // the program to come may have another use for.
    unsafe {
        for signal in 1_i32..=64 {
            // The two that cannot be changed stay.
            let old = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), old, mem::size_of::<u64>());
        }
        let mut set: libc::sigset_t = mem::zeroed();
        check_int(libc::sigemptyset(&raw mut set))?;
        check_int(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut())).map(drop)
    }
}

/// Makes writes to pipes nobody reads fail instead of ending the process.
pub(super) fn ignore_broken_pipes() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Has the kernel reap children, and orphans that become this process's, as soon as they end.
pub(super) fn let_the_kernel_reap() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Does nothing until the process is killed.
pub(super) fn rest() -> ! {
    loop {
        // SAFETY: no preconditions.
        unsafe { libc::pause() };
    }
}

/// Undoes `ignore_broken_pipes` and `signal_descriptor` in a copy of a process whose other signals are as programs expect
/// them.
pub(super) fn restore_signals() -> io::Result<()> {
    // SAFETY: all zeroes is a valid set of signals, and no handler is installed.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut set: libc::sigset_t = mem::zeroed();
        check_int(libc::sigemptyset(&raw mut set))?;
        check_int(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut())).map(drop)
    }
}

/// Gives the process a session keyring of its own, so that nothing it starts has the keys of whoever started it.
pub(super) fn leave_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let no_name = ptr::null::<libc::c_char>();
    // SAFETY: the kernel takes a null pointer for a keyring without a name; keys concern no memory.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) }).map(drop)
}

/// One instruction of a filter of system calls, as the kernel has it.
pub(super) type FilterInstruction = [u8; 8];

/// Filters the system calls of this thread from now on, for good. Needs `CAP_SYS_ADMIN` or no new privileges.
pub(super) fn filter_system_calls(program: &[FilterInstruction]) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect();
    let len = u16::try_from(instructions.len()).map_err(|_| io::Error::other("the seccomp filter is too long"))?;
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: the program points to `len` instructions that live until the call returns; the kernel checks them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) }).map(drop)
}

/// Makes an open `/dev/net/tun` the network device `name`, for packets without a header of the driver's, or with one
/// that says what the other side need not compute (`offload`).
pub(super) fn make_tun(tun: BorrowedFd<'_>, name: &str, offload: bool) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | if offload { libc::IFF_VNET_HDR } else { 0 };
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and the request is a structure of the type this call expects, which lives until it
    // returns.
    check_int(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    if offload {
        let features = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        // SAFETY: the descriptor is open, and this call takes a number.
        check_int(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(features)) })?;
    }
    Ok(())
}

/// Sets what `domainname` says.
pub(super) fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: the pointer and the length describe the string.
    check_int(unsafe { libc::setdomainname(name.as_ptr().cast::<libc::c_char>(), name.len()) }).map(drop)
}

/// The process at the other end of a Unix socket: its ID, which is 0 if it is not in this PID namespace, and its user.
pub(super) fn peer(socket: BorrowedFd<'_>) -> io::Result<(i32, u32)> {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut credentials: libc::ucred = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&credentials)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open; the pointers are to a structure of the type this option has and to its size, and both
    // live until the call returns.
    check_int(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast::<libc::c_void>(),
            &raw mut length,
        )
    })?;
    Ok((credentials.pid, credentials.uid))
}

/// Makes an open file, which must not block, one that tasks can wait for.
pub(super) fn register(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives, and `AsyncFd` keeps it until it has
    // deregistered it.
    unsafe { AsyncFd::register(file) }.map_err(|error| error.into_parts().1)
}

/// Gives back to the system what the process needs only while it does something: memory that was freed, and the pages of
/// programs and libraries it has used so far, which come back when they are used again. `smaps` is the process's own
/// `/proc/self/smaps`.
pub(super) fn release_memory(smaps: io::Result<std::fs::File>) {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
    let Ok(maps) = smaps.and_then(io::read_to_string) else { return };
    for (start, length) in unchanged_mappings(&maps) {
        // SAFETY: the mapping is a private one of a file, and no page of it was ever changed: read again, it is the same.
        unsafe { libc::madvise(ptr::without_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of mappings of files, by `/proc/self/smaps`, that cannot be written to and of which nothing differs
/// from the file. What the dynamic linker has adjusted does differ.
fn unchanged_mappings(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(first), Some(second)) = (fields.next(), fields.next()) else { continue };
        if let Some((start, end)) = first.split_once('-') {
            let is_file = fields.nth(2).is_some_and(|inode| inode != "0");
            let parse = |text| usize::from_str_radix(text, 16).ok();
            candidate = match (parse(start), parse(end)) {
                (Some(start), Some(end)) if is_file && matches!(second, "r--p" | "r-xp") => Some((start, end - start)),
                _ => None,
            };
        } else if first == "Anonymous:" && second == "0" {
            found.extend(candidate.take());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_that_are_as_in_their_files_are_given_up() {
        let smaps = "\
55e5eac34000-55e5eac36000 r--p 00000000 fe:00 123 /usr/bin/husk\nRss: 8 kB\nAnonymous:             0 kB\n\
55e5eac36000-55e5eac38000 r-xp 00002000 fe:00 123 /usr/bin/husk\nAnonymous:             0 kB\n\
55e5eac38000-55e5eac39000 r--p 00004000 fe:00 123 /usr/bin/husk\nAnonymous:             4 kB\n\
55e5eac39000-55e5eac3a000 rw-p 00005000 fe:00 123 /usr/bin/husk\nAnonymous:             0 kB\n\
7ffd76a00000-7ffd76a20000 r--p 00000000 00:00 0 [vvar]\nAnonymous:             0 kB\n";
        assert_eq!(unchanged_mappings(smaps), [(0x55e5_eac3_4000, 0x2000), (0x55e5_eac3_6000, 0x2000)]);
    }
}
