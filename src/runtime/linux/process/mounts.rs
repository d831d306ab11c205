//! What every container has mounted besides its image and volumes: `/proc`, `/sys`, `/dev`, control groups; and what of
//! these it cannot see or change.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, symlinkat};
use rustix::process::WaitOptions;

use super::super::protocol::{Context, Failure, RunSpec, SystemView};
use super::super::sys::{self, Birth, MountChange, SingleThreaded};
use super::namespaces::Namespaces;
use super::{devices, reaper, target};

/// Nothing in it is a program, a device, or lends anybody's rights.
pub(super) const PLAIN: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

/// The number by which the unified hierarchy of control groups is known.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Mounts a filesystem on an open directory.
pub(in super::super) fn mount_on(
    target: BorrowedFd<'_>,
    source: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    options: &str,
) -> io::Result<()> {
    let path = CString::new(format!("/proc/self/fd/{}", target.as_raw_fd()))?;
    sys::mount(source, &path, kind, flags, &CString::new(options)?)
}

/// Mounts what every container has.
pub(super) fn system(
    proof: SingleThreaded,
    root: BorrowedFd<'_>,
    spec: &RunSpec,
    namespaces: &Namespaces,
) -> Result<(), Failure> {
    proc(proof, root, spec, namespaces)?;
    sys(root, &spec.view)?;
    cgroups(root, &spec.view);
    dev(root, spec, namespaces)
}

/// Makes a directory that no image may have redirected, and mounts on it. An image whose `/proc` leads elsewhere would
/// otherwise get all of this there.
fn mount_at(
    root: BorrowedFd<'_>,
    path: &str,
    mount: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> Result<(), Failure> {
    let what = || format!("cannot mount {path} in the container");
    let path = Path::new(path);
    let directory = match target::open_plain(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            drop(target::make(root, path, true).context(what)?);
            target::open_plain(root, path)
        }
        directory => directory,
    };
    mount(directory.context(what)?.as_fd()).context(what)
}

/// Attaches what the sandbox sees at `host` to a directory.
fn bind(host: &Path, target: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let source = rustix::fs::open(host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    bind_open(source.as_fd(), target, set)
}

/// Attaches an open file or directory, and what is mounted below, to another.
pub(super) fn bind_open(source: BorrowedFd<'_>, target: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let tree = sys::clone_mount(source, true)?;
    let change = MountChange { set, clear: 0, propagation: libc::MS_PRIVATE, recursive: true };
    sys::change_mount(tree.as_fd(), change)?;
    sys::attach_mount(tree.as_fd(), target)
}

fn proc(proof: SingleThreaded, root: BorrowedFd<'_>, spec: &RunSpec, namespaces: &Namespaces) -> Result<(), Failure> {
    mount_at(root, "/proc", |target| {
        if namespaces.shared_processes.is_some() {
            return bind(&namespaces.setup.linux.directory.join(reaper::PROC), target, 0);
        }
        if spec.target.is_some() && namespaces.separates_processes() {
            return in_child(proof, || mount_on(target, c"proc", c"proc", PLAIN, ""));
        }
        mount_on(target, c"proc", c"proc", PLAIN, "").or_else(|error| {
            // With the host's processes but not its user namespace, there is only the host's own.
            bind(Path::new("/proc"), target, libc::MOUNT_ATTR_NOSUID).map_err(|_| error)
        })
    })
}

/// Does something in a child of this process, which is in the PID namespace that children are born into. A view of
/// processes is always of those of whoever mounts it.
fn in_child(proof: SingleThreaded, action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let child = || match action() {
        Ok(()) => sys::exit_now(0),
        Err(error) => sys::exit_now(error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let (pid, _) = sys::spawn(proof, Birth::default(), child)?;
    let ended = rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::Error::other("the process that mounts it was killed")),
    }
}

fn sys(root: BorrowedFd<'_>, view: &SystemView) -> Result<(), Failure> {
    let read_only = if view.privileged { 0 } else { libc::MS_RDONLY };
    mount_at(root, "/sys", |target| {
        mount_on(target, c"sysfs", c"sysfs", PLAIN | read_only, "").or_else(|error| {
            // As with `/proc`: on the host's network without root.
            let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
            bind(Path::new("/sys"), target, set).map_err(|_| error)
        })
    })
}

/// The controllers of v1 that programs look at to learn what they may use. They want all of these or none.
const SHOWN_CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];

