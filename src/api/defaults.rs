//! What a field is when nobody sets it: `pkg/apis/core/v1/defaults.go` v1.36 and the admission steps every cluster has.
//! Defaulting an object twice changes nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaim, Pod, PodSpec, Probe,
    ResourceRequirements, Secret, Service, Toleration, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WrittenQuantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::object::Object;
use super::quantity::Quantity;
use super::validate::aggregate_requests;

/// The namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// How many random characters follow `metadata.generateName`.
pub const NAME_SUFFIX_LENGTH: usize = 5;
/// The characters Kubernetes draws them from: no vowels, so that no words come out.
pub const NAME_SUFFIX_CHARACTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
/// The longest name that is generated.
const MAX_GENERATED_NAME: usize = 63;
/// How long a pod tolerates a node that is not ready or unreachable.
const NODE_FAILURE_SECONDS: i64 = 300;
const DEFAULT_MODE: i32 = 0o644;
const CLIENT_IP_SECONDS: i32 = 10_800;

/// Fills in everything that is not set. Objects without a namespace get `namespace`.
pub fn apply_defaults(object: &mut Object, namespace: &str) {
    drop_empty(object);
    if object.is_namespaced() {
        let metadata = object.metadata_mut();
        if metadata.namespace.as_deref().unwrap_or_default().is_empty() {
            metadata.namespace = Some(namespace.to_owned());
        }
    }
    match object {
        Object::Pod(pod) => default_pod(pod),
        Object::Secret(secret) => default_secret(secret),
        Object::PersistentVolumeClaim(claim) => default_claim(claim),
        Object::Service(service) => default_service(service),
        Object::Endpoints(endpoints) => {
            for port in endpoints.subsets.iter_mut().flatten().flat_map(|subset| subset.ports.iter_mut().flatten()) {
                set_text(&mut port.protocol, "TCP");
            }
        }
        Object::EndpointSlice(slice) => {
            for port in slice.ports.iter_mut().flatten() {
                port.name.get_or_insert_default();
                set_text(&mut port.protocol, "TCP");
            }
        }
        Object::Namespace(namespace) => {
            if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
                let labels = namespace.metadata.labels.get_or_insert_default();
                labels.insert("kubernetes.io/metadata.name".to_owned(), name);
            }
        }
        Object::Node(node) => {
            if let Some(status) = &mut node.status
                && status.allocatable.is_none()
            {
                status.allocatable.clone_from(&status.capacity);
            }
        }
        Object::PriorityClass(class) => set_text(&mut class.preemption_policy, "PreemptLowerPriority"),
        Object::ConfigMap(_)
        | Object::ServiceAccount(_)
        | Object::Event(_)
        | Object::Lease(_)
        | Object::RuntimeClass(_) => {}
    }
}

/// What is empty is as good as not there, and left out when Kubernetes writes it (`omitempty`): what remains when the last
/// label, annotation or finalizer is removed, and the last entry of a ConfigMap or Secret.
fn drop_empty(object: &mut Object) {
    fn take<T>(field: &mut Option<T>, is_empty: impl FnOnce(&T) -> bool) {
        field.take_if(|value| is_empty(value));
    }
    let metadata = object.metadata_mut();
    take(&mut metadata.labels, BTreeMap::is_empty);
    take(&mut metadata.annotations, BTreeMap::is_empty);
    take(&mut metadata.finalizers, Vec::is_empty);
    take(&mut metadata.owner_references, Vec::is_empty);
    if let Object::ConfigMap(map) = object {
        take(&mut map.data, BTreeMap::is_empty);
        take(&mut map.binary_data, BTreeMap::is_empty);
    }
    if let Object::Secret(secret) = object {
        take(&mut secret.data, BTreeMap::is_empty);
    }
}

/// Gives an object that has only `metadata.generateName` its name: the prefix, cut so that all fits, and `suffix`
/// ([`NAME_SUFFIX_LENGTH`] of [`NAME_SUFFIX_CHARACTERS`], drawn by the caller).
pub fn generate_name(object: &mut Object, suffix: &str) {
    let metadata = object.metadata_mut();
    let unnamed = metadata.name.as_deref().unwrap_or_default().is_empty();
    let Some(prefix) = metadata.generate_name.as_deref().filter(|prefix| unnamed && !prefix.is_empty()) else {
        return;
    };
    let mut end = prefix.len().min(MAX_GENERATED_NAME.saturating_sub(suffix.len()));
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    metadata.name = Some(format!("{}{suffix}", &prefix[..end]));
}

