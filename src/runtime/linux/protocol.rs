//! What the agent and a pod's sandbox process say to each other over their control socket.
//!
//! ```text
//!  agent ── Request { id, operation } ──▶ sandbox process
//!        ◀── Message::Reply { id, .. } ──   one for each request, in any order, descriptors attached
//!        ◀── Message::Exited { key, .. } ─  when a process that was started has ended
//! ```
//! Both ends are the same binary, except when an agent takes up the sandbox of an earlier one: [`VERSION`] says whether
//! they understand each other.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::runtime::{LinuxPodSandboxConfig, RootfsSpec};

/// Of this protocol; to be raised with every change of it.
pub(super) const VERSION: u32 = 2;

/// Names a process that was started in a sandbox; never used twice in one sandbox.
pub(super) type Key = u64;

/// What the agent asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// Names the request in its reply.
    pub(super) id: u64,
    pub(super) operation: Operation,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Operation {
    /// The first of all: makes the pod's namespaces.
    SetUp(Box<Setup>),
    /// Starts a container. Descriptors of the reply: see [`Started`].
    Run(Box<RunSpec>),
    /// Starts a program in a container.
    Exec(Box<ExecSpec>),
    /// Sends a signal.
    Signal { key: Key, signal: i32 },
    /// Nothing more will be written to the process's standard input.
    CloseStdin { key: Key },
    /// A socket of the pod's network; the reply has it.
    Socket { domain: u16, kind: u32, protocol: u32 },
    /// Makes a TUN device; the reply has it.
    Tun(TunConfig),
    /// The TUN device that was kept; the reply has it, if there is one.
    KeptTun,
    /// Writes a sysctl.
    Sysctl { name: String, value: String },
    /// What runs in the sandbox; the reply has the descriptors of all of it, one after the other.
    List,
    /// The end of the process was noted: forget it.
    Forget { key: Key },
    /// Ends all that runs, and the sandbox process itself.
    Exit,
}

/// What a sandbox process is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) version: u32,
    pub(super) hostname: String,
    pub(super) share_process_namespace: bool,
    pub(super) linux: LinuxPodSandboxConfig,
}

/// A program to start, whether as a container or in one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ProcessSpec {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: String,
    /// Rows and columns, if standard input, output and error are a terminal.
    pub(super) terminal: Option<(u16, u16)>,
    /// Whether something will come on standard input.
    pub(super) stdin: bool,
    pub(super) identity: IdentitySpec,
    pub(super) privileges: PrivilegesSpec,
    /// Directories of the container's control groups.
    pub(super) cgroups: Vec<CgroupSpec>,
}

/// A control group that a process is to be in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CgroupSpec {
    pub(super) directory: PathBuf,
    /// Whether it is one of the unified hierarchy, which processes are born into.
    pub(super) is_unified: bool,
}

/// Who a program runs as; names are looked up in the container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct IdentitySpec {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// `user[:group]`, names or numbers.
    pub(super) image_user: String,
    pub(super) supplemental_groups: Vec<u32>,
    pub(super) strict_groups: bool,
    /// Whether groups can be set at all: users who are alone in their namespace cannot, for it would be a way out of
    /// groups that are denied something.
    pub(super) may_set_groups: bool,
    /// IDs above this one are not mapped where the agent runs; then a user namespace of the container's own maps the one
    /// that is needed.
    pub(super) last_id: u32,
}

/// What a program may do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PrivilegesSpec {
    /// Capabilities, a bit each.
    pub(super) capabilities: u64,
    pub(super) no_new_privileges: bool,
    /// The filter of system calls: hexadecimal digits of its instructions.
    pub(super) seccomp: Option<String>,
    pub(super) oom_score_adj: i32,
}

/// A container to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunSpec {
    pub(super) key: Key,
    /// What another agent has to know of it.
    pub(super) label: Label,
    pub(super) process: ProcessSpec,
    pub(super) rootfs: RootfsSpec,
    pub(super) view: SystemView,
    /// The container whose PID namespace it joins.
    pub(super) target: Option<String>,
}

