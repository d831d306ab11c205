//! A node inside this process, with a cluster that has nothing but its pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use husk::api::support::RuntimeKind;
use husk::api::{self, LoadOptions, Object};
use husk::base::clock::{Clock, Timestamp};
use husk::image::ImageStore;
use husk::net::{Egress, Switch};
use husk::node::{Cluster, Journal, LogChunk, Node, NodeConfig, RunDirectory};
use husk::pod::PostedEvent;
use husk::runtime::ContainerRuntime;
use husk::runtime::wasm::{WasmRuntime, WasmRuntimeConfig};
use husk::volume::{IssuedToken, TokenRequest};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, PodStatus, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use tokio::sync::mpsc;

use crate::programs::Programs;

pub(crate) fn load(yaml: &str) -> anyhow::Result<Pod> {
    let mut name_suffix = || String::new();
    let mut options =
        LoadOptions { namespace: "default", runtime: &|_| Some(RuntimeKind::Wasm), name_suffix: &mut name_suffix };
    let loaded = api::load("bench", yaml, &mut options).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    match loaded.into_iter().next().map(|loaded| loaded.object) {
        Some(Object::Pod(pod)) => Ok(*pod),
        _ => anyhow::bail!("not a pod"),
    }
}

/// The WebAssembly runtime, with a code cache of this run.
pub(crate) fn wasm(programs: &Programs) -> anyhow::Result<Arc<dyn ContainerRuntime>> {
    let cache_dir = Some(programs.directory().join("node-cache"));
    Ok(WasmRuntime::new(WasmRuntimeConfig { cache_dir, ..WasmRuntimeConfig::default() })?)
}

pub(crate) fn node(
    programs: &Programs,
    runtime: Arc<dyn ContainerRuntime>,
    images: Arc<ImageStore>,
    logs: mpsc::Sender<LogChunk>,
    cluster: Arc<dyn Cluster>,
) -> anyhow::Result<Node> {
    let run = RunDirectory::create(&programs.directory().join("node-pods"), Timestamp::now())?;
    Ok(Node::new(NodeConfig {
        name: "bench".to_owned(),
        host_ips: vec!["127.0.0.1".to_owned()],
        cluster_domain: "cluster.local".to_owned(),
        allocatable_cpu_millis: 1000,
        allocatable_memory: 1 << 30,
        host_resolv_conf: String::new(),
        host_hosts: String::new(),
        pods_dir: run.path().to_owned(),
        journal: Some(Arc::new(Journal::create(run.path())?)),
        data_dir: programs.directory().join("node-data"),
        probe_lag: std::time::Duration::ZERO,
        clock: Clock::system(),
        runtime,
        linux: None,
        adoptable: false,
        images,
        switch: Switch::new(Egress::Deny),
        cluster,
        logs: Some(logs),
        log_files: None,
        stdin: Box::new(|_, _| None),
    }))
}

/// A cluster with nothing but the pods, where nobody looks.
#[derive(Debug, Default)]
pub(crate) struct BareCluster {
    /// How many statuses say that their pod is ready.
    pub(crate) ready: AtomicUsize,
}

impl Cluster for BareCluster {
    fn config_map(&self, _namespace: &str, _name: &str) -> Option<Arc<ConfigMap>> {
        None
    }

    fn secret(&self, _namespace: &str, _name: &str) -> Option<Arc<Secret>> {
        None
    }

    fn claim(&self, _namespace: &str, _name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        None
    }

    fn runtime_class(&self, _name: &str) -> Option<Arc<RuntimeClass>> {
        None
    }

    fn services(&self, _namespace: &str) -> Vec<Arc<Service>> {
        Vec::new()
    }

    fn service_account_token(&self, _pod: &Pod, _request: &TokenRequest) -> Result<IssuedToken, String> {
        Err("nobody issues tokens here".to_owned())
    }

    fn publish(&self, _pod: &Pod, status: Option<&PodStatus>, _events: &[PostedEvent]) -> bool {
        let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
        self.ready.fetch_add(usize::from(ready), Ordering::Relaxed);
        true
    }

    fn post_event(&self, _pod: &Pod, _event: &PostedEvent) {}
}
