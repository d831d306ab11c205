//! A line while it is typed. It knows neither the terminal nor the shell.

use super::keys::Key;

/// The longest line.
const MAX_LINE: usize = 64 * 1024;
/// How many lines are remembered.
const MAX_HISTORY: usize = 1000;

/// What a key asks of whoever runs the editor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The line may look different now.
    Edited,
    /// The line is complete.
    Accepted,
    /// Ctrl-C
    Cancelled,
    /// Ctrl-D on an empty line.
    Ended,
    /// Tab
    Complete,
    /// Ctrl-L
    ClearScreen,
}

/// A search backwards through the history.
#[derive(Debug)]
struct Search {
    text: String,
    /// Where in the history the match is.
    place: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Editor {
    line: Vec<char>,
    cursor: usize,
    history: Vec<String>,
    /// Which line of the history is shown; its length for the new one.
    place: usize,
    /// The new line while another one is shown.
    draft: Vec<char>,
    /// What was cut last.
    cut: Vec<char>,
    search: Option<Search>,
}

impl Editor {
    /// Begins a new line.
    pub(crate) fn begin(&mut self) {
        self.set(Vec::new());
        self.place = self.history.len();
        self.search = None;
    }

    pub(crate) fn line(&self) -> String {
        self.line.iter().collect()
    }

    /// The text up to the cursor, and behind it.
    pub(crate) fn halves(&self) -> (String, String) {
        let (before, after) = self.line.split_at(self.cursor);
        (before.iter().collect(), after.iter().collect())
    }

    /// What stands in the prompt's place while the history is searched.
    pub(crate) fn search_prompt(&self) -> Option<String> {
        self.search.as_ref().map(|search| format!("(reverse-i-search)`{}': ", search.text))
    }

    pub(crate) fn remember(&mut self, line: &str) {
        if line.trim().is_empty() || self.history.last().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(0);
        }
        self.history.push(line.to_owned());
    }

