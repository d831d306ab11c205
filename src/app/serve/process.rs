//! The server as a process: one per data directory, in the foreground or the background, found and stopped by others.
//!
//! ```text
//!   server/
//!     lock         locked for as long as the server lives: whoever can lock it knows that none does
//!     state.json   who has the lock: process, since when, address; written anew when the server is ready
//!     api.sock     the Unix socket
//!     objects      what the API server stores
//!     pods/        what pods have on disk, and the journal of their lives
//!     log          what a server in the background says
//! ```
//!
//! A server that is killed leaves all of these; the next one, or `husk stop`, puts them right.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::private;
use crate::app::paths::{Paths, shell_word};

/// How long a server tries to get the lock: others hold it for a moment while they look whether it is free.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);
/// How long a server in the background may take to get ready.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// How long a process may take to be gone once it was killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of the log after which a server in the background begins a new one, and keeps the old one.
const LOG_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of the log that are looked at for why a server did not start.
const LOG_TAIL: u64 = 8 * 1024;
/// What a server in the background says to who has started it.
const READY: &str = "ready";

/// Where a server of a data directory has its things.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The data directory.
    pub(super) data: PathBuf,
    /// The kubeconfig that the server writes.
    pub(super) kubeconfig: PathBuf,
    /// The directory of the server's own.
    pub(super) server: PathBuf,
    /// Its keys.
    pub(super) keys: PathBuf,
    /// The objects.
    pub(super) objects: PathBuf,
    /// What pods have on disk.
    pub(super) pods: PathBuf,
    /// The Unix socket.
    pub(super) socket: PathBuf,
    lock: PathBuf,
    state: PathBuf,
    log: PathBuf,
    /// What has to be added to commands for the same data directory.
    option: String,
}

impl Places {
    pub(in crate::app) fn new(paths: &Paths) -> Self {
        let server = paths.data.join("server");
        Self {
            data: paths.data.clone(),
            kubeconfig: paths.data.join("kubeconfig"),
            keys: server.join("pki"),
            objects: server.join("objects"),
            pods: server.join("pods"),
            socket: server.join("api.sock"),
            lock: server.join("lock"),
            state: server.join("state.json"),
            log: server.join("log"),
            option: paths.data_option(),
            server,
        }
    }

    /// The command that does something with a server of this data directory.
    fn command(&self, verb: &str) -> String {
        format!("husk {verb}{}", self.option)
    }

    /// Removes what a server has left that is no more. The lock must be held.
    fn clear(&self) {
        for path in [&self.state, &self.socket] {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != ErrorKind::NotFound
            {
                warn!(path = %path.display(), %error, "what a server has left could not be removed");
            }
        }
    }

    /// Who has the lock, as far as they have said.
    fn read_state(&self) -> anyhow::Result<Option<State>> {
        let Some(text) = private::read_text(&self.state)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).with_context(|| format!("cannot understand {}", self.state.display()))
    }

    /// Whether somebody has the lock.
    fn is_locked(&self) -> anyhow::Result<bool> {
        let context = || format!("cannot look at {}", self.lock.display());
        let lock = match File::open(&self.lock) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).with_context(context),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).with_context(context),
        }
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    pid: u32,
    since: Timestamp,
    /// How it is reached, once it is ready.
    server: Option<ServerAddress>,
}

/// Where a server is reached, and how one proves to it who one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::app) struct ServerAddress {
    /// Its URL.
    pub(in crate::app) url: String,
    /// A kubeconfig that has the administrator's certificate.
    pub(in crate::app) kubeconfig: PathBuf,
    /// A Unix socket that takes the user for the administrator, with plain HTTP.
    pub(in crate::app) socket: Option<PathBuf>,
}

/// There is no server to talk to.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum NoServer {
    /// None runs.
    #[error("no husk server and no `husk run` is at work on {}: start one with `{start}`", data.display())]
    NotRunning {
        /// The data directory.
        data: PathBuf,
        /// What starts one.
        start: String,
    },
    /// One is about to.
    #[error("the husk server on {} (process {pid}) is starting: try again in a moment", data.display())]
    Starting {
        /// The data directory.
        data: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// What it says of itself cannot be read.
    #[error("cannot tell whether a husk server runs on {}", data.display())]
    Unclear {
        /// The data directory.
        data: PathBuf,
        /// Why.
        source: anyhow::Error,
    },
}

