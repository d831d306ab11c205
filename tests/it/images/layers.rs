//! Layers that mean harm: everything that archives have been made of to get out of where they are unpacked, to be larger than
//! they look, or to break who reads them.

use std::io::Write;

use tar::EntryType;

/// An archive in the making, without any of the care that a library takes.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(self, kind: EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        self.sized(kind, path, link, data.len() as u64, data)
    }

    fn sized(mut self, kind: EntryType, path: &str, link: &str, size: u64, data: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o7777);
        header.set_uid(u64::from(u32::MAX));
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str) -> Self {
        self.entry(EntryType::Regular, path, "", b"evil")
    }

    fn directory(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    fn symlink(self, path: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, path, to, b"")
    }

    fn link(self, path: &str, to: &str) -> Self {
        self.entry(EntryType::Link, path, to, b"")
    }

    /// Pax attributes of what follows; lengths are believed as they are written.
    fn pax(self, records: &str) -> Self {
        self.entry(EntryType::XHeader, "pax", "", records.as_bytes())
    }
}

/// Archives.
pub(crate) fn hostile() -> Vec<Vec<u8>> {
    let tar = Tar::default;
    let mut deep = tar();
    for depth in 1..60 {
        deep = deep.directory(&"d/".repeat(depth.min(49)));
    }
    let made = [
        // Ways out: by names, symlinks of this layer, of the layer below, and hard links.
        tar().file("../witness").file("a/../../witness").file("/../witness"),
        tar().symlink("x", "../../../../../..").file("x/witness").file("x/tmp/evil"),
        tar().symlink("x", "/").file("x/witness").directory("x/tmp").symlink("x/y", ".."),
        tar().symlink("a", "../../..").file("a/witness").file("a/b"),
        tar().file("out/witness").file("root/witness").file("loop/x"),
        tar().symlink("x", "y").symlink("y", "x").file("x/y/z"),
        tar().link("w", "../witness").link("w", "out/witness").link("w", "root/etc/passwd"),
        tar().symlink("s", "../../witness").link("h", "s").file("h"),
        tar().directory("d").symlink("d", "../..").file("d/witness"),
        tar().symlink("d", "../..").directory("d").file("d/witness"),
        tar().file("a/b").link("c/d", "a/b").file("c/d"),
        tar().link("x", "x").link("a/b", "a/b").link("y", "a").link("z", ""),
        // Whiteouts: of everything, of nothing, of what is outside, of themselves.
        tar().file(".wh..wh..opq").file(".wh.a").file("a/.wh.b").file("a/b"),
        tar().file("out/.wh.witness").file("root/.wh.etc").file(".wh...").file(".wh.").file(".wh.."),
        tar().file("a/.wh..wh..opq").symlink("a", "..").file("a/.wh.witness"),
        tar().directory(".wh.a").symlink(".wh.c", "..").link(".wh.out", "a/b"),
        tar().file("x").file(".wh.x").directory("x").file(".wh.x").file("x/y"),
        // Devices and other special files.
        tar().entry(EntryType::Char, "null", "", b"").entry(EntryType::Block, "a", "", b"").file("a/x"),
        tar().entry(EntryType::Fifo, "fifo", "", b"").link("again", "fifo").file("fifo"),
        tar().entry(EntryType::Continuous, "old", "", b"x").entry(EntryType::new(b'V'), "label", "", b"x"),
        // Sizes that are not so, and names that are none.
        tar().sized(EntryType::Regular, "large", "", 1 << 33, b"x"),
        tar().sized(EntryType::Directory, "large", "", 1 << 20, b"").file("after"),
        tar().sized(EntryType::Link, "l", "a/b", 512, &[b'x'; 512]).file("after"),
        tar().pax("17 size=8589934592\n").file("x"),
        tar().pax("12 size=-1\n").file("x").pax("9999999999 path=x\n").file("y").pax("0 =\n").file("z"),
        tar().pax("20 path=../witness\n").file("x").pax("11 path=/\n").file("y").pax("9 path=\n").file("z"),
        tar().pax("22 linkpath=../../..\n").symlink("x", "y").file("x/witness"),
        tar().pax("35 SCHILY.xattr.user.overlay.a=yy\n").directory("a").pax("27 SCHILY.xattr.trusted.x=1\n").file("b"),
        tar().pax("22 GNU.sparse.major=1\n21 GNU.sparse.size=9\n").entry(EntryType::Regular, "s", "", b"1\n0\n9\n"),
        tar().pax("26 GNU.sparse.map=0,1,9,9\n").file("s").pax("21 GNU.sparse.offset\n").file("t"),
        tar().entry(EntryType::GNUSparse, "s", "", b"x").file("after"),
        tar().entry(EntryType::GNULongName, "x", "", &[b'n'; 5000]).file("short"),
        tar().entry(EntryType::GNULongName, "x", "", b"../witness\0").file("y"),
        tar().entry(EntryType::GNULongLink, "x", "", b"../../../../../../etc\0").symlink("l", "m").file("l/passwd"),
        tar().sized(EntryType::GNULongName, "x", "", 1 << 40, b""),
        tar().file("\u{1b}[31m").file(" ").file("a\\b").file("\u{fffd}").file("."),
        tar().file("x/").file("x/y").file("x//y/").directory("x/./y/.").file("x"),
        deep,
        tar(),
    ];
    let mut archives: Vec<_> = made.into_iter().map(|Tar(bytes)| bytes).collect();
    // Cut off within a header and within data, without and with an end; and bytes that are no archive.
    let whole = tar().file("a/b").file("c").0;
    archives.extend([whole[..300].to_vec(), whole[..513].to_vec(), [whole.as_slice(), &[0; 1024]].concat()]);
    archives.extend([vec![0; 10_240], vec![0xff; 2048], b"no archive".repeat(100)]);
    archives
}

/// Streams that are to be uncompressed.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    let gzip = |contents: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = gzip(&vec![0; 4 << 20]);
    let twice = gzip(&bomb);
    let skippable = b"\x50\x2a\x4d\x18\xff\xff\xff\xff".to_vec();
    let frame = b"\x28\xb5\x2f\xfd\xe4\xff\xff\xff\xff\xff\xff\xff\xff".to_vec();
    vec![gzip(b""), bomb[..bomb.len() / 2].to_vec(), bomb, twice, skippable, frame, b"\x1f\x8b".to_vec(), Vec::new()]
}
