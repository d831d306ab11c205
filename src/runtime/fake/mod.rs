//! A container runtime driven by tests: containers start, end and ignore signals as told, in tokio's time, which tests
//! pause. Nothing is run, nothing is written to the standard streams and no port is opened but what the script says.

mod process;
mod script;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::sleep;

use self::process::{FakeContainer, State};
pub use self::script::Script;
use super::{
    Container, ContainerConfig, ContainerRuntime, ExitReason, PodSandbox, ResourceLimits, RuntimeError, Signal,
};

/// One thing the runtime was asked to do, or that happened in it. A program executed in the container `app` is called
/// `app/exec-0`, the next one `app/exec-1`.
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
    /// `update_limits`, to these.
    Update(String, ResourceLimits),
    /// `exec`, with the program's arguments.
    Exec(String, Vec<String>),
    /// The container ended with this code.
    End(String, i32),
    /// The last handle of a running container was dropped.
    Drop(String),
}

/// A program that was executed in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What has become of it.
    pub state: ExecutedState,
}

/// What has become of an executed program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutedState {
    /// It is being created, or could not be.
    NotStarted,
    /// It has not ended.
    Running,
    /// It ended by itself with this code.
    Exited(i32),
    /// It was killed: by a signal, because nobody held its handle any more, or because its container ended.
    Killed,
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
    /// Answers to updates to come; the last one stays.
    updates: Mutex<HashMap<String, VecDeque<Result<(), String>>>>,
    calls: Mutex<Vec<Call>>,
    /// Programs executed, by container.
    executions: Mutex<HashMap<String, Vec<Execution>>>,
    /// The latest container of each name.
    containers: Mutex<HashMap<String, Weak<FakeContainer>>>,
}

/// A program executed: its arguments and how it fares.
#[derive(Debug)]
struct Execution {
    argv: Vec<String>,
    state: watch::Receiver<State>,
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

    /// What programs executed in the container `name` do, one script per execution, over all attempts; the last holds
    /// for all further ones. Without a script they exit 0 at once.
    pub fn script_execs(&self, name: &str, scripts: Vec<Script>) {
        lock(&self.shared.exec_scripts).insert(name.to_owned(), scripts);
    }

    /// How updates of the limits of the container `name` go: the runtime's answers, in order; the last holds for all
    /// further ones. Without a script they succeed.
    pub fn script_updates(&self, name: &str, answers: &[Result<(), &str>]) {
        let answers = answers.iter().map(|answer| answer.map_err(str::to_owned)).collect();
        lock(&self.shared.updates).insert(name.to_owned(), answers);
    }

    /// What the file at `path` says in the filesystem of the container `name`, while that is there.
    pub fn read(&self, name: &str, path: &str) -> Option<String> {
        let container = lock(&self.shared.containers).get(name)?.upgrade()?;
        container.read(path).ok()
    }

    /// Everything so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// Takes the record, leaving it empty.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *lock(&self.shared.calls))
    }

    /// Every program that was executed in the container `name`, in order, as it is now.
    pub fn executed(&self, name: &str) -> Vec<Executed> {
        let executions = lock(&self.shared.executions);
        let executed = executions.get(name).into_iter().flatten();
        executed.map(|one| Executed { argv: one.argv.clone(), state: one.state.borrow().as_executed() }).collect()
    }
}

impl State {
    fn as_executed(&self) -> ExecutedState {
        match self {
            Self::Created => ExecutedState::NotStarted,
            Self::Running => ExecutedState::Running,
            Self::Ended(status) if matches!(status.reason, ExitReason::Signaled(_)) => ExecutedState::Killed,
            Self::Ended(status) => ExecutedState::Exited(status.code),
        }
    }
}

impl Shared {
    fn record(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    /// The answer to the next update of a container.
    fn next_update(&self, name: &str) -> Result<(), String> {
        let mut updates = lock(&self.updates);
        let Some(answers) = updates.get_mut(name) else { return Ok(()) };
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        answer.unwrap_or(Ok(()))
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

/// Takes as long to create a container as the script says, and fails if it says so.
async fn creation(script: &Script) -> Result<(), RuntimeError> {
    // Even no time at all would let others run first.
    if script.creation_delay > Duration::ZERO {
        sleep(script.creation_delay).await;
    }
    assert!(!script.creation_panics, "the script says so");
    script.creation_error.clone().map_or(Ok(()), |error| Err(RuntimeError::Failed(error)))
}

impl ContainerRuntime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn create<'a>(
        &'a self,
        sandbox: &'a PodSandbox,
        config: ContainerConfig,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(async move {
            let attempt = config.attempt;
            self.shared.record(Call::Create { name: config.name.clone(), attempt });
            let index = usize::try_from(attempt).unwrap_or(usize::MAX);
            let script = nth_script(&self.shared.scripts, &config.name, index).unwrap_or_else(Script::runs_forever);
            creation(&script).await?;
            let name = config.name.clone();
            let container = Arc::new(FakeContainer::new(sandbox, config, script, Arc::clone(&self.shared)));
            lock(&self.shared.containers).insert(name, Arc::downgrade(&container));
            Ok(container as Arc<dyn Container>)
        })
    }
}

#[cfg(test)]
mod tests;
