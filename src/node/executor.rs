//! Carries out a pod's actions, in tasks of their own where they take time, and reports by event. Holds what the pod
//! owns meanwhile: its sandbox, volumes, images and running containers. Decides nothing.

mod adopt;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::attach::Streams;
use super::context::{self, PodContext};
use super::images;
use super::instance::{StartingInstance, catch_panic};
use super::logs::PodLogs;
use super::outcomes::Reports;
use super::run_directory;
use super::upkeep::{self, Upkeep};
use super::{NodeConfig, NodeState, Publish, PublishedPorts, host_ports};
use crate::base::id::PodUid;
use crate::image::Image;
use crate::net::PodNetwork;
use crate::pod::{
    Action, ContainerKind, Event, ImageFailure, ImageNote, PullPolicy, Pulled, StopSignal, VolumeFailure,
};
use crate::runtime::{Container, PodSandbox, ResourceUsage, Signal};
use crate::volume::{PodVolumes, VolumeError};

/// Which instance of which container.
type InstanceKey = (String, u32);

/// Where the sandbox of a pod has what it keeps on disk.
pub(super) fn sandbox_directory(pod_directory: &Path) -> PathBuf {
    pod_directory.join("sandbox")
}

/// The shortest time between two attempts to replace the tokens in volumes.
const TOKEN_PAUSE: Duration = Duration::from_secs(60);

/// How often volumes are measured (kubelet v1.36 `evictionMonitoringPeriod`).
const LIMITS_PERIOD: Duration = Duration::from_secs(10);

/// Carries out the actions of one pod.
pub(super) struct Executor {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// Whether a task sees to it that tokens are replaced.
    keeps_tokens: bool,
    /// Whether a task sees to it that volumes keep within their limits.
    keeps_limits: bool,
}

/// What the tasks of one pod share.
pub(super) struct Shared {
    pub(super) node: Arc<NodeState>,
    pub(super) pod_dir: PathBuf,
    pub(super) volumes: PodVolumes,
    /// The files of what its containers print, where they are kept.
    pub(super) logs: Option<Arc<PodLogs>>,
    /// Cancelled when nothing more is to be prepared for the pod.
    stopping: CancellationToken,
    /// Held while the pod's files are set up or torn down; true once they are torn down.
    torn_down: Mutex<bool>,
    /// Told when volumes have been set up.
    set_up: Notify,
    publish: Vec<Publish>,
    /// Whether an agent before this one may have left files of the pod.
    resumed: bool,
    /// Whether the pod has had a native container.
    pub(super) is_native: AtomicBool,
    reports: Reports,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sandbox: Option<Arc<Sandbox>>,
    images: HashMap<String, Image>,
    instances: HashMap<InstanceKey, InstanceHandle>,
    /// The IDs of containers that were taken up.
    alive: HashSet<String>,
    /// The pod as of the last time that its volumes were to be brought up to date.
    updated_pod: Option<Arc<Pod>>,
}

/// The sandbox of a pod and its ports on the host.
pub(super) struct Sandbox {
    pub(super) pod: PodSandbox,
    #[expect(dead_code, reason = "ports stay published for as long as this is held")]
    published: PublishedPorts,
}

/// What is held of one container instance.
struct InstanceHandle {
    cancel: CancellationToken,
    running: Option<Running>,
    /// Whether it was told to stop because the agent ends.
    told_to_stop: bool,
}

/// An instance that runs.
struct Running {
    process: Arc<dyn Container>,
    streams: Arc<Streams>,
    stop_signal: Signal,
    upkeep: Upkeep,
}

