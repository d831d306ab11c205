//! Limits and figures, by the control groups that this machine has.

use husk::runtime::{ExitReason, ResourceLimits, Signal};

use super::scene::{PATIENCE, Pod, Setup, can_run, is_root, not_run};

const MEBIBYTE: u64 = 1 << 20;

/// Tells these tests that they run as a user who may not make control groups, whatever the machine.
pub(super) const NOT_DELEGATED: &str = "HUSK_TEST_NOT_DELEGATED";

/// Whether limits can be set here; if not, it is said that they are not kept, once for each pod.
async fn can_limit(pod: &Pod) -> bool {
    let limited = || Setup { memory_limit: Some(64 * MEBIBYTE), ..Setup::sh("true") };
    let first = pod.start(limited()).await;
    let warnings = first.container.warnings().to_vec();
    first.wait().await;
    if warnings.is_empty() {
        return true;
    }
    assert_eq!(warnings[0].reason, "ResourceLimitsNotEnforced");
    assert!(warnings[0].message.starts_with("memory cannot be limited: "), "{warnings:?}");
    let second = pod.start(limited()).await;
    assert!(second.container.warnings().is_empty());
    second.wait().await;
    assert!(!is_root(), "root may limit memory: {warnings:?}");
    if std::env::var_os(NOT_DELEGATED).is_none() {
        not_run("this user may not make control groups");
    }
    false
}

#[tokio::test]
async fn a_container_that_takes_too_much_memory_is_killed_for_it() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    if !can_limit(&pod).await {
        return pod.stop().await;
    }
    let setup = Setup { memory_limit: Some(32 * MEBIBYTE), ..Setup::sh("exec tail /dev/zero") };
    let ended = pod.start(setup).await.wait().await;
    assert_eq!((ended.code, ended.reason), (137, ExitReason::OomKilled));
    let modest = Setup { memory_limit: Some(64 * MEBIBYTE), ..Setup::sh("exit 3") };
    let ended = pod.start(modest).await.wait().await;
    assert_eq!((ended.code, ended.reason), (3, ExitReason::Exited));
    pod.stop().await;
}

#[tokio::test]
async fn processes_are_counted() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    if !can_limit(&pod).await {
        return pod.stop().await;
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done; echo all";
    let setup = Setup::sh(script).with(|linux| linux.resources.pids_limit = Some(5));
    let (code, stdout, stderr) = pod.run(setup).await;
    assert!(code != 0 && stdout.is_empty() && stderr.contains("can't fork"), "{code} {stdout} {stderr}");
    pod.stop().await;
}

#[tokio::test]
async fn limits_change_and_figures_are_told_while_a_container_runs() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    if !can_limit(&pod).await {
        return pod.stop().await;
    }
    let script = "dd if=/dev/zero of=/dev/shm/block bs=1M count=20 2>/dev/null; echo ready; while :; do :; done";
    let running =
        pod.start(Setup { memory_limit: Some(64 * MEBIBYTE), cpu_limit_millis: Some(200), ..Setup::sh(script) }).await;
    running.prints("ready").await;
    let usage = running.container.usage();
    assert!((20 * MEBIBYTE..60 * MEBIBYTE).contains(&usage.memory_bytes), "{usage:?}");
    let more = |memory, cpu| ResourceLimits { memory_bytes: Some(memory), cpu_millis: Some(cpu) };
    running.container.update_limits(more(48 * MEBIBYTE, 500)).unwrap();
    let error = running.container.update_limits(more(MEBIBYTE, 500)).unwrap_err().to_string();
    assert!(error.contains("is below the"), "{error}");
    let spinning = async {
        while running.container.usage().cpu_time <= usage.cpu_time {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, spinning).await.unwrap();
    running.container.signal(Signal::Kill);
    running.wait().await;
    pod.stop().await;
}

#[tokio::test]
async fn there_are_figures_even_without_control_groups() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let running = pod.start(Setup::sh("x=$(seq 100000); echo ready; while :; do :; done")).await;
    running.prints("ready").await;
    let spinning = async {
        loop {
            let usage = running.container.usage();
            if usage.cpu_time > std::time::Duration::from_millis(50) && usage.memory_bytes > 256 * 1024 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, spinning).await.unwrap();
    running.container.signal(Signal::Kill);
    running.wait().await;
    pod.stop().await;
}
