//! What paths lead to, on every kind of filesystem.

use super::*;

/// `/etc/conf` is reached in many ways; `/data` is a volume with a file, a directory and symlinks of all kinds.
fn scene(scratch: &Path) -> MountTable {
    let root = container(
        scratch,
        &[&[
            Item::File("etc/conf", "conf"),
            Item::File("etc/passwd", "root"),
            Item::Symlink("etc/rel", "conf"),
            Item::Symlink("etc/abs", "/etc/conf"),
            Item::Symlink("etc/up", "../../../../etc/conf"),
            Item::Symlink("lib", "usr/lib"),
            Item::File("usr/lib/so", "so"),
            Item::Symlink("usr/back", ".."),
            Item::Symlink("todata", "/data/sub"),
            Item::Symlink("loop", "loop"),
            Item::Symlink("ping", "pong"),
            Item::Symlink("pong", "ping"),
            Item::Symlink("dangling", "nowhere"),
        ]],
    );
    let host = scratch.join("volume");
    std::fs::create_dir_all(host.join("sub/deep")).unwrap();
    std::fs::write(host.join("x"), "x").unwrap();
    std::fs::write(host.join("sub/deep/y"), "y").unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, host.join(name)).unwrap();
    link("/etc/passwd", "sub/abs");
    link("../../../../../../../../etc/passwd", "sub/up");
    link("deep/y", "sub/rel");
    link("../etc/conf", "out");
    MountTable::builder(root).mount("/data", HostDirFs::open(&host).unwrap(), false).build().unwrap()
}

#[test]
fn every_way_to_a_file_gives_the_same_file() {
    let scratch = tempfile::tempdir().unwrap();
    let table = scene(scratch.path());
    let root = table.root();
    for (path, expected) in [
        ("etc/conf", Ok("conf")),
        ("/etc/conf", Ok("conf")),
        ("//etc///conf", Ok("conf")),
        ("./etc/./conf", Ok("conf")),
        ("etc/../etc/conf", Ok("conf")),
        ("../../../etc/conf", Ok("conf")),
        ("etc/rel", Ok("conf")),
        ("etc/abs", Ok("conf")),
        ("etc/up", Ok("conf")),
        ("lib/so", Ok("so")),
        ("lib/../lib/so", Ok("so")),
        ("usr/lib/../back/lib/so", Ok("so")),
        ("data/x", Ok("x")),
        ("/etc/../data/x", Ok("x")),
        ("/./data/x", Ok("x")),
        ("data/sub/deep/../../x", Ok("x")),
        ("data/sub/deep/y", Ok("y")),
        ("todata/deep/y", Ok("y")),
        ("todata/../x", Ok("x")),
        ("todata/rel", Ok("y")),
        ("data/../etc/conf", Ok("conf")),
        ("data/out", Ok("conf")),
        ("data/sub/abs", Ok("root")),
        ("data/sub/up", Ok("root")),
        ("data/sub/../sub/up", Ok("root")),
        ("loop", Err(Errno::Loop)),
        ("loop/x", Err(Errno::Loop)),
        ("ping", Err(Errno::Loop)),
        ("dangling", Err(Errno::NotFound)),
        ("etc/conf/", Err(Errno::NotDirectory)),
        ("etc/conf/x", Err(Errno::NotDirectory)),
        ("etc/conf/..", Err(Errno::NotDirectory)),
        ("etc/conf/.", Err(Errno::NotDirectory)),
        ("etc/rel/", Err(Errno::NotDirectory)),
        ("data/x/", Err(Errno::NotDirectory)),
        ("data/x/y", Err(Errno::NotDirectory)),
        ("etc/missing/conf", Err(Errno::NotFound)),
        ("etc", Err(Errno::IsDirectory)),
        ("", Err(Errno::NotFound)),
        ("etc/con\0f", Err(Errno::Invalid)),
        (&"n".repeat(256), Err(Errno::NameTooLong)),
        (&format!("{}/x", "n".repeat(256)), Err(Errno::NameTooLong)),
        (&"n".repeat(255), Err(Errno::NotFound)),
        (&"/.".repeat(2049), Err(Errno::NameTooLong)),
        (&format!("{}etc/conf", "./".repeat(2000)), Ok("conf")),
    ] {
        assert_eq!(read(&root, path), expected.map(str::to_owned), "{path}");
    }
}

#[test]
fn relative_paths_start_where_the_directory_is() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scene(scratch.path()).root();
    for (from, path, expected) in [
        ("etc", "conf", "conf"),
        ("data", "../etc/conf", "conf"),
        ("data/sub", "../x", "x"),
        ("data/sub/deep", "../../../data/x", "x"),
        ("todata", "deep/y", "y"),
        ("todata", "/etc/conf", "conf"),
        ("lib", "../lib/so", "so"),
    ] {
        let dir = directory(&root, from).unwrap();
        assert_eq!(read(&dir, path).as_deref(), Ok(expected), "{path} from {from}");
    }
    assert_eq!(directory(&root, "todata").unwrap().path(), "/data/sub");
    assert_eq!(directory(&root, "lib/").unwrap().path(), "/usr/lib");
}

#[test]
fn forty_symlinks_are_followed_and_no_more() {
    let root = table(memory()).root();
    write(&root, "l0", "end").unwrap();
    for link in 1..=41 {
        root.symlink(&format!("l{}", link - 1), &format!("l{link}")).unwrap();
    }
    assert_eq!(read(&root, "l40").as_deref(), Ok("end"));
    assert_eq!(read(&root, "l41"), Err(Errno::Loop));
}

