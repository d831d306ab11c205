//! An agent that is killed: what runs on and is taken up by the next, what ends with it, and what the next one removes.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use husk::base::id::PodUid;
use husk::runtime::{AdoptedContainer, ContainerRuntime, LinuxPodSandboxConfig};
use rustix::process::{Pid, Signal, kill_process};

use super::scene::{PATIENCE, Pod, Running, Setup, can_run, mount, new_runtime, not_run};

/// Where an agent of a test's writes what it has started; whether its pod is to be adopted.
const DIRECTORY: &str = "HUSK_TEST_AGENT";
const ADOPTABLE: &str = "HUSK_TEST_ADOPTABLE";

/// What an agent says of its pod.
struct Handle {
    agent: Child,
    uid: PodUid,
    sandbox: PathBuf,
    pid: i32,
    containers: Vec<String>,
}

/// The body of an agent that starts a pod and is killed later; a test only if it was started by one.
#[tokio::test]
async fn agent() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let pod = Pod::with(|sandbox| {
        let linux = sandbox.linux.as_mut().unwrap();
        linux.adoptable = std::env::var_os(ADOPTABLE).is_some();
    });
    let volume = directory.join("volume");
    let scripts = [
        "echo before; while [ ! -e /data/go ]; do sleep 0.02; done; echo meanwhile; touch /data/said; exec sleep 1000",
        "while [ ! -e /data/go ]; do sleep 0.02; done; echo last words; touch /data/ended; exit 7",
    ];
    let mut all = Vec::new();
    for script in scripts {
        let setup = Setup { memory_limit: Some(64 << 20), ..Setup::sh(script) };
        let setup = setup.with(|linux| linux.resources.pids_limit = Some(50));
        all.push(pod.start(setup.mount(mount(&volume, "/data"))).await);
    }
    all[0].prints("before").await;
    // A program that nobody will hear of again.
    let left = all[0].exec(&["sh", "-c", "(exec sleep 5151) & echo"]);
    let left = left.await.unwrap();
    assert_eq!(left.0, 0);
    let ids: Vec<_> = fs::read_dir(pod.path("roots")).unwrap().map(|id| id.unwrap().file_name()).collect();
    let ids: Vec<_> = ids.iter().map(|id| id.to_str().unwrap()).collect();
    let pid = pod.sandbox().await.pid();
    let said = format!("{}\n{}\n{pid}\n{}\n", pod.sandbox.uid.0, pod.path("sandbox").display(), ids.join(" "));
    fs::write(directory.join("new"), said).unwrap();
    fs::rename(directory.join("new"), directory.join("handle")).unwrap();
    std::future::pending::<()>().await;
}

async fn start_agent(directory: &Path, is_adoptable: bool) -> Handle {
    fs::create_dir_all(directory.join("volume")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "native::crash::agent", "--nocapture"]).env(DIRECTORY, directory).env("TMPDIR", directory);
    if is_adoptable {
        command.env(ADOPTABLE, "1");
    }
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let agent = command.spawn().unwrap();
    until("the agent is ready", || directory.join("handle").exists()).await;
    let said = fs::read_to_string(directory.join("handle")).unwrap();
    let lines: Vec<_> = said.lines().collect();
    let containers = lines[3].split(' ').map(str::to_owned).collect();
    Handle { agent, uid: PodUid(lines[0].into()), sandbox: lines[1].into(), pid: lines[2].parse().unwrap(), containers }
}

impl Handle {
    fn kill(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
    }

    /// Whether the sandbox process runs.
    fn runs(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid)).is_ok()
    }

    /// Directories of the containers' control groups.
    fn groups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_groups(Path::new("/sys/fs/cgroup"), 6, &mut found);
        found.retain(|path| self.containers.iter().any(|id| path.ends_with(id)));
        found
    }
}

fn find_groups(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth > 0 {
            found.push(entry.path());
            find_groups(&entry.path(), depth - 1, found);
        }
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}: not after {PATIENCE:?}");
}

