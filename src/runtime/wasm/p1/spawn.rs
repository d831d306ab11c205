//! Processes for core modules, in the import module `husk_process`: pipes, files without names, more numbers for a
//! descriptor, starting programs, waiting for them, and signals. docs/guest-interfaces.md describes it to guests.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use super::abi::Errno;
use super::descriptors::{Descriptor, FileDescriptor, Input, MAX_DESCRIPTORS, Output, descriptors};
use super::memory::{GuestMemory, exported_memory};
use super::{Context, HUSK_MODULE, errno, inline, write_words};
use crate::base::pipe::{DEFAULT_CAPACITY, pipe};
use crate::runtime::wasm::command::Replaced;
use crate::runtime::wasm::container_context::{ContainerContext, Prepared};
use crate::runtime::wasm::open_file::OpenFile;
use crate::runtime::wasm::process::Process;
use crate::runtime::wasm::process_table::{Group, Pid, Reaped, Target};
use crate::runtime::wasm::signals::Action;
use crate::runtime::wasm::spawn::{SpawnError, SpawnRequest, wait_for_child};
use crate::runtime::wasm::state::GuestState;
use crate::runtime::wasm::stdio::{InputSource, OutputSink};
use crate::runtime::{ExitReason, ExitStatus, Signal};

/// Bytes of all arguments and environment variables of a new process together (Linux's default `ARG_MAX`).
const MAX_STRINGS_BYTES: u32 = 2 << 20;

/// Arguments, and environment variables, of a new process.
const MAX_STRINGS: u32 = 65_536;

/// Bytes of a pointer and a length.
const SLICE_SIZE: u32 = 8;

/// `wait`'s flag: fail rather than wait.
const WAIT_NO_HANG: u32 = 1;

/// `group` of a new process: the caller's.
const INHERIT_GROUP: u32 = u32::MAX;

type Guest<'a> = Caller<'a, GuestState>;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    add_descriptors(linker)?;
    add_signals(linker)?;
    linker.func_wrap_async(HUSK_MODULE, "spawn", |mut guest: Guest<'_>, (options, out): (u32, u32)| {
        Box::new(async move {
            let memory = exported_memory(&mut guest)?;
            let spawned = spawn(&mut guest, options).await;
            let written = spawned.and_then(|pid| GuestMemory::new(memory.data_mut(&mut guest)).write_u32(out, pid));
            Ok::<_, wasmtime::Error>(errno(written))
        })
    })?;
    linker.func_wrap_async(HUSK_MODULE, "exec", |mut guest: Guest<'_>, (options,): (u32,)| {
        Box::new(async move {
            match exec(&mut guest, options).await {
                Ok(next) => {
                    guest.data_mut().replacement = Some(Box::new(next));
                    Err(Replaced.into())
                }
                Err(error) => Ok(errno(Err(error))),
            }
        })
    })?;
    linker.func_wrap_async(HUSK_MODULE, "wait", |mut guest: Guest<'_>, (child, flags, out): (u32, u32, u32)| {
        Box::new(async move {
            let memory = exported_memory(&mut guest)?;
            let process = Arc::clone(&guest.data().process.process);
            let ended = wait(&process, child, flags).await;
            let written = ended.and_then(|(pid, status)| {
                let (signaled, value) = encode(&status);
                let mut memory = GuestMemory::new(memory.data_mut(&mut guest));
                write_words(&mut memory, out, &[pid, signaled, value])
            });
            Ok::<_, wasmtime::Error>(errno(written))
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "identity", |mut guest: Guest<'_>, out: u32| {
        inline(&mut guest, |context| {
            let process = &context.state.process.process;
            let listed = process.table().and_then(|table| table.get(process.pid())).ok_or(Errno::Srch)?;
            write_words(&mut context.memory, out, &[listed.pid, listed.parent, listed.group])
        })
    })?;
    Ok(())
}

