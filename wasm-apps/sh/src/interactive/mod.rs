//! Interactive use: prompts, typed lines, start-up files.

mod completion;
mod prompt;
mod terminal;

use std::cell::RefCell;
use std::rc::Rc;

use crate::builtins::announce_ended;
use crate::exec::{Flow, Run, Shell};
use crate::process;
use crate::state::{Flag, Stream};
use crate::syntax::{Parser, SyntaxError, Text};

use terminal::Typed;

/// Status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What the reader of typed lines knows of the shell.
#[derive(Default)]
struct Surroundings {
    prompt: String,
    continuation: String,
    directory: Vec<u8>,
    home: Vec<u8>,
    path: Vec<u8>,
    /// Functions and aliases.
    names: Vec<String>,
}

impl Surroundings {
    fn of(shell: &mut Shell) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let prompt = text(shell.prompt("PS1", "\\w \\$ "));
        let continuation = text(shell.prompt("PS2", "> "));
        let variable = |name| shell.state.variables.get(name).map(<[u8]>::to_vec).unwrap_or_default();
        Self {
            prompt,
            continuation,
            directory: shell.state.directory.to_vec(),
            home: variable("HOME"),
            path: variable("PATH"),
            names: shell.state.functions.keys().chain(shell.state.aliases.keys()).cloned().collect(),
        }
    }
}

/// Start-up files of a login shell.
pub(crate) fn profile(shell: &mut Shell) -> Run {
    let home = shell.state.variables.get("HOME").map(|home| crate::exec::join(home, b".profile"));
    for path in [Some(b"/etc/profile".to_vec()), home].into_iter().flatten() {
        start_file(shell, &path)?;
    }
    Ok(())
}

fn start_file(shell: &mut Shell, path: &[u8]) -> Run {
    let Ok(text) = std::fs::read(shell.absolute(path)) else { return Ok(()) };
    match shell.frame(|shell| shell.run_source(&mut Text::new(text), 1)) {
        Err(Flow::Exit) => Err(Flow::Exit),
        // What is wrong with it has been said.
        _ => Ok(()),
    }
}

/// Runs what a user types, up to the end.
pub(crate) fn run(shell: &mut Shell, on_terminal: bool) -> Run {
    if let Some(path) = shell.state.variables.get("ENV").map(<[u8]>::to_vec) {
        let mut source = Text::new(path.clone());
        let path = match Parser::new(&mut source).text() {
            Ok(word) => shell.expand_to_text(&word)?,
            Err(_) => path,
        };
        start_file(shell, &path)?;
    }
    if on_terminal {
        shell.own_group = Some(process::identity().group);
        shell.state.options.set(Flag::Monitor, true);
    }
    shell.state.options.set(Flag::Interactive, true);
    let surroundings = Rc::new(RefCell::new(Surroundings::default()));
    let Some(input) = shell.state.streams.get(0).map(Rc::clone) else { return Ok(()) };
    let output: Option<Rc<Stream>> = shell.state.streams.get(2).map(Rc::clone);
    let mut typed = Typed::new(input, output, Rc::clone(&surroundings));
    let mut parser = Parser::new(&mut typed);
    loop {
        announce_ended(shell);
        *surroundings.borrow_mut() = Surroundings::of(shell);
        parser.set_aliases(&shell.state.aliases);
        let result = match parser.next_command() {
            Ok(None) => return Ok(()),
            Ok(Some(list)) => shell.list(&list).and_then(|()| shell.run_traps()),
            Err(error) => {
                let flow = shell.syntax_error(&error);
                if error == SyntaxError::Interrupted {
                    shell.state.status = INTERRUPTED;
                    parser.skip_line();
                    continue;
                }
                Err(flow)
            }
        };
        match result {
            Err(Flow::Exit) => return Err(Flow::Exit),
            Err(_) => {
                parser.skip_line();
                if shell.state.status == INTERRUPTED {
                    shell.write(2, b"\n")?;
                }
            }
            Ok(()) => {}
        }
    }
}
