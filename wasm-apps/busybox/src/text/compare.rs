//! `cmp`.

use std::ffi::OsString;
use std::io::{BufReader, Read};
use std::path::Path;

use super::open;
use crate::failure::Failure;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "cmp [-ls] [-n COUNT] FILE [FILE]

Compare two files, or one with standard input

  -l  Every byte that differs    -s  Only the exit code    -n COUNT  At most so many bytes

Exit code 0: the same, 1: different, 2: trouble";

pub(crate) fn cmp(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut list, mut silent, mut limit, mut files) = (false, false, u64::MAX, Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(file) => files.push(file),
            Item::Option(option) => match option.as_str() {
                "l" | "verbose" => list = true,
                "s" | "quiet" | "silent" => silent = true,
                "n" | "bytes" => limit = line.number()?,
                _ => return Err(unknown(&option)),
            },
        }
    }
    if files.len() == 1 {
        files.push("-".into());
    }
    let [one, other] = files.as_slice() else { return Err(Failure::missing_operand()) };
    let mut left = BufReader::new(open(Path::new(one))?).take(limit).bytes();
    let mut right = BufReader::new(open(Path::new(other))?).take(limit).bytes();
    let (mut byte, mut row, mut code) = (0_u64, 1_u64, 0);
    loop {
        byte += 1;
        match (left.next().transpose()?, right.next().transpose()?) {
            (None, None) => return Ok(code),
            (Some(a), Some(b)) if a == b => row += u64::from(a == b'\n'),
            (Some(a), Some(b)) => {
                code = 1;
                if list && !silent {
                    println!("{byte} {a:3o} {b:3o}");
                    continue;
                }
                if !silent {
                    println!("{} {} differ: byte {byte}, line {row}", one.display(), other.display());
                }
                return Ok(1);
            }
            (a, _) => {
                let shorter = if a.is_none() { one } else { other };
                if !silent {
                    eprintln!("cmp: EOF on {} after byte {}, line {row}", shorter.display(), byte - 1);
                }
                return Ok(1);
            }
        }
    }
}
