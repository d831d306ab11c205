//! The descriptor table of a 0.1 module: what stands behind each number, and the rules of handing numbers out.
//! What can be done with a descriptor is in the modules beside this one.

use std::sync::Arc;

use bytes::BytesMut;

use super::abi::{Errno, FdStat, FileType, fdflags, rights};
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::net::TcpListener;
use crate::runtime::wasm::open_file::OpenFile;
use crate::runtime::wasm::signals::Signals;
use crate::runtime::wasm::state::{GuestState, ProcessContext};
use crate::runtime::wasm::stdio::{InputSource, OutputSink};
use crate::vfs::{Dir, DirEntry, Stream};

/// Descriptors one process may have open (Linux's usual soft limit).
pub(super) const MAX_DESCRIPTORS: usize = 1024;

/// Bytes that directory listings kept between `fd_readdir` calls may take, all descriptors together.
const MAX_LISTING_BYTES: usize = 64 * 1024 * 1024;

/// Where libc begins to look for preopened directories.
pub(super) const FIRST_PREOPEN: u32 = 3;

/// What stands behind a descriptor.
#[derive(Clone)]
pub(in super::super) enum Descriptor {
    Input(Input),
    Output(Output),
    File(FileDescriptor),
    Directory(OpenDirectory),
    Listener(Listener),
    Connection(Connection),
    Signals(SignalQueue),
}

/// A stream to read: a pipe or a terminal.
#[derive(Clone)]
pub(in super::super) struct Input {
    pub(in super::super) source: InputSource,
    pub(in super::super) flags: u16,
}

/// A stream to write: a pipe or a terminal.
#[derive(Clone)]
pub(in super::super) struct Output {
    pub(in super::super) sink: OutputSink,
    pub(in super::super) flags: u16,
}

/// An open file.
#[derive(Clone)]
pub(in super::super) struct FileDescriptor {
    pub(in super::super) open: OpenFile,
    pub(in super::super) flags: u16,
}

/// An open directory with the listing that cookies index.
pub(in super::super) struct OpenDirectory {
    pub(super) dir: Dir,
    pub(super) flags: u16,
    pub(super) preopened: bool,
    pub(super) listing: Option<Vec<DirEntry>>,
}

impl Clone for OpenDirectory {
    /// Another descriptor of the directory, which is read from its beginning.
    fn clone(&self) -> Self {
        Self { dir: self.dir.clone(), flags: self.flags, preopened: false, listing: None }
    }
}

/// A listening socket.
#[derive(Clone)]
pub(in super::super) struct Listener {
    pub(super) listener: Arc<TcpListener>,
    pub(super) flags: u16,
}

/// A connected socket. What one descriptor of it peeked at is its own.
#[derive(Clone)]
pub(in super::super) struct Connection {
    pub(super) reader: PipeReader,
    pub(super) writer: PipeWriter,
    /// What `sock_recv` peeked at and nobody has read yet.
    pub(super) peeked: BytesMut,
    pub(super) flags: u16,
}

impl Connection {
    /// What the peer sends.
    pub(in super::super) fn reader(&self) -> &PipeReader {
        &self.reader
    }

    /// What the peer gets.
    pub(in super::super) fn writer(&self) -> &PipeWriter {
        &self.writer
    }
}

/// Signals the guest catches, read as numbers.
#[derive(Clone)]
pub(in super::super) struct SignalQueue {
    pub(super) signals: Arc<Signals>,
    pub(super) flags: u16,
}

