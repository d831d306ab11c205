//! Tests of the filesystem as a guest sees it: through a mount table.

mod layers;
mod modes;
mod mounts;
mod oracle;
mod paths;
mod trees;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::*;

/// For reading, following symlinks.
pub(super) const READ: OpenOptions = OpenOptions {
    read: true,
    write: false,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    follow: true,
    mode: 0o644,
};
/// For writing from the start, as a shell's `>` does.
pub(super) const WRITE: OpenOptions = OpenOptions { read: false, write: true, create: true, truncate: true, ..READ };

pub(super) fn file(dir: &Dir, path: &str, options: OpenOptions) -> Result<File, Errno> {
    match dir.open(path, options)? {
        Opened::File(file) => Ok(file),
        Opened::Dir(_) => Err(Errno::IsDirectory),
    }
}

pub(super) fn directory(dir: &Dir, path: &str) -> Result<Dir, Errno> {
    match dir.open(path, OpenOptions { directory: true, ..READ })? {
        Opened::Dir(dir) => Ok(dir),
        Opened::File(_) => Err(Errno::NotDirectory),
    }
}

pub(super) fn read(dir: &Dir, path: &str) -> Result<String, Errno> {
    let contents = file(dir, path, READ)?.contents()?;
    Ok(String::from_utf8(contents.to_vec()).unwrap())
}

pub(super) fn write(dir: &Dir, path: &str, contents: &str) -> Result<(), Errno> {
    let file = file(dir, path, WRITE)?;
    let mut written = 0;
    while written < contents.len() {
        written += file.write_at(&contents.as_bytes()[written..], written as u64)?;
    }
    Ok(())
}

pub(super) fn names(dir: &Dir, path: &str) -> Result<Vec<String>, Errno> {
    Ok(directory(dir, path)?.entries()?.into_iter().map(|entry| entry.name).collect())
}

/// One entry of a test archive.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    Dir(&'a str),
    File(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    Hard(&'a str, &'a str),
}

/// A tar archive with names exactly as given, however malicious.
pub(super) fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        let (name, kind, link, contents) = match *item {
            Item::Dir(name) => (name, ::tar::EntryType::Directory, "", ""),
            Item::File(name, contents) => (name, ::tar::EntryType::Regular, "", contents),
            Item::Symlink(name, target) => (name, ::tar::EntryType::Symlink, target, ""),
            Item::Hard(name, target) => (name, ::tar::EntryType::Link, target, ""),
        };
        let mut header = ::tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == ::tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(contents.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(super) fn layer(items: &[Item<'_>]) -> Arc<Layer> {
    Layer::from_tar_bytes("sha256:test", archive(items).into()).unwrap()
}

pub(super) fn stack(layers: &[&[Item<'_>]]) -> Arc<LayerStack> {
    LayerStack::new(layers.iter().map(|items| layer(items)).collect()).unwrap()
}

/// A container's root over `layers`, its written files below `scratch`.
pub(super) fn container(scratch: &Path, layers: &[&[Item<'_>]]) -> TreeFs {
    TreeFs::over(stack(layers), scratch.join("upper"), None)
}

pub(super) fn table(root: impl Into<MountSource>) -> MountTable {
    MountTable::builder(root).build().unwrap()
}

pub(super) fn memory() -> TreeFs {
    TreeFs::in_memory(16 << 20)
}

#[test]
fn bytes_of_a_built_in_image_are_not_copied() {
    let contents = Bytes::from(vec![7; 100_000]);
    let stack = LayerStack::new(vec![Layer::from_single_file("/bin/app", contents.clone())]).unwrap();
    let root = table(TreeFs::over(stack, std::env::temp_dir().join("never-written"), None)).root();
    let app = file(&root, "/bin/app", READ).unwrap();
    assert_eq!(app.contents().unwrap().as_ptr(), contents.as_ptr());
    assert_eq!(app.stat().unwrap().mode, 0o755);
}
