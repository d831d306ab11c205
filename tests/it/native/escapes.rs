//! Ways out of containers that others have had, and system calls that lead out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use husk::runtime::{SeccompProfile, Signal};

use super::scene::{Pod, Setup, can_run, is_root, knows_system_calls, mount, new_runtime, not_run};

#[tokio::test]
async fn no_directory_of_the_sandboxs_can_be_a_working_directory() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    fs::write(pod.path("marker"), "outside\n").unwrap();
    let script = format!("cat ../../../../../../../../../..{0}; cat {0}; ls -a .; true", pod.path("marker").display());
    for number in 3..40 {
        for directory in [format!("/proc/self/fd/{number}"), format!("/proc/1/fd/{number}/..")] {
            let setup = Setup { working_dir: directory.clone(), ..Setup::sh(&script) };
            let running = pod.create(setup).await.unwrap();
            if running.container.start().await.is_ok() {
                let (_, stdout, stderr) = running.end().await;
                assert!(!stdout.contains("outside"), "{directory}: {stdout}{stderr}");
            }
        }
    }
    pod.stop().await;
}

#[tokio::test]
async fn husk_itself_cannot_be_overwritten() {
    if !can_run() {
        return;
    }
    for shares in [true, false] {
        let mut pod = Pod::with(|sandbox| sandbox.share_process_namespace = shares);
        // Whoever is root in the container owns it, on the host.
        let program = pod.path("husk");
        fs::copy(env!("CARGO_BIN_EXE_husk"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).unwrap();
        let before = fs::read(&program).unwrap();
        pod.runtime = new_runtime(&program);
        let script = "echo ready; while :; do for exe in /proc/[0-9]*/exe; do \
                      (echo overwritten > $exe) 2>/dev/null; done; done";
        let setup = Setup::sh(script).with(|linux| {
            linux.security.add_capabilities = vec!["SYS_PTRACE".to_owned(), "DAC_READ_SEARCH".to_owned()];
            linux.security.seccomp = SeccompProfile::Unconfined;
        });
        let attacker = pod.start(setup).await;
        attacker.prints("ready").await;
        for argv in [&["true"][..], &["/proc/self/exe"], &["sh", "-c", "sleep 0.05"]].into_iter().cycle().take(30) {
            // husk's own program needs libraries that are not there.
            let _ = attacker.exec(argv).await;
        }
        assert!(fs::read(&program).unwrap() == before, "the program has changed");
        // Even after everything that was executing it has ended.
        attacker.container.signal(Signal::Kill);
        attacker.wait().await;
        assert!(fs::read(&program).unwrap() == before, "the program has changed");
        pod.stop().await;
    }
}

#[tokio::test]
async fn with_the_right_to_trace_no_process_of_husks_leads_out() {
    if !can_run() {
        return;
    }
    let pod = Pod::with(|sandbox| sandbox.share_process_namespace = true);
    fs::write(pod.path("marker"), "outside\n").unwrap();
    let script = format!(
        "echo ready; while :; do for root in /proc/[0-9]*/root /proc/[0-9]*/cwd; do cat $root{} 2>/dev/null; done; done",
        pod.path("marker").display()
    );
    let setup = Setup::sh(&script).with(|linux| {
        linux.security.add_capabilities = vec!["SYS_PTRACE".to_owned(), "DAC_READ_SEARCH".to_owned()];
        linux.security.seccomp = SeccompProfile::Unconfined;
    });
    let attacker = pod.start(setup).await;
    attacker.prints("ready").await;
    for _ in 0..20 {
        assert_eq!(attacker.exec(&["true"]).await.unwrap().0, 0);
        assert_eq!(pod.run(Setup::sh("exit 3")).await.0, 3);
    }
    let (_, seen, _) = attacker.exec(&["sh", "-c", "ls /proc/1/root; cat /proc/1/status"]).await.unwrap();
    assert!(seen.starts_with("Name:\thusk-pause\n") && seen.contains("CapPrm:\t0000000000000000"), "{seen}");
    attacker.container.signal(Signal::Kill);
    let (_, stdout, _) = attacker.end().await;
    assert!(!stdout.contains("outside"), "{stdout}");
    pod.stop().await;
}

/// What is refused, by number on x86-64, and the error that says so.
const REFUSED: &[(&str, &str, i32)] = &[
    ("keyctl", "250, 0, -3, 0", 1),
    ("add_key", "248, \"user\", \"a\", \"b\", 1, -3", 1),
    ("request_key", "249, \"user\", \"a\", 0, -3", 1),
    ("bpf", "321, 0, 0, 0", 1),
    ("userfaultfd", "323, 0", 1),
    ("io_uring_setup", "425, 1, 0", 1),
    ("perf_event_open", "298, 0, 0, -1, -1, 0", 1),
    ("mount", "165, \"none\", \"/mnt\", \"tmpfs\", 0, 0", 1),
    ("umount2", "166, \"/proc\", 2", 1),
    ("pivot_root", "155, \"/\", \"/\"", 1),
    ("fsopen", "430, \"tmpfs\", 0", 1),
    ("open_tree", "428, -100, \"/\", 1", 1),
    ("move_mount", "429, -100, \"/\", -100, \"/mnt\", 0", 1),
    ("mount_setattr", "442, -100, \"/\", 0, 0, 0", 1),
    ("unshare", "272, 0x10000000", 1),
    ("setns", "308, 0, 0", 1),
    ("clone", "56, 0x10000011, 0, 0, 0, 0", 1),
    ("clone3", "435, 0, 0", 38),
    ("kexec_load", "246, 0, 0, 0, 0", 1),
    ("init_module", "175, 0, 0, \"\"", 1),
    ("finit_module", "313, 0, \"\", 0", 1),
    ("swapon", "167, \"/tmp\", 0", 1),
    ("reboot", "169, 0, 0, 0, 0", 1),
    ("settimeofday", "164, 0, 0", 1),
    ("open_by_handle_at", "304, 0, 0, 0", 1),
    ("acct", "163, 0", 1),
    ("iopl", "172, 3", 1),
    ("vmsplice", "278, 1, 0, 0, 0", 1),
    ("fanotify_init", "300, 0, 0", 1),
    ("process_madvise", "440, 0, 0, 0, 0, 0", 1),
    ("pidfd_getfd", "438, 0, 0, 0", 1),
    ("syslog", "103, 3, 0, 0", 1),
    ("personality", "135, 0x0040000", 1),
    ("socket of a virtual machine", "41, 40, 1, 0", 1),
    ("socket of the audit", "41, 16, 3, 9", 22),
    ("mkdir of another kind", "0x40000053, \"/tmp/x\", 0", 38),
    ("what does not exist", "4000", 38),
];

#[tokio::test]
async fn system_calls_that_lead_out_are_refused() {
    if !can_run() {
        return;
    }
    if !knows_system_calls() {
        not_run("the numbers of system calls are those of x86-64, and they are made by Perl");
        return;
    }
    let mut script = "sub try { my ($n, @a) = @_; my $r = syscall($n, @a); print $r == -1 ? $! + 0 : \"done\", \"\\n\"; exit 0 if $$ != $p; } \
                      BEGIN { $p = $$; $| = 1; }\n"
            .to_owned();
    for (_, call, _) in REFUSED {
        script.push_str(&format!("try({call});\n"));
    }
    let pod = Pod::new();
    for no_new_privileges in [false, true] {
        let setup = Setup::perl(&script).with(|linux| linux.security.no_new_privileges = no_new_privileges);
        let said = pod.says(setup).await;
        let said: Vec<_> = REFUSED.iter().map(|(name, ..)| name).zip(said.lines()).collect();
        assert_eq!(said.len(), REFUSED.len());
        for ((name, line), (_, _, errno)) in said.into_iter().zip(REFUSED) {
            assert_eq!(line, errno.to_string(), "{name}");
        }
    }
    // Whoever asks for less of a filter, has what its capabilities allow.
    let setup = Setup::perl("print syscall(425, 1, 0) == -1 ? $! + 0 : 'done'")
        .with(|linux| linux.security.seccomp = SeccompProfile::Unconfined);
    assert_ne!(pod.says(setup).await, "1");
    pod.stop().await;
}

#[tokio::test]
async fn the_keys_of_whoever_started_husk_are_not_there() {
    if !can_run() {
        return;
    }
    if !knows_system_calls() {
        not_run("the numbers of system calls are those of x86-64, and they are made by Perl");
        return;
    }
    let own =
        std::process::Command::new("/usr/bin/perl").args(["-e", "print syscall(250, 0, -3, 0)"]).output().unwrap();
    let pod = Pod::new();
    let setup =
        Setup::perl("print syscall(250, 0, -3, 0)").with(|linux| linux.security.seccomp = SeccompProfile::Unconfined);
    let inside = pod.says(setup).await;
    assert_ne!(inside, String::from_utf8_lossy(&own.stdout));
    pod.stop().await;
}

#[tokio::test]
async fn devices_open_only_where_husk_has_put_them() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let volume = pod.path("volume");
    fs::create_dir_all(&volume).unwrap();
    let disk = "mknod /data/disk b 254 0; mknod /data/null c 1 3; head -c 1 /data/disk || head -c 1 /data/null || \
                head -c 1 /dev/mem || head -c 1 /dev/kmsg || echo nothing";
    let (_, stdout, stderr) = pod.run(Setup::sh(disk).mount(mount(&volume, "/data"))).await;
    assert_eq!(stdout, "nothing\n", "{stderr}");
    // Not even for those who may make nodes, and not if they are in the volume already.
    if is_root() {
        let status = std::process::Command::new("mknod").arg(volume.join("zero")).args(["c", "1", "5"]).status();
        assert!(status.unwrap().success());
    }
    let nodes = "mknod /data/full c 1 7; mknod /tmp/full c 1 7; head -c 1 /data/full; head -c 1 /tmp/full; \
                 head -c 1 /data/zero; echo end";
    let setup = Setup::sh(nodes).mount(mount(&volume, "/data"));
    let (_, stdout, stderr) = pod.run(setup.with(|linux| linux.security.add_capabilities = vec!["MKNOD".into()])).await;
    assert_eq!(stdout, "end\n");
    if is_root() {
        assert_eq!(stderr.matches("Permission denied").count(), 3, "{stderr}");
    }
    pod.stop().await;
}

