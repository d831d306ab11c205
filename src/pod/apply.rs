//! How events from outside change what is observed. One that does not fit the state (late, repeated, about another
//! instance) changes nothing.

use jiff::SignedDuration;

use super::backoff::Backoff;
use super::events::{self, Note};
use super::instance::{ContainerRecord, Exit, HookState, ImageState, InstanceState, ResizeState, Shown, StartFailure};
use super::observed::{
    Event, ImageFailure, ImageNote, Lifecycle, Observed, ProbeKind, ProbeReport, PullBackoff, Pulled, SandboxState,
    StartFailureReason, TerminationCause, VolumeFailure, VolumesState,
};
use super::plan::HookKind;
use super::spec::later;
use crate::base::clock::Timestamp;

/// After a failure that has no back-off of its own, kubelet syncs the pod again this much later.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// The first wait after volumes could not be set up.
const MOUNT_RETRY: SignedDuration = SignedDuration::from_millis(500);
/// The longest wait after volumes could not be set up.
const MOUNT_RETRY_MAX: SignedDuration = SignedDuration::from_secs(122);
/// Exit code of an instance that was created and could not be started.
const START_ERROR_CODE: i32 = 128;
/// The current instance and a dead one, whose end is `lastState`.
pub(super) const INSTANCES_KEPT: usize = 2;

impl Observed {
    /// Takes in something that happened.
    pub fn apply(&mut self, event: Event, now: Timestamp) {
        self.settled = None;
        match event {
            Event::VolumesReady if self.volumes == VolumesState::SettingUp => self.volumes = VolumesState::Ready,
            Event::VolumesFailed { failures } if self.volumes == VolumesState::SettingUp => {
                self.volumes_failed(&failures, now);
            }
            Event::VolumesTornDown if self.volumes == VolumesState::TearingDown => {
                self.volumes = VolumesState::TornDown;
            }
            Event::SandboxReady { ips } if self.sandbox == SandboxState::Creating => {
                self.sandbox = SandboxState::Ready { ips };
            }
            Event::SandboxFailed { message } if self.sandbox == SandboxState::Creating => {
                self.sandbox = SandboxState::Failed { retry_at: later(now, RETRY) };
                let message = format!("Failed to create pod sandbox: {message}");
                self.notes.push(Note::warning(None, "FailedCreatePodSandBox", message));
            }
            Event::SandboxStopped if self.sandbox == SandboxState::Stopping => self.sandbox = SandboxState::Stopped,
            Event::SourcesChanged => self.sources_changed(now),
            Event::VolumesReady
            | Event::VolumesFailed { .. }
            | Event::VolumesTornDown
            | Event::SandboxReady { .. }
            | Event::SandboxFailed { .. }
            | Event::SandboxStopped => {}
            event => self.apply_to_container(event, now),
        }
    }

