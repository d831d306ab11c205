//! [`TreeFs`]: a tree of inodes in memory, on its own or copy-on-write over an image.
//!
//! Names live in one table under one lock; a directory of the image is taken into it when it is first walked into,
//! a file when it is first opened, so making a root over a large image costs nothing. What is removed from the image
//! stays in the table as a mark. Contents have locks of their own (`file`) and lie where `content` says.

mod content;
mod directory;
mod file;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use self::content::{Content, PAGE, Scratch, Storage};
use self::directory::TreeDirectory;
use self::file::{Body, Leaf, Meta};
use super::node::next_device;
use super::quota::{Held, Quota};
use super::stack::{LayerStack, NodeKind, ROOT};
use super::table::MountSource;
use super::{Errno, now};

/// The most names a filesystem may have beyond what its image brings.
const MAX_NAMES: u64 = 1_000_000;
/// Of a filesystem in memory: bytes of its limit for each name it may have, and how many it may have in any case.
const BYTES_PER_NAME: u64 = 1024;
const MIN_NAMES: u64 = 256;
/// Symlinks up to this length take nothing of the quota, as on tmpfs.
const SHORT_SYMLINK: usize = 128;

const ROOT_INODE: u64 = 1;

/// A filesystem whose names live in memory. Clones share it; it is gone with its last clone, mount and open file.
#[derive(Debug, Clone)]
pub struct TreeFs {
    tree: Arc<Tree>,
}

impl TreeFs {
    /// An empty filesystem in memory that holds at most `limit` bytes of content, in pages of 4 KiB (an
    /// `emptyDir` with `medium: Memory`). How many names it may have is bounded in proportion.
    pub fn in_memory(limit: u64) -> Self {
        let max_names = (limit / BYTES_PER_NAME).clamp(MIN_NAMES, MAX_NAMES);
        Self { tree: Tree::new(None, Storage::Memory, limit, max_names, 0o777) }
    }

    /// A container's root: `stack`, copy-on-write. What is written goes to files in `scratch`, a directory that is
    /// made at the first write and removed with the filesystem; `quota` bounds its bytes.
    ///
    /// `/tmp` (mode 1777) is there even when the image lacks it.
    pub fn over(stack: Arc<LayerStack>, scratch: PathBuf, quota: Option<u64>) -> Self {
        let max_names = MAX_NAMES + stack.len() as u64;
        let mode = stack.node(ROOT).map_or(0o755, |root| root.mode);
        let storage = Storage::Disk(Scratch::new(scratch));
        let tree = Tree::new(Some(stack), storage, quota.unwrap_or(u64::MAX), max_names, mode);
        let mut names = tree.names();
        // It fails only where the image has it.
        let _ = tree.make_directory(&mut names, ROOT_INODE, "tmp", 0o1777);
        drop(names);
        Self { tree }
    }

    /// How many bytes of content were written and are still there.
    pub fn used(&self) -> u64 {
        self.tree.quota.used()
    }
}

impl From<&TreeFs> for MountSource {
    fn from(filesystem: &TreeFs) -> Self {
        Self::directory(TreeDirectory::new(&filesystem.tree, ROOT_INODE))
    }
}

impl From<TreeFs> for MountSource {
    fn from(filesystem: TreeFs) -> Self {
        Self::from(&filesystem)
    }
}

#[derive(Debug)]
struct Tree {
    device: u64,
    stack: Option<Arc<LayerStack>>,
    storage: Storage,
    quota: Arc<Quota>,
    max_names: u64,
    names: Mutex<Names>,
}

#[derive(Debug)]
struct Names {
    directories: HashMap<u64, DirectoryNode>,
    /// Files of the image that have several names, by node.
    linked: HashMap<u32, Arc<Leaf>>,
    next_inode: u64,
    /// How many children all directories have, marks of removal included.
    count: u64,
}

#[derive(Debug)]
struct DirectoryNode {
    parent: u64,
    /// The image's directory below.
    lower: Option<u32>,
    /// What was made, looked at or removed here; all else is as below.
    children: BTreeMap<Box<str>, Child>,
    meta: Meta,
}

#[derive(Debug, Clone)]
enum Child {
    Directory(u64),
    Leaf(Arc<Leaf>),
    /// The image has this name; here it is gone.
    Removed,
}

impl DirectoryNode {
    fn new(parent: u64, lower: Option<u32>, meta: Meta) -> Self {
        Self { parent, lower, children: BTreeMap::new(), meta }
    }
}

/// The inode number of a node of the image; those made later come after all of them.
fn lower_inode(node: u32) -> u64 {
    u64::from(node) + ROOT_INODE
}

