//! From messages to JSON objects, by the shapes of their fields.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::ProtobufError;
use super::messages::{Message, MessageField, message_of};
use super::wire::{Field, Reader};
use crate::api::body::{MAX_DEPTH, MAX_VALUES, parse_json};
use crate::api::schema::types::{Shape, TypeId};

/// Decodes an object of a type.
pub(super) fn object(bytes: &[u8], id: TypeId) -> Result<Map<String, Value>, ProtobufError> {
    let mut decoder = Decoder { left: MAX_VALUES };
    let mut fields = Map::new();
    if let Some(message) = message_of(id) {
        decoder.message(bytes, message, &mut fields, 0)?;
    }
    Ok(fields)
}

struct Decoder {
    /// How many more values there may be.
    left: usize,
}

impl Decoder {
    fn count(&mut self) -> Result<(), ProtobufError> {
        self.left = self.left.checked_sub(1).ok_or(ProtobufError::TooLarge)?;
        Ok(())
    }

    /// Adds what a message says to `fields`. As in Go, fields that are not known are passed over, and of a field that is
    /// there twice the last one counts, or both together if it is a message.
    fn message(
        &mut self,
        bytes: &[u8],
        message: &'static Message,
        fields: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        if depth >= MAX_DEPTH {
            return Err(ProtobufError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        while let Some((number, field)) = reader.next()? {
            match message.field(number) {
                None => {}
                Some(MessageField::Embedded(embedded)) => {
                    self.message(field.bytes("an embedded message")?, embedded, fields, depth + 1)?;
                }
                Some(MessageField::Own { name, shape, pointer }) => {
                    self.field(field, name, shape, *pointer, fields, depth)?;
                }
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: Field<'_>,
        name: &'static str,
        shape: &'static Shape,
        pointer: bool,
        fields: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        self.count()?;
        match shape {
            Shape::Object(id) => {
                let Value::Object(inner) = fields.entry(name).or_insert_with(|| Value::Object(Map::new())) else {
                    return Ok(());
                };
                match message_of(*id) {
                    Some(message) => self.message(field.bytes(name)?, message, inner, depth + 1),
                    None => Ok(()),
                }
            }
            Shape::List(items) => {
                let Value::Array(values) = fields.entry(name).or_insert_with(|| Value::Array(Vec::new())) else {
                    return Ok(());
                };
                self.item(field, name, items, values, depth)
            }
            Shape::Map(shape) => {
                let Value::Object(entries) = fields.entry(name).or_insert_with(|| Value::Object(Map::new())) else {
                    return Ok(());
                };
                self.map_entry(field.bytes(name)?, name, shape, entries, depth)
            }
            _ => {
                let value = scalar(field, name, shape)?;
                match (fields.entry(name), value) {
                    (Entry::Occupied(entry), None) => {
                        entry.swap_remove();
                    }
                    (Entry::Vacant(_), None) => {}
                    // Go writes them always; left out is what JSON would have done.
                    (Entry::Occupied(entry), Some(value)) if !pointer && is_zero(&value, shape) => {
                        entry.swap_remove();
                    }
                    (Entry::Vacant(_), Some(value)) if !pointer && is_zero(&value, shape) => {}
                    (Entry::Occupied(mut entry), Some(value)) => {
                        entry.insert(value);
                    }
                    (Entry::Vacant(entry), Some(value)) => {
                        entry.insert(value);
                    }
                }
                Ok(())
            }
        }
    }

    /// One item of a list, or several numbers in one.
    fn item(
        &mut self,
        field: Field<'_>,
        name: &'static str,
        items: &'static Shape,
        values: &mut Vec<Value>,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        if let (Shape::Integer { .. } | Shape::Bool, Field::Bytes(packed)) = (items, field) {
            let mut reader = Reader::new(packed);
            while let Some(number) = reader.packed()? {
                self.count()?;
                values.extend(scalar(Field::Varint(number), name, items)?);
            }
            return Ok(());
        }
        values.push(self.element(field, name, items, depth)?);
        Ok(())
    }

    /// A value that stands by itself: an item of a list or the value of a map's entry.
    fn element(
        &mut self,
        field: Field<'_>,
        name: &'static str,
        shape: &'static Shape,
        depth: usize,
    ) -> Result<Value, ProtobufError> {
        match shape {
            Shape::Object(id) => {
                let mut inner = Map::new();
                if let Some(message) = message_of(*id) {
                    self.message(field.bytes(name)?, message, &mut inner, depth + 1)?;
                }
                Ok(Value::Object(inner))
            }
            // Lists in maps are messages with the one field `items`.
            Shape::List(items) => {
                let mut values = Vec::new();
                let mut reader = Reader::new(field.bytes(name)?);
                while let Some((number, field)) = reader.next()? {
                    if number == 1 {
                        self.count()?;
                        self.item(field, name, items, &mut values, depth + 1)?;
                    }
                }
                Ok(Value::Array(values))
            }
            _ => Ok(scalar(field, name, shape)?.unwrap_or_else(|| shape.zero())),
        }
    }

    fn map_entry(
        &mut self,
        bytes: &[u8],
        name: &'static str,
        shape: &'static Shape,
        entries: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), ProtobufError> {
        let (mut key, mut value) = ("", None);
        let mut reader = Reader::new(bytes);
        while let Some((number, field)) = reader.next()? {
            match number {
                1 => key = field.text(name)?,
                2 => value = Some(self.element(field, name, shape, depth + 1)?),
                _ => {}
            }
        }
        entries.insert(key.to_owned(), value.unwrap_or_else(|| shape.zero()));
        Ok(())
    }
}

fn is_zero(value: &Value, shape: &Shape) -> bool {
    match shape {
        Shape::Bool => value == &Value::Bool(false),
        Shape::Integer { .. } => value.as_i64() == Some(0),
        Shape::Float => value.as_f64() == Some(0.0),
        Shape::Text | Shape::Bytes => value.as_str() == Some(""),
        _ => false,
    }
}

/// A value that is neither object, list nor map; none where the message says that there is none.
fn scalar(field: Field<'_>, name: &'static str, shape: &Shape) -> Result<Option<Value>, ProtobufError> {
    Ok(match shape {
        Shape::Bool => Some(Value::Bool(field.varint(name)? != 0)),
        Shape::Integer { long: true } => Some(Value::from(field.varint(name)?.cast_signed())),
        Shape::Integer { long: false } => Some(Value::from(low_half(field.varint(name)?))),
        Shape::Float => Number::from_f64(field.double(name)?).map(Value::Number),
        Shape::Text => Some(Value::String(field.text(name)?.to_owned())),
        Shape::Bytes => Some(Value::String(BASE64.encode(field.bytes(name)?))),
        Shape::Time { micro } => time(field.bytes(name)?, name, *micro)?,
        Shape::Quantity => quantity(field.bytes(name)?, name)?,
        Shape::IntOrString => Some(int_or_string(field.bytes(name)?, name)?),
        Shape::Any | Shape::AnyObject => embedded_json(field.bytes(name)?, name)?,
        Shape::Object(_) | Shape::List(_) | Shape::Map(_) => None,
    })
}

/// Numbers of 32 bits are written as if they had 64.
fn low_half(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// `Time { seconds = 1, nanos = 2 }`; an empty one is none.
fn time(bytes: &[u8], name: &'static str, micro: bool) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => seconds = field.varint(name)?.cast_signed(),
            2 => nanos = low_half(field.varint(name)?),
            _ => {}
        }
    }
    let time = Timestamp::new(seconds, if micro { nanos } else { 0 }).map_err(|_| ProtobufError::Value(name))?;
    // RFC 3339 has no other years.
    let year = time.to_zoned(jiff::tz::TimeZone::UTC).year();
    if !(0..=9999).contains(&year) {
        return Err(ProtobufError::Value(name));
    }
    Ok(Some(Value::String(time.to_string())))
}

/// `Quantity { string = 1 }`.
fn quantity(bytes: &[u8], name: &'static str) -> Result<Option<Value>, ProtobufError> {
    let mut text = "";
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        if number == 1 {
            text = field.text(name)?;
        }
    }
    Ok((!text.is_empty()).then(|| Value::String(text.to_owned())))
}

/// `IntOrString { type = 1, intVal = 2, strVal = 3 }`.
fn int_or_string(bytes: &[u8], name: &'static str) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number_value, mut text) = (false, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => is_text = field.varint(name)? == 1,
            2 => number_value = low_half(field.varint(name)?),
            3 => text = field.text(name)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(text.to_owned()) } else { Value::from(number_value) })
}

/// `FieldsV1 { Raw = 1 }`, `RawExtension { raw = 1 }`: JSON as bytes.
fn embedded_json(bytes: &[u8], name: &'static str) -> Result<Option<Value>, ProtobufError> {
    let mut json: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        if number == 1 {
            json = field.bytes(name)?;
        }
    }
    if json.is_empty() {
        return Ok(None);
    }
    let (value, _) = parse_json(json).map_err(|_| ProtobufError::Value(name))?;
    Ok(Some(value))
}