    fn apply_to_container(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::PullStarted { container, missing_secrets } => self.pull_started(&container, &missing_secrets),
            Event::ImagePresent { container, resolved, image_id, pulled, note } => {
                self.image_present(&container, resolved, image_id, pulled, note);
            }
            Event::ImageFailed { container, failure } => self.image_failed(&container, failure, now),
            Event::ContainerStarted { container, attempt, id, at } => self.started(&container, attempt, id, at),
            Event::ContainerStartFailed { container, attempt, reason, message, created, at } => {
                let failure = StartFailure { reason, message, image: String::new(), retry_at: at };
                self.start_failed(&container, attempt, failure, created);
            }
            Event::ContainerExited { container, attempt, exit_code, reason, message, at } => {
                self.exited(&container, attempt, (exit_code, reason, message), at);
            }
            Event::ProbeResult { container, attempt, kind, success } => {
                self.probed(&container, attempt, kind, success);
            }
            Event::ProbeReport { container, attempt, kind, report } => {
                self.probe_reported(&container, attempt, kind, &report);
            }
            Event::HookFinished { container, attempt, hook, error, warning } => {
                self.hook_finished(&container, attempt, hook, (error, warning), now);
            }
            Event::Evicted { message } => self.evicted(message),
            Event::Warned { container, reason, message } => {
                self.notes.push(Note::warning(container.as_deref(), reason, message));
            }
            Event::ResourcesUpdated { container, attempt, error } => {
                self.resources_updated(&container, attempt, error, now);
            }
            _ => {}
        }
    }

    /// The pod goes, unless it does so already.
    fn evicted(&mut self, message: String) {
        if self.lifecycle == Lifecycle::Syncing && self.ending.is_none() {
            self.ending = Some(TerminationCause::Evicted);
            self.eviction = Some(message);
        }
    }

    /// What failed for want of a source is tried again at once: it may have come.
    fn sources_changed(&mut self, now: Timestamp) {
        self.sources_changed = true;
        match &mut self.volumes {
            VolumesState::Failed { retry_at } => *retry_at = now,
            VolumesState::SettingUp => self.set_up_outdated = true,
            _ => {}
        }
    }

    fn volumes_failed(&mut self, failures: &[VolumeFailure], now: Timestamp) {
        let delay = self.mount_delay.map_or(MOUNT_RETRY, |delay| (delay * 2).min(MOUNT_RETRY_MAX));
        self.mount_delay = Some(delay);
        let retry_at = if self.set_up_outdated { now } else { later(now, delay) };
        self.volumes = VolumesState::Failed { retry_at };
        for VolumeFailure { volume, message } in failures {
            let message = format!("MountVolume.SetUp failed for volume {volume:?} : {message}");
            self.notes.push(Note::warning(None, "FailedMount", message));
        }
    }

    fn pull_started(&mut self, container: &str, missing_secrets: &[String]) {
        // Differs from Kubernetes, which looks for the Secrets in every sync, and complains in each.
        self.notes.extend(events::missing_pull_secrets(missing_secrets));
        if let Some(ContainerRecord { image: ImageState::Pulling { image }, .. }) = self.containers.get(container) {
            self.notes.push(Note::normal(Some(container), "Pulling", format!("Pulling image {image:?}")));
        }
    }

    fn image_present(
        &mut self,
        container: &str,
        resolved: String,
        image_id: String,
        pulled: Option<Pulled>,
        note: Option<ImageNote>,
    ) {
        let Some(record) = self.containers.get_mut(container) else { return };
        let ImageState::Pulling { image } = &record.image else { return };
        let image = image.clone();
        self.notes.extend(events::image_present(container, &image, pulled, note));
        record.image = ImageState::Present { image, resolved, image_id };
    }

    fn image_failed(&mut self, container: &str, failure: ImageFailure, now: Timestamp) {
        let Some(record) = self.containers.get_mut(container) else { return };
        let ImageState::Pulling { image } = &record.image else { return };
        let image = image.clone();
        self.notes.extend(events::image_failed(container, &image, &failure));
        let mut retry_at = later(now, RETRY);
        if failure.backs_off() {
            let backoff = Backoff::advance(self.pulls.get(&image).map(|pull| pull.backoff), now, now);
            retry_at = later(now, backoff.delay);
            let cause = format!("{}: {}", failure.waiting_reason(), failure.waiting_message(&image));
            self.pulls.insert(image.clone(), PullBackoff { backoff, cause });
        }
        record.shown = Shown::Nothing;
        record.image = ImageState::Failed { image, failure, retry_at };
    }

    /// The record and current instance of a container, if that is the given attempt.
    pub(super) fn current(&mut self, container: &str, attempt: u32) -> Option<(&mut ContainerRecord, usize)> {
        let record = self.containers.get_mut(container)?;
        let last = record.instances.len().checked_sub(1)?;
        (record.instances[last].attempt == attempt).then_some((record, last))
    }

    fn started(&mut self, container: &str, attempt: u32, id: String, at: Timestamp) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        if record.instances[last].state != InstanceState::Starting {
            return;
        }
        record.instances[last].state = InstanceState::Running { id, started_at: at };
        record.start_failure = None;
        record.shown = Shown::Nothing;
        self.notes.push(Note::normal(Some(container), "Created", "Container created"));
        self.notes.push(Note::normal(Some(container), "Started", "Container started"));
    }

    fn start_failed(&mut self, container: &str, attempt: u32, mut failure: StartFailure, created: Option<String>) {
        let at = failure.retry_at;
        let Some((record, last)) = self.current(container, attempt) else { return };
        if record.instances[last].state != InstanceState::Starting {
            return;
        }
        record.shown = Shown::Nothing;
        if failure.reason == StartFailureReason::Cancelled {
            record.instances.pop();
            return;
        }
        failure.image.clone_from(&record.instances[last].spec_image);
        let note = Note::warning(Some(container), "Failed", format!("Error: {}", failure.message));
        if let Some(id) = created {
            // It exists, so it counts and backs off like an instance that ran.
            record.instances[last].state = InstanceState::Exited(Exit {
                id,
                code: START_ERROR_CODE,
                reason: "StartError".into(),
                message: Some(failure.message.clone()),
                started_at: None,
                finished_at: at,
            });
            record.start_failure = Some(failure);
            self.notes.push(Note::normal(Some(container), "Created", "Container created"));
        } else {
            failure.retry_at = later(at, RETRY);
            record.instances.pop();
            record.start_failure = Some(failure);
        }
        self.notes.push(note);
    }

    fn exited(
        &mut self,
        container: &str,
        attempt: u32,
        (code, reason, message): (i32, Option<String>, Option<String>),
        at: Timestamp,
    ) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        let InstanceState::Running { id, started_at } = &record.instances[last].state else { return };
        let default_reason = if code == 0 { "Completed" } else { "Error" };
        record.instances[last].state = InstanceState::Exited(Exit {
            id: id.clone(),
            code,
            reason: reason.unwrap_or_else(|| default_reason.into()),
            message,
            started_at: Some(*started_at),
            finished_at: at,
        });
        record.shown = Shown::Nothing;
    }

    fn probed(&mut self, container: &str, attempt: u32, kind: ProbeKind, success: bool) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        let probes = &mut record.instances[last].probes;
        match kind {
            ProbeKind::Startup => probes.startup = Some(success),
            ProbeKind::Readiness => probes.readiness = Some(success),
            ProbeKind::Liveness => probes.liveness = Some(success),
        }
    }

    fn probe_reported(&mut self, container: &str, attempt: u32, kind: ProbeKind, report: &ProbeReport) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        if record.instances[last].is_running() {
            self.notes.push(events::probe_report(container, kind, report));
        }
    }

    fn hook_finished(
        &mut self,
        container: &str,
        attempt: u32,
        hook: HookKind,
        (error, warning): (Option<String>, Option<String>),
        now: Timestamp,
    ) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        let instance = &mut record.instances[last];
        let state = match hook {
            HookKind::PostStart => Some(&mut instance.post_start),
            HookKind::PreStop => instance.stop.as_mut().map(|stop| &mut stop.pre_stop),
        };
        let Some(state) = state.filter(|state| **state == HookState::Running) else { return };
        *state = if error.is_some() { HookState::Failed { at: now } } else { HookState::Over { at: now } };
        let mut notes = Vec::new();
        if let Some(warning) = warning {
            notes.push(Note::warning(Some(container), "LifecycleHTTPFallback", warning));
        }
        match (hook, error) {
            (HookKind::PostStart, Some(message)) => {
                notes.push(Note::warning(Some(container), "FailedPostStartHook", "PostStartHook failed"));
                let reason = StartFailureReason::PostStartHook;
                record.start_failure =
                    Some(StartFailure { reason, message, image: instance.spec_image.clone(), retry_at: now });
                record.shown = Shown::Nothing;
            }
            (HookKind::PreStop, Some(_)) => {
                notes.push(Note::warning(Some(container), "FailedPreStopHook", "PreStopHook failed"));
            }
            (_, None) => {}
        }
        self.notes.extend(notes);
    }

    fn resources_updated(&mut self, container: &str, attempt: u32, error: Option<String>, now: Timestamp) {
        let Some((record, last)) = self.current(container, attempt) else { return };
        let instance = &mut record.instances[last];
        let ResizeState::InProgress(wanted) = &mut instance.resize else { return };
        let wanted = wanted.take();
        match error {
            None => {
                instance.resources = wanted;
                instance.resize = ResizeState::Done;
            }
            Some(message) => {
                instance.resize = ResizeState::Failed { wanted, message, retry_at: later(now, RETRY) };
            }
        }
    }
}
