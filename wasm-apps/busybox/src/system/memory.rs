//! `free` and `uptime`.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::options::flags;
use crate::procfs;

pub(crate) const FREE_USAGE: &str = "free [-bkmgh]

Print how much memory there is, and how much of it is free

  -b -k -m -g  In bytes, KiB, MiB, GiB    -h  For people";

pub(crate) const UPTIME_USAGE: &str = "uptime [-ps]

Print how long the system has been up

  -p  In words    -s  Since when";

pub(crate) fn free(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let long = [("bytes", 'b'), ("kibi", 'k'), ("mebi", 'm'), ("gibi", 'g'), ("human", 'h')];
    let (flags, _) = flags(arguments, "bkmghtw", &long)?;
    let memory = procfs::memory()?;
    let kib = |wanted: &str| memory.iter().find(|(name, _)| name == wanted).map_or(0, |(_, size)| *size);
    let show = |kib: u64| match flags.chars().last() {
        Some('b') => (kib * 1024).to_string(),
        Some('m') => (kib / 1024).to_string(),
        Some('g') => (kib / (1024 * 1024)).to_string(),
        Some('h') => super::filesystems::human(kib * 1024),
        _ => kib.to_string(),
    };
    let (total, free) = (kib("MemTotal"), kib("MemFree"));
    let cache = kib("Buffers") + kib("Cached");
    let used = total.saturating_sub(free + cache);
    let (swap, swap_free) = (kib("SwapTotal"), kib("SwapFree"));
    println!("{:>19}{:>12}{:>12}{:>12}{:>12}{:>12}", "total", "used", "free", "shared", "buff/cache", "available");
    let row = [total, used, free, kib("Shmem"), cache, kib("MemAvailable")].map(|size| format!("{:>12}", show(size)));
    println!("Mem:   {}", row.concat());
    println!("Swap:  {:>12}{:>12}{:>12}", show(swap), show(swap.saturating_sub(swap_free)), show(swap_free));
    Ok(0)
}

pub(crate) fn uptime(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (flags, _) = flags(arguments, "ps", &[("pretty", 'p'), ("since", 's')])?;
    let seconds = procfs::uptime()? as i64;
    let now = jiff::Timestamp::now().as_second();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    if flags.contains('s') {
        println!("{}", crate::find::time_text((now - seconds, 0), "%Y-%m-%d %H:%M:%S"));
        return Ok(0);
    }
    if flags.contains('p') {
        let count = |number: i64, name: &str| match number {
            0 => None,
            1 => Some(format!("1 {name}")),
            _ => Some(format!("{number} {name}s")),
        };
        let parts = [count(days, "day"), count(hours, "hour"), count(minutes, "minute")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        println!("up {}", if parts.is_empty() { "0 minutes".to_owned() } else { parts.join(", ") });
        return Ok(0);
    }
    let up = match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours:2}:{minutes:02}"),
        (1, _) => format!("1 day, {hours:2}:{minutes:02}"),
        _ => format!("{days} days, {hours:2}:{minutes:02}"),
    };
    let load = procfs::load()?;
    let averages: Vec<&str> = load.split_whitespace().take(3).collect();
    println!(" {} up {up},  load average: {}", crate::find::time_text((now, 0), "%H:%M:%S"), averages.join(", "));
    Ok(0)
}
