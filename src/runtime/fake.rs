//! A container runtime driven by tests: containers start, end and ignore signals as told, in tokio's time, which tests
//! pause. Nothing is run and nothing is written to the standard streams but what the script says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{
    AdoptedContainer, Container, ContainerConfig, ContainerRuntime, ExecRequest, ExitReason, ExitStatus, PodSandbox,
    RuntimeError, Signal,
};
use crate::base::id::ContainerId;
use crate::base::pipe::PipeWriter;
use crate::vfs::{Errno, MountTable, OpenOptions, Opened};

/// What a container does. Made with [`Script::runs_forever`] or [`Script::exits`], refined by the other methods.
#[derive(Debug, Clone)]
pub struct Script {
    creation_error: Option<String>,
    creation_delay: Duration,
    creation_panics: bool,
    start_error: Option<String>,
    output: Bytes,
    keeps_output_open: bool,
    /// Paths and contents of files it writes when it starts.
    files: Vec<(String, Bytes)>,
    /// After how long it ends by itself, and how.
    end: Option<(Duration, ExitStatus)>,
    term: OnTerm,
}

#[derive(Debug, Clone, Copy)]
enum OnTerm {
    Dies,
    Ignores,
    /// Not even KILL ends it.
    SurvivesAll,
    Exits {
        after: Duration,
        code: i32,
    },
}

impl Script {
    /// Runs until a signal ends it.
    pub fn runs_forever() -> Self {
        Self {
            creation_error: None,
            creation_delay: Duration::ZERO,
            creation_panics: false,
            start_error: None,
            output: Bytes::new(),
            keeps_output_open: false,
            files: Vec::new(),
            end: None,
            term: OnTerm::Dies,
        }
    }

    /// Runs for `after` and exits with `code`.
    pub fn exits(after: Duration, code: i32) -> Self {
        let status = ExitStatus { code, reason: ExitReason::Exited, message: None };
        Self::runs_forever().ends(after, status)
    }

    /// Ends with `status` after `after`.
    #[must_use]
    pub fn ends(self, after: Duration, status: ExitStatus) -> Self {
        Self { end: Some((after, status)), ..self }
    }

    /// Writes `output` to standard output when it starts.
    #[must_use]
    pub fn prints(self, output: &str) -> Self {
        Self { output: Bytes::copy_from_slice(output.as_bytes()), ..self }
    }

    /// Lives on after every signal but KILL.
    #[must_use]
    pub fn ignores_term(self) -> Self {
        Self { term: OnTerm::Ignores, ..self }
    }

    /// Lives on after KILL too, as no container should.
    #[must_use]
    pub fn survives_kill(self) -> Self {
        Self { term: OnTerm::SurvivesAll, ..self }
    }

    /// Writes `contents` to the file at `path` in its filesystem when it starts.
    #[must_use]
    pub fn writes(mut self, path: &str, contents: &str) -> Self {
        self.files.push((path.to_owned(), Bytes::copy_from_slice(contents.as_bytes())));
        self
    }

    /// Leaves its standard output open when it ends.
    #[must_use]
    pub fn keeps_output_open(self) -> Self {
        Self { keeps_output_open: true, ..self }
    }

    /// Catches TERM and exits with `code` after another `after`.
    #[must_use]
    pub fn exits_on_term(self, after: Duration, code: i32) -> Self {
        Self { term: OnTerm::Exits { after, code }, ..self }
    }

    /// Takes `delay` to be created, as a compilation would.
    #[must_use]
    pub fn creation_takes(self, delay: Duration) -> Self {
        Self { creation_delay: delay, ..self }
    }

    /// Cannot be created.
    #[must_use]
    pub fn fails_to_create(self, error: &str) -> Self {
        Self { creation_error: Some(error.to_owned()), ..self }
    }

    /// Makes its creation panic.
    #[must_use]
    pub fn panics_when_created(self) -> Self {
        Self { creation_panics: true, ..self }
    }