/// Fills in everything that a pod does not set, except its namespace.
pub fn default_pod(pod: &mut Pod) {
    // Differs from Kubernetes only in order: each step reads what an earlier one set, and none overwrites.
    pod.metadata.generation.get_or_insert(1);
    let spec = pod.spec.get_or_insert_default();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        default_container(container);
    }
    spec.ephemeral_containers.iter_mut().flatten().for_each(default_ephemeral_container);
    default_pod_requests(spec);
    spec.volumes.iter_mut().flatten().for_each(default_volume);
    set_text(&mut spec.dns_policy, "ClusterFirst");
    set_text(&mut spec.restart_policy, "Always");
    set_text(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.enable_service_links.get_or_insert(true);
    spec.priority.get_or_insert(0);
    set_text(&mut spec.preemption_policy, "PreemptLowerPriority");
    let grace_period = spec.termination_grace_period_seconds.get_or_insert(30);
    if *grace_period < 0 {
        *grace_period = 1;
    }
    // `serviceAccount` is the old name of `serviceAccountName`, and both are kept.
    if is_empty(&spec.service_account_name) && !is_empty(&spec.service_account) {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    set_text(&mut spec.service_account_name, "default");
    spec.service_account.clone_from(&spec.service_account_name);
    if spec.host_network == Some(true) {
        let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
        for port in containers.flat_map(|container| container.ports.iter_mut().flatten()) {
            if port.host_port.unwrap_or_default() == 0 {
                port.host_port = Some(port.container_port);
            }
        }
    }
    default_tolerations(spec);
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_deref().unwrap_or_default().is_empty()
}

fn set_text(field: &mut Option<String>, default: &str) {
    if is_empty(field) {
        *field = Some(default.to_owned());
    }
}

fn set_number(field: &mut Option<i32>, default: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(default);
    }
}

fn default_container(container: &mut Container) {
    let image = container.image.as_deref().unwrap_or_default();
    set_text(&mut container.image_pull_policy, default_pull_policy(image));
    set_text(&mut container.termination_message_path, "/dev/termination-log");
    set_text(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        set_text(&mut port.protocol, "TCP");
    }
    for variable in container.env.iter_mut().flatten() {
        if let Some(selector) = variable.value_from.as_mut().and_then(|source| source.field_ref.as_mut()) {
            default_field_selector(selector);
        }
    }
    if let Some(resources) = &mut container.resources {
        default_requests(resources);
    }
    for probe in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        probe.iter_mut().for_each(default_probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        // The feature gate of this field is off in Kubernetes, which drops the field.
        lifecycle.stop_signal = None;
        for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
            hook.http_get.iter_mut().for_each(default_http_get);
        }
    }
}

fn default_ephemeral_container(container: &mut EphemeralContainer) {
    let image = container.image.as_deref().unwrap_or_default();
    set_text(&mut container.image_pull_policy, default_pull_policy(image));
    set_text(&mut container.termination_message_path, "/dev/termination-log");
    set_text(&mut container.termination_message_policy, "File");
}

/// The pull policy of an image that says none: `Always` for the tag `latest` and for no tag, else `IfNotPresent`.
pub fn default_pull_policy(image: &str) -> &'static str {
    let has_digest = image.contains('@');
    let last = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match last.split_once(':').map(|(_, tag)| tag) {
        Some("latest") => "Always",
        None if !has_digest => "Always",
        _ => "IfNotPresent",
    }
}

