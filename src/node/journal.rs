//! What is written down of a node's pods as they live, so that another agent can go on with them after this one was
//! killed: an append-only file of JSON lines, each a whole record. Of each pod the last record of a kind counts.
//!
//! ```text
//! {"husk-journal":1}
//! {"uid":"…","pod":{"metadata":…,"spec":…}}     what is wanted
//! {"uid":"…","state":{"status":…,…}}            what had come of it, before anything more was done about it
//! {"uid":"…","begun":{"container":…,…}}         a container that is started now, before its program does anything
//! {"uid":"…","gone":true}                       nobody wants to know of it any more
//! ```
//! A record is appended by one write and not synced to the disk: it survives the end of the agent, which is what it is
//! for, but perhaps not that of the machine. A last line without its end was being written when the agent ended, and
//! does not count.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::base::files::private;
use crate::pod::{Begun, Observed, PodSnapshot, Snapshot, SnapshotMark};

/// The journal's name in its directory.
pub(super) const FILE: &str = "journal";
/// A journal that is being written anew.
pub(super) const NEW_FILE: &str = "journal.new";
/// The version of the format, in the first line.
const FORMAT: u32 = 1;
/// A journal shorter than this is never written anew, in bytes.
const COMPACTED_FROM: u64 = 1024 * 1024;
/// How many times its live content a journal may grow to before it is written anew.
const GROWTH: u64 = 2;
/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 64 * 1024 * 1024;
/// Bytes that a record of a small pod takes.
const USUAL_RECORD: usize = 8 * 1024;
/// The longest UID that is believed.
const MAX_UID: usize = 128;

/// The journal of one agent.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    log: Mutex<Log>,
}

/// A pod as a journal has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The pod as it was wanted last, without its status.
    pub pod: Pod,
    /// What had come of it; `None` if nothing was done yet.
    pub snapshot: Option<PodSnapshot>,
}

/// What a journal says.
#[derive(Debug, Default)]
pub struct Contents {
    /// The pods, by UID.
    pub pods: BTreeMap<String, Recorded>,
    /// What could not be read; the pods above are not affected.
    pub problems: Vec<JournalProblem>,
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct JournalProblem {
    /// The journal.
    pub path: PathBuf,
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

#[derive(Debug)]
struct Log {
    file: File,
    length: u64,
    pods: HashMap<String, Lines>,
    compact_at: u64,
}

/// Where the lines of a pod are that count.
#[derive(Debug, Clone, Default)]
struct Lines {
    pod: Option<Line>,
    state: Option<Line>,
    /// By container.
    begun: BTreeMap<String, Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    at: u64,
    length: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Header {
    husk_journal: u32,
}

#[derive(Serialize)]
struct PodLine<'a> {
    uid: &'a str,
    pod: WrittenPod<'a>,
}

/// A pod without its status, which is part of the state.
#[derive(Serialize)]
struct WrittenPod<'a> {
    metadata: &'a ObjectMeta,
    spec: &'a Option<PodSpec>,
}

#[derive(Serialize)]
struct StateLine<'a> {
    uid: &'a str,
    state: Snapshot<'a>,
}

#[derive(Serialize)]
struct BegunLine<'a> {
    uid: &'a str,
    begun: &'a Begun,
}

#[derive(Serialize)]
struct GoneLine<'a> {
    uid: &'a str,
    gone: bool,
}

/// Any line but the first: whose it is, and which kind of record.
#[derive(Deserialize)]
struct AnyLine {
    uid: String,
    pod: Option<IgnoredAny>,
    state: Option<IgnoredAny>,
    begun: Option<Begun>,
    gone: Option<bool>,
}