fn add_descriptors(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(HUSK_MODULE, "pipe", |mut guest: Guest<'_>, reading: u32, writing: u32| {
        inline(&mut guest, |context| {
            let (writer, reader) = pipe(DEFAULT_CAPACITY);
            let table = context.descriptors();
            let input = table.insert(Descriptor::Input(Input { source: InputSource::Pipe(reader), flags: 0 }))?;
            let output = table.insert(Descriptor::Output(Output { sink: OutputSink::Pipe(writer), flags: 0 }));
            let Ok(output) = output else {
                table.close(input)?;
                return Err(Errno::MFile);
            };
            context.memory.write_u32(reading, input)?;
            context.memory.write_u32(writing, output)
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "memory_file", |mut guest: Guest<'_>, out: u32| {
        inline(&mut guest, |context| {
            let container = context.state.process.container.as_ref().ok_or(Errno::NotSup)?;
            let file = container.memory_files.create()?;
            let open = OpenFile::new(file, true, true, false);
            let fd = context.descriptors().insert(Descriptor::File(FileDescriptor { open, flags: 0 }))?;
            context.memory.write_u32(out, fd)
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "dup", |mut guest: Guest<'_>, fd: u32, out: u32| {
        inline(&mut guest, |context| {
            let table = context.descriptors();
            let copy = table.get(fd)?.clone();
            let new = table.insert(copy)?;
            context.memory.write_u32(out, new)
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "dup_to", |mut guest: Guest<'_>, fd: u32, to: u32| {
        inline(&mut guest, |context| context.descriptors().duplicate_to(fd, to))
    })?;
    Ok(())
}

fn add_signals(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(HUSK_MODULE, "signal_action", |mut guest: Guest<'_>, signal: u32, action: u32, before: u32| {
        inline(&mut guest, |context| {
            let action = match action {
                0 => Action::Default,
                1 => Action::Ignore,
                2 => Action::Catch,
                _ => return Err(Errno::Inval),
            };
            let signal = known_signal(signal).filter(|signal| *signal != Signal::Kill).ok_or(Errno::Inval)?;
            let replaced = context.state.process.process.signals().set_action(signal, action);
            context.memory.write_u32(before, replaced as u32)
        })
    })?;
    linker.func_wrap(HUSK_MODULE, "signal_take", |mut guest: Guest<'_>, out: u32| {
        inline(&mut guest, |context| {
            let signal = context.state.process.process.signals().take().ok_or(Errno::Again)?;
            context.memory.write_u32(out, signal.number().cast_unsigned())
        })
    })?;
    // Asynchronous, so that a process that ends itself does not go on.
    linker.func_wrap_async(HUSK_MODULE, "kill", |guest: Guest<'_>, (target, signal): (i64, u32)| {
        Box::new(async move {
            let killed = kill(guest.data(), target, signal);
            tokio::task::yield_now().await;
            errno(killed)
        })
    })?;
    Ok(())
}

fn known_signal(number: u32) -> Option<Signal> {
    Signal::from_number(i32::try_from(number).ok()?)
}

fn kill(state: &GuestState, target: i64, signal: u32) -> Result<(), Errno> {
    let process = &state.process.process;
    let signal = if signal == 0 { None } else { Some(known_signal(signal).ok_or(Errno::Inval)?) };
    let table = process.table().ok_or(Errno::Srch)?;
    let number = |number: u64| Pid::try_from(number).map_err(|_| Errno::Srch);
    let target = match target {
        i64::MIN => Target::Others(process.pid()),
        0 => Target::Group(table.get(process.pid()).ok_or(Errno::Srch)?.group),
        1.. => Target::Process(number(target.unsigned_abs())?),
        _ => Target::Group(number(target.unsigned_abs())?),
    };
    table.signal(target, signal).map_err(|_| Errno::Srch)
}

/// An exit status as (1 if a signal ended it else 0, that signal or the exit code).
fn encode(status: &ExitStatus) -> (u32, u32) {
    match status.reason {
        ExitReason::Signaled(signal) => (1, signal.number().cast_unsigned()),
        ExitReason::OomKilled => (1, Signal::Kill.number().cast_unsigned()),
        ExitReason::Exited | ExitReason::Trapped => (0, status.code.cast_unsigned()),
    }
}

async fn wait(process: &Process, child: Pid, flags: u32) -> Result<(Pid, ExitStatus), Errno> {
    if flags & !WAIT_NO_HANG != 0 {
        return Err(Errno::Inval);
    }
    let child = (child != 0).then_some(child);
    match wait_for_child(process, child, flags & WAIT_NO_HANG == 0).await {
        Some(Reaped::Child(pid, status)) => Ok((pid, status)),
        Some(Reaped::NotYet) => Err(Errno::Again),
        Some(Reaped::NoChild) => Err(Errno::Child),
        None => Err(Errno::Intr),
    }
}

async fn spawn(guest: &mut Guest<'_>, options: u32) -> Result<Pid, Errno> {
    let (request, container) = request(guest, options)?;
    let parent = Arc::clone(&guest.data().process.process);
    Ok(request.spawn(&container, &parent).await?.pid())
}

async fn exec(guest: &mut Guest<'_>, options: u32) -> Result<Prepared, Errno> {
    let (request, container) = request(guest, options)?;
    let (process, is_main) = (Arc::clone(&guest.data().process.process), guest.data().process.is_main);
    Ok(request.replace(&container, &process, is_main).await?)
}

fn request(guest: &mut Guest<'_>, options: u32) -> Result<(SpawnRequest, Arc<ContainerContext>), Errno> {
    let memory = exported_memory(guest).map_err(|_| Errno::Fault)?;
    let (bytes, state) = memory.data_and_store_mut(&mut *guest);
    let request = read_request(&mut Context { memory: GuestMemory::new(bytes), state }, options)?;
    let container = guest.data().process.container.as_ref().ok_or(Errno::NotSup)?;
    Ok((request, Arc::clone(container)))
}

impl From<SpawnError> for Errno {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::NotFound => Self::NoEnt,
            SpawnError::Denied => Self::Acces,
            SpawnError::NotExecutable => Self::NoExec,
            SpawnError::TooMany => Self::Again,
            SpawnError::NoSuchGroup => Self::Perm,
            SpawnError::NoMemory => Self::NoMem,
        }
    }
}

