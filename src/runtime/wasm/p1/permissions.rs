//! Permission bits and owners of files for core modules, in the import module `husk_files`: WASI 0.1 knows neither.
//! docs/guest-interfaces.md describes it to guests.
//!
//! Paths are below a directory descriptor, as in WASI's own `path_*` calls. There are no users: every file is root's, as
//! every process is.

use wasmtime::{Caller, Linker};

use super::abi::{Errno, follows};
use super::descriptors::Descriptor;
use super::path::Name;
use super::{Context, inline, write_words};
use crate::runtime::wasm::state::GuestState;

/// The import module.
const MODULE: &str = "husk_files";

/// A number that is not to be changed: a mask, an owner.
const KEEP: u32 = u32::MAX;

/// Whom every file belongs to, and which group.
const ROOT: u32 = 0;

/// The most a mode can say.
const MODE_BITS: u32 = 0o7777;

/// Permission bits of pipes and sockets, and of terminals.
const STREAM_MODE: u32 = 0o600;
const TERMINAL_MODE: u32 = 0o620;

type Guest<'a> = Caller<'a, GuestState>;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "umask", |mut guest: Guest<'_>, mask: u32, before: u32| {
        inline(&mut guest, |context| {
            let process = &context.state.process.process;
            let replaced = if mask == KEEP { process.umask() } else { process.set_umask(mask) };
            context.memory.write_u32(before, replaced)
        })
    })?;
    add_path_calls(linker)?;
    add_descriptor_calls(linker)
}

fn add_path_calls(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_permissions_get",
        |mut guest: Guest<'_>, fd: u32, lookup: u32, path: u32, length: u32, out: u32| {
            inline(&mut guest, |context| {
                let name = Name::new(fd, path, length);
                let stat = name.directory(context)?.stat_at(name.path(context)?, follows(lookup))?;
                write_words(&mut context.memory, out, &[stat.mode, ROOT, ROOT])
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_mode_set",
        |mut guest: Guest<'_>, fd: u32, lookup: u32, path: u32, length: u32, mode: u32| {
            inline(&mut guest, |context| {
                let name = Name::new(fd, path, length);
                let directory = name.directory(context)?;
                Ok(directory.set_mode_at(name.path(context)?, follows(lookup), checked_mode(mode)?)?)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_owner_set",
        |mut guest: Guest<'_>, fd: u32, lookup: u32, path: u32, length: u32, user: u32, group: u32| {
            inline(&mut guest, |context| {
                let name = Name::new(fd, path, length);
                name.directory(context)?.stat_at(name.path(context)?, follows(lookup))?;
                check_owner(user, group)
            })
        },
    )?;
    Ok(())
}

fn add_descriptor_calls(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_permissions_get", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| {
            let mode = descriptor_mode(context, fd)?;
            write_words(&mut context.memory, out, &[mode, ROOT, ROOT])
        })
    })?;
    linker.func_wrap(MODULE, "fd_mode_set", |mut guest: Guest<'_>, fd: u32, mode: u32| {
        inline(&mut guest, |context| {
            let mode = checked_mode(mode)?;
            match context.descriptors().get(fd)? {
                Descriptor::File(file) => Ok(file.open.file.set_mode(mode)?),
                Descriptor::Directory(directory) => Ok(directory.dir.set_mode(mode)?),
                Descriptor::Input(_)
                | Descriptor::Output(_)
                | Descriptor::Listener(_)
                | Descriptor::Connection(_)
                | Descriptor::Signals(_) => Err(Errno::Perm),
            }
        })
    })?;
    linker.func_wrap(MODULE, "fd_owner_set", |mut guest: Guest<'_>, fd: u32, user: u32, group: u32| {
        inline(&mut guest, |context| {
            context.descriptors().get(fd)?;
            check_owner(user, group)
        })
    })?;
    Ok(())
}

fn descriptor_mode(context: &mut Context<'_>, fd: u32) -> Result<u32, Errno> {
    Ok(match context.descriptors().get(fd)? {
        Descriptor::File(file) => file.open.file.stat()?.mode,
        Descriptor::Directory(directory) => directory.dir.stat()?.mode,
        Descriptor::Input(input) if input.source.is_terminal() => TERMINAL_MODE,
        Descriptor::Output(output) if output.sink.is_terminal() => TERMINAL_MODE,
        Descriptor::Input(_)
        | Descriptor::Output(_)
        | Descriptor::Listener(_)
        | Descriptor::Connection(_)
        | Descriptor::Signals(_) => STREAM_MODE,
    })
}

fn checked_mode(mode: u32) -> Result<u32, Errno> {
    if mode & !MODE_BITS == 0 { Ok(mode) } else { Err(Errno::Inval) }
}

/// Files can only be given to whom they belong to already.
fn check_owner(user: u32, group: u32) -> Result<(), Errno> {
    let stays = |owner: u32| owner == KEEP || owner == ROOT;
    if stays(user) && stays(group) { Ok(()) } else { Err(Errno::Perm) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_roots_and_stay_so() {
        for (user, group) in [(0, 0), (KEEP, KEEP), (0, KEEP)] {
            assert_eq!(check_owner(user, group), Ok(()), "{user}:{group}");
        }
        for (user, group) in [(1, 0), (KEEP, 1000)] {
            assert_eq!(check_owner(user, group), Err(Errno::Perm), "{user}:{group}");
        }
    }

    #[test]
    fn modes_have_twelve_bits() {
        assert_eq!(checked_mode(0o7777), Ok(0o7777));
        assert_eq!(checked_mode(0o10000), Err(Errno::Inval));
    }
}
