//! The sandbox process of a pod: holds the pod's namespaces, starts its native containers, reaps, and tells the agent.
//!
//! ```text
//!  agent ══ control socket ══ sandbox process ─┬─ clone3 ─▶ container: mounts, pivot_root, rights, execve
//!                              (pid 1 of a     ├─ clone3 ─▶ exec: setns, rights ─ clone3 ─▶ execve
//!                               namespace)     └─ reaps what ends, and what is orphaned
//! ```
//! Who is to come among processes that are there already (a program executed in a container, a container that shares the
//! pod's processes) is prepared outside of their PID namespace, where none of them sees it while it has the sandbox's
//! files and rights; a copy of it then goes on inside.
//!
//! It is husk itself, started anew with [`ARGUMENT`] and the control socket as standard input. It has one thread, so that
//! its copies may do as they please; it has neither tokio nor clap in its way, and keeps next to nothing in memory.
//! Unless its pod is to be adopted it ends with the agent, which it notices by the end of the control socket; and with
//! it, as it is the first process of a PID namespace, everything that was started in it.

mod copy;
mod devices;
mod identity;
pub(super) mod leftovers;
mod mounts;
mod namespaces;
mod netlink;
mod network;
mod privileges;
mod program;
mod reaper;
mod rootfs;
mod start;
mod table;
mod target;
mod user_namespace;
mod volumes;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::WaitOptions;

use self::namespaces::Namespaces;
use self::table::{Ended, StartOutcome, Table};
use super::channel::{self, Received};
use super::protocol::{Context, Failure, FailureKind, Key, Listed, Message, Operation, Reply, Request};
use super::sys::{self, SingleThreaded};

/// The argument that makes husk a sandbox process.
pub(super) const ARGUMENT: &str = "sandbox-process";

pub(super) use self::mounts::mount_on;
pub(super) use self::namespaces::SOCKET_NAME;

/// What memory this process has, and of which kind.
const SMAPS: &str = "/proc/self/smaps";

/// How long nothing happens before memory is given back.
const REST: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The sandbox process, while it works.
struct SandboxProcess {
    proof: SingleThreaded,
    /// Leads to the agent, while there is one.
    control: Option<OwnedFd>,
    /// Readable when a process has ended.
    ended: OwnedFd,
    /// Made by the first request.
    namespaces: Option<Namespaces>,
    table: Table,
    /// Kept for the next agent.
    tun: Option<OwnedFd>,
    /// Whether something was done since memory was last given back.
    is_fresh: bool,
}

/// What the loop found to do.
#[derive(Clone, Copy)]
enum Wake {
    Progress(Key),
    Ended,
    Control,
    Listener,
}

/// What goes with a reply: descriptors of the process's own, or some it keeps.
type Answer = Result<(Reply, Vec<OwnedFd>), Failure>;

/// Runs as a sandbox process until the pod ends. The control socket is standard input.
pub(super) fn main() -> io::Result<()> {
    let proof = SingleThreaded::claim()?;
    let control = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let null = File::open("/dev/null")?;
    sys::set_standard(0, null.as_fd())?;
    drop(null);
    // What the agent had open is none of the pod's business.
    sys::close_on_exec_from(3)?;
    // Those of the agent may be ignored, and would be in every container.
    sys::reset_signals()?;
    sys::ignore_broken_pipes();
    // Containers have none of the user's keys. Where there are no keys, or too many, there is nothing to leave.
    let _ = sys::leave_session_keyring();
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let _ = rustix::thread::set_name(c"husk-sandbox");
    let ended = sys::signal_descriptor(libc::SIGCHLD)?;
    let mut sandbox = SandboxProcess {
        proof,
        control: Some(control),
        ended,
        namespaces: None,
        table: Table::default(),
        tun: None,
        is_fresh: true,
    };
    while sandbox.turn()? {}
    sandbox.end_all();
    Ok(())
}

impl SandboxProcess {
    /// Waits for something to happen and deals with it. Whether to go on.
    fn turn(&mut self) -> io::Result<bool> {
        for wake in self.wait()? {
            match wake {
                Wake::Progress(key) => self.progress(key),
                Wake::Ended => self.reap(),
                Wake::Control if !self.serve() => return Ok(false),
                Wake::Control => {}
                Wake::Listener => self.take_up(),
            }
        }
        Ok(true)
    }

