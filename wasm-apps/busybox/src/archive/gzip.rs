//! `gzip`, `gunzip` and `zcat`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::attributes;
use crate::failure::{Failure, for_each};
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "gzip [-cdfkqrtv1-9] [FILE]...
       gunzip [-cfkqtv] [FILE]...
       zcat [FILE]...

Compress or decompress FILEs, or standard input

  -c  To standard output, keeping files    -d  Decompress    -k  Keep files    -f  Overwrite
  -t  Only test                            -v  Say more      -1 … -9  Faster … smaller";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Compress,
    Decompress,
    Test,
}

struct Settings {
    direction: Direction,
    to_output: bool,
    keep: bool,
    force: bool,
    verbose: bool,
    level: u32,
}

pub(crate) fn gzip(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run("gzip", Direction::Compress, false, arguments)
}

pub(crate) fn gunzip(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run("gunzip", Direction::Decompress, false, arguments)
}

pub(crate) fn zcat(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run("zcat", Direction::Decompress, true, arguments)
}

fn run(applet: &str, direction: Direction, to_output: bool, arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut settings = Settings { direction, to_output, keep: false, force: false, verbose: false, level: 6 };
    let mut files = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(file) => files.push(PathBuf::from(file)),
            Item::Option(option) => match option.as_str() {
                "c" | "stdout" | "to-stdout" => settings.to_output = true,
                "d" | "decompress" | "uncompress" => settings.direction = Direction::Decompress,
                "t" | "test" => settings.direction = Direction::Test,
                "k" | "keep" => settings.keep = true,
                "f" | "force" => settings.force = true,
                "v" | "verbose" => settings.verbose = true,
                "fast" => settings.level = 1,
                "best" => settings.level = 9,
                "n" | "N" | "no-name" | "name" | "q" | "quiet" | "a" => {}
                level if level.len() == 1 && level.as_bytes()[0].is_ascii_digit() => {
                    settings.level = u32::from(level.as_bytes()[0] - b'0').clamp(1, 9);
                }
                _ => return Err(unknown(&option)),
            },
        }
    }
    if files.is_empty() {
        files.push("-".into());
    }
    for_each(applet, &files, |path| settings.file(path))
}

impl Settings {
    fn file(&self, path: &Path) -> Result<(), Failure> {
        if path == Path::new("-") {
            if self.direction == Direction::Compress && io::stdout().is_terminal() && !self.force {
                return Err(Failure::usage("compressed data not written to a terminal; use -f to force compression"));
            }
            return self.copy(&mut io::stdin().lock(), &mut io::stdout().lock()).map_err(Failure::at("stdin"));
        }
        let metadata = fs::metadata(path).map_err(Failure::at(path))?;
        if metadata.is_dir() {
            return Err(Failure::Usage(format!("{} is a directory -- ignored", path.display())));
        }
        let mut input = File::open(path).map_err(Failure::at(path))?;
        if self.direction == Direction::Test {
            return self.copy(&mut input, &mut io::sink()).map_err(Failure::at(path));
        }
        if self.to_output {
            return match self.copy(&mut input, &mut io::stdout().lock()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error.into()),
                other => other.map_err(Failure::at(path)),
            };
        }
        let target = self.target(path)?;
        if target.exists() && !self.force {
            return Err(Failure::Usage(format!("{} already exists; not overwritten", target.display())));
        }
        let mut output = File::create(&target).map_err(Failure::at(&target))?;
        let copied = self.copy(&mut input, &mut output).and_then(|()| match metadata.modified() {
            Ok(time) => output.set_modified(time),
            Err(_) => Ok(()),
        });
        let copied = copied.and_then(|()| attributes::set_mode(&target, attributes::of(path, true)?.mode & 0o777));
        if let Err(error) = copied {
            let _half_a_file = fs::remove_file(&target);
            return Err(Failure::at(path)(error));
        }
        if self.verbose {
            eprintln!("{}:\t-- replaced with {}", path.display(), target.display());
        }
        if self.keep { Ok(()) } else { fs::remove_file(path).map_err(Failure::at(path)) }
    }

    /// The file that takes another one's place.
    fn target(&self, path: &Path) -> Result<PathBuf, Failure> {
        let name = path.as_os_str().to_string_lossy();
        if self.direction == Direction::Compress {
            if name.ends_with(".gz") {
                return Err(Failure::Usage(format!("{name} already has .gz suffix -- unchanged")));
            }
            let mut target = path.as_os_str().to_owned();
            target.push(".gz");
            return Ok(target.into());
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz" | "z" | "Z") => Ok(path.with_extension("")),
            Some("tgz") => Ok(path.with_extension("tar")),
            _ => Err(Failure::Usage(format!("{name}: unknown suffix -- ignored"))),
        }
    }

    fn copy(&self, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
        if self.direction == Direction::Compress {
            let mut encoder = GzEncoder::new(output, Compression::new(self.level));
            io::copy(input, &mut encoder)?;
            return encoder.finish()?.flush();
        }
        let mut input = BufReader::new(input);
        if !input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not in gzip format"));
        }
        io::copy(&mut MultiGzDecoder::new(input), output).map_err(named)?;
        output.flush()
    }
}

/// What the decoder's errors are called by `gzip`.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => io::Error::new(io::ErrorKind::InvalidData, "not in gzip format"),
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "unexpected end of file"),
        _ => error,
    }
}
