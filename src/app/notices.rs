//! The lines of a pod's life that `husk run` shows on standard error.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, PodStatus};

use super::cluster::{PodKey, container_of, stopped_container};
use super::history::Change;
use super::outcome;
use super::show::Names;
use crate::base::clock::Timestamp;
use crate::cli::output::printer::Tone;
use crate::pod::{EventType, PostedEvent, print};

/// Events of type Normal that are worth a line without `--events`.
const SHOWN: [&str; 3] = ["Started", "Killing", "BuiltInImage"];
/// Events that repeat for as long as something is wrong: without `--events`, the first of a series is worth a line,
/// and then the tenth, the hundredth and so on.
const REPETITIVE: [&str; 2] = ["Unhealthy", "ProbeWarning"];
/// Message of the event of type Normal that a container is killed because of its postStart hook; a warning has said so.
const POST_START_KILL: &str = "FailedPostStartHook";
/// Series of repetitive events that are remembered for each container; with more, all of them count as new.
const MAX_SERIES: usize = 64;
/// What stands where Kubernetes' events have their type, for what Kubernetes posts no event of.
const STATUS: &str = "Status";

/// A line to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// How it looks.
    pub(super) tone: Tone,
    /// What it says.
    pub(super) line: String,
    /// The container that has started, by this line.
    pub(super) started: Option<String>,
}

/// Turns changes into lines, each once.
#[derive(Debug)]
pub(super) struct Notices {
    all_events: bool,
    names: Names,
    pods: HashMap<PodKey, PodLife>,
}

/// What was told of a pod.
#[derive(Debug, Default)]
struct PodLife {
    phase: Option<String>,
    ready: bool,
    containers: HashMap<String, ContainerLife>,
}

/// What was told of a container.
#[derive(Debug, Default)]
struct ContainerLife {
    /// An event has told a start that no status has shown yet.
    start_told: bool,
    /// The last instance of which it was told that it started.
    started: Option<String>,
    /// The last instance of which it was told that it ended.
    ended: Option<String>,
    ready: bool,
    /// It is stopped because its pod ends.
    stopping: bool,
    /// How many repetitive events each series had when it was told last, by the name of the series.
    told: HashMap<String, u32>,
}

/// A line about a change of a status.
struct News<'a> {
    reason: &'static str,
    container: Option<&'a str>,
    tone: Tone,
    message: String,
}

impl Notices {
    /// With `all_events`, everything is shown, in the columns of `kubectl get events`.
    pub(super) fn new(all_events: bool, names: Names) -> Self {
        Self { all_events, names, pods: HashMap::new() }
    }

    /// Takes a status for known.
    pub(super) fn know(&mut self, pod: &PodKey, status: &PodStatus) {
        self.pods.entry(pod.clone()).or_default().news(status, false);
    }

    /// The lines a change is worth.
    pub(super) fn of(&mut self, change: &Change) -> Vec<Notice> {
        match change {
            Change::Event { pod, event } => self.event(pod, event).into_iter().collect(),
            Change::Status { pod, status, at } => {
                let news = self.pods.entry(pod.clone()).or_default().news(status, self.all_events);
                news.into_iter().map(|news| self.status_line(pod, news, *at)).collect()
            }
        }
    }

    fn event(&mut self, pod: &PodKey, event: &PostedEvent) -> Option<Notice> {
        let PostedEvent { record, count, first, last, .. } = event;
        let container = container_of(record.field_path.as_deref());
        let started = container.filter(|_| record.reason == "Started").map(str::to_owned);
        let life = container.map(|name| self.pods.entry(pod.clone()).or_default().container(name));
        let mut worth = record.type_ == EventType::Warning || SHOWN.contains(&record.reason);
        if let Some(life) = life {
            life.start_told |= started.is_some();
            life.stopping |= stopped_container(record).is_some();
            worth &= life.is_worth(event);
        }
        let (kind, tone) = match record.type_ {
            EventType::Normal => ("Normal", Tone::Quiet),
            EventType::Warning => ("Warning", Tone::Warning),
        };
        let message = format!("{}{}", first_line(&record.message), repeats(*count, *first, *last));
        let object = self.object(pod, container);
        let line = match record.type_ {
            _ if self.all_events => columns(*last, kind, record.reason, &object, &message),
            EventType::Warning => format!("{object}: {}: {message}", record.reason),
            EventType::Normal => format!("{object}: {}", record.message),
        };
        (self.all_events || worth).then_some(Notice { tone, line, started })
    }

