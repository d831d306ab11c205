//! All of this again as an ordinary user: with one ID, which is root of a user namespace, and with subordinate IDs. And what
//! is said where such users may not do this.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use husk::runtime::linux::{Outcome, Support};

use super::scene::{is_root, not_run};

/// A user of the tests' own, whose ID is nobody's, and subordinate IDs.
const USER: u32 = 61_234;
const SUBORDINATE: &str = "husk-test:361234:65536\n";

/// Programs that map subordinate IDs.
const MAPPER: &str = "/usr/bin/newuidmap";

/// Runs native tests by `command`, which is to become root of a user namespace.
fn run_everything(command: &mut Command, which: &str) {
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args([which, "--skip", "rootless", "--test-threads", "2", "--nocapture"])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for (_, reason) in said.lines().filter_map(|line| line.split_once("not run here: ")) {
        not_run(format_args!("without root, {reason}"));
    }
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

/// A directory of the ordinary user's.
fn own_directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("husk-rootless").tempdir().unwrap();
    if is_root() {
        std::os::unix::fs::chown(directory.path(), Some(USER), Some(USER)).unwrap();
    }
    directory
}

/// A program that is run as the ordinary user, which these tests may be run by already.
fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(USER).gid(USER);
    }
    command
}

/// Whether an ordinary user can make user namespaces here. If not, every case that is not run for it is named.
fn users_make_namespaces() -> bool {
    let tried = as_user("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output().unwrap();
    if tried.status.success() {
        return true;
    }
    let reason = String::from_utf8_lossy(&tried.stderr);
    let list = Command::new(std::env::current_exe().unwrap()).args(["native::", "--list"]).output().unwrap();
    for test in String::from_utf8_lossy(&list.stdout).lines().filter_map(|line| line.strip_suffix(": test")) {
        not_run(format_args!("{test} without root: {}", reason.trim()));
    }
    false
}

#[test]
fn everything_works_with_one_id() {
    if !users_make_namespaces() {
        return;
    }
    let directory = own_directory();
    let mut command = if is_root() { on_a_kind_machine(directory.path(), false) } else { Command::new("env") };
    command.args(["unshare", "--user", "--map-root-user", "--mount", "--"]).env("TMPDIR", directory.path());
    run_everything(&mut command, "native::");
}

#[test]
fn limits_that_cannot_be_kept_are_told() {
    if !users_make_namespaces() {
        return;
    }
    let directory = own_directory();
    let mut command = as_user("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--"]).env("TMPDIR", directory.path());
    run_everything(command.env(super::resources::NOT_DELEGATED, "1"), "native::resources::");
}

/// A command that runs what follows as the ordinary user of a machine that is kind to such users: everybody may make TUN
/// devices, control groups were delegated, and, if so asked, there are subordinate IDs.
fn on_a_kind_machine(directory: &Path, has_subordinate_ids: bool) -> Command {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(directory.join("passwd"), format!("{passwd}husk-test:x:{USER}:{USER}::/:/bin/sh\n")).unwrap();
    for file in ["subuid", "subgid"] {
        fs::write(directory.join(file), if has_subordinate_ids { SUBORDINATE } else { "" }).unwrap();
    }
    // What is in the groups ends before the script, which then removes them.
    let script = "for file in passwd subuid subgid; do touch -a /etc/$file; mount --bind $1/$file /etc/$file; done
        if [ -e /dev/net/tun ]; then
          mknod $1/tun c 10 200; chmod 666 $1/tun; mount --bind $1/tun /dev/net/tun
        fi
        groups=
        for own in $(sed -n 's/^[0-9]*:\\(memory\\|cpu\\|cpuacct\\|pids\\|cpu,cpuacct\\):/\\1/p' /proc/self/cgroup); do
          group=/sys/fs/cgroup/${own%%/*}/${own#*/}/husk-test-$$
          mkdir $group && chown 61234:61234 $group $group/cgroup.procs $group/tasks && groups=\"$groups $group\"
        done
        for group in $groups; do echo 0 > $group/cgroup.procs; done
        shift
        code=0
        setpriv --reuid 61234 --regid 61234 --clear-groups \"$@\" || code=$?
        for group in $groups; do
          echo 0 > $group/../cgroup.procs
          find $group -depth -type d -exec rmdir {} + || true
        done
        exit $code";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]).arg(directory);
    command
}

