//! Pods on the Linux runtime, with an image of Debian's busybox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use husk::base::id::{ContainerId, PodUid};
use husk::base::pipe::{PipeReader, pipe};
use husk::net::{Egress, Switch};
use husk::runtime::linux::{LinuxRuntime, LinuxRuntimeConfig};
use husk::runtime::{
    Container, ContainerConfig, ContainerRuntime, ExecRequest, LinuxContainerConfig, LinuxPodSandboxConfig, Mount,
    PodSandbox,
};
use husk::vfs::{MountTable, TreeFs};
use tokio::time::Instant;

use super::Measured;
use crate::PEER;

/// As the node limits it where nobody says otherwise.
const PIDS_LIMIT: u64 = 2048;

/// Bytes of output that may wait.
const OUTPUT: usize = 64 * 1024;

/// Where this program is in a container of its own.
pub(super) const OWN: &str = "/bench";

/// The runtime, and where its pods are.
pub(super) struct Keeper {
    runtime: Arc<LinuxRuntime>,
    switch: Arc<Switch>,
    directory: PathBuf,
    layer: PathBuf,
}

/// A container of this program, and what it prints.
pub(super) struct Peer {
    container: Measured,
    stdout: PipeReader,
}

/// What this program needs in a container, itself included: where it is here, and where it is there.
pub(super) fn own_files() -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
    let libraries = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    let own = (std::env::current_exe()?, OWN);
    Ok(libraries.map(|path| (path.into(), path)).chain([own]).collect())
}

/// An image's layer with busybox, which Debian has without libraries.
pub(super) fn busybox(directory: &Path) -> anyhow::Result<PathBuf> {
    let layer = directory.join("native-layer");
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(layer.join(name))?;
    }
    fs::copy("/bin/busybox", layer.join("bin/busybox")).context("Debian's busybox-static is not installed")?;
    for name in ["sh", "sleep", "true"] {
        symlink("busybox", layer.join("bin").join(name))?;
    }
    Ok(layer)
}

impl Keeper {
    pub(super) fn new(directory: &Path, layer: PathBuf) -> anyhow::Result<Self> {
        let program = env!("CARGO_BIN_EXE_husk").into();
        let runtime = LinuxRuntime::new(LinuxRuntimeConfig { program }, None);
        let directory = directory.join("native-pods");
        fs::create_dir_all(&directory)?;
        Ok(Self { runtime, switch: Switch::new(Egress::Deny), directory, layer })
    }

    /// A pod that nothing was started in.
    pub(super) fn pod(&self) -> anyhow::Result<PodSandbox> {
        let uid = PodUid::random();
        let directory = self.directory.join(&uid.0);
        let linux = LinuxPodSandboxConfig { directory, ..LinuxPodSandboxConfig::default() };
        Ok(PodSandbox {
            namespace: "default".to_owned(),
            name: uid.0.clone(),
            hostname: "bench".to_owned(),
            network: self.switch.attach(&uid.0, None).map_err(|error| anyhow::anyhow!("{error}"))?,
            share_process_namespace: false,
            linux: Some(linux),
            uid,
        })
    }

    pub(super) async fn remove(&self, pod: &PodSandbox) {
        self.runtime.remove_sandbox(&pod.uid).await;
    }

    /// Starts a container.
    pub(super) async fn start(&self, pod: &PodSandbox, argv: &[&str]) -> anyhow::Result<Measured> {
        Ok(self.start_with(pod, argv, Vec::new()).await?.container)
    }

    /// Starts a container of this program, with the host's libraries.
    pub(super) async fn start_peer(&self, pod: &PodSandbox, args: &[&str]) -> anyhow::Result<Peer> {
        let mount = |(source, target): (PathBuf, &str)| Mount { source, target: target.into(), ..Mount::default() };
        let mounts = own_files()?.into_iter().map(mount).collect();
        self.start_with(pod, &[&[OWN, PEER], args].concat(), mounts).await
    }

    async fn start_with(&self, pod: &PodSandbox, argv: &[&str], mounts: Vec<Mount>) -> anyhow::Result<Peer> {
        let id = ContainerId::random();
        let (stdout_writer, stdout) = pipe(OUTPUT);
        let (stderr, _nobody_reads) = pipe(OUTPUT);
        let mut linux = LinuxContainerConfig::default();
        linux.rootfs.layers = vec![self.layer.clone()];
        linux.rootfs.scratch = self.directory.join("roots").join(&id.0);
        linux.rootfs.mounts = mounts;
        linux.resources.pids_limit = Some(PIDS_LIMIT);
        let config = ContainerConfig {
            id,
            name: "c".to_owned(),
            attempt: 0,
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            env: Vec::new(),
            working_dir: "/".to_owned(),
            mounts: MountTable::builder(TreeFs::in_memory(0)).build()?,
            stdin: None,
            stdout: stdout_writer,
            stderr,
            tty: false,
            terminal_size: None,
            ports: Vec::new(),
            memory_limit: None,
            cpu_limit_millis: None,
            linux: Some(Box::new(linux)),
        };
        let container = self.runtime.create(pod, config).await?;
        container.start().await?;
        Ok(Peer { container, stdout })
    }
}

impl Peer {
    /// All that it prints until its end.
    pub(super) async fn output(self) -> anyhow::Result<String> {
        let mut all = Vec::new();
        while let Some(bytes) = self.stdout.read(OUTPUT).await? {
            all.extend_from_slice(&bytes);
        }
        ends_well(self.container.as_ref()).await?;
        Ok(String::from_utf8_lossy(&all).into_owned())
    }
}

/// Waits for the end, which must be a good one.
pub(super) async fn ends_well(container: &dyn Container) -> anyhow::Result<()> {
    let ended = container.wait().await;
    ensure!(ended.code == 0, "the container has ended with {ended:?}");
    Ok(())
}

/// The seconds that a program executed in a container takes.
pub(super) async fn execute(container: &dyn Container, argv: &[&str]) -> anyhow::Result<f64> {
    let ((stdout, _out), (stderr, _err)) = (pipe(OUTPUT), pipe(OUTPUT));
    let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
    let begun = Instant::now();
    let executed = container.exec(ExecRequest { argv, stdin: None, stdout, stderr, tty: false }).await?;
    ends_well(executed.as_ref()).await?;
    Ok(begun.elapsed().as_secs_f64())
}
