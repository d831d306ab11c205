//! How a line under the cursor is drawn, also where it is longer than a row.

use unicode_width::UnicodeWidthChar;

/// A place on the screen, from where the prompt begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    row: usize,
    column: usize,
}

/// What was drawn last.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    cursor: Position,
}

impl Screen {
    /// Forgets what was drawn: the next drawing begins where the terminal's cursor is.
    pub(crate) fn begin(&mut self) {
        *self = Self::default();
    }

    /// What to write so that prompt and line stand there, the cursor between the line's halves.
    pub(crate) fn draw(&mut self, prompt: &str, before: &str, after: &str, columns: usize) -> String {
        let mut output = String::from("\r");
        up(&mut output, self.cursor.row);
        output.push_str("\x1b[J");
        let cursor = advance(advance(Position::default(), prompt, columns), before, columns);
        let end = advance(cursor, after, columns);
        for text in [prompt, before, after] {
            output.push_str(&text.replace('\n', "\r\n"));
        }
        if end.column == 0 && end.row > 0 {
            // A terminal goes to the next row only when something follows.
            output.push_str("\r\n");
        }
        output.push('\r');
        up(&mut output, end.row - cursor.row);
        if cursor.column > 0 {
            output.push_str(&format!("\x1b[{}C", cursor.column));
        }
        self.cursor = cursor;
        output
    }

    /// What to write to go on below the line.
    pub(crate) fn leave(&mut self, prompt: &str, line: &str, columns: usize) -> String {
        let mut output = self.draw(prompt, line, "", columns);
        output.push_str("\r\n");
        self.begin();
        output
    }
}

fn up(output: &mut String, rows: usize) {
    if rows > 0 {
        output.push_str(&format!("\x1b[{rows}A"));
    }
}

/// Where the cursor is after a text. Escape sequences, such as colours of a prompt, take no room.
fn advance(mut position: Position, text: &str, columns: usize) -> Position {
    let columns = columns.max(1);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\n' => position = Position { row: position.row + 1, column: 0 },
            '\x1b' => {
                if chars.next() == Some('[') {
                    chars.find(|char| char.is_ascii_alphabetic());
                }
            }
            _ => {
                let width = char.width().unwrap_or_default();
                if position.column + width > columns {
                    position = Position { row: position.row + 1, column: 0 };
                }
                position.column += width;
                if position.column == columns {
                    position = Position { row: position.row + 1, column: 0 };
                }
            }
        }
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str, columns: usize) -> (usize, usize) {
        let position = advance(Position::default(), text, columns);
        (position.row, position.column)
    }

    #[test]
    fn positions_follow_width_and_wrapping() {
        assert_eq!(end("abc", 10), (0, 3));
        assert_eq!(end("abc", 3), (1, 0));
        assert_eq!(end("漢字", 10), (0, 4));
        assert_eq!(end("ab漢", 3), (1, 2));
        assert_eq!(end("\x1b[1;32mab\x1b[0m", 10), (0, 2));
        assert_eq!(end("a\nb", 10), (1, 1));
    }

    #[test]
    fn a_drawing_starts_where_the_one_before_did() {
        let mut screen = Screen::default();
        screen.draw("$ ", "abcdef", "", 4);
        assert!(screen.draw("$ ", "x", "", 4).starts_with("\r\x1b[2A\x1b[J$ x"));
    }

    #[test]
    fn the_cursor_goes_back_to_its_place() {
        assert!(Screen::default().draw("$ ", "ab", "cd", 80).ends_with("$ abcd\r\x1b[4C"));
    }
}
