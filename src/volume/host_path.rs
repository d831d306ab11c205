//! hostPath: what its `type` demands of the path, and what is made where it is missing.

use std::fs::{self, FileType};
use std::io;
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::{SetUpError, open, set_mode};
use crate::vfs::MountSource;

/// Checks the path as its type demands (kubelet v1.36 `checkTypeInternal`) and opens it.
pub(super) fn prepare(host_path: &HostPathVolumeSource) -> Result<MountSource, SetUpError> {
    let path = Path::new(&host_path.path);
    let found = match fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(SetUpError::io("look at", path, error)),
    };
    let expect = |is: fn(&FileType) -> bool, wanted| match &found {
        Some(found) if is(found) => Ok(()),
        Some(_) | None => Err(SetUpError::HostPathType { path: path.to_owned(), wanted }),
    };
    match host_path.type_.as_deref().unwrap_or_default() {
        // Container runtimes make a directory of what is missing here.
        "" | "DirectoryOrCreate" if found.is_none() => make_directory(path)?,
        "" => {}
        "DirectoryOrCreate" | "Directory" => expect(FileType::is_dir, "directory")?,
        "FileOrCreate" if found.is_none() => make_file(path)?,
        "FileOrCreate" | "File" => expect(FileType::is_file, "file")?,
        "Socket" => expect(is_socket, "socket file")?,
        "CharDevice" => expect(is_character_device, "character device")?,
        "BlockDevice" => expect(is_block_device, "block device")?,
        unknown => return Err(SetUpError::HostPathUnknownType(unknown.to_owned())),
    }
    if path.is_dir() {
        return Ok(open(path)?.into());
    }
    MountSource::host_file(path).map_err(|error| SetUpError::io("open", path, error))
}

fn make_directory(path: &Path) -> Result<(), SetUpError> {
    fs::create_dir_all(path).and_then(|()| set_mode(path, 0o755)).map_err(|error| SetUpError::io("make", path, error))
}

/// The directory it lies in must exist.
fn make_file(path: &Path) -> Result<(), SetUpError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|_| set_mode(path, 0o644))
        .map_err(|error| SetUpError::io("make", path, error))
}

#[cfg(unix)]
use std::os::unix::fs::FileTypeExt;

#[cfg(unix)]
fn is_socket(found: &FileType) -> bool {
    found.is_socket()
}

#[cfg(unix)]
fn is_character_device(found: &FileType) -> bool {
    found.is_char_device()
}

#[cfg(unix)]
fn is_block_device(found: &FileType) -> bool {
    found.is_block_device()
}

#[cfg(not(unix))]
use self::{is_nothing as is_socket, is_nothing as is_character_device, is_nothing as is_block_device};

#[cfg(not(unix))]
fn is_nothing(_found: &FileType) -> bool {
    false
}
