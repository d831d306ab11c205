//! Signals, executed programs, fairness and limits of time.

use tokio::time::Instant;

use super::*;
use crate::runtime::{ExitReason, Signal};

#[tokio::test]
async fn a_signal_nobody_catches_ends_the_program() {
    let cases = [(Signal::Term, 143), (Signal::Int, 130), (Signal::Hup, 129), (Signal::Kill, 137)];
    for (signal, code) in cases {
        let (_writer, stdin) = pipe(16);
        let app = Pod::new().start(Setup { stdin: Some(stdin), ..Setup::guest("p1/cat", "") }).await;
        app.container.signal(signal);
        let status = app.ends().await;
        assert_eq!((status.code, status.reason), (code, ExitReason::Signaled(signal)));
        assert_eq!(rest(&app.stdout).await, "");
    }
}

#[tokio::test]
async fn a_caught_signal_reaches_the_program() {
    for (program, line) in [("p1/signals", "got signal 15"), ("p2/signals", "got Signal::Term")] {
        let app = Pod::new().start(Setup::guest(program, "")).await;
        app.prints("waiting").await;
        app.container.signal(Signal::Term);
        app.prints(line).await;
        assert_eq!(app.ends().await.code, 0, "{program}");
    }
}

#[tokio::test]
async fn kill_cannot_be_caught() {
    for program in ["p1/signals", "p2/signals"] {
        let app = Pod::new().start(Setup::guest(program, "ignore")).await;
        app.prints("waiting").await;
        app.container.signal(Signal::Term);
        assert!(next_line(&app.stdout).await.unwrap().starts_with("got"));
        app.container.signal(Signal::Kill);
        assert_eq!(app.ends().await.code, 137);
    }
}

#[tokio::test]
async fn a_signal_before_the_start_ends_the_container() {
    let app = Pod::new().create(Setup::guest("p1/hello", "")).await.unwrap();
    app.container.signal(Signal::Term);
    assert_eq!(app.ends().await.code, 143);
    assert!(matches!(app.container.start().await, Err(RuntimeError::NotRunning(_))));
}

