//! The host side of `husk:process/signals`, through which components catch signals. The twin for 0.1 modules is in
//! `p1`; both stand on [`super::signals::Signals`].

use std::future::poll_fn;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use self::bindings::husk::process::signals;
use super::signals::Signals;
use super::state::GuestState;
use crate::runtime::Signal;

pub(super) mod bindings {
    //! Generated from the interface definition.

    wasmtime::component::bindgen!({
        path: "wit/husk-process",
        world: "guest",
        imports: { "husk:process/processes.spawn": async | trappable, default: trappable },
        require_store_data_send: true,
        with: {
            "wasi:io/error": wasmtime_wasi::p2::bindings::io::error,
            "wasi:io/poll": wasmtime_wasi::p2::bindings::io::poll,
            "wasi:io/streams": wasmtime_wasi::p2::bindings::io::streams,
            "husk:process/processes.child": crate::runtime::wasm::processes_host::Child,
            "husk:process/processes.pipe-reader": crate::base::pipe::PipeReader,
            "husk:process/processes.pipe-writer": crate::base::pipe::PipeWriter,
        },
    });
}

/// Adds `husk:process/signals` to a component linker.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    signals::add_to_linker::<GuestState, HasSelf<GuestState>>(linker, |state| state)
}

impl signals::Host for GuestState {
    fn catch(&mut self, signals: Vec<signals::Signal>) -> wasmtime::Result<()> {
        for signal in signals {
            self.process.process.signals().catch(from_guest(signal));
        }
        Ok(())
    }

    fn take(&mut self) -> wasmtime::Result<Option<signals::Signal>> {
        Ok(self.process.process.signals().take().map(to_guest))
    }

    fn subscribe(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let arrival = self.table.push(Arrival(Arc::clone(self.process.process.signals())))?;
        subscribe(&mut self.table, arrival)
    }
}

/// A pollable that is ready while a signal is pending.
struct Arrival(Arc<Signals>);

#[async_trait]
impl Pollable for Arrival {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_ready(context)).await;
    }
}

/// husk's name of a signal.
pub(super) fn from_guest(signal: signals::Signal) -> Signal {
    match signal {
        signals::Signal::Hup => Signal::Hup,
        signals::Signal::Int => Signal::Int,
        signals::Signal::Quit => Signal::Quit,
        signals::Signal::Usr1 => Signal::Usr1,
        signals::Signal::Usr2 => Signal::Usr2,
        signals::Signal::Term => Signal::Term,
        signals::Signal::Kill => Signal::Kill,
        signals::Signal::Pipe => Signal::Pipe,
        signals::Signal::Chld => Signal::Chld,
        signals::Signal::Winch => Signal::Winch,
    }
}

/// The guest's name of a signal.
pub(super) fn to_guest(signal: Signal) -> signals::Signal {
    match signal {
        Signal::Hup => signals::Signal::Hup,
        Signal::Int => signals::Signal::Int,
        Signal::Quit => signals::Signal::Quit,
        Signal::Usr1 => signals::Signal::Usr1,
        Signal::Usr2 => signals::Signal::Usr2,
        Signal::Term => signals::Signal::Term,
        Signal::Kill => signals::Signal::Kill,
        Signal::Pipe => signals::Signal::Pipe,
        Signal::Chld => signals::Signal::Chld,
        Signal::Winch => signals::Signal::Winch,
    }
}
