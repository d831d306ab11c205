//! How a plan that is about to be carried out changes what is observed.

use std::sync::Arc;

use super::instance::{HookState, ImageState, Instance, Probing, ResizeState};
use super::observed::{Observed, SandboxState, VolumesState};
use super::plan::{Action, HookKind, Memo, Plan, StopSignal};
use super::start_over::{self, RestartAll};
use crate::base::clock::Timestamp;

impl Observed {
    /// Takes in a plan that is about to be carried out: its actions are under way from now on, its status is the
    /// published one, its events are posted.
    pub fn record(&mut self, plan: &Plan, now: Timestamp) {
        self.started_at.get_or_insert(now);
        self.lifecycle = plan.lifecycle;
        self.status = Arc::clone(&plan.status);
        self.notes.clear();
        self.remember(&plan.memo, now);
        self.settled.clone_from(&plan.memo.settled);
        for action in &plan.actions {
            self.issued(action, now);
        }
        for (container, resources) in &plan.memo.resources {
            if let Some(instance) = self.last_instance(container) {
                instance.resources.clone_from(resources);
            }
        }
    }

    fn remember(&mut self, memo: &Memo, now: Timestamp) {
        for (container, backoff) in &memo.restart_backoffs {
            self.containers.entry(container.clone()).or_default().restart_backoff = Some(backoff.clone());
        }
        for (container, shown) in &memo.shown {
            self.containers.entry(container.clone()).or_default().shown = *shown;
        }
        for (container, stop) in &memo.stops {
            if let Some(instance) = self.last_instance(container) {
                instance.stop = Some(stop.clone());
            }
        }
        for (container, resources) in &memo.resizes {
            if let Some(instance) = self.last_instance(container) {
                instance.resize = ResizeState::InProgress(resources.clone());
            }
        }
        for container in &memo.resized {
            if let Some(instance) = self.last_instance(container) {
                instance.resize = ResizeState::Settled;
            }
        }
        self.restarting_all = memo.restart_all == Some(RestartAll::Stopping);
        if memo.restart_all == Some(RestartAll::Over) {
            self.epoch += 1;
            self.restarted_all_at = Some(now);
        }
        for container in &memo.forgotten {
            if let Some(record) = self.containers.get_mut(container) {
                start_over::forget(record);
            }
        }
    }

    fn last_instance(&mut self, container: &str) -> Option<&mut Instance> {
        self.containers.get_mut(container)?.instances.last_mut()
    }

    fn issued(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::SetUpVolumes => {
                self.volumes = VolumesState::SettingUp;
                self.set_up_outdated = false;
            }
            Action::TearDownVolumes => self.volumes = VolumesState::TearingDown,
            Action::UpdateVolumes => self.sources_changed = false,
            Action::CreateSandbox => self.sandbox = SandboxState::Creating,
            Action::StopSandbox => self.sandbox = SandboxState::Stopping,
            Action::PullImage { container, image, .. } => {
                let record = self.containers.entry(container.clone()).or_default();
                record.image = ImageState::Pulling { image: image.clone() };
            }
            Action::StartContainer { container, attempt, .. } => {
                let epoch = self.epoch;
                self.containers.entry(container.clone()).or_default().begin(*attempt, epoch);
            }
            Action::RemoveContainer { container, attempt } => {
                if let Some(record) = self.containers.get_mut(container) {
                    record.instances.retain(|instance| instance.attempt != *attempt);
                }
            }
            Action::CancelStart { container, attempt }
            | Action::Signal { container, attempt, .. }
            | Action::RunHook { container, attempt, .. }
            | Action::CancelHook { container, attempt, .. }
            | Action::StartProbes { container, attempt }
            | Action::StopProbes { container, attempt } => self.issued_to(container, *attempt, action, now),
            // What is under way is in the memo, and what is answered at once leaves no trace.
            Action::UpdateResources { .. } | Action::ProbeReadiness { .. } => {}
        }
    }

    fn issued_to(&mut self, container: &str, attempt: u32, action: &Action, now: Timestamp) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        let instance = &mut record.instances[last];
        match action {
            Action::CancelStart { .. } => instance.cancel_sent = true,
            Action::StartProbes { .. } => instance.probing = Probing::All,
            Action::StopProbes { .. } => instance.probing = Probing::ReadinessOnly,
            Action::RunHook { hook: HookKind::PostStart, .. } => instance.post_start = HookState::Running,
            Action::CancelHook { hook: HookKind::PostStart, .. } => instance.post_start = HookState::Over { at: now },
            _ => {}
        }
        let Some(stop) = &mut instance.stop else { return };
        match action {
            Action::RunHook { hook: HookKind::PreStop, .. } => stop.pre_stop = HookState::Running,
            Action::CancelHook { hook: HookKind::PreStop, .. } => stop.pre_stop = HookState::Over { at: now },
            Action::Signal { signal: StopSignal::Term, .. } => stop.term_sent = Some(now),
            Action::Signal { signal: StopSignal::Kill, .. } => stop.kill_sent = true,
            _ => {}
        }
    }
}
