//! What this machine can do for native containers, what not, why, and what to do about it. It is tried out, not guessed:
//! in a process of its own, which ends with all that it has made.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::cgroup::{Controller, Hierarchies};
use super::process::mount_on;
use super::sys::{self, SingleThreaded};
use super::user_namespace::{self, MappedIds};

/// The argument that makes husk try out what works.
pub(super) const ARGUMENT: &str = "native-support";

/// How long trying takes at most.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The first version of Linux that has all the system calls (`mount_setattr` is the newest).
const FIRST_KERNEL: (u32, u32) = (5, 12);

/// What this machine can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// One for each thing native containers need or can use.
    pub checks: Vec<Check>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is, such as `user namespaces`.
    pub what: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It works; with a word on how, where there are several ways.
    Works(String),
    /// Containers run, but with less.
    Limited {
        /// What is missing, and what that means.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// No native container runs.
    Fails {
        /// Why.
        why: String,
        /// What to do about it.
        remedy: String,
    },
}

impl Support {
    /// Whether native containers run on this machine.
    pub fn can_run(&self) -> bool {
        !self.checks.is_empty() && !self.checks.iter().any(|check| matches!(check.outcome, Outcome::Fails { .. }))
    }

    /// Why none runs and what to do about it, for a container that was to run.
    pub fn obstacle(&self) -> Option<String> {
        let failed = self.checks.iter().find_map(|check| match &check.outcome {
            Outcome::Fails { why, remedy } => Some(format!("{}: {why}; {remedy}", check.what)),
            Outcome::Works(_) | Outcome::Limited { .. } => None,
        });
        failed.or_else(|| self.checks.is_empty().then(|| "what this machine can do could not be found out".to_owned()))
    }

    /// Tries out what works, with husk at `program`.
    pub async fn find_out(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg(ARGUMENT).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return Self::default() };
        let output = child.stdout.take();
        let reading = spawn_blocking(move || {
            let mut text = String::new();
            output.map(|mut output| output.read_to_string(&mut text));
            text
        });
        let said = timeout(TIMEOUT, reading).await;
        // Nothing happens to one that has ended.
        let _ = child.kill();
        let _ = child.wait();
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        serde_json::from_str(&said).unwrap_or_default()
    }
}

fn works(how: impl Into<String>) -> Outcome {
    Outcome::Works(how.into())
}

fn limited(why: impl Into<String>, remedy: impl Into<String>) -> Outcome {
    Outcome::Limited { why: why.into(), remedy: remedy.into() }
}

fn fails(why: impl Into<String>, remedy: impl Into<String>) -> Outcome {
    Outcome::Fails { why: why.into(), remedy: remedy.into() }
}

/// Tries everything and writes the report to standard output. Nothing of the process can be used afterwards.
pub(super) fn main() -> io::Result<()> {
    let proof = SingleThreaded::claim()?;
    let mut checks = vec![check("kernel", kernel()), check("resource limits", limits()), check("seccomp", seccomp())];
    let is_root = rustix::process::geteuid().is_root();
    let entered = user_namespace::enter_user_namespace();
    checks.push(check("user IDs", ids(is_root, &entered)));
    if !checks.iter().any(|check| matches!(check.outcome, Outcome::Fails { .. })) {
        checks.push(check("namespaces", namespaces(is_root)));
        checks.extend(filesystems(proof, is_root));
        checks.push(check("network device", tun()));
    }
    serde_json::to_writer(io::stdout(), &Support { checks })?;
    Ok(())
}

fn check(what: &str, outcome: Outcome) -> Check {
    Check { what: what.to_owned(), outcome }
}

fn kernel() -> Outcome {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= FIRST_KERNEL {
        return works(format!("Linux {release}"));
    }
    let (major, minor) = FIRST_KERNEL;
    fails(format!("Linux {release} is too old"), format!("native containers need Linux {major}.{minor} or newer"))
}

fn limits() -> Outcome {
    let hierarchies = Hierarchies::find();
    let all = [(Controller::Memory, "memory"), (Controller::Cpu, "CPU"), (Controller::Pids, "processes")];
    let missing: Vec<_> = all.iter().filter(|(controller, _)| !hierarchies.limits(*controller)).collect();
    if missing.is_empty() {
        return works("memory, CPU and processes, by control groups");
    }
    let names: Vec<_> = missing.into_iter().map(|(_, name)| *name).collect();
    limited(
        format!("limits of {} are not kept: no control group can be made for them", names.join(", ")),
        "run husk as root, or in a systemd user session with delegated controllers (`systemctl edit user@.service`, \
         `Delegate=cpu memory pids`)",
    )
}

fn seccomp() -> Outcome {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.starts_with("Seccomp:")) {
        return works("");
    }
    fails("the kernel has no filters of system calls", "use a kernel with CONFIG_SECCOMP_FILTER")
}

type Entered = Result<MappedIds, user_namespace::UserNamespaceError>;

