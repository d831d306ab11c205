//! Paths: relative to the shell's own directory, and programs on `PATH`.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use super::Shell;
use crate::os;

impl Shell {
    /// The path from the root.
    pub(crate) fn absolute(&self, path: &[u8]) -> PathBuf {
        PathBuf::from(os::os_str(&join(&self.state.directory, path)))
    }

    /// Where the program of this name is. What was found before is asked for again, as it may be gone.
    pub(crate) fn find_program(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        if name.contains(&b'/') {
            return Some(join(&self.state.directory, name));
        }
        if let Some(path) = self.hashed.get(name) {
            if is_file(path) && may_execute(path) {
                return Some(path.clone());
            }
            self.hashed.remove(name);
        }
        let path = self.search(name)?;
        self.hashed.insert(name.to_vec(), path.clone());
        Some(path)
    }

    /// Looks for a program on `PATH`. One that may not be executed is as good as none, unless there is no other.
    pub(crate) fn search(&self, name: &[u8]) -> Option<Vec<u8>> {
        let variables = Rc::clone(&self.state.variables);
        let directories = variables.get("PATH").unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|byte| *byte == b':');
        let candidates = directories.map(|directory| join(&join(&self.state.directory, directory), name));
        let mut files = candidates.into_iter().filter(|path| is_file(path)).peekable();
        let first = files.peek().cloned();
        files.find(|path| may_execute(path)).or(first)
    }
}

/// Whether this is a program, as far as permissions tell.
pub(crate) fn may_execute(path: &[u8]) -> bool {
    let path = os::os_str(path);
    crate::process::files::permissions(path.as_ref(), true).is_ok_and(|permissions| permissions.mode & 0o111 != 0)
}

fn is_file(path: &[u8]) -> bool {
    fs::metadata(os::os_str(path)).is_ok_and(|metadata| metadata.is_file())
}

/// `path` as seen from `directory`, which is absolute.
pub(crate) fn join(directory: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") {
        return path.to_vec();
    }
    let mut joined = directory.to_vec();
    if !joined.ends_with(b"/") && !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(path);
    joined
}
