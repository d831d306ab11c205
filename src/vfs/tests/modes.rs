//! Permission bits: what is made has those asked for, and they can be changed where files can be.

use super::*;

fn mode(root: &Dir, path: &str) -> u32 {
    root.stat_at(path, false).unwrap().mode
}

/// A volume in memory, a container's root over an image with `bin/app`, and a directory of the host.
fn everywhere(scratch: &Path) -> [(&'static str, Dir); 3] {
    let host = scratch.join("host");
    std::fs::create_dir_all(&host).unwrap();
    let over_image = container(scratch, &[&[Item::File("bin/app", "image")]]);
    [
        ("in memory", table(memory()).root()),
        ("over an image", table(over_image).root()),
        ("on the host", table(HostDirFs::open(&host).unwrap()).root()),
    ]
}

#[test]
fn what_is_made_has_the_mode_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, root) in everywhere(scratch.path()) {
        // More than the file mode creation mask of whoever runs this lets be made.
        root.create_dir("/shared", 0o777).unwrap();
        file(&root, "/shared/all", OpenOptions { mode: 0o666, ..WRITE }).unwrap();
        file(&root, "/own", OpenOptions { mode: 0o600, exclusive: true, ..WRITE }).unwrap();
        root.symlink("shared/later", "/link").unwrap();
        file(&root, "/link", OpenOptions { mode: 0o662, ..WRITE }).unwrap();
        file(&root, "/shared/all", OpenOptions { mode: 0o600, ..WRITE }).unwrap();
        let found = ["/shared", "/shared/all", "/own", "/shared/later"].map(|path| mode(&root, path));
        assert_eq!(found, [0o777, 0o666, 0o600, 0o662], "{name}");
        assert_eq!(
            file(&root, "/own", OpenOptions { exclusive: true, ..WRITE }).map(|_| ()),
            Err(Errno::Exist),
            "{name}"
        );
    }
}

#[test]
fn modes_change_by_name_through_links_and_by_handle() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, root) in everywhere(scratch.path()) {
        root.create_dir("/d", 0o755).unwrap();
        write(&root, "/d/f", "x").unwrap();
        root.symlink("d/f", "/link").unwrap();
        root.set_mode_at("/d/f", true, 0o711).unwrap();
        assert_eq!(mode(&root, "/d/f"), 0o711, "{name}");
        root.set_mode_at("/link", true, 0o640).unwrap();
        assert_eq!(mode(&root, "/d/f"), 0o640, "{name}");
        assert_eq!(root.set_mode_at("/link", false, 0o600), Err(Errno::Unsupported), "{name}");
        file(&root, "/d/f", READ).unwrap().set_mode(0o705).unwrap();
        assert_eq!(mode(&root, "/d/f"), 0o705, "{name}");
        root.set_mode_at("/d", true, 0o1770).unwrap();
        assert_eq!(mode(&root, "/d"), 0o1770, "{name}");
        directory(&root, "/d").unwrap().set_mode(0o700).unwrap();
        assert_eq!(mode(&root, "/d"), 0o700, "{name}");
        root.set_mode_at("/d", true, 0o2775).unwrap();
        root.create_dir("/d/inside", 0o755).unwrap();
        assert_eq!(mode(&root, "/d"), 0o2775, "{name}");
        assert_eq!(root.set_mode_at("/none", true, 0o600), Err(Errno::NotFound), "{name}");
    }
}

#[test]
fn files_of_an_image_change_their_mode_and_not_their_content() {
    let scratch = tempfile::tempdir().unwrap();
    let root = table(container(scratch.path(), &[&[Item::File("bin/app", "image")]])).root();
    let known = file(&root, "/bin/app", READ).unwrap().content_id();
    root.set_mode_at("/bin/app", true, 0o755).unwrap();
    assert_eq!((mode(&root, "/bin/app"), read(&root, "/bin/app").unwrap().as_str()), (0o755, "image"));
    assert_eq!(file(&root, "/bin/app", READ).unwrap().content_id(), known);
}

#[test]
fn nobody_lends_the_rights_of_husks_user_on_the_host() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, root) in everywhere(scratch.path()) {
        write(&root, "/f", "x").unwrap();
        root.set_mode_at("/f", true, 0o6755).unwrap();
        let expected = if name == "on the host" { 0o755 } else { 0o6755 };
        assert_eq!(mode(&root, "/f"), expected, "{name}");
        file(&root, "/f", READ).unwrap().set_mode(0o4711).unwrap();
        let expected = if name == "on the host" { 0o711 } else { 0o4711 };
        assert_eq!(mode(&root, "/f"), expected, "{name}");
    }
}

#[test]
fn a_file_nobody_may_read_can_be_made_readable_again() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, root) in everywhere(scratch.path()) {
        write(&root, "/f", "x").unwrap();
        root.set_mode_at("/f", true, 0).unwrap();
        root.set_mode_at("/f", true, 0o644).unwrap();
        assert_eq!(read(&root, "/f").unwrap(), "x", "{name}");
    }
}

#[test]
fn what_cannot_be_changed_keeps_its_mode() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("f"), "x").unwrap();
    let source = MountSource::host_file(Path::new("/dev/null")).unwrap();
    let table = MountTable::builder(memory())
        .mount("/ro", HostDirFs::open(scratch.path()).unwrap(), true)
        .mount("/dev", DeviceFs::new(), false)
        .mount("/etc/hosts", MemoryFile::generated("x", 0o644), false)
        .mount("/device", source, false);
    let root = table.build().unwrap().root();
    let before = ["/ro/f", "/ro", "/dev/null", "/device"].map(|path| mode(&root, path));
    assert_eq!(root.set_mode_at("/ro/f", true, 0o600), Err(Errno::ReadOnly));
    assert_eq!(root.set_mode_at("/ro", true, 0o700), Err(Errno::ReadOnly));
    assert_eq!(file(&root, "/ro/f", READ).unwrap().set_mode(0o600), Err(Errno::ReadOnly));
    assert_eq!(root.set_mode_at("/dev/null", true, 0o600), Err(Errno::NotPermitted));
    assert_eq!(root.set_mode_at("/device", true, 0o600), Err(Errno::NotPermitted));
    assert_eq!(["/ro/f", "/ro", "/dev/null", "/device"].map(|path| mode(&root, path)), before);
    root.set_mode_at("/etc/hosts", true, 0o600).unwrap();
    assert_eq!(mode(&root, "/etc/hosts"), 0o600);
}
