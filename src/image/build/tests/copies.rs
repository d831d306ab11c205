//! Where `COPY` and `ADD` put files, over what the base and earlier instructions have.

use super::*;

/// A base like Debian, with `/bin` a symlink, as `base`; the Dockerfile and the files of the context are to be written.
fn scene(files: &[(&str, &[u8])]) -> Scene {
    let scene = Scene::new(files);
    let base = scene.directory.path().join("base");
    for (path, contents) in [("usr/bin/sh", "\x7fELF"), ("etc/passwd", "root"), ("srv/www/old", "")] {
        let path = base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    for (link, target) in [("bin", "usr/bin"), ("etc/www", "../srv/www"), ("dangling", "/nowhere")] {
        std::os::unix::fs::symlink(target, base.join(link)).unwrap();
    }
    let request = BuildRequest { context: base, names: vec!["base".to_owned()], ..BuildRequest::default() };
    scene.store.build(&request).unwrap();
    scene
}

/// The paths of an image's layers beside those of `base`.
fn added(scene: &Scene, name: &str) -> Vec<String> {
    // That the image is Linux' keeps its layers from being read in place.
    let reference = Reference::parse(name).unwrap();
    let entry = scene.store.find(&reference).unwrap().unwrap();
    let found = load::manifest(&scene.store.layout, &entry, PlatformChoice::WasmFirst).unwrap();
    let from_base = usize::from(scene.document(name)["history"][0]["created_by"] == "COPY . /");
    let paths = found.manifest.layers()[from_base..].iter().flat_map(|layer| {
        let path = scene.store.layout.checked_blob_path(layer).unwrap();
        let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect::<Vec<_>>()
    });
    paths.collect()
}

#[test]
fn files_go_into_directories_that_are_there() {
    let cases: &[(&str, &[&str])] = &[
        ("FROM base\nCOPY a /etc", &["etc/a"]),
        ("FROM base\nCOPY a etc/", &["etc/a"]),
        ("FROM base\nCOPY a /", &["a"]),
        ("FROM base\nCOPY a /usr", &["usr/a"]),
        ("FROM base\nCOPY a /bin", &["usr/bin/a"]),
        ("FROM base\nCOPY a /bin/sh", &["usr/bin/sh"]),
        ("FROM base\nCOPY a /etc/www/../x", &["etc/x"]),
        ("FROM base\nCOPY a /etc/www/x/y", &["srv/www/x/y"]),
        ("FROM base\nCOPY a /dangling", &["nowhere"]),
        ("FROM base\nCOPY a /new", &["new"]),
        ("FROM base\nCOPY a /h/.", &["h/a"]),
        ("FROM base\nWORKDIR /app\nCOPY a /app", &["app/a"]),
        ("FROM base\nWORKDIR /app\nCOPY a .", &["app/a"]),
        ("FROM base\nCOPY dir /app\nCOPY a /app", &["app/", "app/f", "app/a"]),
        ("FROM base\nCOPY a /x\nCOPY b /x", &["x", "x"]),
        ("FROM base\nCOPY [ab] /etc", &["etc/a", "etc/b"]),
        ("FROM base\nCOPY --chmod=600 dir/f /etc/www", &["srv/www/f"]),
        ("FROM scratch\nCOPY dir /app\nCOPY a /app", &["app/", "app/f", "app/a"]),
        ("FROM scratch\nCOPY empty /app\nCOPY a /app", &["app/", "app/a"]),
        ("FROM scratch\nWORKDIR /app\nWORKDIR /app\nCOPY a /app", &["app/", "app/a"]),
        ("FROM scratch\nADD a.tar /app\nADD a /app/x\nADD b /app", &["app/x/", "app/l", "app/x/a", "app/b"]),
        ("FROM scratch\nADD a.tar /\nADD a /l", &["x/", "l", "x/a"]),
        // A directory is merged with one that is there, also behind a symlink.
        ("FROM base\nCOPY root /", &["usr/bin/tool", "etc/", "etc/passwd", "srv/www/page"]),
        ("FROM base\nCOPY dir /bin", &["usr/bin/f"]),
        // What is there as a file is replaced, and a symlink by what has its name.
        ("FROM base\nCOPY files/www /etc/", &["etc/www"]),
    ];
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    archive.append_data(&mut header, "x/", std::io::empty()).unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    archive.append_link(&mut header, "l", "x").unwrap();
    let archive = archive.into_inner().unwrap();
    for (file, expected) in cases {
        let scene = scene(&[
            ("Dockerfile", file.as_bytes()),
            ("a", b"a"),
            ("b", b"b"),
            ("dir/f", b"f"),
            ("a.tar", &archive),
            ("root/bin/tool", b"tool"),
            ("root/etc/passwd", b"mine"),
            ("root/etc/www/page", b"page"),
            ("files/www", b""),
        ]);
        fs::create_dir(scene.context().join("empty")).unwrap();
        scene.store.build(&scene.request("app")).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(added(&scene, "app"), *expected, "{file}");
    }
}

#[test]
fn what_would_destroy_something_is_refused() {
    let cases = [
        ("COPY a /etc/passwd/", "line 2: /etc/passwd is a file of the image, not a directory"),
        ("COPY a /etc/passwd/x", "/etc/passwd is a file of the image, not a directory"),
        ("COPY dir /etc/passwd", "/etc/passwd is there in the image and no directory"),
        ("COPY passwd-directory /etc", "/etc/passwd is there in the image and no directory"),
        ("COPY etc-file /", "cannot be /etc: that is a directory"),
        ("COPY a loop/x", "too many symlinks"),
        ("COPY a dir /etc", "must end with a slash"),
        ("COPY a excluded /etc/", "\"excluded\" is excluded by .dockerignore"),
        ("COPY exclude? /etc/", "excluded by .dockerignore"),
        ("COPY absent /etc/", "\"absent\" is not there"),
    ];
    for (line, expected) in cases {
        let file = format!("FROM base\n{line}\n");
        let scene = scene(&[
            ("Dockerfile", file.as_bytes()),
            (".dockerignore", b"excluded\n"),
            ("a", b"a"),
            ("excluded", b""),
            ("dir/f", b"f"),
            ("passwd-directory/passwd/x", b""),
            ("etc-file/etc", b""),
        ]);
        if line.contains("loop") {
            std::os::unix::fs::symlink("loop", scene.context().join("dir/loop")).unwrap();
            fs::write(scene.context().join("Dockerfile"), format!("FROM base\nCOPY dir /\n{line}")).unwrap();
        }
        let error = scene.build("app").unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

/// A base whose layers cannot be read is no matter as long as nothing is copied.
#[test]
fn layers_of_the_base_are_read_only_where_files_are_copied() {
    let scene = scene(&[("Dockerfile", b"FROM base\nWORKDIR /etc\nENV A=1\n"), ("a", b"")]);
    let entry = scene.store.find(&Reference::parse("base").unwrap()).unwrap().unwrap();
    let found = load::manifest(&scene.store.layout, &entry, PlatformChoice::WasmFirst).unwrap();
    let layer = scene.store.layout.checked_blob_path(&found.manifest.layers()[0]).unwrap();
    let size = fs::metadata(&layer).unwrap().len();
    fs::write(&layer, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
    scene.store.build(&scene.request("configured")).unwrap();
    fs::write(scene.context().join("Dockerfile"), "FROM base\nCOPY a /etc\n").unwrap();
    let error = scene.store.build(&scene.request("copied")).unwrap_err().to_string();
    assert!(error.contains("line 2: cannot look through layer sha256:"), "{error}");
}
