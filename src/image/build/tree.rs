//! What is in an image so far, by path: the layers of its base and those made since, as whoever unpacks them has it.
//! `COPY` asks it where a path leads. Contents are not kept. Layers may mean harm, so that there is a limit to what is
//! kept and looked through.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};

use oci_spec::image::Descriptor;
use tar::EntryType;

use super::context::join;
use crate::image::ImageError;
use crate::image::archive::Archive;
use crate::image::compression::Compression;
use crate::image::layout::{Layout, failed};
use crate::image::load::{MAX_LAYER, MAX_LAYERS, MAX_UNCOMPRESSED};

/// Most bytes of names, those of all entries that were read and of all that are kept.
const MAX_NAMES: usize = 256 * 1024 * 1024;
/// Longest path or target of a symlink (Linux' PATH_MAX); what is longer can be opened by nobody.
const MAX_PATH: usize = 4096;
/// Most symlinks on the way to a file, as Linux has it.
const MAX_LINKS: usize = 40;
/// What names of entries that take something away begin with (OCI image layer specification, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// The name of the entry that takes away all that lower layers have in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    /// A file, or whatever else is neither directory nor symlink.
    File,
    Symlink(String),
}

impl Node {
    /// What an entry of an archive makes.
    fn of(kind: EntryType, link: &[u8]) -> Self {
        match kind {
            EntryType::Directory => Self::Directory,
            EntryType::Symlink if link.len() <= MAX_PATH => Self::Symlink(String::from_utf8_lossy(link).into_owned()),
            _ => Self::File,
        }
    }
}

/// The files of an image. Paths have no slash at either end; the root is the empty one, and there always.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// How many bytes of names there were.
    names: usize,
}

impl Tree {
    /// What is in layers that are stored, the lowest first.
    pub(super) fn read(layout: &Layout, layers: &[Descriptor]) -> Result<Self, ImageError> {
        let mut tree = Self::default();
        if layers.len() > MAX_LAYERS {
            return Err(ImageError::Invalid(format!("the base has more than {MAX_LAYERS} layers")));
        }
        let mut left = MAX_UNCOMPRESSED;
        for layer in layers {
            let path = layout.checked_blob_path(layer)?;
            let file = BufReader::with_capacity(256 * 1024, File::open(&path).map_err(failed("cannot open", &path))?);
            let limit = left.min(MAX_LAYER);
            let mut source = Compression::of_media_type(layer.media_type())?.reader(file).take(limit);
            tree.layer(&mut source).map_err(|error| {
                let digest = layer.digest();
                ImageError::Invalid(format!("cannot look through layer {digest} of the base: {error}"))
            })?;
            left -= limit - source.limit();
        }
        Ok(tree)
    }

    /// Adds what an archive has, as a layer: what it takes away is taken from the layers below only.
    fn layer(&mut self, source: impl Read) -> Result<(), ImageError> {
        let mut archive = Archive::new(source);
        let (mut emptied, mut removed, mut added) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(entry) = archive.next_entry().map_err(|error| ImageError::Invalid(error.to_string()))? {
            let Some(path) = clean(&entry.path) else { continue };
            self.charge(path.len() + entry.link.len())?;
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == OPAQUE {
                emptied.push(parent.to_owned());
            } else if let Some(name) = name.strip_prefix(WHITEOUT) {
                removed.push(join(parent, name));
            } else {
                added.push((path, Node::of(entry.kind, &entry.link)));
            }
        }
        for path in emptied {
            // What leads nowhere has nothing to take away.
            if let Ok(path) = self.follow(&path, false) {
                self.remove_below(&path);
            }
        }
        for path in removed {
            if let Ok(path) = self.place_of(&path, false) {
                self.remove_below(&path);
                self.nodes.remove(&path);
            }
        }
        for (path, node) in added {
            self.put_entry(&path, node)?;
        }
        Ok(())
    }

    /// Adds an entry of an archive that is unpacked: its directory may be reached by symlinks.
    pub(super) fn put_unpacked(&mut self, path: &str, kind: EntryType, link: &[u8]) -> Result<(), ImageError> {
        self.put_entry(path, Node::of(kind, link))
    }

    fn put_entry(&mut self, path: &str, node: Node) -> Result<(), ImageError> {
        match self.place_of(path, false) {
            Ok(path) => self.put(&path, node),
            // Nobody can unpack it.
            Err(_) => Ok(()),
        }
    }

