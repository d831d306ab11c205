//! Server-side apply, and who owns which fields of an object.
//!
//! An object's `metadata.managedFields` has one entry for each manager: the fields it set. Whoever applies a
//! configuration owns the fields in it: what it no longer contains goes, unless somebody else owns it too, and what
//! others own cannot be changed unless it is taken over. Whoever updates an object owns the fields that changed, and
//! takes them from everybody else.
//!
//! The rules are those of `k8s.io/apimachinery/pkg/util/managedfields` v1.36.
//!
//! Differs from Kubernetes: entries for another version of the object than the one that changes are kept as they are,
//! since objects have one version here.

mod conflict;
mod entries;
mod field_set;
mod merge;
mod path;
mod values;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::PatchError;
use super::bounds::measure;
use super::rules::{self, Rule};
pub use conflict::{ApplyError, Conflict, Conflicts};
use entries::{Entry, Operation};
use field_set::FieldSet;
use values::Comparison;

/// What kubectl keeps on objects that it applied itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager that kubectl is when it lets the server apply.
const KUBECTL: &str = "kubectl";
/// Who owns what was there before the first configuration was applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The fields that nobody owns (`stripMetaManager`).
const UNOWNED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Fields that others own and that would change.
type Disputed = Vec<(Entry, FieldSet)>;

/// Who changes an object, where, and when.
#[derive(Debug, Clone, Copy)]
pub struct FieldManager<'a> {
    /// The name, as the request gives it: its `fieldManager`, or else its user agent up to the first `/`.
    pub name: &'a str,
    /// The subresource that the request is for.
    pub subresource: Option<&'a str>,
    /// Group and kind of the object.
    pub kind: (&'a str, &'a str),
    /// The time of the request.
    pub time: Timestamp,
}

