//! Documents as written: YAML or JSON text becomes a tree of nodes that know their line, and a tree becomes a typed
//! value with every problem collected. What the values mean is not known here; `decode` picks the type.
//!
//! ```text
//!   text ─▶ yaml::parse ─▶ Document { root: Node, duplicates } ─▶ typed::decode::<Pod> ─▶ Pod + violations
//! ```

mod json;
mod scalar;
pub(super) mod typed;
pub(super) mod yaml;

use std::sync::Arc;

/// One value of a document, and where it was written.
#[derive(Debug)]
pub(super) struct Node {
    /// The line its content starts on, counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
    /// How many nodes the value has once every alias is written out, itself included.
    size: usize,
    /// How many bytes of text the value has once every alias is written out.
    bytes: usize,
    /// How many levels of nesting the value has, itself included.
    depth: usize,
}

/// What a node holds. Plain scalars are resolved as YAML 1.1 readers resolve them, because Kubernetes' reader is one.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool { value: bool, written: String },
    Integer { value: i128, written: String },
    Float { value: f64, written: String },
    String(String),
    Sequence(Vec<Arc<Node>>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// The line the key is on.
    pub(super) line: usize,
    pub(super) value: Arc<Node>,
}

impl Node {
    fn new(line: usize, value: Value) -> Self {
        let mut node = Self { line, value: Value::Null, size: 1, bytes: 0, depth: 1 };
        match &value {
            Value::Sequence(items) => items.iter().for_each(|item| node.grow_by(item)),
            Value::Mapping(entries) => {
                for entry in entries {
                    node.grow_by(&entry.value);
                    node.bytes = node.bytes.saturating_add(entry.key.len());
                }
            }
            Value::String(text) => node.bytes = text.len(),
            _ => {}
        }
        Self { value, ..node }
    }

    /// Counts a child into the measures of its parent.
    fn grow_by(&mut self, child: &Self) {
        self.size = self.size.saturating_add(child.size);
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.depth = self.depth.max(child.depth.saturating_add(1));
    }

    /// How many values it has and how many bytes of text, once every alias is written out.
    pub(super) fn written_out(&self) -> (usize, usize) {
        (self.size, self.bytes)
    }

    /// The value under `key`, when this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Arc<Node>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text under `key`, when there is text.
    pub(super) fn get_str(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The line on which the field at `path` (`spec.containers[0].name`, `data[key]`) is written; where it isn't
    /// written, the line of the nearest enclosing thing that is.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let mut node = self;
        let mut line = self.line;
        for segment in segments(path) {
            let next = match segment {
                Segment::Index(index) => match &node.value {
                    Value::Sequence(items) => items.get(index).map(|item| (item, item.line)),
                    _ => None,
                },
                Segment::Key(key) => node.entry(key).map(|entry| (&entry.value, entry.line)),
            };
            let Some((inner, inner_line)) = next else { break };
            node = inner;
            line = inner_line;
        }
        line
    }
}

enum Segment<'p> {
    Index(usize),
    Key(&'p str),
}

/// Splits a field path at its dots and brackets.
fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (inner, after) = bracketed.split_once(']').unwrap_or((bracketed, ""));
            rest = after.strip_prefix('.').unwrap_or(after);
            return Some(inner.parse().map_or(Segment::Key(inner), Segment::Index));
        }
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        rest = after.strip_prefix('.').unwrap_or(after);
        Some(Segment::Key(key))
    })
}
