//! Starts containers, and programs in them: standard streams, a copy of the process in the right namespaces, and what the
//! sandbox process has to remember of it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::super::protocol::{Context, ExecSpec, Failure, FailureKind, ProcessSpec, RunSpec};
use super::super::sys;
use super::SandboxProcess;
use super::program::{self, ChildEnds};
use super::table::{Process, Starting, Streams};

impl SandboxProcess {
    /// Starts a container. The request is answered when it is decided whether the program runs.
    pub(super) fn run(&mut self, request: u64, spec: RunSpec) -> Result<(), Failure> {
        let namespaces = self.namespaces.as_ref().ok_or_else(not_set_up)?;
        let pid = if namespaces.separates_processes() { libc::CLONE_NEWPID } else { 0 };
        let (streams, ends, socket) = streams(&spec.process)?;
        let child = || program::run_container(&spec, namespaces, &ends);
        let (pid, pidfd) = sys::spawn(self.proof, libc::CLONE_NEWNS | pid, child)
            .context(|| "cannot start the container's first process")?;
        drop(ends);
        let process = Process {
            label: Some(spec.label),
            shares_processes: !namespaces.separates_processes(),
            cgroups: spec.process.cgroups,
            ..Process::starting((pid, pidfd), streams, Starting { request, socket, is_executing: false })
        };
        self.table.insert(spec.key, process);
        Ok(())
    }

    /// Starts a program in a container.
    pub(super) fn exec(&mut self, request: u64, spec: ExecSpec) -> Result<(), Failure> {
        let namespaces = self.namespaces.as_ref().ok_or_else(not_set_up)?;
        let not_running = || Failure::new(FailureKind::NotRunning, "the container is not running");
        let container = self.table.get(spec.container).filter(|process| process.status.is_none());
        let container = container.ok_or_else(not_running)?;
        let (streams, ends, socket) = streams(&spec.process)?;
        let separates = namespaces.separates_processes();
        if separates {
            sys::setns(container.pidfd.as_fd(), libc::CLONE_NEWPID).map_err(|_ended| not_running())?;
        }
        let child = || program::run_in_container(&spec.process, container.pidfd.as_fd(), &ends);
        let spawned = sys::spawn(self.proof, 0, child);
        if separates {
            // Children of this process are to be in its own namespace again; it may always return there.
            sys::setns(namespaces.pid_namespace.as_fd(), libc::CLONE_NEWPID)
                .context(|| "cannot return to the pod's PID namespace")?;
        }
        let (pid, pidfd) = spawned.context(|| "cannot start a process in the container")?;
        drop(ends);
        let starting = Starting { request, socket, is_executing: false };
        self.table.insert(spec.key, Process::starting((pid, pidfd), streams, starting));
        Ok(())
    }
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
