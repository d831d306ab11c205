//! Image layers: what they add up to, and what malicious ones come to.

use proptest::prelude::*;

use super::*;

/// Everything in a container's root, as `path` or `path=contents` or `path->target`, `/tmp` left out.
fn tree(dir: &Dir, path: &str, found: &mut Vec<String>) {
    for entry in directory(dir, path).unwrap().entries().unwrap() {
        let path = format!("{}/{}", path.trim_end_matches('/'), entry.name);
        match entry.kind {
            FileKind::Directory => {
                if path != "/tmp" {
                    found.push(format!("{path}/"));
                }
                tree(dir, &path, found);
            }
            FileKind::Symlink => found.push(format!("{path}->{}", dir.read_link(&path).unwrap())),
            _ => found.push(format!("{path}={}", read(dir, &path).unwrap())),
        }
    }
}

fn check(layers: &[&[Item<'_>]], expected: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let root = table(container(scratch.path(), layers)).root();
    let mut found = Vec::new();
    tree(&root, "/", &mut found);
    assert_eq!(found, expected, "{layers:?}");
}

#[test]
fn layers_add_up() {
    use Item::{Dir, File, Hard, Symlink};
    check(&[&[File("a/b", "1"), File("a/c", "1")], &[File("a/b", "2")]], &["/a/", "/a/b=2", "/a/c=1"]);
    check(&[&[File("a/b", "1"), File("a/c", "1")], &[File("a/.wh.b", "")]], &["/a/", "/a/c=1"]);
    check(&[&[File("a/b", "1")], &[File(".wh.a", "")]], &[]);
    check(&[&[File("a/b", "1")], &[File(".wh.a", ""), File("a/c", "2")]], &["/a/", "/a/c=2"]);
    check(&[&[File("a/b", "1")], &[File("a/c", "2"), File("a/.wh.c", "")]], &["/a/", "/a/b=1", "/a/c=2"]);
    check(&[&[File("a/b", "1")], &[File("a/c", "2"), File("a/.wh..wh..opq", "")]], &["/a/", "/a/c=2"]);
    check(&[&[File("a", "1")], &[File(".wh..wh..opq", ""), File(".wh..wh.plnk", "")]], &[]);
    check(&[&[File("a/b", "1")], &[File("a", "file")]], &["/a=file"]);
    check(&[&[File("a", "1")], &[Dir("a"), File("a/b", "2")]], &["/a/", "/a/b=2"]);
    check(&[&[File("a/b", "1")], &[Dir("a/")]], &["/a/", "/a/b=1"]);
    check(&[&[File("x", "1"), Hard("y", "x")], &[Hard("z", "y"), File(".wh.x", "")]], &["/y=1", "/z=1"]);
    check(&[&[Symlink("l", "d"), File("l/f", "1")]], &["/d/", "/d/f=1", "/l->d"]);
    check(
        &[&[Dir("run"), Symlink("var/run", "/run")], &[File("var/run/pid", "1")]],
        &["/run/", "/run/pid=1", "/var/", "/var/run->/run"],
    );
    check(&[&[Symlink("l", "../../../d"), File("l/f", "1")]], &["/d/", "/d/f=1", "/l->../../../d"]);
    check(&[&[Symlink("l", "d"), Dir("d")], &[Dir("l"), File("l/f", "1")]], &["/d/", "/l/", "/l/f=1"]);
    check(
        &[&[File("/abs", "1"), File("./dot/./f", "2"), File("dup", "1"), File("dup", "2")]],
        &["/abs=1", "/dot/", "/dot/f=2", "/dup=2"],
    );
}

#[test]
fn malicious_archives_are_errors() {
    use Item::{Dir, File, Hard, Symlink};
    let indexing = |items: &[Item<'_>]| Layer::from_tar_bytes("d", archive(items).into());
    for items in [
        &[File("../x", "")] as &[_],
        &[File("a/../../x", "")],
        &[Dir("..")],
        &[Hard("x", "../../etc/passwd")],
        &[File("a/.wh...", "")],
        &[File("", "contents")],
        &[Symlink("l", "")],
    ] {
        let error = indexing(items).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{items:?}: {error}");
    }
    for items in [
        &[File("f", ""), File("f/x", "")] as &[_],
        &[Hard("x", "missing")],
        &[Dir("d"), Hard("x", "d")],
        &[Symlink("l", "l"), File("l/x", "")],
    ] {
        LayerStack::new(vec![indexing(items).unwrap()]).map(|_| ()).unwrap_err();
    }
}

#[test]
fn damaged_archives_are_errors_and_never_panic() {
    let good = archive(&[Item::File("a", "contents"), Item::Symlink("b", "a")]);
    let indexing = |bytes: Vec<u8>| Layer::from_tar_bytes("d", bytes.into());
    indexing(good.clone()).unwrap();
    for length in [1, 511, 513, 519] {
        indexing(good[..length].to_vec()).unwrap_err();
    }
    for at in (0..512).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        indexing(bytes).unwrap_err();
    }
    // A size that reaches past every end.
    let mut header = ::tar::Header::new_gnu();
    header.set_size(u64::MAX);
    header.set_cksum();
    indexing(header.as_bytes().to_vec()).unwrap_err();
    // A long name that claims gigabytes.
    header.set_entry_type(::tar::EntryType::GNULongName);
    header.set_size(8 << 30);
    header.set_cksum();
    indexing(header.as_bytes().to_vec()).unwrap_err();
}

#[test]
fn long_and_pax_names_are_whole() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o600);
    builder.append_data(&mut header, &long, &b"1"[..]).unwrap();
    builder.append_pax_extensions([("path", b"pax/\xc3\xbc".as_slice()), ("mtime", b"12.5")]).unwrap();
    header.set_path("short").unwrap();
    header.set_cksum();
    builder.append(&header, &b"2"[..]).unwrap();
    let layer = Layer::from_tar_bytes("d", builder.into_inner().unwrap().into()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let filesystem = TreeFs::over(LayerStack::new(vec![layer]).unwrap(), scratch.path().join("u"), None);
    let root = table(filesystem).root();
    assert_eq!(read(&root, &long).as_deref(), Ok("1"));
    assert_eq!(read(&root, "pax/ü").as_deref(), Ok("2"));
    let modified = root.stat_at("pax/ü", true).unwrap().modified;
    assert_eq!(modified, std::time::UNIX_EPOCH + std::time::Duration::from_secs(12));
}

#[test]
fn a_layer_on_disk_is_read_in_place_and_names_its_contents() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("layer.tar");
    std::fs::write(&path, archive(&[Item::File("bin/app", "program"), Item::Hard("bin/alias", "bin/app")])).unwrap();
    let layer = Layer::from_tar_file("sha256:abc", std::fs::File::open(&path).unwrap()).unwrap();
    let root = table(TreeFs::over(LayerStack::new(vec![layer]).unwrap(), scratch.path().join("u"), None)).root();
    let app = file(&root, "bin/app", READ).unwrap();
    assert_eq!(app.content_id().as_deref(), Some("sha256:abc:bin/app"));
    assert_eq!(app.contents().unwrap(), "program");
    let (app, alias) = (root.stat_at("bin/app", true).unwrap(), root.stat_at("bin/alias", true).unwrap());
    assert_eq!((app.inode, app.links), (alias.inode, 2));
    write(&root, "bin/alias", "changed").unwrap();
    let app = file(&root, "bin/app", READ).unwrap();
    assert_eq!((app.contents().unwrap().as_ref(), app.content_id()), (b"changed".as_slice(), None));
}