impl InstanceHandle {
    fn process(&self) -> Option<Arc<dyn Container>> {
        self.running.as_ref().map(|running| Arc::clone(&running.process))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an instance of the container starts from: the sandbox and the image made ready for it.
    pub(super) fn basis_of(&self, container: &str) -> (Option<Arc<Sandbox>>, Option<Image>) {
        let state = self.state();
        (state.sandbox.clone(), state.images.get(container).cloned())
    }

    /// From now on signals, probes and hooks reach the instance.
    pub(super) fn set_running(
        &self,
        container: &str,
        attempt: u32,
        process: (&Arc<dyn Container>, &Arc<Streams>),
        stop_signal: Signal,
        upkeep: Upkeep,
    ) {
        if let Some(instance) = self.state().instances.get_mut(&(container.to_owned(), attempt)) {
            let (process, streams) = (Arc::clone(process.0), Arc::clone(process.1));
            instance.running = Some(Running { process, streams, stop_signal, upkeep });
        }
    }

    /// The instance of a container that runs now, and its streams.
    pub(super) fn running(&self, container: &str) -> Option<(Arc<dyn Container>, Arc<Streams>)> {
        let state = self.state();
        let mut instances = state.instances.iter().filter(|((name, _), _)| name == container);
        let running = instances.find_map(|(_, instance)| instance.running.as_ref())?;
        Some((Arc::clone(&running.process), Arc::clone(&running.streams)))
    }

    /// The network of the pod, once it is there and until it is gone.
    pub(super) fn network(&self) -> Option<Arc<PodNetwork>> {
        self.state().sandbox.as_ref().map(|sandbox| Arc::clone(&sandbox.pod.network))
    }

    /// What each of the containers that run uses, with its name and its instance.
    pub(super) fn usage(&self) -> Vec<(String, u32, ResourceUsage)> {
        let state = self.state();
        let processes = state.instances.iter().filter_map(|(key, instance)| Some((key, instance.process()?)));
        processes.map(|((name, attempt), process)| (name.clone(), *attempt, process.usage())).collect()
    }

    /// From now on they find nothing.
    pub(super) fn set_ended(&self, container: &str, attempt: u32) {
        let mut state = self.state();
        let instance = state.instances.get_mut(&(container.to_owned(), attempt));
        let ended = instance.and_then(|instance| instance.running.take());
        drop(state);
        // What is dropped with it may take the lock.
        drop(ended);
    }

    /// Where reports go.
    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Whether there is nothing to tear down; then nothing will be set up any more either.
    fn has_no_files(&self) -> bool {
        let Ok(mut torn_down) = self.torn_down.try_lock() else { return false };
        let nothing = !self.pod_dir.exists();
        *torn_down |= nothing;
        nothing
    }

    pub(super) async fn report(&self, event: Event) {
        #[cfg(test)]
        if self.node.loses(&event) {
            return self.reports.keep(&event);
        }
        self.reports.send(event).await;
    }
}

impl Executor {
    /// Nothing is done yet. Of a pod that is `resumed` files may be there already.
    pub(super) fn new(
        node: Arc<NodeState>,
        pod: &Pod,
        publish: Vec<Publish>,
        resumed: bool,
        inbox: mpsc::Sender<Event>,
    ) -> Self {
        // Without a UID the directory would be everybody's.
        let uid = pod.metadata.uid.clone().filter(|uid| !uid.is_empty());
        let pod_dir = node.config.pods_dir.join(uid.unwrap_or_else(|| PodUid::random().to_string()));
        let volumes = PodVolumes::new(&pod_dir);
        let logs = node.config.log_files.map(|limits| PodLogs::new(&pod_dir, limits));
        let shared = Shared {
            node,
            pod_dir,
            volumes,
            logs,
            stopping: CancellationToken::new(),
            torn_down: Mutex::default(),
            set_up: Notify::new(),
            publish,
            resumed,
            is_native: AtomicBool::new(false),
            reports: Reports::new(inbox),
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared), tasks: JoinSet::new(), keeps_tokens: false, keeps_limits: false }
    }