impl Descriptor {
    /// What `fd_fdstat_get` answers. For a file, `kind` is asked.
    pub(super) fn fdstat(&self) -> Result<FdStat, Errno> {
        // libc's isatty takes a character device that can neither seek nor tell for a terminal, and nothing else.
        let stream_type = |tty| if tty { FileType::CharacterDevice } else { FileType::Unknown };
        let common = rights::FDSTAT_SET_FLAGS | rights::FILESTAT_GET | rights::POLL_READWRITE;
        let plain = |filetype, flags, rights| FdStat { filetype, flags, rights, inheriting: 0 };
        Ok(match self {
            Self::Input(input) => plain(stream_type(input.source.is_terminal()), input.flags, common | rights::FD_READ),
            Self::Output(output) => {
                plain(stream_type(output.sink.is_terminal()), output.flags, common | rights::FD_WRITE)
            }
            Self::File(file) => plain(file.open.file.stat()?.kind.into(), file.flags, file.rights()),
            Self::Directory(directory) => FdStat {
                filetype: FileType::Directory,
                flags: directory.flags,
                rights: rights::DIRECTORY,
                inheriting: rights::DIRECTORY | rights::FILE,
            },
            Self::Listener(listener) => {
                plain(FileType::SocketStream, listener.flags, common | rights::SOCK_ACCEPT | rights::FD_READ)
            }
            Self::Connection(connection) => plain(
                FileType::SocketStream,
                connection.flags,
                common | rights::FD_READ | rights::FD_WRITE | rights::SOCK_SHUTDOWN,
            ),
            Self::Signals(queue) => plain(FileType::Unknown, queue.flags, common | rights::FD_READ),
        })
    }

    /// The descriptor's own `fdflags`.
    pub(super) fn flags_mut(&mut self) -> &mut u16 {
        match self {
            Self::Input(input) => &mut input.flags,
            Self::Output(output) => &mut output.flags,
            Self::File(file) => &mut file.flags,
            Self::Directory(directory) => &mut directory.flags,
            Self::Listener(listener) => &mut listener.flags,
            Self::Connection(connection) => &mut connection.flags,
            Self::Signals(queue) => &mut queue.flags,
        }
    }
}

impl FileDescriptor {
    pub(super) fn rights(&self) -> u64 {
        let mut rights = rights::FILE;
        if !self.open.read {
            rights &= !rights::FD_READ;
        }
        if !self.open.write {
            rights &= !rights::FILE_WRITE;
        }
        rights
    }

    /// Whether every write must reach the disk before it returns; `true` inside: metadata too.
    pub(super) fn write_sync(&self) -> Option<bool> {
        match (self.flags & fdflags::SYNC != 0, self.flags & fdflags::DSYNC != 0) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

/// The descriptors of one process. The lowest free number is handed out, as in POSIX.
pub(in super::super) struct Descriptors {
    slots: Vec<Option<Descriptor>>,
    /// No slot below this one is free.
    lowest_free: usize,
    listing_bytes: usize,
}

impl Descriptors {
    /// What the process was given, and the container's root at the lowest number from 3 on that is free.
    pub(super) fn new(process: &ProcessContext) -> Self {
        let mut table = Self { slots: Vec::new(), lowest_free: 0, listing_bytes: 0 };
        for (number, descriptor) in &process.descriptors {
            table.put(*number, descriptor.clone());
        }
        let root = OpenDirectory { dir: process.root.clone(), flags: 0, preopened: true, listing: None };
        let free = (FIRST_PREOPEN..).find(|number| table.get(*number).is_err());
        table.put(free.unwrap_or(FIRST_PREOPEN), Descriptor::Directory(root));
        table
    }

    /// Makes `number` stand for `descriptor`; what it stood for is closed.
    fn put(&mut self, number: u32, descriptor: Descriptor) {
        let index = number as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(closed) = self.slots[index].replace(descriptor) {
            self.forget_listing(&closed);
        }
        let free = self.slots.iter().position(Option::is_none);
        self.lowest_free = free.unwrap_or(self.slots.len());
    }

    /// What a name such as `/dev/stdout` stands for.
    pub(super) fn stream(&self, stream: Stream) -> Result<Descriptor, Errno> {
        match stream {
            Stream::Descriptor(number) => self.get(number).cloned(),
            Stream::Terminal => {
                let is_terminal = |descriptor: &&Descriptor| match descriptor {
                    Descriptor::Input(input) => input.source.is_terminal(),
                    _ => false,
                };
                self.slots.iter().flatten().find(is_terminal).cloned().ok_or(Errno::Nxio)
            }
        }
    }

    /// Makes `to` another number of `from`, as `dup2` does.
    pub(super) fn duplicate_to(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let copy = self.get(from)?.clone();
        if to as usize >= MAX_DESCRIPTORS {
            return Err(Errno::Badf);
        }
        if from != to {
            self.put(to, copy);
        }
        Ok(())
    }

    /// Whether [`Self::insert`] would find a number.
    pub(super) fn has_room(&self) -> bool {
        self.lowest_free < MAX_DESCRIPTORS
    }

    /// Gives `descriptor` the lowest free number.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        if !self.has_room() {
            return Err(Errno::MFile);
        }
        let number = self.lowest_free;
        match self.slots.get_mut(number) {
            Some(slot) => *slot = Some(descriptor),
            None => self.slots.push(Some(descriptor)),
        }
        let next = self.slots.iter().skip(number).position(Option::is_none);
        self.lowest_free = next.map_or(self.slots.len(), |ahead| number + ahead);
        u32::try_from(number).map_err(|_| Errno::MFile)
    }

