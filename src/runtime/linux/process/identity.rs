//! Who a container's program runs as: numbers from the spec, names from the container's own `/etc/passwd` and
//! `/etc/group`. Both files are the image's, and so are bounded and never waited for.

use std::collections::BTreeSet;
use std::io::{self, Read};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Gid, Uid};

use super::super::protocol::{Failure, IdentitySpec};

/// How much of `/etc/passwd` and `/etc/group` is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// How many supplementary groups a process has at most; Linux allows 65536.
const MAX_GROUPS: usize = 4096;

/// A user, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    uid: u32,
    gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
    /// Whether the groups can be had.
    pub(super) may_set_groups: bool,
    /// User and group, if they are not mapped in the pod's user namespace.
    pub(super) unmapped: Option<(u32, u32)>,
}

impl Identity {
    pub(super) fn user(&self) -> Uid {
        Uid::from_raw(self.uid)
    }

    pub(super) fn group(&self) -> Gid {
        Gid::from_raw(self.gid)
    }
}

/// Looks up who `spec` means, in the root of this process.
pub(super) fn look_up(spec: &IdentitySpec) -> Result<Identity, Failure> {
    let read = |path: &str| read_file(path).map_err(|error| Failure::failed(format!("cannot read {path}: {error}")));
    resolve(spec, &read("/etc/passwd")?, &read("/etc/group")?)
}

/// A file of the container's that may be missing, or not be a file.
fn read_file(path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(String::new()),
        file => file?,
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of `/etc/passwd`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or("/") })
    })
}

/// Name, number and members of the groups in `/etc/group`.
fn group_entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or("")))
    })
}

fn resolve(spec: &IdentitySpec, passwd: &str, group: &str) -> Result<Identity, Failure> {
    let (image_user, image_group) = match spec.image_user.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec.image_user.as_str(), None),
    };
    let wanted = match spec.user {
        Some(uid) => Ok(uid),
        None if image_user.is_empty() => Ok(0),
        None => image_user.parse::<u32>().map_err(|_| image_user),
    };
    // A number that is also somebody's name is the name, as everywhere.
    let by_name = |name: &str| passwd_entries(passwd).find(|entry| entry.name == name);
    let entry = match (spec.user, wanted) {
        (None, _) if !image_user.is_empty() && by_name(image_user).is_some() => by_name(image_user),
        (_, Ok(uid)) => passwd_entries(passwd).find(|entry| entry.uid == uid),
        (_, Err(_name)) => None,
    };
    let uid = match (&entry, wanted) {
        (Some(entry), _) => entry.uid,
        (None, Ok(uid)) => uid,
        (None, Err(name)) => {
            return Err(Failure::failed(format!("unable to find user {name}: no matching entries in passwd file")));
        }
    };
    let gid = match (spec.group, image_group.filter(|_| spec.user.is_none())) {
        (Some(gid), _) => gid,
        (None, Some(name)) => {
            let by_name = group_entries(group).find(|(other, _, _)| *other == name).map(|(_, gid, _)| gid);
            by_name.or_else(|| name.parse().ok()).ok_or_else(|| {
                Failure::failed(format!("unable to find group {name}: no matching entries in group file"))
            })?
        }
        (None, None) => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut groups: BTreeSet<u32> = spec.supplemental_groups.iter().copied().collect();
    groups.insert(gid);
    if let Some(entry) = entry.as_ref().filter(|_| !spec.strict_groups) {
        let member_of =
            group_entries(group).filter(|(_, _, members)| members.split(',').any(|name| name == entry.name));
        groups.extend(member_of.map(|(_, gid, _)| gid).take(MAX_GROUPS));
    }
    let home = entry.as_ref().map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    let unmapped = (uid > spec.last_id || gid > spec.last_id).then_some((uid, gid));
    let may_set_groups = spec.may_set_groups && unmapped.is_none();
    Ok(Identity { uid, gid, groups: groups.into_iter().collect(), home, may_set_groups, unmapped })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/srv:/bin/false\nbroken\n1000:x:7:8::/seven:\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:www,other\nwheel:x:51:root\n";

    /// `runAsUser`, `runAsGroup`, the image's user, `supplementalGroups`; user, group, groups, home.
    #[test]
    fn users_are_found_as_container_runtimes_find_them() {
        type Case = (
            Option<u32>,
            Option<u32>,
            &'static str,
            &'static [u32],
            Result<(u32, u32, &'static [u32], &'static str), &'static str>,
        );
        let cases: [Case; 10] = [
            (None, None, "", &[], Ok((0, 0, &[0, 51], "/root"))),
            (None, None, "www", &[], Ok((33, 34, &[34, 50], "/srv"))),
            (None, None, "www:staff", &[], Ok((33, 50, &[50], "/srv"))),
            (None, None, "33:99", &[5], Ok((33, 99, &[5, 50, 99], "/srv"))),
            (None, None, "4000", &[], Ok((4000, 0, &[0], "/"))),
            (None, None, "1000", &[], Ok((7, 8, &[8], "/seven"))),
            (Some(1000), None, "www:staff", &[], Ok((1000, 0, &[0], "/"))),
            (Some(33), Some(1), "root", &[2], Ok((33, 1, &[1, 2, 50], "/srv"))),
            (None, None, "nobody", &[], Err("unable to find user nobody: no matching entries in passwd file")),
            (None, None, "www:none", &[], Err("unable to find group none: no matching entries in group file")),
        ];
        for (user, group, image_user, supplemental, expected) in cases {
            let spec = IdentitySpec {
                user,
                group,
                image_user: image_user.to_owned(),
                supplemental_groups: supplemental.to_vec(),
                strict_groups: false,
                may_set_groups: true,
                last_id: u32::MAX,
            };
            let found = resolve(&spec, PASSWD, GROUP);
            let found = found.as_ref().map(|id| (id.uid, id.gid, id.groups.as_slice(), id.home.as_str()));
            let found = found.map_err(|failure| failure.what.as_str());
            assert_eq!(found, expected, "{user:?} {group:?} {image_user:?}");
        }
    }

    #[test]
    fn strict_groups_are_only_those_of_the_spec() {
        let spec = IdentitySpec {
            image_user: "www".to_owned(),
            supplemental_groups: vec![9],
            strict_groups: true,
            last_id: 0,
            ..IdentitySpec::default()
        };
        let found = resolve(&spec, PASSWD, GROUP).unwrap();
        assert_eq!(found.groups, [9, 34]);
        assert_eq!(found.unmapped, Some((33, 34)));
    }
}
