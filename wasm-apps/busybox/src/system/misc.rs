//! `logger`, `sync`, `usleep` and `which`.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attributes;
use crate::failure::Failure;
use crate::options::{CommandLine, Item, flags, text, unknown};

pub(crate) const LOGGER_USAGE: &str = "logger [-s] [-t TAG] [-p PRIORITY] [MESSAGE]...

Write MESSAGE, or standard input, to the container's log: standard error";

pub(crate) const SYNC_USAGE: &str = "sync [FILE]...

Nothing to do: what is written is with husk at once";

pub(crate) const USLEEP_USAGE: &str = "usleep MICROSECONDS

Wait";

pub(crate) const WHICH_USAGE: &str = "which [-a] NAME...

Print the files that are run when NAME is called

  -a  All on PATH";

pub(crate) fn logger(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut tag, mut words) = ("root".to_owned(), Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(word) => words.push(text(word)?),
            Item::Option(option) => match option.as_str() {
                "t" => tag = line.text()?,
                "p" => drop(line.value()?),
                "s" | "i" => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    if words.is_empty() {
        io::stdin().lines().try_for_each(|line| line.map(|line| eprintln!("{tag}: {line}")))?;
    } else {
        eprintln!("{tag}: {}", words.join(" "));
    }
    Ok(0)
}

pub(crate) fn sync(_: Vec<OsString>) -> Result<u8, Failure> {
    Ok(0)
}

pub(crate) fn usleep(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (_, operands) = flags(arguments, "", &[])?;
    let time = operands.into_iter().next().ok_or_else(Failure::missing_operand).and_then(text)?;
    let microseconds = time.parse().map_err(|_| Failure::Usage(format!("invalid number '{time}'")))?;
    std::thread::sleep(Duration::from_micros(microseconds));
    Ok(0)
}

pub(crate) fn which(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (flags, names) = flags(arguments, "a", &[("all", 'a')])?;
    let path = env::var("PATH").unwrap_or_default();
    let mut code = 0;
    for name in &names {
        let is_program = |path: &PathBuf| path.is_file() && attributes::may_execute(path);
        let candidates: Vec<PathBuf> = if name.as_encoded_bytes().contains(&b'/') {
            vec![Path::new(name).to_owned()]
        } else {
            path.split(':').map(|directory| Path::new(directory).join(name)).collect()
        };
        let mut found = candidates.into_iter().filter(is_program).peekable();
        if found.peek().is_none() {
            code = 1;
        }
        found.take(if flags.contains('a') { usize::MAX } else { 1 }).for_each(|path| println!("{}", path.display()));
    }
    Ok(code)
}
