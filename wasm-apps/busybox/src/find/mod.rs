//! `find`: options and the walk here, expressions in modules of their own.

mod evaluate;
mod exec;
mod parse;
mod printf;
mod question;

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::attributes::{self, Attributes};
use crate::failure::{Failure, reason};
use evaluate::Evaluation;
pub(crate) use evaluate::time_text;
pub(crate) use exec::replace;
use parse::Expression;

pub(crate) const USAGE: &str = "find [-HL] [PATH]... [EXPRESSION]

Look for files and do something with them. EXPRESSION is made of:

  ( E ), ! E, E E, E -o E, E , E
  -name -iname -path -ipath -lname -ilname GLOB, -regex -iregex PATTERN, -regextype TYPE
  -type -xtype [fdlcbps], -empty, -size [+-]N[cwbkMG], -perm [-/]MODE, -links N, -inum N, -samefile FILE
  -mtime -atime -ctime [+-]DAYS, -mmin -amin -cmin [+-]MINUTES, -newer FILE, -newerXY FILE
  -user NAME, -group NAME, -uid N, -gid N, -nouser, -nogroup
  -readable, -writable, -executable, -true, -false
  -print, -print0, -printf FORMAT, -ls, -delete, -prune, -quit
  -exec COMMAND ;, -exec COMMAND {} +, -execdir, -ok, -okdir
  -maxdepth N, -mindepth N, -depth, -xdev, -follow";

/// How deep folders may be nested.
const MAX_DEPTH: usize = 4096;

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Follow {
    #[default]
    Never,
    /// Those named on the command line.
    Named,
    Always,
}

/// What the expression says about the walk.
#[derive(Debug, Default)]
pub(super) struct Walk {
    follow: Follow,
    min_depth: usize,
    max_depth: Option<usize>,
    contents_first: bool,
    one_device: bool,
}

/// A file found.
pub(super) struct Entry {
    path: PathBuf,
    /// The path it was found below.
    root: PathBuf,
    depth: usize,
    follow: bool,
    attributes: OnceCell<Option<Attributes>>,
}

impl Entry {
    fn new(path: PathBuf, root: PathBuf, depth: usize, follow: Follow) -> Self {
        let follow = follow == Follow::Always || follow == Follow::Named && depth == 0;
        Self { path, root, depth, follow, attributes: OnceCell::new() }
    }

    /// The attributes, of a link's target where links are followed and it has one.
    fn attributes(&self) -> Option<&Attributes> {
        let read = || {
            let followed = self.follow.then(|| attributes::of(&self.path, true).ok()).flatten();
            followed.or_else(|| attributes::of(&self.path, false).ok())
        };
        self.attributes.get_or_init(read).as_ref()
    }

    fn kind(&self) -> Option<FileType> {
        self.attributes().map(|attributes| attributes.kind)
    }

    /// The last part of the path; all of it where it ends with `/` or dots.
    fn name(&self) -> &[u8] {
        let bytes = self.path.as_os_str().as_encoded_bytes();
        let trimmed =
            bytes.iter().rposition(|byte| *byte != b'/').map_or(&bytes[..bytes.len().min(1)], |end| &bytes[..=end]);
        match trimmed.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if trimmed.len() > 1 => &trimmed[slash + 1..],
            _ => trimmed,
        }
    }
}

pub(crate) fn find(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut arguments = arguments.into_iter().peekable();
    let mut walk = Walk::default();
    while let Some(option) = arguments.next_if(|argument| matches!(argument.to_str(), Some("-H" | "-L" | "-P"))) {
        walk.follow = match option.to_str() {
            Some("-H") => Follow::Named,
            Some("-L") => Follow::Always,
            _ => Follow::Never,
        };
    }
    let is_path = |argument: &OsString| {
        let bytes = argument.as_encoded_bytes();
        !(matches!(bytes, b"(" | b")" | b"!" | b",") || bytes.starts_with(b"-") && bytes.len() > 1)
    };
    let mut roots = Vec::new();
    while let Some(path) = arguments.next_if(is_path) {
        roots.push(PathBuf::from(path));
    }
    if roots.is_empty() {
        roots.push(PathBuf::from("."));
    }
    let expression = parse::parse(arguments.collect(), &mut walk)?;
    let mut finder = Finder { walk, evaluation: Evaluation::new(), trouble: false };
    for root in roots {
        if !finder.root(root, &expression)? {
            break;
        }
    }
    finder.evaluation.finish()?;
    Ok(u8::from(finder.trouble || finder.evaluation.trouble))
}

