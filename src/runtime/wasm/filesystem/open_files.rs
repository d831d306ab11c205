//! Files and directories a component has open: how many there may be. Streams of a file count with it, since they keep
//! it open when its descriptor is gone.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::vfs::{Errno, File};

/// Files and directories one process may have open, as many as a 0.1 module may.
pub(super) const MAX_OPEN_FILES: usize = 1024;

/// The room one process has for open files.
#[derive(Debug)]
pub(in super::super) struct OpenFiles(Arc<Semaphore>);

impl Default for OpenFiles {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_OPEN_FILES)))
    }
}

impl OpenFiles {
    /// Room for one more.
    pub(super) fn take(&self) -> Result<Place, Errno> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| Errno::TooManyOpen)?;
        Ok(Place { _permit: Arc::new(permit) })
    }
}

/// What one open file or directory takes, until its last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// An open file in its place. Clones share both.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    file: File,
    _place: Place,
}

impl OpenFile {
    pub(super) fn new(file: File, place: Place) -> Self {
        Self { file, _place: place }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_bounded_and_clones_share_their_place() {
        let open_files = OpenFiles::default();
        let mut places: Vec<_> = (0..MAX_OPEN_FILES).map(|_| open_files.take().unwrap()).collect();
        assert_eq!(open_files.take().unwrap_err(), Errno::TooManyOpen);
        let clone = places[0].clone();
        drop(places.swap_remove(0));
        assert_eq!(open_files.take().unwrap_err(), Errno::TooManyOpen);
        drop(clone);
        open_files.take().unwrap();
    }
}