impl Journal {
    /// A new journal in `directory`.
    ///
    /// # Errors
    /// When the file cannot be made, or is there already.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let mut file = private(OpenOptions::new().append(true).create_new(true)).open(directory.join(FILE))?;
        let length = write_line(&mut file, &Header { husk_journal: FORMAT })?;
        let log = Log { file, length, pods: HashMap::new(), compact_at: COMPACTED_FROM };
        Ok(Self { directory: directory.to_owned(), log: Mutex::new(log) })
    }

    /// The journal that an agent before this one has left in `directory`, to be read and gone on with; `None` if it left
    /// none. Nobody else may have it open.
    ///
    /// # Errors
    /// When it cannot be opened or read at all.
    pub fn open(directory: &Path) -> io::Result<Option<(Self, Contents)>> {
        let path = directory.join(FILE);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut reading = Reading::new(&path);
        reading.read(BufReader::new(File::open(&path)?))?;
        let file = private(OpenOptions::new().append(true)).open(&path)?;
        // Nothing is to be joined to a line that has no end.
        file.set_len(reading.length)?;
        let log = Log { file, length: reading.length, pods: reading.lines(), compact_at: COMPACTED_FROM };
        Ok(Some((Self { directory: directory.to_owned(), log: Mutex::new(log) }, reading.finish())))
    }

    /// Forgets a pod: nobody wants to know of it any more.
    ///
    /// # Errors
    /// When that cannot be written down; then another agent may take the pod up again.
    pub fn forget(&self, uid: &str) -> io::Result<()> {
        let mut log = self.log();
        if !log.pods.contains_key(uid) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        write_line(&mut bytes, &GoneLine { uid, gone: true })?;
        log.append(&bytes)?;
        log.pods.remove(uid);
        Ok(())
    }

    /// Writes down that a container is started now, for the pod's owner learns of it only when it runs: a program that has
    /// begun must never count as one that has not.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(super) fn begin(&self, uid: &str, begun: &Begun) -> io::Result<()> {
        let mut bytes = Vec::new();
        let length = write_line(&mut bytes, &BegunLine { uid, begun })?;
        let mut log = self.log();
        let at = log.length;
        log.append(&bytes)?;
        log.pods.entry(uid.to_owned()).or_default().begun.insert(begun.container.clone(), Line { at, length });
        Ok(())
    }

    /// Writes down what has changed of a pod, in one piece: a line for the pod, a line for its state, or one of them.
    fn record(&self, uid: &str, lines: &[u8], pod_length: u64) -> io::Result<()> {
        let mut log = self.log();
        let at = log.length;
        log.append(lines)?;
        let state_length = lines.len() as u64 - pod_length;
        let lines = log.pods.entry(uid.to_owned()).or_default();
        if pod_length > 0 {
            lines.pod = Some(Line { at, length: pod_length });
        }
        if state_length > 0 {
            lines.state = Some(Line { at: at + pod_length, length: state_length });
        }
        if log.length >= log.compact_at
            && let Err(error) = log.compact(&self.directory)
        {
            warn!(%error, "the journal cannot be written anew, and goes on growing");
            log.compact_at = log.length.saturating_mul(GROWTH);
        }
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn all(&mut self) -> impl Iterator<Item = &mut Line> {
        self.pod.iter_mut().chain(&mut self.state).chain(self.begun.values_mut())
    }
}

impl Log {
    /// Appends whole lines, or nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // What follows must not be joined to half a line.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes anew what counts, and puts it in place of the journal in one step.
    fn compact(&mut self, directory: &Path) -> io::Result<()> {
        let (path, new_path) = (directory.join(FILE), directory.join(NEW_FILE));
        let mut source = File::open(&path)?;
        let _ = fs::remove_file(&new_path);
        let mut target = BufWriter::new(private(OpenOptions::new().append(true).create_new(true)).open(&new_path)?);
        let mut length = write_line(&mut target, &Header { husk_journal: FORMAT })?;
        let mut pods = self.pods.clone();
        for line in pods.values_mut().flat_map(Lines::all) {
            source.seek(SeekFrom::Start(line.at))?;
            let copied = io::copy(&mut (&source).take(line.length), &mut target)?;
            if copied != line.length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            line.at = length;
            length += copied;
        }
        let file = target.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&new_path, &path)?;
        *self = Self { file, length, pods, compact_at: COMPACTED_FROM.max(length.saturating_mul(GROWTH)) };
        Ok(())
    }
}