/// The server of the user's data directory.
pub(in crate::app) fn find_server(paths: &Paths) -> Result<ServerAddress, NoServer> {
    let places = Places::new(paths);
    let data = || places.data.clone();
    let found = holder(&places).map_err(|source| NoServer::Unclear { data: data(), source })?;
    match found {
        None => Err(NoServer::NotRunning { data: data(), start: places.command("serve --detach") }),
        Some(State { server: Some(server), .. }) => Ok(server),
        Some(State { pid, server: None, .. }) => Err(NoServer::Starting { data: data(), pid }),
    }
}

/// The server that lives, if one does.
fn holder(places: &Places) -> anyhow::Result<Option<State>> {
    if !places.is_locked()? {
        return Ok(None);
    }
    let state = places.read_state()?;
    // What was read is a dead server's if nobody has the lock any more.
    if !places.is_locked()? {
        return Ok(None);
    }
    state.map(Some).with_context(|| format!("a husk server is just starting on {}: try again", places.data.display()))
}

/// The right to be the server of a data directory, and what the server says of itself. Both end with it.
#[derive(Debug)]
pub(super) struct Claim {
    places: Places,
    state: State,
    /// Held open for its lock.
    _lock: File,
}

impl Claim {
    /// Becomes the one server, or says who is.
    pub(super) async fn take(places: &Places, now: Timestamp) -> anyhow::Result<Self> {
        private::make_directory(&places.server)?;
        let context = || format!("cannot lock {}", places.lock.display());
        let lock = private_options().create(true).truncate(false).open(&places.lock).with_context(context)?;
        let mut tries = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => tries += 1,
                Err(TryLockError::WouldBlock) => return Err(already_running(places)),
                Err(TryLockError::Error(error)) => return Err(error).with_context(context),
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        places.clear();
        let state = State { pid: std::process::id(), since: now, server: None };
        let claim = Self { places: places.clone(), state, _lock: lock };
        claim.write()?;
        Ok(claim)
    }

    /// Says that the server is ready, and how it is reached.
    pub(super) fn ready(&mut self, server: ServerAddress) -> anyhow::Result<()> {
        self.state.server = Some(server);
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        private::write_for_now(&self.places.state, &serde_json::to_vec_pretty(&self.state)?)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.places.clear();
    }
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Who is the server already, and what can be done about it.
fn already_running(places: &Places) -> anyhow::Error {
    let data = places.data.display();
    let state = match places.read_state() {
        Ok(Some(state)) => state,
        Ok(None) => return anyhow!("another husk server is starting on {data}"),
        Err(error) => return error.context(format!("another husk server runs on {data}")),
    };
    let State { pid, since, server } = state;
    let since = since.round(jiff::Unit::Second).unwrap_or(since);
    let stop = places.command("stop");
    match server {
        None => anyhow!("another husk server (process {pid}, since {since}) is starting on {data}; `{stop}` stops it"),
        Some(ServerAddress { url, kubeconfig, .. }) => anyhow!(
            "a husk server runs on {data} already: process {pid}, at {url}, since {since}\n  use it:  export \
             KUBECONFIG={}\n  stop it: {stop}\n  for another one beside it, name another directory with --data-dir",
            shell_word(&kubeconfig)
        ),
    }
}

/// Starts a server in the background and waits until it is ready.
#[cfg(unix)]
pub(super) fn detach(places: &Places) -> anyhow::Result<()> {
    if holder(places)?.is_some() {
        return Err(already_running(places));
    }
    private::make_directory(&places.server)?;
    let (log, begin) = open_log(&places.log)?;
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    // It has no other use for a standard input.
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(crate::cli::serve::IN_BACKGROUND, "1")
        .stdin(OwnedFd::from(theirs))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the server")?;
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answer = [0; READY.len()];
        // Nobody listens any more if the time is up.
        let _ = sender.send(ours.read_exact(&mut answer).is_ok() && answer == READY.as_bytes());
    });
    match said.recv_timeout(READY_LIMIT) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let status = child.wait().context("cannot tell what became of the server")?;
            bail!("{}", why_not(&places.log, begin).unwrap_or_else(|| format!("the server ended with {status}")));
        }
        Err(_) => bail!(
            "the server is not ready after {} s, and goes on starting: see {}",
            READY_LIMIT.as_secs(),
            places.log.display()
        ),
    }
}

