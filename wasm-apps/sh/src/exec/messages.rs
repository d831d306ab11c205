//! What the shell says when something fails.

use bstr::ByteSlice;

use super::{Flow, Shell};
use crate::syntax::SyntaxError;

impl Shell {
    /// Says what is wrong, on standard error.
    pub(crate) fn report(&mut self, message: impl AsRef<str>) {
        let line = if self.names_lines { format!("line {}: ", self.state.line) } else { String::new() };
        let text = format!("{}: {line}{}\n", self.state.name.to_str_lossy(), message.as_ref());
        if let Some(stream) = self.state.streams.get(2) {
            // Nowhere is left to say that this fails.
            let _ = stream.write(text.as_bytes());
        }
    }

    /// Reports an error that ends a shell nobody types at.
    pub(crate) fn fatal(&mut self, message: impl AsRef<str>) -> Flow {
        self.report(message);
        self.state.status = 2;
        Flow::Abort
    }

    pub(crate) fn syntax_error(&mut self, error: &SyntaxError) -> Flow {
        if let SyntaxError::At { .. } = error {
            let place = if self.names_lines || self.interactive { "" } else { "-c: " };
            let name = self.state.name.to_str_lossy().into_owned();
            let text = format!("{name}: {place}{error}\n");
            if let Some(stream) = self.state.streams.get(2) {
                // Nowhere is left to say that this fails.
                let _ = stream.write(text.as_bytes());
            }
        }
        self.state.status = 2;
        Flow::Abort
    }
}
