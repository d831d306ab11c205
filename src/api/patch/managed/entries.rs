//! `metadata.managedFields`: who owns which fields, and since when.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::field_set::FieldSet;

/// How many managers an object keeps that updated it (`DefaultMaxUpdateManagers`).
const MAX_UPDATERS: usize = 10;
/// Who owns what managers owned that an object no longer keeps.
const ANCIENT: &str = "ancient-changes";
/// How many managers an object may have in all.
pub(super) const MAX_ENTRIES: usize = 2000;
/// How long the names of managers and subresources may be (`FieldManagerMaxLength`, and what paths allow).
const MAX_NAME: usize = 256;

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// One entry: a manager and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
    pub(super) time: Option<Timestamp>,
    pub(super) fields: FieldSet,
}

impl Entry {
    /// Whether two entries are of the same manager. Whoever applies is the same in all versions
    /// (`BuildManagerIdentifier`).
    pub(super) fn same_manager(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The manager as messages name it.
    pub(super) fn described(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }

    fn seconds(&self) -> i64 {
        self.time.map_or(0, Timestamp::as_second)
    }

    fn encode(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager,
            "operation": self.operation.name(),
            "apiVersion": self.api_version,
        });
        if let Some(time) = self.time.and_then(|time| Timestamp::from_second(time.as_second()).ok()) {
            entry["time"] = json!(time.to_string());
        }
        entry["fieldsType"] = json!("FieldsV1");
        entry["fieldsV1"] = self.fields.encode();
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }
}

/// Whether a client asks to forget all managers: an empty list, or one empty entry (`isResetManagedFields`).
pub(super) fn is_reset(list: Option<&Value>) -> bool {
    match list {
        Some(Value::Array(entries)) => match &entries[..] {
            [] => true,
            [entry] => entry.as_object().is_some_and(Map::is_empty),
            _ => false,
        },
        _ => false,
    }
}

/// Reads `metadata.managedFields`.
pub(super) fn decode(list: Option<&Value>) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let items = match list {
        None | Some(Value::Null) => return Ok(entries),
        Some(Value::Array(items)) => items,
        Some(_) => return Err("managed fields must be a list".to_owned()),
    };
    if items.len() > MAX_ENTRIES {
        return Err(format!("more than {MAX_ENTRIES} managed fields entries"));
    }
    for (index, item) in items.iter().enumerate() {
        let entry = decode_entry(item, index)?;
        // Of two entries of one manager, the last counts.
        entries.retain(|earlier| !earlier.same_manager(&entry));
        entries.push(entry);
    }
    Ok(entries)
}

fn decode_entry(item: &Value, index: usize) -> Result<Entry, String> {
    let text = |name: &str| match item.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) if text.len() <= MAX_NAME => Ok(text.clone()),
        Some(_) => Err(format!("invalid {name} in managed fields entry {index}")),
    };
    let operation = match text("operation")?.as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err("operation must be `Apply` or `Update`".to_owned()),
    };
    let api_version = text("apiVersion")?;
    if api_version.is_empty() {
        return Err("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType")?.as_str() {
        "FieldsV1" => {}
        "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
        other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
    }
    let time = match text("time")? {
        time if time.is_empty() => None,
        time => Some(time.parse().map_err(|_| format!("invalid time in managed fields entry {index}"))?),
    };
    let fields = item.get("fieldsV1").map_or_else(|| Ok(FieldSet::default()), FieldSet::decode)?;
    Ok(Entry { manager: text("manager")?, operation, api_version, subresource: text("subresource")?, time, fields })
}

/// The entries as `metadata.managedFields`: appliers first, the oldest first.
pub(super) fn encode(mut entries: Vec<Entry>) -> Value {
    entries.sort_by(|one, other| {
        let key = |entry: &Entry| (entry.operation, entry.seconds());
        let names = |entry: &Entry| [&entry.manager, &entry.api_version, &entry.subresource].map(String::clone);
        key(one).cmp(&key(other)).then_with(|| names(one).cmp(&names(other)))
    });
    entries.iter().map(Entry::encode).collect()
}

/// Adds to the fields of a manager, or adds the manager.
pub(super) fn extend(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter_mut().find(|known| known.same_manager(&entry)) {
        Some(known) => {
            known.fields.union(entry.fields);
            known.time = entry.time;
        }
        None => entries.push(entry),
    }
}

/// Merges the managers whose updates are the oldest, so that not too many remain (`capUpdateManagers`).
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let (mut updaters, appliers): (Vec<_>, Vec<_>) =
        std::mem::take(entries).into_iter().partition(|entry| entry.operation == Operation::Update);
    *entries = appliers;
    updaters.sort_by(|one, other| (one.seconds(), &one.manager).cmp(&(other.seconds(), &other.manager)));
    let mut left = updaters.len();
    let mut buckets: Vec<Entry> = Vec::new();
    for entry in updaters {
        let bucket = buckets.iter_mut().find(|bucket| bucket.api_version == entry.api_version);
        match bucket.filter(|_| left > MAX_UPDATERS) {
            Some(bucket) => {
                bucket.fields.union(entry.fields);
                bucket.time = entry.time;
                ANCIENT.clone_into(&mut bucket.manager);
                bucket.subresource.clear();
                left -= 1;
            }
            None => buckets.push(entry),
        }
    }
    for entry in buckets {
        extend(entries, entry);
    }
}
