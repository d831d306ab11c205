//! Why volumes cannot be set up or mounted, in the kubelet's words.

use std::io;
use std::path::{Path, PathBuf};

use crate::vfs::DescendError;

/// One volume that could not be set up or updated: the message of a `FailedMount` event.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
pub struct VolumeError {
    /// The volume's name.
    pub volume: String,
    /// What went wrong.
    pub reason: SetUpError,
}

/// Why a volume could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A ConfigMap is missing and not optional.
    #[error("configmap {0:?} not found")]
    ConfigMapNotFound(String),
    /// A Secret is missing and not optional.
    #[error("secret {0:?} not found")]
    SecretNotFound(String),
    /// A claim is missing.
    #[error("persistentvolumeclaim {0:?} not found")]
    ClaimNotFound(String),
    /// A ConfigMap lacks a key that `items` names.
    #[error("configmap references non-existent config key: {0}")]
    ConfigKeyMissing(String),
    /// A Secret lacks a key that `items` names.
    #[error("references non-existent secret key: {0}")]
    SecretKeyMissing(String),
    /// The downward API has no such value.
    #[error("{0}")]
    Downward(String),
    /// No token is issued (kubelet v1.36 `token.Manager`).
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// A path to be written that leads elsewhere.
    #[error("invalid path {0:?}: must be relative and must not contain '..'")]
    InvalidPath(String),
    /// A name that cannot be the name of a directory.
    #[error("invalid name {0:?}")]
    InvalidName(String),
    /// A size that is none.
    #[error("invalid sizeLimit {0:?}")]
    InvalidSize(String),
    /// A hostPath is not what its `type` says.
    #[error("hostPath type check failed: {} is not a {wanted}", path.display())]
    HostPathType {
        /// The path on the host.
        path: PathBuf,
        /// What it should be: `directory`, `file`, `socket file`, `character device` or `block device`.
        wanted: &'static str,
    },
    /// A hostPath `type` that there is not.
    #[error("{0} is an invalid volume type")]
    HostPathUnknownType(String),
    /// A kind of volume that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The disk refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl SetUpError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Why a container's mounts cannot be had: the message of `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// A volume that native containers cannot mount.
    #[error(
        "volume {volume:?} is in husk's own memory (emptyDir with medium Memory), where only WebAssembly containers reach \
         it: leave the medium out"
    )]
    InMemory {
        /// The volume.
        volume: String,
    },
    /// The mount names a volume that is not set up.
    #[error("volume {volume:?} is not set up")]
    UnknownVolume {
        /// As the mount names it.
        volume: String,
    },
    /// The mount is to hide the container's whole filesystem.
    #[error("volume {volume:?} cannot be mounted at {path:?}: a container's root filesystem is its image's")]
    Root {
        /// The volume's name.
        volume: String,
        /// The `mountPath` as given.
        path: String,
    },
    /// A `subPathExpr` could not be expanded.
    #[error("{0}")]
    Expansion(String),
    /// A `subPath` starts with a slash (kubelet v1.36 `makeMounts`).
    #[error("error SubPath `{path}` must not be an absolute path")]
    AbsoluteSubPath {
        /// The expanded path.
        path: String,
    },
    /// A `subPath` has `..` in it (kubelet v1.36 `makeMounts`).
    #[error("unable to provision SubPath `{path}`: must not contain '..'")]
    BackstepSubPath {
        /// The expanded path.
        path: String,
    },
    /// A `subPath` leads outside through a symlink, or cannot be made.
    #[error("failed to prepare subPath for volumeMount {volume:?} of container {container:?}: {reason}")]
    SubPath {
        /// The volume's name.
        volume: String,
        /// The container's name.
        container: String,
        /// What went wrong.
        reason: DescendError,
    },
}
