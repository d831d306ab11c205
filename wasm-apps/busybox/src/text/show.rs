//! `rev`, `strings` and `tree`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::open;
use crate::failure::{Failure, for_each};
use crate::options::{CommandLine, Item, flags, unknown};

pub(crate) const REV_USAGE: &str = "rev [FILE]...

Print lines backwards";

pub(crate) const STRINGS_USAGE: &str = "strings [-f] [-n LENGTH] [-t o|d|x] [FILE]...

Print the texts in FILEs

  -n LENGTH  At least so long (4)    -t RADIX  With where they are    -f  With names";

pub(crate) const TREE_USAGE: &str = "tree [-adf] [-L DEPTH] [DIR]...

Print folders as trees

  -a  Names with a dot, too    -d  Only folders    -f  Whole paths    -L DEPTH  No deeper";

fn or_stdin(mut operands: Vec<OsString>) -> Vec<OsString> {
    if operands.is_empty() {
        operands.push("-".into());
    }
    operands
}

pub(crate) fn rev(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (_, operands) = flags(arguments, "", &[])?;
    let mut output = BufWriter::new(io::stdout().lock());
    let code = for_each("rev", &or_stdin(operands), |path| {
        let mut input = BufReader::new(open(Path::new(path))?);
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            let ended = line.pop_if(|last| *last == b'\n').is_some();
            let text: String = String::from_utf8_lossy(&line).chars().rev().collect();
            output.write_all(text.as_bytes())?;
            if ended {
                output.write_all(b"\n")?;
            }
            line.clear();
        }
        Ok(())
    })?;
    output.flush()?;
    Ok(code)
}

pub(crate) fn strings(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut least, mut radix, mut names, mut operands) = (4, None, false, Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(file) => operands.push(file),
            Item::Option(option) => match option.as_str() {
                "n" | "bytes" => least = line.number::<usize>()?.max(1),
                "t" | "radix" => radix = line.text()?.chars().next(),
                "o" => radix = Some('o'),
                "f" | "print-file-name" => names = true,
                "a" | "all" => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    let mut output = BufWriter::new(io::stdout().lock());
    let code = for_each("strings", &or_stdin(operands), |path| {
        let mut text = Vec::new();
        let input = BufReader::new(open(Path::new(path))?);
        for (at, byte) in input.bytes().map(Some).chain([None]).enumerate() {
            let byte = byte.transpose()?;
            if let Some(byte) = byte.filter(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
                text.push(byte);
                continue;
            }
            if text.len() >= least {
                if names {
                    write!(output, "{}: ", path.display())?;
                }
                let start = at - text.len();
                match radix {
                    Some('o') => write!(output, "{start:7o} ")?,
                    Some('x') => write!(output, "{start:7x} ")?,
                    Some(_) => write!(output, "{start:7} ")?,
                    None => {}
                }
                output.write_all(&text)?;
                output.write_all(b"\n")?;
            }
            text.clear();
        }
        Ok(())
    })?;
    output.flush()?;
    Ok(code)
}

struct Tree {
    all: bool,
    only_folders: bool,
    paths: bool,
    depth: usize,
    folders: usize,
    files: usize,
}

/// How deep folders may be nested.
const MAX_DEPTH: usize = 256;

pub(crate) fn tree(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut tree = Tree { all: false, only_folders: false, paths: false, depth: MAX_DEPTH, folders: 0, files: 0 };
    let mut roots = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(root) => roots.push(PathBuf::from(root)),
            Item::Option(option) => match option.as_str() {
                "a" => tree.all = true,
                "d" => tree.only_folders = true,
                "f" => tree.paths = true,
                "L" => tree.depth = line.number::<usize>()?.min(MAX_DEPTH),
                _ => return Err(unknown(&option)),
            },
        }
    }
    if roots.is_empty() {
        roots.push(PathBuf::from("."));
    }
    let code = for_each("tree", &roots, |root| {
        println!("{}", root.display());
        tree.print(root, "", 1)
    })?;
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let folders = count(tree.folders, "directory", "directories");
    if tree.only_folders {
        println!("\n{folders}");
    } else {
        println!("\n{folders}, {}", count(tree.files, "file", "files"));
    }
    Ok(code)
}

impl Tree {
    fn print(&mut self, folder: &Path, indent: &str, depth: usize) -> Result<(), Failure> {
        if depth > self.depth {
            return Ok(());
        }
        let entries =
            fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(Failure::at(folder))?;
        let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.file_name(), entry.path())).collect();
        entries.retain(|(name, path)| {
            (self.all || !name.as_encoded_bytes().starts_with(b".")) && (!self.only_folders || path.is_dir())
        });
        entries.sort();
        let last = entries.len().saturating_sub(1);
        for (number, (name, path)) in entries.iter().enumerate() {
            let (branch, below) = if number == last { ("└── ", "    ") } else { ("├── ", "│   ") };
            let shown = if self.paths { path.display().to_string() } else { name.to_string_lossy().into_owned() };
            match fs::read_link(path) {
                Ok(target) => println!("{indent}{branch}{shown} -> {}", target.display()),
                Err(_) => println!("{indent}{branch}{shown}"),
            }
            if path.is_dir() && !path.is_symlink() {
                self.folders += 1;
                self.print(path, &format!("{indent}{below}"), depth + 1)?;
            } else {
                self.files += 1;
            }
        }
        Ok(())
    }
}
