//! `/etc/passwd` and `/etc/group`, and who this process is.

use std::fs;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
    pub(crate) members: Vec<String>,
}

/// The accounts of this container; none where the files are missing.
pub(crate) fn users() -> Vec<User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        Some(User {
            name: (*fields.first()?).to_owned(),
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
        })
    };
    lines("/etc/passwd").filter_map(|line| user(&line)).collect()
}

/// The groups of this container.
pub(crate) fn groups() -> Vec<Group> {
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let members = fields.get(3).unwrap_or(&"").split(',').filter(|name| !name.is_empty());
        Some(Group {
            name: (*fields.first()?).to_owned(),
            gid: fields.get(2)?.parse().ok()?,
            members: members.map(str::to_owned).collect(),
        })
    };
    lines("/etc/group").filter_map(|line| group(&line)).collect()
}

fn lines(path: &str) -> std::vec::IntoIter<String> {
    let contents = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&contents).lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// A user's name, or the number where there is none.
pub(crate) fn user_name(uid: u32) -> String {
    users().into_iter().find(|user| user.uid == uid).map_or_else(|| uid.to_string(), |user| user.name)
}

/// A group's name, or the number where there is none.
pub(crate) fn group_name(gid: u32) -> String {
    groups().into_iter().find(|group| group.gid == gid).map_or_else(|| gid.to_string(), |group| group.name)
}

/// The user of a name or number.
pub(crate) fn uid_of(name: &str) -> Option<u32> {
    users().into_iter().find(|user| user.name == name).map(|user| user.uid).or_else(|| name.parse().ok())
}

/// The group of a name or number.
pub(crate) fn gid_of(name: &str) -> Option<u32> {
    groups().into_iter().find(|group| group.name == name).map(|group| group.gid).or_else(|| name.parse().ok())
}

/// Who this process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, `gid` first.
    pub(crate) groups: Vec<u32>,
}

/// What `/proc/self/status` says; root where it says nothing.
pub(crate) fn identity() -> Identity {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    let id = |key| numbers(key).get(1).copied().unwrap_or_default();
    let gid = id("Gid:");
    let mut groups = vec![gid];
    groups.extend(numbers("Groups:").into_iter().filter(|group| *group != gid));
    Identity { uid: id("Uid:"), gid, groups }
}
