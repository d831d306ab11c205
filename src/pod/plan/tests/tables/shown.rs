//! A plan in the words of a table.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};

use super::words::{Word, bare, join, seconds};
use crate::base::clock::Timestamp;
use crate::pod::phase::is_terminal;
use crate::pod::plan::{Action, EventType, HookKind, Plan, PullPolicy, StopSignal};
use crate::pod::{Lifecycle, Observed};

/// A plan, and what is observed once it is recorded.
pub(super) struct Shown<'a> {
    pub(super) pod: &'a Pod,
    pub(super) plan: &'a Plan,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
}

impl Shown<'_> {
    fn status(&self) -> &PodStatus {
        &self.plan.status
    }

    fn containers(&self) -> impl Iterator<Item = &ContainerStatus> {
        let status = self.status();
        let own = status.init_container_statuses.iter().chain(&status.container_statuses);
        own.chain(&status.ephemeral_container_statuses).flatten()
    }

    fn conditions(&self) -> impl Iterator<Item = &PodCondition> {
        self.status().conditions.iter().flatten()
    }

    pub(super) fn actions(&self) -> String {
        let actions: Vec<String> = self.plan.actions.iter().map(action).collect();
        if actions.is_empty() { "nothing".into() } else { actions.join("; ") }
    }

    pub(super) fn events(&self) -> Vec<String> {
        let event = |event: &crate::pod::EventRecord| {
            let type_ = if event.type_ == EventType::Normal { "Normal" } else { "Warning" };
            let object = event.field_path.as_deref().map_or("pod", |path| path.strip_prefix("spec.").unwrap());
            join(&[bare(type_), bare(event.reason), bare(object), Word::Text(event.message.clone())])
        };
        self.plan.events.iter().map(event).collect()
    }

    /// What there is under a key, as far as `expected` asks for it.
    pub(super) fn answer(&self, key: &str, expected: &[Word]) -> Vec<Word> {
        match key {
            "phase" => self.phase(),
            "wake" => vec![bare(self.wake())],
            "life" => self.life(),
            "conditions" => self.conditions().map(|condition| bare(&condition.type_)).collect(),
            "backoff" => self.backoff(expected),
            pointer if pointer.starts_with('/') => vec![self.field(pointer)],
            type_ if type_.starts_with(char::is_uppercase) => self.condition(type_, expected),
            name => self.container(name, expected),
        }
    }

    fn phase(&self) -> Vec<Word> {
        let status = self.status();
        let mut words = vec![bare(status.phase.as_deref().unwrap_or("none"))];
        words.extend(status.reason.iter().map(bare));
        words.extend(status.message.iter().cloned().map(Word::Text));
        words
    }

    fn wake(&self) -> String {
        match self.plan.wake_at {
            None => "never".into(),
            Some(at) if at == self.now => "now".into(),
            Some(at) => seconds(at),
        }
    }

    fn life(&self) -> Vec<Word> {
        match self.plan.lifecycle {
            Lifecycle::Syncing => vec![bare("Syncing")],
            Lifecycle::Terminating { cause, kill_at, .. } => {
                vec![bare("Terminating"), bare(format!("{cause:?}")), bare(seconds(kill_at))]
            }
            Lifecycle::Terminated { cause } => vec![bare("Terminated"), bare(format!("{cause:?}"))],
        }
    }

    /// `c 20@100`, or `c none`; the container is among what is expected.
    fn backoff(&self, expected: &[Word]) -> Vec<Word> {
        let record = self.observed.containers.get(expected[0].as_str());
        let backoff = record.and_then(|record| record.restart_backoff.as_ref()).map(|restart| restart.backoff);
        let shown = backoff.map(|one| format!("{}@{}", one.delay.as_secs(), seconds(one.advanced_at)));
        vec![expected[0].clone(), bare(shown.unwrap_or_else(|| "none".into()))]
    }

    fn field(&self, pointer: &str) -> Word {
        let status = serde_json::to_value(self.status()).unwrap();
        match status.pointer(pointer) {
            None => bare("none"),
            Some(serde_json::Value::String(text)) if text.contains(' ') => Word::Text(text.clone()),
            Some(serde_json::Value::String(text)) => bare(text),
            Some(value) => bare(value.to_string()),
        }
    }

    /// Status, reason and message of a condition; since when, if that is expected.
    fn condition(&self, type_: &str, expected: &[Word]) -> Vec<Word> {
        let Some(condition) = self.conditions().find(|condition| condition.type_ == type_) else {
            return vec![bare("absent")];
        };
        let mut words = vec![bare(&condition.status)];
        words.extend(condition.reason.iter().map(bare));
        words.extend(condition.message.iter().cloned().map(Word::Text));
        let since = condition.last_transition_time.as_ref().map(|time| bare(format!("@{}", seconds(time.0))));
        words.extend(since.filter(|_| expected.last().is_some_and(|word| word.as_str().starts_with('@'))));
        words
    }

    /// State, last state and count of a container; messages, readiness and image where they are expected.
    fn container(&self, name: &str, expected: &[Word]) -> Vec<Word> {
        let Some(status) = self.containers().find(|status| status.name == name) else {
            return vec![bare("no such key, condition or container")];
        };
        let expects = |text: &str| expected.iter().any(|word| *word == bare(text));
        let messages = expected.iter().any(|word| matches!(word, Word::Text(_)));
        let times = expected.iter().any(|word| matches!(word, Word::Bare(word) if word.contains('@')));
        let mut words = state(status.state.as_ref(), messages, times);
        let last = state(status.last_state.as_ref(), messages, times);
        if !last.is_empty() {
            words.push(bare("after"));
            words.extend(last);
        }
        if status.restart_count != 0 {
            words.push(bare(format!("({})", status.restart_count)));
        }
        let started = status.started == Some(true);
        for (is, yes, no) in [(started, "started", "unstarted"), (status.ready, "ready", "unready")] {
            if expects(yes) || expects(no) {
                words.push(bare(if is { yes } else { no }));
            }
        }
        if expected.iter().any(|word| word.as_str().starts_with("image=")) {
            words.push(bare(format!("image={}", status.image)));
        }
        words
    }

    /// Everything, to show beside what a case expects.
    pub(super) fn all(&self) -> String {
        let everything = [Word::Text(String::new()), bare("started"), bare("ready"), bare("@")];
        let mut lines = vec![format!("do {}", self.actions())];
        let line = |key: &str, words: &[Word]| format!("{key} {}", join(words));
        for status in self.containers() {
            lines.push(line(&status.name, &self.container(&status.name, &everything)));
        }
        for condition in self.conditions() {
            lines.push(line(&condition.type_, &self.condition(&condition.type_, &everything)));
        }
        lines.push(line("phase", &self.phase()));
        lines.extend(self.events().iter().map(|event| format!("event {event}")));
        lines.push(format!("wake {}", self.wake()));
        lines.push(line("life", &self.life()));
        for name in self.observed.containers.keys() {
            lines.push(line("backoff", &self.backoff(&[bare(name)])));
        }
        lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    /// What must hold of every plan: a terminal phase stays and is published only when nothing runs, app containers
    /// are listed by name and init containers as in the spec, and the next look is not in the past.
    pub(super) fn broken_invariants(&self, published: &PodStatus) -> Vec<String> {
        let phase = |status: &PodStatus| status.phase.clone().unwrap_or_default();
        let running = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
        let names = |statuses: &Option<Vec<ContainerStatus>>| {
            statuses.iter().flatten().map(|status| status.name.clone()).collect::<Vec<_>>()
        };
        let spec = self.pod.spec.as_ref().unwrap();
        let inits: Vec<_> = spec.init_containers.iter().flatten().map(|container| container.name.clone()).collect();
        let finished = matches!(self.plan.lifecycle, Lifecycle::Terminated { .. });
        let mut broken = Vec::new();
        let mut hold = |holds: bool, rule: &str| {
            if !holds {
                broken.push(format!("  broken: {rule}"));
            }
        };
        hold(!is_terminal(&phase(published)) || phase(published) == phase(self.status()), "a terminal phase stays");
        hold(
            !is_terminal(&phase(self.status())) || !self.containers().any(running),
            "a terminal phase is published once nothing runs",
        );
        hold(names(&self.status().container_statuses).is_sorted(), "containers are listed by name");
        hold(names(&self.status().init_container_statuses) == inits || finished, "init containers in spec order");
        hold(self.plan.wake_at.is_none_or(|at| at >= self.now), "the next look is not in the past");
        broken
    }
}

