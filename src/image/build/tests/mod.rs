//! Images built from directories, as a container sees them.

mod copies;
mod docker;
mod platforms;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::image::layout::MAX_DOCUMENT;
use crate::image::platform::host_platform;
use crate::image::{LayerContent, load};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

struct Scene {
    directory: TempDir,
    store: Arc<ImageStore>,
}

impl Scene {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = ImageStore::open(&directory.path().join("images"), true).unwrap();
        for (path, contents) in files {
            let path = directory.path().join("context").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        Self { directory, store }
    }

    fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    fn request(&self, name: &str) -> BuildRequest {
        BuildRequest { context: self.context(), names: vec![name.to_owned()], ..BuildRequest::default() }
    }

    fn build(&self, name: &str) -> Result<super::super::Image, String> {
        self.store.build(&self.request(name)).map_err(|error| error.to_string())?;
        Ok(self.store.resolve(name).unwrap())
    }

    fn document(&self, name: &str) -> Value {
        let entry = self.store.find(&Reference::parse(name).unwrap()).unwrap().unwrap();
        let found = load::manifest(&self.store.layout, &entry, PlatformChoice::WasmFirst).unwrap();
        let contents = self.store.layout.read_blob(found.manifest.config(), MAX_DOCUMENT).unwrap();
        serde_json::from_slice(&contents).unwrap()
    }
}

