//! The numbers and record layouts of WASI 0.1 (`wasi_snapshot_preview1`), all little-endian, and the one translation
//! of file and network errors into its errno. No behaviour lives here.

use std::time::{Duration, SystemTime};

use super::memory::GuestMemory;
use crate::net::NetError;
use crate::vfs::{self, FileKind, SetTime, Stat};

/// Why a call failed, numbered as the guest sees it. Only what husk can answer is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Errno {
    TooBig = 1,
    Acces = 2,
    AddrInUse = 3,
    AddrNotAvail = 4,
    AfNoSupport = 5,
    Again = 6,
    Badf = 8,
    Busy = 10,
    Child = 12,
    ConnAborted = 13,
    ConnRefused = 14,
    ConnReset = 15,
    Exist = 20,
    Fault = 21,
    FBig = 22,
    IlSeq = 25,
    Intr = 27,
    Inval = 28,
    Io = 29,
    IsDir = 31,
    Loop = 32,
    MFile = 33,
    MLink = 34,
    MsgSize = 35,
    NameTooLong = 37,
    NetUnreach = 40,
    NoEnt = 44,
    NoExec = 45,
    NoMem = 48,
    NoSpc = 51,
    NotConn = 53,
    NotDir = 54,
    NotEmpty = 55,
    NotSock = 57,
    NotSup = 58,
    NoTty = 59,
    Nxio = 60,
    Overflow = 61,
    Perm = 63,
    Pipe = 64,
    RoFs = 69,
    SPipe = 70,
    Srch = 71,
    TimedOut = 73,
    XDev = 75,
    NotCapable = 76,
}

impl From<vfs::Errno> for Errno {
    fn from(errno: vfs::Errno) -> Self {
        match errno {
            vfs::Errno::Access => Self::Acces,
            vfs::Errno::Exist => Self::Exist,
            vfs::Errno::FileTooLarge => Self::FBig,
            vfs::Errno::Invalid => Self::Inval,
            vfs::Errno::Io => Self::Io,
            vfs::Errno::IsDirectory => Self::IsDir,
            vfs::Errno::Loop => Self::Loop,
            vfs::Errno::TooManyLinks => Self::MLink,
            vfs::Errno::NameTooLong => Self::NameTooLong,
            vfs::Errno::NotFound => Self::NoEnt,
            vfs::Errno::NoSpace => Self::NoSpc,
            vfs::Errno::NotDirectory => Self::NotDir,
            vfs::Errno::NotEmpty => Self::NotEmpty,
            vfs::Errno::Unsupported => Self::NotSup,
            vfs::Errno::NotPermitted => Self::Perm,
            vfs::Errno::Busy => Self::Busy,
            vfs::Errno::ReadOnly => Self::RoFs,
            vfs::Errno::CrossDevice => Self::XDev,
            vfs::Errno::BadDescriptor => Self::Badf,
            vfs::Errno::IllegalSequence => Self::IlSeq,
            vfs::Errno::TooManyOpen => Self::MFile,
        }
    }
}

impl From<NetError> for Errno {
    fn from(error: NetError) -> Self {
        match error {
            NetError::AddressInUse => Self::AddrInUse,
            NetError::AddressNotAvailable => Self::AddrNotAvail,
            NetError::ConnectionRefused => Self::ConnRefused,
            NetError::ConnectionReset => Self::ConnReset,
            NetError::ConnectionAborted => Self::ConnAborted,
            NetError::Unreachable => Self::NetUnreach,
            NetError::AccessDenied => Self::Acces,
            NetError::TimedOut => Self::TimedOut,
            NetError::Invalid => Self::Inval,
            NetError::MessageTooLong => Self::MsgSize,
            NetError::TooManySockets => Self::MFile,
            NetError::FamilyNotSupported => Self::AfNoSupport,
            NetError::BrokenPipe => Self::Pipe,
            NetError::NotConnected => Self::NotConn,
            NetError::NameNotFound => Self::NoEnt,
            NetError::NameTemporary => Self::Again,
        }
    }
}

/// What `filetype` can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    Unknown = 0,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<FileKind> for FileType {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Regular => Self::RegularFile,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::SymbolicLink,
            FileKind::CharDevice => Self::CharacterDevice,
            FileKind::Other => Self::Unknown,
        }
    }
}

