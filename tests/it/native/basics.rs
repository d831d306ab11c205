//! Start, output, exit codes, signals, exec.

use husk::base::pipe::pipe;
use husk::runtime::{ExitReason, RuntimeError, Signal, TerminalSize, signal_number};

use super::scene::{Pod, Running, Setup, can_run, exec_request, until};

#[tokio::test]
async fn a_container_prints_and_ends_with_its_code() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let (code, stdout, stderr) = pod.run(Setup::sh("echo out; echo err >&2; exit 7")).await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(pod.says(Setup::command(&["hostname"])).await, "pod-host\n");
    pod.stop().await;
}

#[tokio::test]
async fn a_signal_ends_a_container_or_is_handled() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    // The first process of a PID namespace takes no signal that it does not handle, except KILL: as in any cluster.
    let running = pod.start(Setup::sh("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done")).await;
    running.prints("ready").await;
    running.container.signal(Signal::Term);
    assert_eq!(running.end().await, (3, "bye\n".to_owned(), String::new()));
    let running = pod.start(Setup::command(&["sleep", "1000"])).await;
    running.container.signal(Signal::Kill);
    let ended = running.wait().await;
    assert_eq!((ended.code, ended.reason), (137, ExitReason::Signaled(Signal::Kill)));
    pod.stop().await;
}

#[tokio::test]
async fn the_images_stop_signal_comes_instead_of_term() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let script = "trap 'echo stopped; exit 0' 37; trap 'echo no' TERM; echo ready; while :; do sleep 0.1; done";
    let setup = Setup::sh(script).with(|linux| linux.stop_signal = signal_number("SIGRTMIN+3"));
    let running = pod.start(setup).await;
    running.prints("ready").await;
    running.container.signal(Signal::Term);
    assert_eq!(running.end().await, (0, "stopped\n".to_owned(), String::new()));
    pod.stop().await;
}

#[tokio::test]
async fn programs_are_executed_in_a_container() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let running = pod
        .start(Setup {
            env: vec![("COLOUR".into(), "blue".into())],
            working_dir: "/var".into(),
            ..Setup::sh("echo $$ > /tmp/pid; echo ready; exec sleep 1000")
        })
        .await;
    running.prints("ready").await;
    let (code, stdout, stderr) = running
        .exec(&[
            "sh",
            "-c",
            "cat /tmp/pid; pwd; echo $COLOUR; until ps -o comm | grep -q ^sleep; do sleep 0.02; done; exit 5",
        ])
        .await
        .unwrap();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (5, "1\n/var\nblue\n", ""));
    let missing = running.exec(&["nothing-such"]).await.unwrap_err();
    assert_eq!(missing.to_string(), "exec: \"nothing-such\": executable file not found in $PATH");
    running.container.signal(Signal::Kill);
    running.wait().await;
    assert!(matches!(running.exec(&["true"]).await, Err(RuntimeError::NotRunning(_))));
    pod.stop().await;
}

#[tokio::test]
async fn a_program_reads_its_standard_input_to_the_end() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let (writer, stdin) = pipe(1 << 20);
    let running = pod.start(Setup { stdin: Some(stdin), ..Setup::command(&["cat"]) }).await;
    writer.write_all("one\ntwo\n".into()).await.unwrap();
    writer.close();
    assert_eq!(running.end().await, (0, "one\ntwo\n".to_owned(), String::new()));
    assert_eq!(pod.says(Setup::command(&["cat"])).await, "");
    pod.stop().await;
}

#[tokio::test]
async fn a_terminal_has_a_size_and_takes_keys() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let (writer, stdin) = pipe(1 << 10);
    let script = "tty; test -c /dev/console; echo console > /dev/console; read line; echo got $line; read line; exit 0";
    let running = pod.start(Setup { stdin: Some(stdin), tty: true, ..Setup::sh(script) }).await;
    let printed = running.prints("\n").await;
    assert!(printed.starts_with("/dev/pts/0\r\n"), "{printed}");
    assert!(printed.contains("console") || running.prints("console").await.contains("console"));
    running.container.resize(TerminalSize { rows: 33, columns: 99 });
    writer.write_all("hello\r".into()).await.unwrap();
    running.prints("got hello").await;
    let (out_writer, stdout) = pipe(1 << 20);
    let (err_writer, stderr) = pipe(1 << 20);
    let (keys, keyboard) = pipe(1 << 10);
    let request = exec_request(&["sh"], Some(keyboard), out_writer, err_writer, true);
    let shell = running.container.exec(request).await.unwrap();
    keys.write_all("tty; stty size < /dev/pts/0; echo done\r".into()).await.unwrap();
    let printed = until(&stdout, "\ndone").await;
    assert!(printed.contains("/dev/pts/1") && printed.contains("33 99"), "{printed}");
    // Control-C interrupts what runs in the foreground.
    keys.write_all("sh -c 'echo begun; sleep 1000'\r".into()).await.unwrap();
    until(&stdout, "\nbegun").await;
    keys.write_all("\x03".into()).await.unwrap();
    keys.write_all("exit 4\r".into()).await.unwrap();
    let (code, _, errors) = Running { container: shell, stdout, stderr }.end().await;
    assert_eq!((code, errors.as_str()), (4, ""));
    running.container.signal(Signal::Kill);
    running.wait().await;
    pod.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    for (argv, expected) in [
        (&["nothing"][..], "exec: \"nothing\": executable file not found in $PATH"),
        (&["/bin/nothing"], "exec: \"/bin/nothing\": no such file or directory"),
        (&["/etc/passwd"], "exec: \"/etc/passwd\": permission denied"),
    ] {
        let running = pod.create(Setup::command(argv)).await.unwrap();
        let error = running.container.start().await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    pod.stop().await;
}