/// Reads the 56 bytes of options and what they point to.
fn read_request(context: &mut Context<'_>, options: u32) -> Result<SpawnRequest, Errno> {
    let word =
        |memory: &GuestMemory<'_>, index: u32| memory.read_u32(options.checked_add(index * 4).ok_or(Errno::Fault)?);
    let Context { memory, state } = context;
    let mut budget = MAX_STRINGS_BYTES;
    let program = read_text(memory, word(memory, 0)?, word(memory, 1)?, &mut budget)?;
    let argv = read_texts(memory, word(memory, 2)?, word(memory, 3)?, &mut budget)?;
    let env = read_texts(memory, word(memory, 4)?, word(memory, 5)?, &mut budget)?;
    let working_dir = read_text(memory, word(memory, 6)?, word(memory, 7)?, &mut budget)?;
    let (list, count) = (word(memory, 8)?, word(memory, 9)?);
    let mask = u64::from(word(memory, 10)?) | u64::from(word(memory, 11)?) << 32;
    let group = match word(memory, 12)? {
        INHERIT_GROUP => Group::Inherit,
        0 => Group::New,
        group => Group::Join(group),
    };
    if !working_dir.starts_with('/') {
        return Err(Errno::Inval);
    }
    let env = env.into_iter().filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let ignored = Signal::ALL.into_iter().filter(|signal| *signal != Signal::Kill);
    let ignored = ignored.filter(|signal| mask & 1 << signal.number() != 0);
    Ok(SpawnRequest {
        program: if program.is_empty() { state.process.path.clone() } else { program },
        argv,
        env: env.collect(),
        working_dir,
        descriptors: read_descriptors(memory, state, list, count)?,
        ignored: ignored.collect(),
        group,
    })
}

fn read_descriptors(
    memory: &GuestMemory<'_>,
    state: &mut GuestState,
    list: u32,
    count: u32,
) -> Result<Vec<(u32, Descriptor)>, Errno> {
    if count as usize > MAX_DESCRIPTORS {
        return Err(Errno::MFile);
    }
    let mut given = Vec::new();
    for index in 0..count {
        let entry = list.checked_add(index * SLICE_SIZE).ok_or(Errno::Fault)?;
        let to = memory.read_u32(entry)?;
        let from = memory.read_u32(entry.checked_add(4).ok_or(Errno::Fault)?)?;
        if to as usize >= MAX_DESCRIPTORS - 1 {
            return Err(Errno::Badf);
        }
        given.push((to, descriptors(state).get(from)?.clone()));
    }
    Ok(given)
}

fn read_texts(memory: &GuestMemory<'_>, list: u32, count: u32, budget: &mut u32) -> Result<Vec<String>, Errno> {
    if count > MAX_STRINGS {
        return Err(Errno::TooBig);
    }
    let entry = |index: u32| list.checked_add(index * SLICE_SIZE).ok_or(Errno::Fault);
    let text = |index: u32| {
        let entry = entry(index)?;
        let length = memory.read_u32(entry.checked_add(4).ok_or(Errno::Fault)?)?;
        read_text(memory, memory.read_u32(entry)?, length, budget)
    };
    (0..count).map(text).collect()
}

fn read_text(memory: &GuestMemory<'_>, pointer: u32, length: u32, budget: &mut u32) -> Result<String, Errno> {
    *budget = length.checked_add(1).and_then(|taken| budget.checked_sub(taken)).ok_or(Errno::TooBig)?;
    let text = std::str::from_utf8(memory.bytes(pointer, length)?).map_err(|_| Errno::IlSeq)?;
    if text.contains('\0') { Err(Errno::Inval) } else { Ok(text.to_owned()) }
}
