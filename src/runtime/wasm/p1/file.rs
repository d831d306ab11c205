//! `fd_*` calls that never wait: what a descriptor is, where it stands, and what a directory lists.
//! Moving bytes is in `io`.

use wasmtime::{Caller, Linker};

use super::abi::{Errno, FileType, fdflags, rights, set_times, write_filestat, write_typed_filestat};
use super::descriptors::{Descriptor, FIRST_PREOPEN};
use super::{Context, MODULE, inline};
use crate::runtime::wasm::state::GuestState;

/// Bytes of a `dirent` without its name.
const DIRENT_SIZE: usize = 24;

/// Tags of `prestat`: a directory, and one that no libc knows.
const PREOPENED_DIRECTORY: u32 = 0;
const PREOPENED_OTHERWISE: u32 = 1;

/// The name of the root's preopen.
const ROOT_NAME: &str = "/";

type Guest<'a> = Caller<'a, GuestState>;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    add_descriptor_calls(linker)?;
    add_file_calls(linker)?;
    add_directory_calls(linker)
}

fn add_descriptor_calls(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_close", |mut guest: Guest<'_>, fd: u32| {
        inline(&mut guest, |context| context.descriptors().close(fd))
    })?;
    linker.func_wrap(MODULE, "fd_renumber", |mut guest: Guest<'_>, fd: u32, to: u32| {
        inline(&mut guest, |context| context.descriptors().renumber(fd, to))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| {
            let fdstat = context.descriptors().get(fd)?.fdstat()?;
            fdstat.write(&mut context.memory, out)
        })
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |mut guest: Guest<'_>, fd: u32, flags: u32| {
        inline(&mut guest, |context| {
            let flags = parse_fdflags(flags)?;
            let descriptor = context.descriptors().get_mut(fd)?;
            *descriptor.flags_mut() = flags;
            if let Descriptor::File(file) = descriptor {
                file.open.append = flags & fdflags::APPEND != 0;
            }
            Ok(())
        })
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_set_rights", |mut guest: Guest<'_>, fd: u32, base: u64, inheriting: u64| {
        inline(&mut guest, |context| set_rights(context, fd, base, inheriting))
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| filestat_get(context, fd, out))
    })?;
    Ok(())
}

fn add_file_calls(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_filestat_set_size", |mut guest: Guest<'_>, fd: u32, size: u64| {
        inline(&mut guest, |context| {
            let file = context.descriptors().file_mut(fd)?;
            if !file.open.write {
                return Err(Errno::Inval);
            }
            Ok(file.open.file.set_size(size)?)
        })
    })?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |mut guest: Guest<'_>, fd: u32, atim: u64, mtim: u64, flags: u32| {
            inline(&mut guest, |context| filestat_set_times(context, fd, atim, mtim, flags))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_advise",
        |mut guest: Guest<'_>, fd: u32, _offset: u64, _length: u64, advice: u32| {
            inline(&mut guest, |context| {
                context.descriptors().file_mut(fd)?;
                // Six kinds of advice exist; none changes what husk does.
                if advice > 5 { Err(Errno::Inval) } else { Ok(()) }
            })
        },
    )?;
    linker.func_wrap(MODULE, "fd_allocate", |mut guest: Guest<'_>, fd: u32, offset: u64, length: u64| {
        inline(&mut guest, |context| allocate(context, fd, offset, length))
    })?;
    linker.func_wrap(MODULE, "fd_seek", |mut guest: Guest<'_>, fd: u32, offset: i64, whence: u32, out: u32| {
        inline(&mut guest, |context| {
            let position = seek(context, fd, offset, whence)?;
            context.memory.write_u64(out, position)
        })
    })?;
    linker.func_wrap(MODULE, "fd_tell", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| {
            let position = *context.descriptors().file_mut(fd)?.open.position();
            context.memory.write_u64(out, position)
        })
    })?;
    Ok(())
}

