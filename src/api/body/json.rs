//! JSON to a value in one pass that also notes duplicate fields, with a bound on depth and size.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{MAX_DEPTH, MAX_DUPLICATES, MAX_VALUES};
use crate::api::schema::shortened;

/// Reads one JSON value, and tells the paths of fields that are there twice; the last one counts.
pub(super) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut notes = Notes { duplicates: Vec::new(), left: MAX_VALUES };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { notes: &mut notes, place: &Place::Root, depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, notes.duplicates))
}

struct Notes {
    duplicates: Vec<String>,
    /// How many more values there may be.
    left: usize,
}

enum Place<'p> {
    Root,
    Key(&'p Place<'p>, &'p str),
    Index(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Key(Place::Root, key) => formatter.write_str(key),
            Place::Key(parent, key) => write!(formatter, "{parent}.{key}"),
            Place::Index(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

struct Seed<'s> {
    notes: &'s mut Notes,
    place: &'s Place<'s>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn go_down<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested more than {MAX_DEPTH} levels deep")));
        }
        Ok(self.depth + 1)
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.notes.left = self.notes.left.checked_sub(1).ok_or_else(|| too_many())?;
        Ok(())
    }
}

fn too_many<E: serde::de::Error>() -> E {
    E::custom(format_args!("more than {MAX_VALUES} values"))
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.go_down()?;
        let mut values = Vec::new();
        loop {
            let place = Place::Index(self.place, values.len());
            let seed = Seed { notes: self.notes, place: &place, depth };
            let Some(value) = items.next_element_seed(seed)? else { return Ok(Value::Array(values)) };
            values.push(value);
            self.count()?;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.go_down()?;
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let place = Place::Key(self.place, &key);
            let value = entries.next_value_seed(Seed { notes: self.notes, place: &place, depth })?;
            if fields.contains_key(&key) && self.notes.duplicates.len() < MAX_DUPLICATES {
                self.notes.duplicates.push(shortened(&place.to_string()));
            }
            fields.insert(key, value);
            self.count()?;
        }
        Ok(Value::Object(fields))
    }
}
