//! The filesystem of one container instance: its image's layers, what it changes, volumes, and the files the kubelet
//! manages.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Container as ContainerSpec;

use super::container::StartError;
use super::context::PodContext;
use crate::image::{Image, ImageLayer, LayerContent};
use crate::pod::command;
use crate::pod::dns::{self, PodNames};
use crate::vfs::{DeviceFs, Layer, LayerStack, MemoryFile, MountSource, MountTable, MountTableBuilder, TreeFs};
use crate::volume::{PodVolumes, clean_path};

/// Images whose merged layers are kept in memory.
const MAX_CACHED_IMAGES: usize = 64;

/// Merged layers of images, shared by all containers.
#[derive(Default)]
pub(super) struct LayerCache(Mutex<HashMap<String, Arc<LayerStack>>>);

impl LayerCache {
    fn stack(&self, image: &Image) -> Result<Arc<LayerStack>, StartError> {
        if let Some(stack) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&image.id) {
            return Ok(Arc::clone(stack));
        }
        let layers = image.layers.iter().map(|layer| open_layer(image, layer)).collect::<Result<_, _>>()?;
        let stack = LayerStack::new(layers)
            .map_err(|error| StartError::create(format!("image {}: {error}", image.reference)))?;
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED_IMAGES {
            cache.clear();
        }
        cache.insert(image.id.clone(), Arc::clone(&stack));
        Ok(stack)
    }
}

fn open_layer(image: &Image, layer: &ImageLayer) -> Result<Arc<Layer>, StartError> {
    let failed = |error: std::io::Error| {
        let (name, diff_id) = (&image.reference, &layer.diff_id);
        if layer.drop_if_damaged() {
            return StartError::create(format!(
                "image {name}: layer {diff_id} is damaged: pull the image again (husk image pull {name}), or remove it and \
                 add it again"
            ));
        }
        StartError::create(format!("image {name}: layer {diff_id}: {error}"))
    };
    match &layer.content {
        LayerContent::TarFile(path) => {
            let file = File::open(path).map_err(failed)?;
            Layer::from_tar_file(&layer.diff_id, file).map_err(failed)
        }
        LayerContent::TarBytes(bytes) => Layer::from_tar_bytes(&layer.diff_id, bytes.clone()).map_err(failed),
        LayerContent::SingleFile { path, contents } => Ok(Layer::from_single_file(path, contents.clone())),
    }
}

/// Files of a container that the kubelet writes.
pub(super) struct ManagedFiles<'a> {
    pub(super) names: &'a PodNames,
    pub(super) pod_ips: &'a [String],
    /// Where the termination message goes, and the file that takes it.
    pub(super) termination_log: (&'a str, MemoryFile),
}

/// What a container's filesystem is made of beside the container itself.
pub(super) struct Parts<'a> {
    pub(super) layers: &'a LayerCache,
    pub(super) image: &'a Image,
    pub(super) volumes: &'a PodVolumes,
    /// Where what the container changes is kept.
    pub(super) scratch: std::path::PathBuf,
    pub(super) files: ManagedFiles<'a>,
}

/// Builds the mount table. `variables` is what `subPathExpr` refers to.
pub(super) fn build(
    context: &PodContext<'_>,
    container: &ContainerSpec,
    parts: &Parts<'_>,
    variables: &[(String, String)],
) -> Result<MountTable, StartError> {
    let stack = parts.layers.stack(parts.image)?;
    let root = MountSource::from(TreeFs::over(stack, parts.scratch.clone(), None));
    let security = container.security_context.as_ref();
    let read_only = security.and_then(|security| security.read_only_root_filesystem) == Some(true);
    let mut builder = MountTable::builder(root.clone()).root_read_only(read_only);
    for path in image_volumes(parts.image, container) {
        // Where a link leads elsewhere, what is there stays as it is.
        let Ok(directory) = root.descend(path.trim_start_matches('/')) else { continue };
        if read_only {
            builder = builder.mount(&path, directory, false);
        }
    }
    builder = builder.mount("/dev", DeviceFs::new(), false);
    builder = add_managed_files(builder, context, container, &parts.files);
    builder = add_volumes(builder, container, parts.volumes, variables)?;
    builder.build().map_err(StartError::create)
}

/// The image's own volumes, but where those of the pod are mounted. What is in them is the container's, and goes with it.
pub(super) fn image_volumes<'a>(image: &'a Image, container: &'a ContainerSpec) -> impl Iterator<Item = String> {
    let paths = image.config.volumes.iter().map(|path| clean_path(path));
    paths.filter(|path| !has_mount_at(container, path))
}

/// Whether a volume of the pod is mounted at a path.
pub(super) fn has_mount_at(container: &ContainerSpec, path: &str) -> bool {
    let path = clean_path(path);
    container.volume_mounts.iter().flatten().any(|mount| clean_path(&mount.mount_path) == path)
}

/// The table of a container whose files its runtime has otherwise.
#[cfg(target_os = "linux")]
pub(super) fn nothing() -> Result<MountTable, StartError> {
    MountTable::builder(TreeFs::in_memory(0)).build().map_err(StartError::create)
}

fn add_managed_files(
    mut builder: MountTableBuilder,
    context: &PodContext<'_>,
    container: &ContainerSpec,
    files: &ManagedFiles<'_>,
) -> MountTableBuilder {
    let taken = |path: &str| has_mount_at(container, path);
    let generated = [
        ("/etc/hosts", dns::hosts_file(context.pod, files.names, files.pod_ips)),
        ("/etc/hostname", dns::hostname_file(files.names)),
        ("/etc/resolv.conf", context.resolv_conf()),
    ];
    for (path, content) in generated {
        if !taken(path) {
            builder = builder.mount(path, MemoryFile::generated(content, 0o644), false);
        }
    }
    let (path, file) = &files.termination_log;
    if taken(path) { builder } else { builder.mount(path, file.clone(), false) }
}

fn add_volumes(
    builder: MountTableBuilder,
    container: &ContainerSpec,
    volumes: &PodVolumes,
    variables: &[(String, String)],
) -> Result<MountTableBuilder, StartError> {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let sub_path = |expression: &str| command::sub_path(expression, variables).map_err(|missing| missing.to_string());
    let mounts = volumes.mounts_for(&container.name, mounts, &sub_path).map_err(StartError::config)?;
    Ok(mounts.into_iter().fold(builder, |builder, mount| mount.add_to(builder)))
}
