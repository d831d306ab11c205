//! `wasi:sockets/ip-name-lookup@0.2`.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use futures::future::BoxFuture;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::IpAddress;
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, SocketError, subscribe};

use super::generated::ip_name_lookup::{Host, HostResolveAddressStream};
use super::{SocketsView, noop};
use crate::net::NetError;
use crate::runtime::wasm::sockets::fault::Fault;

/// A look-up: under way, or what is left of its answer.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub enum ResolvedAddresses {
    /// The answer is not there yet.
    Waiting(BoxFuture<'static, Result<Vec<IpAddr>, NetError>>),
    /// Addresses not handed out yet.
    Found(std::vec::IntoIter<IpAddr>),
    /// There are none, and why.
    Failed(NetError),
}

impl ResolvedAddresses {
    fn answered(answer: Result<Vec<IpAddr>, NetError>) -> Self {
        match answer {
            Ok(addresses) => Self::Found(addresses.into_iter()),
            Err(error) => Self::Failed(error),
        }
    }

    /// Looks whether the answer has come.
    fn update(&mut self) {
        if let Self::Waiting(lookup) = self
            && let Poll::Ready(answer) = lookup.as_mut().poll(&mut noop())
        {
            *self = Self::answered(answer);
        }
    }
}

#[async_trait]
impl Pollable for ResolvedAddresses {
    async fn ready(&mut self) {
        if let Self::Waiting(lookup) = self {
            *self = Self::answered(lookup.await);
        }
    }
}

impl Host for SocketsView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolvedAddresses>, SocketError> {
        self.check_network(&network)?;
        let network = Arc::clone(self.network);
        let mut stream = ResolvedAddresses::Waiting(Box::pin(async move { network.resolve(&name).await }));
        stream.update();
        match stream {
            ResolvedAddresses::Failed(NetError::Invalid) => Err(Fault::InvalidArgument.into()),
            stream => Ok(self.table.push(stream)?),
        }
    }
}

impl HostResolveAddressStream for SocketsView<'_> {
    fn resolve_next_address(&mut self, this: Resource<ResolvedAddresses>) -> Result<Option<IpAddress>, SocketError> {
        let stream = self.table.get_mut(&this)?;
        stream.update();
        match stream {
            ResolvedAddresses::Waiting(_) => Err(Fault::WouldBlock.into()),
            ResolvedAddresses::Found(addresses) => Ok(addresses.next().map(Into::into)),
            ResolvedAddresses::Failed(error) => Err(Fault::Net(*error).into()),
        }
    }

    fn subscribe(&mut self, this: Resource<ResolvedAddresses>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<ResolvedAddresses>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
