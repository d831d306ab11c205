//! Opening a file: nothing is written to it before everything in it was found whole.

use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend};

use super::body::{Body, Rehearsal};
use super::header::{FORMAT, HEADER_BYTES, Header};
use super::record::{META, OBJECTS, Record, SUMMARY, Summary};
use super::scan::damaged_objects;
use super::{MAX_UNWRITTEN, Writer};
use crate::api::resources::{RESOURCES, ResourceType};
use crate::base::files::sync_directory;
use crate::store::error::OpenError;
use crate::store::object::{RecentValues, StoredObject};

/// Bytes of the database that redb keeps in memory. The store reads it once, from start to end.
const CACHE_BYTES: usize = 8 << 20;

/// What is wrong with a file.
#[derive(Debug)]
pub(super) enum Problem {
    /// It cannot be read or written.
    Io(io::Error),
    /// It is not as it was written.
    Damaged(String),
    /// It was never a file of objects.
    Foreign,
    /// It is of another format.
    Format {
        /// Which.
        found: u32,
    },
    /// It holds objects that this version knows nothing of.
    UnknownResource {
        /// Their resource.
        resource: String,
    },
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}

impl From<redb::Error> for Problem {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// What redb says, of whichever of its many error types.
fn checked<T>(result: Result<T, impl Into<redb::Error>>) -> Result<T, Problem> {
    result.map_err(|error| error.into().into())
}

impl Problem {
    fn at(self, path: &Path, disk: &dyn StorageBackend) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => OpenError::Io { path, source },
            Self::Damaged(problem) => OpenError::Damaged { path, problem, objects: damaged_objects(disk) },
            Self::Foreign => OpenError::Foreign { path },
            Self::Format { found } => OpenError::Format { path, found, known: FORMAT },
            Self::UnknownResource { resource } => OpenError::UnknownResource { path, resource },
        }
    }
}

/// A file that is open and whole.
#[derive(Debug)]
pub(in crate::store) struct Opened {
    pub(in crate::store) writer: Writer,
    /// The revision that the file was left at.
    pub(in crate::store) rest: u64,
    /// The revision to go on from. Nobody was told of one between these two who may still ask for it.
    pub(in crate::store) revision: u64,
    /// By resource, namespace and name.
    pub(in crate::store) objects: Vec<StoredObject>,
}

/// Opens the file at `path`, or makes one.
pub(in crate::store) fn open(path: &Path, recent: &Arc<RecentValues>) -> Result<Opened, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    if !path.try_exists().map_err(failed)? {
        create(path).map_err(|problem| problem.at(path, &redb::backends::InMemoryBackend::new()))?;
    }
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let disk = FileBackend::new(file).map_err(|error| failed(io::Error::other(error)))?;
    open_disk(Arc::new(disk), path, recent)
}

/// Makes a file. It gets its name once it is whole, so that one that is not was damaged.
fn create(path: &Path) -> Result<(), Problem> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory)?;
    let disk = FileBackend::new(file.as_file().try_clone()?).map_err(io::Error::other)?;
    create_on(Arc::new(disk))?;
    match file.persist_noclobber(path) {
        // Somebody else has just made it.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error.into()),
        Ok(file) => {
            file.sync_all()?;
            Ok(sync_directory(directory)?)
        }
    }
}

