//! What is wrong with a configuration, and where.

use std::fmt;
use std::rc::Rc;

/// A line of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's path.
    pub file: Rc<str>,
    /// Counted from 1; 0 for directives of the command line.
    pub line: u32,
}

/// Why a configuration cannot be used, in nginx's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub place: Option<Place>,
}

impl ConfigError {
    /// A problem at a place.
    pub fn new(message: impl Into<String>, place: &Place) -> Self {
        Self { message: message.into(), place: Some(place.clone()) }
    }

    /// A problem of the whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            None => write!(formatter, "{}", self.message),
            Some(Place { line: 0, .. }) => write!(formatter, "{} in command line", self.message),
            Some(Place { file, line }) => write!(formatter, "{} in {file}:{line}", self.message),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// What a system would say about a file, with its number for it.
pub fn explain_io(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let (number, text) = match error.kind() {
        ErrorKind::NotFound => (2, "No such file or directory"),
        ErrorKind::PermissionDenied => (13, "Permission denied"),
        ErrorKind::NotADirectory => (20, "Not a directory"),
        ErrorKind::IsADirectory => (21, "Is a directory"),
        ErrorKind::InvalidFilename => (36, "File name too long"),
        ErrorKind::ReadOnlyFilesystem => (30, "Read-only file system"),
        _ => return format!("({error})"),
    };
    format!("({number}: {text})")
}
