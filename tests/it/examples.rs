//! Every example that needs no download runs as it is.

use std::path::{Path, PathBuf};

use crate::support::Husk;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

#[test]
fn every_example_is_run_here_or_needs_a_download() {
    let mut found: Vec<String> = std::fs::read_dir(examples())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    found.sort();
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/examples.rs")).unwrap();
    for name in &found {
        assert!(source.contains(&format!("\"{name}\"")), "no test runs examples/{name}");
    }
    assert!(found.len() >= 5, "{found:?}");
}