impl FieldManager<'_> {
    /// The object after a configuration was applied to it, or a new object from the configuration. The result has
    /// neither defaults nor was it validated, and it needs no [`track_update`](Self::track_update).
    ///
    /// Whatever changes nothing leaves the object as it is, its managed fields included.
    pub fn apply(&self, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, ApplyError> {
        self.check(live, applied)?;
        let nothing = Value::Object(Map::new());
        let live = live.unwrap_or(&nothing);
        measure(live)?;
        let listed = live.pointer("/metadata/managedFields");
        let mut managed = entries::decode(listed)
            .map_err(|error| PatchError::Malformed(format!("failed to decode managed fields: {error}")))?;
        let base = without_managed_fields(live);
        if managed.is_empty() {
            let before = FieldManager { name: BEFORE_FIRST_APPLY, ..*self };
            before.update(&nothing, &base, api_version(live), &mut managed);
        }
        let applied = self.without_reset(applied);
        let (mut object, mut managed) = match self.lay_over(&base, &applied, managed.clone(), force) {
            Ok(result) => result,
            // kubectl's first server-side apply takes over what it applied itself (`lastAppliedManager`).
            Err(conflicts) if self.name == KUBECTL => {
                let allowed = self.last_applied(&base).unwrap_or_default();
                let left = conflicts.iter().map(|(entry, fields)| (entry, fields.difference(&allowed)));
                let left: Vec<_> = left.filter(|(_, fields)| !fields.is_empty()).collect();
                match left.is_empty() {
                    true => self.lay_over(&base, &applied, managed, true).map_err(in_conflict)?,
                    false => return Err(ApplyError::Conflicts(Conflicts::new(left))),
                }
            }
            Err(conflicts) => return Err(in_conflict(conflicts)),
        };
        if managed.len() > entries::MAX_ENTRIES {
            return Err(PatchError::TooLarge("the object has too many field managers".to_owned()).into());
        }
        if object != base {
            let author = self.entry(Operation::Apply, api_version(&applied), FieldSet::default());
            let own = managed.iter_mut().filter(|entry| entry.same_manager(&author));
            own.for_each(|entry| entry.time = Some(self.time));
        }
        if self.name == KUBECTL {
            note_last_applied(&mut object, &applied);
        }
        set_managed_fields(&mut object, managed);
        Ok(object)
    }

    /// Puts the managed fields into an object that is to replace another, or to be created: whatever changed is this
    /// manager's now. Managed fields that the client set are honoured, those that it left out are the old ones.
    ///
    /// To be called when nothing changes any more but what the server decides: after defaults and admission, before
    /// `resourceVersion` and the like. An update that changes nothing leaves the managed fields as they were.
    pub fn track_update(&self, old: Option<&Value>, new: &mut Value) {
        let listed = new.pointer("/metadata/managedFields");
        let live = || {
            let listed = old.and_then(|old| old.pointer("/metadata/managedFields"));
            entries::decode(listed).unwrap_or_default()
        };
        // Subresources keep the managers of the object, whatever the client sent.
        let mut managed = match entries::decode(listed) {
            _ if self.subresource.is_some() => live(),
            _ if entries::is_reset(listed) => Vec::new(),
            Ok(entries) if !entries.is_empty() => entries,
            Ok(_) | Err(_) => live(),
        };
        let bounded = old.is_none_or(|old| measure(old).is_ok()) && measure(new).is_ok();
        *new = without_managed_fields(new);
        // Objects without managers get some when somebody applies (`skipNonAppliedManager`).
        if bounded && (old.is_none() || !managed.is_empty()) {
            let nothing = Value::Object(Map::new());
            self.update(old.unwrap_or(&nothing), new, api_version(new), &mut managed);
            entries::cap(&mut managed);
        }
        set_managed_fields(new, managed);
    }

    /// Whether a configuration can be applied to an object at all.
    fn check(&self, live: Option<&Value>, applied: &Value) -> Result<(), PatchError> {
        measure(applied)?;
        let version = api_version(applied);
        let kind = applied.get("kind").and_then(Value::as_str).unwrap_or_default();
        let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
        if !applied.is_object() || (group, kind) != self.kind {
            let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
            return Err(PatchError::Malformed(format!("invalid object type: {version}, Kind={kind}")));
        }
        if let Some(live) = live.map(api_version).filter(|live| *live != version) {
            return Err(PatchError::Malformed(format!(
                "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {live}"
            )));
        }
        if applied.pointer("/metadata/managedFields").is_some_and(|listed| !listed.is_null()) {
            return Err(PatchError::Malformed("metadata.managedFields must be nil".to_owned()));
        }
        values::check(applied, self.rule()).map_err(|problem| {
            let name = |pointer| applied.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (namespace, name) = (name("/metadata/namespace"), name("/metadata/name"));
            let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
            PatchError::Malformed(format!(
                "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {problem}"
            ))
        })
    }

    /// Lays a configuration over an object and takes out what the manager no longer applies (`Updater.Apply`). Fails
    /// with the conflicts: the managers that own fields which would change, and which fields.
    fn lay_over(
        &self,
        base: &Value,
        applied: &Value,
        mut managed: Vec<Entry>,
        force: bool,
    ) -> Result<(Value, Vec<Entry>), Disputed> {
        let rule = self.rule();
        let version = api_version(applied);
        let fields = self.tracked(values::fields(applied, rule));
        let author = self.entry(Operation::Apply, version, fields.clone());
        let last = match managed.iter_mut().find(|entry| entry.same_manager(&author)) {
            Some(own) => std::mem::replace(own, Entry { time: own.time, ..author.clone() }),
            None => {
                managed.push(author.clone());
                self.entry(Operation::Apply, version, FieldSet::default())
            }
        };
        let mut object = merge::merged(base, applied, rule);
        if last.api_version == version {
            object = prune(&object, &last.fields, &managed, version, rule);
        }
        if object.is_null() {
            object = Value::Object(Map::new());
        }
        let comparison = self.compare(base, &object);
        let changed = comparison.changed();
        let others = |entry: &&Entry| entry.api_version == version && !entry.same_manager(&author);
        // What is applied and went was applied as null.
        let mut disputed = comparison.removed.intersection(&fields);
        disputed.union(changed.clone());
        let conflicts = managed.iter().filter(others).map(|entry| (entry, entry.fields.intersection(&disputed)));
        let conflicts: Vec<_> = conflicts.filter(|(_, fields)| !fields.is_empty()).collect();
        if !force && !conflicts.is_empty() {
            return Err(conflicts.into_iter().map(|(entry, fields)| (entry.clone(), fields)).collect());
        }
        take(&mut managed, &comparison, &changed, version, Some(&author));
        if let Some(own) = managed.iter_mut().find(|entry| entry.same_manager(&author)) {
            own.fields = owned(&fields);
        }
        managed.retain(|entry| !entry.fields.is_empty());
        merge::drop_nulls(&mut object);
        Ok((object, managed))
    }

    /// Makes this manager the owner of whatever differs between two objects (`Updater.Update`).
    fn update(&self, old: &Value, new: &Value, version: &str, managed: &mut Vec<Entry>) {
        let comparison = self.compare(old, new);
        let changed = comparison.changed();
        // The manager loses what it removed, too; what it changed comes back to it.
        take(managed, &comparison, &changed, version, None);
        managed.retain(|entry| !entry.fields.is_empty());
        let fields = owned(&changed);
        if !fields.is_empty() {
            entries::extend(managed, self.entry(Operation::Update, version, fields));
        }
    }

    fn compare(&self, old: &Value, new: &Value) -> Comparison {
        values::compare(old, new, self.rule()).map(|fields| self.tracked(fields))
    }

    /// The fields of which the request may change owners: the others are reset before the object is stored
    /// (`GetResetFields`).
    fn tracked(&self, fields: FieldSet) -> FieldSet {
        let is_pod = self.kind == ("", "Pod");
        match self.subresource {
            None => fields.without(&FieldSet::of_path(&["status"])),
            Some("status") if is_pod => fields
                .without(&FieldSet::of_path(&["spec"]))
                .without(&FieldSet::of_path(&["metadata", "deletionTimestamp"]))
                .without(&FieldSet::of_path(&["metadata", "ownerReferences"])),
            Some("status") => fields.without(&FieldSet::of_path(&["spec"])),
            Some("ephemeralcontainers" | "resize") => fields.only("spec"),
            Some(_) => fields,
        }
    }

    /// A configuration without what is reset before the object is stored, and without what manifests have that were
    /// printed by Go programs.
    fn without_reset(&self, applied: &Value) -> Value {
        let mut applied = applied.clone();
        if let (Some(object), None) = (applied.as_object_mut(), self.subresource) {
            object.shift_remove("status");
        }
        if let Some(Value::Object(metadata)) = applied.get_mut("metadata") {
            metadata.retain(|name, value| name != "creationTimestamp" || !value.is_null());
        }
        applied
    }

    fn entry(&self, operation: Operation, api_version: &str, fields: FieldSet) -> Entry {
        Entry {
            manager: if self.name.is_empty() { "unknown" } else { self.name }.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: self.subresource.unwrap_or_default().to_owned(),
            time: (operation == Operation::Update).then_some(self.time),
            fields,
        }
    }

    fn rule(&self) -> Rule {
        Rule::of(rules::of_kind(self.kind.0, self.kind.1))
    }

    /// The fields that kubectl applied itself and nobody changed since, by the annotation that it left.
    fn last_applied(&self, live: &Value) -> Option<FieldSet> {
        let last: Value = serde_json::from_str(annotation(live)?).ok()?;
        if api_version(&last) != api_version(live) || measure(&last).is_err() {
            return None;
        }
        let comparison = values::compare(&last, live, self.rule());
        let fields = values::fields(&last, self.rule());
        Some(fields.difference(&comparison.changed()).difference(&comparison.removed))
    }
}

