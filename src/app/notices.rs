//! The lines of a pod's life that `husk run` shows on standard error.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::PodStatus;

use super::cluster::{Change, PodKey, container_of};
use super::outcome;
use super::show::Names;
use crate::cli::output::printer::Tone;
use crate::pod::EventType;

/// Events of type Normal that are worth a line without `--events`.
const SHOWN: [&str; 3] = ["Started", "Killing", "BuiltInImage"];

/// Turns changes into lines, each once.
#[derive(Debug)]
pub(super) struct Notices {
    all_events: bool,
    names: Names,
    ended: HashMap<(PodKey, String), String>,
}

impl Notices {
    /// With `all_events`, every event is shown, in the columns of `kubectl get events`.
    pub(super) fn new(all_events: bool, names: Names) -> Self {
        Self { all_events, names, ended: HashMap::new() }
    }

    /// The lines a change is worth.
    pub(super) fn lines(&mut self, change: &Change) -> Vec<(Tone, String)> {
        match change {
            Change::Event { pod, event, at } => {
                let (kind, tone) = match event.type_ {
                    EventType::Normal => ("Normal", Tone::Quiet),
                    EventType::Warning => ("Warning", Tone::Warning),
                };
                let pod = self.names.pod(&pod.namespace, &pod.name);
                let object = container_of(event).map_or_else(|| pod.clone(), |container| format!("{pod}/{container}"));
                if self.all_events {
                    return vec![(tone, format!("{at:.3} {kind:<7} {:<10} {object}: {}", event.reason, event.message))];
                }
                let shown = event.type_ == EventType::Warning || SHOWN.contains(&event.reason);
                let line = || match event.type_ {
                    EventType::Warning => format!("{object}: {}: {}", event.reason, event.message),
                    EventType::Normal => format!("{object}: {}", event.message),
                };
                shown.then(|| (tone, line())).into_iter().collect()
            }
            Change::Status { pod, status } => self.ends(pod, status),
        }
    }

    /// A line for each container that has ended since the last status. Kubernetes posts no event for that.
    fn ends(&mut self, pod: &PodKey, status: &PodStatus) -> Vec<(Tone, String)> {
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
                let tone = if code == 0 { Tone::Quiet } else { Tone::Warning };
                let pod = self.names.pod(&pod.namespace, &pod.name);
                lines.push((tone, format!("{pod}/{}: Container exited with code {code} ({reason})", container.name)));
            }
        }
        lines
    }
}
