//! Paths as text: validity, and taking them apart one component at a time.

use super::{Errno, MAX_NAME, MAX_PATH};

/// Refuses paths no call may take: empty, too long, or with a NUL.
pub(super) fn check_path(path: &str) -> Result<(), Errno> {
    if path.is_empty() {
        Err(Errno::NotFound)
    } else if path.len() > MAX_PATH {
        Err(Errno::NameTooLong)
    } else if path.contains('\0') {
        Err(Errno::Invalid)
    } else {
        Ok(())
    }
}

/// Refuses a component that is too long, or that a host may take for more than one component.
pub(super) fn check_name(name: &str) -> Result<(), Errno> {
    if name.len() > MAX_NAME {
        return Err(Errno::NameTooLong);
    }
    if cfg!(windows) && name.contains(['\\', ':']) {
        return Err(Errno::Invalid);
    }
    Ok(())
}

/// The first component of `path` and what follows it, which starts with `/` or is empty. The component is empty
/// where nothing but slashes is left.
pub(super) fn split_first(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_at(path.find('/').unwrap_or(path.len()))
}

/// Whether nothing but slashes is left.
pub(super) fn is_finished(rest: &str) -> bool {
    rest.bytes().all(|byte| byte == b'/')
}

/// Whether `path` is two or more ordinary names joined by single slashes: no `.`, no `..`, no slash at either end.
pub(super) fn is_plain_walk(path: &str) -> bool {
    path.contains('/') && path.split('/').all(|name| !matches!(name, "" | "." | "..") && check_name(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart_at_slashes() {
        for (path, first, rest) in [
            ("a", "a", ""),
            ("a/b", "a", "/b"),
            ("//a//b", "a", "//b"),
            ("a/", "a", "/"),
            ("/", "", ""),
            ("..", "..", ""),
        ] {
            assert_eq!(split_first(path), (first, rest), "{path}");
        }
        for (path, plain) in [("a/b", true), ("a", false), ("a/", false), ("a//b", false), ("a/../b", false)] {
            assert_eq!(is_plain_walk(path), plain, "{path}");
        }
    }
}
