//! Carries out a pod's actions, in tasks of their own where they take time, and reports by event. Holds what the pod
//! owns meanwhile: its sandbox, volumes, images and running containers. Decides nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::container::{self, StartError};
use super::context::{self, PodContext};
use super::logs::{LogSource, LogTail};
use super::{NodeState, Publish, PublishedPorts};
use crate::base::clock::Timestamp;
use crate::image::{Image, ImageError};
use crate::net::PodNetwork;
use crate::pod::{Action, ContainerKind, Event, ImageFailure, PullPolicy, StopSignal, VolumeFailure};
use crate::runtime::{Container, PodSandbox, Signal};
use crate::volume::PodVolumes;

/// Which instance of which container.
type InstanceKey = (String, u32);

/// Carries out the actions of one pod.
pub(super) struct Executor {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    set_up: CancellationToken,
}

/// What the tasks of one pod share.
struct Shared {
    node: Arc<NodeState>,
    pod_dir: PathBuf,
    volumes: PodVolumes,
    /// Held while the pod's files are set up or torn down; true once they are torn down.
    torn_down: Mutex<bool>,
    publish: Vec<Publish>,
    events: mpsc::Sender<Event>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sandbox: Option<Arc<Sandbox>>,
    images: HashMap<String, Image>,
    instances: HashMap<InstanceKey, InstanceHandle>,
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
    running: Option<Arc<dyn Container>>,
    stop_signal: Signal,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker that is gone needs no events.
    async fn report(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

impl Executor {
    pub(super) fn new(node: Arc<NodeState>, pod: Arc<Pod>, publish: Vec<Publish>, events: mpsc::Sender<Event>) -> Self {
        let pod_dir = node.config.pods_dir.join(pod.metadata.uid.as_deref().unwrap_or_default());
        let volumes = PodVolumes::new(&pod_dir);
        let shared =
            Shared { node, pod_dir, volumes, torn_down: Mutex::default(), publish, events, state: Mutex::default() };
        Self { shared: Arc::new(shared), tasks: JoinSet::new(), set_up: CancellationToken::new() }
    }

    /// Starts carrying out an action. What is done at once is answered by the events returned, the rest through the
    /// worker's inbox.
    pub(super) fn execute(&mut self, pod: &Arc<Pod>, action: Action) -> Vec<Event> {
        while self.tasks.try_join_next().is_some() {}
        match action {
            Action::SetUpVolumes => self.set_up_volumes(pod),
            Action::CreateSandbox => self.create_sandbox(pod),
            Action::PullImage { container, image, policy } => vec![self.find_image(container, &image, policy)],
            Action::StartContainer { container, attempt, kind } => self.start(pod, container, attempt, kind),
            Action::CancelStart { container, attempt } => {
                if let Some(instance) = self.shared.state().instances.get(&(container, attempt)) {
                    instance.cancel.cancel();
                }
                Vec::new()
            }
            Action::Signal { container, attempt, signal, reason } => {
                debug!(container, attempt, ?signal, reason, "signal");
                self.signal(container, attempt, signal);
                Vec::new()
            }
            Action::RemoveContainer { container, attempt } => {
                self.shared.state().instances.remove(&(container, attempt));
                Vec::new()
            }
            Action::StopSandbox => {
                self.set_up.cancel();
                let sandbox = self.shared.state().sandbox.take();
                if let Some(sandbox) = sandbox {
                    sandbox.pod.network.close();
                }
                vec![Event::SandboxStopped]
            }
            Action::TearDownVolumes => self.tear_down_volumes(),
        }
    }

    fn set_up_volumes(&mut self, pod: &Arc<Pod>) -> Vec<Event> {
        if pod.spec.as_ref().is_none_or(|spec| spec.volumes.as_ref().is_none_or(Vec::is_empty)) {
            return vec![Event::VolumesReady];
        }
        let (shared, pod, cancel) = (Arc::clone(&self.shared), Arc::clone(pod), self.set_up.clone());
        self.tasks.spawn(async move {
            let for_work = Arc::clone(&shared);
            let work = tokio::task::spawn_blocking(move || set_up(&for_work, &pod));
            let result = tokio::select! {
                result = work => result,
                () = cancel.cancelled() => return,
            };
            let event = match result {
                Ok(Ok(())) => Event::VolumesReady,
                Ok(Err(failures)) => Event::VolumesFailed { failures },
                Err(panic) => {
                    let failure = VolumeFailure { volume: "*".to_owned(), message: panic.to_string() };
                    Event::VolumesFailed { failures: vec![failure] }
                }
            };
            shared.report(event).await;
        });
        Vec::new()
    }

    fn tear_down_volumes(&mut self) -> Vec<Event> {
        self.set_up.cancel();
        self.shared.state().images.clear();
        if !self.shared.pod_dir.exists() {
            return vec![Event::VolumesTornDown];
        }
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let for_work = Arc::clone(&shared);
            let work = tokio::task::spawn_blocking(move || tear_down(&for_work));
            match work.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "volumes were not torn down completely"),
                Err(panic) => warn!(%panic, "volumes were not torn down completely"),
            }
            shared.report(Event::VolumesTornDown).await;
        });
        Vec::new()
    }

    fn create_sandbox(&mut self, pod: &Arc<Pod>) -> Vec<Event> {
        let network = match context::attach(&self.shared.node.config, pod) {
            Ok(network) => network,
            Err(error) => return vec![Event::SandboxFailed { message: error.to_string() }],
        };
        let ports = self.wanted_ports(pod);
        if ports.is_empty() {
            return vec![keep_sandbox(&self.shared, pod, network, Vec::new())];
        }
        let (shared, pod, cancel) = (Arc::clone(&self.shared), Arc::clone(pod), self.set_up.clone());
        self.tasks.spawn(async move {
            let result = tokio::select! {
                result = publish_ports(&shared, &network, &ports) => result,
                () = cancel.cancelled() => return,
            };
            let event = match result {
                Ok(published) => keep_sandbox(&shared, &pod, network, published),
                Err(message) => Event::SandboxFailed { message },
            };
            shared.report(event).await;
        });
        Vec::new()
    }

    /// The pod's `hostPort`s, on loopback unless `hostIP` says otherwise, and the ports asked for beside them.
    // Differs from Kubernetes: a hostPort without hostIP listens on 127.0.0.1 only, because the node is somebody's
    // own machine.
    fn wanted_ports(&self, pod: &Pod) -> Vec<Publish> {
        let spec = pod.spec.as_ref();
        let containers = spec.into_iter().flat_map(|spec| {
            let init = spec.init_containers.iter().flatten();
            init.filter(|container| container.restart_policy.is_some()).chain(&spec.containers)
        });
        let host_ports = containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
            let host_port = u16::try_from(port.host_port?).ok()?;
            let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::from([127, 0, 0, 1]));
            let port_in_pod = u16::try_from(port.container_port).ok()?;
            let udp = port.protocol.as_deref() == Some("UDP");
            Some(Publish { host: SocketAddr::new(ip, host_port), port: port_in_pod, udp })
        });
        self.shared.publish.iter().copied().chain(host_ports).collect()
    }

    fn find_image(&mut self, container: String, image: &str, policy: PullPolicy) -> Event {
        match self.shared.node.config.images.resolve(image) {
            Ok(found) => {
                let note = found
                    .stands_in
                    .as_ref()
                    .map(|built_in| format!("Image \"{image}\" is served by the built-in image \"{built_in}\""));
                let (resolved, image_id) = (found.reference.clone(), found.id.clone());
                self.shared.state().images.insert(container.clone(), found);
                Event::ImagePresent { container, resolved, image_id, pulled: None, note }
            }
            Err(error) => {
                let failure = match error {
                    ImageError::InvalidName { detail, .. } => ImageFailure::InvalidName(detail),
                    ImageError::NotFound(_) if policy == PullPolicy::Never => ImageFailure::NeverPull,
                    ImageError::NotFound(_) => ImageFailure::Pull(error.to_string()),
                    ImageError::Io { .. } | ImageError::Invalid(_) => ImageFailure::Inspect(error.to_string()),
                };
                Event::ImageFailed { container, failure }
            }
        }
    }

    fn start(&mut self, pod: &Arc<Pod>, container: String, attempt: u32, kind: ContainerKind) -> Vec<Event> {
        let cancel = CancellationToken::new();
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(pod));
        let handle = InstanceHandle { cancel: cancel.clone(), running: None, stop_signal: Signal::Term };
        shared.state().instances.insert((container.clone(), attempt), handle);
        let instance = StartingInstance { shared, pod, container, attempt, kind };
        self.tasks.spawn(async move { instance.run(cancel).await });
        Vec::new()
    }

    fn signal(&self, container: String, attempt: u32, signal: StopSignal) {
        let state = self.shared.state();
        let Some(instance) = state.instances.get(&(container, attempt)) else { return };
        let signal = match signal {
            StopSignal::Term => instance.stop_signal,
            StopSignal::Kill => Signal::Kill,
        };
        if let Some(running) = &instance.running {
            running.signal(signal);
        }
    }
}

