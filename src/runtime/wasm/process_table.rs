//! The processes of a container, or of a pod that shares its process namespace: numbers, parents, groups, and what is
//! left of a child until its parent has asked.
//!
//! A process whose parent has ended, or that was executed from outside, has none: nobody waits for it, so nothing of
//! it is left when it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::process::Process;
use crate::runtime::{ExitStatus, Signal};

/// A process's number.
pub(super) type Pid = u32;

/// Processes one table may hold, those that have ended and were not waited for included.
pub(super) const MAX_PROCESSES: usize = 256;

/// The largest number given (Linux's default `pid_max`); after it, numbers start over.
const MAX_PID: Pid = 32_768;

/// The number of the first process.
pub(super) const INIT: Pid = 1;

/// The group of a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Its parent's; its own where it has no parent.
    Inherit,
    /// One of its own.
    New,
    /// An existing one.
    Join(Pid),
}

/// What can be seen of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessInfo {
    /// Its number.
    pub(super) pid: Pid,
    /// Its parent; 0 for none.
    pub(super) parent: Pid,
    /// Its group.
    pub(super) group: Pid,
    /// Its arguments.
    pub(super) argv: Arc<[String]>,
    /// Whether it has ended and is to be waited for.
    pub(super) zombie: bool,
    /// When it was added.
    pub(super) started: Instant,
}

/// Who a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// One process.
    Process(Pid),
    /// All of a group.
    Group(Pid),
    /// All but the first process and this one.
    Others(Pid),
}

/// Why a process could not be added or reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProcessError {
    /// `EAGAIN`: [`MAX_PROCESSES`] are there.
    #[error("too many processes: there may be {MAX_PROCESSES}")]
    TooMany,
    /// `EPERM`: there is no such group to join.
    #[error("no such process group")]
    NoSuchGroup,
    /// `ESRCH`.
    #[error("no such process")]
    NotFound,
}

/// What asking for an ended child gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reaped {
    /// This one; it is gone now.
    Child(Pid, ExitStatus),
    /// None has ended yet.
    NotYet,
    /// There is no such child.
    NoChild,
}

/// The processes.
#[derive(Debug)]
pub(super) struct ProcessTable {
    created: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    entries: BTreeMap<Pid, Entry>,
    next: Pid,
}

#[derive(Debug)]
struct Entry {
    /// `None` for the pause process of a shared namespace, which is only a name.
    process: Option<Arc<Process>>,
    parent: Pid,
    group: Pid,
    argv: Arc<[String]>,
    started: Instant,
}

impl Entry {
    fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.has_ended())
    }
}

impl ProcessTable {
    /// The table of one container, whose first process gets number 1.
    pub(super) fn new() -> Arc<Self> {
        let state = State { entries: BTreeMap::new(), next: INIT };
        Arc::new(Self { created: Instant::now(), state: Mutex::new(state) })
    }

    /// The table of a pod with a shared process namespace: number 1 is the pod's pause process.
    pub(super) fn shared() -> Arc<Self> {
        let table = Self::new();
        let mut state = table.lock();
        let argv = ["/pause".to_owned()].into();
        state.entries.insert(INIT, Entry { process: None, parent: 0, group: INIT, argv, started: table.created });
        state.next = INIT + 1;
        drop(state);
        table
    }

    /// When the first process may have started.
    pub(super) fn created(&self) -> Instant {
        self.created
    }

    /// Lists a process that is about to start. `parent` is 0 for one that nobody in the table waits for.
    pub(super) fn add(
        self: &Arc<Self>,
        process: &Arc<Process>,
        parent: Pid,
        group: Group,
        argv: &[String],
    ) -> Result<Pid, ProcessError> {
        let mut state = self.lock();
        if state.entries.len() >= MAX_PROCESSES {
            return Err(ProcessError::TooMany);
        }
        let pid = state.free_pid();
        let group = match group {
            Group::Inherit => state.entries.get(&parent).map_or(pid, |parent| parent.group),
            Group::New => pid,
            Group::Join(group) if state.entries.values().any(|entry| entry.group == group) => group,
            Group::Join(_) => return Err(ProcessError::NoSuchGroup),
        };
        let entry =
            Entry { process: Some(Arc::clone(process)), parent, group, argv: argv.into(), started: Instant::now() };
        state.entries.insert(pid, entry);
        state.next = pid + 1;
        drop(state);
        process.set_entry(pid, self);
        Ok(pid)
    }

