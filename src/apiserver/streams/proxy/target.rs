//! Which port of which pod a proxied request goes to.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::apiserver::node_access::PodRef;
use crate::apiserver::streams::{find, on_node};
use crate::apiserver::{ApiError, Inner, RequestInfo};

/// The label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Where a proxied request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) pod: PodRef,
    /// The pod's address, as it shows in messages.
    pub(super) address: String,
    pub(super) port: u16,
    /// Whether the pod is spoken to by HTTPS, without a look at its certificate.
    pub(super) tls: bool,
}

/// The name in a proxy's path: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address<'a> {
    tls: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Address<'a> {
    /// Takes it apart (apimachinery `net.SplitSchemeNamePort`).
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let known = ["", "http", "https"].contains(&scheme);
        (known && !name.is_empty()).then_some(Self { tls: scheme == "https", name, port })
    }

    /// The port where none is named.
    fn usual_port(self) -> u16 {
        if self.tls { 443 } else { 80 }
    }
}

impl Target {
    /// The port of a pod that a request names, or its first one (registry/core/pod `ResourceLocation`).
    pub(super) async fn of_pod(server: &Inner, info: &RequestInfo) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request(format!("invalid pod request {:?}", info.name()));
        let asked = Address::parse(info.name()).ok_or_else(invalid)?;
        let pod = find::<Pod>(server, info, asked.name).await?;
        let port = pod_port(&pod, asked).ok_or_else(invalid)?;
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
        if address.is_empty() {
            return Err(ApiError::bad_request("address not allowed"));
        }
        Ok(Self { pod: on_node(&pod)?, address, port, tls: asked.tls })
    }

    /// One of the pods behind a Service, by the name or number of the Service's port (registry/core/service
    /// `ResourceLocation`).
    pub(super) async fn of_service(server: &Inner, info: &RequestInfo) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request(format!("invalid service request {:?}", info.name()));
        let asked = Address::parse(info.name()).ok_or_else(invalid)?;
        let service = find::<Service>(server, info, asked.name).await?;
        let port = service_port(&service, asked)?;
        let slices = server.store.list::<EndpointSlice>(info.namespace());
        let own = slices.iter().filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|name| name == asked.name)
        });
        let mut found: BTreeMap<String, Self> = BTreeMap::new();
        for slice in own {
            let ports = slice.ports.iter().flatten();
            let number = ports.filter(|one| one.name.as_deref().unwrap_or_default() == port).find_map(|one| one.port);
            let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
            let targets = slice.endpoints.iter().flatten().filter_map(|endpoint| {
                let (pod, address) = ready_pod(endpoint, info.namespace())?;
                Some(Self { pod, address, port: number, tls: asked.tls })
            });
            found.extend(targets.map(|target| (target.address.clone(), target)));
        }
        let none = || ApiError::unavailable(format!("no endpoints available for service {:?}", info.name()));
        // A new hasher has a random state, which is random enough for this.
        let random = RandomState::new().hash_one(()) as usize;
        let count = found.len();
        found.into_values().nth(random.checked_rem(count).unwrap_or(0)).ok_or_else(none)
    }
}

/// A number, the name of a port of the pod's containers, or, where none is asked for, the first port of the pod.
// Differs from Kubernetes: names of the pod's ports are looked up; there they are taken for those of /etc/services.
fn pod_port(pod: &Pod, asked: Address<'_>) -> Option<u16> {
    if let Ok(number) = asked.port.parse::<u16>() {
        return (number > 0).then_some(number);
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let found = match asked.port {
        "" => ports.next(),
        name => Some(ports.find(|port| port.name.as_deref() == Some(name))?),
    };
    found.map_or(Some(asked.usual_port()), |port| u16::try_from(port.container_port).ok())
}

/// The name of the Service's port, which may be empty.
fn service_port(service: &Service, asked: Address<'_>) -> Result<String, ApiError> {
    let Ok(number) = asked.port.parse::<i32>() else { return Ok(asked.port.to_owned()) };
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let found = ports.into_iter().find(|port| port.port == number);
    let missing = || ApiError::unavailable(format!("no service port {number} found for service {:?}", asked.name));
    Ok(found.ok_or_else(missing)?.name.clone().unwrap_or_default())
}

/// The pod of an endpoint that takes connections.
fn ready_pod(endpoint: &Endpoint, namespace: &str) -> Option<(PodRef, String)> {
    let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
    if !ready {
        return None;
    }
    let pod = PodRef {
        namespace: target.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
        name: target.name.clone()?,
        uid: target.uid.clone()?,
    };
    Some((pod, endpoint.addresses.first()?.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_a_scheme_and_a_port() {
        let parse = |text| Address::parse(text).map(|address| (address.tls, address.name, address.port));
        for (text, expected) in [
            ("web", Some((false, "web", ""))),
            ("web:80", Some((false, "web", "80"))),
            ("https:web:", Some((true, "web", ""))),
            (":web:http", Some((false, "web", "http"))),
            ("ftp:web:80", None),
            (":", None),
            ("", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn ports_of_pods_are_numbers_names_or_the_first() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
            {"name": "a"}, {"name": "b", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]},
        ]}}))
        .unwrap();
        let port = |pod: &Pod, text: &str| pod_port(pod, Address::parse(text).unwrap());
        for (text, expected) in [
            ("p", Some(8080)),
            ("p:http", Some(8080)),
            ("p:9090", Some(9090)),
            ("p:1", Some(1)),
            ("p:0", None),
            ("p:99999", None),
            ("p:nothing", None),
        ] {
            assert_eq!(port(&pod, text), expected, "{text}");
        }
        assert_eq!([port(&Pod::default(), "p"), port(&Pod::default(), "https:p:")], [Some(80), Some(443)]);
    }
}
