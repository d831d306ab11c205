//! What a copy of the sandbox process does to become a container's program: it joins control groups, enters or makes the
//! filesystem, takes its standard streams, gives up rights, and executes the program.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcsetwinsize};

use super::super::channel;
use super::super::mount_namespace::MountNamespace;
use super::super::protocol::{CgroupSpec, Context, Failure, FailureKind, ProcessSpec, Progress, RunSpec};
use super::super::sys::{self, Birth, SingleThreaded};
use super::identity::{self, Identity};
use super::namespaces::Namespaces;
use super::{privileges, rootfs, user_namespace};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The process's ends of its standard streams, and its way to tell how its start goes.
pub(super) struct ChildEnds {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) output: Option<(OwnedFd, OwnedFd)>,
    pub(super) progress: OwnedFd,
}

impl ChildEnds {
    fn all(&self) -> Vec<BorrowedFd<'_>> {
        let output = self.output.iter().flat_map(|(stdout, stderr)| [stdout, stderr]);
        [&self.progress].into_iter().chain(&self.stdin).chain(output).map(AsFd::as_fd).collect()
    }
}

/// Where a process ends up among others.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// A process in the PID namespace in which the program is to run, if that is not this one's.
    pub(super) processes: Option<BorrowedFd<'a>>,
    /// The container's first process, if the program is executed in a container.
    pub(super) container: Option<BorrowedFd<'a>>,
    /// The agent's mount namespace, if mounts are to spread there.
    pub(super) agents_mounts: Option<BorrowedFd<'a>>,
    /// Whether what it starts may outlive it.
    pub(super) leaves: bool,
}

/// The first process of a container, from its birth in a mount namespace of its own.
pub(super) fn run_container(
    proof: SingleThreaded,
    spec: &RunSpec,
    namespaces: &Namespaces,
    place: Place<'_>,
    ends: &ChildEnds,
) -> Infallible {
    let prepare = || {
        begin(&spec.process, place, ends)?;
        rootfs::enter(proof, spec, namespaces, place.agents_mounts)
    };
    conclude(proof, &spec.process, place, ends, prepare())
}

/// A further process of a container.
pub(super) fn run_in_container(
    proof: SingleThreaded,
    process: &ProcessSpec,
    place: Place<'_>,
    ends: &ChildEnds,
) -> Infallible {
    let prepare = || {
        begin(process, place, ends)?;
        let Some(container) = place.container else { return Ok(()) };
        sys::setns(container, libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)
            .context(|| "cannot enter the container's filesystem")
    };
    conclude(proof, process, place, ends, prepare())
}

/// What is first: nothing of the sandbox's stays open, signals are as programs expect them, and everything counts for
/// the container.
fn begin(process: &ProcessSpec, place: Place<'_>, ends: &ChildEnds) -> Result<(), Failure> {
    let kept: Vec<_> = ends
        .all()
        .into_iter()
        .chain([place.processes, place.container, place.agents_mounts].into_iter().flatten())
        .collect();
    sys::close_all_but(&kept).context(|| "cannot close what is the sandbox's")?;
    sys::restore_signals().context(|| "cannot reset signals")?;
    // As every container engine has it, whatever the agent's is.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for group in &process.cgroups {
        join(group).context(|| format!("cannot join the control group {}", group.directory.display()))?;
    }
    // Lowering it needs a right that not everybody has.
    let _ = fs::write("/proc/self/oom_score_adj", process.privileges.oom_score_adj.to_string());
    if let Some(others) = place.processes {
        // For the children of this process.
        sys::setns(others, libc::CLONE_NEWPID).map_err(|_ended| not_running())?;
    }
    Ok(())
}

/// Joins a control group. To move a whole process, the kernel first waits for every other processor of the machine, for
/// milliseconds; a thread that moves itself need not wait. The unified hierarchy moves no single threads, and this process
/// was born into its group if that was possible.
fn join(group: &CgroupSpec) -> io::Result<()> {
    if !group.is_unified {
        return fs::write(group.directory.join("tasks"), "0");
    }
    fs::write(group.directory.join("cgroup.procs"), "0")
}

/// What is said to those who want something of a container that has ended.
pub(super) fn not_running() -> Failure {
    Failure::new(FailureKind::NotRunning, "the container is not running")
}

