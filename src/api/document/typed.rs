//! From nodes to a typed value, in one walk that collects every unknown field and every value of the wrong type
//! instead of stopping at the first. As in Kubernetes, `null` is the same as a field left out.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Visitor};

use super::scalar::float_as_json;
use super::{Entry, Node, Value};
use crate::api::quantity::Quantity;

/// The most values that are reported as wrong in one document; decoding starts over for some of them.
const MAX_FAILURES: usize = 50;

/// What is wrong with a document, apart from its syntax.
#[derive(Debug, Default)]
pub(in crate::api) struct Report {
    /// Fields that the type does not have.
    pub(in crate::api) unknown: Vec<Place>,
    /// Values that do not fit their field, with what is wrong.
    pub(in crate::api) misfits: Vec<(Place, String)>,
}

/// A field and the line it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Place {
    pub(in crate::api) path: String,
    pub(in crate::api) line: usize,
}

/// Decodes `root` as a `T`. There is a value unless something made it impossible; it is good only if the report is
/// empty.
pub(in crate::api) fn decode<T: DeserializeOwned>(root: &Node) -> (Option<T>, Report) {
    let mut broken = HashSet::new();
    let mut failures = Vec::new();
    loop {
        let session = Session { report: RefCell::default(), broken: &broken };
        let deserializer = NodeDeserializer { node: root, path: &Path::Root, session: &session };
        let result = T::deserialize(deserializer);
        let mut report = session.report.into_inner();
        let failure = match result {
            Ok(value) => {
                report.misfits.extend(failures);
                return (Some(value), report);
            }
            Err(failure) => failure,
        };
        let Some(at) = failure.at else {
            failures.push((Place { path: String::new(), line: root.line }, failure.message));
            report.misfits.extend(failures);
            return (None, report);
        };
        failures.push((at.place, failure.message));
        if failures.len() >= MAX_FAILURES || !broken.insert(at.node) {
            report.misfits.extend(failures);
            return (None, report);
        }
    }
}

/// What one walk shares.
struct Session<'s> {
    report: RefCell<Report>,
    /// Nodes that failed in an earlier walk (by address); they count as null in this one.
    broken: &'s HashSet<usize>,
}

/// A failure that a type itself reported.
#[derive(Debug)]
struct Failure {
    message: String,
    at: Option<At>,
}

#[derive(Debug)]
struct At {
    place: Place,
    node: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self { message: message.to_string(), at: None }
    }
}

enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => formatter.write_str(key),
            Path::Key(parent, key) => write!(formatter, "{parent}.{key}"),
            Path::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

struct NodeDeserializer<'p> {
    node: &'p Node,
    path: &'p Path<'p>,
    session: &'p Session<'p>,
}

impl NodeDeserializer<'_> {
    fn identity(&self) -> usize {
        std::ptr::from_ref(self.node).addr()
    }

    fn place(&self) -> Place {
        Place { path: self.path.to_string(), line: self.node.line }
    }

    /// The node's value, or `None` where it counts as null.
    fn value(&self) -> Option<&Value> {
        match &self.node.value {
            Value::Null => None,
            _ if self.session.broken.contains(&self.identity()) => None,
            value => Some(value),
        }
    }

    /// Notes that the value does not fit. The caller goes on with the type's zero value.
    fn misfit(&self, expected: &str) {
        let detail = match &self.node.value {
            Value::Bool { written, .. } if expected == "string" => {
                format!("cannot unmarshal bool {written} into a field of type string; put it in quotes: \"{written}\"")
            }
            Value::Integer { written, .. } | Value::Float { written, .. } if expected == "string" => {
                format!(
                    "cannot unmarshal number {written} into a field of type string; put it in quotes: \"{written}\""
                )
            }
            found => format!("cannot unmarshal {} into a field of type {expected}", Found(found)),
        };
        self.session.report.borrow_mut().misfits.push((self.place(), detail));
    }

    /// Passes a scalar on, noting the place where the type itself refuses it.
    fn give<'de, V: Visitor<'de>>(
        &self,
        visitor: V,
        give: impl FnOnce(V) -> Result<V::Value, Failure>,
    ) -> Result<V::Value, Failure> {
        let expected = (&visitor as &dyn Expected).to_string();
        give(visitor).map_err(|failure| match failure.at {
            Some(_) => failure,
            None => {
                let says_expected = failure.message.contains("expected ");
                let message =
                    if says_expected { failure.message } else { format!("expected {expected}: {}", failure.message) };
                Failure { message, at: Some(At { place: self.place(), node: self.identity() }) }
            }
        })
    }

    /// The value as a whole number between the bounds; notes a misfit and gives 0 otherwise.
    fn integer(&self, expected: &str, lowest: i128, highest: i128) -> i128 {
        let value = match self.value() {
            None => return 0,
            Some(Value::Integer { value, .. }) => Some(*value),
            #[expect(clippy::cast_possible_truncation, reason = "the value has no fraction and is within 64 bits")]
            Some(Value::Float { value, .. }) if value.fract() == 0.0 && value.abs() < 9.0e18 => Some(*value as i128),
            Some(_) => None,
        };
        match value {
            Some(value) if (lowest..=highest).contains(&value) => value,
            _ => {
                self.misfit(expected);
                0
            }
        }
    }
}

/// What a value is, in JSON's words.
struct Found<'v>(&'v Value);