/// Makes an empty database.
pub(super) fn create_on(disk: Arc<dyn StorageBackend>) -> Result<(), Problem> {
    let mut header = Header::create(disk.clone())?;
    let database = checked(builder().create_with_backend(Body(disk)))?;
    write_summary(&database, &Summary::default())?;
    checked(database.close())?;
    Ok(header.write_through(0, true)?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn write_summary(database: &Database, summary: &Summary) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(META)?.insert(SUMMARY, summary.encode().as_slice())?;
    Ok(transaction.commit()?)
}

/// Opens what is on a disk. `path` is what it is called.
pub(super) fn open_disk(
    disk: Arc<dyn StorageBackend>,
    path: &Path,
    recent: &Arc<RecentValues>,
) -> Result<Opened, OpenError> {
    take_up(&disk, recent).map_err(|problem| problem.at(path, &*disk))
}

fn take_up(disk: &Arc<dyn StorageBackend>, recent: &Arc<RecentValues>) -> Result<Opened, Problem> {
    let mut header = Header::read(disk.clone())?;
    let (mut summary, objects) = inspect(disk, recent)?;
    let acknowledged = header.mark.acknowledged;
    if summary.revision < acknowledged || (header.mark.closed && summary.revision != acknowledged) {
        let found = summary.revision;
        return Err(Problem::Damaged(format!(
            "it held everything up to revision {acknowledged}, of which revision {found} is left"
        )));
    }

    let database = checked(builder().create_with_backend(Body(disk.clone())))?;
    let rest = summary.revision;
    if !header.mark.closed {
        // Revisions that did not get here in time may have been seen.
        summary.revision += MAX_UNWRITTEN;
        write_summary(&database, &summary)?;
    }
    header.write_through(summary.revision, false)?;
    let revision = summary.revision;
    Ok(Opened { writer: Writer { database, header, summary }, rest, revision, objects })
}

/// Reads everything without changing anything.
fn inspect(
    disk: &Arc<dyn StorageBackend>,
    recent: &Arc<RecentValues>,
) -> Result<(Summary, Vec<StoredObject>), Problem> {
    let rehearsal = Rehearsal::new(Body(disk.clone()))?;
    let inspect = || {
        let mut builder = builder();
        let database = builder.set_check_integrity_on_open(true).create_with_backend(rehearsal);
        read(&checked(database)?, recent)
    };
    // A file that is damaged in an unlucky way makes redb panic.
    catch_unwind(AssertUnwindSafe(inspect))
        .unwrap_or_else(|_| Err(Problem::Damaged("the database in it is malformed".to_owned())))
}

fn read(database: &Database, recent: &Arc<RecentValues>) -> Result<(Summary, Vec<StoredObject>), Problem> {
    let transaction = checked(database.begin_read())?;
    let meta = checked(transaction.open_table(META))?;
    let summary = checked(meta.get(SUMMARY))?;
    let summary = summary.and_then(|bytes| Summary::decode(bytes.value()));
    let summary = summary.ok_or_else(|| Problem::Damaged("its summary is not readable".to_owned()))?;

    let mut found = Summary::default();
    found.revision = summary.revision;
    let mut objects = Vec::new();
    let table = checked(transaction.open_table(OBJECTS))?;
    for entry in checked(table.iter())? {
        let (key, bytes) = checked(entry)?;
        let object = object(key.value(), bytes.value(), recent)?;
        if object.revision() > summary.revision {
            return Err(Problem::Damaged(format!("{object:?} is newer than the file")));
        }
        found.add(bytes.value());
        objects.push(object);
    }
    if found != summary {
        let (expected, found) = (summary.objects, found.objects);
        return Err(Problem::Damaged(format!("it should hold {expected} objects and holds {found}, or others")));
    }
    Ok((summary, objects))
}

fn object(key: &[u8], bytes: &[u8], recent: &Arc<RecentValues>) -> Result<StoredObject, Problem> {
    let damaged = |what: &str| Problem::Damaged(format!("{} {what}", describe(key)));
    let record = match Record::decode(bytes) {
        Some((record, true)) if record.key == key => record,
        _ => return Err(damaged("is not as it was written")),
    };
    let (resource, namespace, name) = parts(key).ok_or_else(|| damaged("is no key"))?;
    let Some(resource) = resource_of(resource) else {
        return Err(Problem::UnknownResource { resource: resource.to_owned() });
    };
    let json = Bytes::copy_from_slice(record.json);
    let object = StoredObject::restored(resource, record.revision, json, recent);
    let object = object.map_err(|error| damaged(&format!("cannot be read: {error}")))?;
    if (object.namespace(), object.name()) != (namespace, name) {
        return Err(damaged("is another object"));
    }
    Ok(object)
}

fn resource_of(name: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|resource| resource.group_resource() == name)
}

/// Resource, namespace and name.
fn parts(key: &[u8]) -> Option<(&str, &str, &str)> {
    let mut parts = str::from_utf8(key).ok()?.split('\0');
    let parts = (parts.next()?, parts.next()?, parts.next()?);
    Some(parts)
}

/// An object as messages call it.
pub(super) fn describe(key: &[u8]) -> String {
    match parts(key) {
        Some((resource, "", name)) => format!("{resource} {name:?}"),
        Some((resource, namespace, name)) => format!("{resource} \"{namespace}/{name}\""),
        None => String::from_utf8_lossy(key).escape_debug().to_string(),
    }
}

/// Whether a key can be one.
pub(super) fn is_key(key: &[u8]) -> bool {
    parts(key).is_some_and(|(resource, _, _)| resource_of(resource).is_some())
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(4096), "redb's pages are aligned to the file's");
