//! Pods that come and go, killed at random, leave nothing behind.

use std::fs;
use std::path::Path;

use husk::runtime::Signal;
use rustix::process::{Pid, kill_process};

use super::scene::{Pod, Setup};

/// How many pods come and go, unless this variable says otherwise.
const PODS: usize = 40;
const VARIABLE: &str = "HUSK_TEST_PODS";
/// How many there are at a time.
const AT_ONCE: usize = 4;

/// One pod, that ends in one of several ways; what must be gone with it is returned.
async fn live_and_die(number: usize) -> (String, u32) {
    let pod = Pod::with(|sandbox| sandbox.share_process_namespace = number % 3 == 0);
    let script = "echo x > /tmp/file; (sleep 7654 &); echo ready; exec sleep 7654";
    let running = pod.start(Setup::sh(script)).await;
    let sandbox = pod.sandbox().await;
    let path = pod.directory.path().display().to_string();
    let pid = u32::try_from(sandbox.pid()).unwrap();
    match fastrand::u8(0..5) {
        0 => {}
        1 => {
            running.prints("ready").await;
            running.container.signal(Signal::Kill);
            running.wait().await;
        }
        2 => {
            running.exec(&["sh", "-c", "sleep 7654 & exit 0"]).await.unwrap();
        }
        3 => kill_process(Pid::from_raw(sandbox.pid()).unwrap(), rustix::process::Signal::KILL).unwrap(),
        _ => drop(running),
    }
    pod.stop().await;
    (path, pid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_leave_nothing_behind() {
    let pods = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(PODS);
    let mut gone = Vec::new();
    for round in 0..pods / AT_ONCE {
        let all = (0..AT_ONCE).map(|number| tokio::spawn(live_and_die(round * AT_ONCE + number)));
        for one in futures::future::join_all(all).await {
            gone.push(one.unwrap());
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for (path, pid) in gone {
        assert!(!mounts.contains(&path), "{path} is mounted");
        assert!(!Path::new(&path).exists(), "{path} is there");
        assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err(), "the sandbox process {pid} is there");
    }
    let sleeping = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.starts_with(b"sleep\07654")));
    assert_eq!(sleeping.count(), 0);
}
