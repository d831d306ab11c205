//! [`LayerStack`]: what an image's layers add up to, worked out once and shared by all its containers.
//!
//! Layers are applied from the lowest up. Within one layer its whiteouts come first, for they speak only of the
//! layers below. A later entry of a name replaces an earlier one; a directory given again keeps what is in it. An
//! entry whose parent is a symlink goes where the link leads within the image, as when unpacking under a changed root.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::MAX_SYMLINKS;
use super::layer::{Change, ChangeKind, Layer, LayerError, LayerFile};
use super::path::split_first;

/// The most files, directories and symlinks one image may have, counting what later layers replace.
pub(super) const MAX_STACK_NODES: usize = 1_000_000;

pub(super) const ROOT: u32 = 0;

/// The merged index of an image's layers. Making a container's root over it takes no time that depends on its size.
#[derive(Debug)]
pub struct LayerStack {
    nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) mode: u32,
    pub(super) modified: SystemTime,
    pub(super) links: u32,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Directory(BTreeMap<Box<str>, u32>),
    File(LayerFile),
    Symlink(Box<str>),
}

impl LayerStack {
    /// Merges `layers`, lowest first.
    pub fn new(layers: Vec<Arc<Layer>>) -> Result<Arc<Self>, LayerError> {
        let mut stack = Self { nodes: Vec::new() };
        stack.add(NodeKind::Directory(BTreeMap::new()), 0o755, UNIX_EPOCH)?;
        for layer in &layers {
            for change in layer.changes() {
                match change.kind {
                    ChangeKind::Whiteout => stack.remove(change)?,
                    ChangeKind::Opaque => stack.clear(change)?,
                    _ => {}
                }
            }
            for (index, change) in layer.changes().iter().enumerate() {
                stack.apply(layer, index, change)?;
            }
        }
        stack.nodes.shrink_to_fit();
        Ok(Arc::new(stack))
    }

    pub(super) fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// The entries of directory `id`; nothing where it is none.
    pub(super) fn children(&self, id: u32) -> Option<&BTreeMap<Box<str>, u32>> {
        match self.node(id).map(|node| &node.kind) {
            Some(NodeKind::Directory(children)) => Some(children),
            _ => None,
        }
    }

    pub(super) fn child(&self, id: u32, name: &str) -> Option<u32> {
        self.children(id)?.get(name).copied()
    }

