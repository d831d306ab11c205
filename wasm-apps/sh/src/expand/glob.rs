//! Pathname expansion.

use std::fs;

use crate::exec::Shell;
use crate::fields::Field;
use crate::os;

impl Shell {
    /// The paths that match, sorted.
    pub(super) fn glob(&self, field: &Field) -> Vec<Vec<u8>> {
        let components = field.components();
        let mut paths = vec![Vec::new()];
        for (index, component) in components.iter().enumerate() {
            let last = index + 1 == components.len();
            paths = paths.into_iter().flat_map(|path| self.step(path, component, last)).collect();
        }
        paths.sort();
        paths
    }

    /// `path` with what a component finds in it.
    fn step(&self, path: Vec<u8>, component: &Field, last: bool) -> Vec<Vec<u8>> {
        let end = |mut path: Vec<u8>, name: &[u8]| {
            path.extend_from_slice(name);
            if !last {
                path.push(b'/');
            }
            path
        };
        if !component.is_glob() {
            let name = &component.text;
            let path = end(path, name);
            // Between slashes there may be nothing, and the first of all may be.
            let exists = name.is_empty() || fs::symlink_metadata(self.absolute(&path)).is_ok();
            return if exists { vec![path] } else { Vec::new() };
        }
        let directory = if path.is_empty() { b"." } else { path.as_slice() };
        let Ok(entries) = fs::read_dir(self.absolute(directory)) else { return Vec::new() };
        let pattern = component.pattern();
        let mut names: Vec<Vec<u8>> =
            entries.flatten().map(|entry| os::bytes_of(&entry.file_name()).to_vec()).collect();
        if pattern.begins_with_dot() {
            names.extend([b".".to_vec(), b"..".to_vec()]);
            names.sort();
            names.dedup();
        }
        names.retain(|name| (pattern.begins_with_dot() || !name.starts_with(b".")) && pattern.matches(name));
        let mut found: Vec<_> = names.into_iter().map(|name| end(path.clone(), &name)).collect();
        if !last {
            found.retain(|path| fs::metadata(self.absolute(path)).is_ok_and(|metadata| metadata.is_dir()));
        }
        found
    }
}
