//! What of a pod, its cluster and its node goes into containers and volumes: names, addresses, fields, sources.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectFieldSelector, Pod, ResourceFieldSelector, Secret, Service};
#[cfg(target_os = "linux")]
use k8s_openapi::api::core::v1::{Container, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::NodeConfig;
#[cfg(target_os = "linux")]
use super::platform;
use crate::api::DEFAULT_NAMESPACE;
#[cfg(target_os = "linux")]
use crate::api::support::RuntimeKind;
use crate::net::{DNS_ADDRESS, LookupConfig, NetError, PodNetwork};
use crate::pod::dns::{self, HostnameTooLong, PodNames, ResolvConf};
use crate::pod::downward::{self, DownwardFacts};
use crate::pod::env::{ConfigSource, EnvContext};
use crate::runtime::PodSandbox;
use crate::volume::{self, GroupChangePolicy, IssuedToken, MountMemory, TokenRequest, VolumeContext};

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    /// Its hostname is too long.
    #[error(transparent)]
    Hostname(#[from] HostnameTooLong),
    /// The switch has no place for it.
    #[error("cannot attach the pod to the network: {0}")]
    Net(#[from] NetError),
    /// The host's cannot be had.
    #[error("cannot give the pod the host's network: {0}")]
    Host(#[source] io::Error),
}

/// One pod and everything that can be looked up for it.
pub(super) struct PodContext<'a> {
    pub(super) config: &'a NodeConfig,
    pub(super) pod: &'a Pod,
    pub(super) facts: DownwardFacts,
    services: Vec<Arc<Service>>,
}

impl<'a> PodContext<'a> {
    /// Gathers what `pod` can learn now; `pod_ips` is empty before its network is there.
    pub(super) fn new(config: &'a NodeConfig, pod: &'a Pod, pod_ips: Vec<String>) -> Self {
        let allocatable = BTreeMap::from([
            ("cpu".to_owned(), Quantity(format!("{}m", config.allocatable_cpu_millis))),
            ("memory".to_owned(), Quantity(config.allocatable_memory.to_string())),
        ]);
        let facts = DownwardFacts { host_ips: config.host_ips.clone(), pod_ips, allocatable };
        let mut services = config.cluster.services(namespace(pod));
        if namespace(pod) != DEFAULT_NAMESPACE {
            // The API server's Service is there, which shows everywhere.
            services.extend(config.cluster.services(DEFAULT_NAMESPACE));
        }
        Self { config, pod, facts, services }
    }

    /// What volumes are set up from.
    pub(super) fn volumes(&self) -> VolumeContext<'_> {
        let security = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let fs_group = security.and_then(|security| security.fs_group);
        let policy = security.and_then(|security| security.fs_group_change_policy.as_deref());
        VolumeContext {
            namespace: namespace(self.pod),
            data_directory: &self.config.data_dir,
            memory_limit: self.memory_limit(),
            mount_memory: self.mount_memory(),
            fs_group: fs_group.and_then(|group| u32::try_from(group).ok()),
            fs_group_change_policy: match policy {
                Some("OnRootMismatch") => GroupChangePolicy::OnRootMismatch,
                _ => GroupChangePolicy::Always,
            },
            one_user: one_user(self.pod),
            now: self.config.clock.now(),
            sources: self,
            downward: self,
        }
    }

    /// How volumes in memory are mounted, if a container may be native. Of images that are not here yet, nobody knows.
    #[cfg(target_os = "linux")]
    fn mount_memory(&self) -> Option<&'static MountMemory> {
        let spec = self.pod.spec.as_ref()?;
        let in_memory = |volume: &Volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.is_some());
        if self.config.linux.is_none() || !spec.volumes.iter().flatten().any(in_memory) {
            return None;
        }
        let forced = self.config.forced_runtime(self.pod).ok()?;
        if forced == Some(RuntimeKind::Wasm) {
            return None;
        }
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let is_wasm = |container: &Container| {
            let image = container.image.as_deref().unwrap_or_default();
            matches!(self.config.images.is_wasm(image, platform(forced)), Ok(Some(true)))
        };
        let mut containers = containers;
        (!containers.all(is_wasm)).then_some(&crate::runtime::linux::mount_memory as &MountMemory)
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "on Linux it matters")]
    fn mount_memory(&self) -> Option<&'static MountMemory> {
        None
    }

    /// The sum of the containers' memory limits where each has one, else what the node can give.
    fn memory_limit(&self) -> u64 {
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        let limits = containers.map(|container| {
            let limit = container.resources.as_ref()?.limits.as_ref()?.get("memory")?;
            u64::try_from(crate::api::quantity::Quantity::of(limit).ok()?.value()).ok()
        });
        limits.sum::<Option<u64>>().unwrap_or(u64::MAX).min(self.config.allocatable_memory)
    }

    /// The names the pod goes by on its network.
    pub(super) fn names(&self) -> Result<PodNames, HostnameTooLong> {
        names(self.config, self.pod)
    }

    /// The content of its `/etc/resolv.conf`.
    pub(super) fn resolv_conf(&self) -> String {
        let host = ResolvConf::parse(&self.config.host_resolv_conf);
        resolv_conf(self.config, self.pod, &host).to_string()
    }

    /// What environment variables are resolved from.
    pub(super) fn env(&self) -> EnvContext<'_> {
        EnvContext { pod: self.pod, source: self, facts: &self.facts, services: &self.services }
    }
}

impl ConfigSource for PodContext<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.config.cluster.config_map(namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.config.cluster.secret(namespace, name)
    }
}

