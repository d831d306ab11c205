//! A hostile world: it carries actions out, slowly, wrongly or never, ends containers when it likes, and tells of it
//! late, twice, in another order or not at all. What it did not tell it tells again when it goes through the last
//! outcome of everything, every 60 to 90 seconds.
//!
//! What it keeps to is what a planner may rely on: an answer belongs to the action of its kind issued last, results of
//! one probe arrive in their order, and whatever was asked for and not given up is answered in the end (but for hooks,
//! pulls and the like that never end).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::api::core::v1::Pod;

use super::super::super::*;
use super::pods::{EXIT_CODES, chance, pick};
use crate::base::clock::Timestamp;
use crate::pod::{Event, ImageFailure, ProbeKind, ProbeReport, Pulled, StartFailureReason, Survivors, VolumeFailure};

/// When every life begins, in seconds since 1970.
const ORIGIN: i64 = 1_800_000_000;
/// How much of the timeline is kept.
const TIMELINE: usize = 60;
/// How long a killed container may take to be gone, in milliseconds.
pub(super) const SLOWEST_KILL: i64 = 3_000;
/// The longest start, in milliseconds; one that cannot be given up takes that long.
pub(super) const SLOWEST_START: i64 = 20_000;
/// The longest time between two rounds through all last outcomes, in milliseconds.
pub(super) const SLOWEST_RESYNC: i64 = 90_000;
/// The longest a message is under way, in milliseconds.
const SLOWEST_MESSAGE: i64 = 5_000;

/// How bad the world is, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Temper {
    /// Of what is asked for, that takes its time.
    slow: u8,
    /// Of what may go on for ever, that does.
    endless: u8,
    /// Of what is asked for, that fails.
    fails: u8,
    /// Of the messages, that are lost.
    loses: u8,
    /// Of the messages, that come twice.
    repeats: u8,
    /// Of the messages, that come late.
    delays: u8,
    /// Of the moments to look again, that are missed by a little, and of the plans that nobody asked for.
    pub(super) fidgets: u8,
}

impl Temper {
    fn of(rng: &mut Rng) -> Self {
        let calm = Self { slow: pick(rng, &[0, 30, 70]), fails: pick(rng, &[0, 5, 25]), ..Self::default() };
        if chance(rng, 40) {
            return calm;
        }
        Self {
            endless: pick(rng, &[0, 1, 4]),
            loses: pick(rng, &[0, 0, 2, 15]),
            repeats: pick(rng, &[0, 10]),
            delays: pick(rng, &[0, 0, 10, 40]),
            fidgets: pick(rng, &[0, 10, 30]),
            ..calm
        }
    }

    /// Whether all that is told is told, once and at once.
    pub(super) fn is_faithful(self) -> bool {
        self.loses == 0 && self.delays == 0
    }
}

/// What a message is about; the order is that in which everything is told again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    SetUp,
    Sandbox,
    Image(String),
    Instance(String),
    PostStart(String),
    PreStop(String),
    Resources(String),
    Startup(String),
    Liveness(String),
    Readiness(String),
    StopSandbox,
    TearDown,
}

impl Subject {
    fn hook(container: &str, hook: HookKind) -> Self {
        match hook {
            HookKind::PostStart => Self::PostStart(container.into()),
            HookKind::PreStop => Self::PreStop(container.into()),
        }
    }

    fn probe(container: &str, kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::Startup => Self::Startup(container.into()),
            ProbeKind::Liveness => Self::Liveness(container.into()),
            ProbeKind::Readiness => Self::Readiness(container.into()),
        }
    }
}

