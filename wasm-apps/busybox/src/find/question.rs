//! What files are asked.

use std::ffi::OsString;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use regex::bytes::Regex;
use rustix::fs::FileType;

use super::Entry;
use crate::accounts;
use crate::attributes::{self, Attributes, Time, type_letter};
use crate::glob;

/// A question about a file.
pub(super) enum Test {
    Constant(bool),
    Glob {
        text: Text,
        pattern: OsString,
        options: glob::Options,
    },
    Regex(Regex),
    Kind {
        letters: Vec<char>,
        of_target: bool,
    },
    Empty,
    /// In units, rounded up.
    Size {
        compare: Compare,
        unit: u64,
    },
    /// `=`: exactly these bits; `-`: all of them; `/`: any.
    Mode {
        how: char,
        mode: u32,
    },
    Links(Compare),
    Inode(Compare),
    Uid(Compare),
    Gid(Compare),
    NoUser,
    NoGroup,
    /// Whether it may be read (4), written (2) or executed (1).
    Access(u32),
    SameFile {
        device: u64,
        inode: u64,
    },
    Age {
        stamp: Stamp,
        age: Age,
        now: SystemTime,
    },
    Newer {
        stamp: Stamp,
        than: Time,
    },
}

/// What a pattern is compared with.
#[derive(Clone, Copy)]
pub(super) enum Text {
    Name,
    Path,
    /// What a symbolic link says.
    Target,
}

/// `N`, `+N` or `-N`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Compare {
    Exactly(u64),
    MoreThan(u64),
    LessThan(u64),
}

impl Compare {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.as_bytes().first()? {
            b'+' => Self::MoreThan(text[1..].parse().ok()?),
            b'-' => Self::LessThan(text[1..].parse().ok()?),
            _ => Self::Exactly(text.parse().ok()?),
        })
    }

    fn holds(self, value: u64) -> bool {
        match self {
            Self::Exactly(wanted) => value == wanted,
            Self::MoreThan(least) => value > least,
            Self::LessThan(most) => value < most,
        }
    }
}

/// One of a file's times.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stamp {
    Accessed,
    Changed,
    Modified,
}

impl Stamp {
    /// By the letter of `-newerXY`.
    pub(super) fn parse(letter: char) -> Option<Self> {
        Some(match letter {
            'a' => Self::Accessed,
            'c' => Self::Changed,
            'm' => Self::Modified,
            _ => return None,
        })
    }

    pub(super) fn of(self, attributes: &Attributes) -> Time {
        match self {
            Self::Accessed => attributes.accessed,
            Self::Changed => attributes.changed,
            Self::Modified => attributes.modified,
        }
    }
}

/// How long ago.
pub(super) struct Age {
    pub(super) minutes: bool,
    pub(super) compare: Compare,
}

impl Age {
    /// Days are rounded down. Minutes are not: exactly N means more than N-1.
    fn holds(&self, time: Time, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i128::from(now.as_secs()) * 1_000_000_000 + i128::from(now.subsec_nanos());
        let then = i128::from(time.0) * 1_000_000_000 + i128::from(time.1);
        let age = u64::try_from((now - then).max(0)).unwrap_or(u64::MAX);
        let unit = 1_000_000_000 * if self.minutes { 60 } else { 86400 };
        match self.compare {
            Compare::Exactly(wanted) if self.minutes => age / unit + 1 == wanted,
            Compare::MoreThan(least) if self.minutes => age > least.saturating_mul(unit),
            compare => compare.holds(age / unit),
        }
    }
}

impl Test {
    /// The answer.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        let with = |ask: &dyn Fn(&Attributes) -> bool| entry.attributes().is_some_and(ask);
        match self {
            Self::Constant(value) => *value,
            Self::Glob { text, pattern, options } => {
                let text = match text {
                    Text::Name => entry.name().to_vec(),
                    Text::Path => super::parse::bytes(&entry.path.clone().into_os_string()).to_vec(),
                    Text::Target => match fs::read_link(&entry.path) {
                        Ok(target) => super::parse::bytes(&target.into_os_string()).to_vec(),
                        Err(_) => return false,
                    },
                };
                glob::matches(super::parse::bytes(pattern), &text, *options)
            }
            Self::Regex(regex) => regex.is_match(entry.path.as_os_str().as_encoded_bytes()),
            Self::Kind { letters, of_target } => {
                kind(entry, *of_target).is_some_and(|letter| letters.contains(&letter))
            }
            Self::Empty => match entry.kind() {
                Some(FileType::Directory) => {
                    fs::read_dir(&entry.path).is_ok_and(|mut entries| entries.next().is_none())
                }
                Some(FileType::RegularFile) => with(&|attributes| attributes.size == 0),
                _ => false,
            },
            Self::Size { compare, unit } => with(&|attributes| compare.holds(attributes.size.div_ceil(*unit))),
            Self::Mode { how, mode } => with(&|attributes| match how {
                '-' => attributes.mode & mode == *mode,
                '/' => *mode == 0 || attributes.mode & mode != 0,
                _ => attributes.mode == *mode,
            }),
            Self::Links(compare) => with(&|attributes| compare.holds(attributes.links)),
            Self::Inode(compare) => with(&|attributes| compare.holds(attributes.inode)),
            Self::Uid(compare) => with(&|attributes| compare.holds(attributes.uid.into())),
            Self::Gid(compare) => with(&|attributes| compare.holds(attributes.gid.into())),
            Self::NoUser => with(&|attributes| !accounts::users().iter().any(|user| user.uid == attributes.uid)),
            Self::NoGroup => with(&|attributes| !accounts::groups().iter().any(|group| group.gid == attributes.gid)),
            // Who runs this is root, who may read and write everything.
            Self::Access(bit) => with(&|attributes| *bit != 1 || attributes.mode & 0o111 != 0),
            Self::SameFile { device, inode } => {
                with(&|attributes| attributes.device == *device && attributes.inode == *inode)
            }
            Self::Age { stamp, age, now } => with(&|attributes| age.holds(stamp.of(attributes), *now)),
            Self::Newer { stamp, than } => with(&|attributes| stamp.of(attributes) > *than),
        }
    }
}

/// The letter of a file's type; `of_target`: of what a link that is not followed leads to.
fn kind(entry: &Entry, of_target: bool) -> Option<char> {
    let kind = if of_target && entry.kind() == Some(FileType::Symlink) {
        attributes::of(&entry.path, true).map_or(FileType::Symlink, |target| target.kind)
    } else {
        entry.kind()?
    };
    Some(type_letter(kind, 'f'))
}
