//! `wasi:filesystem` 0.2: the translation to and from `descriptor`.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::bindings::p2::wasi::filesystem::preopens;
use super::bindings::p2::wasi::filesystem::types::{
    self, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};
use super::descriptor::{Access, Descriptor, OpenRequest, metadata_hash, time_from, time_parts};
use super::listing::Listing;
use super::open_files::OpenFile;
use super::streams::{CHUNK, FileInput, FileOutput, Location};
use crate::runtime::wasm::state::GuestState;
use crate::vfs::{self, Errno, FileKind, SetTime, Stat};

/// How a call fails.
pub(in super::super) type Failure = super::Failure<ErrorCode>;

type Result<T> = std::result::Result<T, Failure>;

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
            // 0.2 has no code for EMFILE; EDQUOT is the one for a limit that was reached.
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
            FileKind::Other => Self::Unknown,
        }
    }
}

fn descriptor_stat(stat: &Stat) -> DescriptorStat {
    let datetime = |time| {
        let (seconds, nanoseconds) = time_parts(time)?;
        Some(Datetime { seconds: u64::try_from(seconds).ok()?, nanoseconds })
    };
    DescriptorStat {
        type_: stat.kind.into(),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: datetime(stat.accessed),
        data_modification_timestamp: datetime(stat.modified),
        status_change_timestamp: datetime(stat.changed),
    }
}

fn set_time(time: NewTimestamp) -> std::result::Result<SetTime, Errno> {
    Ok(match time {
        NewTimestamp::NoChange => SetTime::Keep,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }) => {
            SetTime::At(time_from(i64::try_from(seconds).map_err(|_| Errno::Invalid)?, nanoseconds)?)
        }
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

/// Forces a file to disk on a thread that may block.
async fn sync(file: OpenFile, metadata: bool) -> Result<()> {
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

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<vfs::Errno>().map(|errno| (*errno).into()))
    }
}

impl types::HostDescriptor for GuestState {
    fn read_via_stream(&mut self, this: Resource<Descriptor>, offset: u64) -> Result<Resource<DynInputStream>> {
        let file = self.table.get(&this)?.readable()?.clone();
        let stream: DynInputStream = Box::new(FileInput::new(file, offset));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(&mut self, this: Resource<Descriptor>, offset: u64) -> Result<Resource<DynOutputStream>> {
        let target = self.table.get(&this)?.writable()?;
        let stream: DynOutputStream = Box::new(FileOutput::new(target, Location::Offset(offset)));
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, this: Resource<Descriptor>) -> Result<Resource<DynOutputStream>> {
        let target = self.table.get(&this)?.writable()?;
        let stream: DynOutputStream = Box::new(FileOutput::new(target, Location::End));
        Ok(self.table.push(stream)?)
    }

    fn advise(&mut self, this: Resource<Descriptor>, _offset: u64, _length: u64, _: types::Advice) -> Result<()> {
        Ok(self.table.get(&this)?.check_file()?)
    }

    async fn sync_data(&mut self, this: Resource<Descriptor>) -> Result<()> {
        match self.table.get(&this)?.sync_target() {
            Some(file) => sync(file, false).await,
            None => Ok(()),
        }
    }

    async fn sync(&mut self, this: Resource<Descriptor>) -> Result<()> {
        match self.table.get(&this)?.sync_target() {
            Some(file) => sync(file, true).await,
            None => Ok(()),
        }
    }

    fn get_flags(&mut self, this: Resource<Descriptor>) -> Result<DescriptorFlags> {
        Ok(descriptor_flags(self.table.get(&this)?))
    }

    fn get_type(&mut self, this: Resource<Descriptor>) -> Result<DescriptorType> {
        Ok(self.table.get(&this)?.kind()?.into())
    }

    fn set_size(&mut self, this: Resource<Descriptor>, size: u64) -> Result<()> {
        Ok(self.table.get(&this)?.set_size(size)?)
    }

    fn set_times(&mut self, this: Resource<Descriptor>, accessed: NewTimestamp, modified: NewTimestamp) -> Result<()> {
        Ok(self.table.get(&this)?.set_times(set_time(accessed)?, set_time(modified)?)?)
    }

    fn read(&mut self, this: Resource<Descriptor>, length: u64, offset: u64) -> Result<(Vec<u8>, bool)> {
        let file = self.table.get(&this)?.readable()?;
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(CHUNK).min(CHUNK)];
        let read = file.read_at(&mut buffer, offset)?;
        let ended = read == 0 && !buffer.is_empty();
        buffer.truncate(read);
        Ok((buffer, ended))
    }

    async fn write(&mut self, this: Resource<Descriptor>, buffer: Vec<u8>, offset: u64) -> Result<u64> {
        let target = self.table.get(&this)?.writable()?;
        let written = target.file.write_at(&buffer, offset)?;
        if let Some(metadata) = target.sync {
            sync(target.file, metadata).await?;
        }
        Ok(written as u64)
    }

