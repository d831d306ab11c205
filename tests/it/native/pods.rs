//! What containers of a pod share, how a pod ends, and how it is taken up by another agent.

use std::fs;
use std::path::PathBuf;

use husk::runtime::linux::{LinuxRuntime, LinuxRuntimeConfig};
use husk::runtime::{ContainerRuntime, Signal};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, kill_process};

use super::scene::{PATIENCE, Pod, Running, Setup, can_run, is_root, not_run};

#[tokio::test]
async fn containers_that_share_processes_see_each_other_and_leave_nothing_behind() {
    if !can_run() {
        return;
    }
    let pod = Pod::with(|sandbox| sandbox.share_process_namespace = true);
    let first = pod.start(Setup::sh("(setsid sleep 4321 &); echo ready; exec sleep 1000")).await;
    first.prints("ready").await;
    let seen = pod.says(Setup::sh("ps -o args | grep -v ps")).await;
    assert!(seen.contains("sleep 1000") && seen.contains("sleep 4321") && seen.contains("sandbox-process"), "{seen}");
    first.container.signal(Signal::Term);
    assert_eq!(first.wait().await.code, 143);
    let seen = pod.says(Setup::sh("ps -o args")).await;
    assert!(!seen.contains("sleep"), "{seen}");
    pod.stop().await;
}

#[tokio::test]
async fn orphans_are_reaped() {
    if !can_run() {
        return;
    }
    let pod = Pod::with(|sandbox| sandbox.share_process_namespace = true);
    let running = pod
        .start(Setup::sh(
            "i=0; while [ $i -lt 20 ]; do (true &); i=$((i+1)); done; sleep 0.3; echo ready; exec sleep 1000",
        ))
        .await;
    running.prints("ready").await;
    let zombies = running.exec(&["sh", "-c", "ps -o stat | grep -c Z"]).await.unwrap().1;
    assert_eq!(zombies, "0\n");
    pod.stop().await;
    assert_eq!(running.wait().await.code, 137);
}

#[tokio::test]
async fn semaphores_and_queues_are_the_pods() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let one = pod.start(Setup::command(&["sleep", "1000"])).await;
    let two = pod.start(Setup::command(&["sleep", "1000"])).await;
    let ipc = |running: &Running| {
        let running = running.container.clone();
        async move {
            let (writer, reader) = husk::base::pipe::pipe(1 << 16);
            let request = super::scene::exec_request(
                &["sh", "-c", "readlink /proc/self/ns/ipc; readlink /proc/self/ns/net"],
                None,
                writer.clone(),
                writer,
                false,
            );
            running.exec(request).await.unwrap().wait().await;
            super::scene::read_all(&reader).await
        }
    };
    let of_one = ipc(&one).await;
    assert!(of_one.starts_with("ipc:[") && of_one.contains("net:["), "{of_one}");
    assert_eq!(of_one, ipc(&two).await);
    pod.stop().await;
}

#[tokio::test]
async fn a_pod_may_be_on_the_hosts_network_and_among_its_processes() {
    if !can_run() {
        return;
    }
    let host = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let pod = Pod::with(|sandbox| {
        let linux = sandbox.linux.as_mut().unwrap();
        (linux.host_network, linux.host_pid, linux.host_ipc) = (true, true, true);
    });
    let running = pod.start(Setup::sh("for n in net pid ipc; do readlink /proc/self/ns/$n; done; echo ready; (setsid sleep 9876 &); exec sleep 9876")).await;
    let said = running.prints("ready").await;
    for name in ["net", "pid", "ipc"] {
        assert!(said.contains(host(name).to_str().unwrap()), "{name}: {said}");
    }
    pod.stop().await;
    assert_eq!(running.wait().await.code, 137);
    assert!(!processes().iter().any(|line| line.contains("sleep\09876")), "{:?}", processes());
}

/// Command lines of all processes that show here.
fn processes() -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok()).collect()
}

#[tokio::test]
async fn a_pod_ends_with_its_last_handle() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let running = pod.start(Setup::command(&["sleep", "1000"])).await;
    let sandbox = pod.sandbox().await;
    assert!(PathBuf::from(format!("/proc/{}", sandbox.pid())).exists());
    pod.runtime.remove_sandbox(&pod.sandbox.uid).await;
    assert_eq!(running.wait().await.code, 137);
    assert!(!PathBuf::from(format!("/proc/{}", sandbox.pid())).exists());
    assert!(sandbox.socket(AddressFamily::INET, SocketType::STREAM, 0).await.is_err());
}

#[tokio::test]
async fn a_sandbox_that_was_killed_is_replaced() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let running = pod.start(Setup::command(&["sleep", "1000"])).await;
    let sandbox = pod.sandbox().await;
    kill_process(Pid::from_raw(sandbox.pid()).unwrap(), rustix::process::Signal::KILL).unwrap();
    let ended = running.wait().await;
    assert_eq!((ended.code, ended.message.as_deref()), (137, Some("the pod's sandbox has ended")));
    assert_eq!(pod.says(Setup::command(&["hostname"])).await, "pod-host\n");
    pod.stop().await;
}