    /// Takes note that a process has ended: tells its parent, and leaves its children to nobody.
    pub(super) fn ended(&self, pid: Pid) {
        let mut state = self.lock();
        let mut orphans = Vec::new();
        for (child, entry) in state.entries.iter_mut().filter(|(_, entry)| entry.parent == pid) {
            entry.parent = 0;
            if entry.has_ended() {
                orphans.push(*child);
            }
        }
        for orphan in orphans {
            state.entries.remove(&orphan);
        }
        let parent = state.entries.get(&pid).map_or(0, |entry| entry.parent);
        let parent = state.entries.get(&parent).and_then(|parent| parent.process.clone());
        if parent.is_none() {
            state.entries.remove(&pid);
        }
        drop(state);
        if let Some(parent) = parent {
            parent.signal(Signal::Chld);
            parent.child_ended().notify_waiters();
        }
    }

    /// Takes note that a process runs another program now.
    pub(super) fn rename(&self, pid: Pid, argv: &[String]) {
        if let Some(entry) = self.lock().entries.get_mut(&pid) {
            entry.argv = argv.into();
        }
    }

    /// Leaves a process to nobody: what is left of it when it ends is gone at once.
    pub(super) fn disown(&self, pid: Pid) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(&pid) else { return };
        entry.parent = 0;
        if entry.has_ended() {
            state.entries.remove(&pid);
        }
    }

    /// Takes an ended child of `parent` off the table: `child`, or any.
    pub(super) fn reap(&self, parent: Pid, child: Option<Pid>) -> Reaped {
        let mut state = self.lock();
        let mut children = state.entries.iter();
        let mut reaped = Reaped::NoChild;
        let found = children.find_map(|(pid, entry)| {
            if entry.parent != parent || child.is_some_and(|child| child != *pid) {
                return None;
            }
            reaped = Reaped::NotYet;
            Some((*pid, entry.process.as_ref()?.exit_status()?))
        });
        if let Some((pid, status)) = found {
            state.entries.remove(&pid);
            reaped = Reaped::Child(pid, status);
        }
        reaped
    }

    /// Sends a signal, or with `None` only checks whether there is someone to send it to.
    pub(super) fn signal(&self, target: Target, signal: Option<Signal>) -> Result<(), ProcessError> {
        let state = self.lock();
        let meant = |pid: Pid, entry: &Entry| match target {
            Target::Process(wanted) => pid == wanted,
            Target::Group(group) => entry.group == group,
            Target::Others(sender) => pid != sender && pid != INIT,
        };
        let found: Vec<_> = state.entries.iter().filter(|(pid, entry)| meant(**pid, entry)).collect();
        if found.is_empty() {
            return Err(ProcessError::NotFound);
        }
        let processes: Vec<_> = found.into_iter().filter_map(|(_, entry)| entry.process.clone()).collect();
        drop(state);
        if let Some(signal) = signal {
            processes.iter().for_each(|process| process.signal(signal));
        }
        Ok(())
    }

    /// What is known of one process.
    pub(super) fn get(&self, pid: Pid) -> Option<ProcessInfo> {
        self.lock().entries.get(&pid).map(|entry| entry.info(pid))
    }

    /// Every process, by number.
    pub(super) fn list(&self) -> Vec<ProcessInfo> {
        self.lock().entries.iter().map(|(pid, entry)| entry.info(*pid)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn info(&self, pid: Pid) -> ProcessInfo {
        ProcessInfo {
            pid,
            parent: self.parent,
            group: self.group,
            argv: Arc::clone(&self.argv),
            zombie: self.has_ended(),
            started: self.started,
        }
    }
}

impl State {
    /// The next number that is neither a process's nor a group's. There is one: the table is much smaller.
    fn free_pid(&self) -> Pid {
        let mut pid = self.next;
        loop {
            if pid > MAX_PID {
                pid = INIT + 1;
            }
            if !self.entries.contains_key(&pid) && self.entries.values().all(|entry| entry.group != pid) {
                return pid;
            }
            pid += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::runtime::wasm::process::exited;
    use crate::runtime::wasm::signals::Signals;

    fn argv(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    fn add(table: &Arc<ProcessTable>, parent: Pid) -> (Pid, Arc<Process>) {
        let process = Process::new(Signals::default());
        (table.add(&process, parent, Group::Inherit, &argv("a")).unwrap(), process)
    }

    /// Runs a process to its end.
    async fn end(process: &Arc<Process>, code: i32) {
        process.start(CancellationToken::new(), async move { exited(code) });
        process.wait().await;
    }

    #[tokio::test]
    async fn a_child_is_kept_until_its_parent_has_asked() {
        let table = ProcessTable::new();
        let (shell, _) = add(&table, 0);
        let (first, first_process) = add(&table, shell);
        let (second, second_process) = add(&table, shell);
        assert_eq!((shell, first, second), (1, 2, 3));
        assert_eq!(table.reap(shell, None), Reaped::NotYet);
        end(&second_process, 3).await;
        assert!(table.get(second).unwrap().zombie);
        assert_eq!(table.reap(shell, Some(first)), Reaped::NotYet);
        assert_eq!(table.reap(shell, None), Reaped::Child(second, exited(3)));
        end(&first_process, 0).await;
        assert_eq!(table.reap(shell, Some(first)), Reaped::Child(first, exited(0)));
        assert_eq!(table.reap(shell, None), Reaped::NoChild);
    }

    #[tokio::test]
    async fn children_of_the_dead_are_nobodys_and_leave_nothing() {
        let table = ProcessTable::new();
        let (_, _main) = add(&table, 0);
        let (parent, parent_process) = add(&table, 1);
        let (zombie, zombie_process) = add(&table, parent);
        let (running, running_process) = add(&table, parent);
        end(&zombie_process, 0).await;
        end(&parent_process, 0).await;
        assert_eq!(table.get(zombie), None);
        assert_eq!(table.get(running).unwrap().parent, 0);
        end(&running_process, 0).await;
        assert_eq!(table.get(running), None);
    }

    #[tokio::test]
    async fn the_table_is_bounded_and_numbers_come_round() {
        let table = ProcessTable::new();
        let first: Vec<_> = (0..MAX_PROCESSES).map(|_| add(&table, 0)).collect();
        let process = Process::new(Signals::default());
        assert_eq!(table.add(&process, 1, Group::Inherit, &argv("a")), Err(ProcessError::TooMany));
        end(&first[5].1, 0).await;
        table.lock().next = MAX_PID + 1;
        assert_eq!(table.add(&process, 1, Group::Inherit, &argv("a")), Ok(6));
    }

    #[tokio::test]
    async fn groups_are_inherited_made_and_joined() {
        let table = ProcessTable::shared();
        let group_of = |pid| table.get(pid).unwrap().group;
        let (shell, _) = add(&table, 0);
        let add = |group| table.add(&Process::new(Signals::default()), shell, group, &argv("a"));
        assert_eq!((shell, group_of(shell)), (2, 2));
        assert_eq!(group_of(add(Group::Inherit).unwrap()), shell);
        let leader = add(Group::New).unwrap();
        assert_eq!(group_of(leader), leader);
        assert_eq!(group_of(add(Group::Join(leader)).unwrap()), leader);
        assert_eq!(add(Group::Join(99)), Err(ProcessError::NoSuchGroup));
        assert_eq!(table.signal(Target::Group(leader), None), Ok(()));
        assert_eq!(table.signal(Target::Process(99), Some(Signal::Term)), Err(ProcessError::NotFound));
    }

    #[tokio::test]
    async fn a_signal_to_all_spares_the_first_process_and_the_sender() {
        let table = ProcessTable::new();
        let processes: Vec<_> = (0..4).map(|_| add(&table, 0)).collect();
        table.signal(Target::Others(2), Some(Signal::Term)).unwrap();
        let ended: Vec<_> = processes.iter().map(|(_, process)| process.has_ended()).collect();
        assert_eq!(ended, [false, false, true, true]);
    }
}
