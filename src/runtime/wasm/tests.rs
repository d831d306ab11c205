//! Containers on the real engine: guests of `wasm-apps/tests` in a pod of their own, in real time.

mod containers;
mod control;
mod dns;
mod https;
mod limits;
mod processes;
mod programs;
mod serving;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::container::WasmContainer;
use super::{WasmRuntime, WasmRuntimeConfig};
use crate::base::id::{ContainerId, PodUid};
use crate::base::pipe::{PipeReader, pipe};
use crate::net::{Egress, Switch};
use crate::runtime::{Container, ContainerConfig, ContainerPort, ExecRequest, ExitStatus, PodSandbox, RuntimeError};
use crate::vfs::{MemoryFile, MountTable, TreeFs};

/// How long anything may take before a test counts as hanging: much longer than it does on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

const MEBIBYTE: u64 = 1 << 20;

/// One runtime for all tests, so that each guest is compiled once; the compiled code is kept for the next run.
fn runtime() -> &'static Arc<WasmRuntime> {
    static RUNTIME: OnceLock<Arc<WasmRuntime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        WasmRuntime::new(WasmRuntimeConfig { cache_dir: Some(cache_dir()), ..WasmRuntimeConfig::default() }).unwrap()
    })
}

fn cache_dir() -> PathBuf {
    Path::new(env!("HUSK_GUESTS_DIR")).join("compiled")
}

/// The bytes of a guest, such as `p1/hello`.
fn guest(name: &str) -> Bytes {
    std::fs::read(Path::new(env!("HUSK_GUESTS_DIR")).join(format!("{name}.wasm"))).unwrap().into()
}

fn wat(text: &str) -> Bytes {
    wat::parse_str(text).unwrap().into()
}

/// A pod with nothing in it.
struct Pod {
    sandbox: PodSandbox,
}

impl Pod {
    fn new() -> Self {
        let switch = Switch::new(Egress::Deny);
        let sandbox = PodSandbox {
            uid: PodUid::random(),
            namespace: "default".to_owned(),
            name: "pod".to_owned(),
            hostname: "pod".to_owned(),
            network: switch.attach("pod", None).unwrap(),
            share_process_namespace: false,
            linux: None,
        };
        Self { sandbox }
    }

    async fn create(&self, setup: Setup) -> Result<Running, RuntimeError> {
        self.create_on(runtime(), setup).await
    }

    async fn create_on(&self, runtime: &WasmRuntime, setup: Setup) -> Result<Running, RuntimeError> {
        let (stdout_writer, stdout) = pipe(MEBIBYTE as usize);
        let (stderr_writer, stderr) = pipe(MEBIBYTE as usize);
        let config = ContainerConfig {
            id: ContainerId::random(),
            name: "app".to_owned(),
            attempt: 0,
            argv: setup.argv,
            env: setup.env,
            working_dir: "/".to_owned(),
            mounts: setup.mounts,
            stdin: setup.stdin,
            stdout: stdout_writer,
            stderr: stderr_writer,
            tty: setup.tty,
            terminal_size: None,
            ports: setup.ports,
            memory_limit: setup.memory_limit,
            cpu_limit_millis: setup.cpu_limit_millis,
            linux: None,
        };
        let container = WasmContainer::create(&runtime.core, &self.sandbox, config).await?;
        Ok(Running { container, stdout, stderr })
    }

    async fn start(&self, setup: Setup) -> Running {
        let running = self.create(setup).await.unwrap();
        running.container.start().await.unwrap();
        running
    }
}

/// What a test's container is made of.
struct Setup {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    mounts: MountTable,
    stdin: Option<PipeReader>,
    tty: bool,
    ports: Vec<ContainerPort>,
    memory_limit: Option<u64>,
    cpu_limit_millis: Option<u64>,
}

impl Setup {
    /// A container with `programs` in `/bin` that runs the command line `command`.
    fn new(command: &str, programs: &[(&str, Bytes)]) -> Self {
        let files: Vec<_> =
            programs.iter().map(|(name, bytes)| (format!("/bin/{name}"), bytes.clone(), 0o755)).collect();
        Self::with_files(command, &files)
    }

    /// A container whose only program, `app`, is a guest.
    fn guest(name: &str, arguments: &str) -> Self {
        Self::new(&format!("app {arguments}"), &[("app", guest(name))])
    }

    fn with_files(command: &str, files: &[(String, Bytes, u32)]) -> Self {
        let mut mounts = MountTable::builder(TreeFs::in_memory(MEBIBYTE));
        for (path, bytes, mode) in files {
            mounts = mounts.mount(path, MemoryFile::generated(bytes.to_vec(), *mode), true);
        }
        Self {
            argv: command.split_whitespace().map(str::to_owned).collect(),
            env: Vec::new(),
            mounts: mounts.build().unwrap(),
            stdin: None,
            tty: false,
            ports: Vec::new(),
            memory_limit: None,
            cpu_limit_millis: None,
        }
    }

    fn port(mut self, port: u16) -> Self {
        self.ports.push(ContainerPort { port, udp: false });
        self
    }
}

/// A container and what it prints.
struct Running {
    container: WasmContainer,
    stdout: PipeReader,
    stderr: PipeReader,
}

impl Running {
    async fn ends(&self) -> ExitStatus {
        timeout(PATIENCE, self.container.wait()).await.expect("the container should end")
    }

    /// Waits for a line on standard output.
    async fn prints(&self, line: &str) {
        assert_eq!(next_line(&self.stdout).await.as_deref(), Some(line));
    }
}

/// The next line, without its end; `None` at the end of the stream.
async fn next_line(stream: &PipeReader) -> Option<String> {
    let mut line = Vec::new();
    loop {
        match timeout(PATIENCE, stream.read(1)).await.expect("a line should come").unwrap() {
            Some(byte) if byte == "\n" => return Some(String::from_utf8(line).unwrap()),
            Some(byte) => line.extend_from_slice(&byte),
            None => return (!line.is_empty()).then(|| String::from_utf8(line).unwrap()),
        }
    }
}

/// Everything up to the end of the stream.
async fn rest(stream: &PipeReader) -> String {
    let mut text = Vec::new();
    while let Some(bytes) = timeout(PATIENCE, stream.read(usize::MAX)).await.expect("the stream should end").unwrap() {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).unwrap()
}

/// Starts a program in a container, with room for so many bytes on its standard output.
async fn start_exec(
    container: &WasmContainer,
    command: &str,
    room: usize,
) -> Result<(Arc<dyn Container>, PipeReader), RuntimeError> {
    let (stdout_writer, stdout) = pipe(room);
    let (stderr_writer, _stderr) = pipe(MEBIBYTE as usize);
    let argv = command.split_whitespace().map(str::to_owned).collect();
    let request = ExecRequest { argv, stdin: None, stdout: stdout_writer, stderr: stderr_writer, tty: false };
    Ok((container.exec(request).await?, stdout))
}

/// Runs a program in a container and returns its status and standard output.
async fn exec(container: &WasmContainer, command: &str) -> Result<(ExitStatus, String), RuntimeError> {
    let (process, stdout) = start_exec(container, command, MEBIBYTE as usize).await?;
    let status = timeout(PATIENCE, process.wait()).await.expect("the program should end");
    Ok((status, rest(&stdout).await))
}
