//! How fields merge, as schemas say it (`x-kubernetes-list-type` and its like), from the table that patches go by.

use serde_json::{Map, Value, json};

use super::types::reference;
use super::{GroupVersionKind, kind_of};
use crate::api::patch::rules::{self, Merge, Rule, Type};

/// Adds to schemas how their fields merge.
pub(super) fn annotate(components: &mut Map<String, Value>) {
    let kinds: Vec<(String, &'static Type)> = components
        .iter()
        .filter_map(|(name, schema)| {
            let GroupVersionKind { group, kind, .. } = kind_of(schema)?;
            Some((name.clone(), rules::of_kind(group, kind)))
        })
        .collect();
    for (name, of) in kinds {
        annotate_fields(components, &name, of);
    }
    // Whatever else is a list is one value.
    for property in components.values_mut().flat_map(properties_mut) {
        if property.get("type").is_some_and(|kind| kind == "array") && property.get(LIST_TYPE).is_none() {
            property[LIST_TYPE] = json!("atomic");
        }
    }
}

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";

fn properties_mut(schema: &mut Value) -> impl Iterator<Item = &mut Value> {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Map::values_mut)
}

/// Goes through a component and the components of its fields, as far as they are unusual.
fn annotate_fields(components: &mut Map<String, Value>, name: &str, of: &'static Type) {
    for (field, rule) in of.unusual() {
        let property = components.get_mut(name).and_then(|schema| schema.get_mut("properties")?.get_mut(field));
        let Some(property) = property else { continue };
        annotate_list(property, rule);
        let value = property.get("items").or_else(|| property.get("additionalProperties")).unwrap_or(property);
        match reference(value).map(str::to_owned) {
            Some(inner) => {
                if let Some(schema) = components.get_mut(&inner).filter(|_| rule.of.atomic) {
                    schema[MAP_TYPE] = json!("atomic");
                }
                annotate_fields(components, &inner, rule.of);
            }
            None if rule.of.atomic => property[MAP_TYPE] = json!("atomic"),
            None => {}
        }
    }
}

fn annotate_list(property: &mut Value, rule: Rule) {
    match rule.keys() {
        Some([]) => property[LIST_TYPE] = json!("set"),
        Some(keys) => {
            property[LIST_TYPE] = json!("map");
            property["x-kubernetes-list-map-keys"] = keys.iter().map(|key| key.name).collect();
        }
        None => {}
    }
    if let Some(merge) = rule.merge() {
        property["x-kubernetes-patch-strategy"] = json!("merge");
        if let Merge::ByKey(key) = merge {
            property["x-kubernetes-patch-merge-key"] = json!(key);
        }
    }
}
