//! A pod on the Linux runtime, with images made of busybox.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use husk::base::id::{ContainerId, PodUid};
use husk::base::pipe::{PipeReader, PipeWriter, pipe};
use husk::net::{Egress, Switch};
use husk::runtime::linux::{LinuxRuntime, LinuxRuntimeConfig, Sandbox};
use husk::runtime::{
    Container, ContainerConfig, ContainerRuntime, ExecRequest, ExitStatus, LinuxContainerConfig, LinuxPodSandboxConfig,
    Mount, PodSandbox, RootfsSpec, RuntimeError,
};
use husk::vfs::{MountTable, TreeFs};
use tempfile::TempDir;
use tokio::time::timeout;

/// How long anything may take before a test counts as hanging: much longer than it does on a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Programs of busybox that the image has.
const APPLETS: &[&str] = &[
    "awk", "cat", "chmod", "chown", "chroot", "cut", "dd", "df", "dmesg", "echo", "env", "false", "find", "grep",
    "head", "hostname", "id", "ifconfig", "ip", "ipcs", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv",
    "nc", "ping", "ps", "pwd", "readlink", "rm", "rmdir", "seq", "setsid", "sh", "sleep", "sort", "stat", "stty",
    "sync", "tail", "test", "touch", "tr", "true", "tty", "ulimit", "umount", "uname", "unshare", "wc", "wget",
    "which", "whoami", "yes",
];

/// Where Debian's `busybox-static` has its program.
pub(super) const BUSYBOX: &str = "/bin/busybox";

/// A pod, its runtime and its files.
pub(super) struct Pod {
    pub(super) runtime: Arc<LinuxRuntime>,
    pub(super) sandbox: PodSandbox,
    pub(super) directory: TempDir,
}

/// What a container is made of.
#[derive(Default)]
pub(super) struct Setup {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: String,
    pub(super) linux: LinuxContainerConfig,
    pub(super) stdin: Option<PipeReader>,
    pub(super) tty: bool,
    pub(super) memory_limit: Option<u64>,
    pub(super) cpu_limit_millis: Option<u64>,
}

impl Setup {
    /// Busybox's shell with a script.
    pub(super) fn sh(script: &str) -> Self {
        Self::command(&["sh", "-c", script])
    }

    /// A program.
    pub(super) fn command(argv: &[&str]) -> Self {
        Self { argv: argv.iter().map(|&argument| argument.to_owned()).collect(), ..Self::default() }
    }

    /// A program of Perl's, which makes any system call: with the host's Perl, which every Debian has.
    pub(super) fn perl(script: &str) -> Self {
        let setup = Self::command(&["/usr/bin/perl", "-e", script]);
        ["/usr", "/lib", "/lib64"]
            .into_iter()
            .filter(|path| Path::new(path).exists())
            .fold(setup, |setup, path| setup.mount(Mount { read_only: true, ..mount(path, path) }))
    }

    /// With a mount.
    pub(super) fn mount(mut self, mount: Mount) -> Self {
        self.linux.rootfs.mounts.push(mount);
        self
    }

    /// With more about its Linux side.
    pub(super) fn with(mut self, change: impl FnOnce(&mut LinuxContainerConfig)) -> Self {
        change(&mut self.linux);
        self
    }
}

/// A container, and what it prints.
pub(super) struct Running {
    pub(super) container: Arc<dyn Container>,
    pub(super) stdout: PipeReader,
    pub(super) stderr: PipeReader,
}

impl Pod {
    /// A pod that shares nothing.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A pod with something of its own.
    pub(super) fn with(change: impl FnOnce(&mut PodSandbox)) -> Self {
        let directory = tempfile::Builder::new().prefix("husk-native").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let switch = Switch::new(Egress::Deny);
        let mut sandbox = PodSandbox {
            uid: PodUid::random(),
            namespace: "default".to_owned(),
            name: "pod".to_owned(),
            hostname: "pod-host".to_owned(),
            network: switch.attach("pod", None).unwrap(),
            share_process_namespace: false,
            linux: Some(LinuxPodSandboxConfig {
                directory: directory.path().join("sandbox"),
                ..LinuxPodSandboxConfig::default()
            }),
        };
        change(&mut sandbox);
        let runtime = new_runtime(env!("CARGO_BIN_EXE_husk"));
        busybox_layer(&directory.path().join("layer"));
        Self { runtime, sandbox, directory }
    }

    /// The image's one layer.
    pub(super) fn layer(&self) -> PathBuf {
        self.directory.path().join("layer")
    }

