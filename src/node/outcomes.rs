//! What was reported last of each thing that an executor has under way, to be told again from time to time: a report
//! that was lost on its way must not leave a pod waiting for ever. What is told twice changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::pod::{Action, Event, HookKind, ProbeKind};

/// The way of reports to the worker of a pod. Clones lead to the same one.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    inbox: mpsc::Sender<Event>,
    outcomes: Arc<Mutex<Outcomes>>,
}

impl Reports {
    pub(super) fn new(inbox: mpsc::Sender<Event>) -> Self {
        Self { inbox, outcomes: Arc::default() }
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports; a worker that is gone needs no reports.
    pub(super) async fn send(&self, event: Event) {
        self.keep(&event);
        let _ = self.inbox.send(event).await;
    }

    /// Keeps a report, to be told later.
    pub(super) fn keep(&self, event: &Event) {
        self.outcomes().keep(event);
    }

    /// An action begins: what was reported of the same thing before is no answer to it.
    pub(super) fn begin(&self, action: &Action) {
        self.outcomes().forget(action);
    }

    /// The last reports, in an order in which the things they are about happen.
    pub(super) fn last(&self) -> Vec<Event> {
        self.outcomes().0.values().cloned().collect()
    }
}

/// The last reports.
#[derive(Debug, Default)]
struct Outcomes(BTreeMap<Subject, Event>);

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Volumes,
    Sandbox,
    Image(String),
    Instance(String, u32, Part),
}

/// A part of the life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Start,
    Hook(HookKind),
    Probe(ProbeKind),
    Resources,
    Exit,
}

impl Outcomes {
    fn keep(&mut self, event: &Event) {
        if let Some(subject) = Subject::of(event) {
            self.0.insert(subject, event.clone());
        }
    }

    fn forget(&mut self, action: &Action) {
        let part = |container: &String, attempt: &u32, part| Subject::Instance(container.clone(), *attempt, part);
        let subject = match action {
            Action::SetUpVolumes | Action::TearDownVolumes => Subject::Volumes,
            Action::CreateSandbox | Action::StopSandbox => Subject::Sandbox,
            Action::PullImage { container, .. } => Subject::Image(container.clone()),
            // Those before it have ended, and that is known: else there were no start.
            Action::StartContainer { container, .. } => return self.forget_instances(container, |_| true),
            Action::RemoveContainer { container, attempt } => {
                return self.forget_instances(container, |other| other == *attempt);
            }
            Action::RunHook { container, attempt, hook } => part(container, attempt, Part::Hook(*hook)),
            Action::UpdateResources { container, attempt, .. } => part(container, attempt, Part::Resources),
            Action::CancelStart { .. }
            | Action::Signal { .. }
            | Action::CancelHook { .. }
            | Action::StartProbes { .. }
            | Action::ProbeReadiness { .. }
            | Action::StopProbes { .. }
            | Action::UpdateVolumes => return,
        };
        self.0.remove(&subject);
    }

    fn forget_instances(&mut self, container: &str, which: impl Fn(u32) -> bool) {
        self.0.retain(|subject, _| {
            !matches!(subject, Subject::Instance(name, attempt, _) if name == container && which(*attempt))
        });
    }
}

impl Subject {
    /// `None` for what settles nothing, or would count twice.
    fn of(event: &Event) -> Option<Self> {
        let part = |container: &String, attempt: &u32, part| Self::Instance(container.clone(), *attempt, part);
        Some(match event {
            Event::VolumesReady | Event::VolumesFailed { .. } | Event::VolumesTornDown => Self::Volumes,
            Event::SandboxReady { .. } | Event::SandboxFailed { .. } | Event::SandboxStopped => Self::Sandbox,
            Event::ImagePresent { container, .. } | Event::ImageFailed { container, .. } => {
                Self::Image(container.clone())
            }
            Event::ContainerStarted { container, attempt, .. }
            | Event::ContainerStartFailed { container, attempt, .. } => part(container, attempt, Part::Start),
            Event::HookFinished { container, attempt, hook, .. } => part(container, attempt, Part::Hook(*hook)),
            Event::ProbeResult { container, attempt, kind, .. } => part(container, attempt, Part::Probe(*kind)),
            Event::ResourcesUpdated { container, attempt, .. } => part(container, attempt, Part::Resources),
            Event::ContainerExited { container, attempt, .. } => part(container, attempt, Part::Exit),
            Event::PullStarted { .. }
            | Event::ProbeReport { .. }
            | Event::Warned { .. }
            | Event::Evicted { .. }
            | Event::SourcesChanged => {
                return None;
            }
        })
    }
}
