//! What nginx's command line can say.

use lexopt::prelude::*;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file (`-c`), if it is named.
    pub file: Option<String>,
    /// What relative paths are relative to (`-p`).
    pub prefix: String,
    /// Directives (`-g`).
    pub directives: String,
    /// Where messages go (`-e`), if it is said.
    pub error_log: Option<String>,
    /// Says less (`-q`).
    pub quiet: bool,
    /// What else than serving.
    pub action: Action,
}

/// What the program is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    Serve,
    /// Test the configuration (`-t`), and show it (`-T`).
    Test {
        /// Whether to show it.
        dump: bool,
    },
    /// Tell the version (`-v`), and how it was built (`-V`).
    Version {
        /// Whether to tell how it was built.
        full: bool,
    },
    /// Tell what can be said (`-h`, `-?`).
    Help,
    /// Send a signal to the running server (`-s`).
    Signal(String),
}

/// What `-h` says.
pub const HELP: &str = "\
Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: /etc/nginx/)
  -e filename   : set error log file (default: /var/log/nginx/error.log)
  -c filename   : set configuration file (default: /etc/nginx/nginx.conf)
  -g directives : set global directives out of configuration file
";

/// Understands arguments; the error is nginx's message.
pub fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<CommandLine, String> {
    let mut command = CommandLine {
        file: None,
        prefix: "/etc/nginx".to_owned(),
        directives: String::new(),
        error_log: None,
        quiet: false,
        action: Action::Serve,
    };
    let mut parser = lexopt::Parser::from_args(args);
    let text = |value: Result<std::ffi::OsString, lexopt::Error>, missing: &str| {
        value.ok().and_then(|value| value.into_string().ok()).ok_or_else(|| missing.to_owned())
    };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('c') => command.file = Some(text(parser.value(), "option \"-c\" requires file name")?),
            Short('e') => command.error_log = Some(text(parser.value(), "option \"-e\" requires file name")?),
            Short('g') => command.directives = text(parser.value(), "option \"-g\" requires parameter")?,
            Short('p') => {
                let prefix = text(parser.value(), "option \"-p\" requires directory name")?;
                prefix.trim_end_matches('/').clone_into(&mut command.prefix);
            }
            Short('q') => command.quiet = true,
            Short('t') => command.action = Action::Test { dump: false },
            Short('T') => command.action = Action::Test { dump: true },
            Short('v') => command.action = Action::Version { full: false },
            Short('V') => command.action = Action::Version { full: true },
            Short('?' | 'h') => command.action = Action::Help,
            Short('s') => {
                let signal = text(parser.value(), "option \"-s\" requires parameter")?;
                if !["stop", "quit", "reopen", "reload"].contains(&signal.as_str()) {
                    return Err(format!("invalid option: \"-s {signal}\""));
                }
                command.action = Action::Signal(signal);
            }
            Short(other) => return Err(format!("invalid option: \"{other}\"")),
            Long(other) => return Err(format!("invalid option: \"--{other}\"")),
            Value(value) => return Err(format!("invalid option: \"{}\"", value.to_string_lossy())),
        }
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::{Action, parse};

    #[test]
    fn options_are_nginxs() {
        let args = |line: &str| parse(line.split(' ').map(Into::into));
        assert_eq!(
            args("-t -q -c /x").map(|command| (command.action, command.file)),
            Ok((Action::Test { dump: false }, Some("/x".into())))
        );
        assert_eq!(args("-p /srv/").map(|command| command.prefix), Ok("/srv".into()));
        assert_eq!(args("-s now"), Err("invalid option: \"-s now\"".into()));
        assert_eq!(args("-c"), Err("option \"-c\" requires file name".into()));
        assert_eq!(args("start"), Err("invalid option: \"start\"".into()));
    }
}
