//! `test` and `[`: conditions on strings, numbers and files, with `!`, `-a`, `-o` and parentheses.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;

use rustix::fs::FileType;

use crate::attributes::{self, Attributes};
use crate::failure::Failure;

pub(crate) const USAGE: &str = "test EXPRESSION
       [ EXPRESSION ]

Exit with code 0 if EXPRESSION holds, 1 if it does not, 2 if it makes no sense

  ! E, ( E ), E -a E, E -o E
  -n TEXT, -z TEXT, TEXT = TEXT, != < >
  N -eq N, -ne -lt -le -gt -ge
  -e -f -d -L -h -c -b -p -S -s -r -w -x -u -g -k -O -G FILE, FILE -nt FILE, -ot -ef
  -t DESCRIPTOR";

pub(crate) fn bracket(mut arguments: Vec<OsString>) -> Result<u8, Failure> {
    if arguments.pop().is_none_or(|last| last != "]") {
        return Err(Failure::usage("missing ]"));
    }
    test(arguments)
}

pub(crate) fn test(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut words = words.iter().map(String::as_str).collect::<Vec<_>>();
    if words.is_empty() {
        return Ok(1);
    }
    words.reverse();
    let mut expression = Expression { words, depth: 0 };
    let holds = expression.any_of()?;
    match expression.words.last() {
        None => Ok(u8::from(!holds)),
        Some(word) => Err(Failure::Usage(format!("{word}: unexpected"))),
    }
}

/// How deeply parentheses and negations may nest.
const MAX_DEPTH: u32 = 64;

/// The words not yet looked at, in reverse.
struct Expression<'a> {
    words: Vec<&'a str>,
    depth: u32,
}

impl<'a> Expression<'a> {
    fn next(&mut self) -> Result<&'a str, Failure> {
        self.words.pop().ok_or_else(|| Failure::Usage("argument expected".to_owned()))
    }

    fn any_of(&mut self) -> Result<bool, Failure> {
        let mut holds = self.all_of()?;
        while self.words.last() == Some(&"-o") {
            self.words.pop();
            holds |= self.all_of()?;
        }
        Ok(holds)
    }

    fn all_of(&mut self) -> Result<bool, Failure> {
        let mut holds = self.term()?;
        while self.words.last() == Some(&"-a") {
            self.words.pop();
            holds &= self.term()?;
        }
        Ok(holds)
    }

    fn term(&mut self) -> Result<bool, Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Failure::Usage("expression too deep".to_owned()));
        }
        let result = self.term_inside();
        self.depth -= 1;
        result
    }

    fn term_inside(&mut self) -> Result<bool, Failure> {
        // A word before a binary operator is an operand, whatever it looks like.
        if let [.., _, operator, _] = self.words.as_slice()
            && is_binary(operator)
        {
            let (left, right) = (self.words[self.words.len() - 3..].to_vec(), self.words.len() - 3);
            self.words.truncate(right);
            return compare(left[2], left[1], left[0]);
        }
        match self.next()? {
            "!" if !self.words.is_empty() => Ok(!self.term()?),
            "(" if !self.words.is_empty() => {
                let holds = self.any_of()?;
                match self.next()? {
                    ")" => Ok(holds),
                    other => Err(Failure::Usage(format!("{other}: ) expected"))),
                }
            }
            operator if is_unary(operator) && !self.words.is_empty() => Ok(examine(operator, self.next()?)),
            word => Ok(!word.is_empty()),
        }
    }
}

fn is_binary(word: &str) -> bool {
    matches!(
        word,
        "=" | "==" | "!=" | "<" | ">" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-nt" | "-ot" | "-ef"
    )
}

fn compare(left: &str, operator: &str, right: &str) -> Result<bool, Failure> {
    let number = |word: &str| {
        let parsed: Result<i64, _> = word.trim().parse();
        parsed.map_err(|_| Failure::Usage(format!("{word}: integer expected")))
    };
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-nt" => ages(left, right) == Some(Ordering::Greater),
        "-ot" => ages(left, right) == Some(Ordering::Less),
        "-ef" => match (attributes::of(Path::new(left), true), attributes::of(Path::new(right), true)) {
            (Ok(left), Ok(right)) => (left.device, left.inode) == (right.device, right.inode),
            _ => false,
        },
        "-eq" => number(left)? == number(right)?,
        "-ne" => number(left)? != number(right)?,
        "-lt" => number(left)? < number(right)?,
        "-le" => number(left)? <= number(right)?,
        "-gt" => number(left)? > number(right)?,
        _ => number(left)? >= number(right)?,
    })
}

/// How files' times of change compare; one that is missing is older than any.
fn ages(left: &str, right: &str) -> Option<Ordering> {
    let time = |path: &str| attributes::of(Path::new(path), true).ok().map(|attributes| attributes.modified);
    match (time(left), time(right)) {
        (None, None) => None,
        (left, right) => Some(left.cmp(&right)),
    }
}

fn is_unary(word: &str) -> bool {
    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
    matches!((letters.next(), letters.next()), (Some(letter), None) if "nzefdLhcbpSsrwxugkOGt".contains(letter))
}

fn examine(operator: &str, operand: &str) -> bool {
    let with = |ask: fn(&Attributes) -> bool| attributes::of(Path::new(operand), true).is_ok_and(|found| ask(&found));
    match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-t" => match operand.trim() {
            "0" => io::stdin().is_terminal(),
            "1" => io::stdout().is_terminal(),
            "2" => io::stderr().is_terminal(),
            _ => false,
        },
        "-L" | "-h" => attributes::of(Path::new(operand), false).is_ok_and(|found| found.kind == FileType::Symlink),
        "-f" => with(|found| found.kind == FileType::RegularFile),
        "-d" => with(|found| found.kind == FileType::Directory),
        "-c" => with(|found| found.kind == FileType::CharacterDevice),
        "-b" => with(|found| found.kind == FileType::BlockDevice),
        // WASI has no names for pipes and sockets.
        "-p" | "-S" => with(|found| found.kind == FileType::Unknown),
        "-s" => with(|found| found.size > 0),
        "-x" => attributes::may_execute(Path::new(operand)),
        "-u" => with(|found| found.mode & 0o4000 != 0),
        "-g" => with(|found| found.mode & 0o2000 != 0),
        "-k" => with(|found| found.mode & 0o1000 != 0),
        _ => with(|_| true),
    }
}
