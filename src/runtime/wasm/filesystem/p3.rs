//! `wasi:filesystem` 0.3: the translation to and from `descriptor`, and files as component-model streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access as Store, Accessor, Destination, FutureReader, HasSelf, Linker, Resource, Source, StreamConsumer,
    StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime_wasi::p3::bindings::clocks::system_clock::Instant;

use super::bindings::p3::wasi::filesystem::preopens;
use super::bindings::p3::wasi::filesystem::types::{
    self, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};
use super::descriptor::{Access, Descriptor, OpenRequest, WritableFile, metadata_hash, time_from, time_parts};
use super::listing::Listing;
use super::open_files::OpenFile;
use super::streams::{CHUNK, Location, advance};
use crate::runtime::wasm::state::GuestState;
use crate::vfs::{Errno, FileKind, SetTime, Stat};

/// Directory entries handed over at once.
const ENTRIES_AT_ONCE: usize = 64;

/// How a call fails.
pub(in super::super) type Failure = super::Failure<ErrorCode>;

type Result<T> = std::result::Result<T, Failure>;

/// What `read-via-stream` and its kin say in the end.
type Outcome = std::result::Result<(), ErrorCode>;

/// Adds the interfaces, over wasmtime's own where these are there already and shadowing is allowed.
pub(in super::super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)?;
    preopens::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
}

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Access => Self::Access,
            Errno::Exist => Self::Exist,
            Errno::FileTooLarge => Self::FileTooLarge,
            Errno::Invalid => Self::Invalid,
            Errno::Io => Self::Io,
            Errno::IsDirectory => Self::IsDirectory,
            Errno::Loop => Self::Loop,
            Errno::TooManyLinks => Self::TooManyLinks,
            Errno::NameTooLong => Self::NameTooLong,
            Errno::NotFound => Self::NoEntry,
            Errno::NoSpace => Self::InsufficientSpace,
            Errno::NotDirectory => Self::NotDirectory,
            Errno::NotEmpty => Self::NotEmpty,
            Errno::Unsupported => Self::Unsupported,
            Errno::NotPermitted => Self::NotPermitted,
            Errno::Busy => Self::Busy,
            Errno::ReadOnly => Self::ReadOnly,
            Errno::CrossDevice => Self::CrossDevice,
            Errno::BadDescriptor => Self::BadDescriptor,
            Errno::IllegalSequence => Self::IllegalByteSequence,
            // 0.3 has no code for EMFILE; EDQUOT is the one for a limit that was reached.
            Errno::TooManyOpen => Self::Quota,
        }
    }
}

impl From<FileKind> for DescriptorType {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Regular => Self::RegularFile,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::SymbolicLink,
            FileKind::CharDevice => Self::CharacterDevice,
            FileKind::Other => Self::Other(None),
        }
    }
}

fn descriptor_stat(stat: &Stat) -> DescriptorStat {
    let instant = |time| time_parts(time).map(|(seconds, nanoseconds)| Instant { seconds, nanoseconds });
    DescriptorStat {
        type_: stat.kind.into(),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: instant(stat.accessed),
        data_modification_timestamp: instant(stat.modified),
        status_change_timestamp: instant(stat.changed),
    }
}

