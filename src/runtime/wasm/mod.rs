//! The WebAssembly runtime: WASI 0.1, 0.2 and 0.3 programs as containers, in this process.
//!
//! ```text
//!  container ─▶ program (find, tell kinds apart, link) ─▶ code_cache (compile, keep)
//!      │                                                      engine, linkers: made once
//!      └─▶ process: one task, one store ─▶ command, or http: a server with an instance per request
//!                      │
//!                      └─ state: what host functions see; limits, cpu, stdio, signals
//! ```
//! `filesystem`, `sockets` and `p1` translate WASI's calls to `vfs` and `net`.

mod code_cache;
mod command;
mod container;
mod cpu;
mod engine;
mod filesystem;
mod http;
mod http_client;
mod http_workers;
mod limits;
mod linkers;
mod p1;
mod process;
mod program;
mod signals;
mod signals_host;
mod sockets;
mod state;
mod stdio;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

pub use self::code_cache::CompileObserver;
use self::code_cache::{CodeCache, Source};
use self::container::WasmContainer;
use self::engine::GuestEngine;
use self::linkers::Linkers;
use self::program::Program;
use super::{AdoptedContainer, Container, ContainerConfig, ContainerRuntime, PodSandbox, RuntimeError};

/// Guest processes a runtime has room for unless configured otherwise.
pub const DEFAULT_MAX_PROCESSES: u32 = 512;

/// Settings of the WebAssembly runtime.
#[derive(Clone)]
pub struct WasmRuntimeConfig {
    /// Where compiled code is kept between runs; created, private to the user, when first needed. `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Guest processes that may run at the same time. Room for them is reserved at the start, which takes longer the
    /// more there are (about half a microsecond each).
    pub max_processes: u32,
    /// Told of compilations.
    pub observer: Option<Arc<dyn CompileObserver>>,
}

impl Default for WasmRuntimeConfig {
    fn default() -> Self {
        Self { cache_dir: None, max_processes: DEFAULT_MAX_PROCESSES, observer: None }
    }
}

/// Runs WebAssembly programs as containers.
pub struct WasmRuntime {
    core: Arc<RuntimeCore>,
}

/// What all containers of a runtime share.
struct RuntimeCore {
    engine: GuestEngine,
    linkers: Arc<Linkers>,
    cache: Arc<CodeCache<Program>>,
}

impl WasmRuntime {
    /// A runtime. Linkers are built and the cache directory is opened when first needed.
    ///
    /// # Errors
    ///
    /// `Failed` if the machine cannot run wasmtime's compiled code.
    pub fn new(config: WasmRuntimeConfig) -> Result<Arc<Self>, RuntimeError> {
        let engine = GuestEngine::new(config.max_processes)
            .map_err(|error| RuntimeError::Failed(format!("the WebAssembly engine does not start: {error:#}")))?;
        let cache = Arc::new(CodeCache::new(config.cache_dir, config.observer));
        let core = Arc::new(RuntimeCore { engine, linkers: Arc::default(), cache });
        Ok(Arc::new(Self { core }))
    }
}

impl RuntimeCore {
    async fn load(&self, source: Source) -> wasmtime::Result<Arc<Program>> {
        let (engine, linkers) = (self.engine.engine().clone(), Arc::clone(&self.linkers));
        let link = move |compiled| program::link(&engine, &linkers, compiled);
        self.cache.load(self.engine.engine(), source, link).await
    }
}

impl ContainerRuntime for WasmRuntime {
    fn name(&self) -> &'static str {
        "wasm"
    }

    fn create<'a>(
        &'a self,
        sandbox: &'a PodSandbox,
        config: ContainerConfig,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(async move {
            let container = WasmContainer::create(&self.core, sandbox, config).await?;
            Ok(Arc::new(container) as Arc<dyn Container>)
        })
    }

    fn adopt(&self) -> BoxFuture<'_, Vec<AdoptedContainer>> {
        // They lived in the agent's process and died with it.
        Box::pin(async { Vec::new() })
    }
}
