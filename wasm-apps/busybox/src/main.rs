//! The tools of the `builtin/busybox` image in one program, which acts as the applet it is called as: `argv[0]`, or
//! the first argument when called as `busybox`. There is no shell.
//!
//! Applets live in modules by what they work on and are listed in [`APPLETS`]; what they share about failing and
//! options is here. Any signal ends the program: it catches none.

mod condition;
mod files;
mod system;
mod text;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// An applet: its arguments (without `argv[0]`) in, its exit code out.
type Applet = fn(Vec<OsString>) -> Result<u8, Failure>;

/// Every applet, in the order of `applets.txt`: husk's `build.rs` links each line of it to this program.
const APPLETS: &[(&str, Applet)] = &[
    ("[", condition::bracket),
    ("basename", system::basename),
    ("cat", text::cat),
    ("cp", files::cp),
    ("date", system::date),
    ("dirname", system::dirname),
    ("echo", text::echo),
    ("env", system::env),
    ("false", system::no),
    ("head", text::head),
    ("hostname", system::hostname),
    ("ln", files::ln),
    ("ls", files::ls),
    ("mkdir", files::mkdir),
    ("mv", files::mv),
    ("printenv", system::printenv),
    ("printf", text::printf),
    ("pwd", system::pwd),
    ("rm", files::rm),
    ("rmdir", files::rmdir),
    ("seq", text::seq),
    ("sleep", system::sleep),
    ("sync", files::sync),
    ("tail", text::tail),
    ("tee", text::tee),
    ("test", condition::test),
    ("touch", files::touch),
    ("true", system::yes_exit),
    ("wc", text::wc),
    ("yes", text::yes),
];

const _: () = assert!(lists_applets(include_bytes!("../applets.txt")), "applets.txt is not the table of applets");

/// Whether `list` has exactly the applets' names, a line each.
const fn lists_applets(list: &[u8]) -> bool {
    let (mut position, mut applet) = (0, 0);
    while applet < APPLETS.len() {
        let name = APPLETS[applet].0.as_bytes();
        let mut index = 0;
        while index <= name.len() {
            let expected = if index < name.len() { name[index] } else { b'\n' };
            if position >= list.len() || list[position] != expected {
                return false;
            }
            position += 1;
            index += 1;
        }
        applet += 1;
    }
    position == list.len()
}

/// Why an applet could not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// An operation on a file failed.
    File(PathBuf, io::Error),
    /// Reading standard input or writing standard output failed.
    Stream(io::Error),
}

impl Failure {
    /// For `map_err`: the operation on `path` failed.
    fn at(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |error| Self::File(path, error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(problem) => formatter.write_str(problem),
            Self::File(path, error) => write!(formatter, "{}: {}", path.display(), reason(error)),
            Self::Stream(error) => formatter.write_str(&reason(error)),
        }
    }
}

/// What the system says about an error, without Rust's `(os error N)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Does `work` for each of `paths`, reports each failure on standard error and goes on; 1 if any failed.
fn for_each(applet: &str, paths: &[PathBuf], mut work: impl FnMut(&Path) -> Result<(), Failure>) -> u8 {
    let mut code = 0;
    for path in paths {
        if let Err(failure) = work(path) {
            eprintln!("{applet}: {failure}");
            code = 1;
        }
    }
    code
}

fn main() -> ExitCode {
    enter_working_directory();
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut name = program_name(&arguments);
    if name == "busybox" {
        arguments.remove(0);
        match arguments.first().and_then(|first| first.to_str()) {
            None | Some("--help") => return overview(),
            Some("--list") => return list(),
            Some(_) => name = program_name(&arguments),
        }
    }
    let Some((_, applet)) = APPLETS.iter().find(|(known, _)| *known == name) else {
        eprintln!("{name}: applet not found");
        return ExitCode::from(127);
    };
    let result = applet(arguments.split_off(arguments.len().min(1)));
    let result = result.and_then(|code| io::stdout().flush().map(|()| code).map_err(Failure::Stream));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Stream(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(128 + 13),
        Err(failure) => {
            eprintln!("{name}: {failure}");
            // `test` and `[` answer 1 for "no", so trouble needs another code.
            ExitCode::from(if matches!(name.as_str(), "[" | "test") { 2 } else { 1 })
        }
    }
}

/// WASI 0.1 has no working directory; libc keeps one, which starts as `/`.
fn enter_working_directory() {
    if let Some(directory) = std::env::var_os("PWD") {
        let _stays_at_root = std::env::set_current_dir(directory);
    }
}

fn program_name(arguments: &[OsString]) -> String {
    let path = Path::new(arguments.first().map_or("busybox".as_ref(), OsString::as_os_str));
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.strip_suffix(".wasm").unwrap_or(&name).to_owned()
}

fn overview() -> ExitCode {
    println!("Usage: busybox APPLET [ARGUMENT]...\n\nThe tools of husk's built-in image, in one WebAssembly program:");
    let names: Vec<_> = APPLETS.iter().map(|(name, _)| *name).collect();
    println!("  {}", names.join(" "));
    ExitCode::SUCCESS
}

fn list() -> ExitCode {
    for (name, _) in APPLETS {
        println!("{name}");
    }
    ExitCode::SUCCESS
}
