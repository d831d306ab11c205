//! `test` and `[`: conditions on strings, numbers and files, with `!`, `-a`, `-o` and parentheses.

use std::ffi::OsString;
use std::fs;

use crate::Failure;

pub(crate) fn bracket(mut arguments: Vec<OsString>) -> Result<u8, Failure> {
    if arguments.pop().is_none_or(|last| last != "]") {
        return Err(Failure::Usage("missing ]".to_owned()));
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
    matches!(word, "=" | "==" | "!=" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge")
}

fn compare(left: &str, operator: &str, right: &str) -> Result<bool, Failure> {
    let number = |word: &str| {
        let parsed: Result<i64, _> = word.trim().parse();
        parsed.map_err(|_| Failure::Usage(format!("{word}: bad number")))
    };
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "-eq" => number(left)? == number(right)?,
        "-ne" => number(left)? != number(right)?,
        "-lt" => number(left)? < number(right)?,
        "-le" => number(left)? <= number(right)?,
        "-gt" => number(left)? > number(right)?,
        _ => number(left)? >= number(right)?,
    })
}

fn is_unary(word: &str) -> bool {
    matches!(word, "-n" | "-z" | "-e" | "-f" | "-d" | "-s" | "-L" | "-h" | "-r" | "-w" | "-x")
}

/// WASI shows no permissions: what exists counts as readable, writable and executable.
fn examine(operator: &str, operand: &str) -> bool {
    match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-f" => fs::metadata(operand).is_ok_and(|metadata| metadata.is_file()),
        "-d" => fs::metadata(operand).is_ok_and(|metadata| metadata.is_dir()),
        "-s" => fs::metadata(operand).is_ok_and(|metadata| metadata.len() > 0),
        "-L" | "-h" => fs::symlink_metadata(operand).is_ok_and(|metadata| metadata.is_symlink()),
        _ => fs::metadata(operand).is_ok(),
    }
}
