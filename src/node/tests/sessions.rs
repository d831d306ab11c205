//! Reaching into containers by real guests: programs executed with streams of their own, attaching, and
//! files copied in and out as `kubectl cp` does it.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::scene::{Scene, text};
use crate::base::pipe::{self, PipeReader, PipeWriter};
use crate::node::Attach;
use crate::runtime::{Container, ExecRequest, Signal, TerminalSize};

/// A pod whose container waits.
fn waiting() -> Scene {
    Scene::real(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: busybox, command: [sleep, \
         '100000'], env: [{name: GREETING, value: hello}], workingDir: /tmp}]}}",
    )
    .start()
}

/// A program under way, and the ends of its streams.
struct Session {
    process: Arc<dyn Container>,
    stdin: PipeWriter,
    stdout: PipeReader,
    stderr: PipeReader,
    /// What has come and was not asked for yet.
    shown: String,
}

async fn start(scene: &Scene, argv: &[&str], tty: bool) -> Session {
    let (stdin, reading) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let (out, stdout) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let (error, stderr) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let request = ExecRequest { argv, stdin: Some(reading), stdout: out, stderr: error, tty };
    let process = scene.handle().access().exec("c", request).await.unwrap();
    Session { process, stdin, stdout, stderr, shown: String::new() }
}

