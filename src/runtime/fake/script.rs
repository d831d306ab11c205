//! What a fake container does, told in advance.

use std::time::Duration;

use bytes::Bytes;

use crate::runtime::{ExitReason, ExitStatus, ResourceUsage};

/// What a container, or a program executed in one, does. Made with [`Script::runs_forever`] or [`Script::exits`], refined
/// by the other methods.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) creation_error: Option<String>,
    pub(super) creation_delay: Duration,
    pub(super) creation_panics: bool,
    pub(super) start_error: Option<String>,
    /// What it writes to standard output and standard error.
    pub(super) output: Bytes,
    pub(super) error_output: Bytes,
    pub(super) keeps_output_open: bool,
    /// Paths and contents of files it writes when it starts.
    pub(super) files: Vec<(String, Bytes)>,
    /// TCP ports it listens on, and from how long after its start.
    pub(super) ports: Vec<(u16, Duration)>,
    /// A name that it looks up until it is found, and how long it pauses in between.
    pub(super) awaited: Option<(String, Duration)>,
    /// After how long it ends by itself, and how.
    pub(super) end: Option<(Duration, ExitStatus)>,
    pub(super) term: OnTerm,
    pub(super) usage: ResourceUsage,
}

/// What a signal does to it.
#[derive(Debug, Clone, Copy)]
pub(super) enum OnTerm {
    Dies,
    Ignores,
    /// Not even KILL ends it.
    SurvivesAll,
    Exits {
        after: Duration,
        code: i32,
    },
}

impl Script {
    /// Runs until a signal ends it.
    pub fn runs_forever() -> Self {
        Self {
            creation_error: None,
            creation_delay: Duration::ZERO,
            creation_panics: false,
            start_error: None,
            output: Bytes::new(),
            error_output: Bytes::new(),
            keeps_output_open: false,
            files: Vec::new(),
            ports: Vec::new(),
            awaited: None,
            end: None,
            term: OnTerm::Dies,
            usage: ResourceUsage::default(),
        }
    }

    /// Runs for `after` and exits with `code`.
    pub fn exits(after: Duration, code: i32) -> Self {
        let status = ExitStatus { code, reason: ExitReason::Exited, message: None };
        Self::runs_forever().ends(after, status)
    }

    /// Ends with `status` after `after`.
    #[must_use]
    pub fn ends(self, after: Duration, status: ExitStatus) -> Self {
        Self { end: Some((after, status)), ..self }
    }

    /// Writes `output` to standard output when it starts, and goes on once it fits into the pipe.
    #[must_use]
    pub fn prints(self, output: &str) -> Self {
        Self { output: Bytes::copy_from_slice(output.as_bytes()), ..self }
    }

    /// Writes `output` to standard error when it starts, as [`Script::prints`] does.
    #[must_use]
    pub fn prints_error(self, output: &str) -> Self {
        Self { error_output: Bytes::copy_from_slice(output.as_bytes()), ..self }
    }

    /// Lives on after every signal but KILL.
    #[must_use]
    pub fn ignores_term(self) -> Self {
        Self { term: OnTerm::Ignores, ..self }
    }

    /// Lives on after KILL too, as no container should.
    #[must_use]
    pub fn survives_kill(self) -> Self {
        Self { term: OnTerm::SurvivesAll, ..self }
    }

    /// Writes `contents` to the file at `path` in its filesystem when it starts.
    #[must_use]
    pub fn writes(mut self, path: &str, contents: &str) -> Self {
        self.files.push((path.to_owned(), Bytes::copy_from_slice(contents.as_bytes())));
        self
    }

    /// Listens on a TCP port of the pod, on all its addresses, as long as it runs: every connection is accepted and
    /// closed.
    #[must_use]
    pub fn listens(self, port: u16) -> Self {
        self.listens_after(port, Duration::ZERO)
    }

    /// The same, from `delay` after the start on. Should the port be taken by then, nothing happens.
    #[must_use]
    pub fn listens_after(mut self, port: u16, delay: Duration) -> Self {
        self.ports.push((port, delay));
        self
    }

    /// Looks `name` up, again after each `pause`, until it has an address; its time until the end begins then.
    #[must_use]
    pub fn waits_for_name(self, name: &str, pause: Duration) -> Self {
        Self { awaited: Some((name.to_owned(), pause)), ..self }
    }

    /// Leaves its standard output open when it ends.
    #[must_use]
    pub fn keeps_output_open(self) -> Self {
        Self { keeps_output_open: true, ..self }
    }

    /// Catches TERM and exits with `code` after another `after`.
    #[must_use]
    pub fn exits_on_term(self, after: Duration, code: i32) -> Self {
        Self { term: OnTerm::Exits { after, code }, ..self }
    }

    /// Uses so much, all the time.
    #[must_use]
    pub fn uses(self, usage: ResourceUsage) -> Self {
        Self { usage, ..self }
    }

    /// Takes `delay` to be created, as a compilation would.
    #[must_use]
    pub fn creation_takes(self, delay: Duration) -> Self {
        Self { creation_delay: delay, ..self }
    }

    /// Cannot be created.
    #[must_use]
    pub fn fails_to_create(self, error: &str) -> Self {
        Self { creation_error: Some(error.to_owned()), ..self }
    }

    /// Makes its creation panic.
    #[must_use]
    pub fn panics_when_created(self) -> Self {
        Self { creation_panics: true, ..self }
    }

    /// Is created, but cannot be started.
    #[must_use]
    pub fn fails_to_start(self, error: &str) -> Self {
        Self { start_error: Some(error.to_owned()), ..self }
    }
}
