//! Applets that show and compare what is in files: cmp, diff, hexdump, more, rev, strings, tree, xxd.

mod compare;
mod diff;
mod dump;
mod pager;
mod show;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::failure::Failure;

pub(crate) use compare::{USAGE as CMP_USAGE, cmp};
pub(crate) use diff::{USAGE as DIFF_USAGE, diff};
pub(crate) use dump::{HEXDUMP_USAGE, XXD_USAGE, hexdump, xxd};
pub(crate) use pager::{USAGE as MORE_USAGE, more};
pub(crate) use show::{REV_USAGE, STRINGS_USAGE, TREE_USAGE, rev, strings, tree};

/// A file, or standard input for `-`.
fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(Failure::at(path))?;
    if path.is_dir() {
        return Err(Failure::at(path)(io::Error::other("Is a directory")));
    }
    Ok(Box::new(file))
}
