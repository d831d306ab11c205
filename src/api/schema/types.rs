//! The types of objects in a form that is quick to walk: which fields each has, and what each field may hold.
//!
//! It is made once, from the JSON schemas that OpenAPI documents show, so that what is accepted and what is documented
//! cannot differ.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// What a value may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Shape {
    /// Any JSON whatever.
    Any,
    /// Any JSON object.
    AnyObject,
    Bool,
    /// A whole number of 32 or 64 bits.
    Integer {
        long: bool,
    },
    Float,
    Text,
    /// Bytes as base64.
    Bytes,
    /// A point in time, to the second or the microsecond.
    Time {
        micro: bool,
    },
    Quantity,
    IntOrString,
    /// An object with the fields of a type.
    Object(TypeId),
    List(Box<Shape>),
    /// An object whose keys are free.
    Map(Box<Shape>),
}

impl Shape {
    /// What nothing means where something must be: Go's zero value.
    pub(in crate::api) fn zero(&self) -> Value {
        match self {
            Self::Any => Value::Null,
            Self::Bool => Value::Bool(false),
            Self::Integer { .. } | Self::Float | Self::IntOrString => Value::Number(0.into()),
            Self::Text | Self::Bytes => Value::String(String::new()),
            Self::Quantity => Value::String("0".to_owned()),
            Self::Time { .. } => Value::String("0001-01-01T00:00:00Z".to_owned()),
            Self::List(_) => Value::Array(Vec::new()),
            Self::AnyObject | Self::Object(_) | Self::Map(_) => Value::Object(Map::new()),
        }
    }
}

/// A type, as its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct TypeId(usize);

/// An object type.
#[derive(Debug)]
pub(in crate::api) struct ObjectType {
    /// Its full name, such as `io.k8s.api.core.v1.PodSpec`.
    pub(in crate::api) name: &'static str,
    pub(in crate::api) fields: HashMap<&'static str, Shape>,
    /// The points in time that Rust's type cannot do without.
    pub(super) required_times: Vec<&'static str>,
}

impl ObjectType {
    /// Its name without the package: `PodSpec`.
    pub(in crate::api) fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Its name as Go writes it: `v1.PodSpec`.
    pub(super) fn go_name(&self) -> &'static str {
        let before_version = self.name.rmatch_indices('.').nth(1).map_or(0, |(index, _)| index + 1);
        &self.name[before_version..]
    }
}

/// All object types.
#[derive(Debug)]
pub(in crate::api) struct Types {
    types: Vec<ObjectType>,
    by_name: HashMap<&'static str, Shape>,
}

/// The types of everything that requests hold.
pub(in crate::api) static TYPES: LazyLock<Types> = LazyLock::new(|| Types::of(super::components()));

impl Types {
    fn of(components: &'static Map<String, Value>) -> Self {
        let mut by_name = HashMap::with_capacity(components.len());
        let mut objects = Vec::new();
        for (name, schema) in components {
            let shape = special(name).unwrap_or_else(|| match schema.get("properties") {
                Some(_) => {
                    objects.push((name.as_str(), schema));
                    Shape::Object(TypeId(objects.len() - 1))
                }
                None => inline(schema, &HashMap::new()),
            });
            by_name.insert(name.as_str(), shape);
        }
        let types = objects.into_iter().map(|(name, schema)| {
            let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            let fields: HashMap<_, _> =
                properties.map(|(field, schema)| (field.as_str(), inline(schema, &by_name))).collect();
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let is_time = |field: &&str| matches!(fields.get(field), Some(Shape::Time { .. }));
            let required_times = required.filter_map(Value::as_str).filter(is_time).collect();
            ObjectType { name, fields, required_times }
        });
        Self { types: types.collect(), by_name }
    }

    /// The type of that full name.
    pub(in crate::api) fn named(&self, name: &str) -> Option<TypeId> {
        match self.by_name.get(name) {
            Some(Shape::Object(id)) => Some(*id),
            _ => None,
        }
    }

    pub(in crate::api) fn get(&self, id: TypeId) -> &ObjectType {
        &self.types[id.0]
    }

    /// All object types.
    pub(in crate::api) fn all(&self) -> impl Iterator<Item = &ObjectType> {
        self.types.iter()
    }
}

/// Types whose JSON form says less than is known of them.
fn special(name: &str) -> Option<Shape> {
    Some(match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Shape::Quantity,
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Shape::IntOrString,
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Shape::Time { micro: false },
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Shape::Time { micro: true },
        _ => return None,
    })
}

/// What a schema that stands where it is used allows.
fn inline(schema: &Value, by_name: &HashMap<&'static str, Shape>) -> Shape {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    if let Some(name) = reference(schema) {
        return by_name.get(name).cloned().unwrap_or(Shape::Any);
    }
    let nested = |key: &str| schema.get(key).map_or(Shape::Any, |schema| inline(schema, by_name));
    match (text("type"), text("format")) {
        ("boolean", _) => Shape::Bool,
        ("integer", format) => Shape::Integer { long: format != "int32" },
        ("number", _) => Shape::Float,
        ("string", "byte") => Shape::Bytes,
        ("string", _) => Shape::Text,
        ("array", _) => Shape::List(Box::new(nested("items"))),
        ("object", _) if schema.get("additionalProperties").is_some() => {
            Shape::Map(Box::new(nested("additionalProperties")))
        }
        ("object", _) => Shape::AnyObject,
        _ => Shape::Any,
    }
}

/// The name of the component that a schema refers to, directly or as the only part of an `allOf`.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref").and_then(Value::as_str);
    let within = || schema.get("allOf")?.get(0)?.get("$ref")?.as_str();
    direct.or_else(within)?.rsplit('/').next()
}
