//! How far a download is: a line that changes on a terminal; elsewhere a line now and then, if it takes long.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between changes on a terminal.
const ON_TERMINAL: Duration = Duration::from_millis(500);
/// Between lines elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Tells how far a download is.
pub(super) struct Progress {
    name: String,
    terminal: bool,
    shown: bool,
    done: u64,
    total: Option<u64>,
    next: Instant,
}

impl Progress {
    /// Of what follows the first `present` bytes.
    pub(super) fn new(path: &Path, present: u64, length: Option<u64>, shown: bool) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let terminal = io::stderr().is_terminal();
        let total = length.and_then(|length| length.checked_add(present));
        let next = Instant::now() + if terminal { Duration::ZERO } else { ELSEWHERE };
        Self { name, terminal, shown, done: present, total, next }
    }

    /// So many bytes more have come.
    pub(super) fn add(&mut self, count: u64) {
        self.done += count;
        if self.shown && Instant::now() >= self.next {
            self.next = Instant::now() + if self.terminal { ON_TERMINAL } else { ELSEWHERE };
            self.show(if self.terminal { "" } else { "\n" });
        }
    }

    /// Everything has come.
    pub(super) fn finish(&mut self) {
        if self.shown && self.terminal {
            self.show("\n");
        }
    }

    fn show(&self, end: &str) {
        let start = if self.terminal { "\r" } else { "" };
        let line = line(&self.name, self.done, self.total);
        let mut stderr = io::stderr();
        // Progress is no reason to fail.
        let _shown = write!(stderr, "{start}{line}{end}").and_then(|()| stderr.flush());
    }
}

fn line(name: &str, done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => {
            let percent = u128::from(done.min(total)) * 100 / u128::from(total);
            format!("{name:20.20} {percent:3}% {}", size(done))
        }
        _ => format!("{name:20.20}      {}", size(done)),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["", "k", "M", "G"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 100_000 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value:5}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_name_share_and_size() {
        assert_eq!(line("index.html", 50, Some(200)), "index.html            25%    50");
        assert_eq!(line("a-name-that-is-much-too-long", 1 << 20, None), "a-name-that-is-much-       1024k");
        assert_eq!(line("x", 300, Some(200)), "x                    100%   300");
        assert_eq!(line("x", 0, Some(0)), "x                             0");
    }
}