fn scene() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("husk-crash").tempdir().unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

fn running(adopted: AdoptedContainer) -> Running {
    Running { container: adopted.container, stdout: adopted.stdout, stderr: adopted.stderr }
}

#[tokio::test]
async fn containers_outlive_an_agent_that_is_killed() {
    if !can_run() {
        return;
    }
    let directory = scene();
    let mut handle = start_agent(directory.path(), true).await;
    handle.kill();
    // They go on and end while nobody looks.
    fs::write(directory.path().join("volume/go"), "").unwrap();
    let file = |name: &str| directory.path().join("volume").join(name).exists();
    until("they go on", || file("said") && file("ended")).await;
    let runtime = new_runtime(env!("CARGO_BIN_EXE_husk"));
    let mut pod = Pod::new();
    pod.sandbox.uid = handle.uid.clone();
    pod.sandbox.linux = Some(LinuxPodSandboxConfig {
        directory: handle.sandbox.clone(),
        adoptable: true,
        ..LinuxPodSandboxConfig::default()
    });
    let mut adopted = runtime.adopt(&pod.sandbox).await.unwrap();
    assert_eq!(adopted.len(), 2);
    assert!(runtime.adopt(&pod.sandbox).await.is_none(), "each is taken up but once");
    // Leftovers are removed after that, and what is still needed is none.
    runtime.remove_leftovers().await;
    let ended = running(adopted.pop().unwrap()).end().await;
    assert_eq!(ended, (7, "last words\n".to_owned(), String::new()));
    let first = running(adopted.pop().unwrap());
    first.prints("meanwhile\n").await;
    let seen = first.exec(&["sh", "-c", "ps -o args | grep -c '[s]leep 1000'"]).await.unwrap();
    assert_eq!(seen, (0, "1\n".to_owned(), String::new()));
    runtime.remove_sandbox(&handle.uid).await;
    assert_eq!(first.wait().await.code, 137);
    assert!(!handle.runs());
    runtime.remove_leftovers().await;
    assert_eq!(handle.groups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn everything_ends_with_an_agent_that_is_killed() {
    if !can_run() {
        return;
    }
    let directory = scene();
    let mut handle = start_agent(directory.path(), false).await;
    assert!(handle.runs());
    handle.kill();
    until("the sandbox ends", || !handle.runs()).await;
    until("its groups are gone", || handle.groups().is_empty()).await;
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(directory.path().to_str().unwrap()));
    new_runtime(env!("CARGO_BIN_EXE_husk")).remove_leftovers().await;
}

#[tokio::test]
async fn what_killed_agents_and_sandboxes_leave_is_removed_by_the_next() {
    if !can_run() {
        return;
    }
    let directory = scene();
    let mut handle = start_agent(directory.path(), true).await;
    let had_groups = !handle.groups().is_empty();
    handle.kill();
    kill_process(Pid::from_raw(handle.pid).unwrap(), Signal::KILL).unwrap();
    until("the sandbox ends", || !handle.runs()).await;
    // Nobody has removed its groups, but for agents of other tests that do just this.
    let runtime = new_runtime(env!("CARGO_BIN_EXE_husk"));
    let gone = async {
        while !handle.groups().is_empty() {
            runtime.remove_leftovers().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    if !had_groups {
        not_run("this user may not make control groups");
    }
}

#[tokio::test]
async fn a_sandbox_that_nobody_wants_any_more_is_ended() {
    if !can_run() {
        return;
    }
    let directory = scene();
    let mut handle = start_agent(directory.path(), true).await;
    handle.kill();
    assert!(handle.runs());
    let runtime = new_runtime(env!("CARGO_BIN_EXE_husk"));
    runtime.remove_left(&PodUid::random(), &handle.sandbox).await;
    until("the sandbox ends", || !handle.runs()).await;
    runtime.remove_left(&PodUid::random(), &handle.sandbox).await;
    runtime.remove_leftovers().await;
}