/// Path, mode, owner and contents (or target) of everything in an image's layers.
fn entries(image: &super::super::Image) -> Vec<(String, u32, u64, String)> {
    let mut found = Vec::new();
    for layer in &image.layers {
        let LayerContent::TarFile(path) = &layer.content else { panic!("{layer:?}") };
        for entry in tar::Archive::new(fs::File::open(path).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut contents = String::new();
            match entry.link_name().unwrap() {
                Some(target) => contents = target.display().to_string(),
                None => {
                    let mut bytes = Vec::new();
                    std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                    contents.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
            let header = entry.header();
            let (mode, uid) = (header.mode().unwrap(), header.uid().unwrap());
            found.push((entry.path().unwrap().display().to_string(), mode, uid, contents));
        }
    }
    found
}

#[test]
fn a_directory_with_one_program_is_an_image_that_runs_it() {
    let scene = Scene::new(&[
        ("app.wasm", COMPONENT),
        ("data/page.html", b"hello"),
        (".dockerignore", b"*.md\n"),
        ("x.md", b""),
    ]);
    let image = scene.build("app").unwrap();
    assert_eq!(image.config.entrypoint, ["/app.wasm"]);
    assert_eq!(image.platform, "wasip2/wasm");
    let paths: Vec<_> = entries(&image).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, [".dockerignore", "app.wasm", "data/", "data/page.html"]);
    let again = scene.build("again").unwrap();
    assert_eq!(image.id, again.id, "the same files are the same image");
}

#[test]
fn a_rootfs_is_an_image_of_this_machine() {
    let scene = Scene::new(&[("bin/sh", b"\x7fELF..."), ("etc/passwd", b"root")]);
    let image = scene.build("rootfs").unwrap();
    assert_eq!(image.platform, host_platform());
    assert!(image.config.entrypoint.is_empty());
    let request = BuildRequest { platform: Some("linux/riscv64".to_owned()), ..scene.request("other") };
    scene.store.build(&request).unwrap();
    assert_eq!(scene.document("other")["architecture"], "riscv64");
}

#[test]
fn a_dockerfile_is_followed() {
    let file = br#"
ARG DIR=/srv
FROM scratch
ARG DIR
ENV NAME=web
ENV GREETING="hello $NAME"
WORKDIR $DIR
COPY --chmod=755 --chown=7:8 server.wasm ./bin/
COPY site .
COPY *.txt /texts/
LABEL org.example.name="$NAME"
USER 1000
EXPOSE 8080 53/udp
ENTRYPOINT ["bin/server.wasm"]
CMD ["--port", "8080"]
STOPSIGNAL SIGINT
"#;
    let scene = Scene::new(&[
        ("Dockerfile", file),
        ("server.wasm", MODULE),
        ("site/index.html", b"<p>"),
        ("a.txt", b"a"),
        ("b.txt", b"b"),
    ]);
    std::os::unix::fs::symlink("index.html", scene.context().join("site/link")).unwrap();
    let image = scene.build("web").unwrap();
    assert_eq!(image.platform, "wasip1/wasm");
    let found = entries(&image);
    let paths: Vec<_> = found.iter().map(|(path, ..)| path.as_str()).collect();
    let expected = ["srv/", "srv/bin/server.wasm", "srv/index.html", "srv/link", "texts/a.txt", "texts/b.txt"];
    assert_eq!(paths, expected);
    assert_eq!((found[1].1, found[1].2), (0o755, 7));
    assert_eq!((found[3].3.as_str(), found[5].3.as_str()), ("index.html", "b"));
    let config = &image.config;
    assert_eq!(
        config.env[1..],
        [("NAME".to_owned(), "web".to_owned()), ("GREETING".to_owned(), "hello web".to_owned())]
    );
    assert_eq!(
        (config.working_dir.as_str(), config.user.as_str(), config.stop_signal.as_deref()),
        ("/srv", "1000", Some("SIGINT"))
    );
    assert_eq!(
        (&config.entrypoint[..], &config.cmd[..]),
        (&["bin/server.wasm".to_owned()][..], &["--port".to_owned(), "8080".to_owned()][..])
    );
    assert_eq!(image.annotations["org.example.name"], "web");
    let document = scene.document("web");
    assert_eq!(document["config"]["ExposedPorts"], serde_json::json!({ "8080/tcp": {}, "53/udp": {} }));
    let history = document["history"].as_array().unwrap();
    let layers = history.iter().filter(|entry| entry["empty_layer"].is_null()).count();
    assert_eq!(layers, document["rootfs"]["diff_ids"].as_array().unwrap().len());
    let request = BuildRequest { args: vec![("DIR".to_owned(), "/opt".to_owned())], ..scene.request("other") };
    scene.store.build(&request).unwrap();
    assert_eq!(scene.store.resolve("other").unwrap().config.working_dir, "/opt");
}

#[test]
fn arguments_are_in_force_where_docker_has_them_so() {
    let cases = [
        ("ARG D=/a\nFROM scratch\nARG D\nWORKDIR $D", Ok("/a")),
        ("ARG D=/a\nFROM scratch\nARG D=/b\nWORKDIR $D", Ok("/b")),
        ("ARG D=/a\nFROM scratch\nWORKDIR /x$D", Ok("/x")),
        ("ARG D=/a\nFROM scratch\nWORKDIR $D", Err("WORKDIR needs a path")),
        ("FROM scratch\nENV D=/e\nARG D=/b\nWORKDIR $D", Ok("/e")),
        ("FROM scratch\nARG E=/given\nWORKDIR $E", Ok("/opt")),
    ];
    for (file, expected) in cases {
        let scene = Scene::new(&[("Dockerfile", file.as_bytes())]);
        let args = vec![("E".to_owned(), "/opt".to_owned())];
        let built = scene.store.build(&BuildRequest { args, ..scene.request("app") });
        match (built, expected) {
            (Ok(_), Ok(path)) => assert_eq!(scene.store.resolve("app").unwrap().config.working_dir, path, "{file}"),
            (Err(error), Err(problem)) => assert!(error.to_string().contains(problem), "{file}: {error}"),
            (built, expected) => panic!("{file}: {built:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn an_image_builds_on_another() {
    let scene = Scene::new(&[
        ("Dockerfile", b"FROM base\nCOPY app.wasm /\nCMD [\"/app.wasm\"]\nENV B=2\n"),
        ("app.wasm", MODULE),
    ]);
    let base = tempfile::tempdir().unwrap();
    fs::write(
        base.path().join("Dockerfile"),
        "FROM scratch\nCOPY f /f\nENV A=1\nENTRYPOINT [\"/f\"]\nLABEL kept=yes\n",
    )
    .unwrap();
    fs::write(base.path().join("f"), MODULE).unwrap();
    let request =
        BuildRequest { context: base.path().to_owned(), names: vec!["base".to_owned()], ..BuildRequest::default() };
    assert!(matches!(scene.store.build(&scene.request("app")), Err(BuildError::Base { line: 1, .. })));
    scene.store.build(&request).unwrap();
    let image = scene.build("app").unwrap();
    assert_eq!(entries(&image).into_iter().map(|(path, ..)| path).collect::<Vec<_>>(), ["f", "app.wasm"]);
    assert_eq!(image.config.entrypoint, ["/f"]);
    assert_eq!(image.config.env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["PATH", "A", "B"]);
    assert_eq!(image.annotations["kept"], "yes");
}

/// An archive of everything that may be in one.
fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |kind, name: &str, link: &str, mode, contents: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1);
        header.set_size(contents.len() as u64);
        match link {
            "" => archive.append_data(&mut header, name, contents).unwrap(),
            link => archive.append_link(&mut header, name, link).unwrap(),
        }
    };
    put(tar::EntryType::Directory, "./bin/", "", 0o755, b"");
    put(tar::EntryType::Regular, "./bin/busybox", "", 0o4755, b"\x7fELF...");
    put(tar::EntryType::Link, "./bin/sh", "bin/busybox", 0o755, b"");
    put(tar::EntryType::Symlink, "./lib", "/usr/lib", 0o777, b"");
    put(tar::EntryType::Char, "./dev/null", "", 0o666, b"");
    archive.into_inner().unwrap()
}

#[test]
fn archives_that_are_added_are_unpacked() {
    let archive = archive();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &archive).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut text = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut text, b"no archive").unwrap();
    let text = text.finish().unwrap();
    let file =
        b"FROM scratch\nADD root.tar.gz /\nADD root.tar /opt\nADD text.gz /\nCOPY root.tar /\nCMD [\"/bin/sh\"]\n";
    let scene = Scene::new(&[("Dockerfile", file), ("root.tar.gz", &gzip), ("root.tar", &archive), ("text.gz", &text)]);
    scene.store.build(&scene.request("rootfs")).unwrap();
    assert_eq!(scene.store.resolve("rootfs").unwrap().platform, host_platform());
    let unpacked = scene.store.unpack("rootfs", PlatformChoice::Linux).unwrap();
    let at = |layer: usize, path: &str| unpacked.directories[layer].join(path);
    let metadata = |layer: usize, path: &str| fs::symlink_metadata(at(layer, path)).unwrap();
    for (layer, prefix) in [(0, ""), (1, "opt/")] {
        let path = |name: &str| format!("{prefix}{name}");
        let (program, shell) = (metadata(layer, &path("bin/busybox")), metadata(layer, &path("bin/sh")));
        assert_eq!(program.permissions().mode() & 0o7777, 0o4755);
        assert_eq!(program.ino(), shell.ino());
        assert_eq!(fs::read_link(at(layer, &path("lib"))).unwrap().to_str(), Some("/usr/lib"));
        if rustix::process::geteuid().is_root() {
            assert_eq!((program.uid(), program.gid()), (7, 8));
        }
    }
    assert!(fs::read(at(2, "text.gz")).unwrap() == text, "what is only compressed is copied");
    assert!(fs::read(at(3, "root.tar")).unwrap() == archive);
}

