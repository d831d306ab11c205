//! A web server: `nginx` of the built-in images, as far as its configuration is known here, and `httpd` of busybox.
//!
//! One thread, one `wasi:io/poll` for everything, a task for each connection. TERM and INT end it at once, QUIT after the
//! requests in flight, HUP reads the configuration anew, USR1 opens log files anew.

mod httpd;
mod serve;

use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::process::ExitCode;

use husk_process::processes;
use husk_process::signals::Signal;
use nginx::NAME_AND_VERSION;
use nginx::command_line::{Action, CommandLine, HELP, parse};
use nginx::config::{Config, ConfigError, Environment, Loaded, Source, explain_io, load};

/// The configuration file, unless another one is named.
const CONFIGURATION: &str = "/etc/nginx/nginx.conf";

/// What holds where there is no configuration file: what the image's files say.
const BUILT_IN: &str = concat!(
    "events {}\nhttp {\n",
    include_str!("../files/mime.types"),
    "default_type application/octet-stream;\naccess_log /dev/stdout;\nkeepalive_timeout 65;\n",
    include_str!("../files/default.conf"),
    "}\n"
);

/// The container.
struct Container;

impl Environment for Container {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(path)?.flatten();
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn link(&self, path: &str) -> Option<String> {
        std::fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }

    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        (host, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if name.to_string_lossy().rsplit('/').next() == Some("httpd") {
        return httpd::main(args);
    }
    let command = match parse(args) {
        Ok(command) => command,
        Err(problem) => return fail(&problem),
    };
    match &command.action {
        Action::Help => {
            eprint!("nginx version: {NAME_AND_VERSION}\n{HELP}");
            ExitCode::SUCCESS
        }
        Action::Version { full } => {
            eprintln!("nginx version: {NAME_AND_VERSION}");
            if *full {
                eprintln!(
                    "built as a WASI 0.2 component\nconfigure arguments: --prefix=/etc/nginx --conf-path={CONFIGURATION}"
                );
            }
            ExitCode::SUCCESS
        }
        Action::Signal(signal) => send(&command, signal),
        Action::Test { dump } => test(&command, *dump),
        Action::Serve => serve_nginx(&command),
    }
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("nginx: {problem}");
    ExitCode::FAILURE
}

fn emergency(problem: &str) -> ExitCode {
    fail(&format!("[emerg] {problem}"))
}

fn source(command: &CommandLine) -> Source {
    let named = command.file.as_deref().unwrap_or(CONFIGURATION);
    let file = if named.starts_with('/') { named.to_owned() } else { format!("{}/{named}", command.prefix) };
    Source {
        file,
        prefix: command.prefix.clone(),
        directives: command.directives.clone(),
        error_log: command.error_log.clone(),
    }
}

fn read(command: &CommandLine) -> Result<Loaded, ConfigError> {
    let standard = command.file.is_none() && command.prefix == "/etc/nginx";
    load(&Container, &source(command), standard.then_some(BUILT_IN))
}

fn test(command: &CommandLine, dump: bool) -> ExitCode {
    let file = source(command).file;
    match read(command) {
        Ok(Loaded { config, files }) => {
            warn(&config);
            if !command.quiet {
                eprintln!("nginx: the configuration file {file} syntax is ok");
                eprintln!("nginx: configuration file {file} test is successful");
            }
            let mut stdout = io::stdout().lock();
            let dumped = files
                .iter()
                .filter(|_| dump)
                .try_for_each(|(path, text)| writeln!(stdout, "# configuration file {path}:\n{text}"));
            if dumped.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("nginx: [emerg] {error}");
            fail(&format!("configuration file {file} test failed"))
        }
    }
}

fn warn(config: &Config) {
    for warning in &config.warnings {
        eprintln!("nginx: [warn] {warning}");
    }
}

fn serve_nginx(command: &CommandLine) -> ExitCode {
    let config = match read(command) {
        Ok(loaded) => loaded.config,
        Err(error) => return emergency(&error.to_string()),
    };
    warn(&config);
    if !config.foreground {
        eprintln!("nginx: [notice] there is no background here: it stays in the foreground, as with \"daemon off;\"");
    }
    // Whoever reads the file may send one at once.
    serve::catch_signals();
    write_pid(&config.pid);
    let pid = config.pid.clone();
    let ended = serve_config(config, || read(command).map(|loaded| loaded.config));
    let _it_was_never_there = std::fs::remove_file(pid);
    ended
}

/// Serves until the end.
fn serve_config(config: Config, load: impl Fn() -> Result<Config, ConfigError>) -> ExitCode {
    match net_tasks::block_on(serve::run(config, load)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => emergency(&error.to_string()),
    }
}

/// Notes the process's number where `-s` looks for it. A container may be read-only: the server works without.
fn write_pid(path: &str) {
    if let Err(error) = std::fs::write(path, format!("{}\n", processes::pid())) {
        eprintln!("nginx: [warn] open() \"{path}\" failed {}", explain_io(&error));
    }
}

/// Sends a signal to the server that the configuration's pid file names.
fn send(command: &CommandLine, name: &str) -> ExitCode {
    let path = match read(command) {
        Ok(loaded) => loaded.config.pid,
        Err(error) => return emergency(&error.to_string()),
    };
    let (signal, number) = match name {
        "stop" => (Signal::Term, 15),
        "quit" => (Signal::Quit, 3),
        "reload" => (Signal::Hup, 1),
        _ => (Signal::Usr1, 10),
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return fail(&format!("[error] open() \"{path}\" failed {}", explain_io(&error))),
    };
    let Ok(pid) = text.trim().parse() else {
        return fail(&format!("[error] invalid PID number \"{}\" in \"{path}\"", text.trim().escape_debug()));
    };
    match processes::kill(pid, signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("[alert] kill({pid}, {number}) failed ({})", error.message())),
    }
}
