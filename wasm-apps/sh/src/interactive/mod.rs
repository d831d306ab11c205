//! Interactive use.

use crate::exec::{Flow, Run, Shell};
use crate::syntax::{Parser, Text};

impl Shell {
    /// A prompt's text, expanded.
    pub(crate) fn prompt(&mut self, name: &str, default: &str) -> Vec<u8> {
        let text = self.state.variables.get(name).unwrap_or(default.as_bytes()).to_vec();
        let mut source = Text::new(text.clone());
        let Ok(word) = Parser::new(&mut source).text() else { return text };
        self.expand_to_text(&word).unwrap_or(text)
    }
}

pub(crate) fn profile(_shell: &mut Shell) -> Run {
    Ok(())
}

pub(crate) fn run(_shell: &mut Shell, _on_terminal: bool) -> Result<(), Flow> {
    Ok(())
}
