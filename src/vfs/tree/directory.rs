//! Directories of the tree as the walk sees them.

use std::any::Any;
use std::sync::Arc;

use super::super::node::{Directory, Entered, Found};
use super::super::stack::NodeKind;
use super::super::{DirEntry, Errno, FileKind, OpenOptions, SetTime, Stat, now};
use super::file::{Leaf, TreeFile};
use super::{Child, Tree, lower_inode};

#[derive(Debug)]
pub(super) struct TreeDirectory {
    tree: Arc<Tree>,
    inode: u64,
}

impl TreeDirectory {
    pub(super) fn new(tree: &Arc<Tree>, inode: u64) -> Self {
        Self { tree: Arc::clone(tree), inode }
    }

    /// `other` as a directory of the same tree.
    fn of_same_tree<'d>(&self, other: &'d dyn Directory) -> Result<&'d Self, Errno> {
        match other.as_any().downcast_ref::<Self>() {
            Some(other) if Arc::ptr_eq(&other.tree, &self.tree) => Ok(other),
            Some(_) | None => Err(Errno::CrossDevice),
        }
    }

    fn child(&self, name: &str) -> Result<Child, Errno> {
        self.tree.child(&mut self.tree.names(), self.inode, name)
    }

    fn open_leaf(&self, leaf: Arc<Leaf>, options: OpenOptions) -> Result<Found, Errno> {
        if let Some(target) = leaf.symlink_target() {
            return Ok(Found::Symlink(target.to_owned()));
        }
        let file = TreeFile::new(&self.tree, leaf);
        if options.truncate {
            file.truncate()?;
        }
        Ok(Found::File(Arc::new(file)))
    }
}

