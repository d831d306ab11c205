//! The real `kubectl` against a server, as a user types it: the transcripts of `tests/data/kubectl/`, and what somebody at a
//! terminal does. Where there is no kubectl, the tests say so.

#![cfg(unix)]

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mask::Masks;
use crate::support::Husk;
use crate::terminal::Terminal;
use crate::transcript::{Compare, check};

/// The minor version of the kubectl whose words the transcripts have. Of another, the exit codes are compared.
const VERSION: &str = "32";
/// Names a program to be used as kubectl, so that others than the one on the path can be tried.
const KUBECTL: &str = "HUSK_TEST_KUBECTL";

/// A server, and kubectl with its kubeconfig.
struct Kubectl {
    husk: Husk,
    /// The minor version of the program: of a dispatcher, the one that it takes for this server.
    version: String,
}

impl Kubectl {
    /// `None` where there is no kubectl.
    fn start(test: &str) -> Option<Self> {
        let program = std::env::var_os(KUBECTL).unwrap_or_else(|| "kubectl".into());
        if Command::new(&program).args(["version", "--client"]).output().is_err() {
            let _ = writeln!(std::io::stderr(), "not run here: {test}: there is no kubectl");
            return None;
        }
        let husk = Husk::new();
        husk.husk(["serve", "--detach", "--port", "0"]).ok();
        if program != "kubectl" {
            husk.write("bin/.keep", "");
            std::os::unix::fs::symlink(program, husk.dir().join("bin/kubectl")).unwrap();
        }
        for entry in fs::read_dir(data()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                fs::copy(&path, husk.dir().join(path.file_name().unwrap())).unwrap();
            }
        }
        let mut kubectl = Self { husk, version: String::new() };
        let output = kubectl.command("kubectl", &["version", "-o", "json"]).output().unwrap();
        let versions: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        kubectl.version = versions["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+').to_owned();
        Some(kubectl)
    }

    /// A program of a user who has only this server.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let dir = self.husk.dir();
        let mut path = OsString::from(dir.join("bin"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(dir)
            .env("PATH", path)
            .env("HOME", dir)
            .env("KUBECONFIG", dir.join("data/kubeconfig"))
            .env("KUBECACHEDIR", dir.join("kubecache"))
            .env("TMPDIR", dir)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env_remove("UPDATE");
        command
    }

    /// kubectl on a terminal of 30 rows and 90 columns.
    fn on_a_terminal(&self, args: &[&str]) -> Terminal {
        Terminal::spawn(self.command("kubectl", args), 30, 90)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.command("kubectl", args).stdin(std::process::Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        self.husk.husk(["stop", "--timeout", "10s"]);
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubectl")
}

/// Does what the transcript of this name says.
fn transcript(name: &str) {
    let Some(kubectl) = Kubectl::start(name) else { return };
    let compare = if kubectl.version == VERSION {
        Compare::Everything
    } else {
        let other = &kubectl.version;
        let _ = writeln!(
            std::io::stderr(),
            "not run here: {name}: what is shown is compared for kubectl 1.{VERSION}, not 1.{other}; exit codes are"
        );
        Compare::Codes
    };
    let state = fs::read(kubectl.husk.dir().join("data/server/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let url = state["server"]["url"].as_str().unwrap();
    let node = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let dir = fs::canonicalize(kubectl.husk.dir()).unwrap();
    let masks = Masks::new(vec![
        (url.to_owned(), "<server>".to_owned()),
        (url.trim_start_matches("https://").to_owned(), "<server>".to_owned()),
        (dir.display().to_string(), "<home>".to_owned()),
        (format!("node-debugger-{node}"), "node-debugger-<node>".to_owned()),
        (format!("default-scheduler-{node}"), "default-scheduler-<node>".to_owned()),
        (node, "<node>".to_owned()),
    ]);
    check(&data().join(format!("{name}.txt")), kubectl.command("sh", &[]), &masks, compare);
}

/// One test of each transcript.
macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test] fn $name() { transcript(stringify!($name)); })*

        #[test]
        fn every_transcript_is_checked() {
            for entry in fs::read_dir(data()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "txt") {
                    let name = path.file_stem().unwrap().to_string_lossy();
                    assert!([$(stringify!($name)),*].contains(&&*name), "no test does what {} says", path.display());
                }
            }
        }
    };
}