/// Names as an attacker would choose them.
fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "l", "..", ".", "", ".wh.a", ".wh..wh..opq", ".wh.l", "/a"]);
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn hostile_layer() -> impl Strategy<Value = Vec<u8>> {
    let item = (hostile_name(), hostile_name(), 0..4_u8);
    prop::collection::vec(item, 0..8).prop_map(|items| {
        let items: Vec<_> = items
            .iter()
            .map(|(name, other, kind)| match kind {
                0 => Item::Dir(name),
                1 => Item::File(name, other),
                2 => Item::Symlink(name, other),
                _ => Item::Hard(name, other),
            })
            .collect();
        archive(&items)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_of_any_entries_are_refused_or_make_a_tree(archives in prop::collection::vec(hostile_layer(), 1..4)) {
        let layers: Vec<_> =
            archives.into_iter().filter_map(|tar| Layer::from_tar_bytes("d", tar.into()).ok()).collect();
        let Ok(stack) = LayerStack::new(layers) else { return Ok(()) };
        let scratch = tempfile::tempdir().unwrap();
        let root = table(TreeFs::over(stack, scratch.path().join("u"), None)).root();
        let mut found = Vec::new();
        tree(&root, "/", &mut found);
        for line in found {
            let path = line.split(['=', '>']).next().unwrap_or_default();
            prop_assert!(!path.split('/').any(|name| matches!(name, "." | "..")), "{line}");
        }
    }

    #[test]
    fn archives_of_any_header_are_refused_or_read(
        changes in prop::collection::vec((0..512_usize, any::<u8>()), 0..12),
        extension in any::<bool>(),
    ) {
        let mut bytes = archive(&[Item::File("name", "30 path=a/b\n12 mtime=1.5\n"), Item::File("next", "")]);
        let mut header = ::tar::Header::from_byte_slice(&bytes[..512]).clone();
        if extension {
            header.set_entry_type(::tar::EntryType::XHeader);
        }
        for (at, byte) in changes {
            header.as_mut_bytes()[at] = byte;
        }
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        if let Ok(layer) = Layer::from_tar_bytes("d", bytes.into()) {
            let _ = LayerStack::new(vec![layer]);
        }
    }
}
