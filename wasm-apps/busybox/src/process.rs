//! Starting other programs: with this one's environment, working directory and standard streams unless told otherwise.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use husk_process::{Action, Group, Pid, SignalSet, Spawn, Status, Target};

use crate::failure::{Failure, reason};

/// A program to start.
#[derive(Debug)]
pub(crate) struct Program {
    /// The name or path, then the arguments.
    argv: Vec<OsString>,
    /// `NAME=value` each; without `PWD`, which is the directory.
    environment: Vec<OsString>,
    directory: PathBuf,
    /// Standard input, if not this program's.
    pub(crate) input: Option<OwnedFd>,
    /// Standard output, if not this program's.
    pub(crate) output: Option<OwnedFd>,
    /// Standard error, if not this program's.
    pub(crate) error: Option<OwnedFd>,
    pub(crate) ignored: SignalSet,
    pub(crate) group: Group,
}

impl Program {
    /// `argv` is not empty.
    pub(crate) fn new(argv: Vec<OsString>) -> Self {
        Self::with_environment(argv, std::env::vars_os())
    }

    pub(crate) fn with_environment(
        argv: Vec<OsString>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Self {
        let entry = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            name
        };
        Self {
            argv,
            environment: environment.filter(|(name, _)| name != "PWD").map(entry).collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            input: None,
            output: None,
            error: None,
            ignored: SignalSet::EMPTY,
            group: Group::Inherit,
        }
    }

    pub(crate) fn in_directory(mut self, directory: PathBuf) -> Self {
        self.directory = directory;
        self
    }

    /// `sh -c command`.
    pub(crate) fn shell(command: &OsStr) -> Self {
        Self::new(vec!["sh".into(), "-c".into(), command.to_owned()])
    }

    /// Starts it.
    pub(crate) fn start(&self) -> io::Result<Pid> {
        self.with_options(|program| program.spawn())
    }

    fn with_options<T>(&self, call: impl FnOnce(&Spawn<'_>) -> T) -> T {
        let argv: Vec<&OsStr> = self.argv.iter().map(OsString::as_os_str).collect();
        let mut working_directory = OsString::from("PWD=");
        working_directory.push(&self.directory);
        let mut environment: Vec<&OsStr> = self.environment.iter().map(OsString::as_os_str).collect();
        environment.push(&working_directory);
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let descriptors: [(u32, BorrowedFd<'_>); 3] = [
            (0, self.input.as_ref().map_or(stdin.as_fd(), AsFd::as_fd)),
            (1, self.output.as_ref().map_or(stdout.as_fd(), AsFd::as_fd)),
            (2, self.error.as_ref().map_or(stderr.as_fd(), AsFd::as_fd)),
        ];
        call(&Spawn {
            program: argv.first().copied(),
            argv: &argv,
            env: &environment,
            working_directory: self.directory.as_os_str(),
            descriptors: &descriptors,
            ignored: self.ignored,
            group: self.group,
        })
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        let name = self.argv.first().map(|name| name.display().to_string()).unwrap_or_default();
        Failure::Code(code, format!("{name}: {}", reason(error)))
    }

    /// Starts it; a failure has the exit code that shells and the tools give it: 127 if there is no such program,
    /// else 126.
    pub(crate) fn launch(&self) -> Result<Pid, Failure> {
        self.start().map_err(|error| self.failure(&error))
    }

    /// Starts it and waits for its end.
    pub(crate) fn run(&self) -> Result<Status, Failure> {
        let pid = self.launch()?;
        Ok(wait_for(pid)?)
    }

    /// Runs it in this process instead of this program; comes back only if that fails. What this one ignores, it does, too.
    pub(crate) fn exec(mut self) -> Failure {
        for (signal, _) in husk_process::SIGNALS {
            // KILL has no other action.
            if let Ok(Action::Ignore) = husk_process::set_action(*signal, Action::Default) {
                self.ignored = self.ignored | *signal;
            }
        }
        if let Err(error) = io::stdout().flush() {
            return error.into();
        }
        let error = self.with_options(|program| program.exec());
        self.failure(&error)
    }
}

/// Waits for a child and passes signals that arrive meanwhile on to it.
pub(crate) fn wait_for(pid: Pid) -> io::Result<Status> {
    loop {
        match husk_process::wait(Some(pid)) {
            Ok((_, status)) => return Ok(status),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                while let Some(signal) = husk_process::take_signal() {
                    // It may have ended by now.
                    let _no_such_process = husk_process::kill(Target::Process(pid), Some(signal));
                }
            }
            Err(error) => return Err(error),
        }
    }
}
