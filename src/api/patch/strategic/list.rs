//! Lists in strategic merge patches: their items merge, and then find their order.
//!
//! Items are looked up by the text of their key, so that long lists cost no more than long texts.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::super::PatchError;
use super::super::rules::{Merge, Rule, Type};
use super::{DIRECTIVE, bad_list, clean, go, malformed, merge_object};

/// `mergeSlice`: a list after a patch whose items say what becomes of the items with their keys.
pub(super) fn merge(
    old: Vec<Value>,
    patch: &[Value],
    merge: Merge,
    of: &'static Type,
) -> Result<Vec<Value>, PatchError> {
    items_are_alike(&old, patch)?;
    let before = identities(&old, merge);
    match merge {
        Merge::ByValue => {
            check_scalars(&old, patch)?;
            let mut seen = HashSet::new();
            let mut items = old;
            items.extend_from_slice(patch);
            items.retain(|item| seen.insert(item.to_string()));
            Ok(in_order(items, merge, &identities(patch, merge), &before))
        }
        Merge::ByKey(key) => {
            let (items, patched) = merge_objects(old, patch, key, of)?;
            Ok(in_order(items, merge, &patched, &before))
        }
    }
}

/// `mergePatchIntoOriginal`: a list after a patch that names the order of the items.
pub(super) fn merge_ordered(
    members: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    field: &str,
    order: &[Value],
    rule: Rule,
) -> Result<(), PatchError> {
    let merge_by = rule.merge().ok_or_else(|| bad_list("setElementOrder list"))?;
    let (old, patch) = (items_of(members.get(field))?, items_of(patch.get(field))?);
    check_order(patch.unwrap_or_default(), order, merge_by)?;
    let before = identities(old.unwrap_or_default(), merge_by);
    let items = match (old, patch) {
        (None, None) => return Ok(()),
        (Some(old), None) => old.to_vec(),
        (None, Some(patch)) => patch.iter().filter_map(clean).collect(),
        (Some(old), Some(patch)) => merge(old.to_vec(), patch, merge_by, rule.of)?,
    };
    for item in &items {
        required_identity(item, merge_by)?;
    }
    let order = order.iter().map(|item| required_identity(item, merge_by).map(Some)).collect::<Result<Vec<_>, _>>()?;
    members.insert(field.to_owned(), Value::Array(in_order(items, merge_by, &order, &before)));
    Ok(())
}

fn items_of(list: Option<&Value>) -> Result<Option<&[Value]>, PatchError> {
    match list {
        Some(Value::Array(items)) => Ok(Some(items)),
        None => Ok(None),
        Some(other) => Err(go::bad_type("[]interface {}", other)),
    }
}

/// `deleteFromSlice`.
pub(super) fn delete_scalars(items: &mut Vec<Value>, gone: &[Value]) -> Result<(), PatchError> {
    check_scalars(items, gone)?;
    let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
    items.retain(|item| !gone.contains(&item.to_string()));
    Ok(())
}

/// What the items of a patch say: the items that merge, the keys of those that go, and whether the list is replaced.
struct Items<'a> {
    merged: Vec<&'a Map<String, Value>>,
    gone: HashSet<String>,
    replace: bool,
}

/// `mergeSliceWithSpecialElements`.
fn read_items<'a>(patch: &'a [Value], key: &'static str) -> Result<Items<'a>, PatchError> {
    let mut items = Items { merged: Vec::new(), gone: HashSet::new(), replace: false };
    for item in patch {
        let members = item.as_object().ok_or_else(|| go::bad_type("map[string]interface {}", item))?;
        match members.get(DIRECTIVE) {
            None => items.merged.push(members),
            Some(directive) => match directive.as_str() {
                Some("delete") => drop(items.gone.insert(required_identity(item, Merge::ByKey(key))?)),
                Some("replace") => items.replace = true,
                Some("merge") => {
                    return Err(malformed("merging lists cannot yet be specified in the patch".to_owned()));
                }
                _ => return Err(go::unknown_patch_type(directive, members)),
            },
        }
    }
    Ok(items)
}

