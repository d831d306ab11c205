//! Files of husk's own on the machine, whatever its system: private to the user, and known again.
//!
//! Where there are no permission bits, as on Windows, the user's folders are closed to others, and what is made in them is
//! too.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// For files that nobody else on the machine may read.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// For directories that nobody else on the machine may enter.
pub fn private_directory(builder: &mut DirBuilder) -> &mut DirBuilder {
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
    builder
}

/// Makes sure that the names in a directory are still there after a crash of the machine. Windows has no such thing to ask for.
///
/// # Errors
/// When the disk refuses.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Whether an open file is still the one that its path leads to. Elsewhere than on Unix, whether there is one.
pub fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let found = fs::symlink_metadata(path).map(identity);
        file.metadata().map(identity).is_ok_and(|own| found.is_ok_and(|found| own == found))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}
