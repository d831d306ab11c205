//! Plays the containers and hooks that manifests elsewhere write as shell scripts: one action after the other.
//!
//! `probed ACTION [--then ACTION]...`; an action that fails, or is told to exit, ends the program with its exit code.
//!
//! - `touch FILE`, `rm PATH`, `mkdir DIR`, `write FILE TEXT`: on files; `rm` and `mkdir` are `rm -rf` and `mkdir -p`.
//! - `exists PATH`: says whether it does; exits 1 if not.
//! - `say TEXT [--exit N]`: prints a line, and exits with N.
//! - `sleep SECONDS`: waits; fractions are fine.
//! - `live FILE --for SECONDS`: makes a file, removes it after that time, and goes on for ever.
//! - `trap [--exit N] [--after SECONDS] [--say TEXT] [--write FILE] [--ignore]`: waits for TERM, then prints the text or
//!   writes it to the file, and exits with N; or waits again.
//! - `tcp --port N [--delay SECONDS] [--close-after SECONDS]`: accepts and closes connections, for that time.
//! - `serve --port N [--delay SECONDS] [--docroot DIR] [--until-missing FILE] [--print-headers]`: a web server, see
//!   `web`, until the file is gone.

mod network;
mod web;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use husk_process::signals::{self, Signal};
use lexopt::prelude::*;

/// Separates actions.
const THEN: &str = "--then";

/// Why the program ends before its last action has.
pub(crate) enum End {
    /// With this code, as it was told.
    Exit(u8),
    /// An action failed, for this reason.
    Failed(String),
}

impl From<lexopt::Error> for End {
    fn from(error: lexopt::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = arguments.split(|argument| argument == THEN).try_for_each(run);
    let code = match ended {
        Ok(()) => 0,
        Err(End::Exit(code)) => code,
        Err(End::Failed(problem)) => {
            eprintln!("probed: {problem}");
            1
        }
    };
    wasip2::cli::exit::exit_with_code(code);
}

fn run(action: &[String]) -> Result<(), End> {
    let (name, arguments) = action.split_first().ok_or_else(|| End::Failed("no action".to_owned()))?;
    let mut parser = lexopt::Parser::from_args(arguments);
    match name.as_str() {
        "touch" => on_file(&mut parser, |path| fs::OpenOptions::new().create(true).append(true).open(path).map(|_| ())),
        "rm" => on_file(&mut parser, remove),
        "mkdir" => on_file(&mut parser, |path| fs::create_dir_all(path)),
        "write" => write(&mut parser),
        "exists" => exists(&mut parser),
        "say" => say(&mut parser),
        "sleep" => {
            std::thread::sleep(seconds(&operand(&mut parser)?)?);
            Ok(())
        }
        "live" => live(&mut parser),
        "trap" => trap(&mut parser),
        "tcp" => network::tcp(&mut parser),
        "serve" => web::serve(&mut parser),
        _ => Err(End::Failed(format!("no action is called {name:?}"))),
    }
}

/// The next argument, which is no option.
fn operand(parser: &mut lexopt::Parser) -> Result<String, End> {
    match parser.next()? {
        Some(Value(value)) => Ok(value.string()?),
        Some(option) => Err(option.unexpected().into()),
        None => Err(End::Failed("an argument is missing".to_owned())),
    }
}

/// Reads a time in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, End> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parsed.ok_or_else(|| End::Failed(format!("no time in seconds: {text:?}")))
}

/// For `map_err`: the operation on `path` failed.
fn at(path: &Path) -> impl FnOnce(io::Error) -> End {
    let path = path.display().to_string();
    move |error| End::Failed(format!("{path}: {error}"))
}

fn on_file(parser: &mut lexopt::Parser, act: impl Fn(&Path) -> io::Result<()>) -> Result<(), End> {
    let path = PathBuf::from(operand(parser)?);
    act(&path).map_err(at(&path))
}

fn remove(path: &Path) -> io::Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn write(parser: &mut lexopt::Parser) -> Result<(), End> {
    let path = PathBuf::from(operand(parser)?);
    fs::write(&path, operand(parser)?).map_err(at(&path))
}

fn exists(parser: &mut lexopt::Parser) -> Result<(), End> {
    let path = operand(parser)?;
    if Path::new(&path).exists() {
        print_line(&format!("{path} exists"));
        return Ok(());
    }
    print_line(&format!("{path} does not exist"));
    Err(End::Exit(1))
}

fn say(parser: &mut lexopt::Parser) -> Result<(), End> {
    print_line(&operand(parser)?);
    match parser.next()? {
        Some(Long("exit")) => Err(End::Exit(parser.value()?.parse()?)),
        Some(other) => Err(other.unexpected().into()),
        None => Ok(()),
    }
}

fn live(parser: &mut lexopt::Parser) -> Result<(), End> {
    let path = PathBuf::from(operand(parser)?);
    let Some(Long("for")) = parser.next()? else { return Err(End::Failed("--for is missing".to_owned())) };
    let life = seconds(&parser.value()?.string()?)?;
    fs::write(&path, "").map_err(at(&path))?;
    std::thread::sleep(life);
    remove(&path).map_err(at(&path))?;
    std::thread::sleep(Duration::MAX);
    Ok(())
}

fn trap(parser: &mut lexopt::Parser) -> Result<(), End> {
    let (mut code, mut after, mut text, mut file, mut ignores) =
        (0, Duration::ZERO, "got TERM".to_owned(), None, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("exit") => code = parser.value()?.parse()?,
            Long("after") => after = seconds(&parser.value()?.string()?)?,
            Long("say") => text = parser.value()?.string()?,
            Long("write") => file = Some(PathBuf::from(parser.value()?)),
            Long("ignore") => ignores = true,
            _ => return Err(argument.unexpected().into()),
        }
    }
    signals::catch(&[Signal::Term]);
    print_line("waiting for TERM");
    let arrived = signals::subscribe();
    loop {
        arrived.block();
        signals::take();
        print_line(&text);
        if let Some(file) = &file {
            fs::write(file, &text).map_err(at(file))?;
        }
        if !ignores {
            std::thread::sleep(after);
            return Err(End::Exit(code));
        }
    }
}

/// Prints a line at once, whoever reads it or not.
pub(crate) fn print_line(line: &str) {
    let mut stdout = io::stdout().lock();
    // What the container says nobody may want to hear.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
