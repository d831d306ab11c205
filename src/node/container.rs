//! From a container of the spec to what a runtime starts: program, environment, limits, ports, filesystem.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod};

use super::attach::{Stdin, Streams};
use super::context::PodContext;
use super::executor::Sandbox;
use super::logs::LogTail;
#[cfg(target_os = "linux")]
use super::native;
use super::rootfs::{self, LayerCache};
use super::runtime_class::runtime_of;
use super::{Keyboard, run_directory};
use crate::api::support::{RuntimeKind, refusal_of_container};
use crate::base::id::ContainerId;
use crate::base::pipe::{self, PipeReader};
use crate::image::{Image, ImageStore, PlatformChoice};
use crate::pod::{ResourceLimits, StartFailureReason, command, env, ephemeral_as_container, security};
use crate::runtime::{
    ContainerConfig, ContainerPort, ExitReason, ExitStatus, LinuxContainerConfig, RuntimeError, Signal,
};
use crate::vfs::{MemoryFile, MountTable};
use crate::volume::PodVolumes;

/// Bytes of a termination message file that show, its last ones (kubelet v1.36 `MaxContainerTerminationMessageLength`).
/// What the runtime says of an end is kept to as much.
const MAX_TERMINATION_MESSAGE: usize = 4096;
/// Bytes a container may write to its termination message file.
const TERMINATION_LOG_LIMIT: usize = 64 * 1024;
/// Where the termination message is written unless the spec says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";
/// What it is called among the files that the kubelet writes for a native container.
pub(super) const TERMINATION_LOG_FILE: &str = "termination-log";

/// Why an instance does not run.
#[derive(Debug)]
pub(super) struct StartError {
    pub(super) reason: StartFailureReason,
    pub(super) message: String,
    /// The identifier, if an instance came to exist.
    pub(super) created: Option<String>,
}

impl StartError {
    pub(super) fn cancelled() -> Self {
        let message = "the start was given up: the pod is stopping".to_owned();
        Self { reason: StartFailureReason::Cancelled, message, created: None }
    }

    /// Something the configuration names is missing or refused.
    pub(super) fn config(error: impl ToString) -> Self {
        Self { reason: StartFailureReason::Config, message: error.to_string(), created: None }
    }

    /// The container could not be created.
    pub(super) fn create(error: impl ToString) -> Self {
        Self { reason: StartFailureReason::Create, message: error.to_string(), created: None }
    }

    /// The runtime did not create the instance `id`. Kubernetes' runtimes look for the program when they start a
    /// container, so one that is missing or no program counts as a failed start.
    pub(super) fn from_create(id: &str, error: &RuntimeError) -> Self {
        match error {
            RuntimeError::ProgramNotFound { .. } | RuntimeError::NotExecutable { .. } => Self::run(id, error),
            RuntimeError::Failed(_) | RuntimeError::NotRunning(_) => Self::create(error),
        }
    }

    /// The runtime did not start the instance `id`: it existed, and counts.
    pub(super) fn run(id: &str, error: &RuntimeError) -> Self {
        let message = format!("failed to start container {:?}: {error}", id.rsplit('/').next().unwrap_or(id));
        Self { reason: StartFailureReason::Run, message, created: Some(id.to_owned()) }
    }
}

/// Both output streams of an instance.
pub(super) type Output = (PipeReader, PipeReader);

/// An instance that is ready for its runtime.
pub(super) struct Prepared {
    pub(super) config: ContainerConfig,
    pub(super) output: Output,
    pub(super) streams: Arc<Streams>,
    pub(super) stop_signal: Signal,
    pub(super) termination_message: TerminationMessage,
    /// Whatever must stay where it is for as long as the instance runs.
    pub(super) held: Box<dyn std::any::Any + Send>,
}

/// Which instance of which container of which pod.
pub(super) struct Subject<'a> {
    pub(super) pod: &'a Pod,
    pub(super) container: &'a str,
    pub(super) attempt: u32,
}

impl Subject<'_> {
    /// The container's spec; of an ephemeral container, what it has in common with others.
    pub(super) fn spec(&self) -> Option<Cow<'_, ContainerSpec>> {
        let spec = self.pod.spec.as_ref()?;
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let mut ephemeral = spec.ephemeral_containers.iter().flatten();
        all.find(|container| container.name == self.container).map(Cow::Borrowed).or_else(|| {
            let container = ephemeral.find(|container| container.name == self.container)?;
            Some(Cow::Owned(ephemeral_as_container(container)))
        })
    }
}

