//! A container's control groups: limits, figures, and whether memory ran out. With the unified hierarchy (v2), with one
//! hierarchy for each controller (v1), and with both at once; files are written directly, for what is missing on one
//! machine must not keep the rest from working.

mod hierarchy;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::hierarchy::Hierarchies;
use super::protocol::CgroupSpec;
use crate::base::id::ContainerId;
use crate::runtime::{ContainerConfig, LinuxContainerResources, ResourceLimits};

/// The time over which a limit of the processors' is kept, in microseconds (kubelet v1.36 `cpuCFSQuotaPeriod`).
const CPU_PERIOD: u64 = 100_000;
/// The least time within a period that the kernel takes for a limit.
const MIN_CPU_QUOTA: u64 = 1_000;
/// The least share of the processors.
const MIN_CPU_SHARES: u64 = 2;

/// How often the removal of a group is tried: processes that were killed leave it a moment later.
const REMOVE_ATTEMPTS: u32 = 50;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// A kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Controller {
    Memory,
    Cpu,
    /// How much processor time was used, which v1 has apart.
    CpuAccounting,
    Pids,
    /// The unified hierarchy without controllers: it still kills what is in a group.
    Bare,
}

/// One directory of a container's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    directory: PathBuf,
    /// Whether it is one of the unified hierarchy.
    is_unified: bool,
    controllers: Vec<Controller>,
}

/// A container's control groups; none, where this user may not make any, or nothing is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cgroup {
    groups: Vec<Group>,
}

/// A limit that could not be set, in words for the user.
pub(super) type Problem = String;

impl Cgroup {
    /// Makes a container's groups and sets its limits. What cannot be done is returned in words.
    pub(super) fn create(
        hierarchies: &Hierarchies,
        id: &ContainerId,
        config: &ContainerConfig,
        resources: &LinuxContainerResources,
    ) -> (Self, Vec<Problem>) {
        // Whether there are limits or not: they may come later, and figures are told of every container.
        let mut cgroup = Self { groups: hierarchies.make_groups(&id.0) };
        let limits = ResourceLimits { memory_bytes: config.memory_limit, cpu_millis: config.cpu_limit_millis };
        let mut problems = Vec::new();
        let mut note = |what: &str, result: io::Result<()>| {
            if let Err(error) = result {
                problems.push(format!("{what} cannot be limited: {error}"));
            }
        };
        if limits.memory_bytes.is_some() {
            note("memory", cgroup.set_memory(limits.memory_bytes));
        }
        if limits.cpu_millis.is_some() {
            note("CPU", cgroup.set_cpu(limits.cpu_millis));
        }
        if let Some(limit) = resources.pids_limit {
            let limited = cgroup.write(Controller::Pids, "pids.max", "pids.max", limit);
            // A pod cannot ask for this one: where nothing else was asked for, nobody misses it.
            if limited.is_ok() || limits != ResourceLimits::default() {
                note("the number of processes", limited);
            }
        }
        if let Some(request) = resources.cpu_request_millis {
            // A share is a preference; nobody is told that there is none.
            let _ = cgroup.set_cpu_request(request);
        }
        cgroup.groups.retain(|group| group.directory.is_dir());
        (cgroup, problems)
    }

    /// What a process has to be in.
    pub(super) fn specs(&self) -> Vec<CgroupSpec> {
        let spec = |group: &Group| CgroupSpec { directory: group.directory.clone(), is_unified: group.is_unified };
        self.groups.iter().map(spec).collect()
    }

    fn group(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }

    fn write(&self, controller: Controller, unified: &str, v1: &str, value: impl ToString) -> io::Result<()> {
        let missing = || io::Error::other("this user may not, or the system has no such controller");
        let group = self.group(controller).ok_or_else(missing)?;
        let file = if group.is_unified { unified } else { v1 };
        fs::write(group.directory.join(file), value.to_string())
    }

    fn set_memory(&self, limit: Option<u64>) -> io::Result<()> {
        let Some(group) = self.group(Controller::Memory) else {
            return self.write(Controller::Memory, "memory.max", "memory.limit_in_bytes", "");
        };
        if group.is_unified {
            let value = limit.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
            fs::write(group.directory.join("memory.max"), value)?;
            // No swap (kubelet v1.36 `NoSwap`), and what runs together dies together (`memory.oom.group`).
            let _ = fs::write(group.directory.join("memory.swap.max"), "0");
            let _ = fs::write(group.directory.join("memory.oom.group"), "1");
            return Ok(());
        }
        let value = limit.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        let with_swap = group.directory.join("memory.memsw.limit_in_bytes");
        // The limit with swap can never be below the one without, so that it goes first or last.
        let raised_first = fs::write(&with_swap, &value).is_ok();
        fs::write(group.directory.join("memory.limit_in_bytes"), &value)?;
        if !raised_first {
            let _ = fs::write(&with_swap, &value);
        }
        Ok(())
    }

