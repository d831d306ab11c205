//! A terminal between those who type and the processes of a container, as Linux's line discipline makes one: lines
//! that can be corrected until Enter, echo, and keys that stand for signals.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::process_table::{Pid, ProcessTable, Target};
use crate::base::pipe::{PipeReader, PipeWriter, ReadError};
use crate::runtime::{Signal, TerminalSize};

/// The longest line that can be typed (Linux's `MAX_CANON`, generously).
const MAX_LINE: usize = 4096;

/// Bytes that may wait to be read; what is typed beyond is lost, with a bell.
const MAX_UNREAD: usize = 64 * 1024;

/// The size of a terminal nobody has told the size of.
const DEFAULT_SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// The most bytes of output taken on at once.
const OUTPUT_CHUNK: usize = 64 * 1024;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_W: u8 = 0x17;
const CTRL_BACKSLASH: u8 = 0x1c;
const DELETE: u8 = 0x7f;

/// What is done to what is typed, as termios' flags say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    /// Whole lines arrive (`ICANON`).
    pub(super) lines: bool,
    /// What is typed is shown (`ECHO`).
    pub(super) echo: bool,
    /// Ctrl-C and Ctrl-\ send signals (`ISIG`).
    pub(super) signals: bool,
}

impl Mode {
    const COOKED: Self = Self { lines: true, echo: true, signals: true };

    /// As a number: 1 for lines, 2 for echo, 4 for signals.
    pub(super) fn bits(self) -> u32 {
        u32::from(self.lines) | u32::from(self.echo) << 1 | u32::from(self.signals) << 2
    }

    /// The mode with this number.
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        let mode = Self { lines: bits & 1 != 0, echo: bits & 2 != 0, signals: bits & 4 != 0 };
        (mode.bits() == bits).then_some(mode)
    }
}

/// A terminal's state, as a process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TerminalState {
    /// Its size.
    pub(super) size: TerminalSize,
    /// Its mode.
    pub(super) mode: Mode,
    /// The process group signals go to; 0 before there is one.
    pub(super) foreground: Pid,
}

/// The terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    /// What processes print, and echo; [`Terminal::show`] takes it outside.
    output: PipeWriter,
    processes: Weak<ProcessTable>,
    input: Mutex<Input>,
}

#[derive(Debug)]
struct Input {
    state: TerminalState,
    /// The line that is being typed.
    line: BytesMut,
    /// What can be read: each piece by one read at most, an empty one being the end of the file.
    ready: VecDeque<Bytes>,
    unread: usize,
    /// Nobody types any more.
    hung_up: bool,
    waiting: Vec<Waker>,
}

impl Terminal {
    /// A terminal for processes of this table, and the end from which [`Terminal::show`] takes what they print.
    pub(super) fn new(processes: &Arc<ProcessTable>) -> (Arc<Self>, PipeReader) {
        let (output, printed) = crate::base::pipe::pipe(crate::base::pipe::DEFAULT_CAPACITY);
        let state = TerminalState { size: DEFAULT_SIZE, mode: Mode::COOKED, foreground: 0 };
        let input = Input {
            state,
            line: BytesMut::new(),
            ready: VecDeque::new(),
            unread: 0,
            hung_up: false,
            waiting: Vec::new(),
        };
        (Arc::new(Self { output, processes: Arc::downgrade(processes), input: Mutex::new(input) }), printed)
    }

    /// Where processes print.
    pub(super) fn output(&self) -> &PipeWriter {
        &self.output
    }

    /// Size, mode and foreground group.
    pub(super) fn state(&self) -> TerminalState {
        self.lock().state
    }

    /// Changes the mode. A line that is being typed can be read at once when lines are not asked for any more. Keys that
    /// were pressed ahead and not read yet are taken as lines once these are asked for.
    pub(super) fn set_mode(&self, mode: Mode) {
        let mut signals = Vec::new();
        {
            let mut input = self.lock();
            let before = std::mem::replace(&mut input.state.mode, mode);
            if before.lines && !mode.lines {
                input.finish_line();
            } else if mode.lines && !before.lines {
                signals = input.type_again();
            }
            input.wake();
        }
        signals.into_iter().for_each(|signal| self.signal(signal));
    }

