//! What a container runs: the image's entry point and arguments, what the spec puts in their place, and the
//! `$(VAR)` grammar that commands and environment share.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// References in `subPathExpr` that have no value: their names, sorted and joined with `, `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("missing value for {0}")]
pub struct MissingValue(pub String);

/// The argument vector of a container. `command` replaces the image's entry point *and* drops its arguments, `args`
/// alone replaces only the arguments (kubelet v1.36 `ExpandContainerCommandAndArgs`). Both are expanded from `env`;
/// the image's own words are taken as they are.
pub fn argv(
    entrypoint: &[String],
    cmd: &[String],
    command: &[String],
    args: &[String],
    env: &[(String, String)],
) -> Vec<String> {
    let expanded = |words: &[String]| words.iter().map(|word| expand_known(word, env)).collect::<Vec<_>>();
    let program = if command.is_empty() { entrypoint.to_vec() } else { expanded(command) };
    let arguments = match (command.is_empty(), args.is_empty()) {
        (_, false) => expanded(args),
        (true, true) => cmd.to_vec(),
        (false, true) => Vec::new(),
    };
    [program, arguments].concat()
}

/// Expands `subPathExpr`, where every reference needs a value (kubelet v1.36 `ExpandContainerVolumeMounts`).
///
/// # Errors
/// The references that are unknown or empty.
pub fn sub_path(expression: &str, env: &[(String, String)]) -> Result<String, MissingValue> {
    let mut missing = BTreeSet::new();
    let expanded = expand(expression, |name| match lookup(env, name) {
        Some(value) if !value.is_empty() => Some(Cow::Borrowed(value)),
        _ => {
            missing.insert(name.to_owned());
            None
        }
    });
    if missing.is_empty() {
        return Ok(expanded);
    }
    Err(MissingValue(missing.into_iter().collect::<Vec<_>>().join(", ")))
}

fn expand_known(text: &str, env: &[(String, String)]) -> String {
    expand(text, |name| lookup(env, name).map(Cow::Borrowed))
}

fn lookup<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Expands `$(NAME)`: known names become their value (which is not looked at again), unknown ones stay as written;
/// `$$` is a literal `$`; an unclosed `$(` and any other `$c` stay (apimachinery `third_party/forked/golang/expansion`).
pub(super) fn expand<'a>(text: &str, mut value_of: impl FnMut(&str) -> Option<Cow<'a, str>>) -> String {
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
    }
    expanded.push_str(rest);
    expanded
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
            assert_eq!(expand_known(text, &env()), expected, "{text}");
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
            assert_eq!(actual, words(expected), "{command:?} {args:?}");
        }
    }

    #[test]
    fn a_sub_path_needs_every_value() {
        assert_eq!(sub_path("logs/$(A)", &env()), Ok("logs/two".into()));
        assert_eq!(sub_path("$(NONE)/$(A)", &env()).unwrap_err().to_string(), "missing value for NONE");
        assert_eq!(sub_path("$(Y)/$(X)", &env()).unwrap_err().to_string(), "missing value for X, Y");
        assert_eq!(sub_path("$(EMPTY)", &env()), Err(MissingValue("EMPTY".into())));
    }
}