/// One line of JSON; returns its length in bytes.
fn write_line<T: Serialize>(target: &mut impl Write, record: &T) -> io::Result<u64> {
    let line = line(Vec::new(), record)?;
    target.write_all(&line)?;
    Ok(line.len() as u64)
}

/// Adds one line of JSON to `lines`.
fn line<T: Serialize>(mut lines: Vec<u8>, record: &T) -> io::Result<Vec<u8>> {
    serde_json::to_writer(&mut lines, record)?;
    lines.push(b'\n');
    Ok(lines)
}

/// Writes down one pod, whenever something has changed that another agent would have to know.
pub(super) struct PodJournal {
    journal: Option<Arc<Journal>>,
    pod: Option<Arc<Pod>>,
    mark: Option<SnapshotMark>,
}

impl PodJournal {
    /// Nothing is written yet, or ever without a journal.
    pub(super) fn new(journal: Option<Arc<Journal>>) -> Self {
        Self { journal, pod: None, mark: None }
    }

    /// To be called before anything is done about what was observed. Without a working disk the pod goes on all the
    /// same; it is tried again with the next change.
    pub(super) fn write(&mut self, pod: &Arc<Pod>, observed: &Observed) {
        let (Some(journal), Some(uid)) = (&self.journal, pod.metadata.uid.as_deref()) else { return };
        let mark = observed.snapshot_mark();
        let pod_is_new = self.pod.as_ref().is_none_or(|written| !Arc::ptr_eq(written, pod));
        let state_is_new = self.mark.as_ref() != Some(&mark);
        if !pod_is_new && !state_is_new {
            return;
        }
        let written = pod_is_new.then(|| WrittenPod { metadata: &pod.metadata, spec: &pod.spec });
        let state = state_is_new.then(|| observed.snapshot());
        match record(journal, uid, written, state) {
            Ok(()) => (self.pod, self.mark) = (Some(Arc::clone(pod)), Some(mark)),
            Err(error) => warn!(%error, "the pod's state cannot be written down"),
        }
    }
}

fn record(journal: &Journal, uid: &str, pod: Option<WrittenPod<'_>>, state: Option<Snapshot<'_>>) -> io::Result<()> {
    let mut lines = Vec::with_capacity(USUAL_RECORD);
    if let Some(pod) = pod {
        lines = line(lines, &PodLine { uid, pod })?;
    }
    let pod_length = lines.len() as u64;
    if let Some(state) = state {
        lines = line(lines, &StateLine { uid, state })?;
    }
    journal.record(uid, &lines, pod_length)
}

/// A journal that is being read.
struct Reading<'a> {
    path: &'a Path,
    /// Bytes of whole lines.
    length: u64,
    number: usize,
    pods: BTreeMap<String, ReadPod>,
    problems: Vec<JournalProblem>,
}

#[derive(Default)]
struct ReadPod {
    pod: Option<ReadLine>,
    state: Option<ReadLine>,
    begun: BTreeMap<String, (Line, Begun)>,
}

