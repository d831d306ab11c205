//! Translation of the host's errors into [`Errno`].

use std::io;

use super::Errno;

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        #[cfg(unix)]
        if let Some(errno) = rustix::io::Errno::from_io_error(&error) {
            return Self::from(errno);
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Access,
            io::ErrorKind::AlreadyExists => Self::Exist,
            io::ErrorKind::InvalidInput => Self::Invalid,
            io::ErrorKind::NotADirectory => Self::NotDirectory,
            io::ErrorKind::IsADirectory => Self::IsDirectory,
            io::ErrorKind::DirectoryNotEmpty => Self::NotEmpty,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::FileTooLarge => Self::FileTooLarge,
            io::ErrorKind::CrossesDevices => Self::CrossDevice,
            io::ErrorKind::TooManyLinks => Self::TooManyLinks,
            io::ErrorKind::ResourceBusy => Self::Busy,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}

#[cfg(unix)]
impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno as Host;
        match errno {
            Host::ACCESS => Self::Access,
            Host::EXIST => Self::Exist,
            Host::FBIG | Host::OVERFLOW => Self::FileTooLarge,
            Host::INVAL => Self::Invalid,
            Host::ISDIR => Self::IsDirectory,
            Host::LOOP => Self::Loop,
            Host::MLINK => Self::TooManyLinks,
            Host::NAMETOOLONG => Self::NameTooLong,
            Host::NOENT => Self::NotFound,
            Host::NOSPC | Host::DQUOT => Self::NoSpace,
            Host::NOTDIR => Self::NotDirectory,
            Host::NOTEMPTY => Self::NotEmpty,
            Host::OPNOTSUPP | Host::NXIO => Self::Unsupported,
            Host::PERM => Self::NotPermitted,
            Host::BUSY | Host::TXTBSY => Self::Busy,
            Host::ROFS => Self::ReadOnly,
            Host::XDEV => Self::CrossDevice,
            Host::BADF => Self::BadDescriptor,
            Host::ILSEQ => Self::IllegalSequence,
            Host::MFILE | Host::NFILE => Self::TooManyOpen,
            _ => Self::Io,
        }
    }
}
