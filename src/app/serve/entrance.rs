//! Everything between clients and the API, from claiming the data directory to closing the doors. Used by the composition
//! in this order:
//!
//! ```text
//!   Entrance::prepare   lock, keys, listeners: clients that come too early wait
//!   entrance.authority  tokens of service accounts, over the store
//!   entrance.open       doors to the API
//!   entrance.announce   kubeconfigs, and word to whoever waits
//!   entrance.wait       until the server is asked to end
//!   front.close         nobody is let in; what is under way may end
//! ```
//!
//! Dropping the entrance gives the data directory back, so it comes last.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
#[cfg(unix)]
use futures::FutureExt;
use tokio_rustls::TlsAcceptor;
use tracing::{error, warn};

use super::authority::{ServerKeys, ServerNames};
use super::identity::Authenticator;
use super::kubeconfig::{self, Access};
use super::listen::{Api, Front, Limits, Listeners, local_url};
use super::process::{self, Claim, Places, ServerAddress};
use crate::apiserver::authorize::{Policy, ServiceAccountRole};
use crate::apiserver::tokens::Authority;
use crate::app::paths::shell_word;
use crate::base::clock::Clock;
use crate::cli::serve::{ServeArgs, ServiceAccountsArg};
use crate::store::Store;

/// What an API is called that is reached by a Unix socket only.
#[cfg(unix)]
const LOCAL_URL: &str = "http://localhost";
/// How often a server in the background looks how long its log is.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The way in.
#[derive(Debug)]
pub(super) struct Entrance {
    places: Places,
    keys: ServerKeys,
    clock: Clock,
    address: SocketAddr,
    listeners: Option<Listeners>,
    has_socket: bool,
    in_background: bool,
    signals: Signals,
    /// Last, so that the data directory is another's only when all else is closed.
    claim: Claim,
}

impl Entrance {
    /// Becomes the server of the data directory and listens.
    pub(super) async fn prepare(
        places: Places,
        args: &ServeArgs,
        host_name: &str,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let wanted = args.address().map_err(|error| anyhow!(error))?;
        let mut names = ServerNames::new(host_name, wanted.ip());
        for name in &args.tls_san {
            names.add(name).context("--tls-san")?;
        }
        // Before anything is there that a signal would leave behind.
        let signals = Signals::listen();
        let claim = Claim::take(&places, clock.now()).await?;
        let keys = ServerKeys::open(&places.keys, names, clock.now())?;
        let listeners = Listeners::bind(wanted, &places.socket).await?;
        let address = listeners.tcp.as_ref().context("nothing listens")?.local_addr()?;
        #[cfg(unix)]
        let has_socket = listeners.unix.is_some();
        #[cfg(not(unix))]
        let has_socket = false;
        let in_background = args.in_background;
        let listeners = Some(listeners);
        Ok(Self { places, keys, clock, address, listeners, has_socket, in_background, signals, claim })
    }

    /// The URL of the server, for clients on this machine.
    pub(super) fn url(&self) -> String {
        local_url(self.address)
    }

    /// Where the server listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that clients check the server with, in PEM.
    pub(super) fn ca_certificate(&self) -> &str {
        self.keys.ca_certificate()
    }

    /// Who issues tokens and tells whose they are.
    pub(super) fn authority(&self, store: Store) -> anyhow::Result<Arc<Authority>> {
        let authority = Authority::new(store, self.keys.token_key()?, self.clock);
        Ok(Arc::new(authority.with_admin_token(&self.keys.admin_token)))
    }

    /// Opens the doors to the API.
    pub(super) fn open<S: Api>(&mut self, api: S, authority: Arc<Authority>) -> anyhow::Result<Front<S>> {
        let tls = TlsAcceptor::from(Arc::new(self.keys.tls()?));
        let front = Front::new(api, Authenticator::new(authority), Some(tls), self.url(), Limits::default());
        if let Some(listeners) = self.listeners.take() {
            front.open(listeners);
        }
        Ok(front)
    }

    /// Writes kubeconfigs, and tells everybody that the server is ready.
    pub(super) fn announce(&mut self, args: &ServeArgs) -> anyhow::Result<()> {
        let server = self.url();
        let access = Access { server: &server, ca_certificate: self.keys.ca_certificate(), client: &self.keys.admin };
        kubeconfig::write(&self.places.kubeconfig, access)?;
        let mut merged = None;
        if let Some(path) = &args.kubeconfig {
            merged = Some((&**path, kubeconfig::merge(path, access)?));
        }
        let kubeconfig = self.places.kubeconfig.clone();
        let socket = self.has_socket.then(|| self.places.socket.clone());
        self.claim.ready(ServerAddress { url: server.clone(), kubeconfig, socket })?;
        if args.in_background {
            process::say_ready();
        } else {
            // Who started the server may read no further; it serves all the same.
            let _ = writeln!(io::stdout(), "{}", how_to_use(&self.places.kubeconfig));
        }
        tell(&self.places, &server, merged);
        Ok(())
    }

