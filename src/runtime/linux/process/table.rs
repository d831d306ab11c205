//! The processes a sandbox process has started: how far their start has come, their standard streams, their ends.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions};

use super::super::channel;
use super::super::protocol::{CgroupSpec, Context, Failure, Key, Label, Progress, Started};
use super::super::sys;
use super::{leftovers, user_namespace};

/// All of them.
#[derive(Default)]
pub(super) struct Table {
    processes: BTreeMap<Key, Process>,
    /// Ends of processes of which nobody has said yet what they are: a process may end before the one that has prepared
    /// it is heard.
    unclaimed: HashMap<Pid, i32>,
}

/// What the end of a process means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The agent is to be told.
    Told(Key),
    /// It was only to prepare another, of which it may have told.
    Prepared(Key),
    /// Nobody wants to know.
    Unknown,
}

/// One that was started.
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    /// The number under which `/proc` shows it, once it runs.
    pub(super) pid_in_proc: u32,
    /// Which container it is the main process of.
    pub(super) label: Option<Label>,
    pub(super) streams: Streams,
    /// While it is not decided whether the program runs.
    pub(super) starting: Option<Starting>,
    /// How it ended, as `waitpid` says.
    pub(super) status: Option<i32>,
    /// The mount namespace of what it leaves behind, where that does not end with it.
    pub(super) leaves: Option<OwnedFd>,
    /// Its control groups, which go with the sandbox if the agent went first.
    pub(super) cgroups: Vec<CgroupSpec>,
    /// Whether it is not to become the program itself, but to prepare the process that will, which was not born yet.
    pub(super) only_prepares: bool,
    /// Whether it had ended before it was known who it was.
    pub(super) ended_early: bool,
    /// Nobody wants to know how it ends.
    pub(super) is_abandoned: bool,
}

/// The sandbox's ends of a process's standard streams. They are kept for the next agent: a pipe whose reader went with
/// the agent would break the container.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) terminal: Option<OwnedFd>,
    /// Standard output and error.
    pub(super) output: Option<(OwnedFd, OwnedFd)>,
    pub(super) stdin: Option<OwnedFd>,
}

/// A start under way.
pub(super) struct Starting {
    /// The request to answer.
    pub(super) request: u64,
    /// The process tells here how it goes.
    pub(super) socket: OwnedFd,
    /// Whether it was about to become the program when last heard of.
    pub(super) is_executing: bool,
}

/// How a start went.
pub(super) struct StartOutcome {
    pub(super) request: u64,
    pub(super) result: Result<Started, Failure>,
}

impl Process {
    /// One that was started just now.
    pub(super) fn starting((pid, pidfd): (Pid, OwnedFd), streams: Streams, starting: Starting) -> Self {
        Self {
            pid,
            pidfd,
            pid_in_proc: 0,
            label: None,
            streams,
            starting: Some(starting),
            status: None,
            leaves: None,
            cgroups: Vec::new(),
            only_prepares: false,
            ended_early: false,
            is_abandoned: false,
        }
    }

    /// Before a container is killed: its processes take processor time to end, and where there are very many they would use
    /// up what the container is allowed, again and again.
    pub(super) fn lift_cpu_limit(&self) {
        if self.label.is_none() {
            return;
        }
        for group in &self.cgroups {
            let (file, unlimited) = if group.is_unified { ("cpu.max", "max") } else { ("cpu.cfs_quota_us", "-1") };
            // Groups of other controllers have no such file.
            let _ = std::fs::OpenOptions::new()
                .write(true)
                .open(group.directory.join(file))
                .and_then(|mut file| std::io::Write::write_all(&mut file, unlimited.as_bytes()));
        }
    }

    /// What is known of it once it runs.
    pub(super) fn started(&self) -> Option<Started> {
        if self.starting.is_some() || self.is_abandoned {
            return None;
        }
        Some(Started {
            pid: self.pid_in_proc,
            terminal: self.streams.terminal.is_some(),
            stdin: self.streams.stdin.is_some(),
        })
    }
}

