//! From patterns to a matcher.

use grep_matcher::{Match, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};

use crate::failure::Failure;
use crate::posix_regex::{Syntax, escape, translate};

/// What patterns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Basic,
    Extended,
    Fixed,
    Perl,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PatternOptions {
    pub(super) kind: Kind,
    pub(super) ignore_case: bool,
    pub(super) word: bool,
    pub(super) whole_line: bool,
}

/// Finds matches, which never reach beyond a line.
pub(super) trait Find {
    /// The first match at or behind `from`.
    fn find(&self, haystack: &[u8], from: usize) -> Option<(usize, usize)>;

    /// Whether `find` may be given many lines at once.
    fn takes_many_lines(&self) -> bool;
}

/// No pattern at all, which nothing matches.
struct Nothing;

impl Find for Nothing {
    fn find(&self, _: &[u8], _: usize) -> Option<(usize, usize)> {
        None
    }

    fn takes_many_lines(&self) -> bool {
        true
    }
}

impl Find for RegexMatcher {
    fn find(&self, haystack: &[u8], from: usize) -> Option<(usize, usize)> {
        // Its error type has no values.
        self.find_at(haystack, from).ok().flatten().map(|found: Match| (found.start(), found.end()))
    }

    fn takes_many_lines(&self) -> bool {
        true
    }
}

/// Patterns with back-references, tried on each line that is UTF-8.
struct Backtracking {
    regex: fancy_regex::Regex,
}

impl Find for Backtracking {
    fn find(&self, haystack: &[u8], from: usize) -> Option<(usize, usize)> {
        let text = std::str::from_utf8(haystack).ok()?;
        let found = self.regex.find_from_pos(text, from).ok().flatten()?;
        Some((found.start(), found.end()))
    }

    fn takes_many_lines(&self) -> bool {
        false
    }
}

/// Compiles alternatives into one matcher.
pub(super) fn compile(patterns: &[String], options: PatternOptions) -> Result<Box<dyn Find>, Failure> {
    if patterns.is_empty() {
        return Ok(Box::new(Nothing));
    }
    let mut backreferences = false;
    let mut translated = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        translated.push(match options.kind {
            Kind::Fixed => escape(pattern),
            Kind::Perl => {
                backreferences |= needs_backtracking(pattern);
                pattern.clone()
            }
            Kind::Basic | Kind::Extended => {
                let syntax = if options.kind == Kind::Basic { Syntax::Basic } else { Syntax::Extended };
                let pattern = translate(pattern, syntax).map_err(Failure::usage)?;
                backreferences |= pattern.backreferences;
                pattern.pattern
            }
        });
    }
    if backreferences { backtracking(&translated, options) } else { automaton(&translated, options) }
}

/// Whether a Perl pattern has look-around or back-references.
fn needs_backtracking(pattern: &str) -> bool {
    let referring =
        |at: usize| pattern[at + 1..].starts_with(|next: char| next.is_ascii_digit() || "kKG".contains(next));
    ["(?=", "(?!", "(?<=", "(?<!", "(?>", "*+", "++", "?+"].iter().any(|look| pattern.contains(look))
        || pattern.match_indices('\\').any(|(at, _)| referring(at))
}

fn automaton(patterns: &[String], options: PatternOptions) -> Result<Box<dyn Find>, Failure> {
    let mut builder = RegexMatcherBuilder::new();
    builder.case_insensitive(options.ignore_case).multi_line(true).line_terminator(Some(b'\n'));
    builder.whole_line(options.whole_line).word(options.word && !options.whole_line);
    let matcher = builder.build_many(patterns).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Box::new(matcher))
}

fn backtracking(patterns: &[String], options: PatternOptions) -> Result<Box<dyn Find>, Failure> {
    let mut pattern = patterns.join("|");
    if options.whole_line {
        pattern = format!("^(?:{pattern})$");
    } else if options.word {
        pattern = format!(r"(?<!\w)(?:{pattern})(?!\w)");
    }
    let flag = if options.ignore_case { "(?i)" } else { "" };
    let regex = fancy_regex::Regex::new(&format!("{flag}{pattern}"));
    let regex = regex.map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Box::new(Backtracking { regex }))
}
