//! What admission makes of a new pod.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod,
    PodSpec, ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::Value;

use crate::api::resources::{self, ResourceType};
use crate::apiserver::object::random_suffix;
use crate::apiserver::rules::Admission;
use crate::apiserver::status::ApiError;

/// The service account of pods that name none.
const DEFAULT: &str = "default";
/// Where programs look for their token.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How the volume with the token is called, but for its random end.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// How long the token is good.
const TOKEN_SECONDS: i64 = 3607;
/// The ConfigMap with the certificate of the API server's authority.
const ROOT_CA: &str = "kube-root-ca.crt";
const MODE: i32 = 0o644;

fn refused(admission: &Admission<'_>, pod: &Pod, why: &str) -> ApiError {
    ApiError::forbidden(admission.resource, pod.metadata.name.as_deref().unwrap_or_default(), why)
}

/// A pod of the default service account waits until a new namespace has it (`getServiceAccount`).
pub(super) fn default_service_account(pod: &Value) -> Option<(&'static ResourceType, String)> {
    let spec = &pod["spec"];
    let named = ["serviceAccountName", "serviceAccount"].map(|field| spec[field].as_str().unwrap_or_default());
    let account = resources::of_type::<ServiceAccount>()?;
    named.iter().all(|name| name.is_empty() || *name == DEFAULT).then(|| (account, DEFAULT.to_owned()))
}

/// Finds the pod's service account, which must be there, and mounts its token.
pub(super) fn service_account(admission: &Admission<'_>, pod: &mut Pod) -> Result<(), ApiError> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
    let Some(account) = admission.server.store.get::<ServiceAccount>(&namespace, &name) else {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(refused(admission, pod, &why));
    };
    let spec = pod.spec.get_or_insert_default();
    let mounts = spec.automount_service_account_token.or(account.automount_service_account_token).unwrap_or(true);
    if mounts {
        mount_token(spec);
    }
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets = account.image_pull_secrets.clone().filter(|secrets| !secrets.is_empty());
    }
    Ok(())
}

/// `mountServiceAccountToken`.
fn mount_token(spec: &mut PodSpec) {
    let has_token =
        |container: &Container| container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == TOKEN_PATH);
    let mut without: Vec<&mut Container> = spec
        .init_containers
        .iter_mut()
        .flatten()
        .chain(&mut spec.containers)
        .filter(|container| !has_token(container))
        .collect();
    let found = spec.volumes.iter().flatten().find(|volume| volume.name.starts_with(TOKEN_VOLUME));
    let existing = found.map(|volume| volume.name.clone());
    if without.is_empty() {
        return;
    }
    let name = existing.clone().unwrap_or_else(|| format!("{TOKEN_VOLUME}{}", random_suffix()));
    for container in &mut without {
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: name.clone(),
            read_only: Some(true),
            mount_path: TOKEN_PATH.to_owned(),
            ..VolumeMount::default()
        });
    }
    if existing.is_none() {
        spec.volumes.get_or_insert_default().push(token_volume(name));
    }
}

/// `TokenVolumeSource`.
fn token_volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(TOKEN_SECONDS),
        ..ServiceAccountTokenProjection::default()
    };
    let certificate = ConfigMapProjection {
        name: ROOT_CA.to_owned(),
        items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
        ..ConfigMapProjection::default()
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(certificate), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    Volume {
        name,
        projected: Some(ProjectedVolumeSource { default_mode: Some(MODE), sources: Some(sources) }),
        ..Volume::default()
    }
}

/// Turns the name of a priority class into a priority.
pub(super) fn priority(admission: &Admission<'_>, pod: &mut Pod) -> Result<(), ApiError> {
    let store = &admission.server.store;
    let named = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.clone()).filter(|name| !name.is_empty());
    let class = match &named {
        Some(name) => match store.get::<PriorityClass>("", name) {
            Some(class) => Some(class),
            None => {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(refused(admission, pod, &why));
            }
        },
        None => store.list_all::<PriorityClass>().into_iter().find(|class| class.global_default == Some(true)),
    };
    let computed = class.as_ref().and_then(|class| class.value).unwrap_or_default();
    let spec = pod.spec.get_or_insert_default();
    let asked = spec.priority.filter(|priority| *priority != 0);
    if let Some(asked) = asked.filter(|asked| *asked != computed) {
        let why = format!(
            "the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller \
             computed {computed} from the given PriorityClass name"
        );
        return Err(refused(admission, pod, &why));
    }
    spec.priority = Some(computed);
    if let Some(class) = class {
        spec.priority_class_name.clone_from(&class.metadata.name);
        spec.preemption_policy.clone_from(&class.preemption_policy);
    }
    Ok(())
}

/// The runtime class must be there; pods of it cost what it says.
pub(super) fn runtime_class(admission: &Admission<'_>, pod: &mut Pod) -> Result<(), ApiError> {
    let named = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.clone()).filter(|name| !name.is_empty());
    let Some(name) = named else { return Ok(()) };
    let Some(class) = admission.server.store.get::<RuntimeClass>("", &name) else {
        let why = format!("pod rejected: RuntimeClass {name:?} not found");
        return Err(refused(admission, pod, &why));
    };
    let overhead = class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.clone());
    let spec = pod.spec.get_or_insert_default();
    if spec.overhead.as_ref().is_some_and(|own| !own.is_empty() && Some(own) != overhead.as_ref()) {
        let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
        return Err(refused(admission, pod, why));
    }
    spec.overhead = overhead;
    Ok(())
}