// One thread for guests, timers and this test: whoever does not yield stops everything.
#[tokio::test]
async fn a_busy_guest_delays_nobody_and_dies_at_once() {
    let busy = Pod::new().start(Setup::guest("p1/busy", "")).await;
    busy.prints("busy").await;
    let other = Pod::new().start(Setup::guest("p1/hello", "")).await;
    assert_eq!(other.ends().await.code, 0);
    let begun = Instant::now();
    busy.container.signal(Signal::Kill);
    assert_eq!(busy.ends().await.code, 137);
    // A tick or two; the rest is room for a machine that does other things as well.
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn more_processes_run_than_there_is_room_reserved_for() {
    let config =
        WasmRuntimeConfig { cache_dir: Some(cache_dir()), pooled_processes: 2, ..WasmRuntimeConfig::default() };
    let runtime = WasmRuntime::new(config).unwrap();
    let pod = Pod::new();
    let mut running = Vec::new();
    for program in ["p1/signals", "p2/signals", "p1/signals", "p2/http", "p2/signals"] {
        let app = pod.create_on(&runtime, Setup::guest(program, "")).await.unwrap();
        app.container.start().await.unwrap();
        if program != "p2/http" {
            app.prints("waiting").await;
        }
        running.push(app);
    }
    for app in &running {
        app.container.signal(Signal::Term);
        assert_eq!(app.ends().await.code, 0);
    }
}

#[tokio::test]
async fn a_guest_busy_in_its_initialiser_can_be_killed() {
    let endless = wat(r#"(module (func $spin (loop $again (br $again))) (func (export "_start")) (start $spin))"#);
    let app = Pod::new().start(Setup::new("app", &[("app", endless)])).await;
    app.container.signal(Signal::Term);
    assert_eq!(app.ends().await.code, 143);
}

#[tokio::test]
async fn dropping_the_container_kills_it_and_what_it_executes() {
    let pod = Pod::new();
    let app = pod.start(Setup::new("busy", &[("busy", guest("p1/busy"))])).await;
    app.prints("busy").await;
    let (stdout_writer, executed_stdout) = pipe(64);
    let (stderr, _) = pipe(64);
    let request = ExecRequest { argv: vec!["busy".to_owned()], stdin: None, stdout: stdout_writer, stderr, tty: false };
    let executed = app.container.exec(request).await.unwrap();
    assert_eq!(next_line(&executed_stdout).await.as_deref(), Some("busy"));
    drop(app.container);
    assert_eq!(timeout(PATIENCE, executed.wait()).await.unwrap().code, 137);
    assert_eq!(rest(&app.stdout).await, "");
}

#[tokio::test]
async fn programs_are_executed_in_the_containers_context() {
    let programs = [("signals", guest("p1/signals")), ("print", guest("p1/print")), ("exit", guest("p1/exit"))];
    let mut setup = Setup::new("signals", &programs);
    setup.env = vec![("COLOUR".to_owned(), "blue".to_owned())];
    let app = Pod::new().start(setup).await;
    let (status, printed) = exec(&app.container, "print x").await.unwrap();
    assert_eq!(status.code, 0);
    assert!(printed.contains("arg[1] x\nenv COLOUR=blue\n"), "{printed}");
    let (status, _) = exec(&app.container, "/bin/exit 3").await.unwrap();
    assert_eq!(status.code, 3);
    let error = exec(&app.container, "nothing").await.unwrap_err();
    assert_eq!(error.to_string(), r#"exec: "nothing": executable file not found in $PATH"#);
    app.container.signal(Signal::Kill);
    app.ends().await;
    assert!(matches!(exec(&app.container, "exit 0").await, Err(RuntimeError::NotRunning(_))));
}

#[tokio::test]
async fn executed_programs_count_towards_the_memory_limit() {
    let programs = [("signals", guest("p1/signals")), ("memory", guest("p1/memory"))];
    let setup = Setup { memory_limit: Some(16 * MEBIBYTE), ..Setup::new("signals", &programs) };
    let app = Pod::new().start(setup).await;
    let (status, _) = exec(&app.container, "memory").await.unwrap();
    assert_eq!(status.reason, ExitReason::OomKilled);
    let (status, _) = exec(&app.container, "memory 1").await.unwrap();
    assert_eq!(status.code, 0, "the first one's memory was given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_limits_hold_for_all_processes_of_a_container_together() {
    for millis in [100, 500] {
        let (stdout_writer, stdout) = pipe(64);
        let (stderr, _) = pipe(64);
        let pod = Pod::new();
        let setup = Setup { cpu_limit_millis: Some(millis), ..Setup::new("busy", &[("busy", guest("p1/busy"))]) };
        let app = pod.start(setup).await;
        app.prints("busy").await;
        let request =
            ExecRequest { argv: vec!["busy".to_owned()], stdin: None, stdout: stdout_writer, stderr, tty: false };
        let executed = app.container.exec(request).await.unwrap();
        assert_eq!(next_line(&stdout).await.as_deref(), Some("busy"));

        // How much of it they get depends on what else the machine does: at some time it should be most of it.
        let mut most: f64 = 0.0;
        for _ in 0..5 {
            let (begun, used_before) = (Instant::now(), app.container.usage().cpu_time);
            tokio::time::sleep(Duration::from_secs(2)).await;
            let allowed = begun.elapsed().as_secs_f64() * millis as f64 / 1000.0;
            let used = (app.container.usage().cpu_time - used_before).as_secs_f64();
            // Up to a tick each is used before it is paid for.
            assert!(used <= allowed * 1.05 + 0.01, "{millis}m: {used} s, allowed {allowed} s");
            most = most.max(used / allowed);
            if most > 0.5 {
                break;
            }
        }
        // On a machine that has nothing to spare, half a core is more than there is.
        let least = if millis == 100 { 0.5 } else { 0.1 };
        assert!(most > least, "{millis}m: {most} of what is allowed");
        app.container.signal(Signal::Kill);
        assert_eq!(timeout(PATIENCE, executed.wait()).await.unwrap().code, 137);
    }
}
