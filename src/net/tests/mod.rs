//! What programs on the switch notice. Real pipes and real sockets; nothing here waits by the clock.

mod edges;
mod names;
mod services;
mod tcp;
mod udp;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::{Egress, NetError, PodNetwork, Switch, TcpListener, TcpStream};

/// An address of this machine that is not loopback and that a test may use, named by `HUSK_TEST_OUTSIDE_IP`: `.ci/run`
/// makes one in a network namespace. Without it the test cannot run here, and says so past the capture of its output.
pub(super) fn outside_ip(test: &str) -> Option<IpAddr> {
    let ip = std::env::var("HUSK_TEST_OUTSIDE_IP").ok().map(|ip| ip.parse().unwrap());
    if ip.is_none() {
        let _ = writeln!(std::io::stderr(), "not run here: {test}: HUSK_TEST_OUTSIDE_IP names no address");
    }
    ip
}

/// A pod alone on a switch without egress.
fn pod() -> Arc<PodNetwork> {
    Switch::new(Egress::Deny).attach("web-0", None).unwrap()
}

/// Two pods on a switch without egress.
fn pods() -> (Arc<PodNetwork>, Arc<PodNetwork>) {
    let switch = Switch::new(Egress::Deny);
    (switch.attach("web-0", None).unwrap(), switch.attach("web-1", None).unwrap())
}

/// Parses an address; `POD` stands for the pod's own.
fn at(pod: &PodNetwork, address: &str) -> SocketAddr {
    let address = address.replace("POD", &pod.ips()[0].to_string());
    address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn listen(pod: &Arc<PodNetwork>, address: &str) -> Result<TcpListener, NetError> {
    pod.listen(pod.bind_tcp(at(pod, address))?, 16)
}

async fn connect(pod: &Arc<PodNetwork>, address: &str) -> Result<TcpStream, NetError> {
    pod.connect(None, at(pod, address)).await
}

/// A connection over the pod's loopback: the client's end and the server's.
async fn connection(pod: &Arc<PodNetwork>) -> (TcpStream, TcpStream) {
    let listener = listen(pod, "127.0.0.1:0").unwrap();
    let client = pod.connect(None, listener.local_addr()).await.unwrap();
    (client, listener.accept().await.unwrap())
}

async fn read(stream: &TcpStream) -> Option<Bytes> {
    stream.reader.read(usize::MAX).await.unwrap()
}

async fn write(stream: &TcpStream, text: &'static str) {
    stream.writer.write_all(Bytes::from_static(text.as_bytes())).await.unwrap();
}
