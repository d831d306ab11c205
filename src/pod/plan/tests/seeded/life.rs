//! One life of one pod, from its seed: a pod, a world, what users do, and an agent that ends now and then.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{EphemeralContainer, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::super::*;
use super::pods::{self, chance, pick};
use super::rules::{self, Kept, rule};
use super::told;
use super::told::Knowledge;
use super::world::{Happening, Plot, SLOWEST_KILL, SLOWEST_RESYNC, SLOWEST_START, World};
use crate::base::clock::Timestamp;
use crate::pod::{Event, InstanceState, NodeFacts, Observed, PodSnapshot};

/// Plans in a row without anything having happened or time having passed.
const PLANS_IN_A_ROW: u32 = 20;
/// Plans without time having passed.
const PLANS_AT_ONCE: u32 = 400;
/// Plans after which the pod is deleted, if nobody did before.
const PLANS: u32 = 500;
/// Starts of one container in any `WINDOW`.
const STARTS: usize = 20;
/// Milliseconds in which `STARTS` are too many.
const WINDOW: i64 = 10_000;
/// Messages that may be lost one after another on the way out, each until the next round through all outcomes.
const LOST_IN_A_ROW: i64 = 12;

pub(super) struct Life {
    desired: Desired,
    observed: Observed,
    knowledge: Knowledge,
    world: World,
    /// Plans since something happened, and since time passed.
    plans_in_a_row: u32,
    plans_at_once: u32,
    plans: u32,
    /// The last starts of containers.
    starts: Vec<(i64, String)>,
    /// When the pod is to be over at last.
    bound: Option<i64>,
    /// Whether the agent ends before it carries out the next plan.
    restarts_next: bool,
}

impl Life {
    /// The life of a seed; with a record of its last steps if wanted.
    pub(super) fn new(seed: u64, recorded: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let pod = pods::pod(&mut rng);
        let mut world = World::new(rng.fork(), recorded);
        for (at, plot) in plots(&mut rng) {
            world.plot(at, plot);
        }
        let begun = world.now;
        let mut life = Self {
            desired: Desired { pod: Arc::new(pod) },
            observed: Observed::new(node(), PodStatus::default()),
            knowledge: Knowledge::new(),
            world,
            plans_in_a_row: 0,
            plans_at_once: 0,
            plans: 0,
            starts: Vec::new(),
            bound: None,
            restarts_next: false,
        };
        life.world.note(|| format!("begins at {begun} ms"));
        life
    }

    /// The pod as it was last wanted, in YAML.
    pub(super) fn pod(&self) -> String {
        serde_yaml::to_string(&*self.desired.pod).unwrap()
    }

    /// The last steps.
    pub(super) fn timeline(&self) -> String {
        self.world.timeline()
    }

    /// Lives until nothing is left of the pod.
    pub(super) fn live(&mut self) -> Kept {
        loop {
            let plan = self.plan()?;
            if self.restarts_next {
                self.restarts_next = false;
                if self.world.rng.bool() {
                    self.carry_out(plan.actions)?;
                }
                if self.restart() {
                    continue;
                }
                return Ok(());
            }
            if matches!(plan.lifecycle, Lifecycle::Terminated { .. }) {
                let left = self.world.left_over();
                rule!(left.is_empty(), "the pod is over, and there is left: {}", left.join(", "));
                return Ok(());
            }
            self.carry_out(plan.actions)?;
            self.wait(plan.wake_at)?;
        }
    }

    /// Plans, judges the plan, and records it.
    fn plan(&mut self) -> Result<Plan, String> {
        let (now, millis) = (self.world.time(), self.world.now);
        self.count_plan()?;
        let plan = plan(&self.desired, &self.observed, now);
        self.world.note(|| format!("plan {}", show(&plan)));
        if self.plans.is_multiple_of(8) {
            same(&plan, &super::super::super::plan(&self.desired, &self.observed, now))
                .map_err(|what| format!("planning is not pure: other {what} the second time"))?;
        }
        rules::judge(&mut self.knowledge, &self.desired.pod, &plan, &self.observed.status, millis)?;
        self.observed.record(&plan, now);
        if plan.wake_at != Some(now) {
            self.rest(&plan, now)?;
        }
        Ok(plan)
    }