impl fmt::Display for Found<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => formatter.write_str("null"),
            Value::Bool { written, .. } => write!(formatter, "bool {written}"),
            Value::Integer { written, .. } | Value::Float { written, .. } => write!(formatter, "number {written}"),
            Value::String(_) => formatter.write_str("string"),
            Value::Sequence(_) => formatter.write_str("array"),
            Value::Mapping(_) => formatter.write_str("object"),
        }
    }
}

macro_rules! integers {
    ($($method:ident, $visit:ident, $type:ty);* $(;)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let value = self.integer(stringify!($type), <$type>::MIN.into(), <$type>::MAX.into());
            let value = <$type>::try_from(value).unwrap_or_default();
            self.give(visitor, |visitor| visitor.$visit(value))
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Failure;

    integers! {
        deserialize_i8, visit_i8, i8;
        deserialize_i16, visit_i16, i16;
        deserialize_i32, visit_i32, i32;
        deserialize_i64, visit_i64, i64;
        deserialize_u8, visit_u8, u8;
        deserialize_u16, visit_u16, u16;
        deserialize_u32, visit_u32, u32;
        deserialize_u64, visit_u64, u64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value() {
            None => self.give(visitor, |visitor| visitor.visit_unit()),
            Some(Value::Bool { value, .. }) => self.give(visitor, |visitor| visitor.visit_bool(*value)),
            Some(Value::Integer { value, .. }) => self.give(visitor, |visitor| match i64::try_from(*value) {
                Ok(value) => visitor.visit_i64(value),
                Err(_) => visitor.visit_u64(u64::try_from(*value).unwrap_or_default()),
            }),
            Some(Value::Float { value, .. }) => self.give(visitor, |visitor| visitor.visit_f64(*value)),
            Some(Value::String(text)) => self.give(visitor, |visitor| visitor.visit_str(text)),
            Some(Value::Sequence(_)) => self.give(visitor, |visitor| self.items(visitor)),
            Some(Value::Mapping(_) | Value::Null) => self.give(visitor, |visitor| self.map(visitor, None)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let value = match self.value() {
            None => false,
            Some(Value::Bool { value, .. }) => *value,
            Some(_) => {
                self.misfit("bool");
                false
            }
        };
        self.give(visitor, |visitor| visitor.visit_bool(value))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value() {
            Some(Value::Float { value, .. }) => self.give(visitor, |visitor| visitor.visit_f64(*value)),
            _ => self.deserialize_i64(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let text = match self.value() {
            None => "",
            Some(Value::String(text)) => text,
            Some(_) => {
                self.misfit("string");
                ""
            }
        };
        self.give(visitor, |visitor| visitor.visit_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.value() {
            None => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Failure> {
        if name != "Quantity" {
            return visitor.visit_newtype_struct(self);
        }
        let written = match self.value() {
            None => Some("0".to_owned()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Integer { value, .. }) => Some(value.to_string()),
            Some(Value::Float { value, .. }) => float_as_json(*value),
            Some(_) => None,
        };
        let canonical = match written.map(|written| written.parse::<Quantity>()) {
            Some(Ok(quantity)) => quantity.to_string(),
            Some(Err(error)) => {
                self.session.report.borrow_mut().misfits.push((self.place(), error.to_string()));
                "0".to_owned()
            }
            None => {
                self.misfit("quantity");
                "0".to_owned()
            }
        };
        self.give(visitor, |visitor| visitor.visit_string(canonical))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.items(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.map(visitor, None)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.map(visitor, Some(fields))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum ignored_any
    }
}

impl NodeDeserializer<'_> {
    fn items<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Failure> {
        let items = match self.value() {
            None => [].iter(),
            Some(Value::Sequence(items)) => items.iter(),
            Some(_) => {
                self.misfit("list");
                [].iter()
            }
        };
        visitor.visit_seq(Items { items: items.enumerate(), path: self.path, session: self.session })
    }

    /// Gives the entries to a visitor, without those that are not among `fields`.
    fn map<'de, V: Visitor<'de>>(
        &self,
        visitor: V,
        fields: Option<&'static [&'static str]>,
    ) -> Result<V::Value, Failure> {
        let entries: &[Entry] = match self.value() {
            None => &[],
            Some(Value::Mapping(entries)) => entries,
            Some(_) => {
                self.misfit("object");
                &[]
            }
        };
        let entries = entries.iter();
        visitor.visit_map(Entries { entries, fields, current: None, path: self.path, session: self.session })
    }
}

struct Items<'p, I> {
    items: I,
    path: &'p Path<'p>,
    session: &'p Session<'p>,
}

impl<'de, 'p, I: Iterator<Item = (usize, &'p std::sync::Arc<Node>)>> de::SeqAccess<'de> for Items<'p, I> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = Path::Index(self.path, index);
        seed.deserialize(NodeDeserializer { node, path: &path, session: self.session }).map(Some)
    }
}

struct Entries<'p> {
    entries: std::slice::Iter<'p, Entry>,
    /// The fields of the type, when it is a struct: others are noted and passed over.
    fields: Option<&'static [&'static str]>,
    current: Option<&'p Entry>,
    path: &'p Path<'p>,
    session: &'p Session<'p>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        for entry in self.entries.by_ref() {
            if self.fields.is_none_or(|fields| fields.contains(&entry.key.as_str())) {
                self.current = Some(entry);
                return seed.deserialize(entry.key.as_str().into_deserializer()).map(Some);
            }
            let path = Path::Key(self.path, &entry.key).to_string();
            self.session.report.borrow_mut().unknown.push(Place { path, line: entry.line });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let Some(entry) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let path = Path::Key(self.path, &entry.key);
        seed.deserialize(NodeDeserializer { node: &entry.value, path: &path, session: self.session })
    }
}
