//! What the host offers to guests: one linker for 0.1 core modules, one for components, each built when the first
//! program that needs it comes.
//!
//! Clocks, random, environment, terminals and standard streams are wasmtime's own; files, sockets, signals and the whole
//! of 0.1 are husk's.

use std::sync::OnceLock;

use wasmtime::{Engine, Linker, component};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

use super::code_cache::Encoding;
use super::state::GuestState;
use super::{filesystem, http_trust, p1, processes_host, signals_host, sockets};

/// The linkers of one engine.
#[derive(Default)]
pub(super) struct Linkers {
    core: OnceLock<Linker<GuestState>>,
    component: OnceLock<component::Linker<GuestState>>,
}

impl Linkers {
    /// Builds the linker for programs of this encoding, unless it is there.
    pub(super) fn prepare(&self, engine: &Engine, encoding: Encoding) -> wasmtime::Result<()> {
        match encoding {
            Encoding::Module => self.core(engine).map(drop),
            Encoding::Component => self.component(engine).map(drop),
        }
    }

    /// The linker for 0.1 core modules.
    pub(super) fn core(&self, engine: &Engine) -> wasmtime::Result<&Linker<GuestState>> {
        if let Some(linker) = self.core.get() {
            return Ok(linker);
        }
        let mut linker = Linker::new(engine);
        p1::add_to_linker(&mut linker)?;
        Ok(self.core.get_or_init(|| linker))
    }

    /// The linker for components.
    pub(super) fn component(&self, engine: &Engine) -> wasmtime::Result<&component::Linker<GuestState>> {
        if let Some(linker) = self.component.get() {
            return Ok(linker);
        }
        let mut linker = component::Linker::new(engine);
        add_p2(&mut linker)?;
        filesystem::p2::add_to_linker(&mut linker)?;
        #[cfg(feature = "wasi-p3")]
        {
            add_p3(&mut linker)?;
            filesystem::p3::add_to_linker(&mut linker)?;
        }
        sockets::add_to_linker(&mut linker)?;
        signals_host::add_to_linker(&mut linker)?;
        http_trust::add_to_linker(&mut linker)?;
        processes_host::add_to_linker(&mut linker)?;
        Ok(self.component.get_or_init(|| linker))
    }
}

fn add_p2(linker: &mut component::Linker<GuestState>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::{cli, clocks, io, random, sockets};

    io::error::add_to_linker::<GuestState, HasTable>(linker, |state| &mut state.table)?;
    io::poll::add_to_linker::<GuestState, HasTable>(linker, |state| &mut state.table)?;
    io::streams::add_to_linker::<GuestState, HasTable>(linker, |state| &mut state.table)?;
    clocks::wall_clock::add_to_linker::<GuestState, WasiClocks>(linker, GuestState::clocks)?;
    clocks::monotonic_clock::add_to_linker::<GuestState, WasiClocks>(linker, GuestState::clocks)?;
    random::random::add_to_linker::<GuestState, WasiRandom>(linker, GuestState::random)?;
    random::insecure::add_to_linker::<GuestState, WasiRandom>(linker, GuestState::random)?;
    random::insecure_seed::add_to_linker::<GuestState, WasiRandom>(linker, GuestState::random)?;
    cli::environment::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::exit::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::stdin::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::stdout::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::stderr::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_input::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_output::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_stdin::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_stdout::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    cli::terminal_stderr::add_to_linker::<GuestState, WasiCli>(linker, GuestState::cli)?;
    // The handle that stands for the network is wasmtime's; what it gives access to is the pod's.
    sockets::instance_network::add_to_linker::<GuestState, WasiSockets>(linker, WasiSocketsView::sockets)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

#[cfg(feature = "wasi-p3")]
fn add_p3(linker: &mut component::Linker<GuestState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::cli::add_to_linker(linker)?;
    wasmtime_wasi::p3::clocks::add_to_linker(linker)?;
    wasmtime_wasi::p3::random::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)
}

/// Names the resource table as what the `wasi:io` host functions work on.
struct HasTable;

impl component::HasData for HasTable {
    type Data<'a> = &'a mut component::ResourceTable;
}
