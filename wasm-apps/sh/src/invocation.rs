//! The command line of the shell, and what it starts with.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use bstr::ByteSlice;

use crate::builtins::set_options;
use crate::exec::{Flow, SUBSHELL, Shell, run_subshell};
use crate::input::StreamSource;
use crate::interactive;
use crate::os;
use crate::process::terminal;
use crate::state::{Flag, Options, Stream, Streams};
use crate::syntax::{Text, is_name};

/// What the command line asks for.
#[derive(Default)]
struct Invocation {
    options: Options,
    /// `-c`
    command: Option<Vec<u8>>,
    /// `-l`, or a name that begins with a dash.
    login: bool,
    /// What is left: the script and its arguments, or the parameters.
    rest: Vec<Vec<u8>>,
}

/// Runs the shell, and gives the status to end with.
pub(crate) fn run(arguments: Vec<Vec<u8>>) -> u8 {
    if let [_, option, fd] = &arguments[..]
        && option == SUBSHELL.as_bytes()
        && let Some(fd) = fd.to_str().ok().and_then(|fd| fd.parse().ok())
    {
        return run_subshell(fd);
    }
    let name = arguments.first().filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| b"sh".to_vec());
    let mut shell = Shell::new(name, inherited());
    import_environment(&mut shell);
    let invocation = match parse(&arguments) {
        Ok(invocation) => invocation,
        Err(message) => {
            shell.report(message);
            return 2;
        }
    };
    // However it ends, it ends here.
    let _ = start(&mut shell, invocation);
    shell.finish()
}

fn parse(arguments: &[Vec<u8>]) -> Result<Invocation, String> {
    let mut invocation =
        Invocation { login: arguments.first().is_some_and(|name| name.starts_with(b"-")), ..Invocation::default() };
    let mut words = arguments.get(1..).unwrap_or_default().to_vec();
    let mut takes_command = false;
    // These letters are of the command line only.
    for word in words.iter_mut().take_while(|word| word.len() > 1 && matches!(word[0], b'-' | b'+') && **word != b"--")
    {
        if **word == b"--login"[..] {
            *word = b"-l".to_vec();
        }
        let length = word.len();
        word.retain(|letter| *letter != b'c');
        takes_command |= word.len() < length;
        let length = word.len();
        word.retain(|letter| *letter != b'l');
        invocation.login |= word.len() < length;
    }
    words.retain(|word| word != b"-" && word != b"+" || !takes_command && !invocation.login);
    let mut rest = set_options(&mut invocation.options, &words)?;
    if rest.first().is_some_and(|word| word == b"--" || word == b"-") {
        rest = &rest[1..];
    }
    if takes_command {
        let (command, names) = rest.split_first().ok_or("-c: argument expected")?;
        invocation.command = Some(command.clone());
        rest = names;
    }
    invocation.rest = rest.to_vec();
    Ok(invocation)
}

fn start(shell: &mut Shell, invocation: Invocation) -> Result<(), Flow> {
    let from_input =
        invocation.command.is_none() && (invocation.rest.is_empty() || invocation.options.has(Flag::Stdin));
    shell.state.options = invocation.options;
    let on_terminal = [0, 2].iter().all(|fd| {
        shell.state.streams.get(*fd).and_then(|stream| stream.fd().ok()).is_some_and(|fd| terminal::state(fd).is_ok())
    });
    shell.interactive = invocation.options.has(Flag::Interactive) || (from_input && on_terminal);
    shell.take_over_signals();
    if invocation.login {
        interactive::profile(shell)?;
    }
    let mut rest = invocation.rest;
    if let Some(command) = invocation.command {
        if !rest.is_empty() {
            shell.state.name = Rc::new(rest.remove(0));
        }
        shell.set_parameters(rest);
        return shell.run_last_source(&mut Text::new(command));
    }
    if from_input {
        shell.set_parameters(rest);
        shell.names_lines = !shell.interactive;
        if shell.interactive {
            return interactive::run(shell, on_terminal);
        }
        let Some(stream) = shell.state.streams.get(0).map(Rc::clone) else { return Ok(()) };
        return shell.run_source(&mut StreamSource::new(stream), 1);
    }
    script(shell, rest)
}

fn script(shell: &mut Shell, mut rest: Vec<Vec<u8>>) -> Result<(), Flow> {
    let name = rest.remove(0);
    shell.set_parameters(rest);
    let mut path = shell.absolute(&name);
    if !name.contains(&b'/')
        && !path.exists()
        && let Some(found) = shell.search(&name)
    {
        path = os::os_str(&found).into();
    }
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) => {
            shell.report(format!("cannot open {}: {}", name.as_bstr(), os::reason(&error)));
            shell.state.status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
            return Err(Flow::Exit);
        }
    };
    shell.state.name = Rc::new(name);
    shell.names_lines = true;
    shell.run_source(&mut Text::new(text), 1)
}

/// The descriptors that the shell was started with.
fn inherited() -> Streams {
    let mut streams = Streams::default();
    for fd in (0..10).filter(|fd| is_open(*fd)) {
        // SAFETY: descriptors of these numbers are nobody's before this, and Rust's own 0 to 2 are never closed: what
        // stands for them here may be, which is what the script asks for.
        let stream = Stream::from(unsafe { OwnedFd::from_raw_fd(fd) });
        // These numbers are not too large.
        let _ = streams.set(fd.cast_unsigned(), Some(Rc::new(stream)));
    }
    streams
}

/// Whether a descriptor is open, and not a directory that WASI gives.
fn is_open(fd: RawFd) -> bool {
    // SAFETY: it is borrowed for this call only, which fails if it is not open.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory)
}

fn import_environment(shell: &mut Shell) {
    let variables = Rc::make_mut(&mut shell.state.variables);
    for (name, value) in std::env::vars_os() {
        let name = os::bytes_of(&name);
        if let Some(name) = name.to_str().ok().filter(|name| is_name(name.as_bytes())) {
            let variable = variables.entry(name);
            variable.value = Some(os::bytes_of(&value).to_vec());
            variable.exported = true;
        }
    }
    let directory = variables.get("PWD").filter(|directory| directory.starts_with(b"/")).unwrap_or(b"/").to_vec();
    let parent = crate::process::identity().parent.to_string();
    let defaults: [(&str, &[u8]); 6] = [
        ("PWD", &directory),
        ("IFS", b" \t\n"),
        ("OPTIND", b"1"),
        ("PS4", b"+ "),
        ("PPID", parent.as_bytes()),
        ("PS2", b"> "),
    ];
    for (name, value) in defaults {
        // IFS is not taken from outside.
        if variables.get(name).is_none() || matches!(name, "IFS" | "OPTIND" | "PPID") {
            variables.entry(name).value = Some(value.to_vec());
        }
    }
    // Set by us only; whoever reads it expects a number.
    variables.entry("RANDOM").value.get_or_insert_default();
    shell.state.directory = Rc::new(directory);
}
