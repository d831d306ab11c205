//! The rules of the tree that no compiler checks: which layer may use which, file headers, sizes, tested examples.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which layers of `src/` each layer may use besides `base` and itself; `ARCHITECTURE.md` explains the table.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("api", &[]),
    ("vfs", &[]),
    ("pod", &["api"]),
    ("store", &["api"]),
    ("apiserver", &["api", "pod", "store"]),
    ("controller", &["api", "pod", "store"]),
    ("image", &["api"]),
    ("net", &["api"]),
    ("volume", &["api", "vfs"]),
    ("runtime", &["vfs", "net"]),
    ("node", &["api", "pod", "image", "volume", "vfs", "net", "runtime"]),
    ("cli", &["api", "pod"]),
];

/// Layers that touch neither tokio nor files nor clocks.
const PURE: &[&str] = &["api", "pod"];
/// What a pure layer must not name.
const IMPURE: &[&str] = &["tokio::", "std::fs", "std::time::SystemTime", "std::time::Instant", "Timestamp::now()"];
/// Lines of a source file, its tests left out.
const MAX_LINES: usize = 1000;
/// Bytes of a file in the tree.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The code of a file without its unit tests.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    match text.split_once("#[cfg(test)]\nmod tests {") {
        Some((code, _)) => code.to_owned(),
        None => text,
    }
}

fn is_tests(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

#[test]
fn layers_use_only_what_the_table_allows() {
    let allowed: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (layer, _) in LAYERS {
        for file in files_under(&root().join("src").join(layer), "rs") {
            if is_tests(&file) {
                continue;
            }
            for (number, line) in code_of(&file).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for used in code.split("crate::").skip(1) {
                    let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let known = allowed.contains_key(name.as_str()) || name == "app";
                    let fine = name == *layer || name == "base" || allowed[layer].contains(&name.as_str());
                    if known && !fine {
                        wrong.push(format!("{}:{}: {layer} must not use {name}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_layer_is_in_the_table() {
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The composition root may use everything.
        assert!(
            !path.is_dir() || name == "app" || LAYERS.iter().any(|(layer, _)| *layer == name),
            "src/{name} is not in the table"
        );
    }
}

#[test]
fn pure_layers_stay_pure() {
    for layer in PURE {
        for file in files_under(&root().join("src").join(layer), "rs") {
            if is_tests(&file) {
                continue;
            }
            let code = code_of(&file);
            for word in IMPURE {
                assert!(!code.contains(word), "{}: {layer} is pure and must not use {word}", file.display());
            }
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for dir in ["src", "tests", "benches", "fuzz", "wasm-apps"] {
        for file in files_under(&root().join(dir), "rs") {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//!"), "{}: must open with a `//!` header", file.display());
        }
    }
}

#[test]
fn source_files_stay_readable_in_length() {
    for file in files_under(&root().join("src"), "rs") {
        if !is_tests(&file) {
            let lines = code_of(&file).lines().count();
            assert!(lines <= MAX_LINES, "{}: {lines} lines, split it by topic", file.display());
        }
    }
}

#[test]
fn no_big_blobs_in_the_tree() {
    for dir in ["src", "tests", "examples", "docs", "wasm-apps", "wit", "benches"] {
        for extension in ["rs", "yaml", "wasm", "tar", "md", "json", "png"] {
            for file in files_under(&root().join(dir), extension) {
                let size = fs::metadata(&file).unwrap().len();
                assert!(size <= MAX_FILE_BYTES, "{}: {size} bytes", file.display());
            }
        }
    }
}

#[test]
fn every_module_is_on_the_code_map() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (layer, _) in LAYERS {
        assert!(map.contains(&format!("`{layer}/`")), "ARCHITECTURE.md does not mention `{layer}/`");
    }
}