    /// Is created, but cannot be started.
    #[must_use]
    pub fn fails_to_start(self, error: &str) -> Self {
        Self { start_error: Some(error.to_owned()), ..self }
    }
}

/// One thing the runtime was asked to do, or that happened in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `create`, of this attempt.
    Create {
        /// The container's name.
        name: String,
        /// Its attempt.
        attempt: u32,
    },
    /// `start`.
    Start(String),
    /// `signal`.
    Signal(String, Signal),
    /// `exec`, with the program's arguments.
    Exec(String, Vec<String>),
    /// The container ended with this code.
    End(String, i32),
    /// The last handle of a running container was dropped.
    Drop(String),
}

/// The runtime. Clones share scripts and record.
#[derive(Debug, Clone, Default)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Vec<Script>>>,
    exec_scripts: Mutex<HashMap<String, Vec<Script>>>,
    calls: Mutex<Vec<Call>>,
}

impl FakeRuntime {
    /// A runtime whose containers run until a signal ends them, unless told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the container `name` does, at every attempt.
    pub fn script(&self, name: &str, script: Script) {
        self.script_attempts(name, vec![script]);
    }

    /// What the container `name` does at each attempt; the last script holds for all further ones.
    pub fn script_attempts(&self, name: &str, scripts: Vec<Script>) {
        lock(&self.shared.scripts).insert(name.to_owned(), scripts);
    }

    /// What programs executed in the container `name` do, one script per execution; the last holds for all further ones.
    /// Without a script they exit 0 at once.
    pub fn script_execs(&self, name: &str, scripts: Vec<Script>) {
        lock(&self.shared.exec_scripts).insert(name.to_owned(), scripts);
    }

    /// Everything so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// Takes the record, leaving it empty.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *lock(&self.shared.calls))
    }
}

impl Shared {
    fn record(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    fn count(&self, matches: impl Fn(&Call) -> bool) -> usize {
        lock(&self.calls).iter().filter(|call| matches(call)).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The script number `index`, or the last one there is.
fn nth_script(scripts: &Mutex<HashMap<String, Vec<Script>>>, name: &str, index: usize) -> Option<Script> {
    let scripts = lock(scripts);
    let scripts = scripts.get(name)?;
    scripts.get(index).or_else(|| scripts.last()).cloned()
}

struct FakeContainer {
    id: ContainerId,
    name: String,
    script: Script,
    stdout: Mutex<Option<PipeWriter>>,
    mounts: Option<MountTable>,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Created,
    Running,
    Ended(ExitStatus),
}

impl FakeContainer {
    fn new(id: ContainerId, name: String, script: Script, stdout: PipeWriter, shared: Arc<Shared>) -> Self {
        let state = watch::Sender::new(State::Created);
        Self { id, name, script, stdout: Mutex::new(Some(stdout)), mounts: None, shared, state }
    }

    fn write_files(&self) -> Result<(), Errno> {
        let Some(mounts) = &self.mounts else { return Ok(()) };
        let options = OpenOptions { write: true, create: true, follow: true, mode: 0o644, ..OpenOptions::default() };
        for (path, contents) in &self.script.files {
            let Opened::File(file) = mounts.root().open(path, options)? else { return Err(Errno::IsDirectory) };
            file.write_at(contents, 0)?;
        }
        Ok(())
    }

    fn run(&self) -> Result<(), RuntimeError> {
        if let Some(error) = &self.script.start_error {
            return Err(RuntimeError::Failed(error.clone()));
        }
        if *self.state.borrow() != State::Created {
            return Err(RuntimeError::NotRunning(self.id.clone()));
        }
        self.write_files().map_err(|errno| RuntimeError::Failed(errno.to_string()))?;
        self.state.send_replace(State::Running);
        if let Some(stdout) = &*lock(&self.stdout) {
            // Tests make pipes large enough for what their scripts print.
            let _ = stdout.try_write(&self.script.output);
        }
        if let Some((after, status)) = self.script.end.clone() {
            self.end_after(after, status);
        }
        Ok(())
    }

    fn end_after(&self, after: Duration, status: ExitStatus) {
        let (state, shared, name) = (self.state.clone(), Arc::clone(&self.shared), self.name.clone());
        let stdout = self.closing_output();
        let mut ended = self.state.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = sleep(after) => end(&state, &shared, &name, stdout.as_ref(), status),
                _ = ended.wait_for(|state| matches!(state, State::Ended(_))) => {}
            }
        });
    }

