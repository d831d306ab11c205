//! `husk edit`: an object in the user's editor, and back.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use http::Method;
use serde_json::Value;

use super::connection::{AS_JSON, Connection};
use super::kinds::{Kind, Kinds, query};
use super::targets::{self, Target};
use crate::cli::edit::EditArgs;
use crate::cli::print::object::{self, text};

/// Bytes of what comes back from the editor.
const MAX_BYTES: u64 = 8 * 1024 * 1024;
/// What is written above an object.
const HEAD: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving, what
# was edited is kept.
#
";

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &EditArgs) -> anyhow::Result<u8> {
    let kinds = Kinds::discover(connection).await?;
    for target in targets::of(&args.resources, &args.files, &kinds, connection)? {
        let Target::Object { kind, namespace, name } = target else {
            bail!("resource(s) were provided, but no name was specified");
        };
        edit(connection, &kind, &kind.object_path(&namespace, &name)).await?;
    }
    Ok(0)
}

async fn edit(connection: &Connection, kind: &Kind, path: &str) -> anyhow::Result<()> {
    let before = connection.get(path, AS_JSON).await?;
    let shown = object::yaml(&object::tidy(before.clone(), false))?;
    let file = tempfile::Builder::new().prefix("husk-edit-").suffix(".yaml").tempfile()?;
    std::fs::write(file.path(), format!("{HEAD}{shown}"))?;
    let edited = tokio::task::block_in_place(|| open_editor(file.path()))?;
    if edited.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        writeln!(std::io::stderr(), "Edit cancelled, saved file was empty.")?;
        return Ok(());
    }
    let changed = async {
        let mut after: Value = serde_yaml::from_str(&edited).context("the edited file cannot be read")?;
        if after == object::tidy(before.clone(), false) {
            return Ok(None);
        }
        ensure!(after.is_object(), "the edited file has no object in it");
        for field in [&["apiVersion"][..], &["kind"], &["metadata", "name"], &["metadata", "namespace"]] {
            ensure!(text(&after, field) == text(&before, field), "{} may not be changed", field.join("."));
        }
        // What was not shown stays as it is.
        if let Some(fields) = before.pointer("/metadata/managedFields") {
            after["metadata"]["managedFields"] = fields.clone();
        }
        let parameters = [("fieldManager", "husk-edit".to_owned()), ("fieldValidation", "Strict".to_owned())];
        let path = format!("{path}{}", query(&parameters));
        let saved = connection.put(Method::PUT, &path, AS_JSON, &after).await;
        Ok::<_, anyhow::Error>(Some(saved?))
    };
    match changed.await {
        Ok(Some(saved)) => {
            writeln!(std::io::stdout(), "{}/{} edited", kind.word(), text(&saved, &["metadata", "name"]))?;
        }
        Ok(None) => writeln!(std::io::stderr(), "Edit cancelled, no changes made.")?,
        Err(error) => {
            let (_, kept) = file.keep()?;
            writeln!(std::io::stderr(), "A copy of your changes has been stored to {:?}", kept.display().to_string())?;
            return Err(error);
        }
    }
    Ok(())
}

/// Lets the user edit a file, and gives what is in it then.
fn open_editor(file: &Path) -> anyhow::Result<String> {
    use std::io::Read;
    let named = ["KUBE_EDITOR", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let editor = named.filter(|editor| !editor.trim().is_empty()).unwrap_or_else(|| DEFAULT_EDITOR.to_owned());
    let status = command(&editor, file).status().with_context(|| format!("cannot start the editor {editor:?}"))?;
    ensure!(status.success(), "there was a problem with the editor {editor:?}: {status}");
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_BYTES).read_to_string(&mut text).context("the edited file is not text")?;
    Ok(text)
}

/// An editor may be a command with options, for a shell.
#[cfg(unix)]
fn command(editor: &str, file: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("husk-edit").arg(file);
    command
}

#[cfg(not(unix))]
fn command(editor: &str, file: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(editor);
    command.arg(file);
    command
}

#[cfg(unix)]
const DEFAULT_EDITOR: &str = "vi";
#[cfg(not(unix))]
const DEFAULT_EDITOR: &str = "notepad";
