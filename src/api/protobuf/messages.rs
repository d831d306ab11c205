//! Which field of a type has which number.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::api::schema::types::{ObjectType, Shape, TYPES, TypeId};

/// How a type is written as a message.
#[derive(Debug, Default)]
pub(super) struct Message {
    fields: HashMap<u32, MessageField>,
}

/// A field of a message.
#[derive(Debug)]
pub(super) enum MessageField {
    /// A field of the type.
    Own {
        name: &'static str,
        shape: &'static Shape,
        /// Whether zero, false or empty text is a value, not the lack of one: a pointer in Go.
        pointer: bool,
    },
    /// A message whose fields are the type's own: an embedded struct in Go.
    Embedded(Message),
}

impl Message {
    pub(super) fn field(&self, number: u32) -> Option<&MessageField> {
        self.fields.get(&number)
    }

    /// The names of all fields, also of those that are in embedded messages.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&'static str> {
        let names = self.fields.values().flat_map(|field| match field {
            MessageField::Own { name, .. } => vec![*name],
            MessageField::Embedded(message) => message.names(),
        });
        names.collect()
    }
}

/// How the objects of a type are written, if that is known.
pub(super) fn message_of(id: TypeId) -> Option<&'static Message> {
    MESSAGES.get(TYPES.get(id).name)
}

/// Messages by the full names of their types.
static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let lines = include_str!("fields.txt").lines().filter(|line| !line.starts_with('#'));
    let written: HashMap<_, _> = lines.filter_map(|line| line.split_once(": ")).collect();
    TYPES.all().map(|of| (of.name, message(of.name, of, &written))).collect()
});

/// The message called `name`, which holds fields of the type.
fn message(name: &str, of: &'static ObjectType, written: &HashMap<&'static str, &'static str>) -> Message {
    let entries = written.get(name).into_iter().flat_map(|line| line.split(' '));
    let fields = entries.filter_map(|entry| {
        let (field, number) = entry.split_once('=')?;
        let (number, pointer) = number.strip_suffix('*').map_or((number, false), |number| (number, true));
        let number = number.parse().ok()?;
        if let Some(embedded) = field.strip_prefix('>') {
            let (package, _) = name.rsplit_once('.')?;
            return Some((number, MessageField::Embedded(message(&format!("{package}.{embedded}"), of, written))));
        }
        let (name, shape) = of.fields.get_key_value(field)?;
        Some((number, MessageField::Own { name, shape, pointer }))
    });
    Message { fields: fields.collect() }
}
