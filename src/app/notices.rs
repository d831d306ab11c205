//! The lines of a pod's life that `husk run` shows on standard error.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::PodStatus;

use super::cluster::{Change, PodKey};
use super::outcome;
use crate::pod::EventType;

/// Events of type Normal that are worth a line without `--events`.
const SHOWN: [&str; 3] = ["Started", "Killing", "BuiltInImage"];

/// Turns changes into lines, each once.
#[derive(Debug)]
pub(super) struct Notices {
    all_events: bool,
    ended: HashMap<(PodKey, String), String>,
}

impl Notices {
    /// With `all_events`, every event is shown, in the columns of `kubectl get events`.
    pub(super) fn new(all_events: bool) -> Self {
        Self { all_events, ended: HashMap::new() }
    }

    /// The lines a change is worth.
    pub(super) fn lines(&mut self, change: &Change) -> Vec<String> {
        match change {
            Change::Event { pod, event, at } => {
                let kind = match event.type_ {
                    EventType::Normal => "Normal",
                    EventType::Warning => "Warning",
                };
                let object = match event.field_path.as_deref().and_then(container_of) {
                    Some(container) => format!("{}/{container}", pod.name),
                    None => pod.name.clone(),
                };
                if self.all_events {
                    return vec![format!("{at:.3} {kind:<7} {:<10} {object}: {}", event.reason, event.message)];
                }
                let shown = event.type_ == EventType::Warning || SHOWN.contains(&event.reason);
                let line = || match event.type_ {
                    EventType::Warning => format!("{object}: {}: {}", event.reason, event.message),
                    EventType::Normal => format!("{object}: {}", event.message),
                };
                shown.then(line).into_iter().collect()
            }
            Change::Status { pod, status } => self.ends(pod, status),
        }
    }

    /// A line for each container that has ended since the last status. Kubernetes posts no event for that.
    fn ends(&mut self, pod: &PodKey, status: &PodStatus) -> Vec<String> {
        let mut lines = Vec::new();
        for container in outcome::containers(status) {
            let current = container.state.as_ref().and_then(|state| state.terminated.as_ref());
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let Some(terminated) = current.or(last) else { continue };
            let id = terminated.container_id.clone().unwrap_or_default();
            let key = (pod.clone(), container.name.clone());
            if self.ended.insert(key, id.clone()) != Some(id) {
                let reason = terminated.reason.as_deref().unwrap_or("Error");
                let code = terminated.exit_code;
                lines.push(format!("{}/{}: Container exited with code {code} ({reason})", pod.name, container.name));
            }
        }
        lines
    }
}

/// The container of a field path such as `spec.containers{web}`.
fn container_of(field_path: &str) -> Option<&str> {
    field_path.split_once('{')?.1.strip_suffix('}')
}
