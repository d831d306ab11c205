//! Taking up what is still there of a pod that another agent has left: its sandbox, and native containers in it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::Pod;
use tracing::{info, warn};

use super::{Executor, Sandbox, Shared, ports, publish_ports, sandbox_directory};
use crate::base::id::PodUid;
use crate::node::context;
use crate::pod::{LeftInstance, PodSnapshot, Survivors};
use crate::runtime::AdoptedContainer;

impl Executor {
    /// Takes up what is still there of a pod that another agent has left.
    pub(in crate::node) async fn adopt(&mut self, pod: &Arc<Pod>, snapshot: &PodSnapshot) -> Survivors {
        let ip = snapshot.status.pod_ip.as_deref().and_then(|ip| ip.parse().ok());
        let adopted = match ip {
            Some(ip) => adopt_sandbox(&self.shared, pod, ip).await,
            None => None,
        };
        let Some((sandbox, adopted)) = adopted else {
            self.shared.node.remove_left(&PodUid(pod.metadata.uid.clone().unwrap_or_default())).await;
            return Survivors::default();
        };
        let mut left = snapshot.running();
        let mut survivors = Survivors {
            sandbox: Some(sandbox.pod.network.ips().iter().map(ToString::to_string).collect()),
            ..Survivors::default()
        };
        self.shared.is_native.store(true, Ordering::Relaxed);
        self.shared.state().sandbox = Some(Arc::clone(&sandbox));
        for adopted in adopted {
            let is_it = |left: &LeftInstance| {
                let id = left.id.rsplit('/').next().unwrap_or_default();
                (left.container.as_str(), left.attempt, id)
                    == (adopted.name.as_str(), adopted.attempt, adopted.id.0.as_str())
            };
            // One that nobody knows of ends with its handle.
            let Some(known) = left.iter().position(is_it).map(|index| left.swap_remove(index)) else { continue };
            info!(container = known.container, attempt = known.attempt, "a container is taken up");
            survivors.containers.push(known.id.clone());
            self.shared.state().alive.insert(adopted.id.0.clone());
            let (instance, _cancel) = self.instance(pod, known.container.clone(), known.attempt);
            let sandbox = Arc::clone(&sandbox);
            self.tasks.spawn(async move { instance.go_on(&sandbox.pod, known, adopted).await });
        }
        survivors
    }

    /// Whether another agent may have left something of the pod that runs.
    pub(in crate::node) fn may_have_left(&self) -> bool {
        self.shared.node.config.linux.is_some() && sandbox_directory(&self.shared.pod_dir).exists()
    }
}

/// Takes up the sandbox that another agent has left, and what is still there in it.
async fn adopt_sandbox(shared: &Shared, pod: &Pod, ip: IpAddr) -> Option<(Arc<Sandbox>, Vec<AdoptedContainer>)> {
    let config = &shared.node.config;
    let network = match context::host_network(pod) {
        true => context::attach_host(config, pod).await,
        false => context::attach_again(config, pod, ip),
    };
    let network = network.inspect_err(|error| warn!(%error, %ip, "the pod cannot have its network back")).ok()?;
    let sandbox = context::sandbox(config, pod, Arc::clone(&network), sandbox_directory(&shared.pod_dir)).ok()?;
    let adopted = config.linux.as_ref()?.adopt(&sandbox).await?;
    let published = publish_ports(shared, &network, &ports(shared, pod)).await;
    match published {
        Ok(published) => Some((Arc::new(Sandbox { pod: sandbox, published }), adopted)),
        Err(error) => {
            warn!(error, "the pod cannot have its ports back, and starts over");
            config.linux.as_ref()?.remove_sandbox(&sandbox.uid).await;
            None
        }
    }
}
