//! One pod on a node of its own: the real worker, executor, images, volumes and network, the scripted runtime, and a
//! clock that stands still unless everything waits for it. Keeps a timeline of what the cluster is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerState, ContainerStatus, PersistentVolumeClaim, Pod, PodStatus, Secret, Service,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};

use crate::base::clock::{Clock, Timestamp};
use crate::base::pipe::{self, PipeReader};
use crate::image::{ImageStore, Registries};
use crate::net::{Egress, Switch};
use crate::node::{Cluster, Journal, LogChunk, LogLimits, Node, NodeConfig, PodHandle, Publish, WhichEvent};
use crate::pod::PostedEvent;
use crate::runtime::fake::{Call, FakeRuntime, Script};
use crate::runtime::wasm::{WasmRuntime, WasmRuntimeConfig};
use crate::runtime::{ContainerRuntime, ExecRequest};
use crate::volume::{IssuedToken, TokenRequest};

/// Longer than any pod of these tests lives, on the clock that is paused.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);
/// Chunks of output that fit until somebody takes them.
const LOG_QUEUE: usize = 64;

/// What the cluster was told, and what it has.
pub(super) struct Record {
    clock: Clock,
    begun: Timestamp,
    config_maps: Mutex<BTreeMap<String, Arc<ConfigMap>>>,
    logs: Mutex<Option<mpsc::Receiver<LogChunk>>>,
    told: Mutex<Told>,
    changed: Notify,
    /// Whether the next event finds the cluster broken.
    pub(super) breaks: AtomicBool,
}

#[derive(Default)]
struct Told {
    timeline: Vec<(f64, String)>,
    /// When which container started.
    starts: Vec<(f64, String)>,
    statuses: Vec<PodStatus>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Record {
    pub(super) fn seconds(&self) -> f64 {
        let elapsed = self.clock.now().duration_since(self.begun);
        // Timers have millisecond granularity and may be that late.
        (elapsed.as_secs_f64() * 100.0).round() / 100.0
    }

    fn note(&self, what: String) {
        let at = self.seconds();
        lock(&self.told).timeline.push((at, what));
    }

    /// Takes what was printed up to now, as `husk run` does before it shows what happened.
    fn take_logs(&self) {
        while let Some(Ok(chunk)) = lock(&self.logs).as_mut().map(mpsc::Receiver::try_recv) {
            let what = match chunk.stream {
                Some(_) => String::from_utf8_lossy(&chunk.bytes).trim_end().to_owned(),
                None => "<end>".to_owned(),
            };
            self.note(format!("log {} {what}", chunk.container));
        }
    }
}

impl Cluster for Record {
    fn config_map(&self, _namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        lock(&self.config_maps).get(name).cloned()
    }

    fn secret(&self, _namespace: &str, _name: &str) -> Option<Arc<Secret>> {
        None
    }

    fn claim(&self, _namespace: &str, _name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        None
    }

    fn runtime_class(&self, _name: &str) -> Option<Arc<RuntimeClass>> {
        None
    }

    fn services(&self, _namespace: &str) -> Vec<Arc<Service>> {
        Vec::new()
    }

    fn service_account_token(&self, pod: &Pod, request: &TokenRequest) -> Result<IssuedToken, String> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let token = format!("{uid} at {}", self.seconds());
        Ok(IssuedToken { token, expires_at: self.clock.now() + SignedDuration::from_secs(request.seconds) })
    }

    fn update_status(&self, _pod: &Pod, status: &PodStatus) -> bool {
        self.take_logs();
        let before = lock(&self.told).statuses.last().cloned().unwrap_or_default();
        assert_ne!(before, *status, "a status is written again");
        if before.phase != status.phase {
            self.note(format!("phase {}", status.phase.as_deref().unwrap_or_default()));
        }
        for container in all(status) {
            let shown = show(container);
            let before = all(&before).find(|other| other.name == container.name);
            if before.map(show).as_ref() != Some(&shown) {
                self.note(format!("state {} {shown}", container.name));
            }
            if has_started(container) && before.is_none_or(|before| before.container_id != container.container_id) {
                lock(&self.told).starts.push((self.seconds(), container.name.clone()));
            }
        }
        lock(&self.told).statuses.push(status.clone());
        self.changed.notify_waiters();
        true
    }

