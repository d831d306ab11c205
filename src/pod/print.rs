//! The columns of `kubectl get pods`, from a pod (apiserver v1.36 `printersinternal.printPod`), and Kubernetes' way to
//! print an age.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use super::phase::is_terminal;
use super::plan::ContainerKind;
use super::spec::PodView;
use crate::base::clock::Timestamp;

/// What a cell without a value shows.
const NONE: &str = "<none>";

/// One line of `kubectl get pods -o wide`; without `-o wide`, the first five columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRow {
    /// NAME.
    pub name: String,
    /// READY: how many of the containers that serve are ready, such as `1/2`.
    pub ready: String,
    /// STATUS.
    pub status: String,
    /// RESTARTS, with the age of the last one, such as `3 (10s ago)`.
    pub restarts: String,
    /// AGE.
    pub age: String,
    /// IP.
    pub ip: String,
    /// NODE.
    pub node: String,
    /// NOMINATED NODE.
    pub nominated_node: String,
    /// READINESS GATES: how many of them are met.
    pub readiness_gates: String,
}

/// What goes through the container statuses.
#[derive(Default)]
struct Tally {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Tally {
    fn count_restarts(&mut self, container: &ContainerStatus) {
        self.restarts += i64::from(container.restart_count);
        let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let finished = last.and_then(|terminated| terminated.finished_at.as_ref()).map(|time| time.0);
        self.last_restart = self.last_restart.max(finished);
    }
}

/// The line of a pod at the time `now`.
pub fn pod_row(pod: &Pod, now: Timestamp) -> PodRow {
    let view = PodView::new(pod);
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let mut tally = Tally { reason: initial_reason(status), ..Tally::default() };
    let initialising = tally_init(&view, status, &mut tally);
    if !initialising || has_condition(status, "Initialized") {
        tally_apps(&view, status, &mut tally);
    }
    if view.is_deleted() {
        if status.reason.as_deref() == Some("NodeLost") {
            tally.reason = "Unknown".into();
        } else if !is_terminal(status.phase.as_deref().unwrap_or("")) {
            tally.reason = "Terminating".into();
        }
    }
    let age = |since: Timestamp| human_duration(now.duration_since(since));
    let restarts = match tally.last_restart {
        Some(last) if tally.restarts > 0 => format!("{} ({} ago)", tally.restarts, age(last)),
        _ => tally.restarts.to_string(),
    };
    let text = |value: Option<&String>| value.filter(|text| !text.is_empty()).cloned().unwrap_or_else(|| NONE.into());
    PodRow {
        name: pod.metadata.name.clone().unwrap_or_default(),
        ready: format!("{}/{}", tally.ready, view.apps.len() + view.sidecars().count()),
        status: tally.reason,
        restarts,
        age: pod.metadata.creation_timestamp.as_ref().map_or_else(|| "<unknown>".into(), |time| age(time.0)),
        ip: text(status.pod_ip.as_ref()),
        node: text(view.spec.node_name.as_ref()),
        nominated_node: text(status.nominated_node_name.as_ref()),
        readiness_gates: readiness_gates(&view, status),
    }
}

fn initial_reason(status: &PodStatus) -> String {
    let mut conditions = status.conditions.iter().flatten();
    let gated = conditions
        .any(|condition| condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated"));
    if gated {
        return "SchedulingGated".into();
    }
    let reason = status.reason.as_ref().filter(|reason| !reason.is_empty());
    reason.or(status.phase.as_ref()).cloned().unwrap_or_default()
}

fn has_condition(status: &PodStatus, type_: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == type_ && condition.status == "True")
}

fn terminated(state: &Option<ContainerState>) -> Option<&ContainerStateTerminated> {
    state.as_ref()?.terminated.as_ref()
}

fn waiting_reason(state: &Option<ContainerState>) -> Option<&str> {
    state.as_ref()?.waiting.as_ref()?.reason.as_deref().filter(|reason| !reason.is_empty())
}

/// `Error`, `Signal:9` or `ExitCode:1`.
fn end_reason(terminated: &ContainerStateTerminated) -> String {
    match (terminated.reason.as_deref().unwrap_or(""), terminated.signal.unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

/// Goes through the init containers; whether one of them decides the status.
fn tally_init(view: &PodView<'_>, status: &PodStatus, tally: &mut Tally) -> bool {
    for (index, container) in status.init_container_statuses.iter().flatten().enumerate() {
        tally.count_restarts(container);
        let sidecar = view.find(&container.name).is_some_and(|spec| spec.kind == ContainerKind::Sidecar);
        let end = terminated(&container.state);
        if end.is_some_and(|end| end.exit_code == 0) {
            continue;
        }
        if sidecar && container.started == Some(true) {
            tally.ready += usize::from(container.ready);
            continue;
        }
        let waiting = waiting_reason(&container.state).filter(|reason| *reason != "PodInitializing");
        tally.reason = match (end, waiting) {
            (Some(end), _) => format!("Init:{}", end_reason(end)),
            (None, Some(reason)) => format!("Init:{reason}"),
            (None, None) => format!("Init:{index}/{}", view.init.len()),
        };
        return true;
    }
    false
}

/// Goes through the app containers from last to first, so that the first by name decides.
fn tally_apps(view: &PodView<'_>, status: &PodStatus, tally: &mut Tally) {
    (tally.restarts, tally.last_restart) = (0, None);
    for container in status.init_container_statuses.iter().flatten() {
        if view.sidecars().any(|spec| spec.name() == container.name) {
            tally.count_restarts(container);
        }
    }
    let (mut something_runs, mut error) = (false, None);
    for container in status.container_statuses.iter().flatten().rev() {
        tally.count_restarts(container);
        let running = container.state.as_ref().is_some_and(|state| state.running.is_some());
        if let Some(reason) = waiting_reason(&container.state) {
            tally.reason = reason.into();
        } else if let Some(end) = terminated(&container.state) {
            tally.reason = end_reason(end);
            if end.exit_code != 0 {
                error = Some(tally.reason.clone());
            }
        } else if container.ready && running {
            something_runs = true;
            tally.ready += 1;
        }
    }
    if tally.reason == "Completed" {
        match error {
            _ if something_runs && has_condition(status, "Ready") => tally.reason = "Running".into(),
            Some(error) => tally.reason = error,
            None if something_runs => tally.reason = "NotReady".into(),
            None => {}
        }
    }
}

fn readiness_gates(view: &PodView<'_>, status: &PodStatus) -> String {
    let gates = view.spec.readiness_gates.as_deref().unwrap_or(&[]);
    if gates.is_empty() {
        return NONE.into();
    }
    let met = gates.iter().filter(|gate| has_condition(status, &gate.condition_type)).count();
    format!("{met}/{}", gates.len())
}

/// Prints a duration with at most two units, the coarser the longer it is (apimachinery `duration.HumanDuration`):
/// `119s`, `3m5s`, `125m`, `5h7m`, `30h`, `3d2h`, `30d`, `2y10d`.
pub fn human_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |major: i64, major_unit: &str, minor: i64, minor_unit: &str| match minor {
        0 => format!("{major}{major_unit}"),
        minor => format!("{major}{major_unit}{minor}{minor_unit}"),
    };
    match (seconds, minutes, hours) {
        (..-1, ..) => "<invalid>".into(),
        (-1..0, ..) => "0s".into(),
        (..120, ..) => format!("{seconds}s"),
        (_, ..10, _) => two(minutes, "m", seconds % 60, "s"),
        (_, ..180, _) => format!("{minutes}m"),
        (_, _, ..8) => two(hours, "h", minutes % 60, "m"),
        (_, _, ..48) => format!("{hours}h"),
        (_, _, ..192) => two(days, "d", hours % 24, "h"),
        (_, _, ..17520) => format!("{days}d"),
        (_, _, ..70080) => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = "ready: true, started: true, state: {running: {}}";
    const DONE: &str = "state: {terminated: {exitCode: 0, reason: Completed}}";
    const ERROR: &str = "state: {terminated: {exitCode: 3, reason: Error}}";
    const INITIALISING: &str = "state: {waiting: {reason: PodInitializing}}";
    const READY: &str = "conditions: [{type: Initialized, status: 'True'}, {type: Ready, status: 'True'}]";
    const UNREADY: &str = "conditions: [{type: Ready, status: 'False'}]";

    /// Container statuses from the fields that matter, named `<kind>0`, `<kind>1`, ….
    fn statuses(kind: &str, items: &[&str]) -> serde_json::Value {
        let status = |(index, fields): (usize, &&str)| {
            let mut status = serde_json::json!({"image": "i", "imageID": "", "ready": false, "restartCount": 0});
            let fields: serde_json::Map<_, _> = serde_yaml::from_str(&format!("{{{fields}}}")).unwrap();
            status.as_object_mut().unwrap().extend(fields);
            status["name"] = format!("{kind}{index}").into();
            status
        };
        items.iter().enumerate().map(status).collect()
    }

    /// READY, STATUS and RESTARTS of a pod with these init and app container statuses and other status fields.
    fn check(inits: &[&str], apps: &[&str], fields: &str, expected: &str) {
        let mut status: serde_json::Value = serde_yaml::from_str(&format!("{{{fields}}}")).unwrap();
        status["initContainerStatuses"] = statuses("i", inits);
        status["containerStatuses"] = statuses("a", apps);
        let pod = serde_json::json!({
            "metadata": {"name": "p"},
            "spec": {"initContainers": statuses("i", inits), "containers": statuses("a", apps)},
            "status": status,
        });
        let row = pod_row(&serde_json::from_value(pod).unwrap(), "2027-01-15T08:00:50Z".parse().unwrap());
        assert_eq!(format!("{} {} {}", row.ready, row.status, row.restarts), expected, "{inits:?} {apps:?} {fields}");
    }

    /// §16, app containers.
    #[test]
    fn the_status_column_follows_the_app_containers() {
        let waiting = |reason: &str| format!("state: {{waiting: {{reason: {reason}}}}}");
        check(&[], &[RUNNING, RUNNING], "phase: Running", "2/2 Running 0");
        check(&[], &[&waiting("ContainerCreating"), RUNNING], "phase: Pending", "1/2 ContainerCreating 0");
        check(&[], &[&waiting("A"), &waiting("B")], "phase: Pending", "0/2 A 0");
        check(&[], &[], "phase: Failed, reason: Evicted", "0/0 Evicted 0");
        check(&[], &[DONE], "phase: Succeeded", "0/1 Completed 0");
        check(&[], &[ERROR], "phase: Failed", "0/1 Error 0");
        check(&[], &["state: {terminated: {exitCode: 3}}"], "phase: Failed", "0/1 ExitCode:3 0");
        check(&[], &["state: {terminated: {exitCode: 3, signal: 9}}"], "phase: Failed", "0/1 Signal:9 0");
        check(&[], &[DONE, RUNNING], READY, "1/2 Running 0");
        check(&[], &[DONE, RUNNING], UNREADY, "1/2 NotReady 0");
        check(&[], &[DONE, ERROR], UNREADY, "0/2 Error 0");
    }

    /// §16, init containers.
    #[test]
    fn the_status_column_follows_the_first_unfinished_init_container() {
        check(&["state: {running: {}}"], &[INITIALISING], "phase: Pending", "0/1 Init:0/1 0");
        check(&[DONE, INITIALISING], &[INITIALISING], "phase: Pending", "0/1 Init:1/2 0");
        check(&[ERROR, INITIALISING], &[INITIALISING], "phase: Failed", "0/1 Init:Error 0");
        check(&["state: {terminated: {exitCode: 3}}"], &[INITIALISING], "phase: Failed", "0/1 Init:ExitCode:3 0");
        let killed = "state: {terminated: {exitCode: 137, signal: 9}}";
        check(&[killed, INITIALISING], &[INITIALISING], "phase: Pending", "0/1 Init:Signal:9 0");
        let unpullable = "state: {waiting: {reason: ErrImagePull}}";
        check(&[DONE, unpullable], &[INITIALISING], "phase: Pending", "0/1 Init:ErrImagePull 0");
        check(&[INITIALISING, DONE], &[INITIALISING], "phase: Pending", "0/1 Init:0/2 0");
        check(&[], &[INITIALISING], "phase: Pending", "0/1 PodInitializing 0");
    }

    /// §16: a started sidecar is passed over and counts if it is ready, one that isn't decides; all count in `/n`.
    #[test]
    fn the_status_column_passes_over_sidecars_that_are_started() {
        let sidecar = |fields: &str| format!("restartPolicy: Always, state: {{running: {{}}}}, {fields}");
        let (ready, started) = (sidecar("started: true, ready: true"), sidecar("started: true"));
        let starting = sidecar("started: false");
        check(&[&starting, INITIALISING], &[INITIALISING], "phase: Pending", "0/2 Init:0/2 0");
        check(&[&ready, INITIALISING], &[INITIALISING], "phase: Pending", "1/2 Init:1/2 0");
        check(&[&started, "state: {running: {}}"], &[INITIALISING], "phase: Pending", "0/2 Init:1/2 0");
        check(&[&ready, DONE], &[RUNNING], "phase: Running", "2/2 Running 0");
        check(&[&started, DONE], &[RUNNING], "phase: Running", "1/2 Running 0");
    }

    /// §16: `Initialized=True` brings in the apps though an init container is undone again.
    #[test]
    fn an_initialized_pod_shows_its_apps() {
        let crashing = "restartPolicy: Always, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}";
        check(&[crashing], &[RUNNING], READY, "1/2 Init:CrashLoopBackOff 1");
        let failing = "restartCount: 2, state: {waiting: {reason: ErrImagePull}}";
        check(&[crashing], &[failing], READY, "0/2 ErrImagePull 3");
        check(&[crashing], &[failing], UNREADY, "0/2 Init:CrashLoopBackOff 1");
    }

    /// §16: the phase, then the status' reason, then a scheduling gate; deletion overrides all but a terminal phase.
    #[test]
    fn the_status_column_begins_with_the_phase_and_ends_with_deletion() {
        let shown = |deleted: bool, fields: &str| {
            let deletion = if deleted { ", deletionTimestamp: '2027-01-15T08:00:00Z'" } else { "" };
            let yaml = format!("{{metadata: {{name: p{deletion}}}, spec: {{containers: []}}, status: {{{fields}}}}}");
            pod_row(&serde_yaml::from_str(&yaml).unwrap(), "2027-01-15T08:00:50Z".parse().unwrap()).status
        };
        let gated = "conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]";
        for (deleted, fields, expected) in [
            (false, "phase: Pending", "Pending"),
            (false, "phase: Failed, reason: DeadlineExceeded", "DeadlineExceeded"),
            (false, &format!("phase: Pending, {gated}"), "SchedulingGated"),
            (true, "phase: Running", "Terminating"),
            (true, "phase: Pending", "Terminating"),
            (true, "phase: Running, reason: NodeLost", "Unknown"),
            (true, "phase: Succeeded", "Succeeded"),
            (true, "phase: Failed, reason: Evicted", "Evicted"),
        ] {
            assert_eq!(shown(deleted, fields), expected, "{fields}");
        }
    }

    /// §16: init containers' restarts count only while they decide.
    #[test]
    fn restarts_show_the_age_of_the_last_one() {
        let ended =
            |at: &str| format!("lastState: {{terminated: {{exitCode: 1, finishedAt: '2027-01-15T08:00:{at}Z'}}}}");
        let crashing = format!("restartCount: 2, state: {{waiting: {{reason: CrashLoopBackOff}}}}, {}", ended("00"));
        check(&[&crashing], &[INITIALISING], "phase: Pending", "0/1 Init:CrashLoopBackOff 2 (50s ago)");
        let done = format!("restartCount: 2, {DONE}, {}", ended("00"));
        let restarted = format!("restartCount: 1, {RUNNING}, {}", ended("40"));
        check(&[&done], &[&restarted], "phase: Running", "1/1 Running 1 (10s ago)");
    }

    #[test]
    fn sidecars_count_and_deletion_shows() {
        let yaml = "{metadata: {name: p, creationTimestamp: '2027-01-15T06:00:00Z', deletionTimestamp: '2027-01-15T08:00:00Z'}, \
            spec: {nodeName: n, readinessGates: [{conditionType: g}], initContainers: [{name: s, restartPolicy: Always}], containers: [{name: a}]}, \
            status: {phase: Running, podIP: 10.0.0.2, \
            initContainerStatuses: [{name: s, image: i, imageID: '', restartCount: 4, ready: true, started: true, state: {running: {}}}], \
            containerStatuses: [{name: a, image: i, imageID: '', restartCount: 0, ready: true, state: {running: {}}}]}}";
        let pod: Pod = serde_yaml::from_str(yaml).unwrap();
        let row = pod_row(&pod, "2027-01-15T08:05:50Z".parse().unwrap());
        let expected = PodRow {
            name: "p".into(),
            ready: "2/2".into(),
            status: "Terminating".into(),
            restarts: "4".into(),
            age: "125m".into(),
            ip: "10.0.0.2".into(),
            node: "n".into(),
            nominated_node: "<none>".into(),
            readiness_gates: "0/1".into(),
        };
        assert_eq!(row, expected);
    }

    #[test]
    fn ages_have_at_most_two_units() {
        let (minute, hour, day) = (60, 3600, 86400);
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (3 * minute + 5, "3m5s"),
            (10 * minute + 5, "10m"),
            (125 * minute, "125m"),
            (3 * hour, "3h"),
            (5 * hour + 7 * minute, "5h7m"),
            (30 * hour, "30h"),
            (3 * day + 2 * hour, "3d2h"),
            (3 * day, "3d"),
            (30 * day, "30d"),
            (740 * day, "2y10d"),
            (730 * day, "2y"),
            (9 * 365 * day, "9y"),
        ] {
            assert_eq!(human_duration(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