impl Table {
    pub(super) fn insert(&mut self, key: Key, process: Process) {
        self.processes.insert(key, process);
    }

    pub(super) fn get(&self, key: Key) -> Option<&Process> {
        self.processes.get(&key)
    }

    /// Sockets of those that are starting.
    pub(super) fn starting(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>)> {
        self.processes.iter().filter_map(|(key, process)| Some((*key, process.starting.as_ref()?.socket.as_fd())))
    }

    pub(super) fn is_starting(&self, key: Key) -> bool {
        self.processes.get(&key).is_some_and(|process| process.starting.is_some())
    }

    pub(super) fn only_prepares(&self, key: Key) -> bool {
        self.processes.get(&key).is_some_and(|process| process.only_prepares)
    }

    /// Whether a process that is starting has said something that was not heard.
    pub(super) fn has_news(&self, key: Key) -> bool {
        let starting = self.processes.get(&key).and_then(|process| process.starting.as_ref());
        starting.is_some_and(|starting| {
            let mut fds = [PollFd::new(&starting.socket, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
        })
    }

    /// What comes of a start whose process has ended before there was another, if it has.
    pub(super) fn give_up(&mut self, key: Key) -> Option<StartOutcome> {
        let process = self.processes.get(&key).filter(|process| process.only_prepares)?;
        let request = process.starting.as_ref().map(|starting| starting.request);
        self.processes.remove(&key);
        let result = Err(Failure::failed("the process that was to prepare the program was killed"));
        request.map(|request| StartOutcome { request, result })
    }

    /// Whether a process has ended before its start was known, which was not told; from now on, it was.
    pub(super) fn has_ended_early(&mut self, key: Key) -> bool {
        let process = self.processes.get_mut(&key).filter(|process| process.starting.is_none());
        process.is_some_and(|process| std::mem::take(&mut process.ended_early))
    }

    /// Main processes of containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = (Key, &Process)> {
        self.processes.iter().filter(|(_, process)| process.label.is_some()).map(|(key, process)| (*key, process))
    }

    /// Hears one message of a process that is starting. How the start went, if that is decided now.
    pub(super) fn progress(&mut self, key: Key) -> Option<StartOutcome> {
        let process = self.processes.get_mut(&key)?;
        let starting = process.starting.as_mut()?;
        let result = match channel::receive::<Progress>(starting.socket.as_fd()) {
            Ok(Some(received)) => match received.message {
                Progress::Terminal => {
                    process.streams.terminal = received.descriptors.into_iter().next();
                    return None;
                }
                Progress::Born { pid } => {
                    let (pid, pidfd) = (Pid::from_raw(pid), received.descriptors.into_iter().next());
                    if let (Some(pid), Some(pidfd)) = (pid, pidfd) {
                        (process.pid, process.pidfd, process.only_prepares) = (pid, pidfd, false);
                        process.status = self.unclaimed.remove(&pid);
                        process.ended_early = process.status.is_some();
                        if process.is_abandoned {
                            self.forget(key);
                        }
                    }
                    self.forget_unclaimed();
                    return None;
                }
                Progress::MapIds { user, group } => {
                    match user_namespace::map_ids(process.pidfd.as_fd(), user, group, starting.socket.as_fd()) {
                        Ok(()) => return None,
                        Err(failure) => Err(failure),
                    }
                }
                Progress::Executing => {
                    starting.is_executing = true;
                    process.leaves = received.descriptors.into_iter().next();
                    return None;
                }
                Progress::Failed(failure) => Err(failure),
            },
            Ok(None) if starting.is_executing => Ok(()),
            Ok(None) => Err(Failure::failed("the container's first process ended before it became the program")),
            Err(error) => Err(Failure::failed(format!("cannot hear from the container's first process: {error}"))),
        };
        let request = starting.request;
        process.starting = None;
        if result.is_ok() && process.label.is_some() {
            process.pid_in_proc = user_namespace::pid_in_proc(process.pidfd.as_fd()).unwrap_or_default();
        }
        let result = match result {
            Ok(()) => self
                .processes
                .get(&key)
                .and_then(Process::started)
                .ok_or_else(|| Failure::failed("the start was given up")),
            Err(failure) => {
                self.forget(key);
                Err(failure)
            }
        };
        Some(StartOutcome { request, result })
    }

    /// Nobody will claim them once all who prepare are heard.
    fn forget_unclaimed(&mut self) {
        if self.processes.values().all(|process| !process.only_prepares) {
            self.unclaimed.clear();
        }
    }

    /// Duplicates of the sandbox's ends of a process's streams, in the order of [`Started`].
    pub(super) fn descriptors(&self, key: Key) -> Result<Vec<OwnedFd>, Failure> {
        let streams = self.processes.get(&key).map(|process| &process.streams);
        let streams = streams.ok_or_else(|| Failure::failed("there is no such process"))?;
        let output = streams.output.iter().flat_map(|(stdout, stderr)| [stdout, stderr]);
        let all: Vec<_> = match &streams.terminal {
            Some(terminal) => vec![terminal],
            None => output.chain(&streams.stdin).collect(),
        };
        let copies = all.into_iter().map(|fd| fd.try_clone().context(|| "cannot pass the standard streams on"));
        copies.collect()
    }

    /// The first process of a container that runs.
    pub(super) fn main_process(&self, container: &str) -> Option<&Process> {
        self.processes.values().find(|process| {
            let is_its = process.label.as_ref().is_some_and(|label| label.name == container);
            is_its && process.status.is_none() && process.starting.is_none()
        })
    }

    pub(super) fn close_stdin(&mut self, key: Key) {
        if let Some(process) = self.processes.get_mut(&key) {
            process.streams.stdin = None;
        }
    }

    /// Takes note of an end.
    pub(super) fn ended(&mut self, pid: Pid, status: i32) -> Ended {
        let found = self.processes.iter_mut().find(|(_, process)| process.pid == pid && process.status.is_none());
        let Some((key, process)) = found else {
            // Orphans of the pod's are nobody's.
            if self.processes.values().any(|process| process.only_prepares) {
                self.unclaimed.insert(pid, status);
            }
            return Ended::Unknown;
        };
        let key = *key;
        if process.only_prepares {
            return Ended::Prepared(key);
        }
        process.status = Some(status);
        if let Some(namespace) = process.leaves.take() {
            leftovers::kill_all(&namespace);
        }
        if process.is_abandoned {
            self.processes.remove(&key);
            return Ended::Unknown;
        }
        Ended::Told(key)
    }

    /// Forgets a process; kills it if it has not ended.
    pub(super) fn forget(&mut self, key: Key) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.status.is_some() {
            self.processes.remove(&key);
        } else {
            process.is_abandoned = true;
            process.streams = Streams::default();
            process.lift_cpu_limit();
            let _ = sys::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
        }
    }

