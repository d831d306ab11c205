//! `grep`, `egrep` and `fgrep`: patterns, options and files here; how lines are found and shown in [`search`].

mod patterns;
mod search;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, reason};
use crate::glob;
use crate::options::{CommandLine, Item, text, unknown};
use patterns::{Kind, PatternOptions};
use search::{Search, Show};

pub(crate) const USAGE: &str = "grep [OPTION]... PATTERN [FILE]...

Search for PATTERN in FILEs or standard input

  -E, -F, -G      PATTERN is an extended expression, fixed text, a basic expression
  -e PATTERN      Search for this, too   -f FILE   Take patterns from FILE
  -i -w -x -v     Ignore case; whole words; whole lines; lines that do not match
  -c -l -L -o -q  Print counts; names with, without a match; only matches; nothing
  -n -b -h -H     Print line numbers; byte offsets; no names; names
  -m N            Stop after N lines
  -A N -B N -C N  Print lines after, before, around matches
  -r -R           Search folders
  -s -a -I -z     No errors about files; binary is text; skip binary; lines end with NUL
  --include=GLOB --exclude=GLOB --exclude-dir=GLOB --color[=WHEN] --line-buffered

Exit code 0: found, 1: not found, 2: trouble";

/// Everything the command line says.
#[derive(Debug, Default)]
struct Options {
    patterns: Option<Vec<String>>,
    pattern_options: PatternOptions,
    show: Show,
    paths: Vec<PathBuf>,
    recursive: bool,
    /// Whether names are printed, where the command line says it.
    names: Option<bool>,
    no_messages: bool,
    include: Vec<OsString>,
    exclude: Vec<OsString>,
    exclude_dir: Vec<OsString>,
}

pub(crate) fn grep(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run(arguments, Kind::Basic)
}

pub(crate) fn egrep(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run(arguments, Kind::Extended)
}

pub(crate) fn fgrep(arguments: Vec<OsString>) -> Result<u8, Failure> {
    run(arguments, Kind::Fixed)
}

fn run(arguments: Vec<OsString>, kind: Kind) -> Result<u8, Failure> {
    let mut options = Options::default();
    options.pattern_options.kind = kind;
    options.parse(arguments)?;
    let patterns = match options.patterns.take() {
        Some(patterns) => patterns,
        None if options.paths.is_empty() => return Err(Failure::usage("no pattern given; see grep --help")),
        None => lines_of(&text(options.paths.remove(0).into_os_string())?),
    };
    let matcher = patterns::compile(&patterns, options.pattern_options)?;
    if options.paths.is_empty() {
        options.paths.push(PathBuf::from(if options.recursive { "" } else { "-" }));
    }
    let several = options.paths.len() > 1 || options.recursive && options.paths.iter().any(|path| is_folder(path));
    options.show.names = options.names.unwrap_or(several);
    let show = std::mem::take(&mut options.show);
    let mut files = Files { search: Search::new(matcher.as_ref(), show), options, trouble: false };
    for path in std::mem::take(&mut files.options.paths) {
        files.argument(&path)?;
        if files.done() {
            break;
        }
    }
    files.search.output.flush()?;
    let found = files.search.any_selected;
    Ok(match (found, files.trouble) {
        (true, true) if files.search.show.quiet => 0,
        (_, true) => 2,
        (true, false) => 0,
        (false, false) => 1,
    })
}

fn lines_of(text: &str) -> Vec<String> {
    text.strip_suffix('\n').unwrap_or(text).split('\n').map(str::to_owned).collect()
}

impl Options {
    fn parse(&mut self, arguments: Vec<OsString>) -> Result<(), Failure> {
        let mut line = CommandLine::new(arguments);
        let mut digits = String::new();
        while let Some(item) = line.next()? {
            match item {
                Item::Operand(path) => self.paths.push(path.into()),
                Item::Option(option) if option.bytes().all(|byte| byte.is_ascii_digit()) => {
                    digits.push_str(&option);
                    let lines = digits.parse().map_err(|_| Failure::usage("invalid context length argument"))?;
                    (self.show.before, self.show.after) = (lines, lines);
                    continue;
                }
                Item::Option(option) => {
                    let found = self.pattern_option(&option) || self.output_option(&option);
                    if !found && !self.with_value(&option, &mut line)? {
                        return Err(unknown(&option));
                    }
                }
            }
            digits.clear();
        }
        Ok(())
    }

    fn pattern_option(&mut self, option: &str) -> bool {
        let pattern = &mut self.pattern_options;
        match option {
            "E" | "extended-regexp" => pattern.kind = Kind::Extended,
            "F" | "fixed-strings" => pattern.kind = Kind::Fixed,
            "G" | "basic-regexp" => pattern.kind = Kind::Basic,
            "P" | "perl-regexp" => pattern.kind = Kind::Perl,
            "i" | "y" | "ignore-case" => pattern.ignore_case = true,
            "no-ignore-case" => pattern.ignore_case = false,
            "w" | "word-regexp" => pattern.word = true,
            "x" | "line-regexp" => pattern.whole_line = true,
            "z" | "null-data" => self.show.terminator = 0,
            "r" | "R" | "recursive" | "dereference-recursive" => self.recursive = true,
            "s" | "no-messages" => self.no_messages = true,
            "h" | "no-filename" => self.names = Some(false),
            "H" | "with-filename" => self.names = Some(true),
            _ => return false,
        }
        true
    }

