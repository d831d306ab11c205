//! The import module `husk_process`: signals for core modules, as a descriptor in the manner of Linux's signalfd.
//!
//! `signal_open(mask: i64, fd_out: i32) -> errno` catches every signal whose number's bit is set in `mask` (any but
//! KILL) and stores a descriptor. Reading it gives one little-endian u32, the
//! signal's number, for each pending signal, and waits for the first; `poll_oneoff` takes it too. All such
//! descriptors of a process share one queue. A signal once caught stays caught when the descriptor is closed.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use super::abi::{Errno, fdflags};
use super::descriptors::{Descriptor, SignalQueue};
use super::io::{Source, Step};
use super::memory::{GuestMemory, Transfer};
use super::{Context, HUSK_MODULE, inline};
use crate::runtime::Signal;
use crate::runtime::wasm::state::GuestState;

/// Bytes of one signal as it is read.
const RECORD: u32 = 4;

/// Adds the module.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(HUSK_MODULE, "signal_open", |mut guest: Caller<'_, GuestState>, mask: u64, out: u32| {
        inline(&mut guest, |context| {
            let fd = open(context, mask)?;
            context.memory.write_u32(out, fd)
        })
    })?;
    Ok(())
}

/// The signals of a mask; a bit that stands for none that can be caught is invalid.
fn caught(mask: u64) -> Result<Vec<Signal>, Errno> {
    let bit = |signal: Signal| 1_u64 << signal.number();
    let catchable = Signal::ALL.into_iter().filter(|signal| *signal != Signal::Kill);
    let known = catchable.clone().fold(0, |all, signal| all | bit(signal));
    if mask & !known != 0 {
        return Err(Errno::Inval);
    }
    Ok(catchable.filter(|signal| mask & bit(*signal) != 0).collect())
}

fn open(context: &mut Context<'_>, mask: u64) -> Result<u32, Errno> {
    let caught = caught(mask)?;
    let signals = Arc::clone(context.state.process.process.signals());
    let queue = SignalQueue { signals: Arc::clone(&signals), flags: 0 };
    let fd = context.descriptors().insert(Descriptor::Signals(queue))?;
    caught.into_iter().for_each(|signal| signals.catch(signal));
    Ok(fd)
}

/// One step of reading: whole records only, from the first buffer.
pub(super) fn read(queue: &SignalQueue, memory: &mut GuestMemory<'_>, transfer: &mut Transfer) -> Result<Step, Errno> {
    while let Some((pointer, length)) = transfer.next(memory, u32::MAX)? {
        if length < RECORD {
            return if transfer.done == 0 { Err(Errno::Inval) } else { Ok(Step::Done) };
        }
        match queue.signals.take() {
            Some(signal) => {
                memory.write_u32(pointer, signal.number().cast_unsigned())?;
                transfer.advance(RECORD as usize);
            }
            None if transfer.done > 0 => return Ok(Step::Done),
            None if queue.flags & fdflags::NONBLOCK != 0 => return Err(Errno::Again),
            None => return Ok(Step::Wait(Source::Signals(Arc::clone(&queue.signals)))),
        }
    }
    Ok(Step::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::wasm::signals::Signals;

    #[test]
    fn a_mask_names_signals_by_their_linux_number() {
        assert_eq!(caught((1 << 15) | (1 << 1)), Ok(vec![Signal::Hup, Signal::Term]));
        assert_eq!(caught(0), Ok(Vec::new()));
        for refused in [1 << 9, 1, 1 << 11, 1 << 63] {
            assert_eq!(caught(refused), Err(Errno::Inval), "{refused:#x}");
        }
    }

    #[test]
    fn pending_signals_are_read_as_numbers_in_order() {
        let signals = Arc::new(Signals::default());
        let queue = SignalQueue { signals: Arc::clone(&signals), flags: fdflags::NONBLOCK };
        for signal in [Signal::Term, Signal::Usr1] {
            signals.catch(signal);
            signals.deliver(signal);
        }
        let mut bytes = vec![0; 40];
        bytes[0] = 16;
        bytes[4] = 12;
        let mut memory = GuestMemory::new(&mut bytes);
        let mut transfer = Transfer::new(0, 1).unwrap();
        assert!(matches!(read(&queue, &mut memory, &mut transfer), Ok(Step::Done)));
        assert_eq!((transfer.done, memory.read_u32(16), memory.read_u32(20)), (8, Ok(15), Ok(10)));
        let mut empty = Transfer::new(0, 1).unwrap();
        assert!(matches!(read(&queue, &mut memory, &mut empty), Err(Errno::Again)));
    }
}