    /// A file or directory of the pod's on the host.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) async fn sandbox(&self) -> Arc<Sandbox> {
        self.runtime.sandbox(&self.sandbox).await.unwrap()
    }

    pub(super) async fn create(&self, mut setup: Setup) -> Result<Running, RuntimeError> {
        let id = ContainerId::random();
        if setup.linux.rootfs.layers.is_empty() {
            setup.linux.rootfs.layers = vec![self.layer()];
        }
        setup.linux.rootfs.scratch = self.directory.path().join("roots").join(&id.0);
        let (stdout_writer, stdout) = pipe(1 << 20);
        let (stderr_writer, stderr) = pipe(1 << 20);
        let config = ContainerConfig {
            id,
            name: "app".to_owned(),
            attempt: 0,
            argv: setup.argv,
            env: setup.env,
            working_dir: if setup.working_dir.is_empty() { "/".to_owned() } else { setup.working_dir },
            mounts: MountTable::builder(TreeFs::in_memory(0)).build().unwrap(),
            stdin: setup.stdin,
            stdout: stdout_writer,
            stderr: stderr_writer,
            tty: setup.tty,
            terminal_size: None,
            ports: Vec::new(),
            memory_limit: setup.memory_limit,
            cpu_limit_millis: setup.cpu_limit_millis,
            linux: Some(Box::new(setup.linux)),
        };
        let container = self.runtime.create(&self.sandbox, config).await?;
        Ok(Running { container, stdout, stderr })
    }

    /// Starts a container.
    pub(super) async fn start(&self, setup: Setup) -> Running {
        let running = self.create(setup).await.unwrap();
        running.container.start().await.unwrap_or_else(|error| panic!("{error}"));
        running
    }

    /// Runs a container to its end: exit code, output, errors.
    pub(super) async fn run(&self, setup: Setup) -> (i32, String, String) {
        self.start(setup).await.end().await
    }

    /// What a script prints, which must succeed.
    pub(super) async fn says(&self, setup: Setup) -> String {
        let (code, stdout, stderr) = self.run(setup).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        stdout
    }

    /// Ends the pod and waits for the end.
    pub(super) async fn stop(self) {
        self.runtime.remove_sandbox(&self.sandbox.uid).await;
    }
}

/// A runtime with husk at `program`.
pub(super) fn new_runtime(program: impl Into<PathBuf>) -> Arc<LinuxRuntime> {
    LinuxRuntime::new(LinuxRuntimeConfig { program: program.into() }, None)
}

impl Running {
    pub(super) async fn wait(&self) -> ExitStatus {
        timeout(PATIENCE, self.container.wait()).await.expect("the container does not end")
    }

    /// Waits for the end: exit code, output, errors.
    pub(super) async fn end(self) -> (i32, String, String) {
        let (stdout, stderr, status) =
            tokio::join!(read_all(&self.stdout), read_all(&self.stderr), timeout(PATIENCE, self.container.wait()));
        (status.expect("the container does not end").code, stdout, stderr)
    }

    /// Waits until the container has printed `text`.
    pub(super) async fn prints(&self, text: &str) -> String {
        until(&self.stdout, text).await
    }

    /// Runs a program in the container to its end.
    pub(super) async fn exec(&self, argv: &[&str]) -> Result<(i32, String, String), RuntimeError> {
        let (stdout_writer, stdout) = pipe(1 << 20);
        let (stderr_writer, stderr) = pipe(1 << 20);
        let request = exec_request(argv, None, stdout_writer, stderr_writer, false);
        let container = self.container.exec(request).await?;
        Ok(Self { container, stdout, stderr }.end().await)
    }
}

/// A request to execute a program.
pub(super) fn exec_request(
    argv: &[&str],
    stdin: Option<PipeReader>,
    stdout: PipeWriter,
    stderr: PipeWriter,
    tty: bool,
) -> ExecRequest {
    ExecRequest { argv: argv.iter().map(|&argument| argument.to_owned()).collect(), stdin, stdout, stderr, tty }
}

/// Everything that comes.
pub(super) async fn read_all(reader: &PipeReader) -> String {
    let mut all = Vec::new();
    let reading = async {
        while let Ok(Some(bytes)) = reader.read(1 << 16).await {
            all.extend_from_slice(&bytes);
        }
    };
    timeout(PATIENCE, reading).await.expect("the output does not end");
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until `text` has come.
pub(super) async fn until(reader: &PipeReader, text: &str) -> String {
    let mut all = String::new();
    let reading = async {
        while !all.contains(text) {
            let bytes: Option<Bytes> = reader.read(1 << 16).await.unwrap();
            all.push_str(&String::from_utf8_lossy(&bytes.unwrap_or_else(|| panic!("the end came after {all:?}"))));
        }
    };
    let came = timeout(PATIENCE, reading).await;
    assert!(came.is_ok(), "{text:?} does not come, only {all:?}");
    all
}

/// Makes a directory with busybox as an image would have it.
pub(super) fn busybox_layer(layer: &Path) {
    fs::create_dir_all(layer.join("bin")).unwrap();
    for directory in ["etc", "mnt", "tmp", "root", "usr", "var"] {
        fs::create_dir_all(layer.join(directory)).unwrap();
    }
    fs::set_permissions(layer.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy(BUSYBOX, layer.join("bin/busybox")).expect("Debian's busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var:/bin/sh\n").unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\nwww:x:33:\nextra:x:77:www\n").unwrap();
}

/// A mount with nothing special about it.
pub(super) fn mount(source: impl Into<PathBuf>, target: &str) -> Mount {
    Mount { source: source.into(), target: target.into(), ..Mount::default() }
}

/// The layers of an image.
pub(super) fn layers(layers: Vec<PathBuf>) -> RootfsSpec {
    RootfsSpec { layers, ..RootfsSpec::default() }
}

/// Whether system calls have the numbers that tests know.
pub(super) fn knows_system_calls() -> bool {
    cfg!(target_arch = "x86_64") && Path::new("/usr/bin/perl").exists()
}

/// Says what a machine cannot do that a test needs, past the harness, which keeps what tests print to itself.
pub(super) fn not_run(reason: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "not run here: {reason}");
}

/// Whether this process may make namespaces: it is root, if only in a user namespace. Where it is not, `rootless` runs
/// everything again as one that is.
pub(super) fn can_run() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the tests run as root of the system.
pub(super) fn is_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether there are more user IDs than one.
pub(super) fn has_ids() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().last().is_none_or(|count| count != "1")
}
