//! Pods that have the host's network: their sockets are the host's, and there is nothing to be brought there.

use std::io;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use socket2::{Domain, Socket, Type};
use tokio::sync::Semaphore;

use super::namespace::{DeviceConfig, DeviceHandle, KernelNamespace, SocketKind};
use super::stock::Stock;
use super::{KernelSide, MAX_LOCAL_CONNECTIONS, SWITCH_EPHEMERAL};
use crate::net::pod::PodCore;

/// Gives a pod the host's network.
pub(in crate::net) async fn attach(core: &Arc<PodCore>) -> io::Result<()> {
    let side = KernelSide {
        is_host: true,
        stock: Stock::new(Arc::new(Host)).await?,
        router: None,
        has_address: false,
        routing: Mutex::new(None),
        places: Arc::new(Semaphore::new(MAX_LOCAL_CONNECTIONS)),
    };
    core.set_kernel(side, SWITCH_EPHEMERAL).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(())
}

/// The host's namespace, the agent's own.
#[derive(Debug)]
struct Host;

impl KernelNamespace for Host {
    fn socket(&self, kind: SocketKind) -> BoxFuture<'_, io::Result<Socket>> {
        std::future::ready(open(kind)).boxed()
    }

    fn open_device<'a>(&'a self, _device: &'a DeviceConfig) -> BoxFuture<'a, io::Result<DeviceHandle>> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into())).boxed()
    }

    fn set_sysctl<'a>(&'a self, _name: &'a str, _value: &'a str) -> BoxFuture<'a, io::Result<()>> {
        std::future::ready(Err(io::ErrorKind::Unsupported.into())).boxed()
    }
}

fn open(kind: SocketKind) -> io::Result<Socket> {
    let (domain, kind) = match kind {
        SocketKind::TcpV4 => (Domain::IPV4, Type::STREAM),
        SocketKind::TcpV6 => (Domain::IPV6, Type::STREAM),
        SocketKind::UdpV4 => (Domain::IPV4, Type::DGRAM),
        SocketKind::UdpV6 => (Domain::IPV6, Type::DGRAM),
    };
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
