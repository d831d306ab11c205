//! Applets of uutils that would lose permissions, of which they know nothing on WASI.

/// `mktemp`: what it makes is for its owner only.
pub(crate) mod mktemp {
    use std::ffi::OsString;

    use crate::attributes;

    pub(crate) fn uumain(arguments: std::vec::IntoIter<OsString>) -> i32 {
        attributes::set_umask(0o077);
        uu_mktemp::uumain(arguments)
    }
}

/// `sed`: with `-i`, files are replaced by new ones, which get the permissions of the old.
pub(crate) mod sed {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use crate::attributes;
    use crate::failure::reason;

    pub(crate) fn uumain(arguments: std::vec::IntoIter<OsString>) -> i32 {
        let before: Vec<(PathBuf, u32)> = if arguments.as_slice().iter().any(edits_in_place) {
            let existing = |argument: &OsString| {
                let path = PathBuf::from(argument);
                let mode = attributes::of(&path, true).ok()?.mode;
                path.is_file().then_some((path, mode))
            };
            arguments.as_slice().iter().skip(1).filter_map(existing).collect()
        } else {
            Vec::new()
        };
        let mut code = ::sed::sed::uumain(arguments);
        for (path, mode) in before {
            let changed = attributes::of(&path, true).is_ok_and(|attributes| attributes.mode != mode);
            if changed && let Err(error) = attributes::set_mode(&path, mode) {
                eprintln!("sed: {}: {}", path.display(), reason(&error));
                code = code.max(1);
            }
        }
        code
    }

    /// Whether an argument is `-i`, alone, with a suffix or among other letters.
    fn edits_in_place(argument: &OsString) -> bool {
        let text = argument.to_string_lossy();
        text.starts_with("--in-place")
            || text.strip_prefix('-').is_some_and(|letters| {
                let flags = letters.split('i').next().unwrap_or_default();
                letters.contains('i') && flags.chars().all(|letter| "nrEsuzb".contains(letter))
            })
    }
}