impl Session {
    async fn types(&self, text: &str) {
        self.stdin.write_all(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    }

    /// Reads on until this has come.
    async fn shows(&mut self, wanted: &str) {
        loop {
            if let Some(found) = self.shown.find(wanted) {
                self.shown.drain(..found + wanted.len());
                return;
            }
            let bytes = self.stdout.read(usize::MAX).await.unwrap();
            let bytes = bytes.unwrap_or_else(|| panic!("the output ended without {wanted:?}: {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// What is left of both streams, and the exit code.
    async fn ends(self) -> (String, String, i32) {
        let (stdout, stderr, status) = tokio::join!(text(&self.stdout), text(&self.stderr), self.process.wait());
        (self.shown + &stdout, stderr, status.code)
    }
}

#[tokio::test(start_paused = true)]
async fn an_executed_program_has_its_arguments_streams_and_exit_code() {
    let scene = waiting();
    scene.until("state c Running").await;
    let script = "echo $GREETING \"$@\" in $PWD; cat; echo problem >&2; exit 7";
    let session = start(&scene, &["sh", "-c", script, "name", "a b", "c"], false).await;
    session.types("typed\n").await;
    session.stdin.close();
    let ends = session.ends().await;
    assert_eq!(ends, ("hello a b c in /tmp\ntyped\n".to_owned(), "problem\n".to_owned(), 7));
    let (stdout, _printed) = pipe::pipe(64);
    let nothing =
        ExecRequest { argv: vec!["none".to_owned()], stdin: None, stdout: stdout.clone(), stderr: stdout, tty: false };
    let refused = scene.handle().access().exec("c", nothing).await.err().unwrap().to_string();
    assert!(refused.contains("executable file not found in $PATH"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_executed_program_gets_signals_and_ends_when_nobody_wants_it() {
    let scene = waiting();
    scene.until("state c Running").await;
    let script = "trap 'echo got TERM; exit 3' TERM; echo ready; while :; do sleep 1; done";
    let mut session = start(&scene, &["sh", "-c", script], false).await;
    session.shows("ready\n").await;
    session.process.signal(Signal::Term);
    assert_eq!(session.ends().await, ("got TERM\n".to_owned(), String::new(), 3));
    let mut session = start(&scene, &["sh", "-c", "echo ready; exec sleep 12345"], false).await;
    session.shows("ready\n").await;
    drop(session);
    // The pattern is not what it looks for, so that the shell that holds it is not found.
    let (_, left) = scene.exec("c", &["sh", "-c", "sleep 0.1; pgrep -f '1234[5]'; true"]).await;
    assert_eq!(left, "");
}

#[tokio::test(start_paused = true)]
async fn exec_runs_a_program_in_the_shells_own_process() {
    let scene = waiting();
    scene.until("state c Running").await;
    let script = "umask 077; trap 'echo no longer caught' USR1; trap '' HUP; echo $$; exec env A=b sh -c 'echo $$ $A; umask; \
                  kill -HUP $$; ps -o args | grep -c \"A=[b]\"; kill -USR1 $$; echo not reached'";
    let (code, printed) = scene.exec("c", &["sh", "-c", script]).await;
    let lines: Vec<_> = printed.lines().collect();
    let pid = lines[0];
    assert_eq!((code, &lines[1..]), (138, [format!("{pid} b").as_str(), "0077", "0"].as_slice()), "{printed}");
    let failing = "(exec sh -c 'exit 3'); echo $?; exec nothing; echo not reached";
    let (code, printed) = scene.exec("c", &["sh", "-c", failing]).await;
    assert_eq!((code, printed.as_str()), (127, "3\nsh: nothing: not found\n"));
}

#[tokio::test(start_paused = true)]
async fn the_last_command_of_a_shell_takes_its_place_unless_a_trap_waits() {
    let scene = waiting();
    scene.until("state c Running").await;
    let (_, printed) = scene.exec("c", &["sh", "-c", "false || true && ps -o ppid,args\n"]).await;
    assert_eq!(printed, " PPID COMMAND\n    0 sleep 100000\n    0 ps -o ppid,args\n");
    let (_, printed) = scene.exec("c", &["sh", "-c", "trap 'echo bye' EXIT; ps -o ppid,comm"]).await;
    assert!(printed.contains(" sh\n") && printed.ends_with(" ps\nbye\n"), "{printed}");
}

#[tokio::test]
async fn an_executed_shell_has_a_terminal() {
    let scene = waiting();
    scene.until("state c Running").await;
    let mut session = start(&scene, &["sh"], true).await;
    session.shows("# ").await;
    session.process.resize(TerminalSize { rows: 11, columns: 77 });
    session.types("stty size; tty >/dev/null && echo a terminal\r").await;
    session.shows("11 77\r\na terminal\r\n").await;
    session.shows("# ").await;
    // It is the program in the foreground that is told of the new size, and that Ctrl-C ends.
    session.types("sh -c 'trap \"stty size; echo told\" WINCH; echo wait; while :; do sleep 0.1; done'\r").await;
    session.shows("\nwait\r\n").await;
    session.process.resize(TerminalSize { rows: 12, columns: 34 });
    session.shows("12 34\r\ntold\r\n").await;
    session.types("\x03").await;
    session.shows("# ").await;
    session.types("echo code $?; exit 4\r").await;
    let (stdout, stderr, code) = session.ends().await;
    assert!(stdout.contains("\ncode 130\r\n"), "{stdout:?}");
    assert_eq!((stderr.as_str(), code), ("", 4));
}

#[tokio::test(start_paused = true)]
async fn who_attaches_feeds_a_container_and_sees_what_it_prints() {
    let manifest = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {restartPolicy: Never, containers: [{name: c, \
                    image: busybox, stdin: true, stdinOnce: true, command: [sh, -c, 'while read -r line; do echo got $line; \
                    echo noted >&2; done; echo done; exit 5']}]}}";
    let scene = Scene::real(manifest).start();
    scene.until("state c Running").await;
    let (stdin, feeding) = pipe::pipe(64);
    let (out, stdout) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let (error, stderr) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let (also, watching) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let access = scene.handle().access();
    let watched = access.attach("c", Attach { stdin: None, stdout: Some(also), stderr: None }).unwrap();
    let attached = access.attach("c", Attach { stdin: Some(feeding), stdout: Some(out), stderr: Some(error) }).unwrap();
    let typing = async {
        for line in ["one\n", "two\n"] {
            stdin.write_all(Bytes::from_static(line.as_bytes())).await.unwrap();
        }
        stdin.close();
    };
    let ((), (), (), stdout, stderr, seen) =
        tokio::join!(watched.ended(), attached.ended(), typing, text(&stdout), text(&stderr), text(&watching));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("got one\ngot two\ndone\n", "noted\nnoted\n"));
    assert_eq!(seen, stdout);
    scene.until("phase Failed").await;
    assert_eq!(scene.shows("c"), "Error:5");
}

/// An archive with a program, a large file, a long name, a link and a folder nobody else may look into.
fn packed(large: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, mode: u32, kind: tar::EntryType, contents: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_entry_type(kind);
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        archive.append_data(&mut header, name, contents).unwrap();
    };
    add("src/", 0o755, tar::EntryType::Directory, b"");
    add("src/private/", 0o700, tar::EntryType::Directory, b"");
    add("src/run.sh", 0o755, tar::EntryType::Regular, b"#!/bin/sh\necho ran\n");
    add("src/large file", 0o600, tar::EntryType::Regular, large);
    add(&format!("src/{}", "long".repeat(30)), 0o644, tar::EntryType::Regular, b"x");
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "src/link", "run.sh").unwrap();
    archive.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn files_are_copied_in_and_out_as_kubectl_does_it() {
    let scene = waiting();
    scene.until("state c Running").await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(scene.exec("c", &["test", "-d", "/tmp"]).await.0, 0);

    let session = start(&scene, &["tar", "-xmf", "-", "-C", "/tmp"], false).await;
    let archive = Bytes::from(packed(&large));
    let sending = async {
        for chunk in archive.chunks(32 * 1024) {
            session.stdin.write_all(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        session.stdin.close();
    };
    let ((), status, complaints) = tokio::join!(sending, session.process.wait(), text(&session.stderr));
    assert_eq!((status.code, complaints.as_str()), (0, ""));
    let (code, shown) = scene
        .exec("c", &["sh", "-c", "cd /tmp/src; ./run.sh; ./link; stat -c '%a %n' run.sh private 'large file'"])
        .await;
    assert_eq!((code, shown.as_str()), (0, "ran\nran\n755 run.sh\n700 private\n600 large file\n"));

    let session = start(&scene, &["tar", "cf", "-", "/tmp/src"], false).await;
    let mut taken = Vec::new();
    while let Some(bytes) = session.stdout.read(usize::MAX).await.unwrap() {
        taken.extend_from_slice(&bytes);
    }
    assert_eq!(session.process.wait().await.code, 0);
    let mut archive = tar::Archive::new(taken.as_slice());
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        found.push((name, entry.header().mode().unwrap() & 0o777, contents.len()));
        assert!(found.last().unwrap().0 != "tmp/src/large file" || contents == large);
    }
    let long = format!("tmp/src/{}", "long".repeat(30));
    let expected = [
        ("tmp/src/", 0o755, 0),
        ("tmp/src/large file", 0o600, large.len()),
        ("tmp/src/link", 0o777, 0),
        (long.as_str(), 0o644, 1),
        ("tmp/src/private/", 0o700, 0),
        ("tmp/src/run.sh", 0o755, 19),
    ];
    assert_eq!(found, expected.map(|(name, mode, size)| (name.to_owned(), mode, size)));
}
