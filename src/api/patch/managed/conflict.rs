//! What stands against applying a configuration.

use std::fmt;

use super::super::PatchError;
use super::entries::Entry;
use super::field_set::FieldSet;

/// How many conflicts an error lists, how long all of it may get, and one field of it.
const MAX_LISTED: usize = 1000;
const MAX_TEXT: usize = 64 * 1024;
const MAX_FIELD: usize = 1024;

/// Why a configuration was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that it would change (`Conflict`, 409).
    #[error("{0}")]
    Conflicts(Conflicts),
    /// It is no configuration for this object.
    #[error(transparent)]
    Patch(#[from] PatchError),
}

/// All fields that a configuration would change although others own them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts {
    /// How many there are.
    count: usize,
    /// The conflicts, by manager; not all of them if there are very many.
    listed: Vec<Conflict>,
}

/// One field that somebody else owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its path: `.spec.containers[name="web"].image`.
    pub field: String,
    /// Who owns it: `"kubectl" using v1`.
    owner: String,
}

impl Conflict {
    /// What a Status says about it, as the message of a cause with the reason `FieldManagerConflict`.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.owner)
    }
}

impl Conflicts {
    /// The conflicts that a set of fields has for each owner.
    pub(super) fn new(mut sets: Vec<(&Entry, FieldSet)>) -> Conflicts {
        sets.sort_by_key(|(entry, _)| entry.described());
        let mut conflicts = Conflicts { count: sets.iter().map(|(_, fields)| fields.len()).sum(), listed: Vec::new() };
        let mut left = MAX_TEXT;
        for (entry, fields) in sets {
            let owner = entry.described();
            fields.visit("", &mut |mut field| {
                field.truncate(field.floor_char_boundary(MAX_FIELD));
                left = left.saturating_sub(field.len() + owner.len());
                conflicts.listed.push(Conflict { field, owner: owner.clone() });
                left > 0 && conflicts.listed.len() < MAX_LISTED
            });
        }
        conflicts
    }

    /// The conflicts, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.listed.iter()
    }
}

/// The message of the Status: `Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.a`.
impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (1, [conflict]) = (self.count, &self.listed[..]) {
            return write!(f, "Apply failed with 1 conflict: {}: {}", conflict.message(), conflict.field);
        }
        write!(f, "Apply failed with {} conflicts: ", self.count)?;
        let mut owner = None;
        for (index, conflict) in self.listed.iter().enumerate() {
            let newline = if index > 0 { "\n" } else { "" };
            if owner.replace(&conflict.owner) != Some(&conflict.owner) {
                write!(f, "{newline}conflicts with {}:", conflict.owner)?;
            }
            write!(f, "\n- {}", conflict.field)?;
        }
        if self.listed.len() < self.count { f.write_str("\n- …") } else { Ok(()) }
    }
}