/// What a container's filesystem comes from.
pub(super) struct Storage<'a> {
    pub(super) image: &'a Image,
    pub(super) volumes: &'a PodVolumes,
    pub(super) layers: &'a LayerCache,
    /// Where the pod's own files are.
    pub(super) pod_dir: &'a Path,
}

/// Resolves everything an instance needs, anew at each start (kubelet v1.36 `generateContainerConfig`).
pub(super) fn prepare(
    context: &PodContext<'_>,
    subject: &Subject<'_>,
    sandbox: &Sandbox,
    storage: Storage<'_>,
) -> Result<Prepared, StartError> {
    let Storage { image, volumes, layers, pod_dir } = storage;
    let container = subject.spec().ok_or_else(|| StartError::create("the pod has no such container"))?;
    let container = container.as_ref();
    security::verify_run_as_non_root(subject.pod, container, &image.config.user).map_err(StartError::config)?;
    let variables = env::variables(&context.env(), container).map_err(StartError::config)?;
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let argv = command::argv(&image.config.entrypoint, &image.config.cmd, command, args, &variables);
    let argv = argv.map_err(StartError::config)?;
    if argv.is_empty() {
        return Err(StartError::create("no command specified: neither the container nor its image names one"));
    }
    let forced = context.config.forced_runtime(subject.pod).unwrap_or_default();
    let runtime = runtime_of(forced, image);
    if let Some(refusal) = refusal_of_container(container, runtime) {
        return Err(StartError::config(format!("{refusal} ({} runtime)", runtime.name())));
    }
    let id = ContainerId::random();
    let scratch = run_directory::roots(pod_dir).join(&id.0);
    let files = Files { context, container, image, volumes, layers, scratch, variables: &variables };
    let Filesystem { mounts, linux, message_file, held } =
        if runtime == RuntimeKind::Wasm { files.of_wasm()? } else { files.of_native()? };
    let (keyboard, stdin) = standard_input(context, subject.pod, container);
    let (stdout, stdout_reader) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let (stderr, stderr_reader) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let working_dir = working_dir(container, image);
    let limits = ResourceLimits::of(container);
    let config = ContainerConfig {
        id,
        name: container.name.clone(),
        attempt: subject.attempt,
        argv,
        env: with_working_dir(env::with_image(&image.config.env, &sandbox.pod.hostname, &variables), &working_dir),
        working_dir,
        mounts,
        stdin: keyboard.as_ref().map(|keyboard| keyboard.input.clone()),
        stdout,
        stderr,
        tty: container.tty == Some(true),
        terminal_size: keyboard.and_then(|keyboard| keyboard.terminal_size),
        ports: ports(container),
        memory_limit: limits.memory,
        cpu_limit_millis: limits.cpu_millis,
        linux,
    };
    let fallback_to_logs = falls_back_to_logs(container);
    Ok(Prepared {
        config,
        output: (stdout_reader, stderr_reader),
        streams: Streams::new(stdin),
        stop_signal: image.config.stop_signal.as_deref().and_then(parse_signal).unwrap_or(Signal::Term),
        termination_message: TerminationMessage { file: message_file, fallback_to_logs },
        held,
    })
}

/// What the filesystem of an instance is made of.
struct Files<'a> {
    context: &'a PodContext<'a>,
    container: &'a ContainerSpec,
    image: &'a Image,
    volumes: &'a PodVolumes,
    layers: &'a LayerCache,
    scratch: PathBuf,
    variables: &'a [(String, String)],
}

/// The filesystem of an instance, as its runtime takes it.
struct Filesystem {
    mounts: MountTable,
    linux: Option<Box<LinuxContainerConfig>>,
    message_file: MessageFile,
    held: Box<dyn std::any::Any + Send>,
}