fn set_time(time: NewTimestamp) -> std::result::Result<SetTime, Errno> {
    Ok(match time {
        NewTimestamp::NoChange => SetTime::Keep,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(Instant { seconds, nanoseconds }) => SetTime::At(time_from(seconds, nanoseconds)?),
    })
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

fn open_request(path_flags: PathFlags, open_flags: OpenFlags, flags: DescriptorFlags, mode: u32) -> OpenRequest {
    OpenRequest {
        follow: follows(path_flags),
        create: open_flags.contains(OpenFlags::CREATE),
        directory: open_flags.contains(OpenFlags::DIRECTORY),
        exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
        truncate: open_flags.contains(OpenFlags::TRUNCATE),
        access: Access {
            read: flags.contains(DescriptorFlags::READ),
            write: flags.contains(DescriptorFlags::WRITE),
            data_sync: flags.contains(DescriptorFlags::DATA_INTEGRITY_SYNC),
            file_sync: flags.contains(DescriptorFlags::FILE_INTEGRITY_SYNC),
        },
        mode,
    }
}

fn descriptor_flags(descriptor: &Descriptor) -> DescriptorFlags {
    let Some(access) = descriptor.file_access() else {
        return DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    };
    [
        (access.read, DescriptorFlags::READ),
        (access.write, DescriptorFlags::WRITE),
        (access.data_sync, DescriptorFlags::DATA_INTEGRITY_SYNC),
        (access.file_sync, DescriptorFlags::FILE_INTEGRITY_SYNC),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(DescriptorFlags::empty(), |flags, (_, flag)| flags | flag)
}

fn hash_value(stat: &Stat) -> MetadataHashValue {
    let (lower, upper) = metadata_hash(stat);
    MetadataHashValue { lower, upper }
}

/// Tells the guest how a stream ended, once; a stream given up early ended well.
struct Ending(Option<oneshot::Sender<Outcome>>);

impl Ending {
    fn new() -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    fn tell(&mut self, outcome: std::result::Result<(), Errno>) {
        if let Some(sender) = self.0.take() {
            // The guest may have dropped its future: then nobody wants to know.
            let _ = sender.send(outcome.map_err(ErrorCode::from));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tell(Ok(()));
    }
}

/// A file's content as a stream.
struct Reading {
    file: OpenFile,
    position: u64,
    ending: Ending,
}

impl<D: 'static> StreamProducer<D> for Reading {
    type Item = u8;
    type Buffer = bytes::BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, Self::Item, Self::Buffer>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut destination = destination.as_direct(store, CHUNK);
        let buffer = destination.remaining();
        if buffer.is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let limit = buffer.len().min(CHUNK);
        let read = self.file.read_at(&mut buffer[..limit], self.position);
        let read = read.and_then(|read| Ok((read, advance(self.position, read)?)));
        Poll::Ready(Ok(match read {
            Ok((0, _)) => {
                self.ending.tell(Ok(()));
                StreamResult::Dropped
            }
            Ok((read, position)) => {
                destination.mark_written(read);
                self.position = position;
                StreamResult::Completed
            }
            Err(errno) => {
                self.ending.tell(Err(errno));
                StreamResult::Dropped
            }
        }))
    }
}

/// A directory's entries as a stream.
struct Entries {
    listing: Listing,
    ending: Ending,
}

impl<D: 'static> StreamProducer<D> for Entries {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let wanted = destination.remaining(&mut store).unwrap_or(ENTRIES_AT_ONCE).min(ENTRIES_AT_ONCE);
        if wanted == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let entries = self.listing.by_ref().take(wanted);
        let entries: Vec<_> =
            entries.map(|entry| DirectoryEntry { type_: entry.kind.into(), name: entry.name }).collect();
        let ended = entries.len() < wanted;
        destination.set_buffer(entries.into());
        if ended {
            self.ending.tell(Ok(()));
        }
        Poll::Ready(Ok(if ended { StreamResult::Dropped } else { StreamResult::Completed }))
    }
}

/// A stream that is written to a file.
struct Writing {
    target: WritableFile,
    location: Location,
    ending: Ending,
}

impl<D: 'static> StreamConsumer<D> for Writing {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, Self::Item>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let bytes = source.remaining();
        let taken = bytes.len().min(CHUNK);
        let Self { target, location, .. } = &mut *self;
        let written = location.write(&target.file, &bytes[..taken]);
        Poll::Ready(Ok(match written {
            Ok(()) => {
                source.mark_read(taken);
                StreamResult::Completed
            }
            Err(errno) => {
                self.ending.tell(Err(errno));
                StreamResult::Dropped
            }
        }))
    }
}

impl Drop for Writing {
    /// A synchronous file is forced to disk before the guest hears that all was written.
    fn drop(&mut self) {
        let Some(metadata) = self.target.sync else { return };
        let file = self.target.file.clone();
        let mut ending = Ending(self.ending.0.take());
        tokio::task::spawn_blocking(move || ending.tell(file.sync(metadata)));
    }
}

