//! What every plan must keep to, judged by what its planner was told: what it orders is right, what is due is ordered,
//! and it looks again when something else becomes due.

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::super::super::*;
use super::told::{
    Ending, Ground, Hook, ImageTold, Knowledge, Resize, Spec, State, StopTold, Told, find, grace, specs,
};
use super::world::World;
use super::{published, standing};
use crate::pod::TerminationCause;

/// Whether a rule was kept; the error says which one was not.
pub(super) type Kept = Result<(), String>;

/// Breaks off with a message unless the condition holds.
macro_rules! rule {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(super) use rule;

/// The least between SIGTERM and SIGKILL, in milliseconds.
const LEAST_TERM: i64 = 2_000;
/// The least between two restarts of all containers, in milliseconds.
const PACE: i64 = 1_000;
/// What of a grace period may be lost to counting in whole seconds, twice.
const ROUNDING: i64 = 2_000;

/// One plan before its judge.
pub(super) struct Judge<'k, 'a> {
    knowledge: &'k mut Knowledge,
    pod: &'a Pod,
    specs: Vec<Spec<'a>>,
    plan: &'a Plan,
    now: i64,
    /// How many stops begin.
    stops: usize,
    /// How many containers are pulled for or started.
    starts: usize,
    /// When something is due next.
    next: Option<i64>,
}

/// Judges a plan, what it publishes and what it orders, and takes in the orders.
pub(super) fn judge(knowledge: &mut Knowledge, pod: &Pod, plan: &Plan, before: &PodStatus, now: i64) -> Kept {
    knowledge.begun.get_or_insert(now);
    let specs = specs(pod);
    let mut judge = Judge { knowledge, pod, specs, plan, now, stops: 0, starts: 0, next: None };
    judge.lifecycle()?;
    let begins = !judge.knowledge.restarting_all;
    let starts_over = judge.stops_begin();
    published::judge(judge.knowledge, pod, before, &plan.status, now)?;
    for action in &plan.actions {
        judge.action(action).map_err(|why| format!("{action:?}: {why}"))?;
        judge.knowledge.order(&judge.specs, action, now);
    }
    judge.instances_are_tended()?;
    judge.ground_is_tended()?;
    judge.starts_are_made()?;
    judge.events()?;
    if judge.knowledge.restarting_all && begins {
        let told = plan
            .status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "AllContainersRestarting" && condition.status == "True");
        rule!(told, "nobody is told that all containers restart");
    }
    if starts_over {
        judge.knowledge.start_over(&judge.specs, now);
        let wake_at = plan.wake_at.map(World::millis);
        rule!(wake_at == Some(now), "all containers are to be started over, and nobody looks at once");
    }
    judge.wakes()
}

