//! The agent's side of a pod's sandbox process: starting it or taking it up, requests and their answers, its end.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::Either;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socketpair};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::{self, Packet, Received};
use super::process;
use super::protocol::{
    ExecSpec, Failure, Key, Listed, Message, Operation, Reply, Request, RunSpec, Setup, Started, TunConfig, VERSION,
};
use super::sys::{self, MountChange};
use crate::base::id::PodUid;
use crate::runtime::{LinuxPodSandboxConfig, PodSandbox};

/// How long a sandbox process may take to do what needs no waiting; it is stuck if it takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a container may take to start: its image may have to be copied.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// Where husk itself is, however it was started.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// What a sandbox process is to be.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// husk itself: [`OWN_PROGRAM`].
    pub program: PathBuf,
    /// The pod's UID.
    pub uid: PodUid,
    /// What `hostname` says in the pod.
    pub hostname: String,
    /// Whether containers see each other's processes.
    pub share_process_namespace: bool,
    /// Namespaces, and the sandbox's directory.
    pub linux: LinuxPodSandboxConfig,
}

impl SandboxConfig {
    /// That of a pod, with husk at `program`.
    pub fn of(pod: &PodSandbox, program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            uid: pod.uid.clone(),
            hostname: pod.hostname.clone(),
            share_process_namespace: pod.share_process_namespace,
            linux: pod.linux.clone().unwrap_or_default(),
        }
    }
}

/// Why a sandbox could not do something.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process could not be started.
    #[error("cannot start the pod's sandbox process: {0}")]
    Spawn(#[source] io::Error),
    /// There is none to take up.
    #[error("cannot reach the pod's sandbox process: {0}")]
    Connect(#[source] io::Error),
    /// The process has ended.
    #[error("the pod's sandbox process has ended")]
    Gone,
    /// It does not answer.
    #[error("the pod's sandbox process does not answer")]
    Stuck,
    /// It tried, and failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl SandboxError {
    /// The system's error number, if that is why.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Failed(failure) => failure.errno,
            Self::Spawn(error) | Self::Connect(error) => error.raw_os_error(),
            Self::Gone | Self::Stuck => None,
        }
    }
}

type Answer = Result<(Reply, Vec<OwnedFd>), Failure>;

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, oneshot::Sender<Answer>>,
    /// Ends that are waited for.
    ends: HashMap<Key, oneshot::Sender<i32>>,
    is_closed: bool,
}

/// What the task shares that hears the sandbox process.
struct Inbox {
    socket: AsyncFd<OwnedFd>,
    waiting: Mutex<Waiting>,
    gone: CancellationToken,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears the sandbox process until it ends.
    async fn hear(&self) {
        loop {
            let received = self.socket.async_io(Interest::READABLE, |fd| channel::receive::<Message>(fd.as_fd())).await;
            match received {
                Ok(Some(Received { message, descriptors })) => self.deliver(message, descriptors),
                Ok(None) => break,
                Err(error) if error.raw_os_error().is_none() => {
                    tracing::warn!(%error, "the sandbox process says what cannot be understood");
                    break;
                }
                Err(_broken) => break,
            }
        }
        let mut waiting = self.lock();
        waiting.is_closed = true;
        // Whoever waits learns of it by the end of their channel.
        waiting.requests.clear();
        waiting.ends.clear();
    }

    fn deliver(&self, message: Message, descriptors: Vec<OwnedFd>) {
        match message {
            Message::Reply { id, result } => {
                let waiter = self.lock().requests.remove(&id);
                if let Some(waiter) = waiter {
                    // Who has given up waiting loses the descriptors, too.
                    let _ = waiter.send(result.map(|reply| (reply, descriptors)));
                }
            }
            Message::Exited { key, status } => {
                let waiter = self.lock().ends.remove(&key);
                if let Some(waiter) = waiter {
                    let _ = waiter.send(status);
                }
            }
        }
    }

    async fn send(&self, packet: &Packet) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |fd| packet.send(fd.as_fd(), &[])).await
    }
}

