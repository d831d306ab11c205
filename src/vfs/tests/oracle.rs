//! Random operations, done alike by our filesystems and by the machine's own: every answer must be the same.

use std::os::fd::OwnedFd;

use proptest::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Write { path: String, offset: u64, bytes: Vec<u8>, flags: u8 },
    Append { path: String, bytes: Vec<u8> },
    SetSize { path: String, size: u64 },
    Read { path: String },
    Stat { path: String, follow: bool },
    List { path: String },
    MakeDir { path: String },
    RemoveDir { path: String },
    Unlink { path: String },
    Rename { from: String, to: String },
    Link { from: String, to: String },
    Symlink { target: String, path: String },
    ReadLink { path: String },
    SetMode { path: String, mode: u32 },
}

/// Paths over few names, so that they meet; without `..`, for the machine's root is not where ours is.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just(".")];
    let ending = prop_oneof![8 => Just(""), 1 => Just("/")];
    (prop::collection::vec(name, 1..4), ending).prop_map(|(names, ending)| names.join("/") + ending)
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        4 => (path(), 0..9000_u64, bytes(), 0..8_u8)
            .prop_map(|(path, offset, bytes, flags)| Step::Write { path, offset, bytes, flags }),
        1 => (path(), bytes()).prop_map(|(path, bytes)| Step::Append { path, bytes }),
        1 => (path(), 0..9000_u64).prop_map(|(path, size)| Step::SetSize { path, size }),
        3 => path().prop_map(|path| Step::Read { path }),
        2 => (path(), any::<bool>()).prop_map(|(path, follow)| Step::Stat { path, follow }),
        2 => path().prop_map(|path| Step::List { path }),
        5 => path().prop_map(|path| Step::MakeDir { path }),
        2 => path().prop_map(|path| Step::RemoveDir { path }),
        2 => path().prop_map(|path| Step::Unlink { path }),
        4 => (path(), path()).prop_map(|(from, to)| Step::Rename { from, to }),
        2 => (path(), path()).prop_map(|(from, to)| Step::Link { from, to }),
        2 => (path(), path()).prop_map(|(target, path)| Step::Symlink { target, path }),
        1 => path().prop_map(|path| Step::ReadLink { path }),
        // The owner keeps all rights, for not everybody who runs this is root.
        2 => (path(), 0..0o100_u32).prop_map(|(path, bits)| Step::SetMode { path, mode: 0o700 | bits }),
    ]
}

/// What a step showed, in a form both sides can give.
type Answer = Result<String, Errno>;

fn write_options(flags: u8) -> OpenOptions {
    let create = flags & 1 != 0;
    OpenOptions { read: false, create, exclusive: create && flags & 2 != 0, truncate: flags & 4 != 0, ..WRITE }
}

fn ours(root: &Dir, step: &Step) -> Answer {
    let done = |()| String::new();
    let writing = |path: &str| file(root, path, OpenOptions { write: true, ..READ });
    match step {
        Step::Write { path, offset, bytes, flags } => {
            let written = file(root, path, write_options(*flags))?.write_at(bytes, *offset)?;
            Ok(written.to_string())
        }
        Step::Append { path, bytes } => Ok(format!("{:?}", writing(path)?.append(bytes)?)),
        Step::SetSize { path, size } => writing(path)?.set_size(*size).map(done),
        Step::Read { path } => Ok(format!("{:?}", file(root, path, READ)?.contents()?)),
        Step::Stat { path, follow } => root.stat_at(path, *follow).map(|stat| {
            let is_directory = stat.kind == FileKind::Directory;
            format!("{:?} {:?}", stat.kind, (!is_directory).then_some((stat.size, stat.links)))
        }),
        Step::List { path } => {
            let entries = directory(root, path)?.entries()?;
            Ok(entries.iter().map(|entry| format!("{} {:?},", entry.name, entry.kind)).collect())
        }
        Step::MakeDir { path } => root.create_dir(path, 0o755).map(done),
        Step::RemoveDir { path } => root.remove_dir(path).map(done),
        Step::Unlink { path } => root.unlink(path).map(done),
        Step::Rename { from, to } => root.rename(from, root, to).map(done),
        Step::Link { from, to } => root.link(from, false, root, to).map(done),
        Step::Symlink { target, path } => root.symlink(target, path).map(done),
        Step::ReadLink { path } => root.read_link(path),
        Step::SetMode { path, mode } => {
            root.set_mode_at(path, true, *mode)?;
            Ok(format!("{:o}", root.stat_at(path, true)?.mode))
        }
    }
}

