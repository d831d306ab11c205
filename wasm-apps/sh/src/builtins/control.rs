//! What changes which command runs next.

use bstr::ByteSlice;

use super::{Outcome, number};
use crate::exec::{Flow, Shell};
use crate::syntax::Text;

pub(super) fn nothing(_: &mut Shell, _: &[Vec<u8>]) -> Outcome {
    Ok(0)
}

pub(super) fn fail(_: &mut Shell, _: &[Vec<u8>]) -> Outcome {
    Ok(1)
}

pub(super) fn leave_loop(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let levels = match arguments.get(1).map(|text| number(text)) {
        None => 1,
        Some(Some(levels @ 1..)) => u32::try_from(levels).unwrap_or(u32::MAX),
        Some(_) => return shell.refuse(&arguments[0], format!("Illegal number: {}", arguments[1].as_bstr())),
    };
    let levels = levels.min(shell.state.loops);
    shell.state.status = 0;
    match levels {
        0 => Ok(0),
        _ if arguments[0] == b"break" => Err(Flow::Break(levels)),
        _ => Err(Flow::Continue(levels)),
    }
}

/// The status that `exit` and `return` are given, or the one there is.
fn status(shell: &mut Shell, arguments: &[Vec<u8>]) -> Result<u8, Flow> {
    match arguments.get(1) {
        None => Ok(shell.status_before_trap.unwrap_or(shell.state.status)),
        Some(text) => match number(text) {
            Some(status) => Ok((status & 0xff) as u8),
            None => Err(shell.fatal(format!("{}: Illegal number: {}", arguments[0].as_bstr(), text.as_bstr()))),
        },
    }
}

pub(super) fn exit(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    shell.state.status = status(shell, arguments)?;
    Err(Flow::Exit)
}

pub(super) fn return_(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let status = match arguments.get(1) {
        None => shell.state.status,
        Some(_) => status(shell, arguments)?,
    };
    shell.state.status = status;
    // Outside of functions it ends the script.
    Err(if shell.state.frames > 0 { Flow::Return } else { Flow::Exit })
}

pub(super) fn shift(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let count = match arguments.get(1).map(|text| number(text).and_then(|count| usize::try_from(count).ok())) {
        None => 1,
        Some(Some(count)) => count,
        Some(None) => return shell.refuse(b"shift", format!("Illegal number: {}", arguments[1].as_bstr())),
    };
    match shell.state.positional.get(count..) {
        Some(rest) => {
            shell.set_parameters(rest.to_vec());
            Ok(0)
        }
        None => shell.refuse(b"shift", "can't shift that many"),
    }
}

pub(super) fn eval(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let text = arguments[1..].join(&b' ');
    if text.trim_ascii().is_empty() {
        return Ok(0);
    }
    shell.run_text(text)?;
    Ok(shell.state.status)
}

/// `.`: a path is taken as it is, a name is looked for on `PATH` and here.
pub(super) fn source(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let Some(name) = arguments.get(1) else { return shell.refuse(&arguments[0], "filename argument required") };
    let path = if name.contains(&b'/') { None } else { shell.search(name) };
    let path = path.unwrap_or_else(|| shell.absolute(name).into_os_string().into_encoded_bytes());
    let text = match std::fs::read(crate::os::os_str(&path)) {
        Ok(text) => text,
        Err(error) => {
            let reason = crate::os::reason(&error);
            return shell.refuse(&arguments[0], format!("cannot open {}: {reason}", name.as_bstr()));
        }
    };
    let parameters = std::rc::Rc::clone(&shell.state.positional);
    if arguments.len() > 2 {
        shell.set_parameters(arguments[2..].to_vec());
    }
    let line = shell.state.line;
    shell.state.status = 0;
    let result = shell.frame(|shell| shell.run_source(&mut Text::new(text), 1));
    shell.state.line = line;
    if arguments.len() > 2 {
        shell.state.positional = parameters;
    }
    result?;
    Ok(shell.state.status)
}

pub(super) fn exec(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let arguments = match arguments.get(1) {
        Some(first) if first == b"--" => &arguments[2..],
        _ => &arguments[1..],
    };
    if arguments.is_empty() {
        return Ok(0);
    }
    match shell.become_program(arguments) {
        // Only a subshell comes back from it, whose end it is.
        Ok(status) => {
            shell.state.status = status.code();
            // The trap of the end belongs to what it replaced.
            shell.set_trap(crate::state::Condition::EXIT, None);
            Err(Flow::Exit)
        }
        Err(status) => {
            shell.state.status = status;
            Err(Flow::Abort)
        }
    }
}
