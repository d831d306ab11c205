//! Which applet is called, and how it ends.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::applets::{self, Applet, Run};
use crate::failure::{self, Failure};

/// The exit code of a program that a broken pipe ended.
const BROKEN_PIPE: u8 = 128 + 13;

/// Runs the applet that the first argument, or behind `busybox` the second, names.
pub(crate) fn run(mut arguments: Vec<OsString>) -> ExitCode {
    let mut name = program_name(&arguments);
    let behind_busybox = name == "busybox";
    if behind_busybox {
        match arguments.get(1).and_then(|first| first.to_str()) {
            None | Some("--help") => return print(&overview()),
            Some("--list") => return print(&list()),
            Some(_) => arguments.remove(0),
        };
        name = program_name(&arguments);
    }
    let Some(applet) = applets::find(&name) else {
        eprintln!("{name}: applet not found");
        return ExitCode::from(127);
    };
    enter_working_directory();
    match applet.run {
        Run::Own { main, usage, trouble } => {
            let rest = arguments.split_off(arguments.len().min(1));
            if rest.first().is_some_and(|first| first == "--help") {
                return print(&format!("Usage: {usage}\n"));
            }
            own(applet, trouble, main(rest))
        }
        Run::Uutils { locale, main } => {
            if behind_busybox {
                uucore::set_utility_is_second_arg();
            }
            uutils(locale, main, arguments)
        }
    }
}

/// Runs one of uutils' coreutils as its own `main` would.
fn uutils(locale: &str, main: fn(Vec<OsString>) -> i32, arguments: Vec<OsString>) -> ExitCode {
    uucore::panic::mute_sigpipe_panic();
    if let Err(error) = uucore::locale::setup_localization(locale) {
        eprintln!("{locale}: {error}");
        return ExitCode::FAILURE;
    }
    let code = main(arguments);
    if let Err(error) = io::stdout().flush() {
        eprintln!("{locale}: write error: {}", failure::reason(&error));
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

fn own(applet: &Applet, trouble: u8, result: Result<u8, Failure>) -> ExitCode {
    let name = applet.name;
    match result.and_then(|code| io::stdout().flush().map(|()| code).map_err(Failure::Stream)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.is_broken_pipe() => ExitCode::from(BROKEN_PIPE),
        Err(failure) => {
            let _nothing_more_to_lose = io::stdout().flush();
            eprintln!("{name}: {failure}");
            ExitCode::from(if let Failure::Code(code, _) = failure { code } else { trouble })
        }
    }
}

/// WASI 0.1 has no working directory; libc keeps one, which starts as `/`.
fn enter_working_directory() {
    if let Some(directory) = std::env::var_os("PWD").filter(|directory| directory != "/") {
        let _stays_at_root = std::env::set_current_dir(directory);
    }
}

fn program_name(arguments: &[OsString]) -> String {
    let path = Path::new(arguments.first().map_or("busybox".as_ref(), OsString::as_os_str));
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    name.strip_suffix(".wasm").unwrap_or(&name).to_owned()
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn overview() -> String {
    let mut text = "Usage: busybox APPLET [ARGUMENT]...\n       busybox --list\n\n".to_owned()
        + "The tools of husk's built-in image in one WebAssembly program; APPLET --help says more of each:\n";
    let mut column = usize::MAX;
    for Applet { name, .. } in applets::APPLETS {
        if column.saturating_add(name.len() + 2) > 79 {
            text.push_str("\n  ");
            column = 2;
        } else {
            text.push_str(", ");
            column += 2;
        }
        text.push_str(name);
        column += name.len();
    }
    text.push('\n');
    text
}

fn list() -> String {
    applets::APPLETS.iter().fold(String::new(), |text, applet| text + applet.name + "\n")
}
