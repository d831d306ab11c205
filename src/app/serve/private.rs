//! Files that only the user may read: keys, tokens, and who runs a server. They are replaced as a whole, so that nobody
//! ever finds half of one, and what others could read is closed to them again.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tracing::warn;

use crate::base::files::sync_directory;

/// The longest file that is read: none of these is anywhere near.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// What the owner may do with a directory, and with a file; others may do nothing.
#[cfg(unix)]
const DIRECTORY_MODE: u32 = 0o700;
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;

/// Makes a directory that only the user may enter, or closes one that is there to all others.
pub(super) fn make_directory(path: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot use the directory {}", path.display());
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    // Directories above it that are missing become private too.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, DIRECTORY_MODE);
    builder.create(path).with_context(context)?;
    let found = fs::symlink_metadata(path).with_context(context)?;
    ensure!(found.is_dir(), "{} is not a directory", path.display());
    #[cfg(unix)]
    close_to_others(path, &found, DIRECTORY_MODE).with_context(context)?;
    Ok(())
}

/// The content of a private file, if there is one.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let context = || format!("cannot read {}", path.display());
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(context),
    };
    ensure!(found.is_file(), "{} is not a file", path.display());
    #[cfg(unix)]
    close_to_others(path, &found, FILE_MODE).with_context(context)?;
    let mut content = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content)).with_context(context)?;
    ensure!(content.len() as u64 <= MAX_BYTES, "{} has more than {MAX_BYTES} bytes", path.display());
    Ok(Some(content))
}

/// The content of a private file that is text.
pub(in crate::app) fn read_text(path: &Path) -> anyhow::Result<Option<String>> {
    let Some(content) = read(path)? else { return Ok(None) };
    String::from_utf8(content).map(Some).with_context(|| format!("{} is not text", path.display()))
}

/// Puts a private file in place, instead of one that may be there.
pub(super) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    replace(path, content, true).with_context(|| format!("cannot write {}", path.display()))
}

/// The same for what is written anew at every start, and so need not outlive the machine: syncing takes far longer than
/// all else where a disk is slow or busy.
pub(super) fn write_for_now(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    replace(path, content, false).with_context(|| format!("cannot write {}", path.display()))
}

fn replace(path: &Path, content: &[u8], lasts: bool) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    // Only the user may read and write temporary files.
    let mut file = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(directory)?;
    file.write_all(content)?;
    if lasts {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    // Without it, a crash of the machine might bring the former file back.
    if lasts {
        sync_directory(directory)?;
    }
    Ok(())
}

/// Takes from others what they may do with a file or directory of the user's. What is somebody else's is not used.
#[cfg(unix)]
fn close_to_others(path: &Path, found: &Metadata, allowed: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let user = rustix::process::geteuid();
    if found.uid() != user.as_raw() && !user.is_root() {
        bail!("it belongs to another user (with UID {})", found.uid());
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & allowed))?;
        warn!(path = %path.display(), mode = format_args!("{mode:04o}"), "closed to other users, who could read it before");
    }
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_the_users_alone() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        make_directory(&directory).unwrap();
        write(&directory.join("key"), b"secret").unwrap();
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("key")), 0o600);
        assert_eq!(read(&directory.join("key")).unwrap().unwrap(), b"secret");
        assert_eq!(read(&directory.join("nothing")).unwrap(), None);
    }

    #[test]
    fn what_others_could_read_is_closed_to_them() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("key");
        fs::write(&file, "secret").unwrap();
        set_mode(&file, 0o644);
        set_mode(root.path(), 0o755);
        make_directory(root.path()).unwrap();
        read(&file).unwrap();
        assert_eq!((mode(root.path()), mode(&file)), (0o700, 0o600));
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_never_followed_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let (file, elsewhere) = (root.path().join("key"), root.path().join("elsewhere"));
        fs::write(&elsewhere, "precious").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert!(read(&file).unwrap_err().to_string().ends_with("is not a file"));
        write(&file, b"new").unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
        assert_eq!(fs::read(&file).unwrap(), b"new");
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }
}
