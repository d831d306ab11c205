//! The downward API: `fieldRef` and `resourceFieldRef`, for environment variables and for volumes.
//! Source of the rules: kubelet v1.36 `pkg/fieldpath` and `pkg/api/v1/resource` (helpers).

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::quantity::Quantity as Amount;

/// Longest name of a label or annotation key that a subscript may hold; longer ones are no keys.
const MAX_SUBSCRIPT: usize = 317;

/// What of the node the downward API can show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DownwardFacts {
    /// `status.hostIP` and `status.hostIPs`.
    pub host_ips: Vec<String>,
    /// `status.podIP` and `status.podIPs`; empty while the pod has none.
    pub pod_ips: Vec<String>,
    /// What the node can give to pods: shown for limits that are not set. Keys `cpu`, `memory`, `ephemeral-storage`.
    pub allocatable: std::collections::BTreeMap<String, Quantity>,
}

/// A reference that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownwardError {
    /// The field path is none of the supported ones.
    #[error("unsupported fieldPath: {0}")]
    UnsupportedField(String),
    /// `containerName` names no container of the pod.
    #[error("container {0} not found")]
    ContainerNotFound(String),
    /// The resource is none of the supported ones.
    #[error("unsupported container resource : {0}")]
    UnsupportedResource(String),
}

/// The value of a `fieldRef`. Labels and annotations as a whole are `key="value"` lines, sorted; a subscript that is
/// absent gives an empty string.
///
/// # Errors
/// When the path is not supported.
pub fn field(pod: &Pod, facts: &DownwardFacts, path: &str) -> Result<String, DownwardError> {
    let unsupported = || DownwardError::UnsupportedField(path.to_owned());
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(unsupported()),
        };
        return Ok(entries.as_ref().and_then(|entries| entries.get(key)).cloned().unwrap_or_default());
    }
    let spec = pod.spec.as_ref();
    let text = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => Some(format_map(metadata.labels.iter().flatten())),
        "metadata.annotations" => Some(format_map(metadata.annotations.iter().flatten())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => facts.host_ips.first().cloned(),
        "status.hostIPs" => Some(facts.host_ips.join(",")),
        "status.podIP" => facts.pod_ips.first().cloned(),
        "status.podIPs" => Some(facts.pod_ips.join(",")),
        _ => return Err(unsupported()),
    };
    Ok(text.unwrap_or_default())
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    let key = rest.strip_suffix("']")?;
    (!key.is_empty() && key.len() <= MAX_SUBSCRIPT).then_some((map, key))
}

/// One `key="escaped value"` per line, sorted by key, without a trailing newline.
fn format_map<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut lines: Vec<String> = entries.map(|(key, value)| format!("{key}={}", quote(value))).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Quotes as Go's `%q` does.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The value of a `resourceFieldRef`: `ceil(value / divisor)`. `default_container` is the container the variable is
/// in; a `containerName` in the selector comes first. An unset limit is the pod's limit, else what the node can
/// allocate; an unset request is 0.
///
/// # Errors
/// When the container or the resource is not known.
pub fn resource(
    pod: &Pod,
    default_container: Option<&str>,
    selector: &ResourceFieldSelector,
    facts: &DownwardFacts,
) -> Result<String, DownwardError> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).or(default_container).unwrap_or("");
    let container = find_container(pod, name).ok_or_else(|| DownwardError::ContainerNotFound(name.to_owned()))?;
    let unsupported = || DownwardError::UnsupportedResource(selector.resource.clone());
    let (list, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let known = matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    let resources = container.resources.as_ref();
    let value = match list {
        _ if !known => return Err(unsupported()),
        "requests" => resources.and_then(|list| get(&list.requests, resource)).unwrap_or(Amount::ZERO),
        "limits" => limit(pod, resources, resource, facts),
        _ => return Err(unsupported()),
    };
    let divisor = selector.divisor.as_ref().map_or(Amount::ZERO, amount);
    Ok(value.divided_by(&divisor).to_string())
}

fn limit(pod: &Pod, resources: Option<&ResourceRequirements>, resource: &str, facts: &DownwardFacts) -> Amount {
    let pod_level = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    resources
        .and_then(|list| get(&list.limits, resource))
        .filter(Amount::is_positive)
        .or_else(|| pod_level.and_then(|list| get(&list.limits, resource)))
        .or_else(|| facts.allocatable.get(resource).map(amount))
        .unwrap_or(Amount::ZERO)
}

