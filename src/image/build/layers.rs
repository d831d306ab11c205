//! The layers of an image in the making: archives of files of the context, which are the same whenever they are made of
//! the same files.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use oci_spec::image::{Descriptor, MediaType};
use tar::EntryType;
use tempfile::NamedTempFile;

use super::context::{Context, Found, FoundKind, MAX_FILES, join};
use super::tree::Tree;
use crate::image::archive::{Archive, ArchiveError, Entry};
use crate::image::compression::Compression;
use crate::image::layout::{HashingWriter, Sha256Hex, failed};
use crate::image::lease::Lease;
use crate::image::load::MAX_LAYER;
use crate::image::platform::host_platform;
use crate::image::program::ProgramKind;
use crate::image::{ImageError, ImageStore};

/// What Docker unpacks and this does not.
const UNKNOWN_COMPRESSIONS: [(&[u8], &str); 2] = [(b"\xfd7zXZ", "xz"), (b"BZh", "bzip2")];

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
                let contents = start.as_slice().chain(file).take(*size);
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

    /// Whether a file is an archive, compressed or not, which `ADD` unpacks.
    pub(super) fn is_archive(&self, path: &str) -> Result<bool, ImageError> {
        let mut start = Vec::new();
        self.context.file(path)?.take(8).read_to_end(&mut start).map_err(failed("cannot read", Path::new(path)))?;
        for (magic, name) in UNKNOWN_COMPRESSIONS {
            if start.starts_with(magic) {
                return Err(ImageError::Invalid(format!(
                    "ADD does not unpack {path:?}, which is compressed with {name}: use gzip or zstd, or COPY it as it is"
                )));
            }
        }
        let mut header = Vec::new();
        // What is no stream of its kind is no archive either.
        let _ended = self.uncompressed(path)?.take(512).read_to_end(&mut header);
        Ok(header.get(257..262) == Some(b"ustar"))
    }

    fn uncompressed(&self, path: &str) -> Result<Box<dyn Read + Send>, ImageError> {
        let mut file = BufReader::new(self.context.file(path)?);
        let compression = Compression::of_contents(file.fill_buf().map_err(failed("cannot read", Path::new(path)))?);
        Ok(compression.reader(file))
    }

    /// All that is in an archive of the context, to a directory of the image. Owners stay unless others are given.
    pub(super) fn add_archive(
        &mut self,
        path: &str,
        destination: &str,
        attributes: Option<Attributes>,
        tree: &mut Tree,
    ) -> Result<(), ImageError> {
        let bad = |error: ArchiveError| ImageError::Invalid(format!("{path}: {error}"));
        let mut archive = Archive::new(self.uncompressed(path)?);
        let mut entries = 0;
        while let Some(entry) = archive.next_entry().map_err(bad)? {
            entries += 1;
            if entries > MAX_FILES {
                return Err(ImageError::Invalid(format!("{path} has more than {MAX_FILES} entries")));
            }
            let added = inside(destination, &entry.path).and_then(|to| {
                let Some(to) = to else { return Ok(()) };
                self.add_entry(&mut archive, &entry, (destination, &to), attributes)?;
                tree.put_unpacked(&to, entry.kind, &entry.link)
            });
            added.map_err(|error| ImageError::Invalid(format!("{path}: {error}")))?;
        }
        Ok(())
    }

    fn add_entry<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        (destination, to): (&str, &str),
        attributes: Option<Attributes>,
    ) -> Result<(), ImageError> {
        let mut header = tar::Header::new_gnu();
        let owner = attributes.map_or((entry.uid, entry.gid), |attributes| attributes.owner);
        header.set_mode(attributes.and_then(|attributes| attributes.mode).unwrap_or(entry.mode & 0o7777));
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(u64::try_from(entry.modified.0).unwrap_or(0));
        header.set_size(0);
        header.set_entry_type(entry.kind);
        let xattrs = entry.xattrs.iter().map(|(name, value)| {
            let name = String::from_utf8_lossy(name);
            (format!("SCHILY.xattr.{name}"), value.as_slice())
        });
        let xattrs: Vec<_> = xattrs.collect();
        let xattrs = xattrs.iter().map(|(name, value)| (name.as_str(), *value));
        let cannot = |error| failed("cannot add", Path::new(to))(error);
        if !entry.xattrs.is_empty() {
            self.archive.append_pax_extensions(xattrs).map_err(cannot)?;
        }
        let added = match entry.kind {
            EntryType::Directory => self.archive.append_data(&mut header, format!("{to}/"), std::io::empty()),
            EntryType::Symlink => self.archive.append_link(&mut header, to, text(&entry.link)?),
            EntryType::Link => {
                let target = inside(destination, &entry.link)?.unwrap_or_default();
                self.archive.append_link(&mut header, to, target)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                header.set_entry_type(EntryType::Regular);
                self.size = self.size.saturating_add(entry.size);
                if self.size > MAX_LAYER {
                    return Err(ImageError::Invalid(format!("a layer would have more than {MAX_LAYER} bytes")));
                }
                header.set_size(entry.size);
                let mut contents = EntryReader::new(archive, entry);
                let mut start = Vec::new();
                (&mut contents).take(8).read_to_end(&mut start).map_err(cannot)?;
                self.note_program(to, &start);
                self.archive.append_data(&mut header, to, start.as_slice().chain(contents))
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                self.archive.append_data(&mut header, to, std::io::empty())
            }
            _ => Ok(()),
        };
        added.map_err(cannot)
    }

    fn begin_file(&self, found: &Found) -> Result<(Vec<u8>, cap_std::fs::File), ImageError> {
        let mut file = self.context.file(&found.path)?;
        let mut start = Vec::new();
        (&mut file).take(8).read_to_end(&mut start).map_err(failed("cannot read", Path::new(&found.path)))?;
        Ok((start, file))
    }

    fn note_program(&mut self, path: &str, start: &[u8]) {
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

/// Where an entry of an archive goes; `None` for the directory that all goes to.
fn inside(destination: &str, path: &[u8]) -> Result<Option<String>, ImageError> {
    let path = text(path)?;
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        return Err(ImageError::Invalid(format!("entry {path:?} leads outside")));
    }
    Ok((!names.is_empty()).then(|| join(destination, &names.join("/"))))
}