    fn status_line(&self, pod: &PodKey, news: News<'_>, at: Timestamp) -> Notice {
        let News { reason, container, tone, message } = news;
        let object = self.object(pod, container);
        let line = match self.all_events {
            true => columns(at, STATUS, reason, &object, &message),
            false => format!("{object}: {message}"),
        };
        let started = container.filter(|_| reason == "Started").map(str::to_owned);
        Notice { tone, line, started }
    }

    fn object(&self, pod: &PodKey, container: Option<&str>) -> String {
        let pod = self.names.pod(&pod.namespace, &pod.name);
        container.map_or_else(|| pod.clone(), |container| format!("{pod}/{container}"))
    }
}

impl PodLife {
    fn container(&mut self, name: &str) -> &mut ContainerLife {
        if !self.containers.contains_key(name) {
            self.containers.insert(name.to_owned(), ContainerLife::default());
        }
        self.containers.entry(name.to_owned()).or_default()
    }

    /// What is new in a status: starts and ends of containers and, if `all`, whether the pod is ready, and its phase.
    fn news<'a>(&mut self, status: &'a PodStatus, all: bool) -> Vec<News<'a>> {
        let mut news = Vec::new();
        for container in outcome::containers(status) {
            self.container(&container.name).news(container, &mut news);
        }
        let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
        let now_ready = ready.is_some_and(|condition| condition.status == "True");
        if std::mem::replace(&mut self.ready, now_ready) != now_ready && all {
            let message = ready.and_then(|condition| condition.message.as_deref());
            news.push(match (now_ready, message) {
                (true, _) => News::of_pod("Ready", Tone::Quiet, "Pod is ready".to_owned()),
                (false, Some(why)) => News::of_pod("NotReady", Tone::Warning, format!("Pod is not ready: {why}")),
                (false, None) => News::of_pod("NotReady", Tone::Quiet, "Pod is not ready".to_owned()),
            });
        }
        if self.phase != status.phase {
            self.phase.clone_from(&status.phase);
            let phase = status.phase.as_deref().unwrap_or("Unknown");
            let tone = if phase == "Failed" { Tone::Warning } else { Tone::Quiet };
            let why = status.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            news.extend(all.then(|| News::of_pod("Phase", tone, format!("Phase is {phase}{why}"))));
        }
        news
    }
}

impl News<'_> {
    fn of_pod(reason: &'static str, tone: Tone, message: String) -> Self {
        Self { reason, container: None, tone, message }
    }
}

