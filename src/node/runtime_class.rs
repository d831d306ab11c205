//! Which runtime runs a pod's containers: the one that its RuntimeClass names, or else what each image is made for.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;

use crate::api::support::RuntimeKind;
use crate::image::{Image, PlatformChoice};

/// Why a pod's RuntimeClass cannot be had, as containerd words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeClassError {
    /// There is none of this name.
    #[error("failed to get sandbox runtime: RuntimeClass.node.k8s.io {0:?} not found")]
    NotFound(String),
    /// Its handler is none of husk's.
    #[error("failed to get sandbox runtime: no runtime for {0:?} is configured: there are \"wasm\" and \"linux\"")]
    NoHandler(String),
}

/// The runtime that a pod asks for by its class, or by annotations, if it does. `find` finds a RuntimeClass; those of husk's own runtimes are there even
/// where there are no objects.
///
/// # Errors
/// What the pod asks for is not there.
pub fn forced_runtime(
    find: impl FnOnce(&str) -> Option<Arc<RuntimeClass>>,
    pod: &Pod,
) -> Result<Option<RuntimeKind>, RuntimeClassError> {
    let name = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref());
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(RuntimeKind::of_annotations(pod)) };
    match find(name) {
        Some(class) => {
            let kind = RuntimeKind::of_handler(&class.handler);
            kind.map(Some).ok_or_else(|| RuntimeClassError::NoHandler(class.handler.clone()))
        }
        None => RuntimeKind::of_handler(name).map(Some).ok_or_else(|| RuntimeClassError::NotFound(name.to_owned())),
    }
}

/// The runtime of a container with this image.
pub(super) fn runtime_of(forced: Option<RuntimeKind>, image: &Image) -> RuntimeKind {
    let by_image = if image.is_wasm() { RuntimeKind::Wasm } else { RuntimeKind::Linux };
    forced.unwrap_or(by_image)
}

/// Which platforms of images may run where this runtime is asked for.
pub fn platform(forced: Option<RuntimeKind>) -> PlatformChoice {
    match forced {
        Some(RuntimeKind::Wasm) => PlatformChoice::AsWasm,
        Some(RuntimeKind::Linux) => PlatformChoice::Linux,
        None => PlatformChoice::WasmFirst,
    }
}