#[test]
fn what_changes_names_answers_as_linux_does() {
    let root = table(memory()).root();
    root.create_dir("d", 0o755).unwrap();
    write(&root, "d/f", "f").unwrap();
    root.symlink("d", "ld").unwrap();
    root.symlink("d/f", "lf").unwrap();
    root.symlink("new", "ln").unwrap();
    let open = |path, options| file(&root, path, options).map(|_| ());
    let exclusive = OpenOptions { exclusive: true, ..WRITE };
    let unfollowed = OpenOptions { follow: false, ..READ };
    let rename = |a: &str, b: &str| root.rename(a, &root, b);
    let link = |a: &str, b: &str| root.link(a, false, &root, b);
    for (what, result, expected) in [
        ("mkdir /", root.create_dir("/", 0), Err(Errno::Exist)),
        ("mkdir .", root.create_dir(".", 0), Err(Errno::Exist)),
        ("mkdir d/", root.create_dir("d/", 0), Err(Errno::Exist)),
        ("mkdir ln", root.create_dir("ln", 0), Err(Errno::Exist)),
        ("mkdir x/y", root.create_dir("x/y", 0), Err(Errno::NotFound)),
        ("mkdir d/f/x", root.create_dir("d/f/x", 0), Err(Errno::NotDirectory)),
        ("rmdir /", root.remove_dir("/"), Err(Errno::Busy)),
        ("rmdir .", root.remove_dir("."), Err(Errno::Invalid)),
        ("rmdir d/.", root.remove_dir("d/."), Err(Errno::Invalid)),
        ("rmdir d/..", root.remove_dir("d/.."), Err(Errno::NotEmpty)),
        ("rmdir d", root.remove_dir("d"), Err(Errno::NotEmpty)),
        ("rmdir ld", root.remove_dir("ld"), Err(Errno::NotDirectory)),
        ("unlink d", root.unlink("d"), Err(Errno::IsDirectory)),
        ("unlink d/", root.unlink("d/"), Err(Errno::IsDirectory)),
        ("unlink d/f/", root.unlink("d/f/"), Err(Errno::NotDirectory)),
        ("unlink x", root.unlink("x"), Err(Errno::NotFound)),
        ("open > d", open("d", WRITE), Err(Errno::IsDirectory)),
        ("open > x/", open("x/", WRITE), Err(Errno::IsDirectory)),
        ("open excl lf", open("lf", exclusive), Err(Errno::Exist)),
        ("open excl ln", open("ln", exclusive), Err(Errno::Exist)),
        ("open nofollow lf", open("lf", unfollowed), Err(Errno::Loop)),
        ("open dir d/f", directory(&root, "d/f").map(|_| ()), Err(Errno::NotDirectory)),
        ("open dir lf", directory(&root, "lf").map(|_| ()), Err(Errno::NotDirectory)),
        ("rename . x", rename(".", "x"), Err(Errno::Busy)),
        ("rename d d/x", rename("d", "d/x"), Err(Errno::Invalid)),
        ("rename d/f d", rename("d/f", "d"), Err(Errno::NotEmpty)),
        ("rename d lf", rename("d", "lf"), Err(Errno::NotDirectory)),
        ("rename d/f/ x", rename("d/f/", "x"), Err(Errno::NotDirectory)),
        ("rename x y", rename("x", "y"), Err(Errno::NotFound)),
        ("link d x", link("d", "x"), Err(Errno::NotPermitted)),
        ("link d/f lf", link("d/f", "lf"), Err(Errno::Exist)),
        ("symlink '' x", root.symlink("", "x"), Err(Errno::NotFound)),
        ("symlink t lf", root.symlink("t", "lf"), Err(Errno::Exist)),
        ("readlink d", root.read_link("d").map(|_| ()), Err(Errno::Invalid)),
        ("readlink ld/", root.read_link("ld/").map(|_| ()), Err(Errno::Invalid)),
        ("open > ln", open("ln", WRITE), Ok(())),
    ] {
        assert_eq!(result, expected, "{what}");
    }
    assert_eq!(read(&root, "new").as_deref(), Ok(""), "the dangling link made its target");
}

#[test]
fn rights_of_an_open_file_hold() {
    let root = table(memory()).root();
    write(&root, "f", "f").unwrap();
    let reading = file(&root, "f", READ).unwrap();
    assert_eq!(reading.write_at(b"x", 0), Err(Errno::BadDescriptor));
    assert_eq!(reading.set_size(0), Err(Errno::BadDescriptor));
    let writing = file(&root, "f", OpenOptions { read: false, write: true, ..READ }).unwrap();
    assert_eq!(writing.read_at(&mut [0], 0), Err(Errno::BadDescriptor));
    assert_eq!(writing.append(b"yz"), Ok((2, 3)));
    assert_eq!(read(&root, "f").as_deref(), Ok("fyz"));
}

#[test]
fn depth_is_bounded_however_it_is_reached() {
    let root = table(memory()).root();
    let mut dir = root.clone();
    let depth = (1..)
        .find(|_| {
            dir.create_dir("d", 0o755).unwrap();
            match directory(&dir, "d") {
                Ok(next) => dir = next,
                Err(errno) => return errno == Errno::NameTooLong,
            }
            false
        })
        .unwrap();
    assert_eq!(depth, MAX_DEPTH + 1);
    let deepest = "d/".repeat(MAX_DEPTH);
    assert!(directory(&root, &deepest).is_ok());
    assert_eq!(directory(&root, &format!("{deepest}d")).map(|_| ()), Err(Errno::NameTooLong));
    let mount = MountTable::builder(memory()).mount(&"/m".repeat(2000), memory(), false).build();
    assert_eq!(mount.unwrap_err().errno, Errno::NameTooLong);
}
