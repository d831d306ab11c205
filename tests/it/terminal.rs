//! Somebody at a terminal: sees what a program shows there, types, and makes the window larger.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc;

use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::LINE_LIMIT;

/// A program on a terminal of its own, which is its controlling one where `setsid(1)` can make it that.
pub(crate) struct Terminal {
    child: Child,
    terminal: OwnedFd,
    writing: File,
    shown: mpsc::Receiver<Vec<u8>>,
    /// What was shown and not waited for yet.
    seen: String,
}

impl Terminal {
    /// Starts a program on a terminal of this many rows and columns.
    pub(crate) fn spawn(mut command: Command, rows: u16, columns: u16) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        tcsetwinsize(&terminal, size(rows, columns)).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let inner = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR").stdin(inner.try_clone().unwrap());
        let child = command.stdout(inner.try_clone().unwrap()).stderr(inner).spawn().unwrap();
        // Once nobody has the inner side open, reading fails.
        drop(command);
        let mut reading = File::from(terminal.try_clone().unwrap());
        let writing = File::from(terminal.try_clone().unwrap());
        let (sender, shown) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, terminal, writing, shown, seen: String::new() }
    }

    /// Waits until something shows, behind what was waited for before.
    #[track_caller]
    pub(crate) fn see(&mut self, text: &str) {
        while !self.seen.contains(text) {
            match self.shown.recv_timeout(LINE_LIMIT) {
                Ok(more) => self.seen.push_str(&String::from_utf8_lossy(&more)),
                Err(error) => panic!("{error}: no {text:?} in {:?}", self.seen),
            }
        }
        self.seen.drain(..self.seen.find(text).unwrap() + text.len());
    }

    /// Types, and waits until these show one after the other.
    #[track_caller]
    pub(crate) fn enter(&mut self, typed: &str, expected: &[&str]) {
        self.writing.write_all(typed.as_bytes()).unwrap();
        for text in expected {
            self.see(text);
        }
    }

    /// Makes the terminal another size, and tells the program.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        tcsetwinsize(&self.terminal, size(rows, columns)).unwrap();
        // The kernel tells those whose controlling terminal it is; this is no session's.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    }

    /// Waits for the program's end and gives its exit code and what it has shown since.
    pub(crate) fn end(mut self) -> (i32, String) {
        while let Ok(more) = self.shown.recv_timeout(LINE_LIMIT) {
            self.seen.push_str(&String::from_utf8_lossy(&more));
        }
        (self.child.wait().unwrap().code().unwrap_or(-1), std::mem::take(&mut self.seen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
