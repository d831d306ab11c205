//! `diff`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, Read, StdoutLock, Write};
use std::path::{Path, PathBuf};

use similar::{Algorithm, DiffOp, capture_diff_slices, group_diff_ops};

use crate::attributes;
use crate::failure::{Failure, reason};
use crate::find::time_text;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "diff [-abBiNqrsuw] [-U LINES] [-L LABEL]... FILE FILE

Compare files line by line, or folders

  -u  With three lines around, or -U LINES of them    -q  Only whether they differ    -s  Say which do not
  -r  All below folders    -N  A missing file is an empty one
  -i  Ignore case    -b  Ignore how many blanks    -w  Ignore blanks    -B  Ignore empty lines

Exit code 0: the same, 1: different, 2: trouble";

#[derive(Default)]
struct Settings {
    unified: Option<usize>,
    brief: bool,
    identical: bool,
    recursive: bool,
    missing_is_empty: bool,
    ignore_case: bool,
    ignore_amount: bool,
    ignore_blanks: bool,
    ignore_empty: bool,
    binary_is_text: bool,
    labels: Vec<String>,
    /// What names the options in the headings of files in folders.
    options: String,
}

pub(crate) fn diff(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut settings, mut paths) = (Settings::default(), Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(path) => paths.push(PathBuf::from(path)),
            Item::Option(option) => {
                settings.option(&option, &mut line)?;
                let hyphens = if option.len() == 1 { "-" } else { "--" };
                settings.options += &format!("{hyphens}{option} ");
            }
        }
    }
    let [left, right] = paths.as_slice() else { return Err(Failure::usage("two files are needed")) };
    let (mut left, mut right) = (left.clone(), right.clone());
    match (left.is_dir(), right.is_dir()) {
        (true, false) => left.push(right.file_name().unwrap_or_default()),
        (false, true) => right.push(left.file_name().unwrap_or_default()),
        _ => {}
    }
    let mut comparison = Comparison { settings, output: BufWriter::new(io::stdout().lock()), trouble: false };
    let differ =
        if left.is_dir() { comparison.folders(&left, &right)? } else { comparison.files(&left, &right, false)? };
    comparison.output.flush()?;
    Ok(if comparison.trouble { 2 } else { u8::from(differ) })
}

impl Settings {
    fn option(&mut self, option: &str, line: &mut CommandLine) -> Result<(), Failure> {
        match option {
            "u" => drop(self.unified.get_or_insert(3)),
            "U" | "unified" => self.unified = Some(line.number()?),
            "q" | "brief" => self.brief = true,
            "s" | "report-identical-files" => self.identical = true,
            "r" | "recursive" => self.recursive = true,
            "N" | "new-file" => self.missing_is_empty = true,
            "i" | "ignore-case" => self.ignore_case = true,
            "b" | "ignore-space-change" => self.ignore_amount = true,
            "w" | "ignore-all-space" => self.ignore_blanks = true,
            "B" | "ignore-blank-lines" => self.ignore_empty = true,
            "a" | "text" => self.binary_is_text = true,
            "L" | "label" => self.labels.push(line.text()?),
            "d" | "minimal" | "T" | "t" | "normal" | "no-dereference" => {}
            _ => return Err(unknown(option)),
        }
        Ok(())
    }

    /// What of a line is compared.
    fn essence(&self, line: &[u8]) -> Vec<u8> {
        let mut essence = line.to_vec();
        if self.ignore_case {
            essence.make_ascii_lowercase();
        }
        if self.ignore_blanks {
            essence.retain(|byte| !byte.is_ascii_whitespace());
        } else if self.ignore_amount {
            let words: Vec<&[u8]> = essence.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            let leading = if essence.first().is_some_and(u8::is_ascii_whitespace) { " " } else { "" };
            essence = [leading.as_bytes(), &words.join(&b' ')].concat();
        }
        essence
    }
}

struct Comparison {
    settings: Settings,
    output: BufWriter<StdoutLock<'static>>,
    trouble: bool,
}

/// The lines of a text, each with its newline if it has one.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

