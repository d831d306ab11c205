//! The root filesystem: layers, volumes, subPaths, read-only and special files.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

use husk::runtime::{ContainerRuntime, Mount, Signal};

use super::scene::{Pod, Setup, can_run, layers, mount};

#[tokio::test]
async fn layers_lie_over_one_another_and_changes_stay_in_the_container() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let upper = pod.path("upper-layer");
    fs::create_dir_all(upper.join("etc/app")).unwrap();
    fs::write(upper.join("etc/motd"), "from above\n").unwrap();
    fs::write(pod.layer().join("etc/motd"), "from below\n").unwrap();
    fs::write(pod.layer().join("etc/kept"), "kept\n").unwrap();
    let setup = |script: &str| Setup::sh(script).with(|linux| linux.rootfs = layers(vec![pod.layer(), upper.clone()]));
    let script = "cat /etc/motd /etc/kept; echo changed > /etc/motd; rm /etc/kept; ls /etc; cat /etc/motd";
    assert_eq!(pod.says(setup(script)).await, "from above\nkept\napp\ngroup\nmotd\npasswd\nchanged\n");
    assert_eq!(pod.says(setup("cat /etc/motd /etc/kept")).await, "from above\nkept\n");
    pod.runtime.remove_sandbox(&pod.sandbox.uid).await;
    assert_eq!(fs::read_dir(pod.path("roots")).unwrap().count(), 0);
}

#[tokio::test]
async fn whiteouts_and_opaque_directories_hide_what_is_below() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let upper = pod.path("upper-layer");
    fs::create_dir_all(upper.join("etc")).unwrap();
    fs::create_dir_all(pod.layer().join("opt/old")).unwrap();
    fs::create_dir_all(upper.join("opt/new")).unwrap();
    let whiteout = upper.join("etc/group");
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, whiteout, kind, rustix::fs::Mode::empty(), 0).unwrap();
    rustix::fs::setxattr(upper.join("opt"), "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
    let setup = Setup::sh("ls /etc /opt").with(|linux| linux.rootfs = layers(vec![pod.layer(), upper.clone()]));
    assert_eq!(pod.says(setup).await, "/etc:\npasswd\n\n/opt:\nnew\n");
    pod.stop().await;
}

#[tokio::test]
async fn volumes_are_mounted_as_they_were_asked_for() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let volume = pod.path("volume");
    fs::create_dir_all(volume.join("inner")).unwrap();
    fs::write(volume.join("inner/file"), "content\n").unwrap();
    fs::write(pod.path("hosts"), "127.0.0.1 localhost\n").unwrap();
    let setup =
        Setup::sh("cat /data/inner/file /etc/hosts /inner/file; echo more > /data/inner/new; echo x > /inner/no")
            .mount(mount(&volume, "/data"))
            .mount(Mount { sub_path: Some("inner".into()), read_only: true, ..mount(&volume, "/inner") })
            .mount(mount(pod.path("hosts"), "/etc/hosts"));
    let (code, stdout, stderr) = pod.run(setup).await;
    assert_eq!((code, stdout.as_str()), (1, "content\n127.0.0.1 localhost\ncontent\n"));
    assert!(stderr.contains("Read-only file system"), "{stderr}");
    assert_eq!(fs::read_to_string(volume.join("inner/new")).unwrap(), "more\n");
    pod.stop().await;
}

