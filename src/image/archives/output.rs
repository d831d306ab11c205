//! Where an archive goes: a file that appears when it is complete, with the permissions that any new file of its user has,
//! or whatever else the name leads to (a device, a pipe), which is written to as it is.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::image::ImageError;
use crate::image::layout::failed;

/// How much is written at once.
const WRITE_BUFFER: usize = 256 * 1024;
/// The most symlinks that are followed from a name.
const MAX_LINKS: usize = 40;

/// Writes to a file that appears when it is complete, to what is there and is no file, or to standard output.
pub(super) fn to_file(
    output: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    if output == Path::new("-") {
        return buffered(io::stdout().lock(), output, write);
    }
    let target = followed(output)?;
    match fs::metadata(output) {
        Ok(found) if found.is_dir() => return Err(failed("cannot write", output)(io::ErrorKind::IsADirectory.into())),
        // A file that another program has open under such a name (`/dev/stdout`) must stay the one it is.
        Ok(found) if !found.is_file() || is_of_system(&target) || is_of_system(output) => {
            let opened = File::options().write(true).truncate(found.is_file()).open(output);
            return buffered(opened.map_err(failed("cannot open", output))?, output, write);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("cannot write", output)(error)),
    }
    let directory = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let file = NewFile::create(directory).map_err(failed("cannot write in", directory))?;
    buffered(file.as_file(), output, write)?;
    file.appear(&target).map_err(failed("cannot write", output))
}

fn buffered(
    out: impl Write,
    output: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut out = BufWriter::with_capacity(WRITE_BUFFER, out);
    write(&mut out)?;
    out.flush().map_err(failed("cannot write", output))
}

/// What a name leads to through symlinks, whether or not it is there yet.
fn followed(output: &Path) -> Result<PathBuf, ImageError> {
    let mut path = output.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(link) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(link);
        if is_of_system(&path) {
            return Ok(path);
        }
    }
    Err(ImageError::Invalid(format!("{} leads through too many symbolic links", output.display())))
}

/// Whether a name is one of the system's, which stand for open files.
fn is_of_system(path: &Path) -> bool {
    cfg!(unix) && ["/dev", "/proc"].iter().any(|system| path.starts_with(system))
}

/// A file that nobody sees before it is complete.
enum NewFile {
    /// Without any name, so that nothing is left of it however this process ends.
    #[cfg(target_os = "linux")]
    Nameless(File),
    /// With a name of its own, where there is nothing better.
    Named(NamedTempFile),
}

impl NewFile {
    fn create(directory: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            // Not every filesystem has such files, and they can be named only through `/proc`.
            if Path::new("/proc/self/fd").is_dir()
                && let Ok(opened) = open(directory, flags, Mode::from_raw_mode(0o666))
            {
                return Ok(Self::Nameless(File::from(opened)));
            }
        }
        #[cfg(unix)]
        let made = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(directory);
        #[cfg(not(unix))]
        let made = NamedTempFile::new_in(directory);
        made.map(Self::Named)
    }

    fn as_file(&self) -> &File {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => file,
            Self::Named(file) => file.as_file(),
        }
    }

    /// Gives it its name, which whatever had it before loses.
    fn appear(self, target: &Path) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => {
                use std::os::fd::AsRawFd;

                use rustix::fs::{AtFlags, CWD, linkat};
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                let link = |name: &Path| linkat(CWD, &*own, CWD, name, AtFlags::SYMLINK_FOLLOW);
                match link(target) {
                    Err(rustix::io::Errno::EXIST) => {}
                    linked => return Ok(linked?),
                }
                // A link replaces nothing, but a rename does.
                let beside = target.with_file_name(format!(".husk-{}", uuid::Uuid::new_v4()));
                link(&beside)?;
                fs::rename(&beside, target).inspect_err(|_| {
                    // The error is what counts.
                    let _left = fs::remove_file(&beside);
                })
            }
            Self::Named(file) => file.persist(target).map(drop).map_err(|error| error.error),
        }
    }
}