/// A line that counts so far.
struct ReadLine {
    number: usize,
    at: u64,
    text: Vec<u8>,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path) -> Self {
        Self { path, length: 0, number: 0, pods: BTreeMap::new(), problems: Vec::new() }
    }

    fn read(&mut self, mut source: impl BufRead) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            (&mut source).take(MAX_LINE).read_until(b'\n', &mut line)?;
            let too_long = line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n');
            let skipped = if too_long { source.skip_until(b'\n')? as u64 } else { 0 };
            if line.last() != Some(&b'\n') && skipped == 0 {
                return Ok(());
            }
            let at = self.length;
            self.length += line.len() as u64 + skipped;
            self.number += 1;
            if too_long {
                self.problem(self.number, format!("longer than {MAX_LINE} bytes"));
            } else if self.number == 1 {
                if !self.header(&line) {
                    // What the rest means, only its writer knows. It is left as it is.
                    self.length += io::copy(&mut source, &mut io::sink())?;
                    return Ok(());
                }
            } else {
                self.line(at, line);
            }
        }
    }

    fn problem(&mut self, line: usize, message: String) {
        self.problems.push(JournalProblem { path: self.path.to_owned(), line, message });
    }

    fn header(&mut self, line: &[u8]) -> bool {
        match serde_json::from_slice::<Header>(line) {
            Ok(Header { husk_journal: FORMAT }) => return true,
            Ok(Header { husk_journal }) => {
                let message = format!("written by another version of husk (format {husk_journal}, not {FORMAT})");
                self.problem(1, message);
            }
            Err(error) => self.problem(1, format!("not the beginning of a journal of husk: {error}")),
        }
        false
    }

    fn line(&mut self, at: u64, text: Vec<u8>) {
        let line = match serde_json::from_slice::<AnyLine>(&text) {
            Ok(line) => line,
            Err(error) => return self.problem(self.number, format!("not a record of husk: {error}")),
        };
        // It names a directory.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if line.uid.is_empty() || line.uid.len() > MAX_UID || !line.uid.bytes().all(is_plain) {
            return self.problem(self.number, "not the UID of a pod".to_owned());
        }
        let read = ReadLine { number: self.number, at, text };
        match line {
            AnyLine { uid, gone: Some(true), .. } => drop(self.pods.remove(&uid)),
            AnyLine { uid, pod: Some(_), .. } => self.pods.entry(uid).or_default().pod = Some(read),
            AnyLine { uid, state: Some(_), .. } => self.pods.entry(uid).or_default().state = Some(read),
            AnyLine { uid, begun: Some(begun), .. } => {
                let line = Line { at, length: read.text.len() as u64 };
                self.pods.entry(uid).or_default().begun.insert(begun.container.clone(), (line, begun));
            }
            AnyLine { .. } => self.problem(self.number, "a record of an unknown kind".to_owned()),
        }
    }

    fn lines(&self) -> HashMap<String, Lines> {
        let line = |read: &ReadLine| Line { at: read.at, length: read.text.len() as u64 };
        let lines = |pod: &ReadPod| Lines {
            pod: pod.pod.as_ref().map(line),
            state: pod.state.as_ref().map(line),
            begun: pod.begun.iter().map(|(container, (line, _))| (container.clone(), *line)).collect(),
        };
        self.pods.iter().map(|(uid, pod)| (uid.clone(), lines(pod))).collect()
    }

    fn finish(mut self) -> Contents {
        let mut contents = Contents::default();
        for (uid, ReadPod { pod, state, begun }) in std::mem::take(&mut self.pods) {
            // What has a state and no pod lost the pod to a line that could not be read, and that was told.
            let Some(pod) = pod.and_then(|line| self.parse::<ReadPodLine>(&line)) else { continue };
            let mut snapshot = match state {
                None => None,
                Some(line) => match self.parse::<ReadStateLine>(&line) {
                    Some(line) => Some(line.state),
                    None => continue,
                },
            };
            let mut pod = pod.pod;
            pod.metadata.uid = Some(uid.clone());
            for (_, begun) in begun.into_values() {
                snapshot.get_or_insert_with(|| PodSnapshot::of_status(&pod)).note(begun, &pod);
            }
            contents.pods.insert(uid, Recorded { pod, snapshot });
        }
        contents.problems = self.problems;
        contents.problems.sort_by_key(|problem| problem.line);
        contents
    }

    fn parse<T: DeserializeOwned>(&mut self, line: &ReadLine) -> Option<T> {
        let parsed = serde_json::from_slice(&line.text);
        parsed.map_err(|error| self.problem(line.number, format!("not a record of husk: {error}"))).ok()
    }
}

#[derive(Deserialize)]
struct ReadPodLine {
    pod: Pod,
}

#[derive(Deserialize)]
struct ReadStateLine {
    state: PodSnapshot,
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodStatus;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::pod::{NodeFacts, Survivors};

    fn pod(name: &str) -> Arc<Pod> {
        let metadata = format!("{{name: {name}, namespace: ns, uid: uid-{name}}}");
        let yaml = format!("{{metadata: {metadata}, spec: {{containers: [{{name: c, image: i}}]}}}}");
        Arc::new(serde_yaml::from_str(&yaml).unwrap())
    }

    fn status(message: &str) -> PodStatus {
        PodStatus { phase: Some("Failed".into()), message: Some(message.to_owned()), ..PodStatus::default() }
    }