fn keep_sandbox(shared: &Shared, pod: &Pod, network: Arc<PodNetwork>, published: PublishedPorts) -> Event {
    let ips = network.ips().iter().map(ToString::to_string).collect();
    match context::sandbox(&shared.node.config, pod, network) {
        Ok(sandbox) => {
            shared.state().sandbox = Some(Arc::new(Sandbox { pod: sandbox, published }));
            Event::SandboxReady { ips }
        }
        Err(error) => Event::SandboxFailed { message: error.to_string() },
    }
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

/// One container instance on its way from `StartContainer` to its end.
struct StartingInstance {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    container: String,
    attempt: u32,
    kind: ContainerKind,
}

impl StartingInstance {
    async fn run(self, cancel: CancellationToken) {
        let started = tokio::select! {
            started = self.start() => started,
            () = cancel.cancelled() => Err(StartError::cancelled()),
        };
        match started {
            Ok(running) => self.watch(running).await,
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
        let (sandbox, image) = {
            let state = self.shared.state();
            (state.sandbox.clone(), state.images.get(&self.container).cloned())
        };
        let sandbox = sandbox.ok_or_else(|| StartError::create("the pod's sandbox is gone"))?;
        let image = image.ok_or_else(|| StartError::create("the container's image is gone"))?;
        let subject = container::Subject { pod: &self.pod, container: &self.container, attempt: self.attempt };
        let ips = sandbox.pod.network.ips().iter().map(ToString::to_string).collect();
        let context = PodContext::new(config, &self.pod, ips).map_err(StartError::create)?;
        let storage = container::Storage {
            image: &image,
            volumes: &self.shared.volumes,
            layers: &self.shared.node.layers,
            pod_dir: &self.shared.pod_dir,
        };
        let prepared = container::prepare(&context, &subject, &sandbox, storage)?;
        let id = format!("{}://{}", config.runtime.name(), prepared.config.id);
        let created = config.runtime.create(&sandbox.pod, prepared.config).await;
        let container = created.map_err(|error| StartError::run(&id, &error))?;
        container.start().await.map_err(|error| StartError::run(&id, &error))?;
        if let Some(instance) = self.shared.state().instances.get_mut(&(self.container.clone(), self.attempt)) {
            instance.running = Some(Arc::clone(&container));
            instance.stop_signal = prepared.stop_signal;
        }
        let running = Running {
            id,
            container,
            output: prepared.output,
            message: prepared.termination_message,
            started_at: config.clock.now(),
        };
        Ok(running)
    }

    /// Reports the start, passes on the output, and reports the end.
    async fn watch(self, running: Running) {
        let Self { shared, pod, container, attempt, kind } = self;
        debug!(container, attempt, ?kind, id = running.id, "container started");
        let at = running.started_at;
        let started = Event::ContainerStarted { container: container.clone(), attempt, id: running.id, at };
        let tail = LogTail::default();
        let source = LogSource {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            container: container.clone(),
        };
        let (stdout, stderr) = running.output;
        let pump = source.pump(stdout, stderr, tail.clone(), shared.node.config.clock, shared.node.config.logs.clone());
        let end = async {
            shared.report(started).await;
            running.container.wait().await
        };
        let (exit, ()) = futures::join!(end, pump);
        if let Some(instance) = shared.state().instances.get_mut(&(container.clone(), attempt)) {
            instance.running = None;
        }
        let message = running.message.read(&exit, &tail);
        let at: Timestamp = shared.node.config.clock.now();
        let reason = container::exit_reason(&exit);
        debug!(container, attempt, code = exit.code, "container ended");
        shared.report(Event::ContainerExited { container, attempt, exit_code: exit.code, reason, message, at }).await;
    }
}

/// A container that runs, with what is needed to follow it to its end.
struct Running {
    id: String,
    container: Arc<dyn Container>,
    output: container::Output,
    message: container::TerminationMessage,
    started_at: Timestamp,
}

fn set_up(shared: &Shared, pod: &Pod) -> Result<(), Vec<VolumeFailure>> {
    // Setting up may have been given up meanwhile, and must not bring back what was torn down.
    let torn_down = shared.torn_down.lock().unwrap_or_else(PoisonError::into_inner);
    if *torn_down {
        return Ok(());
    }
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let whole = |message: String| vec![VolumeFailure { volume: "*".to_owned(), message }];
    let context = PodContext::new(&shared.node.config, pod, Vec::new()).map_err(|error| whole(error.to_string()))?;
    let errors = shared.volumes.set_up_all(volumes, &context.volumes());
    let failures =
        errors.into_iter().map(|error| VolumeFailure { message: error.reason.to_string(), volume: error.volume });
    let failures: Vec<_> = failures.collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Removes everything of a pod from the disk but what outlives it.
fn tear_down(shared: &Shared) -> std::io::Result<()> {
    *shared.torn_down.lock().unwrap_or_else(PoisonError::into_inner) = true;
    shared.volumes.tear_down()?;
    match std::fs::remove_dir_all(&shared.pod_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
