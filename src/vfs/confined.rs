//! Paths below a mount source, as a volume mount's `subPath` names them: they stay below it, or are refused.

use std::sync::Arc;

use super::node::{Directory, Entered, Found};
use super::path::{check_name, check_path, is_finished, split_first};
use super::table::{MountSource, Source};
use super::{Errno, MAX_SYMLINKS};

/// Why a path below a mount source cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescendError {
    /// The path, or a symlink on it, leads outside.
    #[error("path leads outside of the volume")]
    Escapes,
    /// A step failed.
    #[error(transparent)]
    Failed(#[from] Errno),
}

impl MountSource {
    /// The directory or file at the relative `path` below this one. Directories that are missing are made with the
    /// permission bits of the root (kubelet v1.36 `SafeMakeDir`). Symlinks are followed as long as they are relative
    /// and stay below.
    pub fn descend(&self, path: &str) -> Result<Self, DescendError> {
        let Source::Directory(root) = &self.0 else { return Err(Errno::NotDirectory.into()) };
        check_path(path)?;
        if path.starts_with('/') || path.split('/').any(|name| name == "..") {
            return Err(DescendError::Escapes);
        }
        let mode = root.stat()?.mode;
        let mut way: Vec<Arc<dyn Directory>> = Vec::new();
        let mut rest = path.to_owned();
        let mut links = 0;
        loop {
            let here = way.last().unwrap_or(root);
            let (name, after) = split_first(&rest);
            match name {
                "" => return Ok(Self(Source::Directory(Arc::clone(here)))),
                "." => rest = after.to_owned(),
                ".." => {
                    way.pop().ok_or(DescendError::Escapes)?;
                    rest = after.to_owned();
                }
                name => {
                    check_name(name)?;
                    match step(&**here, name, mode, is_finished(after))? {
                        Found::Directory(next) => {
                            rest = after.to_owned();
                            way.push(next);
                        }
                        Found::File(file) => return Ok(Self(Source::File(file))),
                        Found::Symlink(target) => {
                            links += 1;
                            if links > MAX_SYMLINKS {
                                return Err(Errno::Loop.into());
                            }
                            if target.starts_with('/') {
                                return Err(DescendError::Escapes);
                            }
                            rest = format!("{target}{after}");
                        }
                    }
                }
            }
        }
    }
}

fn step(here: &dyn Directory, name: &str, mode: u32, last: bool) -> Result<Found, Errno> {
    let entered = match here.enter(name) {
        Err(Errno::NotFound) => {
            here.create_dir(name, mode)?;
            here.enter(name)
        }
        other => other,
    };
    match entered {
        Ok(Entered::Directory(directory)) => Ok(Found::Directory(directory)),
        Ok(Entered::Symlink(target)) => Ok(Found::Symlink(target)),
        Err(Errno::NotDirectory) if last => here.open_to_mount(name),
        Err(errno) => Err(errno),
    }
}
