//! `husk run`: runs prepared pods until they end, watched by signals and a time limit, and tells how it went.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::cluster::{Observer, PodKey, StoreCluster};
use super::console::Console;
use super::history::{Histories, QUEUE};
use super::local::{self, ClusterConfig, Foreground, LocalCluster, Own};
use super::node_access;
use super::notices::Notices;
use super::outcome::{self, Account};
use super::prepare::{Session, cannot_keep_files};
use super::progress::CompileProgress;
use super::resume;
use super::runs::{self, RunUnderWay};
use super::serve::Front;
use super::services::{self, NodePort};
use super::show::{Names, Show};
use crate::apiserver::ApiServer;
use crate::apiserver::authorize::Policy;
use crate::apiserver::node_access::PodRef;
use crate::apiserver::tokens::{Authority, SigningKey};
use crate::base::clock::{Clock, Timestamp};
use crate::cli::output::printer::{PrintOptions, Printer, Tone};
use crate::cli::output::{objects, table};
use crate::cli::run::{EgressArg, RunArgs};
use crate::cli::{EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT, Global};
use crate::image;
use crate::net::{Egress, Switch};
use crate::node::{Contents, Journal, LogChunk, Publish, Recorded, RunDirectory, host_ports};
use crate::pod::print;
use crate::runtime::wasm::{WasmRuntime, WasmRuntimeConfig};

/// Chunks of output that may wait for the printer.
const LOG_QUEUE: usize = 256;
/// How long the end of a run waits until what killed husks have left is removed.
const TIDYING_LIMIT: Duration = Duration::from_secs(1);
/// How long pods may take to stop that others have created while the run was under way.
const OTHERS_LIMIT: Duration = Duration::from_secs(30);
/// How long those who are connected to the API may take to see the pods' end and leave…
const LEAVE_LIMIT: Duration = Duration::from_millis(500);
/// …and what they still ask for then.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// `terminationGracePeriodSeconds` where a pod has none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Runs the command.
pub(super) fn run(global: &Global, args: RunArgs) -> anyhow::Result<u8> {
    let session = Session::prepare(global, args)?;
    #[cfg(target_os = "linux")]
    if session.has_native() {
        super::native::prepare().context("native containers cannot be run")?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(session.host.cpus).enable_all().build()?;
    let progress = Arc::new(CompileProgress::new(std::io::stderr().is_terminal() && !session.args.quiet));
    let containers = session.wasm_runtime(Arc::clone(&progress))?;
    let code = runtime.block_on(session.run(&progress, Arc::clone(&containers)));
    // The process ends next, and its memory and threads with it: taking them apart would only take longer. Nor must the
    // exit wait for what still blocks, such as a read of standard input.
    std::mem::forget((runtime, containers));
    code
}

/// Tells the container that has the terminal whenever its size changes.
async fn pass_on_sizes(console: Console, pods: Vec<Arc<Pod>>, access: node_access::Pods) {
    let Some((key, container)) = console.borrower() else { return };
    let Some(pod) = pods.iter().find(|pod| PodKey::of(pod) == *key).map(|pod| reference(pod)) else { return };
    #[cfg(unix)]
    if let Ok(mut changed) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change()) {
        while changed.recv().await.is_some() {
            if let Some(size) = console.size() {
                // One that does not run learns it when it starts.
                access.resize(&pod, container, size);
            }
        }
    }
}

/// Why the pods are being ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Interrupted,
    Terminated,
    TimedOut,
}

impl Ending {
    fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted => EXIT_INTERRUPTED,
            Self::Terminated => EXIT_TERMINATED,
            Self::TimedOut => EXIT_TIMEOUT,
        }
    }
}

