//! Who runs husk, with images of Linux programs: root, or an ordinary user, who is root of a user namespace.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use super::images::Image;
use crate::support::Husk;

/// An ID that is nobody's.
const ORDINARY: u32 = 61_235;

/// Who runs husk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// Root of the system.
    Root,
    /// Somebody with nothing but a user ID.
    Ordinary,
}

/// A user's husk with these images; `None` where it cannot be had, which is said then.
pub(super) fn husk(test: &str, user: User, images: &[Image]) -> Option<Husk> {
    with_images(test, launch(user), images)
}

/// An ordinary user's husk where no devices for packets can be made; likewise.
pub(super) fn husk_without_device(test: &str, images: &[Image]) -> Option<Husk> {
    if !is_root() {
        return not_run(test, "only root can hide /dev/net/tun");
    }
    let script = "mount -t tmpfs none /dev/net; exec \"$@\"";
    let hidden = ["unshare", "--mount", "--", "sh", "-c", script, "sh"].map(OsString::from);
    with_images(test, launch_as_ordinary(hidden.into_iter().chain(become_ordinary()).collect()), images)
}

/// Builds the images for whoever it is, or says why not.
fn with_images(test: &str, launched: Result<Husk, String>, images: &[Image]) -> Option<Husk> {
    let husk = match launched {
        Ok(husk) => husk,
        Err(reason) => return not_run(test, &reason),
    };
    for image in images {
        if let Err(reason) = image.build(&husk) {
            return not_run(test, &reason);
        }
    }
    Some(husk)
}

fn not_run(test: &str, reason: &str) -> Option<Husk> {
    let _ = writeln!(std::io::stderr(), "not run here: {test}: {reason}");
    None
}

/// Whether the tests run as root of the system.
fn is_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn launch(user: User) -> Result<Husk, String> {
    match (user, is_root()) {
        (User::Root, true) | (User::Ordinary, false) => Ok(Husk::new()),
        (User::Root, false) => Err("the tests do not run as root".to_owned()),
        (User::Ordinary, true) => launch_as_ordinary(launcher()),
    }
}

/// Root may be anybody.
fn launch_as_ordinary(launcher: Vec<OsString>) -> Result<Husk, String> {
    let dir = tempfile::Builder::new().prefix("husk-ordinary").tempdir().unwrap();
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache-ordinary");
    fs::create_dir_all(&cache).unwrap();
    for path in [dir.path(), &cache] {
        chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
    let husk = Husk::launched(dir, launcher, "cache-ordinary");
    let version =
        husk.command(["--version"]).output().map_err(|error| format!("nobody else can be become: {error}"))?;
    if !version.status.success() {
        let said = String::from_utf8_lossy(&version.stderr);
        return Err(format!("an ordinary user cannot run {}: {}", env!("CARGO_BIN_EXE_husk"), said.trim()));
    }
    Ok(husk)
}

/// The command that becomes an ordinary user.
fn become_ordinary() -> impl Iterator<Item = OsString> {
    let id = ORDINARY.to_string();
    ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--"].map(OsString::from).into_iter()
}

/// The same where devices for packets can be made. On most systems everybody may use TUN devices; where the node is root's
/// alone, the user gets another, which nobody else sees.
fn launcher() -> Vec<OsString> {
    let is_open = fs::metadata("/dev/net/tun").is_ok_and(|node| node.permissions().mode() & 0o006 == 0o006);
    if is_open {
        return become_ordinary().collect();
    }
    let script = "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200; exec \"$@\"";
    let own_node = ["unshare", "--mount", "--", "sh", "-c", script, "sh"].map(OsString::from);
    own_node.into_iter().chain(become_ordinary()).collect()
}
