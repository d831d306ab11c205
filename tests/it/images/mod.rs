//! Images: the store, built-in images, aliases; and the cache of compiled code.

#[cfg(target_os = "linux")]
mod artifacts;
#[cfg(target_os = "linux")]
mod builds;
#[cfg(target_os = "linux")]
mod kills;
#[cfg(target_os = "linux")]
mod pods;
#[cfg(target_os = "linux")]
mod store;
#[cfg(target_os = "linux")]
mod tools;

/// Real registries, as the unit tests have them.
#[cfg(target_os = "linux")]
#[path = "../../../src/image/tests/registry.rs"]
#[allow(dead_code, reason = "some of it is for unit tests only")]
pub(crate) mod registry;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{Husk, guest_file, pod};

#[test]
fn images_are_imported_listed_run_and_removed() {
    let husk = Husk::new();
    let guest = guest_file("p2", "hello");
    husk.husk(["image".as_ref(), "import".as_ref(), guest.as_os_str(), "app:v1".as_ref()]).exits(0);
    let listed = husk.husk(["image", "ls"]).ok();
    let row = listed.lines().find(|line| line.starts_with("docker.io/library/app ")).expect(&listed);
    assert!(row.contains("v1") && row.contains("imported"), "{row}");
    husk.run(&pod("app:v1", &[], ""), &["--no-prefix"]).exits(0).has("hello from wasm");
    husk.husk(["image", "rm", "app:v1"]).exits(0);
    assert!(!husk.husk(["image", "ls"]).ok().contains("library/app "));
    husk.run(&pod("app:v1", &[], ""), &[]).exits(2).says("app:v1").says("husk image import");
    husk.husk(["image", "rm", "app:v1"]).exits(2).says("app:v1");
}

#[test]
fn built_in_images_stand_in_for_well_known_names_visibly() {
    let husk = Husk::new();
    let listed = husk.husk(["image", "ls"]).ok();
    for name in ["busybox", "grpc-health", "nginx"] {
        assert!(listed.contains(&format!("alias of builtin/{name}")), "{listed}");
    }
    let yaml = pod("busybox:1.32.0", &[], "command: [echo, hi]");
    husk.run(&yaml, &["--no-prefix"])
        .exits(0)
        .has("hi")
        .says("Image \"busybox:1.32.0\" is served by the built-in image \"builtin/busybox");
    let file = husk.manifest(&yaml);
    let off = husk.command(["run", "--image-aliases", "off"]).arg(&file).output().unwrap();
    crate::support::Outcome::from(off).exits(2).says("busybox:1.32.0");
    let off = husk.command(["run"]).arg(&file).env("HUSK_IMAGE_ALIASES", "off").output().unwrap();
    crate::support::Outcome::from(off).exits(2);
    assert!(!husk.husk(["image", "ls", "--image-aliases", "off"]).ok().contains("alias"));
}

#[test]
fn what_is_no_image_is_refused() {
    let husk = Husk::new();
    let text = husk.write("notes.txt", "text");
    husk.husk(["image".as_ref(), "import".as_ref(), text.as_os_str(), "app".as_ref()]).exits(2).says("notes.txt");
    let guest = guest_file("p1", "hello");
    husk.husk(["image".as_ref(), "import".as_ref(), guest.as_os_str(), "Not A Name".as_ref()])
        .exits(2)
        .says("Not A Name");
    husk.run(&pod("'UPPER'", &[], ""), &[]).exits(2).says("UPPER");
}

#[test]
fn the_code_cache_is_private_and_survives_tampering() {
    let husk = Husk::new();
    let yaml = pod("test/p1/hello", &[], "");
    let cache = husk.dir().join("cache");
    let run = || {
        let output = husk.run_command(&yaml, &["--no-prefix"]).env("HUSK_CACHE_DIR", &cache).output().unwrap();
        crate::support::Outcome::from(output).exits(0).has("hello from wasm");
    };
    let files = || {
        let mut found: Vec<_> = fs::read_dir(cache.join("code")).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    };
    run();
    assert_eq!(fs::metadata(cache.join("code")).unwrap().permissions().mode() & 0o777, 0o700);
    let compiled = files();
    assert!(!compiled.is_empty());
    let inodes = || files().iter().map(|file| fs::metadata(file).unwrap().ino()).collect::<Vec<_>>();
    let before = inodes();
    run();
    assert_eq!((files(), inodes()), (compiled.clone(), before), "the second run compiled again");
    for file in &compiled {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o077, 0, "{}", file.display());
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(file, &bytes).unwrap();
    }
    run();
    for file in files() {
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 3]).unwrap();
    }
    run();
}

/// Who gets husk gets its images with it: the tools, compressed as a registry would keep them, are not to grow large.
#[test]
fn the_built_in_images_stay_small() {
    let built = std::path::Path::new(env!("HUSK_GUESTS_DIR")).parent().unwrap();
    let mut total = 0;
    for layer in ["tools", "nginx"] {
        let archive = fs::read(built.join(format!("{layer}.tar"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &archive).unwrap();
        total += encoder.finish().unwrap().len();
    }
    assert!(total < 8_000_000, "{total} bytes");
}