    fn post_event(&self, _pod: &Pod, event: &PostedEvent) {
        assert!(!self.breaks.swap(false, Ordering::Relaxed), "the cluster is broken");
        self.take_logs();
        let event = &event.record;
        let container = event.field_path.as_deref().and_then(|path| path.split(['{', '}']).nth(1)).unwrap_or("-");
        self.note(format!("event {container} {}: {}", event.reason, event.message));
        self.changed.notify_waiters();
    }

    /// Notes first what was done, and then what came of it.
    fn publish(&self, pod: &Pod, status: Option<&PodStatus>, events: &[PostedEvent]) -> bool {
        events.iter().for_each(|event| self.post_event(pod, event));
        status.is_none_or(|status| self.update_status(pod, status))
    }
}

fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let own = status.init_container_statuses.iter().chain(&status.container_statuses);
    own.chain(&status.ephemeral_container_statuses).flatten()
}

/// Whether the current instance has run.
fn has_started(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    let ran = |state: &ContainerState| state.terminated.as_ref().is_some_and(|end| end.started_at.is_some());
    state.is_some_and(|state| state.running.is_some() || ran(state))
}

fn show(status: &ContainerStatus) -> String {
    let end = status.last_state.as_ref().and_then(show_state).map_or_else(String::new, |end| format!(" after {end}"));
    let count = if status.restart_count == 0 { String::new() } else { format!(" ({})", status.restart_count) };
    format!("{}{end}{count}", status.state.as_ref().and_then(show_state).unwrap_or_default())
}

fn show_state(state: &ContainerState) -> Option<String> {
    let waiting = state.waiting.as_ref().map(|waiting| waiting.reason.clone().unwrap_or_default());
    let running = state.running.as_ref().map(|_| "Running".to_owned());
    let end = state.terminated.as_ref();
    waiting.or(running).or(end.map(|end| format!("{}:{}", end.reason.as_deref().unwrap_or_default(), end.exit_code)))
}

/// A node that can run one pod.
pub(super) struct Scene {
    pub(super) runtime: FakeRuntime,
    pub(super) record: Arc<Record>,
    pub(super) directory: TempDir,
    containers: Arc<dyn ContainerRuntime>,
    node: Node,
    /// Where the node sends what is printed.
    logs: mpsc::Sender<LogChunk>,
    log_files: Option<LogLimits>,
    pod: Pod,
    handle: Option<PodHandle>,
    pub(super) publish: Vec<Publish>,
}

impl Scene {
    /// A pod with this spec, in YAML flow style without the outer braces; containers get the image `busybox`.
    pub(super) fn new(spec: &str) -> Self {
        let runtime = FakeRuntime::new();
        Self::with(pod(spec), Arc::new(runtime.clone()), runtime, None)
    }

    /// The same, on a node that keeps what containers print, in two small files for each instance.
    pub(super) fn keeping_logs(spec: &str) -> Self {
        let runtime = FakeRuntime::new();
        let limits = LogLimits { file_bytes: 500, files: 2 };
        Self::with(pod(spec), Arc::new(runtime.clone()), runtime, Some(limits))
    }

    /// A pod from a manifest, run by real guests on the clock that stands still unless everything waits for it.
    pub(super) fn real(manifest: &str) -> Self {
        let mut pod: Pod = serde_yaml::from_str(manifest).unwrap();
        (pod.metadata.uid, pod.metadata.namespace) = (Some("u".to_owned()), Some("default".to_owned()));
        crate::api::defaults::default_pod(&mut pod);
        Self::with(pod, wasm(), FakeRuntime::new(), None)
    }

