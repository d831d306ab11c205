//! Without root: the agent enters a user namespace, in which it is root over namespaces, mounts and networks of its own.
//! It does so before it has a second thread, and from then on does what it would do as root.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Gid, Uid, WaitId, WaitIdOptions, getegid, geteuid, waitid};

use super::sys::{self, SingleThreaded};

/// Who maps ranges of IDs for users that `/etc/subuid` and `/etc/subgid` give some.
const MAPPERS: [&str; 2] = ["newuidmap", "newgidmap"];

/// Which IDs a user namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappedIds {
    /// This process is root of the system: all.
    All,
    /// The user alone, who is root inside.
    One,
    /// The user, who is root inside, and the user's ranges of subordinate IDs.
    Range,
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// It is too late.
    #[error("a user namespace has to be entered before other threads are started: {0}")]
    Threads(#[source] io::Error),
    /// The system does not let this user make one.
    #[error("this system does not let you make a user namespace: {0}")]
    Refused(#[source] io::Error),
    /// It was made, but has no IDs.
    #[error("the IDs of the user namespace cannot be mapped: {0}")]
    Map(#[source] io::Error),
}

/// Makes this process root of a user namespace of its own, with mounts of its own, unless it is root already. To be called
/// first thing in `main` by agents; `support` says why where it fails.
///
/// # Errors
/// When the system does not allow it. Then nothing has changed and native containers cannot be run.
pub fn enter_user_namespace() -> Result<MappedIds, UserNamespaceError> {
    if geteuid().is_root() {
        return Ok(MappedIds::All);
    }
    let proof = SingleThreaded::claim().map_err(UserNamespaceError::Threads)?;
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let (tell, told) = io::pipe().map_err(UserNamespaceError::Map).map(|(reader, writer)| (writer, reader))?;
    let ranges = SubordinateIds::of(user).filter(|_| MAPPERS.iter().all(|name| find_program(name).is_some()));
    let mapper = match &ranges {
        Some(ranges) => Some(start_mapper(proof, ranges, (user, group), told).map_err(UserNamespaceError::Map)?),
        None => None,
    };
    let unshared = sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
    if unshared.is_ok() {
        let _ = io::Write::write_all(&mut &tell, b"x");
    }
    drop(tell);
    let is_mapped = mapper.is_some_and(|pidfd| {
        let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        ended.is_ok_and(|ended| ended.is_some_and(|status| status.exit_status() == Some(0)))
    });
    unshared.map_err(UserNamespaceError::Refused)?;
    let ids = if is_mapped { MappedIds::Range } else { map_one(user, group).map_err(UserNamespaceError::Map)? };
    // Nobody is root yet: the process has all rights, but still the number of an unmapped user until it is asked anew.
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .and_then(|()| rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))
        .map_err(|error| UserNamespaceError::Map(error.into()))?;
    Ok(ids)
}

/// Whether this process is in a user namespace other than the system's.
pub(super) fn is_inside() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// The user alone. Groups can then not be changed any more, which would be a way out of those that are denied something.
fn map_one(user: u32, group: u32) -> io::Result<MappedIds> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    Ok(MappedIds::One)
}

/// Ranges of IDs that a user may map: first and count.
#[derive(Debug, PartialEq, Eq)]
struct SubordinateIds {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl SubordinateIds {
    fn of(user: u32) -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let passwd = read("/etc/passwd");
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(user)).then_some(name)
        });
        let of = |path: &str| ranges(&read(path), name, user);
        let found = Self { users: of("/etc/subuid"), groups: of("/etc/subgid") };
        (!found.users.is_empty() && !found.groups.is_empty()).then_some(found)
    }
}

/// The ranges that a file of lines `name-or-number:first:count` gives somebody.
fn ranges(text: &str, name: Option<&str>, user: u32) -> Vec<(u32, u32)> {
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let is_own = Some(owner) == name || owner.parse() == Ok(user);
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (is_own && count > 0).then_some((first, count))
    });
    ranges.collect()
}

/// Arguments of `newuidmap` for a process: root inside is the user, and the ranges follow one another.
fn mapper_arguments(pid: i32, own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut arguments = vec![pid.to_string(), "0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside = 1_u32;
    for (first, count) in ranges {
        arguments.extend([inside, *first, *count].map(|number| number.to_string()));
        inside = inside.saturating_add(*count);
    }
    arguments
}

/// Starts a process that maps this one's IDs from outside, where the programs that may do so have their rights, once it is
/// told that there is a namespace.
fn start_mapper(
    proof: SingleThreaded,
    ranges: &SubordinateIds,
    (user, group): (u32, u32),
    told: io::PipeReader,
) -> io::Result<OwnedFd> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let child = || {
        // With this one's copy of the other end open, the end of it would never show.
        let _ = sys::close_all_but(&[told.as_fd()]);
        let mut byte = [0];
        if io::Read::read_exact(&mut &told, &mut byte).is_err() {
            sys::exit_now(1);
        }
        let map = |name: &str, arguments: Vec<String>| {
            let Some(program) = find_program(name) else { return false };
            let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let is_mapped = map("newuidmap", mapper_arguments(pid, user, &ranges.users))
            && map("newgidmap", mapper_arguments(pid, group, &ranges.groups));
        sys::exit_now(i32::from(!is_mapped))
    };
    sys::spawn(proof, sys::Birth::default(), child).map(|(_, pidfd)| pidfd)
}

/// A program on the search path of the system, whatever the user's is.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let directories = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"];
    directories.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_a_users_own() {
        let text = "ann:100000:65536\nbob:165536:65536\n1001:5000:10\nbroken:1\nbob:300000:0\n";
        assert_eq!(ranges(text, Some("bob"), 1001), [(165_536, 65_536), (5_000, 10)]);
        assert_eq!(ranges(text, None, 7), []);
        assert_eq!(
            mapper_arguments(42, 1001, &[(165_536, 65_536), (5_000, 10)]).join(" "),
            "42 0 1001 1 1 165536 65536 65537 5000 10"
        );
    }
}