fn add_directory_calls(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_prestat_get", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| {
            let is_root = is_preopened(context, fd)?;
            context.memory.write_u32(out, if is_root { PREOPENED_DIRECTORY } else { PREOPENED_OTHERWISE })?;
            context.memory.write_u32(out.checked_add(4).ok_or(Errno::Fault)?, ROOT_NAME.len() as u32)
        })
    })?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |mut guest: Guest<'_>, fd: u32, path: u32, length: u32| {
        inline(&mut guest, |context| {
            if !is_preopened(context, fd)? {
                return Err(Errno::Badf);
            }
            if (length as usize) < ROOT_NAME.len() {
                return Err(Errno::NameTooLong);
            }
            context.memory.write(path, ROOT_NAME.as_bytes())
        })
    })?;
    linker.func_wrap(
        MODULE,
        "fd_readdir",
        |mut guest: Guest<'_>, fd: u32, buffer: u32, length: u32, cookie: u64, out: u32| {
            inline(&mut guest, |context| {
                let used = readdir(context, fd, buffer, length, cookie)?;
                context.memory.write_u32(out, used)
            })
        },
    )?;
    Ok(())
}

/// Checks `fdflags` from a guest.
pub(super) fn parse_fdflags(flags: u32) -> Result<u16, Errno> {
    u16::try_from(flags).ok().filter(|flags| flags & !fdflags::ALL == 0).ok_or(Errno::Inval)
}

/// Rights can be given up, never gained. Of a file, reading and writing are; the rest is not worth keeping track of.
fn set_rights(context: &mut Context<'_>, fd: u32, base: u64, inheriting: u64) -> Result<(), Errno> {
    let descriptor = context.descriptors().get_mut(fd)?;
    let current = descriptor.fdstat()?;
    if base & !current.rights != 0 || inheriting & !current.inheriting != 0 {
        return Err(Errno::NotCapable);
    }
    if let Descriptor::File(file) = descriptor {
        file.open.read &= base & rights::FD_READ != 0;
        file.open.write &= base & rights::FD_WRITE != 0;
    }
    Ok(())
}

fn filestat_get(context: &mut Context<'_>, fd: u32, out: u32) -> Result<(), Errno> {
    let stat = match context.descriptors().get(fd)? {
        Descriptor::File(file) => file.open.file.stat()?,
        Descriptor::Directory(directory) => directory.dir.stat()?,
        Descriptor::Input(_) | Descriptor::Output(_) | Descriptor::Signals(_) => {
            let filetype = context.descriptors().get(fd)?.fdstat()?.filetype;
            return write_typed_filestat(&mut context.memory, out, filetype);
        }
        Descriptor::Listener(_) | Descriptor::Connection(_) => {
            return write_typed_filestat(&mut context.memory, out, FileType::SocketStream);
        }
    };
    write_filestat(&mut context.memory, out, &stat)
}

fn filestat_set_times(context: &mut Context<'_>, fd: u32, atim: u64, mtim: u64, flags: u32) -> Result<(), Errno> {
    let (accessed, modified) = set_times(atim, mtim, flags)?;
    match context.descriptors().get(fd)? {
        Descriptor::File(file) => Ok(file.open.file.set_times(accessed, modified)?),
        Descriptor::Directory(directory) => Ok(directory.dir.set_times(accessed, modified)?),
        Descriptor::Input(_)
        | Descriptor::Output(_)
        | Descriptor::Listener(_)
        | Descriptor::Connection(_)
        | Descriptor::Signals(_) => Err(Errno::Inval),
    }
}

/// As `posix_fallocate`: the file is at least `offset + length` bytes long afterwards. Space is not reserved.
fn allocate(context: &mut Context<'_>, fd: u32, offset: u64, length: u64) -> Result<(), Errno> {
    let file = &context.descriptors().file_mut(fd)?.open;
    if !file.write {
        return Err(Errno::Badf);
    }
    if length == 0 {
        return Err(Errno::Inval);
    }
    let end = offset.checked_add(length).ok_or(Errno::FBig)?;
    if end > file.file.stat()?.size {
        file.file.set_size(end)?;
    }
    Ok(())
}

fn seek(context: &mut Context<'_>, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
    let open = &context.descriptors().file_mut(fd)?.open;
    if open.file.is_stream() {
        return Ok(0);
    }
    let mut position = open.position();
    let base = match whence {
        0 => 0,
        1 => *position,
        2 => open.file.stat()?.size,
        _ => return Err(Errno::Inval),
    };
    *position = seek_target(base, offset)?;
    Ok(*position)
}

/// A position is never negative and fits the signed offset type of POSIX.
fn seek_target(base: u64, offset: i64) -> Result<u64, Errno> {
    let base = i64::try_from(base).map_err(|_| Errno::Overflow)?;
    let target = base.checked_add(offset).ok_or(Errno::Overflow)?;
    u64::try_from(target).map_err(|_| Errno::Inval)
}