    /// A plan that was recorded leaves nothing to do until it says so.
    fn rest(&self, plan: &Plan, now: Timestamp) -> Kept {
        let again = plan_anew(&self.desired, &self.observed, now);
        let shows = plan.actions.iter().any(shows_at_once);
        let idle = |action: &Action| shows && matches!(action, Action::ProbeReadiness { .. });
        rule!(again.actions.iter().all(idle), "planning is not idempotent: again {:?}", again.actions);
        rule!(again.events.is_empty(), "planning is not idempotent: again {:?}", again.events);
        let same_status = again.status == plan.status || shows;
        rule!(same_status, "another status, and nothing has happened: {}", difference(&plan.status, &again.status));
        let later = again.wake_at.is_none_or(|at| plan.wake_at.is_some_and(|wake_at| wake_at <= at));
        rule!(later, "looks again at {:?}, but should at {:?}", plan.wake_at, again.wake_at);
        let remembered = super::super::super::plan(&self.desired, &self.observed, now);
        same(&again, &remembered).map_err(|what| format!("a plan that is remembered has other {what}"))
    }

    fn count_plan(&mut self) -> Kept {
        self.plans += 1;
        self.plans_in_a_row += 1;
        self.plans_at_once += 1;
        rule!(self.plans_in_a_row <= PLANS_IN_A_ROW, "{PLANS_IN_A_ROW} plans, and nothing happens");
        rule!(self.plans_at_once <= PLANS_AT_ONCE, "{PLANS_AT_ONCE} plans, and no time passes");
        if self.plans == PLANS {
            self.world.plot(self.world.now, Plot::Delete { grace_seconds: 30 });
        }
        let late = self.bound.filter(|bound| *bound < self.world.now);
        rule!(late.is_none(), "the pod should have been over at {late:?} ms");
        Ok(())
    }

    fn carry_out(&mut self, actions: Vec<Action>) -> Kept {
        for action in actions {
            if let Action::StartContainer { container, .. } = &action {
                let now = self.world.now;
                self.starts.retain(|(at, _)| *at > now - WINDOW);
                self.starts.push((now, container.clone()));
                let many = self.starts.iter().filter(|(_, of)| of == container).count();
                rule!(many <= STARTS, "{container} is started {many} times in {WINDOW} ms");
            }
            self.world.carry_out(&self.desired.pod, action)?;
        }
        Ok(())
    }

