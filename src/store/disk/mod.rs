//! The store on disk: a file with redb's database in it, which one thread keeps in step with what is in memory.
//!
//! Reading is memory's business. Changes go into a backlog, of which the thread takes all there is at once and commits
//! it, with a summary by which losses are noticed; while it waits for the disk, the next group gathers. Nothing is ever
//! taken back: once a commit failed, none is tried again, for what the disk holds is not known any more.

mod body;
mod header;
mod open;
mod record;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::Database;

use self::header::Header;
pub(super) use self::open::{Opened, open};
use self::record::{META, OBJECTS, SUMMARY, Summary, key};
use super::object::StoredObject;

/// Changes that memory may be ahead of the disk. When a file was not closed, the revision to go on from is that much
/// higher than the one found in it: so none that was ever seen is used again.
pub(super) const MAX_UNWRITTEN: u64 = 100_000;

/// Changes that wait to be written, of each object the last one.
#[derive(Debug, Default)]
pub(super) struct Changes {
    objects: BTreeMap<String, Written>,
}

/// What is to be written of an object.
#[derive(Debug)]
struct Written {
    object: Arc<StoredObject>,
    removed: bool,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(super) fn add(&mut self, object: Arc<StoredObject>, removed: bool) {
        self.objects.insert(key(&object), Written { object, removed });
    }

    /// The objects that changed.
    pub(super) fn objects(&self) -> impl Iterator<Item = &StoredObject> {
        self.objects.values().map(|written| &*written.object)
    }
}

/// An open file, to be written.
#[derive(Debug)]
pub(super) struct Writer {
    database: Database,
    header: Header,
    summary: Summary,
}

impl Writer {
    /// Writes changes, the last of which made `revision`. They are on the disk then, or an error says why not.
    pub(super) fn commit(&mut self, changes: &Changes, revision: u64) -> Result<(), String> {
        // Damage that came after the file was opened can make redb panic.
        match catch_unwind(AssertUnwindSafe(|| self.try_commit(changes, revision))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the database in it is malformed".to_owned()),
        }
    }

    fn try_commit(&mut self, changes: &Changes, revision: u64) -> Result<(), redb::Error> {
        let mut summary = self.summary;
        summary.revision = revision;
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(OBJECTS)?;
            for (key, Written { object, removed }) in &changes.objects {
                if *removed {
                    if let Some(old) = table.remove(key.as_bytes())? {
                        summary.remove(old.value());
                    }
                    continue;
                }
                let record = record::encode(key, object);
                summary.add(&record);
                if let Some(old) = table.insert(key.as_bytes(), record.as_slice())? {
                    summary.remove(old.value());
                }
            }
            transaction.open_table(META)?.insert(SUMMARY, summary.encode().as_slice())?;
        }
        transaction.commit()?;
        self.summary = summary;
        self.header.write(revision, false).map_err(redb::Error::Io)
    }

    /// Closes the file, so that it is known to be whole.
    pub(super) fn close(self) -> Result<(), String> {
        let Self { database, mut header, summary } = self;
        database.close().map_err(|error| error.to_string())?;
        header.write_through(summary.revision, true).map_err(|error| error.to_string())
    }
}