impl ContainerLife {
    /// Starts and ends. Kubernetes posts no event of an end, and none of a start once a pod has posted too many.
    fn news<'a>(&mut self, status: &'a ContainerStatus, news: &mut Vec<News<'a>>) {
        if status.ready && !self.ready {
            // What goes wrong from now on is new.
            self.told.clear();
        }
        self.ready = status.ready;
        let current = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        if current.is_none() {
            news.extend(last.and_then(|end| self.end(&status.name, end)));
        }
        let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
        let has_run = running || current.is_some_and(|end| end.started_at.is_some());
        if has_run && self.started != status.container_id {
            self.started.clone_from(&status.container_id);
            if !std::mem::take(&mut self.start_told) {
                let (container, message) = (Some(status.name.as_str()), "Container started".to_owned());
                news.push(News { reason: "Started", container, tone: Tone::Quiet, message });
            }
        }
        news.extend(current.and_then(|end| self.end(&status.name, end)));
    }

    fn end<'a>(&mut self, name: &'a str, end: &ContainerStateTerminated) -> Option<News<'a>> {
        // Without an instance, nothing has ended: the container never came to be.
        let id = end.container_id.as_ref().filter(|id| self.ended.as_ref() != Some(id))?;
        self.ended = Some(id.clone());
        let reason = end.reason.as_deref().unwrap_or("Error");
        let tone = if end.exit_code == 0 { Tone::Quiet } else { Tone::Warning };
        let message = format!("Container exited with code {} ({reason})", end.exit_code);
        Some(News { reason: "Exited", container: Some(name), tone, message })
    }

    /// Whether an event tells something that is not known yet.
    fn is_worth(&mut self, event: &PostedEvent) -> bool {
        match event.record.reason {
            reason if REPETITIVE.contains(&reason) => !self.stopping && self.is_due(event),
            "BuiltInImage" => event.count == 1,
            _ => event.record.message != POST_START_KILL,
        }
    }

    /// Whether a series has reached the next power of ten since it was told last.
    fn is_due(&mut self, event: &PostedEvent) -> bool {
        let told = self.told.get(&event.name).copied();
        let due = told.is_none_or(|told| told.checked_ilog10() < event.count.checked_ilog10());
        if due {
            if self.told.len() >= MAX_SERIES {
                self.told.clear();
            }
            self.told.insert(event.name.clone(), event.count);
        }
        due
    }
}

fn columns(at: Timestamp, kind: &str, reason: &str, object: &str, message: &str) -> String {
    format!("{at:.3} {kind:<7} {reason:<12} {object}: {message}")
}

/// How often and over which time something happened, as kubectl tells it: ` (x3 over 2m)`; nothing for once.
pub(super) fn repeats(count: u32, first: Timestamp, last: Timestamp) -> String {
    match count {
        0 | 1 => String::new(),
        _ => format!(" (x{count} over {})", print::human_duration(last.duration_since(first))),
    }
}