    /// What is at a path that leads over no symlink.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        if path.is_empty() { Some(&Node::Directory) } else { self.nodes.get(path) }
    }

    /// Where a path leads, all symlinks followed. What is not there is taken as it is written.
    pub(super) fn real(&self, path: &str) -> Result<String, ImageError> {
        self.follow(path, true)
    }

    /// Where a path leads, the symlinks on the way to its last name followed.
    pub(super) fn place(&self, path: &str) -> Result<String, ImageError> {
        self.place_of(path, true)
    }

    fn place_of(&self, path: &str, strict: bool) -> Result<String, ImageError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(join(&self.follow(parent, strict)?, name))
    }

    /// With `strict`, no way leads over a file; else one does, as where a layer replaces the file with a directory.
    fn follow(&self, path: &str, strict: bool) -> Result<String, ImageError> {
        let mut left: Vec<&str> = path.rsplit('/').collect();
        let (mut at, mut links) = (String::new(), 0);
        while let Some(name) = left.pop() {
            match name {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&at, name);
            match self.nodes.get(&next) {
                Some(Node::Symlink(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ImageError::Invalid(format!("/{path} leads over too many symlinks")));
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    left.extend(target.rsplit('/'));
                }
                Some(Node::File) if strict && !left.iter().all(|name| matches!(*name, "" | ".")) => {
                    return Err(ImageError::Invalid(format!("/{next} is a file of the image, not a directory")));
                }
                _ => at = next,
            }
        }
        Ok(at)
    }

    /// Puts something at a path that leads over no symlink, with the directories it needs, instead of what is there.
    pub(super) fn put(&mut self, path: &str, node: Node) -> Result<(), ImageError> {
        if path.is_empty() || (node == Node::Directory && self.get(path) == Some(&Node::Directory)) {
            return Ok(());
        }
        if node != Node::Directory {
            self.remove_below(path);
        }
        let mut parent = path;
        while let Some(end) = parent.rfind('/') {
            parent = &parent[..end];
            // Those above one that is there are there as well.
            if self.get(parent) == Some(&Node::Directory) {
                break;
            }
            self.insert(parent, Node::Directory)?;
        }
        self.insert(path, node)
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<(), ImageError> {
        let target = if let Node::Symlink(target) = &node { target.len() } else { 0 };
        // What a map takes beside the names counts as well.
        self.charge(path.len() + target + size_of::<(String, Node)>())?;
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), ImageError> {
        self.names = self.names.saturating_add(bytes);
        if self.names > MAX_NAMES {
            return Err(ImageError::Invalid(format!("there are too many files: more than {MAX_NAMES} bytes of names")));
        }
        Ok(())
    }

    fn remove_below(&mut self, path: &str) {
        if path.is_empty() {
            self.nodes.clear();
            return;
        }
        // The character after the slash.
        let below: Vec<_> =
            self.nodes.range(format!("{path}/")..format!("{path}0")).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }
}

/// The path of an entry; `None` for the root and for what nobody unpacks.
fn clean(path: &[u8]) -> Option<String> {
    if path.len() > MAX_PATH {
        return None;
    }
    let path = String::from_utf8_lossy(path);
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    (!names.is_empty() && !names.contains(&"..")).then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of paths: `a/` is a directory, `a -> b` a symlink.
    fn layer(entries: &[&str]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o755);
            match entry.split_once(" -> ") {
                Some((path, target)) => {
                    header.set_entry_type(EntryType::Symlink);
                    archive.append_link(&mut header, path, target).unwrap();
                }
                None => {
                    let kind = if entry.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
                    header.set_entry_type(kind);
                    archive.append_data(&mut header, entry, std::io::empty()).unwrap();
                }
            }
        }
        archive.into_inner().unwrap()
    }

    fn tree(layers: &[&[&str]]) -> Tree {
        let mut tree = Tree::default();
        for entries in layers {
            tree.layer(&layer(entries)[..]).unwrap();
        }
        tree
    }

    #[test]
    fn layers_lie_on_each_other() {
        let debian: &[&str] = &["usr/bin/", "usr/bin/sh", "bin -> usr/bin", "etc/a/b", "etc/c", "opt/x", "opt/y/z"];
        let tree = tree(&[debian, &["bin/new", "etc/.wh.a", "opt/kept", "opt/.wh..wh..opq", "etc/c/d"]]);
        for (path, expected) in [
            ("usr/bin/new", Some(Node::File)),
            ("bin", Some(Node::Symlink("usr/bin".to_owned()))),
            ("etc/a", None),
            ("etc/a/b", None),
            ("etc/c", Some(Node::Directory)),
            ("opt", Some(Node::Directory)),
            ("opt/kept", Some(Node::File)),
            ("opt/x", None),
            ("opt/y/z", None),
            ("", Some(Node::Directory)),
        ] {
            assert_eq!(tree.get(path), expected.as_ref(), "{path}");
        }
        let replaced = self::tree(&[debian, &["usr", "bin/"]]);
        assert_eq!(replaced.get("usr"), Some(&Node::File));
        assert_eq!(replaced.get("usr/bin/sh"), None);
        assert_eq!(replaced.get("bin"), Some(&Node::Directory));
    }

    #[test]
    fn paths_lead_where_linux_would_take_them() {
        let tree =
            tree(&[&["usr/bin/", "bin -> usr/bin", "abs -> /usr", "up/to -> ../../../bin", "loop -> loop", "f"]]);
        for (path, expected) in [
            ("bin/a", "usr/bin/a"),
            ("abs/./bin/../x", "usr/x"),
            ("up/to", "usr/bin"),
            ("none/of/it", "none/of/it"),
            ("f", "f"),
            ("../../f/", "f"),
        ] {
            assert_eq!(tree.real(path).unwrap(), expected, "{path}");
        }
        assert_eq!(tree.place("abs/bin").unwrap(), "usr/bin");
        assert_eq!(tree.place("bin").unwrap(), "bin");
        assert!(tree.real("loop/x").unwrap_err().to_string().contains("too many symlinks"));
        assert!(tree.real("f/x").unwrap_err().to_string().contains("/f is a file"));
    }

    #[test]
    fn hostile_layers_are_refused_or_of_no_consequence() {
        let mut tree = Tree::default();
        let deep = "a/".repeat(3000);
        tree.layer(&layer(&[&deep, "x -> x", "x/y", "ok"])[..]).unwrap();
        assert_eq!(tree.get("ok"), Some(&Node::File));
        // Every name is many directories: a small archive must not take the memory for all of them.
        let refused = (0..10_000).find_map(|number| {
            tree.put_unpacked(&format!("{number}{}", "/b".repeat(2000)), EntryType::Directory, b"").err()
        });
        assert!(refused.unwrap().to_string().contains("too many files"));
    }
}