    /// Sets the process group that the keys' signals go to.
    pub(super) fn set_foreground(&self, group: Pid) {
        self.lock().state.foreground = group;
    }

    /// Tells the terminal its size, and the foreground group that it changed.
    pub(super) fn resize(&self, size: TerminalSize) {
        let changed = std::mem::replace(&mut self.lock().state.size, size) != size;
        if changed {
            self.signal(Signal::Winch);
        }
    }

    /// Passes on what is typed until `keyboard` ends, which hangs up, or nobody has the terminal open any more.
    pub(super) async fn listen(terminal: Weak<Self>, keyboard: PipeReader) {
        while let Ok(Some(bytes)) = keyboard.read(OUTPUT_CHUNK).await {
            let Some(terminal) = terminal.upgrade() else { return };
            terminal.type_in(&bytes);
        }
        if let Some(terminal) = terminal.upgrade() {
            terminal.hang_up();
        }
    }

    /// Takes what was printed outside, with line ends as terminals want them, until nobody can print any more.
    pub(super) async fn show(printed: PipeReader, screen: PipeWriter) {
        while let Ok(Some(bytes)) = printed.read(OUTPUT_CHUNK).await {
            if screen.write_all(with_carriage_returns(&bytes)).await.is_err() {
                return;
            }
        }
    }

    /// Types these bytes.
    pub(super) fn type_in(&self, bytes: &[u8]) {
        let mut echo = BytesMut::new();
        let mut signals = Vec::new();
        {
            let mut input = self.lock();
            for byte in bytes {
                signals.extend(input.key(*byte, &mut echo));
            }
            if !input.state.mode.lines {
                input.finish_line();
            }
            input.wake();
        }
        // Echo is lost rather than waited for where nobody takes what is printed.
        let _shown = self.output.try_write(&echo.freeze());
        signals.into_iter().for_each(|signal| self.signal(signal));
    }

    /// Nobody types any more: when all is read, reads are at the end.
    pub(super) fn hang_up(&self) {
        let mut input = self.lock();
        input.finish_line();
        input.hung_up = true;
        input.wake();
    }

    /// Takes at most `limit` bytes of a line, or of what was typed; `End` after Ctrl-D or when hung up.
    pub(super) fn try_read(&self, limit: usize) -> Result<Bytes, ReadError> {
        let mut input = self.lock();
        let Some(front) = input.ready.front_mut() else {
            return Err(if input.hung_up { ReadError::End } else { ReadError::Empty });
        };
        let bytes =
            if front.len() <= limit { input.ready.pop_front().unwrap_or_default() } else { front.split_to(limit) };
        input.unread -= bytes.len();
        if bytes.is_empty() && limit > 0 { Err(ReadError::End) } else { Ok(bytes) }
    }

    /// How many bytes can be read.
    pub(super) fn available(&self) -> usize {
        self.lock().unread
    }

