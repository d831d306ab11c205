//! Makes a pod's namespaces: those of the network, IPC, hostname and mounts. The PID namespace was made by the agent,
//! which started this process as its first.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::super::protocol::{Context, Failure, Setup, VERSION};
use super::super::sys::{self, MountChange, SingleThreaded};
use super::super::user_namespace;
use super::{network, reaper};

/// What `/dev/shm` holds unless the pod says otherwise.
const SHM_BYTES: u64 = 64 * 1024 * 1024;

/// How little the kernel should like to kill a sandbox process.
const SANDBOX_OOM_SCORE: &str = "-998";

/// The name of the socket, in the sandbox's directory, through which the next agent comes in.
pub(in super::super) const SOCKET_NAME: &str = "control.sock";

/// A pod's namespaces, and what belongs to them.
pub(super) struct Namespaces {
    pub(super) setup: Setup,
    /// The first process of the PID namespace that containers share, if they do.
    pub(super) shared_processes: Option<OwnedFd>,
    /// The mount namespace of the agent, for mounts that are to show there; of root's agents only.
    pub(super) agents_mounts: Option<OwnedFd>,
    /// What containers have at `/dev/shm`. A path, for each of them sees it through mounts of its own.
    pub(super) shm: PathBuf,
    /// Where the next agent comes in, if the pod is to be adopted.
    pub(super) listener: Option<OwnedFd>,
    /// Whether this is not the user namespace of the system.
    pub(super) is_rootless: bool,
}

impl Namespaces {
    /// Whether containers have PID namespaces of their own.
    pub(super) fn separates_processes(&self) -> bool {
        !self.setup.share_process_namespace && !self.setup.linux.host_pid
    }
}

/// Makes the namespaces that `setup` asks for and enters them.
pub(super) fn set_up(proof: SingleThreaded, setup: Setup) -> Result<Namespaces, Failure> {
    if setup.version != VERSION {
        return Err(Failure::failed(format!("the agent speaks version {} and this is {VERSION}", setup.version)));
    }
    let linux = &setup.linux;
    // Containers go first when memory is short (kubelet v1.36 `PodInfraOOMAdj`). Only root may say so.
    let _ = fs::write("/proc/self/oom_score_adj", SANDBOX_OOM_SCORE);
    let is_rootless = user_namespace::is_inside();
    let agents_mounts = if is_rootless { None } else { Some(open("/proc/self/ns/mnt", OFlags::RDONLY)?) };
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWUTS;
    if !linux.host_network {
        flags |= libc::CLONE_NEWNET;
    }
    if !linux.host_ipc {
        flags |= libc::CLONE_NEWIPC;
    }
    sys::unshare(flags).context(|| "cannot make the pod's namespaces")?;
    let slave = MountChange { propagation: libc::MS_SLAVE, recursive: true, ..MountChange::default() };
    sys::change_mount(open("/", OFlags::PATH)?.as_fd(), slave).context(|| "cannot separate the pod's mounts")?;
    set_names(&setup)?;
    if !linux.host_network {
        network::loopback_up()?;
        network::let_all_bind_low_ports();
    }
    for (name, value) in &linux.sysctls {
        network::write_sysctl(linux, name, value)?;
    }
    let shares = setup.share_process_namespace && !linux.host_pid;
    let shared_processes = if shares { Some(reaper::start(proof, &linux.directory)?) } else { None };
    let directory = open(&linux.directory, OFlags::PATH | OFlags::DIRECTORY)?;
    let shm = if linux.host_ipc { "/dev/shm".into() } else { mount_shm(linux.shm_bytes, &linux.directory)? };
    let listener = if linux.adoptable { Some(listen(&directory)?) } else { None };
    Ok(Namespaces { shared_processes, agents_mounts, shm, listener, is_rootless, setup })
}

fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Failure> {
    let path = path.as_ref();
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).context(|| format!("cannot open {}", path.display()))
}

fn set_names(setup: &Setup) -> Result<(), Failure> {
    rustix::system::sethostname(setup.hostname.as_bytes()).context(|| "cannot set the pod's hostname")?;
    match &setup.linux.domainname {
        Some(name) => sys::set_domain_name(name).context(|| "cannot set the pod's domain name"),
        None => Ok(()),
    }
}

fn mount_shm(bytes: u64, directory: &Path) -> Result<PathBuf, Failure> {
    let path = directory.join("shm");
    fs::create_dir_all(&path).context(|| format!("cannot make {}", path.display()))?;
    let target = open(&path, OFlags::PATH | OFlags::DIRECTORY)?;
    let bytes = if bytes == 0 { SHM_BYTES } else { bytes };
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    super::mounts::mount_on(target.as_fd(), c"shm", c"tmpfs", flags, &format!("mode=1777,size={bytes}"))
        .context(|| "cannot mount the pod's /dev/shm")?;
    Ok(path)
}

/// A socket in the sandbox's directory, whose path may be longer than an address can be.
fn listen(directory: &OwnedFd) -> Result<OwnedFd, Failure> {
    let what = || "cannot listen for the next agent";
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.context(what)?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
    let _ = fs::remove_file(&path);
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).context(what)?).context(what)?;
    rustix::net::listen(&socket, 1).context(what)?;
    Ok(socket)
}
