//! Byte strings and the system's own kind of text.

use std::ffi::OsStr;
use std::os::wasi::ffi::OsStrExt;

pub(crate) fn bytes_of(text: &OsStr) -> &[u8] {
    text.as_bytes()
}

pub(crate) fn os_str(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// What an error means, as the messages of shells say it.
pub(crate) fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let text = match error.kind() {
        ErrorKind::NotFound => "No such file or directory",
        ErrorKind::PermissionDenied => "Permission denied",
        ErrorKind::IsADirectory => "Is a directory",
        ErrorKind::NotADirectory => "Not a directory",
        ErrorKind::AlreadyExists => "File exists",
        ErrorKind::ReadOnlyFilesystem => "Read-only file system",
        ErrorKind::StorageFull => "No space left on device",
        ErrorKind::BrokenPipe => "Broken pipe",
        _ => return error.to_string(),
    };
    text.to_owned()
}