    /// What there is to do, in the order in which it should be done: a process's start is told before its end.
    fn wait(&mut self) -> io::Result<Vec<Wake>> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(4);
        let mut wakes = Vec::with_capacity(4);
        for (key, socket) in self.table.starting() {
            fds.push(PollFd::from_borrowed_fd(socket, PollFlags::IN));
            wakes.push(Wake::Progress(key));
        }
        fds.push(PollFd::new(&self.ended, PollFlags::IN));
        wakes.push(Wake::Ended);
        let listener = self.namespaces.as_ref().and_then(|namespaces| namespaces.listener.as_ref());
        match (&self.control, listener) {
            (Some(control), _) => {
                fds.push(PollFd::new(control, PollFlags::IN));
                wakes.push(Wake::Control);
            }
            (None, Some(listener)) => {
                fds.push(PollFd::new(listener, PollFlags::IN));
                wakes.push(Wake::Listener);
            }
            (None, None) => {}
        }
        loop {
            match poll(&mut fds, self.is_fresh.then_some(&REST)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => {
                    sys::release_memory(File::open(SMAPS));
                    self.is_fresh = false;
                }
                Ok(_) => break,
            }
        }
        self.is_fresh = true;
        let ready = fds.iter().zip(wakes).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, wake)| wake).collect())
    }

    /// Answers one request. Whether to go on.
    fn serve(&mut self) -> bool {
        let Some(control) = &self.control else { return true };
        let request = match channel::receive::<Request>(control.as_fd()) {
            Ok(Some(Received { message, .. })) => message,
            // The agent is gone, or says what this one does not understand.
            Ok(None) | Err(_) => {
                self.control = None;
                self.table.forget_programs();
                return self.namespaces.as_ref().is_some_and(|namespaces| namespaces.listener.is_some());
            }
        };
        let id = request.id;
        match request.operation {
            Operation::Run(spec) => {
                let key = spec.key;
                let started = self.run(id, *spec);
                self.start_failed(id, key, started);
            }
            Operation::Exec(spec) => {
                let key = spec.key;
                let started = self.exec(id, *spec);
                self.start_failed(id, key, started);
            }
            Operation::List => self.list(id),
            Operation::Exit => {
                self.end_all();
                self.answer(id, Ok((Reply::Done, Vec::new())));
                return false;
            }
            operation => {
                let answer = self.perform(operation);
                self.answer(id, answer);
            }
        }
        true
    }

    /// What is done at once.
    fn perform(&mut self, operation: Operation) -> Answer {
        let one = |fd: OwnedFd| (Reply::Done, vec![fd]);
        let done = (Reply::Done, Vec::new());
        match operation {
            Operation::SetUp(setup) => {
                if self.namespaces.is_some() {
                    return Err(Failure::failed("the sandbox is set up already"));
                }
                self.namespaces = Some(namespaces::set_up(self.proof, *setup)?);
                Ok(done)
            }
            Operation::Signal { key, signal } => self.signal(key, signal).map(|()| done),
            Operation::CloseStdin { key } => {
                self.table.close_stdin(key);
                Ok(done)
            }
            Operation::Socket { domain, kind, protocol } => network::socket(domain, kind, protocol).map(one),
            Operation::Tun(config) => {
                let tun = network::tun(&config)?;
                if config.keep {
                    self.tun = Some(tun.try_clone().context(|| "cannot keep the TUN device")?);
                }
                Ok(one(tun))
            }
            Operation::KeptTun => match &self.tun {
                Some(tun) => tun.try_clone().context(|| "cannot hand over the TUN device").map(one),
                None => Ok(done),
            },
            Operation::Sysctl { name, value } => {
                let namespaces =
                    self.namespaces.as_ref().ok_or_else(|| Failure::failed("the sandbox is not set up"))?;
                network::write_sysctl(&namespaces.setup.linux, &name, &value).map(|()| done)
            }
            Operation::Forget { key } => {
                self.table.forget(key);
                Ok(done)
            }
            // Dealt with by the caller.
            Operation::Run(_) | Operation::Exec(_) | Operation::List | Operation::Exit => {
                Err(Failure::failed("not done here"))
            }
        }
    }

    fn signal(&self, key: Key, signal: i32) -> Result<(), Failure> {
        let process = self.table.get(key).filter(|process| process.status.is_none());
        let process = process.ok_or_else(|| Failure::new(FailureKind::NotRunning, "the process has ended"))?;
        if signal == libc::SIGKILL {
            process.lift_cpu_limit();
        }
        sys::send_signal(process.pidfd.as_fd(), signal).context(|| format!("cannot send signal {signal}"))
    }

    /// Tells the agent why a program was not started.
    fn start_failed(&mut self, id: u64, key: Key, started: Result<(), Failure>) {
        if let Err(failure) = started {
            self.table.forget(key);
            self.answer(id, Err(failure));
        }
    }

    /// Takes note of how the start of a process goes on, and tells the agent once it is decided.
    fn progress(&mut self, key: Key) {
        if let Some(outcome) = self.table.progress(key) {
            self.decided(key, outcome);
        }
    }

    fn decided(&mut self, key: Key, outcome: StartOutcome) {
        match outcome.result {
            Ok(started) => {
                let descriptors = self.table.descriptors(key);
                match descriptors {
                    Ok(descriptors) => self.answer(outcome.request, Ok((Reply::Started(started), descriptors))),
                    Err(failure) => self.answer(outcome.request, Err(failure)),
                }
            }
            Err(failure) => self.answer(outcome.request, Err(failure)),
        }
        if self.table.has_ended_early(key) {
            self.tell_end(key);
        }
    }

    /// Reaps everything that has ended.
    fn reap(&mut self) {
        // Reading takes the signal away; one stands for any number of ends.
        let mut buffer = [0; 128];
        while rustix::io::read(&self.ended, &mut buffer).is_ok_and(|length| length == buffer.len()) {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            match self.table.ended(pid, status.as_raw()) {
                Ended::Unknown => {}
                Ended::Prepared(key) => self.prepared(key),
                Ended::Told(key) => {
                    // Its start may not have been told yet; it has closed its socket by now.
                    while self.table.is_starting(key) {
                        self.progress(key);
                    }
                    self.tell_end(key);
                }
            }
        }
    }

    /// Hears the last of a process that was only to prepare another.
    fn prepared(&mut self, key: Key) {
        while self.table.only_prepares(key) && self.table.has_news(key) {
            self.progress(key);
        }
        if let Some(outcome) = self.table.give_up(key) {
            self.decided(key, outcome);
        }
    }

    fn tell_end(&mut self, key: Key) {
        if let Some(status) = self.table.get(key).and_then(|process| process.status) {
            self.tell(&Message::Exited { key, status }, &[]);
        }
    }

    /// Kills all that was started, and waits for its end.
    fn end_all(&mut self) {
        let shared = self.namespaces.as_mut().and_then(|namespaces| namespaces.shared_processes.take());
        self.table.kill_all(shared.as_ref().map(AsFd::as_fd));
    }

    fn list(&mut self, id: u64) {
        let mut all = Vec::new();
        let mut descriptors = Vec::new();
        for (key, process) in self.table.containers() {
            let Some(started) = process.started() else { continue };
            let Ok(own) = self.table.descriptors(key) else { continue };
            descriptors.extend(own);
            all.push(Listed { key, label: process.label.clone().unwrap_or_default(), started, status: process.status });
        }
        self.answer(id, Ok((Reply::Listed(all), descriptors)));
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        let (result, descriptors) = match answer {
            Ok((reply, descriptors)) => (Ok(reply), descriptors),
            Err(failure) => (Err(failure), Vec::new()),
        };
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.tell(&Message::Reply { id, result }, &descriptors);
    }

    fn tell(&mut self, message: &Message, descriptors: &[BorrowedFd<'_>]) {
        if let Some(control) = &self.control {
            // If the agent is gone, the end of its socket says so next.
            let _ = channel::send(control.as_fd(), message, descriptors);
        }
    }

    /// Lets the next agent in.
    fn take_up(&mut self) {
        let Some(listener) = self.namespaces.as_ref().and_then(|namespaces| namespaces.listener.as_ref()) else {
            return;
        };
        let Ok(socket) = rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC) else { return };
        let same_user = sys::peer(socket.as_fd()).is_ok_and(|(_, user)| user == rustix::process::geteuid().as_raw());
        if same_user {
            self.control = Some(socket);
        }
    }
}
