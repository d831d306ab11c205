//! `wasi:sockets/ip-name-lookup@0.3`.

use std::sync::Arc;

use wasmtime::component::Accessor;

use super::generated::ip_name_lookup::{ErrorCode, Host, HostWithStore};
use super::generated::types::IpAddress;
use super::{Sockets, SocketsView};
use crate::net::NetError;

impl Host for SocketsView<'_> {}

impl<T: Send> HostWithStore<T> for Sockets {
    async fn resolve_addresses(
        store: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ErrorCode>> {
        let network = store.with(|mut access| Arc::clone(access.get().network));
        let answer = network.resolve(&name).await;
        Ok(answer.map(|addresses| addresses.into_iter().map(IpAddress::from).collect()).map_err(code_of))
    }
}

fn code_of(error: NetError) -> ErrorCode {
    match error {
        NetError::NameNotFound => ErrorCode::NameUnresolvable,
        NetError::NameTemporary | NetError::TimedOut => ErrorCode::TemporaryResolverFailure,
        NetError::AccessDenied => ErrorCode::AccessDenied,
        NetError::Invalid => ErrorCode::InvalidArgument,
        NetError::AddressInUse
        | NetError::AddressNotAvailable
        | NetError::ConnectionRefused
        | NetError::ConnectionReset
        | NetError::ConnectionAborted
        | NetError::Unreachable
        | NetError::MessageTooLong
        | NetError::TooManySockets
        | NetError::FamilyNotSupported
        | NetError::BrokenPipe
        | NetError::NotConnected => ErrorCode::PermanentResolverFailure,
    }
}
