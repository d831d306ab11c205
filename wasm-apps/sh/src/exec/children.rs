//! Child processes and jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::Shell;
use crate::process::{self, Pid, Signal, Status};

/// The children of this process: those that run, and how the others ended.
#[derive(Debug, Default)]
pub(crate) struct Children {
    running: BTreeSet<Pid>,
    ended: BTreeMap<Pid, Status>,
}

/// Commands in the background.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) number: usize,
    pub(crate) pid: Pid,
    /// Its process group, if that is its own.
    pub(crate) group: Option<Pid>,
    pub(crate) text: String,
    pub(crate) ended: Option<Status>,
    /// Its output goes to the command substitution it was started in, which ends only with it.
    pub(crate) captured: bool,
}

/// What became of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Ended(Status),
    /// A signal came that the script does something about.
    Interrupted(Signal),
    /// There is no such child.
    Unknown,
}

impl Shell {
    pub(super) fn add_child(&mut self, pid: Pid) {
        self.children.running.insert(pid);
    }

    /// Waits for a child, whatever happens meanwhile.
    pub(crate) fn wait_for(&mut self, pid: Pid) -> Option<Status> {
        loop {
            match self.wait_or_signal(pid) {
                Waited::Ended(status) => return Some(status),
                Waited::Unknown => return None,
                // Its trap runs after the command.
                Waited::Interrupted(_) => {}
            }
        }
    }

    /// Waits for a child or a signal. Others that end meanwhile are remembered.
    pub(crate) fn wait_or_signal(&mut self, pid: Pid) -> Waited {
        loop {
            if let Some(status) = self.children.ended.remove(&pid) {
                return Waited::Ended(status);
            }
            if !self.children.running.contains(&pid) {
                return Waited::Unknown;
            }
            match process::wait(None) {
                Ok((child, status)) => self.child_ended(child, status),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.collect_signals();
                    if let Some(signal) = self.waiting_signal() {
                        return Waited::Interrupted(signal);
                    }
                }
                Err(_) => {
                    self.children.running.remove(&pid);
                    return Waited::Unknown;
                }
            }
        }
    }

    fn child_ended(&mut self, child: Pid, status: Status) {
        // Orphans that this process inherits are of no interest.
        if self.children.running.remove(&child) {
            self.children.ended.insert(child, status);
        }
    }

    /// Takes notice of the children that have ended, without waiting.
    pub(crate) fn reap(&mut self) {
        while let Ok((child, status)) = process::try_wait(None) {
            self.child_ended(child, status);
        }
        for job in &mut self.jobs {
            if job.ended.is_none() {
                job.ended = self.children.ended.get(&job.pid).copied();
            }
        }
    }

    pub(super) fn add_job(&mut self, pid: Pid, group: Option<Pid>, text: String, captured: bool) {
        let number = self.jobs.iter().map(|job| job.number).max().unwrap_or_default() + 1;
        self.jobs.push(Job { number, pid, group, text, ended: None, captured });
        self.state.last_background = Some(pid);
        // Nobody asks for the status of jobs as old as this.
        if self.jobs.len() > MAX_JOBS {
            self.reap();
            if let Some(oldest) = self.jobs.iter().position(|job| job.ended.is_some()) {
                self.forget_job(oldest);
            }
        }
    }

    /// Removes a job that has ended.
    pub(crate) fn forget_job(&mut self, index: usize) {
        let job = self.jobs.remove(index);
        self.children.ended.remove(&job.pid);
    }

    /// The place of the job that `%1`, `%%`, `%-` or `%name` means.
    pub(crate) fn find_job(&self, specification: &str) -> Option<usize> {
        let name = specification.strip_prefix('%')?;
        match name {
            "" | "%" | "+" => self.jobs.len().checked_sub(1),
            "-" => self.jobs.len().checked_sub(2),
            _ => match name.parse::<usize>() {
                Ok(number) => self.jobs.iter().position(|job| job.number == number),
                Err(_) => self.jobs.iter().position(|job| job.text.starts_with(name)),
            },
        }
    }
}

/// How many jobs are remembered, running ones aside.
const MAX_JOBS: usize = 512;