    /// What the tasks of the pod share.
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Starts carrying out an action. What is done at once is answered by the events returned, the rest through the
    /// worker's inbox.
    pub(super) fn execute(&mut self, pod: &Arc<Pod>, action: Action) -> Vec<Event> {
        while self.tasks.try_join_next().is_some() {}
        self.shared.reports.begin(&action);
        match action {
            Action::SetUpVolumes => self.set_up_volumes(pod),
            Action::CreateSandbox => self.create_sandbox(pod),
            Action::PullImage { container, image, policy } => self.find_image(pod, container, image, policy),
            Action::StartContainer { container, attempt, kind } => self.start(pod, container, attempt, kind),
            Action::CancelStart { container, attempt } => {
                if let Some(instance) = self.shared.state().instances.get(&(container, attempt)) {
                    instance.cancel.cancel();
                }
                Vec::new()
            }
            Action::Signal { container, attempt, signal, cause } => {
                debug!(container, attempt, ?signal, ?cause, "signal");
                self.signal(container, attempt, signal);
                Vec::new()
            }
            Action::RunHook { container, attempt, hook } => {
                self.attend(container, attempt, |upkeep| upkeep.run_hook(hook, &self.shared))
            }
            Action::CancelHook { container, attempt, hook } => {
                self.attend(container, attempt, |upkeep| upkeep.cancel_hook(hook))
            }
            Action::StartProbes { container, attempt } => {
                self.attend(container, attempt, |upkeep| upkeep.start_probes(&self.shared))
            }
            Action::ProbeReadiness { container, attempt } => {
                self.attend(container, attempt, |upkeep| upkeep.probe_readiness_now())
            }
            Action::StopProbes { container, attempt } => {
                self.attend(container, attempt, Upkeep::stop_startup_and_liveness)
            }
            Action::UpdateResources { container, attempt, limits } => {
                let process =
                    self.shared.state().instances.get(&(container.clone(), attempt)).and_then(|i| i.process());
                vec![upkeep::update_resources(process.as_ref(), container, attempt, limits)]
            }
            Action::UpdateVolumes => self.update_volumes(pod),
            Action::RemoveContainer { container, attempt } => {
                self.shared.state().instances.remove(&(container, attempt));
                Vec::new()
            }
            Action::StopSandbox => {
                self.shared.stopping.cancel();
                let sandbox = self.shared.state().sandbox.take();
                self.stop_sandbox(sandbox)
            }
            Action::TearDownVolumes => self.tear_down_volumes(),
        }
    }

