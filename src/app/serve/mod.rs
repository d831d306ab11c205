//! `husk serve` and `husk stop`: the server's composition, from its entrance to the API.

mod authority;
mod entrance;
mod identity;
mod kubeconfig;
mod listen;
pub(super) mod private;
mod process;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

#[cfg(unix)]
pub(super) use self::entrance::open_socket;
use self::entrance::{Entrance, how_to_use, policy};
use self::listen::Api;
pub(super) use self::listen::Front;
pub(super) use self::process::{NoServer, find_server};
use self::process::{Places, Stopped};
use super::cluster::StoreCluster;
use super::local::{self, ClusterConfig, Foreground, LocalCluster};
use super::node_access;
use super::paths::Paths;
use super::prepare::Host;
use super::run::egress;
use crate::apiserver::ApiServer;
use crate::base::clock::Clock;
use crate::cli::Global;
use crate::cli::serve::ServeArgs;
use crate::cli::stop::StopArgs;
use crate::image::{self, ImageStore};
use crate::net::{NetError, Switch, TcpListener};
use crate::node::{Contents, Journal, RunDirectory};
use crate::runtime::wasm::{WasmRuntime, WasmRuntimeConfig};
use crate::store::{OpenError, Store};

/// How long requests under way may take once the server is asked to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long the containers of all pods may take to end once the server is asked to; a pod's grace period may be shorter.
const SUSPEND_LIMIT: Duration = Duration::from_secs(30);
/// How long to wait for room when there are too many connections from pods.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the objects are looked at again that a killed server still holds…
const RELEASE_ATTEMPTS: u32 = 100;
/// …and how long after each other.
const RELEASE_PAUSE: Duration = Duration::from_millis(100);

/// How often images are brought within their limit (kubelet's `ImageGCPeriod`).
const COLLECT_PERIOD: Duration = Duration::from_secs(5 * 60);

