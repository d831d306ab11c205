//! Writes archives.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::wasi::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;
use tar::{Builder, EntryType, Header};

use super::tar::Settings;
use crate::accounts;
use crate::attributes::{self, Attributes};
use crate::failure::{Failure, reason};

/// Writes everything the operands name; 2 if something could not be read.
pub(super) fn create(settings: &Settings, output: &mut dyn Write) -> Result<u8, Failure> {
    let mut creation = Creation { settings, archive: Builder::new(output), code: 0, told: false };
    for (directory, name) in &settings.names {
        creation.add(&directory.join(name), Path::new(name))?;
    }
    creation.archive.finish()?;
    Ok(creation.code)
}

struct Creation<'a> {
    settings: &'a Settings,
    archive: Builder<&'a mut dyn Write>,
    code: u8,
    /// That leading slashes are dropped has been said.
    told: bool,
}

impl Creation<'_> {
    /// Adds a file, and all below a folder, under a name.
    fn add(&mut self, path: &Path, name: &Path) -> Result<(), Failure> {
        if self.settings.is_excluded(name.as_os_str().as_bytes()) {
            return Ok(());
        }
        let added =
            attributes::of(path, self.settings.follow).and_then(|attributes| self.entry(path, name, &attributes));
        match added {
            Ok(FileType::Directory) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error.into()),
            Err(error) => {
                self.complain(name, &error);
                return Ok(());
            }
        }
        let listed = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        match listed {
            Ok(mut names) => {
                names.sort();
                names.iter().try_for_each(|below| self.add(&path.join(below), &name.join(below)))
            }
            Err(error) => {
                self.complain(name, &error);
                Ok(())
            }
        }
    }

    fn entry(&mut self, path: &Path, name: &Path, attributes: &Attributes) -> io::Result<FileType> {
        let mut stored = self.stored_name(name);
        let mut header = Header::new_gnu();
        header.set_mode(attributes.mode);
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        header.set_username(&accounts::user_name(attributes.uid))?;
        header.set_groupname(&accounts::group_name(attributes.gid))?;
        header.set_mtime(u64::try_from(attributes.modified.0).unwrap_or_default());
        header.set_size(0);
        match attributes.kind {
            FileType::Directory => {
                stored.push("");
                header.set_entry_type(EntryType::Directory);
                self.archive.append_data(&mut header, &stored, io::empty())?;
            }
            FileType::Symlink => {
                header.set_entry_type(EntryType::Symlink);
                self.archive.append_link(&mut header, &stored, fs::read_link(path)?)?;
            }
            FileType::RegularFile => {
                let file = File::open(path)?;
                header.set_entry_type(EntryType::Regular);
                header.set_size(attributes.size);
                // Exactly as long as the header says, whatever becomes of the file meanwhile.
                let contents = io::Read::take(file, attributes.size);
                let contents = io::Read::take(io::Read::chain(contents, io::repeat(0)), attributes.size);
                self.archive.append_data(&mut header, &stored, contents)?;
            }
            _ => eprintln!("tar: {}: not a regular file; ignored", name.display()),
        }
        if self.settings.verbose {
            eprintln!("{}", stored.display());
        }
        Ok(attributes.kind)
    }

    /// A name as it may be in an archive: relative, without `..`.
    fn stored_name(&mut self, name: &Path) -> PathBuf {
        let kept: PathBuf =
            name.components().filter(|part| matches!(part, Component::Normal(_) | Component::CurDir)).collect();
        if (name.is_absolute() || name.components().any(|part| part == Component::ParentDir)) && !self.told {
            eprintln!("tar: Removing leading '/' and '..' from member names");
            self.told = true;
        }
        if kept.as_os_str().is_empty() { PathBuf::from(".") } else { kept }
    }

    fn complain(&mut self, name: &Path, error: &io::Error) {
        self.code = 2;
        eprintln!("tar: {}: {}", name.display(), reason(error));
    }
}
