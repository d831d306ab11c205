//! The directory that an image is built from. Nothing outside of it is read, symlinks that lead there included; what
//! `.dockerignore` names is not there.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata};

use crate::image::ImageError;
use crate::image::layout::failed;

/// Most files of one build.
pub(super) const MAX_FILES: usize = 200_000;
/// Deepest directory.
const MAX_DEPTH: usize = 128;
/// The file that says what is not there.
const IGNORE_FILE: &str = ".dockerignore";
/// Largest such file.
const MAX_IGNORE: u64 = 1024 * 1024;

/// The directory that an image is built from.
pub(super) struct Context {
    root: PathBuf,
    dir: Dir,
    ignored: Vec<Pattern>,
}

/// A line of `.dockerignore`.
struct Pattern {
    parts: Vec<String>,
    /// Takes back what earlier lines say.
    again: bool,
}

/// A file to put into an image.
pub(super) struct Found {
    /// Relative to the context.
    pub(super) path: String,
    pub(super) kind: FoundKind,
    pub(super) mode: u32,
    pub(super) modified: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FoundKind {
    Directory,
    File { size: u64 },
    Symlink(String),
}

impl Context {
    /// Opens a directory.
    pub(super) fn open(root: &Path) -> Result<Self, ImageError> {
        let dir = Dir::open_ambient_dir(root, ambient_authority()).map_err(failed("cannot open", root))?;
        let mut context = Self { root: root.to_owned(), dir, ignored: Vec::new() };
        if let Ok(file) = context.dir.open(IGNORE_FILE) {
            let mut text = String::new();
            file.take(MAX_IGNORE).read_to_string(&mut text).map_err(failed("cannot read", &root.join(IGNORE_FILE)))?;
            context.ignored = text.lines().filter_map(Pattern::parse).collect();
        }
        Ok(context)
    }

    /// Reads a small file whole; `None` if there is none.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<String>, ImageError> {
        let Ok(file) = self.dir.open(path) else { return Ok(None) };
        let mut text = String::new();
        let place = self.root.join(path);
        file.take(limit + 1).read_to_string(&mut text).map_err(failed("cannot read", &place))?;
        if text.len() as u64 > limit {
            return Err(ImageError::Invalid(format!("{} is larger than {limit} bytes", place.display())));
        }
        Ok(Some(text))
    }

    /// Opens a file.
    pub(super) fn file(&self, path: &str) -> Result<cap_std::fs::File, ImageError> {
        self.dir.open(path).map_err(failed("cannot open", &self.root.join(path)))
    }

