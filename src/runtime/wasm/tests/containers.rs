//! What a container's program sees, and how it ends.

use super::*;
use crate::runtime::{ExitReason, Signal};

#[tokio::test]
async fn every_kind_of_command_runs() {
    for kind in ["p1", "p2"] {
        let app = Pod::new().start(Setup::guest(&format!("{kind}/hello"), "one two")).await;
        let status = app.ends().await;
        assert_eq!((status.code, status.reason), (0, ExitReason::Exited), "{kind}");
        assert_eq!(rest(&app.stdout).await, "hello from wasm\n");
        assert_eq!(rest(&app.stderr).await, "2 argument(s)\n");
    }
}

#[cfg(feature = "wasi-p3")]
#[tokio::test]
async fn a_wasi_0_3_command_runs() {
    let app = Pod::new().start(Setup::guest("p3/hello", "one")).await;
    assert_eq!(app.ends().await.code, 0);
    assert_eq!(rest(&app.stdout).await, "hello from wasi 0.3\nargument one\n");
}

#[tokio::test]
async fn the_exit_code_is_the_programs_own() {
    let cases = [
        ("p1/exit", 0, 0),
        ("p1/exit", 42, 42),
        ("p1/exit", 200, 200),
        ("p1/exit", 256, 0),
        // All that std can say with 0.2's `exit` is success or failure.
        ("p2/exit", 42, 1),
        ("p2/exit-with-code", 42, 42),
    ];
    for (program, argument, expected) in cases {
        let app = Pod::new().start(Setup::guest(program, &argument.to_string())).await;
        let status = app.ends().await;
        assert_eq!(status.code, expected, "{program} {argument}");
        assert_eq!((status.reason, status.message), (ExitReason::Exited, None), "{program} {argument}");
    }
}

#[tokio::test]
async fn a_trap_is_134_with_a_backtrace_of_bounded_size() {
    for program in ["p1/trap", "p2/trap"] {
        let app = Pod::new().start(Setup::guest(program, "")).await;
        let status = app.ends().await;
        assert_eq!((status.code, status.reason), (134, ExitReason::Trapped));
        let message = status.message.unwrap();
        assert!(message.starts_with("wasm trap: wasm `unreachable` instruction executed\n"), "{message}");
        assert!(message.contains("inner"), "{message}");
        assert!(message.len() <= 4096);
        assert_eq!(rest(&app.stdout).await, "about to trap\n");
    }
}