/// The agent's handle of a pod's sandbox process. With the last one the process ends, and all it has started, unless it
/// was left to the next agent.
pub struct Sandbox {
    uid: PodUid,
    pid: i32,
    has_host_network: bool,
    has_host_processes: bool,
    inbox: Arc<Inbox>,
    next_request: AtomicU64,
    next_key: AtomicU64,
    /// What is still to be done about containers that have ended.
    tasks: TaskTracker,
    is_left: AtomicBool,
    has_warned: AtomicBool,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sandbox").field("uid", &self.uid).field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts a sandbox process.
    ///
    /// # Errors
    /// When the process, or one of the pod's namespaces, cannot be made.
    pub async fn start(config: SandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| SandboxError::Spawn(error.into()))?;
        std::fs::create_dir_all(&config.linux.directory).map_err(SandboxError::Spawn)?;
        let child = spawn(config.program.clone(), theirs, !config.linux.host_pid).await.map_err(SandboxError::Spawn)?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let sandbox = Self::over(ours, config.uid, pid, &config.linux)?;
        sandbox.watch(Either::Left(child));
        let setup = Setup {
            version: VERSION,
            hostname: config.hostname,
            share_process_namespace: config.share_process_namespace,
            linux: config.linux,
        };
        sandbox.request(Operation::SetUp(Box::new(setup))).await?;
        Ok(sandbox)
    }

    /// Takes up the sandbox process that another agent has left in `directory`.
    ///
    /// # Errors
    /// `Connect` if there is none.
    pub async fn adopt(uid: PodUid, linux: &LinuxPodSandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let connected = connect(&linux.directory).map_err(SandboxError::Connect)?;
        let pid = sys::peer(connected.as_fd()).map_or(0, |(pid, _)| pid);
        let process = rustix::process::Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH);
        let process = process.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()));
        let process = process.map_err(io::Error::from).and_then(sys::register).map_err(SandboxError::Connect)?;
        let sandbox = Self::over(connected, uid, pid, linux)?;
        sandbox.watch(Either::Right(process));
        Ok(sandbox)
    }

    fn over(socket: OwnedFd, uid: PodUid, pid: i32, linux: &LinuxPodSandboxConfig) -> Result<Arc<Self>, SandboxError> {
        let socket =
            rustix::io::ioctl_fionbio(&socket, true).map_err(io::Error::from).and_then(|()| sys::register(socket));
        let socket = socket.map_err(SandboxError::Connect)?;
        let inbox = Inbox { socket, waiting: Mutex::default(), gone: CancellationToken::new() };
        Ok(Arc::new(Self {
            uid,
            pid,
            has_host_network: linux.host_network,
            has_host_processes: linux.host_pid,
            inbox: Arc::new(inbox),
            next_request: AtomicU64::new(1),
            next_key: AtomicU64::new(1),
            tasks: TaskTracker::new(),
            is_left: AtomicBool::new(false),
            has_warned: AtomicBool::new(false),
        }))
    }

    /// Hears the process until it ends, and then reaps it, if it is a child of this one.
    fn watch(&self, process: Either<Child, AsyncFd<OwnedFd>>) {
        let inbox = Arc::clone(&self.inbox);
        tokio::spawn(async move {
            inbox.hear().await;
            // It ends once all that was started in it has ended, which the kernel sees to.
            match process {
                Either::Left(mut child) => {
                    let _ = tokio::task::spawn_blocking(move || child.wait()).await;
                }
                Either::Right(process) => {
                    let _ = process.readable().await;
                }
            }
            inbox.gone.cancel();
        });
    }

    /// The pod's UID.
    pub fn uid(&self) -> &PodUid {
        &self.uid
    }

    /// The sandbox process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the pod is on the host's network.
    pub fn has_host_network(&self) -> bool {
        self.has_host_network
    }

    /// Whether the pod's processes are among the host's.
    pub(super) fn has_host_processes(&self) -> bool {
        self.has_host_processes
    }

    /// Resolves when the sandbox process has ended, and all that was started in it.
    pub async fn gone(&self) {
        self.inbox.gone.cancelled().await;
    }

    /// As [`Sandbox::gone`], without keeping the sandbox.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inbox.gone.clone().cancelled_owned()
    }

    /// Whether the sandbox process has ended.
    pub fn is_gone(&self) -> bool {
        self.inbox.lock().is_closed
    }

    /// Ends all containers, and the sandbox process. What they leave behind is gone when this returns.
    pub async fn stop(&self) {
        self.post(Operation::Exit);
        self.gone().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Where what is done about a container belongs, so that the end of the pod waits for it.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Leaves the process to the next agent: it does not end with this handle, which is of no use any more.
    pub fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
        // The end of this socket lets the next agent in.
        let _ = rustix::net::shutdown(self.inbox.socket.get_ref(), rustix::net::Shutdown::Both);
    }

    /// Kills the process, which may not listen any more.
    pub(super) fn kill(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Forgets a process in the sandbox, which is killed if it has not ended.
    pub(super) fn forget(&self, key: Key) {
        self.post(Operation::Forget { key });
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// A socket in the pod's network namespace, which does not block.
    ///
    /// # Errors
    /// As `socket(2)`.
    pub async fn socket(
        &self,
        domain: AddressFamily,
        kind: SocketType,
        protocol: u32,
    ) -> Result<OwnedFd, SandboxError> {
        let operation = Operation::Socket { domain: domain.as_raw(), kind: kind.as_raw(), protocol };
        one(self.request(operation).await?)
    }

    /// Makes a TUN device in the pod's network namespace. The descriptor reads and writes whole IP packets and does not
    /// block.
    ///
    /// # Errors
    /// When `/dev/net/tun` is missing or closed to the user (`ENOENT`, `EACCES`, `EPERM`), or something in `config` is wrong.
    pub async fn tun(&self, config: &TunConfig) -> Result<OwnedFd, SandboxError> {
        one(self.request(Operation::Tun(config.clone())).await?)
    }

    /// The TUN device the sandbox process has kept from an earlier agent.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn kept_tun(&self) -> Result<Option<OwnedFd>, SandboxError> {
        let (_, mut descriptors) = self.request(Operation::KeptTun).await?;
        Ok(descriptors.pop())
    }

    /// Writes a sysctl of one of the pod's namespaces.
    ///
    /// # Errors
    /// When it is not namespaced, or the kernel refuses the value.
    pub async fn sysctl(&self, name: &str, value: &str) -> Result<(), SandboxError> {
        self.request(Operation::Sysctl { name: name.to_owned(), value: value.to_owned() }).await.map(drop)
    }

    /// Whether nobody was told yet that limits of the pod's containers are not kept; from now on, somebody was.
    pub(super) fn warn_of_limits(&self) -> bool {
        !self.has_warned.swap(true, Ordering::Relaxed)
    }

    /// A name for a process to start.
    pub(super) fn new_key(&self) -> Key {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a container.
    pub(super) async fn run(&self, spec: RunSpec) -> Result<(Started, Vec<OwnedFd>), SandboxError> {
        started(self.request_within(Operation::Run(Box::new(spec)), START_TIMEOUT).await?)
    }

    /// Starts a program in a container.
    pub(super) async fn exec(&self, spec: ExecSpec) -> Result<(Started, Vec<OwnedFd>), SandboxError> {
        started(self.request_within(Operation::Exec(Box::new(spec)), START_TIMEOUT).await?)
    }

    /// What runs in a sandbox that was taken up.
    pub(super) async fn list(&self) -> Result<(Vec<Listed>, Vec<OwnedFd>), SandboxError> {
        let (Reply::Listed(listed), descriptors) = self.request(Operation::List).await? else {
            return Err(SandboxError::Stuck);
        };
        let last = listed.iter().map(|listed| listed.key).max().unwrap_or_default();
        self.next_key.fetch_max(last + 1, Ordering::Relaxed);
        Ok((listed, descriptors))
    }

    /// Registers for the end of a process; to be called before it is started. Fails when the sandbox is gone.
    pub(super) fn end_of(&self, key: Key) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.inbox.lock();
        if !waiting.is_closed {
            waiting.ends.insert(key, sender);
        }
        receiver
    }

    async fn request(&self, operation: Operation) -> Result<(Reply, Vec<OwnedFd>), SandboxError> {
        self.request_within(operation, REQUEST_TIMEOUT).await
    }

    async fn request_within(
        &self,
        operation: Operation,
        limit: Duration,
    ) -> Result<(Reply, Vec<OwnedFd>), SandboxError> {
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        let packet = Packet::new(&Request { id, operation }).map_err(SandboxError::Spawn)?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.inbox.lock();
            if waiting.is_closed {
                return Err(SandboxError::Gone);
            }
            waiting.requests.insert(id, sender);
        }
        let answered = async {
            self.inbox.send(&packet).await.map_err(|_broken| SandboxError::Gone)?;
            receiver.await.map_err(|_closed| SandboxError::Gone)
        };
        let answer = timeout(limit, answered).await;
        // Only left over where nobody waits any more.
        self.inbox.lock().requests.remove(&id);
        Ok(answer.map_err(|_elapsed| SandboxError::Stuck)???)
    }

    /// Sends what needs no answer.
    pub(super) fn post(&self, operation: Operation) {
        let Ok(packet) = Packet::new(&Request { id: 0, operation }) else { return };
        let sent = packet.send(self.inbox.socket.get_ref().as_fd(), &[]);
        let is_full = sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if is_full && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let inbox = Arc::clone(&self.inbox);
            runtime.spawn(async move {
                let _ = inbox.send(&packet).await;
            });
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.is_left() {
            self.post(Operation::Exit);
        }
    }
}