    /// Kills the programs that were executed in containers: nobody will ever hear of them again.
    pub(super) fn forget_programs(&mut self) {
        let programs = self.processes.iter().filter(|(_, process)| process.label.is_none());
        let keys: Vec<_> = programs.map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.forget(key));
    }

    /// Kills all that runs, the first process of a shared PID namespace with it, and waits for its end.
    pub(super) fn kill_all(&mut self, shared: Option<BorrowedFd<'_>>) {
        let all = std::mem::take(&mut self.processes);
        let living = || all.values().filter(|process| process.status.is_none());
        living().for_each(Process::lift_cpu_limit);
        for pidfd in living().map(|process| process.pidfd.as_fd()).chain(shared) {
            let _ = sys::send_signal(pidfd, libc::SIGKILL);
        }
        // Whichever ends first: the first process of a PID namespace ends only when all others in it are reaped, and some
        // of them are children of this one.
        while rustix::process::wait(WaitOptions::empty()).is_ok_and(|ended| ended.is_some()) {}
        living().filter_map(|process| process.leaves.as_ref()).for_each(leftovers::kill_all);
        for group in all.values().flat_map(|process| &process.cgroups) {
            // What is not empty yet, or gone already, stays as it is.
            let _ = std::fs::remove_dir(&group.directory);
        }
    }
}
