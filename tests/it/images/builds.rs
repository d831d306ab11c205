//! `husk image build` as scripts use it: what is built runs, what is missing is pulled, and buildah makes the same files of
//! the same Dockerfile.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::registry::{FaultyProxy, has_tool, tool};
use crate::support::{Husk, Outcome, pod};

/// Writes a Dockerfile and files to a directory, whose path is given.
fn context(husk: &Husk, name: &str, dockerfile: &str, files: &[(&str, &str)]) -> String {
    husk.write(&format!("{name}/Dockerfile"), dockerfile);
    for (path, contents) in files {
        husk.write(&format!("{name}/{path}"), contents);
    }
    husk.dir().join(name).display().to_string()
}

#[test]
fn what_is_copied_to_a_directory_of_the_base_leaves_it_working() {
    let husk = Husk::new();
    let file = "FROM busybox\nWORKDIR /app\nCOPY greeting /bin\nCOPY greeting /app\nCOPY more /app\n";
    let directory = context(&husk, "context", file, &[("greeting", "hello\n"), ("more/name", "world\n")]);
    husk.husk(["image", "build", "-t", "greeter", &directory]).exits(0).has("docker.io/library/greeter:latest");
    let command = "command: [sh, -c, 'cat /bin/greeting greeting name']";
    husk.run(&pod("greeter", &[], command), &["--no-prefix"]).exits(0).has("hello").has("world");
}

#[test]
fn scripts_have_the_options_that_they_know() {
    let husk = Husk::new();
    let directory = context(&husk, "context", "FROM scratch\nARG A\nUSER $A\n", &[("sub/Other", "FROM scratch\n")]);
    let build = |more: &[&str]| {
        let common = ["image", "build", "-t", "app", "--build-arg", "A"];
        let mut command = husk.command(common.iter().chain(more).chain([&directory.as_str()]));
        command.env("A", "someone").current_dir(husk.dir());
        command
    };
    let inspected = || -> Value { serde_json::from_str(&husk.husk(["image", "inspect", "app"]).ok()).unwrap() };
    let quiet = Outcome::from(build(&["-q", "--no-cache", "--label", "a=b=c", "--build-arg", "B=1"]).output().unwrap());
    let (image, quiet) = (inspected(), quiet.exits(0));
    assert_eq!((quiet.stdout.trim_end(), quiet.stderr.as_str()), (image[0]["Id"].as_str().unwrap(), ""));
    assert_eq!(image[0]["Config"]["Labels"], json!({ "a": "b=c" }));
    assert_eq!(image[0]["Config"]["User"], "someone");
    let told = Outcome::from(build(&["--pull", "--build-arg", "B=1"]).output().unwrap()).exits(0);
    told.says("warning: no ARG takes the values of --build-arg for B");
    // A Dockerfile from standard input, and one that is somewhere else than where it is looked for.
    let mut child =
        build(&["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"FROM scratch\nUSER piped\n").unwrap();
    Outcome::from(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(inspected()[0]["Config"]["User"], "piped");
    let error = Outcome::from(build(&["-f", "sub/Other"]).output().unwrap()).exits(2);
    error.says("there is no sub/Other in the working directory").says("context/sub/Other?");
}

/// A layout whose one name is an index of `platforms`, each an image labelled with its own.
fn layout_of(husk: &Husk, platforms: &[&str]) -> std::path::PathBuf {
    let layout = husk.dir().join("layout");
    let mut manifests = Vec::new();
    for (number, platform) in platforms.iter().enumerate() {
        let file = format!("FROM scratch\nLABEL of={platform}\nCOPY Dockerfile /of\n");
        let (directory, one) = (context(husk, &format!("of{number}"), &file, &[]), format!("saved{number}"));
        husk.husk(["image", "build", "-q", "-t", "one", "--platform", platform, &directory]).exits(0);
        let saved = husk.dir().join(&one);
        husk.husk(["image", "save", "--format", "oci-dir", "-o", saved.to_str().unwrap(), "one"]).exits(0);
        husk.husk(["image", "rm", "one"]).exits(0);
        let index: Value = serde_json::from_slice(&fs::read(saved.join("index.json")).unwrap()).unwrap();
        let (os, architecture) = platform.split_once('/').unwrap();
        let mut manifest = index["manifests"][0].clone();
        manifest["platform"] = json!({ "os": os, "architecture": architecture });
        manifest.as_object_mut().unwrap().remove("annotations");
        manifests.push(manifest);
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        for blob in fs::read_dir(saved.join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            fs::copy(blob.path(), layout.join("blobs/sha256").join(blob.file_name())).unwrap();
        }
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests }).to_string();
    let digest: String = Sha256::digest(&index).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(layout.join("blobs/sha256").join(&digest), &index).unwrap();
    let top = json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": index.len() });
    fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": [top] }).to_string()).unwrap();
    layout
}

#[test]
fn the_base_is_pulled_for_the_platform_that_is_wanted() {
    let husk = Husk::new();
    let host = husk::image::host_platform();
    let other = if host == "linux/arm64" { "linux/amd64" } else { "linux/arm64" };
    let layout = layout_of(&husk, &["wasip1/wasm", &host, other]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = runtime.block_on(FaultyProxy::of_layout(&layout, Vec::new()));
    let base = format!("{}/base:1", proxy.address);
    let directory = context(&husk, "context", &format!("FROM {base}\nCOPY Dockerfile /\n"), &[]);
    let built = |options: &[&str]| {
        let common = ["image", "build", "-t", "app"];
        let words: Vec<&str> = common.iter().chain(options).copied().chain([directory.as_str()]).collect();
        let asked = || ["HEAD", "GET"].iter().map(|method| proxy.requests(method, "/manifests/").len()).sum::<usize>();
        let before = asked();
        husk.husk(words).exits(0);
        let image: Value = serde_json::from_str(&husk.husk(["image", "inspect", "app"]).ok()).unwrap();
        let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let platform = format!("{}/{}", said(&image[0]["Os"]), said(&image[0]["Architecture"]));
        (said(&image[0]["Config"]["Labels"]["of"]), platform, asked() > before)
    };
    // The index is there with one of its platforms only.
    husk.husk(["image", "pull", "-q", "--platform", "linux", &base]).exits(0);
    assert_eq!(built(&[]), (host.clone(), host.clone(), false), "what is there");
    assert_eq!(built(&["--platform", other]), (other.to_owned(), other.to_owned(), true));
    assert_eq!(built(&["--platform", other]), (other.to_owned(), other.to_owned(), false));
    assert_eq!(built(&["--platform", &host, "--pull"]), (host.clone(), host.clone(), true));
    let wasm = "wasip1/wasm".to_owned();
    assert_eq!(built(&["--platform", "wasip1/wasm"]), (wasm.clone(), wasm.clone(), true));
    assert_eq!(built(&[]), (wasm.clone(), wasm, false), "WebAssembly first");
    husk.husk(["image", "build", "-t", "app", "--platform", "linux/s390x", &directory])
        .exits(2)
        .says("line 1: the image has no platform linux/s390x");
}

/// What is in a filesystem, by path.
fn files(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let content = if path.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if path.is_dir() {
                waiting.push(path.clone());
                "directory".to_owned()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), content);
        }
    }
    found
}