impl Session {
    /// Runs all pods to their end and prints the outcome.
    async fn run(mut self, progress: &CompileProgress, containers: Arc<WasmRuntime>) -> anyhow::Result<u8> {
        let console = self.console();
        let (printer, printing) = Printer::start(self.print_options(progress, &console))?;
        for warning in self.warnings.iter().filter(|_| !self.args.quiet) {
            printer.notice(Tone::Warning, format!("warning: {warning}")).await;
        }
        let resumptions = self.resumptions.iter().filter(|_| !self.args.quiet).cloned();
        for line in resumptions.chain(self.published_lines()) {
            printer.notice(Tone::Quiet, line).await;
        }
        let (logs, log_chunks) = mpsc::channel(LOG_QUEUE);
        let (changes, changed) = mpsc::channel(QUEUE);
        let clock = Clock::system();
        let histories = Arc::new(Histories::new(self.store.clone(), changes));
        let observer = Arc::clone(&histories) as Arc<dyn Observer>;
        let cluster = Arc::new(StoreCluster::new(self.store.clone(), self.node_name(), clock, observer));
        let switch = Switch::new(egress(self.args.egress));
        let node_ports = services::publish_node_ports(&self.store, &switch).await?;
        for port in node_ports.iter().filter(|_| !self.args.quiet) {
            printer.notice(Tone::Quiet, port.notice.clone()).await;
        }
        let directory = Arc::new(self.run_directory(clock.now())?);
        let access = node_access::Pods::new(clock, Arc::clone(&self.images));
        let notices = self.tells().then(|| self.notices());
        let output =
            tokio::spawn(Show::new(printer.clone(), self.names(), notices, console.clone()).run(log_chunks, changed));
        // Before anything runs that a signal would leave behind.
        let mut signals = Signals::listen();
        let wiring = Wiring { clock, cluster, switch, node_ports, directory: Arc::clone(&directory), access };
        let (mut at_work, finished) = self.start(wiring, (logs, containers), &console)?;
        let tidying = self.tidy();
        let ending = self.watch(&finished, &printer, &mut signals, (clock, &histories)).await;
        at_work.end(&mut signals).await;
        console.restore();
        let accounts = self.accounts(&histories);
        // With them goes the way for further changes.
        drop((at_work, histories));
        if let Err(error) = directory.remove() {
            warn!(%error, "what the pods kept on disk was not removed completely");
        }
        let finishing = async move {
            // A panic of the task has told its story itself.
            let _ = output.await;
            let code = self.report(&printer, &accounts, ending).await?;
            drop(printer);
            let _ = tokio::task::spawn_blocking(|| printing.finish()).await;
            // What is left then, another run removes.
            let _ = tokio::time::timeout(TIDYING_LIMIT, tidying).await;
            Ok(code)
        };
        let mut signals = Signals::listen();
        tokio::select! {
            code = finishing => code,
            // Whoever reads what is still to be shown may have stopped reading: a signal gives up on it.
            asked = signals.next() => Ok(ending.map_or(asked, |(asked, _)| asked).exit_code()),
        }
    }

