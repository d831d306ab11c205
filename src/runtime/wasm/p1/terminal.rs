//! The terminal behind a descriptor, in the import module `husk_process`.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use super::abi::Errno;
use super::descriptors::Descriptor;
use super::{Context, HUSK_MODULE, inline};
use crate::runtime::wasm::state::GuestState;
use crate::runtime::wasm::terminal::{Mode, Terminal};

type Guest<'a> = Caller<'a, GuestState>;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(HUSK_MODULE, "terminal_get", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| {
            let state = terminal(context, fd)?.state();
            let words = [state.size.rows.into(), state.size.columns.into(), state.mode.bits(), state.foreground];
            super::write_words(&mut context.memory, out, &words)
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "terminal_set_mode", |mut guest: Guest<'_>, fd: u32, bits: u32| {
        inline(&mut guest, |context| {
            terminal(context, fd)?.set_mode(Mode::from_bits(bits).ok_or(Errno::Inval)?);
            Ok(())
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "terminal_set_foreground", |mut guest: Guest<'_>, fd: u32, group: u32| {
        inline(&mut guest, |context| {
            terminal(context, fd)?.set_foreground(group);
            Ok(())
        })
    })?;
    Ok(())
}

fn terminal(context: &mut Context<'_>, fd: u32) -> Result<Arc<Terminal>, Errno> {
    let terminal = match context.descriptors().get(fd)? {
        Descriptor::Input(input) => input.source.terminal(),
        Descriptor::Output(output) => output.sink.terminal(),
        _ => None,
    };
    terminal.cloned().ok_or(Errno::NoTty)
}