/// Rounds amounts up to thousandths and copies limits to requests that are not there.
fn default_requests(resources: &mut ResourceRequirements) {
    for list in [&mut resources.limits, &mut resources.requests].into_iter().flatten() {
        for amount in list.values_mut() {
            if let Ok(quantity) = Quantity::of(amount) {
                amount.0 = quantity.rounded_up_to_milli().to_string();
            }
        }
    }
    if let Some(limits) = &resources.limits {
        let requests = resources.requests.get_or_insert_default();
        for (name, limit) in limits {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
}

/// Requests of the pod as a whole, where it has limits: what the containers need together, else the limits.
fn default_pod_requests(spec: &mut PodSpec) {
    let needed = aggregate_requests(spec);
    let Some(resources) = &mut spec.resources else { return };
    let Some(limits) = resources.limits.clone().filter(|limits| !limits.is_empty()) else { return };
    let requests: &mut BTreeMap<String, WrittenQuantity> = resources.requests.get_or_insert_default();
    for (name, amount) in needed {
        if name == "cpu" || name == "memory" {
            requests.entry(name).or_insert_with(|| WrittenQuantity(amount.to_string()));
        }
    }
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

fn default_probe(probe: &mut Probe) {
    set_number(&mut probe.timeout_seconds, 1);
    set_number(&mut probe.period_seconds, 10);
    set_number(&mut probe.success_threshold, 1);
    set_number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(default_http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn default_http_get(action: &mut HTTPGetAction) {
    set_text(&mut action.path, "/");
    set_text(&mut action.scheme, "HTTP");
}

fn default_field_selector(selector: &mut ObjectFieldSelector) {
    set_text(&mut selector.api_version, "v1");
}

fn default_volume(volume: &mut Volume) {
    let named_only = Volume { name: volume.name.clone(), ..Default::default() };
    if *volume == named_only {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(DEFAULT_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        let selectors = source.items.iter_mut().flatten().filter_map(|file| file.field_ref.as_mut());
        selectors.for_each(default_field_selector);
    }
    if let Some(source) = &mut volume.projected {
        source.default_mode.get_or_insert(DEFAULT_MODE);
        source.sources.iter_mut().flatten().for_each(default_projection);
    }
    if let Some(source) = &mut volume.image {
        let policy = default_pull_policy(source.reference.as_deref().unwrap_or_default());
        set_text(&mut source.pull_policy, policy);
    }
}

fn default_projection(projection: &mut VolumeProjection) {
    if let Some(source) = &mut projection.downward_api {
        let selectors = source.items.iter_mut().flatten().filter_map(|file| file.field_ref.as_mut());
        selectors.for_each(default_field_selector);
    }
    if let Some(source) = &mut projection.service_account_token {
        source.expiration_seconds.get_or_insert(3600);
    }
}

/// What the DefaultTolerationSeconds admission step adds.
fn default_tolerations(spec: &mut PodSpec) {
    let tolerations = spec.tolerations.get_or_insert_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            let own_key = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            (own_key == key || own_key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !tolerated {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(NODE_FAILURE_SECONDS),
                value: None,
            });
        }
    }
}

fn default_secret(secret: &mut Secret) {
    set_text(&mut secret.type_, "Opaque");
}

fn default_claim(claim: &mut PersistentVolumeClaim) {
    let spec = claim.spec.get_or_insert_default();
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
}

/// Fills in everything that a Service does not set, except its namespace and addresses.
pub fn default_service(service: &mut Service) {
    service.status.get_or_insert_default().load_balancer.get_or_insert_default();
    let spec = service.spec.get_or_insert_default();
    set_text(&mut spec.session_affinity, "None");
    set_text(&mut spec.type_, "ClusterIP");
    if spec.session_affinity.as_deref() == Some("None") {
        spec.session_affinity_config = None;
    } else if spec.session_affinity.as_deref() == Some("ClientIP") {
        let config = spec.session_affinity_config.get_or_insert_default();
        config.client_ip.get_or_insert_default().timeout_seconds.get_or_insert(CLIENT_IP_SECONDS);
    }
    for port in spec.ports.iter_mut().flatten() {
        set_text(&mut port.protocol, "TCP");
        match &port.target_port {
            None | Some(IntOrString::Int(0)) => port.target_port = Some(IntOrString::Int(port.port)),
            Some(IntOrString::String(name)) if name.is_empty() => {
                port.target_port = Some(IntOrString::Int(port.port));
            }
            Some(_) => {}
        }
    }
    let kind = spec.type_.as_deref().unwrap_or_default();
    if kind != "ExternalName" {
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
    }
    if ["NodePort", "LoadBalancer"].contains(&kind) {
        set_text(&mut spec.external_traffic_policy, "Cluster");
    }
    if kind == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

#[cfg(test)]
#[path = "defaults/tests.rs"]
mod tests;
