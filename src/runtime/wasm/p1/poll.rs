//! `poll_oneoff`: waits for clocks, streams, sockets and signals at once, without blocking a thread.

use std::future::poll_fn;
use std::task;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use wasmtime::{Caller, Linker};

use super::abi::Errno;
use super::descriptors::{Descriptor, descriptors};
use super::io::Source;
use super::memory::{GuestMemory, exported_memory};
use super::process::Clock;
use super::{Context, MODULE, errno};
use crate::runtime::wasm::state::GuestState;
use crate::runtime::wasm::stdio::InputSource;

/// Subscriptions of one call; more are refused.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// Bytes of a `subscription` and of an `event`.
const SUBSCRIPTION_SIZE: u32 = 48;
const EVENT_SIZE: u32 = 32;

/// Tags of `eventtype`.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// The bit of `subclockflags` that makes a timeout absolute, and of `eventrwflags` that says the other end is gone.
const ABSTIME: u16 = 1;
const HANGUP: u16 = 1;

/// What is waited for when a timeout lies further ahead than the timer reaches.
const FAR_AHEAD: Duration = Duration::from_secs(60 * 60 * 24 * 365);

type Guest<'a> = Caller<'a, GuestState>;

/// Adds the function.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut guest: Guest<'_>, (list, out, count, events_out): (u32, u32, u32, u32)| {
            Box::new(async move {
                let memory = exported_memory(&mut guest)?;
                let (bytes, state) = memory.data_and_store_mut(&mut guest);
                let entries = prepare(&mut Context { memory: GuestMemory::new(bytes), state }, list, count);
                let entries = match entries {
                    Ok(entries) => entries,
                    Err(failed) => return Ok(errno(Err(failed))),
                };
                let events = wait(&entries).await;
                let mut memory = GuestMemory::new(memory.data_mut(&mut guest));
                Ok::<_, wasmtime::Error>(errno(write_events(&mut memory, &events, out, events_out)))
            })
        },
    )?;
    Ok(())
}

/// One subscription, looked up.
struct Entry {
    userdata: u64,
    kind: u8,
    wait: Wait,
}

enum Wait {
    /// For a time.
    Until(Instant),
    /// For a stream, socket or signal; `ahead` bytes were read from it already.
    Source { source: Source, ahead: usize },
    /// Not at all: this many bytes can be moved.
    Ready { bytes: u64, hangup: bool },
    /// Not at all: the subscription itself is wrong.
    Failed(Errno),
}

/// What the guest is told.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    userdata: u64,
    kind: u8,
    error: u16,
    bytes: u64,
    flags: u16,
}

fn prepare(context: &mut Context<'_>, list: u32, count: u32) -> Result<Vec<Entry>, Errno> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval);
    }
    let now = Instant::now();
    let mut entries = Vec::with_capacity(count as usize);
    for index in 0..count {
        let pointer = list.checked_add(index * SUBSCRIPTION_SIZE).ok_or(Errno::Fault)?;
        let mut record = [0; SUBSCRIPTION_SIZE as usize];
        record.copy_from_slice(context.memory.bytes(pointer, SUBSCRIPTION_SIZE)?);
        entries.push(parse(context.state, &record, now)?);
    }
    Ok(entries)
}

fn parse(state: &mut GuestState, record: &[u8; SUBSCRIPTION_SIZE as usize], now: Instant) -> Result<Entry, Errno> {
    let word = |at: usize| record[at..at + 8].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let half = |at: usize| (word(at) & u64::from(u32::MAX)) as u32;
    let kind = record[8];
    let wait = match kind {
        CLOCK => {
            let absolute = u16::from_le_bytes([record[40], record[41]]) & ABSTIME != 0;
            match Clock::from_id(half(16)) {
                Ok(clock) => {
                    let passed = if absolute { clock.now(state)? } else { 0 };
                    Wait::Until(deadline(now, word(24), passed))
                }
                Err(failed) => Wait::Failed(failed),
            }
        }
        FD_READ | FD_WRITE => subscribe(state, half(16), kind == FD_READ).unwrap_or_else(Wait::Failed),
        _ => return Err(Errno::Inval),
    };
    Ok(Entry { userdata: word(0), kind, wait })
}