/// Runs `husk serve`.
pub(super) fn run(global: &Global, mut args: ServeArgs) -> anyhow::Result<u8> {
    let paths = Paths::new(global)?;
    args.kubeconfig = args.kubeconfig.map(std::path::absolute).transpose()?;
    let places = Places::new(&paths);
    if args.in_background {
        process::leave_terminal();
    } else if args.detach {
        process::detach(&places)?;
        let server = find_server(&paths)?;
        writeln!(io::stdout(), "{}", server.kubeconfig.display())?;
        // Nobody needs to read it.
        let kubeconfig = args.kubeconfig.as_deref().unwrap_or(&server.kubeconfig);
        let _ = writeln!(io::stderr(), "To use it: {}", how_to_use(kubeconfig));
        return Ok(0);
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = super::native::prepare() {
        warn!(%error, "native containers cannot be run");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let images = super::images::open(global, &paths)?;
    let code = runtime.block_on(serve(places, paths, images, args));
    runtime.shutdown_background();
    code
}

async fn serve(places: Places, paths: Paths, images: Arc<ImageStore>, args: ServeArgs) -> anyhow::Result<u8> {
    let (clock, host) = (Clock::system(), Host::detect());
    let _room = images.has_limit().then(|| AbortOnDropHandle::new(tokio::spawn(keep_room(Arc::clone(&images)))));
    let mut entrance = Entrance::prepare(places.clone(), &args, &host.name, clock).await?;
    // Only who is the one server of the data directory may touch what is in it.
    let store = open_store(&places.objects).await?;
    let authority = entrance.authority(store.clone())?;
    let access = node_access::Pods::new(clock, Arc::clone(&images));
    let measuring = access.measure();
    let node_name = local::node_name(&store, &host.name);
    let tokens = local::issuer(Arc::clone(&authority));
    let cluster = StoreCluster::new(store.clone(), node_name.clone(), clock, Arc::new(())).with_tokens(tokens);
    let (directory, journal, left) = pods_directory(&places)?;
    let mut cluster = LocalCluster::start(ClusterConfig {
        store: store.clone(),
        clock,
        host,
        node_name,
        cluster: Arc::new(cluster),
        directory: Arc::new(directory),
        journal: Arc::new(journal),
        left,
        data: paths.data.clone(),
        adoptable: true,
        runtime: containers(&paths)?,
        images,
        switch: Switch::new(egress(args.egress)),
        access: access.clone(),
        has_api: true,
        ca_certificate: Some(entrance.ca_certificate().to_owned()),
        foreground: Foreground::nobody(),
    })?;
    let config = local::api_config(cluster.node_name(), policy(&args), clock);
    let api = ApiServer::new(store.clone(), Arc::new(access), Arc::clone(&authority), config);
    let front = entrance.open(api.service(), authority)?;
    let from_pods = cluster.take_api_listener().map(|listener| tokio::spawn(serve_pods(listener, front.clone())));
    let from_pods = from_pods.map(AbortOnDropHandle::new);
    entrance.announce(&args)?;
    info!(address = %entrance.address(), "the server is ready");
    entrance.wait().await;
    info!("the server was asked to end");
    // While containers end, clients see it.
    tokio::select! {
        () = cluster.suspend(SUSPEND_LIMIT) => {}
        () = entrance.wait_again() => cluster.suspend(Duration::ZERO).await,
    }
    api.end_streams();
    tokio::select! {
        () = front.close(DRAIN_LIMIT) => {}
        () = entrance.wait_again() => {}
    }
    drop((from_pods, cluster, measuring));
    store.durable(store.revision()).await.context("the last changes are not on disk")?;
    Ok(0)
}

/// Keeps images within their limit: what was in use a while ago may be collected now.
async fn keep_room(images: Arc<ImageStore>) {
    loop {
        let store = Arc::clone(&images);
        if let Err(error) = tokio::task::spawn_blocking(move || store.keep_to_limit()).await {
            warn!(%error, "images cannot be kept within their limit");
        }
        tokio::time::sleep(COLLECT_PERIOD).await;
    }
}

/// Opens the objects. A server that was killed may hold them for as long as the system takes to clear it away.
async fn open_store(path: &Path) -> Result<Store, OpenError> {
    let mut left = RELEASE_ATTEMPTS;
    loop {
        match Store::open(path) {
            Err(OpenError::Locked { .. }) if left > 0 => left -= 1,
            other => return other,
        }
        tokio::time::sleep(RELEASE_PAUSE).await;
    }
}

/// What runs containers.
fn containers(paths: &Paths) -> anyhow::Result<Arc<WasmRuntime>> {
    if let Err(error) = std::fs::create_dir_all(&paths.cache) {
        warn!(%error, cache = %paths.cache.display(), "compiled code cannot be kept: programs are compiled at each start");
    }
    let config = WasmRuntimeConfig {
        cache_dir: Some(paths.code.clone()),
        tools: image::tool_layers(),
        ..WasmRuntimeConfig::default()
    };
    Ok(WasmRuntime::new(config)?)
}

/// Where pods have their files, with what an earlier server has left of them.
fn pods_directory(places: &Places) -> anyhow::Result<(RunDirectory, Journal, Contents)> {
    let unusable = || format!("cannot keep pods' files in {}", places.pods.display());
    let directory = RunDirectory::at(places.pods.clone()).with_context(unusable)?;
    let directory = directory.with_context(|| format!("another process uses {}", places.pods.display()))?;
    let (journal, left) = match Journal::open(directory.path()).with_context(unusable)? {
        Some((journal, contents)) => (journal, contents),
        None => (Journal::create(directory.path()).with_context(unusable)?, Contents::default()),
    };
    Ok((directory, journal, left))
}

/// Lets connections in that come from pods.
async fn serve_pods<S: Api>(listener: TcpListener, front: Front<S>) {
    loop {
        match listener.accept().await {
            Ok(stream) => front.serve_pod(stream),
            // The switch is no more.
            Err(NetError::ConnectionAborted) => return,
            Err(error) => {
                debug!(%error, "a connection from a pod waits");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Runs `husk stop`.
pub(super) fn stop(global: &Global, args: StopArgs) -> anyhow::Result<u8> {
    let places = Places::new(&Paths::new(global)?);
    let said = match process::stop(&places, args.timeout)? {
        Stopped::NotRunning => format!("No husk server runs on {}", places.data.display()),
        Stopped::Ended { pid } => format!("The husk server on {} (process {pid}) has ended", places.data.display()),
        Stopped::Killed { pid } => format!(
            "The husk server on {} (process {pid}) did not end within {} s and was killed",
            places.data.display(),
            args.timeout.as_secs()
        ),
    };
    writeln!(io::stderr(), "{said}")?;
    Ok(0)
}
