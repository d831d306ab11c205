//! Mounts: where they show, what they protect, what cannot cross them.

use super::*;

#[test]
fn mount_points_are_made_in_the_root_and_listed() {
    let scratch = tempfile::tempdir().unwrap();
    let root = container(scratch.path(), &[&[Item::Symlink("var/run", "/run"), Item::Dir("run")]]);
    let hosts = MemoryFile::generated("127.0.0.1 localhost\n", 0o644);
    let root = MountTable::builder(root)
        .mount("/mnt/deep/cache/", memory(), false)
        .mount("/mnt/deep", memory(), false)
        .mount("/var/run/secrets", memory(), true)
        .mount("/etc/hosts", &hosts, false)
        .build()
        .unwrap()
        .root();
    assert_eq!(names(&root, "/").unwrap(), ["etc", "mnt", "run", "tmp", "var"]);
    assert_eq!(names(&root, "/mnt/deep").unwrap(), ["cache"], "a mount shows in a volume that lacks its directory");
    assert_eq!(names(&root, "/run").unwrap(), ["secrets"], "a mount path goes where the image's symlinks lead");
    assert_eq!(read(&root, "/etc/hosts").as_deref(), Ok("127.0.0.1 localhost\n"));
    assert_eq!(directory(&root, "/mnt/deep/cache/..").unwrap().path(), "/mnt/deep");
    assert_eq!(root.stat_at("/mnt/deep/cache", true).unwrap().kind, FileKind::Directory);
    assert_eq!(root.stat_at("/tmp", true).unwrap().mode, 0o1777);
}

