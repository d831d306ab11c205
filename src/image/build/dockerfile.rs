//! Reading the part of the Dockerfile format that needs nothing to be run. What is not understood is refused with its
//! line and the reason, never skipped.

use super::variables::{unquoted, words};

/// Most instructions of one file.
const MAX_INSTRUCTIONS: usize = 1000;

/// One instruction, with variables still in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Instruction {
    From {
        image: String,
        platform: Option<String>,
    },
    Copy(CopyFiles),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Arg(Vec<(String, Option<String>)>),
    Entrypoint(Vec<String>),
    Cmd(Vec<String>),
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    Maintainer(String),
    /// What is to be run is not kept: images in the form of OCI have no place for it.
    Healthcheck {
        is_none: bool,
    },
}

/// `COPY`, and `ADD` of local files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyFiles {
    pub(super) sources: Vec<String>,
    pub(super) destination: String,
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<String>,
    pub(super) is_add: bool,
}

/// An instruction and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    /// As it is written, on one line; for the image's history.
    pub(super) text: String,
    pub(super) instruction: Instruction,
}

/// A line and what is wrong there.
pub(super) type Problem = (usize, String);

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, Problem> {
    let mut lines = Vec::new();
    // Editors of Windows begin files with a byte order mark.
    for (number, text) in logical_lines(text.trim_start_matches('\u{feff}'))? {
        if lines.len() >= MAX_INSTRUCTIONS {
            return Err((number, format!("more than {MAX_INSTRUCTIONS} instructions")));
        }
        let instruction = instruction(&text).map_err(|problem| (number, problem))?;
        let is_from = matches!(instruction, Instruction::From { .. });
        let has_from = lines.iter().any(|line: &Line| matches!(line.instruction, Instruction::From { .. }));
        if is_from && has_from {
            return Err((
                number,
                "several FROM (a build in stages) are not supported: there is nothing to run in them".to_owned(),
            ));
        }
        if !is_from && !has_from && !matches!(instruction, Instruction::Arg(..)) {
            return Err((number, "FROM must come first".to_owned()));
        }
        lines.push(Line { number, text, instruction });
    }
    if lines.iter().any(|line| matches!(line.instruction, Instruction::From { .. })) {
        Ok(lines)
    } else {
        Err((1, "there is no FROM".to_owned()))
    }
}

/// Lines with continuations put together and comments left out, with the number of their first line.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, Problem> {
    let mut lines = Vec::new();
    let mut current: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            let directive = comment.trim().to_ascii_lowercase();
            if lines.is_empty() && current.is_none() && directive.starts_with("escape=") && directive != "escape=\\" {
                return Err((number, "the directive escape is not supported".to_owned()));
            }
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        let (start, mut joined) = current.take().unwrap_or((number, String::new()));
        // Only an instruction's first line loses the spaces that it begins with.
        let line = if joined.is_empty() { line.trim_start() } else { line };
        match continued(line) {
            Some(begun) => {
                joined.push_str(begun);
                current = Some((start, joined));
            }
            None => {
                joined.push_str(line.trim_end());
                lines.push((start, joined));
            }
        }
    }
    lines.extend(current);
    Ok(lines)
}

/// What a line has before the backslash by which it goes on in the next one. Two backslashes are one that is meant.
fn continued(line: &str) -> Option<&str> {
    let begun = line.trim_end_matches([' ', '\t']).strip_suffix('\\')?;
    (!begun.ends_with('\\')).then_some(begun)
}