#[tokio::test]
async fn no_link_in_a_volume_or_an_image_leads_out() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let volume = pod.path("volume");
    fs::create_dir_all(&volume).unwrap();
    fs::write(pod.path("secret"), "secret\n").unwrap();
    symlink("/etc", volume.join("absolute")).unwrap();
    symlink("../secret", volume.join("up")).unwrap();
    symlink("../../../../../../../../../..", pod.layer().join("out")).unwrap();
    // An absolute link leads out of the volume, as does one that goes up.
    let setup = Setup::sh("ls /mnt; cat /etc/hostname")
        .mount(Mount { sub_path: Some("absolute/deep".into()), ..mount(&volume, "/mnt") });
    let running = pod.create(setup).await.unwrap();
    let error = running.container.start().await.unwrap_err().to_string();
    assert!(error.ends_with("subPath absolute/deep: path leads outside of the volume"), "{error}");
    let setup = Setup::sh("cat /mnt").mount(Mount { sub_path: Some("up".into()), ..mount(&volume, "/mnt") });
    let running = pod.create(setup).await.unwrap();
    let error = running.container.start().await.unwrap_err().to_string();
    assert!(error.ends_with("subPath up: path leads outside of the volume"), "{error}");
    // A mount through the image's link lands in the container's own root.
    let setup = Setup::sh("ls /tmp/landed; ls -d /out/tmp/landed").mount(mount(&volume, "/out/tmp/landed"));
    assert_eq!(pod.says(setup).await, "absolute\nup\n/out/tmp/landed\n");
    assert!(!std::path::Path::new("/tmp/landed").exists());
    pod.stop().await;
}

#[tokio::test]
async fn an_image_cannot_move_proc_or_dev_elsewhere() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let evil = pod.path("evil");
    fs::create_dir_all(evil.join("tmp/elsewhere")).unwrap();
    symlink("tmp/elsewhere", evil.join("proc")).unwrap();
    let setup = Setup::sh("true").with(|linux| linux.rootfs = layers(vec![pod.layer(), evil.clone()]));
    let running = pod.create(setup).await.unwrap();
    let error = running.container.start().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot mount /proc in the container: Too many levels of symbolic links"), "{error}");
    pod.stop().await;
}

#[tokio::test]
async fn a_read_only_root_takes_no_writes_but_its_volumes_do() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    fs::create_dir_all(pod.path("volume")).unwrap();
    let script = "echo x > /etc/no; echo x > /volume/yes && echo x > /dev/shm/yes && echo x > /dev/null && echo done";
    let setup =
        Setup::sh(script).mount(mount(pod.path("volume"), "/volume")).with(|linux| linux.rootfs.read_only = true);
    let (code, stdout, stderr) = pod.run(setup).await;
    assert_eq!((code, stdout.as_str()), (0, "done\n"));
    assert!(stderr.contains("/etc/no: Read-only file system"), "{stderr}");
    pod.stop().await;
}

#[tokio::test]
async fn the_special_files_of_a_container_are_there() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let script = "ls /dev; stat -c %t:%T /dev/null /dev/zero /dev/tty; cat /proc/self/comm; ls /sys | head -1; \
                  df /dev/shm | tail -1 | cut -c1-3; echo hi > /dev/stdout; echo x > /proc/sys/kernel/hostname";
    let (_, stdout, stderr) = pod.run(Setup::sh(script)).await;
    let expected = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
                    1:3\n1:5\n5:0\ncat\nblock\nshm\nhi\n";
    assert_eq!(stdout, expected);
    assert!(stderr.contains("Read-only file system"), "{stderr}");
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    pod.stop().await;
}

#[tokio::test]
async fn shared_memory_is_the_pods() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let first = pod.start(Setup::sh("echo one > /dev/shm/file; echo ready; exec sleep 1000")).await;
    first.prints("ready").await;
    assert_eq!(pod.says(Setup::sh("cat /dev/shm/file")).await, "one\n");
    let other = Pod::new();
    assert_eq!(other.says(Setup::sh("ls /dev/shm")).await, "");
    first.container.signal(Signal::Kill);
    first.wait().await;
    other.stop().await;
    pod.stop().await;
}

#[tokio::test]
async fn a_working_directory_is_made_if_it_is_missing() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let setup = Setup { working_dir: "/srv/deep/down".to_owned(), ..Setup::command(&["pwd"]) };
    assert_eq!(pod.says(setup).await, "/srv/deep/down\n");
    let setup = Setup { working_dir: "/proc/self/fd/7/../..".to_owned(), ..Setup::command(&["pwd"]) };
    let running = pod.create(setup).await.unwrap();
    let error = running.container.start().await.unwrap_err().to_string();
    assert!(error.contains("working directory"), "{error}");
    pod.stop().await;
}
