//! Pod volumes, from their specification to something a container can mount.
//!
//! [`PodVolumes`] belongs to one pod: it sets volumes up (again and again until it works, as the kubelet does), keeps
//! what they are, gives each container its mounts, follows changes of ConfigMaps and Secrets, and takes everything
//! down. What objects there are, and what the downward API says, it asks its caller. Retrying, events and conditions
//! are `node`'s.
//!
//! Below the pod's directory the layout is the kubelet's: `volumes/kubernetes.io~<kind>/<volume>`.

mod error;
mod host_path;
mod ownership;
mod payload;
#[cfg(test)]
mod tests;
mod tokens;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{
    ConfigMap, EmptyDirVolumeSource, ObjectFieldSelector, ResourceFieldSelector, Secret, Volume, VolumeMount,
};

use crate::api::quantity::Quantity;
use crate::base::clock::Timestamp;
use crate::vfs::{DescendError, Errno, HostDirFs, MountSource, MountTableBuilder, TreeFs};

use self::tokens::Tokens;

pub use error::{MountsError, SetUpError, VolumeError};
pub use ownership::GroupChangePolicy;
pub use tokens::{IssuedToken, TokenRequest};

/// The objects volumes are made from.
pub trait Sources: Send + Sync {
    /// The ConfigMap `name` in `namespace`, where there is one.
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap>;
    /// The Secret `name` in `namespace`, where there is one.
    fn secret(&self, namespace: &str, name: &str) -> Option<Secret>;
    /// Whether the PersistentVolumeClaim `name` exists in `namespace`.
    fn has_claim(&self, namespace: &str, name: &str) -> bool;
    /// A new token of the pod's service account. The error is a text.
    fn service_account_token(&self, request: &TokenRequest) -> Result<IssuedToken, String>;
}

/// What the downward API says of the pod. Errors are texts that name the field.
pub trait DownwardSource: Send + Sync {
    /// The value of a `fieldRef`, as a volume shows it.
    fn field(&self, field_ref: &ObjectFieldSelector) -> Result<String, String>;
    /// The value of a `resourceFieldRef`.
    fn resource(&self, resource_field_ref: &ResourceFieldSelector) -> Result<String, String>;
}

/// Mounts a volume in memory of so many bytes on a directory.
pub type MountMemory = dyn Fn(&Path, u64) -> io::Result<()> + Sync;

/// What setting up and updating needs to know.
#[derive(Clone, Copy)]
pub struct VolumeContext<'a> {
    /// The pod's namespace; objects come from no other.
    pub namespace: &'a str,
    /// Where claims have their directories: `<data_directory>/volumes/<namespace>/<claim>`.
    pub data_directory: &'a Path,
    /// The most bytes a volume in memory may have: the pod's memory limit, else what the node can give.
    pub memory_limit: u64,
    /// Mounts a volume in memory of so many bytes on a directory, where native containers may have to see it; without it,
    /// such volumes are in husk's own memory.
    pub mount_memory: Option<&'a MountMemory>,
    /// `securityContext.fsGroup` of the pod.
    pub fs_group: Option<u32>,
    /// `securityContext.fsGroupChangePolicy` of the pod.
    pub fs_group_change_policy: GroupChangePolicy,
    /// The user that all containers of the pod run as, if it is the same: the pod's tokens are that user's alone then.
    pub one_user: Option<u32>,
    /// The current time, for the names of written versions.
    pub now: Timestamp,
    /// The objects there are.
    pub sources: &'a dyn Sources,
    /// The downward API.
    pub downward: &'a dyn DownwardSource,
}

/// One mount of a container, for [`MountTableBuilder::mount`].
#[derive(Debug, Clone)]
pub struct Mount {
    /// Absolute, in the container.
    pub path: String,
    /// What is mounted.
    pub source: MountSource,
    /// Whether the container may only read.
    pub read_only: bool,
}

impl Mount {
    /// Adds this mount to a table.
    pub fn add_to(self, builder: MountTableBuilder) -> MountTableBuilder {
        builder.mount(&self.path, self.source, self.read_only)
    }
}