impl Comparison {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        if path == Path::new("-") {
            io::stdin().read_to_end(&mut text)?;
            return Ok(text);
        }
        match fs::read(path) {
            Err(error) if self.settings.missing_is_empty && error.kind() == io::ErrorKind::NotFound => Ok(text),
            other => other.map_err(Failure::at(path)),
        }
    }

    /// Compares two folders; whether they differ.
    fn folders(&mut self, left: &Path, right: &Path) -> Result<bool, Failure> {
        let names = |path: &Path| -> Result<Vec<OsString>, Failure> {
            let entries = fs::read_dir(path).map_err(Failure::at(path))?;
            entries.map(|entry| Ok(entry?.file_name())).collect()
        };
        let (left_names, right_names) = (names(left)?, names(right)?);
        let mut all: Vec<&OsString> = left_names.iter().chain(&right_names).collect();
        all.sort();
        all.dedup();
        let mut differ = false;
        for name in all {
            let (one, other) = (left.join(name), right.join(name));
            let (in_left, in_right) = (left_names.contains(name), right_names.contains(name));
            if (!in_left || !in_right) && !self.settings.missing_is_empty {
                let folder = if in_left { left } else { right };
                writeln!(self.output, "Only in {}: {}", folder.display(), name.display())?;
                differ = true;
            } else if one.is_dir() && other.is_dir() {
                if self.settings.recursive {
                    differ |= self.folders(&one, &other)?;
                } else {
                    writeln!(self.output, "Common subdirectories: {} and {}", one.display(), other.display())?;
                }
            } else {
                match self.files(&one, &other, true) {
                    Ok(different) => differ |= different,
                    Err(Failure::File(path, error)) => {
                        eprintln!("diff: {}: {}", path.display(), reason(&error));
                        self.trouble = true;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(differ)
    }

    /// Compares two files; whether they differ.
    fn files(&mut self, left: &Path, right: &Path, in_folders: bool) -> Result<bool, Failure> {
        let (old, new) = (self.read(left)?, self.read(right)?);
        let same = |this: &mut Self| {
            if this.settings.identical {
                writeln!(this.output, "Files {} and {} are identical", left.display(), right.display())?;
            }
            Ok(false)
        };
        if old == new {
            return same(self);
        }
        let binary = !self.settings.binary_is_text && (old.contains(&0) || new.contains(&0));
        if binary {
            writeln!(self.output, "Binary files {} and {} differ", left.display(), right.display())?;
            return Ok(true);
        }
        let (old, new) = (lines(&old), lines(&new));
        let essences = |lines: &[&[u8]]| lines.iter().map(|line| self.settings.essence(line)).collect::<Vec<_>>();
        let mut ops = capture_diff_slices(Algorithm::Myers, &essences(&old), &essences(&new));
        if self.settings.ignore_empty {
            let empty = |lines: &[&[u8]]| lines.iter().all(|line| line.trim_ascii().is_empty());
            let matters = |op: &DiffOp| {
                !(matches!(op, DiffOp::Equal { .. }) || empty(&old[op.old_range()]) && empty(&new[op.new_range()]))
            };
            if !ops.iter().any(matters) {
                ops.clear();
            }
        }
        if ops.iter().all(|op| matches!(op, DiffOp::Equal { .. })) {
            return same(self);
        }
        if self.settings.brief {
            writeln!(self.output, "Files {} and {} differ", left.display(), right.display())?;
            return Ok(true);
        }
        if in_folders {
            let options = &self.settings.options;
            writeln!(self.output, "diff {options}{} {}", left.display(), right.display())?;
        }
        match self.settings.unified {
            Some(around) => {
                self.heading("---", left, 0)?;
                self.heading("+++", right, 1)?;
                group_diff_ops(ops, around).iter().try_for_each(|hunk| self.unified(hunk, &old, &new))?;
            }
            None => ops.iter().try_for_each(|op| self.normal(op, &old, &new))?,
        }
        Ok(true)
    }

    fn heading(&mut self, mark: &str, path: &Path, label: usize) -> Result<(), Failure> {
        if let Some(label) = self.settings.labels.get(label) {
            writeln!(self.output, "{mark} {label}")?;
            return Ok(());
        }
        let time = attributes::of(path, true).map_or((0, 0), |attributes| attributes.modified);
        let text = time_text(time, "%Y-%m-%d %H:%M:%S");
        writeln!(self.output, "{mark} {}\t{text}.{:09} +0000", path.display(), time.1)?;
        Ok(())
    }

    fn unified(&mut self, hunk: &[DiffOp], old: &[&[u8]], new: &[&[u8]]) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return Ok(()) };
        let range = |start: usize, end: usize| match end - start {
            0 => format!("{start},0"),
            1 => format!("{}", start + 1),
            count => format!("{},{count}", start + 1),
        };
        let old_range = range(first.old_range().start, last.old_range().end);
        let new_range = range(first.new_range().start, last.new_range().end);
        writeln!(self.output, "@@ -{old_range} +{new_range} @@")?;
        for op in hunk {
            if matches!(op, DiffOp::Equal { .. }) {
                self.lines(" ", &old[op.old_range()])?;
            } else {
                self.lines("-", &old[op.old_range()])?;
                self.lines("+", &new[op.new_range()])?;
            }
        }
        Ok(())
    }

    fn normal(&mut self, op: &DiffOp, old: &[&[u8]], new: &[&[u8]]) -> Result<(), Failure> {
        let (before, after) = (op.old_range(), op.new_range());
        let range = |range: &std::ops::Range<usize>| match range.len() {
            0 => range.start.to_string(),
            1 => (range.start + 1).to_string(),
            _ => format!("{},{}", range.start + 1, range.end),
        };
        let letter = match op {
            DiffOp::Equal { .. } => return Ok(()),
            DiffOp::Delete { .. } => 'd',
            DiffOp::Insert { .. } => 'a',
            DiffOp::Replace { .. } => 'c',
        };
        writeln!(self.output, "{}{letter}{}", range(&before), range(&after))?;
        self.lines("< ", &old[before])?;
        if letter == 'c' {
            writeln!(self.output, "---")?;
        }
        self.lines("> ", &new[after])
    }

    fn lines(&mut self, mark: &str, lines: &[&[u8]]) -> Result<(), Failure> {
        for line in lines {
            self.output.write_all(mark.as_bytes())?;
            self.output.write_all(line)?;
            if line.last() != Some(&b'\n') {
                writeln!(self.output, "\n\\ No newline at end of file")?;
            }
        }
        Ok(())
    }
}
