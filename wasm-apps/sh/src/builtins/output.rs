//! `echo`.

use super::Outcome;
use crate::exec::Shell;
use crate::text::{Escapes, unescape};

/// As busybox's: `-n`, `-e` and `-E`, also together.
pub(super) fn echo(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut words = &arguments[1..];
    let (mut newline, mut escapes) = (true, false);
    while let Some((option, rest)) = words.split_first() {
        let letters = option.strip_prefix(b"-").unwrap_or_default();
        if letters.is_empty() || !letters.iter().all(|letter| b"neE".contains(letter)) {
            break;
        }
        for letter in letters {
            match letter {
                b'n' => newline = false,
                b'e' => escapes = true,
                _ => escapes = false,
            }
        }
        words = rest;
    }
    let mut text = words.join(&b' ');
    if escapes {
        let unescaped = unescape(&text, Escapes::Echo);
        newline &= !unescaped.ended;
        text = unescaped.text;
    }
    if newline {
        text.push(b'\n');
    }
    shell.print(text)
}
