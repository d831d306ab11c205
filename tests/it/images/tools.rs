//! Images that other tools read and write, by husk's command line: what they see is what husk sees, both ways; and a
//! store that keeps to its limit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use husk::image::{ImageStore, PlatformChoice};

use super::registry::{Fault, FaultyProxy, Rule, TestRegistry, Wanted, has_tool, tool};
use crate::support::{Husk, Outcome};
use crate::terminal::Terminal;

/// What a file is: its type and mode, and its content or target.
type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_symlink() {
                fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
            } else if metadata.is_dir() {
                waiting.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), (metadata.mode(), content));
        }
    }
    found
}

/// A directory with all that a root filesystem may have.
fn rootfs(root: &Path) {
    for (path, mode, content) in [
        ("bin/busybox", 0o4755, "\x7fELF".to_owned()),
        ("etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\n".to_owned()),
        ("etc/shadow", 0o600, "root:*:::::::\n".to_owned()),
        ("usr/share/large", 0o644, "text ".repeat(100_000)),
        (&format!("usr/share/{}", "long".repeat(40)), 0o644, "a long name".to_owned()),
        ("tmp/x", 0o666, String::new()),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(root.join("var/empty")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("busybox", root.join("bin/sh")).unwrap();
    symlink("/var/empty", root.join("run")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
}

/// An image of one layer, as husk unpacks it.
fn unpacked(husk: &Husk, name: &str) -> Tree {
    let store = ImageStore::open(&husk.dir().join("data/images"), true).unwrap();
    let image = store.unpack(name, PlatformChoice::Linux).unwrap();
    let layers: Vec<_> =
        image.directories.iter().map(|directory| tree(directory)).filter(|tree| !tree.is_empty()).collect();
    assert_eq!(layers.len(), 1, "{name}");
    layers.into_iter().next().unwrap()
}

#[test]
fn what_husk_builds_is_what_others_unpack() {
    if !has_tool("skopeo") || !has_tool("umoci") || !has_tool("podman") {
        return;
    }
    let husk = Husk::new();
    let at = |name: &str| husk.dir().join(name).display().to_string();
    rootfs(&husk.dir().join("root"));
    let expected = tree(&husk.dir().join("root"));
    husk.husk(["image", "build", "-t", "example.test/root:1", &at("root")]).exits(0);
    assert_eq!(unpacked(&husk, "example.test/root:1"), expected);
    let (root, run) = (at("podman"), at("podman-run"));
    let podman = |arguments: &[&str]| {
        let common = ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
        tool("podman", &[&common[..], arguments].concat())
    };
    for format in ["oci-dir", "oci-archive", "docker-archive"] {
        husk.husk(["image", "save", "--format", format, "-o", &at(format), "example.test/root:1"]).exits(0);
        // To a layout, whatever it was; then to files.
        let kind = format.trim_end_matches("-dir");
        let from = format!("{kind}:{}:example.test/root:1", at(format));
        let layout = at(&format!("{format}-copy"));
        tool("skopeo", &["copy", "--quiet", "--insecure-policy", &from, &format!("oci:{layout}:root")]);
        let bundle = at(&format!("{format}-bundle"));
        tool("umoci", &["unpack", "--rootless", "--image", &format!("{layout}:root"), &bundle]);
        assert_eq!(tree(&Path::new(&bundle).join("rootfs")), expected, "{format}");
        if format != "oci-dir" {
            assert!(podman(&["load", "-i", &at(format)]).contains("example.test/root:1"), "{format}");
        }
    }
    // podman's own copy, exported as one archive.
    podman(&["save", "--format", "oci-archive", "-o", &at("podman.tar"), "example.test/root:1"]);
    let other = Husk::new();
    other.husk(["image", "load", "-i", &at("podman.tar")]).exits(0);
    assert_eq!(unpacked(&other, "example.test/root:1"), expected);
}

#[test]
fn what_others_build_is_what_husk_unpacks() {
    if !has_tool("skopeo") || !has_tool("umoci") || !has_tool("buildah") {
        return;
    }
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let husk = Husk::new();
    let at = |name: &str| husk.dir().join(name).display().to_string();
    rootfs(&husk.dir().join("root"));
    let expected = tree(&husk.dir().join("root"));
    // umoci: a layout with a layer of files.
    let layout = at("umoci");
    tool("umoci", &["init", "--layout", &layout]);
    tool("umoci", &["new", "--image", &format!("{layout}:1")]);
    tool("umoci", &["insert", "--rootless", "--image", &format!("{layout}:1"), &at("root"), "/"]);
    husk.husk(["image", "load", "-i", &layout, "--name", "example.test/umoci:1"]).exits(0).has("example.test/umoci:1");
    assert_eq!(unpacked(&husk, "example.test/umoci:1"), expected);
    // buildah: pushed to a registry, compressed both ways, and saved.
    let common = ["--root", &at("buildah"), "--runroot", &at("buildah-run"), "--storage-driver", "vfs"];
    let buildah = |arguments: &[&str]| tool("buildah", &[&common[..], arguments].concat());
    fs::write(at("Containerfile"), "FROM scratch\nCOPY . /\nLABEL a=b\nCMD [\"/bin/sh\"]\n").unwrap();
    let target = format!("{}/buildah:1", registry.address);
    buildah(&["build", "--isolation", "chroot", "--quiet", "-f", &at("Containerfile"), "-t", &target, &at("root")]);
    let mut expected = expected;
    for compression in ["gzip", "zstd"] {
        buildah(&["push", "--quiet", "--tls-verify=false", "--compression-format", compression, &target]);
        if compression == "gzip" {
            // buildah leaves setuid bits out; umoci shows what is in the image.
            let (from, layout) = (format!("docker://{target}"), at("from-buildah"));
            tool(
                "skopeo",
                &["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", &from, &format!("oci:{layout}:1")],
            );
            tool("umoci", &["unpack", "--rootless", "--image", &format!("{layout}:1"), &at("from-buildah-bundle")]);
            expected = tree(&husk.dir().join("from-buildah-bundle/rootfs"));
        }
        husk.husk(["image", "pull", "-q", &target]).exits(0);
        assert_eq!(unpacked(&husk, &target), expected, "{compression}");
        husk.husk(["image", "rm", &target]).exits(0);
    }
    for kind in ["docker-archive", "oci-archive"] {
        buildah(&["push", "--quiet", &target, &format!("{kind}:{}:{target}", at(kind))]);
        husk.husk(["image", "load", "-i", &at(kind)]).exits(0).has(&target);
        assert_eq!(unpacked(&husk, &target), expected, "{kind}");
        husk.husk(["image", "rm", &target]).exits(0);
    }
}

#[test]
fn files_that_umoci_removes_and_replaces_are_whiteouts() {
    if !has_tool("umoci") {
        return;
    }
    let husk = Husk::new();
    let at = |name: &str| husk.dir().join(name).display().to_string();
    rootfs(&husk.dir().join("root"));
    let image = format!("{}:1", at("layout"));
    tool("umoci", &["init", "--layout", &at("layout")]);
    tool("umoci", &["new", "--image", &image]);
    tool("umoci", &["insert", "--rootless", "--image", &image, &at("root"), "/"]);
    tool("umoci", &["unpack", "--rootless", "--image", &image, &at("bundle")]);
    let bundle = husk.dir().join("bundle/rootfs");
    fs::remove_file(bundle.join("etc/passwd")).unwrap();
    fs::remove_dir_all(bundle.join("usr")).unwrap();
    fs::write(bundle.join("etc/shadow"), "changed").unwrap();
    tool("umoci", &["repack", "--image", &image, &at("bundle")]);
    husk.husk(["image", "load", "-i", &at("layout"), "--name", "example.test/changed:1"]).exits(0);
    let store = ImageStore::open(&husk.dir().join("data/images"), true).unwrap();
    let unpacked = store.unpack("example.test/changed:1", PlatformChoice::Linux).unwrap();
    let top = unpacked.directories.last().unwrap();
    for removed in ["etc/passwd", "usr"] {
        let metadata = fs::symlink_metadata(top.join(removed)).unwrap();
        assert_eq!((metadata.mode() & 0o170_000, metadata.rdev()), (0o020_000, 0), "{removed}");
    }
    assert_eq!(fs::read_to_string(top.join("etc/shadow")).unwrap(), "changed");
}

#[test]
fn the_store_keeps_to_its_limit() {
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let husk = Husk::new();
    let names = ["one", "two", "three"].map(|name| format!("{}/{name}:1", registry.address));
    for name in &names {
        let content: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1_000_000).collect();
        husk.write("context/file", content);
        let context = husk.dir().join("context").display().to_string();
        husk.husk(["image", "build", "-t", name, &context]).exits(0);
        husk.husk(["image", "push", "-q", name]).exits(0);
        husk.husk(["image", "rm", name]).exits(0);
    }
    let listed = || {
        let listed = husk.husk(["image", "ls"]).ok();
        names.each_ref().map(|name| listed.contains(name.trim_end_matches(":1")))
    };
    let limited = |args: &[&str]| husk.husk_with([("HUSK_IMAGE_LIMIT", "2500k")], args.iter().copied());
    for name in &names {
        limited(&["image", "pull", "-q", name]).exits(0);
    }
    assert_eq!(listed(), [false, true, true], "the one that was not used for longest");
    // One that is larger than the limit by itself is there as long as it is the latest.
    let small = husk.husk_with([("HUSK_IMAGE_LIMIT", "10k")], ["image", "pull", "-q", &names[0]]).exits(0);
    assert!(small.stderr.contains("more than the limit"), "{small:?}");
    assert_eq!(listed(), [true, false, false]);
    husk.husk(["--image-limit", "much", "image", "ls"]).exits(2).says("expected a number of bytes");
}

#[test]
fn progress_is_bars_on_a_terminal_and_lines_elsewhere() {
    let Some(registry) = TestRegistry::start(Wanted::default()) else { return };
    let husk = Husk::new();
    let names = ["one", "two"].map(|name| format!("{}/{name}:1", registry.address));
    husk.write("context/file", vec![b'x'; 300_000]);
    let context = husk.dir().join("context").display().to_string();
    husk.husk(["image", "build", "-t", &names[0], "-t", &names[1], &context]).exits(0);
    for name in &names {
        let pushed = husk.husk(["image", "push", name]).exits(0);
        assert!(pushed.stdout.starts_with(&format!("{name}@sha256:")), "{pushed:?}");
        husk.husk(["image", "rm", name]).exits(0);
    }
    // A bar for each blob, with how much there is of it; from a registry that takes its time.
    let layout = husk.dir().join("layout");
    husk.husk(["image", "build", "-t", "slow:1", &context]).exits(0);
    let save = ["image", "save", "--format", "oci-dir", "-o", layout.to_str().unwrap(), "slow:1"];
    husk.husk(save).exits(0);
    husk.husk(["image", "rm", "slow:1"]).exits(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rules = vec![Rule { path: "/blobs/", times: 2, fault: Fault::Slow(100_000) }];
    let proxy = runtime.block_on(FaultyProxy::of_layout(&layout, rules));
    let slow = format!("{}/slow:1", proxy.address);
    let mut terminal = Terminal::spawn(husk.command(["image", "pull", &slow, &names[0]]), 24, 120);
    terminal.see(&slow);
    terminal.see(" KiB/294.50 KiB");
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.contains(&slow) && shown.contains(&names[0]), "{code}: {shown}");
    husk.husk(["image", "pull", "-q", &names[1]]).exits(0);
    husk.husk(["image", "rm", &names[0], &names[1], &slow]).exits(0);
    let pulled = husk.husk(["image", "pull", &names[0]]).exits(0).says(" done\n");
    assert_eq!(pulled.stdout, format!("{}\n", names[0]));
    assert!(pulled.stderr.lines().all(|line| line.starts_with(&names[0])), "{pulled:?}");
    let again = husk.husk(["image", "pull", &names[0]]).exits(0).says("there already");
    assert_eq!(again.stdout, pulled.stdout);
    assert_eq!(husk.husk(["image", "pull", "-q", &names[0]]).exits(0).stderr, "");
}

/// Docker's configuration, and a program that it names.
#[test]
fn credentials_come_from_files_and_helpers() {
    let Some(registry) = TestRegistry::start(Wanted { tls: false, password: true }) else { return };
    let husk = Husk::new();
    let name = format!("{}/app:1", registry.address);
    husk.write("context/file", "x");
    let context = husk.dir().join("context").display().to_string();
    husk.husk(["image", "build", "-t", &name, &context]).exits(0);
    let helper = husk.write(
        "bin/docker-credential-test",
        "#!/bin/sh\nread registry\n[ \"$1 $registry\" = \"get $EXPECTED\" ] || exit 1\n\
         echo '{\"ServerURL\":\"x\",\"Username\":\"husk\",\"Secret\":\"correct-horse\"}'\n",
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", husk.dir().join("bin").display(), std::env::var("PATH").unwrap());
    let push = |config: &str| -> Outcome {
        husk.write("docker/config.json", config.replace("REGISTRY", &registry.address));
        let mut command = husk.command(["image", "push", "-q", &name]);
        command.env("DOCKER_CONFIG", husk.dir().join("docker")).env("PATH", &path).env("EXPECTED", &registry.address);
        command.env("HOME", husk.dir()).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
        command.output().unwrap().into()
    };
    push("{}").exits(2).says("it wants credentials, and there are none");
    push("{broken").exits(2).says("config.json: invalid at line 1");
    push(r#"{"credsStore": "missing"}"#).exits(2).says("credential helper docker-credential-missing is not installed");
    push(r#"{"credHelpers": {"REGISTRY": "test"}}"#).exits(0);
    push(r#"{"credsStore": "test"}"#).exits(0);
    push(r#"{"credsStore": "missing", "auths": {"REGISTRY": {"auth": "aHVzazpjb3JyZWN0LWhvcnNl"}}}"#).exits(0);
    let refused = push(r#"{"auths": {"REGISTRY": {"auth": "aHVzazp3cm9uZy1ob3JzZQ=="}}}"#).exits(2);
    assert!(
        refused.stderr.contains("the credentials were refused") && !refused.stderr.contains("horse"),
        "{refused:?}"
    );
}