transcripts!(apply cluster describe discovery get objects pods);

/// What somebody types into a shell that runs in a container, on a terminal of 30 rows and 90 columns, and what it answers.
pub(crate) fn use_shell(shell: &mut Terminal) {
    shell.enter("echo $((6*7))-is\r", &["42-is\r", "# "]);
    shell.enter("stty size\r", &["30 90\r", "# "]);
    shell.resize(40, 100);
    // The news of it travels beside what is typed.
    shell.enter("until stty size | grep -q '40 100'; do sleep 0.1; done; echo resi''zed\r", &["resized\r", "# "]);
    // A shell loses an interrupt that comes before it has handed the terminal to what it starts.
    shell.enter("sh -c 'echo begun; exec sleep 1000'\r", &["1000'\r", "begun\r"]);
    shell.enter("\x03", &["# "]);
    shell.enter("echo code $?\r", &["code 130\r", "# "]);
}

#[test]
fn a_shell_is_worked_in_from_a_terminal() {
    let Some(kubectl) = Kubectl::start("a_shell_is_worked_in_from_a_terminal") else { return };
    kubectl.ok(&["run", "sleeper", "--image=busybox", "--restart=Never", "--", "sleep", "3600"]);
    kubectl.ok(&["wait", "pod/sleeper", "--for=condition=Ready", "--timeout=90s"]);
    let mut shell = kubectl.on_a_terminal(&["exec", "-it", "sleeper", "--", "sh"]);
    shell.see("# ");
    use_shell(&mut shell);
    shell.enter("exit 3\r", &["command terminated with exit code 3"]);
    assert_eq!(shell.end().0, 3);
    // Ctrl-D is the end of what is typed, at which a program that reads ends well.
    let mut cat = kubectl.on_a_terminal(&["exec", "-it", "sleeper", "--", "cat"]);
    cat.enter("typed\r", &["typed\r\n", "typed\r\n"]);
    cat.enter("\x04", &[]);
    assert_eq!(cat.end().0, 0);
    let mut debug =
        kubectl.on_a_terminal(&["debug", "-it", "sleeper", "--image=busybox", "--target=sleeper", "--", "sh"]);
    // Whoever comes late presses Enter for a prompt.
    debug.see("If you don't see a command prompt, try pressing enter.");
    debug.enter("\r", &["# "]);
    debug.enter("echo $((6*7))-is\r", &["42-is\r", "# "]);
    debug.enter("exit\r", &[]);
    assert_eq!(debug.end().0, 0);
}

#[test]
fn a_pod_is_run_for_a_terminal_and_attached_to_from_another() {
    let Some(kubectl) = Kubectl::start("a_pod_is_run_for_a_terminal_and_attached_to_from_another") else { return };
    let run = ["run", "-it", "--rm", "shell", "--image=busybox", "--restart=Never", "--", "sh"];
    let mut shell = kubectl.on_a_terminal(&run);
    shell.see("If you don't see a command prompt, try pressing enter.");
    shell.enter("\r", &["# "]);
    use_shell(&mut shell);
    // What is typed at one terminal shows at the other.
    let mut other = kubectl.on_a_terminal(&["attach", "-it", "shell"]);
    other.see("If you don't see a command prompt, try pressing enter.");
    other.enter("echo from the $((1+1))nd\r", &["from the 2nd\r", "# "]);
    shell.see("from the 2nd\r");
    shell.enter("exit\r", &["pod \"shell\" deleted"]);
    assert_eq!((shell.end().0, other.end().0), (0, 0));
    assert_eq!(kubectl.ok(&["get", "pods", "-o", "name"]), "");
}
