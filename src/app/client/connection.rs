//! The way to a server: found by a kubeconfig, or by the data directory, where it may also be a `husk run` that is under
//! way; requests in JSON, failures as Kubernetes words them.

use anyhow::Context;
use http::Request;
#[cfg(unix)]
use hyper_util::rt::{TokioExecutor, TokioIo};
#[cfg(unix)]
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
#[cfg(unix)]
use tower::Layer;

use super::super::paths::Paths;
use super::super::runs::{self, RunUnderWay};
use super::super::serve::{NoServer, find_server};
use crate::cli::Global;
use crate::cli::connection::ConnectionArgs;

/// Asks for a table, as `kubectl get` does.
pub(super) const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Asks for objects as they are.
pub(super) const AS_JSON: &str = "application/json";

/// What a server is called that is reached by a socket.
#[cfg(unix)]
const LOCAL_URL: &str = "http://localhost";

/// A server and the namespace that is meant when none is named.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// Whether the namespace was named by an option.
    pub(super) namespace_named: bool,
}

impl Connection {
    /// Finds the server. Nothing is sent yet.
    pub(super) async fn open(global: &Global, args: &ConnectionArgs) -> anyhow::Result<Self> {
        let kubeconfig = match find(global, args)? {
            Found::Kubeconfig(kubeconfig) => *kubeconfig,
            Found::Run(run) => return Self::to_run(&run, args),
        };
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let address = config.cluster_url.to_string();
        let client = Client::try_from(config).with_context(|| format!("cannot talk to {address}"))?;
        Ok(Self { client, namespace, namespace_named: args.namespace.is_some() })
    }

    /// The way to a run: HTTP over its socket.
    #[cfg(unix)]
    fn to_run(run: &RunUnderWay, args: &ConnectionArgs) -> anyhow::Result<Self> {
        let namespace = args.namespace.clone().unwrap_or_else(|| run.namespace.clone());
        let (socket, pid) = (run.socket.clone(), run.pid);
        let connect = tower::service_fn(move |_: http::Uri| {
            let socket = socket.clone();
            Box::pin(async move {
                let connected = tokio::net::UnixStream::connect(socket).await;
                Ok::<_, std::io::Error>(TokioIo::new(connected.map_err(|_| std::io::Error::other(RunHasEnded(pid)))?))
            })
        });
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connect);
        let base = Config::new(LOCAL_URL.parse()?).base_uri_layer();
        let client = Client::new(base.layer(http), namespace.clone());
        Ok(Self { client, namespace, namespace_named: args.namespace.is_some() })
    }

    #[cfg(not(unix))]
    fn to_run(_: &RunUnderWay, _: &ConnectionArgs) -> anyhow::Result<Self> {
        anyhow::bail!("the pods of `husk run` cannot be reached on this system")
    }

    /// Sends a request and gives the answer's text.
    pub(super) async fn text(&self, request: Request<Vec<u8>>) -> Result<String, kube::Error> {
        self.client.request_text(request).await
    }

    /// Gets what is at a path.
    pub(super) async fn get(&self, path: &str, accept: &str) -> anyhow::Result<Value> {
        let text = self.text(Request::get(path).header(http::header::ACCEPT, accept).body(Vec::new())?).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Sends JSON, or a patch in it, and gives what is answered.
    pub(super) async fn put(
        &self,
        method: http::Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::ACCEPT, AS_JSON)
            .header(http::header::CONTENT_TYPE, content_type)
            .body(body.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        serde_json::from_str(&self.text(request).await?).map_err(kube::Error::SerdeError)
    }
}

/// The run that was talked to is not there any more.
#[derive(Debug, thiserror::Error)]
#[error("the `husk run` of process {0} has ended")]
struct RunHasEnded(u32);

/// What was found.
enum Found {
    Kubeconfig(Box<Kubeconfig>),
    Run(RunUnderWay),
}

fn find(global: &Global, args: &ConnectionArgs) -> anyhow::Result<Found> {
    let found = |kubeconfig| Ok(Found::Kubeconfig(Box::new(kubeconfig)));
    if let Some(pid) = args.run {
        return Ok(Found::Run(runs::find(&Paths::new(global)?, pid)?));
    }
    if let Some(path) = &args.kubeconfig {
        return found(Kubeconfig::read_from(path).with_context(|| format!("cannot use {}", path.display()))?);
    }
    if let Some(kubeconfig) = Kubeconfig::from_env().context("cannot use $KUBECONFIG")? {
        return found(kubeconfig);
    }
    if args.context.is_some() {
        return found(Kubeconfig::read()?);
    }
    let paths = Paths::new(global)?;
    let path = match find_server(&paths) {
        Ok(server) => server.kubeconfig,
        Err(none @ NoServer::NotRunning { .. }) => {
            return runs::only(&paths)?.map(Found::Run).ok_or_else(|| none.into());
        }
        Err(error) => return Err(error.into()),
    };
    found(Kubeconfig::read_from(&path).with_context(|| format!("cannot use {}", path.display()))?)
}

/// Whether the server says that something is not there.
pub(super) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// An error as `kubectl` words it, in one or more lines. `doing` is told where kubectl tells it.
pub(super) fn describe_error(error: &anyhow::Error) -> String {
    let api = error.chain().find_map(|cause| match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status),
        _ => None,
    });
    // How the client came to know does not matter.
    let inner = |cause: &'_ (dyn std::error::Error + 'static)| {
        let ended = cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref::<RunHasEnded>()?;
        Some(ended.to_string())
    };
    if let Some(ended) = error.chain().find_map(inner) {
        return format!("error: {ended}");
    }
    let Some(status) = api else { return format!("error: {error:#}") };
    // What was being done, told before the server's message.
    let doing: String =
        error.chain().take_while(|cause| !cause.is::<kube::Error>()).map(|cause| format!("{cause}: ")).collect();
    if status.code == 401 {
        return "error: You must be logged in to the server (Unauthorized)".to_owned();
    }
    if status.reason == "Invalid"
        && let Some(text) = invalid(status)
    {
        return text;
    }
    match status.reason.as_str() {
        "" => format!("Error from server: {doing}{}", status.message),
        reason => format!("Error from server ({reason}): {doing}{}", status.message),
    }
}

/// What is wrong with an object, a line each if that are several things.
fn invalid(status: &kube::core::Status) -> Option<String> {
    let details = status.details.as_ref()?;
    let head = match (details.kind.as_str(), details.name.as_str()) {
        ("", "") => "The request is invalid".to_owned(),
        (kind, name) => format!("The {kind} {name:?} is invalid"),
    };
    let causes = details.causes.iter().map(|cause| match cause.field.as_str() {
        "" => cause.message.clone(),
        field => format!("{field}: {}", cause.message),
    });
    let mut lines: Vec<String> = Vec::new();
    for cause in causes {
        if !lines.contains(&cause) {
            lines.push(cause);
        }
    }
    Some(match &lines[..] {
        [] => head,
        [one] => format!("{head}: {one}"),
        several => format!("{head}: \n* {}", several.join("\n* ")),
    })
}