    fn with(
        pod: Pod,
        containers: Arc<dyn ContainerRuntime>,
        runtime: FakeRuntime,
        log_files: Option<LogLimits>,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let (logs, printed) = mpsc::channel(LOG_QUEUE);
        let record = Arc::new(Record {
            clock,
            begun: clock.now(),
            config_maps: Mutex::default(),
            logs: Mutex::new(Some(printed)),
            told: Mutex::default(),
            changed: Notify::new(),
            breaks: AtomicBool::new(false),
        });
        let journal = Journal::create(directory.path()).unwrap();
        let node = node(&directory, &containers, &record, (&logs, log_files), journal);
        Self { runtime, record, directory, containers, node, logs, log_files, pod, handle: None, publish: Vec::new() }
    }

    pub(super) fn script(self, container: &str, script: Script) -> Self {
        self.runtime.script(container, script);
        self
    }

    /// Nobody takes what containers print, and the queue is full.
    pub(super) fn without_printer(self) -> Self {
        let held = lock(&self.record.logs).take();
        // Never read, and never dropped before the test ends.
        std::mem::forget(held);
        let chunk = LogChunk {
            namespace: String::new(),
            pod: String::new(),
            container: String::new(),
            stream: None,
            time: self.record.begun,
            bytes: bytes::Bytes::new(),
        };
        while self.logs.try_send(chunk.clone()).is_ok() {}
        self
    }

    pub(super) fn start(mut self) -> Self {
        self.handle = Some(self.node.run_pod(Arc::new(self.pod.clone()), self.publish.clone()));
        self
    }

