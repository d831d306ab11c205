//! The kernel side of a pod that has Linux containers: a network namespace, in which the pod's address and ports are
//! the kernel's.
//!
//! ```text
//!                 ┌──────────────── network namespace ────────────────┐
//!  native ────────┤ sockets ── lo                                     │
//!  container      │    │  └──── sockets that the switch holds ════════╪══ pipes ── wasm guests of the same pod
//!                 │  eth0                                             │
//!                 └────║──────────────────────────────────────────────┘
//!                      ║ IP packets
//!                   router ── endpoint ══ pipes ══ whatever it leads to: wasm pods, Services, the node, outside
//!                      ╙───── another pod's eth0
//! ```
//!
//! - **One port space.** Whatever port a wasm guest of the pod takes, it takes from the kernel (`local`): there the
//!   pod's native containers meet it, and there a port that is taken is taken, whoever has it.
//! - **Between wasm guests nothing changes**: they meet in memory, in this pod too. The kernel is asked only where the
//!   switch finds nobody.
//! - **From elsewhere into the pod** (other pods, Services, published ports, probes) connections come as packets through
//!   the device, from a user-space TCP (`endpoint`). So servers see the true source, refusals are the kernel's, and
//!   nothing that listens on loopback is reached.
//! - **Out of the pod** everything comes as packets. Between two kernels they are handed on as they are, so only one
//!   kernel talks to the other; all else ends in an endpoint, and goes on as any connection of the switch's. The pod is
//!   told that a connection stands only when it does.
//!
//! Without a device (`/dev/net/tun` may be missing or closed to the user) the pod has its own localhost and ports, its
//! address on the loopback device, and can be reached by TCP; it reaches nothing. [`KernelReach`] says so.
//!
//! Nothing here enters a namespace: who runs the containers opens what is needed in there ([`KernelNamespace`]). IPv4,
//! and IPv6 on loopback, as pods have it otherwise.

mod connections;
mod datagrams;
mod device;
mod endpoint;
mod host;
mod local;
mod namespace;
mod packet;
mod router;
mod slot;
mod stock;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use self::connections::Key;
use self::device::{Device, MTU};
use self::router::Router;
use self::stock::Stock;
use super::pod::PodCore;
use super::udp::DatagramQueue;
use super::{NetError, Switch, addr};
use crate::base::pipe::DuplexEnd;

pub(super) use host::attach as attach_host;
pub(super) use local::{KernelListener, KernelSocket};
pub use namespace::{DeviceConfig, DeviceHandle, KernelNamespace, SocketKind};
pub(super) use slot::Slot;

/// Connections between containers of one pod that a wasm guest has with native ones. They count against the descriptors
/// of the agent, which all pods share.
const MAX_LOCAL_CONNECTIONS: usize = 1024;

/// In a pod with a kernel the kernel gives these ports to sockets that don't ask for one…
const KERNEL_EPHEMERAL: &str = "32768 46999";

/// …and the switch gives these to connections of wasm guests, which the kernel doesn't know of.
const SWITCH_EPHEMERAL: RangeInclusive<u16> = 47000..=60999;

/// What a pod's native containers can reach.
#[derive(Debug)]
pub enum KernelReach {
    /// Whatever other pods reach.
    Everything,
    /// Each other and the pod's wasm containers, because the device that leads elsewhere could not be made.
    OwnPod(io::Error),
}

/// One pod's kernel side.
#[derive(Debug)]
pub(super) struct KernelSide {
    /// The namespace is the host's.
    is_host: bool,
    stock: Arc<Stock>,
    router: Option<Arc<Router>>,
    /// Whether the namespace has the pod's address.
    has_address: bool,
    routing: Mutex<Option<AbortOnDropHandle<()>>>,
    places: Arc<Semaphore>,
}