fn machines(root: &OwnedFd, step: &Step) -> Answer {
    let open = |path: &str, flags: OFlags| -> Result<std::fs::File, Errno> {
        Ok(rustix::fs::openat(root, path, flags, Mode::from_raw_mode(0o644))?.into())
    };
    let done = |()| String::new();
    Ok(match step {
        Step::Write { path, offset, bytes, flags } => {
            let options = write_options(*flags);
            let mut flags = OFlags::WRONLY;
            flags.set(OFlags::CREATE, options.create);
            flags.set(OFlags::EXCL, options.exclusive);
            flags.set(OFlags::TRUNC, options.truncate);
            let file = open(path, flags)?;
            std::os::unix::fs::FileExt::write_at(&file, bytes, *offset)?.to_string()
        }
        Step::Append { path, bytes } => {
            let file = open(path, OFlags::RDWR | OFlags::APPEND)?;
            let written = std::io::Write::write(&mut &file, bytes)?;
            format!("{:?}", (written, file.metadata()?.len()))
        }
        Step::SetSize { path, size } => done(open(path, OFlags::RDWR)?.set_len(*size)?),
        Step::Read { path } => {
            let mut contents = Vec::new();
            std::io::Read::read_to_end(&mut open(path, OFlags::RDONLY)?, &mut contents)?;
            format!("{:?}", Bytes::from(contents))
        }
        Step::Stat { path, follow } => {
            let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
            let stat = rustix::fs::statat(root, path, flags)?;
            let kind = kind(rustix::fs::FileType::from_raw_mode(stat.st_mode));
            let is_directory = kind == FileKind::Directory;
            format!("{kind:?} {:?}", (!is_directory).then_some((stat.st_size, stat.st_nlink)))
        }
        Step::List { path } => {
            let directory = open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let mut entries: Vec<_> = rustix::fs::Dir::read_from(directory)?
                .map(|entry| entry.unwrap())
                .map(|entry| format!("{} {:?},", entry.file_name().to_str().unwrap(), kind(entry.file_type())))
                .filter(|entry| !entry.starts_with('.'))
                .collect();
            entries.sort();
            entries.concat()
        }
        Step::MakeDir { path } => done(rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o755))?),
        Step::RemoveDir { path } => done(rustix::fs::unlinkat(root, path, AtFlags::REMOVEDIR)?),
        Step::Unlink { path } => done(rustix::fs::unlinkat(root, path, AtFlags::empty())?),
        Step::Rename { from, to } => done(rustix::fs::renameat(root, from, root, to)?),
        Step::Link { from, to } => done(rustix::fs::linkat(root, from, root, to, AtFlags::empty())?),
        Step::Symlink { target, path } => done(rustix::fs::symlinkat(target, root, path)?),
        Step::ReadLink { path } => rustix::fs::readlinkat(root, path, Vec::new())?.into_string().unwrap(),
        Step::SetMode { path, mode } => {
            rustix::fs::chmodat(root, path, Mode::from_raw_mode(*mode), AtFlags::empty())?;
            format!("{:o}", rustix::fs::statat(root, path, AtFlags::empty())?.st_mode & 0o7777)
        }
    })
}

fn kind(of: rustix::fs::FileType) -> FileKind {
    match of {
        rustix::fs::FileType::RegularFile => FileKind::Regular,
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Symlink => FileKind::Symlink,
        other => panic!("{other:?}"),
    }
}

/// Runs `steps` on a volume in memory, on a container's root over an image, on a host directory, and on the machine.
fn compare(steps: &[Step]) {
    let scratch = tempfile::tempdir().unwrap();
    let image: &[&[Item<'_>]] = &[&[
        Item::File("a/a", "image a/a"),
        Item::Hard("a/b", "a/a"),
        Item::File("b", "image b"),
        Item::Dir("c/a"),
        Item::Symlink("c/b", "a"),
    ]];
    let make = |name: &str| {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(path.join("c/a")).unwrap();
        std::fs::create_dir(path.join("a")).unwrap();
        std::fs::write(path.join("a/a"), "image a/a").unwrap();
        std::fs::hard_link(path.join("a/a"), path.join("a/b")).unwrap();
        std::fs::write(path.join("b"), "image b").unwrap();
        std::os::unix::fs::symlink("a", path.join("c/b")).unwrap();
        path
    };
    let machine: OwnedFd = std::fs::File::open(make("machine")).unwrap().into();
    let host = table(HostDirFs::open(&make("host")).unwrap()).root();
    let over_image = table(container(scratch.path(), image)).root();
    over_image.remove_dir("/tmp").unwrap();
    let in_memory = table(memory()).root();
    for path in ["a", "c", "c/a"] {
        in_memory.create_dir(path, 0o755).unwrap();
    }
    write(&in_memory, "a/a", "image a/a").unwrap();
    in_memory.link("a/a", false, &in_memory, "a/b").unwrap();
    write(&in_memory, "b", "image b").unwrap();
    in_memory.symlink("a", "c/b").unwrap();
    for (number, step) in steps.iter().enumerate() {
        let expected = machines(&machine, step);
        for (name, root) in [("over an image", &over_image), ("in memory", &in_memory), ("on the host", &host)] {
            let steps = &steps[..=number];
            assert_eq!(ours(root, step), expected, "{name}, the last of {steps:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_the_machines(steps in prop::collection::vec(step(), 1..40)) {
        compare(&steps);
    }
}
