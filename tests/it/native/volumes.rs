//! Volumes: memory that containers share, propagation of mounts, roots that are copies, races for subPaths.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use husk::runtime::{Mount, Propagation};

use super::scene::{Pod, Setup, can_run, is_root, layers, mount};

#[tokio::test]
async fn shared_memory_has_its_size() {
    if !can_run() {
        return;
    }
    let pod = Pod::with(|sandbox| sandbox.linux.as_mut().unwrap().shm_bytes = 1 << 20);
    let (code, _, stderr) = pod.run(Setup::sh("dd if=/dev/zero of=/dev/shm/big bs=64k count=32")).await;
    assert!(code == 1 && stderr.contains("No space left on device"), "{stderr}");
    pod.stop().await;
}

/// A mount of the host's that spreads, which is taken away in the end.
struct SharedMount(PathBuf);

impl SharedMount {
    fn new(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        host(&["mount", "-t", "tmpfs", "none", path.to_str().unwrap()]);
        host(&["mount", "--make-shared", path.to_str().unwrap()]);
        Self(path)
    }
}

impl Drop for SharedMount {
    fn drop(&mut self) {
        host(&["umount", "-R", "-l", self.0.to_str().unwrap()]);
    }
}

fn host(command: &[&str]) {
    assert!(Command::new(command[0]).args(&command[1..]).status().unwrap().success(), "{command:?}");
}

#[tokio::test]
async fn mounts_of_the_host_show_in_containers_that_ask_for_them() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let shared = SharedMount::new(pod.path("volume"));
    fs::create_dir(shared.0.join("later")).unwrap();
    let script = "echo ready; while [ ! -e /data/later/file ]; do sleep 0.05; done; echo shows";
    let with = |propagation| Setup::sh(script).mount(Mount { propagation, ..mount(&shared.0, "/data") });
    let asks = pod.start(with(Propagation::HostToContainer)).await;
    let asks_not = pod.start(with(Propagation::None)).await;
    asks.prints("ready").await;
    asks_not.prints("ready").await;
    host(&["mount", "-t", "tmpfs", "none", shared.0.join("later").to_str().unwrap()]);
    fs::write(shared.0.join("later/file"), "").unwrap();
    asks.prints("shows").await;
    assert_eq!(asks.wait().await.code, 0);
    assert_eq!(asks_not.exec(&["test", "-e", "/data/later/file"]).await.unwrap().0, 1);
    drop(shared);
    pod.stop().await;
}

#[tokio::test]
async fn mounts_of_a_privileged_container_show_on_the_host_if_it_asks_for_that() {
    if !can_run() {
        return;
    }
    if !is_root() {
        // Then there are no privileged containers.
        return;
    }
    let pod = Pod::new();
    let shared = SharedMount::new(pod.path("volume"));
    let script = "mkdir /data/mine; mount -t tmpfs none /data/mine; touch /data/mine/file; echo ready; exec sleep 1000";
    let volume = Mount { propagation: Propagation::Bidirectional, ..mount(&shared.0, "/data") };
    let setup = Setup::sh(script).mount(volume.clone()).with(|linux| linux.security.privileged = true);
    let running = pod.start(setup).await;
    running.prints("ready").await;
    assert!(shared.0.join("mine/file").exists());
    let refused = pod.create(Setup::sh("true").mount(volume)).await.unwrap();
    let error = refused.container.start().await.unwrap_err().to_string();
    assert_eq!(error, "mountPropagation Bidirectional is only available to privileged containers");
    drop(shared);
    pod.stop().await;
}

#[tokio::test]
async fn mounts_that_cannot_spread_are_told_beforehand() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let volume = pod.path("volume");
    fs::create_dir_all(&volume).unwrap();
    host(&["mount", "-t", "tmpfs", "none", volume.to_str().unwrap()]);
    host(&["mount", "--make-private", volume.to_str().unwrap()]);
    let spread = Mount { propagation: Propagation::HostToContainer, ..mount(&volume, "/data") };
    let running = pod.create(Setup::sh("true").mount(spread)).await.unwrap();
    let error = running.container.start().await.unwrap_err().to_string();
    host(&["umount", volume.to_str().unwrap()]);
    assert!(error.contains("but it is not a shared or slave mount; `mount --make-rshared"), "{error}");
    pod.stop().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_an_overlay_is_copied() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    // More layers than can be named in one mount.
    let mut all = vec![pod.layer()];
    for number in 0..300 {
        let layer = pod.path(&format!("layers/{number}"));
        fs::create_dir_all(layer.join("many")).unwrap();
        fs::write(layer.join("many").join(number.to_string()), format!("{number}\n")).unwrap();
        fs::write(layer.join("last"), format!("{number}\n")).unwrap();
        all.push(layer);
    }
    symlink("last", pod.path("layers/7/link")).unwrap();
    fs::hard_link(pod.path("layers/8/last"), pod.path("layers/8/hard")).unwrap();
    let script = "ls /many | wc -l; cat /last /link; echo changed > /last; cat /last; readlink /link; \
                  stat -c %a /tmp; mount | grep -c ' / type overlay'";
    let setup = |script: &str| Setup::sh(script).with(|linux| linux.rootfs = layers(all.clone()));
    let (_, stdout, stderr) = pod.run(setup(script)).await;
    assert_eq!(stdout, "300\n299\n299\nchanged\nlast\n1777\n0\n", "{stderr}");
    assert_eq!(pod.says(setup("cat /last")).await, "299\n");
    assert_eq!(fs::read_to_string(pod.path("layers/299/last")).unwrap(), "299\n");
    pod.stop().await;
}

#[tokio::test]
async fn no_race_for_a_sub_path_is_won() {
    if !can_run() {
        return;
    }
    let pod = Pod::new();
    let (volume, secret) = (pod.path("volume"), pod.path("secret"));
    fs::create_dir_all(&volume).unwrap();
    fs::create_dir_all(&secret).unwrap();
    fs::write(secret.join("file"), "secret\n").unwrap();
    // One container changes a directory to a link that leads out, and back, as fast as it can.
    let script = "cd /data; mkdir real; ln -s / out; ln -s ../../../../../../../.. up; echo ready; \
                  while :; do mv real link; mv link real; mv out link; mv link out; mv up link; mv link up; done";
    let racer = pod.start(Setup::sh(script).mount(mount(&volume, "/data"))).await;
    racer.prints("ready").await;
    let sub_path = Path::new("link").join(secret.strip_prefix("/").unwrap());
    let inode = fs::metadata(&secret).unwrap().ino();
    for _ in 0..40 {
        let setup = Setup::sh("cat /mnt/file; stat -c %i /mnt")
            .mount(Mount { sub_path: Some(sub_path.clone()), ..mount(&volume, "/mnt") });
        let running = pod.create(setup).await.unwrap();
        // It may find nothing there, at times.
        if running.container.start().await.is_ok() {
            let (_, stdout, _) = running.end().await;
            assert!(!stdout.contains("secret") && !stdout.contains(&inode.to_string()), "{stdout}");
        }
    }
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    pod.stop().await;
}