fn one((_, mut descriptors): (Reply, Vec<OwnedFd>)) -> Result<OwnedFd, SandboxError> {
    descriptors.pop().ok_or(SandboxError::Stuck)
}

fn started((reply, descriptors): (Reply, Vec<OwnedFd>)) -> Result<(Started, Vec<OwnedFd>), SandboxError> {
    match reply {
        Reply::Started(started) if descriptors.len() == started.descriptors() => Ok((started, descriptors)),
        Reply::Started(_) | Reply::Done | Reply::Listed(_) => Err(SandboxError::Stuck),
    }
}

/// Starts the process, as the first of a new PID namespace if that is wanted. A thread of its own does it: what it says of
/// the namespace of its children holds for all it starts later.
async fn spawn(program: PathBuf, control: OwnedFd, new_pid_namespace: bool) -> io::Result<Child> {
    let (sender, receiver) = oneshot::channel();
    let start = move || {
        let sealed = seal(&program)?;
        if new_pid_namespace {
            sys::unshare(libc::CLONE_NEWPID)?;
        }
        // Named by descriptor, which the new process has until it has become the program.
        Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()))
            .arg0("husk")
            .arg(process::ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(control))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    };
    std::thread::Builder::new().name("husk-sandbox-start".to_owned()).spawn(move || {
        let _ = sender.send(start());
    })?;
    receiver.await.map_err(io::Error::other)?
}

