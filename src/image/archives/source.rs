//! Files by name, in an archive or a directory. An archive is gone through once; then its files are read where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::image::ImageError;
use crate::image::archive::Archive;
use crate::image::compression::Compression;
use crate::image::layout::{Layout, failed};

/// The most entries of an archive of images.
const MAX_ENTRIES: usize = 100_000;
/// The most bytes of one, uncompressed.
const MAX_ARCHIVE: u64 = 64 * 1024 * 1024 * 1024;
/// The most links from name to name.
const MAX_LINKS: usize = 8;

/// Where images are loaded from.
pub(super) enum Source {
    Directory(PathBuf),
    Archive { file: File, entries: HashMap<String, Place> },
}

/// Where a file of an archive is.
pub(super) enum Place {
    Data {
        offset: u64,
        size: u64,
    },
    /// It is another name for this one.
    Link(String),
}

/// A file's content, and its size.
type Found<'a> = (Box<dyn Read + 'a>, u64);

impl Source {
    /// Opens a directory or an archive, compressed or not. `-` is standard input.
    pub(super) fn open(layout: &Layout, path: &Path) -> Result<Self, ImageError> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let file = if path == Path::new("-") {
            spooled(layout, BufReader::new(io::stdin()), Compression::None, path)?
        } else {
            let file = File::open(path).map_err(failed("cannot open", path))?;
            // What is no file cannot be read twice: a pipe, as of a shell's `<(…)`.
            if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                file
            } else {
                spooled(layout, BufReader::new(file), Compression::None, path)?
            }
        };
        let mut start = Vec::new();
        let read = (&file).take(6).read_to_end(&mut start).and_then(|_| (&file).seek(SeekFrom::Start(0)));
        read.map_err(failed("cannot read", path))?;
        if let Some((name, tool)) = unsupported(&start) {
            let path = path.display();
            return Err(ImageError::Invalid(format!(
                "{path} is compressed with {name}, which is not supported: uncompress it first ({tool} -dc FILE | husk image load)"
            )));
        }
        let file = match Compression::of_contents(&start) {
            Compression::None => file,
            compression => spooled(layout, BufReader::new(file), compression, path)?,
        };
        let entries = index(&file)
            .map_err(|problem| ImageError::Invalid(format!("{} is no archive of images: {problem}", path.display())))?;
        Ok(Self::Archive { file, entries })
    }

    /// A file and its size; `None` if there is none of this name.
    pub(super) fn file(&self, name: &str) -> Result<Option<Found<'_>>, ImageError> {
        match self {
            Self::Directory(root) => {
                let path = root.join(name);
                let file = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    opened => opened.map_err(failed("cannot open", &path))?,
                };
                let size = file.metadata().map_err(failed("cannot read", &path))?.len();
                Ok(Some((Box::new(file), size)))
            }
            Self::Archive { file, entries } => {
                let mut name = name;
                for _ in 0..MAX_LINKS {
                    match entries.get(name) {
                        None => return Ok(None),
                        Some(Place::Link(target)) => name = target,
                        Some(Place::Data { offset, size }) => {
                            let mut from = file;
                            from.seek(SeekFrom::Start(*offset)).map_err(failed("cannot read", Path::new(name)))?;
                            return Ok(Some((Box::new(from.take(*size)), *size)));
                        }
                    }
                }
                Ok(None)
            }
        }
    }

    /// A document, whole.
    pub(super) fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some((file, size)) = self.file(name)? else { return Ok(None) };
        if size > limit {
            return Err(ImageError::Invalid(format!("{name} of {size} bytes exceeds the limit of {limit}")));
        }
        let mut contents = Vec::new();
        file.take(limit).read_to_end(&mut contents).map_err(failed("cannot read", Path::new(name)))?;
        Ok(Some(contents))
    }
}

/// Compressions that are known by the first bytes of a file and not supported: what they are called, and what undoes them.
fn unsupported(start: &[u8]) -> Option<(&'static str, &'static str)> {
    match start {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(("xz", "xz")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(("bzip2", "bzip2")),
        [b'L', b'Z', b'I', b'P', ..] => Some(("lzip", "lzip")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(("lz4", "lz4")),
        _ => None,
    }
}

/// Writes what is read to a file without a name.
fn spooled(
    layout: &Layout,
    source: impl io::BufRead + Send,
    compression: Compression,
    path: &Path,
) -> Result<File, ImageError> {
    let mut file = layout.nameless()?;
    let copied = io::copy(&mut compression.reader(source).take(MAX_ARCHIVE + 1), &mut file);
    if copied.map_err(failed("cannot read", path))? > MAX_ARCHIVE {
        return Err(ImageError::Invalid(format!("{} has more than {MAX_ARCHIVE} bytes", path.display())));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed("cannot read", path))?;
    Ok(file)
}

fn index(file: &File) -> Result<HashMap<String, Place>, String> {
    let mut archive = Archive::new(BufReader::new(file));
    let mut entries = HashMap::new();
    while let Some(entry) = archive.next_entry().map_err(|error| error.to_string())? {
        if entries.len() >= MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} entries"));
        }
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let name = name.trim_start_matches("./").to_owned();
        let link = || String::from_utf8_lossy(&entry.link).into_owned();
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => {
                entries.insert(name, Place::Data { offset: archive.position(), size: entry.size });
            }
            EntryType::Link => {
                entries.insert(name, Place::Link(link()));
            }
            EntryType::Symlink => {
                let target = beside(&name, &link());
                entries.insert(name, Place::Link(target));
            }
            _ => {}
        }
    }
    Ok(entries)
}

/// What a relative symlink in an archive names: Docker's old ones have `../<layer>/layer.tar`.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
