//! `ls`, `dir` and `vdir`: what is listed here, options in [`settings`], how entries are shown in [`show`].

mod settings;
mod show;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use husk_process::terminal;
use rustix::fs::FileType;

use crate::attributes::{self, Attributes, Time};
use crate::failure::{Failure, reason};
use crate::options::{CommandLine, Item, unknown};
use settings::{Layout, Quoting, Settings, Sort, Which};
use show::Shown;

pub(crate) const USAGE: &str = "ls [OPTION]... [FILE]...

List FILEs, or what is in them if they are folders; the working directory unless given

  -a -A -d      Names with a dot, too; without . and ..; folders themselves
  -l -n -g -o   Long lines; with numbers; without owners; without groups
  -1 -C -x -m   One in a line; in columns; in rows; with commas between
  -t -S -X -v -U -f -r   By time; size; extension; number; not sorted; reversed
  -u -c         Times of access; of change of attributes
  -h -s -i -k   Sizes for people; with sizes in blocks; with inodes
  -F -p -R -H -L -q -b -Q   With types; / behind folders; all below; following links; names made printable
  --full-time --time-style=STYLE --color[=WHEN] --group-directories-first -w COLUMNS";

/// How deep `-R` goes.
const MAX_DEPTH: usize = 1024;

/// A file to be listed.
struct Entry {
    path: PathBuf,
    name: OsString,
    attributes: Attributes,
}

impl Entry {
    fn time(&self, which: Which) -> Time {
        match which {
            Which::Modified => self.attributes.modified,
            Which::Accessed => self.attributes.accessed,
            Which::Changed => self.attributes.changed,
        }
    }

    fn is_folder(&self) -> bool {
        self.attributes.kind == FileType::Directory
    }
}

pub(crate) fn ls(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run(arguments, Settings::default())
}

pub(crate) fn dir(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run(arguments, Settings { layout: Some(Layout::Columns), quoting: Quoting::Escape, ..Settings::default() })
}

pub(crate) fn vdir(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run(arguments, Settings { layout: Some(Layout::Long), quoting: Quoting::Escape, ..Settings::default() })
}

fn run(arguments: Vec<OsString>, mut settings: Settings) -> Result<u8, Failure> {
    let stdout = io::stdout();
    let on_terminal = stdout.is_terminal();
    settings.width = 80;
    if on_terminal {
        settings.layout.get_or_insert(Layout::Columns);
        settings.quoting = Quoting::Question;
        settings.width = terminal::state(stdout.as_fd()).map_or(80, |state| usize::from(state.columns));
    }
    let mut operands = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(operand) => operands.push(operand),
            Item::Option(option) => {
                let mut chars = option.chars();
                let known = match (chars.next(), chars.next()) {
                    (Some(letter), None) => settings.letter(letter, &mut line)?,
                    _ => settings.long(&option, &mut line, on_terminal)?,
                };
                if !known {
                    return Err(unknown(&option));
                }
            }
        }
    }
    if operands.is_empty() {
        operands.push(".".into());
    }
    let mut listing = Listing { settings, output: BufWriter::new(stdout.lock()), code: 0, any: false };
    listing.operands(operands)?;
    listing.output.flush()?;
    Ok(listing.code)
}

impl Settings {
    fn is_shown(&self, name: &OsStr) -> bool {
        self.all || self.almost_all || !name.as_encoded_bytes().starts_with(b".")
    }

    fn sort(&self, entries: &mut [Entry]) {
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        match self.sort {
            Sort::Name => {}
            Sort::Not => return,
            Sort::Time => entries.sort_by_key(|entry| std::cmp::Reverse(entry.time(self.time))),
            Sort::Size => entries.sort_by_key(|entry| std::cmp::Reverse(entry.attributes.size)),
            Sort::Extension => entries.sort_by_key(|entry| entry.path.extension().map(OsStr::to_owned)),
            Sort::Version => entries.sort_by(|one, other| show::by_number(&one.name, &other.name)),
        }
        if self.reverse {
            entries.reverse();
        }
        if self.folders_first {
            entries.sort_by_key(|entry| !entry.is_folder());
        }
    }
}

struct Listing {
    settings: Settings,
    output: BufWriter<StdoutLock<'static>>,
    code: u8,
    /// Something was printed: an empty line sets the next folder apart.
    any: bool,
}

impl Listing {
    fn operands(&mut self, operands: Vec<OsString>) -> Result<(), Failure> {
        let several = operands.len() > 1 || self.settings.recursive;
        let long = self.settings.layout == Some(Layout::Long);
        let follows = self.settings.follow || self.settings.follow_named || !(long || self.settings.itself);
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for operand in operands {
            let path = PathBuf::from(&operand);
            let found = attributes::of(&path, follows).or_else(|_| attributes::of(&path, false));
            match found {
                Ok(attributes) => {
                    let entry = Entry { path, name: operand, attributes };
                    if entry.is_folder() && !self.settings.itself { folders.push(entry) } else { files.push(entry) }
                }
                Err(error) => {
                    self.complain(&format!("cannot access '{}'", path.display()), &error);
                    self.code = 2;
                }
            }
        }
        self.settings.sort(&mut files);
        self.settings.sort(&mut folders);
        if !files.is_empty() {
            Shown::new(&self.settings, &files).write(&mut self.output)?;
            self.any = true;
        }
        folders.iter().try_for_each(|folder| self.folder(&folder.path, several, 0))
    }

    fn folder(&mut self, path: &Path, titled: bool, depth: usize) -> Result<(), Failure> {
        let names = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) => {
                self.complain(&format!("cannot open directory '{}'", path.display()), &error);
                return Ok(());
            }
        };
        names.retain(|name| self.settings.is_shown(name));
        if self.settings.all {
            names.extend([".".into(), "..".into()]);
        }
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            let path = path.join(&name);
            let followed = self.settings.follow.then(|| attributes::of(&path, true).ok()).flatten();
            match followed.map_or_else(|| attributes::of(&path, false), Ok) {
                Ok(attributes) => entries.push(Entry { path, name, attributes }),
                Err(error) => self.complain(&format!("cannot access '{}'", path.display()), &error),
            }
        }
        self.settings.sort(&mut entries);
        if titled {
            writeln!(self.output, "{}{}:", if self.any { "\n" } else { "" }, path.display())?;
        }
        self.any = true;
        let shown = Shown::new(&self.settings, &entries);
        shown.write_total(&mut self.output)?;
        shown.write(&mut self.output)?;
        if self.settings.recursive && depth < MAX_DEPTH {
            let below = entries.iter().filter(|entry| entry.is_folder() && entry.name != "." && entry.name != "..");
            return below.map(|entry| entry.path.clone()).try_for_each(|path| self.folder(&path, true, depth + 1));
        }
        Ok(())
    }

    fn complain(&mut self, what: &str, error: &io::Error) {
        let _nowhere_to_say = self.output.flush();
        eprintln!("ls: {what}: {}", reason(error));
        self.code = self.code.max(1);
    }
}