#[test]
fn mount_points_of_a_volume_that_lacks_them_leave_it_untouched() {
    let scratch = tempfile::tempdir().unwrap();
    let host = HostDirFs::open(scratch.path()).unwrap();
    let inner = memory();
    let root = MountTable::builder(memory())
        .mount("/data", &host, true)
        .mount("/data/a/b", &inner, false)
        .build()
        .unwrap()
        .root();
    write(&root, "/data/a/b/f", "f").unwrap();
    assert_eq!(names(&root, "/data").unwrap(), ["a"]);
    assert_eq!(names(&root, "/data/a").unwrap(), ["b"]);
    assert_eq!(read(&root, "/data/a/../a/b/f").as_deref(), Ok("f"));
    assert_eq!(root.create_dir("/data/a/c", 0o755), Err(Errno::ReadOnly));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn read_only_mounts_refuse_every_change_and_say_what_exists() {
    let volume = memory();
    let writable = table(&volume).root();
    write(&writable, "f", "f").unwrap();
    writable.create_dir("d", 0o755).unwrap();
    let root = MountTable::builder(memory()).mount("/ro", &volume, true).build().unwrap().root();
    let open = |path, options| file(&root, path, options).map(|_| ());
    let keep = OpenOptions { truncate: false, ..WRITE };
    let times = (SetTime::Now, SetTime::Now);
    for (what, result, expected) in [
        ("write", open("/ro/f", OpenOptions { write: true, ..READ }), Err(Errno::ReadOnly)),
        ("truncate", open("/ro/f", OpenOptions { truncate: true, ..READ }), Err(Errno::ReadOnly)),
        ("create", open("/ro/new", keep), Err(Errno::ReadOnly)),
        ("create existing for reading", open("/ro/f", OpenOptions { create: true, ..READ }), Ok(())),
        ("exclusive", open("/ro/f", OpenOptions { exclusive: true, ..keep }), Err(Errno::Exist)),
        ("mkdir", root.create_dir("/ro/new", 0), Err(Errno::ReadOnly)),
        ("mkdir existing", root.create_dir("/ro/d", 0), Err(Errno::Exist)),
        ("rmdir", root.remove_dir("/ro/d"), Err(Errno::ReadOnly)),
        ("unlink", root.unlink("/ro/f"), Err(Errno::ReadOnly)),
        ("rename", root.rename("/ro/f", &root, "/ro/g"), Err(Errno::ReadOnly)),
        ("link", root.link("/ro/f", false, &root, "/ro/g"), Err(Errno::ReadOnly)),
        ("symlink", root.symlink("f", "/ro/g"), Err(Errno::ReadOnly)),
        ("times", root.set_times_at("/ro/f", true, times.0, times.1), Err(Errno::ReadOnly)),
        ("times of a file", file(&root, "/ro/f", READ).unwrap().set_times(times.0, times.1), Err(Errno::ReadOnly)),
        ("times of a directory", directory(&root, "/ro").unwrap().set_times(times.0, times.1), Err(Errno::ReadOnly)),
    ] {
        assert_eq!(result, expected, "{what}");
    }
    assert_eq!(read(&root, "/ro/f").as_deref(), Ok("f"));
    assert_eq!(write(&writable, "f", "changed"), Ok(()), "the volume itself stays writable elsewhere");
}

#[test]
fn a_read_only_root_still_gets_its_mount_points() {
    let scratch = tempfile::tempdir().unwrap();
    let root = container(scratch.path(), &[&[Item::File("bin/app", "app")]]);
    let root = MountTable::builder(root)
        .root_read_only(true)
        .mount("/cache", memory(), false)
        .mount("/dev", DeviceFs::new(), false)
        .build()
        .unwrap()
        .root();
    assert_eq!(write(&root, "/x", "x"), Err(Errno::ReadOnly));
    assert_eq!(write(&root, "/bin/app", "x"), Err(Errno::ReadOnly));
    assert_eq!(write(&root, "/cache/x", "x"), Ok(()));
    assert_eq!(write(&root, "/dev/null", "x"), Ok(()));
}

#[test]
fn nothing_moves_across_mounts_and_mount_points_stay() {
    let volume = memory();
    let root = MountTable::builder(memory())
        .mount("/a/vol", &volume, false)
        .mount("/b/vol", &volume, false)
        .mount("/a/file", MemoryFile::new("x", 0o644, 10), false)
        .build()
        .unwrap()
        .root();
    write(&root, "/a/f", "f").unwrap();
    write(&root, "/a/vol/v", "v").unwrap();
    for (from, to) in [("/a/f", "/a/vol/f"), ("/a/vol/v", "/a/v"), ("/a/vol/v", "/b/vol/w")] {
        assert_eq!(root.rename(from, &root, to), Err(Errno::CrossDevice), "{from} {to}");
        assert_eq!(root.link(from, false, &root, to), Err(Errno::CrossDevice), "{from} {to}");
    }
    assert_eq!(root.remove_dir("/a/vol"), Err(Errno::Busy));
    assert_eq!(root.remove_dir("/a"), Err(Errno::Busy));
    assert_eq!(root.rename("/a", &root, "/c"), Err(Errno::Busy));
    assert_eq!(root.rename("/a/f", &root, "/a/file"), Err(Errno::Busy));
    assert_eq!(root.unlink("/a/file"), Err(Errno::Busy));
    assert_eq!(root.create_dir("/a/vol", 0), Err(Errno::Exist));
    let (one, other) = (root.stat_at("/a/vol/v", true).unwrap(), root.stat_at("/b/vol/v", true).unwrap());
    assert_eq!((one.device, one.inode), (other.device, other.inode), "one file, two ways");
    assert_ne!(root.stat_at("/a/f", true).unwrap().device, one.device);
}

#[test]
fn a_mount_over_the_wrong_kind_is_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let layers: &[&[Item<'_>]] = &[&[Item::File("etc/hosts", ""), Item::Symlink("l", "l")]];
    for (path, source, errno) in [
        ("/etc", MountSource::from(MemoryFile::new("", 0o644, 1)), Errno::IsDirectory),
        ("/etc/hosts", MountSource::from(memory()), Errno::NotDirectory),
        ("/etc/hosts/x", MountSource::from(memory()), Errno::NotDirectory),
        ("/", MountSource::from(memory()), Errno::Busy),
        ("/l", MountSource::from(memory()), Errno::Loop),
    ] {
        let error = MountTable::builder(container(scratch.path(), layers)).mount(path, source, false).build();
        assert_eq!(error.unwrap_err().errno, errno, "{path}");
    }
}

#[test]
fn what_a_container_writes_to_its_termination_log_is_read_back_bounded() {
    let log = MemoryFile::new("", 0o666, 8);
    let root = MountTable::builder(memory())
        .mount("/dev", DeviceFs::new(), false)
        .mount("/dev/termination-log", &log, false)
        .build()
        .unwrap()
        .root();
    write(&root, "/dev/termination-log", "bad").unwrap();
    assert_eq!(log.contents(), "bad");
    assert_eq!(write(&root, "/dev/termination-log", "far too long"), Err(Errno::NoSpace));
    assert_eq!(log.contents(), "far too ");
    assert_eq!(
        names(&root, "/dev").unwrap(),
        ["full", "null", "random", "stderr", "stdin", "stdout", "termination-log", "tty", "urandom", "zero"]
    );
}

#[test]
fn devices_behave_as_their_names_say() {
    let root = MountTable::builder(memory()).mount("/dev", DeviceFs::new(), false).build().unwrap().root();
    let both = OpenOptions { write: true, ..READ };
    let mut buffer = [1; 16];
    let null = file(&root, "/dev/null", both).unwrap();
    assert!(null.is_stream());
    assert_eq!((null.read_at(&mut buffer, 0), null.write_at(b"xyz", 9)), (Ok(0), Ok(3)));
    let zero = file(&root, "/dev/zero", both).unwrap();
    assert_eq!((zero.read_at(&mut buffer, 1 << 40), buffer), (Ok(16), [0; 16]));
    assert_eq!(file(&root, "/dev/full", both).unwrap().append(b"x"), Err(Errno::NoSpace));
    let random = file(&root, "/dev/urandom", READ).unwrap();
    assert_eq!(random.read_at(&mut buffer, 0), Ok(16));
    assert_ne!(buffer, [0; 16]);
    assert_eq!(root.stat_at("/dev/null", true).unwrap().kind, FileKind::CharDevice);
    assert_eq!(root.unlink("/dev/null"), Err(Errno::NotPermitted));
}

#[test]
fn host_symlinks_do_not_lead_out_of_a_host_directory() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("secret"), "secret").unwrap();
    let inside = scratch.path().join("inside");
    std::fs::create_dir_all(inside.join("d")).unwrap();
    let secret = scratch.path().join("secret");
    for (name, target) in [
        ("abs", secret.to_str().unwrap()),
        ("rel", "../secret"),
        ("d/rel", "../../secret"),
        ("proc", "/proc/self/root"),
        ("dir", ".."),
    ] {
        std::os::unix::fs::symlink(target, inside.join(name)).unwrap();
    }
    let root =
        MountTable::builder(memory()).mount("/v", HostDirFs::open(&inside).unwrap(), false).build().unwrap().root();
    for path in
        ["v/abs", "v/rel", "v/d/rel", "v/d/../d/rel", "v/dir/secret", "v/proc/etc/passwd", "v/d/../../../secret"]
    {
        assert_eq!(read(&root, path), Err(Errno::NotFound), "{path}");
        assert_eq!(root.stat_at(path, true).map(|_| ()), Err(Errno::NotFound), "{path}");
    }
    assert_eq!(write(&root, "v/rel", "container's"), Ok(()), "a dangling link makes its target in the container");
    assert_eq!(read(&root, "/secret").as_deref(), Ok("container's"));
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret");
}

