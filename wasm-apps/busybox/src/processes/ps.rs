//! `ps`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use husk_process::terminal;

use crate::accounts;
use crate::failure::Failure;
use crate::options::text;
use crate::procfs::{self, Process, TICKS};

pub(crate) const USAGE: &str = "ps [-o COLUMN[=TITLE],...] [-p PID,...] [-ef] [aux]

Print the processes of this container

Columns: user, uid, group, gid, comm, args (cmd, command), pid, ppid, pgid, sid, etime, time, stat (s, state), tty, vsz, rss,
nice, stime, pcpu, pmem, nlwp";

/// A column by name, and its title.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    title: String,
}

/// Title and width of each column; numbers stand to the right. Width 0: the rest of the line.
const COLUMNS: &[(&str, &str, usize, bool)] = &[
    ("user", "USER", 8, false),
    ("uid", "UID", 5, true),
    ("group", "GROUP", 8, false),
    ("gid", "GID", 5, true),
    ("comm", "COMMAND", 15, false),
    ("args", "COMMAND", 0, false),
    ("pid", "PID", 5, true),
    ("ppid", "PPID", 5, true),
    ("pgid", "PGID", 5, true),
    ("sid", "SID", 5, true),
    ("etime", "ELAPSED", 11, true),
    ("time", "TIME", 6, false),
    ("stat", "STAT", 4, false),
    ("tty", "TT", 6, false),
    ("vsz", "VSZ", 6, true),
    ("rss", "RSS", 6, true),
    ("nice", "NI", 3, true),
    ("stime", "STIME", 5, false),
    ("pcpu", "%CPU", 4, true),
    ("pmem", "%MEM", 4, true),
    ("nlwp", "NLWP", 4, true),
];

fn columns(names: &str, into: &mut Vec<Column>) -> Result<(), Failure> {
    for word in names.split([',', ' ']).filter(|word| !word.is_empty()) {
        let (name, title) = word.split_once('=').map_or((word, None), |(name, title)| (name, Some(title)));
        let name = match name {
            "cmd" | "command" => "args",
            "s" | "state" => "stat",
            "ruser" | "euser" => "user",
            "euid" | "ruid" => "uid",
            "sess" => "sid",
            "ni" => "nice",
            "tt" | "tname" => "tty",
            "start" | "bsdstart" | "start_time" => "stime",
            "%cpu" | "c" => "pcpu",
            "%mem" => "pmem",
            "rssize" => "rss",
            "vsize" => "vsz",
            "ucmd" | "ucomm" => "comm",
            "tid" | "lwp" => "pid",
            other => other,
        };
        let known = COLUMNS.iter().find(|(known, ..)| *known == name);
        let (_, heading, ..) = known.ok_or_else(|| Failure::Usage(format!("bad -o argument '{name}'")))?;
        into.push(Column { name: name.to_owned(), title: title.unwrap_or(heading).to_owned() });
    }
    Ok(())
}

/// What the command line asks for. BSD's letters need no hyphen, and letters that choose processes choose all.
struct Request {
    columns: Vec<Column>,
    pids: Option<Vec<u32>>,
    titles: bool,
}

impl Request {
    fn parse(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let mut request = Self { columns: Vec::new(), pids: None, titles: true };
        let (mut full, mut user_oriented) = (false, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let argument = text(argument)?;
            if argument == "--no-headers" || argument == "--no-heading" {
                request.titles = false;
                continue;
            }
            let letters = argument.trim_start_matches('-');
            for (at, letter) in letters.char_indices() {
                if !matches!(letter, 'o' | 'p') {
                    full |= matches!(letter, 'f' | 'F' | 'l');
                    user_oriented |= letter == 'u' && !argument.starts_with('-');
                    if "eAdawxufFlTHjmw".contains(letter) {
                        continue;
                    }
                    return Err(Failure::Usage(format!("invalid option -- '{letter}'")));
                }
                let value = match &letters[at + 1..] {
                    "" => text(arguments.next().unwrap_or_default())?,
                    rest => rest.to_owned(),
                };
                if letter == 'o' {
                    columns(&value, &mut request.columns)?;
                } else {
                    let parse =
                        |word: &str| word.parse().map_err(|_| Failure::Usage(format!("invalid number '{word}'")));
                    let pids = value.split([',', ' ']).map(parse).collect::<Result<Vec<u32>, _>>()?;
                    request.pids.get_or_insert_default().extend(pids);
                }
                break;
            }
        }
        if request.columns.is_empty() {
            let default = match (user_oriented, full) {
                (true, _) => "user,pid,pcpu,pmem,vsz,rss,tty,stat,stime,time,args",
                (_, true) => "user=UID,pid,ppid,pcpu=C,stime,tty=TTY,time,args=CMD",
                _ => "pid,user,time,args",
            };
            columns(default, &mut request.columns)?;
        }
        Ok(request)
    }
}

