//! What a container must not see or reach of the machine, of its sandbox, and of other pods.

use std::fs;

use husk::runtime::{LinuxPodSandboxConfig, Signal};

use super::scene::{Pod, Setup, can_run};

#[tokio::test]
async fn a_container_sees_nothing_of_the_machine() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let script = "ps -o comm; echo; grep -c . /proc/net/dev; echo; cut -d' ' -f2 /proc/mounts | sort; echo; ls /";
    let stdout = pod.says(Setup::sh(script)).await;
    let parts: Vec<_> = stdout.split("\n\n").collect();
    assert!(parts[0].lines().all(|line| ["COMMAND", "sh", "ps"].contains(&line)), "{stdout}");
    // Two lines of headings, and the loopback device.
    assert_eq!(parts[1], "3", "{stdout}");
    let inside = ["/", "/dev", "/proc", "/sys"];
    let is_own = |mount: &str| inside.iter().any(|own| mount == *own || (mount.starts_with(own) && *own != "/"));
    assert!(parts[2].lines().all(is_own), "{stdout}");
    assert_eq!(parts[3], "bin\ndev\netc\nmnt\nproc\nroot\nsys\ntmp\nusr\nvar\n");
    pod.stop().await;
}

#[tokio::test]
async fn what_could_harm_the_machine_fails() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    for script in [
        "mount -t tmpfs none /mnt",
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /sys",
        "umount /proc/kcore",
        "echo 1 > /proc/sys/kernel/sysrq",
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "head -c 1 /proc/kcore | grep -q .",
        "cat /proc/keys | grep -q .",
        "cat /proc/timer_list | grep -q .",
        "ls /sys/firmware | grep -q .",
        "echo x > /sys/kernel/profiling",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo mem > /sys/power/state",
        "echo 1 > /sys/kernel/mm/transparent_hugepage/enabled",
        "ls /sys/dev/block | grep -q .",
        "cat /proc/acpi/* /proc/scsi/* | grep -q .",
        "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk",
        "dmesg",
        "hostname other",
        "unshare -m true",
        "unshare -U true",
        "unshare -n true",
        "kill -9 -1 && false",
        "chroot /proc/1/root/../.. ls /work",
        "ip link set lo down",
        "ip link add type dummy",
        "echo 0 > /sys/fs/cgroup/cgroup.procs",
        "mkdir /sys/fs/cgroup/mine",
        "mkdir /sys/fs/cgroup/memory/mine",
    ] {
        let (code, stdout, stderr) = pod.run(Setup::sh(script)).await;
        assert_ne!(code, 0, "{script}: {stdout}{stderr}");
    }
    pod.stop().await;
}

#[tokio::test]
async fn descriptors_of_the_sandbox_stay_with_it() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    // Busybox's ls has the directory itself open, as 3.
    assert_eq!(pod.says(Setup::command(&["ls", "/proc/self/fd"])).await, "0\n1\n2\n3\n");
    let running = pod.start(Setup::command(&["sleep", "1000"])).await;
    assert_eq!(running.exec(&["ls", "/proc/self/fd"]).await.unwrap().1, "0\n1\n2\n3\n");
    assert_eq!(running.exec(&["ls", "/proc/1/fd"]).await.unwrap().1, "0\n1\n2\n");
    running.container.signal(Signal::Kill);
    running.wait().await;
    pod.stop().await;
}

#[tokio::test]
async fn the_sandbox_process_cannot_be_looked_into() {
    if !can_run() {
        return;
    }
    let pod = Pod::with(|sandbox| sandbox.share_process_namespace = true);
    let script = "cat /proc/1/comm; ls /proc/1/root; cat /proc/1/environ; cat /proc/1/fd/0; readlink /proc/1/exe; kill -9 1; \
                  kill -TERM 1; echo x > /proc/1/mem; cat /proc/1/comm";
    let (_, stdout, stderr) = pod.run(Setup::sh(script)).await;
    assert_eq!(stdout, "husk-pause\nhusk-pause\n", "{stderr}");
    pod.stop().await;
}

#[tokio::test]
async fn pods_have_networks_and_ipc_of_their_own() {
    if !can_run() {
        return;
    }
    let (one, other) = (Pod::new(), Pod::new());
    let listener = one.start(Setup::sh("echo hello | nc -l -p 80; true")).await;
    let dial =
        Setup::sh("for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 80 < /dev/null && exit 0; sleep 0.2; done; exit 1");
    let (code, _, stderr) = other.run(Setup::sh("nc 127.0.0.1 80 < /dev/null")).await;
    assert_eq!(code, 1, "{stderr}");
    let (code, stdout, stderr) = one.run(dial).await;
    assert_eq!((code, stdout.as_str()), (0, "hello\n"), "{stderr}");
    assert_eq!(listener.wait().await.code, 0);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn only_namespaced_sysctls_can_be_set() {
    if !can_run() {
        return;
    }
    let with = |name: &str, value: &str| {
        let pair = (name.to_owned(), value.to_owned());
        Pod::with(|sandbox| {
            let linux = sandbox.linux.take().unwrap();
            sandbox.linux = Some(LinuxPodSandboxConfig { sysctls: vec![pair], ..linux });
        })
    };
    let pod = with("net.ipv4.ip_default_ttl", "77");
    assert_eq!(pod.says(Setup::sh("cat /proc/sys/net/ipv4/ip_default_ttl")).await, "77\n");
    pod.stop().await;
    for (name, value) in [("kernel.panic", "1"), ("net.ipv4/../../kernel.panic", "1"), ("vm.swappiness", "1")] {
        let pod = with(name, value);
        let error = pod.runtime.sandbox(&pod.sandbox).await.unwrap_err().to_string();
        assert!(error.contains("not namespaced"), "{error}");
        pod.stop().await;
    }
    let on_the_host = Pod::with(|sandbox| {
        let linux = sandbox.linux.as_mut().unwrap();
        linux.host_network = true;
        linux.sysctls = vec![("net.ipv4.ip_default_ttl".to_owned(), "77".to_owned())];
    });
    let error = on_the_host.runtime.sandbox(&on_the_host.sandbox).await.unwrap_err().to_string();
    assert!(error.contains("is the host's in a pod with hostNetwork"), "{error}");
    assert_ne!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), "77\n");
}
