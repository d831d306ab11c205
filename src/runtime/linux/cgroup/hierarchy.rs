//! Where on this machine control groups can be made, found out once.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::{Controller, Group};

/// The directory in which all of husk's groups are.
const OWN: &str = "husk";

/// How the names begin of the directories in there, one for each agent, which holds a lock on it for as long as it lives.
const AGENT: &str = "agent-";

/// How often an agent tries to make itself a directory before another one takes it for a leftover.
const MAX_ATTEMPTS: usize = 10;

/// A place for this agent's groups.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    is_unified: bool,
    controllers: Vec<Controller>,
    /// Tells other agents that this one lives.
    _lock: OwnedFd,
}

impl Drop for Place {
    fn drop(&mut self) {
        // What containers have that go on stays, for whoever finds it empty later.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// The places in which this user may make groups.
#[derive(Debug, Default)]
pub(in super::super) struct Hierarchies {
    places: Vec<Place>,
}

/// A mounted hierarchy and this process's place in it.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    directory: PathBuf,
    /// The top of the hierarchy as far as it shows.
    top: PathBuf,
    is_unified: bool,
    controllers: Vec<String>,
}

impl Hierarchies {
    /// Looks at this machine, and makes the directories in which containers' groups will be.
    pub(in super::super) fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mounted = mounted(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        Self { places: mounted.iter().filter_map(open).collect() }
    }

    /// Removes the groups of agents that are dead, as far as nothing runs in them.
    pub(in super::super) fn remove_leftovers(&self) {
        for parent in self.places.iter().filter_map(|place| place.directory.parent()) {
            for agent in directories(parent).into_iter().filter(|agent| is_agents(agent)) {
                if lock(&agent).is_ok() {
                    for group in directories(&agent) {
                        // One in which something runs cannot be removed.
                        let _ = fs::remove_dir(group);
                    }
                    let _ = fs::remove_dir(&agent);
                }
            }
        }
    }

    /// Whether limits of this kind can be set.
    pub(in super::super) fn limits(&self, controller: Controller) -> bool {
        self.places.iter().any(|place| place.controllers.contains(&controller))
    }

    /// Makes a group in each place that has controllers.
    pub(super) fn make_groups(&self, name: &str) -> Vec<Group> {
        let has_some = |place: &&Place| place.controllers.iter().any(|controller| *controller != Controller::Bare);
        let groups = self.places.iter().filter(has_some).filter_map(|place| {
            let directory = place.directory.join(name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => None,
                _ => Some(Group { directory, is_unified: place.is_unified, controllers: place.controllers.clone() }),
            }
        });
        groups.collect()
    }
}

/// What is mounted, from the lines of `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn mounted(mountinfo: &str, own: &str) -> Vec<Mounted> {
    let own: Vec<(Vec<&str>, &str)> = own
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?.split(',').collect(), fields.next()?))
        })
        .collect();
    let mut found: Vec<Mounted> = Vec::new();
    for line in mountinfo.lines() {
        // 36 35 98:0 /root /mount/point options [tags] - type source super-options
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut after = after.split(' ');
        let (Some(kind), Some(options)) = (after.next(), after.nth(1)) else { continue };
        let mut before = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (before.next(), before.next()) else { continue };
        let options: Vec<&str> = options.split(',').collect();
        let is_unified = kind == "cgroup2";
        if !is_unified && kind != "cgroup" {
            continue;
        }
        let place = own.iter().find(|(controllers, _)| {
            if is_unified { controllers == &[""] } else { controllers.iter().all(|name| options.contains(name)) }
        });
        let Some((controllers, path)) = place else { continue };
        let below = path.strip_prefix(root).filter(|_| root != "/").unwrap_or(path).trim_start_matches('/');
        let mounted = Mounted {
            directory: Path::new(point).join(below),
            top: PathBuf::from(point),
            is_unified,
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        };
        if !found.contains(&mounted) {
            found.push(mounted);
        }
    }
    found
}