    /// Waits until the server is asked to end. Meanwhile its certificate is kept from ending, and its log from growing.
    pub(super) async fn wait(&mut self) {
        let mut renewal = tokio::time::interval(ServerKeys::RENEWAL);
        let mut tending = tokio::time::interval(LOG_INTERVAL);
        loop {
            tokio::select! {
                () = self.signals.next() => return,
                _ = renewal.tick() => {
                    if let Err(error) = self.keys.renew(self.clock.now()) {
                        error!(error = format!("{error:#}"), "the server's certificate could not be issued anew");
                    }
                }
                _ = tending.tick(), if self.in_background => {
                    if let Err(error) = process::tend_log(&self.places) {
                        error!(%error, "a new log could not be begun");
                    }
                }
            }
        }
    }

    /// Waits until the server is asked to end once more, which is to end at once.
    pub(super) async fn wait_again(&mut self) {
        self.signals.next().await;
    }
}

impl Listeners {
    /// Listens on an address, and on a Unix socket where there are such.
    #[cfg_attr(not(unix), allow(unused_variables, reason = "there are no Unix sockets"))]
    async fn bind(address: SocketAddr, socket: &Path) -> anyhow::Result<Self> {
        let tcp = tokio::net::TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => anyhow!(
                "another program listens on {address}: choose another port with --port, or a free one with --port 0"
            ),
            _ => anyhow!(error).context(format!("cannot listen on {address}")),
        })?;
        Ok(Self {
            tcp: Some(tcp),
            #[cfg(unix)]
            unix: bind_unix(socket),
        })
    }
}

/// Doors to an API for the user's own processes alone: at a Unix socket, if there can be one there.
#[cfg(unix)]
pub(in crate::app) fn open_socket<S: Api>(api: S, authority: Arc<Authority>, socket: &Path) -> Option<Front<S>> {
    let unix = bind_unix(socket)?;
    let front = Front::new(api, Authenticator::new(authority), None, LOCAL_URL.to_owned(), Limits::default());
    front.open(Listeners { tcp: None, unix: Some(unix) });
    Some(front)
}

/// The Unix socket. What has its place is a dead server's: the lock says so.
#[cfg(unix)]
fn bind_unix(socket: &Path) -> Option<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let bind = || -> io::Result<_> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = tokio::net::UnixListener::bind(socket)?;
        // Until then, its directory keeps others out.
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    // A path may be too long for a socket; everything else works without.
    bind().inspect_err(|error| warn!(socket = %socket.display(), %error, "there is no Unix socket to connect to")).ok()
}

/// The rights of service accounts.
pub(super) fn policy(args: &ServeArgs) -> Policy {
    let service_accounts = match args.service_accounts {
        ServiceAccountsArg::View => ServiceAccountRole::View,
        ServiceAccountsArg::ClusterAdmin => ServiceAccountRole::ClusterAdmin,
    };
    Policy { service_accounts }
}

/// What a shell needs to use the server.
pub(super) fn how_to_use(kubeconfig: &Path) -> String {
    format!("export KUBECONFIG={}", shell_word(kubeconfig))
}

/// Says on standard error where the server is and what it keeps where.
fn tell(places: &Places, url: &str, merged: Option<(&Path, bool)>) {
    let mut lines =
        vec![format!("husk serves the Kubernetes API at {url}, with its data in {}", places.data.display())];
    match merged {
        Some((path, true)) => lines.push(format!("It is what clients use by default that read {}", path.display())),
        Some((path, false)) => lines.push(format!(
            "It is the context {0} in {1}: `kubectl config use-context {0}` makes it the default",
            kubeconfig::NAME,
            path.display()
        )),
        None => {}
    }
    for line in lines {
        // Nobody needs to read it.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// The signals that end a server.
#[derive(Debug)]
struct Signals {
    #[cfg(unix)]
    asked: Vec<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
            Self { asked: kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        // The system may have refused to tell of any, which it never does.
        let never = futures::future::pending().boxed();
        let any = self.asked.iter_mut().map(|signal| signal.recv().boxed()).chain([never]);
        futures::future::select_all(any).await;
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
