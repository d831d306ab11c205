//! Lines typed at a terminal: in raw mode while a line is edited, and only then.

use std::cell::RefCell;
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Surroundings;
use super::completion::complete;
use crate::line::{Decoder, Editor, Effect, Screen};
use crate::process::terminal::{self, Mode};
use crate::state::Stream;
use crate::syntax::{Source, SyntaxError};

pub(super) struct Typed {
    input: Rc<Stream>,
    output: Option<Rc<Stream>>,
    surroundings: Rc<RefCell<Surroundings>>,
    editor: Editor,
    screen: Screen,
    /// What has come of a key.
    decoder: Decoder,
}

/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

impl Typed {
    pub(super) fn new(input: Rc<Stream>, output: Option<Rc<Stream>>, surroundings: Rc<RefCell<Surroundings>>) -> Self {
        Self {
            input,
            output,
            surroundings,
            editor: Editor::default(),
            screen: Screen::default(),
            decoder: Decoder::default(),
        }
    }

    fn write(&self, text: &str) {
        if let Some(output) = &self.output {
            // A terminal that is gone shows when it is read from.
            let _ = output.write(text.as_bytes());
        }
    }

    fn columns(&self) -> usize {
        let state = self.input.fd().and_then(terminal::state);
        state.map_or(COLUMNS, |state| usize::from(state.columns)).max(2)
    }

    fn draw(&mut self, prompt: &str) {
        let columns = self.columns();
        let prompt = self.editor.search_prompt().unwrap_or_else(|| prompt.to_owned());
        let (before, after) = self.editor.halves();
        let text = self.screen.draw(&prompt, &before, &after, columns);
        self.write(&text);
    }

    /// Whether keys wait to be read, so that it is no use to show what is between them.
    fn has_more(&self) -> bool {
        let Ok(fd) = self.input.fd() else { return false };
        let mut waiting = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut waiting, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }

    /// The line, `None` at the end.
    fn edit(&mut self, prompt: &str) -> Result<Option<String>, SyntaxError> {
        self.editor.begin();
        self.screen.begin();
        loop {
            while let Some(key) = self.decoder.next() {
                match self.editor.press(key) {
                    Effect::Edited => {}
                    Effect::Complete => self.complete(prompt),
                    Effect::ClearScreen => {
                        self.write("\x1b[H\x1b[2J");
                        self.screen.begin();
                    }
                    effect => return self.end(prompt, effect),
                }
            }
            if !self.has_more() {
                self.draw(prompt);
            }
            // One by one: what is typed ahead may be for a command to read.
            let mut byte = [0];
            match self.input.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => self.decoder.feed(&byte),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SyntaxError::unreadable(&error)),
            }
        }
    }

    fn end(&mut self, prompt: &str, effect: Effect) -> Result<Option<String>, SyntaxError> {
        let line = self.editor.line();
        let columns = self.columns();
        let shown = if effect == Effect::Cancelled { format!("{line}^C") } else { line.clone() };
        let text = self.screen.leave(prompt, &shown, columns);
        self.write(&text);
        match effect {
            Effect::Cancelled => Err(SyntaxError::Interrupted),
            Effect::Ended => Ok(None),
            _ => {
                self.editor.remember(&line);
                Ok(Some(line))
            }
        }
    }

    fn complete(&mut self, prompt: &str) {
        let (before, _) = self.editor.halves();
        let completion = complete(&before, &self.surroundings.borrow());
        if completion.common.is_empty() && !completion.candidates.is_empty() {
            let columns = self.columns();
            let text = self.screen.leave(prompt, &self.editor.line(), columns);
            self.write(&format!("{text}{}\r\n", completion.candidates.join("  ")));
        }
        self.editor.insert(&completion.common);
    }

    /// A line from something that is no terminal.
    fn plain(&mut self, prompt: &str) -> Result<Option<Vec<u8>>, SyntaxError> {
        self.write(prompt);
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            match self.input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SyntaxError::unreadable(&error)),
            }
        }
        Ok((!line.is_empty()).then_some(line))
    }
}

impl Source for Typed {
    fn next_line(&mut self, continued: bool) -> Result<Option<Vec<u8>>, SyntaxError> {
        let prompt = {
            let surroundings = self.surroundings.borrow();
            if continued { surroundings.continuation.clone() } else { surroundings.prompt.clone() }
        };
        let input = Rc::clone(&self.input);
        let raw = input.fd().ok().filter(|fd| terminal::set_mode(*fd, Mode::RAW).is_ok());
        let Some(fd) = raw else { return self.plain(&prompt) };
        let line = self.edit(&prompt);
        // A terminal that is gone needs no mode.
        let _ = terminal::set_mode(fd, Mode::COOKED);
        line.map(|line| line.map(|line| format!("{line}\n").into_bytes()))
    }
}
