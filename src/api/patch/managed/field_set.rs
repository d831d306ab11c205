//! Sets of fields, as trees: what a manager owns, what two objects differ in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::json_type;
use super::path::PathElement;

/// A set of fields of an object or a list. No node of it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
}

/// One field: whether it is in the set itself, and what is in the set below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Node {
    /// A field that is in the set, and nothing below it.
    pub(super) fn leaf() -> Node {
        Node { member: true, below: FieldSet::default() }
    }

    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    fn union(&mut self, other: Node) {
        self.member |= other.member;
        self.below.union(other.below);
    }
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds what is in a node to that field.
    pub(super) fn add(&mut self, element: PathElement, node: Node) {
        if !node.is_empty() {
            self.nodes.entry(element).or_default().union(node);
        }
    }

    /// The set with one field, by the names on the way.
    pub(super) fn of_path(names: &[&str]) -> FieldSet {
        let below = names.iter().rev().fold(Node::leaf(), |below, name| {
            let mut node = Node::default();
            node.below.add(PathElement::Field((*name).to_owned()), below);
            node
        });
        below.below
    }

    /// Whether a field is in the set.
    pub(super) fn has(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|node| node.member)
    }

    /// What is in the set below a field, if anything is.
    pub(super) fn below(&self, element: &PathElement) -> Option<&FieldSet> {
        self.nodes.get(element).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// Adds the fields of another set.
    pub(super) fn union(&mut self, other: FieldSet) {
        for (element, node) in other.nodes {
            self.add(element, node);
        }
    }

    /// The fields that are not in the other set; a field stays if only some below it are in the other set, and so do
    /// fields below one that is.
    pub(super) fn difference(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |member, in_other| member && !in_other, |node| node.clone(), FieldSet::difference)
    }

    /// The fields that are in both sets.
    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |member, in_other| member && in_other, |_| Node::default(), FieldSet::intersection)
    }

    /// The fields that are neither in the other set nor below one that is.
    pub(super) fn without(&self, other: &FieldSet) -> FieldSet {
        let mut set = FieldSet::default();
        for (element, node) in &self.nodes {
            match other.nodes.get(element) {
                Some(gone) if gone.member => {}
                Some(gone) => {
                    set.add(element.clone(), Node { member: node.member, below: node.below.without(&gone.below) });
                }
                None => set.add(element.clone(), node.clone()),
            }
        }
        set
    }

    /// Only the fields at or below that one.
    pub(super) fn only(mut self, name: &str) -> FieldSet {
        self.nodes.retain(|element, _| matches!(element, PathElement::Field(field) if field == name));
        self
    }

    fn combine(
        &self,
        other: &FieldSet,
        member: fn(bool, bool) -> bool,
        alone: fn(&Node) -> Node,
        below: fn(&FieldSet, &FieldSet) -> FieldSet,
    ) -> FieldSet {
        let mut set = FieldSet::default();
        for (element, node) in &self.nodes {
            let node = match other.nodes.get(element) {
                Some(in_other) => {
                    let below = below(&node.below, &in_other.below);
                    Node { member: member(node.member, in_other.member), below }
                }
                None => alone(node),
            };
            set.add(element.clone(), node);
        }
        set
    }

    /// The set, with the objects that its fields are in.
    pub(super) fn with_objects(mut self) -> FieldSet {
        for (element, node) in &mut self.nodes {
            node.below = std::mem::take(&mut node.below).with_objects();
            node.member |= matches!(element, PathElement::Field(_)) && !node.below.is_empty();
        }
        self
    }

    /// How many fields are in the set.
    pub(super) fn len(&self) -> usize {
        self.nodes.values().map(|node| usize::from(node.member) + node.below.len()).sum()
    }

    /// Visits the fields of the set, as messages show them: those of a level before those below them. Stops when the
    /// visitor says so.
    pub(super) fn visit(&self, prefix: &str, visitor: &mut impl FnMut(String) -> bool) -> bool {
        let members = self.nodes.iter().filter(|(_, node)| node.member);
        let parents = self.nodes.iter().filter(|(_, node)| !node.below.is_empty());
        members.map(|(element, _)| format!("{prefix}{element}")).all(&mut *visitor)
            && parents
                .map(|(element, node)| (format!("{prefix}{element}"), node))
                .all(|(prefix, node)| node.below.visit(&prefix, visitor))
    }

    /// Reads `fieldsV1`.
    pub(super) fn decode(fields: &Value) -> Result<FieldSet, String> {
        Ok(decode_node(fields)?.below)
    }

    /// The set as `fieldsV1`.
    pub(super) fn encode(&self) -> Value {
        Value::Object(self.nodes.iter().map(|(element, node)| (element.encode(), encode_node(node))).collect())
    }
}

fn decode_node(fields: &Value) -> Result<Node, String> {
    let mut node = Node::default();
    let members = match fields {
        Value::Object(members) => members,
        Value::Null => return Ok(Node::leaf()),
        other => return Err(format!("expected a map of fields, got {}", json_type(other))),
    };
    for (name, below) in members {
        if name == "." {
            node.member = true;
        } else if let Some(element) = PathElement::parse(name)? {
            node.below.add(element, decode_node(below)?);
        }
    }
    // A field without anything below it is there for itself.
    node.member |= node.below.is_empty();
    Ok(node)
}

fn encode_node(node: &Node) -> Value {
    let itself = (node.member && !node.below.is_empty()).then(|| (".".to_owned(), Value::Object(Map::new())));
    let below = node.below.nodes.iter().map(|(element, node)| (element.encode(), encode_node(node)));
    Value::Object(itself.into_iter().chain(below).collect())
}
