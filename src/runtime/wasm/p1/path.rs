//! `path_*` calls: names below a directory descriptor, handed to the container's filesystem as they are.
//! Resolution and confinement are the filesystem's.

use wasmtime::{Caller, Linker};

use super::abi::{Errno, fdflags, follows, oflags, rights, set_times, write_filestat};
use super::descriptors::{Descriptor, FileDescriptor, OpenDirectory};
use super::file::parse_fdflags;
use super::{Context, MODULE, inline};
use crate::runtime::wasm::open_file::OpenFile;
use crate::runtime::wasm::state::GuestState;
use crate::vfs::{Dir, OpenOptions, Opened};

type Guest<'a> = Caller<'a, GuestState>;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    add_lookups(linker)?;
    add_changes(linker)?;
    add_pairs(linker)
}

/// A path in guest memory, below a descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    fd: u32,
    pointer: u32,
    length: u32,
}

impl Name {
    pub(super) fn new(fd: u32, pointer: u32, length: u32) -> Self {
        Self { fd, pointer, length }
    }

    pub(super) fn directory(self, context: &mut Context<'_>) -> Result<Dir, Errno> {
        Ok(context.descriptors().directory(self.fd)?.dir.clone())
    }

    pub(super) fn path<'a>(self, context: &'a Context<'_>) -> Result<&'a str, Errno> {
        context.memory.path(self.pointer, self.length)
    }
}

fn add_lookups(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut guest: Guest<'_>,
         fd: u32,
         lookup: u32,
         path: u32,
         length: u32,
         oflags: u32,
         base: u64,
         _inheriting: u64,
         flags: u32,
         out: u32| {
            inline(&mut guest, |context| {
                let request = OpenRequest { follow: follows(lookup), oflags, rights: base, flags };
                let opened = open(context, Name::new(fd, path, length), request)?;
                context.memory.write_u32(out, opened)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |mut guest: Guest<'_>, fd: u32, lookup: u32, path: u32, length: u32, out: u32| {
            inline(&mut guest, |context| {
                let name = Name::new(fd, path, length);
                let stat = name.directory(context)?.stat_at(name.path(context)?, follows(lookup))?;
                write_filestat(&mut context.memory, out, &stat)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_readlink",
        |mut guest: Guest<'_>, fd: u32, path: u32, length: u32, buffer: u32, size: u32, out: u32| {
            inline(&mut guest, |context| {
                let name = Name::new(fd, path, length);
                let target = name.directory(context)?.read_link(name.path(context)?)?;
                let taken = target.len().min(size as usize);
                context.memory.write(buffer, &target.as_bytes()[..taken])?;
                context.memory.write_u32(out, u32::try_from(taken).map_err(|_| Errno::Overflow)?)
            })
        },
    )?;
    Ok(())
}

fn add_changes(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "path_create_directory", |mut guest: Guest<'_>, fd: u32, path: u32, length: u32| {
        inline(&mut guest, |context| {
            let name = Name::new(fd, path, length);
            let mode = context.state.process.process.directory_mode();
            Ok(name.directory(context)?.create_dir(name.path(context)?, mode)?)
        })
    })?;
    linker.func_wrap(MODULE, "path_remove_directory", |mut guest: Guest<'_>, fd: u32, path: u32, length: u32| {
        inline(&mut guest, |context| {
            let name = Name::new(fd, path, length);
            Ok(name.directory(context)?.remove_dir(name.path(context)?)?)
        })
    })?;
    linker.func_wrap(MODULE, "path_unlink_file", |mut guest: Guest<'_>, fd: u32, path: u32, length: u32| {
        inline(&mut guest, |context| {
            let name = Name::new(fd, path, length);
            Ok(name.directory(context)?.unlink(name.path(context)?)?)
        })
    })?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |mut guest: Guest<'_>, fd: u32, lookup: u32, path: u32, length: u32, atim: u64, mtim: u64, flags: u32| {
            inline(&mut guest, |context| {
                let (accessed, modified) = set_times(atim, mtim, flags)?;
                let name = Name::new(fd, path, length);
                let directory = name.directory(context)?;
                Ok(directory.set_times_at(name.path(context)?, follows(lookup), accessed, modified)?)
            })
        },
    )?;
    Ok(())
}