fn get(list: &Option<std::collections::BTreeMap<String, Quantity>>, resource: &str) -> Option<Amount> {
    list.as_ref()?.get(resource).map(amount)
}

/// A quantity's amount; nothing for text that is none, which validation has refused.
fn amount(quantity: &Quantity) -> Amount {
    Amount::of(quantity).unwrap_or(Amount::ZERO)
}

fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|container| container.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "
metadata:
  name: p
  namespace: ns
  uid: u1
  labels: {b: '2', a: 'say \"hi\"'}
  annotations: {x/y: \"one\\ntwo\"}
spec:
  nodeName: n1
  serviceAccountName: sa
  containers:
  - name: c
    resources: {limits: {cpu: 1250m}, requests: {memory: 64Mi, cpu: 10m}}
  - name: d
";

    fn facts() -> DownwardFacts {
        DownwardFacts {
            host_ips: vec!["192.0.2.1".into(), "2001:db8::1".into()],
            pod_ips: vec!["10.0.0.2".into(), "fd00::2".into()],
            allocatable: [("cpu".into(), Quantity("4".into())), ("memory".into(), Quantity("8Gi".into()))].into(),
        }
    }

    #[test]
    fn every_field_path_has_its_value() {
        let pod: Pod = serde_yaml::from_str(POD).unwrap();
        for (path, expected) in [
            ("metadata.name", Ok("p")),
            ("metadata.namespace", Ok("ns")),
            ("metadata.uid", Ok("u1")),
            ("metadata.labels", Ok("a=\"say \\\"hi\\\"\"\nb=\"2\"")),
            ("metadata.annotations", Ok("x/y=\"one\\ntwo\"")),
            ("metadata.labels['b']", Ok("2")),
            ("metadata.annotations['x/y']", Ok("one\ntwo")),
            ("metadata.labels['none']", Ok("")),
            ("spec.nodeName", Ok("n1")),
            ("spec.serviceAccountName", Ok("sa")),
            ("status.hostIP", Ok("192.0.2.1")),
            ("status.hostIPs", Ok("192.0.2.1,2001:db8::1")),
            ("status.podIP", Ok("10.0.0.2")),
            ("status.podIPs", Ok("10.0.0.2,fd00::2")),
            ("spec.hostname", Err("unsupported fieldPath: spec.hostname")),
            ("spec.labels['a']", Err("unsupported fieldPath: spec.labels['a']")),
        ] {
            let actual = field(&pod, &facts(), path).map_err(|error| error.to_string());
            assert_eq!(actual.as_deref().map_err(String::as_str), expected, "{path}");
        }
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let pod: Pod = serde_yaml::from_str(POD).unwrap();
        for (container, resource_name, divisor, expected) in [
            ("c", "limits.cpu", None, Ok("2")),
            ("c", "limits.cpu", Some("0"), Ok("2")),
            ("c", "limits.cpu", Some("1m"), Ok("1250")),
            ("c", "requests.cpu", None, Ok("1")),
            ("c", "requests.memory", Some("1Mi"), Ok("64")),
            ("c", "requests.memory", None, Ok("67108864")),
            ("c", "limits.memory", Some("1Gi"), Ok("8")),
            ("d", "limits.cpu", None, Ok("4")),
            ("d", "requests.cpu", None, Ok("0")),
            ("e", "limits.cpu", None, Err("container e not found")),
            ("c", "limits.gpu", None, Err("unsupported container resource : limits.gpu")),
            ("c", "cpu", None, Err("unsupported container resource : cpu")),
        ] {
            let selector = ResourceFieldSelector {
                container_name: Some(container.into()),
                divisor: divisor.map(|text: &str| Quantity(text.into())),
                resource: resource_name.into(),
            };
            let actual = resource(&pod, Some("d"), &selector, &facts()).map_err(|error| error.to_string());
            assert_eq!(actual.as_deref().map_err(String::as_str), expected, "{container} {resource_name}");
        }
        let own = ResourceFieldSelector { resource: "limits.cpu".into(), ..Default::default() };
        assert_eq!(resource(&pod, Some("c"), &own, &facts()).unwrap(), "2", "the variable's own container");
    }
}