impl volume::Sources for PodContext<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.config.cluster.config_map(namespace, name).map(Arc::unwrap_or_clone)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.config.cluster.secret(namespace, name).map(Arc::unwrap_or_clone)
    }

    fn has_claim(&self, namespace: &str, name: &str) -> bool {
        self.config.cluster.claim(namespace, name).is_some()
    }

    fn service_account_token(&self, request: &TokenRequest) -> Result<IssuedToken, String> {
        self.config.cluster.service_account_token(self.pod, request)
    }
}

impl volume::DownwardSource for PodContext<'_> {
    fn field(&self, selector: &ObjectFieldSelector) -> Result<String, String> {
        downward::field(self.pod, &self.facts, &selector.field_path).map_err(|error| error.to_string())
    }

    fn resource(&self, selector: &ResourceFieldSelector) -> Result<String, String> {
        downward::resource(self.pod, None, selector, &self.facts).map_err(|error| error.to_string())
    }
}

/// The user that all containers of a pod say that they run as, if it is the same (kubelet v1.36 `FsUserFrom`).
fn one_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|security| security.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = containers.map(|container| {
        let own = container.security_context.as_ref().and_then(|security| security.run_as_user);
        own.or(of_pod)
    });
    let first = users.next().flatten()?;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}

/// The pod's namespace.
pub(super) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// Whether the pod has the host's network.
pub(super) fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true)
}

/// The names of a pod; with the host's network it has the node's (kubelet v1.36 `GeneratePodHostNameAndDomain`).
fn names(config: &NodeConfig, pod: &Pod) -> Result<PodNames, HostnameTooLong> {
    let names = dns::names(pod, &config.cluster_domain)?;
    let overrides = pod.spec.as_ref().is_some_and(|spec| spec.hostname_override.is_some());
    if !host_network(pod) || overrides {
        return Ok(names);
    }
    let hostname: String = config.name.chars().take(dns::MAX_KERNEL_HOSTNAME).collect();
    Ok(PodNames { short: hostname.clone(), hostname, domain: None })
}

/// Attaches a pod to the node's network under its names.
pub(super) fn attach(config: &NodeConfig, pod: &Pod) -> Result<Arc<PodNetwork>, AttachError> {
    let names = names(config, pod)?;
    let network = config.switch.attach(&names.short, names.domain.as_deref())?;
    Ok(with_names(config, pod, network))
}

/// The same with the address that the pod has had, and which its namespace still has.
pub(super) fn attach_again(config: &NodeConfig, pod: &Pod, ip: IpAddr) -> Result<Arc<PodNetwork>, AttachError> {
    let names = names(config, pod)?;
    let network = config.switch.attach_again(&names.short, names.domain.as_deref(), ip)?;
    Ok(with_names(config, pod, network))
}

/// Gives a pod the host's network. At the node's address, others reach those of its ports that it declares.
pub(super) async fn attach_host(config: &NodeConfig, pod: &Pod) -> Result<Arc<PodNetwork>, AttachError> {
    let names = names(config, pod)?;
    let network = config.switch.attach_host_network(&names.short, names.domain.as_deref()).await;
    let network = network.map_err(AttachError::Host)?;
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    let tcp: Vec<_> = tcp.filter_map(|port| u16::try_from(port.container_port).ok()).collect();
    network.serve_host_ports(&tcp);
    Ok(with_names(config, pod, network))
}

fn with_names(config: &NodeConfig, pod: &Pod, network: Arc<PodNetwork>) -> Arc<PodNetwork> {
    network.set_lookups(lookups(config, pod));
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    for alias in aliases {
        if let Ok(ip) = alias.ip.parse::<IpAddr>() {
            network.add_host_alias(ip, alias.hostnames.as_deref().unwrap_or_default());
        }
    }
    network
}

fn resolv_conf(config: &NodeConfig, pod: &Pod, host: &ResolvConf) -> ResolvConf {
    dns::resolv_conf(pod, &[DNS_ADDRESS.to_string()], &config.cluster_domain, host)
}

/// How the pod's network looks names up. The host's own servers and search list are left to the host.
fn lookups(config: &NodeConfig, pod: &Pod) -> LookupConfig {
    let conf = resolv_conf(config, pod, &ResolvConf::default());
    let policy = pod.spec.as_ref().and_then(|spec| spec.dns_policy.as_deref());
    let servers = conf.nameservers.iter().filter(|_| policy != Some("Default"));
    let servers = servers.filter_map(|server| server.parse().ok()).collect();
    LookupConfig { servers, ndots: conf.ndots(), searches: conf.searches }
}

/// What the pod's containers share.
/// `directory` is the sandbox's own, within the pod's.
pub(super) fn sandbox(
    config: &NodeConfig,
    pod: &Pod,
    network: Arc<PodNetwork>,
    directory: PathBuf,
) -> Result<PodSandbox, HostnameTooLong> {
    let names = names(config, pod)?;
    let field = |value: &Option<String>| value.clone().unwrap_or_default();
    #[cfg(target_os = "linux")]
    let linux = Some(super::native::pod_sandbox(config, pod, names.domain.as_deref(), directory));
    #[cfg(not(target_os = "linux"))]
    let linux = {
        drop(directory);
        None
    };
    Ok(PodSandbox {
        uid: crate::base::id::PodUid(field(&pod.metadata.uid)),
        namespace: namespace(pod).to_owned(),
        name: field(&pod.metadata.name),
        hostname: names.hostname,
        network,
        share_process_namespace: pod.spec.as_ref().and_then(|spec| spec.share_process_namespace) == Some(true),
        linux,
    })
}