fn ids(is_root: bool, entered: &Entered) -> Outcome {
    match entered {
        Ok(MappedIds::All) if is_root => works("all, as root"),
        Ok(MappedIds::All | MappedIds::Range) => works("your own and your subordinate IDs"),
        Ok(MappedIds::One) => limited(
            "only your own user ID can be used: files of an image are all yours, and a container has one user",
            "install `newuidmap` (package uidmap) and give yourself IDs: \
             `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`",
        ),
        Err(error) => {
            let is_at_limit = matches!(error, user_namespace::UserNamespaceError::Refused(error) if
                error.raw_os_error() == Some(libc::ENOSPC));
            let remedy = user_namespace_remedy(is_at_limit, |path| fs::read_to_string(path).ok());
            fails(error.to_string(), remedy)
        }
    }
}

/// What to do where user namespaces are restricted, by what the system's settings say.
fn user_namespace_remedy(is_at_limit: bool, read: impl Fn(&str) -> Option<String>) -> String {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    if is_at_limit || is("/proc/sys/user/max_user_namespaces", "0") {
        "allow more user namespaces: `sudo sysctl -w user.max_user_namespaces=15000`".to_owned()
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "allow user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1`".to_owned()
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts user namespaces: give husk a profile with the rule `userns,`, or lift the restriction for all: \
         `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
            .to_owned()
    } else {
        "run husk as root; in a container, start that with `--privileged` or with a seccomp profile that allows user \
         namespaces"
            .to_owned()
    }
}

fn remedy(is_root: bool) -> String {
    if is_root {
        return "give husk CAP_SYS_ADMIN; in a container, start that with `--privileged`".to_owned();
    }
    user_namespace_remedy(false, |path| fs::read_to_string(path).ok())
}

fn namespaces(is_root: bool) -> Outcome {
    let flags = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWPID;
    match sys::unshare(flags) {
        Ok(()) => works("network, IPC, hostname, mounts, processes"),
        Err(error) => fails(format!("namespaces cannot be made: {error}"), remedy(is_root)),
    }
}

/// Mounts what containers have mounted, in a filesystem that goes with this process.
fn filesystems(proof: SingleThreaded, is_root: bool) -> Vec<Check> {
    let base = std::env::temp_dir();
    let mount = |path: &Path, kind: &std::ffi::CStr, options: &str| -> io::Result<()> {
        let target = rustix::fs::open(path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
        mount_on(target.as_fd(), kind, kind, 0, options)
    };
    let private = sys::MountChange { propagation: libc::MS_PRIVATE, recursive: true, ..sys::MountChange::default() };
    let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).map_err(io::Error::from);
    let tmpfs =
        root.and_then(|root| sys::change_mount(root.as_fd(), private)).and_then(|()| mount(&base, c"tmpfs", ""));
    if let Err(error) = tmpfs {
        return vec![check("filesystems", fails(format!("nothing can be mounted: {error}"), remedy(is_root)))];
    }
    let make = |name: &str| -> io::Result<PathBuf> {
        let path = base.join(name);
        fs::create_dir(&path)?;
        Ok(path)
    };
    let overlay = || -> io::Result<()> {
        let [lower, upper, work, merged] = [make("lower")?, make("upper")?, make("work")?, make("merged")?];
        let [lower, upper, work] = [&lower, &upper, &work].map(|path| path.display());
        let own = if is_root { "" } else { ",userxattr" };
        mount(&merged, c"overlay", &format!("lowerdir={lower},upperdir={upper},workdir={work}{own}"))
    };
    let overlay = match overlay() {
        Ok(()) => works("image layers are shared"),
        Err(error) => limited(
            format!("overlays cannot be mounted: {error}; each container gets a copy of its image"),
            "use a kernel that allows overlayfs in user namespaces (5.11 or newer), or run husk as root",
        ),
    };
    let proc = match make("proc").and_then(|path| in_child(proof, || mount(&path, c"proc", ""))) {
        Ok(()) => works("tmpfs, proc"),
        Err(error) => fails(
            format!("/proc cannot be mounted: {error}"),
            "in a container, start that with `--security-opt unmask=ALL` or `--privileged`",
        ),
    };
    vec![check("filesystems", proc), check("overlays", overlay)]
}

/// Does something in a child, which is the first process of the PID namespace that was made.
fn in_child(proof: SingleThreaded, action: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let child = || {
        let errno = action().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
        sys::exit_now(errno)
    };
    let (_, pidfd) = sys::spawn(proof, sys::Birth::default(), child)?;
    let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
    match ended.and_then(|status| status.exit_status()) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("the process was killed")),
    }
}

fn tun() -> Outcome {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let tun = rustix::fs::open("/dev/net/tun", flags, rustix::fs::Mode::empty()).map_err(io::Error::from);
    match tun.and_then(|tun| sys::make_tun(tun.as_fd(), "eth0", false)) {
        Ok(()) => works("/dev/net/tun"),
        Err(error) => limited(
            format!("/dev/net/tun cannot be used: {error}; native containers reach only their own pod"),
            "let users have it: `sudo modprobe tun && sudo chmod 0666 /dev/net/tun`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_restriction_has_its_remedy() {
        for (path, value, expected) in [
            ("/proc/sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces="),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone=1"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "AppArmor"),
            ("/proc/sys/user/max_user_namespaces", "100\n", "--privileged"),
        ] {
            let said = user_namespace_remedy(false, |asked| (asked == path).then(|| value.to_owned()));
            assert!(said.contains(expected), "{path}: {said}");
        }
        assert!(user_namespace_remedy(true, |_| None).contains("user.max_user_namespaces="));
    }
}