    pub(crate) fn insert(&mut self, text: &str) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        let chars: Vec<char> = text.chars().take(room).collect();
        let count = chars.len();
        self.line.splice(self.cursor..self.cursor, chars);
        self.cursor += count;
    }

    pub(crate) fn press(&mut self, key: Key) -> Effect {
        if self.search.is_some() && self.press_in_search(key) {
            return Effect::Edited;
        }
        match key {
            Key::Char(char) => self.insert(char.encode_utf8(&mut [0; 4])),
            Key::Enter | Key::Control('j') => return Effect::Accepted,
            Key::Control('c') => return Effect::Cancelled,
            Key::Control('d') if self.line.is_empty() => return Effect::Ended,
            Key::Tab => return Effect::Complete,
            Key::Control('l') => return Effect::ClearScreen,
            Key::Left | Key::Control('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Control('f') => self.cursor = (self.cursor + 1).min(self.line.len()),
            Key::WordLeft => self.cursor = self.word_start(),
            Key::WordRight => self.cursor = self.word_end(),
            Key::Home | Key::Control('a') => self.cursor = 0,
            Key::End | Key::Control('e') => self.cursor = self.line.len(),
            Key::Up | Key::Control('p') => self.show(self.place.checked_sub(1)),
            Key::Down | Key::Control('n') => self.show(Some(self.place + 1)),
            Key::Backspace if self.cursor > 0 => self.remove(self.cursor - 1, self.cursor),
            Key::Delete | Key::Control('d') if self.cursor < self.line.len() => {
                self.remove(self.cursor, self.cursor + 1)
            }
            Key::Control('k') => self.cut(self.cursor, self.line.len()),
            Key::Control('u') => self.cut(0, self.cursor),
            Key::Control('w') => self.cut(self.blank_word_start(), self.cursor),
            Key::Control('y') => {
                let text: String = self.cut.iter().collect();
                self.insert(&text);
            }
            Key::Control('t') if self.cursor > 0 && self.line.len() > 1 => {
                let second = self.cursor.min(self.line.len() - 1);
                self.line.swap(second - 1, second);
                self.cursor = second + 1;
            }
            Key::Control('r') => self.search = Some(Search { text: String::new(), place: self.history.len() }),
            _ => {}
        }
        Effect::Edited
    }

    fn set(&mut self, line: Vec<char>) {
        self.cursor = line.len();
        self.line = line;
    }

    fn remove(&mut self, start: usize, end: usize) {
        self.line.drain(start..end);
        self.cursor = start;
    }

    fn cut(&mut self, start: usize, end: usize) {
        self.cut = self.line.drain(start..end).collect();
        self.cursor = start;
    }

    fn word_start(&self) -> usize {
        let before = &self.line[..self.cursor];
        let word_end = before.iter().rposition(|char| char.is_alphanumeric()).map_or(0, |last| last + 1);
        before[..word_end].iter().rposition(|char| !char.is_alphanumeric()).map_or(0, |last| last + 1)
    }

    fn word_end(&self) -> usize {
        let after = &self.line[self.cursor..];
        let start = after.iter().position(|char| char.is_alphanumeric()).unwrap_or(after.len());
        let length = after[start..].iter().position(|char| !char.is_alphanumeric()).unwrap_or(after.len() - start);
        self.cursor + start + length
    }

    /// The start of what Ctrl-W cuts: words here are what stands between blanks.
    fn blank_word_start(&self) -> usize {
        let before = &self.line[..self.cursor];
        let word_end = before.iter().rposition(|char| !char.is_whitespace()).map_or(0, |last| last + 1);
        before[..word_end].iter().rposition(|char| char.is_whitespace()).map_or(0, |last| last + 1)
    }

    /// Shows a line of the history, or the new one.
    fn show(&mut self, place: Option<usize>) {
        let Some(place) = place.filter(|place| *place <= self.history.len() && *place != self.place) else { return };
        if self.place == self.history.len() {
            self.draft = std::mem::take(&mut self.line);
        }
        let line = match self.history.get(place) {
            Some(line) => line.chars().collect(),
            None => std::mem::take(&mut self.draft),
        };
        self.place = place;
        self.set(line);
    }

    /// Whether the search goes on with this key; else the key means what it always does.
    fn press_in_search(&mut self, key: Key) -> bool {
        let Some(search) = &mut self.search else { return false };
        let mut from = search.place.saturating_add(1).min(self.history.len());
        match key {
            Key::Char(char) => search.text.push(char),
            Key::Backspace => {
                search.text.pop();
                from = self.history.len();
            }
            Key::Control('r') => from = search.place,
            Key::Control('g') => {
                self.search = None;
                self.set(Vec::new());
                return true;
            }
            _ => {
                self.search = None;
                return false;
            }
        }
        let text = search.text.clone();
        if let Some(place) = self.history[..from].iter().rposition(|line| line.contains(&text)) {
            search.place = place;
            self.place = place;
            let line = self.history[place].chars().collect();
            self.set(line);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(editor: &mut Editor, text: &str) {
        text.chars().for_each(|char| {
            editor.press(Key::Char(char));
        });
    }

    #[test]
    fn keys_edit_the_line() {
        let mut editor = Editor::default();
        type_in(&mut editor, "ecko hi there");
        for key in [Key::Control('w'), Key::Home, Key::Right, Key::WordRight, Key::Backspace, Key::Backspace] {
            assert_eq!(editor.press(key), Effect::Edited);
        }
        type_in(&mut editor, "ho");
        assert_eq!(editor.line(), "echo hi ");
        editor.press(Key::Control('k'));
        assert_eq!(editor.halves(), ("echo".to_owned(), String::new()));
        editor.press(Key::Control('y'));
        assert_eq!(editor.line(), "echo hi ");
        editor.press(Key::Control('u'));
        assert_eq!(editor.line(), "");
        assert_eq!(editor.press(Key::Control('d')), Effect::Ended);
    }

    #[test]
    fn history_is_walked_through_and_the_new_line_kept() {
        let mut editor = Editor::default();
        for line in ["one", "two", "two", " "] {
            editor.remember(line);
        }
        editor.begin();
        type_in(&mut editor, "new");
        let mut shown = |key| {
            editor.press(key);
            editor.line()
        };
        assert_eq!(shown(Key::Up), "two");
        assert_eq!(shown(Key::Up), "one");
        assert_eq!(shown(Key::Up), "one");
        assert_eq!(shown(Key::Down), "two");
        assert_eq!(shown(Key::Down), "new");
        assert_eq!(shown(Key::Down), "new");
    }

    #[test]
    fn history_is_searched_backwards() {
        let mut editor = Editor::default();
        for line in ["make all", "ls", "make test"] {
            editor.remember(line);
        }
        editor.begin();
        editor.press(Key::Control('r'));
        type_in(&mut editor, "make");
        assert_eq!(editor.line(), "make test");
        editor.press(Key::Control('r'));
        assert_eq!(editor.line(), "make all");
        assert!(editor.search_prompt().is_some_and(|prompt| prompt.contains("make")));
        assert_eq!(editor.press(Key::Enter), Effect::Accepted);
        assert_eq!(editor.line(), "make all");
    }
}
