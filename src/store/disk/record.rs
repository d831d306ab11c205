//! What the tables of the database hold: objects as records that tell on their own whether they are whole, and a
//! summary of them that tells whether one is missing.
//!
//! ```text
//! record:   magic (8)  revision (8)  key length (4)  JSON length (4)  checksum (32)  key  JSON
//! summary:  revision (8)  objects (8)  digest (32)  checksum (32)
//! ```

use redb::TableDefinition;

use crate::store::object::{MAX_OBJECT_BYTES, StoredObject};

/// The objects, by resource, namespace and name.
pub(super) const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// The summary, by [`SUMMARY`].
pub(super) const META: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
/// The key of the summary.
pub(super) const SUMMARY: &[u8] = b"summary";

/// What a record begins with, to find them in a file that is no database any more.
pub(super) const MAGIC: [u8; 8] = *b"\xffobject\x01";
const CHECKSUM: std::ops::Range<usize> = 24..24 + blake3::OUT_LEN;
const HEAD_BYTES: usize = CHECKSUM.end;
/// Bytes a key may have: a resource, a namespace and a name of at most 253 characters each.
const MAX_KEY_BYTES: usize = 1024;

type Checksum = [u8; blake3::OUT_LEN];

/// A record as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'b> {
    pub(super) revision: u64,
    pub(super) key: &'b [u8],
    pub(super) json: &'b [u8],
    checksum: Checksum,
}

/// The key of an object in the table.
pub(super) fn key(object: &StoredObject) -> String {
    format!("{}\0{}\0{}", object.resource().group_resource(), object.namespace(), object.name())
}

/// An object as a record.
pub(super) fn encode(key: &str, object: &StoredObject) -> Vec<u8> {
    let json = object.json();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + key.len() + json.len());
    bytes.extend(MAGIC);
    bytes.extend(object.revision().to_le_bytes());
    bytes.extend((key.len() as u32).to_le_bytes());
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend([0; blake3::OUT_LEN]);
    bytes.extend(key.as_bytes());
    bytes.extend(json);
    let checksum = checksum(&bytes);
    bytes[CHECKSUM].copy_from_slice(&checksum);
    bytes
}

/// The checksum of a record, which covers all of it but itself.
fn checksum(bytes: &[u8]) -> Checksum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..CHECKSUM.start]).update(&bytes[CHECKSUM.end..]);
    *hasher.finalize().as_bytes()
}

impl<'b> Record<'b> {
    /// The record that `bytes` begin with, and whether it is whole. None if not even its length can be told.
    pub(super) fn decode(bytes: &'b [u8]) -> Option<(Self, bool)> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (revision, rest) = rest.split_first_chunk()?;
        let (key_length, rest) = rest.split_first_chunk()?;
        let (json_length, rest) = rest.split_first_chunk()?;
        let (checksum, rest) = rest.split_first_chunk()?;
        let [key_length, json_length] = [key_length, json_length].map(|length| u32::from_le_bytes(*length) as usize);
        // An object is allowed its length without `resourceVersion`.
        if key_length > MAX_KEY_BYTES || json_length > MAX_OBJECT_BYTES + 64 {
            return None;
        }
        let (key, json) = rest.get(..key_length + json_length)?.split_at(key_length);
        let record = Self { revision: u64::from_le_bytes(*revision), key, json, checksum: *checksum };
        let whole = self::checksum(&bytes[..HEAD_BYTES + key_length + json_length]) == record.checksum;
        Some((record, whole))
    }
}

/// What is true of all records together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) revision: u64,
    pub(super) objects: u64,
    /// All checksums combined. Each record comes in as it goes out.
    digest: Checksum,
}

impl Summary {
    /// Counts a record in.
    pub(super) fn add(&mut self, record: &[u8]) {
        self.objects = self.objects.wrapping_add(1);
        self.combine(record);
    }

    /// Counts a record out.
    pub(super) fn remove(&mut self, record: &[u8]) {
        self.objects = self.objects.wrapping_sub(1);
        self.combine(record);
    }

    fn combine(&mut self, record: &[u8]) {
        for (byte, other) in self.digest.iter_mut().zip(record.get(CHECKSUM).unwrap_or_default()) {
            *byte ^= other;
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.revision.to_le_bytes());
        bytes.extend(self.objects.to_le_bytes());
        bytes.extend(self.digest);
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fields, checksum) = bytes.split_last_chunk::<{ blake3::OUT_LEN }>()?;
        if blake3::hash(fields).as_bytes() != checksum {
            return None;
        }
        let (revision, fields) = fields.split_first_chunk()?;
        let (objects, digest) = fields.split_first_chunk()?;
        let [revision, objects] = [revision, objects].map(|number| u64::from_le_bytes(*number));
        Some(Self { revision, objects, digest: digest.try_into().ok()? })
    }
}
