//! Probes as a pod's containers and its planner notice them: servers on the pod's own network, the scripted runtime,
//! and a clock that stands still unless everything waits for it.

mod exec;
mod grpc;
mod http;
mod tcp;
mod timing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, Probe};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::Target;
use super::check::{Check, CheckError, Outcome};
use crate::base::id::{ContainerId, PodUid};
use crate::base::pipe::pipe;
use crate::net::{Egress, PodNetwork, Switch, TcpListener};
use crate::runtime::fake::{FakeRuntime, Script};
use crate::runtime::{Container, ContainerConfig, ContainerRuntime as _, PodSandbox};
use crate::vfs::{MountTable, TreeFs};

/// A pod with one container that runs, in a scripted runtime.
pub(in crate::node) struct Scene {
    pub(in crate::node) runtime: FakeRuntime,
    pub(in crate::node) switch: Arc<Switch>,
    pub(in crate::node) network: Arc<PodNetwork>,
    pub(in crate::node) target: Arc<Target>,
    /// What keeps the container running.
    pub(in crate::node) container: Arc<dyn Container>,
}

impl Scene {
    /// The container `c` with these fields, in YAML.
    pub(in crate::node) async fn new(fields: &str) -> Self {
        let runtime = FakeRuntime::new();
        let switch = Switch::new(Egress::Deny);
        let network = switch.attach("web", None).unwrap();
        let container = run(&runtime, &network).await;
        let target = Target {
            pod: "p_ns(u)".to_owned(),
            container: Arc::new(spec(fields)),
            attempt: 2,
            process: Arc::downgrade(&container),
            network: Arc::clone(&network),
        };
        Self { runtime, switch, network, target: Arc::new(target), container }
    }

    /// What programs executed in the container do, one after the other.
    pub(in crate::node) fn script_execs(&self, scripts: Vec<Script>) {
        self.runtime.script_execs("c", scripts);
    }

    /// What a check of the container's readiness probe comes to, and how long it takes.
    async fn check(&self) -> (Result<Outcome, CheckError>, Duration) {
        let probe = self.target.container.readiness_probe.as_ref().unwrap();
        let check = Check::of(probe, &self.target);
        let begun = Instant::now();
        let result = check.run(&self.target).await;
        (result, begun.elapsed())
    }

    pub(in crate::node) fn listen(&self, address: &str) -> TcpListener {
        listen(&self.network, address, 16)
    }

    /// Answers one connection after the other on a port of the pod, see [`Canned`].
    pub(in crate::node) fn serve(&self, port: u16, responses: &[&str]) -> Canned {
        Canned::serve(self.listen(&format!("0.0.0.0:{port}")), responses)
    }
}

/// The defaulted spec of the container `c`.
pub(in crate::node) fn spec(fields: &str) -> ContainerSpec {
    let yaml = format!("{{metadata: {{name: p}}, spec: {{containers: [{{name: c, image: i, {fields}}}]}}}}");
    let mut pod: Pod = serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    crate::api::defaults::default_pod(&mut pod);
    pod.spec.unwrap().containers.remove(0)
}

async fn run(runtime: &FakeRuntime, network: &Arc<PodNetwork>) -> Arc<dyn Container> {
    let sandbox = PodSandbox {
        uid: PodUid("u".to_owned()),
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
        hostname: "p".to_owned(),
        network: Arc::clone(network),
        share_process_namespace: false,
        linux: None,
    };
    let config = ContainerConfig {
        id: ContainerId::random(),
        name: "c".to_owned(),
        attempt: 0,
        argv: Vec::new(),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        mounts: MountTable::builder(TreeFs::in_memory(0)).build().unwrap(),
        stdin: None,
        stdout: pipe(1).0,
        stderr: pipe(1).0,
        tty: false,
        terminal_size: None,
        ports: Vec::new(),
        memory_limit: None,
        cpu_limit_millis: None,
        linux: None,
    };
    let container = runtime.create(&sandbox, config).await.unwrap();
    container.start().await.unwrap();
    container
}

pub(in crate::node) fn listen(network: &Arc<PodNetwork>, address: &str, backlog: usize) -> TcpListener {
    network.listen(network.bind_tcp(address.parse().unwrap()).unwrap(), backlog).unwrap()
}

pub(in crate::node) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that answers the first connection with the first response, the second with the second, and all further ones
/// with the last; and keeps what it was asked. Connections are closed after the response, except after one that ends in
/// `<open>`, and reset without one if it is `<reset>`.
#[derive(Clone, Default)]
pub(in crate::node) struct Canned {
    requests: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    fn serve(listener: TcpListener, responses: &[&str]) -> Self {
        let responses: Vec<String> = responses.iter().map(ToString::to_string).collect();
        let server = Self::default();
        let serving = server.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok(stream) = listener.accept().await else { return };
                let response = responses.get(connection).or(responses.last()).cloned().unwrap();
                if response == "<reset>" {
                    stream.reset();
                } else {
                    tokio::spawn(serving.clone().answer(stream, response));
                }
            }
        });
        server
    }

    /// Reads one request, or whatever comes first if that is not HTTP, and writes the response.
    async fn answer(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, response: String) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && (request.is_empty() || request.starts_with(b"GET ")) {
            if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
                break;
            }
        }
        lock(&self.requests).push(String::from_utf8_lossy(&request).into_owned());
        let kept_open = response.strip_suffix("<open>");
        stream.write_all(kept_open.unwrap_or(&response).as_bytes()).await.unwrap();
        if kept_open.is_some() {
            std::future::pending::<()>().await;
        }
        // Closing with something unread would reset the connection.
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }

    /// All requests so far.
    pub(in crate::node) fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }
}

/// A complete response with a body.
pub(in crate::node) fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The readiness probe of a container with these fields of it, in YAML.
async fn scene_with_probe(probe: &str) -> Scene {
    Scene::new(&format!("readinessProbe: {{{probe}}}")).await
}

fn failure(text: &str) -> Result<Outcome, CheckError> {
    Ok(Outcome::Failure(text.to_owned()))
}

fn errored(text: &str) -> Result<Outcome, CheckError> {
    Err(CheckError::Errored(text.to_owned()))
}

#[tokio::test]
async fn ports_are_numbers_or_names_of_the_containers_own() {
    let ports = "ports: [{name: web, containerPort: 8080}, {name: '90', containerPort: 9090}]";
    let container = Arc::new(spec(ports));
    for (port, expected) in [
        ("8081", Ok(8081)),
        ("web", Ok(8080)),
        ("'90'", Ok(9090)),
        ("'8082'", Ok(8082)),
        ("other", Err("strconv.Atoi: parsing \"other\": invalid syntax".to_owned())),
        ("'70000'", Err("invalid port number: 70000".to_owned())),
        ("0", Err("invalid port number: 0".to_owned())),
    ] {
        let probe: Probe = serde_yaml::from_str(&format!("{{tcpSocket: {{port: {port}}}}}")).unwrap();
        let actual = super::check::resolve_port(&probe.tcp_socket.unwrap().port, &container);
        assert_eq!(actual, expected, "{port}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_does_not_exist_makes_every_check_err() {
    for action in ["tcpSocket: {port: none}", "httpGet: {port: none}"] {
        let scene = scene_with_probe(action).await;
        assert_eq!(scene.check().await.0, errored("strconv.Atoi: parsing \"none\": invalid syntax"), "{action}");
    }
}