    fn end(&self, status: ExitStatus) {
        end(&self.state, &self.shared, &self.name, self.closing_output().as_ref(), status);
    }

    /// The output that ends with the container, as a real one's does unless the script says otherwise.
    fn closing_output(&self) -> Option<PipeWriter> {
        lock(&self.stdout).clone().filter(|_| !self.script.keeps_output_open)
    }
}

fn end(state: &watch::Sender<State>, shared: &Shared, name: &str, stdout: Option<&PipeWriter>, status: ExitStatus) {
    let code = status.code;
    let first = state.send_if_modified(|state| {
        let first = !matches!(state, State::Ended(_));
        if first {
            *state = State::Ended(status);
        }
        first
    });
    if first {
        shared.record(Call::End(name.to_owned(), code));
        if let Some(stdout) = stdout {
            stdout.close();
        }
    }
}

impl Container for FakeContainer {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.shared.record(Call::Start(self.name.clone()));
        Box::pin(async { self.run() })
    }

    fn signal(&self, signal: Signal) {
        self.shared.record(Call::Signal(self.name.clone(), signal));
        let died = ExitStatus { code: 128 + signal.number(), reason: ExitReason::Signaled(signal), message: None };
        match self.script.term {
            OnTerm::SurvivesAll => {}
            OnTerm::Ignores if signal != Signal::Kill => {}
            OnTerm::Exits { after, code } if signal == Signal::Term => {
                self.end_after(after, ExitStatus { code, reason: ExitReason::Exited, message: None });
            }
            OnTerm::Dies | OnTerm::Ignores | OnTerm::Exits { .. } => self.end(died),
        }
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(async move {
            if *self.state.borrow() != State::Running {
                return Err(RuntimeError::NotRunning(self.id.clone()));
            }
            let index = self.shared.count(|call| matches!(call, Call::Exec(name, _) if *name == self.name));
            self.shared.record(Call::Exec(self.name.clone(), request.argv));
            let script = nth_script(&self.shared.exec_scripts, &self.name, index)
                .unwrap_or_else(|| Script::exits(Duration::ZERO, 0));
            if let Some(error) = &script.creation_error {
                return Err(RuntimeError::Failed(error.clone()));
            }
            let name = format!("{}/exec-{index}", self.name);
            let process =
                FakeContainer::new(ContainerId::random(), name, script, request.stdout, Arc::clone(&self.shared));
            process.run()?;
            Ok(Arc::new(process) as Arc<dyn Container>)
        })
    }

    fn wait(&self) -> BoxFuture<'_, ExitStatus> {
        Box::pin(async {
            let mut state = self.state.subscribe();
            loop {
                if let State::Ended(status) = &*state.borrow_and_update() {
                    return status.clone();
                }
                // The sender is `self`, so there is always a next state to wait for.
                let _ = state.changed().await;
            }
        })
    }
}

impl Drop for FakeContainer {
    fn drop(&mut self) {
        if *self.state.borrow() == State::Running {
            self.shared.record(Call::Drop(self.name.clone()));
            let killed = ExitStatus { code: 137, reason: ExitReason::Signaled(Signal::Kill), message: None };
            self.end(killed);
        }
    }
}

