//! Layers as directories: what becomes of every kind of entry, what hostile archives are refused for, and that nothing
//! outside of the target is ever touched.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::layer::LayerWriter;
use super::*;
use crate::image::archive::Archive;

/// An archive in the making.
struct Tar(Vec<u8>);

impl Tar {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn entry(mut self, kind: tar::EntryType, path: &str, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.entry(tar::EntryType::Regular, path, "", 0o644, data.as_bytes())
    }

    fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(tar::EntryType::Directory, path, "", mode, b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, path, target, 0o777, b"")
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, path, target, 0o644, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            // A record begins with its own length.
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length).unwrap();
            write!(data, "{length} {key}=").unwrap();
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(tar::EntryType::XHeader, "pax", "", 0o644, &data)
    }
}

/// A directory with layers in it, and a witness beside them that nothing may touch.
struct Layers {
    directory: TempDir,
    layers: Vec<PathBuf>,
}

impl Layers {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("witness"), "untouched").unwrap();
        Self { directory, layers: Vec::new() }
    }

    fn add(&mut self, tar: Tar) -> Result<Report, UnpackError> {
        self.add_bytes(&[tar.0, vec![0; 1024]].concat(), Limits { entries: 1000, bytes: 10_000_000 })
    }

    fn add_bytes(&mut self, archive: &[u8], limits: Limits) -> Result<Report, UnpackError> {
        self.add_owned(archive, limits, &Ownership::detect())
    }

    fn add_owned(&mut self, archive: &[u8], limits: Limits, ownership: &Ownership) -> Result<Report, UnpackError> {
        let target = self.directory.path().join(format!("layer{}", self.layers.len()));
        fs::create_dir(&target).unwrap();
        let writer = LayerWriter::new(&target, &self.layers, ownership, limits)?;
        let result = writer.apply(&mut Archive::new(archive));
        assert_eq!(fs::read_to_string(self.directory.path().join("witness")).unwrap(), "untouched");
        let beside = fs::read_dir(self.directory.path()).unwrap().count();
        assert_eq!(beside, self.layers.len() + 2, "something was made outside of the target");
        self.layers.push(target);
        result
    }

    fn top(&self, path: &str) -> PathBuf {
        self.layers.last().unwrap().join(path)
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, c"user.overlay.opaque", &mut value[..]).is_ok_and(|length| &value[..length] == b"y")
}

