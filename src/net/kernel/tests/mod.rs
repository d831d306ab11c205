//! Pods with a kernel side: real namespaces, real programs in them, both kinds of containers meeting each other.
//!
//! A Python program stands in for the sandbox process (`namespace.py`); native containers are Python programs too.

mod from_native;
mod hostile;
mod local;
mod namespace;
mod to_native;

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use self::namespace::{Namespace, Program, WithoutDevice};
use crate::net::{Egress, KernelReach, PodNetwork, Switch, TcpListener, TcpStream};

/// A pod with a kernel side, and its namespace. `None` where this machine doesn't let us make one, which is said.
async fn native_pod(switch: &Arc<Switch>, test: &str) -> Option<(Arc<PodNetwork>, Arc<Namespace>)> {
    let pod = switch.attach("native-0", None).unwrap();
    let namespace = attach(&pod, test).await?;
    Some((pod, namespace))
}

/// Gives a pod a kernel side.
async fn attach(pod: &Arc<PodNetwork>, test: &str) -> Option<Arc<Namespace>> {
    let reason = match Namespace::start().await.map(Arc::new) {
        Err(reason) => reason,
        Ok(namespace) => match pod.attach_kernel(Arc::clone(&namespace) as _).await.unwrap() {
            KernelReach::Everything => return Some(namespace),
            KernelReach::OwnPod(reason) => format!("no device: {reason}"),
        },
    };
    not_run(test, &reason);
    None
}

/// Says, past the capture of the test's output, that this machine doesn't let it run.
fn not_run(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "not run here: {test}: {reason}");
}

fn switch() -> Arc<Switch> {
    Switch::new(Egress::Deny)
}

fn ip(pod: &PodNetwork) -> String {
    pod.ips()[0].to_string()
}

fn listen(pod: &Arc<PodNetwork>, address: &str) -> TcpListener {
    pod.listen(pod.bind_tcp(address.parse().unwrap()).unwrap(), 128).unwrap()
}

async fn read_all(stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.reader.read(usize::MAX).await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

async fn write(stream: &TcpStream, text: &str) {
    stream.writer.write_all(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
}

/// What a program does first in these tests.
const PRELUDE: &str =
    "import socket, sys, threading, hashlib, os, struct, errno, time\nsys.stdout.reconfigure(line_buffering=True)\n";

/// Runs a Python program in the namespace.
async fn python(namespace: &Arc<Namespace>, program: &str) -> Program {
    namespace.run(&["python3", "-c", &format!("{PRELUDE}{program}")]).await
}

/// Runs a Python program to its end; its output.
async fn output(namespace: &Arc<Namespace>, program: &str) -> String {
    python(namespace, program).await.output().await
}
