//! Extracts archives. Nothing is ever written outside of the directory: names are relative and without `..`, and
//! symbolic links that lead elsewhere are made last, so that no entry is written through them.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tar::{Archive, Entry, EntryType};

use super::tar::{Settings, broken};
use crate::attributes;
use crate::failure::{Failure, reason};

/// Extracts what is wanted; 2 if something could not be.
pub(super) fn extract<R: Read>(settings: &Settings, archive: &mut Archive<R>) -> Result<u8, Failure> {
    let mut extraction = Extraction { settings, code: 0, links: Vec::new() };
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
}

impl Extraction<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), String> {
        let name = entry.path().map_err(|error| reason(&error))?.into_owned();
        let Some(below) = self.below(&name)? else { return Ok(()) };
        let path = self.settings.directory.join(&below);
        let said = |error: io::Error| reason(&error);
        self.parents(&below).map_err(said)?;
        match entry.header().entry_type() {
            EntryType::Directory => match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                other => other.map_err(said)?,
            },
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
                self.file(entry, &path).map_err(said)?;
            }
            _ => return Err("neither file, folder nor link; ignored".to_owned()),
        }
        // Nowhere to be kept is no failure: what can be executed is up to the system then.
        let _unsupported = attributes::set_mode(&path, entry.header().mode().unwrap_or(0o644) & 0o7777);
        Ok(())
    }

    fn file<R: Read>(&self, entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        io::copy(entry, &mut file)?;
        if !self.settings.no_times {
            let time = UNIX_EPOCH + Duration::from_secs(entry.header().mtime().unwrap_or_default());
            file.set_times(FileTimes::new().set_modified(time))?;
        }
        Ok(())
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
