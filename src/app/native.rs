//! Native containers: their runtime, its place in the network of all pods, and the user namespace that it needs without
//! root.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use rustix::net::{AddressFamily, SocketType};
use socket2::Socket;

use crate::net::{DeviceConfig, DeviceHandle, KernelNamespace, KernelReach, SocketKind};
use crate::runtime::linux::{
    self, AttachNetwork, LinuxRuntime, LinuxRuntimeConfig, Route, Sandbox, SandboxError, TunConfig, UserNamespaceError,
};
use crate::runtime::{ContainerRuntime, PodSandbox, RuntimeWarning};

/// Makes devices through which packets come and go.
const DEVICE: &str = "/dev/net/tun";

/// What runs native containers.
pub(super) fn runtime() -> Arc<dyn ContainerRuntime> {
    LinuxRuntime::new(LinuxRuntimeConfig::default(), Some(Arc::new(PodNetworks)))
}

/// Gets this process what native containers need, before it has a second thread.
///
/// # Errors
/// The system does not let this user have it.
pub(super) fn prepare() -> Result<(), UserNamespaceError> {
    linux::enter_user_namespace().map(drop)
}

/// Connects pods' namespaces with the switch that their networks are of.
struct PodNetworks;

impl AttachNetwork for PodNetworks {
    fn attach<'a>(
        &'a self,
        pod: &'a PodSandbox,
        sandbox: &'a Arc<Sandbox>,
    ) -> BoxFuture<'a, Result<Option<RuntimeWarning>, String>> {
        Box::pin(async move {
            let linux = pod.linux.as_ref();
            let namespace = Arc::new(Namespace {
                sandbox: Arc::clone(sandbox),
                keeps_device: linux.is_some_and(|linux| linux.adoptable),
                own_sysctls: linux.iter().flat_map(|linux| &linux.sysctls).map(|(name, _)| name.clone()).collect(),
            });
            let attached = pod.network.attach_kernel(Arc::clone(&namespace) as _).await;
            // Should it end before the pod does, nobody is in there any more.
            let (network, namespace) = (Arc::downgrade(&pod.network), Arc::downgrade(&namespace));
            let ended = sandbox.ended();
            tokio::spawn(async move {
                ended.await;
                if let (Some(network), Some(namespace)) = (network.upgrade(), namespace.upgrade()) {
                    network.detach_kernel(&*namespace);
                }
            });
            match attached.map_err(|error| format!("cannot connect the pod's native containers: {error}"))? {
                KernelReach::Everything => Ok(None),
                KernelReach::OwnPod(error) => Ok(Some(RuntimeWarning {
                    reason: "PodNetworkLimited",
                    message: format!(
                        "native containers reach nothing outside of their pod, and are reached by TCP only: {DEVICE} \
                         cannot be used: {error}; see `husk node info`"
                    ),
                })),
            }
        })
    }
}

/// A sandbox's network namespace.
#[derive(Debug)]
struct Namespace {
    sandbox: Arc<Sandbox>,
    /// Whether the device outlives this process with the pod.
    keeps_device: bool,
    /// What the pod itself asks for stays.
    own_sysctls: Vec<String>,
}

impl KernelNamespace for Namespace {
    fn socket(&self, kind: SocketKind) -> BoxFuture<'_, io::Result<Socket>> {
        let (domain, kind) = match kind {
            SocketKind::TcpV4 => (AddressFamily::INET, SocketType::STREAM),
            SocketKind::TcpV6 => (AddressFamily::INET6, SocketType::STREAM),
            SocketKind::UdpV4 => (AddressFamily::INET, SocketType::DGRAM),
            SocketKind::UdpV6 => (AddressFamily::INET6, SocketType::DGRAM),
        };
        Box::pin(async move { self.sandbox.socket(domain, kind, 0).await.map(Socket::from).map_err(error_of) })
    }

    fn open_device<'a>(&'a self, device: &'a DeviceConfig) -> BoxFuture<'a, io::Result<DeviceHandle>> {
        let everywhere = (std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let config = TunConfig {
            name: device.name.to_owned(),
            addresses: vec![(device.address, device.prefix)],
            routes: vec![Route { destination: everywhere, gateway: None, source: None }],
            mtu: device.mtu,
            keep: self.keeps_device,
            offload: false,
        };
        Box::pin(async move {
            // Of a pod that was taken up, it is there already.
            match self.sandbox.kept_tun().await.map_err(error_of)? {
                Some(kept) => Ok(kept),
                None => self.sandbox.tun(&config).await.map_err(error_of),
            }
        })
    }

    fn set_sysctl<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let is_own = self.own_sysctls.iter().any(|own| own == name);
        Box::pin(async move { if is_own { Ok(()) } else { self.sandbox.sysctl(name, value).await.map_err(error_of) } })
    }
}

fn error_of(error: SandboxError) -> io::Error {
    match error.errno() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(error),
    }
}