struct Finder {
    walk: Walk,
    evaluation: Evaluation,
    /// Something could not be looked at.
    trouble: bool,
}

/// A folder that is being walked through.
struct Folder {
    /// The folder itself, if it is to be evaluated after what is in it.
    itself: Option<Entry>,
    entries: std::vec::IntoIter<PathBuf>,
    depth: usize,
}

impl Finder {
    /// Walks through all below a path; false if `-quit` was met.
    fn root(&mut self, root: PathBuf, expression: &Expression) -> Result<bool, Failure> {
        let entry = Entry::new(root.clone(), root.clone(), 0, self.walk.follow);
        let device = match entry.attributes() {
            Some(attributes) => attributes.device,
            None => {
                let error = fs::symlink_metadata(&root).err().unwrap_or_else(|| io::ErrorKind::NotFound.into());
                self.complain(&root, &error);
                return Ok(true);
            }
        };
        let mut folders = Vec::new();
        self.visit(entry, device, expression, &mut folders)?;
        while let Some(folder) = folders.last_mut() {
            if self.evaluation.quit {
                return Ok(false);
            }
            match folder.entries.next() {
                Some(path) => {
                    let entry = Entry::new(path, root.clone(), folder.depth + 1, self.walk.follow);
                    self.visit(entry, device, expression, &mut folders)?;
                }
                None => {
                    if let Some(Folder { itself: Some(entry), .. }) = folders.pop() {
                        self.evaluate(&entry, expression)?;
                    }
                }
            }
        }
        Ok(!self.evaluation.quit)
    }

    /// Evaluates an entry and, if it is a folder to go into, adds it to the folders.
    fn visit(
        &mut self,
        entry: Entry,
        device: u64,
        expression: &Expression,
        folders: &mut Vec<Folder>,
    ) -> Result<(), Failure> {
        let deeper = self.walk.max_depth.is_none_or(|most| entry.depth < most) && entry.depth < MAX_DEPTH;
        let within = |attributes: &Attributes| {
            attributes.kind == FileType::Directory && (!self.walk.one_device || attributes.device == device)
        };
        let enters = deeper && entry.attributes().is_some_and(within) && !self.is_loop(&entry, folders);
        if !enters || !self.walk.contents_first {
            self.evaluation.pruned = false;
            self.evaluate(&entry, expression)?;
            if !enters || self.evaluation.pruned || self.evaluation.quit {
                return Ok(());
            }
        }
        let listed = fs::read_dir(&entry.path).and_then(|entries| {
            entries.map(|found| Ok(entry.path.join(found?.file_name()))).collect::<io::Result<Vec<_>>>()
        });
        let (entries, depth) = match listed {
            Ok(paths) => (paths.into_iter(), entry.depth),
            Err(error) => {
                self.complain(&entry.path, &error);
                (Vec::new().into_iter(), entry.depth)
            }
        };
        folders.push(Folder { itself: self.walk.contents_first.then_some(entry), entries, depth });
        Ok(())
    }

    /// Whether a link that is followed leads to a folder it is in.
    fn is_loop(&mut self, entry: &Entry, folders: &[Folder]) -> bool {
        if !entry.follow || folders.is_empty() || !entry.path.is_symlink() {
            return false;
        }
        let (Ok(target), Some(parent)) = (fs::canonicalize(&entry.path), entry.path.parent()) else { return true };
        let inside = fs::canonicalize(parent).is_ok_and(|parent| parent.starts_with(&target));
        if inside {
            let problem = io::Error::other("File system loop detected");
            self.complain(&entry.path, &problem);
        }
        inside
    }

    fn evaluate(&mut self, entry: &Entry, expression: &Expression) -> Result<(), Failure> {
        if entry.depth >= self.walk.min_depth {
            self.evaluation.evaluate(expression, entry)?;
        }
        Ok(())
    }

    fn complain(&mut self, path: &Path, error: &io::Error) {
        self.trouble = true;
        let _nowhere_to_say = self.evaluation.output.flush();
        eprintln!("find: '{}': {}", path.display(), reason(error));
    }
}
