//! The planner's decisions, one rule at a time: given this pod and this state of affairs, these actions and this
//! status. § refers to the pod semantics. Whole lives are in the files beside this folder.
//!
//! A table is text; blank lines separate its cases. The first line of a case names the rule, each other line is a key
//! and what belongs to it. A block whose first line names no rule holds lines for all cases after it.
//!
//! ```text
//! §6 the restart waits for the back-off, counted from the exit
//!   pod    containers: [{name: c, image: i}]     the spec; `with` adds fields to it, `object` is the pod's own status
//!   deleted 30@100                               it is deleted with a grace of 30 s since 100 s
//!   now    100                                   the time, in seconds; 100 where nothing is said
//!   was    @90 c: running@80                     what was the case when the status was published last
//!   seen   c/1: exited:1@60 -> exited:1@95 backoff=10@61
//!   then   exited c/1 3                          what happens now (an event); several in several lines
//!   again                                        what is expected is of the second plan, at the same time
//!   do     pull c; start d/0                     all actions
//!   c      CrashLoopBackOff "back-off 10s …" after Error:1 (1) ready
//!   Ready  False ContainersNotReady "containers with unready status: [c]" @95
//!   phase  Running                               with reason and message, if any
//!   event  Warning BackOff containers{c} "…"     all events, once one is named; or `event none`
//!   wake   105                                   or `never`, or `now`
//!   life   Terminating Deleted 130               the lifecycle; when the grace period ends
//!   backoff c 20@100                             the restart back-off afterwards: delay, since when
//!   /podIP 10.0.0.2                              any other field of the status
//! ```
//!
//! Volumes and sandbox are ready where `seen` says nothing else; `seen.rs` has its words. Actions are always compared
//! completely, everything else where a case names it.

mod backoff;
mod conditions;
mod containers;
mod events;
mod hooks;
mod images;
mod phases;
mod probes;
mod restarts;
mod seen;
mod shown;
mod stages;
mod starting;
mod stopping;
mod updates;
mod words;

use std::fmt::Write as _;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::*;
use crate::pod::Observed;
use words::{Word, at, clauses, words};

/// The lines of a case and of the blocks before it that hold for all.
struct Case<'t> {
    text: &'t str,
    lines: Vec<(&'t str, &'t str)>,
}

/// Checks every case of a table, and shows all that fail.
fn check(table: &str) {
    let mut common = Vec::new();
    let (mut cases, mut failures) = (0, String::new());
    for block in table.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let mut lines: Vec<(&str, &str)> = Vec::new();
        for line in block.lines().map(str::trim).filter(|line| !line.starts_with('§')) {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            lines.push((key, value.trim()));
        }
        if !block.starts_with('§') {
            common.extend(lines);
            continue;
        }
        cases += 1;
        let case = Case { text: block, lines: common.iter().copied().chain(lines).collect() };
        if let Err(failure) = case.check() {
            let _ = writeln!(failures, "{block}\n{failure}\n");
        }
    }
    assert!(cases > 0, "a table without cases");
    assert!(failures.is_empty(), "\n\n{failures}");
}

impl<'t> Case<'t> {
    /// What belongs to a key, for keys that count once: the last one.
    fn one(&self, key: &str) -> Option<&'t str> {
        self.lines.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn each(&self, key: &str) -> impl Iterator<Item = &'t str> {
        self.lines.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn now(&self) -> Timestamp {
        at(self.one("now").unwrap_or("100"))
    }