    fn set_cpu(&self, millis: Option<u64>) -> io::Result<()> {
        let quota = millis.map(|millis| (millis.saturating_mul(CPU_PERIOD) / 1000).max(MIN_CPU_QUOTA));
        if self.group(Controller::Cpu).is_some_and(|group| !group.is_unified) {
            self.write(Controller::Cpu, "", "cpu.cfs_period_us", CPU_PERIOD)?;
            let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
            return self.write(Controller::Cpu, "", "cpu.cfs_quota_us", quota);
        }
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        self.write(Controller::Cpu, "cpu.max", "", format!("{quota} {CPU_PERIOD}"))
    }

    fn set_cpu_request(&self, millis: u64) -> io::Result<()> {
        let shares = (millis.saturating_mul(1024) / 1000).clamp(MIN_CPU_SHARES, 262_144);
        if self.group(Controller::Cpu).is_some_and(|group| group.is_unified) {
            // As the OCI runtimes convert one to the other.
            return self.write(Controller::Cpu, "cpu.weight", "", 1 + (shares - 2) * 9999 / 262_142);
        }
        self.write(Controller::Cpu, "", "cpu.shares", shares)
    }

    /// Replaces both limits while the container runs.
    pub(super) fn update(&self, limits: ResourceLimits) -> io::Result<()> {
        let used = self.memory_usage().unwrap_or_default();
        if let Some(limit) = limits.memory_bytes.filter(|limit| *limit < used) {
            return Err(io::Error::other(format!("the memory limit {limit} is below the {used} bytes in use")));
        }
        if self.group(Controller::Memory).is_some() || limits.memory_bytes.is_some() {
            self.set_memory(limits.memory_bytes)?;
        }
        if self.group(Controller::Cpu).is_some() || limits.cpu_millis.is_some() {
            self.set_cpu(limits.cpu_millis)?;
        }
        Ok(())
    }

    /// What is used, as far as the groups know: memory that cannot simply be given back (kubelet's working set), and
    /// processor time.
    pub(super) fn figures(&self) -> (Option<u64>, Option<Duration>) {
        (self.memory_usage(), self.cpu_usage())
    }

    fn memory_usage(&self) -> Option<u64> {
        let group = self.group(Controller::Memory)?;
        let (usage, inactive) = if group.is_unified {
            ("memory.current", "inactive_file")
        } else {
            ("memory.usage_in_bytes", "total_inactive_file")
        };
        let usage = read_number(&group.directory.join(usage))?;
        let inactive = read_field(&group.directory.join("memory.stat"), inactive).unwrap_or_default();
        Some(usage.saturating_sub(inactive))
    }

