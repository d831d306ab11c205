//! Which objects a command line means: `TYPE NAME…`, `TYPE,TYPE`, `TYPE/NAME…`, or the objects of manifests.

use anyhow::{Context, bail};
use serde_json::Value;

use super::connection::Connection;
use super::files::{self, Manifest};
use super::kinds::{Kind, Kinds};
use crate::cli::connection::FileArgs;

/// What is meant.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// One object.
    Object { kind: Kind, namespace: String, name: String },
    /// All objects of a kind, as far as selectors let them through.
    All(Kind),
}

/// Reads the words.
pub(super) fn parse(words: &[String], kinds: &Kinds, namespace: &str) -> anyhow::Result<Vec<Target>> {
    let object = |kind: &Kind, name: &str| Target::Object {
        kind: kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let Some(first) = words.first() else {
        bail!("you must specify the type of resource, such as pods; `husk api-resources` lists them");
    };
    if words.iter().any(|word| word.contains('/')) {
        let mut targets = Vec::new();
        for word in words {
            match word.split_once('/') {
                Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                    targets.push(object(kinds.find(kind)?, name));
                }
                Some(_) => bail!("arguments in resource/name form must have a single resource and name"),
                None => bail!(
                    "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'husk get resource/<resource_name>' instead of 'husk get resource resource/<resource_name>')"
                ),
            }
        }
        return Ok(targets);
    }
    let found = kinds.find_several(first)?;
    if words.len() == 1 {
        return Ok(found.into_iter().map(Target::All).collect());
    }
    Ok(found.iter().flat_map(|kind| words[1..].iter().map(|name| object(kind, name))).collect())
}

/// What words mean, or the objects of manifests if there are any.
pub(super) fn of(
    words: &[String],
    manifests: &FileArgs,
    kinds: &Kinds,
    connection: &Connection,
) -> anyhow::Result<Vec<Target>> {
    if manifests.filename.is_empty() {
        return parse(words, kinds, &connection.namespace);
    }
    let target = |manifest: &Manifest| {
        let (kind, namespace) = of_manifest(manifest, kinds, connection)?;
        Ok(Target::Object { kind, namespace, name: manifest.text(&["metadata", "name"]).to_owned() })
    };
    files::read(manifests)?.iter().map(target).collect()
}

/// The kind of a manifest, and where its object belongs.
pub(super) fn of_manifest(
    manifest: &Manifest,
    kinds: &Kinds,
    connection: &Connection,
) -> anyhow::Result<(Kind, String)> {
    let (version, kind) = (manifest.text(&["apiVersion"]), manifest.text(&["kind"]));
    let (name, named) = (manifest.text(&["metadata", "name"]), manifest.text(&["metadata", "namespace"]));
    let Some(found) = kinds.of_object(version, kind) else {
        bail!(
            "resource mapping not found for name: {name:?} namespace: {named:?} from {:?}: no matches for kind {kind:?} in \
             version {version:?}",
            manifest.source
        );
    };
    if !found.namespaced {
        return Ok((found.clone(), String::new()));
    }
    if named.is_empty() {
        return Ok((found.clone(), connection.namespace.clone()));
    }
    if connection.namespace_named && named != connection.namespace {
        bail!(
            "the namespace from the provided object {named:?} does not match the namespace {:?}. You must pass \
             '--namespace={named}' to perform this operation.",
            connection.namespace
        );
    }
    Ok((found.clone(), named.to_owned()))
}

/// The object of a manifest with the namespace it belongs to written in it.
pub(super) fn placed(manifest: &Manifest, kind: &Kind, namespace: &str) -> anyhow::Result<Value> {
    let mut object = manifest.object.clone();
    if kind.namespaced {
        let fields = object.as_object_mut().context("an object was expected")?;
        let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
        let metadata =
            metadata.as_object_mut().with_context(|| format!("{}: metadata is no object", manifest.source))?;
        metadata.insert("namespace".to_owned(), Value::String(namespace.to_owned()));
    }
    Ok(object)
}
