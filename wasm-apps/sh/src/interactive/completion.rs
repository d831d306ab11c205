//! Tab: commands and files.

use std::collections::BTreeSet;
use std::fs;

use super::Surroundings;
use crate::builtins;
use crate::exec::join;
use crate::os;

/// What can stand in place of the word before the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Completion {
    /// What all candidates go on with.
    pub(super) common: String,
    /// All of them, if there are several.
    pub(super) candidates: Vec<String>,
}

/// How many names of a directory are looked at.
const MAX_ENTRIES: usize = 10_000;

pub(super) fn complete(before: &str, surroundings: &Surroundings) -> Completion {
    let start = before.rfind(|char: char| " \t;|&<>()'\"=`$".contains(char)).map_or(0, |last| last + 1);
    let word = &before[start..];
    let is_command =
        before[..start].trim_end().is_empty() || before[..start].trim_end().ends_with([';', '|', '&', '(']);
    let candidates =
        if is_command && !word.contains('/') { commands(word, surroundings) } else { files(word, surroundings) };
    let mut candidates: Vec<String> = candidates.into_iter().collect();
    let Some(first) = candidates.first() else { return Completion::default() };
    let length = candidates.iter().map(|candidate| common_length(first, candidate)).min().unwrap_or_default();
    let name = word.rfind('/').map_or(word, |slash| &word[slash + 1..]);
    let mut common = first[..length].get(name.len()..).unwrap_or_default().to_owned();
    if candidates.len() == 1 {
        if !common.ends_with('/') && !first.ends_with('/') {
            common.push(' ');
        }
        candidates.clear();
    }
    Completion { common, candidates }
}

fn common_length(one: &str, two: &str) -> usize {
    let pairs = one.char_indices().zip(two.chars());
    pairs
        .take_while(|((_, left), right)| left == right)
        .map(|((at, char), _)| at + char.len_utf8())
        .last()
        .unwrap_or_default()
}

fn commands(word: &str, surroundings: &Surroundings) -> BTreeSet<String> {
    let own = surroundings.names.iter().map(String::as_str).chain(builtins::NAMES.iter().copied());
    let mut found: BTreeSet<String> = own.filter(|name| name.starts_with(word)).map(str::to_owned).collect();
    for directory in surroundings.path.split(|byte| *byte == b':') {
        found.extend(entries(&join(&surroundings.directory, directory), word).into_iter().map(|(name, _)| name));
    }
    found
}

fn files(word: &str, surroundings: &Surroundings) -> BTreeSet<String> {
    let (directory, name) =
        word.rsplit_once('/').map_or(("", word), |(directory, name)| (&word[..=directory.len()], name));
    let directory = match directory.strip_prefix("~/") {
        Some(rest) => join(&surroundings.home, rest.as_bytes()),
        None => join(&surroundings.directory, directory.as_bytes()),
    };
    let shown =
        entries(&directory, name).into_iter().filter(|(found, _)| name.starts_with('.') || !found.starts_with('.'));
    shown.map(|(name, is_directory)| if is_directory { name + "/" } else { name }).collect()
}

/// Names in a directory that begin in this way, and whether they are directories.
fn entries(directory: &[u8], start: &str) -> Vec<(String, bool)> {
    let Ok(entries) = fs::read_dir(os::os_str(directory)) else { return Vec::new() };
    let named = entries.take(MAX_ENTRIES).flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.starts_with(start))?;
        let is_directory = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        Some((name, is_directory))
    });
    named.collect()
}
