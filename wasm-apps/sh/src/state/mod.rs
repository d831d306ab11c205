//! What a shell remembers, and what a subshell starts with a copy of.

mod options;
mod streams;
mod traps;
mod variables;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::process::Pid;
use crate::syntax::Aliases;
use crate::syntax::ast::Command;

pub(crate) use options::{Flag, Options};
pub(crate) use streams::{Stream, Streams};
pub(crate) use traps::{Condition, Traps};
pub(crate) use variables::{Locals, ReadOnly, Variable, Variables};

/// Cheap to clone: what is large is shared until it is changed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) variables: Rc<Variables>,
    pub(crate) functions: Rc<BTreeMap<String, Rc<Command>>>,
    pub(crate) aliases: Aliases,
    pub(crate) options: Options,
    pub(crate) traps: Rc<Traps>,
    /// `$0`
    pub(crate) name: Rc<Vec<u8>>,
    /// `$1` and so on.
    pub(crate) positional: Rc<Vec<Vec<u8>>>,
    /// Absolute.
    pub(crate) directory: Rc<Vec<u8>>,
    pub(crate) umask: u32,
    /// `$?`
    pub(crate) status: u8,
    /// `$$`
    pub(crate) pid: Pid,
    /// `$!`
    pub(crate) last_background: Option<Pid>,
    /// Where in its argument `getopts` is.
    pub(crate) option_offset: usize,
    /// How many loops are around what runs.
    pub(crate) loops: u32,
    /// How many functions and sourced files are.
    pub(crate) frames: u32,
    /// How much of what is around it looks at the status of what runs, so that `set -e` does not.
    pub(crate) tested: u32,
    /// The line that runs, for messages.
    pub(crate) line: u32,
    /// The open descriptors of the script by their numbers.
    #[serde(skip)]
    pub(crate) streams: Streams,
}