#[tokio::test]
async fn semaphores_and_queues_are_shared_in_the_pod_and_nowhere_else() {
    if !can_run() {
        return;
    }
    if !knows_system_calls() {
        not_run("there is no Perl to make semaphores");
        return;
    }
    let (pod, other) = (Pod::new(), Pod::new());
    let maker = "$| = 1; my $s = semget(4711, 1, 01666); semctl($s, 0, 16, 7); my $q = msgget(4712, 01666); \
                 msgsnd($q, pack('l! a*', 1, 'hello'), 0); my $m = shmget(4713, 100, 01666); shmwrite($m, 'world', 0, 5); \
                 print \"ready\\n\"; sleep 1000";
    let running = pod.start(Setup::perl(maker)).await;
    running.prints("ready").await;
    let user = "my $s = semget(4711, 1, 0); print defined $s ? semctl($s, 0, 12, 0) : 'none'; my $q = msgget(4712, 0); \
                if (defined $q) { msgrcv($q, my $got, 100, 0, 0); print ' ', (unpack('l! a*', $got))[1]; } \
                my $m = shmget(4713, 100, 0); if (defined $m) { shmread($m, my $seen, 0, 5); print \" $seen\"; }";
    assert_eq!(other.says(Setup::perl(user)).await, "none");
    assert_eq!(pod.says(Setup::perl(user)).await, "7 hello world");
    pod.stop().await;
    other.stop().await;
}
