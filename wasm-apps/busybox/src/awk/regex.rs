//! Regular expressions of awk programs, compiled once.

use std::collections::HashMap;
use std::rc::Rc;

use regex::bytes::{Regex, RegexBuilder};

use crate::posix_regex::{Syntax, translate};

/// How many expressions made while running are kept.
const MAX_KEPT: usize = 500;

/// Compiles an expression; fails with what is wrong with it.
pub(super) fn compile(pattern: &str) -> Result<Rc<Regex>, String> {
    let translated = translate(pattern, Syntax::Awk).map_err(|problem| format!("{problem} in /{pattern}/"))?;
    let regex = RegexBuilder::new(&translated.pattern).dot_matches_new_line(true).build();
    regex.map(Rc::new).map_err(|_| format!("/{pattern}/ is no regular expression"))
}

/// Expressions made while running.
#[derive(Default)]
pub(super) struct Regexes {
    known: HashMap<Vec<u8>, Rc<Regex>>,
}

impl Regexes {
    pub(super) fn get(&mut self, pattern: &[u8]) -> Result<Rc<Regex>, String> {
        if let Some(regex) = self.known.get(pattern) {
            return Ok(Rc::clone(regex));
        }
        let regex = compile(&String::from_utf8_lossy(pattern))?;
        if self.known.len() >= MAX_KEPT {
            self.known.clear();
        }
        self.known.insert(pattern.to_vec(), Rc::clone(&regex));
        Ok(regex)
    }
}