/// Whether this is the preopened root. libc asks from 3 on until the first `EBADF`: descriptors a process was given in
/// front of the root are said to be preopened in a way it does not know, which makes it look further.
fn is_preopened(context: &mut Context<'_>, fd: u32) -> Result<bool, Errno> {
    let table = context.descriptors();
    if fd < FIRST_PREOPEN {
        return Err(Errno::Badf);
    }
    let is_root = |fd: u32| matches!(table.get(fd), Ok(Descriptor::Directory(directory)) if directory.preopened);
    if is_root(fd) {
        return Ok(true);
    }
    table.get(fd)?;
    let is_before_root = (FIRST_PREOPEN..fd).all(|fd| !is_root(fd));
    if is_before_root { Ok(false) } else { Err(Errno::Badf) }
}

/// Fills the buffer with directory entries from `cookie` on; the last one may be cut, which tells the guest that
/// there are more. Cookie 0 is `.`, 1 is `..`, and n is entry n-2 of a listing kept from the first call on, so that
/// removing files while reading skips nothing.
fn readdir(context: &mut Context<'_>, fd: u32, buffer: u32, length: u32, cookie: u64) -> Result<u32, Errno> {
    let dir = context.descriptors().directory(fd)?.dir.clone();
    let memory_range = context.memory.bytes_mut(buffer, length)?;
    let mut sink = DirentSink { buffer: memory_range, used: 0 };
    let mut next = cookie;
    if next == 0 {
        sink.push(1, dir.stat()?.inode, FileType::Directory, ".");
        next = 1;
    }
    if next == 1 {
        sink.push(2, dir.stat_at("..", true)?.inode, FileType::Directory, "..");
        next = 2;
    }
    let table = super::descriptors(context.state);
    let entries = table.listing(fd, cookie == 0)?;
    let from = usize::try_from(next - 2).unwrap_or(usize::MAX).min(entries.len());
    for entry in &entries[from..] {
        if sink.is_full() {
            break;
        }
        next += 1;
        sink.push(next, entry.inode, entry.kind.into(), &entry.name);
    }
    let used = sink.used;
    if used < length as usize {
        table.drop_listing(fd);
    }
    u32::try_from(used).map_err(|_| Errno::Overflow)
}

/// Serializes `dirent` records into a guest buffer, cutting what does not fit.
struct DirentSink<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl DirentSink<'_> {
    fn is_full(&self) -> bool {
        self.used == self.buffer.len()
    }

    fn push(&mut self, next: u64, inode: u64, filetype: FileType, name: &str) {
        let mut record = [0; DIRENT_SIZE];
        record[0..8].copy_from_slice(&next.to_le_bytes());
        record[8..16].copy_from_slice(&inode.to_le_bytes());
        record[16..20].copy_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
        record[20] = filetype as u8;
        for bytes in [record.as_slice(), name.as_bytes()] {
            let left = &mut self.buffer[self.used..];
            let taken = bytes.len().min(left.len());
            left[..taken].copy_from_slice(&bytes[..taken]);
            self.used += taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_within_posix() {
        let table = [
            (5, -5, Ok(0)),
            (5, -6, Err(Errno::Inval)),
            (0, i64::MAX, Ok(i64::MAX as u64)),
            (1, i64::MAX, Err(Errno::Overflow)),
            (u64::MAX, 0, Err(Errno::Overflow)),
        ];
        for (base, offset, expected) in table {
            assert_eq!(seek_target(base, offset), expected, "{base} {offset}");
        }
    }

    #[test]
    fn directory_entries_are_cut_at_the_end_of_the_buffer() {
        let mut buffer = [0xff; 60];
        let mut sink = DirentSink { buffer: &mut buffer, used: 0 };
        sink.push(3, 77, FileType::RegularFile, "name");
        assert!(!sink.is_full());
        sink.push(4, 78, FileType::Directory, "longername");
        assert!(sink.is_full());
        assert_eq!(buffer[0], 3);
        assert_eq!(u32::from_le_bytes(buffer[16..20].try_into().unwrap()), 4);
        assert_eq!((buffer[20], &buffer[24..28]), (4, b"name".as_slice()));
        assert_eq!((buffer[28], &buffer[52..60]), (4, b"longerna".as_slice()));
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert_eq!(parse_fdflags(0b1_1111), Ok(fdflags::ALL));
        assert_eq!(parse_fdflags(0b10_0000), Err(Errno::Inval));
        assert_eq!(parse_fdflags(1 << 20), Err(Errno::Inval));
    }
}