#[test]
fn a_fifo_or_socket_of_the_host_never_blocks_a_guest() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(scratch.path().join("socket")).unwrap();
    let root = table(HostDirFs::open(scratch.path()).unwrap()).root();
    assert!(file(&root, "fifo", READ).unwrap().is_stream());
    assert_eq!(
        file(&root, "fifo", OpenOptions { write: true, read: false, ..READ }).map(|_| ()),
        Err(Errno::Unsupported)
    );
    assert_eq!(file(&root, "socket", READ).map(|_| ()), Err(Errno::Unsupported));
    assert_eq!(root.stat_at("socket", true).unwrap().kind, FileKind::Other);
}

#[test]
fn a_host_file_mounted_alone_is_that_file() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("f");
    std::fs::write(&path, "old").unwrap();
    let source = MountSource::host_file(&path).unwrap();
    let root = MountTable::builder(memory())
        .mount("/rw", source.clone(), false)
        .mount("/ro", source, true)
        .build()
        .unwrap()
        .root();
    assert_eq!(write(&root, "/ro", "x"), Err(Errno::ReadOnly));
    assert_eq!(write(&root, "/rw", "new"), Ok(()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(read(&root, "/ro").as_deref(), Ok("new"));
}

#[test]
fn a_quota_bounds_a_host_directory() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("there"), [0; 100]).unwrap();
    let volume = HostDirFs::open(scratch.path()).unwrap().with_quota(1000).unwrap();
    let root = table(&volume).root();
    assert_eq!(volume.used(), Some(100));
    assert_eq!(write(&root, "f", &"x".repeat(2000)), Err(Errno::NoSpace));
    assert_eq!(root.stat_at("f", true).unwrap().size, 900, "as much as fits is written");
    let log = file(&root, "there", OpenOptions { write: true, ..READ }).unwrap();
    assert_eq!(log.append(b"x"), Err(Errno::NoSpace));
    assert_eq!(log.set_size(101), Err(Errno::NoSpace));
    assert_eq!(log.write_at(b"y", 0), Ok(1), "what is there can be changed");
    root.unlink("f").unwrap();
    assert_eq!(volume.used(), Some(100));
    write(&root, "there", "").unwrap();
    assert_eq!(volume.used(), Some(0));
    assert_eq!(write(&root, "f", &"x".repeat(1000)), Ok(()));
    write(&root, "g", "").unwrap();
    root.rename("g", &root, "f").unwrap();
    assert_eq!(volume.used(), Some(0));
}