#[test]
fn mistakes_are_told_with_their_line() {
    let cases: &[(&str, &str)] = &[
        ("FROM scratch\nCOPY none /", "line 2: \"none\" is not there"),
        ("FROM scratch\nCOPY ../x /", "line 2: \"../x\" is outside"),
        ("FROM scratch\nCOPY *.none /", "line 2: nothing matches"),
        ("FROM scratch\nCOPY a b /c", "must end with a slash"),
        ("FROM scratch\nCOPY out /", "line 2: cannot read"),
        ("FROM scratch\nCOPY --chown=me a /", "only numbers"),
        ("FROM scratch\nCOPY --chmod=u+x a /", "only octal"),
        ("FROM scratch\nADD bad.tar /", "bad.tar"),
        ("FROM scratch\nADD a.tar.xz /", "compressed with xz"),
        ("FROM scratch\nEXPOSE http", "is no port"),
        ("FROM scratch\n\nRUN x", "line 3: RUN is not supported"),
        ("FROM None", "line 1: invalid image name"),
    ];
    let mut bad = archive();
    bad[600] ^= 1;
    bad.truncate(1000);
    for (file, expected) in cases {
        let scene = Scene::new(&[
            ("Dockerfile", file.as_bytes()),
            ("a", b"a"),
            ("b", b"b"),
            ("bad.tar", &bad),
            ("a.tar.xz", b"\xfd7zXZ\0"),
        ]);
        std::os::unix::fs::symlink("/etc/passwd", scene.context().join("out")).unwrap();
        let error = scene.build("app").unwrap_err();
        assert!(error.contains(expected), "{file:?}: {error}");
    }
    let scene = Scene::new(&[]);
    assert!(scene.build("app").unwrap_err().contains("cannot open"));
}
