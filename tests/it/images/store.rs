//! `husk image` for people and scripts: where archives go, what names are, what is said when something fails.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::support::{Husk, Running, guest_file};

/// A store with a program as `app:1`.
fn with_app() -> Husk {
    let husk = Husk::new();
    let guest = guest_file("p2", "hello");
    husk.husk(["image".as_ref(), "import".as_ref(), guest.as_os_str(), "app:1".as_ref()]).exits(0);
    husk
}

fn names_in(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn archives_go_where_they_are_sent_and_replace_nothing_but_files() {
    let husk = with_app();
    let out = husk.dir().join("out");
    fs::create_dir(&out).unwrap();
    let save = |output: &str| husk.husk(["image", "save", "-o", output, "app:1"]);
    // A new file, with the permissions that the user's mask leaves.
    let masked = Command::new("sh")
        .args([
            "-c",
            "umask 027; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_husk"),
            "image",
            "save",
            "-o",
            "out/a.tar",
            "app:1",
        ])
        .current_dir(husk.dir())
        .env("HUSK_DATA_DIR", husk.dir().join("data"))
        .status()
        .unwrap();
    assert!(masked.success());
    assert_eq!(fs::metadata(out.join("a.tar")).unwrap().permissions().mode() & 0o777, 0o640);
    let archive = fs::read(out.join("a.tar")).unwrap();
    // Through symlinks to what they lead to, whether it is there or not.
    for target in ["a.tar", "b.tar"] {
        let link = out.join("link");
        symlink(target, &link).unwrap();
        save("out/link").exits(0);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read(out.join(target)).unwrap() == archive);
        fs::remove_file(&link).unwrap();
    }
    save("out").exits(2).says("is a directory");
    assert_eq!(names_in(&out), ["a.tar", "b.tar"], "nothing is left beside them");
    // What is no file is written to, and stays.
    save("/dev/null").exits(0);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let piped = husk.command(["image", "save", "-o", "/dev/stdout", "app:1"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout == archive);
    let fifo = out.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut reader = Command::new("cat").arg(&fifo).stdout(Stdio::piped()).spawn().unwrap();
    save("out/fifo").exits(0);
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut reader.stdout.take().unwrap(), &mut read).unwrap();
    assert!(reader.wait().unwrap().success() && read == archive);
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    // And read from a pipe, as a shell's `<(…)` is one.
    let mut load = husk.command(["image", "load", "-i", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    load.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(load.wait().unwrap().success());
}

#[test]
fn a_save_that_is_interrupted_leaves_nothing() {
    let husk = Husk::new();
    let content: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(64 << 20).collect();
    husk.write("context/file", content);
    husk.husk(["image", "build", "-t", "large", "context"]).exits(0);
    let out = husk.dir().join("out");
    fs::create_dir(&out).unwrap();
    for _ in 0..3 {
        let mut save = husk.command(["image", "save", "-o", "out/a.tar", "large"]).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&save);
        // As soon as it has begun to write there.
        let files = format!("/proc/{}/fd", save.id());
        let links =
            || fs::read_dir(&files).into_iter().flatten().flatten().filter_map(|file| fs::read_link(file.path()).ok());
        while !links().any(|link| link.starts_with(&out)) && save.try_wait().unwrap().is_none() {}
        let _ended = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let status = save.wait().unwrap();
        let names = names_in(&out);
        assert!(names.is_empty() || status.signal().is_none() && names == ["a.tar"], "{status}: {names:?}");
        let _whole = fs::remove_file(out.join("a.tar"));
    }
}

#[test]
fn ids_are_names_and_one_failure_stops_nothing_else() {
    let husk = with_app();
    let id = husk.husk(["image", "ls", "-q", "app:1"]).ok();
    let id = id.trim();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let short = &id[7..19];
    assert!(husk.husk(["image", "inspect", short]).ok().contains(id));
    husk.husk(["image", "tag", short, "other:1"]).exits(0);
    husk.husk(["image", "tag", short, "third:1"]).exits(0);
    husk.husk(["run", "byid", "--image", id, "--no-prefix"]).exits(0).has("hello from wasm");
    husk.husk(["image", "rm", short]).exits(2).says("docker.io/library/other:1");
    husk.husk(["image", "rm", "other:1", "missing", "builtin/busybox", "third:1"])
        .exits(2)
        .has("other:1")
        .has("third:1")
        .says("\"missing\" not found")
        .says("is part of husk, not in the store");
    husk.husk(["image", "rm", "-f", "missing", id]).exits(0).has(id);
    assert!(!husk.husk(["image", "ls"]).ok().contains("imported"));
    husk.husk(["image", "ls", "busybox"]).ok().lines().nth(1).expect("the built-in one");
    husk.husk(["image", "pull", "-q", "127.0.0.1:1/a", "127.0.0.1:1/b"])
        .exits(2)
        .says("127.0.0.1:1/a:latest")
        .says("127.0.0.1:1/b:latest");
}

#[test]
fn programs_come_from_pipes_and_who_has_read_enough_is_no_error() {
    let husk = Husk::new();
    let program = fs::read(guest_file("p2", "hello")).unwrap();
    let mut import = husk.command(["image", "import", "-", "app:1"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&program).unwrap();
    assert!(import.wait().unwrap().success());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let inspected = husk.command(["image", "inspect", "app:1"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(inspected.status.success() && inspected.stderr.is_empty(), "{inspected:?}");
}

#[test]
fn a_damaged_image_is_named_with_what_to_do() {
    let husk = with_app();
    let id = husk.husk(["image", "ls", "-q", "app:1"]).ok();
    let blob = husk.dir().join("data/images/blobs/sha256").join(id.trim().trim_start_matches("sha256:"));
    let mut contents = fs::read(&blob).unwrap();
    contents[20] ^= 1;
    fs::write(&blob, contents).unwrap();
    fs::write(blob.with_file_name("garbage"), [0; 4096]).unwrap();
    husk.husk(["image", "prune"])
        .exits(0)
        .says("4.00 KiB freed")
        .says("image docker.io/library/app:1 is damaged")
        .says("husk image rm docker.io/library/app:1");
    husk.husk(["image", "rm", "app:1"]).exits(0);
    // A layer that a container cannot read.
    let guest = guest_file("p2", "hello");
    husk.husk(["image".as_ref(), "import".as_ref(), guest.as_os_str(), "app:1".as_ref()]).exits(0);
    let inspected: serde_json::Value = serde_json::from_str(&husk.husk(["image", "inspect", "app:1"]).ok()).unwrap();
    let layer = inspected[0]["RootFS"]["Layers"][0].as_str().unwrap().trim_start_matches("sha256:");
    let mut contents = fs::read(blob.with_file_name(layer)).unwrap();
    contents[0] ^= 1;
    fs::write(blob.with_file_name(layer), contents).unwrap();
    let mut running = Running::spawn(&mut husk.command(["run", "box", "--image", "app:1"]));
    running.wait_for("is damaged: pull the image again");
    running.signal(rustix::process::Signal::INT);
    running.end();
    husk.husk(["image", "rm", "app:1"]).exits(0);
    let freed = husk.husk(["image", "prune"]).exits(0).says("0 B freed");
    assert!(!freed.stderr.contains("damaged"), "{freed:?}");
}
