//! `ls`, `dir` and `vdir`: options and the walk here, how entries are shown in [`show`].

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Layout {
    #[default]
    Lines,
    Columns,
    Rows,
    Commas,
    Long,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Name,
    Time,
    Size,
    Extension,
    Version,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Which {
    #[default]
    Modified,
    Accessed,
    Changed,
}

/// How names that cannot be printed as they are come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Quoting {
    #[default]
    Literal,
    /// `?` for what cannot be printed.
    Question,
    Escape,
    Quotes,
}

#[derive(Debug, Default)]
struct Settings {
    all: bool,
    almost_all: bool,
    itself: bool,
    recursive: bool,
    layout: Option<Layout>,
    sort: Sort,
    reverse: bool,
    folders_first: bool,
    time: Which,
    follow: bool,
    follow_named: bool,
    numbers: bool,
    no_owner: bool,
    no_group: bool,
    human: bool,
    blocks: bool,
    inodes: bool,
    /// `-F`: 'F', `-p`: 'p'.
    indicator: Option<char>,
    quoting: Quoting,
    color: bool,
    /// A format for times, and one for those that are long past.
    time_style: Option<(String, String)>,
    width: usize,
}

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
    fn letter(&mut self, letter: char, line: &mut CommandLine) -> Result<bool, Failure> {
        match letter {
            'a' => self.all = true,
            'A' => self.almost_all = true,
            'd' => self.itself = true,
            'R' => self.recursive = true,
            'l' => self.layout = Some(Layout::Long),
            'n' => (self.layout, self.numbers) = (Some(Layout::Long), true),
            'g' => (self.layout, self.no_owner) = (Some(Layout::Long), true),
            'o' => (self.layout, self.no_group) = (Some(Layout::Long), true),
            'G' => self.no_group = true,
            '1' => self.layout = Some(self.layout.filter(|layout| *layout == Layout::Long).unwrap_or(Layout::Lines)),
            'C' => self.layout = Some(Layout::Columns),
            'x' => self.layout = Some(Layout::Rows),
            'm' => self.layout = Some(Layout::Commas),
            't' => self.sort = Sort::Time,
            'S' => self.sort = Sort::Size,
            'X' => self.sort = Sort::Extension,
            'v' => self.sort = Sort::Version,
            'U' => self.sort = Sort::Not,
            'f' => (self.sort, self.all) = (Sort::Not, true),
            'r' => self.reverse = true,
            'u' => self.time = Which::Accessed,
            'c' => self.time = Which::Changed,
            'h' => self.human = true,
            's' => self.blocks = true,
            'i' => self.inodes = true,
            'F' | 'p' => self.indicator = Some(letter),
            'H' => self.follow_named = true,
            'L' => self.follow = true,
            'q' => self.quoting = Quoting::Question,
            'b' => self.quoting = Quoting::Escape,
            'Q' => self.quoting = Quoting::Quotes,
            'N' => self.quoting = Quoting::Literal,
            'w' => self.width = line.number()?,
            'T' => drop(line.value()?),
            'k' | 'e' | 'Z' => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn long(&mut self, option: &str, line: &mut CommandLine, on_terminal: bool) -> Result<bool, Failure> {
        let letter = match option {
            "all" => 'a',
            "almost-all" => 'A',
            "directory" => 'd',
            "recursive" => 'R',
            "human-readable" => 'h',
            "inode" => 'i',
            "size" => 's',
            "reverse" => 'r',
            "dereference" => 'L',
            "numeric-uid-gid" => 'n',
            "no-group" => 'G',
            "classify" => 'F',
            "escape" => 'b',
            "quote-name" => 'Q',
            "literal" => 'N',
            "width" => 'w',
            "group-directories-first" => {
                self.folders_first = true;
                return Ok(true);
            }
            "full-time" => {
                self.layout = Some(Layout::Long);
                self.set_time_style("full-iso");
                return Ok(true);
            }
            "time-style" => {
                let style = line.text()?;
                self.set_time_style(&style);
                return Ok(true);
            }
            "color" | "colour" => {
                let when = line.optional_value();
                self.color = match when.as_ref().and_then(|when| when.to_str()) {
                    Some("never" | "no" | "none") => false,
                    Some("auto" | "tty" | "if-tty") => on_terminal,
                    _ => true,
                };
                return Ok(true);
            }
            "sort" => match line.text()?.as_str() {
                "time" => 't',
                "size" => 'S',
                "extension" => 'X',
                "version" => 'v',
                "none" => 'U',
                other => return Err(Failure::Usage(format!("invalid argument '{other}' for '--sort'"))),
            },
            _ => return Ok(false),
        };
        self.letter(letter, line)
    }

    fn set_time_style(&mut self, style: &str) {
        let (recent, old) = match style {
            "full-iso" => ("%Y-%m-%d %H:%M:%S.%N +0000", "%Y-%m-%d %H:%M:%S.%N +0000"),
            "long-iso" => ("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M"),
            "iso" => ("%m-%d %H:%M", "%Y-%m-%d "),
            custom => {
                let custom = custom.trim_start_matches('+');
                self.time_style = Some((custom.to_owned(), custom.to_owned()));
                return;
            }
        };
        self.time_style = Some((recent.to_owned(), old.to_owned()));
    }

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