    /// Ready once a read would not be `Empty`.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut input = self.lock();
        if input.hung_up || !input.ready.is_empty() {
            return Poll::Ready(());
        }
        if !input.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            input.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn signal(&self, signal: Signal) {
        let foreground = self.state().foreground;
        if let Some(processes) = self.processes.upgrade().filter(|_| foreground != 0) {
            // A group that is gone has nobody to be told.
            let _gone = processes.signal(Target::Group(foreground), Some(signal));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Input {
    /// Takes one key; what shows of it goes to `echo`.
    fn key(&mut self, byte: u8, echo: &mut BytesMut) -> Option<Signal> {
        let mode = self.state.mode;
        let signal = match byte {
            CTRL_C => Some(Signal::Int),
            CTRL_BACKSLASH => Some(Signal::Quit),
            _ => None,
        };
        if let Some(signal) = signal.filter(|_| mode.signals) {
            self.line.clear();
            if mode.echo {
                echo.extend_from_slice(&[b'^', byte | 0x40]);
            }
            return Some(signal);
        }
        if mode.lines {
            self.edit(byte, echo);
        } else if self.line.len() + self.unread >= MAX_UNREAD {
            echo.extend_from_slice(b"\x07");
        } else {
            self.line.extend_from_slice(&[byte]);
            if mode.echo {
                echo.extend_from_slice(&[byte]);
            }
        }
        None
    }

    /// Types what nobody has read once more. It has shown already, as far as it ever will.
    fn type_again(&mut self) -> Vec<Signal> {
        let mut signals = Vec::new();
        let mut unseen = BytesMut::new();
        self.unread = 0;
        for piece in std::mem::take(&mut self.ready) {
            for byte in &piece {
                signals.extend(self.key(*byte, &mut unseen));
            }
            if piece.is_empty() {
                self.ready.push_back(piece);
            }
            unseen.clear();
        }
        signals
    }

    /// One key of a line that can still be corrected.
    fn edit(&mut self, byte: u8, echo: &mut BytesMut) {
        let shows = self.state.mode.echo;
        match byte {
            b'\r' | b'\n' => {
                self.line.extend_from_slice(b"\n");
                self.finish_line();
                if shows {
                    echo.extend_from_slice(b"\n");
                }
            }
            CTRL_D if self.line.is_empty() => self.ready.push_back(Bytes::new()),
            CTRL_D => self.finish_line(),
            DELETE | BACKSPACE => self.erase(1, echo),
            CTRL_U => self.erase(usize::MAX, echo),
            CTRL_W => {
                let text = String::from_utf8_lossy(&self.line).into_owned();
                let rest = text.trim_end().trim_end_matches(|character: char| !character.is_whitespace());
                self.erase(text[rest.len()..].chars().count(), echo);
            }
            _ if self.line.len() >= MAX_LINE || self.line.len() + self.unread >= MAX_UNREAD => {
                echo.extend_from_slice(b"\x07");
            }
            _ => {
                self.line.extend_from_slice(&[byte]);
                if !shows {
                } else if byte < b' ' && byte != b'\t' {
                    echo.extend_from_slice(&[b'^', byte | 0x40]);
                } else {
                    echo.extend_from_slice(&[byte]);
                }
            }
        }
    }

    /// Removes up to `count` characters from the end of the line.
    fn erase(&mut self, count: usize, echo: &mut BytesMut) {
        for _ in 0..count {
            let is_start = |byte: &u8| byte & 0xc0 != 0x80;
            let Some(start) = self.line.iter().rposition(is_start) else { return };
            let width = if self.line[start] < b' ' && self.line[start] != b'\t' { 2 } else { 1 };
            self.line.truncate(start);
            if self.state.mode.echo {
                (0..width).for_each(|_| echo.extend_from_slice(b"\x08 \x08"));
            }
        }
    }

    fn finish_line(&mut self) {
        if !self.line.is_empty() {
            let line = self.line.split().freeze();
            self.unread += line.len();
            self.ready.push_back(line);
        }
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

/// Line ends as a terminal needs them to begin at the left (`ONLCR`).
fn with_carriage_returns(bytes: &Bytes) -> Bytes {
    if !bytes.contains(&b'\n') {
        return bytes.clone();
    }
    let mut out = BytesMut::with_capacity(bytes.len() + 16);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.split_last() {
            Some((b'\n', text)) => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal with its screen.
    fn terminal() -> (Arc<Terminal>, PipeReader) {
        Terminal::new(&ProcessTable::new())
    }

    fn screen(printed: &PipeReader) -> String {
        let shown = printed.try_read_all().unwrap_or_default().concat();
        String::from_utf8_lossy(&shown).into_owned()
    }

    #[test]
    fn a_line_arrives_at_enter_with_its_corrections() {
        let (terminal, printed) = terminal();
        terminal.type_in(b"ecko\x7f\x7fho one two\x17three");
        assert_eq!(terminal.try_read(99), Err(ReadError::Empty));
        terminal.type_in(b"\r");
        assert_eq!(terminal.try_read(4).unwrap(), "echo");
        assert_eq!(terminal.try_read(99).unwrap(), " one three\n");
        let erase = |count: usize| "\x08 \x08".repeat(count);
        assert_eq!(screen(&printed), format!("ecko{}ho one two{}three\n", erase(2), erase(3)));
    }

    #[test]
    fn wide_characters_are_erased_whole() {
        let (terminal, _printed) = terminal();
        terminal.type_in("né\x7f\x15é\n".as_bytes());
        assert_eq!(terminal.try_read(99).unwrap(), "é\n");
    }

    #[test]
    fn ctrl_d_ends_the_input_once_and_sends_a_begun_line() {
        let (terminal, _printed) = terminal();
        terminal.type_in(b"ab\x04\x04cd\n");
        assert_eq!(terminal.try_read(99).unwrap(), "ab");
        assert_eq!(terminal.try_read(99), Err(ReadError::End));
        assert_eq!(terminal.try_read(99).unwrap(), "cd\n");
    }

    #[test]
    fn raw_keys_arrive_as_they_are_and_do_not_show() {
        let (terminal, printed) = terminal();
        terminal.set_mode(Mode { lines: false, echo: false, signals: false });
        terminal.type_in(b"\x1b[A\x03");
        assert_eq!(terminal.available(), 4);
        assert_eq!(terminal.try_read(99).unwrap(), "\x1b[A\x03");
        assert_eq!(screen(&printed), "");
    }

    #[test]
    fn keys_pressed_ahead_become_lines_for_who_asks_for_lines() {
        let (terminal, printed) = terminal();
        terminal.set_mode(Mode { lines: false, echo: false, signals: false });
        terminal.type_in(b"cat\rfirst\rsecomd\x7f\x7fnd\r\x04e");
        assert_eq!(terminal.try_read(4).unwrap(), "cat\r");
        terminal.set_mode(Mode::COOKED);
        assert_eq!(terminal.try_read(99).unwrap(), "first\n");
        assert_eq!(terminal.try_read(99).unwrap(), "second\n");
        assert_eq!(terminal.try_read(99), Err(ReadError::End));
        terminal.set_mode(Mode { lines: false, echo: false, signals: false });
        terminal.type_in(b"cho\r");
        assert_eq!(terminal.try_read(1).unwrap(), "e");
        assert_eq!(terminal.try_read(99).unwrap(), "cho\r");
        assert_eq!(screen(&printed), "", "what is pressed ahead does not show");
    }

    #[test]
    fn a_whole_script_can_be_pasted() {
        let (terminal, _printed) = terminal();
        let script = "echo a line of it\n".repeat(2000);
        terminal.set_mode(Mode { lines: false, echo: false, signals: false });
        terminal.type_in(script.as_bytes());
        terminal.set_mode(Mode::COOKED);
        let lines = std::iter::from_fn(|| terminal.try_read(99).ok()).collect::<Vec<_>>();
        assert_eq!(lines.concat(), script.as_bytes());
    }

    #[test]
    fn what_is_typed_without_end_is_dropped_with_a_bell() {
        let (terminal, printed) = terminal();
        terminal.type_in(&[b'x'; MAX_LINE + 10]);
        assert!(screen(&printed).ends_with("\x07"));
        terminal.type_in(b"\n");
        assert_eq!(terminal.try_read(usize::MAX).unwrap().len(), MAX_LINE + 1);
    }

    #[test]
    fn hanging_up_ends_the_input_for_good() {
        let (terminal, _printed) = terminal();
        terminal.type_in(b"last\n");
        terminal.hang_up();
        assert_eq!(terminal.try_read(99).unwrap(), "last\n");
        assert_eq!((terminal.try_read(9), terminal.try_read(9)), (Err(ReadError::End), Err(ReadError::End)));
    }

    #[test]
    fn modes_have_numbers() {
        assert_eq!(Mode::COOKED.bits(), 7);
        assert_eq!(Mode::from_bits(3), Some(Mode { lines: true, echo: true, signals: false }));
        assert_eq!(Mode::from_bits(8), None);
    }

    #[tokio::test]
    async fn printed_lines_begin_at_the_left() {
        let (printing, printed) = crate::base::pipe::pipe(64);
        let (screen, shown) = crate::base::pipe::pipe(64);
        printing.try_write(&Bytes::from_static(b"a\nb\n\nc")).unwrap();
        drop(printing);
        Terminal::show(printed, screen).await;
        assert_eq!(shown.try_read_all().unwrap().concat(), b"a\r\nb\r\n\r\nc");
    }
}
