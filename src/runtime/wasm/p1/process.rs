//! What a 0.1 module asks about itself: arguments, environment, clocks, randomness, and how it ends.

use wasmtime::{Caller, Linker};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::random;

use super::abi::Errno;
use super::memory::GuestMemory;
use super::{Context, MODULE, inline};
use crate::runtime::Signal;
use crate::runtime::wasm::signals::Delivery;
use crate::runtime::wasm::state::{GuestExit, GuestState};

/// Random bytes fetched at once.
const RANDOM_CHUNK: u32 = 64 * 1024;

const NANOSECONDS: u64 = 1_000_000_000;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    type Guest<'a> = Caller<'a, GuestState>;
    linker.func_wrap(MODULE, "args_get", |mut guest: Guest<'_>, list: u32, text: u32| {
        inline(&mut guest, |context| {
            let process = &context.state.process;
            write_strings(&mut context.memory, list, text, process.argv.iter().map(|arg| [arg.as_str(), ""]), "")
        })
    })?;
    linker.func_wrap(MODULE, "args_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
        inline(&mut guest, |context| {
            let argv = &context.state.process.argv;
            write_sizes(&mut context.memory, count, size, argv.len(), argv.iter().map(|arg| arg.len() + 1).sum())
        })
    })?;
    linker.func_wrap(MODULE, "environ_get", |mut guest: Guest<'_>, list: u32, text: u32| {
        inline(&mut guest, |context| {
            let env = context.state.process.env.iter().map(|(name, value)| [name.as_str(), value.as_str()]);
            write_strings(&mut context.memory, list, text, env, "=")
        })
    })?;
    linker.func_wrap(MODULE, "environ_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
        inline(&mut guest, |context| {
            let env = &context.state.process.env;
            let bytes = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
            write_sizes(&mut context.memory, count, size, env.len(), bytes)
        })
    })?;
    linker.func_wrap(MODULE, "clock_res_get", |mut guest: Guest<'_>, clock: u32, out: u32| {
        inline(&mut guest, |context| {
            let resolution = Clock::from_id(clock)?.resolution(context.state)?;
            context.memory.write_u64(out, resolution)
        })
    })?;
    linker.func_wrap(MODULE, "clock_time_get", |mut guest: Guest<'_>, clock: u32, _precision: u64, out: u32| {
        inline(&mut guest, |context| {
            let now = Clock::from_id(clock)?.now(context.state)?;
            context.memory.write_u64(out, now)
        })
    })?;
    linker.func_wrap(MODULE, "random_get", |mut guest: Guest<'_>, buffer: u32, length: u32| {
        inline(&mut guest, |context| random_get(context, buffer, length))
    })?;
    linker.func_wrap(MODULE, "proc_exit", |code: u32| -> wasmtime::Result<()> {
        // As Linux reports it: the low eight bits.
        Err(GuestExit(i32::from(code.to_le_bytes()[0])).into())
    })?;
    linker.func_wrap(MODULE, "proc_raise", |guest: Guest<'_>, signal: u32| raise(guest.data(), signal))?;
    linker.func_wrap_async(MODULE, "sched_yield", |_: Guest<'_>, (): ()| {
        Box::new(async {
            tokio::task::yield_now().await;
            0_u32
        })
    })?;
    Ok(())
}

/// Writes strings one after the other, each `head`, separator, `tail` and NUL, and the list of pointers to them.
/// Of an argument the tail is empty and so is the separator.
fn write_strings<'a>(
    memory: &mut GuestMemory<'_>,
    mut list: u32,
    mut text: u32,
    strings: impl Iterator<Item = [&'a str; 2]>,
    separator: &str,
) -> Result<(), Errno> {
    for [head, tail] in strings {
        memory.write_u32(list, text)?;
        list = list.checked_add(4).ok_or(Errno::Fault)?;
        for part in [head, separator, tail, "\0"] {
            memory.write(text, part.as_bytes())?;
            let length = u32::try_from(part.len()).map_err(|_| Errno::Overflow)?;
            text = text.checked_add(length).ok_or(Errno::Fault)?;
        }
    }
    Ok(())
}

fn write_sizes(memory: &mut GuestMemory<'_>, count: u32, size: u32, strings: usize, bytes: usize) -> Result<(), Errno> {
    memory.write_u32(count, u32::try_from(strings).map_err(|_| Errno::Overflow)?)?;
    memory.write_u32(size, u32::try_from(bytes).map_err(|_| Errno::Overflow)?)
}

/// The clocks of 0.1. Guests have no CPU time of their own, so both CPU clocks are the monotonic one: what they tell
/// is never less than the CPU time used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Realtime,
    Monotonic,
}

impl Clock {
    pub(super) fn from_id(id: u32) -> Result<Self, Errno> {
        match id {
            0 => Ok(Self::Realtime),
            1..=3 => Ok(Self::Monotonic),
            _ => Err(Errno::Inval),
        }
    }