/// Pipes `data` into the file behind `this`, or says why not.
fn write_stream<T: 'static>(
    mut store: Store<'_, T, HasSelf<GuestState>>,
    this: &Resource<Descriptor>,
    mut data: StreamReader<u8>,
    location: Location,
) -> wasmtime::Result<FutureReader<Outcome>> {
    let target = store.get().table.get(this)?.writable();
    let (mut ending, told) = Ending::new();
    match target {
        Ok(target) => data.pipe(&mut store, Writing { target, location, ending })?,
        Err(errno) => {
            ending.tell(Err(errno));
            data.close(&mut store)?;
        }
    }
    FutureReader::new(&mut store, told)
}

/// Runs `call` on a descriptor.
fn with<T, R>(
    store: &Accessor<T, HasSelf<GuestState>>,
    this: &Resource<Descriptor>,
    call: impl FnOnce(&Descriptor) -> std::result::Result<R, Errno>,
) -> Result<R> {
    store.with(|mut store| Ok(call(store.get().table.get(this)?)?))
}

/// Runs `call` on two descriptors.
fn with_both<T, R>(
    store: &Accessor<T, HasSelf<GuestState>>,
    (this, other): (&Resource<Descriptor>, &Resource<Descriptor>),
    call: impl FnOnce(&Descriptor, &Descriptor) -> std::result::Result<R, Errno>,
) -> Result<R> {
    store.with(|mut store| {
        let table = &store.get().table;
        Ok(call(table.get(this)?, table.get(other)?)?)
    })
}

/// Forces what is behind a descriptor to disk, on a thread that may block.
async fn sync<T>(store: &Accessor<T, HasSelf<GuestState>>, this: &Resource<Descriptor>, metadata: bool) -> Result<()> {
    let Some(file) = with(store, this, |this| Ok(this.sync_target()))? else { return Ok(()) };
    let synced = tokio::task::spawn_blocking(move || file.sync(metadata)).await;
    Ok(synced.unwrap_or(Err(Errno::Io))?)
}

impl preopens::Host for GuestState {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let root = self.table.push(Descriptor::root(self.process.root.clone()))?;
        Ok(vec![(root, "/".to_owned())])
    }
}

impl types::Host for GuestState {
    fn convert_error_code(&mut self, failure: Failure) -> wasmtime::Result<ErrorCode> {
        failure.into_code()
    }
}

