//! The processes a sandbox process has started: how far their start has come, their standard streams, their ends.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{Pid, WaitOptions};

use super::super::channel;
use super::super::mount_namespace::MountNamespace;
use super::super::protocol::{Context, Failure, Key, Label, Progress, Started};
use super::super::sys;
use super::{leftovers, user_namespace};

/// All of them.
#[derive(Default)]
pub(super) struct Table(BTreeMap<Key, Process>);

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
    /// Whether it is in a PID namespace of others, so that what it has started may outlive it.
    pub(super) shares_processes: bool,
    /// What tells what it leaves behind, where that does not end with it.
    pub(super) leaves: Option<MountNamespace>,
    /// Its control groups, which go with the sandbox if the agent went first.
    pub(super) cgroups: Vec<PathBuf>,
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
            shares_processes: false,
            leaves: None,
            cgroups: Vec::new(),
            is_abandoned: false,
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
        self.0.insert(key, process);
    }

    pub(super) fn get(&self, key: Key) -> Option<&Process> {
        self.0.get(&key)
    }

    /// Sockets of those that are starting.
    pub(super) fn starting(&self) -> impl Iterator<Item = (Key, BorrowedFd<'_>)> {
        self.0.iter().filter_map(|(key, process)| Some((*key, process.starting.as_ref()?.socket.as_fd())))
    }

    pub(super) fn is_starting(&self, key: Key) -> bool {
        self.0.get(&key).is_some_and(|process| process.starting.is_some())
    }

    /// Main processes of containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = (Key, &Process)> {
        self.0.iter().filter(|(_, process)| process.label.is_some()).map(|(key, process)| (*key, process))
    }

    /// Hears one message of a process that is starting. How the start went, if that is decided now.
    pub(super) fn progress(&mut self, key: Key) -> Option<StartOutcome> {
        let process = self.0.get_mut(&key)?;
        let starting = process.starting.as_mut()?;
        let result = match channel::receive::<Progress>(starting.socket.as_fd()) {
            Ok(Some(received)) => match received.message {
                Progress::Terminal => {
                    process.streams.terminal = received.descriptors.into_iter().next();
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
            if process.shares_processes {
                process.leaves = MountNamespace::of(process.pid_in_proc);
            }
        }
        let result = match result {
            Ok(()) => {
                self.0.get(&key).and_then(Process::started).ok_or_else(|| Failure::failed("the start was given up"))
            }
            Err(failure) => {
                self.forget(key);
                Err(failure)
            }
        };
        Some(StartOutcome { request, result })
    }

    /// Duplicates of the sandbox's ends of a process's streams, in the order of [`Started`].
    pub(super) fn descriptors(&self, key: Key) -> Result<Vec<OwnedFd>, Failure> {
        let streams = self.0.get(&key).map(|process| &process.streams);
        let streams = streams.ok_or_else(|| Failure::failed("there is no such process"))?;
        let output = streams.output.iter().flat_map(|(stdout, stderr)| [stdout, stderr]);
        let all: Vec<_> = match &streams.terminal {
            Some(terminal) => vec![terminal],
            None => output.chain(&streams.stdin).collect(),
        };
        let copies = all.into_iter().map(|fd| fd.try_clone().context(|| "cannot pass the standard streams on"));
        copies.collect()
    }

    pub(super) fn close_stdin(&mut self, key: Key) {
        if let Some(process) = self.0.get_mut(&key) {
            process.streams.stdin = None;
        }
    }

    /// Takes note of an end. The key, if the agent is to be told.
    pub(super) fn ended(&mut self, pid: Pid, status: i32) -> Option<Key> {
        let found = self.0.iter_mut().find(|(_, process)| process.pid == pid && process.status.is_none());
        let (key, process) = found?;
        let key = *key;
        process.status = Some(status);
        if let Some(namespace) = process.leaves {
            leftovers::kill_all(namespace);
        }
        if process.is_abandoned {
            self.0.remove(&key);
            return None;
        }
        Some(key)
    }

    /// Forgets a process; kills it if it has not ended.
    pub(super) fn forget(&mut self, key: Key) {
        let Some(process) = self.0.get_mut(&key) else { return };
        if process.status.is_some() {
            self.0.remove(&key);
        } else {
            process.is_abandoned = true;
            process.streams = Streams::default();
            let _ = sys::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
        }
    }

    /// Kills all that runs, and waits for its end.
    pub(super) fn kill_all(&mut self) {
        let all = std::mem::take(&mut self.0);
        let living = || all.values().filter(|process| process.status.is_none());
        for process in living() {
            let _ = sys::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
        }
        // Whichever ends first: the first process of a container's PID namespace ends only when all others in it are reaped.
        let mut waited_for: HashSet<Pid> = living().map(|process| process.pid).collect();
        while !waited_for.is_empty() {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) => waited_for.remove(&pid),
                Err(rustix::io::Errno::INTR) => false,
                Ok(None) | Err(_) => break,
            };
        }
        living().filter_map(|process| process.leaves).for_each(leftovers::kill_all);
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        for group in all.values().flat_map(|process| &process.cgroups).filter_map(|file| file.parent()) {
            // What is not empty yet, or gone already, stays as it is.
            let _ = std::fs::remove_dir(group);
        }
    }
}
