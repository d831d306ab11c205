//! `mv`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Copier, Existing, Follow, Preserve, cannot, cp, is_same, overwrites, same_file};
use crate::attributes;
use crate::failure::{Failure, for_each, reason};
use crate::options::{CommandLine, Item, unknown};
use crate::targets::Targets;

pub(crate) const USAGE: &str = "mv [-finTuv] SOURCE TARGET
       mv [-finuv] SOURCE... FOLDER
       mv [-finuv] -t FOLDER SOURCE...

Rename files and folders, or move them

  -i  Ask before overwriting    -n  Never overwrite    -u  Only over what is older
  -T  TARGET is no folder to move into                 -v  Say what is done";

#[derive(Default)]
struct Settings {
    existing: Existing,
    says: bool,
}

pub(crate) fn mv(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut settings = Settings::default();
    let mut targets = Targets { folder: None, exactly: false, parents: false };
    let mut operands = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        let option = match item {
            Item::Operand(operand) => {
                operands.push(PathBuf::from(operand));
                continue;
            }
            Item::Option(option) => option,
        };
        match option.as_str() {
            "f" | "force" => settings.existing = Existing::Replace,
            "i" | "interactive" => settings.existing = Existing::Ask,
            "n" | "no-clobber" => settings.existing = Existing::Keep,
            "u" => settings.existing = Existing::Update,
            "update" => settings.existing = cp::update(&mut line)?,
            "v" | "verbose" => settings.says = true,
            "T" | "no-target-directory" => targets.exactly = true,
            "t" | "target-directory" => targets.folder = Some(line.value()?.into()),
            "strip-trailing-slashes" => {}
            _ => return Err(unknown(&option)),
        }
    }
    for_each("mv", &targets.pair("mv", operands)?, |(source, target)| settings.one(source, target))
}

impl Settings {
    fn one(&self, source: &Path, target: &Path) -> Result<(), Failure> {
        let moved = attributes::of(source, false).map_err(cannot("stat", source))?;
        let existing = attributes::of(target, false).ok();
        if let Some(existing) = &existing {
            if is_same(existing, &moved) {
                // Of two names of one file, one is left.
                let is_other_name = moved.links > 1 && moved.kind != FileType::Directory && source != target;
                return match is_other_name {
                    true => fs::remove_file(source).map_err(cannot("remove", source)),
                    false => Err(same_file(source, target)),
                };
            }
            match (moved.kind == FileType::Directory, existing.kind == FileType::Directory) {
                (true, false) => return Err(overwrites("non-directory", target, "directory", Some(source))),
                (false, true) => return Err(overwrites("directory", target, "non-directory", None)),
                _ => {}
            }
            if !self.existing.replaces("mv", target, existing, &moved)? {
                return Ok(());
            }
        }
        match fs::rename(source, target) {
            Ok(()) => {}
            Err(error) if is(&error, Errno::XDEV) => self.across(source, target, existing.is_some())?,
            Err(error) => return Err(cannot_move(source, target, &error)),
        }
        if self.says {
            println!("renamed '{}' -> '{}'", source.display(), target.display());
        }
        Ok(())
    }

    /// To another filesystem: what cannot be renamed is copied and removed.
    fn across(&self, source: &Path, target: &Path, exists: bool) -> Result<(), Failure> {
        if exists {
            let is_folder = fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_dir());
            let removed = if is_folder { fs::remove_dir(target) } else { fs::remove_file(target) };
            removed.map_err(|error| cannot_move(source, target, &error))?;
        }
        let mut copier = Copier::new("mv");
        (copier.recursive, copier.follow, copier.preserve) = (true, Follow::Never, Preserve::ALL);
        copier.operand(source, target)?;
        if copier.failed {
            return Err(Failure::Usage(format!("'{}' stays: not all of it could be copied", source.display())));
        }
        let is_folder = fs::symlink_metadata(source).is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_folder { fs::remove_dir_all(source) } else { fs::remove_file(source) };
        removed.map_err(cannot("remove", source))
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

fn cannot_move(source: &Path, target: &Path, error: &io::Error) -> Failure {
    let (shown, into) = (source.display(), target.display());
    Failure::Usage(match is(error, Errno::INVAL) {
        true => format!("cannot move '{shown}' to a subdirectory of itself, '{into}'"),
        false => format!("cannot move '{shown}' to '{into}': {}", reason(error)),
    })
}