/// The items of a list of objects after a patch, in any order, and the keys of the items that were merged.
fn merge_objects(
    mut items: Vec<Value>,
    patch: &[Value],
    key: &'static str,
    of: &'static Type,
) -> Result<(Vec<Value>, Vec<Option<String>>), PatchError> {
    let by_key = Merge::ByKey(key);
    let Items { merged, gone, replace } = read_items(patch, key)?;
    items.retain(|item| !replace && identity(item, by_key).is_none_or(|identity| !gone.contains(&identity)));
    let mut places = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        if let Some(identity) = identity(item, by_key) {
            places.entry(identity).or_insert(place);
        }
    }
    let mut patched = Vec::with_capacity(merged.len());
    for item in merged {
        let value = item.get(key).ok_or_else(|| go::no_merge_key(item, key))?;
        let identity = scalar_text(value).ok_or_else(|| go::bad_type("string", value))?;
        patched.push(Some(identity.clone()));
        match places.get(&identity).and_then(|place| items.get_mut(*place)) {
            Some(Value::Object(old)) => *old = merge_object(std::mem::take(old), item, of)?,
            _ => {
                places.insert(identity, items.len());
                items.extend(clean(&Value::Object(item.clone())));
            }
        }
    }
    Ok((items, patched))
}

/// `normalizeElementOrder`: items that the patch names stand as it names them, other items as they stood before; where
/// the two meet, whichever stood first, and what is new before what is not in the patch.
fn in_order(items: Vec<Value>, merge: Merge, named: &[Option<String>], before: &[Option<String>]) -> Vec<Value> {
    let (named, before) = (places(named), places(before));
    let mut patched = Vec::new();
    let mut others = Vec::new();
    for item in items {
        let identity = identity(&item, merge).unwrap_or_default();
        let stood = before.get(identity.as_str()).copied();
        match named.get(identity.as_str()) {
            Some(place) => patched.push((*place, stood, item)),
            None => others.push((stood.unwrap_or(usize::MAX), stood, item)),
        }
    }
    patched.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(place, ..)| *place);
    let (mut patched, mut others) = (patched.into_iter().peekable(), others.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let other_first = match (others.peek(), patched.peek()) {
            (Some((_, Some(other), _)), Some((_, Some(patched), _))) => other < patched,
            (_, Some(_)) => false,
            (Some(_), None) => true,
            (None, None) => return all,
        };
        all.extend(if other_first { others.next() } else { patched.next() }.map(|(.., item)| item));
    }
}

fn places(identities: &[Option<String>]) -> HashMap<&str, usize> {
    let mut places = HashMap::new();
    for (place, identity) in identities.iter().enumerate() {
        if let Some(identity) = identity {
            places.entry(identity.as_str()).or_insert(place);
        }
    }
    places
}

/// `validatePatchWithSetOrderList`: the items of a patch are all in its list of the order, and stand as it says.
fn check_order(patch: &[Value], order: &[Value], merge: Merge) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut places = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let wanted = required_identity(item, merge)?;
        if !places.any(|place| identity(place, merge).as_ref() == Some(&wanted)) {
            return Err(go::order_differs(patch, order));
        }
    }
    Ok(())
}

/// `sliceElementType`.
fn items_are_alike(old: &[Value], patch: &[Value]) -> Result<(), PatchError> {
    let mut kind = None;
    for item in old.iter().chain(patch) {
        if item.is_array() {
            return Err(PatchError::Inapplicable("lists of lists are not supported".to_owned()));
        }
        if *kind.get_or_insert_with(|| std::mem::discriminant(item)) != std::mem::discriminant(item) {
            return Err(malformed("list element types are not identical".to_owned()));
        }
    }
    Ok(())
}

fn check_scalars(old: &[Value], patch: &[Value]) -> Result<(), PatchError> {
    match old.iter().chain(patch).find(|item| item.is_array() || item.is_object()) {
        Some(_) => Err(bad_list("primitive list")),
        None => Ok(()),
    }
}

fn identities(items: &[Value], merge: Merge) -> Vec<Option<String>> {
    items.iter().map(|item| identity(item, merge)).collect()
}

/// What an item is known by, as text; nothing if it has no key.
fn identity(item: &Value, merge: Merge) -> Option<String> {
    match merge {
        Merge::ByValue => scalar_text(item),
        Merge::ByKey(key) => item.get(key).and_then(scalar_text),
    }
}

fn required_identity(item: &Value, merge: Merge) -> Result<String, PatchError> {
    identity(item, merge).ok_or_else(|| match (item, merge) {
        (Value::Object(members), Merge::ByKey(key)) => go::no_merge_key(members, key),
        (_, Merge::ByKey(_)) => go::bad_type("map[string]interface {}", item),
        (_, Merge::ByValue) => bad_list("primitive list"),
    })
}

fn scalar_text(value: &Value) -> Option<String> {
    (!value.is_array() && !value.is_object()).then(|| value.to_string())
}
