//! What the host keeps for one guest process: the data of its `wasmtime::Store`.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::filesystem::{ListingBudget, OpenFiles};
use super::http_client::PodHttpClient;
use super::limits::ProcessLimits;
use super::p1;
use super::signals::Signals;
use super::stdio::{GuestStdin, GuestStdout};
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::net::PodNetwork;
use crate::runtime::ContainerPort;
use crate::vfs::Dir;

/// Resources (streams, sockets, pollables, …) one component may hold.
const MAX_RESOURCES: usize = 100_000;

/// One guest process, as host functions see it.
pub(super) struct GuestState {
    /// Resources of components.
    pub(super) table: ResourceTable,
    /// Stock clocks, random, environment and standard streams.
    pub(super) wasi: WasiCtx,
    /// What the fronts of husk's own need.
    pub(super) process: ProcessContext,
    /// Descriptors of a 0.1 module, made at its first use.
    pub(super) p1: Option<p1::Descriptors>,
    /// How many files a component may still open.
    pub(super) open_files: OpenFiles,
    /// What a component's unread directory listings take.
    pub(super) listings: ListingBudget,
    /// Settings of `wasi:http`.
    http: WasiHttpCtx,
    /// Where outgoing requests go.
    pub(super) http_client: PodHttpClient,
    /// What the guest may allocate.
    pub(super) limits: ProcessLimits,
}

/// What a guest process shares with its container, and what it was started with.
pub(super) struct ProcessContext {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// The environment.
    pub(super) env: Vec<(String, String)>,
    /// The absolute working directory.
    pub(super) working_dir: String,
    /// `/` of the container.
    pub(super) root: Dir,
    /// The pod's network.
    pub(super) network: Arc<PodNetwork>,
    /// Declared ports.
    pub(super) ports: Vec<ContainerPort>,
    /// Standard input; `None` reads as end of file.
    pub(super) stdin: Option<PipeReader>,
    /// Standard output.
    pub(super) stdout: PipeWriter,
    /// Standard error.
    pub(super) stderr: PipeWriter,
    /// Whether the three are a terminal.
    pub(super) tty: bool,
    /// Signals for this process.
    pub(super) signals: Arc<Signals>,
}

/// The error with which a host function ends the guest as `exit(code)` would. Only the low eight bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exited with code {0}")]
pub(super) struct GuestExit(pub(super) i32);

impl GuestState {
    /// The state of a new process.
    pub(super) fn new(process: ProcessContext, limits: ProcessLimits) -> Self {
        let tty = process.tty;
        let wasi = WasiCtx::builder()
            .args(&process.argv)
            .envs(&process.env)
            .initial_cwd(&process.working_dir)
            .stdin(GuestStdin { reader: process.stdin.clone(), tty })
            .stdout(GuestStdout { writer: process.stdout.clone(), tty })
            .stderr(GuestStdout { writer: process.stderr.clone(), tty })
            .build();
        let http_client = PodHttpClient::new(&process.network);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            table,
            wasi,
            process,
            p1: None,
            open_files: OpenFiles::default(),
            listings: ListingBudget::default(),
            http: WasiHttpCtx::new(),
            http_client,
            limits,
        }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http_client, table: &mut self.table, ctx: &mut self.http }
    }
}
