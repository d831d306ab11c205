//! A 0.1 module's linear memory as the host may touch it: every access checked, out of bounds is `EFAULT`.

use std::ops::Range;

use wasmtime::{Caller, Extern, Memory};

use super::abi::Errno;
use crate::runtime::wasm::state::GuestState;

/// Buffers in one scatter or gather list (Linux's `IOV_MAX`).
const MAX_BUFFERS: u32 = 1024;

/// The longest path taken from a guest, in bytes (Linux's `PATH_MAX`).
const MAX_PATH: u32 = 4096;

/// Bytes of an `iovec`: a pointer and a length.
const IOVEC_SIZE: u32 = 8;

/// The calling module's memory; a module without one cannot use WASI, so that is a trap.
pub(super) fn exported_memory(caller: &mut Caller<'_, GuestState>) -> wasmtime::Result<Memory> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory),
        Some(Extern::SharedMemory(_)) => {
            Err(wasmtime::Error::msg("the module exports a shared memory: threads are not supported"))
        }
        _ => Err(wasmtime::Error::msg("the module calls WASI but does not export its memory as \"memory\"")),
    }
}

/// Linear memory during one host call.
pub(super) struct GuestMemory<'a>(&'a mut [u8]);

impl<'a> GuestMemory<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    fn range(&self, pointer: u32, length: u32) -> Result<Range<usize>, Errno> {
        let start = pointer as usize;
        let end = start.checked_add(length as usize).filter(|end| *end <= self.0.len()).ok_or(Errno::Fault)?;
        Ok(start..end)
    }

    pub(super) fn bytes(&self, pointer: u32, length: u32) -> Result<&[u8], Errno> {
        let range = self.range(pointer, length)?;
        Ok(&self.0[range])
    }

    pub(super) fn bytes_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Errno> {
        let range = self.range(pointer, length)?;
        Ok(&mut self.0[range])
    }

    pub(super) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(pointer, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u16(&mut self, pointer: u32, value: u16) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(super) fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(super) fn read_u32(&self, pointer: u32) -> Result<u32, Errno> {
        let mut value = [0; 4];
        value.copy_from_slice(self.bytes(pointer, 4)?);
        Ok(u32::from_le_bytes(value))
    }

    /// A path: UTF-8, without NUL, relative, not empty and not longer than Linux takes.
    pub(super) fn path(&self, pointer: u32, length: u32) -> Result<&str, Errno> {
        let path = self.text(pointer, length)?;
        match path.as_bytes().first() {
            None => Err(Errno::NoEnt),
            // Capabilities are relative to a descriptor; libc has already taken the leading slash off.
            Some(b'/') => Err(Errno::Perm),
            Some(_) => Ok(path),
        }
    }

    /// As [`Self::path`], but any content: a symlink's target.
    pub(super) fn text(&self, pointer: u32, length: u32) -> Result<&str, Errno> {
        if length > MAX_PATH {
            return Err(Errno::NameTooLong);
        }
        let text = std::str::from_utf8(self.bytes(pointer, length)?).map_err(|_| Errno::IlSeq)?;
        if text.contains('\0') { Err(Errno::Inval) } else { Ok(text) }
    }
}

/// How far a transfer through a list of guest buffers has come.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    list: u32,
    count: u32,
    index: u32,
    offset: u32,
    /// Bytes moved so far.
    pub(super) done: u32,
}

