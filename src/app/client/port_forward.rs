//! `husk port-forward`: connections to ports of this machine lead to a pod, each by a stream of its own.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::pods;
use crate::cli::port_forward::{ForwardSpec, PortForwardArgs};
use crate::cli::print::object::{list, text};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 256;

/// Runs the verb: until the user has enough of it.
pub(super) async fn run(connection: &Connection, args: &PortForwardArgs) -> anyhow::Result<u8> {
    let (pod, service) = target(connection, &args.target).await?;
    if text(&pod, &["status", "phase"]) != "Running" {
        bail!("unable to forward port because pod is not running. Current status={}", text(&pod, &["status", "phase"]));
    }
    let name = text(&pod, &["metadata", "name"]).to_owned();
    let api = Api::<Pod>::namespaced(connection.client.clone(), &connection.namespace);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut listening = Vec::new();
    for spec in &args.ports {
        let (remote, same) = ports(&pod, service.as_ref(), spec)?;
        for listener in listen(&args.address, spec.local.unwrap_or(same)).await? {
            writeln!(std::io::stdout(), "Forwarding from {} -> {remote}", listener.local_addr()?)?;
            listening.push(tokio::spawn(forward(listener, api.clone(), name.clone(), remote, Arc::clone(&room))));
        }
    }
    std::io::stdout().flush()?;
    for task in listening {
        task.await?;
    }
    Ok(0)
}

/// The pod that is meant, and the service that led to it.
async fn target(connection: &Connection, word: &str) -> anyhow::Result<(Value, Option<Value>)> {
    let Some(("service" | "services" | "svc", name)) = word.split_once('/') else {
        return Ok((pods::find(connection, word).await?, None));
    };
    let (service, pods) = pods::behind_service(connection, name).await?;
    let running = pods.into_iter().find(|pod| text(pod, &["status", "phase"]) == "Running");
    let pod = running.with_context(|| format!("no running pod is behind service {name}"))?;
    Ok((pod, Some(service)))
}

/// The pod's port, and the one that was named.
fn ports(pod: &Value, service: Option<&Value>, spec: &ForwardSpec) -> anyhow::Result<(u16, u16)> {
    let Some(service) = service else {
        let port = pod_port(pod, &Value::String(spec.remote.clone()))?;
        return Ok((port, port));
    };
    let number = |port: &Value| port.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let wanted = |port: &&Value| {
        text(port, &["name"]) == spec.remote || number(port).is_some_and(|port| port.to_string() == spec.remote)
    };
    let found = list(service, &["spec", "ports"]).iter().find(wanted);
    let found = found.with_context(|| {
        format!("Service {} does not have a service port {}", text(service, &["metadata", "name"]), spec.remote)
    })?;
    let port = number(found).context("the service's port has no number")?;
    let target = found.get("targetPort").cloned().unwrap_or(Value::from(port));
    let headless = text(service, &["spec", "clusterIP"]) == "None";
    Ok((if headless { port } else { pod_port(pod, &target)? }, port))
}

/// A port of a pod, by number or name.
fn pod_port(pod: &Value, port: &Value) -> anyhow::Result<u16> {
    let number = port.as_u64().or_else(|| port.as_str()?.parse().ok());
    if let Some(number) = number {
        return u16::try_from(number).ok().filter(|port| *port > 0).with_context(|| format!("{number} is not a port"));
    }
    let name = port.as_str().unwrap_or_default();
    let containers = list(pod, &["spec", "containers"]).iter();
    let mut ports = containers.flat_map(|container| list(container, &["ports"]));
    let found = ports.find(|port| text(port, &["name"]) == name);
    let number = found.and_then(|port| port.get("containerPort")).and_then(Value::as_u64);
    let number = number.and_then(|port| u16::try_from(port).ok());
    number.with_context(|| format!("Pod '{}' does not have a named port '{name}'", text(pod, &["metadata", "name"])))
}

async fn listen(addresses: &[String], port: u16) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = port;
    for address in addresses {
        if address == "localhost" {
            let first = bind(Ipv4Addr::LOCALHOST.into(), port).await?;
            // The same port on both, as far as this machine has IPv6.
            port = first.local_addr()?.port();
            listeners.push(first);
            listeners.extend(bind(Ipv6Addr::LOCALHOST.into(), port).await.ok());
        } else {
            let ip: IpAddr = address.parse().with_context(|| format!("{address} is not a valid IP"))?;
            listeners.push(bind(ip, port).await?);
        }
    }
    Ok(listeners)
}

async fn bind(ip: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).await.with_context(|| format!("unable to listen on {address}"))
}

async fn forward(listener: TcpListener, api: Api<Pod>, pod: String, remote: u16, room: Arc<Semaphore>) {
    let local = listener.local_addr().map_or(0, |address| address.port());
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // There are too many open files: some will be closed.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let _ = writeln!(std::io::stdout(), "Handling connection for {local}");
        let (api, pod) = (api.clone(), pod.clone());
        tokio::spawn(async move {
            if let Err(error) = one(&api, &pod, remote, stream).await {
                let _ = writeln!(std::io::stderr(), "error: forwarding {local} -> {remote}: {error:#}");
            }
            drop(permit);
        });
    }
}

async fn one(api: &Api<Pod>, pod: &str, port: u16, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut forwarder = api.portforward(pod, &[port]).await?;
    let mut remote = forwarder.take_stream(port).context("there is no stream")?;
    let trouble = forwarder.take_error(port).context("there is no stream of errors")?;
    let copied = tokio::io::copy_bidirectional(&mut stream, &mut remote).await;
    drop(remote);
    forwarder.abort();
    if let Some(trouble) = trouble.await {
        bail!(trouble);
    }
    // Either side may just go away.
    drop(copied);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_found_by_name_through_services() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}});
        let service =
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}});
        let spec = |text: &str| text.parse::<ForwardSpec>().unwrap();
        assert_eq!(ports(&pod, None, &spec("web")).unwrap(), (8080, 8080));
        assert_eq!(ports(&pod, Some(&service), &spec("http")).unwrap(), (8080, 80));
        assert_eq!(ports(&pod, Some(&service), &spec("1:80")).unwrap(), (8080, 80));
        assert!(
            ports(&pod, Some(&service), &spec("81"))
                .unwrap_err()
                .to_string()
                .contains("does not have a service port 81")
        );
        assert!(ports(&pod, None, &spec("x")).unwrap_err().to_string().contains("does not have a named port 'x'"));
    }
}