#[test]
fn every_kind_of_entry_becomes_what_it_says() {
    let mut layers = Layers::new();
    let tar = Tar::new()
        .dir("./", 0o755)
        .dir("closed/", 0o555)
        .file("closed/file", "content")
        .entry(tar::EntryType::Regular, "su", "", 0o4755, b"x")
        .link("again", "closed/file")
        .symlink("absolute", "/closed")
        .file("absolute/through", "reached")
        .entry(tar::EntryType::Fifo, "fifo", "", 0o600, b"")
        .entry(tar::EntryType::Char, "null", "", 0o666, b"")
        .entry(tar::EntryType::Block, "disk", "", 0o666, b"")
        .file("deep/er/file", "made on the way");
    let report = layers.add(tar).unwrap();
    assert_eq!(report.devices, 2);
    assert_eq!(fs::read_to_string(layers.top("closed/file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(layers.top("closed/through")).unwrap(), "reached");
    assert_eq!(
        fs::metadata(layers.top("again")).unwrap().ino(),
        fs::metadata(layers.top("closed/file")).unwrap().ino()
    );
    assert_eq!(fs::read_link(layers.top("absolute")).unwrap(), Path::new("/closed"));
    assert_eq!(mode(&layers.top("su")), 0o4755);
    if rustix::process::geteuid().is_root() {
        assert_eq!(mode(&layers.top("closed")), 0o555);
    }
    assert!(fs::symlink_metadata(layers.top("fifo")).unwrap().file_type().is_fifo());
    assert!(!layers.top("null").exists() && !layers.top("disk").exists());
    let modified = fs::metadata(layers.top("closed")).unwrap().mtime();
    assert_eq!(modified, 1_000_000_000, "directories keep their times although files are put into them");
    assert_eq!(fs::read_to_string(layers.top("deep/er/file")).unwrap(), "made on the way");
}

#[test]
fn what_leads_outside_is_refused_or_stays_inside() {
    let long = "x".repeat(99);
    let refused: Vec<(Tar, &str)> = vec![
        (Tar::new().file("../witness", "x"), "invalid entry name"),
        (Tar::new().file("a/../../witness", "x"), "invalid entry name"),
        (Tar::new().link("a", "../witness"), "invalid entry name"),
        (Tar::new().link("a", "none"), "which is no file"),
        (Tar::new().dir("d", 0o755).link("a", "d"), "which is no file"),
        (Tar::new().file("a", "x").link("a", "a"), "which is no file"),
        (Tar::new().file("f", "x").file("f/x", "y"), "is no directory"),
        (Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "y"), "too many symbolic links"),
        (Tar::new().symlink("etc", "/etc").file("etc/passwd", "x"), "too many symbolic links"),
        (Tar::new().file(".wh..", "x"), "invalid entry name"),
        (Tar::new().file(".wh.", "x"), "invalid entry name"),
        (Tar::new().file("", "x"), "invalid entry name"),
        (Tar::new().symlink("a", ""), "invalid entry name"),
        (Tar::new().pax(&[("path", &[b'y'; 300])]).file("a", "x"), "invalid entry name"),
        (Tar::new().pax(&[("path", b"a\0b")]).file("a", "x"), "invalid entry name"),
        (Tar::new().pax(&[("size", b"99999999999")]).file(&long, "x"), "bytes when unpacked"),
        (Tar::new().pax(&[("size", b"-1")]).file("a", "x"), "pax size"),
        (Tar::new().pax(&[("GNU.sparse.major", b"1")]).file("a", "x"), "sparse"),
        (Tar::new().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")]).file("a", "1\n9\n1\n"), "sparse"),
        (Tar::new().pax(&[("GNU.sparse.map", b"0,1,2")]).file("a", "x"), "sparse"),
        (Tar::new().pax(&[("GNU.sparse.size", b"1"), ("GNU.sparse.map", b"0,9")]).file("a", "x"), "sparse"),
        (Tar::new().pax(&[("GNU.sparse.numbytes", b"1")]).file("a", "x"), "sparse"),
    ];
    for (number, (tar, expected)) in refused.into_iter().enumerate() {
        let mut layers = Layers::new();
        let error = layers.add(tar).unwrap_err().to_string();
        assert!(error.contains(expected), "case {number}: {error}");
    }
    let mut layers = Layers::new();
    let tar = Tar::new()
        .symlink("out", "../../../..")
        .file("out/witness", "inside")
        .symlink("etc", "/conf")
        .file("etc/passwd", "inside")
        .file("/absolute", "inside")
        .symlink("witness", "../witness")
        .link("w", "witness")
        .file("witness", "replaced");
    layers.add(tar).unwrap();
    for path in ["witness", "conf/passwd", "absolute"] {
        assert!(fs::symlink_metadata(layers.top(path)).unwrap().is_file(), "{path}");
    }
    assert!(fs::symlink_metadata(layers.top("w")).unwrap().is_symlink(), "a link to a symlink is one");
}

#[test]
fn whiteouts_are_what_overlayfs_takes_and_only_about_lower_layers() {
    let mut layers = Layers::new();
    layers
        .add(
            Tar::new()
                .file("gone", "1")
                .file("dir/a", "1")
                .file("dir/b", "1")
                .file("again/x", "1")
                .file(".wh.none", ""),
        )
        .unwrap();
    assert!(!layers.top("none").exists(), "there is nothing below to remove");
    let tar = Tar::new()
        .file(".wh.gone", "")
        .file("dir/new", "2")
        .file("dir/.wh..wh..opq", "")
        .file("dir/.wh..wh.plnk", "")
        .file(".wh.again", "")
        .dir("again", 0o700)
        .file("again/y", "2")
        .file("kept", "2")
        .file(".wh.kept", "");
    layers.add(tar).unwrap();
    assert!(is_whiteout(&layers.top("gone")));
    assert!(is_opaque(&layers.top("dir")) && layers.top("dir/new").exists());
    assert!(is_opaque(&layers.top("again")) && layers.top("again/y").exists(), "made anew after its removal");
    assert_eq!(fs::read_to_string(layers.top("kept")).unwrap(), "2");
    assert!(!layers.top("dir/.wh..wh.plnk").exists());
}

#[test]
fn what_lower_layers_have_is_respected() {
    let mut layers = Layers::new();
    let base = Tar::new()
        .dir("usr/bin", 0o751)
        .symlink("bin", "usr/bin")
        .file("usr/bin/tool", "old")
        .symlink("sub/up", "../usr")
        .dir("closed", 0o711);
    layers.add(base).unwrap();
    layers.add(Tar::new().file(".wh.closed", "")).unwrap();
    let tar = Tar::new()
        .file("bin/new", "1")
        .file("sub/up/bin/newer", "2")
        .link("usr/bin/alias", "bin/tool")
        .file("closed/x", "3");
    layers.add(tar).unwrap();
    assert_eq!(fs::read_to_string(layers.top("usr/bin/new")).unwrap(), "1", "through a symlink of a lower layer");
    assert_eq!(fs::read_to_string(layers.top("usr/bin/newer")).unwrap(), "2");
    assert_eq!(mode(&layers.top("usr/bin")), 0o751, "as the layer below has it");
    assert!(!layers.top("bin").exists());
    assert_eq!(fs::read_to_string(layers.top("usr/bin/alias")).unwrap(), "old", "copied up");
    assert_eq!(mode(&layers.top("closed")), 0o755, "removed in between, and so no longer as it was");
}

#[test]
fn sparse_files_are_read_and_stay_sparse() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_path("sparse").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(1024);
    let gnu = header.as_gnu_mut().unwrap();
    let octal = |field: &mut [u8], value: u64| field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    octal(&mut gnu.realsize, 5_000_000);
    octal(&mut gnu.sparse[0].offset, 1_000_000);
    octal(&mut gnu.sparse[0].numbytes, 512);
    octal(&mut gnu.sparse[1].offset, 4_999_488);
    octal(&mut gnu.sparse[1].numbytes, 512);
    header.set_cksum();
    let whole =
        |header: &tar::Header| [header.as_bytes().to_vec(), vec![b'a'; 512], vec![b'b'; 512], vec![0; 1024]].concat();
    let limits = Limits { entries: 10, bytes: 10_000_000 };
    let mut layers = Layers::new();
    layers.add_bytes(&whole(&header), limits).unwrap();
    let contents = fs::read(layers.top("sparse")).unwrap();
    assert_eq!(
        (contents.len(), contents[999_999], contents[1_000_000], contents[4_999_999]),
        (5_000_000, 0, b'a', b'b')
    );
    assert!(fs::metadata(layers.top("sparse")).unwrap().blocks() * 512 < 1_000_000);
    // A file of zeros is one, too, and counts for what it pretends to be.
    octal(&mut header.as_gnu_mut().unwrap().sparse[1].offset, 4_999_489);
    header.set_cksum();
    assert!(layers.add_bytes(&whole(&header), limits).unwrap_err().to_string().contains("map of a sparse file"));
    octal(&mut header.as_gnu_mut().unwrap().realsize, 5_000_000_000);
    header.set_cksum();
    assert!(layers.add_bytes(&whole(&header), limits).unwrap_err().to_string().contains("more than 10000000 bytes"));
}

/// As GNU tar writes them, in all of its formats.
#[test]
fn sparse_files_of_gnu_tar_are_read() {
    let source = tempfile::tempdir().unwrap();
    let file = fs::File::create(source.path().join("sparse")).unwrap();
    for (offset, data) in [(70_000, "begin"), (1_000_000, "middle"), (3_000_000, "end")] {
        std::os::unix::fs::FileExt::write_all_at(&file, data.as_bytes(), offset).unwrap();
    }
    file.set_len(4_000_000).unwrap();
    let expected = fs::read(source.path().join("sparse")).unwrap();
    for (format, version) in [("gnu", "1.0"), ("posix", "0.0"), ("posix", "0.1"), ("posix", "1.0")] {
        let mut command = std::process::Command::new("tar");
        command.args(["--format", format, "--sparse-version", version, "-cSf", "-", "sparse"]);
        let output = command.current_dir(source.path()).output().unwrap();
        assert!(output.status.success() && output.stdout.len() < 200_000, "{output:?}");
        let mut layers = Layers::new();
        layers.add_bytes(&output.stdout, Limits { entries: 10, bytes: 10_000_000 }).unwrap();
        assert!(fs::read(layers.top("sparse")).unwrap() == expected, "{format} {version}");
        assert!(fs::metadata(layers.top("sparse")).unwrap().blocks() * 512 < 1_000_000, "{format} {version}");
    }
}

#[test]
fn owners_that_are_not_mapped_are_squashed_and_counted() {
    let limits = Limits { entries: 10, bytes: 1000 };
    let owned = |uid: u64, name: &str| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_path(name).unwrap();
        header.set_mode(0o4755);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let archive = [owned(0, "root"), owned(33, "www"), owned(70_000, "far")].concat();
    let add = |ownership: &Ownership| {
        let mut layers = Layers::new();
        let report = layers.add_owned(&archive, limits, ownership).unwrap();
        let owners = ["root", "www", "far"].map(|name| {
            let metadata = fs::metadata(layers.top(name)).unwrap();
            assert_eq!(metadata.mode() & 0o7777, 0o4755, "giving a file away does not cost it its bits");
            metadata.uid()
        });
        (report.squashed, owners)
    };
    if rustix::process::geteuid().is_root()
        && Ownership::detect() == Ownership::of_maps("0 0 4294967295", "0 0 4294967295")
    {
        assert_eq!(add(&Ownership::detect()), (0, [0, 33, 70_000]));
        assert_eq!(add(&Ownership::of_maps("0 1000 1\n1 100000 65536", "0 1000 1\n1 100000 65536")), (1, [0, 33, 0]));
    }
    let me = rustix::process::geteuid().as_raw();
    let single = Ownership::of_maps("0 1000 1", "0 1000 1");
    assert_eq!(add(&single), (2, [me; 3]));
    let unpacked = UnpackedImage {
        image: builtin::find(&crate::image::Reference::parse("builtin/pause").unwrap(), true).unwrap(),
        directories: Vec::new(),
        ownership: single,
        report: Report { squashed: 2, devices: 1, ..Report::default() },
    };
    let note = unpacked.note().unwrap();
    assert_eq!(UnpackedImage { report: Report { entries: 3, ..Report::default() }, ..unpacked.clone() }.note(), None);
    assert_eq!(
        note,
        "2 files have other owners than in the image (all files belong to one user, whoever owns them in the image); \
         1 devices were left out"
    );
}

#[test]
fn bounds_stop_bombs() {
    let mut layers = Layers::new();
    let many = (0..20).fold(Tar::new(), |tar, number| tar.file(&format!("f{number}"), ""));
    let error = layers.add_bytes(&many.0, Limits { entries: 10, bytes: 100 }).unwrap_err();
    assert!(matches!(error, UnpackError::TooManyEntries(10)));
    let large = Tar::new().file("a", &"x".repeat(60)).file("b", &"x".repeat(60));
    let error = layers.add_bytes(&large.0, Limits { entries: 10, bytes: 100 }).unwrap_err();
    assert!(matches!(error, UnpackError::TooLarge(100)));
    let mut long = Tar::new().entry(tar::EntryType::GNULongName, "x", "", 0, b"").0;
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    long.extend_from_slice(header.as_bytes());
    let error = layers.add_bytes(&long, Limits { entries: 10, bytes: 100 }).unwrap_err().to_string();
    assert!(error.contains("more than 1 MiB"), "{error}");
}

#[test]
fn attributes_of_the_user_are_kept_and_others_are_not() {
    let mut layers = Layers::new();
    let records: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.user.mine", b"\0yes"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("mtime", b"5.25"),
    ];
    let report = layers.add(Tar::new().pax(records).dir("d", 0o755)).unwrap();
    assert_eq!(report.attributes, 2);
    let mut value = [0; 8];
    let length = rustix::fs::lgetxattr(layers.top("d"), c"user.mine", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"\0yes");
    assert!(!is_opaque(&layers.top("d")));
    let metadata = fs::metadata(layers.top("d")).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (5, 250_000_000));
}

