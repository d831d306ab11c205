//! Services: cluster IPs and node ports are shared out among them. What is taken is what the stored Services have, so that
//! there are no books to keep; only one Service is written at a time.
//!
//! Source of the rules: kube-apiserver v1.36 `registry/core/service` (`alloc.go`, `strategy.go`).

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{Admission, COMMON, Part, Rules};
use crate::api::cluster_ip::ClusterIps;
use crate::api::node_port::{NodePorts, has_node_ports};
use crate::api::support::{SupportReport, check_service};
use crate::api::{self, Object};
use crate::apiserver::status::ApiError;

pub(super) const SERVICE: Rules = Rules {
    returns_deleted: true,
    exclusive: true,
    support: |_, object| match object {
        Object::Service(service) => {
            let SupportReport { refusals, mut warnings } = check_service(service);
            // Node ports are given out here.
            warnings.retain(|note| note.path != "spec.ports");
            SupportReport { refusals, warnings }
        }
        _ => SupportReport::default(),
    },
    admit: |admission, object| match object {
        Object::Service(service) => share_out(admission, service),
        _ => Ok(()),
    },
    prepare_update: |admission, part, new, old| match (part, new, old) {
        (Part::Main, Object::Service(new), Object::Service(old)) => {
            carry_over(new, old);
            share_out(admission, new)
        }
        _ => Ok(()),
    },
    ..COMMON
};

/// Gives a Service what it needs and does not have.
fn share_out(admission: &Admission<'_>, service: &mut Service) -> Result<(), ApiError> {
    // What is not valid gets nothing; it will be refused.
    let mut checked = Object::Service(Box::new(service.clone()));
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    api::apply_defaults(&mut checked, &namespace);
    if !api::validate(&checked).is_empty() {
        return Ok(());
    }
    let (mut ips, mut ports) = (ClusterIps::new(admission.server.config.service_range), NodePorts::default());
    for other in admission.server.store.list_all::<Service>() {
        let is_same =
            (&other.metadata.namespace, &other.metadata.name) == (&service.metadata.namespace, &service.metadata.name);
        if !is_same {
            ips.reserve(&other);
            ports.reserve(&other);
        }
    }
    let mut errors = ports.take(service);
    if errors.is_empty() {
        errors.extend(ports.complete(service).err());
    }
    errors.extend(ips.assign(service).err());
    if errors.is_empty() {
        return Ok(());
    }
    let name = service.metadata.name.as_deref().unwrap_or_default();
    Err(ApiError::invalid("", "Service", name, &errors))
}

fn has_ip(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() != Some("ExternalName")
}

/// What an update does not say, and what goes with the type of the Service (`patchAllocatedValues`,
/// `dropTypeDependentFields`).
fn carry_over(new: &mut Service, old: &Service) {
    let new_ports = has_node_ports(new);
    let old_ports = has_node_ports(old);
    let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
    match (has_ip(new), has_ip(old)) {
        (true, true) if new.cluster_ip.as_deref().unwrap_or_default().is_empty() => {
            new.cluster_ip.clone_from(&old.cluster_ip);
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
        (false, true) if new.cluster_ip == old.cluster_ip => {
            new.cluster_ip = None;
            new.cluster_ips = None;
            new.ip_families = None;
            new.ip_family_policy = None;
            new.internal_traffic_policy = None;
        }
        _ => {}
    }
    // Clients of old know only the first of the two.
    if has_ip(new) && new.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        new.cluster_ips = new.cluster_ip.clone().map(|ip| vec![ip]);
    }
    let before = old.ports.as_deref().unwrap_or_default();
    for port in new.ports.iter_mut().flatten() {
        let same = before.iter().find(|old| (old.port, &old.protocol) == (port.port, &port.protocol));
        let had = same.and_then(|old| old.node_port).filter(|port| *port != 0);
        if new_ports && old_ports && port.node_port.unwrap_or_default() == 0 {
            port.node_port = had;
        } else if !new_ports && old_ports && port.node_port == had {
            port.node_port = None;
        }
    }
    if !new_ports && old_ports {
        new.external_traffic_policy = None;
        new.health_check_node_port = None;
        new.allocate_load_balancer_node_ports = None;
    }
}