    /// Waits until something happens, and takes it in.
    fn wait(&mut self, wake_at: Option<Timestamp>) -> Kept {
        let now = self.world.now;
        let wake_at = wake_at.map(World::millis);
        if wake_at.is_some_and(|at| at <= now) {
            return Ok(());
        }
        let fidgets = self.world.temper.fidgets;
        let late = if chance(&mut self.world.rng, fidgets) { self.world.rng.i64(0..1_500) } else { 0 };
        let wake_at = wake_at.map(|at| at + late);
        let Some(next) = [wake_at, self.world.next()].into_iter().flatten().min() else {
            return Err("nothing will ever happen any more".into());
        };
        if next > now {
            (self.world.now, self.plans_at_once, self.plans_in_a_row) = (next, 0, 0);
        }
        // Sometimes one by one, so that there is a plan between what happens at the same time.
        let one_by_one = self.world.rng.bool();
        while let Some(happening) = self.world.happen() {
            match happening {
                Happening::Nothing => continue,
                Happening::Told(event) => self.tell(event),
                Happening::Plot(plot) => self.befall(plot),
            }
            self.plans_in_a_row = 0;
            if one_by_one {
                break;
            }
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        self.world.note(|| format!("told {event:?}"));
        self.knowledge.hear(&event, self.world.now);
        self.observed.apply(event, self.world.time());
    }

    fn befall(&mut self, plot: Plot) {
        self.world.note(|| format!("{plot:?}"));
        match plot {
            Plot::Delete { grace_seconds } => self.delete(grace_seconds),
            Plot::ChangeImage => self.change_container(|rng, container| container.image = Some(pods::image(rng))),
            Plot::Resize => self.change_container(|rng, container| container.resources = Some(pods::resources(rng))),
            Plot::ChangeLabels => {
                let label = (String::from("at"), self.world.now.to_string());
                Arc::make_mut(&mut self.desired.pod).metadata.labels.get_or_insert_default().extend([label]);
                self.tell(Event::SourcesChanged);
            }
            Plot::AddEphemeral => self.change_spec(|_, spec| {
                let containers = spec.ephemeral_containers.get_or_insert_default();
                // The one added last is the first by name.
                let name = format!("debug{}", 9 - containers.len().min(9));
                containers.push(EphemeralContainer { name, image: Some("x".into()), ..EphemeralContainer::default() });
            }),
            Plot::ChangeDeadline => self.change_spec(|rng, spec| {
                let shorter = spec.active_deadline_seconds.map_or(300, |seconds| (seconds - 1).max(1));
                spec.active_deadline_seconds = Some(rng.i64(1..=shorter));
            }),
            Plot::FlipGate => self.flip_gate(),
            Plot::Restart => self.restarts_next = true,
            Plot::Look => {}
        }
    }

    /// A repeated deletion can only shorten.
    fn delete(&mut self, grace_seconds: i64) {
        let (now, millis) = (self.world.time(), self.world.now);
        let metadata = &mut Arc::make_mut(&mut self.desired.pod).metadata;
        let before = metadata.deletion_grace_period_seconds;
        if before.is_some_and(|before| before <= grace_seconds) {
            return;
        }
        if before.is_none() {
            metadata.generation = metadata.generation.map(|generation| generation + 1);
        }
        metadata.deletion_timestamp = Some(Time(now + SignedDuration::from_secs(grace_seconds)));
        metadata.deletion_grace_period_seconds = Some(grace_seconds);
        self.bound = Some(self.bound_from(millis));
    }

    /// When a pod that is being deleted is over at the latest, counted from the last thing that held it up.
    fn bound_from(&self, now: i64) -> i64 {
        let grace = told::grace(&self.desired.pod) * 1000;
        let messages = if self.world.temper.is_faithful() { 0 } else { LOST_IN_A_ROW * SLOWEST_RESYNC };
        now + grace.max(2_000)
            + 2_000
            + SLOWEST_START
            + SLOWEST_START
            + 2_000
            + SLOWEST_KILL
            + messages
            + 2 * SLOWEST_START
            + 5_000
    }

    fn change_spec(&mut self, change: impl FnOnce(&mut Rng, &mut PodSpec)) {
        let pod = Arc::make_mut(&mut self.desired.pod);
        if let Some(spec) = &mut pod.spec {
            change(&mut self.world.rng, spec);
        }
        pod.metadata.generation = pod.metadata.generation.map(|generation| generation + 1);
    }

    fn change_container(&mut self, change: impl FnOnce(&mut Rng, &mut k8s_openapi::api::core::v1::Container)) {
        self.change_spec(|rng, spec| {
            let count = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len);
            let index = rng.usize(0..count);
            let mut all = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
            if let Some(container) = all.nth(index) {
                change(rng, container);
            }
        });
    }

    /// Somebody writes the condition of a readiness gate.
    fn flip_gate(&mut self) {
        let pod = Arc::make_mut(&mut self.desired.pod);
        let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
        let Some(type_) = gates.map(|gate| gate.condition_type.clone()).next() else { return };
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(condition) => {
                condition.status = if condition.status == "True" { "False" } else { "True" }.into();
            }
            None => conditions.push(PodCondition { type_, status: "True".into(), ..PodCondition::default() }),
        }
    }

    /// The agent ends after it has recorded a plan; another one goes on from its notes. False if there is nothing to go
    /// on with: of a pod whose phase is terminal it only removes what is left.
    fn restart(&mut self) -> bool {
        let notes = serde_json::to_string(&self.observed.snapshot()).unwrap();
        let instances = self.observed.containers.values().filter_map(|record| record.instances.last());
        let known: BTreeSet<String> = instances
            .filter_map(|instance| match &instance.state {
                InstanceState::Running { id, .. } => Some(id.clone()),
                InstanceState::Starting | InstanceState::Exited(_) => None,
            })
            .collect();
        let longest = pick(&mut self.world.rng, &[0, 1_000, 120_000]);
        let downtime = self.world.rng.i64(0..=longest);
        let survivors = self.world.restart(downtime, &known);
        self.world.note(|| format!("restart {survivors:?}"));
        let snapshot: PodSnapshot = serde_json::from_str(&notes).unwrap();
        if snapshot.is_finished() {
            return false;
        }
        self.observed = Observed::restore(node(), snapshot, &survivors, self.world.time());
        self.knowledge.restart(&survivors, self.world.now);
        if self.bound.is_some() {
            self.bound = Some(self.bound_from(self.world.now));
        }
        (self.plans_in_a_row, self.plans_at_once) = (0, 0);
        true
    }
}