impl Tree {
    fn new(stack: Option<Arc<LayerStack>>, storage: Storage, limit: u64, max_names: u64, mode: u32) -> Arc<Self> {
        let lower = stack.as_ref().map(|_| ROOT);
        let root = DirectoryNode::new(ROOT_INODE, lower, Meta::new(mode, now()));
        let names = Names {
            directories: HashMap::from([(ROOT_INODE, root)]),
            linked: HashMap::new(),
            next_inode: stack.as_ref().map_or(1, |stack| stack.len() as u64) + ROOT_INODE,
            count: 0,
        };
        Arc::new(Self {
            device: next_device(),
            stack,
            storage,
            quota: Quota::new(limit),
            max_names,
            names: Mutex::new(names),
        })
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `name` in `directory` is; taken over from the image at the first time.
    fn child(&self, names: &mut Names, directory: u64, name: &str) -> Result<Child, Errno> {
        let node = names.directory(directory)?;
        match node.children.get(name) {
            Some(Child::Removed) => return Err(Errno::NotFound),
            Some(child) => return Ok(child.clone()),
            None => {}
        }
        let lower = node.lower.and_then(|lower| self.stack.as_ref()?.child(lower, name)).ok_or(Errno::NotFound)?;
        let child = self.take_over(names, directory, lower)?;
        names.put(directory, name, child.clone());
        Ok(child)
    }

    fn take_over(&self, names: &mut Names, parent: u64, lower: u32) -> Result<Child, Errno> {
        let node = self.stack.as_ref().and_then(|stack| stack.node(lower)).ok_or(Errno::Io)?;
        let inode = lower_inode(lower);
        let mut meta = Meta::new(node.mode, node.modified);
        let body = match &node.kind {
            NodeKind::Directory(_) => {
                names.directories.insert(inode, DirectoryNode::new(parent, Some(lower), meta));
                return Ok(Child::Directory(inode));
            }
            _ if names.linked.contains_key(&lower) => return Ok(Child::Leaf(Arc::clone(&names.linked[&lower]))),
            NodeKind::File(file) => Body::File(RwLock::new(Content::Unwritten(Some(file.clone())))),
            NodeKind::Symlink(target) => Body::Symlink(target.clone(), Held::nothing(&self.quota)),
        };
        meta.links = u64::from(node.links);
        let leaf = Leaf::new(inode, meta, body);
        if node.links > 1 {
            names.linked.insert(lower, Arc::clone(&leaf));
        }
        Ok(Child::Leaf(leaf))
    }

    /// For what makes a name: that there is none, and room for one.
    fn check_free(&self, names: &mut Names, directory: u64, name: &str) -> Result<(), Errno> {
        match self.child(names, directory, name) {
            Ok(_) => Err(Errno::Exist),
            Err(Errno::NotFound) if names.directories.contains_key(&directory) => {
                if names.count >= self.max_names {
                    Err(Errno::NoSpace)
                } else {
                    Ok(())
                }
            }
            Err(errno) => Err(errno),
        }
    }

    fn make_directory(&self, names: &mut Names, parent: u64, name: &str, mode: u32) -> Result<(), Errno> {
        self.check_free(names, parent, name)?;
        let inode = names.new_inode();
        names.directories.insert(inode, DirectoryNode::new(parent, None, Meta::new(mode, now())));
        names.put(parent, name, Child::Directory(inode));
        names.touch(parent);
        Ok(())
    }

    fn make_file(&self, names: &mut Names, parent: u64, name: &str, mode: u32) -> Result<Arc<Leaf>, Errno> {
        self.check_free(names, parent, name)?;
        let body = Body::File(RwLock::new(Content::Unwritten(None)));
        let leaf = Leaf::new(names.new_inode(), Meta::new(mode & 0o7777, now()), body);
        names.put(parent, name, Child::Leaf(Arc::clone(&leaf)));
        names.touch(parent);
        Ok(leaf)
    }

    fn make_symlink(&self, names: &mut Names, parent: u64, name: &str, target: &str) -> Result<(), Errno> {
        self.check_free(names, parent, name)?;
        let mut held = Held::nothing(&self.quota);
        if target.len() > SHORT_SYMLINK && !held.grow(PAGE) {
            return Err(Errno::NoSpace);
        }
        let leaf = Leaf::new(names.new_inode(), Meta::new(0o777, now()), Body::Symlink(target.into(), held));
        names.put(parent, name, Child::Leaf(leaf));
        names.touch(parent);
        Ok(())
    }

    /// Takes `name` out of `directory`; where the image has it, a mark stays.
    fn take_out(&self, names: &mut Names, directory: u64, name: &str) {
        let Some(node) = names.directories.get_mut(&directory) else { return };
        let below =
            node.lower.is_some_and(|lower| self.stack.as_ref().is_some_and(|stack| stack.child(lower, name).is_some()));
        if below {
            if node.children.insert(name.into(), Child::Removed).is_none() {
                names.count += 1;
            }
        } else if node.children.remove(name).is_some() {
            names.count -= 1;
        }
        names.touch(directory);
    }

    fn is_empty(&self, names: &Names, directory: u64) -> Result<bool, Errno> {
        let node = names.directory(directory)?;
        if node.children.values().any(|child| !matches!(child, Child::Removed)) {
            return Ok(false);
        }
        let below = node.lower.and_then(|lower| self.stack.as_ref()?.children(lower));
        Ok(below.is_none_or(|below| below.keys().all(|name| node.children.contains_key(name))))
    }

    /// Forgets a directory whose name is gone; handles to it find nothing any more.
    fn forget_directory(names: &mut Names, inode: u64) {
        if let Some(node) = names.directories.remove(&inode) {
            names.count -= node.children.len() as u64;
        }
    }
}

impl Names {
    fn directory(&self, inode: u64) -> Result<&DirectoryNode, Errno> {
        self.directories.get(&inode).ok_or(Errno::NotFound)
    }

    fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    fn put(&mut self, directory: u64, name: &str, child: Child) {
        if let Some(node) = self.directories.get_mut(&directory)
            && node.children.insert(name.into(), child).is_none()
        {
            self.count += 1;
        }
    }

    fn touch(&mut self, directory: u64) {
        if let Some(node) = self.directories.get_mut(&directory) {
            node.meta.touch();
        }
    }

    /// Whether `inode` is `directory` or lies above it.
    fn is_above(&self, inode: u64, mut directory: u64) -> bool {
        loop {
            if directory == inode {
                return true;
            }
            match self.directories.get(&directory) {
                Some(node) if node.parent != directory => directory = node.parent,
                Some(_) | None => return false,
            }
        }
    }
}
