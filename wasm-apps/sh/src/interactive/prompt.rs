//! Prompts.

use bstr::ByteSlice;

use crate::exec::Shell;
use crate::syntax::{Parser, Text};

impl Shell {
    /// A prompt's text: escapes such as `\w` replaced, then expanded.
    pub(crate) fn prompt(&mut self, name: &str, default: &str) -> Vec<u8> {
        let text = self.state.variables.get(name).unwrap_or(default.as_bytes()).to_vec();
        let text = self.replace_escapes(&text);
        let mut source = Text::new(text.clone());
        let Ok(word) = Parser::new(&mut source).text() else { return text };
        let status = self.state.status;
        let expanded = self.expand_to_text(&word).unwrap_or(text);
        self.state.status = status;
        expanded
    }

    fn replace_escapes(&self, text: &[u8]) -> Vec<u8> {
        let mut replaced = Vec::new();
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            let Some(letter) = (*byte == b'\\').then(|| bytes.next()).flatten() else {
                replaced.push(*byte);
                continue;
            };
            let variable = |name, default: &[u8]| self.state.variables.get(name).unwrap_or(default).to_vec();
            let value = match letter {
                b'w' => self.shown_directory(),
                b'W' => {
                    let shown = self.shown_directory();
                    shown
                        .rsplit_once_str(b"/")
                        .map_or(shown.clone(), |(_, name)| if name.is_empty() { shown.clone() } else { name.to_vec() })
                }
                b'h' | b'H' => variable("HOSTNAME", b"localhost"),
                b'u' => variable("USER", b"root"),
                b'$' => b"#".to_vec(),
                b'n' => b"\n".to_vec(),
                b'e' => b"\x1b".to_vec(),
                b'[' | b']' => continue,
                _ => {
                    replaced.extend([b'\\', *letter]);
                    continue;
                }
            };
            // It is text, whatever stands in it.
            for byte in value {
                if matches!(byte, b'$' | b'`' | b'\\') {
                    replaced.push(b'\\');
                }
                replaced.push(byte);
            }
        }
        replaced
    }

    /// The directory, with `~` for what is below `$HOME`.
    fn shown_directory(&self) -> Vec<u8> {
        let directory = self.state.directory.as_slice();
        let home = self.state.variables.get("HOME").filter(|home| home.len() > 1);
        match home
            .and_then(|home| directory.strip_prefix(home))
            .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
        {
            Some(rest) => [b"~", rest].concat(),
            None => directory.to_vec(),
        }
    }
}