fn add_pairs(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_rename",
        |mut guest: Guest<'_>, fd: u32, path: u32, length: u32, new_fd: u32, new_path: u32, new_length: u32| {
            inline(&mut guest, |context| {
                let (old, new) = (Name::new(fd, path, length), Name::new(new_fd, new_path, new_length));
                let (from, to) = (old.directory(context)?, new.directory(context)?);
                Ok(from.rename(old.path(context)?, &to, new.path(context)?)?)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_link",
        |mut guest: Guest<'_>,
         fd: u32,
         lookup: u32,
         path: u32,
         length: u32,
         new_fd: u32,
         new_path: u32,
         new_length: u32| {
            inline(&mut guest, |context| {
                let (old, new) = (Name::new(fd, path, length), Name::new(new_fd, new_path, new_length));
                let (from, to) = (old.directory(context)?, new.directory(context)?);
                Ok(from.link(old.path(context)?, follows(lookup), &to, new.path(context)?)?)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_symlink",
        |mut guest: Guest<'_>, target: u32, target_length: u32, fd: u32, path: u32, length: u32| {
            inline(&mut guest, |context| {
                let name = Name::new(fd, path, length);
                let directory = name.directory(context)?;
                let target = context.memory.text(target, target_length)?;
                if target.is_empty() {
                    return Err(Errno::NoEnt);
                }
                Ok(directory.symlink(target, name.path(context)?)?)
            })
        },
    )?;
    Ok(())
}

/// The flags of one `path_open`.
#[derive(Debug, Clone, Copy)]
struct OpenRequest {
    follow: bool,
    oflags: u32,
    rights: u64,
    flags: u32,
}

impl OpenRequest {
    /// What to ask of the filesystem. 0.1 passes no permission bits for what is created: `mode` has them. Rights stand for the access mode; a directory is never opened for writing,
    /// though libc asks for every right there is.
    fn options(self, mode: u32) -> Result<OpenOptions, Errno> {
        let asks = |bit| self.oflags & bit != 0;
        let directory = asks(oflags::DIRECTORY);
        if self.oflags & !oflags::ALL != 0 || (directory && (asks(oflags::CREAT) || asks(oflags::TRUNC))) {
            return Err(Errno::Inval);
        }
        let write = self.rights & rights::FD_WRITE != 0 && !directory;
        Ok(OpenOptions {
            read: self.rights & rights::FD_READ != 0 || !write,
            write,
            create: asks(oflags::CREAT),
            exclusive: asks(oflags::EXCL),
            truncate: asks(oflags::TRUNC),
            directory,
            follow: self.follow,
            mode,
        })
    }
}

fn open(context: &mut Context<'_>, name: Name, request: OpenRequest) -> Result<u32, Errno> {
    let options = request.options(context.state.process.process.file_mode())?;
    let flags = parse_fdflags(request.flags)?;
    // Checked first: a file must not be created or cut by a call that then fails.
    if !context.descriptors().has_room() {
        return Err(Errno::MFile);
    }
    let opened = name.directory(context)?.open(name.path(context)?, options)?;
    if let Opened::File(file) = &opened
        && let Some(stream) = file.stands_for()
    {
        let descriptor = context.descriptors().stream(stream)?;
        return context.descriptors().insert(descriptor);
    }
    context.descriptors().insert(match opened {
        Opened::File(file) => {
            let read = request.rights & rights::FD_READ != 0;
            let open = OpenFile::new(file, read, options.write, flags & fdflags::APPEND != 0);
            Descriptor::File(FileDescriptor { open, flags })
        }
        Opened::Dir(dir) => Descriptor::Directory(OpenDirectory { dir, flags, preopened: false, listing: None }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(oflags: u32, rights: u64) -> Result<OpenOptions, Errno> {
        OpenRequest { follow: true, oflags, rights, flags: 0 }.options(0o644)
    }

    #[test]
    fn rights_become_the_access_mode() {
        let table = [
            (0, rights::FD_READ, (true, false)),
            (0, rights::FD_WRITE, (false, true)),
            (0, rights::FD_READ | rights::FD_WRITE, (true, true)),
            (0, 0, (true, false)),
            (oflags::DIRECTORY, u64::MAX, (true, false)),
        ];
        for (oflags, rights, expected) in table {
            let options = options(oflags, rights).unwrap();
            assert_eq!((options.read, options.write), expected, "{oflags:#b} {rights:#b}");
        }
    }

    #[test]
    fn contradictory_open_flags_are_invalid() {
        for oflags in [oflags::DIRECTORY | oflags::CREAT, oflags::DIRECTORY | oflags::TRUNC, 1 << 4, 1 << 31] {
            assert_eq!(options(oflags, u64::MAX).unwrap_err(), Errno::Inval, "{oflags:#b}");
        }
    }
}