    /// How many nodes there are; node ids are below this.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn add(&mut self, kind: NodeKind, mode: u32, modified: SystemTime) -> Result<u32, LayerError> {
        if self.nodes.len() >= MAX_STACK_NODES {
            return Err(LayerError::TooManyEntries { limit: MAX_STACK_NODES });
        }
        self.nodes.push(Node { kind, mode, modified, links: 1 });
        Ok((self.nodes.len() - 1) as u32)
    }

    fn children_mut(&mut self, id: u32) -> Option<&mut BTreeMap<Box<str>, u32>> {
        match self.nodes.get_mut(id as usize).map(|node| &mut node.kind) {
            Some(NodeKind::Directory(children)) => Some(children),
            _ => None,
        }
    }

    /// Makes `name` in `parent` the node `id`; what had the name loses it.
    fn put(&mut self, parent: u32, name: &str, id: u32) {
        let replaced = self.children_mut(parent).and_then(|children| children.insert(name.into(), id));
        self.unlink(replaced);
    }

    fn unlink(&mut self, id: Option<u32>) {
        if let Some(node) = id.and_then(|id| self.nodes.get_mut(id as usize)) {
            node.links = node.links.saturating_sub(1);
        }
    }

    /// The directory `path` lies in and its last name. With `make`, directories missing on the way are made; without,
    /// a missing one gives none.
    fn parent_of<'p>(&mut self, path: &'p str, make: bool) -> Result<Option<(u32, &'p str)>, LayerError> {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut way = vec![ROOT];
        let mut text = Cow::Borrowed(parents);
        let mut position = 0;
        let mut links = 0;
        loop {
            let (component, after) = split_first(&text[position..]);
            let next_position = text.len() - after.len();
            let here = way.last().copied().unwrap_or(ROOT);
            match component {
                "" => return Ok(Some((here, name))),
                "." => {}
                ".." if way.len() == 1 => {}
                ".." => {
                    way.pop();
                }
                component => {
                    let next = match self.child(here, component) {
                        Some(next) => next,
                        None if !make => return Ok(None),
                        None => self.make_directory(here, component)?,
                    };
                    match &self.nodes[next as usize].kind {
                        NodeKind::Directory(_) => way.push(next),
                        NodeKind::Symlink(target) => {
                            links += 1;
                            if links > MAX_SYMLINKS {
                                return Err(LayerError::Loop { path: path.to_owned() });
                            }
                            if target.starts_with('/') {
                                way.truncate(1);
                            }
                            text = Cow::Owned(format!("{target}{after}"));
                            position = 0;
                            continue;
                        }
                        NodeKind::File(_) => {
                            let parent = component.to_owned();
                            return Err(LayerError::NotDirectory { path: path.to_owned(), parent });
                        }
                    }
                }
            }
            position = next_position;
        }
    }

    fn make_directory(&mut self, parent: u32, name: &str) -> Result<u32, LayerError> {
        let made = self.add(NodeKind::Directory(BTreeMap::new()), 0o755, UNIX_EPOCH)?;
        self.put(parent, name, made);
        Ok(made)
    }

    fn remove(&mut self, change: &Change) -> Result<(), LayerError> {
        if let Some((parent, name)) = self.parent_of(&change.path, false)? {
            let removed = self.children_mut(parent).and_then(|children| children.remove(name));
            self.unlink(removed);
        }
        Ok(())
    }

    fn clear(&mut self, change: &Change) -> Result<(), LayerError> {
        let id = match self.parent_of(&change.path, false)? {
            Some((root, "")) => Some(root),
            Some((parent, name)) => self.child(parent, name),
            None => None,
        };
        let removed = id.and_then(|id| self.children_mut(id)).map(std::mem::take).unwrap_or_default();
        removed.into_values().for_each(|id| self.unlink(Some(id)));
        Ok(())
    }

    fn apply(&mut self, layer: &Arc<Layer>, index: usize, change: &Change) -> Result<(), LayerError> {
        if matches!(change.kind, ChangeKind::Whiteout | ChangeKind::Opaque) {
            return Ok(());
        }
        let Some((parent, name)) = self.parent_of(&change.path, true)? else { return Ok(()) };
        let existing = if name.is_empty() { Some(ROOT) } else { self.child(parent, name) };
        let kind = match &change.kind {
            ChangeKind::Directory => {
                if let Some(node) = existing.and_then(|id| self.nodes.get_mut(id as usize))
                    && matches!(node.kind, NodeKind::Directory(_))
                {
                    (node.mode, node.modified) = (change.mode, change.modified);
                    return Ok(());
                }
                NodeKind::Directory(BTreeMap::new())
            }
            ChangeKind::File { offset, size } => {
                let layer = Arc::clone(layer);
                NodeKind::File(LayerFile { layer, change: index as u32, offset: *offset, size: *size })
            }
            ChangeKind::Symlink(target) => NodeKind::Symlink(target.clone()),
            ChangeKind::HardLink(target) => return self.link(change, parent, name, target),
            ChangeKind::Whiteout | ChangeKind::Opaque => return Ok(()),
        };
        let id = self.add(kind, change.mode, change.modified)?;
        self.put(parent, name, id);
        Ok(())
    }

    fn link(&mut self, change: &Change, parent: u32, name: &str, target: &str) -> Result<(), LayerError> {
        let found = match self.parent_of(target, false)? {
            Some((directory, target_name)) => self.child(directory, target_name),
            None => None,
        };
        let linked = found.and_then(|id| self.nodes.get_mut(id as usize).map(|node| (id, node)));
        match linked {
            Some((id, node)) if !matches!(node.kind, NodeKind::Directory(_)) => {
                node.links = node.links.saturating_add(1);
                self.put(parent, name, id);
                Ok(())
            }
            Some(_) | None => Err(LayerError::BadLink { path: change.path.to_string(), target: target.to_owned() }),
        }
    }
}
