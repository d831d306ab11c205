//! Copying files and trees with what belongs to them: what `cp` does, and `mv` where a file cannot be renamed.

mod cp;
mod mv;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

pub(crate) use self::cp::{USAGE as CP_USAGE, cp};
pub(crate) use self::mv::{USAGE as MV_USAGE, mv};
use crate::attributes::{self, Attributes};
use crate::failure::{Failure, reason};

/// Bytes read at a time.
const BUFFER: usize = 128 * 1024;

/// Which symbolic links stand for what they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    Never,
    /// Those named on the command line.
    Named,
    Always,
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Existing {
    #[default]
    Replace,
    Ask,
    Keep,
    /// It is replaced by what was changed later.
    Update,
}

/// What a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Means {
    #[default]
    Contents,
    HardLink,
    SymbolicLink,
}

/// What a copy takes over beside contents.
#[derive(Debug, Clone, Copy, Default)]
struct Preserve {
    mode: bool,
    times: bool,
    /// Names of one file stay names of one file.
    links: bool,
}

impl Preserve {
    const ALL: Self = Self { mode: true, times: true, links: true };
}

/// How things are copied, and what was so far.
struct Copier {
    /// The applet, for messages.
    name: &'static str,
    recursive: bool,
    follow: Follow,
    preserve: Preserve,
    existing: Existing,
    means: Means,
    /// A file that cannot be opened is removed.
    force: bool,
    /// A file that is there is removed first.
    remove_first: bool,
    one_filesystem: bool,
    says: bool,
    umask: u32,
    /// Where files of several names were copied to, by device and number.
    copied: HashMap<(u64, u64), PathBuf>,
    failed: bool,
}

