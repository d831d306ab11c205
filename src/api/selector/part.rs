//! Part of a JSON text: what is at certain paths. The rest is skipped without being made anything of, which is what makes
//! looking through thousands of objects cheap.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads what is at these paths of keys, such as `spec.nodeName`; everything else is missing from the value.
pub(super) struct Part<'p>(pub(super) &'p [&'p str]);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(key) = fields.next_key::<Cow<'_, str>>()? {
            let below: Vec<&str> = self.0.iter().filter_map(|path| path.strip_prefix(&*key)).collect();
            if below.contains(&"") {
                found.insert(key.into_owned(), fields.next_value()?);
                continue;
            }
            let below: Vec<&str> = below.into_iter().filter_map(|path| path.strip_prefix('.')).collect();
            if below.is_empty() {
                fields.next_value::<IgnoredAny>()?;
            } else {
                let part = fields.next_value_seed(Part(&below))?;
                found.insert(key.into_owned(), part);
            }
        }
        Ok(Value::Object(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}
