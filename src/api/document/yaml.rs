//! From text to nodes: one pass over the parser's events, with a bound on everything a hostile text can grow.
//!
//! Aliases share the node they name, so a small text cannot become a large tree; what it would be when written out
//! is counted and bounded, because decoding walks all of it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, Span, Tag};

use super::scalar::resolve_plain;
use super::{Entry, Node, Value};

/// The longest text that is read, in bytes. Kubernetes itself refuses objects of a tenth of this.
pub(in crate::api) const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;
/// The deepest nesting that is read; no Kubernetes type comes near it.
pub(in crate::api) const MAX_DEPTH: usize = 100;
/// The most nodes a text may have once its aliases are written out.
pub(in crate::api) const MAX_NODES: usize = 1_000_000;
/// The most bytes of text a document may have once its aliases are written out.
pub(in crate::api) const MAX_EXPANDED_BYTES: usize = 4 * MAX_TEXT_BYTES;
/// The longest mapping key, in bytes.
const MAX_KEY: usize = 1024;
/// The most duplicate keys that are reported in one text.
const MAX_DUPLICATES: usize = 100;

/// One document of a text.
#[derive(Debug)]
pub(in crate::api) struct Document {
    pub(in crate::api) root: Arc<Node>,
    /// Keys that occur twice in one mapping.
    pub(in crate::api) duplicates: Vec<Duplicate>,
}

/// A key that a mapping has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Duplicate {
    /// The path of the field, from the document's root.
    pub(in crate::api) path: String,
    /// The line of the second occurrence.
    pub(in crate::api) line: usize,
}

/// Why a text is no sequence of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct SyntaxError {
    pub(in crate::api) line: usize,
    pub(in crate::api) message: String,
}

impl SyntaxError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Reads every document of `text`; empty ones are left out. On an error, also what was read before it.
pub(in crate::api) fn parse(text: &str) -> (Vec<Document>, Option<SyntaxError>) {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the text has {} bytes; at most {MAX_TEXT_BYTES} are read", text.len());
        return (Vec::new(), Some(SyntaxError::new(1, message)));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        simple_key_max_lookahead: MAX_KEY,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let added = match next {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => Err(SyntaxError::new(error.marker().line(), format!("not valid YAML: {}", error.info()))),
        };
        if let Err(error) = added {
            return (builder.documents, Some(error));
        }
    }
    (builder.documents, None)
}

/// The documents so far, and the one being built as a stack of open collections.
#[derive(Default)]
struct Builder {
    documents: Vec<Document>,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    duplicates: Vec<Duplicate>,
    nodes: usize,
    bytes: usize,
}

struct Open {
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Arc<Node>>),
    Mapping { entries: Vec<Entry>, index: HashMap<String, usize>, merged: Vec<Arc<Node>>, key: Option<Key> },
}