    /// Starts the pods, and what goes on beside them. Each of the tokens is cancelled at the end of one of the pods.
    fn start(
        &self,
        wiring: Wiring,
        (logs, containers): (mpsc::Sender<LogChunk>, Arc<WasmRuntime>),
        console: &Console,
    ) -> anyhow::Result<(AtWork, Vec<CancellationToken>)> {
        let Wiring { clock, cluster, switch, node_ports, directory, access } = wiring;
        let journal = Journal::create(directory.path()).with_context(|| cannot_keep_files(&self.paths))?;
        for pod in self.pods.iter().filter(|pod| !self.snapshots.contains_key(&PodKey::of(pod))) {
            cluster.post_scheduled(pod);
        }
        let (own, finished) = self.own_pods();
        let (keyboard, uids) = (console.clone(), own.keys().cloned().collect::<HashSet<_>>());
        let foreground = Foreground {
            own,
            node_ports,
            logs: Some(logs),
            keeps_logs: self.has_api(),
            stdin: Box::new(move |pod, container| {
                // What others have started, they can attach to.
                let is_own = pod.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid));
                if is_own { keyboard.keyboard(pod, container) } else { None }
            }),
        };
        let cluster = LocalCluster::start(ClusterConfig {
            store: self.store.clone(),
            clock,
            host: self.host.clone(),
            node_name: self.node_name(),
            cluster,
            directory: Arc::clone(&directory),
            journal: Arc::new(journal),
            left: self.left(),
            data: self.paths.data.clone(),
            adoptable: false,
            runtime: containers,
            images: Arc::clone(&self.images),
            switch,
            access: access.clone(),
            has_api: self.has_api(),
            ca_certificate: None,
            foreground,
        })?;
        let api = if self.has_api() { self.offer_api(&access, &directory, clock) } else { None };
        let measuring = access.measure();
        let resizing = tokio::spawn(pass_on_sizes(console.clone(), self.pods.clone(), access));
        let at_work = AtWork { cluster, api, _tasks: [measuring, AbortOnDropHandle::new(resizing)] };
        Ok((at_work, finished))
    }

    /// A place for what the pods keep on disk, with the files of those that are gone on with.
    fn run_directory(&self, now: Timestamp) -> anyhow::Result<RunDirectory> {
        let context = || cannot_keep_files(&self.paths);
        let directory = RunDirectory::create(&self.paths.pods, now).with_context(context)?;
        if let Some(leftovers) = &self.leftovers {
            leftovers.move_files(&self.pods, &directory)?;
        }
        Ok(directory)
    }

    /// The pods of this run as the cluster is told of them, and what tells of their ends.
    fn own_pods(&self) -> (HashMap<String, Own>, Vec<CancellationToken>) {
        let own = |pod: &Arc<Pod>| {
            let finished = CancellationToken::new();
            let publish = self.publish.get(&PodKey::of(pod)).cloned().unwrap_or_default();
            let own = Own::new(publish, &finished);
            ((pod.metadata.uid.clone().unwrap_or_default(), own), finished)
        };
        self.pods.iter().map(own).unzip()
    }

    /// How a killed husk has left the pods that are gone on with.
    fn left(&self) -> Contents {
        let recorded = |pod: &Arc<Pod>| {
            let snapshot = self.snapshots.get(&PodKey::of(pod))?.clone();
            let recorded = Recorded { pod: Pod::clone(pod), snapshot: Some(snapshot) };
            Some((pod.metadata.uid.clone().unwrap_or_default(), recorded))
        };
        Contents { pods: self.pods.iter().filter_map(recorded).collect::<BTreeMap<_, _>>(), problems: Vec::new() }
    }

    /// Lets the user's other commands reach the pods, if there can be a socket.
    #[cfg(unix)]
    fn offer_api(&self, access: &node_access::Pods, directory: &RunDirectory, clock: Clock) -> Option<Api> {
        let key = SigningKey::random().inspect_err(|error| warn!(%error, "there is no API")).ok()?;
        let authority = Arc::new(Authority::new(self.store.clone(), key, clock));
        let config = local::api_config(&self.node_name(), Policy::default(), clock);
        let api = ApiServer::new(self.store.clone(), Arc::new(access.clone()), Arc::clone(&authority), config);
        let socket = directory.path().join(runs::SOCKET);
        let front = super::serve::open_socket(api.service(), authority, &socket)?;
        let files = self.args.files.iter().map(|file| file.display().to_string()).collect();
        let namespace = self.args.namespace.clone();
        let run = RunUnderWay { pid: std::process::id(), since: clock.now(), files, namespace, socket };
        run.announce(directory.path());
        Some((api, front))
    }

    #[cfg(not(unix))]
    fn offer_api(&self, _: &node_access::Pods, _: &RunDirectory, _: Clock) -> Option<Api> {
        None
    }

    /// Sees to it in the background that what killed husks have left is there only once, or not at all.
    fn tidy(&mut self) -> JoinHandle<()> {
        let pods: Vec<_> = self.pods.iter().map(|pod| PodKey::of(pod)).collect();
        let (leftovers, directory) = (self.leftovers.take(), self.paths.pods.clone());
        tokio::task::spawn_blocking(move || match leftovers {
            Some(leftovers) => leftovers.strike_out(&pods),
            None => resume::remove_all(&directory),
        })
    }

    /// Whether the pods are reached by other commands. A program that runs as if there were no husk is not: it starts
    /// sooner.
    fn has_api(&self) -> bool {
        cfg!(unix) && !self.program
    }

    fn node_name(&self) -> String {
        local::name_of_machine(&self.host.name)
    }

    /// Whether husk tells of the pods' lives, besides what containers print.
    fn tells(&self) -> bool {
        !self.args.quiet && !self.program
    }

    fn print_options(&self, progress: &CompileProgress, console: &Console) -> PrintOptions {
        let prefixes = (!self.args.no_prefix && !self.program).then(|| self.names().sources(&self.pods));
        let logs_to_stderr = self.args.output.is_some();
        let as_it_is = console.borrower().map(|(pod, name)| self.names().source(&pod.namespace, &pod.name, name));
        let timestamps = self.args.timestamps;
        PrintOptions { prefixes, timestamps, logs_to_stderr, as_it_is, progress: progress.bars() }
    }

    /// What pods did before husk was killed, it has told.
    fn notices(&self) -> Notices {
        let mut notices = Notices::new(self.args.events, self.names());
        for (pod, snapshot) in &self.snapshots {
            notices.know(pod, &snapshot.status);
        }
        notices
    }

    fn names(&self) -> Names {
        Names::new(&self.pods)
    }

    /// Where this machine's ports lead.
    fn published_lines(&self) -> Vec<String> {
        if self.args.quiet {
            return Vec::new();
        }
        let lines = self.pods.iter().flat_map(|pod| {
            let key = PodKey::of(pod);
            let name = self.names().pod(&key.namespace, &key.name);
            let asked = self.publish.get(&key).into_iter().flatten().copied();
            asked.chain(host_ports(pod)).map(move |Publish { host, port, udp }| {
                format!("{name}: Port {port}{} is published on {host}", if udp { "/udp" } else { "" })
            })
        });
        lines.collect()
    }

    fn wasm_runtime(&self, progress: Arc<CompileProgress>) -> anyhow::Result<Arc<WasmRuntime>> {
        let config = WasmRuntimeConfig {
            cache_dir: Some(self.paths.code.clone()),
            tools: image::tool_layers(),
            observer: Some(progress),
            ..WasmRuntimeConfig::default()
        };
        Ok(WasmRuntime::new(config)?)
    }

    /// Waits for all pods to end; on a signal or at the time limit, ends them gracefully, and kills them the second time.
    /// Gives why and when they were ended, if they did not end by themselves.
    async fn watch(
        &self,
        finished: &[CancellationToken],
        printer: &Printer,
        signals: &mut Signals,
        (clock, histories): (Clock, &Histories),
    ) -> Option<(Ending, Timestamp)> {
        let mut all_finished = std::pin::pin!(join_all(finished.iter().map(CancellationToken::cancelled)));
        let mut timeout = std::pin::pin!(sleep_or_never(self.args.timeout));
        let mut ending: Option<(Ending, Timestamp)> = None;
        loop {
            let asked = tokio::select! {
                _ = &mut all_finished => return ending,
                ending = signals.next() => ending,
                () = &mut timeout, if ending.is_none() => Ending::TimedOut,
                () = printer.broken(), if ending.is_none() => Ending::Interrupted,
            };
            let again = ending.is_some();
            let grace = again.then_some(0);
            if self.tells() {
                announce(printer, ending_notice(asked, again));
            }
            for pod in &self.pods {
                histories.remember(&PodKey::of(pod));
                self.delete(pod, grace, clock.now());
            }
            ending = ending.or(Some((asked, clock.now())));
        }
    }

    /// Marks a pod as deleted, as the API does (registry/core/pod strategy): the deadline can only come closer.
    fn delete(&self, pod: &Pod, grace: Option<i64>, now: Timestamp) {
        let key = PodKey::of(pod);
        let changed = self.store.update::<Pod>(&key.namespace, &key.name, |pod| {
            let spec_grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
            let grace = grace.or(spec_grace).unwrap_or(DEFAULT_GRACE_SECONDS);
            let metadata = &mut pod.metadata;
            if metadata.deletion_grace_period_seconds.is_some_and(|current| current <= grace) {
                return;
            }
            metadata.deletion_grace_period_seconds = Some(grace);
            metadata.deletion_timestamp = Some(Time(now + jiff::SignedDuration::from_secs(grace)));
            metadata.generation = metadata.generation.map(|generation| generation + 1);
        });
        if let Err(error) = changed {
            // It has ended and is gone.
            debug!(%error, "a pod is not there to be stopped");
        }
    }

    /// What is known of the pods now that they have ended.
    fn accounts(&self, histories: &Histories) -> Vec<Account> {
        let account = |pod: &Arc<Pod>| {
            let key = PodKey::of(pod);
            let is_it = |found: &Arc<Pod>| found.metadata.uid == pod.metadata.uid;
            let stored = self.store.get::<Pod>(&key.namespace, &key.name).filter(is_it);
            // One that was deleted is as it was last.
            let pod = stored.or_else(|| histories.last(&key).filter(is_it))?;
            Some(Account { pod, stop: histories.stop(&key), events: histories.events(&key) })
        };
        self.pods.iter().filter_map(account).collect()
    }

    /// Prints the final table or objects and gives the exit code.
    async fn report(
        &self,
        printer: &Printer,
        accounts: &[Account],
        ending: Option<(Ending, Timestamp)>,
    ) -> anyhow::Result<u8> {
        let pods: Vec<&Pod> = accounts.iter().map(|account| &*account.pod).collect();
        if let Some(format) = self.args.output {
            printer.stdout(objects::render(format, &pods)?).await;
        }
        let code = ending.map_or_else(|| outcome::exit_code(&pods), |(ending, _)| ending.exit_code());
        if self.args.quiet || (self.program && code == 0) {
            return Ok(code);
        }
        if !self.program {
            if ending.is_some() {
                printer.notice(Tone::Plain, "When the stop began:").await;
            }
            let shown: Vec<&Pod> = accounts.iter().map(Account::shown).collect();
            let at = ending.map_or_else(Timestamp::now, |(_, at)| at);
            printer.notice(Tone::Plain, status_table(&shown, at).trim_end().to_owned()).await;
        }
        for line in accounts.iter().flat_map(|account| self.explain(account)) {
            printer.notice(Tone::Warning, line).await;
        }
        Ok(code)
    }

    fn explain(&self, account: &Account) -> Vec<String> {
        if self.program {
            return outcome::explain_program(account);
        }
        let key = PodKey::of(&account.pod);
        outcome::explain(account, &self.names().pod(&key.namespace, &key.name))
    }
}

