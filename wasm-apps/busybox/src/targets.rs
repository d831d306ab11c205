//! Where `cp` and `mv` put what they are given.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Where things go.
pub(crate) struct Targets {
    /// `-t`
    pub(crate) folder: Option<PathBuf>,
    /// `-T`: the target is never a folder to put things into.
    pub(crate) exactly: bool,
    /// `--parents`: with the folders they are in.
    pub(crate) parents: bool,
}

impl Targets {
    /// Each source with its target. The last operand is where they go, unless an option says so.
    pub(crate) fn pair(&self, applet: &str, mut operands: Vec<PathBuf>) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let last = match &self.folder {
            Some(folder) => folder.clone(),
            None => operands.pop().ok_or_else(|| Failure::usage("missing file operand"))?,
        };
        if operands.is_empty() {
            let problem = format!("missing destination file operand after '{}'", last.display());
            return Err(if self.folder.is_some() {
                Failure::usage("missing file operand")
            } else {
                Failure::Usage(problem)
            });
        }
        let is_folder = last.is_dir() && !self.exactly;
        if !is_folder && (self.folder.is_some() || self.parents || operands.len() > 1) {
            return Err(Failure::Usage(match self.exactly {
                true => format!("extra operand '{}'; {applet} -T takes two", last.display()),
                false => format!("target '{}' is not a directory", last.display()),
            }));
        }
        let pair = |source: PathBuf| {
            let target = match (is_folder, self.parents) {
                (false, _) => last.clone(),
                (true, false) => within(&last, &source),
                (true, true) => last.join(source.strip_prefix("/").unwrap_or(&source)),
            };
            (source, target)
        };
        Ok(operands.into_iter().map(pair).collect())
    }
}

/// Where a source goes in a folder. What a name such as `x/.` stands for has none of its own: its contents go there.
fn within(folder: &Path, source: &Path) -> PathBuf {
    let text = source.as_os_str().as_encoded_bytes();
    let text = &text[..text.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1)];
    let last = text.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match source.file_name() {
        Some(name) if last != b"." && last != b".." => folder.join(name),
        _ => folder.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_into_a_folder_keeps_its_name() {
        for (source, target) in [
            ("a", "f/a"),
            ("x/a/", "f/a"),
            ("/a", "f/a"),
            (".", "f"),
            ("x/.", "f"),
            ("x/./", "f"),
            ("..", "f"),
            ("x/..", "f"),
            ("/", "f"),
            (".a", "f/.a"),
        ] {
            assert_eq!(within(Path::new("f"), Path::new(source)), Path::new(target), "{source}");
        }
    }
}
