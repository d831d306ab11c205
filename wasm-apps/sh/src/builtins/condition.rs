//! `test` and `[`.

use std::fs::Metadata;
use std::path::Path;

use bstr::ByteSlice;

use super::{Outcome, number};
use crate::exec::Shell;
use crate::process::files::permissions;
use crate::process::terminal;

/// How deeply parentheses and negations may nest.
const MAX_DEPTH: u32 = 64;

pub(super) fn test(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let name = arguments[0].as_slice();
    let words = match (name, &arguments[1..]) {
        (b"[", [words @ .., last]) if last == b"]" => words,
        (b"[", _) => return shell.complain(name, "missing ]"),
        (_, words) => words,
    };
    match condition(shell, words) {
        Ok(holds) => Ok(u8::from(!holds)),
        Err(message) => shell.complain(name, message),
    }
}

/// Whether what the words say holds.
pub(crate) fn condition(shell: &Shell, words: &[Vec<u8>]) -> Result<bool, String> {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut reader = Reader { shell, words: &words, depth: 0 };
    // How many words there are decides, so that operands may look like operators.
    match words[..] {
        [] => Ok(false),
        [word] => Ok(!word.is_empty()),
        [b"!", word] => Ok(word.is_empty()),
        [left, operator, right] if is_binary(operator) => reader.compare(left, operator, right),
        [b"!", left, operator, right] if is_binary(operator) => {
            reader.compare(left, operator, right).map(|holds| !holds)
        }
        [b"(", word, b")"] => Ok(!word.is_empty()),
        _ => {
            let holds = reader.any_of()?;
            match reader.words.first() {
                None => Ok(holds),
                Some(word) => Err(format!("{}: unexpected operator", word.as_bstr())),
            }
        }
    }
}

struct Reader<'a> {
    shell: &'a Shell,
    words: &'a [&'a [u8]],
    depth: u32,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<&'a [u8], String> {
        let (first, rest) = self.words.split_first().ok_or("argument expected")?;
        self.words = rest;
        Ok(first)
    }

    fn accept(&mut self, word: &[u8]) -> bool {
        let there = self.words.first() == Some(&word);
        if there {
            self.words = &self.words[1..];
        }
        there
    }

    fn any_of(&mut self) -> Result<bool, String> {
        let mut holds = self.all_of()?;
        while self.accept(b"-o") {
            holds |= self.all_of()?;
        }
        Ok(holds)
    }

    fn all_of(&mut self) -> Result<bool, String> {
        let mut holds = self.term()?;
        while self.accept(b"-a") {
            holds &= self.term()?;
        }
        Ok(holds)
    }

    fn term(&mut self) -> Result<bool, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("expression nested too deep".to_owned());
        }
        let holds = self.term_inside();
        self.depth -= 1;
        holds
    }

    fn term_inside(&mut self) -> Result<bool, String> {
        if let [left, operator, right, rest @ ..] = self.words
            && is_binary(operator)
        {
            self.words = rest;
            return self.compare(left, operator, right);
        }
        let word = self.next()?;
        if word == b"!" && !self.words.is_empty() {
            return Ok(!self.term()?);
        }
        if word == b"(" && !self.words.is_empty() {
            let holds = self.any_of()?;
            return if self.accept(b")") { Ok(holds) } else { Err("closing paren expected".to_owned()) };
        }
        match word {
            [b'-', letter] if b"bcdefghkLnOGprsStuwxz".contains(letter) && !self.words.is_empty() => {
                let operand = self.next()?;
                self.examine(*letter, operand)
            }
            _ => Ok(!word.is_empty()),
        }
    }

    fn compare(&self, left: &[u8], operator: &[u8], right: &[u8]) -> Result<bool, String> {
        let number = |word: &[u8]| number(word).ok_or_else(|| format!("Illegal number: {}", word.as_bstr()));
        Ok(match operator {
            b"=" | b"==" => left == right,
            b"!=" => left != right,
            b"<" => left < right,
            b">" => left > right,
            b"-eq" => number(left)? == number(right)?,
            b"-ne" => number(left)? != number(right)?,
            b"-lt" => number(left)? < number(right)?,
            b"-le" => number(left)? <= number(right)?,
            b"-gt" => number(left)? > number(right)?,
            b"-ge" => number(left)? >= number(right)?,
            b"-ef" => match (self.identity(left), self.identity(right)) {
                (Some(left), Some(right)) => left == right,
                _ => false,
            },
            _ => {
                let modified = |path: &[u8]| self.metadata(path).and_then(|metadata| metadata.modified().ok());
                // A file that does not exist is older than any that does.
                let (left, right) = (modified(left), modified(right));
                if operator == b"-nt" { left > right } else { left < right }
            }
        })
    }

    fn metadata(&self, path: &[u8]) -> Option<Metadata> {
        if path.is_empty() {
            return None;
        }
        std::fs::metadata(self.shell.absolute(path)).ok()
    }

    /// Device and number of a file.
    fn identity(&self, path: &[u8]) -> Option<(u64, u64)> {
        let stat = rustix::fs::stat(self.shell.absolute(path)).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    fn file_type(&self, path: &[u8]) -> Option<rustix::fs::FileType> {
        let stat = rustix::fs::stat(self.shell.absolute(path)).ok()?;
        Some(rustix::fs::FileType::from_raw_mode(stat.st_mode))
    }

    /// Whether a file has any of these permission bits.
    fn has_mode(&self, path: &[u8], bits: u32) -> bool {
        let found = permissions(&self.shell.absolute(path), true);
        !path.is_empty() && found.is_ok_and(|permissions| permissions.mode & bits != 0)
    }

    fn examine(&self, letter: u8, operand: &[u8]) -> Result<bool, String> {
        use rustix::fs::FileType;
        let is = |kind| self.file_type(operand) == Some(kind);
        Ok(match letter {
            b'n' => !operand.is_empty(),
            b'z' => operand.is_empty(),
            b't' => {
                let fd = number(operand).and_then(|fd| u32::try_from(fd).ok());
                let fd = fd.ok_or_else(|| format!("Illegal number: {}", operand.as_bstr()))?;
                let stream = self.shell.state.streams.get(fd);
                stream.and_then(|stream| stream.fd().ok()).is_some_and(|fd| terminal::state(fd).is_ok())
            }
            b'h' | b'L' => {
                let path: &Path = &self.shell.absolute(operand);
                !operand.is_empty() && std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
            }
            b'f' => self.metadata(operand).is_some_and(|metadata| metadata.is_file()),
            b'd' => self.metadata(operand).is_some_and(|metadata| metadata.is_dir()),
            b's' => self.metadata(operand).is_some_and(|metadata| metadata.len() > 0),
            b'b' => is(FileType::BlockDevice),
            b'c' => is(FileType::CharacterDevice),
            b'x' => self.metadata(operand).is_some_and(|metadata| metadata.is_dir()) || self.has_mode(operand, 0o111),
            b'u' => self.has_mode(operand, 0o4000),
            b'g' => self.has_mode(operand, 0o2000),
            b'k' => self.has_mode(operand, 0o1000),
            // All are root's, who may read and write everything.
            b'e' | b'r' | b'w' | b'O' | b'G' => self.metadata(operand).is_some(),
            _ => false,
        })
    }
}

fn is_binary(word: &[u8]) -> bool {
    matches!(
        word,
        b"=" | b"=="
            | b"!="
            | b"<"
            | b">"
            | b"-eq"
            | b"-ne"
            | b"-lt"
            | b"-le"
            | b"-gt"
            | b"-ge"
            | b"-nt"
            | b"-ot"
            | b"-ef"
    )
}
