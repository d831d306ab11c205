//! `COPY` and `ADD`: where files go in the image. As BuildKit has it, a destination that is a directory of the image takes
//! files into it, whatever it is written like; symlinks on the way are followed; a directory is merged with one that is
//! there, also where a symlink leads to that, and never replaces or is replaced by anything else.

use std::sync::Arc;

use super::Build;
use super::context::{Context, Found, FoundKind, join};
use super::dockerfile::CopyFiles;
use super::layers::{Attributes, LayerBuilder};
use super::tree::{Node, Tree};
use crate::image::ImageError;

/// A destination.
struct Target {
    /// As it is written, made absolute.
    written: String,
    /// Where that leads.
    path: String,
    /// Whether files go into it.
    is_directory: bool,
}

/// A layer that files are copied to.
struct Copying<'a, 't> {
    builder: LayerBuilder<'a>,
    context: &'a Context,
    tree: &'t mut Tree,
    attributes: Option<Attributes>,
}

impl Build<'_> {
    pub(super) fn copy(&mut self, text: &str, files: &CopyFiles) -> Result<(), ImageError> {
        let put = |text: &Option<String>| text.as_ref().map(|text| self.put(text)).transpose();
        let (chown, chmod) = (put(&files.chown)?, put(&files.chmod)?);
        let attributes = Attributes::parse(chown.as_deref(), chmod.as_deref()).map_err(ImageError::Invalid)?;
        let sources = files.sources.iter().map(|word| self.put(word)).collect::<Result<Vec<_>, _>>()?;
        let destination = self.put(&files.destination)?;
        let mut matched = Vec::new();
        for source in &sources {
            matched.extend(self.context.matching(source)?);
        }
        let target = self.target(&destination, sources.len(), matched.len())?;
        let (context, store) = (Arc::clone(&self.context), self.store);
        let builder = LayerBuilder::new(store, &context)?;
        let mut copying = Copying { builder, context: &context, tree: self.tree()?, attributes };
        for source in &matched {
            copying.source(source, &target, files.is_add)?;
        }
        let builder = copying.builder;
        self.add_layer(builder, text)
    }

    /// All files of the context, to the root.
    pub(super) fn copy_all(&mut self) -> Result<(), ImageError> {
        let (context, store) = (Arc::clone(&self.context), self.store);
        let builder = LayerBuilder::new(store, &context)?;
        let mut copying = Copying { builder, context: &context, tree: self.tree()?, attributes: None };
        copying.directory("", "")?;
        let builder = copying.builder;
        self.add_layer(builder, "COPY . /")
    }

    fn target(&mut self, written: &str, sources: usize, matched: usize) -> Result<Target, ImageError> {
        let last = written.rsplit('/').next().unwrap_or_default();
        let says_directory = matches!(last, "" | "." | "..");
        let absolute = self.absolute(written);
        let tree = self.tree()?;
        let path = tree.real(absolute.trim_matches('/'))?;
        let found = tree.get(&path);
        let is_directory = says_directory || found == Some(&Node::Directory);
        // Docker: the slash may be missing only if what there are several of is wildcards' matches.
        if (sources > 1 && !says_directory) || (matched > 1 && !is_directory) {
            return Err(ImageError::Invalid(format!("several files are copied, so {written:?} must end with a slash")));
        }
        if is_directory && found == Some(&Node::File) {
            return Err(ImageError::Invalid(format!("{absolute} is a file of the image, not a directory")));
        }
        Ok(Target { written: absolute, path, is_directory })
    }
}

impl Copying<'_, '_> {
    /// One source, which may be a symlink itself.
    fn source(&mut self, source: &str, target: &Target, is_add: bool) -> Result<(), ImageError> {
        let found = self.context.look(source)?.ok_or_else(|| self.context.missing(source))?;
        if found.kind == FoundKind::Directory {
            match self.tree.get(&target.path) {
                Some(Node::Directory) => {}
                None => self.put(&found, &target.path, Node::Directory)?,
                Some(Node::File | Node::Symlink(_)) => return Err(no_directory(&target.written)),
            }
            return self.directory(source, &target.path);
        }
        if is_add && self.builder.is_archive(source)? {
            if self.tree.get(&target.path) == Some(&Node::File) {
                return Err(no_directory(&target.written));
            }
            return self.builder.add_archive(source, &target.path, self.attributes, self.tree);
        }
        let name = source.rsplit('/').next().unwrap_or(source);
        let to = if target.is_directory { join(&target.path, name) } else { target.path.clone() };
        self.file(&found, &to)
    }

    /// All that is in a directory of the context, to a directory of the image.
    fn directory(&mut self, source: &str, destination: &str) -> Result<(), ImageError> {
        for found in self.context.walk(source)? {
            let relative = found.path[source.len()..].trim_start_matches('/');
            let to = self.tree.place(&join(destination, relative))?;
            if found.kind != FoundKind::Directory {
                self.file(&found, &to)?;
                continue;
            }
            match self.tree.get(&to) {
                None | Some(Node::Directory) => self.put(&found, &to, Node::Directory)?,
                Some(Node::Symlink(_)) if self.leads_to_directory(&to) => {}
                Some(Node::File | Node::Symlink(_)) => return Err(no_directory(&format!("/{to}"))),
            }
        }
        Ok(())
    }

    fn leads_to_directory(&self, path: &str) -> bool {
        self.tree.real(path).is_ok_and(|path| self.tree.get(&path) == Some(&Node::Directory))
    }

    /// A file or symlink, instead of one that is there.
    fn file(&mut self, found: &Found, to: &str) -> Result<(), ImageError> {
        if self.tree.get(to) == Some(&Node::Directory) {
            let path = &found.path;
            return Err(ImageError::Invalid(format!(
                "{path:?} cannot be /{to}: that is a directory of the image, which a file does not replace"
            )));
        }
        let node = match &found.kind {
            FoundKind::Symlink(target) => Node::Symlink(target.clone()),
            FoundKind::File { .. } | FoundKind::Directory => Node::File,
        };
        self.put(found, to, node)
    }

    fn put(&mut self, found: &Found, to: &str, node: Node) -> Result<(), ImageError> {
        self.builder.copy_file(found, to, self.attributes)?;
        self.tree.put(to, node)
    }
}

fn no_directory(path: &str) -> ImageError {
    ImageError::Invalid(format!("{path} is there in the image and no directory, which a directory does not replace"))
}