/// One mount of a native container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// Absolute, in the container.
    pub path: String,
    /// The volume: a file or directory of the host.
    pub source: PathBuf,
    /// What of it is mounted, to be resolved within it: it is there.
    pub sub_path: Option<PathBuf>,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// The volumes of one pod that are set up.
#[derive(Debug)]
pub struct PodVolumes {
    directory: PathBuf,
    volumes: Mutex<BTreeMap<String, Arc<SetUpVolume>>>,
    tokens: Tokens,
}

#[derive(Debug)]
struct SetUpVolume {
    source: MountSource,
    /// Where it is on the host; none of a volume in husk's own memory.
    host: Option<PathBuf>,
    read_only: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// emptyDir on disk, with its limit as given.
    Disk { filesystem: HostDirFs, limit: Option<(u64, String)> },
    /// Written by us from objects, and written again when they change.
    Written { directory: PathBuf, volume: Box<Volume> },
    /// Everything that needs no more care.
    Plain,
}

/// What a mount says: the volume, where it shows in the container, and the `subPath`, which leads nowhere but down.
struct Mounted {
    volume: Arc<SetUpVolume>,
    path: String,
    sub_path: String,
}

impl PodVolumes {
    /// None set up yet; what they need on disk goes below `pod_directory`.
    pub fn new(pod_directory: &Path) -> Self {
        Self { directory: volumes_directory(pod_directory), volumes: Mutex::default(), tokens: Tokens::default() }
    }

    fn volumes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<SetUpVolume>>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn volume(&self, name: &str) -> Option<Arc<SetUpVolume>> {
        self.volumes().get(name).cloned()
    }

    /// Sets up `volumes` one after the other; returns what went wrong with each that failed. What is set up already
    /// stays as it is, so calling again retries what failed. Touches the disk: not for an async task's own thread.
    pub fn set_up_all(&self, volumes: &[Volume], context: &VolumeContext<'_>) -> Vec<VolumeError> {
        volumes.iter().filter_map(|volume| self.set_up(volume, context).err()).collect()
    }

    /// Sets one volume up, unless it is.
    pub fn set_up(&self, volume: &Volume, context: &VolumeContext<'_>) -> Result<(), VolumeError> {
        if self.volume(&volume.name).is_some() {
            return Ok(());
        }
        let set_up =
            self.prepare(volume, context).map_err(|reason| VolumeError { volume: volume.name.clone(), reason })?;
        // Whoever was first stays: containers may have mounted it.
        self.volumes().entry(volume.name.clone()).or_insert_with(|| Arc::new(set_up));
        Ok(())
    }

    /// Adds a volume that was set up elsewhere, such as an image volume.
    pub fn insert(&self, name: &str, source: MountSource, read_only: bool) {
        let volume = SetUpVolume { source, host: None, read_only, kind: Kind::Plain };
        self.volumes().insert(name.to_owned(), Arc::new(volume));
    }

    /// What volume `name` is, where it is set up.
    pub fn source(&self, name: &str) -> Option<MountSource> {
        self.volume(name).map(|volume| volume.source.clone())
    }

    fn prepare(&self, volume: &Volume, context: &VolumeContext<'_>) -> Result<SetUpVolume, SetUpError> {
        check_name(&volume.name)?;
        if let Some(empty_dir) = &volume.empty_dir {
            self.prepare_empty_dir(&volume.name, empty_dir, context)
        } else if let Some(host_path) = &volume.host_path {
            let source = host_path::prepare(host_path)?;
            let host = Some(PathBuf::from(&host_path.path));
            Ok(SetUpVolume { source, host, read_only: false, kind: Kind::Plain })
        } else if let Some(claim) = &volume.persistent_volume_claim {
            let read_only = claim.read_only.unwrap_or(false);
            let directory = prepare_claim(&claim.claim_name, read_only, context)?;
            let source = open(&directory)?.into();
            Ok(SetUpVolume { source, host: Some(directory), read_only, kind: Kind::Plain })
        } else {
            let kind = payload::kind(volume)?;
            let files = payload::gather(volume, context, &self.tokens)?;
            let directory = self.make_directory(kind, &volume.name, 0o755)?;
            writer::write(&directory, &files, context.now)
                .map_err(|error| SetUpError::io("write", &directory, error))?;
            let source = open(&directory)?.into();
            Ok(SetUpVolume {
                source,
                host: Some(directory.clone()),
                read_only: true,
                kind: Kind::Written { directory, volume: Box::new(volume.clone()) },
            })
        }
    }

