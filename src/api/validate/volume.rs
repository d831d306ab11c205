//! Volumes and the paths inside them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection,
};

use super::env::{self, Place};
use super::errors::{Errors, FieldPath};
use super::{formats, items, text};
use crate::api::quantity::Quantity;

const MODE_RULE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const MAX_MODE: i32 = 0o777;
const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// The valid volumes of a pod by name; true for those that can be block devices (claims and ephemeral volumes).
pub(super) type VolumeKinds = BTreeMap<String, bool>;

pub(super) fn volumes(errors: &mut Errors, volumes: &[Volume], pod_name: &str, path: &FieldPath) -> VolumeKinds {
    let created: BTreeSet<String> = volumes
        .iter()
        .filter(|volume| volume.ephemeral.is_some() && !pod_name.is_empty())
        .map(|volume| format!("{pod_name}-{}", volume.name))
        .collect();
    let mut kinds = VolumeKinds::new();
    for (index, volume) in volumes.iter().enumerate() {
        let path = path.index(index);
        let mut found = Errors::default();
        source(&mut found, volume, &path);
        let name_path = path.child("name");
        if volume.name.is_empty() {
            found.required(&name_path, "");
        } else {
            found.invalid_each(&name_path, &volume.name, formats::dns_label(&volume.name));
        }
        if kinds.contains_key(&volume.name) {
            found.duplicate(&name_path, &volume.name);
        }
        if found.0.is_empty() {
            let is_claim = volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some();
            kinds.insert(volume.name.clone(), is_claim);
        }
        errors.0.append(&mut found.0);
        let claim = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.as_str());
        if let Some(claim) = claim.filter(|claim| created.contains(*claim)) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            errors.invalid(&path, claim, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    kinds
}

/// The sources a volume has, in the order Kubernetes looks at them.
fn sources(volume: &Volume) -> Vec<&'static str> {
    let all = [
        ("emptyDir", volume.empty_dir.is_some()),
        ("hostPath", volume.host_path.is_some()),
        ("gitRepo", volume.git_repo.is_some()),
        ("gcePersistentDisk", volume.gce_persistent_disk.is_some()),
        ("awsElasticBlockStore", volume.aws_elastic_block_store.is_some()),
        ("secret", volume.secret.is_some()),
        ("nfs", volume.nfs.is_some()),
        ("iscsi", volume.iscsi.is_some()),
        ("glusterfs", volume.glusterfs.is_some()),
        ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
        ("rbd", volume.rbd.is_some()),
        ("cinder", volume.cinder.is_some()),
        ("cephfs", volume.cephfs.is_some()),
        ("flocker", volume.flocker.is_some()),
        ("downwardAPI", volume.downward_api.is_some()),
        ("fc", volume.fc.is_some()),
        ("flexVolume", volume.flex_volume.is_some()),
        ("configMap", volume.config_map.is_some()),
        ("azureFile", volume.azure_file.is_some()),
        ("vsphereVolume", volume.vsphere_volume.is_some()),
        ("quobyte", volume.quobyte.is_some()),
        ("azureDisk", volume.azure_disk.is_some()),
        ("photonPersistentDisk", volume.photon_persistent_disk.is_some()),
        ("portworxVolume", volume.portworx_volume.is_some()),
        ("scaleIO", volume.scale_io.is_some()),
        ("storageos", volume.storageos.is_some()),
        ("projected", volume.projected.is_some()),
        ("csi", volume.csi.is_some()),
        ("ephemeral", volume.ephemeral.is_some()),
        ("image", volume.image.is_some()),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
}

fn source(errors: &mut Errors, volume: &Volume, path: &FieldPath) {
    let sources = sources(volume);
    let Some((first, others)) = sources.split_first() else {
        return errors.required(path, "must specify a volume type");
    };
    let inner = path.child(first);
    match *first {
        "emptyDir" => {
            let limit = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_ref());
            if limit.and_then(|limit| Quantity::of(limit).ok()).is_some_and(|limit| limit.is_negative()) {
                errors.forbidden(&inner.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => {
            if let Some(source) = &volume.host_path {
                host_path(errors, source, &inner);
            }
        }
        "secret" => {
            if let Some(source) = &volume.secret {
                not_empty(errors, text(&source.secret_name), &inner.child("secretName"));
                mode(errors, source.default_mode, &inner.child("defaultMode"));
                keys_to_paths(errors, items(&source.items), &inner.child("items"));
            }
        }
        "configMap" => {
            if let Some(source) = &volume.config_map {
                not_empty(errors, &source.name, &inner.child("name"));
                mode(errors, source.default_mode, &inner.child("defaultMode"));
                keys_to_paths(errors, items(&source.items), &inner.child("items"));
            }
        }
        "persistentVolumeClaim" => {
            if let Some(source) = &volume.persistent_volume_claim {
                not_empty(errors, &source.claim_name, &inner.child("claimName"));
            }
        }
        "downwardAPI" => {
            if let Some(source) = &volume.downward_api {
                mode(errors, source.default_mode, &inner.child("defaultMode"));
                for file in items(&source.items) {
                    downward_file(errors, file, &inner);
                }
            }
        }
        "projected" => {
            if let Some(source) = &volume.projected {
                projected(errors, source, &inner);
            }
        }
        "image" => {
            if let Some(source) = &volume.image {
                not_empty(errors, text(&source.reference), &inner.child("reference"));
                let policies = ["Always", "IfNotPresent", "Never"];
                errors.one_of(&inner.child("pullPolicy"), text(&source.pull_policy), &policies);
            }
        }
        _ => {}
    }
    for other in others {
        errors.forbidden(&path.child(other), "may not specify more than 1 volume type");
    }
}

fn host_path(errors: &mut Errors, source: &HostPathVolumeSource, path: &FieldPath) {
    if !not_empty(errors, &source.path, &path.child("path")) {
        return;
    }
    local_path_without_backsteps(errors, &source.path, &path.child("path"));
    if let Some(kind) = source.type_.as_deref()
        && !HOST_PATH_TYPES.contains(&kind)
    {
        errors.unsupported(&path.child("type"), kind, &HOST_PATH_TYPES);
    }
}

fn mode(errors: &mut Errors, mode: Option<i32>, path: &FieldPath) {
    if let Some(mode) = mode.filter(|mode| !(0..=MAX_MODE).contains(mode)) {
        errors.invalid(path, mode, MODE_RULE);
    }
}

fn keys_to_paths(errors: &mut Errors, keys: &[KeyToPath], path: &FieldPath) {
    for (index, key) in keys.iter().enumerate() {
        let path = path.index(index);
        not_empty(errors, &key.key, &path.child("key"));
        not_empty(errors, &key.path, &path.child("path"));
        file_path(errors, &key.path, &path.child("path"));
        mode(errors, key.mode, &path.child("mode"));
    }
}

/// Checks one file of a downward API volume. As in Kubernetes, the path lacks the file's index.
fn downward_file(errors: &mut Errors, file: &DownwardAPIVolumeFile, path: &FieldPath) {
    not_empty(errors, &file.path, &path.child("path"));
    file_path(errors, &file.path, &path.child("path"));
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(selector), resource) => {
            env::field_selector(errors, selector, Place::Volume, &path.child("fieldRef"));
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(path, "resource", detail);
            }
        }
        (None, Some(selector)) => {
            env::resource_selector(errors, selector, Place::Volume, &path.child("resourceFieldRef"));
        }
        (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(errors, file.mode, &path.child("mode"));
}

fn projected(errors: &mut Errors, source: &ProjectedVolumeSource, path: &FieldPath) {
    mode(errors, source.default_mode, &path.child("defaultMode"));
    let mut paths = BTreeSet::new();
    for (index, projection) in items(&source.sources).iter().enumerate() {
        let sources = projected_source(errors, projection, &mut paths, path, index);
        if sources > 1 {
            let path = path.child("sources").index(index);
            errors.forbidden(&path, "may not specify more than 1 volume type per source");
        }
    }
}

/// Checks one source of a projected volume and returns how many kinds of source it is.
fn projected_source<'v>(
    errors: &mut Errors,
    projection: &'v VolumeProjection,
    paths: &mut BTreeSet<&'v str>,
    volume_path: &FieldPath,
    index: usize,
) -> usize {
    let path = volume_path.child("sources").index(index);
    let mut sources = 0;
    let mut unique = |errors: &mut Errors, path: &'v str, shown: &str| {
        if !path.is_empty() && !paths.insert(path) {
            errors.invalid(volume_path, shown, "conflicting duplicate paths");
        }
    };
    let secret = projection.secret.as_ref().map(|source| ("secret", &source.name, items(&source.items)));
    let config = projection.config_map.as_ref().map(|source| ("configMap", &source.name, items(&source.items)));
    for (kind, name, keys) in secret.into_iter().chain(config) {
        sources += 1;
        not_empty(errors, name, &path.child(kind).child("name"));
        keys_to_paths(errors, keys, &path.child(kind).child("items"));
        for key in keys {
            unique(errors, &key.path, name);
        }
    }
    if let Some(source) = &projection.downward_api {
        sources += 1;
        for file in items(&source.items) {
            downward_file(errors, file, &path.child("downwardAPI"));
            unique(errors, &file.path, &file.path);
        }
    }
    if let Some(source) = &projection.service_account_token {
        sources += 1;
        let seconds = source.expiration_seconds.unwrap_or_default();
        let seconds_path = path.child("serviceAccountToken").child("expirationSeconds");
        if seconds < MIN_TOKEN_SECONDS {
            errors.invalid(&seconds_path, seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > MAX_TOKEN_SECONDS {
            errors.invalid(&seconds_path, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        // As in Kubernetes, the path is that of the volume.
        if not_empty(errors, &source.path, &volume_path.child("path")) {
            file_path(errors, &source.path, &volume_path.child("path"));
        }
    }
    sources + usize::from(projection.cluster_trust_bundle.is_some()) + usize::from(projection.pod_certificate.is_some())
}

/// Tokens of a service account can only be projected where the pod has one.
pub(super) fn no_token_without_account(errors: &mut Errors, volumes: &[Volume], path: &FieldPath) {
    for (index, volume) in volumes.iter().enumerate() {
        let sources = volume.projected.iter().flat_map(|projected| items(&projected.sources)).enumerate();
        for (source, _) in sources.filter(|(_, source)| source.service_account_token.is_some()) {
            let path = path.index(index).child("projected").child("sources").index(source);
            let detail = "must not be specified when serviceAccountName is not set";
            errors.forbidden(&path.child("serviceAccountToken"), detail);
        }
    }
}

/// Notes an error for an empty text; whether there is one to check further.
pub(super) fn not_empty(errors: &mut Errors, text: &str, path: &FieldPath) -> bool {
    if text.is_empty() {
        errors.required(path, "");
    }
    !text.is_empty()
}

/// Whether no element of a path is `..`.
pub(super) fn no_backsteps(path: &str) -> bool {
    path.split('/').all(|element| element != "..")
}

pub(super) fn local_path_without_backsteps(errors: &mut Errors, text: &str, path: &FieldPath) {
    if !no_backsteps(text) {
        errors.invalid(path, text, "must not contain '..'");
    }
}

/// Checks a path inside a volume: `validateLocalDescendingPath`.
pub(super) fn relative_path(errors: &mut Errors, text: &str, path: &FieldPath) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    local_path_without_backsteps(errors, text, path);
}

/// Checks the path of a file that is put into a volume: `ValidateLocalNonReservedPath`.
fn file_path(errors: &mut Errors, text: &str, path: &FieldPath) {
    relative_path(errors, text, path);
    if text.starts_with("..") && text != ".." && !text.starts_with("../") {
        errors.invalid(path, text, "must not start with '..'");
    }
}