#[tokio::test]
async fn endless_recursion_is_a_trap_and_not_the_hosts_end() {
    let recursion = wat(r#"(module (func $down (call $down)) (func (export "_start") (call $down)))"#);
    let app = Pod::new().start(Setup::new("app", &[("app", recursion)])).await;
    let status = app.ends().await;
    assert_eq!((status.code, status.reason), (134, ExitReason::Trapped));
    assert!(status.message.unwrap().contains("call stack exhausted"));
}

#[tokio::test]
async fn standard_input_arrives_and_ends() {
    for program in ["p1/cat", "p2/cat"] {
        let (writer, reader) = pipe(16);
        let app = Pod::new().start(Setup { stdin: Some(reader), ..Setup::guest(program, "") }).await;
        let text = "a text longer than the pipe holds at once\n".repeat(100);
        writer.write_all(Bytes::from(text.clone())).await.unwrap();
        drop(writer);
        assert_eq!(app.ends().await.code, 0);
        assert_eq!(rest(&app.stdout).await, text);
    }
}

#[tokio::test]
async fn the_program_sees_arguments_environment_and_terminal() {
    for program in ["p1/print", "p2/print"] {
        let mut setup = Setup::guest(program, "-x y");
        setup.env = vec![("GREETING".to_owned(), "hi there".to_owned())];
        let (_terminal, stdin) = pipe(16);
        (setup.stdin, setup.tty) = (Some(stdin), true);
        let app = Pod::new().start(setup).await;
        assert_eq!(app.ends().await.code, 0);
        let text = rest(&app.stdout).await;
        for line in
            ["arg[0] app", "arg[1] -x", "arg[2] y", "env GREETING=hi there", "cwd /", "slept true", "tty true true"]
        {
            assert!(text.lines().any(|printed| printed == line), "{program}: {line:?} in {text}");
        }
    }
}

#[tokio::test]
async fn memory_beyond_the_limit_is_oom_killed() {
    for program in ["p1/memory", "p2/memory"] {
        let setup = Setup { memory_limit: Some(16 * MEBIBYTE), ..Setup::guest(program, "") };
        let app = Pod::new().start(setup).await;
        let status = app.ends().await;
        assert_eq!((status.code, status.reason), (137, ExitReason::OomKilled), "{program}");
        assert!(status.message.unwrap().contains("16777216 bytes"));
        let printed = rest(&app.stdout).await;
        assert!(printed.lines().count() >= 8, "{printed}");
    }
}

#[tokio::test]
async fn a_program_larger_than_the_limit_from_the_start_is_oom_killed() {
    let large = wat(r#"(module (memory 64) (func (export "_start")))"#);
    let app = Pod::new().start(Setup { memory_limit: Some(MEBIBYTE), ..Setup::new("app", &[("app", large)]) }).await;
    assert_eq!(app.ends().await.reason, ExitReason::OomKilled);
}

#[tokio::test]
async fn everyone_who_waits_gets_the_same_answer() {
    let app = Pod::new().start(Setup::guest("p1/exit", "7")).await;
    let (first, second) = tokio::join!(app.container.wait(), app.container.wait());
    assert_eq!(first, second);
    app.container.signal(Signal::Kill);
    assert_eq!(app.container.wait().await, first);
}

#[tokio::test]
async fn a_container_starts_once() {
    let app = Pod::new().create(Setup::guest("p1/hello", "")).await.unwrap();
    app.container.start().await.unwrap();
    assert!(matches!(app.container.start().await, Err(RuntimeError::NotRunning(_))));
}

#[tokio::test]
async fn a_declared_port_that_is_taken_fails_the_start() {
    let pod = Pod::new();
    let _first = pod.start(Setup::guest("p1/listen", "").port(8080)).await;
    let second = pod.create(Setup::guest("p1/listen", "").port(8080)).await.unwrap();
    let error = second.container.start().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on port 8080: address already in use");
}

#[tokio::test]
async fn names_of_streams_lead_to_the_processs_own() {
    let mut setup = Setup::guest("p1/copy", "/dev/stdin /dev/stderr");
    setup.mounts = setup.mounts.with("/dev", crate::vfs::DeviceFs::new()).unwrap();
    let (writer, stdin) = pipe(64);
    writer.try_write(&Bytes::from_static(b"in and out")).unwrap();
    drop(writer);
    setup.stdin = Some(stdin);
    let running = Pod::new().start(setup).await;
    assert_eq!(running.ends().await.code, 0);
    assert_eq!(rest(&running.stderr).await, "in and out");
}

#[tokio::test]
async fn a_terminal_shows_lines_and_turns_keys_into_signals() {
    let mut setup = Setup::guest("p1/processes", "read");
    let (keyboard, stdin) = pipe(64);
    (setup.stdin, setup.tty) = (Some(stdin), true);
    let running = Pod::new().start(setup).await;
    keyboard.try_write(&Bytes::from_static(b"helo\x7flo\r\x04")).unwrap();
    assert_eq!(running.ends().await.code, 0);
    assert_eq!(rest(&running.stdout).await, "helo\x08 \x08lo\r\nhello\r\n");

    let mut setup = Setup::guest("p1/processes", "sleep");
    let (keyboard, stdin) = pipe(64);
    (setup.stdin, setup.tty) = (Some(stdin), true);
    let running = Pod::new().start(setup).await;
    keyboard.try_write(&Bytes::from_static(b"\x03")).unwrap();
    assert_eq!(running.ends().await.code, 130);
    assert_eq!(rest(&running.stdout).await, "^C");
}