/// The log, and where in it a new server begins to write.
fn open_log(path: &Path) -> anyhow::Result<(File, u64)> {
    let context = || format!("cannot write {}", path.display());
    if fs::metadata(path).is_ok_and(|found| found.len() > LOG_BYTES) {
        fs::rename(path, path.with_extension("old")).with_context(context)?;
    }
    let log = private_options().create(true).append(true).open(path).with_context(context)?;
    let begin = log.metadata().with_context(context)?.len();
    Ok((log, begin))
}

/// Begins a new log if that of a server in the background has become long, and keeps the one before. The server goes on
/// writing to the same file, at its end, wherever that is.
pub(super) fn tend_log(places: &Places) -> io::Result<()> {
    let log = private_options().open(&places.log)?;
    if log.metadata()?.len() > LOG_BYTES {
        fs::copy(&places.log, places.log.with_extension("old"))?;
        log.set_len(0)?;
    }
    Ok(())
}

/// What a server that did not start has written as its last words.
fn why_not(log: &Path, begin: u64) -> Option<String> {
    let mut log = File::open(log).ok()?;
    let end = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(begin.max(end.saturating_sub(LOG_TAIL)))).ok()?;
    let mut text = Vec::new();
    log.take(LOG_TAIL).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let last = text.rfind("error: ").map_or(&*text, |at| &text[at + "error: ".len()..]).trim();
    (!last.is_empty()).then(|| last.to_owned())
}

/// Makes a process that was started by [`detach`] one of its own: without a terminal, and without a directory that
/// could not be unmounted.
pub(super) fn leave_terminal() {
    #[cfg(unix)]
    {
        // It fails for the leader of a process group, which has no terminal to leave.
        let _ = rustix::process::setsid();
        let _ = std::env::set_current_dir("/");
    }
}

/// Tells who has started this server in the background, and is at the other end of its standard input, that it is ready.
#[cfg(unix)]
pub(super) fn say_ready() {
    use std::os::fd::AsFd;
    // Who has started it may have gone.
    let _ = io::stdin().as_fd().try_clone_to_owned().and_then(|end| UnixStream::from(end).write_all(READY.as_bytes()));
}

#[cfg(not(unix))]
pub(super) fn say_ready() {}

/// Starts a server in the background.
#[cfg(not(unix))]
pub(super) fn detach(_: &Places) -> anyhow::Result<()> {
    bail!("--detach is not supported on this system")
}

/// How a server was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// There was none.
    NotRunning,
    /// It has ended as it was asked to.
    Ended {
        /// Its process.
        pid: u32,
    },
    /// It has not, and was killed.
    Killed {
        /// Its process.
        pid: u32,
    },
}

/// Asks the server to end and waits for it; kills it if it takes longer than `limit`.
#[cfg(unix)]
pub(super) fn stop(places: &Places, limit: Duration) -> anyhow::Result<Stopped> {
    use rustix::process::Signal;
    let Some(State { pid, .. }) = holder(places)? else {
        // A server that was killed may have left things.
        if let Ok(lock) = File::open(&places.lock)
            && lock.try_lock().is_ok()
        {
            places.clear();
        }
        return Ok(Stopped::NotRunning);
    };
    signal(pid, Signal::TERM)?;
    if wait_for_end(places, pid, limit)? {
        return Ok(Stopped::Ended { pid });
    }
    signal(pid, Signal::KILL)?;
    if wait_for_end(places, pid, KILL_LIMIT)? {
        return Ok(Stopped::Killed { pid });
    }
    bail!("process {pid} was killed, but is still there")
}

/// Asks the server to end and waits for it.
#[cfg(not(unix))]
pub(super) fn stop(places: &Places, _limit: Duration) -> anyhow::Result<Stopped> {
    match holder(places)? {
        None => Ok(Stopped::NotRunning),
        Some(State { pid, .. }) => bail!("a server cannot be stopped from outside on this system: end process {pid}"),
    }
}