    /// The time in nanoseconds: since 1970, or since a point before the program started.
    pub(super) fn now(self, state: &mut GuestState) -> Result<u64, Errno> {
        let mut clocks = wasmtime_wasi::clocks::WasiClocksView::clocks(state);
        match self {
            Self::Realtime => nanoseconds(wall_clock::Host::now(&mut clocks)),
            Self::Monotonic => monotonic_clock::Host::now(&mut clocks).map_err(|_| Errno::Io),
        }
    }

    fn resolution(self, state: &mut GuestState) -> Result<u64, Errno> {
        let mut clocks = wasmtime_wasi::clocks::WasiClocksView::clocks(state);
        match self {
            Self::Realtime => nanoseconds(wall_clock::Host::resolution(&mut clocks)),
            Self::Monotonic => monotonic_clock::Host::resolution(&mut clocks).map_err(|_| Errno::Io),
        }
    }
}

fn nanoseconds(datetime: wasmtime::Result<wall_clock::Datetime>) -> Result<u64, Errno> {
    let wall_clock::Datetime { seconds, nanoseconds } = datetime.map_err(|_| Errno::Overflow)?;
    let whole = seconds.checked_mul(NANOSECONDS).ok_or(Errno::Overflow)?;
    whole.checked_add(u64::from(nanoseconds)).ok_or(Errno::Overflow)
}

fn random_get(context: &mut Context<'_>, buffer: u32, length: u32) -> Result<(), Errno> {
    let mut target = context.memory.bytes_mut(buffer, length)?;
    while !target.is_empty() {
        let chunk = target.len().min(RANDOM_CHUNK as usize);
        let (piece, rest) = target.split_at_mut(chunk);
        let source = context.state.ctx().ctx.random();
        let bytes = random::Host::get_random_bytes(source, chunk as u64).map_err(|_| Errno::Io)?;
        piece.copy_from_slice(&bytes);
        target = rest;
    }
    Ok(())
}

/// What raising one of WASI's signals does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Raised {
    /// Nothing, which is their default action.
    Ignored,
    /// Delivered: caught or, by default, deadly.
    Delivered(Signal),
    /// It cannot be caught here and ends the program with this code.
    Deadly(i32),
}

/// WASI numbers its signals like Linux up to 15 and leaves out SIGSTKFLT (16) after that.
fn raised(signal: u32) -> Result<Raised, Errno> {
    Ok(match signal {
        0 | 16 | 17 | 22 | 27 => Raised::Ignored,
        1 => Raised::Delivered(Signal::Hup),
        2 => Raised::Delivered(Signal::Int),
        3 => Raised::Delivered(Signal::Quit),
        10 => Raised::Delivered(Signal::Usr1),
        12 => Raised::Delivered(Signal::Usr2),
        15 => Raised::Delivered(Signal::Term),
        4..=9 => Raised::Deadly(128 + signal.cast_signed()),
        11 | 13 | 14 => Raised::Deadly(128 + signal.cast_signed()),
        23..=26 | 28..=30 => Raised::Deadly(129 + signal.cast_signed()),
        18..=21 => return Err(Errno::NotSup),
        _ => return Err(Errno::Inval),
    })
}

fn raise(state: &GuestState, signal: u32) -> wasmtime::Result<u32> {
    let code = match raised(signal) {
        Err(errno) => return Ok(u32::from(errno as u16)),
        Ok(Raised::Ignored) => return Ok(0),
        Ok(Raised::Deadly(code)) => code,
        Ok(Raised::Delivered(signal)) => match state.process.process.signals().deliver(signal) {
            Delivery::Handled => return Ok(0),
            Delivery::Fatal => 128 + signal.number(),
        },
    };
    Err(GuestExit(code).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_laid_out_for_libc() {
        let mut bytes = vec![0xff; 40];
        let mut memory = GuestMemory::new(&mut bytes);
        write_strings(&mut memory, 0, 8, [["A", "1"], ["B", ""]].into_iter(), "=").unwrap();
        assert_eq!((memory.read_u32(0), memory.read_u32(4)), (Ok(8), Ok(12)));
        assert_eq!(memory.bytes(8, 7), Ok(b"A=1\0B=\0".as_slice()));
        let overflowing = write_strings(&mut memory, 0, 38, [["A", "1"]].into_iter(), "=");
        assert_eq!(overflowing, Err(Errno::Fault));
    }

    #[test]
    fn raising_a_signal_ends_with_linux_numbers() {
        let table = [
            (0, Ok(Raised::Ignored)),
            (6, Ok(Raised::Deadly(134))),
            (9, Ok(Raised::Deadly(137))),
            (13, Ok(Raised::Deadly(141))),
            (15, Ok(Raised::Delivered(Signal::Term))),
            (16, Ok(Raised::Ignored)),
            (19, Err(Errno::NotSup)),
            (23, Ok(Raised::Deadly(152))),
            (30, Ok(Raised::Deadly(159))),
            (31, Err(Errno::Inval)),
        ];
        for (signal, expected) in table {
            assert_eq!(raised(signal), expected, "signal {signal}");
        }
    }
}
