//! One container instance on its way from `StartContainer` to its end: created, started, its output passed on, its
//! exit reported. Whatever happens on the way, one event tells of the start and one of the end.

use std::any::Any;
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::attach::{Stdin, Streams};
use super::container::{self, StartError, Subject};
use super::context::PodContext;
use super::executor::Shared;
use super::logs::{LogSinks, LogSource, LogTail};
use super::probe::Target;
use super::run_directory;
use super::upkeep::Upkeep;
use crate::base::clock::Timestamp;
use crate::pod::{Begun, Event, LeftInstance, full_name};
use crate::runtime::{
    AdoptedContainer, Container, ContainerRuntime, ExitReason, ExitStatus, PodSandbox, RuntimeWarning, Signal,
};

/// How long the report of an exit waits for the last output to be taken. What is left then follows the report.
const LOG_DRAIN: Duration = Duration::from_secs(2);
/// Exit code of an instance that husk itself lost track of, as Kubernetes has it for such containers.
const LOST_EXIT_CODE: i32 = 137;

/// An instance to start and follow.
pub(super) struct StartingInstance {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: String,
    pub(super) attempt: u32,
}

/// A container that runs, with what is needed to follow it to its end.
struct Running {
    id: String,
    container: Arc<dyn Container>,
    output: container::Output,
    streams: Arc<Streams>,
    message: container::TerminationMessage,
    started_at: Timestamp,
    held: Box<dyn Any + Send>,
}

impl StartingInstance {
    pub(super) async fn run(self, cancel: CancellationToken) {
        let started = tokio::select! {
            started = catch_panic(self.start()) => started.unwrap_or_else(|panic| Err(StartError::create(panic))),
            () = cancel.cancelled() => Err(StartError::cancelled()),
        };
        match started {
            Ok(running) => {
                let start = self.reports_of_start(&running);
                self.follow(running, start).await;
            }
            Err(error) => {
                let event = Event::ContainerStartFailed {
                    container: self.container,
                    attempt: self.attempt,
                    reason: error.reason,
                    message: error.message,
                    created: error.created,
                    at: self.shared.node.config.clock.now(),
                };
                self.shared.report(event).await;
            }
        }
    }

    async fn start(&self) -> Result<Running, StartError> {
        let config = &self.shared.node.config;
        let (sandbox, image) = self.shared.basis_of(&self.container);
        let sandbox = sandbox.ok_or_else(|| StartError::create("the pod's sandbox is gone"))?;
        let image = image.ok_or_else(|| StartError::create("the container's image is gone"))?;
        let ips = sandbox.pod.network.ips().iter().map(ToString::to_string).collect();
        let context = PodContext::new(config, &self.pod, ips);
        let storage = container::Storage {
            image: &image,
            volumes: &self.shared.volumes,
            layers: &self.shared.node.layers,
            pod_dir: &self.shared.pod_dir,
        };
        let prepared = container::prepare(&context, &self.subject(), &sandbox, storage)?;
        let is_native = prepared.config.linux.is_some();
        self.shared.is_native.fetch_or(is_native, Ordering::Relaxed);
        let runtime = self.runtime(is_native)?;
        let id = format!("{}://{}", runtime.name(), prepared.config.id);
        let created = runtime.create(&sandbox.pod, prepared.config).await;
        let container = created.map_err(|error| StartError::from_create(&id, &error))?;
        self.note_begin(&id);
        container.start().await.map_err(|error| StartError::run(&id, &error))?;
        // No await from here on: an instance that runs is known to run, or is dropped and so killed.
        let started_at = config.clock.now();
        let streams = prepared.streams;
        self.set_running(&sandbox.pod, (&container, &streams), prepared.stop_signal, started_at);
        let message = prepared.termination_message;
        let held = prepared.held;
        Ok(Running { id, container, output: prepared.output, streams, message, started_at, held })
    }

    /// From now on signals, probes and hooks reach it.
    fn set_running(
        &self,
        pod: &PodSandbox,
        process: (&Arc<dyn Container>, &Arc<Streams>),
        stop_signal: Signal,
        started_at: Timestamp,
    ) {
        let target = Target {
            pod: full_name(&self.pod),
            container: Arc::new(self.subject().spec().map(Cow::into_owned).unwrap_or_default()),
            attempt: self.attempt,
            process: Arc::downgrade(process.0),
            network: Arc::clone(&pod.network),
        };
        let upkeep = Upkeep::new(target, started_at);
        self.shared.set_running(&self.container, self.attempt, process, stop_signal, upkeep);
    }

