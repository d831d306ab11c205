//! From what was named on the command line to objects: reads files, folders and standard input, and makes the obvious
//! pod of a program.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Manifests larger than this are refused, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
/// Files of a folder that are manifests.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// The first bytes of every WebAssembly program.
const WASM_MAGIC: &[u8] = b"\0asm";

/// What the command line names.
#[derive(Debug)]
pub(super) enum Input {
    /// Manifests: where each is from, and its text.
    Manifests(Vec<(String, String)>),
    /// One program.
    Program(PathBuf),
}

/// Reads everything that was named, in order.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Input> {
    if let [file] = files
        && is_program(file)
    {
        return Ok(Input::Program(file.clone()));
    }
    let mut texts = Vec::new();
    for file in files {
        if file.as_os_str() == "-" {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(MAX_MANIFEST_BYTES).read_to_string(&mut text);
            read.context("cannot read manifests from standard input")?;
            texts.push(("-".to_owned(), text));
        } else if file.is_dir() {
            let found = manifests_in(file)?;
            if found.is_empty() {
                bail!("{}: no .yaml, .yml or .json files in this folder", file.display());
            }
            for file in found {
                texts.push(read_file(&file)?);
            }
        } else if is_program(file) {
            bail!("{}: a program runs alone: give no other files beside it", file.display());
        } else {
            texts.push(read_file(file)?);
        }
    }
    Ok(Input::Manifests(texts))
}

fn manifests_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read folder {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read folder {}", folder.display()))?.path();
        let is_manifest = path.extension().is_some_and(|found| EXTENSIONS.iter().any(|extension| found == *extension));
        if is_manifest && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(file: &Path) -> anyhow::Result<(String, String)> {
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    // The file may be a pipe, whose size nobody knows.
    let opened = std::fs::File::open(file).with_context(|| format!("cannot read {name}"))?;
    opened.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        bail!("{name}: too large for a manifest (at most {MAX_MANIFEST_BYTES} bytes)");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!(
            "{name}: not UTF-8 at byte {}: a manifest is YAML or JSON text",
            error.utf8_error().valid_up_to()
        )
    })?;
    Ok((name, text))
}

fn is_program(file: &Path) -> bool {
    // What is read from a pipe is gone.
    if std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return false;
    }
    let mut magic = [0; 4];
    let read = std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut magic));
    (read.is_ok() && magic == WASM_MAGIC) || file.extension().is_some_and(|extension| extension == "wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_manifests_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.json", "notes.txt", "c.yml"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let Input::Manifests(texts) = read(&[dir.path().to_owned()]).unwrap() else { panic!("not manifests") };
        assert_eq!(texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["a.json", "b.yaml", "c.yml"]);
    }

    #[test]
    fn a_program_is_known_by_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("program");
        std::fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
        assert!(matches!(read(std::slice::from_ref(&file)).unwrap(), Input::Program(found) if found == file));
        let error = read(&[file, "-".into()]).unwrap_err();
        assert!(error.to_string().contains("runs alone"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_whole() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"apiVersion: v1").unwrap();
        drop(writer);
        let path = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
        let Input::Manifests(texts) = read(&[path]).unwrap() else { panic!("not manifests") };
        assert_eq!(texts[0].1, "apiVersion: v1");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = read(&["no/such.yaml".into()]).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read no/such.yaml: "), "{error:#}");
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&[dir.path().to_owned()]).unwrap_err().to_string().contains("no .yaml"));
    }
}