    /// `kubernetes.io~<kind>/<name>`, made with exactly these permission bits where it is missing.
    fn make_directory(&self, kind: &str, name: &str, mode: u32) -> Result<PathBuf, SetUpError> {
        let directory = self.directory.join(format!("kubernetes.io~{kind}")).join(name);
        let made = fs::create_dir_all(&directory)
            // Others on the machine have no business with a pod's secrets.
            .and_then(|()| set_mode(&self.directory, 0o700))
            .and_then(|()| set_mode(&directory, mode));
        made.map_err(|error| SetUpError::io("make", &directory, error))?;
        Ok(directory)
    }

    fn prepare_empty_dir(
        &self,
        name: &str,
        empty_dir: &EmptyDirVolumeSource,
        context: &VolumeContext<'_>,
    ) -> Result<SetUpVolume, SetUpError> {
        let limit = match &empty_dir.size_limit {
            Some(limit) => bytes(limit)
                .map(|bytes| (bytes, limit.0.clone()))
                .ok_or_else(|| SetUpError::InvalidSize(limit.0.clone()))
                .map(Some)?
                // A limit of 0 is none (kubelet v1.36 emptydir calculateEmptyDirMemorySize).
                .filter(|(bytes, _)| *bytes > 0),
            None => None,
        };
        match empty_dir.medium.as_deref().unwrap_or_default() {
            "" => {
                let directory = self.make_empty_directory(name, context, |_| Ok(()))?;
                let mut filesystem = open(&directory)?;
                if let Some((bytes, _)) = &limit {
                    filesystem =
                        filesystem.with_quota(*bytes).map_err(|error| SetUpError::io("measure", &directory, error))?;
                }
                let source = MountSource::from(&filesystem);
                let kind = Kind::Disk { filesystem, limit };
                Ok(SetUpVolume { source, host: Some(directory), read_only: false, kind })
            }
            "Memory" => {
                let bytes = limit.map_or(u64::MAX, |(bytes, _)| bytes).min(context.memory_limit);
                let Some(mount) = context.mount_memory else {
                    // Differs from Kubernetes: it is husk's own memory, and lost with it; a tmpfs outlives a kubelet.
                    let source = TreeFs::in_memory(bytes).into();
                    return Ok(SetUpVolume { source, host: None, read_only: false, kind: Kind::Plain });
                };
                let directory = self.make_empty_directory(name, context, |directory| mount(directory, bytes))?;
                let source = open(&directory)?.into();
                Ok(SetUpVolume { source, host: Some(directory), read_only: false, kind: Kind::Plain })
            }
            medium => Err(SetUpError::Unsupported(format!("emptyDir medium {medium:?}"))),
        }
    }

