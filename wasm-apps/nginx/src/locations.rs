//! Which location a path belongs to.

use std::collections::HashMap;
use std::rc::Rc;

use regex_lite::{Captures, Regex};

use crate::config::Location;

/// The locations of one level.
#[derive(Debug, Default)]
pub struct Locations {
    exact: HashMap<String, Rc<Location>>,
    /// Longest first; whether regular expressions are not asked (`^~`).
    prefixes: Vec<(String, bool, Rc<Location>)>,
    regexes: Vec<(Regex, Rc<Location>)>,
}

/// How a location is matched.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `= PATH`
    Exact,
    /// `PATH`, or `^~ PATH` for which no regular expressions are asked.
    Prefix {
        /// Whether it was `^~`.
        final_: bool,
    },
    /// `~ REGEX` and `~* REGEX`
    Regex(Regex),
}

/// A location that was found.
pub struct Found<'a, 'p> {
    /// It.
    pub location: &'a Rc<Location>,
    /// What its regular expression captured, with the expression.
    pub captures: Option<(&'a Regex, Captures<'p>)>,
    /// Nothing that follows can fit better.
    last: bool,
}

impl Locations {
    /// Adds a location; false if there is one like it already.
    pub fn add(&mut self, pattern: Pattern, location: Rc<Location>) -> bool {
        let path = location.pattern.clone();
        match pattern {
            Pattern::Exact => self.exact.insert(path, location).is_none(),
            Pattern::Regex(regex) => {
                self.regexes.push((regex, location));
                true
            }
            Pattern::Prefix { final_ } => {
                let is_new = self.prefixes.iter().all(|(other, ..)| *other != path);
                let place = self.prefixes.partition_point(|(other, ..)| other.len() >= path.len());
                self.prefixes.insert(place, (path, final_, location));
                is_new
            }
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.regexes.is_empty()
    }

    /// The location of a path: the exact one; else the first regular expression that matches, unless the longest
    /// prefix forbids it; else the longest prefix. Locations within the one found go on in the same way.
    pub fn find<'a, 'p>(&'a self, path: &'p str) -> Option<Found<'a, 'p>> {
        if let Some(location) = self.exact.get(path) {
            return Some(Found { location, captures: None, last: true });
        }
        let longest = self.prefixes.iter().find(|(prefix, ..)| path.starts_with(prefix.as_str()));
        let within = longest.and_then(|(.., location)| location.nested.find(path));
        if let Some(found) = within {
            if found.last || longest.is_some_and(|(_, final_, _)| *final_) {
                return Some(found);
            }
            return self.matching(path).or(Some(found));
        }
        match longest {
            Some((_, true, location)) => Some(Found { location, captures: None, last: true }),
            _ => self
                .matching(path)
                .or_else(|| longest.map(|(.., location)| Found { location, captures: None, last: false })),
        }
    }

    fn matching<'a, 'p>(&'a self, path: &'p str) -> Option<Found<'a, 'p>> {
        self.regexes.iter().find_map(|(regex, location)| {
            let captures = regex.captures(path)?;
            if let Some(mut within) = location.nested.find(path) {
                within.last = true;
                return Some(within);
            }
            Some(Found { location, captures: Some((regex, captures)), last: true })
        })
    }
}
