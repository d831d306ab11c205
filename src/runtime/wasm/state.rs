//! What the host keeps for one guest process: the data of its `wasmtime::Store`.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::p1;
use super::signals::Signals;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::net::PodNetwork;
use crate::runtime::ContainerPort;
use crate::vfs::Dir;

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
}

/// A program's own end: what `proc_exit` makes of its trap, so that the runtime finds the code by downcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exited with code {0}")]
pub(super) struct GuestExit(pub(super) i32);

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

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