    fn subject(&self) -> Subject<'_> {
        Subject { pod: &self.pod, container: &self.container, attempt: self.attempt }
    }

    /// Goes on with an instance that has outlived the agent which started it.
    pub(super) async fn go_on(self, pod: &PodSandbox, left: LeftInstance, adopted: AdoptedContainer) {
        let AdoptedContainer { container, stdin, stdout, stderr, .. } = adopted;
        let subject = self.subject();
        let Some(spec) = subject.spec() else { return };
        let stdin = stdin.map(|writer| Stdin { writer, once: spec.stdin_once == Some(true) });
        let root = run_directory::roots(&self.shared.pod_dir).join(&adopted.id.0);
        let message = container::TerminationMessage::on_disk(&spec, &root);
        // Whatever has become of its image, what is mounted of it should stay; if not, it was to be deleted anyway.
        let images = Arc::clone(&self.shared.node.config.images);
        let image = spec.image.clone().unwrap_or_default();
        let held = tokio::task::spawn_blocking(move || container::hold_image(&images, &image)).await;
        let streams = Streams::new(stdin);
        // The signal that the image asks for is known to the container itself.
        self.set_running(pod, (&container, &streams), Signal::Term, left.started_at);
        let running = Running {
            id: left.id,
            container,
            output: (stdout, stderr),
            streams,
            message,
            started_at: left.started_at,
            held: held.unwrap_or_else(|_| Box::new(())),
        };
        self.follow(running, Vec::new()).await;
    }

    /// What runs native containers, or those of WebAssembly.
    fn runtime(&self, native: bool) -> Result<&Arc<dyn ContainerRuntime>, StartError> {
        let config = &self.shared.node.config;
        if !native {
            return Ok(&config.runtime);
        }
        config.linux.as_ref().ok_or_else(|| StartError::create("this husk runs containers of WebAssembly only"))
    }

    /// Writes down that the container is started now. Without a working disk it is all the same.
    fn note_begin(&self, id: &str) {
        let config = &self.shared.node.config;
        let (Some(journal), Some(uid)) = (&config.journal, self.pod.metadata.uid.as_deref()) else { return };
        let begun = Begun {
            container: self.container.clone(),
            attempt: self.attempt,
            id: id.to_owned(),
            at: config.clock.now(),
        };
        if let Err(error) = journal.begin(uid, &begun) {
            warn!(%error, container = self.container, "that a container is started cannot be written down");
        }
    }

    /// What is told of a start: that it happened, and what was not as asked for.
    fn reports_of_start(&self, running: &Running) -> Vec<Event> {
        let (container, attempt) = (self.container.clone(), self.attempt);
        let Running { id, started_at: at, .. } = running;
        debug!(container, attempt, id, "container started");
        let started = Event::ContainerStarted { container, attempt, id: id.clone(), at: *at };
        let warned = running.container.warnings().iter().map(|RuntimeWarning { reason, message }| {
            let container = Some(self.container.clone());
            Event::Warned { container, reason, message: message.clone() }
        });
        std::iter::once(started).chain(warned).collect()
    }

    /// Passes on the output, and makes reports: the first ones as soon as that is done, and then the end.
    async fn follow(self, running: Running, first: Vec<Event>) {
        let Self { shared, pod, container, attempt } = self;
        let Running { container: process, output, streams, message, held, .. } = running;
        let (tail, ended) = (LogTail::default(), CancellationToken::new());
        let source = LogSource {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            container: container.clone(),
            attempt,
        };
        let config = &shared.node.config;
        // Whoever is told that it runs may read its log.
        let (log, shown) = (source.begin(shared.logs.as_ref()), config.logs.clone());
        let sinks = LogSinks { streams, tail: tail.clone(), log, shown };
        // On its own, so that output which nobody takes now can still be taken when the pod is gone.
        let pump = tokio::spawn(source.pump(output, sinks, config.clock, ended.clone()));
        // Should this task be aborted, its container is dropped, and the output must end with it.
        let end_of_output = ended.drop_guard();
        for event in first {
            shared.report(event).await;
        }
        let exit = catch_panic(process.wait()).await.unwrap_or_else(lost);
        let at = config.clock.now();
        drop(end_of_output);
        if tokio::time::timeout(LOG_DRAIN, pump).await.is_err() {
            debug!(container, attempt, "the output is not taken; the exit is reported before its end");
        }
        shared.set_ended(&container, attempt);
        let message = message.read(&exit, &tail);
        let reason = container::exit_reason(&exit);
        debug!(container, attempt, code = exit.code, "container ended");
        // Its files go before the pod is told, which may be torn down next.
        drop((process, held));
        shared.report(Event::ContainerExited { container, attempt, exit_code: exit.code, reason, message, at }).await;
    }
}

/// The end of an instance whose runtime failed to tell of it.
fn lost(panic: String) -> ExitStatus {
    ExitStatus { code: LOST_EXIT_CODE, reason: ExitReason::Exited, message: Some(panic) }
}

/// Awaits `work`; a panic in it becomes a message instead of ending the task without a word.
pub(super) async fn catch_panic<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text = panic_text(panic.as_ref());
        error!(panic = text, "a task of a pod panicked");
        format!("internal error: {text}")
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
