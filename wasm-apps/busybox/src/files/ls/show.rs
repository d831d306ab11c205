//! How `ls` shows entries.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};

use rustix::fs::FileType;

use super::Entry;
use super::settings::{Layout, Quoting, Settings};
use crate::accounts;
use crate::attributes::Time;
use crate::find::time_text;

/// Times longer ago than this, in seconds, are shown with their year.
const HALF_A_YEAR: i64 = 31_556_952 / 2;
/// Blank columns between names.
const GAP: usize = 2;

/// A list of entries, as it is to be shown.
pub(super) struct Shown<'a> {
    settings: &'a Settings,
    entries: &'a [Entry],
}

/// A long line's parts that are as wide as the widest of a list.
struct Cells {
    before: String,
    links: String,
    user: String,
    group: String,
    size: String,
    time: String,
}

impl<'a> Shown<'a> {
    pub(super) fn new(settings: &'a Settings, entries: &'a [Entry]) -> Self {
        Self { settings, entries }
    }

    /// `total 12`, where there are sizes in blocks.
    pub(super) fn write_total(&self, output: &mut impl Write) -> io::Result<()> {
        if self.settings.layout != Some(Layout::Long) && !self.settings.blocks {
            return Ok(());
        }
        let total: u64 = self.entries.iter().map(kib).sum();
        if self.settings.human {
            return writeln!(output, "total {}", crate::system::human(total * 1024));
        }
        writeln!(output, "total {total}")
    }

    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<()> {
        match self.settings.layout.unwrap_or_default() {
            Layout::Long => self.long(output),
            Layout::Lines => self.entries.iter().try_for_each(|entry| writeln!(output, "{}", self.plain(entry).0)),
            Layout::Commas => {
                let names: Vec<String> = self.entries.iter().map(|entry| self.plain(entry).0).collect();
                if names.is_empty() { Ok(()) } else { writeln!(output, "{}", names.join(", ")) }
            }
            layout @ (Layout::Columns | Layout::Rows) => self.columns(layout, output),
        }
    }

    /// An entry outside of long lines, and how wide it is.
    fn plain(&self, entry: &Entry) -> (String, usize) {
        let mut before = String::new();
        if self.settings.inodes {
            let _infallible = write!(before, "{:>7} ", entry.attributes.inode);
        }
        if self.settings.blocks {
            let _infallible = write!(before, "{:>4} ", kib(entry));
        }
        let (name, width) = self.name(entry);
        let width = before.chars().count() + width;
        (before + &name, width)
    }

    /// The name with its colour and its type, and how wide it is.
    fn name(&self, entry: &Entry) -> (String, usize) {
        let quoted = quoted(&entry.name, self.settings.quoting);
        let indicator = match (self.settings.indicator, entry.attributes.kind) {
            (Some(_), FileType::Directory) => "/",
            (Some('F'), FileType::Symlink) if self.settings.layout != Some(Layout::Long) => "@",
            (Some('F'), FileType::RegularFile) if entry.attributes.mode & 0o111 != 0 => "*",
            _ => "",
        };
        let width = quoted.chars().count() + indicator.len();
        let color = match entry.attributes.kind {
            FileType::Directory => "\x1b[1;34m",
            FileType::Symlink => "\x1b[1;36m",
            FileType::CharacterDevice | FileType::BlockDevice => "\x1b[1;33m",
            FileType::RegularFile if entry.attributes.mode & 0o111 != 0 => "\x1b[1;32m",
            _ => "",
        };
        if self.settings.color && !color.is_empty() {
            return (format!("{color}{quoted}\x1b[0m{indicator}"), width);
        }
        (quoted + indicator, width)
    }