/// What is going to happen.
#[derive(Debug, Clone)]
enum Due {
    /// An operation is over.
    Over { subject: Subject, operation: u64, event: Event },
    /// A start comes to its end.
    Starts { container: String, serial: u64, failure: Option<(StartFailureReason, bool)> },
    /// A process ends.
    Ends { container: String, serial: u64, exit_code: i32, reason: Option<&'static str> },
    /// A probe comes to a result.
    Probes { container: String, serial: u64, kind: ProbeKind, success: bool },
    /// A message arrives.
    Arrives { subject: Subject, operation: u64, event: Event },
    /// All last outcomes are told again.
    Resync,
    /// Something that is not of this world.
    Plot(Plot),
}

/// What users do, and what befalls the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plot {
    Delete {
        grace_seconds: i64,
    },
    ChangeImage,
    ChangeLabels,
    Resize,
    AddEphemeral,
    ChangeDeadline,
    FlipGate,
    /// The agent ends, and another one starts.
    Restart,
    /// The worker looks again though nothing happened.
    Look,
}

/// What happened, as far as the worker notices.
pub(super) enum Happening {
    Nothing,
    Told(Event),
    Plot(Plot),
}

/// A process, or what is becoming one.
#[derive(Debug)]
struct Process {
    serial: u64,
    attempt: u32,
    is_running: bool,
    program: Program,
    /// The probes that are run, with their last results.
    probes: BTreeMap<&'static str, Option<bool>>,
}

/// What a process does.
#[derive(Debug, Clone, Copy)]
enum Program {
    /// Ends by itself after so many milliseconds, or at once when it is told to stop.
    Ends { after: i64, exit_code: i32, reason: Option<&'static str> },
    /// Ends so many milliseconds after it is told to stop.
    Serves { after: i64, exit_code: i32 },
    /// Runs until it is killed.
    Ignores,
}

pub(super) struct World {
    pub(super) rng: Rng,
    /// Milliseconds since the origin.
    pub(super) now: i64,
    pub(super) temper: Temper,
    due: BTreeMap<(i64, u64), Due>,
    sequence: u64,
    processes: BTreeMap<String, Process>,
    /// What the last process of each container did.
    programs: BTreeMap<String, Program>,
    sandbox: bool,
    volumes: bool,
    /// Operations that go on.
    under_way: BTreeMap<Subject, u64>,
    /// The last operation of each kind.
    issued: BTreeMap<Subject, u64>,
    /// The last outcome of everything.
    outcomes: BTreeMap<Subject, Vec<Event>>,
    /// The last steps, if anybody wants to know.
    timeline: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(mut rng: Rng, recorded: bool) -> Self {
        let temper = Temper::of(&mut rng);
        let mut world = Self {
            now: rng.i64(0..1000),
            rng,
            temper,
            due: BTreeMap::new(),
            sequence: 0,
            processes: BTreeMap::new(),
            programs: BTreeMap::new(),
            sandbox: false,
            volumes: false,
            under_way: BTreeMap::new(),
            issued: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            timeline: recorded.then(VecDeque::new),
        };
        world.schedule_resync();
        world
    }

    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(ORIGIN * 1000 + self.now).unwrap()
    }

    /// Milliseconds since the origin.
    pub(super) fn millis(at: Timestamp) -> i64 {
        at.as_millisecond() - ORIGIN * 1000
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let Some(timeline) = &mut self.timeline else { return };
        if timeline.len() == TIMELINE {
            timeline.pop_front();
        }
        timeline.push_back(format!("{:10.3} {}", self.now as f64 / 1000.0, what()));
    }

    pub(super) fn timeline(&self) -> String {
        self.timeline.iter().flatten().map(|line| format!("{line}\n")).collect()
    }

    fn schedule(&mut self, after: i64, due: Due) {
        self.sequence += 1;
        self.due.insert((self.now + after, self.sequence), due);
    }

    /// Plots something for `at`, in milliseconds since the origin.
    pub(super) fn plot(&mut self, at: i64, plot: Plot) {
        self.schedule((at - self.now).max(0), Due::Plot(plot));
    }

