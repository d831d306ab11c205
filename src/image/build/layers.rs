//! The layers of an image in the making: archives of files of the context, which are the same whenever they are made of
//! the same files.

use std::collections::BTreeMap;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use oci_spec::image::{Descriptor, MediaType};
use tar::EntryType;
use tempfile::NamedTempFile;

use super::context::{Context, Found, FoundKind, join};
use crate::image::compression::Compression;
use crate::image::layout::{HashingWriter, Sha256Hex, failed};
use crate::image::lease::Lease;
use crate::image::load::MAX_LAYER;
use crate::image::platform::host_platform;
use crate::image::program::ProgramKind;
use crate::image::{ImageError, ImageStore};

/// Owner and mode that `COPY` is to give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    owner: (u64, u64),
    mode: Option<u32>,
}

impl Attributes {
    /// From `--chown` and `--chmod`, which must be numbers: names mean nothing without the image's users.
    pub(super) fn parse(chown: Option<&str>, chmod: Option<&str>) -> Result<Option<Self>, String> {
        if chown.is_none() && chmod.is_none() {
            return Ok(None);
        }
        let mut attributes = Self::default();
        if let Some(chown) = chown {
            let (user, group) = chown.split_once(':').unwrap_or((chown, chown));
            let number = |text: &str| {
                text.parse::<u32>().map(u64::from).map_err(|_| format!("--chown={chown}: only numbers are supported"))
            };
            attributes.owner = (number(user)?, number(group)?);
        }
        if let Some(chmod) = chmod {
            let mode = u32::from_str_radix(chmod, 8).ok().filter(|mode| *mode <= 0o7777);
            attributes.mode = Some(mode.ok_or_else(|| format!("--chmod={chmod}: only octal numbers are supported"))?);
        }
        Ok(Some(attributes))
    }
}

/// A layer that is stored.
pub(super) struct MadeLayer {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Sha256Hex,
    /// Programs in it: by path, `os/architecture`.
    pub(super) programs: BTreeMap<String, String>,
}

/// A layer in the making.
pub(super) struct LayerBuilder<'a> {
    store: &'a ImageStore,
    context: &'a Context,
    archive: tar::Builder<HashingWriter<BufWriter<NamedTempFile>>>,
    programs: BTreeMap<String, String>,
    size: u64,
}

impl<'a> LayerBuilder<'a> {
    pub(super) fn new(store: &'a ImageStore, context: &'a Context) -> Result<Self, ImageError> {
        let file = BufWriter::with_capacity(256 * 1024, store.layout.temporary()?);
        let archive = tar::Builder::new(HashingWriter::new(file));
        Ok(Self { store, context, archive, programs: BTreeMap::new(), size: 0 })
    }

    /// All that is in a directory of the context, to a directory of the image.
    pub(super) fn copy_tree(
        &mut self,
        source: &str,
        destination: &str,
        attributes: Option<Attributes>,
    ) -> Result<(), ImageError> {
        for found in self.context.walk(source)? {
            let relative = found.path[source.len()..].trim_start_matches('/');
            let to = join(destination, relative);
            self.copy_file(&found, &to, attributes)?;
        }
        Ok(())
    }

    /// One file, directory or symlink, to a path of the image.
    pub(super) fn copy_file(
        &mut self,
        found: &Found,
        to: &str,
        attributes: Option<Attributes>,
    ) -> Result<(), ImageError> {
        if to.is_empty() {
            return Err(ImageError::Invalid(format!("{:?} cannot be the root of the image", found.path)));
        }
        let attributes = attributes.unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_mode(attributes.mode.unwrap_or(found.mode));
        header.set_uid(attributes.owner.0);
        header.set_gid(attributes.owner.1);
        header.set_mtime(found.modified);
        header.set_size(0);
        let written = match &found.kind {
            FoundKind::Directory => {
                header.set_entry_type(EntryType::Directory);
                // The mode for files would close directories.
                header.set_mode(found.mode);
                self.archive.append_data(&mut header, format!("{to}/"), std::io::empty())
            }
            FoundKind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                self.archive.append_link(&mut header, to, target)
            }
            FoundKind::File { size } => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(*size);
                self.size = self.size.saturating_add(*size);
                if self.size > MAX_LAYER {
                    return Err(ImageError::Invalid(format!("a layer would have more than {MAX_LAYER} bytes")));
                }
                let (start, file) = self.begin_file(found)?;
                self.note_program(to, &start);
                let contents = start.chain(file).take(*size);
                // A file that has shrunk meanwhile is filled up, as tar does.
                let contents = contents.chain(std::io::repeat(0)).take(*size);
                self.archive.append_data(&mut header, to, contents)
            }
        };
        written.map_err(failed("cannot add", Path::new(&found.path)))
    }

    /// An empty directory.
    pub(super) fn directory(&mut self, path: &str) -> Result<(), ImageError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        self.archive
            .append_data(&mut header, format!("{path}/"), std::io::empty())
            .map_err(failed("cannot add", Path::new(path)))
    }

    /// Whether a file is an archive, which `ADD` would unpack.
    pub(super) fn is_archive(&self, path: &str) -> Result<bool, ImageError> {
        let mut start = Vec::new();
        self.context.file(path)?.take(512).read_to_end(&mut start).map_err(failed("cannot read", Path::new(path)))?;
        let compressed = Compression::of_contents(&start) != Compression::None;
        Ok(compressed || start.get(257..262) == Some(b"ustar"))
    }

    fn begin_file(&self, found: &Found) -> Result<(std::io::Cursor<Vec<u8>>, cap_std::fs::File), ImageError> {
        let mut file = self.context.file(&found.path)?;
        let mut start = Vec::new();
        (&mut file).take(8).read_to_end(&mut start).map_err(failed("cannot read", Path::new(&found.path)))?;
        Ok((std::io::Cursor::new(start), file))
    }

    fn note_program(&mut self, path: &str, start: &std::io::Cursor<Vec<u8>>) {
        let start = start.get_ref();
        let platform = match ProgramKind::of(start) {
            Ok(kind) => kind.platform(),
            Err(_) if start.starts_with(b"\x7fELF") => host_platform(),
            Err(_) => return,
        };
        self.programs.insert(path.to_owned(), platform);
    }

    pub(super) fn finish(self, lease: &Lease) -> Result<MadeLayer, ImageError> {
        let written = self.archive.into_inner().and_then(|mut writer| writer.flush().map(|()| writer));
        let writer = written.map_err(failed("cannot write", Path::new("a layer")))?;
        let (file, diff_id, size) = writer.into_parts();
        let file =
            file.into_inner().map_err(|error| failed("cannot write", Path::new("a layer"))(error.into_error()))?;
        self.store.layout.publish_blob(lease, file, &diff_id)?;
        Ok(MadeLayer { descriptor: diff_id.descriptor(MediaType::ImageLayer, size), diff_id, programs: self.programs })
    }
}
