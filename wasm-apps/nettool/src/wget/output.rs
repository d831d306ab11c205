//! Where `wget` writes: the fetched bytes, and its words.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::cannot;
use super::options::Options;

/// What is said on standard error, or in the file of `-o`.
pub(super) struct Log {
    quiet: bool,
    file: Option<File>,
}

impl Log {
    pub(super) fn open(options: &Options) -> Result<Self, String> {
        let file = match &options.log {
            None => None,
            Some(path) => Some(File::create(path).map_err(cannot("open", path))?),
        };
        Ok(Self { quiet: options.quiet, file })
    }

    /// Whether it goes to standard error.
    pub(super) fn is_stderr(&self) -> bool {
        self.file.is_none()
    }

    /// Says something unless quiet.
    pub(super) fn say(&mut self, line: &str) {
        if !self.quiet {
            self.always(line);
        }
    }

    /// Says something, quiet or not.
    pub(super) fn always(&mut self, line: &str) {
        // Nobody would be there to be told of a log that cannot be written.
        let _written = match &mut self.file {
            Some(file) => writeln!(file, "{line}"),
            None => writeln!(io::stderr(), "{line}"),
        };
    }
}

/// Files that are written: that of `-O`, which takes all URLs one after the other, or one for each URL.
#[derive(Default)]
pub(super) struct Output {
    begun: bool,
}

impl Output {
    /// How much of a file is there already.
    pub(super) fn present(options: &Options, name: &str) -> Result<u64, String> {
        let path = path_of(options, name);
        match fs::metadata(&path) {
            _ if path.as_os_str() == "-" => Ok(0),
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(cannot("open", &path)(error)),
        }
    }

    /// Where the next bytes go: after the first `present` ones, which stay.
    pub(super) fn target(&mut self, options: &Options, name: &str, present: u64) -> Result<Target, String> {
        let path = path_of(options, name);
        if path.as_os_str() == "-" {
            return Ok(Target { path, file: None });
        }
        let mut how = OpenOptions::new();
        match options.output {
            Some(_) if self.begun => how.append(true),
            Some(_) => how.write(true).create(true).truncate(!options.resume),
            // A file that is in the way is not overwritten, as with busybox.
            None if !options.resume => how.write(true).create_new(true),
            None => how.write(true).create(true).truncate(false),
        };
        let mut file = how.open(&path).map_err(cannot("open", &path))?;
        self.begun = true;
        if options.resume {
            let moved = file.set_len(present).and_then(|()| file.seek(SeekFrom::Start(present)));
            moved.map_err(cannot("write", &path))?;
        }
        Ok(Target { path, file: Some(file) })
    }
}

fn path_of(options: &Options, name: &str) -> PathBuf {
    match (&options.output, &options.directory) {
        (Some(path), _) => path.clone(),
        (None, Some(directory)) => directory.join(name),
        (None, None) => PathBuf::from(name),
    }
}

/// One file being written, or standard output.
pub(super) struct Target {
    path: PathBuf,
    file: Option<File>,
}

impl Target {
    pub(super) fn name(&self) -> &Path {
        &self.path
    }

    pub(super) fn beginning(&self) -> String {
        match self.file {
            Some(_) => format!("saving to '{}'", self.path.display()),
            None => "writing to stdout".to_owned(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => io::stdout().write_all(bytes),
        };
        written.map_err(cannot("write", &self.path))
    }

    /// What to say at the end.
    pub(super) fn finish(self) -> Result<String, String> {
        match self.file {
            Some(_) => Ok(format!("'{}' saved", self.path.display())),
            None => {
                io::stdout().flush().map_err(cannot("write", &self.path))?;
                Ok("written to stdout".to_owned())
            }
        }
    }
}