struct Key {
    text: String,
    line: usize,
    /// Whether it is the merge key `<<`, written without quotes.
    merges: bool,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.duplicates.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), line)?;
                let merges = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                self.count(1, text.len(), line)?;
                self.add(Arc::new(Node::new(line, value)), anchor, merges)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_collection_tag(tag.as_deref(), "seq", line)?;
                self.open(Open { line, anchor, content: Content::Sequence(Vec::new()) })
            }
            Event::MappingStart(_, anchor, tag) => {
                check_collection_tag(tag.as_deref(), "map", line)?;
                let content =
                    Content::Mapping { entries: Vec::new(), index: HashMap::new(), merged: Vec::new(), key: None };
                self.open(Open { line, anchor, content })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            Event::Alias(anchor) => match self.anchors.get(&anchor).map(Arc::clone) {
                Some(node) => {
                    self.count(node.size, node.bytes, line)?;
                    self.add(node, 0, false)
                }
                None => Err(SyntaxError::new(line, "an alias may not name a node that it is part of")),
            },
            _ => Ok(()),
        }
    }

    /// Counts nodes and their text as they would be if every alias were written out.
    fn count(&mut self, nodes: usize, bytes: usize, line: usize) -> Result<(), SyntaxError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_EXPANDED_BYTES {
            let message = format!("more than {MAX_EXPANDED_BYTES} bytes of text, aliases written out");
            return Err(SyntaxError::new(line, message));
        }
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::new(line, format!("more than {MAX_NODES} values, aliases written out")));
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), SyntaxError> {
        self.count(1, 0, open.line)?;
        if let Some(Open { content: Content::Mapping { key: None, .. }, .. }) = self.open.last() {
            return Err(SyntaxError::new(open.line, "a mapping key must be a scalar"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError::new(open.line, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self, line: usize) -> Result<(), SyntaxError> {
        let Some(open) = self.open.pop() else {
            return Err(SyntaxError::new(line, "a collection ends that never began"));
        };
        let value = match open.content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping { mut entries, mut index, merged, .. } => {
                for source in merged {
                    merge(&source, &mut entries, &mut index, open.line)?;
                }
                Value::Mapping(entries)
            }
        };
        self.add(Arc::new(Node::new(open.line, value)), open.anchor, false)
    }

    /// Puts a finished node where it belongs: into the open collection, or as the document itself.
    fn add(&mut self, node: Arc<Node>, anchor: usize, merges: bool) -> Result<(), SyntaxError> {
        let line = node.line;
        if self.open.len() + node.depth > MAX_DEPTH {
            return Err(SyntaxError::new(line, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        if matches!(self.open.last(), Some(Open { content: Content::Mapping { key: None, .. }, .. })) {
            return self.set_key(&node, merges);
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => {
                if !matches!(node.value, Value::Null) {
                    let duplicates = std::mem::take(&mut self.duplicates);
                    self.documents.push(Document { root: node, duplicates });
                }
            }
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, index, merged, key }) => {
                if let Some(key) = key.take() {
                    if key.merges {
                        merged.push(node);
                    } else {
                        index.entry(key.text.clone()).or_insert(entries.len());
                        entries.push(Entry { key: key.text, line: key.line, value: node });
                    }
                }
            }
        }
        Ok(())
    }

    fn set_key(&mut self, node: &Node, merges: bool) -> Result<(), SyntaxError> {
        let text = match &node.value {
            Value::String(text) => text.clone(),
            Value::Bool { value, .. } => value.to_string(),
            Value::Integer { value, .. } => value.to_string(),
            Value::Float { value, .. } => value.to_string(),
            Value::Null => return Err(SyntaxError::new(node.line, "a mapping key must not be null")),
            Value::Sequence(_) | Value::Mapping(_) => {
                return Err(SyntaxError::new(node.line, "a mapping key must be a scalar"));
            }
        };
        if text.len() > MAX_KEY {
            return Err(SyntaxError::new(node.line, format!("a mapping key is longer than {MAX_KEY} bytes")));
        }
        let Some(Open { content: Content::Mapping { index, .. }, .. }) = self.open.last() else { return Ok(()) };
        if index.contains_key(&text) && !merges && self.duplicates.len() < MAX_DUPLICATES {
            let prefix = self.path();
            let path = if prefix.is_empty() { text.clone() } else { format!("{prefix}.{text}") };
            self.duplicates.push(Duplicate { path, line: node.line });
        }
        if let Some(Open { content: Content::Mapping { key, .. }, .. }) = self.open.last_mut() {
            *key = Some(Key { text, line: node.line, merges });
        }
        Ok(())
    }

    /// The path of the innermost open collection.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in self.open.iter().take(self.open.len().saturating_sub(1)) {
            match &open.content {
                Content::Sequence(items) => path.push_str(&format!("[{}]", items.len())),
                Content::Mapping { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key.text);
                }
                Content::Mapping { key: None, .. } => {}
            }
        }
        path
    }
}

/// Adds what `source` (a mapping, or a sequence of them) has and the mapping does not have yet.
fn merge(
    source: &Arc<Node>,
    entries: &mut Vec<Entry>,
    index: &mut HashMap<String, usize>,
    line: usize,
) -> Result<(), SyntaxError> {
    let add = |from: &[Entry], entries: &mut Vec<Entry>, index: &mut HashMap<String, usize>| {
        for entry in from {
            if !index.contains_key(&entry.key) {
                index.insert(entry.key.clone(), entries.len());
                entries.push(entry.clone());
            }
        }
    };
    match &source.value {
        Value::Mapping(from) => add(from, entries, index),
        Value::Sequence(items) => {
            for item in items {
                let Value::Mapping(from) = &item.value else {
                    return Err(SyntaxError::new(line, "`<<` takes a mapping or a list of mappings"));
                };
                add(from, entries, index);
            }
        }
        _ => return Err(SyntaxError::new(line, "`<<` takes a mapping or a list of mappings")),
    }
    Ok(())
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Value, SyntaxError> {
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => resolve_plain(text),
            _ => Value::String(text.to_owned()),
        });
    };
    let resolved = resolve_plain(text);
    let fits = match tag.core_suffix() {
        Some("str") => return Ok(Value::String(text.to_owned())),
        Some("null") => matches!(resolved, Value::Null),
        Some("bool") => matches!(resolved, Value::Bool { .. }),
        Some("int") => matches!(resolved, Value::Integer { .. }),
        Some("float") => matches!(resolved, Value::Float { .. } | Value::Integer { .. }),
        _ => return Err(SyntaxError::new(line, format!("the YAML tag {} is not supported", tag.original()))),
    };
    if fits {
        Ok(resolved)
    } else {
        Err(SyntaxError::new(line, format!("{text:?} does not fit its YAML tag {}", tag.original())))
    }
}

fn check_collection_tag(tag: Option<&Tag>, expected: &str, line: usize) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(expected) => {
            Err(SyntaxError::new(line, format!("the YAML tag {} is not supported here", tag.original())))
        }
        _ => Ok(()),
    }
}