    /// Carries out `work` in a task of its own and reports the event it ends with, unless the pod is stopping by then;
    /// should it panic, the event that `failed` makes of it.
    fn spawn_preparation(
        &mut self,
        work: impl Future<Output = Event> + Send + 'static,
        failed: impl FnOnce(String) -> Event + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let event = tokio::select! {
                event = catch_panic(work) => event.unwrap_or_else(failed),
                () = shared.stopping.cancelled() => return,
            };
            shared.report(event).await;
        });
    }

    fn set_up_volumes(&mut self, pod: &Arc<Pod>) -> Vec<Event> {
        let has_volumes = pod.spec.as_ref().is_some_and(|spec| spec.volumes.as_ref().is_some_and(|v| !v.is_empty()));
        if !has_volumes && !self.shared.resumed {
            return vec![Event::VolumesReady];
        }
        if has_size_limits(pod) && !self.keeps_limits {
            self.keeps_limits = true;
            self.tasks.spawn(keep_limits(Arc::clone(&self.shared)));
        }
        if has_tokens(pod) && !self.keeps_tokens {
            self.keeps_tokens = true;
            self.tasks.spawn(keep_tokens(Arc::clone(&self.shared)));
        }
        self.shared.state().updated_pod.get_or_insert_with(|| Arc::clone(pod));
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(pod));
        let failed = |message| {
            let failure = VolumeFailure { volume: "*".to_owned(), message };
            Event::VolumesFailed { failures: vec![failure] }
        };
        let work = async move {
            match tokio::task::spawn_blocking(move || set_up(&shared, &pod)).await {
                Ok(Ok(())) => Event::VolumesReady,
                Ok(Err(failures)) => Event::VolumesFailed { failures },
                Err(panic) => failed(panic.to_string()),
            }
        };
        self.spawn_preparation(work, failed);
        Vec::new()
    }

    /// What has failed keeps what it had.
    fn update_volumes(&mut self, pod: &Arc<Pod>) -> Vec<Event> {
        self.shared.state().updated_pod = Some(Arc::clone(pod));
        self.tasks.spawn(update_now(Arc::clone(&self.shared)));
        Vec::new()
    }

    fn tear_down_volumes(&mut self) -> Vec<Event> {
        self.shared.stopping.cancel();
        self.shared.state().images.clear();
        if self.shared.has_no_files() {
            return vec![Event::VolumesTornDown];
        }
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            tear_down_all(&shared).await;
            shared.report(Event::VolumesTornDown).await;
        });
        Vec::new()
    }

    /// Removes what is left on disk of a pod that has ended already.
    pub(super) async fn remove_leftovers(&self) {
        if !self.shared.has_no_files() {
            tear_down_all(&self.shared).await;
        }
    }

    /// The last reports, once more.
    pub(super) fn last_reports(&self) -> Vec<Event> {
        self.shared.reports.last()
    }

    fn create_sandbox(&mut self, pod: &Arc<Pod>) -> Vec<Event> {
        let config = &self.shared.node.config;
        let failed = |error: &dyn std::error::Error| vec![Event::SandboxFailed { message: error.to_string() }];
        if let Err(error) = config.forced_runtime(pod) {
            return failed(&error);
        }
        let ports = ports(&self.shared, pod);
        // What has nothing to wait for needs no task.
        if ports.is_empty() && !context::host_network(pod) {
            return match context::attach(config, pod) {
                Ok(network) => vec![keep_sandbox(&self.shared, pod, network, Vec::new())],
                Err(error) => failed(&error),
            };
        }
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(pod));
        let work = async move {
            let made = async {
                let network = connect(&shared.node.config, &pod).await.map_err(|error| error.to_string())?;
                let published = publish_ports(&shared, &network, &ports).await?;
                Ok(keep_sandbox(&shared, &pod, network, published))
            };
            made.await.unwrap_or_else(|message| Event::SandboxFailed { message })
        };
        self.spawn_preparation(work, |message| Event::SandboxFailed { message });
        Vec::new()
    }

    fn find_image(&mut self, pod: &Arc<Pod>, container: String, image: String, policy: PullPolicy) -> Vec<Event> {
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(pod));
        let name = container.clone();
        let work = async move {
            let started = async |missing_secrets| {
                shared.report(Event::PullStarted { container: container.clone(), missing_secrets }).await;
            };
            match images::find(&shared.node.config, &pod, &image, policy, started).await {
                Ok((found, pulled)) => image_present(&shared, container, &image, found, pulled),
                Err(failure) => Event::ImageFailed { container, failure },
            }
        };
        let failed = |cause| Event::ImageFailed { container: name, failure: ImageFailure::Inspect(cause) };
        self.spawn_preparation(work, failed);
        Vec::new()
    }

    /// What native containers share goes with their runtime's sandbox, off the worker's task.
    fn stop_sandbox(&mut self, sandbox: Option<Arc<Sandbox>>) -> Vec<Event> {
        let Some(sandbox) = sandbox else { return vec![Event::SandboxStopped] };
        let Some(linux) = self.shared.node.config.linux.clone() else {
            sandbox.pod.network.close();
            return vec![Event::SandboxStopped];
        };
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            linux.remove_sandbox(&sandbox.pod.uid).await;
            sandbox.pod.network.close();
            shared.report(Event::SandboxStopped).await;
        });
        Vec::new()
    }

    /// Nothing runs in the pod any more, and the agent ends: the next one makes a new sandbox.
    pub(super) async fn end_sandbox(&mut self) {
        let sandbox = self.shared.state().sandbox.take();
        if let (Some(sandbox), Some(linux)) = (sandbox, &self.shared.node.config.linux) {
            linux.remove_sandbox(&sandbox.pod.uid).await;
        }
    }

    fn start(&mut self, pod: &Arc<Pod>, container: String, attempt: u32, kind: ContainerKind) -> Vec<Event> {
        debug!(container, attempt, ?kind, "start");
        let (instance, cancel) = self.instance(pod, container, attempt);
        self.tasks.spawn(async move { instance.run(cancel).await });
        Vec::new()
    }

    /// An instance, in a place where its stop finds it.
    fn instance(&self, pod: &Arc<Pod>, container: String, attempt: u32) -> (StartingInstance, CancellationToken) {
        let cancel = CancellationToken::new();
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(pod));
        let handle = InstanceHandle { cancel: cancel.clone(), running: None, told_to_stop: false };
        shared.state().instances.insert((container.clone(), attempt), handle);
        (StartingInstance { shared, pod, container, attempt }, cancel)
    }

    /// Does something for an instance that runs; of one that has ended just now, the event is on its way.
    fn attend(&self, container: String, attempt: u32, what: impl FnOnce(&mut Upkeep)) -> Vec<Event> {
        let mut state = self.shared.state();
        let instance = state.instances.get_mut(&(container, attempt));
        if let Some(running) = instance.and_then(|instance| instance.running.as_mut()) {
            what(&mut running.upkeep);
        }
        Vec::new()
    }

    /// Stops everything because the agent ends: gives up starts, and sends what runs a signal, the stop signal once.
    pub(super) fn stop_all(&self, signal: StopSignal) {
        for instance in self.shared.state().instances.values_mut() {
            instance.cancel.cancel();
            let Some(running) = &instance.running else { continue };
            match signal {
                StopSignal::Term if instance.told_to_stop => {}
                StopSignal::Term => {
                    instance.told_to_stop = true;
                    running.process.signal(running.stop_signal);
                }
                StopSignal::Kill => running.process.signal(Signal::Kill),
            }
        }
    }

    fn signal(&self, container: String, attempt: u32, signal: StopSignal) {
        let state = self.shared.state();
        let Some(running) = state.instances.get(&(container, attempt)).and_then(|instance| instance.running.as_ref())
        else {
            return;
        };
        let signal = match signal {
            StopSignal::Term => running.stop_signal,
            StopSignal::Kill => Signal::Kill,
        };
        running.process.signal(signal);
    }
}

