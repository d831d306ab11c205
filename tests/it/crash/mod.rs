//! A server that is killed, again and again, at moments that a seed chooses: what clients were told stays true.
//!
//! ```text
//!   writers ──▶ acknowledged changes ──▶ Killer: kills the server after so many, starts another
//!      ▲ the server is gone: look what became of the last one, go on            │
//!   watchers ── follow from the last version they saw, or list anew if told so ◀┘
//! ```
//!
//! How far things have come is counted, not timed, so that a slow machine tests the same. What a failed run prints can be
//! tried again with `HUSK_CRASH_SEED`, though not to the microsecond; `HUSK_CRASH_KILLS` makes runs longer.

#![cfg(unix)]

mod client;
mod objects;
mod pods;

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use tokio::sync::Notify;

use crate::support::Husk;

use self::client::Client;

/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(600);
/// The longest that a server lives which is killed while it starts.
const START: Duration = Duration::from_millis(60);

/// What decides on a run, and how often it kills.
struct Settings {
    seed: u64,
    kills: usize,
}

impl Settings {
    fn new(seed: u64, kills: usize) -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        Self {
            seed: number("HUSK_CRASH_SEED").unwrap_or(seed),
            kills: number("HUSK_CRASH_KILLS").map_or(kills, |kills| kills.try_into().unwrap()),
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "to try it again: HUSK_CRASH_SEED={}", self.seed);
        }
    }
}

/// Tells what a run was like, for those who want to know.
#[expect(clippy::print_stdout, reason = "shown with `--nocapture`, or when the test fails")]
fn report(text: &str) {
    println!("{text}");
}

/// Runs a test to its end, all of it on one thread.
fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(LIMIT, work).await });
    assert!(ended.is_ok(), "nothing goes on");
}

/// A server, one life after the other.
struct Server<'h> {
    husk: &'h Husk,
    life: Option<Child>,
}

impl<'h> Server<'h> {
    fn new(husk: &'h Husk) -> Self {
        Self { husk, life: None }
    }

    fn client(&self) -> Client {
        Client::new(self.husk.dir().join("data/server/api.sock"))
    }

    /// Begins a life; clients find out by themselves when it can be talked to.
    fn start(&mut self) {
        let said = File::options().create(true).append(true).open(self.husk.dir().join("said")).unwrap();
        let mut command = self.husk.command(["serve", "--port", "0"]);
        self.life = Some(command.stdout(Stdio::null()).stderr(said).spawn().unwrap());
    }

    /// Ends it, and makes sure that nothing else did.
    fn kill(&mut self) {
        let Some(mut life) = self.life.take() else { return };
        let ended = life.try_wait().unwrap();
        life.kill().unwrap();
        life.wait().unwrap();
        assert_eq!(ended, None, "{}", self.said());
    }

    /// What all of them have said.
    fn said(&self) -> String {
        fs::read_to_string(self.husk.dir().join("said")).unwrap()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some(mut life) = self.life.take() {
            let _ = life.kill();
            let _ = life.wait();
        }
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the servers said: {}", self.said());
        }
    }
}

/// How far things have come.
#[derive(Default)]
struct Progress {
    steps: Cell<usize>,
    news: Notify,
}

impl Progress {
    /// One step further.
    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
        self.news();
    }

    /// Something has changed that may be waited for.
    fn news(&self) {
        self.news.notify_waiters();
    }

    /// Waits until something is so; it is looked at again whenever there is news.
    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let next = self.news.notified();
            if is_so() {
                return;
            }
            next.await;
        }
    }

    /// Waits for so many more.
    async fn steps(&self, count: usize) {
        let goal = self.steps.get() + count;
        self.until(|| self.steps.get() >= goal).await;
    }
}
