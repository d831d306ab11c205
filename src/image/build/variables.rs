//! Words of a Dockerfile: quotes, escapes, and the variables that are put in.

use std::collections::BTreeMap;

/// Longest value after variables were put in.
const MAX_VALUE: usize = 64 * 1024;

/// Splits at spaces outside of quotes; quotes and escapes stay.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, ' ' | '\t') => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            (_, '\\') => {
                word.push('\\');
                word.extend(characters.next());
                continue;
            }
            _ => {}
        }
        word.push(character);
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// Takes quotes away.
pub(super) fn unquoted(text: &str) -> Result<String, String> {
    expand(text, &BTreeMap::new(), true)
}

/// Takes quotes away and puts variables in: `$name`, `${name}`, `${name:-default}`, `${name:+other}`. Within single
/// quotes nothing is put in. With `keep_variables` only quotes are taken away.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>, keep_variables: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut quote = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            (None | Some('"'), '\\') => {
                let escaped = rest.chars().next();
                if let Some(escaped) = escaped {
                    rest = &rest[escaped.len_utf8()..];
                    if quote == Some('"') && !matches!(escaped, '"' | '\\' | '$') {
                        out.push('\\');
                    }
                    out.push(escaped);
                }
            }
            (None | Some('"'), '$') if !keep_variables => {
                let (value, after) = variable(rest, variables)?;
                out.push_str(&value);
                rest = after;
            }
            _ => out.push(character),
        }
        if out.len() > MAX_VALUE {
            return Err(format!("a value has more than {MAX_VALUE} bytes"));
        }
    }
    Ok(out)
}

/// The value of the variable that `rest` begins with, and what follows.
fn variable<'a>(rest: &'a str, variables: &BTreeMap<String, String>) -> Result<(String, &'a str), String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let value = |name: &str| variables.get(name).cloned().unwrap_or_default();
    if let Some(inner) = rest.strip_prefix('{') {
        let (inner, after) = inner.split_once('}').ok_or("a variable is not closed")?;
        let end = inner.find(|character| !is_name(character)).unwrap_or(inner.len());
        let (name, modifier) = inner.split_at(end);
        let found = value(name);
        let value = match modifier.get(..2) {
            _ if modifier.is_empty() => found,
            Some(":-") if found.is_empty() => modifier[2..].to_owned(),
            Some(":-") => found,
            Some(":+") if found.is_empty() => String::new(),
            Some(":+") => modifier[2..].to_owned(),
            _ => return Err(format!("${{{inner}}} is not supported")),
        };
        return Ok((value, after));
    }
    let end = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
    if end == 0 {
        return Ok(("$".to_owned(), rest));
    }
    Ok((value(&rest[..end]), &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_as_docker_does() {
        let variables = BTreeMap::from([("A".to_owned(), "x y".to_owned()), ("EMPTY".to_owned(), String::new())]);
        let cases = [
            ("$A", "x y"),
            ("${A}b", "x yb"),
            ("\"$A\"", "x y"),
            ("'$A'", "$A"),
            ("\\$A", "$A"),
            ("${B:-d}${EMPTY:-e}${A:-f}", "dex y"),
            ("${A:+g}${B:+h}", "g"),
            ("$", "$"),
            ("$B.", "."),
            ("\"a\\\"b\\c\"", "a\"b\\c"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables, false).unwrap(), expected, "{text}");
        }
        assert!(expand("${A", &variables, false).is_err());
        assert!(expand("${A%b}", &variables, false).is_err());
    }
}