    fn schedule_resync(&mut self) {
        let after = self.rng.i64(60_000..=SLOWEST_RESYNC);
        self.schedule(after, Due::Resync);
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<i64> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Lets the next thing happen, if its time has come.
    pub(super) fn happen(&mut self) -> Option<Happening> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= self.now)?;
        let due = entry.remove();
        self.note(|| format!("        {due:?}"));
        match due {
            Due::Over { subject, operation, event } => self.over(subject, operation, event),
            Due::Starts { container, serial, failure } => self.starts(&container, serial, failure),
            Due::Ends { container, serial, exit_code, reason } => self.ends(&container, serial, exit_code, reason),
            Due::Probes { container, serial, kind, success } => self.probes(&container, serial, kind, success),
            Due::Resync => self.resync(),
            Due::Arrives { subject, operation, event } => {
                if self.is_current(&subject, operation, &event) {
                    return Some(Happening::Told(event));
                }
            }
            Due::Plot(plot) => return Some(Happening::Plot(plot)),
        }
        Some(Happening::Nothing)
    }

    /// Whether a message can still be told from one about what was asked for since.
    fn is_current(&self, subject: &Subject, operation: u64, event: &Event) -> bool {
        let live = |container: &str| self.processes.get(container).map(|process| process.attempt);
        let stale = self.issued.get(subject) != Some(&operation);
        match event {
            _ if !stale => true,
            Event::ContainerStarted { container, attempt, .. }
            | Event::ContainerStartFailed { container, attempt, .. }
            | Event::ContainerExited { container, attempt, .. } => live(container) != Some(*attempt),
            _ => false,
        }
    }

    /// Begins an operation.
    fn begin(&mut self, subject: &Subject) -> u64 {
        self.sequence += 1;
        self.issued.insert(subject.clone(), self.sequence);
        self.under_way.insert(subject.clone(), self.sequence);
        self.outcomes.remove(subject);
        self.sequence
    }

    /// Begins an operation that ends with `event` some time.
    fn operate(&mut self, subject: Subject, may_be_endless: bool, event: Event) {
        let operation = self.begin(&subject);
        if may_be_endless && chance(&mut self.rng, self.temper.endless) {
            return;
        }
        let after = self.takes();
        self.schedule(after, Due::Over { subject, operation, event });
    }

    /// How long something takes, in milliseconds.
    fn takes(&mut self) -> i64 {
        if !chance(&mut self.rng, self.temper.slow) {
            return 0;
        }
        let longest = pick(&mut self.rng, &[10, 1_500, 1_500, SLOWEST_START]);
        self.rng.i64(0..=longest)
    }

    fn over(&mut self, subject: Subject, operation: u64, event: Event) {
        if self.under_way.get(&subject) != Some(&operation) {
            return;
        }
        self.under_way.remove(&subject);
        match &event {
            Event::SandboxReady { .. } => self.sandbox = true,
            Event::SandboxStopped => self.sandbox = false,
            Event::VolumesTornDown => self.volumes = false,
            _ => {}
        }
        self.tell(subject, operation, event);
    }

    /// Sends a message, which may not arrive.
    fn tell(&mut self, subject: Subject, operation: u64, event: Event) {
        self.outcomes.entry(subject.clone()).or_default().push(event.clone());
        if chance(&mut self.rng, self.temper.loses) {
            return self.note(|| format!("        lost: {event:?}"));
        }
        let mut copies = 1 + u8::from(chance(&mut self.rng, self.temper.repeats));
        while copies > 0 {
            copies -= 1;
            let late = copies > 0 || chance(&mut self.rng, self.temper.delays);
            let after = if late { self.rng.i64(0..=SLOWEST_MESSAGE) } else { 0 };
            let (subject, event) = (subject.clone(), event.clone());
            self.schedule(after, Due::Arrives { subject, operation, event });
        }
    }

    fn resync(&mut self) {
        for (subject, events) in self.outcomes.clone() {
            let operation = self.issued[&subject];
            for event in events {
                self.schedule(0, Due::Arrives { subject: subject.clone(), operation, event });
            }
        }
        self.schedule_resync();
    }

    /// Carries an action out; an error says why nobody could.
    pub(super) fn carry_out(&mut self, pod: &Pod, action: Action) -> Result<(), String> {
        match action {
            Action::SetUpVolumes => {
                self.volumes = true;
                let event = self.set_up();
                self.operate(Subject::SetUp, true, event);
            }
            Action::TearDownVolumes => {
                self.under_way.remove(&Subject::SetUp);
                self.operate(Subject::TearDown, false, Event::VolumesTornDown);
            }
            Action::CreateSandbox => {
                let event = self.sandbox();
                self.operate(Subject::Sandbox, true, event);
            }
            Action::StopSandbox => {
                if let Some((name, process)) = self.processes.first_key_value() {
                    return Err(format!("the sandbox is stopped under {name}/{}", process.attempt));
                }
                self.under_way.retain(|subject, _| !matches!(subject, Subject::Sandbox | Subject::Image(_)));
                self.operate(Subject::StopSandbox, false, Event::SandboxStopped);
            }
            Action::PullImage { container, image, .. } => self.pull(container, &image),
            Action::StartContainer { container, attempt, kind } => self.start(container, attempt, kind)?,
            Action::CancelStart { container, attempt } => self.cancel_start(&container, attempt),
            Action::Signal { container, attempt, signal, .. } => self.signal(&container, attempt, signal),
            Action::RunHook { container, attempt, hook } => self.run_hook(container, attempt, hook),
            Action::CancelHook { container, hook, .. } => {
                self.under_way.remove(&Subject::hook(&container, hook));
            }
            Action::StartProbes { container, .. } => self.start_probes(pod, &container),
            Action::ProbeReadiness { container, .. } => self.probe_readiness(&container),
            Action::StopProbes { container, .. } => {
                if let Some(process) = self.processes.get_mut(&container) {
                    process.probes.retain(|kind, _| *kind == "readiness");
                }
            }
            // What has ended is not updated any more.
            Action::UpdateResources { container, .. } if !self.processes.contains_key(&container) => {}
            Action::UpdateResources { container, attempt, .. } => {
                let error = chance(&mut self.rng, self.temper.fails).then(|| "it uses more".to_owned());
                let subject = Subject::Resources(container.clone());
                self.operate(subject, true, Event::ResourcesUpdated { container, attempt, error });
            }
            Action::UpdateVolumes | Action::RemoveContainer { .. } => {}
        }
        Ok(())
    }

    fn set_up(&mut self) -> Event {
        if !chance(&mut self.rng, self.temper.fails) {
            return Event::VolumesReady;
        }
        let failure = VolumeFailure { volume: "v0".into(), message: "configmap \"c\" not found".into() };
        Event::VolumesFailed { failures: vec![failure] }
    }

    fn sandbox(&mut self) -> Event {
        if chance(&mut self.rng, self.temper.fails) {
            return Event::SandboxFailed { message: "no address is free".into() };
        }
        Event::SandboxReady { ips: vec![format!("10.0.0.{}", self.rng.u8(2..250))] }
    }

    fn pull(&mut self, container: String, image: &str) {
        let subject = Subject::Image(container.clone());
        let event = if chance(&mut self.rng, self.temper.fails) {
            let failure = match self.rng.u8(0..8) {
                0 => ImageFailure::NeverPull,
                1 => ImageFailure::InvalidName("it is empty".into()),
                2 => ImageFailure::Inspect("cannot be read".into()),
                3 => ImageFailure::RegistryUnavailable("cannot connect".into()),
                4 => ImageFailure::Signature("no signature".into()),
                _ => ImageFailure::Pull("not found".into()),
            };
            Event::ImageFailed { container, failure }
        } else {
            let pulled = self.rng.bool().then_some(Pulled { took: Duration::from_millis(1200), size: 7 });
            let (resolved, image_id) = (format!("{image}:latest"), format!("sha256:{image}"));
            Event::ImagePresent { container, resolved, image_id, pulled, note: None }
        };
        self.operate(subject, true, event);
    }

    fn start(&mut self, container: String, attempt: u32, kind: ContainerKind) -> Result<(), String> {
        if let Some(live) = self.processes.get(&container) {
            return Err(format!("{container}/{attempt} is started while {container}/{} is there", live.attempt));
        }
        if !self.sandbox || !self.volumes {
            return Err(format!("{container}/{attempt} is started without sandbox or volumes"));
        }
        let serial = self.begin(&Subject::Instance(container.clone()));
        let stale = |subject: &Subject| {
            matches!(subject, Subject::PostStart(of) | Subject::PreStop(of) | Subject::Resources(of)
                | Subject::Startup(of) | Subject::Liveness(of) | Subject::Readiness(of) if *of == container)
        };
        self.outcomes.retain(|subject, _| !stale(subject));
        let failure = chance(&mut self.rng, self.temper.fails).then(|| {
            let reasons = [
                (StartFailureReason::Config, false),
                (StartFailureReason::Create, false),
                (StartFailureReason::Create, true),
                (StartFailureReason::Run, true),
            ];
            pick(&mut self.rng, &reasons)
        });
        let (program, after) = (self.program(&container, kind), self.takes());
        let process = Process { serial, attempt, is_running: false, program, probes: BTreeMap::new() };
        self.processes.insert(container.clone(), process);
        self.schedule(after, Due::Starts { container, serial, failure });
        Ok(())
    }

    /// What the next process of a container does: often the same as the one before.
    fn program(&mut self, container: &str, kind: ContainerKind) -> Program {
        if let Some(program) = self.programs.get(container)
            && chance(&mut self.rng, 80)
        {
            return *program;
        }
        let program = self.any_program(kind);
        self.programs.insert(container.into(), program);
        program
    }

    fn any_program(&mut self, kind: ContainerKind) -> Program {
        let rng = &mut self.rng;
        let roll = rng.u8(0..100);
        let (serves, ignores) = match kind {
            ContainerKind::Init => (5, 5),
            ContainerKind::Sidecar => (65, 15),
            ContainerKind::App | ContainerKind::Ephemeral => (25, 15),
        };
        let exit_code = match kind {
            ContainerKind::Init if chance(rng, 75) => 0,
            _ => pick(rng, &EXIT_CODES),
        };
        if roll < serves {
            let longest = pick(rng, &[0, 1_000, 1_000, 40_000]);
            Program::Serves { after: rng.i64(0..=longest), exit_code }
        } else if roll < serves + ignores {
            Program::Ignores
        } else {
            let (least, most) = pick(rng, &[(0, 0), (1, 1_000), (1_000, 10_000), (10_000, 60_000), (100_000, 900_000)]);
            let reason = chance(rng, 4).then_some("OOMKilled");
            Program::Ends { after: rng.i64(least..=most), exit_code, reason }
        }
    }

    fn starts(&mut self, container: &str, serial: u64, failure: Option<(StartFailureReason, bool)>) {
        let at = self.time();
        let Some(process) = self.processes.get_mut(container).filter(|process| process.serial == serial) else {
            return;
        };
        let (attempt, program) = (process.attempt, process.program);
        let (name, id) = (container.to_owned(), id(container, serial));
        let subject = Subject::Instance(container.into());
        self.under_way.remove(&subject);
        let Some((reason, created)) = failure else {
            process.is_running = true;
            self.tell(subject, serial, Event::ContainerStarted { container: name.clone(), attempt, id, at });
            if let Program::Ends { after, exit_code, reason } = program {
                self.schedule(after, Due::Ends { container: name, serial, exit_code, reason });
            }
            return;
        };
        self.processes.remove(container);
        let created = created.then_some(id);
        let message = "no such program".into();
        self.tell(
            subject,
            serial,
            Event::ContainerStartFailed { container: name, attempt, reason, message, created, at },
        );
    }

    fn cancel_start(&mut self, container: &str, attempt: u32) {
        let starting =
            self.processes.get(container).filter(|process| !process.is_running && process.attempt == attempt);
        let Some(serial) = starting.map(|process| process.serial) else { return };
        if self.rng.bool() {
            return self.note(|| format!("        {container}/{attempt} starts nevertheless"));
        }
        self.starts(container, serial, Some((StartFailureReason::Cancelled, false)));
    }

    fn ends(&mut self, container: &str, serial: u64, exit_code: i32, reason: Option<&'static str>) {
        if self.processes.get(container).is_none_or(|process| process.serial != serial) {
            return;
        }
        let Some(process) = self.processes.remove(container) else { return };
        self.under_way.remove(&Subject::Resources(container.into()));
        let length = pick(&mut self.rng, &[0, 0, 0, 20, 4095]);
        let message = (length > 0).then(|| "é".repeat(length / 2) + "!");
        let event = Event::ContainerExited {
            container: container.into(),
            attempt: process.attempt,
            exit_code,
            reason: reason.map(Into::into),
            message,
            at: self.time(),
        };
        self.tell(Subject::Instance(container.into()), serial, event);
    }

    fn signal(&mut self, container: &str, attempt: u32, signal: StopSignal) {
        let Some(process) = self.processes.get(container).filter(|process| process.attempt == attempt) else { return };
        let serial = process.serial;
        let (after, exit_code) = match (signal, process.program) {
            (StopSignal::Kill, _) => (pick(&mut self.rng, &[0, 0, 0, 500, SLOWEST_KILL]), 137),
            (StopSignal::Term, Program::Ends { .. }) => (0, 143),
            (StopSignal::Term, Program::Serves { after, exit_code }) => (after, exit_code),
            (StopSignal::Term, Program::Ignores) => return,
        };
        self.schedule(after, Due::Ends { container: container.into(), serial, exit_code, reason: None });
    }

    fn run_hook(&mut self, container: String, attempt: u32, hook: HookKind) {
        let error = chance(&mut self.rng, self.temper.fails).then(|| "exit status 1".to_owned());
        let warning = chance(&mut self.rng, 5).then(|| "http instead of https".to_owned());
        let subject = Subject::hook(&container, hook);
        let event = Event::HookFinished { container, attempt, hook, error, warning };
        self.operate(subject, true, event);
    }

    fn start_probes(&mut self, pod: &Pod, container: &str) {
        let Some(spec) = super::spec_of(pod, container) else { return };
        for (kind, is_there) in [
            (ProbeKind::Startup, spec.startup_probe.is_some()),
            (ProbeKind::Liveness, spec.liveness_probe.is_some()),
            (ProbeKind::Readiness, spec.readiness_probe.is_some()),
        ] {
            let Some(process) = self.processes.get_mut(container).filter(|_| is_there) else { continue };
            process.probes.insert(name(kind), None);
            let serial = process.serial;
            self.schedule_probe(container, serial, kind);
        }
    }

    /// Fails liveness and startup probes now and then, and lets readiness flap.
    fn schedule_probe(&mut self, container: &str, serial: u64, kind: ProbeKind) {
        if chance(&mut self.rng, self.temper.endless) {
            return;
        }
        let success = match kind {
            ProbeKind::Startup => chance(&mut self.rng, 80),
            ProbeKind::Liveness => chance(&mut self.rng, 70),
            ProbeKind::Readiness => self.rng.bool(),
        };
        let longest = pick(&mut self.rng, &[0, 1_000, 10_000, 60_000]);
        let after = self.rng.i64(0..=longest);
        self.schedule(after, Due::Probes { container: container.into(), serial, kind, success });
    }

    fn probes(&mut self, container: &str, serial: u64, kind: ProbeKind, success: bool) {
        let live = self.processes.get_mut(container).filter(|process| process.serial == serial);
        let Some((process, last)) = live.and_then(|process| {
            let last = process.probes.get(name(kind)).copied()?;
            Some((process, last))
        }) else {
            return;
        };
        process.probes.insert(name(kind), Some(success));
        let (attempt, name) = (process.attempt, container.to_owned());
        let on_hold = match kind {
            ProbeKind::Startup => true,
            ProbeKind::Liveness => !success,
            ProbeKind::Readiness => false,
        };
        if !on_hold {
            // A while later, so that flapping does not fill the life of the pod.
            let after = self.rng.i64(500..30_000);
            let success = if kind == ProbeKind::Liveness { chance(&mut self.rng, 80) } else { self.rng.bool() };
            self.schedule(after, Due::Probes { container: name.clone(), serial, kind, success });
        }
        let subject = Subject::probe(container, kind);
        let operation = self.begin(&subject);
        self.under_way.remove(&subject);
        if !success && self.rng.bool() {
            let report = ProbeReport::Failed("HTTP probe failed with statuscode: 500".into());
            let event = Event::ProbeReport { container: name.clone(), attempt, kind, report };
            self.schedule(0, Due::Arrives { subject: subject.clone(), operation, event });
        }
        if last != Some(success) {
            self.tell(subject, operation, Event::ProbeResult { container: name, attempt, kind, success });
        } else {
            let event = Event::ProbeResult { container: name, attempt, kind, success };
            self.outcomes.insert(subject, vec![event]);
        }
    }

    fn probe_readiness(&mut self, container: &str) {
        let Some(process) = self.processes.get(container) else { return };
        let serial = process.serial;
        if self.rng.u8(0..4) == 0 {
            let (container, kind) = (container.to_owned(), ProbeKind::Readiness);
            self.schedule(0, Due::Probes { container, serial, kind, success: true });
        }
    }

    /// The agent ends, and with it all that it does; what survives it is what another one finds `downtime`
    /// milliseconds later. Of the processes only those survive of which the agent's notes know (`known`, by ID): others
    /// are ended by the one that finds them.
    pub(super) fn restart(&mut self, downtime: i64, known: &BTreeSet<String>) -> Survivors {
        self.under_way.clear();
        self.outcomes.clear();
        self.due.retain(|_, due| matches!(due, Due::Ends { .. } | Due::Resync | Due::Plot(_)));
        let sandbox_survives = self.sandbox && chance(&mut self.rng, 40);
        let rng = &mut self.rng;
        self.processes.retain(|name, process| {
            process.probes.clear();
            sandbox_survives && process.is_running && known.contains(&id(name, process.serial)) && chance(rng, 80)
        });
        self.sandbox = sandbox_survives;
        self.now += downtime;
        // What ends meanwhile ends unseen.
        let processes = &mut self.processes;
        let now = self.now;
        self.due.retain(|(at, _), due| match due {
            Due::Ends { container, serial, .. } if *at <= now => {
                let gone = processes.get(container).is_some_and(|process| process.serial == *serial);
                if gone {
                    processes.remove(container);
                }
                false
            }
            _ => true,
        });
        Survivors {
            sandbox: sandbox_survives.then(|| vec!["10.0.0.9".into()]),
            containers: self.processes.iter().map(|(name, process)| id(name, process.serial)).collect(),
        }
    }

    /// What is still there that should not be when the pod is done with.
    pub(super) fn left_over(&self) -> Vec<String> {
        let processes = self.processes.iter().map(|(name, process)| format!("{name}/{}", process.attempt));
        let kept = [("the sandbox", self.sandbox), ("the volumes", self.volumes)];
        let kept = kept.into_iter().filter(|(_, is_there)| *is_there).map(|(what, _)| what.to_owned());
        let under_way = self.under_way.keys().map(|subject| format!("{subject:?}"));
        processes.chain(kept).chain(under_way).collect()
    }
}

fn id(container: &str, serial: u64) -> String {
    format!("sim://{container}-{serial}")
}

fn name(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}