/// Whether the status shows an action before it is answered, so that the next plan has another one.
fn shows_at_once(action: &Action) -> bool {
    let gives_up_start = matches!(action, Action::CancelHook { hook: HookKind::PostStart, .. });
    gives_up_start || matches!(action, Action::StopSandbox | Action::TearDownVolumes)
}

fn node() -> NodeFacts {
    NodeFacts {
        host_ips: vec!["192.0.2.1".into()],
        allocatable_cpu_millis: Some(8_000),
        allocatable_memory: Some(1 << 40),
    }
}

/// What befalls a pod, and when, in milliseconds; in the end it is deleted.
fn plots(rng: &mut Rng) -> Vec<(i64, Plot)> {
    let length = pick(rng, &[1, 10_000, 60_000, 300_000, 300_000, 3_000_000]);
    let end = rng.i64(0..=length);
    let mut plots = Vec::new();
    let many = pick(rng, &[0, 1, 3, 10]);
    for _ in 0..many {
        let plot = match rng.u8(0..11) {
            0 | 1 => Plot::ChangeImage,
            2 => Plot::ChangeLabels,
            3 | 4 => Plot::Resize,
            5 => Plot::AddEphemeral,
            6 => Plot::ChangeDeadline,
            7 => Plot::FlipGate,
            8 | 9 => Plot::Restart,
            _ => Plot::Look,
        };
        plots.push((rng.i64(0..=end + 10_000), plot));
    }
    let mut at = end;
    for _ in 0..pick(rng, &[1, 1, 2, 3]) {
        let grace_seconds = pick(rng, &[0, 1, 2, 5, 10, 30, 30, 600]);
        plots.push((at, Plot::Delete { grace_seconds }));
        at += rng.i64(0..20_000);
    }
    plots
}

/// What differs between two plans.
fn same(one: &Plan, other: &Plan) -> Result<(), &'static str> {
    let same = [
        (one.lifecycle == other.lifecycle, "lifecycle"),
        (one.actions == other.actions, "actions"),
        (one.events == other.events, "events"),
        (one.status == other.status, "status"),
        (one.wake_at == other.wake_at, "time to look again"),
    ];
    same.into_iter().find(|(same, _)| !same).map_or(Ok(()), |(_, what)| Err(what))
}

/// The fields of two statuses that differ, as the second has them.
fn difference(one: &PodStatus, other: &PodStatus) -> String {
    let (one, other) = (serde_json::to_value(one).unwrap(), serde_json::to_value(other).unwrap());
    let fields = other.as_object().into_iter().flatten().filter(|(field, value)| one.get(field) != Some(value));
    fields.map(|(field, value)| format!("{field}: {value}")).collect::<Vec<_>>().join(", ")
}

fn show(plan: &Plan) -> String {
    let wake_at = plan.wake_at.map(|at| World::millis(at) as f64 / 1000.0);
    let events: Vec<_> = plan.events.iter().map(|event| event.reason).collect();
    let phase = plan.status.phase.as_deref().unwrap_or("");
    let life = match plan.lifecycle {
        Lifecycle::Syncing => "",
        Lifecycle::Terminating { .. } => " terminating",
        Lifecycle::Terminated { .. } => " terminated",
    };
    format!("{phase}{life} {:?} events {events:?} wake {wake_at:?}", plan.actions)
}
