//! The network tools of the `builtin/busybox` image in one program, which acts as the applet it is called as.

mod curl;
mod dns;
mod http;
mod interfaces;
mod nc;
mod nslookup;
mod ping;
mod wget;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use wasip2::cli::exit::exit_with_code;

/// How an applet fails.
#[derive(Debug)]
struct Failure {
    code: u8,
    /// What to say on standard error, after the applet's name; nothing if it has been said already.
    message: String,
}

impl Failure {
    /// Nothing is left to say.
    fn silent(code: u8) -> Self {
        Self { code, message: String::new() }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { code: 1, message }
    }
}

/// An applet: its arguments (without `argv[0]`) in.
type Applet = fn(Vec<OsString>) -> Result<(), Failure>;

/// Every applet, in the order of `applets.txt`: husk's `build.rs` links each line of it to this program.
const APPLETS: &[(&str, Applet)] = &[
    ("curl", curl::main),
    ("ifconfig", interfaces::ifconfig),
    ("ip", interfaces::ip),
    ("nc", nc::main),
    ("netstat", interfaces::netstat),
    ("nslookup", nslookup::main),
    ("ping", ping::main),
    ("route", interfaces::route),
    ("telnet", nc::telnet),
    ("wget", wget::main),
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

fn main() {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut name = program_name(&arguments);
    if name == "nettool" && arguments.len() > 1 {
        arguments.remove(0);
        name = program_name(&arguments);
    }
    let result = match APPLETS.iter().find(|(known, _)| *known == name) {
        Some((_, applet)) => applet(arguments.split_off(arguments.len().min(1))),
        None => Err(Failure { code: 127, message: "applet not found".to_owned() }),
    };
    let Err(failure) = result else { return };
    if !failure.message.is_empty() {
        eprintln!("{name}: {}", failure.message);
    }
    // The standard library's exit carries no number.
    let _flushed = std::io::stdout().flush();
    exit_with_code(failure.code);
}

fn program_name(arguments: &[OsString]) -> String {
    let path = Path::new(arguments.first().map_or("nettool".as_ref(), OsString::as_os_str));
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