fn image_present(shared: &Shared, container: String, image: &str, found: Image, pulled: Option<Pulled>) -> Event {
    let note = match &found.stands_in {
        Some(built_in) => {
            let message = format!("Image \"{image}\" is served by the built-in image \"{built_in}\"");
            Some(ImageNote::BuiltIn(message))
        }
        None => shared
            .node
            .config
            .images
            .take_note(&found)
            .map(|changes| ImageNote::Unpacked(format!("Image \"{image}\" was unpacked with changes: {changes}"))),
    };
    let (resolved, image_id) = (found.reference.clone(), found.id.clone());
    shared.state().images.insert(container.clone(), found);
    Event::ImagePresent { container, resolved, image_id, pulled, note }
}

/// Takes a sandbox that is ready into the pod's possession, where a stop finds it.
fn keep_sandbox(shared: &Shared, pod: &Pod, network: Arc<PodNetwork>, published: PublishedPorts) -> Event {
    let ips = network.ips().iter().map(ToString::to_string).collect();
    match context::sandbox(&shared.node.config, pod, network, sandbox_directory(&shared.pod_dir)) {
        Ok(sandbox) => {
            let mut state = shared.state();
            // A stop cancels first and takes the sandbox then: one that comes later has nobody to take it.
            if shared.stopping.is_cancelled() {
                return Event::SandboxFailed { message: "the pod is stopping".to_owned() };
            }
            state.sandbox = Some(Arc::new(Sandbox { pod: sandbox, published }));
            Event::SandboxReady { ips }
        }
        Err(error) => Event::SandboxFailed { message: error.to_string() },
    }
}

/// The network that the pod asks for.
async fn connect(config: &NodeConfig, pod: &Pod) -> Result<Arc<PodNetwork>, context::AttachError> {
    if context::host_network(pod) { context::attach_host(config, pod).await } else { context::attach(config, pod) }
}

/// Which ports of the host's are to lead into the pod. With the host's network, the pod has them itself.
fn ports(shared: &Shared, pod: &Pod) -> Vec<Publish> {
    if context::host_network(pod) {
        return Vec::new();
    }
    shared.publish.iter().copied().chain(host_ports(pod)).collect()
}