    /// What a source of `COPY` names, sorted; with wildcards, all that match, and at least one. A source itself may be a
    /// symlink.
    pub(super) fn matching(&self, source: &str) -> Result<Vec<String>, ImageError> {
        let source = clean(source)?;
        if !source.contains(['*', '?', '[']) {
            return Ok(vec![source]);
        }
        let parts: Vec<&str> = source.split('/').collect();
        let mut matching = vec![String::new()];
        for part in parts {
            let mut next = Vec::new();
            for parent in &matching {
                let Ok(entries) = self.dir.read_dir(if parent.is_empty() { "." } else { parent }) else { continue };
                for entry in entries.flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if matches(part, &name) {
                        next.push(join(parent, &name));
                    }
                    if next.len() > MAX_FILES {
                        return Err(too_many());
                    }
                }
            }
            matching = next;
        }
        let all = matching.len();
        matching.retain(|path| !self.is_ignored(path));
        matching.sort();
        match (matching.len(), all) {
            (0, 0) => Err(ImageError::Invalid(format!("nothing matches {source:?}"))),
            (0, _) => Err(ImageError::Invalid(format!("all that matches {source:?} is excluded by {IGNORE_FILE}"))),
            _ => Ok(matching),
        }
    }

    /// Why nothing is seen at a path.
    pub(super) fn missing(&self, path: &str) -> ImageError {
        let is_there = self.dir.symlink_metadata(path).is_ok();
        ImageError::Invalid(if is_there && self.is_ignored(path) {
            format!("{path:?} is excluded by {IGNORE_FILE}")
        } else {
            format!("{path:?} is not there")
        })
    }

    /// What is at a path, a symlink followed; `None` if there is nothing, or nothing that may be seen.
    pub(super) fn look(&self, path: &str) -> Result<Option<Found>, ImageError> {
        if !path.is_empty() && self.is_ignored(path) && !self.has_more(path)? {
            return Ok(None);
        }
        let at = if path.is_empty() { "." } else { path };
        match self.dir.metadata(at) {
            Ok(metadata) => self.found(path, &metadata).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("cannot read", &self.root.join(path))(error)),
        }
    }

    /// Whether something in a directory that is ignored is not, for a later line takes it back.
    fn has_more(&self, path: &str) -> Result<bool, ImageError> {
        let takes_back = self.ignored.iter().any(|pattern| pattern.again);
        Ok(takes_back && self.dir.metadata(path).is_ok_and(|found| found.is_dir()) && !self.walk(path)?.is_empty())
    }

    /// Everything in a directory, sorted, directories before what is in them.
    pub(super) fn walk(&self, path: &str) -> Result<Vec<Found>, ImageError> {
        let mut found = Vec::new();
        self.walk_into(path, 0, &mut found)?;
        Ok(found)
    }

    fn walk_into(&self, directory: &str, depth: usize, found: &mut Vec<Found>) -> Result<(), ImageError> {
        if depth > MAX_DEPTH {
            return Err(ImageError::Invalid(format!("{directory} is more than {MAX_DEPTH} directories deep")));
        }
        let place = self.root.join(directory);
        let entries = self.dir.read_dir(if directory.is_empty() { "." } else { directory });
        let mut names = Vec::new();
        for entry in entries.map_err(failed("cannot read", &place))? {
            let name = entry.map_err(failed("cannot read", &place))?.file_name();
            let name = name
                .into_string()
                .map_err(|name| ImageError::Invalid(format!("{} is no UTF-8 name", place.join(name).display())))?;
            names.push(name);
        }
        names.sort();
        for name in names {
            let path = join(directory, &name);
            let metadata = self.dir.symlink_metadata(&path).map_err(failed("cannot read", &self.root.join(&path)))?;
            let ignored = self.is_ignored(&path);
            if !ignored {
                if found.len() >= MAX_FILES {
                    return Err(too_many());
                }
                found.push(self.found(&path, &metadata)?);
            }
            // A later line may take back some of what is in an ignored directory.
            if metadata.is_dir() && (!ignored || self.ignored.iter().any(|pattern| pattern.again)) {
                self.walk_into(&path, depth + 1, found)?;
            }
        }
        Ok(())
    }

    fn found(&self, path: &str, metadata: &Metadata) -> Result<Found, ImageError> {
        let kind = if metadata.is_dir() {
            FoundKind::Directory
        } else if metadata.is_file() {
            FoundKind::File { size: metadata.len() }
        } else if metadata.is_symlink() {
            let target = self.dir.read_link_contents(path).map_err(failed("cannot read", &self.root.join(path)))?;
            FoundKind::Symlink(target.to_string_lossy().into_owned())
        } else {
            return Err(ImageError::Invalid(format!(
                "{} is neither file, directory nor symlink; name it in .dockerignore",
                self.root.join(path).display()
            )));
        };
        let modified = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
        let modified = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let mode = mode(metadata);
        Ok(Found { path: path.to_owned(), kind, mode, modified: modified.map_or(0, |time| time.as_secs()) })
    }

    fn is_ignored(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let mut ignored = false;
        for pattern in &self.ignored {
            // A pattern that matches a directory matches all that is in it.
            if (1..=parts.len()).any(|length| matches_parts(&pattern.parts, &parts[..length])) {
                ignored = !pattern.again;
            }
        }
        ignored
    }
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    cap_std::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// Where there are no permission bits every file may be a program, as docker has it.
#[cfg(not(unix))]
fn mode(_metadata: &Metadata) -> u32 {
    0o755
}

