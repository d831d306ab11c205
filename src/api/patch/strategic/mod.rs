//! Strategic merge patches: JSON merge patches that know which lists merge item by item.
//!
//! What a patch may contain besides fields, with the names of `k8s.io/apimachinery/pkg/util/strategicpatch`:
//!
//! | member | meaning |
//! |---|---|
//! | `$patch: replace` | the object becomes what else the patch has; in an item of a list, the list becomes the other items |
//! | `$patch: delete` | the object becomes empty; in an item of a list, the item with that key goes |
//! | `$retainKeys: [a, b]` | members not named go |
//! | `$setElementOrder/f: [..]` | the order of the items of list `f`, by their keys |
//! | `$deleteFromPrimitiveList/f: [..]` | scalars that go from list `f` |
//! | `null` | the member goes |

mod go;
mod list;

use serde_json::{Map, Value};

use super::bounds::measure;
use super::rules::{self, Rule, Type};
use super::{PatchError, json_type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList";

/// The document after a strategic merge patch; `kind` is its group and kind.
pub fn strategic_merge_patch(document: &Value, patch: &Value, kind: (&str, &str)) -> Result<Value, PatchError> {
    let Value::Object(patch_members) = patch else {
        return Err(malformed(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(patch)
        )));
    };
    measure(document)?;
    measure(patch)?;
    let members = document.as_object().cloned().unwrap_or_default();
    merge_object(members, patch_members, rules::of_kind(kind.0, kind.1)).map(Value::Object)
}

fn malformed(message: String) -> PatchError {
    PatchError::Malformed(message)
}

fn bad_list(name: &str) -> PatchError {
    malformed(format!("invalid patch format of {name}"))
}

/// `mergeMap`: an object of a type after a patch.
fn merge_object(
    mut members: Map<String, Value>,
    patch: &Map<String, Value>,
    kind: &Type,
) -> Result<Map<String, Value>, PatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return directed(directive, patch);
    }
    retain_keys(&mut members, patch)?;
    members.retain(|name, _| patch.get(name) != Some(&Value::Null));
    for (name, order) in patch.iter().filter(|(name, _)| name.starts_with(SET_ELEMENT_ORDER)) {
        let field = parallel(name, SET_ELEMENT_ORDER).ok_or_else(|| bad_list("setElementOrder list"))?;
        let order = order.as_array().ok_or_else(|| go::bad_type("[]interface {}", order))?;
        list::merge_ordered(&mut members, patch, field, order, kind.field(field))?;
    }
    for (name, value) in patch {
        if name.starts_with(DELETE_FROM_PRIMITIVE_LIST) {
            let field = parallel(name, DELETE_FROM_PRIMITIVE_LIST).ok_or_else(|| bad_list("primitive list"))?;
            if let (Some(Value::Array(items)), Value::Array(gone)) = (members.get_mut(field), value) {
                list::delete_scalars(items, gone)?;
            }
            continue;
        }
        // What has a list of the order was merged with it.
        if name.starts_with('$') || value.is_null() || patch.contains_key(&format!("{SET_ELEMENT_ORDER}/{name}")) {
            continue;
        }
        merge_member(&mut members, name, value, kind.field(name))?;
    }
    Ok(members)
}

/// The field of a list that stands beside it, such as `$setElementOrder/containers`.
fn parallel<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.strip_prefix('/')
}

/// `handleDirectiveInMergeMap`.
fn directed(directive: &Value, patch: &Map<String, Value>) -> Result<Map<String, Value>, PatchError> {
    match directive.as_str() {
        Some("replace") => {
            let members = patch.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null());
            Ok(members.filter_map(|(name, value)| Some((name.clone(), clean(value)?))).collect())
        }
        Some("delete") => Ok(Map::new()),
        _ => Err(go::unknown_patch_type(directive, patch)),
    }
}

/// `applyRetainKeysDirective`: what is not named goes, and whatever is patched must be named.
fn retain_keys(members: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(names) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let names = names.as_array().ok_or_else(|| bad_list("retainKeys"))?;
    let names: std::collections::HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
    let is_list = |name: &str| name.starts_with(DELETE_FROM_PRIMITIVE_LIST) || name.starts_with(SET_ELEMENT_ORDER);
    let mut patched =
        patch.iter().filter(|(name, value)| name.as_str() != RETAIN_KEYS && !value.is_null() && !is_list(name));
    if patched.any(|(name, _)| !names.contains(name.as_str())) {
        return Err(bad_list("retainKeys"));
    }
    members.retain(|name, _| names.contains(name.as_str()));
    Ok(())
}

fn merge_member(members: &mut Map<String, Value>, name: &str, value: &Value, rule: Rule) -> Result<(), PatchError> {
    let merged = match (members.get_mut(name), value) {
        (Some(Value::Object(old)), Value::Object(patch)) => {
            Some(Value::Object(merge_object(std::mem::take(old), patch, rule.of)?))
        }
        (Some(Value::Array(old)), Value::Array(patch)) => match rule.merge() {
            Some(merge) => Some(Value::Array(list::merge(std::mem::take(old), patch, merge, rule.of)?)),
            None => clean(value),
        },
        _ => clean(value),
    };
    match merged {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
    Ok(())
}

/// What a value of a patch is where there was none before: without nulls, and without whatever has directives
/// (`removeDirectives`, `discardNullValuesFromPatch`).
fn clean(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Object(members) if members.contains_key(DIRECTIVE) => return None,
        Value::Object(members) => {
            let members = members.iter().filter(|(name, value)| !is_directive(name) && !value.is_null());
            Value::Object(members.filter_map(|(name, value)| Some((name.clone(), clean(value)?))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().filter_map(clean).collect()),
        scalar => scalar.clone(),
    })
}

fn is_directive(name: &str) -> bool {
    name == RETAIN_KEYS || name.starts_with(SET_ELEMENT_ORDER) || name.starts_with(DELETE_FROM_PRIMITIVE_LIST)
}

#[cfg(test)]
mod tests;
