//! The resources of a container, as far as a runtime enforces them.

use k8s_openapi::api::core::v1::Container;

use super::spec::PodView;
use crate::api::quantity::Quantity;

/// What a container may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// `resources.limits.memory`, in bytes; `None` for no limit.
    pub memory: Option<u64>,
    /// `resources.limits.cpu`, in thousandths of a core; `None` for no limit.
    pub cpu_millis: Option<u64>,
}

impl ResourceLimits {
    /// The limits a container's spec sets.
    pub fn of(container: &Container) -> Self {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let limit = |name: &str| Quantity::of(limits?.get(name)?).ok();
        let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
        Self {
            memory: limit("memory").and_then(|limit| positive(limit.value())),
            cpu_millis: limit("cpu").and_then(|limit| positive(limit.milli_value())),
        }
    }
}

/// What the pod's app containers and sidecars request together: thousandths of a core of `cpu`, bytes of `memory`.
pub(super) fn requested(view: &PodView<'_>, name: &str) -> u64 {
    let request = |container: &Container| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        let quantity = Quantity::of(requests.get(name)?).ok()?;
        let value = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
        u64::try_from(value).ok()
    };
    view.sidecars().chain(&view.apps).filter_map(|spec| request(&spec.container)).sum()
}
