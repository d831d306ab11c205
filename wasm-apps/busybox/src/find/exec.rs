//! `-exec` and its relatives.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Write};
use std::os::wasi::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use husk_process::Status;

use super::Entry;
use crate::failure::Failure;
use crate::process::Program;

/// How many bytes of paths a command gets at most.
const MAX_BATCH: usize = 128 * 1024;

/// A command to run for files.
pub(super) struct Exec {
    command: Vec<OsString>,
    /// Many files at once, in place of the last argument.
    batch: bool,
    in_folder: bool,
    asks: bool,
}

/// Files that commands are still to be run for, by the address of their `Exec`'s command.
#[derive(Default)]
pub(super) struct Batches {
    waiting: Vec<Batch>,
    failed: bool,
}

struct Batch {
    command: Vec<OsString>,
    directory: Option<PathBuf>,
    paths: Vec<OsString>,
    size: usize,
}

impl Exec {
    /// `name` is `-exec`, `-execdir`, `-ok` or `-okdir`.
    pub(super) fn new(name: &str, mut command: Vec<OsString>, batch: bool) -> Result<Self, Failure> {
        if batch {
            command.pop();
        }
        if command.is_empty() {
            return Err(Failure::Usage(format!("missing argument to '{name}'")));
        }
        Ok(Self { command, batch, in_folder: name.ends_with("dir"), asks: name.starts_with("-ok") })
    }

    /// Runs the command for a file, or keeps the file for later; whether it succeeded.
    pub(super) fn run(&self, entry: &Entry, batches: &mut Batches) -> Result<bool, Failure> {
        let (directory, path) = self.place(entry);
        if self.batch {
            batches.add(&self.command, directory, path)?;
            return Ok(true);
        }
        let argv: Vec<OsString> = self.command.iter().map(|word| replace(word, "{}", &path)).collect();
        if self.asks && !confirmed(&argv)? {
            return Ok(false);
        }
        run(argv, directory.as_deref())
    }

    /// Where the command runs, if not here, and what it calls the file.
    fn place(&self, entry: &Entry) -> (Option<PathBuf>, OsString) {
        if !self.in_folder {
            return (None, entry.path.clone().into_os_string());
        }
        let parent = entry.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut name = OsString::from("./");
        name.push(OsStr::from_bytes(entry.name()));
        (Some(parent.unwrap_or(Path::new(".")).to_owned()), name)
    }
}

impl Batches {
    fn add(&mut self, command: &[OsString], directory: Option<PathBuf>, path: OsString) -> Result<(), Failure> {
        let size = path.len() + 1;
        let known = |batch: &&mut Batch| batch.command == command && batch.directory == directory;
        match self.waiting.iter_mut().find(known) {
            Some(batch) if batch.size + size > MAX_BATCH => {
                let full = std::mem::replace(&mut batch.paths, vec![path]);
                batch.size = size;
                let argv = command.iter().cloned().chain(full).collect();
                self.failed |= !run(argv, directory.as_deref())?;
            }
            Some(batch) => {
                batch.paths.push(path);
                batch.size += size;
            }
            None => self.waiting.push(Batch { command: command.to_vec(), directory, paths: vec![path], size }),
        }
        Ok(())
    }

    /// Runs what still waits; whether every command succeeded.
    pub(super) fn finish(self) -> Result<bool, Failure> {
        let mut succeeded = !self.failed;
        for batch in self.waiting {
            let argv = batch.command.into_iter().chain(batch.paths).collect();
            succeeded &= run(argv, batch.directory.as_deref())?;
        }
        Ok(succeeded)
    }
}

fn run(argv: Vec<OsString>, directory: Option<&Path>) -> Result<bool, Failure> {
    let mut program = Program::new(argv);
    if let Some(directory) = directory {
        let absolute = std::env::current_dir()?.join(directory);
        program = program.in_directory(absolute);
    }
    match program.run() {
        Ok(status) => Ok(status == Status::Exited(0)),
        Err(Failure::Code(_, problem)) => {
            eprintln!("find: {problem}");
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}

/// Asks on standard error, and hears on standard input.
fn confirmed(argv: &[OsString]) -> Result<bool, Failure> {
    let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
    eprint!("< {} > ? ", words.join(" "));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_start().starts_with(['y', 'Y']))
}

/// Every occurrence of `from` in a word replaced.
pub(crate) fn replace(word: &OsStr, from: &str, to: &OsStr) -> OsString {
    let (mut output, mut rest) = (Vec::with_capacity(word.len() + to.len()), word.as_bytes());
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        output.extend_from_slice(&rest[..at]);
        output.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    output.extend_from_slice(rest);
    OsString::from_vec(output)
}
