//! `/proc` of a container: its processes, and the few other files programs look for there, in Linux's formats
//! (proc(5)). Guests have no CPU time of their own and no identity but root's: such numbers are 0.

use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use super::limits::MemoryAccount;
use super::process_table::{Pid, ProcessInfo, ProcessTable};
use crate::vfs::{Generated, Generator};

/// Units of time in `stat` a second (Linux's `USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The longest name of a command (Linux's `TASK_COMM_LEN`, less its NUL).
const MAX_COMM: usize = 15;

/// Files at the top.
const TOP: [&str; 6] = ["loadavg", "meminfo", "mounts", "stat", "uptime", "version"];

/// Files of a process.
const OF_PROCESS: [&str; 4] = ["cmdline", "comm", "stat", "status"];

/// Makes `/proc`.
#[derive(Debug)]
pub(super) struct ProcFs {
    processes: Weak<ProcessTable>,
    memory: Arc<MemoryAccount>,
}

impl ProcFs {
    /// `/proc` with these processes; `memory` is what they may use.
    pub(super) fn new(processes: &Arc<ProcessTable>, memory: &Arc<MemoryAccount>) -> Self {
        Self { processes: Arc::downgrade(processes), memory: Arc::clone(memory) }
    }

    fn top(&self, processes: &ProcessTable, name: &str) -> Option<String> {
        Some(match name {
            "uptime" => format!("{:.2} 0.00\n", processes.created().elapsed().as_secs_f64()),
            "loadavg" => {
                let listed = processes.list();
                let last = listed.iter().map(|process| process.pid).max().unwrap_or_default();
                format!("0.00 0.00 0.00 1/{} {last}\n", listed.len())
            }
            "meminfo" => {
                let (limit, used) = self.memory.limit_and_usage();
                let (total, free) = (limit / 1024, limit.saturating_sub(used) / 1024);
                format!(
                    "MemTotal:       {total:8} kB\nMemFree:        {free:8} kB\nMemAvailable:   {free:8} kB\n\
                     Buffers:               0 kB\nCached:                0 kB\nSwapTotal:             0 kB\n\
                     SwapFree:              0 kB\n"
                )
            }
            "mounts" => "rootfs / rootfs rw 0 0\nproc /proc proc ro 0 0\ndevtmpfs /dev devtmpfs rw 0 0\n".to_owned(),
            "stat" => format!("cpu  0 0 0 0 0 0 0 0 0 0\nprocesses {}\n", processes.list().len()),
            "version" => concat!("husk version ", env!("CARGO_PKG_VERSION"), " (WebAssembly)\n").to_owned(),
            _ => return None,
        })
    }
}

impl Generator for ProcFs {
    fn generate(&self, names: &[&str]) -> Option<Generated> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let processes = self.processes.upgrade()?;
        let process = |name: &str| {
            let pid: Pid = name.parse().ok()?;
            if pid.to_string() == name { processes.get(pid) } else { None }
        };
        match names {
            [] => {
                let pids = processes.list().into_iter().map(|process| process.pid.to_string());
                Some(Generated::Directory(pids.chain(owned(&TOP)).collect()))
            }
            [name] if TOP.contains(name) => self.top(&processes, name).map(|text| Generated::File(text.into())),
            [pid] => process(pid).map(|_| Generated::Directory(owned(&OF_PROCESS))),
            [pid, file] => of_process(&processes, &process(pid)?, file).map(|text| Generated::File(text.into())),
            _ => None,
        }
    }
}

fn of_process(processes: &ProcessTable, process: &ProcessInfo, file: &str) -> Option<String> {
    let ProcessInfo { pid, parent, group, .. } = process;
    let comm = comm(process);
    let state = if process.zombie { 'Z' } else { 'S' };
    Some(match file {
        "cmdline" if process.zombie => String::new(),
        "cmdline" => process.argv.iter().fold(String::new(), |text, argument| text + argument + "\0"),
        "comm" => format!("{comm}\n"),
        "stat" => {
            let started = process.started.saturating_duration_since(processes.created()).as_secs_f64();
            let ticks = (started * TICKS_PER_SECOND).floor();
            // After the group: session, terminal, its foreground group, flags, faults (4), times (4), priority, nice,
            // threads, an unused field; then when it started.
            format!("{pid} ({comm}) {state} {parent} {group} {group} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0\n")
        }
        "status" => {
            let long = if process.zombie { "zombie" } else { "sleeping" };
            let mut text =
                format!("Name:\t{comm}\nState:\t{state} ({long})\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\n");
            for line in ["Uid:\t0\t0\t0\t0", "Gid:\t0\t0\t0\t0", "Threads:\t1"] {
                // Writing to a string succeeds.
                let _ = writeln!(text, "{line}");
            }
            text
        }
        _ => return None,
    })
}

/// The name of a process's program, without its directory.
fn comm(process: &ProcessInfo) -> String {
    let name = process.argv.first().map(String::as_str).unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    name[..name.floor_char_boundary(MAX_COMM)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::wasm::process::Process;
    use crate::runtime::wasm::process_table::Group;
    use crate::runtime::wasm::signals::Signals;

    fn text(procfs: &ProcFs, path: &str) -> Option<String> {
        match procfs.generate(&path.split('/').collect::<Vec<_>>())? {
            Generated::File(content) => Some(String::from_utf8(content.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn processes_show_as_on_linux() {
        let processes = ProcessTable::new();
        let procfs = ProcFs::new(&processes, &MemoryAccount::new(Some(1 << 20)));
        let argv = ["/bin/sh", "-c", "sleep 1 ; echo a very long text"].map(str::to_owned);
        let add = |parent| {
            let process = Process::new(Signals::default());
            (processes.add(&process, parent, Group::Inherit, &argv).unwrap(), process)
        };
        let (_, _first) = add(0);
        tokio::time::advance(std::time::Duration::from_millis(1500)).await;
        let (_, _second) = add(1);
        assert_eq!(text(&procfs, "2/cmdline").unwrap(), "/bin/sh\0-c\0sleep 1 ; echo a very long text\0");
        assert_eq!(text(&procfs, "2/comm").unwrap(), "sh\n");
        assert_eq!(text(&procfs, "2/stat").unwrap(), "2 (sh) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 150 0 0\n");
        assert!(text(&procfs, "2/status").unwrap().contains("State:\tS (sleeping)\nTgid:\t2\nPid:\t2\nPPid:\t1\n"));
        assert_eq!(text(&procfs, "uptime").unwrap(), "1.50 0.00\n");
        assert!(text(&procfs, "meminfo").unwrap().starts_with("MemTotal:           1024 kB\n"));
        let Some(Generated::Directory(names)) = procfs.generate(&[]) else { panic!() };
        assert_eq!(names[..3], ["1", "2", "loadavg"]);
        for missing in ["3/comm", "02/comm", "1/environ", "x", "1/comm/x"] {
            assert_eq!(text(&procfs, missing), None, "{missing}");
        }
    }
}
