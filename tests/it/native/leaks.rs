//! Pods that come and go, killed at random, leave nothing behind of any kind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use husk::runtime::Signal;
use rustix::process::{Pid, kill_process};

use super::scene::{Pod, Setup, can_run, is_root};

/// How many pods come and go as root, and how many without root, which is tried in more than one way.
const PODS: usize = 500;
const PODS_WITHOUT_ROOT: usize = 100;
/// How many there are at a time.
const AT_ONCE: usize = 5;

/// Tells the test that it has a PID namespace of its own: all that is in `/proc` is its.
const ALONE: &str = "HUSK_TEST_ALONE";

/// One pod, that ends in one of several ways.
async fn live_and_die(number: usize) {
    let pod = Pod::with(|sandbox| {
        sandbox.share_process_namespace = number.is_multiple_of(3);
        let linux = sandbox.linux.as_mut().unwrap();
        (linux.host_pid, linux.host_ipc) = (number % 17 == 5, number % 19 == 5);
        linux.adoptable = number.is_multiple_of(5);
    });
    let script = "echo x > /tmp/file; (setsid sleep 7654 &); echo ready; exec sleep 7654";
    let setup = Setup { memory_limit: number.is_multiple_of(7).then_some(64 << 20), ..Setup::sh(script) };
    let running = pod.start(setup.with(|linux| linux.resources.pids_limit = Some(100))).await;
    let sandbox = pod.sandbox().await;
    match fastrand::u8(0..6) {
        0 => {}
        1 => {
            running.prints("ready").await;
            running.container.signal(Signal::Kill);
            running.wait().await;
        }
        2 => {
            running.exec(&["sh", "-c", "sleep 7654 > /dev/null 2>&1 & exit 0"]).await.unwrap();
        }
        3 => kill_process(Pid::from_raw(sandbox.pid()).unwrap(), rustix::process::Signal::KILL).unwrap(),
        4 => {
            let refused = pod.create(Setup::command(&["nothing-such"])).await;
            // The sandbox may be gone with nothing left to do.
            assert!(refused.unwrap().container.start().await.is_err());
        }
        _ => drop(running),
    }
    pod.stop().await;
}

/// Everything of which there may be one too many.
#[derive(Debug, PartialEq, Eq)]
struct Things {
    processes: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    mounts: BTreeSet<String>,
    groups: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    files: BTreeSet<String>,
    descriptors: BTreeSet<String>,
}

fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

fn below(directory: &Path, found: &mut BTreeSet<String>) {
    for name in names(directory) {
        let path = Path::new(&name);
        if path.is_dir() && !path.is_symlink() {
            below(path, found);
            found.insert(name);
        }
    }
}

impl Things {
    fn now() -> Self {
        let is_number = |path: &String| path.rsplit('/').next().is_some_and(|name| name.parse::<u32>().is_ok());
        let processes: Vec<_> = names("/proc").into_iter().filter(is_number).collect();
        let links = |directory: String| {
            let all = names(directory).into_iter().filter_map(|path| fs::read_link(path).ok());
            all.map(|link| link.display().to_string())
        };
        let mut groups = BTreeSet::new();
        below(Path::new("/sys/fs/cgroup"), &mut groups);
        // Those of other tests, which run at the same time, and their agents'.
        let own = names("/proc/self/fd").into_iter().filter_map(|path| fs::read_link(path).ok());
        let own: Vec<_> = own.filter(|path| path.starts_with("/sys/fs/cgroup")).collect();
        groups.retain(|group| own.iter().any(|own| Path::new(group).starts_with(own) && Path::new(group) != own));
        let descriptors = links("/proc/self/fd".to_owned());
        Self {
            namespaces: processes.iter().flat_map(|process| links(format!("{process}/ns"))).collect(),
            descriptors: descriptors.filter(|link| link.starts_with("pipe:") || link.contains("[pidfd]")).collect(),
            processes: processes.into_iter().collect(),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned).collect(),
            interfaces: names("/sys/class/net").into_iter().collect(),
            files: names(std::env::temp_dir()).into_iter().collect(),
            groups,
        }
    }
}

/// Runs the test again where nobody else is.
fn run_alone() {
    let directory = tempfile::Builder::new().prefix("husk-leaks").tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        // The first process there, which reaps.
        .args(["sh", "-c", "\"$@\"; exit $?", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "native::leaks::pods_leave_nothing_behind", "--nocapture"])
        .env(ALONE, "1")
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_leave_nothing_behind() {
    if !can_run() {
        return;
    }
    if std::env::var_os(ALONE).is_none() {
        return tokio::task::block_in_place(run_alone);
    }
    // What the process itself needs once is there after the first.
    live_and_die(1).await;
    let before = Things::now();
    let pods = if is_root() { PODS } else { PODS_WITHOUT_ROOT };
    for round in 0..pods / AT_ONCE {
        let all = (0..AT_ONCE).map(|number| tokio::spawn(live_and_die(round * AT_ONCE + number)));
        for one in futures::future::join_all(all).await {
            one.unwrap();
        }
    }
    // The kernel takes some of it away a moment after it has said so.
    for _ in 0..100 {
        if Things::now() == before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Things::now(), before);
}