    fn columns(&self, layout: Layout, output: &mut impl Write) -> io::Result<()> {
        let names: Vec<(String, usize)> = self.entries.iter().map(|entry| self.plain(entry)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (rows, widths) = arrange(&names, layout, self.settings.width);
        let columns = widths.len();
        for row in 0..rows {
            let place =
                |column: usize| if layout == Layout::Rows { row * columns + column } else { column * rows + row };
            let mut line = String::new();
            for (column, width) in widths.iter().enumerate() {
                let Some((name, own)) = names.get(place(column)) else { continue };
                line.push_str(name);
                if column + 1 < columns && place(column + 1) < names.len() {
                    line.push_str(&" ".repeat(width - own));
                }
            }
            writeln!(output, "{line}")?;
        }
        Ok(())
    }

    fn long(&self, output: &mut impl Write) -> io::Result<()> {
        let now = jiff::Timestamp::now().as_second();
        let (mut users, mut groups) = (HashMap::new(), HashMap::new());
        let settings = self.settings;
        let cells: Vec<Cells> = self
            .entries
            .iter()
            .map(|entry| {
                let attributes = &entry.attributes;
                let mut before = String::new();
                if settings.inodes {
                    let _infallible = write!(before, "{:>7} ", attributes.inode);
                }
                if settings.blocks {
                    let _infallible = write!(before, "{:>4} ", kib(entry));
                }
                let name = |names: &mut HashMap<u32, String>, id: u32, of: fn(u32) -> String| {
                    if settings.numbers { id.to_string() } else { names.entry(id).or_insert_with(|| of(id)).clone() }
                };
                Cells {
                    before: before + &attributes.mode_text(),
                    links: attributes.links.to_string(),
                    user: name(&mut users, attributes.uid, accounts::user_name),
                    group: name(&mut groups, attributes.gid, accounts::group_name),
                    size: if settings.human {
                        crate::system::human(attributes.size)
                    } else {
                        attributes.size.to_string()
                    },
                    time: self.time(entry.time(settings.time), now),
                }
            })
            .collect();
        let width = |cell: fn(&Cells) -> &String| cells.iter().map(|cells| cell(cells).len()).max().unwrap_or_default();
        let (links, user, group) =
            (width(|cells| &cells.links), width(|cells| &cells.user), width(|cells| &cells.group));
        let size = width(|cells| &cells.size);
        for (entry, cells) in self.entries.iter().zip(&cells) {
            write!(output, "{} {:>links$} ", cells.before, cells.links)?;
            if !settings.no_owner {
                write!(output, "{:<user$} ", cells.user)?;
            }
            if !settings.no_group {
                write!(output, "{:<group$} ", cells.group)?;
            }
            write!(output, "{:>size$} {} {}", cells.size, cells.time, self.name(entry).0)?;
            if entry.attributes.kind == FileType::Symlink
                && let Ok(target) = fs::read_link(&entry.path)
            {
                write!(output, " -> {}", quoted(target.as_os_str(), settings.quoting))?;
            }
            writeln!(output)?;
        }
        Ok(())
    }

    fn time(&self, time: Time, now: i64) -> String {
        let recent = (0..HALF_A_YEAR).contains(&(now - time.0));
        match &self.settings.time_style {
            Some((recently, long_ago)) => {
                let format = if recent { recently } else { long_ago };
                time_text(time, &format.replace("%N", &format!("{:09}", time.1)))
            }
            None => time_text(time, if recent { "%b %e %H:%M" } else { "%b %e  %Y" }),
        }
    }
}

/// The room an entry takes, in KiB.
fn kib(entry: &Entry) -> u64 {
    if entry.attributes.kind == FileType::Symlink { 0 } else { entry.attributes.size.div_ceil(4096) * 4 }
}

/// As few rows as fit: their number, and how wide each column is.
fn arrange(names: &[(String, usize)], layout: Layout, most: usize) -> (usize, Vec<usize>) {
    for rows in 1..names.len() {
        let columns = names.len().div_ceil(rows);
        if layout == Layout::Columns && names.len().div_ceil(columns) != rows {
            continue;
        }
        let mut widths = vec![0; columns];
        for (index, (_, width)) in names.iter().enumerate() {
            let column = if layout == Layout::Rows { index % columns } else { index / rows };
            let gap = if column + 1 < columns { GAP } else { 0 };
            widths[column] = widths[column].max(width + gap);
        }
        if widths.iter().sum::<usize>() <= most {
            return (rows, widths);
        }
    }
    (names.len(), vec![names.iter().map(|(_, width)| *width).max().unwrap_or_default()])
}

fn quoted(name: &OsStr, quoting: Quoting) -> String {
    let text = name.to_string_lossy();
    match quoting {
        Quoting::Literal => text.into_owned(),
        Quoting::Question => {
            text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
        }
        Quoting::Escape => text.chars().fold(String::new(), |mut output, character| {
            match character {
                ' ' => output.push_str("\\ "),
                '\\' => output.push_str("\\\\"),
                character if character.is_control() => output.extend(character.escape_default()),
                character => output.push(character),
            }
            output
        }),
        Quoting::Quotes => format!("{text:?}"),
    }
}

/// Names in order, numbers in them by what they are worth.
pub(super) fn by_number(one: &OsStr, other: &OsStr) -> Ordering {
    let (mut left, mut right) = (one.as_encoded_bytes(), other.as_encoded_bytes());
    loop {
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (left_digits, right_digits) = (digits(left), digits(right));
        if left_digits > 0 && right_digits > 0 {
            let worth = |text: &[u8]| {
                let text = std::str::from_utf8(text).unwrap_or_default().trim_start_matches('0');
                (text.len(), text.to_owned())
            };
            let order = worth(&left[..left_digits]).cmp(&worth(&right[..right_digits]));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (&left[left_digits..], &right[right_digits..]);
            continue;
        }
        match (left.split_first(), right.split_first()) {
            (Some((one, left_rest)), Some((other, right_rest))) if one == other => {
                (left, right) = (left_rest, right_rest)
            }
            _ => return left.cmp(right),
        }
    }
}
