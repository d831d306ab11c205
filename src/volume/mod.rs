//! Pod volumes, from their specification to something a container can mount.
use std::sync::Arc;
use k8s_openapi::api::core::v1::*;
use crate::vfs::MountSource;
#[allow(missing_docs)]
pub trait Sources { fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>; fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>; fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>>; }
#[allow(missing_docs)]
pub trait DownwardSource { fn field(&self, selector: &ObjectFieldSelector) -> Result<String, String>; fn resource(&self, selector: &ResourceFieldSelector) -> Result<String, String>; }
#[allow(missing_docs)]
pub struct PodVolumes;
#[allow(missing_docs)]
pub struct Mount { pub path: String, pub source: MountSource, pub read_only: bool }
#[allow(missing_docs)]
impl PodVolumes { pub fn mounts_for(&self, _m: &[VolumeMount], _s: &dyn Fn(&str) -> Result<String, String>) -> Result<Vec<Mount>, String> { Ok(vec![]) } }