impl types::HostDescriptor for GuestState {
    fn drop(&mut self, this: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl<T: 'static> types::HostDescriptorWithStore<T> for HasSelf<GuestState> {
    fn read_via_stream(
        mut store: Store<'_, T, Self>,
        this: Resource<Descriptor>,
        offset: u64,
    ) -> wasmtime::Result<(StreamReader<u8>, FutureReader<Outcome>)> {
        let file = store.get().table.get(&this)?.readable().cloned();
        let (mut ending, told) = Ending::new();
        let stream = match file {
            Ok(file) => StreamReader::new(&mut store, Reading { file, position: offset, ending })?,
            Err(errno) => {
                ending.tell(Err(errno));
                StreamReader::new(&mut store, std::iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, told)?))
    }

    fn write_via_stream(
        store: Store<'_, T, Self>,
        this: Resource<Descriptor>,
        data: StreamReader<u8>,
        offset: u64,
    ) -> wasmtime::Result<FutureReader<Outcome>> {
        write_stream(store, &this, data, Location::Offset(offset))
    }

    fn append_via_stream(
        store: Store<'_, T, Self>,
        this: Resource<Descriptor>,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<FutureReader<Outcome>> {
        write_stream(store, &this, data, Location::End)
    }

    async fn advise(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        _offset: u64,
        _length: u64,
        _advice: types::Advice,
    ) -> Result<()> {
        with(store, &this, Descriptor::check_file)
    }

    async fn sync_data(store: &Accessor<T, Self>, this: Resource<Descriptor>) -> Result<()> {
        sync(store, &this, false).await
    }

    async fn sync(store: &Accessor<T, Self>, this: Resource<Descriptor>) -> Result<()> {
        sync(store, &this, true).await
    }

    async fn get_flags(store: &Accessor<T, Self>, this: Resource<Descriptor>) -> Result<DescriptorFlags> {
        with(store, &this, |this| Ok(descriptor_flags(this)))
    }

    async fn get_type(store: &Accessor<T, Self>, this: Resource<Descriptor>) -> Result<DescriptorType> {
        with(store, &this, |this| Ok(this.kind()?.into()))
    }

    async fn set_size(store: &Accessor<T, Self>, this: Resource<Descriptor>, size: u64) -> Result<()> {
        with(store, &this, |this| this.set_size(size))
    }

    async fn set_times(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<()> {
        with(store, &this, |this| this.set_times(set_time(accessed)?, set_time(modified)?))
    }

    fn read_directory(
        mut store: Store<'_, T, Self>,
        this: Resource<Descriptor>,
    ) -> wasmtime::Result<(StreamReader<DirectoryEntry>, FutureReader<Outcome>)> {
        let state = store.get();
        let listing = state.table.get(&this)?.entries().and_then(|entries| state.listings.hold(entries));
        let (mut ending, told) = Ending::new();
        let stream = match listing {
            Ok(listing) => StreamReader::new(&mut store, Entries { listing, ending })?,
            Err(errno) => {
                ending.tell(Err(errno));
                StreamReader::new(&mut store, std::iter::empty())?
            }
        };
        Ok((stream, FutureReader::new(&mut store, told)?))
    }

    async fn create_directory_at(store: &Accessor<T, Self>, this: Resource<Descriptor>, path: String) -> Result<()> {
        let mode = store.with(|mut store| store.get().process.process.directory_mode());
        with(store, &this, |this| this.create_directory_at(&path, mode))
    }

    async fn stat(store: &Accessor<T, Self>, this: Resource<Descriptor>) -> Result<DescriptorStat> {
        with(store, &this, |this| Ok(descriptor_stat(&this.stat()?)))
    }

    async fn stat_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<DescriptorStat> {
        with(store, &this, |this| Ok(descriptor_stat(&this.stat_at(&path, follows(flags))?)))
    }

    async fn set_times_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<()> {
        with(store, &this, |this| this.set_times_at(&path, follows(flags), set_time(accessed)?, set_time(modified)?))
    }

    async fn link_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Result<()> {
        with_both(store, (&this, &new), |this, new| this.link_at(&path, follows(flags), new, &new_path))
    }

    async fn open_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Resource<Descriptor>> {
        let place = store.with(|mut store| store.get().open_files.take())?;
        let mode = store.with(|mut store| store.get().process.process.file_mode());
        let request = open_request(path_flags, open_flags, flags, mode);
        let opened = with(store, &this, |this| this.open_at(&path, request, place))?;
        store.with(|mut store| Ok(store.get().table.push(opened)?))
    }

    async fn readlink_at(store: &Accessor<T, Self>, this: Resource<Descriptor>, path: String) -> Result<String> {
        with(store, &this, |this| this.read_link_at(&path))
    }

    async fn remove_directory_at(store: &Accessor<T, Self>, this: Resource<Descriptor>, path: String) -> Result<()> {
        with(store, &this, |this| this.remove_directory_at(&path))
    }

    async fn rename_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Result<()> {
        with_both(store, (&this, &new), |this, new| this.rename_at(&path, new, &new_path))
    }

    async fn symlink_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> Result<()> {
        with(store, &this, |this| this.symlink_at(&target, &path))
    }

    async fn unlink_file_at(store: &Accessor<T, Self>, this: Resource<Descriptor>, path: String) -> Result<()> {
        with(store, &this, |this| this.unlink_file_at(&path))
    }

    async fn is_same_object(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        store.with(|mut store| {
            let table = &store.get().table;
            Ok(table.get(&this)?.is_same_object(table.get(&other)?))
        })
    }

    async fn metadata_hash(store: &Accessor<T, Self>, this: Resource<Descriptor>) -> Result<MetadataHashValue> {
        with(store, &this, |this| Ok(hash_value(&this.stat()?)))
    }

    async fn metadata_hash_at(
        store: &Accessor<T, Self>,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue> {
        with(store, &this, |this| Ok(hash_value(&this.stat_at(&path, follows(flags))?)))
    }
}
