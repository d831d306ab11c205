//! Writing a volume's files so that a reader sees the old version or the new one, never a mixture.
//!
//! ```text
//! volume/
//!   ..2026_11_21_10_00_00.000000000/   the files of one version
//!   ..data -> ..2026_11_21_10_00_00.000000000
//!   key    -> ..data/key               one link for each first path component
//! ```
//! A new version is written beside the old one, and `..data` is moved over to it in one rename. The layout and the
//! order of steps are those of the kubelet's atomic writer (v1.36 `AtomicWriter.Write`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::payload::{Payload, PayloadFile};
use super::{ownership, set_mode};
use crate::base::clock::Timestamp;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// How many versions may carry the same time before giving up.
const MAX_SAME_TIME: u32 = 1000;

/// Makes `directory` contain `files`; does nothing where it does already.
pub(super) fn write(directory: &Path, files: &Payload, now: Timestamp) -> io::Result<()> {
    let old = current_version(directory)?;
    if old.is_none() || !is_same(directory, files)? {
        let version = new_version(directory, now)?;
        if let Err(error) = fill(&directory.join(&version), files) {
            fs::remove_dir_all(directory.join(&version))?;
            return Err(error);
        }
        swap(directory, &version)?;
    }
    link_names(directory, files)?;
    if let Some(old) = old
        && current_version(directory)?.as_ref() != Some(&old)
    {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

/// The name of the version `..data` leads to.
fn current_version(directory: &Path) -> io::Result<Option<String>> {
    match fs::read_link(directory.join(DATA)) {
        Ok(version) => Ok(version.to_str().filter(|version| !version.contains('/')).map(str::to_owned)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn new_version(directory: &Path, now: Timestamp) -> io::Result<String> {
    let time = now.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    for attempt in 0..MAX_SAME_TIME {
        let name = if attempt == 0 { time.clone() } else { format!("{time}_{attempt}") };
        match fs::create_dir(directory.join(&name)) {
            Ok(()) => return set_mode(&directory.join(&name), 0o755).map(|()| name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn fill(version: &Path, files: &Payload) -> io::Result<()> {
    for (path, file) in files {
        let target = version.join(path);
        let mut parent = version.to_owned();
        for name in Path::new(path).parent().into_iter().flat_map(Path::components) {
            parent.push(name);
            match fs::create_dir(&parent) {
                Ok(()) => set_mode(&parent, 0o755)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        fs::write(&target, &file.contents)?;
        give(&target, file)?;
    }
    Ok(())
}

/// Gives a file to whom it is for.
fn give(target: &Path, file: &PayloadFile) -> io::Result<()> {
    let has_group = file.group.map_or(Ok(false), |group| ownership::set_group(target, group))?;
    let has_user = file.user.map_or(Ok(false), |user| ownership::set_user(target, user))?;
    let is_given = has_group || has_user;
    set_mode(target, file.mode_for_all.filter(|_| !is_given).unwrap_or(file.mode))
}

fn swap(directory: &Path, version: &str) -> io::Result<()> {
    let new = directory.join(NEW_DATA);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(Path::new(version), &new)?;
    fs::rename(new, directory.join(DATA))
}

/// Makes the links that show, and removes those whose files are gone.
fn link_names(directory: &Path, files: &Payload) -> io::Result<()> {
    let mut wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        match name.to_str() {
            Some(name) if name.starts_with("..") || wanted.remove(name) => {}
            // A subPath was made.
            _ if entry.file_type()?.is_dir() => {}
            _ => fs::remove_file(directory.join(&name))?,
        }
    }
    wanted.into_iter().try_for_each(|name| symlink(&Path::new(DATA).join(name), &directory.join(name)))
}

/// Whether the current version has these files and no others.
fn is_same(directory: &Path, files: &Payload) -> io::Result<bool> {
    let data = directory.join(DATA);
    for (path, file) in files {
        if !is_same_file(&data.join(path), file)? {
            return Ok(false);
        }
    }
    Ok(count_files(&data)? == files.len())
}

fn is_same_file(path: &Path, file: &PayloadFile) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() != file.contents.len() as u64 || !is_given(&metadata, file) => Ok(false),
        Ok(_) => Ok(fs::read(path)? == file.contents),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

fn count_files(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// Whether a file is as `give` leaves it.
#[cfg(unix)]
fn is_given(metadata: &fs::Metadata, file: &PayloadFile) -> bool {
    use std::os::unix::fs::MetadataExt;
    let mode = metadata.mode() & 0o7777;
    let belongs = file.user.is_none_or(|user| user == metadata.uid()) || file.group == Some(metadata.gid());
    mode == file.mode && belongs || Some(mode) == file.mode_for_all
}

#[cfg(not(unix))]
fn is_given(_metadata: &fs::Metadata, _file: &PayloadFile) -> bool {
    true
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let resolved = link.parent().unwrap_or(link).join(target);
    if resolved.is_dir() {
        std::os::windows::fs::symlink_dir(target, link)
    } else {
        std::os::windows::fs::symlink_file(target, link)
    }
}