fn controller(name: &str) -> Option<Controller> {
    match name {
        "memory" => Some(Controller::Memory),
        "cpu" => Some(Controller::Cpu),
        "cpuacct" => Some(Controller::CpuAccounting),
        "pids" => Some(Controller::Pids),
        _ => None,
    }
}

/// Makes this agent's directory in a hierarchy, if this user may.
fn open(mounted: &Mounted) -> Option<Place> {
    if !mounted.is_unified {
        let controllers: Vec<_> = mounted.controllers.iter().filter_map(|name| controller(name)).collect();
        if controllers.is_empty() {
            return None;
        }
        // Below this process, so that limits it is under itself hold for containers, too.
        let shared = mounted.directory.join(OWN);
        make(&shared).ok()?;
        let (directory, _lock) = make_own(&shared).ok()?;
        return Some(Place { directory, is_unified: false, controllers, _lock });
    }
    // At the top, where there may be processes beside groups; without root, below this process.
    let candidates = [mounted.top.join(OWN), mounted.directory.join(OWN)];
    let shared = candidates.into_iter().find(|directory| make(directory).is_ok())?;
    delegate(shared.parent()?, &shared);
    let (directory, _lock) = make_own(&shared).ok()?;
    let controllers = delegate(&shared, &directory);
    let mut controllers: Vec<_> = controllers.iter().filter_map(|name| controller(name)).collect();
    controllers.push(Controller::Bare);
    Some(Place { directory, is_unified: true, controllers, _lock })
}

/// Makes a directory of this agent's own and locks it.
fn make_own(shared: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    for _ in 0..MAX_ATTEMPTS {
        let directory = shared.join(format!("{AGENT}{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&directory)?;
        match lock(&directory) {
            Ok(lock) if directory.is_dir() => return Ok((directory, lock)),
            // Another agent, which was removing leftovers, was faster than the lock.
            Ok(_) | Err(_) => {
                let _ = fs::remove_dir(&directory);
            }
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Locks a directory, unless another process has.
fn lock(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive)?;
    Ok(opened)
}

fn is_agents(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(AGENT.as_bytes()))
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // It may be another user's.
            rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?;
            Ok(())
        }
        result => result,
    }
}

/// Passes controllers on from `parent` to `directory` and from there to the groups in it. Those that groups will have.
fn delegate(parent: &Path, directory: &Path) -> Vec<String> {
    let wanted = ["memory", "cpu", "pids"];
    let enable = |directory: &Path, name: &str| fs::write(directory.join("cgroup.subtree_control"), format!("+{name}"));
    for name in wanted {
        if enable(parent, name).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
            // A group with processes passes nothing on: this one moves into a group of its own.
            let agent = parent.join("husk-agent");
            if make(&agent).is_ok() && fs::write(agent.join("cgroup.procs"), "0").is_ok() {
                let _ = enable(parent, name);
            }
        }
        let _ = enable(directory, name);
    }
    let enabled = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
    enabled.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mountinfo: &str, own: &str) -> Vec<String> {
        let all = mounted(mountinfo, own).into_iter().map(|mounted| {
            format!("{} {} {}", mounted.directory.display(), mounted.is_unified, mounted.controllers.join("+"))
        });
        all.collect()
    }

    #[test]
    fn hierarchies_are_found_of_every_kind() {
        let unified = "29 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(
            shown(unified, "0::/user.slice/user-1000.slice/session-3.scope"),
            ["/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope true "]
        );
        let hybrid = "41 40 0:35 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      42 40 0:36 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      43 40 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      44 40 0:38 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd";
        assert_eq!(
            shown(hybrid, "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/"),
            [
                "/sys/fs/cgroup/memory/a/b false memory",
                "/sys/fs/cgroup/cpu,cpuacct/ false cpu+cpuacct",
                "/sys/fs/cgroup/unified/ true ",
                "/sys/fs/cgroup/systemd/ false name=systemd",
            ]
        );
        // In a container that shows only its own part.
        let part = "41 40 0:35 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        assert_eq!(shown(part, "4:memory:/docker/abc"), ["/sys/fs/cgroup/memory/ false memory"]);
    }
}