impl Directory for TreeDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn enter(&self, name: &str) -> Result<Entered, Errno> {
        match self.child(name)? {
            Child::Directory(inode) => Ok(Entered::Directory(Arc::new(Self::new(&self.tree, inode)))),
            Child::Leaf(leaf) => match leaf.symlink_target() {
                Some(target) => Ok(Entered::Symlink(target.to_owned())),
                None => Err(Errno::NotDirectory),
            },
            Child::Removed => Err(Errno::NotFound),
        }
    }

    fn open(&self, name: &str, options: OpenOptions) -> Result<Found, Errno> {
        let mut names = self.tree.names();
        let child = match self.tree.child(&mut names, self.inode, name) {
            Ok(_) if options.create && options.exclusive => return Err(Errno::Exist),
            Err(Errno::NotFound) if options.create => {
                Child::Leaf(self.tree.make_file(&mut names, self.inode, name, options.mode)?)
            }
            other => other?,
        };
        drop(names);
        match child {
            Child::Directory(inode) => Ok(Found::Directory(Arc::new(Self::new(&self.tree, inode)))),
            Child::Leaf(leaf) => self.open_leaf(leaf, options),
            Child::Removed => Err(Errno::NotFound),
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        let names = self.tree.names();
        let node = names.directory(self.inode)?;
        Ok(node.meta.stat(FileKind::Directory, self.tree.device, self.inode, 0))
    }

    fn stat_child(&self, name: &str) -> Result<Stat, Errno> {
        match self.child(name)? {
            Child::Directory(inode) => Self::new(&self.tree, inode).stat(),
            Child::Leaf(leaf) => Ok(leaf.stat(self.tree.device)),
            Child::Removed => Err(Errno::NotFound),
        }
    }

    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        let mut names = self.tree.names();
        let node = names.directories.get_mut(&self.inode).ok_or(Errno::NotFound)?;
        node.meta.set_times(accessed, modified);
        Ok(())
    }

    fn set_child_times(&self, name: &str, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        match self.child(name)? {
            Child::Directory(inode) => Self::new(&self.tree, inode).set_times(accessed, modified),
            Child::Leaf(leaf) => {
                leaf.meta().set_times(accessed, modified);
                Ok(())
            }
            Child::Removed => Err(Errno::NotFound),
        }
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        let mut names = self.tree.names();
        let node = names.directories.get_mut(&self.inode).ok_or(Errno::NotFound)?;
        node.meta.set_mode(mode);
        Ok(())
    }

    fn set_child_mode(&self, name: &str, mode: u32) -> Result<(), Errno> {
        match self.child(name)? {
            Child::Directory(inode) => Self::new(&self.tree, inode).set_mode(mode),
            Child::Leaf(leaf) if leaf.kind() == FileKind::Symlink => Err(Errno::Unsupported),
            Child::Leaf(leaf) => {
                leaf.meta().set_mode(mode);
                Ok(())
            }
            Child::Removed => Err(Errno::NotFound),
        }
    }

    fn create_dir(&self, name: &str, mode: u32) -> Result<(), Errno> {
        self.tree.make_directory(&mut self.tree.names(), self.inode, name, mode)
    }

    fn remove_dir(&self, name: &str) -> Result<(), Errno> {
        let mut names = self.tree.names();
        let Child::Directory(inode) = self.tree.child(&mut names, self.inode, name)? else {
            return Err(Errno::NotDirectory);
        };
        if !self.tree.is_empty(&names, inode)? {
            return Err(Errno::NotEmpty);
        }
        self.tree.take_out(&mut names, self.inode, name);
        Tree::forget_directory(&mut names, inode);
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<(), Errno> {
        let mut names = self.tree.names();
        let Child::Leaf(leaf) = self.tree.child(&mut names, self.inode, name)? else {
            return Err(Errno::IsDirectory);
        };
        self.tree.take_out(&mut names, self.inode, name);
        drop_name(&leaf);
        drop(names);
        Ok(())
    }

    fn rename(&self, name: &str, to: &dyn Directory, to_name: &str) -> Result<(), Errno> {
        let to = self.of_same_tree(to)?;
        let mut names = self.tree.names();
        let moved = self.tree.child(&mut names, self.inode, name)?;
        let replaced = match self.tree.child(&mut names, to.inode, to_name) {
            Ok(child) => Some(child),
            Err(Errno::NotFound) if names.directories.contains_key(&to.inode) => None,
            Err(errno) => return Err(errno),
        };
        match (&moved, &replaced) {
            (Child::Directory(a), Some(Child::Directory(b))) if a == b => return Ok(()),
            (Child::Leaf(a), Some(Child::Leaf(b))) if Arc::ptr_eq(a, b) => return Ok(()),
            (Child::Directory(inode), _) if names.is_above(*inode, to.inode) => return Err(Errno::Invalid),
            (Child::Directory(_), Some(Child::Leaf(_))) => return Err(Errno::NotDirectory),
            (Child::Leaf(_), Some(Child::Directory(inode))) => {
                // Replacing a directory above oneself is told apart on Linux.
                let above = names.is_above(*inode, self.inode);
                return Err(if above { Errno::NotEmpty } else { Errno::IsDirectory });
            }
            (Child::Directory(_), Some(Child::Directory(inode))) if !self.tree.is_empty(&names, *inode)? => {
                return Err(Errno::NotEmpty);
            }
            _ => {}
        }
        if replaced.is_none() && names.count >= self.tree.max_names {
            return Err(Errno::NoSpace);
        }
        self.tree.take_out(&mut names, self.inode, name);
        names.put(to.inode, to_name, moved.clone());
        names.touch(to.inode);
        match &moved {
            Child::Directory(inode) => {
                if let Some(node) = names.directories.get_mut(inode) {
                    node.parent = to.inode;
                    node.meta.changed = now();
                }
            }
            Child::Leaf(leaf) => leaf.meta().changed = now(),
            Child::Removed => {}
        }
        match &replaced {
            Some(Child::Directory(inode)) => Tree::forget_directory(&mut names, *inode),
            Some(Child::Leaf(leaf)) => drop_name(leaf),
            Some(Child::Removed) | None => {}
        }
        Ok(())
    }

    fn link(&self, name: &str, new: &dyn Directory, new_name: &str) -> Result<(), Errno> {
        let new = self.of_same_tree(new)?;
        let mut names = self.tree.names();
        let Child::Leaf(leaf) = self.tree.child(&mut names, self.inode, name)? else {
            return Err(Errno::NotPermitted);
        };
        self.tree.check_free(&mut names, new.inode, new_name)?;
        {
            let mut meta = leaf.meta();
            meta.links += 1;
            meta.changed = now();
        }
        names.put(new.inode, new_name, Child::Leaf(leaf));
        names.touch(new.inode);
        Ok(())
    }

    fn symlink(&self, target: &str, name: &str) -> Result<(), Errno> {
        self.tree.make_symlink(&mut self.tree.names(), self.inode, name, target)
    }

    fn read_link(&self, name: &str) -> Result<String, Errno> {
        match self.child(name)? {
            Child::Leaf(leaf) => leaf.symlink_target().map(str::to_owned).ok_or(Errno::Invalid),
            Child::Directory(_) => Err(Errno::Invalid),
            Child::Removed => Err(Errno::NotFound),
        }
    }

    fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        let names = self.tree.names();
        let node = names.directory(self.inode)?;
        let mut entries = Vec::with_capacity(node.children.len());
        for (name, child) in &node.children {
            let (kind, inode) = match child {
                Child::Directory(inode) => (FileKind::Directory, *inode),
                Child::Leaf(leaf) => (leaf.kind(), leaf.inode),
                Child::Removed => continue,
            };
            entries.push(DirEntry { name: name.to_string(), kind, inode });
        }
        let stack = self.tree.stack.as_ref();
        let below = node.lower.and_then(|lower| Some((stack?, stack?.children(lower)?)));
        if let Some((stack, below)) = below {
            for (name, id) in below.iter().filter(|(name, _)| !node.children.contains_key(*name)) {
                let kind = match stack.node(*id).map(|node| &node.kind) {
                    Some(NodeKind::Directory(_)) => FileKind::Directory,
                    Some(NodeKind::Symlink(_)) => FileKind::Symlink,
                    Some(NodeKind::File(_)) => FileKind::Regular,
                    None => continue,
                };
                entries.push(DirEntry { name: name.to_string(), kind, inode: lower_inode(*id) });
            }
        }
        Ok(entries)
    }
}

/// One name of `leaf` is gone.
fn drop_name(leaf: &Leaf) {
    let mut meta = leaf.meta();
    meta.links = meta.links.saturating_sub(1);
    meta.changed = now();
}