/// The container's own control groups. Programs read their limits there; it is no failure if they cannot.
fn cgroups(root: BorrowedFd<'_>, view: &SystemView) {
    let mount = |path: &str, kind: &CStr, options: &str| {
        let _ = mount_at(root, path, |target| {
            mount_on(target, kind, kind, PLAIN, options)?;
            seal(root, path, view)
        });
    };
    if rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type == CGROUP2_MAGIC) {
        return mount("/sys/fs/cgroup", c"cgroup2", "");
    }
    let Ok(own) = fs::read_to_string("/proc/self/cgroup") else { return };
    let tmpfs = |target: BorrowedFd<'_>| mount_on(target, c"tmpfs", c"tmpfs", PLAIN, "mode=755,size=64k");
    if mount_at(root, "/sys/fs/cgroup", tmpfs).is_err() {
        return;
    }
    for controllers in own.lines().filter_map(|line| line.split(':').nth(1)) {
        if controllers.split(',').any(|name| SHOWN_CONTROLLERS.contains(&name)) {
            mount(&format!("/sys/fs/cgroup/{controllers}"), c"cgroup", controllers);
        }
    }
    let _ = seal(root, "/sys/fs/cgroup", view);
}

/// Makes what is mounted somewhere read-only: only there, for a hierarchy is the same wherever it is mounted.
fn seal(root: BorrowedFd<'_>, path: &str, view: &SystemView) -> io::Result<()> {
    let set = if view.privileged { 0 } else { libc::MOUNT_ATTR_RDONLY };
    let mounted = target::open_plain(root, Path::new(path))?;
    sys::change_mount(mounted.as_fd(), MountChange { set, ..MountChange::default() })
}

fn dev(root: BorrowedFd<'_>, spec: &RunSpec, namespaces: &Namespaces) -> Result<(), Failure> {
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC | libc::MS_NODEV;
    mount_at(root, "/dev", |target| mount_on(target, c"tmpfs", c"tmpfs", flags, "mode=755,size=64k"))?;
    let mounted = target::open_plain(root, Path::new("/dev")).context(|| "cannot open the container's /dev")?;
    let dev = mounted.as_fd();
    devices::attach(dev, spec.view.privileged, spec.process.terminal.is_some())?;
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ];
    for (to, name) in links {
        symlinkat(to, dev, name).context(|| format!("cannot make /dev/{name}"))?;
    }
    mount_at(root, "/dev/pts", |target| {
        let options = "newinstance,ptmxmode=0666,mode=0620";
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        // The group of terminals is not mapped where there is one ID only.
        mount_on(target, c"devpts", c"devpts", flags, &format!("{options},gid=5"))
            .or_else(|_| mount_on(target, c"devpts", c"devpts", flags, options))
    })?;
    mount_at(root, "/dev/mqueue", |target| {
        mount_on(target, c"mqueue", c"mqueue", PLAIN, "").or_else(|error| {
            // On the host's IPC without root.
            bind(Path::new("/dev/mqueue"), target, 0).or(if namespaces.is_rootless { Ok(()) } else { Err(error) })
        })
    })?;
    mount_at(root, "/dev/shm", |target| bind(&namespaces.shm, target, 0))
}

/// Hides and protects what containers should neither see nor change.
pub(super) fn mask(root: BorrowedFd<'_>, view: &SystemView) -> Result<(), Failure> {
    let existing = |path: &str| match target::open_plain(root, Path::new(path)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot protect {path}")),
    };
    for path in &view.read_only {
        if let Some(file) = existing(path)? {
            bind_open(file.as_fd(), file.as_fd(), libc::MOUNT_ATTR_RDONLY)
                .context(|| format!("cannot make {path} read-only"))?;
        }
    }
    for path in &view.masked {
        if let Some(file) = existing(path)? {
            let hidden = match target::kind(&file) {
                Ok(FileType::Directory) => {
                    mount_on(file.as_fd(), c"tmpfs", c"tmpfs", PLAIN | libc::MS_RDONLY, "size=0k")
                }
                Ok(_) => bind(Path::new("/dev/null"), file.as_fd(), 0),
                Err(error) => Err(error),
            };
            hidden.context(|| format!("cannot hide {path}"))?;
        }
    }
    Ok(())
}