#[tokio::test]
async fn the_sandbox_costs_next_to_nothing() {
    if !can_run() {
        return;
    }
    // With the first process of the PID namespace that containers share, which is husk's, too.
    let pod = Pod::with(|sandbox| sandbox.share_process_namespace = true);
    let running = pod.start(Setup::command(&["sleep", "1000"])).await;
    let sandbox = pod.sandbox().await;
    let pid = sandbox.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_husks =
        |child: &str| fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm == "husk-pause\n");
    let all: Vec<_> = children.split_whitespace().filter(|child| is_husks(child)).map(str::to_owned).collect();
    assert_eq!(all.len(), 1, "{children}");
    let taken_by = |pid: &str| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        // What is its own. Pages of the program itself are shared, and far more without optimisation than they should be.
        let taken = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:"))?;
        taken.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    // Each of them, in a program that was not optimised; together they take half of that in one that was.
    let taken = || taken_by(&pid.to_string()).zip(taken_by(&all[0]));
    let Some(at_first) = taken() else {
        not_run("this user may not read how much memory the sandbox process takes");
        return pod.stop().await;
    };
    // They give back what they do not need once they have nothing to do.
    let resting = async {
        while taken().is_some_and(|(one, other)| one.max(other) >= 1024) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let rested = tokio::time::timeout(PATIENCE, resting).await;
    assert!(rested.is_ok(), "the sandbox processes take {at_first:?} KiB at first, {:?} KiB at rest", taken());
    running.container.signal(Signal::Kill);
    running.wait().await;
    pod.stop().await;
}

#[tokio::test]
async fn sockets_and_devices_of_the_pods_network_are_handed_out() {
    if !can_run() {
        return;
    }
    use husk::runtime::linux::{Route, TunConfig};
    let pod = Pod::new();
    let sandbox = pod.sandbox().await;
    let socket = sandbox.socket(AddressFamily::INET, SocketType::STREAM, 0).await.unwrap();
    rustix::net::bind(&socket, &"127.0.0.1:8080".parse::<std::net::SocketAddrV4>().unwrap()).unwrap();
    rustix::net::listen(&socket, 1).unwrap();
    let (code, _, stderr) = pod.run(Setup::sh("nc -l -p 8080")).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("Address already in use"), "{stderr}");
    let config = TunConfig {
        name: "eth0".to_owned(),
        addresses: vec![("10.88.0.7".parse().unwrap(), 16), ("fd00::7".parse().unwrap(), 64)],
        routes: vec![
            Route {
                destination: ("0.0.0.0".parse().unwrap(), 0),
                gateway: Some("10.88.0.1".parse().unwrap()),
                source: None,
            },
            Route { destination: ("::".parse().unwrap(), 0), gateway: None, source: None },
        ],
        mtu: 9000,
        keep: true,
        offload: false,
    };
    let tun = match sandbox.tun(&config).await {
        Ok(tun) => tun,
        Err(error) if !is_root() => {
            not_run(error);
            return pod.stop().await;
        }
        Err(error) => panic!("{error}"),
    };
    let said = pod.says(Setup::sh("ip -o addr show eth0; ip route; cat /sys/class/net/eth0/mtu")).await;
    for expected in ["inet 10.88.0.7/16", "inet6 fd00::7/64", "default via 10.88.0.1 dev eth0", "\n9000\n"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let tried = pod.run(Setup::sh("nc -w 1 10.88.0.9 80")).await;
    let mut packet = [0; 9000];
    // What the kernel itself says on a new device is IPv6.
    let is_ipv4 = std::iter::from_fn(|| rustix::io::read(&tun, &mut packet[..]).ok().map(|_| packet[0] >> 4 == 4));
    assert!(is_ipv4.into_iter().any(|is_ipv4| is_ipv4), "{tried:?}");
    assert!(sandbox.kept_tun().await.unwrap().is_some());
    pod.stop().await;
}

#[tokio::test]
async fn another_agent_takes_up_what_was_left() {
    if !can_run() {
        return;
    }
    let pod = Pod::with(|sandbox| sandbox.linux.as_mut().unwrap().adoptable = true);
    let script =
        "echo before; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo after; read line; echo got $line; exit 9";
    let (keys, stdin) = husk::base::pipe::pipe(1 << 10);
    let running = pod.start(Setup { stdin: Some(stdin), ..Setup::sh(script) }).await;
    running.prints("before").await;
    let brief = pod.start(Setup::sh("exec sleep 0.3")).await;
    let pid = pod.sandbox().await.pid();
    pod.runtime.leave();
    drop((running, brief));
    let Pod { runtime, sandbox, directory } = pod;
    drop(runtime);
    let second = LinuxRuntime::new(LinuxRuntimeConfig { program: env!("CARGO_BIN_EXE_husk").into() }, None);
    let adopting = async {
        loop {
            let adopted = second.adopt(&sandbox).await.unwrap_or_default();
            if !adopted.is_empty() {
                return adopted;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut adopted = tokio::time::timeout(PATIENCE, adopting).await.unwrap();
    assert_eq!(adopted.len(), 2);
    let brief = adopted.pop().unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, brief.container.wait()).await.unwrap().code, 0);
    let first = adopted.pop().unwrap();
    assert_eq!((first.name.as_str(), first.attempt), ("app", 0));
    let running = Running { container: first.container, stdout: first.stdout, stderr: first.stderr };
    assert_eq!(running.exec(&["touch", "/tmp/go"]).await.unwrap().0, 0);
    running.prints("after").await;
    first.stdin.unwrap().write_all("typed\n".into()).await.unwrap();
    let (code, stdout, _) = running.end().await;
    assert_eq!((code, stdout.as_str()), (9, "got typed\n"));
    second.remove_sandbox(&sandbox.uid).await;
    // Its parent may not have reaped it yet.
    assert!(fs::read_link(format!("/proc/{pid}/exe")).is_err());
    drop((keys, directory));
}