    fn cpu_usage(&self) -> Option<Duration> {
        if let Some(group) = self.group(Controller::CpuAccounting).filter(|group| !group.is_unified) {
            return read_number(&group.directory.join("cpuacct.usage")).map(Duration::from_nanos);
        }
        // Every group of the unified hierarchy has this, whatever its controllers.
        let group = self.groups.iter().find(|group| group.is_unified)?;
        read_field(&group.directory.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
    }

    /// Whether the kernel has killed something in the container because its limit was reached.
    pub(super) fn has_run_out_of_memory(&self) -> bool {
        let Some(group) = self.group(Controller::Memory) else { return false };
        let file = if group.is_unified { "memory.events" } else { "memory.oom_control" };
        read_field(&group.directory.join(file), "oom_kill").is_some_and(|kills| kills > 0)
    }

    /// Kills what is left in the groups: processes of a container that shares its PID namespace outlive its first one.
    pub(super) fn kill(&self) {
        for group in &self.groups {
            if group.is_unified && fs::write(group.directory.join("cgroup.kill"), "1").is_ok() {
                return;
            }
        }
        let Some(group) = self.groups.first() else { return };
        let pids = fs::read_to_string(group.directory.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Removes the groups, and what is left in them. Takes a moment, and so belongs where waiting hurts nobody.
    pub(super) fn remove(&self) {
        for attempt in 0..REMOVE_ATTEMPTS {
            let is_gone = |group: &Group| match fs::remove_dir(&group.directory) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            if self.groups.iter().filter(|group| !is_gone(group)).count() == 0 {
                return;
            }
            self.kill();
            if attempt > 0 {
                pause(REMOVE_PAUSE);
            }
        }
        tracing::warn!(groups = ?self.groups, "control groups of a container cannot be removed");
    }
}

/// Waits, in a thread that may.
fn pause(duration: Duration) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(duration);
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number after `name` in a file of lines with a name and a number each.
fn read_field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups in plain directories, which show what is written where.
    fn groups(directory: &Path, is_unified: bool, controllers: &[&[Controller]]) -> Cgroup {
        let group = |(index, controllers): (usize, &&[Controller])| {
            let directory = directory.join(index.to_string());
            fs::create_dir(&directory).unwrap();
            Group { directory, is_unified, controllers: controllers.to_vec() }
        };
        Cgroup { groups: controllers.iter().enumerate().map(group).collect() }
    }

    fn written(directory: &Path, file: &str) -> String {
        fs::read_to_string(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn limits(memory: Option<u64>, cpu: Option<u64>) -> ResourceLimits {
        ResourceLimits { memory_bytes: memory, cpu_millis: cpu }
    }

    #[test]
    fn limits_of_the_unified_hierarchy_are_in_one_group() {
        let directory = tempfile::tempdir().unwrap();
        let all = [Controller::Memory, Controller::Cpu, Controller::Pids, Controller::Bare];
        let cgroup = groups(directory.path(), true, &[&all]);
        let group = directory.path().join("0");
        cgroup.update(limits(Some(64 << 20), Some(250))).unwrap();
        cgroup.set_cpu_request(500).unwrap();
        let said = ["memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "cpu.weight"];
        assert_eq!(said.map(|file| written(&group, file)), ["67108864", "0", "1", "25000 100000", "20"]);
        fs::write(group.join("memory.current"), "5000\n").unwrap();
        fs::write(group.join("memory.stat"), "anon 1\ninactive_file 1000\n").unwrap();
        fs::write(group.join("cpu.stat"), "usage_usec 1500\nuser_usec 1\n").unwrap();
        assert_eq!(cgroup.figures(), (Some(4000), Some(Duration::from_micros(1500))));
        let error = cgroup.update(limits(Some(3000), None)).unwrap_err().to_string();
        assert_eq!(error, "the memory limit 3000 is below the 4000 bytes in use");
        cgroup.update(limits(None, None)).unwrap();
        assert_eq!(["memory.max", "cpu.max"].map(|file| written(&group, file)), ["max", "max 100000"]);
        fs::write(group.join("memory.events"), "oom 1\noom_kill 0\n").unwrap();
        assert!(!cgroup.has_run_out_of_memory());
        fs::write(group.join("memory.events"), "oom 1\noom_kill 2\n").unwrap();
        assert!(cgroup.has_run_out_of_memory());
    }

    #[test]
    fn limits_of_v1_are_in_a_group_for_each_controller() {
        let directory = tempfile::tempdir().unwrap();
        let all: [&[Controller]; 3] =
            [&[Controller::Memory], &[Controller::Cpu, Controller::CpuAccounting], &[Controller::Pids]];
        let cgroup = groups(directory.path(), false, &all);
        let group = |index: usize| directory.path().join(index.to_string());
        cgroup.update(limits(Some(64 << 20), Some(5))).unwrap();
        assert_eq!(written(&group(0), "memory.limit_in_bytes"), "67108864");
        let cpu = ["cpu.cfs_period_us", "cpu.cfs_quota_us"].map(|file| written(&group(1), file));
        assert_eq!(cpu, ["100000", "1000"]);
        fs::write(group(1).join("cpuacct.usage"), "7000\n").unwrap();
        assert_eq!(cgroup.figures().1, Some(Duration::from_nanos(7000)));
        fs::write(group(0).join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n").unwrap();
        assert!(cgroup.has_run_out_of_memory());
        cgroup.update(limits(None, None)).unwrap();
        assert_eq!(written(&group(0), "memory.limit_in_bytes"), "-1");
        assert_eq!(written(&group(1), "cpu.cfs_quota_us"), "-1");
    }

    #[test]
    fn what_cannot_be_limited_is_told() {
        let error = Cgroup::default().update(limits(Some(1 << 20), None)).unwrap_err().to_string();
        assert_eq!(error, "this user may not, or the system has no such controller");
        Cgroup::default().update(limits(None, None)).unwrap();
    }
}