/// The first line of a text, with dots if there are more, as kubectl's tables have it.
pub(super) fn first_line(text: &str) -> String {
    let text = text.trim();
    text.split_once(['\n', '\r']).map_or_else(|| text.to_owned(), |(first, _)| format!("{first}..."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::EventRecord;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn notices(all_events: bool) -> Notices {
        Notices::new(all_events, Names::new(&[]))
    }

    fn key() -> PodKey {
        PodKey { namespace: "ns".into(), name: "p".into() }
    }

    fn event(type_: EventType, reason: &'static str, container: Option<&str>, message: &str, count: u32) -> Change {
        let field_path = container.map(|name| format!("spec.containers{{{name}}}"));
        let record = EventRecord { type_, reason, message: message.into(), field_path };
        let (name, first, last) = (format!("p.{message}"), at(0), at(i64::from(count) - 1));
        Change::Event { pod: key(), event: Box::new(PostedEvent { record, name, count, first, last }) }
    }

    fn status(yaml: &str) -> Change {
        let status = serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        Change::Status { pod: key(), status: Box::new(status), at: at(5) }
    }

    /// The status of container `c` with this state and these fields.
    fn container(fields: &str) -> Change {
        status(&format!("{{containerStatuses: [{{name: c, image: i, imageID: i, restartCount: 0, {fields}}}]}}"))
    }

    fn running(id: &str) -> String {
        format!("ready: true, containerID: {id}, state: {{running: {{}}}}")
    }

    fn ended(id: &str, code: i32, reason: &str) -> String {
        format!("{{terminated: {{containerID: {id}, exitCode: {code}, reason: {reason}, startedAt: {}}}}}", at(0))
    }

    fn lines(notices: &mut Notices, change: &Change) -> Vec<String> {
        notices.of(change).into_iter().map(|notice| notice.line).collect()
    }

    #[test]
    fn without_events_the_ordinary_course_of_things_is_terse() {
        let mut notices = notices(false);
        for (type_, reason, message, expected) in [
            (EventType::Normal, "Scheduled", "Successfully assigned", None),
            (EventType::Normal, "Pulled", "Container image", None),
            (EventType::Normal, "Created", "Container created", None),
            (EventType::Normal, "Started", "Container started", Some("p/c: Container started")),
            (EventType::Normal, "Killing", "Stopping container c", Some("p/c: Stopping container c")),
            (EventType::Warning, "Failed", "Error: no", Some("p/c: Failed: Error: no")),
        ] {
            let shown = lines(&mut notices, &event(type_, reason, Some("c"), message, 1));
            assert_eq!(shown, expected.into_iter().collect::<Vec<_>>());
        }
        let again = event(EventType::Normal, "Started", Some("c"), "Container started", 3);
        assert_eq!(lines(&mut notices, &again), ["p/c: Container started"]);
        for (reason, message, count, shown) in [
            ("BuiltInImage", "Image \"nginx\" is served by", 1, 1),
            ("BuiltInImage", "Image \"nginx\" is served by", 2, 0),
            ("Killing", "Container c failed liveness probe, will be restarted", 2, 1),
            ("Killing", "FailedPostStartHook", 1, 0),
        ] {
            let told = lines(&mut notices, &event(EventType::Normal, reason, Some("c"), message, count));
            assert_eq!(told.len(), shown, "{message}");
        }
        let pod_wide = event(EventType::Warning, "FailedMount", None, "no\nwhy", 3);
        assert_eq!(lines(&mut notices, &pod_wide), ["p: FailedMount: no... (x3 over 2s)"]);
        assert_eq!(lines(&mut notices, &status("{phase: Running}")), [""; 0]);
    }

    #[test]
    fn probe_failures_are_told_at_powers_of_ten() {
        let mut notices = notices(false);
        let told: Vec<String> = (1..=1000)
            // Some are dropped on their way: the next that comes stands for them.
            .filter(|count| *count < 25 || count % 60 == 0)
            .flat_map(|count| lines(&mut notices, &event(EventType::Warning, "Unhealthy", Some("c"), "no", count)))
            .collect();
        let expected =
            ["p/c: Unhealthy: no", "p/c: Unhealthy: no (x10 over 9s)", "p/c: Unhealthy: no (x120 over 119s)"];
        assert_eq!(told, expected);
    }

    #[test]
    fn probe_failures_of_a_container_that_is_stopped_are_not_told() {
        let mut notices = notices(false);
        lines(&mut notices, &event(EventType::Normal, "Killing", Some("c"), "Stopping container c", 1));
        let failure = |container| event(EventType::Warning, "Unhealthy", Some(container), "reset", 1);
        assert_eq!(lines(&mut notices, &failure("c")), [""; 0]);
        assert_eq!(lines(&mut notices, &failure("other")), ["p/other: Unhealthy: reset"]);
    }

    #[test]
    fn a_probe_that_fails_again_after_a_good_time_is_told_again() {
        let mut notices = notices(false);
        let mut told =
            |count| lines(&mut notices, &event(EventType::Warning, "Unhealthy", Some("c"), "no", count)).len();
        assert_eq!([told(1), told(2)], [1, 0]);
        lines(&mut notices, &container(&running("1")));
        let mut told =
            |count| lines(&mut notices, &event(EventType::Warning, "Unhealthy", Some("c"), "no", count)).len();
        assert_eq!([told(3), told(4)], [1, 0]);
    }

    #[test]
    fn all_events_are_shown_in_columns_with_their_counts() {
        let mut notices = notices(true);
        let changes = [
            event(EventType::Normal, "Scheduled", None, "Successfully assigned ns/p to n", 1),
            event(EventType::Warning, "Unhealthy", Some("c"), "no", 1),
            event(EventType::Warning, "Unhealthy", Some("c"), "no", 121),
        ];
        let shown: Vec<_> = changes.iter().flat_map(|change| lines(&mut notices, change)).collect();
        let expected = [
            "2027-01-15T08:00:00.000Z Normal  Scheduled    p: Successfully assigned ns/p to n",
            "2027-01-15T08:00:00.000Z Warning Unhealthy    p/c: no",
            "2027-01-15T08:02:00.000Z Warning Unhealthy    p/c: no (x121 over 2m)",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn with_events_exits_readiness_and_phases_are_shown_too() {
        let mut notices = notices(true);
        let ready = |value: &str| format!("conditions: [{{type: Ready, status: '{value}', message: why}}]");
        let changes = [
            status(&format!("{{phase: Pending, {}}}", ready("False"))),
            status(&format!("{{phase: Running, {}}}", ready("True"))),
            status(&format!("{{phase: Running, {}}}", ready("True"))),
            status(&format!("{{phase: Running, {}}}", ready("False"))),
            container(&format!("ready: false, containerID: '1', state: {}", ended("1", 3, "Error"))),
            status("{phase: Failed, reason: DeadlineExceeded}"),
        ];
        let shown = changes.iter().map(|change| lines(&mut notices, change).join("; "));
        let shown: Vec<_> = shown.map(|lines| lines.replace("2027-01-15T08:00:05.000Z ", "")).collect();
        let expected = [
            "Status  Phase        p: Phase is Pending",
            "Status  Ready        p: Pod is ready; Status  Phase        p: Phase is Running",
            "",
            "Status  NotReady     p: Pod is not ready: why",
            "Status  Started      p/c: Container started; Status  Exited       p/c: Container exited with code 3 (Error); \
             Status  Phase        p: Phase is Unknown",
            "Status  Phase        p: Phase is Failed (DeadlineExceeded)",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_start_and_end_is_told_once_and_in_order() {
        let mut notices = notices(false);
        let started = event(EventType::Normal, "Started", Some("c"), "Container started", 1);
        assert_eq!(lines(&mut notices, &started), ["p/c: Container started"]);
        assert_eq!(lines(&mut notices, &container(&running("1"))), [""; 0]);
        let end = format!("ready: false, containerID: '1', state: {}", ended("1", 0, "Completed"));
        assert_eq!(lines(&mut notices, &container(&end)), ["p/c: Container exited with code 0 (Completed)"]);
        assert_eq!(lines(&mut notices, &container(&end)), [""; 0]);
        // The event of this start was one too many to be posted.
        let again = format!("{}, lastState: {}", running("2"), ended("1", 0, "Completed"));
        let shown = notices.of(&container(&again));
        let [Notice { line, started: Some(started), .. }] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((line.as_str(), started.as_str()), ("p/c: Container started", "c"));
        // A whole life between two statuses.
        let quick = format!(
            "ready: false, containerID: '3', state: {}, lastState: {}",
            ended("3", 1, "Error"),
            ended("2", 0, "Completed")
        );
        let expected = ["p/c: Container started", "p/c: Container exited with code 1 (Error)"];
        assert_eq!(lines(&mut notices, &container(&quick)), expected);
    }

    #[test]
    fn a_container_that_never_came_to_be_has_not_ended() {
        let mut notices = notices(false);
        let end = "{terminated: {exitCode: 137, reason: ContainerStatusUnknown}}";
        assert_eq!(lines(&mut notices, &container(&format!("ready: false, state: {end}"))), [""; 0]);
    }

    #[test]
    fn a_container_that_could_not_start_has_not_started() {
        let mut notices = notices(false);
        let end = "{terminated: {containerID: '1', exitCode: 128, reason: StartError}}";
        let shown = lines(&mut notices, &container(&format!("ready: false, containerID: '1', state: {end}")));
        assert_eq!(shown, ["p/c: Container exited with code 128 (StartError)"]);
    }
}
