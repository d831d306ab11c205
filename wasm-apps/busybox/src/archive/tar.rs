//! `tar`: its command line, and listing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::wasi::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Entry};

use super::{create, extract};
use crate::failure::Failure;
use crate::glob;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "tar c|x|t [zvhkmpOP] [-f ARCHIVE] [-C DIR] [-T FILE] [-X FILE] [NAME]...

Create, extract or list an archive, on standard input or output unless -f names one

  -z  Compressed    -v  Say what is done    -h  Follow symbolic links    -k  Keep files that exist
  -m  Without times -O  To standard output  -C DIR  In DIR               -T FILE  Take names from FILE
  --exclude=GLOB, -X FILE  Leave out what matches    --strip-components=N  Without the first N parts of names

Names are taken relative to DIR: a leading / is dropped, and names with .. are refused";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Create,
    Extract,
    List,
}

/// What the command line says.
#[derive(Debug, Default)]
pub(super) struct Settings {
    mode: Option<Mode>,
    file: Option<PathBuf>,
    compressed: bool,
    pub(super) verbose: bool,
    pub(super) follow: bool,
    pub(super) keep_existing: bool,
    pub(super) no_times: bool,
    pub(super) to_output: bool,
    /// The umask takes from permissions.
    pub(super) masked: bool,
    pub(super) strip: usize,
    exclude: Vec<OsString>,
    /// Each with the directory it is relative to.
    pub(super) names: Vec<(PathBuf, OsString)>,
    /// Where files are taken from, or go to.
    pub(super) directory: PathBuf,
}

pub(crate) fn tar(mut arguments: Vec<OsString>) -> Result<u8, Failure> {
    bundle(&mut arguments);
    let mut settings = Settings { directory: std::env::current_dir()?, ..Settings::default() };
    settings.parse(arguments)?;
    match settings.mode {
        Some(Mode::Create) => settings.create(),
        Some(Mode::Extract) => extract::extract(&settings, &mut Archive::new(settings.input()?)),
        Some(Mode::List) => settings.list(),
        None => Err(Failure::usage("need at least one of options 'c', 't' or 'x'; see tar --help")),
    }
}

/// Rewrites `tar cfC a.tar dir` as `tar -c -f a.tar -C dir`.
fn bundle(arguments: &mut Vec<OsString>) {
    let Some(first) = arguments.first().filter(|first| !first.as_bytes().starts_with(b"-")) else { return };
    let letters = first.to_string_lossy().into_owned();
    let mut rest = arguments.split_off(1).into_iter();
    arguments.clear();
    for letter in letters.chars() {
        arguments.push(format!("-{letter}").into());
        if "fCTXI".contains(letter) {
            arguments.extend(rest.next());
        }
    }
    arguments.extend(rest);
}

impl Settings {
    fn parse(&mut self, arguments: Vec<OsString>) -> Result<(), Failure> {
        let mut line = CommandLine::new(arguments);
        while let Some(item) = line.next()? {
            let option = match item {
                Item::Operand(name) => {
                    self.names.push((self.directory.clone(), name));
                    continue;
                }
                Item::Option(option) => option,
            };
            match option.as_str() {
                "c" | "create" => self.mode = Some(Mode::Create),
                "x" | "extract" | "get" => self.mode = Some(Mode::Extract),
                "t" | "list" => self.mode = Some(Mode::List),
                "f" | "file" => self.file = Some(line.value()?.into()).filter(|file| file != Path::new("-")),
                "z" | "gzip" | "gunzip" => self.compressed = true,
                "a" | "auto-compress" => {}
                "v" | "verbose" => self.verbose = true,
                "h" | "dereference" => self.follow = true,
                "k" | "keep-old-files" => self.keep_existing = true,
                "m" | "touch" => self.no_times = true,
                "O" | "to-stdout" => self.to_output = true,
                "C" | "directory" => self.directory.push(line.value()?),
                "T" | "files-from" => {
                    let path = PathBuf::from(line.value()?);
                    let names = lines(&path)?;
                    self.names.extend(names.into_iter().map(|name| (self.directory.clone(), name)));
                }
                "exclude" => self.exclude.push(line.value()?),
                "X" | "exclude-from" => {
                    let path = PathBuf::from(line.value()?);
                    self.exclude.extend(lines(&path)?);
                }
                "no-same-permissions" => self.masked = true,
                "strip-components" => self.strip = line.number()?,
                "p"
                | "P"
                | "o"
                | "s"
                | "preserve-permissions"
                | "same-permissions"
                | "absolute-names"
                | "no-same-owner"
                | "same-owner"
                | "numeric-owner"
                | "overwrite"
                | "S"
                | "B"
                | "warning"
                | "no-overwrite-dir"
                | "totals" => drop(line.optional_value()),
                "j" | "J" | "bzip2" | "xz" | "zstd" => {
                    return Err(Failure::usage("only gzip's compression is supported (-z)"));
                }
                _ => return Err(unknown(&option)),
            }
        }
        Ok(())
    }