impl<'a> Judge<'_, 'a> {
    fn is_ending(&self) -> bool {
        self.knowledge.ending.is_some()
    }

    /// The next time something is due.
    fn due(&mut self, at: i64) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Why the pod should end, if it should.
    fn cause(&mut self) -> Option<TerminationCause> {
        let spec = self.pod.spec.as_ref()?;
        let begun = self.knowledge.begun.unwrap_or(self.now);
        let deadline = spec.active_deadline_seconds.map(|seconds| begun + seconds * 1000);
        if self.pod.metadata.deletion_timestamp.is_some() {
            Some(TerminationCause::Deleted)
        } else if self.knowledge.ending_before.is_some() {
            self.knowledge.ending_before
        } else if standing::nothing_left(self.knowledge, &self.specs, self.pod) {
            Some(TerminationCause::Completed)
        } else {
            let deadline = deadline?;
            if deadline <= self.now {
                return Some(TerminationCause::DeadlineExceeded);
            }
            self.due(deadline);
            None
        }
    }

    fn lifecycle(&mut self) -> Kept {
        rule!(!self.knowledge.over, "planned after the end");
        let gone = self.is_gone();
        let cause = match self.knowledge.ending {
            Some(ending) => Some(ending.cause),
            None => self.cause(),
        };
        let (lifecycle, now) = (self.plan.lifecycle, self.now);
        let told = match lifecycle {
            Lifecycle::Syncing => None,
            Lifecycle::Terminating { cause, .. } | Lifecycle::Terminated { cause } => Some(cause),
        };
        rule!(told == cause, "the pod should be ending because of {cause:?}, but is {lifecycle:?}");
        let Some(cause) = cause else { return Ok(()) };
        let is_over = matches!(lifecycle, Lifecycle::Terminated { .. });
        rule!(is_over == gone, "nothing left is {gone}, but the pod is {lifecycle:?}");
        self.knowledge.over = is_over;
        rule!(!is_over || self.plan.actions.is_empty(), "actions at the end: {:?}", self.plan.actions);
        let seconds = grace(self.pod);
        let kill_at = now + seconds * 1000;
        let begun = Ending { cause, since: now, grace: seconds, kill_at, shortened: false };
        let ending = self.knowledge.ending.get_or_insert(begun);
        if self.pod.metadata.deletion_timestamp.is_some() && seconds < ending.grace {
            (ending.grace, ending.shortened) = (seconds, true);
            ending.kill_at = ending.kill_at.min(kill_at);
        }
        Ok(())
    }

    /// Whether nothing is left of the pod.
    fn is_gone(&self) -> bool {
        let live = self.specs.iter().any(|spec| self.knowledge.is_live(spec.name));
        let sandbox =
            matches!(self.knowledge.sandbox, Ground::Absent | Ground::Failed { .. } | Ground::Left | Ground::Gone);
        !live && sandbox && matches!(self.knowledge.volumes, Ground::Absent | Ground::Gone)
    }

    /// Notes which stops begin now; true if all containers have stopped to start over.
    fn stops_begin(&mut self) -> bool {
        let ending = self.knowledge.ending;
        let restarts_all =
            ending.is_none() && (self.knowledge.restarting_all || standing::restarts_all(self.knowledge, &self.specs));
        self.knowledge.restarting_all = restarts_all;
        let mut live = false;
        let resizable = standing::resizable(&self.specs);
        for index in 0..self.specs.len() {
            let spec = self.specs[index];
            let Some(told) = self.knowledge.instance(spec.name) else { continue };
            let counts = spec.kind != ContainerKind::Ephemeral || !restarts_all;
            live |= told.is_live() && counts;
            if !told.is_running() || !counts {
                continue;
            }
            let before = told.stop_cause();
            let begun = match ending {
                Some(ending) if before.is_none() => Some((StopCause::Pod, ending.since, ending.grace)),
                None if restarts_all && before != Some(StopCause::RestartAllContainers) => {
                    Some((StopCause::RestartAllContainers, self.now, 0))
                }
                None if !restarts_all && before.is_none() => {
                    standing::kill(told, &spec, self.pod, resizable).map(|(cause, grace)| (cause, self.now, grace))
                }
                _ => None,
            };
            let (Some((cause, since, grace)), Some(told)) = (begun, self.knowledge.instance_mut(spec.name)) else {
                continue;
            };
            let pre_stop = told.stop.as_ref().map_or(Hook::Pending, |stop| stop.pre_stop);
            told.stop = Some(StopTold { cause, since, grace, pre_stop, term: None, killed: false });
            self.stops += 1;
        }
        let earliest = self.knowledge.restarted_all_at.map_or(self.now, |at| at + PACE);
        if restarts_all && !live && self.now < earliest {
            self.due(earliest);
        }
        restarts_all && !live && self.now >= earliest
    }

    fn action(&mut self, action: &Action) -> Kept {
        let ending = self.is_ending();
        match action {
            Action::SetUpVolumes => {
                let due = match self.knowledge.volumes {
                    Ground::Absent | Ground::Left => true,
                    Ground::Failed { retry_at } => retry_at <= self.now,
                    _ => false,
                };
                rule!(due && !ending, "the volumes are {:?}", self.knowledge.volumes);
            }
            Action::CreateSandbox => {
                let due = match self.knowledge.sandbox {
                    Ground::Absent | Ground::Left => true,
                    Ground::Failed { retry_at } => retry_at <= self.now,
                    _ => false,
                };
                rule!(due && !ending, "the sandbox is {:?}", self.knowledge.sandbox);
                rule!(self.knowledge.volumes == Ground::There, "the volumes are {:?}", self.knowledge.volumes);
                self.nothing_lives()?;
            }
            Action::StopSandbox => {
                rule!(ending, "the pod is not ending");
                self.nothing_lives()?;
                let there = matches!(self.knowledge.sandbox, Ground::Making | Ground::There);
                rule!(there, "the sandbox is {:?}", self.knowledge.sandbox);
            }
            Action::TearDownVolumes => {
                rule!(ending, "the pod is not ending");
                self.nothing_lives()?;
                let sandbox = self.knowledge.sandbox;
                rule!(!matches!(sandbox, Ground::Making | Ground::There | Ground::Removing), "sandbox {sandbox:?}");
                let volumes = self.knowledge.volumes;
                rule!(!matches!(volumes, Ground::Absent | Ground::Removing | Ground::Gone), "volumes {volumes:?}");
            }
            Action::UpdateVolumes => {
                rule!(!ending && self.knowledge.sources_changed, "no source has changed");
                rule!(self.knowledge.volumes == Ground::There, "the volumes are {:?}", self.knowledge.volumes);
            }
            Action::PullImage { .. } | Action::StartContainer { .. } => self.start(action)?,
            Action::RemoveContainer { container, attempt } => {
                let known = self.knowledge.containers.get(container);
                let told = known.and_then(|known| known.instances.iter().find(|told| told.attempt == *attempt));
                rule!(told.is_some_and(|told| !told.is_live()), "no such dead instance");
                let is_last = self.knowledge.instance(container).is_some_and(|told| told.attempt == *attempt);
                rule!(!is_last, "it is the last one");
            }
            Action::CancelStart { container, attempt }
            | Action::Signal { container, attempt, .. }
            | Action::RunHook { container, attempt, .. }
            | Action::CancelHook { container, attempt, .. }
            | Action::StartProbes { container, attempt }
            | Action::ProbeReadiness { container, attempt }
            | Action::StopProbes { container, attempt }
            | Action::UpdateResources { container, attempt, .. } => {
                let Some(spec) = find(&self.specs, container).copied() else { return Err("no such container".into()) };
                let told = self.knowledge.instance(container).filter(|told| told.attempt == *attempt);
                let Some(told) = told else { return Err("no such instance".into()) };
                self.action_on(action, &spec, told)?;
            }
        }
        Ok(())
    }

    fn nothing_lives(&self) -> Kept {
        let live = self.specs.iter().find(|spec| self.knowledge.is_live(spec.name));
        rule!(live.is_none(), "{} is there", live.map_or("", |spec| spec.name));
        Ok(())
    }

    fn start(&mut self, action: &Action) -> Kept {
        let (Action::PullImage { container, .. } | Action::StartContainer { container, .. }) = action else {
            return Ok(());
        };
        rule!(!self.is_ending(), "the pod is ending");
        rule!(!self.knowledge.restarting_all, "all containers are being stopped to start over");
        rule!(self.knowledge.volumes == Ground::There, "the volumes are {:?}", self.knowledge.volumes);
        rule!(self.knowledge.sandbox == Ground::There, "the sandbox is {:?}", self.knowledge.sandbox);
        self.starts += 1;
        rule!(self.starts == 1, "another container is started at the same time");
        let busy = standing::busy(self.knowledge, &self.specs);
        rule!(busy.is_none(), "{} is being started", busy.unwrap_or_default());
        let Some(spec) = find(&self.specs, container).copied() else { return Err("no such container".into()) };
        let wanted = standing::wanted(self.knowledge, &self.specs, self.pod);
        rule!(wanted.contains(&spec.name), "it is not its turn, but {wanted:?}'s");
        standing::initialised_for(self.knowledge, &self.specs, &spec)?;
        let known = self.knowledge.containers.get(container);
        match action {
            Action::PullImage { image, policy, .. } => {
                rule!(image == spec.image, "its image is {}", spec.image);
                let wanted = match spec.container.and_then(|container| container.image_pull_policy.as_deref()) {
                    Some("Always") => PullPolicy::Always,
                    Some("Never") => PullPolicy::Never,
                    _ => PullPolicy::IfNotPresent,
                };
                rule!(*policy == wanted || spec.container.is_none(), "its policy is {wanted:?}");
                let earliest = standing::earliest(self.knowledge, &spec);
                rule!(earliest <= self.now, "{} ms too early", earliest - self.now);
            }
            Action::StartContainer { attempt, kind, .. } => {
                let image = known.map(|known| &known.image);
                rule!(image == Some(&ImageTold::Present(spec.image.into())), "its image is {image:?}");
                let last = self.knowledge.instance(container);
                let next = last.map_or(0, |told| told.attempt + 1);
                rule!(*attempt == next && *kind == spec.kind, "it should be {next} of {:?}", spec.kind);
                let kept = known.map_or(0, |known| known.instances.len());
                rule!(kept < 2, "{kept} dead instances are kept already");
            }
            _ => {}
        }
        Ok(())
    }

    fn action_on(&self, action: &Action, spec: &Spec<'_>, told: &Told) -> Kept {
        match action {
            Action::CancelStart { .. } => {
                rule!(told.state == State::Starting && !told.cancelled, "it is not starting, or given up already");
                rule!(self.is_ending() || self.knowledge.restarting_all, "nothing is stopping");
            }
            Action::Signal { signal, cause, .. } => self.signal(*signal, *cause, spec, told)?,
            Action::RunHook { hook: HookKind::PostStart, .. } => {
                rule!(told.is_running() && told.post_start == Hook::Pending, "{told:?}");
                rule!(spec.has_hook(HookKind::PostStart) && told.stop.is_none(), "{told:?}");
            }
            Action::RunHook { hook: HookKind::PreStop, .. } => {
                let stop = told.stop.as_ref().filter(|_| told.is_running());
                let due = stop.is_some_and(|stop| self.wants_pre_stop(spec, stop) && stop.pre_stop == Hook::Pending);
                rule!(due && stop.is_some_and(|stop| stop.term.is_none()), "{told:?}");
            }
            Action::CancelHook { hook, .. } => self.cancel_hook(*hook, told)?,
            Action::StartProbes { .. } => {
                rule!(told.is_up(spec) && spec.has_probes() && !told.probing, "{told:?}");
                rule!(told.stop.is_none() && !self.is_ending(), "it is being stopped: {told:?}");
            }
            Action::ProbeReadiness { .. } => {
                rule!(told.is_started(spec) && told.probing && spec.has_readiness_probe(), "{told:?}");
                rule!(!told.is_ready(spec), "it is ready");
            }
            Action::StopProbes { .. } => {
                rule!(told.is_running() && told.probing && !told.probes_stopped, "{told:?}");
                rule!(self.is_ending(), "the pod is not ending");
            }
            Action::UpdateResources { .. } => {
                rule!(told.is_running() && told.stop.is_none() && !self.is_ending(), "{told:?}");
                rule!(told.resources.as_ref() != spec.resources(), "it has them");
                match &told.resize {
                    Resize::Settled => {}
                    Resize::InProgress(_) => return Err("another change is under way".into()),
                    Resize::Failed { wanted, retry_at } => {
                        let same = wanted.as_ref() == spec.resources();
                        rule!(!same || *retry_at <= self.now, "{} ms too early", retry_at - self.now);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn at_once(&self) -> bool {
        self.knowledge.ending.is_some_and(|ending| ending.grace == 0)
    }

    /// Whether a stop runs a `preStop` hook: never with a grace of 0, nor when all containers are restarted.
    fn wants_pre_stop(&self, spec: &Spec<'_>, stop: &StopTold) -> bool {
        let cause = stop.cause != StopCause::RestartAllContainers;
        spec.has_hook(HookKind::PreStop) && cause && stop.grace > 0 && !self.at_once()
    }

    /// When the grace period of a stop ends.
    fn deadline(&self, stop: &StopTold) -> i64 {
        let own = stop.since + stop.grace * 1000;
        let pod = self.knowledge.ending.filter(|ending| ending.shortened || stop.cause != StopCause::Pod);
        pod.map_or(own, |ending| own.min(ending.kill_at))
    }

    /// Whether it is a container's turn: sidecars come after the app containers and the sidecars after them.
    fn turn(&self, spec: &Spec<'_>) -> bool {
        if spec.kind != ContainerKind::Sidecar || !self.is_ending() {
            return true;
        }
        let after = self.specs.iter().skip_while(|other| other.name != spec.name).skip(1);
        let mut before_it = after.filter(|other| matches!(other.kind, ContainerKind::Sidecar | ContainerKind::App));
        !before_it.any(|other| self.knowledge.is_live(other.name))
    }

    fn signal(&self, signal: StopSignal, cause: StopCause, spec: &Spec<'_>, told: &Told) -> Kept {
        let Some(stop) = told.stop.as_ref().filter(|_| told.is_running()) else {
            return Err(format!("nothing stops it: {told:?}"));
        };
        rule!(stop.cause == cause, "it is stopped because of {:?}", stop.cause);
        rule!(!stop.killed, "it was killed already");
        let deadline = self.deadline(stop);
        match signal {
            StopSignal::Kill if self.at_once() => {}
            StopSignal::Kill => {
                let Some(term) = stop.term else { return Err("it was not told to stop".into()) };
                let earliest = deadline.max(term + LEAST_TERM);
                rule!(earliest <= self.now, "{} ms too early", earliest - self.now);
            }
            StopSignal::Term => {
                rule!(stop.term.is_none(), "it was told already");
                rule!(!self.at_once(), "there is no grace");
                let over = match stop.pre_stop {
                    Hook::Pending => deadline <= self.now,
                    Hook::Running => false,
                    Hook::Over | Hook::Failed => true,
                };
                rule!(over || !self.wants_pre_stop(spec, stop), "its preStop hook is {:?}", stop.pre_stop);
                rule!(self.turn(spec) || deadline <= self.now, "it is not its turn");
            }
        }
        Ok(())
    }

    fn cancel_hook(&self, hook: HookKind, told: &Told) -> Kept {
        let state = match hook {
            HookKind::PostStart => Some(told.post_start),
            HookKind::PreStop => told.stop.as_ref().map(|stop| stop.pre_stop),
        };
        rule!(state == Some(Hook::Running), "it does not run: {told:?}");
        let time_is_up = match (hook, &told.stop) {
            (HookKind::PreStop, Some(stop)) => {
                let all = stop.cause == StopCause::RestartAllContainers;
                all || self.at_once() || self.deadline(stop) <= self.now
            }
            (HookKind::PostStart, stop) => stop.is_some(),
            (HookKind::PreStop, None) => false,
        };
        rule!(!told.is_running() || time_is_up, "it has time: {told:?}");
        Ok(())
    }

    /// Nothing is left undone about any instance.
    fn instances_are_tended(&mut self) -> Kept {
        for index in 0..self.specs.len() {
            let spec = self.specs[index];
            let Some(told) = self.knowledge.instance(spec.name) else { continue };
            let name = format!("{}/{}", spec.name, told.attempt);
            let stopping = self.is_ending() || self.knowledge.restarting_all;
            let counts = self.is_ending() || spec.kind != ContainerKind::Ephemeral;
            match told.state {
                State::Starting => {
                    rule!(!stopping || !counts || told.cancelled, "the start of {name} is not given up");
                }
                State::Exited { .. } => {
                    let pre_stop = told.stop.as_ref().map(|stop| stop.pre_stop);
                    let hook = told.post_start == Hook::Running || pre_stop == Some(Hook::Running);
                    rule!(!hook || !counts, "a hook of {name}, which has ended, still runs");
                }
                State::Running { .. } => self.running_is_tended(&spec).map_err(|why| format!("{name}: {why}"))?,
            }
            let started = self.knowledge.instance(spec.name).is_some_and(|told| told.is_started(&spec));
            let epoch = self.knowledge.epoch;
            if let Some(known) = self.knowledge.containers.get_mut(spec.name).filter(|_| started) {
                known.started_in = Some(epoch);
            }
        }
        Ok(())
    }

    fn running_is_tended(&mut self, spec: &Spec<'_>) -> Kept {
        let Some(told) = self.knowledge.instance(spec.name).cloned() else { return Ok(()) };
        let Some(stop) = &told.stop else {
            if self.knowledge.restarting_all {
                return Ok(());
            }
            let pending = spec.has_hook(HookKind::PostStart) && told.post_start == Hook::Pending;
            rule!(!pending, "its postStart hook is not run");
            rule!(told.probing || !told.is_up(spec) || !spec.has_probes(), "its probes are not run");
            return Ok(());
        };
        let ending_app = self.is_ending() && spec.kind == ContainerKind::App;
        rule!(!ending_app || !told.probing || told.probes_stopped, "its probes go on");
        rule!(told.post_start != Hook::Running, "its postStart hook goes on: {told:?}");
        if stop.killed {
            return Ok(());
        }
        rule!(!self.at_once(), "it is not killed at once");
        let deadline = self.deadline(stop);
        if self.wants_pre_stop(spec, stop) && stop.term.is_none() {
            let pending = stop.pre_stop == Hook::Pending && self.now < deadline;
            rule!(!pending, "its preStop hook is not run");
            if stop.pre_stop == Hook::Running {
                rule!(self.now < deadline, "its preStop hook has outlasted the grace period");
                self.due(deadline);
                return Ok(());
            }
        }
        let Some(term) = stop.term else {
            rule!(!self.turn(spec) && self.now < deadline, "it is not told to stop");
            self.due(deadline);
            return Ok(());
        };
        let latest = deadline.max(term + LEAST_TERM) + ROUNDING;
        rule!(self.now < latest, "it should be killed by now");
        self.due(latest);
        Ok(())
    }

    /// Volumes and sandbox are made and removed when they are due.
    fn ground_is_tended(&mut self) -> Kept {
        let (volumes, sandbox) = (self.knowledge.volumes, self.knowledge.sandbox);
        if self.is_ending() {
            let live = self.specs.iter().any(|spec| self.knowledge.is_live(spec.name));
            let up = matches!(sandbox, Ground::Making | Ground::There);
            rule!(live || !up, "the sandbox is not stopped");
            let volumes_there = !matches!(volumes, Ground::Absent | Ground::Removing | Ground::Gone);
            rule!(live || sandbox == Ground::Removing || !volumes_there, "the volumes are not torn down");
            return Ok(());
        }
        if self.knowledge.restarting_all {
            return Ok(());
        }
        rule!(!matches!(volumes, Ground::Absent | Ground::Left), "the volumes are not set up");
        if let Ground::Failed { retry_at } = volumes {
            rule!(self.now < retry_at, "the volumes are not tried again");
            self.due(retry_at);
        }
        if volumes != Ground::There {
            return Ok(());
        }
        rule!(!self.knowledge.sources_changed, "the volumes are not updated");
        rule!(!matches!(sandbox, Ground::Absent | Ground::Left), "the sandbox is not created");
        if let Ground::Failed { retry_at } = sandbox {
            rule!(self.now < retry_at, "the sandbox is not tried again");
            self.due(retry_at);
        }
        Ok(())
    }

    /// What may be started is, one at a time, and what has to wait is looked at when it no longer has to.
    fn starts_are_made(&mut self) -> Kept {
        let grounded = self.knowledge.volumes == Ground::There && self.knowledge.sandbox == Ground::There;
        if self.is_ending() || self.knowledge.restarting_all || !grounded {
            return Ok(());
        }
        if self.starts > 0 || standing::busy(self.knowledge, &self.specs).is_some() {
            return Ok(());
        }
        for name in standing::wanted(self.knowledge, &self.specs, self.pod) {
            let Some(spec) = find(&self.specs, name).copied() else { continue };
            let earliest = standing::earliest(self.knowledge, &spec);
            rule!(self.now < earliest, "{name} is not started");
            self.due(earliest);
        }
        Ok(())
    }

    /// What happened is posted once.
    fn events(&mut self) -> Kept {
        let posted = |reason: &str| self.plan.events.iter().filter(|event| event.reason == reason).count();
        let started = std::mem::take(&mut self.knowledge.started);
        rule!(posted("Started") == started, "{started} starts, but {} events of it", posted("Started"));
        let stops = self.stops;
        rule!(posted("Killing") == stops, "{stops} stops, but {} events of it", posted("Killing"));
        Ok(())
    }

    fn wakes(&self) -> Kept {
        let Some(next) = self.next else { return Ok(()) };
        let wake_at = self.plan.wake_at.map(World::millis);
        rule!(wake_at.is_some_and(|at| at <= next), "looks again at {wake_at:?}, but something is due at {next}");
        Ok(())
    }
}
