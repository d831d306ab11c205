//! What the host keeps for one guest process: the data of its `wasmtime::Store`.

use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{HostMonotonicClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::container_context::{ContainerContext, Prepared};
use super::filesystem::{ListingBudget, OpenFiles};
use super::http_client::PodHttpClient;
use super::limits::ProcessLimits;
use super::p1;
use super::process::Process;
use super::stdio::{GuestStdin, GuestStdout, InputSource, OutputSink};
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
    /// What its process is to run instead of it.
    pub(super) replacement: Option<Box<Prepared>>,
}

/// What a guest process shares with its container, and what it was started with.
pub(super) struct ProcessContext {
    /// The file of its program, absolute.
    pub(super) path: String,
    /// What the program is called as, and its arguments.
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
    /// The descriptors it starts with; components have 0 to 2 of them.
    pub(super) descriptors: Vec<(u32, p1::Descriptor)>,
    /// Whether it is its container's first.
    pub(super) is_main: bool,
    /// How others see it.
    pub(super) process: Arc<Process>,
    /// What it runs in, which it needs to start others.
    pub(super) container: Option<Arc<ContainerContext>>,
}

/// The error with which a host function ends the guest as `exit(code)` would. Only the low eight bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exited with code {0}")]
pub(super) struct GuestExit(pub(super) i32);

impl ProcessContext {
    /// What the process was given as `number`.
    pub(super) fn descriptor(&self, number: u32) -> Option<&p1::Descriptor> {
        self.descriptors.iter().find(|(known, _)| *known == number).map(|(_, descriptor)| descriptor)
    }
}

/// A descriptor as a component's standard input.
fn input_of(descriptor: Option<&p1::Descriptor>) -> InputSource {
    match descriptor {
        Some(p1::Descriptor::Input(input)) => input.source.clone(),
        Some(p1::Descriptor::File(file)) if file.open.read => InputSource::File(file.open.clone()),
        Some(p1::Descriptor::Connection(connection)) => InputSource::Pipe(connection.reader().clone()),
        Some(_) | None => InputSource::Empty,
    }
}

/// A descriptor as a component's standard output or error.
fn output_of(descriptor: Option<&p1::Descriptor>) -> OutputSink {
    match descriptor {
        Some(p1::Descriptor::Output(output)) => output.sink.clone(),
        Some(p1::Descriptor::File(file)) if file.open.write => OutputSink::File(file.open.clone()),
        Some(p1::Descriptor::Connection(connection)) => OutputSink::Pipe(connection.writer().clone()),
        Some(_) | None => OutputSink::Closed,
    }
}

/// The guests' monotonic clock: tokio's, by which they also wait, so that a test that pauses one pauses both.
struct MonotonicClock {
    origin: Instant,
}

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl GuestState {
    /// The state of a new process.
    pub(super) fn new(process: ProcessContext, limits: ProcessLimits) -> Self {
        let stdin = input_of(process.descriptor(0));
        let output =
            |number| GuestStdout { sink: output_of(process.descriptor(number)), process: Arc::clone(&process.process) };
        let wasi = WasiCtx::builder()
            .args(&process.argv)
            .envs(&process.env)
            .initial_cwd(&process.working_dir)
            .monotonic_clock(MonotonicClock { origin: Instant::now() })
            .stdin(GuestStdin(stdin))
            .stdout(output(1))
            .stderr(output(2))
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
            replacement: None,
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
