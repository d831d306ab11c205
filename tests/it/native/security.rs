//! Users, groups, capabilities, privileges, filters of system calls.

use std::fs;

use husk::runtime::{LinuxContainerSecurityContext, SeccompProfile, Signal};

use super::scene::{Pod, Setup, can_run, has_ids, is_root, mount};

fn with_security(script: &str, change: impl FnOnce(&mut LinuxContainerSecurityContext)) -> Setup {
    Setup::sh(script).with(|linux| change(&mut linux.security))
}

const CAPABILITIES: &str = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '";

#[tokio::test]
async fn a_container_runs_as_the_user_it_names() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let script = "id -u; id -g; echo $HOME; touch /tmp/mine && stat -c %u:%g /tmp/mine; echo out > /dev/stdout";
    let by_number = with_security(script, |security| security.run_as_user = Some(1234));
    assert_eq!(pod.says(by_number).await, "1234\n0\n/\n1234:0\nout\n");
    let by_name = with_security(script, |security| security.image_user = "www".to_owned());
    assert_eq!(pod.says(by_name).await, "33\n33\n/var\n33:33\nout\n");
    let missing =
        pod.create(with_security("true", |security| security.image_user = "nobody-here".to_owned())).await.unwrap();
    let error = missing.container.start().await.unwrap_err().to_string();
    assert_eq!(error, "unable to find user nobody-here: no matching entries in passwd file");
    pod.stop().await;
}

#[tokio::test]
async fn programs_executed_in_a_container_run_as_its_user() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let setup = with_security("echo ready; exec sleep 1000", |security| {
        security.run_as_user = Some(1234);
        security.run_as_group = Some(77);
    });
    let running = pod.start(setup).await;
    running.prints("ready").await;
    let (code, stdout, stderr) = running.exec(&["sh", "-c", "id -u; id -g; echo x > /dev/stdout"]).await.unwrap();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "1234\n77\nx\n", ""));
    running.container.signal(Signal::Kill);
    running.wait().await;
    pod.stop().await;
}

#[tokio::test]
async fn supplementary_groups_open_what_is_a_groups() {
    if !can_run() {
        return;
    }
    if !has_ids() {
        // With one ID there are no other groups; `rootless` has more of them, too.
        return;
    }
    let pod = Pod::new();
    let setup = with_security("id -G", |security| {
        security.image_user = "www".to_owned();
        security.supplemental_groups = vec![2000];
    });
    assert_eq!(pod.says(setup).await, "33 77 2000\n");
    let volume = pod.path("volume");
    fs::create_dir_all(&volume).unwrap();
    std::os::unix::fs::chown(&volume, Some(0), Some(2000)).unwrap();
    fs::set_permissions(&volume, std::os::unix::fs::PermissionsExt::from_mode(0o2770)).unwrap();
    let setup = with_security("touch /data/file && stat -c %u:%g /data/file", |security| {
        security.run_as_user = Some(500);
        security.supplemental_groups = vec![2000];
    });
    assert_eq!(pod.says(setup.mount(mount(&volume, "/data"))).await, "500:2000\n");
    pod.stop().await;
}

#[tokio::test]
async fn capabilities_are_those_that_were_asked_for() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let default = "0000000000000000 00000000800405fb 00000000800405fb 00000000800405fb 0000000000000000 ";
    assert_eq!(pod.says(with_security(CAPABILITIES, |_| {})).await, default);
    let none =
        pod.says(with_security(CAPABILITIES, |security| security.drop_capabilities = vec!["ALL".to_owned()])).await;
    assert_eq!(none, "0000000000000000 ".repeat(5));
    let setup = with_security(CAPABILITIES, |security| {
        security.drop_capabilities = vec!["ALL".to_owned()];
        security.add_capabilities = vec!["NET_ADMIN".to_owned(), "CAP_SYS_TIME".to_owned()];
    });
    assert_eq!(pod.says(setup).await, default.replace("800405fb", "02001000"));
    // Another user has none, whatever the bounds are.
    let user = pod.says(with_security(CAPABILITIES, |security| security.run_as_user = Some(1000))).await;
    assert_eq!(user, "0000000000000000 0000000000000000 0000000000000000 00000000800405fb 0000000000000000 ");
    let setup = with_security("ip link set lo down && echo down", |security| {
        security.add_capabilities = vec!["NET_ADMIN".to_owned()];
    });
    assert_eq!(pod.says(setup).await, "down\n");
    let unknown = pod.create(with_security("", |security| security.add_capabilities = vec!["FLY".to_owned()])).await;
    assert_eq!(unknown.err().unwrap().to_string(), "unknown capability \"FLY\"");
    pod.stop().await;
}

#[tokio::test]
async fn privileges_and_filters_are_as_asked_for() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let script = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | cut -f2 | tr '\\n' ' '";
    assert_eq!(pod.says(with_security(script, |_| {})).await, "0 2 ");
    assert_eq!(pod.says(with_security(script, |security| security.no_new_privileges = true)).await, "1 2 ");
    assert_eq!(pod.says(with_security(script, |security| security.seccomp = SeccompProfile::Unconfined)).await, "0 0 ");
    // A filter does not hinder threads, sockets, or what shells do.
    let busy = "seq 5 | sort -r | tr '\\n' ' '; (sleep 0.01 &) ; nc -l -p 99 & sleep 0.1; kill $!; date > /dev/null; echo fine";
    assert_eq!(pod.says(with_security(busy, |_| {})).await, "5 4 3 2 1 fine\n");
    let profile = pod.path("profile.json");
    let rules = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#;
    fs::write(&profile, rules).unwrap();
    let setup = with_security("mkdir /tmp/x; nc -w 1 127.0.0.1 9", |security| {
        security.seccomp = SeccompProfile::Localhost(profile.clone());
    });
    let (_, _, stderr) = pod.run(setup).await;
    assert!(stderr.contains("No space left on device") && stderr.contains("Operation not permitted"), "{stderr}");
    fs::write(&profile, "{}").unwrap();
    let broken = with_security("true", |security| security.seccomp = SeccompProfile::Localhost(profile.clone()));
    let error = pod.create(broken).await.err().unwrap().to_string();
    assert!(error.starts_with("seccomp profile") && error.contains("missing field `defaultAction`"), "{error}");
    pod.stop().await;
}

#[tokio::test]
async fn a_privileged_container_may_do_what_root_may_and_nobody_else_gets_one() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let setup = with_security("mount -t tmpfs none /mnt && echo mounted; ls /dev | grep -c vd", |security| {
        security.privileged = true;
    });
    if is_root() {
        assert_eq!(pod.says(setup).await, "mounted\n1\n");
    } else {
        let error = pod.create(setup).await.err().unwrap().to_string();
        assert!(error.starts_with("a privileged container needs husk to run as root"), "{error}");
    }
    pod.stop().await;
}