const FILE: &str = "FROM scratch
ARG MODE=640 A=1 B=2
COPY base /
COPY a /etc
COPY a /bin
COPY a /bin/x
COPY a /etc/www/../beside
WORKDIR /app
COPY a /app
COPY a b ./
COPY dir /app2
COPY --chmod=$MODE b /app2
COPY b /app2/.
COPY [\"dir\", \"/etc/www\"]
COPY sp* /spaced/
COPY a /etc/passwd
ADD dir/f /bin
ENV abc=hello
ENV abc=bye def=$abc
ENV M=\"one \\
   two\"
LABEL a=$A$B\\
      b=2
CMD [\"--serve\"]
ENTRYPOINT [\"/a\"]
";

#[test]
fn buildah_makes_the_same_of_the_same_dockerfile() {
    if !has_tool("buildah") || !has_tool("umoci") || !has_tool("skopeo") {
        return;
    }
    let husk = Husk::new();
    let inputs = [("a", "a"), ("b", "b"), ("dir/f", "f"), ("sp ace", "s"), ("base/usr/bin/sh", "sh")];
    let directory = context(&husk, "context", FILE, &inputs);
    context(&husk, "context/base", "", &[("etc/passwd", "root"), ("srv/www/old", "old")]);
    let base = husk.dir().join("context/base");
    symlink("usr/bin", base.join("bin")).unwrap();
    symlink("../srv/www", base.join("etc/www")).unwrap();
    let at = |name: &str| husk.dir().join(name).display().to_string();
    let common = ["--root", &at("buildah"), "--runroot", &at("buildah-run"), "--storage-driver", "vfs"];
    let buildah = |arguments: &[&str]| tool("buildah", &[&common[..], arguments].concat());
    buildah(&["build", "--isolation", "chroot", "--quiet", "-t", "app:1", &directory]);
    buildah(&["push", "--quiet", "app:1", &format!("oci:{}:1", at("theirs"))]);
    husk.husk(["image", "build", "-t", "app:1", "--platform", &husk::image::host_platform(), &directory]).exits(0);
    husk.husk(["image", "save", "--format", "oci-dir", "-o", &at("saved"), "app:1"]).exits(0);
    let from = format!("oci:{}:docker.io/library/app:1", at("saved"));
    tool("skopeo", &["copy", "--quiet", "--insecure-policy", &from, &format!("oci:{}:1", at("ours"))]);
    let [(theirs, their_config), (ours, our_config)] = ["theirs", "ours"].map(|name| {
        let (image, bundle) = (format!("{}:1", at(name)), at(&format!("{name}-bundle")));
        tool("umoci", &["unpack", "--rootless", "--image", &image, &bundle]);
        let config = tool("skopeo", &["inspect", "--config", &format!("oci:{image}")]);
        let mut config: Value = serde_json::from_str(&config).unwrap();
        if let Some(labels) = config["config"]["Labels"].as_object_mut() {
            labels.remove("io.buildah.version");
        }
        (files(&Path::new(&bundle).join("rootfs")), config["config"].take())
    });
    assert_eq!(ours, theirs);
    for key in ["Env", "Entrypoint", "Cmd", "WorkingDir", "Labels"] {
        assert_eq!(our_config[key], their_config[key], "{key}");
    }
}