impl Files<'_> {
    fn of_wasm(self) -> Result<Filesystem, StartError> {
        let message_file = MemoryFile::new("", 0o666, TERMINATION_LOG_LIMIT);
        let parts = rootfs::Parts {
            layers: self.layers,
            image: self.image,
            volumes: self.volumes,
            scratch: self.scratch,
            files: rootfs::ManagedFiles {
                names: &self.context.names().map_err(StartError::create)?,
                pod_ips: &self.context.facts.pod_ips,
                termination_log: (termination_path(self.container), message_file.clone()),
            },
        };
        let mounts = rootfs::build(self.context, self.container, &parts, self.variables)?;
        Ok(Filesystem { mounts, linux: None, message_file: MessageFile::Memory(message_file), held: Box::new(()) })
    }

    #[cfg(target_os = "linux")]
    fn of_native(self) -> Result<Filesystem, StartError> {
        let parts = native::Parts {
            image: self.image,
            volumes: self.volumes,
            scratch: self.scratch,
            names: &self.context.names().map_err(StartError::create)?,
            termination_path: termination_path(self.container),
        };
        let native = native::build(self.context, self.container, parts, self.variables)?;
        Ok(Filesystem {
            mounts: rootfs::nothing()?,
            linux: Some(Box::new(native.config)),
            message_file: MessageFile::Disk(native.termination_log),
            held: Box::new(native.unpacked),
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn of_native(self) -> Result<Filesystem, StartError> {
        Err(StartError::create(format!(
            "image {} has programs for Linux ({}), which run on Linux only: use an image for WebAssembly here",
            self.image.reference, self.image.platform
        )))
    }
}

/// What a container reads, and what feeds it where nothing but those who attach do.
fn standard_input(context: &PodContext<'_>, pod: &Pod, container: &ContainerSpec) -> (Option<Keyboard>, Option<Stdin>) {
    if container.stdin != Some(true) {
        return (None, None);
    }
    if let Some(keyboard) = (context.config.stdin)(pod, container) {
        return (Some(keyboard), None);
    }
    let (writer, input) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let stdin = Stdin { writer, once: container.stdin_once == Some(true) };
    (Some(Keyboard { input, terminal_size: None }), Some(stdin))
}

fn falls_back_to_logs(container: &ContainerSpec) -> bool {
    container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
}

/// Keeps what is on disk of a native container's image for as long as what is returned lives.
pub(super) fn hold_image(images: &ImageStore, name: &str) -> Box<dyn std::any::Any + Send> {
    #[cfg(target_os = "linux")]
    if let Ok(unpacked) = images.unpack(name, PlatformChoice::Linux) {
        return Box::new(unpacked);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (images, name, PlatformChoice::Linux);
    Box::new(())
}

fn termination_path(container: &ContainerSpec) -> &str {
    container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(TERMINATION_LOG)
}

fn working_dir(container: &ContainerSpec, image: &Image) -> String {
    let dir = container.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&image.config.working_dir);
    if dir.starts_with('/') { dir.to_owned() } else { format!("/{dir}") }
}

/// Adds `PWD`, from which programs without a notion of a working directory learn where to go.
fn with_working_dir(mut env: Vec<(String, String)>, working_dir: &str) -> Vec<(String, String)> {
    if env.iter().all(|(name, _)| name != "PWD") {
        env.push(("PWD".to_owned(), working_dir.to_owned()));
    }
    env
}

fn ports(container: &ContainerSpec) -> Vec<ContainerPort> {
    let declared = container.ports.iter().flatten();
    let ports = declared.filter_map(|port| {
        let number = u16::try_from(port.container_port).ok()?;
        Some(ContainerPort { port: number, udp: port.protocol.as_deref() == Some("UDP") })
    });
    ports.collect()
}

/// The signal an image names as its `StopSignal`, by name or number; `None` for one husk does not deliver.
fn parse_signal(text: &str) -> Option<Signal> {
    let all = [Signal::Hup, Signal::Int, Signal::Quit, Signal::Kill, Signal::Usr1, Signal::Usr2, Signal::Term];
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let by_name = |signal: &Signal| format!("{signal:?}").eq_ignore_ascii_case(name);
    all.into_iter().find(|signal| by_name(signal) || text.parse() == Ok(signal.number()))
}

/// `reason` of the terminated state where it is not `Completed` or `Error` by the exit code.
pub(super) fn exit_reason(exit: &ExitStatus) -> Option<String> {
    match exit.reason {
        ExitReason::OomKilled => Some("OOMKilled".to_owned()),
        ExitReason::Exited | ExitReason::Signaled(_) | ExitReason::Trapped => None,
    }
}

/// Where the message of a terminated container comes from.
pub(super) struct TerminationMessage {
    file: MessageFile,
    fallback_to_logs: bool,
}

/// The file that a container may write its termination message to.
enum MessageFile {
    /// Of a container of WebAssembly.
    Memory(MemoryFile),
    /// Of a native one.
    Disk(PathBuf),
}

impl MessageFile {
    /// Its end, as far as anybody wants to know it.
    fn contents(&self) -> Vec<u8> {
        match self {
            Self::Memory(file) => file.contents().to_vec(),
            Self::Disk(path) => end_of(path).unwrap_or_default(),
        }
    }
}

fn end_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TERMINATION_LOG_LIMIT as u64)))?;
    let mut end = Vec::new();
    file.take(TERMINATION_LOG_LIMIT as u64).read_to_end(&mut end)?;
    Ok(end)
}