fn instruction(line: &str) -> Result<Instruction, String> {
    let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let keyword = keyword.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{keyword} needs an argument"));
    }
    Ok(match keyword.as_str() {
        "FROM" => from(rest)?,
        "COPY" => Instruction::Copy(copy(rest, false)?),
        "ADD" => Instruction::Copy(copy(rest, true)?),
        "ENV" => Instruction::Env(pairs(rest, true)?),
        "LABEL" => Instruction::Label(pairs(rest, true)?),
        "ARG" => Instruction::Arg(arguments(rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
        "CMD" => Instruction::Cmd(command(rest)),
        "WORKDIR" => Instruction::Workdir(unquoted(rest)?),
        "USER" => Instruction::User(unquoted(rest)?),
        "EXPOSE" => Instruction::Expose(rest.split_whitespace().map(str::to_owned).collect()),
        "VOLUME" => Instruction::Volume(
            json_words(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect()),
        ),
        "STOPSIGNAL" => Instruction::StopSignal(unquoted(rest)?),
        "RUN" => {
            return Err(
                "RUN is not supported: nothing is run while an image is built; make the files beforehand and COPY them"
                    .to_owned(),
            );
        }
        "HEALTHCHECK" => healthcheck(rest)?,
        "MAINTAINER" => Instruction::Maintainer(rest.to_owned()),
        "SHELL" | "ONBUILD" => return Err(format!("{keyword} is not supported")),
        _ => return Err(format!("unknown instruction {keyword:?}")),
    })
}

fn from(rest: &str) -> Result<Instruction, String> {
    let (mut platform, mut rest) = (None, rest);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        match option.split_once('=') {
            Some(("platform", value)) => platform = Some(value.to_owned()),
            _ => return Err(format!("the option --{option} of FROM is not supported")),
        }
        rest = after.trim_start();
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words[..] {
        [image] => Ok(Instruction::From { image: image.to_owned(), platform }),
        [image, keyword, _] if keyword.eq_ignore_ascii_case("as") => {
            Ok(Instruction::From { image: image.to_owned(), platform })
        }
        _ => Err("FROM takes an image, and a name after AS".to_owned()),
    }
}

/// `NAME` and `NAME=default`, with variables still in the default.
fn arguments(rest: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let split = |word: &String| {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (word.as_str(), None),
        };
        if name.is_empty() {
            Err(format!("ARG of {word:?}, which has no name"))
        } else {
            Ok((unquoted(name)?, default))
        }
    };
    words(rest)?.iter().map(split).collect()
}

fn healthcheck(rest: &str) -> Result<Instruction, String> {
    let mut words = rest.split_whitespace().skip_while(|word| word.starts_with("--"));
    let kind = words.next().unwrap_or_default();
    if kind.eq_ignore_ascii_case("none") {
        Ok(Instruction::Healthcheck { is_none: true })
    } else if kind.eq_ignore_ascii_case("cmd") && words.next().is_some() {
        Ok(Instruction::Healthcheck { is_none: false })
    } else {
        Err("HEALTHCHECK is NONE, or CMD and a command".to_owned())
    }
}

fn copy(rest: &str, is_add: bool) -> Result<CopyFiles, String> {
    let keyword = if is_add { "ADD" } else { "COPY" };
    let (mut chown, mut chmod, mut rest) = (None, None, rest);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        match option.split_once('=') {
            Some(("chown", value)) => chown = Some(value.to_owned()),
            Some(("chmod", value)) => chmod = Some(value.to_owned()),
            Some(("from", _)) => {
                return Err(format!(
                    "--from of {keyword} is not supported: there are no stages, and other images are not read"
                ));
            }
            // It is about a cache that is not there.
            Some(("link", "true" | "false")) => {}
            None if option == "link" => {}
            _ => return Err(format!("the option --{option} of {keyword} is not supported")),
        }
        rest = after.trim_start();
    }
    if rest.starts_with("<<") || rest.contains(" <<") {
        return Err(format!("here-documents of {keyword} are not supported"));
    }
    let mut words = match json_words(rest) {
        Some(words) => words,
        None => words(rest)?,
    };
    let destination = words.pop().filter(|_| !words.is_empty());
    let destination = destination.ok_or_else(|| format!("{keyword} needs what to copy and where to"))?;
    if is_add && let Some(url) = words.iter().find(|word| word.contains("://") || word.starts_with("git@")) {
        return Err(format!("ADD of {url:?} is not supported: only local files are added"));
    }
    Ok(CopyFiles { sources: words, destination, chown, chmod, is_add })
}

/// `["a", "b"]`, or a line for the shell.
fn command(rest: &str) -> Vec<String> {
    json_words(rest).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()])
}

fn json_words(rest: &str) -> Option<Vec<String>> {
    if rest.starts_with('[') { serde_json::from_str(rest).ok() } else { None }
}

