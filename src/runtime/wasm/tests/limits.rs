//! Limits that change while guests run.

use tokio::time::Instant;

use super::*;
use crate::runtime::{ExitReason, ResourceLimits};

fn memory(mebibytes: u64) -> ResourceLimits {
    ResourceLimits { memory_bytes: Some(mebibytes * MEBIBYTE), cpu_millis: None }
}

fn cpu(millis: u64) -> ResourceLimits {
    ResourceLimits { memory_bytes: None, cpu_millis: Some(millis) }
}

/// A container that waits, with a program to execute that takes memory: it writes a line for each mebibyte, and nobody
/// reads on before the test does.
async fn container_with_memory_hog(level: &str, limit: u64) -> Running {
    let hog = guest(&format!("{level}/memory"));
    let setup = Setup::new("signals", &[("signals", guest("p1/signals")), ("memory", hog)]);
    Pod::new().start(Setup { memory_limit: Some(limit * MEBIBYTE), ..setup }).await
}

/// Reads the hog's lines up to this many mebibytes. It may be a few lines ahead.
async fn reaches(stdout: &PipeReader, mebibytes: u64) {
    for count in 1..=mebibytes {
        assert_eq!(next_line(stdout).await, Some(format!("{count} MiB")));
    }
}

#[tokio::test]
async fn a_raised_memory_limit_saves_a_program_that_would_have_been_killed() {
    for level in ["p1", "p2"] {
        let app = container_with_memory_hog(level, 16).await;
        let (killed, _) = exec(&app.container, "memory 24").await.unwrap();
        assert_eq!(killed.reason, ExitReason::OomKilled, "{level}");
        let (hog, stdout) = start_exec(&app.container, "memory 24", 8).await.unwrap();
        reaches(&stdout, 4).await;
        app.container.update_limits(memory(64)).unwrap();
        let rest = rest(&stdout).await;
        assert!(rest.ends_with("24 MiB\n"), "{rest}");
        assert_eq!(timeout(PATIENCE, hog.wait()).await.unwrap().code, 0, "{level}");
    }
}

#[tokio::test]
async fn a_lowered_memory_limit_holds_for_what_is_taken_from_then_on() {
    let app = container_with_memory_hog("p1", 64).await;
    let (hog, stdout) = start_exec(&app.container, "memory 24", 8).await.unwrap();
    reaches(&stdout, 4).await;
    app.container.update_limits(memory(16)).unwrap();
    rest(&stdout).await;
    let status = timeout(PATIENCE, hog.wait()).await.unwrap();
    assert_eq!(status.reason, ExitReason::OomKilled);
    assert!(status.message.unwrap().contains("16777216 bytes"));
}

#[tokio::test]
async fn a_memory_limit_below_the_usage_is_refused_and_changes_nothing() {
    let app = container_with_memory_hog("p1", 32).await;
    let (hog, stdout) = start_exec(&app.container, "memory 24", 8).await.unwrap();
    reaches(&stdout, 8).await;
    let refused = ResourceLimits { cpu_millis: Some(1), ..memory(4) };
    let error = app.container.update_limits(refused).unwrap_err().to_string();
    let usage = error.strip_prefix("memory limit of 4194304 bytes is below the current usage of ");
    let usage: u64 = usage.and_then(|rest| rest.strip_suffix(" bytes")).expect(&error).parse().unwrap();
    assert!((8 * MEBIBYTE..32 * MEBIBYTE).contains(&usage), "{usage}");
    assert!(rest(&stdout).await.ends_with("24 MiB\n"));
    assert_eq!(timeout(PATIENCE, hog.wait()).await.unwrap().code, 0);
    assert!(!app.container.has_cpu_limit(), "there is still no CPU limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cpu_limit_set_while_programs_run_slows_them_until_it_is_lifted() {
    let app = Pod::new().start(Setup::new("busy", &[("busy", guest("p1/busy"))])).await;
    app.prints("busy").await;
    app.container.update_limits(cpu(200)).unwrap();
    let (begun, used_before) = (Instant::now(), app.container.usage().cpu_time);
    // The main program, which has no end, takes its share of the same quota.
    assert_eq!(exec(&app.container, "busy 50").await.unwrap().0.code, 0);
    let (limited, used) = (begun.elapsed(), (app.container.usage().cpu_time - used_before).as_secs_f64());
    // A period's share is there from the start, and up to a tick each is used before it is paid for.
    let allowed = (limited.as_secs_f64() + 0.1) * 0.2 + 0.01;
    assert!(used > 0.02 && used <= allowed, "{used} s of CPU time, allowed {allowed} s");

    app.container.update_limits(ResourceLimits::default()).unwrap();
    assert!(!app.container.has_cpu_limit(), "it is lifted");
    assert_eq!(exec(&app.container, "busy 50").await.unwrap().0.code, 0);
}

#[tokio::test]
async fn a_container_that_has_ended_has_no_limits_to_change() {
    let app = Pod::new().start(Setup::guest("p1/hello", "")).await;
    app.ends().await;
    assert!(matches!(app.container.update_limits(memory(16)), Err(RuntimeError::NotRunning(_))));
}
