//! The host side of `husk:http/trust`: whose certificates count in the requests a component sends.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::husk::http::trust;
use super::state::GuestState;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/husk-http",
        world: "guest",
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

/// Adds `husk:http/trust` to a component linker.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    trust::add_to_linker::<GuestState, HasSelf<GuestState>>(linker, |state| state)
}

impl trust::Host for GuestState {
    fn accept_any_certificate(&mut self) -> wasmtime::Result<()> {
        Ok(self.http_client.accept_any_certificate()?)
    }

    fn set_authorities(&mut self, pem: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(self.http_client.set_authorities(&pem).map_err(|error| error.to_string()))
    }
}