#[cfg(unix)]
fn signal(pid: u32, signal: rustix::process::Signal) -> anyhow::Result<()> {
    use rustix::process::{Pid, kill_process};
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("the server's process has no number")?;
    match kill_process(process, signal) {
        // It has ended by itself in the meantime.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot stop process {pid}")),
    }
}

/// Waits for the lock to be free, which it is when the process has ended, and not sooner.
#[cfg(unix)]
fn wait_for_end(places: &Places, pid: u32, limit: Duration) -> anyhow::Result<bool> {
    let lock = File::open(&places.lock).with_context(|| format!("cannot look at {}", places.lock.display()))?;
    let (sender, ended) = mpsc::channel();
    let leftovers = places.clone();
    // The thread ends with this process, if not before.
    std::thread::spawn(move || {
        let locked = lock.lock();
        if locked.is_ok() {
            leftovers.clear();
        }
        let _ = sender.send(locked);
    });
    match ended.recv_timeout(limit) {
        Ok(locked) => locked.map(|()| true).context("cannot wait for the server"),
        // Another may have taken its place already, as when something starts it again whenever it ends.
        Err(_) => Ok(holder(places)?.is_none_or(|state| state.pid != pid)),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn places(root: &Path) -> Places {
        let server = root.join("server");
        Places {
            data: root.to_owned(),
            kubeconfig: root.join("kubeconfig"),
            keys: server.join("pki"),
            objects: server.join("objects"),
            pods: server.join("pods"),
            socket: server.join("api.sock"),
            lock: server.join("lock"),
            state: server.join("state.json"),
            log: server.join("log"),
            option: String::new(),
            server,
        }
    }

    fn address(places: &Places) -> ServerAddress {
        let (url, kubeconfig) = ("https://127.0.0.1:6443".to_owned(), places.kubeconfig.clone());
        ServerAddress { url, kubeconfig, socket: None }
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[tokio::test(start_paused = true)]
    async fn there_is_one_server_which_says_who_it_is() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        assert_eq!(holder(&places).unwrap(), None);
        let mut claim = Claim::take(&places, NOW).await.unwrap();
        let error = Claim::take(&places, NOW).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())) && error.contains("is starting"), "{error}");
        claim.ready(address(&places)).unwrap();
        assert_eq!(holder(&places).unwrap().unwrap().server, Some(address(&places)));
        let error = Claim::take(&places, NOW).await.unwrap_err().to_string();
        for part in ["https://127.0.0.1:6443", "since 1970-01-01T00:00:00Z", "husk stop", "/kubeconfig"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        drop(claim);
        assert_eq!(holder(&places).unwrap(), None);
        assert!(!places.state.exists());
        Claim::take(&places, NOW).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_killed_server_has_left_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        private::make_directory(&places.server).unwrap();
        let state = State { pid: 1, since: NOW, server: Some(address(&places)) };
        private::write(&places.state, &serde_json::to_vec(&state).unwrap()).unwrap();
        private::write(&places.socket, b"").unwrap();
        private::write(&places.lock, b"").unwrap();
        assert_eq!(holder(&places).unwrap(), None);
        assert_eq!(stop(&places, Duration::ZERO).unwrap(), Stopped::NotRunning);
        assert!(!places.state.exists() && !places.socket.exists());
        private::write(&places.state, b"{half").unwrap();
        let claim = Claim::take(&places, NOW).await.unwrap();
        assert_eq!(holder(&places).unwrap().unwrap().pid, std::process::id());
        drop(claim);
    }

    #[test]
    fn the_last_words_of_a_server_are_its_error() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("log");
        fs::write(&log, "error: of yesterday\n").unwrap();
        let begin = fs::metadata(&log).unwrap().len();
        assert_eq!(why_not(&log, begin), None);
        fs::write(&log, "error: of yesterday\nWARN something\nerror: the port is taken\n  by whom\n").unwrap();
        assert_eq!(why_not(&log, begin).unwrap(), "the port is taken\n  by whom");
    }
}