    /// Deletes the pod with a grace period.
    pub(super) fn delete(&mut self, grace_seconds: i64) {
        let at = self.record.clock.now() + SignedDuration::from_secs(grace_seconds);
        self.pod.metadata.deletion_timestamp = Some(Time(at));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace_seconds);
        self.handle.as_ref().unwrap().update(Arc::new(self.pod.clone()));
    }

    /// Changes the pod.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Pod)) {
        edit(&mut self.pod);
        self.handle.as_ref().unwrap().update(Arc::new(self.pod.clone()));
    }

    /// The agent ends, and lets the pod end before: it waits for that.
    pub(super) async fn suspend(&mut self, limit: Duration) {
        self.handle().suspend(limit);
        self.end().await;
        self.drop_handle();
    }

    /// The agent ends without a word: nothing is torn down, and what ran is gone.
    pub(super) async fn crash(&mut self) {
        self.drop_handle();
        // Its tasks end when they are next run.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Another agent takes the pod up from what is on disk.
    pub(super) fn take_up(&mut self) {
        let (journal, mut contents) = Journal::open(self.directory.path()).unwrap().unwrap();
        assert_eq!(contents.problems, []);
        let recorded = contents.pods.remove("u").unwrap();
        self.node = node(&self.directory, &self.containers, &self.record, (&self.logs, self.log_files), journal);
        let snapshot = recorded.snapshot.unwrap();
        let pod = Pod { status: Some(self.status()), ..recorded.pod };
        self.handle = Some(self.node.resume_pod(Arc::new(pod), self.publish.clone(), snapshot));
    }

    /// The next report that `which` chooses is lost on its way.
    pub(super) fn lose(&self, which: WhichEvent) {
        *lock(&self.node.shared.loses) = Some(which);
    }

    /// Tells the node that ConfigMaps have changed.
    pub(super) fn sources_changed(&self) {
        self.handle.as_ref().unwrap().sources_changed();
    }

    pub(super) fn remove_config_map(&self, name: &str) {
        lock(&self.record.config_maps).remove(name);
    }

    /// Gives up the pod.
    pub(super) fn drop_handle(&mut self) {
        self.handle = None;
    }

    pub(super) fn add_config_map(&self, name: &str, yaml_data: &str) {
        let map: ConfigMap =
            serde_yaml::from_str(&format!("{{metadata: {{name: {name}}}, data: {{{yaml_data}}}}}")).unwrap();
        lock(&self.record.config_maps).insert(name.to_owned(), Arc::new(map));
    }

    pub(super) fn handle(&self) -> &PodHandle {
        self.handle.as_ref().unwrap()
    }

    /// Runs a program in a container to its end: its exit code, and what it printed on both streams.
    pub(super) async fn exec(&self, container: &str, argv: &[&str]) -> (i32, String) {
        let (stdout, printed) = pipe::pipe(pipe::DEFAULT_CAPACITY);
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecRequest { argv, stdin: None, stdout: stdout.clone(), stderr: stdout, tty: false };
        let process = self.handle().access().exec(container, request).await.unwrap();
        let (output, status) = tokio::join!(text(&printed), process.wait());
        (status.code, output)
    }

    /// Lets the clock run until `seconds` after the beginning.
    pub(super) async fn at(&self, seconds: u64) {
        let time = self.record.begun + SignedDuration::from_secs(i64::try_from(seconds).unwrap());
        tokio::time::sleep_until(self.record.clock.instant_at(time)).await;
    }

    /// Waits until the timeline has an entry that begins so.
    pub(super) async fn until(&self, beginning: &str) {
        let reached = async {
            loop {
                let changed = self.record.changed.notified();
                if self.timeline().iter().any(|entry| entry.split_once(' ').unwrap().1.starts_with(beginning)) {
                    return;
                }
                changed.await;
            }
        };
        let reached = tokio::time::timeout(FOR_EVER, reached).await;
        assert!(reached.is_ok(), "{beginning:?} never comes:\n{:#?}", self.timeline());
    }

    /// Waits until nothing of the pod is left.
    pub(super) async fn end(&self) {
        let finished = self.handle.as_ref().unwrap().finished();
        let ended = tokio::time::timeout(FOR_EVER, finished).await;
        assert!(ended.is_ok(), "the pod never ends:\n{:#?}", self.timeline());
        self.record.take_logs();
    }

    /// Everything so far, as `seconds what`.
    pub(super) fn timeline(&self) -> Vec<String> {
        lock(&self.record.told).timeline.iter().map(|(at, what)| format!("{at} {what}")).collect()
    }

    /// The entries that begin with one of `kinds`.
    pub(super) fn only(&self, kinds: &[&str]) -> Vec<String> {
        let told = lock(&self.record.told);
        let chosen = told.timeline.iter().filter(|(_, what)| kinds.iter().any(|kind| what.starts_with(kind)));
        chosen.map(|(at, what)| format!("{at} {what}")).collect()
    }

    /// When containers started, as `seconds container`.
    pub(super) fn starts(&self) -> Vec<String> {
        lock(&self.record.told).starts.iter().map(|(at, name)| format!("{at} {name}")).collect()
    }

    pub(super) fn status(&self) -> PodStatus {
        lock(&self.record.told).statuses.last().cloned().unwrap_or_default()
    }

    pub(super) fn statuses(&self) -> Vec<PodStatus> {
        lock(&self.record.told).statuses.clone()
    }

    pub(super) fn phase(&self) -> String {
        self.status().phase.unwrap_or_default()
    }

    pub(super) fn container(&self, name: &str) -> ContainerStatus {
        all(&self.status()).find(|status| status.name == name).unwrap().clone()
    }

    /// State, last state and restart count of a container.
    pub(super) fn shows(&self, name: &str) -> String {
        show(&self.container(name))
    }

    /// Message of a container's termination.
    pub(super) fn message(&self, name: &str) -> Option<String> {
        self.container(name).state.unwrap().terminated.unwrap().message
    }

    /// Seconds after the beginning at which a container ended, in whole seconds as the status has them.
    pub(super) fn finished_at(&self, name: &str) -> i64 {
        let end = self.container(name).state.unwrap().terminated.unwrap().finished_at.unwrap();
        end.0.as_second() - self.record.begun.as_second()
    }

    /// Names of the containers whose end the runtime saw, in order, with their exit codes.
    pub(super) fn ends(&self) -> Vec<String> {
        let calls = self.runtime.calls().into_iter();
        calls
            .filter_map(|call| if let Call::End(name, code) = call { Some(format!("{name} {code}")) } else { None })
            .collect()
    }

    /// What is left in the directory of all pods.
    pub(super) fn files_left(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.directory.path().join("pods")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

/// Everything up to the end of the stream.
pub(super) async fn text(reader: &PipeReader) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = reader.read(usize::MAX).await {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).unwrap()
}

/// One runtime for all tests, with every program loaded: a test that waited for another one's compilation would see its
/// clock run on, since it does nothing itself.
fn wasm() -> Arc<dyn ContainerRuntime> {
    static RUNTIME: OnceLock<Arc<dyn ContainerRuntime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let cache_dir = Some(Path::new(env!("HUSK_GUESTS_DIR")).join("compiled"));
        let runtime: Arc<dyn ContainerRuntime> =
            WasmRuntime::new(WasmRuntimeConfig { cache_dir, ..WasmRuntimeConfig::default() }).unwrap();
        let loading = Arc::clone(&runtime);
        let load = || tokio::runtime::Runtime::new().unwrap().block_on(load_programs(loading));
        std::thread::spawn(load).join().unwrap();
        runtime
    });
    Arc::clone(runtime)
}