fn conclude(
    proof: SingleThreaded,
    process: &ProcessSpec,
    place: Place<'_>,
    ends: &ChildEnds,
    prepared: Result<(), Failure>,
) -> Infallible {
    let failure = match prepared.and_then(|()| become_program(proof, process, place, ends)) {
        Ok(never) => never,
        Err(failure) => failure,
    };
    let _ = channel::send(ends.progress.as_fd(), &Progress::Failed(failure), &[]);
    sys::exit_now(1)
}

/// In the container's filesystem already: everything that is left. Returns why it failed.
fn become_program(
    proof: SingleThreaded,
    process: &ProcessSpec,
    place: Place<'_>,
    ends: &ChildEnds,
) -> Result<Failure, Failure> {
    let progress = ends.progress.as_fd();
    set_streams(process, ends)?;
    if process.terminal.is_some() && place.container.is_none() {
        attach_console().context(|| "cannot attach the terminal at /dev/console")?;
    }
    let identity = identity::look_up(&process.identity)?;
    let env = environment(process, &identity)?;
    privileges::set_resource_limits();
    give_streams(&identity);
    enter_directory(&process.working_dir)?;
    match (identity.unmapped, place.container) {
        (None, _) => {}
        (Some((user, group)), None) => user_namespace::enter(user, group, progress)?,
        (Some(_), Some(container)) => {
            sys::setns(container, libc::CLONE_NEWUSER).context(|| "cannot enter the container's user namespace")?;
        }
    }
    sys::close_all_but(&[progress]).context(|| "cannot close what is the sandbox's")?;
    privileges::assume(&identity, &process.privileges)?;
    let last_steps = || {
        rustix::process::setsid().context(|| "cannot start a session")?;
        if process.terminal.is_some() {
            rustix::process::ioctl_tiocsctty(io::stdin()).context(|| "cannot take the terminal")?;
        }
        execute(process, &env, place, progress)
    };
    if place.processes.is_none() {
        return last_steps();
    }
    let child = || {
        let failure = last_steps().unwrap_or_else(|failure| failure);
        let _ = channel::send(progress, &Progress::Failed(failure), &[]);
        sys::exit_now(1)
    };
    let birth = Birth { is_sibling: true, ..Birth::default() };
    let spawned = sys::spawn(proof, birth, child);
    let (pid, pidfd) = match spawned {
        // Nobody is born in a namespace whose first process has ended.
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => return Err(not_running()),
        spawned => spawned.context(|| "cannot start the program's process")?,
    };
    let born = Progress::Born { pid: pid.as_raw_nonzero().get() };
    let _ = channel::send(progress, &born, &[pidfd.as_fd()]);
    sys::exit_now(0)
}

/// Standard input, output and error.
fn set_streams(process: &ProcessSpec, ends: &ChildEnds) -> Result<(), Failure> {
    let what = || "cannot set the container's standard streams";
    let set = |number, file: BorrowedFd<'_>| sys::set_standard(number, file).context(what);
    if let Some((rows, columns)) = process.terminal {
        let terminal = open_terminal(rows, columns, ends.progress.as_fd())?;
        return (0..=2).try_for_each(|number| set(number, terminal.as_fd()));
    }
    match &ends.stdin {
        Some(stdin) => set(0, stdin.as_fd())?,
        None => {
            let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            set(0, null.context(|| "cannot open /dev/null")?.as_fd())?;
        }
    }
    if let Some((stdout, stderr)) = &ends.output {
        set(1, stdout.as_fd())?;
        set(2, stderr.as_fd())?;
    }
    Ok(())
}

/// A new terminal of the container's own; the agent gets the other side.
fn open_terminal(rows: u16, columns: u16, progress: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let what = || "cannot make a terminal for the container";
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let controller = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).context(what)?;
    rustix::pty::unlockpt(&controller).context(what)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&controller, flags).context(what)?;
    if rows > 0 && columns > 0 {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).context(what)?;
    }
    channel::send(progress, &Progress::Terminal, &[controller.as_fd()]).context(what)?;
    Ok(terminal)
}

/// Makes the terminal the container's console, too.
fn attach_console() -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let console = rustix::fs::open("/dev/console", flags, Mode::empty())?;
    let terminal = sys::clone_mount(io::stdin().as_fd(), false)?;
    sys::attach_mount(terminal.as_fd(), console.as_fd())
}

