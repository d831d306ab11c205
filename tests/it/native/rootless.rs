//! All of this again as an ordinary user, whose one ID is root of a user namespace.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::scene::is_root;

/// An ID that is nobody's.
const USER: u32 = 61_234;

/// Tells tests that they run as an ordinary user.
pub(super) const VARIABLE: &str = "HUSK_TEST_ROOTLESS";

#[test]
fn everything_works_without_root() {
    if !is_root() {
        println!("not run here: the tests run without root already");
        return;
    }
    let directory = tempfile::Builder::new().prefix("husk-rootless").tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(USER), Some(USER)).unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["native::", "--skip", "rootless", "--test-threads", "2", "--nocapture"])
        .env(VARIABLE, "1")
        .env("TMPDIR", directory.path())
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines().filter(|line| line.contains("not run here: ")) {
        println!("without root, {line}");
    }
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_ordinary_user_learns_what_the_machine_can_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_husk"));
    command.arg("native-support");
    if is_root() {
        command.uid(USER).gid(USER);
    }
    let output = command.output().unwrap();
    let support: husk::runtime::linux::Support = serde_json::from_slice(&output.stdout).unwrap();
    assert!(support.can_run(), "{support:?}");
    assert_eq!(support.obstacle(), None);
}
