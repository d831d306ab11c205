//! What applying does to values: a configuration laid over an object, and fields taken out of one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::super::rules::{Key, Rule};
use super::field_set::FieldSet;
use super::path::PathElement;
use super::values::{Parts, element, parts};

/// A value with another laid over it. Nothing goes: what the other does not mention stays.
pub(super) fn merged(old: &Value, new: &Value, rule: Rule) -> Value {
    match (parts(old, rule), parts(new, rule)) {
        (Parts::Members(old), Parts::Members(new)) => {
            let mut members = old.clone();
            for (name, value) in new {
                let value = match members.get(name) {
                    Some(old) => merged(old, value, rule.of.field(name)),
                    None => value.clone(),
                };
                members.insert(name.clone(), value);
            }
            Value::Object(members)
        }
        (Parts::Items(old, keys), Parts::Items(new, _)) => Value::Array(merged_items(old, new, keys, rule)),
        (Parts::Members(_) | Parts::Items(..), Parts::Nothing) => old.clone(),
        _ => new.clone(),
    }
}

/// The items of a list with others laid over them. Items that both have stand in the new order, the others where they
/// stood between them.
fn merged_items(old: &[Value], new: &[Value], keys: &[Key], rule: Rule) -> Vec<Value> {
    let old: Vec<_> = old.iter().map(|item| (element(item, keys).ok(), item)).collect();
    let new: Vec<_> = new.iter().filter_map(|item| Some((element(item, keys).ok()?, item))).collect();
    let mut before: BTreeMap<&PathElement, Option<&Value>> = BTreeMap::new();
    for (element, item) in old.iter().filter_map(|(element, item)| Some((element.as_ref()?, item))) {
        // Items that cannot be told apart are replaced.
        before.entry(element).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let in_new: BTreeSet<&PathElement> = new.iter().map(|(element, _)| element).collect();
    let mut shared = new.iter().map(|(element, _)| element).filter(|element| before.contains_key(element));
    let mut next = shared.next();
    let mut done = BTreeSet::new();
    let mut items = Vec::with_capacity(old.len().max(new.len()));
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    while left.peek().is_some() || right.peek().is_some() {
        if let (Some((Some(one), _)), Some((other, _))) = (left.peek(), right.peek()) {
            // An item of both that another should precede will come with the new ones.
            if one != other && in_new.contains(one) && next.is_some_and(|next| next != one) {
                left.next();
                continue;
            }
        }
        if let Some((element, item)) = left.peek() {
            match element {
                Some(element) if in_new.contains(element) => {
                    if done.contains(element) || right.peek().is_some_and(|(new, _)| new == element) {
                        left.next();
                    }
                }
                _ => {
                    items.push((*item).clone());
                    left.next();
                    continue;
                }
            }
        }
        if let Some((element, item)) = right.next() {
            let old = before.get(element).copied().flatten();
            items.push(old.map_or_else(|| (*item).clone(), |old| merged(old, item, rule.item())));
            done.insert(element);
            if next == Some(element) {
                next = shared.next();
            }
        }
    }
    items
}

/// A value without some of its fields. Objects and lists that nothing is left of are null then.
pub(super) fn without(value: &Value, gone: &FieldSet, rule: Rule) -> Value {
    match parts(value, rule) {
        Parts::Nothing => Value::Null,
        // Nothing below it can go.
        Parts::Leaf => value.clone(),
        Parts::Members(members) => {
            let mut kept = Map::new();
            for (name, member) in members {
                let element = PathElement::Field(name.clone());
                if let Some(member) = kept_part(member, &element, gone, rule.of.field(name)) {
                    kept.insert(name.clone(), member);
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Parts::Items(items, keys) => {
            let kept = items.iter().filter_map(|item| match element(item, keys) {
                Ok(element) => kept_part(item, &element, gone, rule.item()),
                Err(_) => Some(item.clone()),
            });
            let kept: Vec<_> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
    }
}

fn kept_part(part: &Value, element: &PathElement, gone: &FieldSet, rule: Rule) -> Option<Value> {
    if gone.has(element) {
        return None;
    }
    Some(gone.below(element).map_or_else(|| part.clone(), |gone| without(part, gone, rule)))
}

/// Takes all members out that are null.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
