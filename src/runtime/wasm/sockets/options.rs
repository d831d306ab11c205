//! Socket options. The virtual network has nothing for them to tune: they are checked, kept and answered, with Linux's
//! defaults, so that programs that set them find what they set. Only the backlog has an effect.

use std::time::Duration;

use super::fault::Fault;

/// Options of one socket; accepted sockets inherit their listener's.
#[derive(Debug, Clone)]
pub(super) struct Options {
    keep_alive: bool,
    keep_alive_idle: Duration,
    keep_alive_interval: Duration,
    keep_alive_count: u32,
    hop_limit: u8,
    receive_buffer: u64,
    send_buffer: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_alive: false,
            keep_alive_idle: Duration::from_secs(7200),
            keep_alive_interval: Duration::from_secs(75),
            keep_alive_count: 9,
            hop_limit: 64,
            receive_buffer: 256 * 1024,
            send_buffer: 256 * 1024,
        }
    }
}

/// Keep-alive times are whole seconds up to this (Linux's `MAX_TCP_KEEPIDLE`).
const MAX_KEEP_ALIVE_SECONDS: u64 = 32_767;

/// Most keep-alive probes (Linux's `MAX_TCP_KEEPCNT`).
const MAX_KEEP_ALIVE_COUNT: u32 = 127;

/// The largest buffer size that is remembered.
const MAX_BUFFER: u64 = i32::MAX as u64;

impl Options {
    pub(super) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    pub(super) fn set_keep_alive(&mut self, on: bool) {
        self.keep_alive = on;
    }

    /// In nanoseconds, as WASI counts.
    pub(super) fn keep_alive_idle(&self) -> u64 {
        nanoseconds(self.keep_alive_idle)
    }

    pub(super) fn set_keep_alive_idle(&mut self, nanoseconds: u64) -> Result<(), Fault> {
        self.keep_alive_idle = keep_alive_time(nanoseconds)?;
        Ok(())
    }

    /// In nanoseconds, as WASI counts.
    pub(super) fn keep_alive_interval(&self) -> u64 {
        nanoseconds(self.keep_alive_interval)
    }

    pub(super) fn set_keep_alive_interval(&mut self, nanoseconds: u64) -> Result<(), Fault> {
        self.keep_alive_interval = keep_alive_time(nanoseconds)?;
        Ok(())
    }

    pub(super) fn keep_alive_count(&self) -> u32 {
        self.keep_alive_count
    }

    pub(super) fn set_keep_alive_count(&mut self, count: u32) -> Result<(), Fault> {
        self.keep_alive_count = not_zero(count)?.min(MAX_KEEP_ALIVE_COUNT);
        Ok(())
    }

    pub(super) fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    pub(super) fn set_hop_limit(&mut self, hops: u8) -> Result<(), Fault> {
        self.hop_limit = not_zero(hops)?;
        Ok(())
    }

    pub(super) fn receive_buffer(&self) -> u64 {
        self.receive_buffer
    }

    pub(super) fn set_receive_buffer(&mut self, bytes: u64) -> Result<(), Fault> {
        self.receive_buffer = not_zero(bytes)?.min(MAX_BUFFER);
        Ok(())
    }

    pub(super) fn send_buffer(&self) -> u64 {
        self.send_buffer
    }

    pub(super) fn set_send_buffer(&mut self, bytes: u64) -> Result<(), Fault> {
        self.send_buffer = not_zero(bytes)?.min(MAX_BUFFER);
        Ok(())
    }
}

fn not_zero<T: PartialEq + Default>(value: T) -> Result<T, Fault> {
    if value == T::default() { Err(Fault::InvalidArgument) } else { Ok(value) }
}

/// Rounds to the whole seconds that Linux would keep.
fn keep_alive_time(nanoseconds: u64) -> Result<Duration, Fault> {
    let seconds = Duration::from_nanos(not_zero(nanoseconds)?).as_secs();
    Ok(Duration::from_secs(seconds.clamp(1, MAX_KEEP_ALIVE_SECONDS)))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
