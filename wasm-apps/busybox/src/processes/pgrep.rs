//! `pgrep`, `pkill` and `pidof`.

use std::ffi::OsString;

use husk_process::{Signal, Target};
use regex::Regex;

use super::kill::{is_called, signal};
use crate::accounts;
use crate::failure::Failure;
use crate::options::{CommandLine, Item, text, unknown};
use crate::posix_regex::{Syntax, translate};
use crate::procfs::{self, Process};

pub(crate) const PGREP_USAGE: &str = "pgrep [-flanovcx] [-d TEXT] [-P PARENT] [-g GROUP] [-u USER] [PATTERN]

Print the numbers of the processes whose names match PATTERN

  -f  Match whole command lines    -x  Match exactly    -v  Those that do not match
  -l  Print names, too             -a  Print command lines, too
  -n  Only the newest              -o  Only the oldest  -c  Only how many
  -d TEXT  What separates numbers";

pub(crate) const PKILL_USAGE: &str = "pkill [-SIGNAL] [-fnovxe] [-P PARENT] [-g GROUP] [-u USER] [PATTERN]

Send SIGNAL (TERM) to the processes whose names match PATTERN; as for pgrep, and

  -e  Say what is killed";

pub(crate) const PIDOF_USAGE: &str = "pidof [-s] [-o PID] NAME...

Print the numbers of the processes called NAME

  -s  Only one    -o PID  Leave PID out";

#[derive(Default)]
struct Query {
    pattern: Option<Regex>,
    full: bool,
    exact: bool,
    inverted: bool,
    newest: bool,
    oldest: bool,
    parents: Vec<u32>,
    groups: Vec<u32>,
    users: Vec<u32>,
    ignore_case: bool,
}

impl Query {
    /// Reads an option that `pgrep` and `pkill` have in common.
    fn option(&mut self, option: &str, line: &mut CommandLine) -> Result<bool, Failure> {
        let numbers = |text: String| -> Result<Vec<u32>, Failure> {
            let parse = |word: &str| word.parse().map_err(|_| Failure::Usage(format!("not a number: {word}")));
            text.split(',').map(parse).collect()
        };
        match option {
            "f" | "full" => self.full = true,
            "x" | "exact" => self.exact = true,
            "v" | "inverse" => self.inverted = true,
            "n" | "newest" => self.newest = true,
            "o" | "oldest" => self.oldest = true,
            "i" | "ignore-case" => self.ignore_case = true,
            "P" | "parent" => self.parents = numbers(line.text()?)?,
            "g" | "pgroup" => self.groups = numbers(line.text()?)?,
            "u" | "U" | "euid" | "uid" => {
                for name in line.text()?.split(',') {
                    let uid =
                        accounts::uid_of(name).ok_or_else(|| Failure::Usage(format!("invalid user name: {name}")))?;
                    self.users.push(uid);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_pattern(&mut self, operands: Vec<OsString>) -> Result<(), Failure> {
        let mut operands = operands.into_iter();
        let Some(pattern) = operands.next() else {
            let limited = !(self.parents.is_empty() && self.groups.is_empty() && self.users.is_empty());
            return if limited { Ok(()) } else { Err(Failure::usage("no matching criteria specified")) };
        };
        if operands.next().is_some() {
            return Err(Failure::usage("only one pattern can be provided"));
        }
        let pattern = translate(&text(pattern)?, Syntax::Extended).map_err(Failure::usage)?.pattern;
        let pattern = if self.exact { format!("^(?:{pattern})$") } else { pattern };
        let pattern = if self.ignore_case { format!("(?i){pattern}") } else { pattern };
        self.pattern = Some(Regex::new(&pattern).map_err(|error| Failure::usage(error.to_string()))?);
        Ok(())
    }

    /// The processes asked for, by number. This one is never among them.
    fn run(&self) -> Result<Vec<Process>, Failure> {
        let own = husk_process::identity().pid;
        let mut found: Vec<Process> =
            procfs::processes()?.into_iter().filter(|process| process.pid != own && self.matches(process)).collect();
        let by_age = |process: &&Process| (process.started, process.pid);
        let only = if self.newest {
            found.iter().max_by_key(by_age).map(|process| process.pid)
        } else if self.oldest {
            found.iter().min_by_key(by_age).map(|process| process.pid)
        } else {
            return Ok(found);
        };
        found.retain(|process| Some(process.pid) == only);
        Ok(found)
    }

    fn matches(&self, process: &Process) -> bool {
        let text = if self.full { process.command() } else { process.name.clone() };
        let among = |wanted: &[u32], value| wanted.is_empty() || wanted.contains(&value);
        let matched = self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&text))
            && among(&self.parents, process.parent)
            && among(&self.groups, process.group)
            && among(&self.users, process.uid);
        matched != self.inverted
    }
}

pub(crate) fn pgrep(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut query = Query::default();
    let (mut names, mut commands, mut count, mut between) = (false, false, false, "\n".to_owned());
    let mut operands = Vec::new();
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(operand) => operands.push(operand),
            Item::Option(option) => match option.as_str() {
                "l" | "list-name" => names = true,
                "a" | "list-full" => commands = true,
                "c" | "count" => count = true,
                "d" | "delimiter" => between = line.text()?,
                _ if query.option(&option, &mut line)? => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    query.set_pattern(operands)?;
    let found = query.run()?;
    let show = |process: &Process| match (commands, names) {
        (true, _) => format!("{} {}", process.pid, process.command()),
        (false, true) => format!("{} {}", process.pid, process.name),
        (false, false) => process.pid.to_string(),
    };
    if count {
        println!("{}", found.len());
    } else if !found.is_empty() {
        println!("{}", found.iter().map(show).collect::<Vec<_>>().join(&between));
    }
    Ok(u8::from(found.is_empty()))
}

pub(crate) fn pkill(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut sent = Some(Signal::TERM);
    let mut rest = Vec::new();
    for argument in arguments {
        // `-HUP` and `-9` are signals; every other option is `pgrep`'s.
        match argument.to_str().and_then(|text| text.strip_prefix('-')).map(signal) {
            Some(Ok(signal)) => sent = signal,
            _ => rest.push(argument),
        }
    }
    let (mut query, mut says, mut operands) = (Query::default(), false, Vec::new());
    let mut line = CommandLine::new(rest);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(operand) => operands.push(operand),
            Item::Option(option) => match option.as_str() {
                "signal" => sent = signal(&line.text()?)?,
                "e" | "echo" => says = true,
                _ if query.option(&option, &mut line)? => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    query.set_pattern(operands)?;
    let mut any = false;
    for process in query.run()? {
        any |= husk_process::kill(Target::Process(process.pid), sent).is_ok();
        if says {
            println!("{} killed (pid {})", process.name, process.pid);
        }
    }
    Ok(u8::from(!any))
}

pub(crate) fn pidof(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut one, mut left_out, mut names) = (false, vec![husk_process::identity().pid], Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(name) => names.push(text(name)?),
            Item::Option(option) => match option.as_str() {
                "s" => one = true,
                "o" => left_out.push(line.number()?),
                "x" | "q" => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    let mut found = procfs::processes()?;
    found.retain(|process| !left_out.contains(&process.pid) && names.iter().any(|name| is_called(process, name)));
    found.reverse();
    if one {
        found.truncate(1);
    }
    if found.is_empty() {
        return Ok(1);
    }
    println!("{}", found.iter().map(|process| process.pid.to_string()).collect::<Vec<_>>().join(" "));
    Ok(0)
}