fn text(name: &[u8]) -> Result<&str, ImageError> {
    std::str::from_utf8(name)
        .map_err(|_| ImageError::Invalid(format!("{:?} is no UTF-8 name", String::from_utf8_lossy(name))))
}

/// The content of an entry, with zeros where a sparse file has holes.
struct EntryReader<'a, R> {
    archive: &'a mut Archive<R>,
    /// Zeros, then data, and so on.
    spans: std::vec::IntoIter<(Span, u64)>,
    current: (Span, u64),
}

#[derive(Clone, Copy)]
enum Span {
    Hole,
    Data,
}

impl<'a, R: Read> EntryReader<'a, R> {
    fn new(archive: &'a mut Archive<R>, entry: &Entry) -> Self {
        let whole = [(0, entry.size)];
        let mut spans = Vec::new();
        let mut end = 0;
        for (offset, length) in entry.pieces.as_deref().unwrap_or(&whole) {
            spans.extend([(Span::Hole, offset - end), (Span::Data, *length)]);
            end = offset + length;
        }
        spans.push((Span::Hole, entry.size - end));
        Self { archive, spans: spans.into_iter(), current: (Span::Hole, 0) }
    }
}

impl<R: Read> Read for EntryReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.1 == 0 {
            match self.spans.next() {
                Some(next) => self.current = next,
                None => return Ok(0),
            }
        }
        let wanted = usize::try_from(self.current.1).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..wanted];
        let count = match self.current.0 {
            Span::Hole => {
                buffer.fill(0);
                wanted
            }
            Span::Data => self.archive.read_data(buffer).map_err(io::Error::other)?,
        };
        self.current.1 -= count as u64;
        Ok(count)
    }
}