/// Bits of `rights`.
pub(super) mod rights {
    pub(in super::super) const FD_READ: u64 = 1 << 1;
    pub(in super::super) const FD_SEEK: u64 = 1 << 2;
    pub(in super::super) const FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub(in super::super) const FD_TELL: u64 = 1 << 5;
    pub(in super::super) const FD_WRITE: u64 = 1 << 6;
    pub(in super::super) const FD_ALLOCATE: u64 = 1 << 8;
    pub(in super::super) const FILESTAT_GET: u64 = 1 << 21;
    pub(in super::super) const FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub(in super::super) const POLL_READWRITE: u64 = 1 << 27;
    pub(in super::super) const SOCK_SHUTDOWN: u64 = 1 << 28;
    pub(in super::super) const SOCK_ACCEPT: u64 = 1 << 29;

    const FD_DATASYNC: u64 = 1;
    const FD_SYNC: u64 = 1 << 4;
    const FD_ADVISE: u64 = 1 << 7;
    const FILESTAT_SET_TIMES: u64 = 1 << 23;
    const FD_READDIR: u64 = 1 << 14;
    /// `path_create_directory` to `path_open`, `path_readlink` to `path_filestat_get`, `path_filestat_set_times`, and
    /// `path_symlink` to `path_unlink_file`.
    const PATH_ALL: u64 = (0b1_1111 << 9) | (0b1111 << 15) | (1 << 20) | (0b111 << 24);

    /// Everything that can be done with a file open for reading and writing.
    pub(in super::super) const FILE: u64 = FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FILESTAT_GET
        | FILESTAT_SET_SIZE
        | FILESTAT_SET_TIMES
        | POLL_READWRITE;
    /// What only a file open for writing allows.
    pub(in super::super) const FILE_WRITE: u64 = FD_WRITE | FD_ALLOCATE | FILESTAT_SET_SIZE;
    /// Everything that can be done with a directory.
    pub(in super::super) const DIRECTORY: u64 =
        PATH_ALL | FD_READDIR | FD_DATASYNC | FD_SYNC | FDSTAT_SET_FLAGS | FILESTAT_GET | FILESTAT_SET_TIMES;
}

/// Bits of `fdflags`.
pub(super) mod fdflags {
    pub(in super::super) const APPEND: u16 = 1;
    pub(in super::super) const DSYNC: u16 = 1 << 1;
    pub(in super::super) const NONBLOCK: u16 = 1 << 2;
    pub(in super::super) const RSYNC: u16 = 1 << 3;
    pub(in super::super) const SYNC: u16 = 1 << 4;
    pub(in super::super) const ALL: u16 = APPEND | DSYNC | NONBLOCK | RSYNC | SYNC;
}

/// Bits of `oflags`.
pub(super) mod oflags {
    pub(in super::super) const CREAT: u32 = 1;
    pub(in super::super) const DIRECTORY: u32 = 1 << 1;
    pub(in super::super) const EXCL: u32 = 1 << 2;
    pub(in super::super) const TRUNC: u32 = 1 << 3;
    pub(in super::super) const ALL: u32 = CREAT | DIRECTORY | EXCL | TRUNC;
}

/// Bits of `fstflags`.
mod fstflags {
    pub(super) const ATIM: u32 = 1;
    pub(super) const ATIM_NOW: u32 = 1 << 1;
    pub(super) const MTIM: u32 = 1 << 2;
    pub(super) const MTIM_NOW: u32 = 1 << 3;
    pub(super) const ALL: u32 = ATIM | ATIM_NOW | MTIM | MTIM_NOW;
}

/// Whether `lookupflags` asks to follow a symlink in the last component.
pub(super) fn follows(lookupflags: u32) -> bool {
    lookupflags & 1 != 0
}

/// Translates `fst_flags` with its two timestamps (nanoseconds since 1970) to (accessed, modified).
pub(super) fn set_times(atim: u64, mtim: u64, flags: u32) -> Result<(SetTime, SetTime), Errno> {
    if flags & !fstflags::ALL != 0 {
        return Err(Errno::Inval);
    }
    let one = |given: u32, now: u32, nanoseconds: u64| match (flags & given != 0, flags & now != 0) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(SetTime::At(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))),
        (false, true) => Ok(SetTime::Now),
        (false, false) => Ok(SetTime::Keep),
    };
    Ok((one(fstflags::ATIM, fstflags::ATIM_NOW, atim)?, one(fstflags::MTIM, fstflags::MTIM_NOW, mtim)?))
}

