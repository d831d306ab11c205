//! Manifests of `-f`: files, folders, standard input; YAML with several documents, JSON, and lists.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::cli::connection::FileArgs;
use crate::cli::print::object;

/// Bytes of one manifest file.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How deeply folders are read.
const MAX_DEPTH: usize = 32;

/// An object of a manifest and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) source: String,
    pub(super) object: Value,
}

impl Manifest {
    /// A field of text.
    pub(super) fn text(&self, path: &[&str]) -> &str {
        object::text(&self.object, path)
    }
}

/// Reads all of them, in order.
pub(super) fn read(args: &FileArgs) -> anyhow::Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for path in &args.filename {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().take(MAX_BYTES).read_to_string(&mut text).context("cannot read standard input")?;
            decode("STDIN", &text, &mut found)?;
            continue;
        }
        ensure!(path.exists(), "the path {:?} does not exist", path.display().to_string());
        let files = if path.is_dir() { folder(path, args.recursive, 0)? } else { vec![path.clone()] };
        for file in files {
            let context = || format!("cannot read {}", file.display());
            let mut text = String::new();
            let mut opened = std::fs::File::open(&file).with_context(context)?.take(MAX_BYTES);
            opened.read_to_string(&mut text).with_context(context)?;
            decode(&file.display().to_string(), &text, &mut found)?;
        }
    }
    if found.is_empty() {
        bail!(
            "no objects passed to {}",
            if args.filename.is_empty() { "the command: name files with -f" } else { "it" }
        );
    }
    Ok(found)
}

fn folder(path: &Path, recursive: bool, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        let wanted = entry.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e));
        if entry.is_dir() {
            if recursive && depth < MAX_DEPTH {
                files.extend(folder(&entry, recursive, depth + 1)?);
            }
        } else if wanted {
            files.push(entry);
        }
    }
    Ok(files)
}

fn decode(source: &str, text: &str, found: &mut Vec<Manifest>) -> anyhow::Result<()> {
    let context = || format!("error parsing {source}");
    let documents: Vec<Value> = match serde_json::from_str(text) {
        Ok(value) => vec![value],
        Err(_) => serde_yaml::from_multiple(text).with_context(context)?,
    };
    for document in documents {
        add(source, document, found)?;
    }
    Ok(())
}

fn add(source: &str, document: Value, found: &mut Vec<Manifest>) -> anyhow::Result<()> {
    if document.is_null() {
        return Ok(());
    }
    if !document.is_object() {
        bail!("error validating {source:?}: an object was expected");
    }
    let kind = object::text(&document, &["kind"]);
    if kind.ends_with("List") && document.get("items").is_some_and(Value::is_array) {
        for item in object::list(&document, &["items"]) {
            add(source, item.clone(), found)?;
        }
        return Ok(());
    }
    for field in ["apiVersion", "kind"] {
        if object::text(&document, &[field]).is_empty() {
            bail!("error validating {source:?}: error validating data: {field} not set");
        }
    }
    found.push(Manifest { source: source.to_owned(), object: document });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        decode("x.yaml", text, &mut found)?;
        Ok(found.iter().map(|manifest| manifest.text(&["metadata", "name"]).to_owned()).collect())
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: List\n\
                    items: [{apiVersion: v1, kind: Pod, metadata: {name: b}}]\n";
        assert_eq!(kinds(text).unwrap(), ["a", "b"]);
        assert_eq!(kinds(r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}}"#).unwrap(), ["c"]);
        assert!(kinds("kind: Pod").unwrap_err().to_string().contains("apiVersion not set"));
        assert!(kinds("a: [").unwrap_err().to_string().contains("error parsing x.yaml"));
    }
}