    fn output_option(&mut self, option: &str) -> bool {
        let show = &mut self.show;
        match option {
            "v" | "invert-match" => show.invert = true,
            "c" | "count" => show.count = true,
            "l" | "files-with-matches" => show.files_with = true,
            "L" | "files-without-match" => show.files_without = true,
            "n" | "line-number" => show.line_numbers = true,
            "b" | "byte-offset" => show.offsets = true,
            "o" | "only-matching" => show.only_matching = true,
            "q" | "quiet" | "silent" => show.quiet = true,
            "a" | "text" => show.binary_is_text = true,
            "I" => show.skip_binary = true,
            "Z" | "null" => show.nul_after_name = true,
            "line-buffered" => show.line_buffered = true,
            "U" | "u" | "binary" => {}
            _ => return false,
        }
        true
    }

    fn with_value(&mut self, option: &str, line: &mut CommandLine) -> Result<bool, Failure> {
        match option {
            "color" | "colour" => {
                let when = line.optional_value();
                self.show.color = match when.as_ref().and_then(|when| when.to_str()) {
                    Some("always" | "yes" | "force") => true,
                    Some("never" | "no" | "none") => false,
                    _ => io::stdout().is_terminal(),
                };
            }
            "e" | "regexp" => {
                let added = lines_of(&line.text()?);
                self.patterns.get_or_insert_default().extend(added);
            }
            "f" | "file" => {
                let path = PathBuf::from(line.value()?);
                let read =
                    if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(&path) };
                let contents = read.map_err(Failure::at(&path))?;
                let added = if contents.is_empty() { Vec::new() } else { lines_of(&contents) };
                self.patterns.get_or_insert_default().extend(added);
            }
            "m" | "max-count" => self.show.max_count = Some(line.number()?),
            "A" | "after-context" => self.show.after = line.number()?,
            "B" | "before-context" => self.show.before = line.number()?,
            "C" | "context" => {
                let lines = line.number()?;
                (self.show.before, self.show.after) = (lines, lines);
            }
            "include" => self.include.push(line.value()?),
            "exclude" => self.exclude.push(line.value()?),
            "exclude-dir" => self.exclude_dir.push(line.value()?),
            "label" => self.show.label = line.text()?,
            "d" | "directories" => match line.value()?.to_str() {
                Some("recurse") => self.recursive = true,
                Some("skip") => self.no_messages = true,
                _ => {}
            },
            "binary-files" => match line.value()?.to_str() {
                Some("text") => self.show.binary_is_text = true,
                Some("without-match") => self.show.skip_binary = true,
                _ => {}
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether a file found in a folder, or named, is to be searched.
    fn is_wanted(&self, path: &Path) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|glob| glob_matches(glob, path));
        included && !self.exclude.iter().any(|glob| glob_matches(glob, path))
    }
}

/// Whether this is the working directory where nobody has named it: what is found there is shown without a folder.
fn is_here(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

fn is_folder(path: &Path) -> bool {
    is_here(path) || path.is_dir()
}

fn glob_matches(pattern: &OsString, path: &Path) -> bool {
    let name = path.file_name().unwrap_or(path.as_os_str());
    glob::matches(pattern.as_encoded_bytes(), name.as_encoded_bytes(), glob::Options::default())
}

/// Goes through the files and folders.
struct Files<'a> {
    search: Search<'a>,
    options: Options,
    /// Something could not be read.
    trouble: bool,
}

impl Files<'_> {
    fn done(&self) -> bool {
        self.search.show.quiet && self.search.any_selected
    }

    fn argument(&mut self, path: &Path) -> Result<(), Failure> {
        if path == Path::new("-") {
            let label = self.search.show.label.clone();
            let result = self.search.stream(&mut io::stdin().lock(), &label);
            return self.report(path, result);
        }
        if is_here(path) {
            return self.folder(path);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() && self.options.recursive => self.folder(path),
            Ok(metadata) if metadata.is_dir() => {
                self.complain(path, "Is a directory");
                Ok(())
            }
            Ok(_) if !self.options.include.is_empty() && !self.options.is_wanted(path) => Ok(()),
            Ok(_) => self.file(path),
            Err(error) => {
                self.complain(path, &reason(&error));
                Ok(())
            }
        }
    }

    fn folder(&mut self, path: &Path) -> Result<(), Failure> {
        let entries = fs::read_dir(if is_here(path) { Path::new(".") } else { path })
            .and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.complain(path, &reason(&error));
                return Ok(());
            }
        };
        for entry in entries {
            let within = path.join(entry.file_name());
            let kind = entry.file_type()?;
            let skipped = |glob| glob_matches(glob, &within);
            if kind.is_dir() && !self.options.exclude_dir.iter().any(skipped) {
                self.folder(&within)?;
            } else if kind.is_file() && self.options.is_wanted(&within) {
                self.file(&within)?;
            }
            if self.done() {
                break;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        match File::open(path) {
            Ok(mut file) => {
                let result = self.search.stream(&mut file, &path.to_string_lossy());
                self.report(path, result)
            }
            Err(error) => {
                self.complain(path, &reason(&error));
                Ok(())
            }
        }
    }

    /// Goes on after trouble with reading, but not after trouble with writing.
    fn report(&mut self, path: &Path, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Err(Failure::File(_, error)) => {
                self.complain(path, &reason(&error));
                Ok(())
            }
            other => other,
        }
    }

    fn complain(&mut self, path: &Path, problem: &str) {
        self.trouble = true;
        if !self.options.no_messages {
            let _nowhere_to_say = self.search.output.flush();
            eprintln!("grep: {}: {problem}", path.display());
        }
    }
}