impl TerminationMessage {
    /// That of a native container whose root is at `root`.
    pub(super) fn on_disk(container: &ContainerSpec, root: &Path) -> Self {
        let file = run_directory::managed_files(root).join(TERMINATION_LOG_FILE);
        Self { file: MessageFile::Disk(file), fallback_to_logs: falls_back_to_logs(container) }
    }

    /// The message: what the runtime says, and the file's content, or the end of the log where the policy falls back
    /// (kubelet v1.36 `getTerminationMessage`).
    pub(super) fn read(&self, exit: &ExitStatus, tail: &LogTail) -> Option<String> {
        let file = self.file.contents();
        let mut written = String::from_utf8_lossy(last_bytes(&file, MAX_TERMINATION_MESSAGE)).into_owned();
        if written.is_empty() && self.fallback_to_logs && exit.code != 0 {
            written = tail.text();
        }
        let mut message = exit.message.clone().unwrap_or_default();
        message.truncate(message.floor_char_boundary(MAX_TERMINATION_MESSAGE));
        if !message.is_empty() && !written.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&written);
        (!message.is_empty()).then_some(message)
    }
}

/// The last bytes, at most `limit`, beginning with a whole character where they are UTF-8.
fn last_bytes(bytes: &[u8], limit: usize) -> &[u8] {
    let cut = &bytes[bytes.len().saturating_sub(limit)..];
    let is_continuation = |byte: &u8| cut.len() < bytes.len() && byte & 0xC0 == 0x80;
    let skipped = cut.iter().take(3).take_while(|byte| is_continuation(byte)).count();
    &cut[skipped..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ExitStatus;

    /// §4: the file's end, the log where the file is empty and the exit is a failure, the runtime's words before both.
    #[test]
    fn termination_messages_come_from_runtime_file_and_log() {
        let long = "x".repeat(5000);
        let wide = "é".repeat(3000);
        for (runtime, file, fallback, code, expected) in [
            (None, "", false, 1, None),
            (None, "", true, 0, None),
            (None, "", true, 1, Some("last words".to_owned())),
            (None, "done", true, 1, Some("done".to_owned())),
            (Some("trap"), "", false, 134, Some("trap".to_owned())),
            (Some("trap"), "done", false, 134, Some("trap: done".to_owned())),
            (Some("trap"), "", true, 134, Some("trap: last words".to_owned())),
            (None, long.as_str(), false, 0, Some("x".repeat(4096))),
            (None, wide.as_str(), false, 0, Some("é".repeat(2048))),
            (Some(long.as_str()), "done", false, 1, Some(format!("{}: done", "x".repeat(4096)))),
        ] {
            let tail = LogTail::default();
            tail.push(b"last words");
            let written = MessageFile::Memory(MemoryFile::new(file, 0o666, 0));
            let source = TerminationMessage { file: written, fallback_to_logs: fallback };
            let exit = ExitStatus { code, reason: ExitReason::Exited, message: runtime.map(str::to_owned) };
            assert_eq!(source.read(&exit, &tail), expected, "{runtime:?} {file:.9} {fallback} {code}");
        }
        assert_eq!(last_bytes("aéé".as_bytes(), 3), "é".as_bytes());
        assert_eq!(last_bytes("éé".as_bytes(), 4), "éé".as_bytes());
    }

    #[test]
    fn stop_signals_have_names_and_numbers() {
        for (text, signal) in [
            ("SIGQUIT", Some(Signal::Quit)),
            ("QUIT", Some(Signal::Quit)),
            ("15", Some(Signal::Term)),
            ("SIGKILL", Some(Signal::Kill)),
            ("SIGWINCH", None),
            ("", None),
        ] {
            assert_eq!(parse_signal(text), signal, "{text}");
        }
    }
}