impl Transfer {
    /// A transfer through the `count` buffers listed at `list`.
    pub(super) fn new(list: u32, count: u32) -> Result<Self, Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval);
        }
        Ok(Self { list, count, index: 0, offset: 0, done: 0 })
    }

    /// The next piece of guest memory as (pointer, length), at most `limit` bytes and not empty; `None` at the end.
    /// Never more than fits `done`, so that the byte count of one call cannot overflow.
    pub(super) fn next(&mut self, memory: &GuestMemory<'_>, limit: u32) -> Result<Option<(u32, u32)>, Errno> {
        while self.index < self.count {
            let entry = self.list.checked_add(self.index * IOVEC_SIZE).ok_or(Errno::Fault)?;
            let pointer = memory.read_u32(entry)?;
            let length = memory.read_u32(entry.checked_add(4).ok_or(Errno::Fault)?)?;
            memory.range(pointer, length)?;
            let left = length.saturating_sub(self.offset).min(u32::MAX - self.done);
            if left > 0 {
                return Ok(Some((pointer + self.offset, left.min(limit))));
            }
            self.index += 1;
            self.offset = 0;
        }
        Ok(None)
    }

    /// How many bytes fit all buffers together.
    pub(super) fn capacity(&self, memory: &GuestMemory<'_>) -> Result<usize, Errno> {
        let mut rest = Self::new(self.list, self.count)?;
        while let Some((_, length)) = rest.next(memory, u32::MAX)? {
            rest.advance(length as usize);
        }
        Ok(rest.done as usize)
    }

    /// Notes that `bytes` of the last piece were moved.
    pub(super) fn advance(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.offset = self.offset.saturating_add(bytes);
        self.done = self.done.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_outside_memory_is_a_fault_and_never_a_panic() {
        let mut bytes = [1; 16];
        let mut memory = GuestMemory::new(&mut bytes);
        let table: [(u32, u32, bool); 7] = [
            (0, 16, true),
            (16, 0, true),
            (12, 4, true),
            (13, 4, false),
            (17, 0, false),
            (u32::MAX, 1, false),
            (u32::MAX, u32::MAX, false),
        ];
        for (pointer, length, fits) in table {
            assert_eq!(memory.bytes(pointer, length).is_ok(), fits, "{pointer} {length}");
            assert_eq!(memory.bytes_mut(pointer, length).is_ok(), fits, "{pointer} {length}");
        }
        assert_eq!(memory.read_u32(14), Err(Errno::Fault));
        assert_eq!(memory.write_u64(u32::MAX - 3, 1), Err(Errno::Fault));
    }

    #[test]
    fn paths_are_checked_before_anyone_resolves_them() {
        let check = |content: &[u8], expected: Result<&str, Errno>| {
            let mut bytes = content.to_vec();
            let length = u32::try_from(content.len()).unwrap();
            assert_eq!(GuestMemory::new(&mut bytes).path(0, length), expected, "{content:?}");
        };
        check(b"a/../b", Ok("a/../b"));
        check(b"", Err(Errno::NoEnt));
        check(b"/etc", Err(Errno::Perm));
        check(b"a\0b", Err(Errno::Inval));
        check(b"a\xff", Err(Errno::IlSeq));
        check(&[b'a'; 5000], Err(Errno::NameTooLong));
    }

    #[test]
    fn a_transfer_walks_the_buffers_and_skips_empty_ones() {
        let mut bytes = vec![0; 64];
        let mut memory = GuestMemory::new(&mut bytes);
        for (index, (pointer, length)) in [(40_u32, 3_u32), (0, 0), (50, 5)].into_iter().enumerate() {
            memory.write_u32(index as u32 * 8, pointer).unwrap();
            memory.write_u32(index as u32 * 8 + 4, length).unwrap();
        }
        let mut transfer = Transfer::new(0, 3).unwrap();
        let mut pieces = Vec::new();
        while let Some((pointer, length)) = transfer.next(&memory, 4).unwrap() {
            pieces.push((pointer, length));
            transfer.advance(length as usize);
        }
        assert_eq!(pieces, [(40, 3), (50, 4), (54, 1)]);
        assert_eq!(transfer.done, 8);
    }

    #[test]
    fn hostile_buffer_lists_are_refused() {
        let mut bytes = vec![0xff; 32];
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(Transfer::new(0, MAX_BUFFERS + 1).unwrap_err(), Errno::Inval);
        for list in [0, 28, u32::MAX] {
            assert_eq!(Transfer::new(list, 2).unwrap().next(&memory, 10), Err(Errno::Fault), "list at {list}");
        }
    }
}