/// What the pods of a run are started with.
struct Wiring {
    clock: Clock,
    cluster: Arc<StoreCluster>,
    switch: Arc<Switch>,
    node_ports: Vec<NodePort>,
    directory: Arc<RunDirectory>,
    access: node_access::Pods,
}

/// The API of the run, and the door to it.
type Api = (ApiServer, Front<axum::Router>);

/// A run under way.
struct AtWork {
    cluster: LocalCluster,
    api: Option<Api>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl AtWork {
    /// Stops what others have started beside the pods that are waited for, and lets those who are connected see the end. A
    /// signal makes it shorter.
    async fn end(&mut self, signals: &mut Signals) {
        tokio::select! {
            () = self.cluster.suspend(OTHERS_LIMIT) => {}
            _ = signals.next() => self.cluster.suspend(Duration::ZERO).await,
        }
        let Some((api, front)) = &self.api else { return };
        front.quiet(LEAVE_LIMIT).await;
        api.end_streams();
        front.close(CLOSE_LIMIT).await;
    }
}

/// A pod, as those call it who reach into it.
fn reference(pod: &Pod) -> PodRef {
    let PodKey { namespace, name } = PodKey::of(pod);
    PodRef { namespace, name, uid: pod.metadata.uid.clone().unwrap_or_default() }
}

/// What may leave the pods.
pub(super) fn egress(arg: EgressArg) -> Egress {
    match arg {
        EgressArg::Allow => Egress::Allow,
        EgressArg::Deny => Egress::Deny,
    }
}

/// Prints a notice without waiting for it: what is stuck may be the very output.
fn announce(printer: &Printer, line: &'static str) {
    let printer = printer.clone();
    let mut printing = Box::pin(async move { printer.notice(Tone::Plain, line).await });
    if (&mut printing).now_or_never().is_none() {
        tokio::spawn(printing);
    }
}

fn ending_notice(asked: Ending, again: bool) -> &'static str {
    match (asked, again) {
        (_, true) => "Killing the pods",
        (Ending::TimedOut, false) => "Time is up: stopping the pods",
        (Ending::Interrupted | Ending::Terminated, false) => "Stopping the pods (Ctrl-C again kills them)",
    }
}

