//! What can still be told of a damaged file: which records in it are not whole.

use std::collections::BTreeMap;

use redb::StorageBackend;

use super::open::{describe, is_key};
use super::record::{MAGIC, Record};

/// Bytes of a file that are looked through.
const MAX_SCANNED_BYTES: u64 = 1 << 30;
/// Objects that are named.
const MAX_NAMED: usize = 10;

/// The objects that look damaged, by name and place, as far as that can be told. The remains of records that were
/// replaced look damaged as well, which is why only what has no whole record that is newer counts; of an object that was
/// deleted there may be such remains.
pub(super) fn damaged_objects(disk: &dyn StorageBackend) -> Vec<String> {
    let Ok(length) = disk.len() else { return Vec::new() };
    let mut bytes = vec![0; length.min(MAX_SCANNED_BYTES) as usize];
    if disk.read(0, &mut bytes).is_err() {
        return Vec::new();
    }
    let mut whole: BTreeMap<&[u8], u64> = BTreeMap::new();
    let mut damaged = Vec::new();
    let starts = bytes.windows(MAGIC.len()).enumerate().filter(|(_, window)| *window == MAGIC);
    for (offset, _) in starts {
        match Record::decode(&bytes[offset..]) {
            Some((record, true)) => {
                let latest = whole.entry(record.key).or_default();
                *latest = record.revision.max(*latest);
            }
            Some((record, false)) if is_key(record.key) => damaged.push((record.key, record.revision, offset)),
            _ => {}
        }
    }
    damaged.retain(|(key, revision, _)| whole.get(key).is_none_or(|latest| latest < revision));
    let left_out = damaged.len().saturating_sub(MAX_NAMED);
    let named = damaged.iter().take(MAX_NAMED);
    let named = named.map(|(key, revision, at)| format!("{} (revision {revision}, at byte {at})", describe(key)));
    named.chain((left_out > 0).then(|| format!("{left_out} more"))).collect()
}
