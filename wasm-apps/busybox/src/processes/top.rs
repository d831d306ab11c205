//! `top`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use super::ps::Names;
use crate::duration;
use crate::failure::Failure;
use crate::options::{CommandLine, Item, unknown};
use crate::procfs;

pub(crate) const USAGE: &str = "top [-b] [-n COUNT] [-d SECONDS]

Show processes and what they use

  -b  One after the other, without clearing the screen    -n COUNT  As often    -d SECONDS  Every 5 seconds unless given";

pub(crate) fn top(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut batch, mut count, mut interval) = (false, None::<u64>, Duration::from_secs(5));
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        let Item::Option(option) = item else { return Err(Failure::usage("unexpected operand")) };
        match option.as_str() {
            "b" => batch = true,
            "n" => count = Some(line.number()?),
            "d" => interval = duration::parse(&line.text()?)?.max(Duration::from_millis(100)),
            "H" | "m" => {}
            _ => return Err(unknown(&option)),
        }
    }
    let mut shown = 0;
    loop {
        let screen = screen()?;
        let mut output = io::stdout().lock();
        if !batch {
            write!(output, "\x1b[H\x1b[J")?;
        }
        output.write_all(screen.as_bytes())?;
        output.flush()?;
        shown += 1;
        if count.is_some_and(|count| shown >= count) {
            return Ok(0);
        }
        std::thread::sleep(interval);
    }
}

fn screen() -> Result<String, Failure> {
    let memory = procfs::memory()?;
    let kib = |wanted: &str| memory.iter().find(|(name, _)| name == wanted).map_or(0, |(_, size)| *size);
    let (total, free) = (kib("MemTotal"), kib("MemFree"));
    let names = Names::read()?;
    let mut processes = procfs::processes()?;
    processes.sort_by(|one, other| names.cpu_share(other).total_cmp(&names.cpu_share(one)));
    let mut text = format!(
        "Mem: {}K used, {free}K free, {}K buff, {}K cached\nLoad average: {}",
        total.saturating_sub(free),
        kib("Buffers"),
        kib("Cached"),
        procfs::load()?
    );
    text.push_str("  PID  PPID USER     STAT   VSZ   RSS %MEM %CPU COMMAND\n");
    for process in &processes {
        let value = |column| names.value(process, column);
        // Writing to a string does not fail.
        let _infallible = writeln!(
            text,
            "{:>5} {:>5} {:<8} {:<4} {:>5} {:>5} {:>4} {:>4} {}",
            value("pid"),
            value("ppid"),
            value("user"),
            value("stat"),
            size(process.virtual_size / 1024),
            size(process.resident),
            value("pmem"),
            value("pcpu"),
            value("args"),
        );
    }
    Ok(text)
}

/// KiB in at most five characters.
fn size(kib: u64) -> String {
    match kib {
        0..=9999 => kib.to_string(),
        10_000..=9_999_999 => format!("{}m", kib / 1024),
        _ => format!("{}g", kib / (1024 * 1024)),
    }
}
