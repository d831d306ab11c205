//! Extracts archives. Nothing is ever written outside of the directory: names are relative and without `..`, and
//! symbolic links that lead elsewhere are made last, so that no entry is written through them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use super::tar::{Settings, broken};
use crate::attributes;
use crate::failure::{Failure, reason};

/// Extracts what is wanted; 2 if something could not be.
pub(super) fn extract<R: Read>(settings: &Settings, archive: &mut Archive<R>) -> Result<u8, Failure> {
    let mut extraction = Extraction { settings, code: 0, links: Vec::new(), folders: Vec::new() };
    let mut found = vec![false; settings.names.len()];
    for entry in archive.entries()? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path_bytes().into_owned();
        if !settings.is_wanted(&name, &mut found) {
            continue;
        }
        let shown = String::from_utf8_lossy(&name).into_owned();
        if settings.verbose {
            let shown = format!("{shown}\n");
            if settings.to_output { eprint!("{shown}") } else { print!("{shown}") }
        }
        if settings.to_output {
            if entry.header().entry_type().is_file() {
                io::copy(&mut entry, &mut io::stdout().lock())?;
            }
            continue;
        }
        if let Err(problem) = extraction.entry(&mut entry) {
            eprintln!("tar: {shown}: {problem}");
            extraction.code = 2;
        }
    }
    extraction.finish();
    Ok(extraction.code | settings.missing(&found)?)
}

struct Extraction<'a> {
    settings: &'a Settings,
    code: u8,
    /// Symbolic links to be made last, and what they say.
    links: Vec<(PathBuf, PathBuf)>,
    /// Folders, whose permissions and times are set last: what is put into them needs the one and changes the other.
    folders: Vec<(PathBuf, Kept)>,
}

/// What an archive keeps of a file beside its contents.
#[derive(Clone, Copy)]
struct Kept {
    mode: u32,
    modified: i64,
}

impl Extraction<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), String> {
        let name = entry.path().map_err(|error| reason(&error))?.into_owned();
        let Some(below) = self.below(&name)? else { return Ok(()) };
        let path = self.settings.directory.join(&below);
        let said = |error: io::Error| reason(&error);
        let kept = self.kept(entry);
        self.parents(&below).map_err(said)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                match fs::create_dir(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                    other => other.map_err(said)?,
                }
                self.folders.push((path, kept));
            }
            EntryType::Symlink => {
                let target = entry.link_name().map_err(said)?.ok_or("a link to nothing")?.into_owned();
                if self.make_room(&path).map_err(said)? {
                    self.link(path, target).map_err(said)?;
                }
                return Ok(());
            }
            EntryType::Link => {
                let target = entry.link_name().map_err(said)?.ok_or("a link to nothing")?.into_owned();
                let Some(target) = self.below(&target)? else { return Ok(()) };
                self.parents(&target).map_err(said)?;
                if self.make_room(&path).map_err(said)? {
                    fs::hard_link(self.settings.directory.join(target), &path).map_err(said)?;
                }
                return Ok(());
            }
            kind if kind.is_file() || kind.is_gnu_sparse() || kind.is_contiguous() => {
                if !self.make_room(&path).map_err(said)? {
                    return Ok(());
                }
                let mut file = File::create(&path).map_err(said)?;
                io::copy(entry, &mut file).map_err(said)?;
                self.keep(&path, kept).map_err(said)?;
            }
            _ => return Err("neither file, folder nor link; ignored".to_owned()),
        }
        Ok(())
    }

    fn kept<R: Read>(&self, entry: &Entry<'_, R>) -> Kept {
        let header = entry.header();
        let mode = header.mode().unwrap_or(0o644) & 0o7777;
        Kept {
            mode: if self.settings.masked { mode & 0o777 & !attributes::umask() } else { mode },
            modified: header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or_default(),
        }
    }

    fn keep(&self, path: &Path, Kept { mode, modified }: Kept) -> io::Result<()> {
        if !self.settings.no_times {
            attributes::set_times(path, (modified, 0), (modified, 0), true)?;
        }
        attributes::set_mode(path, mode)
    }

    /// The path a name stands for below the directory, if anything is left of it.
    fn below(&self, name: &Path) -> Result<Option<PathBuf>, String> {
        let mut below = PathBuf::new();
        for part in name.components() {
            match part {
                Component::Normal(part) => below.push(part),
                Component::ParentDir => return Err("name contains '..', skipping".to_owned()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let stripped: PathBuf = below.components().skip(self.settings.strip).collect();
        Ok(Some(stripped).filter(|path| !path.as_os_str().is_empty()))
    }

    /// Makes the folders a path is in.
    fn parents(&self, below: &Path) -> io::Result<()> {
        match below.parent() {
            Some(parent) => fs::create_dir_all(self.settings.directory.join(parent)),
            None => Ok(()),
        }
    }

    /// Removes a file that is in the way; false if it is to be kept.
    fn make_room(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) if self.settings.keep_existing => Ok(false),
            Ok(metadata) if metadata.is_dir() => fs::remove_dir(path).map(|()| true),
            Ok(_) => fs::remove_file(path).map(|()| true),
            Err(_) => Ok(true),
        }
    }

    fn link(&mut self, path: PathBuf, target: PathBuf) -> io::Result<()> {
        if target.is_absolute() || target.components().any(|part| part == Component::ParentDir) {
            self.links.push((path, target));
            return Ok(());
        }
        symlink(&target, &path)
    }

    fn finish(&mut self) {
        for (path, kept) in std::mem::take(&mut self.folders).into_iter().rev() {
            if let Err(error) = self.keep(&path, kept) {
                eprintln!("tar: {}: {}", path.display(), reason(&error));
                self.code = 2;
            }
        }
        for (path, target) in std::mem::take(&mut self.links) {
            if let Err(error) = symlink(&target, &path) {
                eprintln!("tar: {}: {}", path.display(), reason(&error));
                self.code = 2;
            }
        }
    }
}

fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    Ok(rustix::fs::symlink(target, link)?)
}