    pub(super) fn get(&self, number: u32) -> Result<&Descriptor, Errno> {
        self.slots.get(number as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(number as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    /// Closes a descriptor; what it was the last handle of goes with it.
    pub(super) fn close(&mut self, number: u32) -> Result<(), Errno> {
        let closed = self.take(number)?;
        self.forget_listing(&closed);
        Ok(())
    }

    /// Moves `from` to the open descriptor `to`, which is closed.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from == to {
            return Ok(());
        }
        self.close(to)?;
        let moved = self.take(from)?;
        self.slots[to as usize] = Some(moved);
        let free = self.slots.iter().position(Option::is_none);
        self.lowest_free = free.unwrap_or(self.slots.len());
        Ok(())
    }

    fn take(&mut self, number: u32) -> Result<Descriptor, Errno> {
        let taken = self.slots.get_mut(number as usize).and_then(Option::take).ok_or(Errno::Badf)?;
        self.lowest_free = self.lowest_free.min(number as usize);
        Ok(taken)
    }

    pub(super) fn file_mut(&mut self, number: u32) -> Result<&mut FileDescriptor, Errno> {
        match self.get_mut(number)? {
            Descriptor::File(file) => Ok(file),
            Descriptor::Directory(_) => Err(Errno::IsDir),
            Descriptor::Input(_)
            | Descriptor::Output(_)
            | Descriptor::Listener(_)
            | Descriptor::Connection(_)
            | Descriptor::Signals(_) => Err(Errno::SPipe),
        }
    }

    pub(super) fn directory(&self, number: u32) -> Result<&OpenDirectory, Errno> {
        match self.get(number)? {
            Descriptor::Directory(directory) => Ok(directory),
            Descriptor::File(_)
            | Descriptor::Input(_)
            | Descriptor::Output(_)
            | Descriptor::Listener(_)
            | Descriptor::Connection(_)
            | Descriptor::Signals(_) => Err(Errno::NotDir),
        }
    }

    /// The listing of a directory: read afresh where `rewind` says so or there is none yet.
    pub(super) fn listing(&mut self, number: u32, rewind: bool) -> Result<&[DirEntry], Errno> {
        let directory = self.directory(number)?;
        if rewind || directory.listing.is_none() {
            let entries = directory.dir.entries()?;
            let replaced = directory.listing.as_deref().map_or(0, listing_size);
            let total = self.listing_bytes - replaced + listing_size(&entries);
            if total > MAX_LISTING_BYTES {
                return Err(Errno::NoMem);
            }
            self.listing_bytes = total;
            if let Descriptor::Directory(directory) = self.get_mut(number)? {
                directory.listing = Some(entries);
            }
        }
        Ok(self.directory(number)?.listing.as_deref().unwrap_or_default())
    }

    /// Gives up a listing that was read to its end.
    pub(super) fn drop_listing(&mut self, number: u32) {
        let dropped = match self.get_mut(number) {
            Ok(Descriptor::Directory(directory)) => directory.listing.take(),
            Ok(_) | Err(_) => None,
        };
        self.listing_bytes -= dropped.as_deref().map_or(0, listing_size);
    }

    fn forget_listing(&mut self, closed: &Descriptor) {
        if let Descriptor::Directory(OpenDirectory { listing: Some(entries), .. }) = closed {
            self.listing_bytes -= listing_size(entries);
        }
    }
}

fn listing_size(entries: &[DirEntry]) -> usize {
    entries.iter().map(|entry| size_of::<DirEntry>() + entry.name.len()).sum()
}

/// The descriptors of `state`, made now if this is their first use.
pub(super) fn descriptors(state: &mut GuestState) -> &mut Descriptors {
    let GuestState { p1, process, .. } = state;
    p1.get_or_insert_with(|| Descriptors::new(process))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::wasm::process_table::ProcessTable;
    use crate::runtime::wasm::terminal::Terminal;

    fn table() -> Descriptors {
        Descriptors { slots: Vec::new(), lowest_free: 0, listing_bytes: 0 }
    }

    fn input() -> Descriptor {
        Descriptor::Input(Input { source: InputSource::Empty, flags: 0 })
    }

    fn output() -> Descriptor {
        Descriptor::Output(Output { sink: OutputSink::Terminal(Terminal::new(&ProcessTable::new()).0), flags: 0 })
    }

    #[test]
    fn the_lowest_free_number_is_handed_out() {
        let mut table = table();
        for expected in 0..5 {
            assert_eq!(table.insert(input()), Ok(expected));
        }
        table.close(3).unwrap();
        table.close(1).unwrap();
        assert_eq!(table.insert(input()), Ok(1));
        assert_eq!(table.insert(input()), Ok(3));
        assert_eq!(table.insert(input()), Ok(5));
    }

    #[test]
    fn a_full_table_says_so_and_recovers() {
        let mut table = table();
        for _ in 0..MAX_DESCRIPTORS {
            table.insert(input()).unwrap();
        }
        assert_eq!(table.insert(input()), Err(Errno::MFile));
        table.close(7).unwrap();
        assert_eq!(table.insert(input()), Ok(7));
        assert!(!table.has_room());
    }

    #[test]
    fn closed_and_unknown_numbers_are_bad_descriptors() {
        let mut table = table();
        table.insert(input()).unwrap();
        assert_eq!(table.close(0), Ok(()));
        assert_eq!(table.close(0), Err(Errno::Badf));
        assert_eq!(table.close(u32::MAX), Err(Errno::Badf));
        assert_eq!(table.get(12).err(), Some(Errno::Badf));
    }

    #[tokio::test]
    async fn renumbering_moves_over_an_open_descriptor_and_frees_the_old_number() {
        let mut table = table();
        table.insert(input()).unwrap();
        table.insert(output()).unwrap();
        table.insert(input()).unwrap();
        assert_eq!(table.renumber(1, 9), Err(Errno::Badf));
        assert_eq!(table.renumber(1, 1), Ok(()));
        assert_eq!(table.renumber(1, 0), Ok(()));
        assert!(matches!(table.get(0), Ok(Descriptor::Output(_))));
        assert_eq!(table.get(1).err(), Some(Errno::Badf));
        assert_eq!(table.insert(input()), Ok(1), "the moved one's number is free again");
    }

    #[tokio::test]
    async fn duplicates_share_what_they_stand_for_and_take_the_number_asked_for() {
        let mut table = table();
        table.insert(input()).unwrap();
        assert_eq!(table.duplicate_to(0, 4), Ok(()));
        assert!(matches!(table.get(4), Ok(Descriptor::Input(_))));
        assert_eq!(table.insert(output()), Ok(1), "the gap below is free");
        assert_eq!(table.duplicate_to(9, 0), Err(Errno::Badf));
        assert_eq!(table.duplicate_to(0, u32::MAX), Err(Errno::Badf));
    }

    #[tokio::test]
    async fn only_a_terminal_looks_like_one_to_isatty() {
        let terminal = output().fdstat().unwrap();
        assert_eq!(terminal.filetype, FileType::CharacterDevice);
        assert_eq!(terminal.rights & (rights::FD_SEEK | rights::FD_TELL), 0);
        assert_eq!(input().fdstat().unwrap().filetype, FileType::Unknown);
    }
}
