//! Follows runs of pods by what `husk run --events` tells of them, and by the objects that `-o json` prints at the end.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rustix::process::Signal;

use crate::support::{Husk, LINE_LIMIT};

/// A run, told by lines such as `pod/container Killing: Stopping container c`, without their times and types. Repeated
/// events end in their count, ` (x2 over 3s)`; of Kubernetes' own, an end is told as `Exited`, a phase as `Phase`, and
/// readiness as `Ready` and `NotReady`.
pub(crate) struct Story {
    child: Child,
    lines: mpsc::Receiver<String>,
    told: Vec<(Timestamp, String)>,
    /// Everything else on standard error: what containers print, the table, explanations.
    others: Vec<String>,
    objects: PathBuf,
    pods: Vec<Pod>,
}

/// Pods by their names and the YAML of their specs, indented by two.
pub(crate) fn pods(specs: &[(&str, &str)]) -> String {
    let pod = |(name, spec): &(&str, &str)| {
        let spec = spec.trim_start_matches('\n');
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}\n---\n")
    };
    specs.iter().map(pod).collect()
}

impl Story {
    /// Starts a run.
    pub(crate) fn start(husk: &Husk, yaml: &str) -> Self {
        let objects = husk.dir().join("objects.json");
        let mut command = husk.run_command(yaml, &["--events", "-o", "json"]);
        command.stdout(File::create(&objects).unwrap()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, told: Vec::new(), others: Vec::new(), objects, pods: Vec::new() }
    }

    /// Waits until something was told that begins like this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, beginning: &str) {
        self.wait_for_times(beginning, 1);
    }

    /// Waits until something was told so many times that begins like this.
    #[track_caller]
    pub(crate) fn wait_for_times(&mut self, beginning: &str, times: usize) {
        while self.told(beginning).len() < times {
            self.read_on(beginning);
        }
    }

    /// Waits until all of this was told, in whatever order.
    #[track_caller]
    pub(crate) fn wait_for_all(&mut self, beginnings: &[&str]) {
        for beginning in beginnings {
            self.wait_for(beginning);
        }
    }

    /// Waits until some containers have printed lines, in whatever order: `pod/container | line`, the name not padded.
    #[track_caller]
    pub(crate) fn wait_for_output(&mut self, lines: &[&str]) {
        for line in lines {
            while self.printed(line) == 0 {
                self.read_on(line);
            }
        }
    }

    /// Stops the pods as Ctrl-C does, and waits for the end.
    pub(crate) fn stop(&mut self) -> i32 {
        self.interrupt();
        self.end()
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for the end and gives the exit code.
    pub(crate) fn end(&mut self) -> i32 {
        while let Ok(line) = self.lines.recv() {
            self.take(line);
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let objects: serde_json::Value = serde_json::from_reader(File::open(&self.objects).unwrap()).unwrap();
        let objects = match objects.get("items") {
            Some(items) => items.clone(),
            None => serde_json::json!([objects]),
        };
        self.pods = serde_json::from_value(objects).unwrap();
        code
    }

    /// A pod as it was at the end.
    #[track_caller]
    pub(crate) fn pod(&self, name: &str) -> &Pod {
        let mut pods = self.pods.iter();
        pods.find(|pod| pod.metadata.name.as_deref() == Some(name)).unwrap_or_else(|| panic!("no pod {name}"))
    }

    /// The phase of a pod at the end.
    #[track_caller]
    pub(crate) fn phase(&self, name: &str) -> &str {
        self.pod(name).status.as_ref().unwrap().phase.as_deref().unwrap()
    }

    /// READY, STATUS and the number of RESTARTS of a pod in the final table.
    #[track_caller]
    pub(crate) fn row(&self, name: &str) -> [&str; 3] {
        let row = self.others.iter().find(|line| line.starts_with(&format!("{name} ")) && line.contains('/'));
        let row = row.unwrap_or_else(|| panic!("no row of {name}: {self:#?}"));
        let cells: Vec<_> = row.split_whitespace().skip(1).take(3).collect();
        cells.try_into().unwrap()
    }

    /// How often a container has printed a line.
    pub(crate) fn printed(&self, line: &str) -> usize {
        let (source, text) = line.split_once(" | ").unwrap();
        let is_it = |other: &&String| {
            other.split_once(" | ").is_some_and(|(from, other)| from.trim_end() == source && other == text)
        };
        self.others.iter().filter(is_it).count()
    }

    /// Asserts that standard error has this line besides events.
    #[track_caller]
    pub(crate) fn explains(&self, line: &str) {
        assert!(self.others.iter().any(|other| other == line), "no line {line:?} in {self:#?}");
    }

    /// Asserts that things were told that begin like these, in this order, with whatever else between them.
    #[track_caller]
    pub(crate) fn tells(&self, beginnings: &[&str]) {
        let mut told = self.told.iter();
        for beginning in beginnings {
            assert!(told.any(|(_, text)| text.starts_with(beginning)), "no {beginning:?} in its place in {self:#?}");
        }
    }

    /// Asserts that nothing that begins like this has been told so far.
    #[track_caller]
    pub(crate) fn never_tells(&self, beginning: &str) {
        assert!(self.find(beginning).is_none(), "{beginning:?} in {self:#?}");
    }

    /// Everything told so far that begins like this.
    pub(crate) fn told(&self, beginning: &str) -> Vec<&(Timestamp, String)> {
        self.told.iter().filter(|(_, text)| text.starts_with(beginning)).collect()
    }

    /// The time from the first telling of one thing to the first of another. What counts from a container's start counts
    /// from a moment before it is told, but not from one before `Pulled`.
    #[track_caller]
    pub(crate) fn time_between(&self, earlier: &str, later: &str) -> Duration {
        let at = |beginning| self.find(beginning).unwrap_or_else(|| panic!("no {beginning:?} in {self:#?}"));
        at(later).duration_since(at(earlier)).try_into().unwrap_or_else(|_| panic!("{later:?} first in {self:#?}"))
    }

    fn find(&self, beginning: &str) -> Option<Timestamp> {
        self.told.iter().find(|(_, text)| text.starts_with(beginning)).map(|(at, _)| *at)
    }

    #[track_caller]
    fn read_on(&mut self, missing: &str) {
        match self.lines.recv_timeout(LINE_LIMIT) {
            Ok(line) => self.take(line),
            Err(error) => panic!("no {missing:?} ({error}) in {self:#?}"),
        }
    }

    fn take(&mut self, line: String) {
        match event(&line) {
            Some(told) => self.told.push(told),
            None => self.others.push(line),
        }
    }
}

/// `TIME TYPE REASON OBJECT: MESSAGE`, in columns.
fn event(line: &str) -> Option<(Timestamp, String)> {
    let (time, rest) = line.split_once(' ')?;
    let (_, rest) = rest.trim_start().split_once(' ')?;
    let (reason, rest) = rest.trim_start().split_once(' ')?;
    let (object, message) = rest.trim_start().split_once(": ")?;
    Some((time.parse().ok()?, format!("{object} {reason}: {message}")))
}

impl std::fmt::Debug for Story {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Story").field("told", &self.told).field("others", &self.others).finish_non_exhaustive()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
