//! `more` and `less`: a page at a time on a terminal, everything at once elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use husk_process::terminal::{self, Mode};

use super::open;
use crate::failure::{Failure, for_each};
use crate::options::{CommandLine, Item};

pub(crate) const USAGE: &str = "more [FILE]...
       less [FILE]...

Print FILEs, or standard input, a page at a time: space for the next page, Enter for a line, q to end";

pub(crate) fn more(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut files = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        // Options of the real ones are about how it looks.
        if let Item::Operand(file) = item {
            files.push(file);
        }
    }
    if files.is_empty() {
        files.push("-".into());
    }
    let mut pager = Pager::new();
    let code = for_each("more", &files, |path| pager.show(&mut BufReader::new(open(Path::new(path))?)));
    pager.restore();
    code
}

struct Pager {
    /// Where keys come from, and how the terminal was before; none where there is nobody to turn pages.
    keys: Option<(File, Mode)>,
    rows: usize,
    row: usize,
    done: bool,
}

impl Pager {
    fn new() -> Self {
        let mut pager = Self { keys: None, rows: 24, row: 0, done: false };
        let keyboard = File::open("/dev/tty").ok().filter(IsTerminal::is_terminal);
        if let Some(keyboard) = keyboard.filter(|_| io::stdout().is_terminal())
            && let Ok(state) = terminal::state(keyboard.as_fd())
            && terminal::set_mode(keyboard.as_fd(), Mode { signals: true, ..Mode::RAW }).is_ok()
        {
            pager.rows = usize::from(state.rows).max(2);
            pager.keys = Some((keyboard, state.mode));
        }
        pager
    }

    fn show(&mut self, input: &mut dyn BufRead) -> Result<(), Failure> {
        let mut output = io::stdout().lock();
        if self.keys.is_none() {
            io::copy(input, &mut output)?;
            return Ok(());
        }
        let mut line = Vec::new();
        while !self.done && input.read_until(b'\n', &mut line)? > 0 {
            output.write_all(&line)?;
            line.clear();
            self.row += 1;
            if self.row + 1 >= self.rows {
                write!(output, "\x1b[7m--More--\x1b[m")?;
                output.flush()?;
                self.wait()?;
                write!(output, "\r\x1b[K")?;
            }
        }
        Ok(output.flush()?)
    }

    /// Waits for a key that says how to go on.
    fn wait(&mut self) -> io::Result<()> {
        let Some((keyboard, _)) = &mut self.keys else { return Ok(()) };
        loop {
            let mut key = [0];
            if keyboard.read(&mut key)? == 0 {
                self.done = true;
            }
            match key[0] {
                b' ' | b'f' => self.row = 0,
                b'\r' | b'\n' | b'j' => self.row -= 1,
                b'q' | b'Q' => self.done = true,
                _ if self.done => {}
                _ => continue,
            }
            return Ok(());
        }
    }

    fn restore(&self) {
        if let Some((keyboard, mode)) = &self.keys {
            // A terminal that is gone needs nothing any more.
            let _gone = terminal::set_mode(keyboard.as_fd(), *mode);
        }
    }
}