impl Copier {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            recursive: false,
            follow: Follow::Always,
            preserve: Preserve::default(),
            existing: Existing::default(),
            means: Means::default(),
            force: false,
            remove_first: false,
            one_filesystem: false,
            says: false,
            umask: attributes::umask(),
            copied: HashMap::new(),
            failed: false,
        }
    }

    /// Copies what the command line names. What fails below it is reported, and `failed` says so.
    fn operand(&mut self, source: &Path, target: &Path) -> Result<(), Failure> {
        let attributes = attributes::of(source, self.follow != Follow::Never);
        let attributes = attributes.map_err(cannot("stat", source))?;
        if attributes.kind == FileType::Directory && self.recursive && is_within(target, source) {
            let (source, target) = (source.display(), target.display());
            return Err(Failure::Usage(format!("cannot copy a directory, '{source}', into itself, '{target}'")));
        }
        self.any(source, &attributes, target, attributes.device)
    }

    fn any(&mut self, source: &Path, attributes: &Attributes, target: &Path, device: u64) -> Result<(), Failure> {
        if attributes.kind == FileType::Directory {
            self.folder(source, attributes, target, device)
        } else {
            self.file(source, attributes, target)
        }
    }

    fn folder(&mut self, source: &Path, attributes: &Attributes, target: &Path, device: u64) -> Result<(), Failure> {
        if !self.recursive {
            return Err(Failure::Usage(format!("-r not specified; omitting directory '{}'", source.display())));
        }
        let names = fs::read_dir(source).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let names = names.map_err(cannot("access", source))?;
        let is_new = match attributes::of(target, true) {
            Ok(existing) if existing.kind == FileType::Directory => false,
            Ok(_) => return Err(overwrites("non-directory", target, "directory", Some(source))),
            Err(_) => {
                fs::create_dir(target).map_err(cannot("create directory", target))?;
                self.say(source, target);
                true
            }
        };
        if !self.one_filesystem || attributes.device == device {
            for name in names {
                let (below, target) = (source.join(&name), target.join(&name));
                let copied = attributes::of(&below, self.follow == Follow::Always)
                    .map_err(cannot("stat", &below))
                    .and_then(|attributes| self.any(&below, &attributes, &target, device));
                self.report(copied)?;
            }
        }
        self.finish(attributes, target, is_new).map_err(cannot("preserve what belongs to", target))
    }

    /// Says what failed, and goes on.
    fn report(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Err(failure) if failure.is_broken_pipe() => Err(failure),
            Err(failure) => {
                eprintln!("{}: {failure}", self.name);
                self.failed = true;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn file(&mut self, source: &Path, attributes: &Attributes, target: &Path) -> Result<(), Failure> {
        let existing = attributes::of(target, false).ok();
        if let Some(existing) = &existing {
            let followed = attributes::of(target, true).ok();
            if followed.is_some_and(|followed| followed.kind == FileType::Directory) {
                return Err(overwrites("directory", target, "non-directory", None));
            }
            // What is written goes to where a link leads.
            let writes = self.means == Means::Contents && attributes.kind != FileType::Symlink && !self.remove_first;
            if is_same(existing, attributes) || writes && followed.is_some_and(|other| is_same(&other, attributes)) {
                return match self.means {
                    Means::HardLink => Ok(()),
                    _ => Err(same_file(source, target)),
                };
            }
            if !self.existing.replaces(self.name, target, existing, attributes)? {
                return Ok(());
            }
        }
        let first = match self.preserve.links && attributes.links > 1 {
            true => self.copied.get(&(attributes.device, attributes.inode)).cloned(),
            false => None,
        };
        match (first, self.means, attributes.kind) {
            (Some(first), ..) => self.link(&first, target, existing.is_some())?,
            (None, Means::HardLink, _) => self.link(source, target, existing.is_some())?,
            (None, Means::SymbolicLink, _) => {
                self.make_room(target, existing.is_some())?;
                rustix::fs::symlink(source, target).map_err(io::Error::from).map_err(cannot("create link", target))?;
            }
            (None, Means::Contents, FileType::Symlink) => self.symbolic_link(source, attributes, target, existing)?,
            (None, Means::Contents, FileType::RegularFile) => self.contents(source, attributes, target, existing)?,
            (None, Means::Contents, _) if !self.recursive => self.contents(source, attributes, target, existing)?,
            (None, Means::Contents, _) => {
                let error = io::Error::from_raw_os_error(rustix::io::Errno::PERM.raw_os_error());
                return Err(cannot("create special file", target)(error));
            }
        }
        if self.preserve.links && attributes.links > 1 {
            self.copied.entry((attributes.device, attributes.inode)).or_insert_with(|| target.to_owned());
        }
        self.say(source, target);
        Ok(())
    }

    fn make_room(&self, target: &Path, exists: bool) -> Result<(), Failure> {
        if !exists {
            return Ok(());
        }
        if !(self.force || self.remove_first || self.existing != Existing::Replace || self.preserve.links) {
            let error = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(cannot("create link", target)(error));
        }
        fs::remove_file(target).map_err(cannot("remove", target))
    }

    fn link(&self, source: &Path, target: &Path, exists: bool) -> Result<(), Failure> {
        self.make_room(target, exists)?;
        fs::hard_link(source, target).map_err(cannot("create hard link", target))
    }

    fn symbolic_link(
        &self,
        source: &Path,
        attributes: &Attributes,
        target: &Path,
        existing: Option<Attributes>,
    ) -> Result<(), Failure> {
        let leads_to = fs::read_link(source).map_err(cannot("read symbolic link", source))?;
        if existing.is_some() {
            fs::remove_file(target).map_err(cannot("remove", target))?;
        }
        let made = rustix::fs::symlink(&leads_to, target).map_err(io::Error::from);
        made.map_err(cannot("create symbolic link", target))?;
        if self.preserve.times {
            let set = attributes::set_times(target, attributes.accessed, attributes.modified, false);
            set.map_err(cannot("preserve times for", target))?;
        }
        Ok(())
    }

    fn contents(
        &self,
        source: &Path,
        attributes: &Attributes,
        target: &Path,
        mut existing: Option<Attributes>,
    ) -> Result<(), Failure> {
        let input = File::open(source).map_err(cannot("open", source))?;
        if existing.is_some() && self.remove_first {
            fs::remove_file(target).map_err(cannot("remove", target))?;
            existing = None;
        }
        if existing.is_some_and(|existing| existing.kind == FileType::Symlink) && !target.exists() {
            return Err(Failure::Usage(format!("not writing through dangling symlink '{}'", target.display())));
        }
        let create = || OpenOptions::new().write(true).create(true).truncate(true).open(target);
        let output = match create() {
            Err(_) if self.force && existing.is_some() => {
                fs::remove_file(target).map_err(cannot("remove", target))?;
                existing = None;
                create()
            }
            other => other,
        };
        let mut output = output.map_err(cannot("create regular file", target))?;
        io::copy(&mut BufReader::with_capacity(BUFFER, input), &mut output)
            .and_then(|_| output.flush())
            .map_err(cannot("write", target))?;
        drop(output);
        self.finish(attributes, target, existing.is_none()).map_err(cannot("preserve what belongs to", target))
    }

    /// Gives a copy what belongs to it. What is new has the permissions of what it is a copy of, but for the umask's.
    fn finish(&self, attributes: &Attributes, target: &Path, is_new: bool) -> io::Result<()> {
        if self.preserve.times {
            attributes::set_times(target, attributes.accessed, attributes.modified, true)?;
        }
        if self.preserve.mode {
            attributes::set_mode(target, attributes.mode)
        } else if is_new {
            let bits = if attributes.kind == FileType::Directory { 0o1777 } else { 0o777 };
            attributes::set_mode(target, attributes.mode & bits & !self.umask)
        } else {
            Ok(())
        }
    }

    fn say(&self, source: &Path, target: &Path) {
        if self.says {
            println!("'{}' -> '{}'", source.display(), target.display());
        }
    }
}

impl Existing {
    /// Whether what is there gives way.
    fn replaces(self, name: &str, target: &Path, old: &Attributes, new: &Attributes) -> Result<bool, Failure> {
        Ok(match self {
            Self::Replace => true,
            Self::Keep => false,
            Self::Update => new.modified > old.modified,
            Self::Ask => {
                eprint!("{name}: overwrite '{}'? ", target.display());
                let mut answer = String::new();
                io::stdin().read_line(&mut answer)?;
                answer.trim_start().starts_with(['y', 'Y'])
            }
        })
    }

    /// As options such as `--update=none` say.
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "all" => Self::Replace,
            "none" => Self::Keep,
            "older" => Self::Update,
            _ => return None,
        })
    }
}

/// Whether `target` is in the folder `source`, or would be.
fn is_within(target: &Path, source: &Path) -> bool {
    let Ok(source) = fs::canonicalize(source) else { return false };
    let existing = target.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::canonicalize(path).ok()
    });
    existing.is_some_and(|existing| existing.starts_with(&source) && (existing != source || !target.exists()))
}

fn is_same(one: &Attributes, other: &Attributes) -> bool {
    (one.device, one.inode) == (other.device, other.inode)
}

fn same_file(source: &Path, target: &Path) -> Failure {
    Failure::Usage(format!("'{}' and '{}' are the same file", source.display(), target.display()))
}

fn overwrites(existing: &str, target: &Path, new: &str, source: Option<&Path>) -> Failure {
    let source = source.map(|source| format!(" '{}'", source.display())).unwrap_or_default();
    Failure::Usage(format!("cannot overwrite {existing} '{}' with {new}{source}", target.display()))
}

/// For `map_err`: what could not be done.
fn cannot(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |error| Failure::Usage(format!("cannot {what} '{}': {}", path.display(), reason(&error)))
}
