//! Command lines of this program's own applets.

use std::ffi::OsString;
use std::str::FromStr;

use lexopt::Arg;

use crate::failure::Failure;

/// What comes next on a command line.
#[derive(Debug)]
pub(crate) enum Item {
    /// An option's letter, or its long name.
    Option(String),
    Operand(OsString),
}

/// A command line, read from left to right. Options may follow operands.
pub(crate) struct CommandLine {
    parser: lexopt::Parser,
}

impl CommandLine {
    pub(crate) fn new(arguments: Vec<OsString>) -> Self {
        Self { parser: lexopt::Parser::from_args(arguments) }
    }

    /// The next option or operand.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, Failure> {
        Ok(self.parser.next()?.map(|argument| match argument {
            Arg::Short(letter) => Item::Option(letter.to_string()),
            Arg::Long(name) => Item::Option(name.to_owned()),
            Arg::Value(operand) => Item::Operand(operand),
        }))
    }

    /// The value of the option just read.
    pub(crate) fn value(&mut self) -> Result<OsString, Failure> {
        Ok(self.parser.value()?)
    }

    /// The value of the option just read, if it is in the same argument.
    pub(crate) fn optional_value(&mut self) -> Option<OsString> {
        self.parser.optional_value()
    }

    /// The value of the option just read, as text.
    pub(crate) fn text(&mut self) -> Result<String, Failure> {
        text(self.value()?)
    }

    /// The value of the option just read, as a number or whatever else text says.
    pub(crate) fn number<N: FromStr>(&mut self) -> Result<N, Failure> {
        let text = self.text()?;
        text.parse().map_err(|_| Failure::Usage(format!("invalid number '{text}'")))
    }

    /// Everything that has not been read, options included.
    pub(crate) fn rest(&mut self) -> Result<Vec<OsString>, Failure> {
        Ok(self.parser.raw_args()?.collect())
    }

    /// The operand just read, and everything behind it: a program and its arguments.
    pub(crate) fn program(&mut self, first: OsString) -> Result<Vec<OsString>, Failure> {
        let mut argv = vec![first];
        argv.extend(self.rest()?);
        Ok(argv)
    }
}

/// The failure for an option that does not exist.
pub(crate) fn unknown(option: &str) -> Failure {
    if option.chars().count() == 1 {
        Failure::Usage(format!("invalid option -- '{option}'"))
    } else {
        Failure::Usage(format!("unrecognized option '--{option}'"))
    }
}

/// The letters of the options given, and the operands, for applets whose options are all flags: the letters in
/// `known`, and long names by the letter `long` gives them.
pub(crate) fn flags(
    arguments: Vec<OsString>,
    known: &str,
    long: &[(&str, char)],
) -> Result<(String, Vec<OsString>), Failure> {
    let (mut flags, mut operands) = (String::new(), Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(operand) => operands.push(operand),
            Item::Option(option) if option.chars().count() == 1 && known.contains(&option) => flags.push_str(&option),
            Item::Option(option) => match long.iter().find(|(name, _)| *name == option) {
                Some((_, letter)) => flags.push(*letter),
                None => return Err(unknown(&option)),
            },
        }
    }
    Ok((flags, operands))
}

/// The text of an argument that must be text.
pub(crate) fn text(argument: OsString) -> Result<String, Failure> {
    argument.into_string().map_err(|argument| Failure::Usage(format!("{}: not UTF-8", argument.display())))
}