/// When a timeout of so many nanoseconds ends, of which some have passed.
fn deadline(now: Instant, timeout: u64, passed: u64) -> Instant {
    let ahead = Duration::from_nanos(timeout.saturating_sub(passed)).min(FAR_AHEAD);
    now + ahead
}

fn subscribe(state: &mut GuestState, fd: u32, read: bool) -> Result<Wait, Errno> {
    let on = |source| Wait::Source { source, ahead: 0 };
    Ok(match descriptors(state).get(fd)? {
        Descriptor::Input(input) if read => on(Source::Reader(input.source.clone())),
        Descriptor::Output(output) if !read => match output.sink.pipe() {
            Some(writer) => on(Source::Writer(writer.clone())),
            None => return Err(Errno::Badf),
        },
        Descriptor::Connection(connection) if read => {
            let source = Source::Reader(InputSource::Pipe(connection.reader.clone()));
            Wait::Source { source, ahead: connection.peeked.len() }
        }
        Descriptor::Connection(connection) => on(Source::Writer(connection.writer.clone())),
        Descriptor::Listener(listener) if read => on(Source::Listener(listener.listener.clone())),
        Descriptor::Signals(queue) if read => on(Source::Signals(queue.signals.clone())),
        Descriptor::File(file) => {
            let size = if read { file.open.file.stat()?.size } else { 0 };
            Wait::Ready { bytes: size.saturating_sub(*file.open.position()), hangup: false }
        }
        Descriptor::Directory(_) => Wait::Ready { bytes: 0, hangup: false },
        Descriptor::Input(_) | Descriptor::Output(_) | Descriptor::Listener(_) | Descriptor::Signals(_) => {
            return Err(Errno::Badf);
        }
    })
}

impl Entry {
    fn event(&self, error: u16, bytes: u64, hangup: bool) -> Event {
        let flags = if hangup { HANGUP } else { 0 };
        Event { userdata: self.userdata, kind: self.kind, error, bytes, flags }
    }

    /// The event if it is due; else the task is woken once it may be. Clocks are the caller's to wake for.
    fn poll(&self, context: &mut task::Context<'_>, now: Instant) -> Option<Event> {
        match &self.wait {
            Wait::Until(deadline) => (*deadline <= now).then(|| self.event(0, 0, false)),
            Wait::Ready { bytes, hangup } => Some(self.event(0, *bytes, *hangup)),
            Wait::Failed(failed) => Some(self.event(*failed as u16, 0, false)),
            Wait::Source { source, ahead } => {
                if *ahead == 0 && source.poll_ready(context).is_pending() {
                    return None;
                }
                let (bytes, hangup) = readiness(source);
                Some(self.event(0, bytes + *ahead as u64, hangup && *ahead == 0))
            }
        }
    }
}

/// How many bytes a source that is ready can move (a listener or signal: at least one) and whether its peer is gone.
fn readiness(source: &Source) -> (u64, bool) {
    match source {
        Source::Reader(reader) => (reader.available() as u64, reader.available() == 0),
        Source::Writer(writer) => writer.room().map_or((0, true), |room| (room as u64, false)),
        Source::Listener(_) | Source::Signals(_) | Source::End => (1, false),
    }
}

/// Waits until at least one subscription is due and returns all that are.
async fn wait(entries: &[Entry]) -> Vec<Event> {
    let deadline = entries.iter().filter_map(|entry| match entry.wait {
        Wait::Until(deadline) => Some(deadline),
        Wait::Source { .. } | Wait::Ready { .. } | Wait::Failed(_) => None,
    });
    let deadline = deadline.min();
    let mut timer: Option<std::pin::Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        loop {
            let now = Instant::now();
            let events: Vec<Event> = entries.iter().filter_map(|entry| entry.poll(context, now)).collect();
            if !events.is_empty() {
                return task::Poll::Ready(events);
            }
            // The timer is made only when there is something to wait for.
            let Some(deadline) = deadline else { return task::Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            task::ready!(timer.as_mut().poll(context));
            timer.as_mut().reset(deadline);
        }
    })
    .await
}