#[test]
fn a_symlink_that_was_put_into_a_lower_layer_by_hand_leads_nowhere() {
    let mut layers = Layers::new();
    layers.add(Tar::new().dir("d", 0o755)).unwrap();
    symlink(layers.directory.path(), layers.top("d/out")).unwrap();
    // The target of the link is looked for inside the layers, and made there.
    layers.add(Tar::new().file("d/out/witness", "inside")).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Names, links and kinds at random, over one another: whatever happens, happens inside.
    #[test]
    fn nothing_outside_is_touched(
        entries in prop::collection::vec(
            (prop::sample::select(vec!['0', '1', '2', '5', '6', 'w', 'o']), names_at_random(), names_at_random()), 1..25),
        split in 0_usize..25,
    ) {
        let mut layers = Layers::new();
        let split = split.min(entries.len());
        for part in [&entries[..split], &entries[split..]] {
            let tar = part.iter().fold(Tar::new(), |tar, (kind, path, link)| match kind {
                '1' => tar.link(path, link),
                '2' => tar.symlink(path, link),
                '5' => tar.dir(path, 0o755),
                '6' => tar.entry(tar::EntryType::Fifo, path, "", 0o600, b""),
                'w' => tar.file(&format!("{path}/.wh.a"), ""),
                'o' => tar.file(&format!("{path}/.wh..wh..opq"), ""),
                _ => tar.file(path, "content"),
            });
            // Most are refused somewhere; `add` looks at what is outside.
            let _refused_or_not = layers.add(tar);
        }
    }

    /// Bytes at random, and archives with some changed, never make a reader fail otherwise than by an error.
    #[test]
    fn damaged_archives_are_errors(at in 0_usize..2048, byte: u8, cut in 0_usize..3000) {
        let tar = Tar::new().pax(&[("path", b"some/where")]).file("a", "content").symlink("b", "some").link("c", "some/where");
        let mut bytes = tar.0;
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut.max(1));
        let _read_or_refused = Layers::new().add_bytes(&bytes, Limits { entries: 100, bytes: 1_000_000 });
    }
}

fn names_at_random() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ".", "..", "", "witness", "layer0"]), 0..6)
        .prop_map(|parts| parts.join("/"))
}