/// Runs each program of the built-in images once, on a clock that nobody stops.
async fn load_programs(runtime: Arc<dyn ContainerRuntime>) {
    let spec = "restartPolicy: Never, containers: [
        {name: tools, image: nginx, command: [sh, -c, 'ls; nginx -v; wget --help; true']},
        {name: health, image: grpc-health, args: ['--help']}]";
    let scene = Scene::with(pod(spec), runtime, FakeRuntime::new(), None).start();
    scene.end().await;
}

fn node(
    directory: &TempDir,
    runtime: &Arc<dyn ContainerRuntime>,
    record: &Arc<Record>,
    (logs, log_files): (&mpsc::Sender<LogChunk>, Option<LogLimits>),
    journal: Journal,
) -> Node {
    Node::new(NodeConfig {
        name: "node".to_owned(),
        host_ips: vec!["192.0.2.1".to_owned()],
        cluster_domain: "cluster.local".to_owned(),
        allocatable_cpu_millis: 1000,
        allocatable_memory: 1 << 30,
        host_resolv_conf: String::new(),
        host_hosts: String::new(),
        pods_dir: directory.path().join("pods"),
        journal: Some(Arc::new(journal)),
        data_dir: directory.path().join("data"),
        probe_lag: Duration::from_millis(if runtime.name() == "wasm" { 500 } else { 0 }),
        clock: record.clock,
        runtime: Arc::clone(runtime),
        linux: None,
        adoptable: false,
        images: ImageStore::with_registries(&directory.path().join("images"), true, nowhere()),
        switch: Switch::new(Egress::Deny),
        cluster: Arc::clone(record) as Arc<dyn Cluster>,
        logs: Some(logs.clone()),
        log_files,
        stdin: Box::new(|_, _| None),
    })
}

fn pod(spec: &str) -> Pod {
    let yaml = format!("{{metadata: {{name: p, namespace: ns, uid: u, generation: 1}}, spec: {{{spec}}}}}");
    let mut pod: Pod = serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    let spec = pod.spec.as_mut().unwrap();
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container.image.get_or_insert_with(|| "busybox".to_owned());
    }
    crate::api::defaults::default_pod(&mut pod);
    pod
}

/// No registry is asked for anything.
fn nowhere() -> Registries {
    Registries::parse("[[registry]]\nprefix = \"docker.io\"\nblocked = true\n").unwrap()
}