fn write_events(memory: &mut GuestMemory<'_>, events: &[Event], out: u32, count_out: u32) -> Result<(), Errno> {
    let mut pointer = out;
    for event in events {
        let mut record = [0; EVENT_SIZE as usize];
        record[0..8].copy_from_slice(&event.userdata.to_le_bytes());
        record[8..10].copy_from_slice(&event.error.to_le_bytes());
        record[10] = event.kind;
        record[16..24].copy_from_slice(&event.bytes.to_le_bytes());
        record[24..26].copy_from_slice(&event.flags.to_le_bytes());
        memory.write(pointer, &record)?;
        pointer = pointer.checked_add(EVENT_SIZE).ok_or(Errno::Fault)?;
    }
    memory.write_u32(count_out, u32::try_from(events.len()).map_err(|_| Errno::Overflow)?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::pipe::pipe;

    fn entry(userdata: u64, kind: u8, wait: Wait) -> Entry {
        Entry { userdata, kind, wait }
    }

    fn reading(userdata: u64, source: Source) -> Entry {
        entry(userdata, FD_READ, Wait::Source { source, ahead: 0 })
    }

    fn userdata(events: &[Event]) -> Vec<u64> {
        events.iter().map(|event| event.userdata).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_clock_ends_the_wait() {
        let start = Instant::now();
        let at =
            |userdata, milliseconds| entry(userdata, CLOCK, Wait::Until(start + Duration::from_millis(milliseconds)));
        let (_writer, reader) = pipe(1);
        let events =
            wait(&[at(1, 5000), at(2, 300), reading(3, Source::Reader(InputSource::Pipe(reader))), at(4, 300)]).await;
        assert_eq!(userdata(&events), [2, 4]);
        assert_eq!(start.elapsed().as_millis(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_arrive_end_the_wait_before_the_clock() {
        let start = Instant::now();
        let (writer, reader) = pipe(8);
        let arriving = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            writer.try_write(&Bytes::from_static(b"abc")).unwrap();
            writer
        });
        let timeout = entry(9, CLOCK, Wait::Until(start + Duration::from_secs(60)));
        let events = wait(&[timeout, reading(7, Source::Reader(InputSource::Pipe(reader)))]).await;
        let expected = Event { userdata: 7, kind: FD_READ, error: 0, bytes: 3, flags: 0 };
        assert_eq!(events, [expected]);
        assert_eq!(start.elapsed().as_millis(), 20);
        drop(arriving.await.unwrap());
    }

    #[tokio::test]
    async fn what_is_ready_or_wrong_is_told_at_once() {
        let (full, _kept) = pipe(1);
        full.try_write(&Bytes::from_static(b"x")).unwrap();
        let (gone, reader) = pipe(1);
        drop(gone);
        let entries = [
            entry(1, FD_WRITE, Wait::Source { source: Source::Writer(full), ahead: 0 }),
            reading(2, Source::Reader(InputSource::Pipe(reader))),
            entry(3, FD_READ, Wait::Failed(Errno::Badf)),
            entry(4, FD_READ, Wait::Ready { bytes: 5, hangup: false }),
        ];
        let events = wait(&entries).await;
        assert_eq!(userdata(&events), [2, 3, 4]);
        assert_eq!((events[0].flags, events[1].error, events[2].bytes), (HANGUP, 8, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_past_the_end_of_time_do_not_overflow() {
        let now = Instant::now();
        assert_eq!(deadline(now, u64::MAX, 0), now + FAR_AHEAD);
        assert_eq!(deadline(now, 5, 9), now);
        assert_eq!(deadline(now, 9, 5), now + Duration::from_nanos(4));
    }

    #[test]
    fn events_are_laid_out_as_the_guest_reads_them() {
        let mut bytes = vec![0xff; 48];
        let event = Event { userdata: 0x0102, kind: FD_WRITE, error: 8, bytes: 9, flags: HANGUP };
        write_events(&mut GuestMemory::new(&mut bytes), &[event], 8, 0).unwrap();
        assert_eq!(bytes[..4], [1, 0, 0, 0]);
        assert_eq!((bytes[8], bytes[9], bytes[16], bytes[18], bytes[24], bytes[32]), (2, 1, 8, 2, 9, 1));
    }
}