/// How much of the system a container sees and can change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct SystemView {
    /// The host's devices, and `/sys` to write to.
    pub(super) privileged: bool,
    /// Files and directories that are there but empty.
    pub(super) masked: Vec<String>,
    /// Files and directories that cannot be written to.
    pub(super) read_only: Vec<String>,
}

/// Which container it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) attempt: u32,
    /// The directory in which the agent keeps what it has to know of the container.
    pub(super) directory: PathBuf,
}

/// A program to start in a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExecSpec {
    pub(super) key: Key,
    /// The container's main process.
    pub(super) container: Key,
    pub(super) process: ProcessSpec,
}

/// What a sandbox process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    Reply {
        id: u64,
        result: Result<Reply, Failure>,
    },
    /// The process has ended, with this status as `waitpid` has it.
    Exited {
        key: Key,
        status: i32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is done; where the request was for a descriptor, it comes with this.
    Done,
    /// The program runs.
    Started(Started),
    /// What runs, or has ended and was not forgotten.
    Listed(Vec<Listed>),
}

/// A program that runs. Its descriptors, in this order: with a terminal, the terminal; else standard output, standard
/// error, and the other end of standard input where it was asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Started {
    /// The number under which `/proc` shows it; of a container's first process only.
    pub(super) pid: u32,
    pub(super) terminal: bool,
    pub(super) stdin: bool,
}

impl Started {
    /// How many descriptors it has.
    pub(super) fn descriptors(self) -> usize {
        if self.terminal { 1 } else { 2 + usize::from(self.stdin) }
    }
}

/// A container, as another agent finds it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) key: Key,
    pub(super) label: Label,
    pub(super) started: Started,
    /// How it ended, if it has.
    pub(super) status: Option<i32>,
}

/// What a process says while it becomes a program; its end of file means that it has, if it said so before.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Progress {
    /// Its terminal is attached.
    Terminal,
    /// It was only to prepare the process with this number, whose descriptor is attached; that one goes on.
    Born { pid: i32 },
    /// It waits for its IDs to be mapped to this user and group, in a user namespace of its own.
    MapIds { user: u32, group: u32 },
    /// The next is the program, unless something fails still. Its mount namespace is attached, if what it starts may outlive
    /// it.
    Executing,
    /// It has failed.
    Failed(Failure),
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}{}", match errno { Some(errno) => format!(": {}", io::Error::from_raw_os_error(*errno)), None => String::new() })]
pub struct Failure {
    /// What it means to the agent.
    pub kind: FailureKind,
    /// What was to be done, and to what.
    pub what: String,
    /// Why the system refused.
    pub errno: Option<i32>,
}

/// What a failure means to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// There is no such program in the container.
    ProgramNotFound,
    /// The program cannot be started.
    NotExecutable,
    /// The container or process is not there, or has ended.
    NotRunning,
    /// Anything else.
    Failed,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), errno: None }
    }

    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, what)
    }
}

/// Says what it was that failed.
pub(super) trait Context<T> {
    /// On failure, `what` was to be done.
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T> Context<T> for io::Result<T> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Failure { kind: FailureKind::Failed, what: what().into(), errno: Some(errno) },
            None => Failure::failed(format!("{}: {error}", what().into())),
        })
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(io::Error::from).context(what)
    }
}

/// A TUN device of a pod's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunConfig {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What is reached through it.
    pub routes: Vec<Route>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Whether the sandbox process keeps the device for the next agent.
    pub keep: bool,
    /// Whether packets have a virtio header, and checksums and segmentation are left to the other side.
    pub offload: bool,
}

/// What is reached through a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Address and length of the prefix; `0.0.0.0/0` is everything.
    pub destination: (IpAddr, u8),
    /// The next hop; none if all is reached directly.
    pub gateway: Option<IpAddr>,
    /// The address to come from.
    pub source: Option<IpAddr>,
}
