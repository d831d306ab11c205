//! Why an applet could not do what it was asked, and how it says so.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why an applet gave up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense, or what it asks for cannot be.
    Usage(String),
    /// An operation on a file failed.
    File(PathBuf, io::Error),
    /// Reading standard input or writing standard output failed.
    Stream(io::Error),
    /// As `Usage`, for applets whose exit code says what kind of trouble it was.
    Code(u8, String),
}

impl Failure {
    /// For `map_err`: the operation on `path` failed.
    pub(crate) fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |error| Self::File(path, error)
    }

    pub(crate) fn usage(problem: impl Into<String>) -> Self {
        Self::Usage(problem.into())
    }

    /// `missing operand`.
    pub(crate) fn missing_operand() -> Self {
        Self::usage("missing operand")
    }

    /// Writing failed because nobody reads any more.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(problem) | Self::Code(_, problem) => formatter.write_str(problem),
            Self::File(path, error) => write!(formatter, "{}: {}", path.display(), reason(error)),
            Self::Stream(error) => formatter.write_str(&reason(error)),
        }
    }
}

/// What the system says about an error, without Rust's `(os error N)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Does `work` for each of `items`, reports each failure on standard error and goes on; 1 if any failed.
pub(crate) fn for_each<T>(
    applet: &str,
    items: &[T],
    mut work: impl FnMut(&T) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let mut code = 0;
    for item in items {
        match work(item) {
            Ok(()) => {}
            Err(failure) if failure.is_broken_pipe() => return Err(failure),
            Err(failure) => {
                eprintln!("{applet}: {failure}");
                code = 1;
            }
        }
    }
    Ok(code)
}