impl Pattern {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let (line, again) = match line.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (line, false),
        };
        let parts: Vec<String> =
            line.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
        (!parts.is_empty() && !line.starts_with('#')).then_some(Self { parts, again })
    }
}

fn too_many() -> ImageError {
    ImageError::Invalid(format!("more than {MAX_FILES} files"))
}

/// A path of the context: `..` leads nowhere.
fn clean(path: &str) -> Result<String, ImageError> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"..") {
        return Err(ImageError::Invalid(format!("{path:?} is outside of the directory that is built from")));
    }
    Ok(parts.join("/"))
}

pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn matches_parts(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => (0..=path.len()).any(|skipped| matches_parts(rest, &path[skipped..])),
        Some((first, rest)) => {
            path.split_first().is_some_and(|(name, path)| matches(first, name) && matches_parts(rest, path))
        }
    }
}

/// Whether a name is as a pattern with `*`, `?` and `[…]` says (Go's `filepath.Match`).
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // The last star, and how much of the name it has taken.
    let (mut at, mut from, mut star) = (0, 0, None);
    loop {
        let (fits, length) = match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
                continue;
            }
            None if from == name.len() => return true,
            None => (false, 0),
            Some('[') => class(&pattern[at..], name.get(from)),
            Some('?') => (from < name.len(), 1),
            Some('\\') => (pattern.get(at + 1) == name.get(from) && from < name.len(), 2),
            Some(character) => (name.get(from) == Some(character), 1),
        };
        if fits {
            (at, from) = (at + length, from + 1);
        } else {
            match star {
                Some((star_at, taken)) if taken < name.len() => {
                    star = Some((star_at, taken + 1));
                    (at, from) = (star_at + 1, taken + 1);
                }
                _ => return false,
            }
        }
    }
}

/// Whether a character is of the class that a pattern begins with, and how long that is.
fn class(pattern: &[char], character: Option<&char>) -> (bool, usize) {
    let Some(end) = pattern.iter().skip(2).position(|found| *found == ']').map(|position| position + 2) else {
        return (false, 0);
    };
    let negated = pattern.get(1) == Some(&'^');
    let inner = &pattern[1 + usize::from(negated)..end];
    let Some(character) = character else { return (false, 0) };
    let ranged = inner.windows(3).any(|window| window[1] == '-' && (window[0]..=window[2]).contains(character));
    (negated != (ranged || inner.contains(character)), end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let yes = [
            ("*.wasm", "a.wasm"),
            ("a?c", "abc"),
            ("[a-c]*", "big"),
            ("[^a]", "b"),
            ("a*b*c", "axxbyyc"),
            ("*", ""),
            ("\\*", "*"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.wasm", "a.wat"), ("a?c", "ac"), ("[a-c]", "d"), ("[^a]", "a"), ("a*b", "ac"), ("[a", "a"), ("?", "")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_ignored_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        std::fs::create_dir_all(at("target/debug")).unwrap();
        for file in ["a.txt", "b.md", "target/keep", "target/debug/x", "README.md"] {
            std::fs::write(at(file), file).unwrap();
        }
        std::fs::write(at(".dockerignore"), "# comment\n*.md\n!README.md\ntarget\n!target/keep\n**/*ignore\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("out")).unwrap();
        let context = Context::open(directory.path()).unwrap();
        let found: Vec<_> = context.walk("").unwrap().into_iter().map(|found| found.path).collect();
        assert_eq!(found, ["README.md", "a.txt", "out", "target/keep"]);
        assert_eq!(context.matching("*.md").unwrap(), ["README.md"]);
        assert!(context.look("b.md").unwrap().is_none());
        assert!(context.look("target").unwrap().is_some(), "some of it is there");
        assert!(context.look("target/debug").unwrap().is_none());
        assert!(context.missing("b.md").to_string().contains("excluded by .dockerignore"));
        assert!(context.missing("c.md").to_string().contains("is not there"));
        assert!(context.matching("b*").unwrap_err().to_string().contains("excluded by .dockerignore"));
        assert!(context.look("out").is_err(), "a symlink that leads outside");
        assert!(context.matching("../x").is_err());
    }
}