    /// The pod, not deleted.
    fn pod(&self) -> Pod {
        let fields: Vec<&str> = self.each("with").chain(self.one("pod")).collect();
        let status = self.one("object").unwrap_or("");
        let yaml = format!(
            "{{metadata: {{name: p, namespace: ns, uid: u, generation: 1}}, spec: {{{}}}, status: {{{status}}}}}",
            fields.join(", ")
        );
        serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}\n{}", self.text))
    }

    fn deleted(&self, mut pod: Pod) -> Pod {
        if let Some((grace, since)) = self.one("deleted").map(|text| text.split_once('@').unwrap()) {
            let seconds: i64 = grace.parse().unwrap();
            pod.metadata.deletion_grace_period_seconds = Some(seconds);
            pod.metadata.deletion_timestamp = Some(Time(at(since) + SignedDuration::from_secs(seconds)));
        }
        pod
    }

    /// What is observed, with the status as it was published last.
    fn observed(&self, pod: &Pod) -> Observed {
        let seen: Vec<Vec<Word>> = self.each("seen").flat_map(clauses).collect();
        let mut observed = seen::observed(pod, &seen);
        if let Some(was) = self.one("was") {
            let (time, was) = match was.strip_prefix('@') {
                Some(rest) => rest.split_once(' ').map(|(time, was)| (at(time), was)).unwrap(),
                None => (self.now() - SignedDuration::from_secs(1), was),
            };
            let before = if was == "same" { observed.clone() } else { seen::observed(pod, &clauses(was)) };
            observed.status = plan(&Desired { pod: Arc::new(pod.clone()) }, &before, time).status;
        }
        observed
    }

    fn check(&self) -> Result<(), String> {
        let (pod, now) = (self.pod(), self.now());
        let mut observed = self.observed(&pod);
        let desired = Desired { pod: Arc::new(self.deleted(pod)) };
        for event in self.each("then") {
            observed.apply(seen::event(&words(event), now), now);
        }
        if self.one("again").is_some() {
            let first = plan(&desired, &observed, now);
            observed.record(&first, now);
        }
        let plan = plan(&desired, &observed, now);
        let published = observed.status.clone();
        observed.record(&plan, now);
        let shown = shown::Shown { pod: &desired.pod, plan: &plan, observed: &observed, now };
        let mut wrong: Vec<String> = shown.broken_invariants(&published);
        wrong.extend(self.differences(&shown));
        wrong.extend(not_idempotent(&desired, &observed, &plan, now));
        match wrong.as_slice() {
            [] => Ok(()),
            wrong => Err(format!("  ** wrong **\n{}\n  ** all there is **\n{}", wrong.join("\n"), shown.all())),
        }
    }

    /// Where the plan is not what the case says.
    fn differences(&self, shown: &shown::Shown<'_>) -> Vec<String> {
        const INPUT: [&str; 9] = ["pod", "with", "object", "deleted", "now", "was", "seen", "then", "again"];
        let mut wrong = Vec::new();
        let mut expect = |key: &str, expected: String, actual: String| {
            if expected != actual {
                wrong.push(format!("  {key}\n    expected: {expected}\n    actual:   {actual}"));
            }
        };
        let tidy = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        expect("do", tidy(self.one("do").expect("every case says what to do")), shown.actions());
        let events: Vec<String> = self.each("event").map(|event| words::join(&words(event))).collect();
        match events.as_slice() {
            [] => {}
            [none] if none == "none" => expect("events", String::new(), shown.events().join("\n    ")),
            events => expect("events", events.join("\n    "), shown.events().join("\n    ")),
        }
        for (key, value) in &self.lines {
            let expected = words(value);
            match *key {
                "do" | "event" => {}
                key if INPUT.contains(&key) => {}
                key => expect(key, words::join(&expected), words::join(&shown.answer(key, &expected))),
            }
        }
        wrong
    }
}

/// Once a plan is recorded, planning anew at the same time gives nothing to do, unless the plan asked for that; and
/// where nothing was to do, nothing else to publish.
fn not_idempotent(desired: &Desired, observed: &Observed, first: &Plan, now: Timestamp) -> Option<String> {
    if first.wake_at == Some(now) {
        return None;
    }
    let anew = plan(desired, &Observed { settled: None, ..observed.clone() }, now);
    let quiet = anew.actions.is_empty() && anew.events.is_empty();
    let same = !first.actions.is_empty() || anew.status == first.status;
    (!quiet || !same).then(|| format!("  planned anew: {:?} {:?} {:?}", anew.actions, anew.events, anew.status))
}