    fn input(&self) -> Result<Box<dyn Read>, Failure> {
        let mut input: Box<dyn Read> = match &self.file {
            Some(path) => Box::new(File::open(path).map_err(Failure::at(path))?),
            None => Box::new(io::stdin().lock()),
        };
        // What is compressed says so itself.
        let mut magic = Vec::with_capacity(2);
        input.by_ref().take(2).read_to_end(&mut magic)?;
        let compressed = self.compressed || magic == [0x1f, 0x8b];
        let input = BufReader::with_capacity(64 * 1024, io::Cursor::new(magic).chain(input));
        Ok(if compressed { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) })
    }

    fn create(&self) -> Result<u8, Failure> {
        if self.names.is_empty() {
            return Err(Failure::usage("cowardly refusing to create an empty archive"));
        }
        let output: Box<dyn Write> = match &self.file {
            Some(path) => Box::new(File::create(path).map_err(Failure::at(path))?),
            None => Box::new(io::stdout().lock()),
        };
        let output = io::BufWriter::with_capacity(64 * 1024, output);
        let name = self.file.as_ref().map(|file| file.to_string_lossy()).unwrap_or_default();
        if self.compressed || name.ends_with(".gz") || name.ends_with(".tgz") {
            let mut encoder = GzEncoder::new(output, flate2::Compression::default());
            let code = create::create(self, &mut encoder)?;
            encoder.finish()?.flush()?;
            return Ok(code);
        }
        let mut output = output;
        let code = create::create(self, &mut output)?;
        output.flush()?;
        Ok(code)
    }

    fn list(&self) -> Result<u8, Failure> {
        let mut archive = Archive::new(self.input()?);
        let mut output = io::BufWriter::new(io::stdout().lock());
        let mut found = vec![false; self.names.len()];
        for entry in archive.entries()? {
            let entry = entry.map_err(broken)?;
            let name = entry.path_bytes().into_owned();
            if self.is_wanted(&name, &mut found) {
                if self.verbose {
                    write!(output, "{} ", describe(&entry))?;
                }
                output.write_all(&name)?;
                if let (true, Some(target)) = (self.verbose, entry.link_name_bytes()) {
                    let arrow: &[u8] = if entry.header().entry_type().is_hard_link() { b" link to " } else { b" -> " };
                    output.write_all(&[arrow, &target].concat())?;
                }
                output.write_all(b"\n")?;
            }
        }
        output.flush()?;
        self.missing(&found)
    }

    /// Whether a name is chosen by the operands, or there are none, and not excluded; marks the operands in `found`.
    pub(super) fn is_wanted(&self, name: &[u8], found: &mut [bool]) -> bool {
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let mut wanted = self.names.is_empty();
        for ((_, operand), found) in self.names.iter().zip(found) {
            let operand = operand.as_bytes();
            let operand = operand.strip_suffix(b"/").unwrap_or(operand);
            if name == operand || name.strip_prefix(operand).is_some_and(|below| below.starts_with(b"/")) {
                (wanted, *found) = (true, true);
            }
        }
        wanted && !self.is_excluded(name)
    }

    /// Whether a name, what it is in, or its last part matches an excluded pattern.
    pub(super) fn is_excluded(&self, name: &[u8]) -> bool {
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let starts =
            std::iter::once(0).chain(name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1));
        let ends: Vec<usize> = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
        let matches = |text: &[u8]| {
            self.exclude.iter().any(|pattern| glob::matches(pattern.as_bytes(), text, glob::Options::default()))
        };
        starts
            .into_iter()
            .any(|start| matches(&name[start..]) || ends.iter().any(|end| *end > start && matches(&name[start..*end])))
    }

    /// Reports operands that the archive has not had.
    pub(super) fn missing(&self, found: &[bool]) -> Result<u8, Failure> {
        let mut code = 0;
        for ((_, name), _) in self.names.iter().zip(found).filter(|(_, found)| !**found) {
            eprintln!("tar: {}: Not found in archive", name.display());
            code = 2;
        }
        Ok(code)
    }
}

/// The failure for an archive that cannot be read.
pub(super) fn broken(error: io::Error) -> Failure {
    Failure::Usage(format!("this does not look like a tar archive: {error}"))
}

fn lines(path: &Path) -> Result<Vec<OsString>, Failure> {
    let read = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    Ok(read.map_err(Failure::at(path))?.lines().filter(|line| !line.is_empty()).map(OsString::from).collect())
}

/// `-rw-r--r-- root/root      12 2024-01-02 03:04`.
fn describe<R: Read>(entry: &Entry<'_, R>) -> String {
    let header = entry.header();
    let kind = match header.entry_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_hard_link() => 'h',
        _ => '-',
    };
    let mode = header.mode().unwrap_or_default();
    let letter = |bit: u32, letter| if mode >> bit & 1 != 0 { letter } else { '-' };
    let bits: String = (0..9).rev().map(|bit| letter(bit, ['x', 'w', 'r'][bit as usize % 3])).collect();
    let owner = |name: Result<Option<&str>, _>, id: u64| match name {
        Ok(Some(name)) if !name.is_empty() => name.to_owned(),
        _ => id.to_string(),
    };
    let user = owner(header.username().map_err(drop), header.uid().unwrap_or_default());
    let group = owner(header.groupname().map_err(drop), header.gid().unwrap_or_default());
    let seconds = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
    let time = crate::find::time_text((seconds, 0), "%Y-%m-%d %H:%M");
    format!("{kind}{bits} {user}/{group} {:>9} {time}", entry.size())
}
