//! Objects as owners of fields see them: which fields they have, what differs, what one applied to another gives.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff`, over the table of [`rules`](super::super::rules).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::super::json_type;
use super::super::rules::{Key, KeyDefault, Rule};
use super::field_set::{FieldSet, Node};
use super::path::{PathElement, Scalar};

/// What a value is made of, for its owners.
pub(super) enum Parts<'a> {
    /// Nothing: null, or an object or list without anything in it.
    Nothing,
    /// One thing.
    Leaf,
    Members(&'a Map<String, Value>),
    Items(&'a [Value], &'static [Key]),
}

pub(super) fn parts(value: &Value, rule: Rule) -> Parts<'_> {
    match (value, rule.keys()) {
        (Value::Null, _) => Parts::Nothing,
        (Value::Object(members), None) if !rule.of.atomic && members.is_empty() => Parts::Nothing,
        (Value::Object(members), None) if !rule.of.atomic => Parts::Members(members),
        (Value::Array(items), Some(_)) if items.is_empty() => Parts::Nothing,
        (Value::Array(items), Some(keys)) => Parts::Items(items, keys),
        _ => Parts::Leaf,
    }
}

/// What identifies an item of a list.
pub(super) fn element(item: &Value, keys: &[Key]) -> Result<PathElement, String> {
    if keys.is_empty() {
        let scalar = Scalar::new(item).filter(|_| !item.is_null());
        return scalar
            .map(PathElement::Value)
            .ok_or_else(|| "associative list without keys has an element that's not a scalar".to_owned());
    }
    let Value::Object(members) = item else {
        return Err("associative list with keys may not have non-map elements".to_owned());
    };
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let default;
        let value = match (members.get(key.name), key.default) {
            (Some(value), _) => value,
            (None, KeyDefault::Absent) => continue,
            (None, KeyDefault::Text(text)) => {
                default = Value::from(text);
                &default
            }
            (None, KeyDefault::Zero) => {
                default = Value::from(0);
                &default
            }
        };
        let scalar = Scalar::new(value).ok_or_else(|| format!("key {:?} is not a scalar", key.name))?;
        found.push((key.name.to_owned(), scalar));
    }
    if found.is_empty() {
        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields {names:?} \
             (and doesn't have default values for any key fields)"
        ));
    }
    Ok(PathElement::key(found))
}

/// Why a configuration cannot be applied, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    path: String,
    message: String,
}

impl Problem {
    fn new(message: String) -> Problem {
        Problem { path: String::new(), message }
    }

    fn below(self, element: &str) -> Problem {
        Problem { path: format!("{element}{}", self.path), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Checks a configuration that is to be applied: its lists must tell their items apart.
pub(super) fn check(value: &Value, rule: Rule) -> Result<(), Problem> {
    match (value, rule.keys()) {
        (Value::Array(items), Some(keys)) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let element = element(item, keys).map_err(|error| Problem::new(format!("element {index}: {error}")))?;
                check(item, rule.item()).map_err(|problem| problem.below(&element.to_string()))?;
                if let Some(twice) = seen.replace(element) {
                    return Err(Problem::new(format!("duplicate entries for key {twice}")));
                }
            }
            Ok(())
        }
        (Value::Null, _) => Ok(()),
        (other, Some(_)) => Err(Problem::new(format!("expected list, got {}", json_type(other)))),
        (Value::Object(members), None) => members.iter().try_for_each(|(name, member)| {
            check(member, rule.of.field(name)).map_err(|problem| problem.below(&format!(".{name}")))
        }),
        _ => Ok(()),
    }
}

/// All fields that a value sets.
pub(super) fn fields(value: &Value, rule: Rule) -> FieldSet {
    node(value, rule).below
}

fn node(value: &Value, rule: Rule) -> Node {
    let mut set = Node::default();
    match parts(value, rule) {
        Parts::Nothing => set.member = !value.is_array(),
        Parts::Leaf => set.member = true,
        Parts::Members(members) => {
            for (name, member) in members {
                set.below.add(PathElement::Field(name.clone()), node(member, rule.of.field(name)));
            }
        }
        Parts::Items(items, keys) => {
            for (element, items) in grouped(items, keys) {
                let mut item = match &items[..] {
                    [item] => node(item, rule.item()),
                    // Items that cannot be told apart have one owner.
                    _ => Node::default(),
                };
                item.member = true;
                set.below.add(element, item);
            }
        }
    }
    set
}

/// The items of a list by what identifies them. Items that nothing identifies are left out.
fn grouped<'a>(items: &'a [Value], keys: &[Key]) -> BTreeMap<PathElement, Vec<&'a Value>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        if let Ok(element) = element(item, keys) {
            groups.entry(element).or_default().push(item);
        }
    }
    groups
}

/// What differs between two values.
#[derive(Debug, Default)]
pub(super) struct Comparison<T = FieldSet> {
    pub(super) removed: T,
    pub(super) modified: T,
    pub(super) added: T,
}