async fn publish_ports(
    shared: &Shared,
    network: &Arc<PodNetwork>,
    ports: &[Publish],
) -> Result<PublishedPorts, String> {
    let mut published = Vec::new();
    for Publish { host, port, udp } in ports {
        let result = match udp {
            false => shared.node.config.switch.publish_tcp(network, *host, *port).await,
            true => shared.node.config.switch.publish_udp(network, *host, *port).await,
        };
        published.push(result.map_err(|error| format!("cannot publish port {port} on {host}: {error}"))?);
    }
    Ok(published)
}

fn set_up(shared: &Shared, pod: &Pod) -> Result<(), Vec<VolumeFailure>> {
    // Setting up may have been given up meanwhile, and must not bring back what was torn down.
    let torn_down = shared.torn_down.lock().unwrap_or_else(PoisonError::into_inner);
    if *torn_down {
        return Ok(());
    }
    if shared.resumed
        && let Err(error) = run_directory::remove_roots(&shared.pod_dir, &shared.state().alive)
    {
        warn!(%error, "what dead containers wrote was not removed completely");
    }
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let context = PodContext::new(&shared.node.config, pod, Vec::new());
    let errors = shared.volumes.set_up_all(volumes, &context.volumes());
    let failures =
        errors.into_iter().map(|error| VolumeFailure { message: error.reason.to_string(), volume: error.volume });
    let failures: Vec<_> = failures.collect();
    shared.set_up.notify_one();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Whether a volume on disk has a limit.
fn has_size_limits(pod: &Pod) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.any(|volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_some()))
}

/// Whether a pod has tokens in its volumes.
fn has_tokens(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut sources = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    sources.any(|source| source.service_account_token.is_some())
}

/// Brings volumes up to date whenever a token in them should be replaced, until the pod stops.
async fn keep_tokens(shared: Arc<Shared>) {
    let clock = shared.node.config.clock;
    let mut not_before = tokio::time::Instant::now();
    loop {
        let due = async {
            match shared.volumes.update_at() {
                Some(at) => tokio::time::sleep_until(clock.instant_at(at).max(not_before)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = shared.set_up.notified() => {}
            () = due => {
                not_before = tokio::time::Instant::now() + TOKEN_PAUSE;
                update_now(Arc::clone(&shared)).await;
            }
        }
    }
}

/// Looks from time to time whether a volume holds more than it may, until the pod stops. WebAssembly containers cannot get
/// there.
async fn keep_limits(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = tokio::time::sleep(LIMITS_PERIOD) => {}
        }
        if !shared.is_native.load(Ordering::Relaxed) {
            continue;
        }
        let measured = Arc::clone(&shared);
        if let Ok(Some(message)) = tokio::task::spawn_blocking(move || measured.volumes.over_limit()).await {
            shared.report(Event::Evicted { message }).await;
        }
    }
}

async fn update_now(shared: Arc<Shared>) {
    match tokio::task::spawn_blocking(move || update(&shared)).await {
        Ok(errors) => errors.iter().for_each(|error| warn!(%error, "a volume is not up to date")),
        Err(panic) => warn!(%panic, "volumes are not up to date"),
    }
}

/// One after the other, and each with the pod as it is by then: the last one leaves the newest content.
fn update(shared: &Shared) -> Vec<VolumeError> {
    let torn_down = shared.torn_down.lock().unwrap_or_else(PoisonError::into_inner);
    let pod = shared.state().updated_pod.clone().filter(|_| !*torn_down);
    let Some(pod) = pod else { return Vec::new() };
    let context = PodContext::new(&shared.node.config, &pod, Vec::new());
    shared.volumes.update(&context.volumes())
}

async fn tear_down_all(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    match tokio::task::spawn_blocking(move || tear_down(&shared)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "volumes were not torn down completely"),
        Err(panic) => warn!(%panic, "volumes were not torn down completely"),
    }
}

/// Removes everything of a pod from the disk but its logs and what outlives it.
fn tear_down(shared: &Shared) -> std::io::Result<()> {
    *shared.torn_down.lock().unwrap_or_else(PoisonError::into_inner) = true;
    run_directory::unmount(&shared.pod_dir)?;
    shared.volumes.tear_down()?;
    run_directory::remove_all_but_logs(&shared.pod_dir)
}