    fn observed(message: &str) -> Observed {
        Observed::new(NodeFacts::default(), status(message))
    }

    fn write(journal: &Arc<Journal>, name: &str, message: &str) {
        PodJournal::new(Some(Arc::clone(journal))).write(&pod(name), &observed(message));
    }

    /// A journal of two pods, and what it says.
    fn written() -> (tempfile::TempDir, Arc<Journal>) {
        let directory = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::create(directory.path()).unwrap());
        for (name, message) in [("a", "old"), ("b", "b"), ("a", "new")] {
            write(&journal, name, message);
        }
        (directory, journal)
    }

    fn read(directory: &Path) -> Contents {
        Journal::open(directory).unwrap().unwrap().1
    }

    /// Each pod as `name: message`.
    fn pods(contents: &Contents) -> Vec<String> {
        let show = |recorded: &Recorded| {
            let status = recorded.snapshot.as_ref().map(|snapshot| snapshot.status.message.clone().unwrap());
            format!("{}: {}", recorded.pod.metadata.name.as_ref().unwrap(), status.unwrap_or_default())
        };
        contents.pods.values().map(show).collect()
    }

    fn change(directory: &Path, change: impl FnOnce(String) -> String) {
        let path = directory.join(FILE);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }

    #[test]
    fn the_last_record_of_each_pod_counts() {
        let (directory, journal) = written();
        let contents = read(directory.path());
        assert_eq!((pods(&contents), contents.problems.len()), (vec!["a: new".to_owned(), "b: b".to_owned()], 0));
        let a = &contents.pods["uid-a"];
        assert_eq!(a.pod, *pod("a"));
        journal.forget("uid-a").unwrap();
        journal.forget("uid-nobody").unwrap();
        assert_eq!(pods(&read(directory.path())), ["b: b"]);
    }

    #[test]
    fn what_has_not_changed_is_not_written() {
        let (directory, journal) = written();
        let length = || directory.path().join(FILE).metadata().unwrap().len();
        let (pod, mut observed) = (pod("a"), observed("new"));
        let mut writer = PodJournal::new(Some(journal));
        writer.write(&pod, &observed);
        let before = length();
        writer.write(&pod, &observed);
        assert_eq!(length(), before);
        observed.status = Arc::new(status("newer"));
        writer.write(&pod, &observed);
        let state_only = length() - before;
        writer.write(&Arc::new(Pod::clone(&pod)), &observed);
        assert!(state_only > 0 && length() > before + state_only);
    }

    /// What has begun counts, whether or not its pod's owner came to know of it.
    #[test]
    fn what_was_started_counts_as_started() {
        let (directory, journal) = written();
        let begun = |attempt| Begun {
            container: "c".to_owned(),
            attempt,
            id: format!("wasm://{attempt}"),
            at: Timestamp::UNIX_EPOCH,
        };
        journal.begin("uid-a", &begun(0)).unwrap();
        journal.begin("uid-a", &begun(1)).unwrap();
        let last = |directory: &Path| {
            let contents = read(directory);
            assert_eq!(contents.problems.len(), 0, "{:?}", contents.problems);
            let snapshot = contents.pods["uid-a"].snapshot.clone().unwrap();
            let observed =
                Observed::restore(NodeFacts::default(), snapshot, &Survivors::default(), Timestamp::UNIX_EPOCH);
            observed.containers["c"].instances.last().unwrap().attempt
        };
        assert_eq!(last(directory.path()), 1);
        journal.log().compact(directory.path()).unwrap();
        assert_eq!(last(directory.path()), 1);
        drop(Journal::open(directory.path()).unwrap());
    }

    /// The agent ends while it writes.
    #[test]
    fn a_torn_last_line_does_not_count_and_is_written_over() {
        let (directory, journal) = written();
        drop(journal);
        let whole = fs::read_to_string(directory.path().join(FILE)).unwrap();
        let last = whole.trim_end().rfind('\n').unwrap() + 1;
        for length in [last, last + 1, last + 20, whole.len() - 1] {
            change(directory.path(), |_| whole[..length].to_owned());
            let (journal, contents) = Journal::open(directory.path()).unwrap().unwrap();
            assert_eq!((pods(&contents), contents.problems.len()), (vec!["a: old".to_owned(), "b: b".to_owned()], 0));
            write(&Arc::new(journal), "b", "more");
            assert_eq!(pods(&read(directory.path())), ["a: old", "b: more"]);
        }
        for length in [0, 5] {
            change(directory.path(), |_| whole[..length].to_owned());
            let contents = read(directory.path());
            assert_eq!((contents.pods.len(), contents.problems.len()), (0, 0));
        }
    }

    /// Whatever a line says, it is no more than a problem with a place, and other pods are not affected.
    #[test]
    fn lines_that_make_no_sense_are_told_and_passed_over() {
        let deep = format!("{{\"uid\":\"x\",\"pod\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for (line, message) in [
            ("{", "not a record of husk: EOF while parsing"),
            ("[]", "not a record of husk: "),
            ("\u{0}\u{1}", "not a record of husk: "),
            (deep.as_str(), "not a record of husk: "),
            ("{\"uid\":\"../../etc\",\"gone\":true}", "not the UID of a pod"),
            ("{\"uid\":\"\",\"gone\":true}", "not the UID of a pod"),
            ("{\"uid\":\"x\",\"news\":1}", "a record of an unknown kind"),
            ("{\"uid\":\"uid-a\",\"state\":{\"status\":7}}", "not a record of husk: "),
            ("{\"uid\":\"uid-a\",\"pod\":[]}", "not a record of husk: "),
        ] {
            let (directory, _journal) = written();
            change(directory.path(), |text| text + line + "\n");
            let contents = read(directory.path());
            let problem = contents.problems[0].to_string();
            let place = format!("{}:8: {message}", directory.path().join(FILE).display());
            assert!(problem.starts_with(&place), "{problem:.200}");
            assert_eq!(contents.problems.len(), 1);
            let affected = line.contains("uid-a");
            assert_eq!(pods(&contents), if affected { vec!["b: b"] } else { vec!["a: new", "b: b"] });
        }
    }

    #[test]
    fn another_format_is_left_alone() {
        for (header, message) in [
            ("{\"husk-journal\":2}", ":1: written by another version of husk (format 2, not 1)"),
            ("hello", ":1: not the beginning of a journal of husk: "),
        ] {
            let (directory, _journal) = written();
            change(directory.path(), |text| text.replacen("{\"husk-journal\":1}", header, 1));
            let before = fs::read(directory.path().join(FILE)).unwrap();
            let contents = read(directory.path());
            assert!(contents.problems[0].to_string().contains(message), "{:?}", contents.problems);
            assert_eq!((contents.problems.len(), contents.pods.len()), (1, 0));
            assert_eq!(fs::read(directory.path().join(FILE)).unwrap(), before);
        }
    }

    #[test]
    fn a_journal_grows_no_further_than_its_content_allows() {
        let (directory, journal) = written();
        let (pod, mut observed) = (pod("a"), observed(""));
        let mut writer = PodJournal::new(Some(Arc::clone(&journal)));
        for number in 0..10_000 {
            observed.status = Arc::new(status(&format!("{number} {}", "x".repeat(400))));
            writer.write(&pod, &observed);
            assert!(directory.path().join(FILE).metadata().unwrap().len() < COMPACTED_FROM + 1000);
        }
        drop((writer, journal));
        let contents = read(directory.path());
        assert!(pods(&contents)[0].starts_with("a: 9999 x"), "{:?}", contents.problems);
        assert_eq!((pods(&contents)[1].as_str(), contents.problems.len()), ("b: b", 0));
        assert!(!directory.path().join(NEW_FILE).exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, _journal) = written();
        assert_eq!(directory.path().join(FILE).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// What is no file is not opened: reading a pipe would never end.
    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::open(directory.path()).unwrap().is_none());
        std::os::unix::fs::symlink("/dev/zero", directory.path().join(FILE)).unwrap();
        assert_eq!(Journal::open(directory.path()).unwrap_err().to_string(), "not a regular file");
    }
}
