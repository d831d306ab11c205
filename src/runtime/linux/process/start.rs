//! Starts containers, and programs in them: standard streams, a copy of the process in the right namespaces, and what the
//! sandbox process has to remember of it.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use super::super::protocol::{Context, ExecSpec, Failure, ProcessSpec, RunSpec};
use super::super::sys::{self, Birth, SingleThreaded};
use super::SandboxProcess;
use super::program::{self, ChildEnds, Place};
use super::table::{Process, Starting, Streams};
use crate::runtime::Propagation;

impl SandboxProcess {
    /// Starts a container. The request is answered when it is decided whether the program runs.
    pub(super) fn run(&mut self, request: u64, spec: RunSpec) -> Result<(), Failure> {
        let namespaces = self.namespaces.as_ref().ok_or_else(not_set_up)?;
        let target = spec.target.as_deref().filter(|_| namespaces.separates_processes());
        let target = target.map(|name| self.table.main_process(name).ok_or_else(|| no_target(name))).transpose()?;
        let is_separate = namespaces.separates_processes() && target.is_none();
        let own_processes = if is_separate { libc::CLONE_NEWPID } else { 0 };
        let (streams, ends, socket) = streams(&spec.process)?;
        let target = target.map(|process| process.pidfd.as_fd());
        let processes = target.or(namespaces.shared_processes.as_ref().map(AsFd::as_fd));
        let spreads = spec.rootfs.mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional);
        let agents_mounts = namespaces.agents_mounts.as_ref().filter(|_| spreads).map(AsFd::as_fd);
        let place = Place { processes, container: None, agents_mounts, leaves: !is_separate };
        let (proof, namespaces_flags) = (self.proof, libc::CLONE_NEWNS | own_processes);
        let child = || program::run_container(proof, &spec, namespaces, place, &ends);
        let born = birth(proof, namespaces_flags, &spec.process, child);
        let born = born.context(|| "cannot start the container's first process")?;
        let only_prepares = processes.is_some();
        drop(ends);
        let process = Process {
            label: Some(spec.label),
            cgroups: spec.process.cgroups,
            only_prepares,
            ..Process::starting(born, streams, Starting { request, socket, is_executing: false })
        };
        self.table.insert(spec.key, process);
        Ok(())
    }

    /// Starts a program in a container.
    pub(super) fn exec(&mut self, request: u64, spec: ExecSpec) -> Result<(), Failure> {
        let namespaces = self.namespaces.as_ref().ok_or_else(not_set_up)?;
        let is_running = |process: &&Process| process.status.is_none() && process.starting.is_none();
        let container = self.table.get(spec.container).filter(is_running);
        let container = container.ok_or_else(program::not_running)?.pidfd.as_fd();
        let (streams, ends, socket) = streams(&spec.process)?;
        let processes = Some(container).filter(|_| !namespaces.setup.linux.host_pid);
        let place = Place { processes, container: Some(container), ..Place::default() };
        let proof = self.proof;
        let child = || program::run_in_container(proof, &spec.process, place, &ends);
        let born = birth(proof, 0, &spec.process, child).context(|| "cannot start a process in the container")?;
        let only_prepares = processes.is_some();
        drop(ends);
        let starting = Starting { request, socket, is_executing: false };
        let process = Process { only_prepares, ..Process::starting(born, streams, starting) };
        self.table.insert(spec.key, process);
        Ok(())
    }
}

/// Starts a copy of this process, in the container's group of the unified hierarchy if it has one: to be born there is
/// cheap, to move there is not. Where a kernel or its settings do not allow it, the process moves.
fn birth(
    proof: SingleThreaded,
    namespaces: libc::c_int,
    process: &ProcessSpec,
    child: impl Fn() -> Infallible,
) -> io::Result<(Pid, OwnedFd)> {
    let group = process.cgroups.iter().find(|group| group.is_unified);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = group.and_then(|group| rustix::fs::open(&group.directory, flags, Mode::empty()).ok());
    let birth = |cgroup| Birth { namespaces, cgroup, is_sibling: false };
    if let Some(group) = &group
        && let Ok(born) = sys::spawn(proof, birth(Some(group.as_fd())), &child)
    {
        return Ok(born);
    }
    sys::spawn(proof, birth(None), &child)
}

fn no_target(name: &str) -> Failure {
    let why = "it does not run, or is one of WebAssembly";
    Failure::failed(format!("the target container {name:?} has no processes here: {why}"))
}

fn not_set_up() -> Failure {
    Failure::failed("the sandbox is not set up")
}

/// The sandbox's and the new process's ends of its standard streams, and the sandbox's end of the socket on which the
/// process tells how its start goes.
fn streams(spec: &ProcessSpec) -> Result<(Streams, ChildEnds, OwnedFd), Failure> {
    let (socket, progress) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context(|| "cannot make a socket for the container's first process")?;
    let mut streams = Streams::default();
    let mut ends = ChildEnds { stdin: None, output: None, progress };
    if spec.terminal.is_none() {
        let pipe = || std::io::pipe().context(|| "cannot make a pipe for the container");
        let ((stdout, stdout_writer), (stderr, stderr_writer)) = (pipe()?, pipe()?);
        streams.output = Some((stdout.into(), stderr.into()));
        ends.output = Some((stdout_writer.into(), stderr_writer.into()));
        if spec.stdin {
            let (reader, writer) = pipe()?;
            streams.stdin = Some(writer.into());
            ends.stdin = Some(reader.into());
        }
    }
    Ok((streams, ends, socket))
}
