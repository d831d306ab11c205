//! The one wasmtime engine, its settings, and the ticker that interrupts guests.
//!
//! Compiled programs depend on these settings through `Engine::precompile_compatibility_hash`. Linking lives in
//! `linkers`, compiling in `code_cache`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{
    Config, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

/// How often guests in a computation are interrupted, so that others get their turn and kills take effect.
pub(super) const TICK: Duration = Duration::from_millis(2);

/// Ticks without any guest running before the ticker goes to sleep until one runs again.
const IDLE_TICKS: u32 = 50;

/// Stack a guest's own frames may take.
const GUEST_STACK_BYTES: usize = 1 << 20;

/// Stack of one guest process: its own frames and those of the host functions it calls.
const PROCESS_STACK_BYTES: usize = 2 << 20;

/// The largest linear memory: all that 32-bit addresses reach.
pub(super) const MAX_MEMORY_BYTES: usize = 4 << 30;

/// Elements a table may have; large language runtimes need tens of thousands.
pub(super) const MAX_TABLE_ELEMENTS: usize = 200_000;

/// Bookkeeping one core instance or component instance may take.
const MAX_INSTANCE_BYTES: usize = 4 << 20;

/// Core instances and tables that are reserved per guest process: a component has several.
const CORE_INSTANCES_PER_PROCESS: u32 = 8;

/// Linear memories that are reserved per guest process.
const MEMORIES_PER_PROCESS: u32 = 2;

/// Memories and tables a single core module may define.
const MAX_PER_MODULE: u32 = 8;

/// An engine and the ticker that drives its epochs.
#[derive(Debug)]
pub(super) struct GuestEngine {
    engine: Engine,
    ticker: Arc<Ticker>,
}

impl GuestEngine {
    /// An engine with room for `max_processes` guest processes at a time in its pool. Where the address space is too
    /// short for the pool, the engine is as [`GuestEngine::without_pool`] makes it.
    pub(super) fn new(max_processes: u32) -> wasmtime::Result<Self> {
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(max_processes)));
        match Engine::new(&config) {
            Ok(engine) => Self::of(engine),
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "no address space for the instance pool");
                Self::without_pool()
            }
        }
    }

    /// An engine that allocates instances one by one, which is slower but has no bound.
    pub(super) fn without_pool() -> wasmtime::Result<Self> {
        Self::of(Engine::new(settings().allocation_strategy(InstanceAllocationStrategy::OnDemand))?)
    }

    /// An engine whose compiler is quick and does not optimise.
    pub(super) fn baseline() -> wasmtime::Result<Self> {
        let mut config = settings();
        config
            .strategy(Strategy::Winch)
            .wasm_function_references(false)
            .wasm_gc(false)
            .wasm_exceptions(false)
            .allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Self::of(Engine::new(&config)?)
    }

    fn of(engine: Engine) -> wasmtime::Result<Self> {
        let ticker = Ticker::start(&engine)?;
        Ok(Self { engine, ticker })
    }

    /// Whether instances come from a pool, of which there is only so much.
    pub(super) fn has_pool(&self) -> bool {
        self.engine.get_pooling_config().is_some()
    }

    /// The engine.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The ticker.
    pub(super) fn ticker(&self) -> &Arc<Ticker> {
        &self.ticker
    }
}

fn settings() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .consume_fuel(false)
        .memory_init_cow(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(PROCESS_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_component_model(true)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true);
    #[cfg(feature = "wasi-p3")]
    config.wasm_component_model_async(true);
    config
}

fn pool(max_processes: u32) -> PoolingAllocationConfig {
    let core_instances = max_processes.saturating_mul(CORE_INSTANCES_PER_PROCESS);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_stacks(max_processes)
        .total_component_instances(max_processes)
        .total_core_instances(core_instances)
        .total_memories(max_processes.saturating_mul(MEMORIES_PER_PROCESS))
        .total_tables(core_instances)
        .total_gc_heaps(max_processes)
        .max_memory_size(MAX_MEMORY_BYTES)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .max_component_instance_size(MAX_INSTANCE_BYTES)
        .max_memories_per_module(MAX_PER_MODULE)
        .max_tables_per_module(MAX_PER_MODULE)
        .table_elements(MAX_TABLE_ELEMENTS);
    pool
}

/// Advances the engine's epoch every [`TICK`] while guests run, on a thread of its own that sleeps while none does and
/// ends when the ticker is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<TickerState>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct TickerState {
    ticks: AtomicU64,
    guest_ran: AtomicBool,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    fn start(engine: &Engine) -> wasmtime::Result<Arc<Self>> {
        let shared = Arc::new(TickerState::default());
        let (engine, state) = (engine.weak(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("epoch-ticker".to_owned()).spawn(move || state.run(&engine))?;
        Ok(Arc::new(Self { shared, thread: thread.thread().clone() }))
    }

    /// Tells that a guest is about to run. Returns the current tick.
    pub(super) fn guest_runs(&self) -> u64 {
        // Both sides store their own flag before they read the other's, so that one of the two sees the other.
        self.shared.guest_ran.store(true, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        self.now()
    }

    /// How many ticks there have been.
    pub(super) fn now(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }
}

impl TickerState {
    fn run(&self, engine: &EngineWeak) {
        let mut idle_ticks = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            if idle_ticks >= IDLE_TICKS {
                self.sleep_until_a_guest_runs();
                idle_ticks = 0;
                continue;
            }
            std::thread::park_timeout(TICK);
            let Some(engine) = engine.upgrade() else { return };
            self.ticks.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
            idle_ticks = if self.guest_ran.swap(false, Ordering::SeqCst) { 0 } else { idle_ticks + 1 };
        }
    }

    fn sleep_until_a_guest_runs(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while !self.guest_ran.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_without_guests_and_wakes_for_one() {
        let engine = GuestEngine::new(4).unwrap();
        let shared = Arc::clone(&engine.ticker.shared);
        while !shared.asleep.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let before = engine.ticker.guest_runs();
        while engine.ticker.now() < before + 2 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_ticker_ends_with_the_engine() {
        let engine = GuestEngine::new(4).unwrap();
        let shared = Arc::downgrade(&engine.ticker.shared);
        drop(engine);
        while shared.upgrade().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_pool_beyond_the_address_space_falls_back_to_single_allocations() {
        let engine = GuestEngine::new(1_000_000).unwrap();
        assert!(!engine.has_pool());
    }
}