/// Gives a pod its kernel side, in place of one it may have. What its wasm guests have bound already is bound in the
/// namespace too.
pub(super) async fn attach(
    switch: &Arc<Switch>,
    core: &Arc<PodCore>,
    namespace: Arc<dyn KernelNamespace>,
) -> io::Result<KernelReach> {
    // Without it both may choose the same port, which matters only towards the same peer.
    if let Err(error) = namespace.set_sysctl("net.ipv4.ip_local_port_range", KERNEL_EPHEMERAL).await {
        tracing::debug!(%error, "the kernel goes on choosing from all ephemeral ports");
    }
    let config = DeviceConfig {
        name: "eth0",
        address: core.ip.into(),
        prefix: addr::RANGE_PREFIX,
        mtu: u32::try_from(MTU).unwrap_or(u32::MAX),
    };
    let opened = namespace.open_device(&config).await.and_then(Device::new);
    let (router, reach) = match opened {
        Ok(device) => (Some(Router::new(switch, core, device)), KernelReach::Everything),
        Err(error) => (None, KernelReach::OwnPod(error)),
    };
    let routing = router.clone().map(|router| AbortOnDropHandle::new(tokio::spawn(router.run())));
    let stock = Stock::new(namespace).await?;
    let has_address = router.is_some() || stock.has_address(core.ip.into()).await;
    let side = KernelSide {
        is_host: false,
        stock,
        router,
        has_address,
        routing: Mutex::new(routing),
        places: Arc::new(Semaphore::new(MAX_LOCAL_CONNECTIONS)),
    };
    let side = core.set_kernel(side, SWITCH_EPHEMERAL).map_err(|error| io::Error::other(error.to_string()))?;
    side.bind_what_is_bound(core).await?;
    Ok(reach)
}

/// Takes a pod's kernel side away, if it is that of `namespace`. Its wasm guests are alone again.
pub(super) fn detach(core: &Arc<PodCore>, namespace: &dyn KernelNamespace) {
    let is_its = |side: &KernelSide| std::ptr::addr_eq(side.stock.namespace(), namespace);
    let Some(side) = core.take_kernel(is_its) else { return };
    side.close();
    core.listening().iter().filter(|queue| queue.kernel().is_of(&side)).for_each(|queue| queue.kernel().clear());
    core.receiving().iter().filter(|queue| queue.in_kernel().is_of(&side)).for_each(|queue| queue.in_kernel().clear());
}

impl KernelSide {
    /// The device that carries the pod's packets.
    fn device(&self) -> Option<Arc<Device>> {
        self.router.as_ref().map(|router| Arc::clone(&router.device))
    }

    /// Who is waiting for answers to a port of the pod's kernel, besides the kernel.
    pub(super) fn stand_in(&self, port: u16) -> Option<Arc<DatagramQueue>> {
        self.router.as_ref()?.datagrams.queue(port)
    }

    /// Connects to a port of the pod's kernel, with its true source and through the device. The connection leads to
    /// `end`. Fails with [`NetError::Unreachable`] without a device.
    pub(super) async fn connect_through_device(
        &self,
        source: SocketAddr,
        target: SocketAddr,
        end: DuplexEnd,
    ) -> Result<(), NetError> {
        match (&self.router, source, target) {
            (Some(router), SocketAddr::V4(source), SocketAddr::V4(target)) => {
                router.connections.connect(Key { peer: source, port: target.port() }, target, end).await
            }
            _ => Err(NetError::Unreachable),
        }
    }

    /// Whether the pod has the host's network.
    pub(super) fn is_host(&self) -> bool {
        self.is_host
    }

    /// Whether packets can be brought to the pod.
    pub(super) fn has_device(&self) -> bool {
        self.router.is_some()
    }

    /// Hands a datagram to the pod's kernel; says whether that is possible.
    pub(super) fn send_datagram(&self, source: SocketAddr, target: SocketAddr, payload: &[u8]) -> bool {
        match (&self.router, source, target) {
            (Some(router), SocketAddr::V4(source), SocketAddr::V4(target)) => {
                packet::send_datagram(&router.device, source, target, payload);
                true
            }
            _ => false,
        }
    }

    /// Permission to have one more of the kernel's sockets connected, until dropped.
    fn place(&self) -> Result<OwnedSemaphorePermit, NetError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_none_left| NetError::TooManySockets)
    }

    /// Takes the device away and breaks its connections off.
    pub(super) fn close(&self) {
        let routing = self.routing.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(routing);
        if let Some(router) = &self.router {
            router.close();
        }
    }
}