fn in_conflict(conflicts: Disputed) -> ApplyError {
    ApplyError::Conflicts(Conflicts::new(conflicts.iter().map(|(entry, fields)| (entry, fields.clone())).collect()))
}

/// Takes fields that changed or went from everybody but one manager.
fn take(managed: &mut [Entry], comparison: &Comparison, changed: &FieldSet, version: &str, but: Option<&Entry>) {
    for entry in managed.iter_mut().filter(|entry| entry.api_version == version) {
        if !but.is_some_and(|but| entry.same_manager(but)) {
            // Nothing is left below what went, whatever the entry says.
            entry.fields = entry.fields.difference(changed).without(&comparison.removed);
        }
    }
}

/// Takes out of an object what a manager applied the last time and now no longer does, unless others own it
/// (`Updater.prune`).
fn prune(object: &Value, last: &FieldSet, managed: &[Entry], version: &str, rule: Rule) -> Value {
    if last.is_empty() {
        return object.clone();
    }
    let all_fields = |object: &Value| values::fields(object, rule).with_objects();
    let last = last.clone().with_objects();
    let mut kept = FieldSet::default();
    for entry in managed.iter().filter(|entry| entry.api_version == version) {
        kept.union(entry.fields.clone());
    }
    let mut kept = kept.with_objects();
    let all = all_fields(object);
    kept.union(all_fields(&merge::without(object, &last, rule)));
    // What stays when everything goes that nobody owns; of the rest, only that goes which the manager owned.
    let owned = merge::without(object, &all.difference(&kept), rule);
    let gone = all.difference(&all_fields(&owned)).intersection(&last);
    merge::without(object, &gone, rule)
}

/// The fields of a set that can be owned.
fn owned(fields: &FieldSet) -> FieldSet {
    UNOWNED.iter().fold(fields.clone(), |fields, path| fields.difference(&FieldSet::of_path(path)))
}

fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())
}

/// Keeps kubectl's annotation current, where it is (`lastAppliedUpdater`).
fn note_last_applied(object: &mut Value, applied: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(Value::Object(annotations)) = applied.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    applied.sort_all_objects();
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations.insert(LAST_APPLIED.to_owned(), Value::String(format!("{applied}\n")));
    }
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.shift_remove("managedFields");
    }
    object
}

fn set_managed_fields(object: &mut Value, managed: Vec<Entry>) {
    if let (Some(Value::Object(metadata)), false) = (object.get_mut("metadata"), managed.is_empty()) {
        metadata.insert("managedFields".to_owned(), entries::encode(managed));
    }
}

/// Gives an object the times of the managed fields of another if they differ in nothing but those, so that storing it
/// changes nothing (`IgnoreManagedFieldsTimestampsTransformer`). To be called with the object as it would be stored.
pub fn keep_times_if_unchanged(old: &Value, new: &mut Value) {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(Value::Array(entries)) = object.pointer_mut("/metadata/managedFields") {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.shift_remove("time");
            }
            // Their order depends on the times, too.
            entries.sort_by_cached_key(Value::to_string);
        }
        object
    };
    if timeless(old) == timeless(new) {
        new.clone_from(old);
    }
}

#[cfg(test)]
mod tests;