/// One file for each name of a list.
#[derive(Debug)]
struct Texts(&'static [(&'static str, &'static str)]);

impl Generator for Texts {
    fn generate(&self, names: &[&str]) -> Option<Generated> {
        let text = |name: &str| self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        match names {
            [] | ["d"] => Some(Generated::Directory(self.0.iter().map(|(name, _)| (*name).to_owned()).collect())),
            ["link"] => Some(Generated::Symlink("d/a".to_owned())),
            [name] | ["d", name] => text(name).map(|text| Generated::File(text.into())),
            _ => None,
        }
    }
}

#[test]
fn generated_files_are_made_when_read_and_cannot_be_changed() {
    let source = || GeneratedFs::new(Arc::new(Texts(&[("a", "text of a"), ("b", "")])));
    let table = MountTable::builder(memory()).mount("/x/vol", memory(), false).build().unwrap();
    let root = table.with("/proc", source()).unwrap().with("/x/vol", source()).unwrap().root();
    assert_eq!(read(&root, "/proc/a").as_deref(), Ok("text of a"));
    assert_eq!(read(&root, "/proc/link").as_deref(), Ok("text of a"));
    assert_eq!(names(&root, "/proc/d").unwrap(), ["a", "b"]);
    assert_eq!(read(&root, "/proc/c"), Err(Errno::NotFound));
    assert_eq!(read(&root, "/proc/a/x"), Err(Errno::NotDirectory));
    assert_eq!(write(&root, "/proc/a", "x"), Err(Errno::ReadOnly));
    assert_eq!(root.unlink("/proc/a"), Err(Errno::ReadOnly));
    assert_eq!(write(&root, "/x/vol/f", "x"), Ok(()), "what is mounted there already stays");
    assert_eq!(names(&table.root(), "/proc").unwrap(), Vec::<String>::new(), "the table itself did not change");
}

#[test]
fn names_of_streams_say_which_and_give_nothing_themselves() {
    let root = MountTable::builder(memory()).mount("/dev", DeviceFs::new(), false).build().unwrap().root();
    for (name, stream) in
        [("stdin", Stream::Descriptor(0)), ("stderr", Stream::Descriptor(2)), ("tty", Stream::Terminal)]
    {
        let opened = file(&root, &format!("/dev/{name}"), READ).unwrap();
        assert_eq!(opened.stands_for(), Some(stream));
        assert_eq!(opened.read_at(&mut [0], 0), Err(Errno::Unsupported));
    }
    assert_eq!(file(&root, "/dev/null", READ).unwrap().stands_for(), None);
}