impl<T> Comparison<T> {
    /// The comparison with each of its sets changed.
    pub(super) fn map<U>(self, change: impl Fn(T) -> U) -> Comparison<U> {
        Comparison { removed: change(self.removed), modified: change(self.modified), added: change(self.added) }
    }
}

impl Comparison {
    /// Fields that have another value than before.
    pub(super) fn changed(&self) -> FieldSet {
        let mut changed = self.modified.clone();
        changed.union(self.added.clone());
        changed
    }
}

impl Comparison<Node> {
    fn add(&mut self, element: &PathElement, below: Comparison<Node>) {
        self.removed.below.add(element.clone(), below.removed);
        self.modified.below.add(element.clone(), below.modified);
        self.added.below.add(element.clone(), below.added);
    }
}

/// Compares two objects.
pub(super) fn compare(old: &Value, new: &Value, rule: Rule) -> Comparison {
    difference(Some(old), Some(new), rule).map(|node| node.below)
}

fn difference(old: Option<&Value>, new: Option<&Value>, rule: Rule) -> Comparison<Node> {
    let is_there = (old.is_some(), new.is_some());
    let side = |value| Option::map_or(value, Parts::Nothing, |value| parts(value, rule));
    let mut found = match (side(old), side(new)) {
        (Parts::Nothing, Parts::Nothing) => Comparison::default(),
        (Parts::Nothing | Parts::Leaf, Parts::Nothing | Parts::Leaf) => {
            let mut found = Comparison::<Node>::default();
            found.modified.member = is_there == (true, true) && old != new;
            found
        }
        (Parts::Members(old), Parts::Members(new)) => members(Some(old), Some(new), is_there, rule),
        (Parts::Members(old), Parts::Nothing) => members(Some(old), None, is_there, rule),
        (Parts::Nothing, Parts::Members(new)) => members(None, Some(new), is_there, rule),
        (Parts::Items(old, keys), Parts::Items(new, _)) => items(old, new, keys, rule),
        (Parts::Items(old, keys), Parts::Nothing) => items(old, &[], keys, rule),
        (Parts::Nothing, Parts::Items(new, keys)) => items(&[], new, keys, rule),
        // Another kind of value: whatever was in the old one went.
        (Parts::Leaf | Parts::Members(_) | Parts::Items(..), Parts::Leaf | Parts::Members(_) | Parts::Items(..)) => {
            let mut removed = difference(old, None, rule).removed;
            let mut added = difference(None, new, rule).added;
            (removed.member, added.member) = (false, false);
            Comparison { removed, modified: Node::leaf(), added }
        }
    };
    found.added.member |= is_there == (false, true);
    found.removed.member |= is_there == (true, false);
    found
}

/// What an object has in Kubernetes' eyes where it lacks a field that is always there.
static NOTHING: Value = Value::Null;

fn members(
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    is_there: (bool, bool),
    rule: Rule,
) -> Comparison<Node> {
    let mut found = Comparison::default();
    let names = old.into_iter().flat_map(Map::keys);
    let new_names = new.into_iter().flat_map(Map::keys).filter(|name| !old.is_some_and(|old| old.contains_key(*name)));
    for name in names.chain(new_names) {
        let (old, new) = (member(old, name, is_there.0, rule), member(new, name, is_there.1, rule));
        let change = difference(old, new, rule.of.field(name));
        found.add(&PathElement::Field(name.clone()), change);
    }
    found
}

fn member<'a>(members: Option<&'a Map<String, Value>>, name: &str, is_there: bool, rule: Rule) -> Option<&'a Value> {
    let member = members.and_then(|members| members.get(name)).filter(|member| !member.is_null());
    member.or_else(|| (is_there && rule.of.always(name)).then_some(&NOTHING))
}

fn items(old: &[Value], new: &[Value], keys: &[Key], rule: Rule) -> Comparison<Node> {
    let mut found = Comparison::default();
    let mut pairs: BTreeMap<_, (Vec<_>, Vec<_>)> = BTreeMap::new();
    for (element, items) in grouped(old, keys) {
        pairs.entry(element).or_default().0 = items;
    }
    for (element, items) in grouped(new, keys) {
        pairs.entry(element).or_default().1 = items;
    }
    for (element, (old, new)) in pairs {
        let first = |items: &[_]| items.first().copied();
        let change = match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => difference(first(&old), first(&new), rule.item()),
            // Items that cannot be told apart are compared as one.
            (0 | 1, _) => {
                let mut change =
                    first(&old).map_or_else(Comparison::default, |old| difference(Some(old), None, rule.item()));
                change.added.member = true;
                change
            }
            (_, 0 | 1) => {
                let mut change =
                    first(&new).map_or_else(Comparison::default, |new| difference(None, Some(new), rule.item()));
                change.removed.member = true;
                change
            }
            _ => {
                let mut change = Comparison::<Node>::default();
                change.modified.member = old != new;
                change
            }
        };
        found.add(&element, change);
    }
    found
}
