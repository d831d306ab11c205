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
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::code_cache::CompileObserver;
use self::code_cache::{CodeCache, Source};
use self::container::WasmContainer;
use self::engine::GuestEngine;
use self::http_workers::MAX_REQUESTS;
use self::linkers::Linkers;
use self::program::Program;
use super::{AdoptedContainer, Container, ContainerConfig, ContainerRuntime, PodSandbox, RuntimeError};

/// Room for guest processes that a runtime reserves unless configured otherwise: two HTTP servers and thirty commands.
pub const DEFAULT_POOLED_PROCESSES: u32 = 160;

/// Settings of the WebAssembly runtime.
#[derive(Clone)]
pub struct WasmRuntimeConfig {
    /// Where compiled code is kept between runs; created, private to the user, when first needed. `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Guest processes for which room is reserved when the runtime is made; an HTTP server counts as one for each
    /// request it may handle at once. Reserving takes about two microseconds each; what runs beyond that starts a tenth
    /// of a millisecond slower.
    pub pooled_processes: u32,
    /// Told of compilations.
    pub observer: Option<Arc<dyn CompileObserver>>,
}

impl Default for WasmRuntimeConfig {
    fn default() -> Self {
        Self { cache_dir: None, pooled_processes: DEFAULT_POOLED_PROCESSES, observer: None }
    }
}

/// Runs WebAssembly programs as containers.
pub struct WasmRuntime {
    core: Arc<RuntimeCore>,
}

/// What all containers of a runtime share.
struct RuntimeCore {
    config: WasmRuntimeConfig,
    pooled: Arc<Host>,
    /// Room left in the pool, in processes.
    room: Arc<Semaphore>,
    /// For what finds no room in the pool; made when first needed.
    unpooled: OnceLock<Arc<Host>>,
}

/// An engine, and what only makes sense together with it.
struct Host {
    engine: GuestEngine,
    linkers: Arc<Linkers>,
    cache: Arc<CodeCache<Program>>,
}

/// A program that was loaded, and where it is to run.
struct Loaded {
    program: Arc<Program>,
    host: Arc<Host>,
    /// Room in the pool, to be held while the program runs.
    room: Option<OwnedSemaphorePermit>,
}

impl WasmRuntime {
    /// A runtime. Linkers are built and the cache directory is opened when first needed.
    ///
    /// # Errors
    ///
    /// `Failed` if the machine cannot run wasmtime's compiled code.
    pub fn new(config: WasmRuntimeConfig) -> Result<Arc<Self>, RuntimeError> {
        let engine = GuestEngine::new(config.pooled_processes)
            .map_err(|error| RuntimeError::Failed(format!("the WebAssembly engine does not start: {error:#}")))?;
        let room = if engine.has_pool() { config.pooled_processes as usize } else { Semaphore::MAX_PERMITS };
        let pooled = Arc::new(Host::new(engine, &config));
        let core = RuntimeCore { config, pooled, room: Arc::new(Semaphore::new(room)), unpooled: OnceLock::new() };
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }
}

impl RuntimeCore {
    /// Loads a program for the pool, if it has room for it, or else for the engine without one.
    async fn load(&self, source: Source) -> wasmtime::Result<Loaded> {
        if let Ok(mut room) = Arc::clone(&self.room).try_acquire_owned() {
            let program = self.pooled.load(source.clone()).await?;
            let more = if matches!(*program, Program::Server(_)) { MAX_REQUESTS } else { 0 };
            if let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more) {
                room.merge(more);
                return Ok(Loaded { program, host: Arc::clone(&self.pooled), room: Some(room) });
            }
        }
        let host = self.unpooled()?;
        Ok(Loaded { program: host.load(source).await?, host, room: None })
    }

    fn unpooled(&self) -> wasmtime::Result<Arc<Host>> {
        if let Some(host) = self.unpooled.get() {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host::new(GuestEngine::without_pool()?, &self.config));
        Ok(Arc::clone(self.unpooled.get_or_init(|| host)))
    }
}

impl Host {
    fn new(engine: GuestEngine, config: &WasmRuntimeConfig) -> Self {
        let cache = CodeCache::new(config.cache_dir.clone(), config.observer.clone());
        Self { engine, linkers: Arc::default(), cache: Arc::new(cache) }
    }

    async fn load(&self, source: Source) -> wasmtime::Result<Arc<Program>> {
        let (engine, linkers) = (self.engine.engine().clone(), Arc::clone(&self.linkers));
        let link = move |compiled| program::link(&engine, &linkers, compiled);
        let encoding = source.encoding;
        let loading = self.cache.load(self.engine.engine(), source, link);
        // The linker is built here while another thread reads or compiles.
        let linking = async { self.linkers.prepare(self.engine.engine(), encoding) };
        let (program, prepared) = futures::join!(loading, linking);
        prepared?;
        program
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
