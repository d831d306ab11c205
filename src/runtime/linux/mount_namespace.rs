//! Which processes are a container's: those in its mount namespace, which no other container has. This needs neither a
//! control group nor a PID namespace of its own. The number of a namespace is another's once it is gone: who kills by it
//! must keep the namespace.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::runtime::ResourceUsage;

/// What tells a container's processes from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MountNamespace(u64);

impl MountNamespace {
    /// That of a process, by its number in `/proc`.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::at(&Path::new("/proc").join(pid.to_string()))
    }

    /// That of a process, by its directory in `/proc`.
    pub(super) fn at(process: &Path) -> Option<Self> {
        fs::metadata(process.join("ns/mnt")).ok().map(|metadata| Self(metadata.ino()))
    }

    /// That of a process, by its directory in `/proc`, kept for as long as the descriptor is open.
    pub(super) fn keep(process: &Path) -> io::Result<OwnedFd> {
        Ok(fs::File::open(process.join("ns/mnt"))?.into())
    }

    /// That behind a descriptor.
    pub(super) fn behind(descriptor: &OwnedFd) -> Option<Self> {
        rustix::fs::fstat(descriptor).ok().map(|stat| Self(stat.st_ino))
    }

    /// Directories in `/proc` of the processes in it, as far as this one may know.
    pub(super) fn processes(self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let processes =
            entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
        processes.map(|entry| entry.path()).filter(|process| Self::at(process) == Some(self)).collect()
    }

    /// What its processes use now, and have used, those that were waited for included.
    pub(super) fn usage(self) -> ResourceUsage {
        let mut usage = ResourceUsage::default();
        for process in self.processes() {
            let read = |name: &str| fs::read_to_string(process.join(name)).unwrap_or_default();
            usage.memory_bytes += memory(&read("statm"), rustix::param::page_size() as u64);
            usage.cpu_time += cpu_time(&read("stat"), rustix::param::clock_ticks_per_second());
        }
        usage
    }
}

/// Memory that is a process's own, by the sizes in pages in `/proc/PID/statm`: the resident one without the shared one.
fn memory(statm: &str, page_size: u64) -> u64 {
    let mut numbers = statm.split_whitespace().skip(1).map_while(|number| number.parse::<u64>().ok());
    let (resident, shared) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    resident.saturating_sub(shared).saturating_mul(page_size)
}

/// Processor time of a process and of the children it has waited for: fields 14 to 17 of `/proc/PID/stat`, of which the
/// second may have blanks and parentheses in it.
fn cpu_time(stat: &str, ticks_per_second: u64) -> Duration {
    let Some((_, after)) = stat.rsplit_once(") ") else { return Duration::ZERO };
    let ticks: u64 = after.split_whitespace().skip(11).take(4).filter_map(|number| number.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks.saturating_mul(1000) / ticks_per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_writes_them() {
        assert_eq!(memory("2000 300 100 5 0 60 0\n", 4096), 200 * 4096);
        assert_eq!(memory("", 4096), 0);
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 20 5 20 0 1 0 100 0 0\n";
        assert_eq!(cpu_time(stat, 100), Duration::from_millis(2250));
        assert_eq!(cpu_time("", 100), Duration::ZERO);
    }

    #[test]
    fn a_process_is_in_its_own_namespace() {
        let own = MountNamespace::of(std::process::id()).unwrap();
        let found = own.processes();
        assert!(found.iter().any(|path| path.ends_with(std::process::id().to_string())), "{found:?}");
        assert!(own.usage().memory_bytes > 0);
    }
}
