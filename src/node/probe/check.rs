//! One check of a probe: made ready when the probes of an instance start, so that making it costs little.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Target;
use super::dial::Address;
use super::exec::ExecCheck;
use super::grpc::HealthCheck;
use super::http::{HttpGet, Purpose};

/// How often a check is tried that cannot be made (kubelet v1.36 `maxProbeRetries`).
const MAX_TRIES: usize = 3;

/// What came out of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The container passes.
    Success,
    /// It passes, and the user should know something.
    Warning(String),
    /// It does not, with what there is to say.
    Failure(String),
}

/// Why a check says nothing about the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CheckError {
    /// It could not be made.
    Errored(String),
    /// The container has ended.
    NotRunning,
}

/// What a probe does, and for how long.
#[derive(Debug)]
pub(super) struct Check {
    action: Action,
    timeout: Duration,
}

#[derive(Debug)]
enum Action {
    Exec(ExecCheck),
    HttpGet(Box<HttpGet>),
    TcpSocket(Address),
    Grpc(HealthCheck),
    /// It cannot be made, for this reason.
    Impossible(String),
}

impl Check {
    /// The check of a probe of `target`. One that cannot be made errs whenever it is due.
    pub(super) fn of(probe: &Probe, target: &Target) -> Self {
        let action = action(probe, target).unwrap_or_else(Action::Impossible);
        Self { action, timeout: seconds(probe.timeout_seconds).max(Duration::from_secs(1)) }
    }

    /// Makes the check; one that errs is made again at once, up to three times in all.
    pub(super) async fn run(&self, target: &Target) -> Result<Outcome, CheckError> {
        for _ in 1..MAX_TRIES {
            match self.try_once(target).await {
                Err(CheckError::Errored(_)) => {}
                result => return result,
            }
        }
        self.try_once(target).await
    }

    /// Whatever takes more room than a connection is boxed: there is a task for every probe of the node.
    async fn try_once(&self, target: &Target) -> Result<Outcome, CheckError> {
        let network = &target.network;
        match &self.action {
            Action::TcpSocket(address) => Ok(super::tcp::check(address, network, self.timeout).await),
            Action::HttpGet(get) => Box::pin(get.check(network, self.timeout)).await.map_err(CheckError::Errored),
            Action::Exec(exec) => Box::pin(exec.check(&target.process, self.timeout)).await,
            Action::Grpc(health) => Ok(Box::pin(health.check(network, self.timeout)).await),
            Action::Impossible(reason) => Err(CheckError::Errored(reason.clone())),
        }
    }
}

fn action(probe: &Probe, target: &Target) -> Result<Action, String> {
    let Target { container, network, .. } = target;
    if let Some(exec) = &probe.exec {
        ExecCheck::new(exec, container).map(Action::Exec)
    } else if let Some(get) = &probe.http_get {
        HttpGet::new(get, container, network, Purpose::Probe).map(Box::new).map(Action::HttpGet)
    } else if let Some(socket) = &probe.tcp_socket {
        let port = resolve_port(&socket.port, container)?;
        Ok(Action::TcpSocket(Address::new(socket.host.as_deref(), port, network)))
    } else if let Some(grpc) = &probe.grpc {
        let port = resolve_port(&IntOrString::Int(grpc.port), container)?;
        let address = Address::new(None, port, network);
        Ok(Action::Grpc(HealthCheck::new(address, grpc.service.clone().unwrap_or_default())))
    } else {
        Err(format!("missing probe handler for {}:{}", target.pod, container.name))
    }
}

/// The number of a port: a name is looked up among the container's own ports, then read as a number (kubelet v1.36
/// `probe.ResolveContainerPort`).
pub(super) fn resolve_port(port: &IntOrString, container: &Arc<ContainerSpec>) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(name) => {
            let mut declared = container.ports.iter().flatten();
            match declared.find(|port| port.name.as_deref() == Some(name)) {
                Some(port) => i64::from(port.container_port),
                None => {
                    name.parse().map_err(|_not_a_number| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?
                }
            }
        }
    };
    let valid = u16::try_from(number).ok().filter(|port| *port > 0);
    valid.ok_or_else(|| format!("invalid port number: {number}"))
}

/// A number of seconds of the API; a missing or negative one is none.
pub(super) fn seconds(value: Option<i32>) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default())
}
