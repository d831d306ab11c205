//! What `/proc` says of processes, memory and time.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::wasi::ffi::OsStringExt;
use std::path::PathBuf;

use husk_process::Pid;

use crate::failure::Failure;

/// Clock ticks a second in `/proc`.
pub(crate) const TICKS: u64 = 100;

/// A process of this container.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    pub(crate) state: char,
    /// The program's name.
    pub(crate) name: String,
    /// Its arguments, without the NULs; empty for one that has ended.
    pub(crate) arguments: Vec<String>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// CPU time, in ticks.
    pub(crate) cpu: u64,
    /// When it started, in ticks after the start of the system.
    pub(crate) started: u64,
    /// Memory, in bytes.
    pub(crate) virtual_size: u64,
    /// Memory in use, in KiB.
    pub(crate) resident: u64,
    pub(crate) threads: u64,
    pub(crate) nice: i64,
}

impl Process {
    /// The command line, or the name in brackets where there is none.
    pub(crate) fn command(&self) -> String {
        if self.arguments.is_empty() { format!("[{}]", self.name) } else { self.arguments.join(" ") }
    }
}

/// Every process of this container, by number.
pub(crate) fn processes() -> Result<Vec<Process>, Failure> {
    let entries = fs::read_dir("/proc").map_err(Failure::at("/proc"))?;
    let mut pids: Vec<Pid> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    // Some end while they are looked at.
    Ok(pids.into_iter().filter_map(|pid| process(pid).ok()).collect())
}

/// One process.
pub(crate) fn process(pid: Pid) -> io::Result<Process> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat makes no sense"));
    let stat = text(format!("/proc/{pid}/stat"))?;
    let (before, after) = stat.rsplit_once(')').ok_or_else(invalid)?;
    let (_, name) = before.split_once('(').ok_or_else(invalid)?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // `proc(5)` counts from 1, and the state is its field 3.
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    let pid_of = |number| Pid::try_from(field(number)).unwrap_or_default();
    let status = text(format!("/proc/{pid}/status")).unwrap_or_default();
    let id = |key| status_number(&status, key).and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = command_line.strip_suffix(b"\0").unwrap_or(&command_line);
    Ok(Process {
        pid,
        parent: pid_of(4),
        group: pid_of(5),
        session: pid_of(6),
        state: fields.first().and_then(|state| state.chars().next()).unwrap_or('?'),
        name: name.to_owned(),
        arguments: if arguments.is_empty() {
            Vec::new()
        } else {
            arguments.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
        },
        uid: id("Uid:"),
        gid: id("Gid:"),
        cpu: field(14) + field(15),
        started: field(22),
        virtual_size: field(23),
        resident: status_number(&status, "VmRSS:").unwrap_or_default(),
        threads: field(20).max(1),
        nice: fields.get(16).and_then(|field| field.parse().ok()).unwrap_or_default(),
    })
}

/// The first number of a line such as `Uid: 0 0 0 0`.
fn status_number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Seconds since the system started.
pub(crate) fn uptime() -> Result<f64, Failure> {
    let contents = text("/proc/uptime").map_err(Failure::at("/proc/uptime"))?;
    let first = contents.split_whitespace().next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| Failure::usage("/proc/uptime: no number"))
}

/// `/proc/loadavg`: three averages, then counts.
pub(crate) fn load() -> Result<String, Failure> {
    text("/proc/loadavg").map_err(Failure::at("/proc/loadavg"))
}

/// `/proc/meminfo`: names and KiB.
pub(crate) fn memory() -> Result<Vec<(String, u64)>, Failure> {
    let contents = text("/proc/meminfo").map_err(Failure::at("/proc/meminfo"))?;
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
    };
    Ok(contents.lines().filter_map(line).collect())
}

/// A mounted filesystem.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) source: OsString,
    pub(crate) target: PathBuf,
    pub(crate) kind: String,
    pub(crate) options: String,
}

/// `/proc/mounts`.
pub(crate) fn mounts() -> Result<Vec<Mount>, Failure> {
    let contents = fs::read("/proc/mounts").map_err(Failure::at("/proc/mounts"))?;
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').map(unescape);
        Some(Mount {
            source: fields.next()?,
            target: fields.next()?.into(),
            kind: fields.next()?.to_string_lossy().into_owned(),
            options: fields.next()?.to_string_lossy().into_owned(),
        })
    };
    Ok(contents.split(|byte| *byte == b'\n').filter_map(mount).collect())
}

/// Undoes `\040` and its like, which stand for blanks in names.
fn unescape(field: &[u8]) -> OsString {
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                name.push(byte);
                rest = &behind[3..];
            }
            None => {
                name.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(name)
}

fn text(path: impl AsRef<std::path::Path>) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
