//! `clear`, `reset`, `stty` and `tty`.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use husk_process::terminal::{self, Mode, State};

use crate::failure::Failure;
use crate::options::{flags, text};

pub(crate) const CLEAR_USAGE: &str = "clear

Clear the screen";

pub(crate) const RESET_USAGE: &str = "reset

Put the terminal right";

pub(crate) const STTY_USAGE: &str = "stty [-a | -g | size | SETTING...]

Print or change the terminal's settings: [-]echo, [-]icanon, [-]isig, [-]raw, [-]cooked, sane";

pub(crate) const TTY_USAGE: &str = "tty [-s]

Print the terminal's name

  -s  Only the exit code: 1 if standard input is none";

pub(crate) fn clear(_: Vec<OsString>) -> Result<u8, Failure> {
    io::stdout().write_all(b"\x1b[H\x1b[2J\x1b[3J")?;
    Ok(0)
}

pub(crate) fn reset(_: Vec<OsString>) -> Result<u8, Failure> {
    if io::stdin().is_terminal() {
        terminal::set_mode(io::stdin().as_fd(), Mode::COOKED)?;
    }
    io::stdout().write_all(b"\x1bc\x1b(B\x1b[m\x1b[J\x1b[?25h")?;
    Ok(0)
}

pub(crate) fn tty(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (flags, _) = flags(arguments, "s", &[("silent", 's'), ("quiet", 's')])?;
    let is_terminal = io::stdin().is_terminal();
    if !flags.contains('s') {
        println!("{}", if is_terminal { "/dev/tty" } else { "not a tty" });
    }
    Ok(u8::from(!is_terminal))
}

pub(crate) fn stty(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let stdin = io::stdin();
    let state = terminal::state(stdin.as_fd()).map_err(|_| Failure::usage("standard input: Not a tty"))?;
    let mut words = arguments.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    if words.first().is_some_and(|word| word == "-F" || word == "--file") {
        words.drain(..words.len().min(2));
    }
    let mut mode = state.mode;
    for word in &words {
        match word.as_str() {
            "-a" | "--all" => print_state(&state, true),
            "-g" | "--save" => println!("{}", saved(state.mode)),
            "size" => println!("{} {}", state.rows, state.columns),
            "sane" | "cooked" | "-raw" => mode = Mode::COOKED,
            "raw" | "-cooked" => mode = Mode { echo: mode.echo, ..Mode::RAW },
            "echo" => mode.echo = true,
            "-echo" => mode.echo = false,
            "icanon" | "-cbreak" => mode.lines = true,
            "-icanon" | "cbreak" => mode.lines = false,
            "isig" => mode.signals = true,
            "-isig" => mode.signals = false,
            word => mode = restored(word).ok_or_else(|| Failure::Usage(format!("invalid argument '{word}'")))?,
        }
    }
    if words.is_empty() {
        print_state(&state, false);
    }
    if mode != state.mode {
        terminal::set_mode(stdin.as_fd(), mode)?;
    }
    Ok(0)
}

fn print_state(state: &State, all: bool) {
    if all {
        println!("speed 38400 baud; rows {}; columns {};", state.rows, state.columns);
    } else {
        println!("speed 38400 baud;");
    }
    let setting = |on: bool, name: &str| if on { name.to_owned() } else { format!("-{name}") };
    let Mode { lines, echo, signals } = state.mode;
    println!("{} {} {}", setting(signals, "isig"), setting(lines, "icanon"), setting(echo, "echo"));
}

/// What `-g` prints, for [`restored`] to read.
fn saved(mode: Mode) -> String {
    format!("husk:{}:{}:{}", u8::from(mode.lines), u8::from(mode.echo), u8::from(mode.signals))
}

fn restored(text: &str) -> Option<Mode> {
    let mut bits = text.strip_prefix("husk:")?.split(':').map(|bit| bit == "1");
    Some(Mode { lines: bits.next()?, echo: bits.next()?, signals: bits.next()? })
}
