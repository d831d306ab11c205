//! Running a command: `_start` of a 0.1 module, or `wasi:cli/run` of a component.

use tokio::sync::oneshot;
use wasmtime::{Engine, Module, Store};

use super::Loaded;
use super::container_context::{Prepared, ProcessSeed};
use super::cpu::{Schedule, yield_at_ticks};
use super::limits::OutOfMemory;
use super::p1;
use super::process::{exited, failed};
use super::program::Program;
use super::state::GuestState;
use crate::runtime::{ExitStatus, RuntimeError};

/// Tells whoever starts a process that it runs, or why it could not.
pub(super) type Started = oneshot::Sender<Result<(), RuntimeError>>;

/// A store for one guest process: limited and interruptible.
pub(super) fn store(engine: &Engine, state: GuestState, schedule: &Schedule) -> Store<GuestState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    yield_at_ticks(&mut store, schedule);
    store
}

/// The error with which a host function ends a program whose process goes on with [`GuestState::replacement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("replaced by another program")]
pub(super) struct Replaced;

/// Runs a command to its end, and what it becomes. Not for [`Program::Server`].
pub(super) async fn run(mut loaded: Loaded, mut seed: ProcessSeed, started: Started) -> ExitStatus {
    let mut started = Some(started);
    loop {
        let schedule = seed.schedule();
        match schedule.run(run_program(&loaded, &seed, &schedule, started.take())).await {
            End::Status(status) => return status,
            End::Replaced(next) => Prepared { loaded, seed, .. } = *next,
        }
    }
}

/// How a program ended.
enum End {
    /// With its process.
    Status(ExitStatus),
    /// Its process runs this now.
    Replaced(Box<Prepared>),
}

async fn run_program(loaded: &Loaded, seed: &ProcessSeed, schedule: &Schedule, started: Option<Started>) -> End {
    let engine = loaded.host.engine.engine();
    let mut store = store(engine, GuestState::new(seed.context(), seed.limits()), schedule);
    match call(&mut store, &loaded.program, started).await {
        Ok(code) => End::Status(exited(code)),
        Err(error) => match store.data_mut().replacement.take() {
            Some(next) if error.is::<Replaced>() => End::Replaced(next),
            _ => End::Status(failed(&error)),
        },
    }
}

async fn call(store: &mut Store<GuestState>, program: &Program, started: Option<Started>) -> wasmtime::Result<i32> {
    match program {
        Program::Module(module) => {
            if accepts_connections(module.module())
                && let Err(error) = p1::listen(store.data_mut())
            {
                let detail = format!("cannot listen on port {}: {}", error.port, error.source);
                tell(started, Err(RuntimeError::Failed(detail.clone())));
                wasmtime::bail!(detail);
            }
            let instance = report(module.instantiate_async(&mut *store).await, started)?;
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            start.call_async(&mut *store, ()).await?;
            Ok(0)
        }
        Program::Command2(command) => {
            let command = report(command.instantiate_async(&mut *store).await, started)?;
            let result = command.wasi_cli_run().call_run(&mut *store).await?;
            Ok(i32::from(result.is_err()))
        }
        #[cfg(feature = "wasi-p3")]
        Program::Command3(command) => {
            let command = report(command.instantiate_async(&mut *store).await, started)?;
            let call = async |accessor: &wasmtime::component::Accessor<GuestState>| {
                command.wasi_cli_run().call_run(accessor).await
            };
            let result = store.run_concurrent(call).await??;
            Ok(i32::from(result.is_err()))
        }
        Program::Server(_) => wasmtime::bail!("an HTTP handler cannot be run as a command"),
    }
}

/// Whether a 0.1 module can do anything with a listening socket. Others, such as a shell, must leave the ports to those
/// they start.
fn accepts_connections(module: &Module) -> bool {
    module.imports().any(|import| import.name() == "sock_accept")
}

/// Tells `started` how instantiation went. A guest that runs into its memory limit, traps or exits right there counts as
/// started; one there was no room for does not.
fn report<I>(instance: wasmtime::Result<I>, started: Option<Started>) -> wasmtime::Result<I> {
    let outcome = match &instance {
        Err(error) if !is_guests_fault(error) => {
            Err(RuntimeError::Failed(format!("the program could not be instantiated: {error:#}")))
        }
        Ok(_) | Err(_) => Ok(()),
    };
    tell(started, outcome);
    instance
}

fn tell(started: Option<Started>, outcome: Result<(), RuntimeError>) {
    if let Some(started) = started {
        // Whoever started the process may have stopped waiting.
        let _ = started.send(outcome);
    }
}

fn is_guests_fault(error: &wasmtime::Error) -> bool {
    error.is::<OutOfMemory>()
        || error.is::<wasmtime::Trap>()
        || error.is::<wasmtime_wasi::I32Exit>()
        || error.is::<super::state::GuestExit>()
}
