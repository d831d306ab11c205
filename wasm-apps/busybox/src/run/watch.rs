//! `watch`.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use crate::duration;
use crate::failure::Failure;
use crate::process::Program;

pub(crate) const USAGE: &str = "watch [-n SECONDS] [-t] [-g] [-x] PROGRAM [ARGUMENT]...

Run PROGRAM, through the shell unless -x is given, every 2 seconds and show what it prints

  -n SECONDS  Run it as often    -t  No headline    -e  End when it fails";

pub(crate) fn watch(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut interval, mut title, mut direct, mut ends) = (Duration::from_secs(2), true, false, false);
    let argv = super::program(arguments, |name, line| {
        match name {
            "n" | "interval" => interval = duration::parse(&line.text()?)?.max(Duration::from_millis(100)),
            "t" | "no-title" => title = false,
            "x" | "exec" => direct = true,
            "e" | "errexit" => ends = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if argv.is_empty() {
        return Err(Failure::missing_operand());
    }
    let command = argv.join(" ".as_ref());
    let program = if direct { Program::new(argv) } else { Program::shell(&command) };
    loop {
        let mut output = std::io::stdout().lock();
        write!(output, "\x1b[H\x1b[J")?;
        if title {
            writeln!(output, "Every {:.1}s: {}\n", interval.as_secs_f64(), command.display())?;
        }
        output.flush()?;
        drop(output);
        let code = program.run()?.code();
        if ends && code != 0 {
            return Ok(code);
        }
        std::thread::sleep(interval);
    }
}