/// Nanoseconds since 1970; times before it or past the year 2554 are cut to the range.
fn timestamp(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Writes a `filestat` (64 bytes) for a file.
pub(super) fn write_filestat(memory: &mut GuestMemory<'_>, pointer: u32, stat: &Stat) -> Result<(), Errno> {
    let mut record = [0; 64];
    record[0..8].copy_from_slice(&stat.device.to_le_bytes());
    record[8..16].copy_from_slice(&stat.inode.to_le_bytes());
    record[16] = FileType::from(stat.kind) as u8;
    record[24..32].copy_from_slice(&stat.links.to_le_bytes());
    record[32..40].copy_from_slice(&stat.size.to_le_bytes());
    record[40..48].copy_from_slice(&timestamp(stat.accessed).to_le_bytes());
    record[48..56].copy_from_slice(&timestamp(stat.modified).to_le_bytes());
    record[56..64].copy_from_slice(&timestamp(stat.changed).to_le_bytes());
    memory.write(pointer, &record)
}

/// Writes a `filestat` for what has only a type: streams and sockets.
pub(super) fn write_typed_filestat(
    memory: &mut GuestMemory<'_>,
    pointer: u32,
    filetype: FileType,
) -> Result<(), Errno> {
    let mut record = [0; 64];
    record[16] = filetype as u8;
    record[24..32].copy_from_slice(&1_u64.to_le_bytes());
    memory.write(pointer, &record)
}

/// What `fd_fdstat_get` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FdStat {
    pub(super) filetype: FileType,
    pub(super) flags: u16,
    pub(super) rights: u64,
    pub(super) inheriting: u64,
}

impl FdStat {
    /// Writes the 24 bytes of an `fdstat`.
    pub(super) fn write(self, memory: &mut GuestMemory<'_>, pointer: u32) -> Result<(), Errno> {
        let mut record = [0; 24];
        record[0] = self.filetype as u8;
        record[2..4].copy_from_slice(&self.flags.to_le_bytes());
        record[8..16].copy_from_slice(&self.rights.to_le_bytes());
        record[16..24].copy_from_slice(&self.inheriting.to_le_bytes());
        memory.write(pointer, &record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_set_kept_or_refused_by_their_flags() {
        let at = |nanoseconds| SetTime::At(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds));
        let table = [
            (0, Ok((SetTime::Keep, SetTime::Keep))),
            (0b0001, Ok((at(1), SetTime::Keep))),
            (0b0010, Ok((SetTime::Now, SetTime::Keep))),
            (0b0100, Ok((SetTime::Keep, at(2)))),
            (0b1010, Ok((SetTime::Now, SetTime::Now))),
            (0b0011, Err(Errno::Inval)),
            (0b1100, Err(Errno::Inval)),
            (0b1_0000, Err(Errno::Inval)),
        ];
        for (flags, expected) in table {
            assert_eq!(set_times(1, 2, flags), expected, "flags {flags:#b}");
        }
        assert!(set_times(u64::MAX, u64::MAX, 0b0101).is_ok(), "the largest time is no overflow");
    }

    #[test]
    fn a_filestat_lies_where_the_guest_reads_it() {
        let stat = Stat {
            kind: FileKind::Regular,
            device: 7,
            inode: 8,
            links: 2,
            size: 9,
            mode: 0o644,
            accessed: SystemTime::UNIX_EPOCH + Duration::from_nanos(10),
            modified: SystemTime::UNIX_EPOCH - Duration::from_secs(1),
            changed: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        };
        let mut bytes = vec![0xff; 80];
        write_filestat(&mut GuestMemory::new(&mut bytes), 8, &stat).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[8 + at..16 + at].try_into().unwrap());
        assert_eq!((word(0), word(8), bytes[24], word(24), word(32)), (7, 8, 4, 2, 9));
        assert_eq!((word(40), word(48), word(56)), (10, 0, 1_000_000_000));
    }

    #[test]
    fn the_stock_numbers_of_wasi_are_kept() {
        // From the specification's enum order; a shift would turn one error into its neighbour.
        let table = [
            (Errno::Acces, 2),
            (Errno::Badf, 8),
            (Errno::Exist, 20),
            (Errno::Inval, 28),
            (Errno::NoEnt, 44),
            (Errno::NotDir, 54),
            (Errno::NotSup, 58),
            (Errno::Pipe, 64),
            (Errno::RoFs, 69),
            (Errno::XDev, 75),
        ];
        for (errno, number) in table {
            assert_eq!(errno as u16, number, "{errno:?}");
        }
    }
}