fn can_give_subordinate_ids() -> bool {
    let can = is_root() && Path::new(MAPPER).exists() && users_make_namespaces();
    if !can {
        not_run("the tests with subordinate IDs, which take root and newuidmap (package uidmap)");
    }
    can
}

#[test]
fn everything_works_with_subordinate_ids() {
    if !can_give_subordinate_ids() {
        return;
    }
    let directory = own_directory();
    let mut command = on_a_kind_machine(directory.path(), true);
    command.args(["unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--"]);
    command.env("TMPDIR", directory.path());
    run_everything(&mut command, "native::");
}

fn support(output: &Output) -> Support {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn outcome(support: &Support, what: &str) -> Outcome {
    let found = support.checks.iter().find(|check| check.what == what);
    found.unwrap_or_else(|| panic!("{what}: {support:?}")).outcome.clone()
}

const HUSK: &str = env!("CARGO_BIN_EXE_husk");

#[test]
fn an_ordinary_user_learns_what_the_machine_can_do() {
    if !users_make_namespaces() {
        return;
    }
    let found = support(&as_user(HUSK).arg("native-support").output().unwrap());
    assert!(found.can_run(), "{found:?}");
    assert_eq!(found.obstacle(), None);
    if is_root() {
        let Outcome::Limited { remedy, .. } = outcome(&found, "user IDs") else { panic!("{found:?}") };
        assert!(remedy.contains("newuidmap"), "{remedy}");
    }
}

#[test]
fn husk_maps_subordinate_ids_itself() {
    if !can_give_subordinate_ids() {
        return;
    }
    let directory = own_directory();
    let found = support(&on_a_kind_machine(directory.path(), true).args([HUSK, "native-support"]).output().unwrap());
    assert!(found.can_run(), "{found:?}");
    assert_eq!(outcome(&found, "user IDs"), Outcome::Works("your own and your subordinate IDs".to_owned()));
}

/// What husk finds as an ordinary user of a machine that `script` has restricted, as root of a user namespace.
fn restricted(script: &str) -> Support {
    let script =
        format!("{script}; exec unshare --user --mount --map-user=1000 --map-group=1000 {HUSK} native-support");
    let arguments = ["--user", "--map-root-user", "--mount", "sh", "-ec", &script];
    support(&as_user("unshare").args(arguments).output().unwrap())
}

#[test]
fn restrictions_are_recognised_and_have_a_remedy() {
    if !users_make_namespaces() {
        return;
    }
    // The one more that this user needs is for husk.
    let found = restricted("echo 1 > /proc/sys/user/max_user_namespaces");
    let Outcome::Fails { why, remedy } = outcome(&found, "user IDs") else { panic!("{found:?}") };
    assert!(why.starts_with("this system does not let you make a user namespace: No space left"), "{why}");
    assert!(remedy.contains("sysctl -w user.max_user_namespaces="), "{remedy}");
    // As in containers of other engines.
    let found = restricted("mount -t tmpfs none /proc/sys");
    let Outcome::Fails { why, remedy } = outcome(&found, "filesystems") else { panic!("{found:?}") };
    assert!(why.starts_with("/proc cannot be mounted: Operation not permitted"), "{why}");
    assert!(remedy.contains("--security-opt unmask=ALL"), "{remedy}");
    assert!(!found.can_run() && found.obstacle().is_some_and(|obstacle| obstacle.contains("unmask")));
}
