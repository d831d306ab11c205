//! Runs the real `husk` program in a directory of its own, on real guests.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// No run of a test takes longer, in husk's own notation; a test that hangs fails with exit code 124.
const TIME_LIMIT: &str = "120s";

/// How long a test waits for a line that must come.
pub(crate) const LINE_LIMIT: Duration = Duration::from_secs(90);

/// One user's husk: a data directory of its own, the compiled-code cache shared with all tests.
pub(crate) struct Husk {
    dir: tempfile::TempDir,
    /// A command that runs husk as somebody else, with what that is given before husk's own path.
    launcher: Vec<OsString>,
    cache: PathBuf,
    imported: Mutex<Vec<String>>,
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Husk {
    pub(crate) fn new() -> Self {
        Self::launched(tempfile::tempdir().unwrap(), Vec::new(), "cache")
    }

    /// Another user's, to whom `dir` belongs, started by way of a command; `cache` is the name of that user's.
    pub(crate) fn launched(dir: tempfile::TempDir, launcher: Vec<OsString>, cache: &str) -> Self {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache);
        Self { dir, launcher, cache, imported: Mutex::default() }
    }

    /// A place for files of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of the test and gives its path.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut words = self.launcher.iter().map(OsString::as_os_str).chain([env!("CARGO_BIN_EXE_husk").as_ref()]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(args)
            .current_dir(self.dir.path())
            .env("HUSK_DATA_DIR", self.dir.path().join("data"))
            .env("HUSK_CACHE_DIR", &self.cache)
            .env_remove("HUSK_LOG")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        if !self.launcher.is_empty() {
            command.env("HOME", self.dir.path()).env_remove("XDG_CONFIG_HOME");
        }
        command
    }

    /// Runs husk to its end.
    pub(crate) fn husk<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Outcome {
        self.command(args).output().unwrap().into()
    }

    /// The same, with variables in its environment.
    pub(crate) fn husk_with<I: AsRef<OsStr>>(
        &self,
        variables: impl IntoIterator<Item = (&'static str, I)>,
        args: impl IntoIterator<Item = I>,
    ) -> Outcome {
        self.command(args).envs(variables).output().unwrap().into()
    }

    /// Makes an image of a test guest and gives its name: `test/p2/print` for `("p2", "print")`.
    pub(crate) fn image(&self, level: &str, guest: &str) -> String {
        let name = format!("test/{level}/{guest}");
        let mut imported = self.imported.lock().unwrap();
        if !imported.contains(&name) {
            let file = guest_file(level, guest);
            let outcome = self.husk([OsStr::new("image"), "import".as_ref(), file.as_ref(), name.as_ref()]);
            assert_eq!(outcome.code, 0, "{outcome:?}");
            imported.push(name.clone());
        }
        name
    }

    /// Writes manifests to a file, importing every image called `test/LEVEL/GUEST` that they name.
    pub(crate) fn manifest(&self, yaml: &str) -> PathBuf {
        for word in yaml.split(['"', ' ', '\n', ',', '}', '{']).filter(|word| word.starts_with("test/")) {
            if let [_, level, guest] = word.split('/').collect::<Vec<_>>()[..] {
                self.image(level, guest);
            }
        }
        self.write("pod.yaml", yaml)
    }

    /// `husk run --timeout … ARGS pod.yaml`, to its end.
    pub(crate) fn run(&self, yaml: &str, args: &[&str]) -> Outcome {
        self.run_command(yaml, args).output().unwrap().into()
    }

    /// The same, not started yet.
    pub(crate) fn run_command(&self, yaml: &str, args: &[&str]) -> Command {
        let file = self.manifest(yaml);
        let mut command = self.command(["run", "--timeout", TIME_LIMIT]);
        command.args(args).arg(file);
        command
    }

    /// Runs one pod with `-o json` and gives it as it was at the end.
    pub(crate) fn final_pod(&self, yaml: &str) -> Pod {
        let outcome = self.run(yaml, &["-o", "json"]);
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
    }

    /// Starts a run and leaves it running.
    pub(crate) fn start(&self, yaml: &str, args: &[&str]) -> Running {
        Running::spawn(&mut self.run_command(yaml, args))
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl Outcome {
    /// Asserts success and gives standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Asserts that standard output has this line, and gives everything back for more.
    #[track_caller]
    pub(crate) fn has(self, line: &str) -> Self {
        assert!(self.stdout.lines().any(|found| found == line), "no line {line:?} in {self:?}");
        self
    }

    /// Asserts that standard error holds this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A run under way.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<(usize, String)>,
    /// All lines, each with the stream it came from.
    seen: Vec<(usize, String)>,
    /// Of either stream, where what has not been waited for begins in `seen`.
    waited: [usize; 2],
}

impl Running {
    /// Starts a command.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        for (stream, reader) in [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)].into_iter().enumerate() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines() {
                    let Ok(line) = line else { return };
                    if sender.send((stream, line)).is_err() {
                        return;
                    }
                }
            });
        }
        Self { child, lines, seen: Vec::new(), waited: [0; 2] }
    }

    /// Waits for a line that contains `text`, behind the last one waited for of the same stream: output and error are
    /// each in order, but in none between them.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mut place = self.waited[0].min(self.waited[1]);
        loop {
            while let Some((stream, line)) = self.seen.get(place) {
                place += 1;
                if place > self.waited[*stream] && line.contains(text) {
                    self.waited[*stream] = place;
                    return line.clone();
                }
            }
            match self.lines.recv_timeout(LINE_LIMIT) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no line with {text:?} ({error}) in {:#?}", self.seen),
            }
        }
    }

    pub(crate) fn write_stdin(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Sends a signal to husk itself.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and gives the exit code and all lines.
    pub(crate) fn end(mut self) -> (i32, Vec<String>) {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        self.seen.extend(self.lines.iter());
        (code, std::mem::take(&mut self.seen).into_iter().map(|(_, line)| line).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request to the host's loopback and gives the whole answer; waits for the port to open.
pub(crate) fn http_get(port: u16, path: &str) -> String {
    for _ in 0..600 {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut answer = String::new();
            let sent = write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            // A connection that is accepted before the guest listens is closed again.
            if sent.is_ok() && stream.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
                return answer;
            }
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("nothing answered on port {port}");
}

/// The file of a test guest, as the build made it.
pub(crate) fn guest_file(level: &str, guest: &str) -> PathBuf {
    let file = Path::new(env!("HUSK_GUESTS_DIR")).join(level).join(format!("{guest}.wasm"));
    assert!(file.exists(), "no guest {}", file.display());
    file
}

/// The status of a container, init or app.
#[track_caller]
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> &'a ContainerStatus {
    let status = pod.status.as_ref().unwrap();
    let mut all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    all.find(|container| container.name == name).unwrap_or_else(|| panic!("no container {name} in {status:?}"))
}

/// Exit code, reason and message of a terminated container.
#[track_caller]
pub(crate) fn termination(pod: &Pod, name: &str) -> (i32, String, String) {
    let state = container(pod, name).state.as_ref().unwrap();
    let terminated = state.terminated.as_ref().unwrap_or_else(|| panic!("{name} is not terminated: {state:?}"));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    (terminated.exit_code, text(&terminated.reason), text(&terminated.message))
}

/// A pod with one container, called `c`, that is not restarted. `more` is YAML at the container's level.
pub(crate) fn pod(image: &str, args: &[&str], more: &str) -> String {
    let args = serde_json::to_string(args).unwrap();
    let more: String = more.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n    \
         - name: c\n      image: {image}\n      args: {args}\n{more}"
    )
}

/// An address of this machine that is not loopback and that a test may use, named by `HUSK_TEST_OUTSIDE_IP`: `.ci/run`
/// makes one in a network namespace. Without it the test cannot run here, and says so past the capture of its output.
pub(crate) fn outside_ip(test: &str) -> Option<IpAddr> {
    let ip = std::env::var("HUSK_TEST_OUTSIDE_IP").ok().map(|ip| ip.parse().unwrap());
    if ip.is_none() {
        let _ = writeln!(std::io::stderr(), "not run here: {test}: HUSK_TEST_OUTSIDE_IP names no address");
    }
    ip
}