/// husk's own program, in a form that cannot be written to. A container's root may be the program's owner, and could
/// otherwise come to it through `/proc/PID/exe` of a process that is about to become one of the container's.
fn seal(program: &Path) -> io::Result<OwnedFd> {
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let file = open(program)?;
    if let Ok(mount) = seal_mount(&file) {
        return Ok(mount);
    }
    // It was started from among the mounts of another namespace, but is usually here, too.
    let stat = rustix::fs::fstat(&file)?;
    let is_same = |other: &OwnedFd| {
        rustix::fs::fstat(other).is_ok_and(|other| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino))
    };
    let by_name = std::fs::read_link(program).ok().and_then(|path| open(&path).ok()).filter(is_same);
    if let Some(mount) = by_name.and_then(|file| seal_mount(&file).ok()) {
        return Ok(mount);
    }
    // It was replaced or removed since it was started.
    static COPY: OnceLock<OwnedFd> = OnceLock::new();
    let copy = match COPY.get() {
        Some(copy) => copy,
        None => {
            let made = seal_copy(program)?;
            COPY.get_or_init(|| made)
        }
    };
    copy.try_clone()
}

/// A mount of an open file, and of nothing else, that cannot be written to.
fn seal_mount(file: &OwnedFd) -> io::Result<OwnedFd> {
    let mount = sys::clone_mount(file.as_fd(), false)?;
    let read_only = MountChange { set: libc::MOUNT_ATTR_RDONLY, ..MountChange::default() };
    sys::change_mount(mount.as_fd(), read_only)?;
    Ok(mount)
}

/// A copy in memory that nobody can change.
fn seal_copy(program: &Path) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = std::fs::File::from(rustix::fs::memfd_create(c"husk", flags)?);
    io::copy(&mut std::fs::File::open(program)?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    // For reading only: who is open for writing cannot be executed.
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The socket of the sandbox process in `directory`, whose path may be longer than an address can be.
fn connect(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), process::SOCKET_NAME);
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