    fn read_directory(&mut self, this: Resource<Descriptor>) -> Result<Resource<Listing>> {
        let entries = self.table.get(&this)?.entries()?;
        let listing = self.listings.hold(entries)?;
        Ok(self.table.push(listing)?)
    }

    fn create_directory_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<()> {
        let mode = self.process.process.directory_mode();
        Ok(self.table.get(&this)?.create_directory_at(&path, mode)?)
    }

    fn stat(&mut self, this: Resource<Descriptor>) -> Result<DescriptorStat> {
        Ok(descriptor_stat(&self.table.get(&this)?.stat()?))
    }

    fn stat_at(&mut self, this: Resource<Descriptor>, flags: PathFlags, path: String) -> Result<DescriptorStat> {
        Ok(descriptor_stat(&self.table.get(&this)?.stat_at(&path, follows(flags))?))
    }

    fn set_times_at(
        &mut self,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<()> {
        let (accessed, modified) = (set_time(accessed)?, set_time(modified)?);
        Ok(self.table.get(&this)?.set_times_at(&path, follows(flags), accessed, modified)?)
    }

    fn link_at(
        &mut self,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Result<()> {
        let (from, to) = (self.table.get(&this)?, self.table.get(&new)?);
        Ok(from.link_at(&path, follows(flags), to, &new_path)?)
    }

    fn open_at(
        &mut self,
        this: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Resource<Descriptor>> {
        let place = self.open_files.take()?;
        let request = open_request(path_flags, open_flags, flags, self.process.process.file_mode());
        let opened = self.table.get(&this)?.open_at(&path, request, place)?;
        Ok(self.table.push(opened)?)
    }

    fn readlink_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<String> {
        Ok(self.table.get(&this)?.read_link_at(&path)?)
    }

    fn remove_directory_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<()> {
        Ok(self.table.get(&this)?.remove_directory_at(&path)?)
    }

    fn rename_at(
        &mut self,
        this: Resource<Descriptor>,
        path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Result<()> {
        let (from, to) = (self.table.get(&this)?, self.table.get(&new)?);
        Ok(from.rename_at(&path, to, &new_path)?)
    }

    fn symlink_at(&mut self, this: Resource<Descriptor>, target: String, path: String) -> Result<()> {
        Ok(self.table.get(&this)?.symlink_at(&target, &path)?)
    }

    fn unlink_file_at(&mut self, this: Resource<Descriptor>, path: String) -> Result<()> {
        Ok(self.table.get(&this)?.unlink_file_at(&path)?)
    }

    fn is_same_object(&mut self, this: Resource<Descriptor>, other: Resource<Descriptor>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.is_same_object(self.table.get(&other)?))
    }

    fn metadata_hash(&mut self, this: Resource<Descriptor>) -> Result<MetadataHashValue> {
        Ok(hash_value(&self.table.get(&this)?.stat()?))
    }

    fn metadata_hash_at(
        &mut self,
        this: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue> {
        Ok(hash_value(&self.table.get(&this)?.stat_at(&path, follows(flags))?))
    }

    fn drop(&mut self, this: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for GuestState {
    fn read_directory_entry(&mut self, this: Resource<Listing>) -> Result<Option<DirectoryEntry>> {
        let entry = self.table.get_mut(&this)?.next();
        Ok(entry.map(|entry| DirectoryEntry { type_: entry.kind.into(), name: entry.name }))
    }

    fn drop(&mut self, this: Resource<Listing>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_open_files_is_told_and_a_made_up_handle_traps() {
        let full = Failure::from(wasmtime::component::ResourceTableError::Full);
        assert!(matches!(full.into_code(), Ok(ErrorCode::Quota)));
        assert!(Failure::from(wasmtime::component::ResourceTableError::NotPresent).into_code().is_err());
    }

    #[test]
    fn times_before_1970_are_left_out_as_0_2_cannot_say_them() {
        let before = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1);
        let stat = Stat {
            kind: FileKind::Symlink,
            device: 1,
            inode: 2,
            links: 3,
            size: 4,
            mode: 0,
            accessed: before,
            modified: std::time::SystemTime::UNIX_EPOCH,
            changed: before,
        };
        let stat = descriptor_stat(&stat);
        assert_eq!((stat.type_, stat.link_count, stat.size), (DescriptorType::SymbolicLink, 3, 4));
        assert!(stat.data_access_timestamp.is_none());
        assert!(stat.data_modification_timestamp.is_some_and(|time| time.seconds == 0));
        let beyond = NewTimestamp::Timestamp(Datetime { seconds: u64::MAX, nanoseconds: 0 });
        assert_eq!(set_time(beyond), Err(Errno::Invalid));
    }
}
