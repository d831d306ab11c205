//! Images as others make them, which husk's own builds don't: with layers that hide what is below, links that lead nowhere
//! yet, and volumes of their own.

use std::fs;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::both_users;
use super::images::BUSYBOX;
use super::machine::{User, husk};

both_users! {
    what_upper_layers_hide_is_not_there
    links_to_nothing_get_what_husk_puts_there
    volumes_of_images_can_be_written_to
}

/// What is in a layer.
enum Entry {
    Directory(&'static str),
    File(&'static str, &'static str),
    Symlink(&'static str, &'static str),
}
use Entry::{Directory, File, Symlink};

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        match entry {
            Directory(path) => {
                let mut header = header(tar::EntryType::Directory, 0o755, 0);
                archive.append_data(&mut header, path, std::io::empty()).unwrap();
            }
            File(path, text) => {
                let mut header = header(tar::EntryType::Regular, 0o644, text.len() as u64);
                archive.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
            Symlink(path, target) => {
                archive.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, target).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

/// A layer with busybox.
fn base() -> Vec<u8> {
    let program = fs::read(BUSYBOX).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    let mut of_program = header(tar::EntryType::Regular, 0o755, program.len() as u64);
    archive.append_data(&mut of_program, "bin/busybox", program.as_slice()).unwrap();
    archive.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), "bin/sh", "busybox").unwrap();
    archive.into_inner().unwrap()
}

/// Writes an archive as `docker save` does.
fn save(file: &Path, name: &str, layers: &[Vec<u8>], volumes: &[&str]) {
    let sum = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let volumes: serde_json::Map<_, _> = volumes.iter().map(|path| ((*path).to_owned(), json!({}))).collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", sum(layer))).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "config": {"Volumes": volumes, "Cmd": ["sh"]},
    });
    let config = config.to_string().into_bytes();
    let of_config = format!("{}.json", sum(&config));
    let names: Vec<_> = layers.iter().map(|layer| format!("{}/layer.tar", sum(layer))).collect();
    let manifest = json!([{"Config": of_config, "RepoTags": [name], "Layers": names}]).to_string().into_bytes();
    let mut archive = tar::Builder::new(fs::File::create(file).unwrap());
    let all = names.iter().zip(layers).map(|(name, layer)| (name.as_str(), layer));
    for (path, bytes) in all.chain([(of_config.as_str(), &config), ("manifest.json", &manifest)]) {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        archive.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    archive.finish().unwrap();
}

/// Runs a script in a container of an image of these layers, and asserts what it prints.
fn says(test: &str, user: User, layers: &[&[Entry]], volumes: &[&str], security: &str, script: &str, expected: &str) {
    let Some(husk) = husk(test, user, &[super::images::Image::Busybox]) else { return };
    let layers: Vec<_> = std::iter::once(base()).chain(layers.iter().map(|entries| layer(entries))).collect();
    let file = husk.dir().join("image.tar");
    save(&file, "foreign:1", &layers, volumes);
    husk.husk(["image", "load", "-i", file.to_str().unwrap()]).exits(0);
    let yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: c\n    \
         image: foreign:1\n    command: [sh, -c, {}]\n    securityContext: {{{security}}}\n",
        serde_json::to_string(script).unwrap()
    );
    let outcome = husk.run(&yaml, &["--no-prefix"]).exits(0);
    assert_eq!(outcome.stdout, expected, "{outcome:?}");
}

fn what_upper_layers_hide_is_not_there(test: &str, user: User) {
    let lower: &[Entry] = &[
        File("hidden/old", ""),
        File("removed/old", ""),
        File("gone/old", ""),
        File("kept/old", ""),
        File("kept/file", ""),
    ];
    let upper: &[Entry] = &[
        Directory("hidden"),
        File("hidden/.wh..wh..opq", ""),
        File("hidden/new", ""),
        File(".wh.removed", ""),
        Directory("removed"),
        File("removed/new", ""),
        File(".wh.gone", ""),
        File("kept/.wh.file", ""),
        File("kept/new", ""),
    ];
    let script = "ls hidden removed kept; ls -d gone || true";
    says(test, user, &[lower, upper], &[], "", script, "hidden:\nnew\n\nkept:\nnew\nold\n\nremoved:\nnew\n");
}

fn links_to_nothing_get_what_husk_puts_there(test: &str, user: User) {
    let links: &[Entry] = &[
        Symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        Symlink("etc/hostname", "/nowhere/yet/hostname"),
        Symlink("etc/hosts", "../../../above/hosts"),
    ];
    let script = "grep -c nameserver /etc/resolv.conf; cat /nowhere/yet/hostname; grep -c localhost /above/hosts";
    says(test, user, &[links], &[], "", script, "1\np\n2\n");
}

fn volumes_of_images_can_be_written_to(test: &str, user: User) {
    let content: &[Entry] = &[Directory("seeded"), File("seeded/file", "from the image\n")];
    let script = "echo x > /data/new && cat /data/new /seeded/file && echo y >> /seeded/file && tail -n 1 /seeded/file && \
                  ! touch /else 2> /dev/null && cat /proc/sys/kernel/hostname && ! echo z 2> /dev/null > /proc/sys/kernel/hostname";
    let volumes = ["/data", "/seeded/", "/proc/sys", "/../up", "/"];
    says(test, user, &[content], &volumes, "readOnlyRootFilesystem: true", script, "x\nfrom the image\ny\np\n");
    says(test, user, &[content], &volumes, "", "echo x > /data/new && cat /data/new", "x\n");
}