    /// The directory of an emptyDir, on which `mount` may mount something.
    fn make_empty_directory(
        &self,
        name: &str,
        context: &VolumeContext<'_>,
        mount: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<PathBuf, SetUpError> {
        // Group bits as the kubelet adds them for a writable volume.
        let mode = if context.fs_group.is_some() { 0o2777 } else { 0o777 };
        let directory = self.make_directory("empty-dir", name, mode)?;
        mount(&directory).map_err(|error| SetUpError::io("mount memory on", &directory, error))?;
        set_mode(&directory, mode)
            .and_then(|()| context.fs_group.map_or(Ok(false), |group| ownership::set_group(&directory, group)))
            .map_err(|error| SetUpError::io("change the group of", &directory, error))?;
        Ok(directory)
    }

    /// The mounts of container `container`, in the order of `mounts`. `expand` expands a `subPathExpr`.
    pub fn mounts_for(
        &self,
        container: &str,
        mounts: &[VolumeMount],
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Vec<Mount>, MountsError> {
        mounts.iter().map(|mount| self.mount(container, mount, expand)).collect()
    }

    fn mount(
        &self,
        container: &str,
        mount: &VolumeMount,
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Mount, MountsError> {
        let Mounted { volume, path, sub_path } = self.mounted(mount, expand)?;
        let source = if sub_path.is_empty() {
            volume.source.clone()
        } else {
            volume.source.descend(&sub_path).map_err(not_prepared(container, mount))?
        };
        Ok(Mount { path, source, read_only: volume.read_only || mount.read_only.unwrap_or(false) })
    }

    /// The mounts of the native container `container`, in the order of `mounts`. `expand` expands a `subPathExpr`.
    pub fn host_mounts_for(
        &self,
        container: &str,
        mounts: &[VolumeMount],
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Vec<HostMount>, MountsError> {
        let host_mount = |mount: &VolumeMount| {
            let Mounted { volume, path, sub_path } = self.mounted(mount, expand)?;
            let in_memory = || MountsError::InMemory { volume: mount.name.clone() };
            let source = volume.host.clone().ok_or_else(in_memory)?;
            if !sub_path.is_empty() {
                // Made where it is missing, and refused where it leads out. Whoever mounts it resolves it once more, for a
                // container may have changed it by then.
                let directory = HostDirFs::open(&source).map_err(|error| DescendError::from(Errno::from(error)));
                let found = directory.and_then(|directory| MountSource::from(directory).descend(&sub_path));
                found.map_err(not_prepared(container, mount))?;
            }
            Ok(HostMount {
                path,
                source,
                sub_path: (!sub_path.is_empty()).then(|| PathBuf::from(sub_path)),
                read_only: volume.read_only || mount.read_only.unwrap_or(false),
            })
        };
        mounts.iter().map(host_mount).collect()
    }

    /// What a mount says, checked as far as it can be without a look at the volume.
    fn mounted(
        &self,
        mount: &VolumeMount,
        expand: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Mounted, MountsError> {
        let volume =
            self.volume(&mount.name).ok_or_else(|| MountsError::UnknownVolume { volume: mount.name.clone() })?;
        let path = clean_path(&mount.mount_path);
        if path == "/" {
            return Err(MountsError::Root { volume: mount.name.clone(), path: mount.mount_path.clone() });
        }
        let sub_path = match mount.sub_path_expr.as_deref().filter(|expression| !expression.is_empty()) {
            Some(expression) => expand(expression).map_err(MountsError::Expansion)?,
            None => mount.sub_path.clone().unwrap_or_default(),
        };
        if sub_path.starts_with('/') {
            return Err(MountsError::AbsoluteSubPath { path: sub_path });
        }
        if sub_path.split('/').any(|name| name == "..") {
            return Err(MountsError::BackstepSubPath { path: sub_path });
        }
        Ok(Mounted { volume, path, sub_path })
    }

    /// Brings every volume written from objects up to date: an atomic swap where anything changed, nothing where
    /// not. A volume whose source is gone keeps what it had and is among the errors.
    pub fn update(&self, context: &VolumeContext<'_>) -> Vec<VolumeError> {
        let volumes: Vec<_> = self.volumes().iter().map(|(name, volume)| (name.clone(), Arc::clone(volume))).collect();
        let mut errors = Vec::new();
        for (name, set_up) in volumes {
            let Kind::Written { directory, volume } = &set_up.kind else { continue };
            let updated = payload::gather(volume, context, &self.tokens).and_then(|files| {
                writer::write(directory, &files, context.now).map_err(|error| SetUpError::io("write", directory, error))
            });
            if let Err(reason) = updated {
                errors.push(VolumeError { volume: name, reason });
            }
        }
        errors
    }

    /// When volumes should be brought up to date although no object has changed: a token in them should be replaced.
    pub fn update_at(&self) -> Option<Timestamp> {
        self.tokens.replace_at()
    }

    /// The kubelet's eviction message for the first emptyDir on disk that holds more than its `sizeLimit`. Wasm
    /// containers cannot get there, for they get `NoSpace` at the limit.
    ///
    /// Source: kubelet v1.36 `emptyDirLimitEviction`.
    pub fn over_limit(&self) -> Option<String> {
        let volumes: Vec<_> = self.volumes().iter().map(|(name, volume)| (name.clone(), Arc::clone(volume))).collect();
        volumes.into_iter().find_map(|(name, volume)| match &volume.kind {
            Kind::Disk { filesystem, limit: Some((bytes, text)) }
                if filesystem.measure().is_ok_and(|used| used > *bytes) =>
            {
                Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {text:?}. "))
            }
            _ => None,
        })
    }

    /// Forgets all volumes and removes what was made for this pod; directories of the host and of claims stay.
    pub fn tear_down(&self) -> io::Result<()> {
        self.volumes().clear();
        self.tokens.clear();
        remove(&self.directory)
    }

    /// As `tear_down`, for a pod whose volumes were set up by an earlier process.
    pub fn tear_down_leftovers(pod_directory: &Path) -> io::Result<()> {
        remove(&volumes_directory(pod_directory))
    }
}

/// What is said of a `subPath` that cannot be had.
fn not_prepared(container: &str, mount: &VolumeMount) -> impl FnOnce(DescendError) -> MountsError {
    |reason| MountsError::SubPath { volume: mount.name.clone(), container: container.to_owned(), reason }
}

/// A path in a container without `.` and `..`, which are taken as they are written, whatever links there are: container
/// runtimes do so with the places of mounts (runc `cleanPath`).
pub fn clean_path(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

fn volumes_directory(pod_directory: &Path) -> PathBuf {
    pod_directory.join("volumes")
}

/// Removes a directory and all below it. Containers may have made trees deeper than any recursion or table of open
/// files would bear, so what lies deeper is first moved up.
fn remove(directory: &Path) -> io::Result<()> {
    let mut moved: u64 = 0;
    loop {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?.collect::<io::Result<Vec<_>>>()?,
        };
        if entries.is_empty() {
            return fs::remove_dir(directory);
        }
        for entry in entries {
            let path = entry.path();
            if !entry.file_type()?.is_dir() {
                fs::remove_file(path)?;
                continue;
            }
            set_mode(&path, 0o700)?;
            for inner in fs::read_dir(&path)? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    // Moving a directory changes its `..`, for which it must be writable.
                    set_mode(&inner.path(), 0o700)?;
                    moved = move_up(&inner.path(), directory, moved)?;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(path)?;
        }
    }
}

/// Moves a directory into `directory`, under a name with a number from `first` on; gives the next number. What an interrupted
/// removal has moved keeps its name.
fn move_up(inner: &Path, directory: &Path, first: u64) -> io::Result<u64> {
    let mut number = first;
    loop {
        let moved = fs::rename(inner, directory.join(format!("removing-{number}")));
        number += 1;
        match moved {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            other => return other.map(|()| number),
        }
    }
}

fn open(directory: &Path) -> Result<HostDirFs, SetUpError> {
    HostDirFs::open(directory).map_err(|error| SetUpError::io("open", directory, error))
}

/// A claim is a directory kept by its name, beyond the pod. Each pod's group gets what is in it, unless the pod only reads.
fn prepare_claim(name: &str, read_only: bool, context: &VolumeContext<'_>) -> Result<PathBuf, SetUpError> {
    check_name(name)?;
    check_name(context.namespace)?;
    if !context.sources.has_claim(context.namespace, name) {
        return Err(SetUpError::ClaimNotFound(name.to_owned()));
    }
    let directory = context.data_directory.join("volumes").join(context.namespace).join(name);
    if !directory.is_dir() {
        fs::create_dir_all(&directory)
            .and_then(|()| set_mode(&directory, 0o777))
            .map_err(|error| SetUpError::io("make", &directory, error))?;
    }
    if let Some(group) = context.fs_group.filter(|_| !read_only) {
        ownership::set_group_of_all(&directory, group, context.fs_group_change_policy)
            .map_err(|error| SetUpError::io("change the group of", &directory, error))?;
    }
    Ok(directory)
}

/// Whole bytes, rounded up; none where it is no quantity or negative.
fn bytes(quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Option<u64> {
    u64::try_from(Quantity::of(quantity).ok()?.value()).ok()
}

/// Names become parts of paths on the host: only what cannot be more than one component passes.
fn check_name(name: &str) -> Result<(), SetUpError> {
    let plain = !name.is_empty() && !matches!(name, "." | "..") && !name.contains(['/', '\\', '\0', ':']);
    if plain { Ok(()) } else { Err(SetUpError::InvalidName(name.to_owned())) }
}

/// Sets permission bits whatever the process's file mode creation mask says.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    return fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    return { (path, mode) }.0.metadata().map(|_| ());
}
