//! The terminal husk runs on, lent to the one container that has a terminal of its own and reads standard input: keys
//! go to it as they are, and what it prints is shown as it is, for as long as it runs.

use std::io::{IsTerminal, Read};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::cluster::PodKey;
use crate::base::pipe::{self, PipeReader, PipeWriter};
use crate::node::Keyboard;
use crate::runtime::TerminalSize;

/// Bytes of standard input read at once.
const CHUNK: usize = 64 * 1024;

/// Standard input, and the terminal it comes from, for the container that wants them.
#[derive(Debug, Clone)]
pub(super) struct Console(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Who gets standard input.
    reader: Option<(PodKey, String)>,
    /// Whether that container's terminal is this one.
    lends_terminal: bool,
    input: OnceLock<PipeReader>,
    #[cfg(unix)]
    before: Mutex<Option<rustix::termios::Termios>>,
}

impl Console {
    /// Standard input goes to the first container that wants it, and the terminal with it.
    pub(super) fn new(pods: &[Arc<Pod>], stdin_free: bool) -> Self {
        let wants = |container: &&Container| container.stdin == Some(true);
        let found = pods.iter().filter(|_| stdin_free).find_map(|pod| {
            let container = pod.spec.as_ref()?.containers.iter().find(wants)?;
            Some(((PodKey::of(pod), container.name.clone()), container.tty == Some(true)))
        });
        let has_tty = found.as_ref().is_some_and(|(_, tty)| *tty);
        let lends_terminal = has_tty && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let reader = found.map(|(reader, _)| reader);
        let shared = Shared {
            reader,
            lends_terminal,
            input: OnceLock::new(),
            #[cfg(unix)]
            before: Mutex::default(),
        };
        Self(Arc::new(shared))
    }

    /// What feeds this container, which is about to start; a terminal that is lent turns raw. Others than the one that gets
    /// standard input find theirs at its end: nobody will attach to them.
    pub(super) fn keyboard(&self, pod: &Pod, container: &Container) -> Option<Keyboard> {
        let Some((key, name)) = self.0.reader.as_ref() else {
            return Some(Keyboard { input: ended(), terminal_size: None });
        };
        if PodKey::of(pod) != *key || container.name != *name {
            return Some(Keyboard { input: ended(), terminal_size: None });
        }
        let input = self.0.input.get_or_init(read_stdin).clone();
        self.make_raw();
        Some(Keyboard { input, terminal_size: self.size() })
    }

    /// Whether the terminal is lent to this container.
    pub(super) fn is_lent_to(&self, pod: &PodKey, container: &str) -> bool {
        let reader = self.0.reader.as_ref().filter(|_| self.0.lends_terminal);
        reader.is_some_and(|(key, name)| key == pod && name == container)
    }

    /// The pod and container the terminal is lent to, if it is.
    pub(super) fn borrower(&self) -> Option<&(PodKey, String)> {
        self.0.reader.as_ref().filter(|_| self.0.lends_terminal)
    }

    /// The terminal's size, if it is lent.
    pub(super) fn size(&self) -> Option<TerminalSize> {
        #[cfg(unix)]
        if self.0.lends_terminal {
            let size = rustix::termios::tcgetwinsize(std::io::stdin()).ok()?;
            return Some(TerminalSize { rows: size.ws_row, columns: size.ws_col });
        }
        None
    }

    #[cfg(unix)]
    fn make_raw(&self) {
        use rustix::termios::{InputModes, LocalModes, OptionalActions, tcgetattr, tcsetattr};

        let mut before = self.before();
        if !self.0.lends_terminal || before.is_some() {
            return;
        }
        let Ok(termios) = tcgetattr(std::io::stdin()) else { return };
        let mut raw = termios.clone();
        // What is printed stays as it is, for husk prints too.
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        raw.input_modes.remove(InputModes::ICRNL | InputModes::IXON | InputModes::BRKINT | InputModes::INPCK);
        if tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).is_ok() {
            *before = Some(termios);
        }
    }

    #[cfg(not(unix))]
    fn make_raw(&self) {}

    /// Takes the terminal back: it is as it was.
    pub(super) fn restore(&self) {
        #[cfg(unix)]
        if let Some(termios) = self.before().take() {
            // A terminal that is gone needs no restoring.
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &termios);
        }
    }

    #[cfg(unix)]
    fn before(&self) -> MutexGuard<'_, Option<rustix::termios::Termios>> {
        self.0.before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An input that is at its end.
fn ended() -> PipeReader {
    pipe::pipe(1).1
}

/// Reads this process's standard input on a thread of its own, which ends with the input or the process.
fn read_stdin() -> PipeReader {
    let (writer, reader) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || pass_on_stdin(&runtime, &writer));
    reader
}

fn pass_on_stdin(runtime: &tokio::runtime::Handle, writer: &PipeWriter) {
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        let bytes = Bytes::copy_from_slice(&buffer[..count]);
        if runtime.block_on(writer.write_all(bytes)).is_err() {
            return;
        }
    }
}
