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
mod container_context;
mod cpu;
mod engine;
mod filesystem;
mod http;
mod http_client;
mod http_trust;
mod http_workers;
mod limits;
mod linkers;
mod open_file;
mod p1;
mod process;
mod process_table;
mod processes_host;
mod procfs;
mod program;
mod quick;
mod signals;
mod signals_host;
mod sockets;
mod spawn;
mod state;
mod stdio;
mod terminal;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::code_cache::CompileObserver;
use self::code_cache::{CodeCache, Source};
use self::container::WasmContainer;
use self::container_context::SharedTables;
use self::engine::GuestEngine;
use self::http_workers::MAX_REQUESTS;
use self::linkers::Linkers;
use self::program::Program;
use self::quick::QuickStart;
use super::{Container, ContainerConfig, ContainerRuntime, PodSandbox, RuntimeError};

/// Room for guest processes that a runtime reserves unless configured otherwise: two HTTP servers and thirty commands.
pub const DEFAULT_POOLED_PROCESSES: u32 = 160;

/// Guest processes in the pool that is there from the start. Reserving takes about two microseconds each, which most
/// pods would spend for nothing.
const FIRST_POOL: u32 = 16;

/// Settings of the WebAssembly runtime.
#[derive(Clone)]
pub struct WasmRuntimeConfig {
    /// Where compiled code is kept between runs; created, private to the user, when first needed. `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Guest processes for which room is reserved: for the first few when the runtime is made, for the rest when it is
    /// needed. An HTTP server counts as one for each request it may handle at once. What runs beyond that starts a
    /// tenth of a millisecond slower.
    pub pooled_processes: u32,
    /// Layers of images whose programs are tools: better started soon than run fast. Named by diff ID.
    pub tools: Vec<String>,
    /// Told of compilations.
    pub observer: Option<Arc<dyn CompileObserver>>,
}

impl Default for WasmRuntimeConfig {
    fn default() -> Self {
        Self { cache_dir: None, pooled_processes: DEFAULT_POOLED_PROCESSES, tools: Vec::new(), observer: None }
    }
}

/// Runs WebAssembly programs as containers.
pub struct WasmRuntime {
    core: Arc<RuntimeCore>,
}

/// What all containers of a runtime share.
struct RuntimeCore {
    config: WasmRuntimeConfig,
    /// Tried in this order.
    pools: [Pool; 2],
    /// For what finds no room in a pool; made when first needed.
    unpooled: OnceLock<Arc<Host>>,
    /// For large tools that are not optimised yet.
    quick: QuickStart,
    /// Processes of pods that share their process namespace.
    shared_tables: SharedTables,
}

/// An engine with room for so many processes.
struct Pool {
    size: u32,
    /// Room left, in processes.
    room: Arc<Semaphore>,
    /// Made when first needed.
    host: OnceLock<Arc<Host>>,
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

impl Loaded {
    /// Whether it is an HTTP handler.
    fn is_server(&self) -> bool {
        matches!(*self.program, Program::Server(_))
    }
}

impl WasmRuntime {
    /// A runtime. Linkers are built and the cache directory is opened when first needed.
    ///
    /// # Errors
    ///
    /// `Failed` if the machine cannot run wasmtime's compiled code.
    pub fn new(config: WasmRuntimeConfig) -> Result<Arc<Self>, RuntimeError> {
        let first = config.pooled_processes.min(FIRST_POOL);
        let pools = [Pool::new(first), Pool::new(config.pooled_processes - first)];
        let core = RuntimeCore {
            config,
            pools,
            unpooled: OnceLock::new(),
            quick: QuickStart::default(),
            shared_tables: SharedTables::default(),
        };
        core.pools[0]
            .host(&core.config)
            .map_err(|error| RuntimeError::Failed(format!("the WebAssembly engine does not start: {error:#}")))?;
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }
}

impl RuntimeCore {
    /// Loads a program for the first pool that has room for it, or else for the engine without one.
    async fn load(&self, source: Source) -> wasmtime::Result<Loaded> {
        let optimised = self.pools[0].host(&self.config)?;
        if let Some(loaded) = self.quick.load(&self.config, &source, optimised).await {
            return Ok(loaded);
        }
        for pool in &self.pools {
            if let Some(loaded) = pool.load(&self.config, source.clone()).await? {
                return Ok(loaded);
            }
        }
        let host = get_or_try_init(&self.unpooled, || Ok(Host::new(GuestEngine::without_pool()?, &self.config)))?;
        Ok(Loaded { program: host.load(source).await?, host: Arc::clone(host), room: None })
    }
}

impl Pool {
    fn new(size: u32) -> Self {
        Self { size, room: Arc::new(Semaphore::new(size as usize)), host: OnceLock::new() }
    }

    fn host(&self, config: &WasmRuntimeConfig) -> wasmtime::Result<&Arc<Host>> {
        get_or_try_init(&self.host, || Ok(Host::new(GuestEngine::new(self.size)?, config)))
    }

    /// Loads a program, unless there is no room for it.
    async fn load(&self, config: &WasmRuntimeConfig, source: Source) -> wasmtime::Result<Option<Loaded>> {
        let Ok(mut room) = Arc::clone(&self.room).try_acquire_owned() else { return Ok(None) };
        let host = Arc::clone(self.host(config)?);
        let program = host.load(source).await?;
        if !host.engine.has_pool() {
            // There was no address space for the pool: the engine allocates one by one, and has no bound.
            return Ok(Some(Loaded { program, host, room: None }));
        }
        let more = if matches!(*program, Program::Server(_)) { MAX_REQUESTS } else { 0 };
        let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more) else { return Ok(None) };
        room.merge(more);
        Ok(Some(Loaded { program, host, room: Some(room) }))
    }
}

/// Makes the value when first needed. Of several threads that do so at the same time, the first one's is kept.
fn get_or_try_init(
    cell: &OnceLock<Arc<Host>>,
    make: impl FnOnce() -> wasmtime::Result<Host>,
) -> wasmtime::Result<&Arc<Host>> {
    match cell.get() {
        Some(host) => Ok(host),
        None => {
            let host = Arc::new(make()?);
            Ok(cell.get_or_init(|| host))
        }
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
}
