//! A network namespace held by another process, and programs in it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use socket2::Socket;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

use crate::net::kernel::{DeviceConfig, KernelNamespace, SocketKind};

/// The namespace; gone when dropped, with all that runs in it.
#[derive(Debug)]
pub(super) struct Namespace {
    control: Mutex<UnixDatagram>,
    process: Mutex<Child>,
}

impl Namespace {
    /// Makes a namespace: as root, or in a user namespace.
    pub(super) async fn start() -> Result<Self, String> {
        let (control, theirs) = UnixDatagram::pair().map_err(|error| error.to_string())?;
        let is_rootless = std::env::var_os("HUSK_TEST_ROOTLESS").is_some() || !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.args(if is_rootless { &["--user", "--map-root-user", "--net"][..] } else { &["--net"] });
        command.args(["python3", "-c", include_str!("namespace.py")]).stdin(Stdio::from(OwnedFd::from(theirs)));
        let process = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let namespace = Self { control: Mutex::new(control), process: Mutex::new(process) };
        // Where it cannot be made, the process ends, and the other end of the socket with it.
        namespace.receive().map_err(|error| format!("no network namespace: {error}"))?;
        Ok(namespace)
    }

    fn receive(&self) -> io::Result<(serde_json::Value, Vec<OwnedFd>)> {
        let control = self.control.lock().unwrap();
        receive(&control)
    }

    fn ask(&self, request: serde_json::Value) -> io::Result<(serde_json::Value, Vec<OwnedFd>)> {
        let control = self.control.lock().unwrap();
        control.send(request.to_string().as_bytes())?;
        receive(&control)
    }

    /// Runs a program in the namespace.
    pub(super) async fn run(self: &Arc<Self>, argv: &[&str]) -> Program {
        let (answer, mut fds) = self.ask(serde_json::json!({"do": "run", "argv": argv})).unwrap();
        let output = pipe::Receiver::from_owned_fd(fds.pop().unwrap()).unwrap();
        let input = fds.pop();
        let pid = answer["pid"].as_i64().unwrap();
        Program { namespace: Arc::clone(self), pid, input, output: BufReader::new(output) }
    }
}

fn receive(control: &UnixDatagram) -> io::Result<(serde_json::Value, Vec<OwnedFd>)> {
    control.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let mut bytes = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(control, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let answer: serde_json::Value = serde_json::from_slice(&bytes[..received.bytes])?;
    match answer["error"].as_i64() {
        Some(errno) => Err(io::Error::from_raw_os_error(i32::try_from(errno).unwrap())),
        None => Ok((answer, fds)),
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.process.lock().unwrap().kill();
        let _ = self.process.lock().unwrap().wait();
    }
}

impl KernelNamespace for Namespace {
    fn socket(&self, kind: SocketKind) -> BoxFuture<'_, io::Result<Socket>> {
        let v6 = matches!(kind, SocketKind::TcpV6 | SocketKind::UdpV6);
        let tcp = matches!(kind, SocketKind::TcpV4 | SocketKind::TcpV6);
        let opened = self.ask(serde_json::json!({"do": "socket", "v6": v6, "tcp": tcp}));
        std::future::ready(opened.map(|(_, mut fds)| fds.pop().unwrap().into())).boxed()
    }

    fn open_device<'a>(&'a self, device: &'a DeviceConfig) -> BoxFuture<'a, io::Result<OwnedFd>> {
        let opened = self.ask(serde_json::json!({
            "do": "device", "name": device.name, "address": device.address.to_string(), "prefix": device.prefix,
            "mtu": device.mtu,
        }));
        std::future::ready(opened.map(|(_, mut fds)| fds.pop().unwrap())).boxed()
    }

    fn set_sysctl<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let set = self.ask(serde_json::json!({"do": "sysctl", "name": name, "value": value}));
        std::future::ready(set.map(|_| ())).boxed()
    }
}

/// The same namespace where no device can be made.
#[derive(Debug)]
pub(super) struct WithoutDevice(pub(super) Arc<Namespace>);

impl KernelNamespace for WithoutDevice {
    fn socket(&self, kind: SocketKind) -> BoxFuture<'_, io::Result<Socket>> {
        self.0.socket(kind)
    }

    fn open_device<'a>(&'a self, _device: &'a DeviceConfig) -> BoxFuture<'a, io::Result<OwnedFd>> {
        std::future::ready(Err(io::ErrorKind::PermissionDenied.into())).boxed()
    }

    fn set_sysctl<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.0.set_sysctl(name, value)
    }
}

/// A program in a namespace, killed when dropped.
#[derive(Debug)]
pub(super) struct Program {
    namespace: Arc<Namespace>,
    pid: i64,
    input: Option<OwnedFd>,
    output: BufReader<pipe::Receiver>,
}

impl Program {
    /// The next line it says; empty at the end.
    pub(super) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Everything else it says.
    pub(super) async fn output(mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).await.unwrap();
        text.trim_end().to_owned()
    }

    /// Ends its standard input.
    pub(super) fn end_input(&mut self) {
        self.input = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.namespace.ask(serde_json::json!({"do": "kill", "pid": self.pid}));
    }
}
