//! To whom files of images can be given. Root gives them to whom the image says. In a user namespace only the ids that
//! it maps exist, and without one only the user's own: files of all others are squashed, to root of the namespace or to
//! the user, and counted.

use std::fs;

use crate::image::layout::Sha256Hex;

/// What is mapped: first id and how many.
type Range = (u32, u32);

/// To whom files can be given here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// `None` where everything is mapped.
    uids: Option<Vec<Range>>,
    gids: Option<Vec<Range>>,
    /// Whose what cannot be given away is: root's in a namespace, else the user's.
    fallback: (u32, u32),
}

impl Ownership {
    /// What this process can do.
    pub fn detect() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid != 0 {
            return Self { uids: Some(Vec::new()), gids: Some(Vec::new()), fallback: (uid, gid) };
        }
        let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|_| "0 0 1".to_owned());
        Self::of_maps(&read("/proc/self/uid_map"), &read("/proc/self/gid_map"))
    }

    /// What root can do in a namespace of these maps.
    pub(super) fn of_maps(uids: &str, gids: &str) -> Self {
        Self { uids: ranges(uids), gids: ranges(gids), fallback: (0, 0) }
    }

    /// Owners as the image has them, as far as they are mapped, and whether both are.
    pub(super) fn of(&self, uid: u64, gid: u64) -> ((u32, u32), bool) {
        let (owner, owner_kept) = mapped(self.uids.as_deref(), uid, self.fallback.0);
        let (group, group_kept) = mapped(self.gids.as_deref(), gid, self.fallback.1);
        ((owner, group), owner_kept && group_kept)
    }

    /// Whether files can be given to anybody else at all.
    pub(super) fn can_give(&self) -> bool {
        let several = |ranges: &Option<Vec<Range>>| {
            ranges.as_ref().is_none_or(|ranges| ranges.iter().map(|(_, count)| u64::from(*count)).sum::<u64>() > 1)
        };
        several(&self.uids) || several(&self.gids)
    }

    /// Under what name layers that are owned so are kept. Where nothing can be given away, layers look the same in and
    /// outside of a namespace.
    pub(super) fn name(&self) -> String {
        match (&self.uids, &self.gids) {
            (None, None) => "root".to_owned(),
            _ if !self.can_give() => "squashed".to_owned(),
            (uids, gids) => {
                let text = format!("{uids:?} {gids:?}");
                format!("mapped-{}", &Sha256Hex::of(text.as_bytes()).hex()[..12])
            }
        }
    }

    /// What becomes of owners, for people.
    pub fn describe(&self) -> String {
        match (&self.uids, &self.gids) {
            (None, None) => "files keep their owners".to_owned(),
            _ if !self.can_give() => "all files belong to one user, whoever owns them in the image".to_owned(),
            _ => "files keep their owners as far as the user namespace maps them; others belong to root".to_owned(),
        }
    }
}

/// The ranges of a map; `None` if it is that of the machine.
fn ranges(text: &str) -> Option<Vec<Range>> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        let (inside, _outside, count) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
        Some((inside, count))
    });
    let ranges: Vec<_> = lines.collect();
    let is_machine = matches!(ranges[..], [(0, u32::MAX)]);
    (!is_machine).then_some(ranges)
}

fn mapped(ranges: Option<&[Range]>, id: u64, fallback: u32) -> (u32, bool) {
    match u32::try_from(id) {
        // The last number means nobody at all.
        Ok(id) if id != u32::MAX => match ranges {
            None => (id, true),
            Some(ranges) if ranges.iter().any(|(first, count)| id >= *first && id - first < *count) => (id, true),
            Some(_) => (fallback, id == fallback),
        },
        _ => (fallback, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_mapped_stay_and_others_are_squashed() {
        assert_eq!(ranges("         0          0 4294967295\n"), None);
        let sub =
            Ownership { uids: ranges("0 1000 1\n1 100000 65536\n"), gids: ranges("0 1000 1\n"), fallback: (0, 0) };
        assert_eq!(sub.of(0, 0), ((0, 0), true));
        assert_eq!(sub.of(65536, 0), ((65536, 0), true));
        assert_eq!(sub.of(65537, 0), ((0, 0), false));
        assert_eq!(sub.of(33, 33), ((33, 0), false));
        assert!(sub.can_give() && sub.name().starts_with("mapped-"));
        let user = Ownership { uids: Some(vec![]), gids: Some(vec![]), fallback: (1000, 1000) };
        assert_eq!(user.of(0, 0), ((1000, 1000), false));
        assert_eq!(user.of(1000, 1000), ((1000, 1000), true));
        let single = Ownership { uids: ranges("0 1000 1"), gids: ranges("0 1000 1"), fallback: (0, 0) };
        assert_eq!((user.name(), single.name()), ("squashed".to_owned(), "squashed".to_owned()));
        let root = Ownership { uids: None, gids: None, fallback: (0, 0) };
        assert_eq!(root.of(4_000_000_000, 5), ((4_000_000_000, 5), true));
        assert_eq!(root.of(u64::from(u32::MAX), 1 << 40), ((0, 0), false));
    }
}