pub(crate) fn ps(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let request = Request::parse(arguments)?;
    let mut processes = procfs::processes()?;
    if let Some(pids) = &request.pids {
        processes.retain(|process| pids.contains(&process.pid));
    }
    let names = Names::read()?;
    let stdout = io::stdout();
    let width = if stdout.is_terminal() {
        terminal::state(stdout.as_fd()).map_or(80, |state| usize::from(state.columns).max(20))
    } else {
        usize::MAX
    };
    let mut output = io::BufWriter::new(stdout.lock());
    if request.titles && request.columns.iter().any(|column| !column.title.is_empty()) {
        write_line(&mut output, width, &request.columns, |column| column.title.clone())?;
    }
    for process in &processes {
        write_line(&mut output, width, &request.columns, |column| names.value(process, &column.name))?;
    }
    output.flush()?;
    Ok(u8::from(processes.is_empty()))
}

fn write_line(
    output: &mut impl Write,
    most: usize,
    columns: &[Column],
    value: impl Fn(&Column) -> String,
) -> io::Result<()> {
    let mut line = String::new();
    for (index, column) in columns.iter().enumerate() {
        let shape = COLUMNS.iter().find(|(known, ..)| *known == column.name);
        let (width, right) = shape.map_or((0, false), |(_, _, width, right)| (*width, *right));
        let width = width.max(if width > 0 { column.title.len() } else { 0 });
        let value = value(column);
        if index > 0 {
            line.push(' ');
        }
        if index + 1 == columns.len() && !right {
            line.push_str(&value);
        } else if right {
            line.push_str(&format!("{value:>width$}"));
        } else {
            line.push_str(&format!("{value:<width$}"));
        }
    }
    let line: String = line.chars().take(most).collect();
    writeln!(output, "{line}")
}

/// What the columns need beside the process.
pub(super) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    uptime: f64,
    memory: u64,
}

impl Names {
    pub(super) fn read() -> Result<Self, Failure> {
        let memory = procfs::memory().unwrap_or_default();
        Ok(Self {
            users: accounts::users().into_iter().map(|user| (user.uid, user.name)).collect(),
            groups: accounts::groups().into_iter().map(|group| (group.gid, group.name)).collect(),
            uptime: procfs::uptime()?,
            memory: memory.iter().find(|(name, _)| name == "MemTotal").map_or(0, |(_, size)| *size),
        })
    }

    /// A column's value.
    pub(super) fn value(&self, process: &Process, column: &str) -> String {
        let name = |names: &HashMap<u32, String>, id: u32| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
        let cpu = process.cpu / TICKS;
        let age = (self.uptime - process.started as f64 / TICKS as f64).max(0.0);
        match column {
            "user" => name(&self.users, process.uid),
            "uid" => process.uid.to_string(),
            "group" => name(&self.groups, process.gid),
            "gid" => process.gid.to_string(),
            "comm" => process.name.clone(),
            "args" => process.command(),
            "pid" => process.pid.to_string(),
            "ppid" => process.parent.to_string(),
            "pgid" => process.group.to_string(),
            "sid" => process.session.to_string(),
            "etime" => elapsed(age as u64),
            "time" => format!("{}:{:02}", cpu / 60, cpu % 60),
            "stat" => process.state.to_string(),
            "vsz" => (process.virtual_size / 1024).to_string(),
            "rss" => process.resident.to_string(),
            "nice" => process.nice.to_string(),
            "stime" => started(age),
            "pcpu" => format!("{:.1}", self.cpu_share(process)),
            "pmem" => format!("{:.1}", 100.0 * process.resident as f64 / self.memory.max(1) as f64),
            "nlwp" => process.threads.to_string(),
            _ => "?".to_owned(),
        }
    }

    /// CPU time since the start of the process, in percent.
    pub(super) fn cpu_share(&self, process: &Process) -> f64 {
        let age = self.uptime - process.started as f64 / TICKS as f64;
        if age > 0.0 { 100.0 * process.cpu as f64 / TICKS as f64 / age } else { 0.0 }
    }
}

/// `[[days-]hours:]minutes:seconds`.
fn elapsed(seconds: u64) -> String {
    let (days, hours, minutes, seconds) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{seconds:02}"),
        (0, _) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// The time of day, or the day, a process of this age has started.
fn started(age: f64) -> String {
    let start = jiff::Timestamp::now().as_second() - age as i64;
    let format = if age < 86400.0 { "%H:%M" } else { "%b%d" };
    crate::find::time_text((start, 0), format)
}