/// `key=value` pairs; `key value` for one, where that is allowed. Variables are put in later, and so quotes are kept.
fn pairs(rest: &str, one_by_space: bool) -> Result<Vec<(String, String)>, String> {
    let words = words(rest)?;
    let first = words.first().map(String::as_str).unwrap_or_default();
    if one_by_space && !first.contains('=') {
        let (key, value) = rest.split_once(char::is_whitespace).ok_or_else(|| format!("{first:?} has no value"))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let split = |word: &String| {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} has no value"))?;
        Ok((unquoted(key)?, value.to_owned()))
    };
    words.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Instruction> {
        parse(text).unwrap().into_iter().map(|line| line.instruction).collect()
    }

    #[test]
    fn what_is_supported_is_read() {
        let text = r#"
# syntax=docker/dockerfile:1
ARG VERSION=1.0 OTHER
from busybox:$VERSION AS base
ENV A=1 B="two words" C=it\ is \
    # a comment in between
    D=4
ENV OLD the old way
LABEL a.b="c d"
COPY --chown=1000:1000 --chmod=755 a b /dir/
ADD ["with space", "/x"]
ENTRYPOINT ["/app", "serve"]
CMD run it
EXPOSE 80 53/udp
"#;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let copied = CopyFiles {
            sources: words(&["a", "b"]),
            destination: "/dir/".to_owned(),
            chown: Some("1000:1000".to_owned()),
            chmod: Some("755".to_owned()),
            is_add: false,
        };
        let added = CopyFiles {
            sources: words(&["with space"]),
            destination: "/x".to_owned(),
            chown: None,
            chmod: None,
            is_add: true,
        };
        let expected = [
            Instruction::Arg(vec![("VERSION".to_owned(), Some("1.0".to_owned())), ("OTHER".to_owned(), None)]),
            Instruction::From { image: "busybox:$VERSION".to_owned(), platform: None },
            Instruction::Env(vec![pair("A", "1"), pair("B", "\"two words\""), pair("C", "it\\ is"), pair("D", "4")]),
            Instruction::Env(vec![pair("OLD", "the old way")]),
            Instruction::Label(vec![pair("a.b", "\"c d\"")]),
            Instruction::Copy(copied),
            Instruction::Copy(added),
            Instruction::Entrypoint(words(&["/app", "serve"])),
            Instruction::Cmd(words(&["/bin/sh", "-c", "run it"])),
            Instruction::Expose(words(&["80", "53/udp"])),
        ];
        assert_eq!(parsed(text), expected);
    }

    #[test]
    fn what_is_not_supported_is_refused_with_its_line() {
        let cases = [
            ("FROM a\nRUN make", 2, "RUN is not supported"),
            ("FROM a AS b\n\n# c\nFROM d", 4, "several FROM"),
            ("COPY a b", 1, "FROM must come first"),
            ("FROM --pull=x a", 1, "--pull"),
            ("FROM --platform=x", 1, "takes an image"),
            ("FROM a\nCOPY --from=b c d", 2, "--from"),
            ("FROM a\nADD https://x/y /z", 2, "only local files"),
            ("FROM a\nCOPY <<EOF /x\nEOF", 2, "here-documents"),
            ("FROM a\nCOPY x", 2, "where to"),
            ("FROM a\nENV A=\"x", 2, "quote"),
            ("FROM a\nENV A", 2, "no value"),
            ("FROM a\nFOO b", 2, "unknown instruction \"FOO\""),
            ("FROM a\nHEALTHCHECK x", 2, "HEALTHCHECK is NONE"),
            ("FROM a\nARG =x", 2, "no name"),
            ("FROM a\nCOPY --link=x c d", 2, "--link"),
            ("FROM a\nENV \\\n", 2, "needs an argument"),
            ("# escape=`\nFROM a", 1, "escape"),
            ("# nothing", 1, "no FROM"),
        ];
        for (text, line, expected) in cases {
            let (found, problem) = parse(text).unwrap_err();
            assert!(problem.contains(expected) && found == line, "{text:?}: {found}: {problem}");
        }
    }

    #[test]
    fn lines_go_on_as_docker_has_them() {
        let text = "\u{feff}FROM a\nLABEL a=1\\\n      b=2\nENV M=\"one \\\n   two\"\nENV \\  \n\n# comment\n  N=1\\\\\n\
                    COPY --link sp\\ ace/f /z\nMAINTAINER me <me@x>\nHEALTHCHECK NONE\nHEALTHCHECK --retries=2 CMD x\n\
                    CMD a \\\n  b\n";
        let word = str::to_owned;
        let copied = CopyFiles {
            sources: vec![word("sp\\ ace/f")],
            destination: word("/z"),
            chown: None,
            chmod: None,
            is_add: false,
        };
        let expected = [
            Instruction::From { image: word("a"), platform: None },
            Instruction::Label(vec![(word("a"), word("1")), (word("b"), word("2"))]),
            Instruction::Env(vec![(word("M"), word("\"one    two\""))]),
            Instruction::Env(vec![(word("N"), word("1\\\\"))]),
            Instruction::Copy(copied),
            Instruction::Maintainer(word("me <me@x>")),
            Instruction::Healthcheck { is_none: true },
            Instruction::Healthcheck { is_none: false },
            Instruction::Cmd(vec![word("/bin/sh"), word("-c"), word("a   b")]),
        ];
        assert_eq!(parsed(text), expected);
    }
}