/// Lets the container's user open its standard streams by name, as `/dev/stdout` is.
fn give_streams(identity: &Identity) {
    for stream in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
        let is_pipe_or_terminal = rustix::fs::fstat(stream).is_ok_and(|stat| {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            kind == rustix::fs::FileType::Fifo || rustix::termios::isatty(stream)
        });
        if is_pipe_or_terminal && identity.unmapped.is_none() {
            let group = if rustix::termios::isatty(stream) { None } else { Some(identity.group()) };
            // Where there is one ID only, it is theirs already.
            let _ = rustix::fs::fchown(stream, Some(identity.user()), group);
        }
    }
}

/// Makes the working directory if it is missing, and goes there.
fn enter_directory(path: &str) -> Result<(), Failure> {
    let path = if path.is_empty() { "/" } else { path };
    let what = || format!("cannot change to the working directory {path:?}");
    let missing = !Path::new(path).exists();
    if missing {
        fs::create_dir_all(path).context(what)?;
    }
    rustix::process::chdir(path).context(what)?;
    // A directory outside of the root shows as unreachable.
    let reached = rustix::process::getcwd(Vec::new()).context(what)?;
    if reached.as_bytes().first() == Some(&b'/') {
        Ok(())
    } else {
        Err(Failure::failed(format!("the working directory {path:?} is not in the container")))
    }
}

/// The environment: what was asked for, and what no program should miss.
fn environment(process: &ProcessSpec, identity: &Identity) -> Result<Vec<CString>, Failure> {
    let mut all = process.env.clone();
    let mut add_missing = |name: &str, value: &str| {
        if all.iter().all(|(other, _)| other != name) {
            all.push((name.to_owned(), value.to_owned()));
        }
    };
    add_missing("PATH", DEFAULT_PATH);
    add_missing("HOME", &identity.home);
    if process.terminal.is_some() {
        add_missing("TERM", "xterm");
    }
    all.iter().map(|(name, value)| c_string(&format!("{name}={value}"))).collect()
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_nul| Failure::failed("arguments and variables cannot have null bytes"))
}

/// Gives up the last rights and becomes the program. Returns why that failed.
fn execute(
    process: &ProcessSpec,
    env: &[CString],
    place: Place<'_>,
    progress: BorrowedFd<'_>,
) -> Result<Failure, Failure> {
    let argv: Vec<_> = process.argv.iter().map(|argument| c_string(argument)).collect::<Result<_, _>>()?;
    let Some(program) = process.argv.first() else {
        return Err(Failure::failed("no program is named"));
    };
    let telling = || "cannot tell how the start goes";
    let own_mounts =
        place.leaves.then(|| MountNamespace::keep(Path::new("/proc/self"))).transpose().context(telling)?;
    let attached: Vec<_> = own_mounts.iter().map(AsFd::as_fd).collect();
    channel::send(progress, &Progress::Executing, &attached).context(telling)?;
    // From here on, the container's filter may forbid anything.
    privileges::confine(&process.privileges)?;
    if program.contains('/') {
        return Ok(not_executed(program, &sys::execve(&c_string(program)?, &argv, env), "no such file or directory"));
    }
    let path = env.iter().find_map(|variable| variable.to_str().ok()?.strip_prefix("PATH="));
    let mut refused = None;
    for directory in path.unwrap_or(DEFAULT_PATH).split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{directory}/{program}");
        if fs::metadata(&candidate).is_ok_and(|metadata| metadata.is_file()) {
            let error = sys::execve(&c_string(&candidate)?, &argv, env);
            // As execvp: what may not be executed is passed over, unless there is nothing else.
            if error.kind() != io::ErrorKind::PermissionDenied {
                return Ok(not_executed(program, &error, "no such file or directory"));
            }
            refused = Some(error);
        }
    }
    let not_found = io::Error::from_raw_os_error(libc::ENOENT);
    Ok(not_executed(program, &refused.unwrap_or(not_found), "executable file not found in $PATH"))
}

fn not_executed(program: &str, error: &io::Error, not_found: &str) -> Failure {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Failure::new(FailureKind::ProgramNotFound, not_found),
        Some(libc::EACCES) => Failure::new(FailureKind::NotExecutable, "permission denied"),
        Some(libc::ENOEXEC) => {
            let detail = "exec format error: no program for this machine, and no script that names its interpreter";
            Failure::new(FailureKind::NotExecutable, detail)
        }
        errno => Failure { kind: FailureKind::NotExecutable, what: format!("cannot execute {program:?}"), errno },
    }
}