/// `Running`, `Error:1`, `CrashLoopBackOff`; with times `Running@40`, `Error:1@90`.
fn state(state: Option<&ContainerState>, message: bool, times: bool) -> Vec<Word> {
    let Some(state) = state else { return Vec::new() };
    let mut words = Vec::new();
    let time = |at: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        at.as_ref().filter(|_| times).map_or_else(String::new, |at| format!("@{}", seconds(at.0)))
    };
    let text = if let Some(waiting) = &state.waiting {
        words.push(bare(waiting.reason.clone().unwrap_or_default()));
        &waiting.message
    } else if let Some(running) = &state.running {
        words.push(bare(format!("Running{}", time(&running.started_at))));
        &None
    } else if let Some(end) = &state.terminated {
        let reason = end.reason.as_deref().unwrap_or("");
        words.push(bare(format!("{reason}:{}{}", end.exit_code, time(&end.finished_at))));
        &end.message
    } else {
        &None
    };
    words.extend(text.iter().filter(|_| message).cloned().map(Word::Text));
    words
}

fn hook(hook: HookKind) -> &'static str {
    match hook {
        HookKind::PostStart => "postStart",
        HookKind::PreStop => "preStop",
    }
}

fn action(action: &Action) -> String {
    match action {
        Action::SetUpVolumes => "mount".into(),
        Action::TearDownVolumes => "unmount".into(),
        Action::UpdateVolumes => "update volumes".into(),
        Action::CreateSandbox => "sandbox".into(),
        Action::StopSandbox => "stop sandbox".into(),
        Action::PullImage { container, policy, .. } => match policy {
            PullPolicy::IfNotPresent => format!("pull {container}"),
            PullPolicy::Always => format!("pull {container} always"),
            PullPolicy::Never => format!("pull {container} never"),
        },
        Action::StartContainer { container, attempt, .. } => format!("start {container}/{attempt}"),
        Action::CancelStart { container, attempt } => format!("cancel start {container}/{attempt}"),
        Action::Signal { container, attempt, signal: StopSignal::Term, .. } => format!("term {container}/{attempt}"),
        Action::Signal { container, attempt, signal: StopSignal::Kill, .. } => format!("kill {container}/{attempt}"),
        Action::RunHook { container, attempt, hook: kind } => format!("{} {container}/{attempt}", hook(*kind)),
        Action::CancelHook { container, attempt, hook: kind } => {
            format!("cancel {} {container}/{attempt}", hook(*kind))
        }
        Action::StartProbes { container, attempt } => format!("probe {container}/{attempt}"),
        Action::ProbeReadiness { container, attempt } => format!("readiness {container}/{attempt}"),
        Action::StopProbes { container, attempt } => format!("stop probes {container}/{attempt}"),
        Action::UpdateResources { container, attempt, .. } => format!("resize {container}/{attempt}"),
        Action::RemoveContainer { container, attempt } => format!("remove {container}/{attempt}"),
    }
}