/// The pods as they were at the time `at`.
fn status_table(pods: &[&Pod], at: Timestamp) -> String {
    let namespaces: std::collections::BTreeSet<_> = pods.iter().map(|pod| &pod.metadata.namespace).collect();
    let with_namespace = namespaces.len() > 1;
    let head: &[&str] = &["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"];
    let rows = pods.iter().map(|pod| {
        let columns = print::pod_row(pod, at);
        let namespace = with_namespace.then(|| pod.metadata.namespace.clone().unwrap_or_default());
        let cells = [columns.name, columns.ready, columns.status, columns.restarts, columns.age];
        namespace.into_iter().chain(cells).collect()
    });
    table::render(&head[usize::from(!with_namespace)..], &rows.collect::<Vec<Vec<String>>>())
}

async fn sleep_or_never(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The signals that end a run.
struct Signals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Self { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Ending {
        async fn wait(signal: &mut Option<tokio::signal::unix::Signal>) {
            if let Some(signal) = signal
                && signal.recv().await.is_some()
            {
                return;
            }
            std::future::pending().await
        }
        tokio::select! {
            () = wait(&mut self.interrupt) => Ending::Interrupted,
            () = wait(&mut self.terminate) => Ending::Terminated,
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Ending {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Ending::Interrupted
    }
}
