//! What a container runs: the image's entry point and arguments, what the spec puts in their place, and the
//! `$(VAR)` grammar that commands and environment share.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Most bytes that a container's variables, and its arguments, may come to: what Linux gives a new program. Without
/// it, thirty variables that each name the one before twice would fill the memory.
pub const MAX_EXPANDED_BYTES: usize = 2 * 1024 * 1024;

/// Longest path Linux takes.
const MAX_PATH_BYTES: usize = 4096;

/// The arguments come to more than [`MAX_EXPANDED_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument list too long: command and arguments come to more than {MAX_EXPANDED_BYTES} bytes")]
pub struct ArgumentsTooLong;

/// A `subPathExpr` that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubPathError {
    /// References that have no value: their names, sorted and joined with `, `.
    #[error("missing value for {0}")]
    MissingValue(String),
    /// The path is longer than any path.
    #[error("file name too long: subPathExpr comes to more than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

/// The argument vector of a container. `command` replaces the image's entry point *and* drops its arguments, `args`
/// alone replaces only the arguments (kubelet v1.36 `ExpandContainerCommandAndArgs`). Both are expanded from `env`;
/// the image's own words are taken as they are.
///
/// # Errors
/// When it comes to more than a program can be given.
pub fn argv(
    entrypoint: &[String],
    cmd: &[String],
    command: &[String],
    args: &[String],
    env: &[(String, String)],
) -> Result<Vec<String>, ArgumentsTooLong> {
    let mut room = MAX_EXPANDED_BYTES;
    let mut expanded = |words: &[String]| {
        let mut word = |word: &String| {
            let expanded = expand_known(word, room, env).ok_or(ArgumentsTooLong)?;
            room -= expanded.len();
            Ok(expanded)
        };
        words.iter().map(&mut word).collect::<Result<Vec<_>, _>>()
    };
    let program = if command.is_empty() { entrypoint.to_vec() } else { expanded(command)? };
    let arguments = match (command.is_empty(), args.is_empty()) {
        (_, false) => expanded(args)?,
        (true, true) => cmd.to_vec(),
        (false, true) => Vec::new(),
    };
    Ok([program, arguments].concat())
}

/// Expands `subPathExpr`, where every reference needs a value (kubelet v1.36 `ExpandContainerVolumeMounts`).
///
/// # Errors
/// When references are unknown or empty, or the path is too long.
pub fn sub_path(expression: &str, env: &[(String, String)]) -> Result<String, SubPathError> {
    let mut missing = BTreeSet::new();
    let expanded = expand(expression, MAX_PATH_BYTES, |name| match lookup(env, name) {
        Some(value) if !value.is_empty() => Some(Cow::Borrowed(value)),
        _ => {
            missing.insert(name.to_owned());
            None
        }
    });
    if missing.is_empty() {
        return expanded.ok_or(SubPathError::TooLong);
    }
    Err(SubPathError::MissingValue(missing.into_iter().collect::<Vec<_>>().join(", ")))
}

fn expand_known(text: &str, room: usize, env: &[(String, String)]) -> Option<String> {
    expand(text, room, |name| lookup(env, name).map(Cow::Borrowed))
}

fn lookup<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Expands `$(NAME)`: known names become their value (which is not looked at again), unknown ones stay as written;
/// `$$` is a literal `$`; an unclosed `$(` and any other `$c` stay (apimachinery `third_party/forked/golang/expansion`).
/// `None` if that comes to more than `room` bytes.
pub(super) fn expand<'a>(
    text: &str,
    room: usize,
    mut value_of: impl FnMut(&str) -> Option<Cow<'a, str>>,
) -> Option<String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let closed = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = match (after.chars().next(), closed) {
            (Some('$'), _) => {
                expanded.push('$');
                &after[1..]
            }
            (_, Some((name, remaining))) => {
                match value_of(name) {
                    Some(value) => expanded.push_str(&value),
                    None => expanded.extend(["$(", name, ")"]),
                }
                remaining
            }
            _ => {
                expanded.push('$');
                after
            }
        };
        if expanded.len() > room {
            return None;
        }
    }
    expanded.push_str(rest);
    (expanded.len() <= room).then_some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Vec<(String, String)> {
        [("A", "one"), ("B", "$(A)"), ("EMPTY", ""), ("A", "two")].map(|(k, v)| (k.into(), v.into())).into()
    }

    #[test]
    fn references_expand_by_the_grammar() {
        for (text, expected) in [
            ("$(A)", "two"),
            ("x$(A)y$(A)", "xtwoytwo"),
            ("$(B)", "$(A)"),
            ("$(NONE)", "$(NONE)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$two"),
            ("$$", "$"),
            ("$", "$"),
            ("a$", "a$"),
            ("$(A", "$(A"),
            ("$x$(A)", "$xtwo"),
            ("$(foo$$var)", "$(foo$$var)"),
            ("$()", "$()"),
            ("$(EMPTY)|", "|"),
            ("é$(A)é", "étwoé"),
            ("$é", "$é"),
        ] {
            assert_eq!(expand_known(text, 100, &env()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (command, args, expected) in [
            ("", "", "entry --flag cmd $(A)"),
            ("", "x $(A)", "entry --flag x two"),
            ("run $(A)", "", "run two"),
            ("run", "x", "run x"),
        ] {
            let actual = argv(&words("entry --flag"), &words("cmd $(A)"), &words(command), &words(args), &env());
            assert_eq!(actual, Ok(words(expected)), "{command:?} {args:?}");
        }
    }

    #[test]
    fn a_sub_path_needs_every_value() {
        assert_eq!(sub_path("logs/$(A)", &env()), Ok("logs/two".into()));
        assert_eq!(sub_path("$(NONE)/$(A)", &env()).unwrap_err().to_string(), "missing value for NONE");
        assert_eq!(sub_path("$(Y)/$(X)", &env()).unwrap_err().to_string(), "missing value for X, Y");
        assert_eq!(sub_path("$(EMPTY)", &env()), Err(SubPathError::MissingValue("EMPTY".into())));
    }

    #[test]
    fn what_grows_beyond_reason_is_refused() {
        let env = vec![("A".to_owned(), "x".repeat(MAX_EXPANDED_BYTES / 2))];
        let word = "$(A)".to_owned();
        assert!(argv(&[], &[], &[word.clone(), word.clone()], &[], &env).is_ok());
        assert_eq!(argv(&[], &[], &[word.clone(), word.clone()], &[word], &env), Err(ArgumentsTooLong));
        assert_eq!(sub_path("$(A)", &env), Err(SubPathError::TooLong));
    }
}
