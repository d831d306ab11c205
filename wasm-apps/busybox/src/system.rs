//! Applets about the process, its names and the time: basename, date, dirname, env, false, hostname, printenv, pwd,
//! sleep, true.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lexopt::prelude::*;

use crate::Failure;

pub(crate) fn yes_exit(_: Vec<OsString>) -> Result<u8, Failure> {
    Ok(0)
}

pub(crate) fn no(_: Vec<OsString>) -> Result<u8, Failure> {
    Ok(1)
}

pub(crate) fn pwd(_: Vec<OsString>) -> Result<u8, Failure> {
    println!("{}", std::env::current_dir()?.display());
    Ok(0)
}

pub(crate) fn hostname(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let path = Path::new("/etc/hostname");
    let name = std::fs::read_to_string(path).map_err(Failure::at(path))?;
    match arguments.first().and_then(|argument| argument.to_str()) {
        None | Some("-f") => println!("{}", name.trim()),
        Some("-s") => println!("{}", name.trim().split('.').next().unwrap_or_default()),
        Some(_) => return Err(Failure::Usage("the hostname of a pod cannot be set".to_owned())),
    }
    Ok(0)
}

/// Prints the environment. Running a command in a changed one needs a shell's means, which are not here yet.
pub(crate) fn env(arguments: Vec<OsString>) -> Result<u8, Failure> {
    if let Some(argument) = arguments.first() {
        let problem = format!("cannot run {:?}: running programs is not supported", argument.to_string_lossy());
        return Err(Failure::Usage(problem));
    }
    for (name, value) in std::env::vars_os() {
        println!("{}={}", name.to_string_lossy(), value.to_string_lossy());
    }
    Ok(0)
}

pub(crate) fn printenv(arguments: Vec<OsString>) -> Result<u8, Failure> {
    if arguments.is_empty() {
        return env(arguments);
    }
    let mut code = 0;
    for name in arguments {
        match std::env::var_os(&name) {
            Some(value) => println!("{}", value.to_string_lossy()),
            None => code = 1,
        }
    }
    Ok(code)
}

/// `sleep TIME…`: the sum of all times, each a decimal number with an optional unit `s`, `m`, `h` or `d`.
pub(crate) fn sleep(arguments: Vec<OsString>) -> Result<u8, Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage("usage: sleep TIME[smhd]...".to_owned()));
    }
    let mut total = Duration::ZERO;
    for argument in arguments {
        let text = argument.to_string_lossy();
        let time = duration(&text).ok_or_else(|| Failure::Usage(format!("invalid time {text:?}")))?;
        total = total.saturating_add(time);
    }
    std::thread::sleep(total);
    Ok(0)
}

fn duration(text: &str) -> Option<Duration> {
    if matches!(text, "inf" | "infinity") {
        return Some(Duration::MAX);
    }
    let (number, unit) = match text.char_indices().next_back()? {
        (end, 's') => (&text[..end], 1.0),
        (end, 'm') => (&text[..end], 60.0),
        (end, 'h') => (&text[..end], 3600.0),
        (end, 'd') => (&text[..end], 86400.0),
        _ => (text, 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

pub(crate) fn basename(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (path, suffix) = match arguments.as_slice() {
        [path] => (path.to_string_lossy(), None),
        [path, suffix] => (path.to_string_lossy(), Some(suffix.to_string_lossy())),
        _ => return Err(Failure::Usage("usage: basename PATH [SUFFIX]".to_owned())),
    };
    let trimmed = path.trim_end_matches('/');
    let name = if trimmed.is_empty() && !path.is_empty() { "/" } else { trimmed.rsplit('/').next().unwrap_or("") };
    let shorter = suffix.as_ref().and_then(|suffix| name.strip_suffix(suffix.as_ref()));
    println!("{}", shorter.filter(|rest| !rest.is_empty()).unwrap_or(name));
    Ok(0)
}

pub(crate) fn dirname(arguments: Vec<OsString>) -> Result<u8, Failure> {
    if arguments.is_empty() {
        return Err(Failure::Usage("usage: dirname PATH...".to_owned()));
    }
    for path in arguments {
        let path = path.to_string_lossy();
        let trimmed = path.trim_end_matches('/');
        let parent = match trimmed.rfind('/') {
            Some(slash) => trimmed[..slash].trim_end_matches('/'),
            None if trimmed.is_empty() && !path.is_empty() => "",
            None => ".",
        };
        println!("{}", if parent.is_empty() { "/" } else { parent });
    }
    Ok(0)
}

/// `date [-u] [+FORMAT]`, in UTC: a container has no other time zone.
pub(crate) fn date(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut format = "%a %b %e %H:%M:%S UTC %Y".to_owned();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('u') => {}
            Short('I') => format = "%F".to_owned(),
            Short('R') => format = "%a, %d %b %Y %T +0000".to_owned(),
            Value(value) => match value.to_string_lossy().strip_prefix('+') {
                Some(given) => format = given.to_owned(),
                None => return Err(Failure::Usage("the time of a pod cannot be set".to_owned())),
            },
            _ => return Err(argument.unexpected().into()),
        }
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    println!("{}", CivilTime::from_unix(now).format(&format));
    Ok(0)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A point in time, in UTC, by the Gregorian calendar.
struct CivilTime {
    unix: Duration,
    year: u64,
    month: usize,
    day: u64,
    weekday: usize,
    day_of_year: u64,
}

impl CivilTime {
    fn from_unix(unix: Duration) -> Self {
        let days = unix.as_secs() / 86400;
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut day_of_year) = (1970, days);
        while day_of_year >= 365 + u64::from(leap(year)) {
            day_of_year -= 365 + u64::from(leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let (mut month, mut day) = (0, day_of_year);
        while day >= lengths[month] {
            day -= lengths[month];
            month += 1;
        }
        let weekday = usize::try_from((days + 4) % 7).unwrap_or(0);
        Self { unix, year, month, day: day + 1, weekday, day_of_year: day_of_year + 1 }
    }

    fn format(&self, format: &str) -> String {
        let mut result = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => result.push_str(&self.field(characters.next())),
                other => result.push(other),
            }
        }
        result
    }

    fn field(&self, conversion: Option<char>) -> String {
        let seconds = self.unix.as_secs() % 86400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match conversion {
            Some('Y') => self.year.to_string(),
            Some('m') => format!("{:02}", self.month + 1),
            Some('d') => format!("{:02}", self.day),
            Some('e') => format!("{:2}", self.day),
            Some('j') => format!("{:03}", self.day_of_year),
            Some('H') => format!("{hour:02}"),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('N') => format!("{:09}", self.unix.subsec_nanos()),
            Some('s') => self.unix.as_secs().to_string(),
            Some('a') => DAYS[self.weekday][..3].to_owned(),
            Some('A') => DAYS[self.weekday].to_owned(),
            Some('b' | 'h') => MONTHS[self.month][..3].to_owned(),
            Some('B') => MONTHS[self.month].to_owned(),
            Some('F') => self.format("%Y-%m-%d"),
            Some('T') => self.format("%H:%M:%S"),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('n') => "\n".to_owned(),
            Some('%') | None => "%".to_owned(),
            Some(other) => format!("%{other}"),
        }
    }
}