impl ContainerRuntime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn create<'a>(
        &'a self,
        _sandbox: &'a PodSandbox,
        config: ContainerConfig,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(async move {
            let attempt = config.attempt;
            self.shared.record(Call::Create { name: config.name.clone(), attempt });
            let index = usize::try_from(attempt).unwrap_or(usize::MAX);
            let script = nth_script(&self.shared.scripts, &config.name, index).unwrap_or_else(Script::runs_forever);
            sleep(script.creation_delay).await;
            assert!(!script.creation_panics, "the script says so");
            if let Some(error) = &script.creation_error {
                return Err(RuntimeError::Failed(error.clone()));
            }
            let shared = Arc::clone(&self.shared);
            let mut container = FakeContainer::new(config.id, config.name, script, config.stdout, shared);
            container.mounts = Some(config.mounts);
            Ok(Arc::new(container) as Arc<dyn Container>)
        })
    }

    fn adopt(&self) -> BoxFuture<'_, Vec<AdoptedContainer>> {
        Box::pin(async { Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::base::pipe::pipe;

    fn container(
        runtime: &FakeRuntime,
        name: &str,
        script: Script,
    ) -> (Arc<FakeContainer>, crate::base::pipe::PipeReader) {
        let (stdout, reader) = pipe(64);
        let shared = Arc::clone(&runtime.shared);
        (Arc::new(FakeContainer::new(ContainerId::random(), name.to_owned(), script, stdout, shared)), reader)
    }

    fn exec() -> ExecRequest {
        let (stdout, _) = pipe(64);
        let (stderr, _) = pipe(64);
        ExecRequest { argv: vec!["true".to_owned()], stdin: None, stdout, stderr, tty: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_ends_as_scripted_and_its_output_with_it() {
        let runtime = FakeRuntime::new();
        let (app, stdout) = container(&runtime, "app", Script::exits(Duration::from_secs(90), 3).prints("hello\n"));
        let begun = Instant::now();
        app.start().await.unwrap();
        assert_eq!(app.wait().await.code, 3);
        assert_eq!(begun.elapsed(), Duration::from_secs(90));
        assert_eq!(stdout.read(64).await.unwrap().unwrap(), "hello\n");
        assert_eq!(stdout.read(64).await.unwrap(), None);
        assert_eq!(runtime.calls(), [Call::Start("app".to_owned()), Call::End("app".to_owned(), 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn term_ends_delays_or_does_nothing() {
        let cases = [
            (Script::runs_forever(), Some(143)),
            (Script::runs_forever().exits_on_term(Duration::from_secs(5), 0), Some(0)),
            (Script::runs_forever().ignores_term(), None),
        ];
        for (script, expected) in cases {
            let (app, _stdout) = container(&FakeRuntime::new(), "app", script);
            app.start().await.unwrap();
            app.signal(Signal::Term);
            let ended = tokio::time::timeout(Duration::from_secs(60), app.wait()).await.ok();
            assert_eq!(ended.map(|status| status.code), expected);
            app.signal(Signal::Kill);
            assert_eq!(app.wait().await.code, expected.unwrap_or(137));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn execs_follow_their_own_scripts() {
        let runtime = FakeRuntime::new();
        runtime.script_execs("app", vec![Script::exits(Duration::from_secs(1), 1), Script::exits(Duration::ZERO, 0)]);
        let (app, _stdout) = container(&runtime, "app", Script::runs_forever());
        assert!(matches!(app.exec(exec()).await, Err(RuntimeError::NotRunning(_))));
        app.start().await.unwrap();
        for expected in [1, 0, 0] {
            assert_eq!(app.exec(exec()).await.unwrap().wait().await.code, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_and_drops_are_seen() {
        let runtime = FakeRuntime::new();
        let (broken, _stdout) = container(&runtime, "broken", Script::runs_forever().fails_to_start("no"));
        assert_eq!(broken.start().await.unwrap_err().to_string(), "no");
        let (app, _stdout) = container(&runtime, "app", Script::runs_forever());
        app.start().await.unwrap();
        drop(app);
        assert!(runtime.calls().contains(&Call::Drop("app".to_owned())));
    }
}
