//! The network tools of the `builtin/busybox` image in one program, which acts as the applet it is called as.

mod nc;
mod nslookup;
mod wget;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// An applet: its arguments (without `argv[0]`) in; what to say on standard error when it fails.
type Applet = fn(Vec<OsString>) -> Result<(), String>;

/// Every applet, in the order of `applets.txt`: husk's `build.rs` links each line of it to this program.
const APPLETS: &[(&str, Applet)] = &[("nc", nc::main), ("nslookup", nslookup::main), ("wget", wget::main)];

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

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut name = program_name(&arguments);
    if name == "nettool" && arguments.len() > 1 {
        arguments.remove(0);
        name = program_name(&arguments);
    }
    let Some((_, applet)) = APPLETS.iter().find(|(known, _)| *known == name) else {
        eprintln!("{name}: applet not found");
        return ExitCode::FAILURE;
    };
    match applet(arguments.split_off(arguments.len().min(1))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{name}: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn program_name(arguments: &[OsString]) -> String {
    let path = Path::new(arguments.first().map_or("nettool".as_ref(), OsString::as_os_str));
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
