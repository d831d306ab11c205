//! `husk apply` and `husk create`: manifests become objects.

use std::io::Write;

use anyhow::{Context, anyhow};
use http::Method;
use serde_json::Value;

use super::connection::{AS_JSON, Connection, describe_error, is_not_found};
use super::files::{self, Manifest};
use super::generate;
use super::kinds::{Kind, Kinds, query};
use super::output::Output;
use super::targets::{of_manifest, placed};
use crate::cli::apply::{ApplyArgs, DryRun};
use crate::cli::create::CreateArgs;
use crate::cli::print::object::text;

/// What the body of a server-side apply is.
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Applies manifests, each on its own: one that fails keeps no other from being applied.
pub(super) async fn apply(connection: &Connection, args: &ApplyArgs) -> anyhow::Result<u8> {
    let output = Output::parse(args.output.as_deref())?;
    let manifests = files::read(&args.files)?;
    let kinds = Kinds::discover(connection).await?;
    each(&manifests, &output, args.dry_run, async |manifest| apply_one(connection, &kinds, args, manifest).await).await
}

/// Creates the objects of manifests, or one that is made of options.
pub(super) async fn create(connection: &Connection, args: &CreateArgs) -> anyhow::Result<u8> {
    let options = args.options();
    let output = Output::parse(options.output.as_deref())?;
    let (manifests, doing) = match &args.what {
        None => (files::read(&args.files)?, None),
        Some(what) => {
            let made = Manifest { source: "options".to_owned(), object: generate::object(what)? };
            let doing = format!("failed to create {}", made.text(&["kind"]).to_lowercase());
            (vec![made], Some(doing))
        }
    };
    let kinds = Kinds::discover(connection).await?;
    let create = async |manifest: &Manifest| {
        let doing = doing.clone().unwrap_or_else(|| format!("error when creating {:?}", manifest.source));
        create_one(connection, &kinds, options.dry_run, manifest, doing).await
    };
    each(&manifests, &output, options.dry_run, create).await
}

/// Treats manifests one after the other and tells of each.
async fn each(
    manifests: &[Manifest],
    output: &Output,
    dry_run: DryRun,
    treat: impl AsyncFn(&Manifest) -> anyhow::Result<(Kind, Value, &'static str)>,
) -> anyhow::Result<u8> {
    let mut code = 0;
    for manifest in manifests {
        match treat(manifest).await {
            Ok((kind, object, done)) => {
                let text = match output {
                    Output::Table { .. } | Output::Columns(_) => {
                        let name = text(&object, &["metadata", "name"]);
                        format!("{}/{name} {done}{}\n", kind.word(), dry_run.note())
                    }
                    output => output.object(&kind, object, false)?,
                };
                std::io::stdout().write_all(text.as_bytes())?;
            }
            Err(error) => {
                code = 1;
                writeln!(std::io::stderr(), "{}", describe_error(&error))?;
            }
        }
    }
    Ok(code)
}

async fn apply_one(
    connection: &Connection,
    kinds: &Kinds,
    args: &ApplyArgs,
    manifest: &Manifest,
) -> anyhow::Result<(Kind, Value, &'static str)> {
    let (kind, namespace) = of_manifest(manifest, kinds, connection)?;
    let object = placed(manifest, &kind, &namespace)?;
    let name = text(&object, &["metadata", "name"]).to_owned();
    if name.is_empty() {
        return Err(anyhow!("error when applying {:?}: resource name may not be empty", manifest.source));
    }
    let path = kind.object_path(&namespace, &name);
    let before = existing(connection, &path).await.with_context(|| retrieving(manifest))?;
    let done = |changed: bool| match (&before, changed) {
        (None, _) => "created",
        (Some(_), true) => "configured",
        (Some(_), false) => "unchanged",
    };
    if args.dry_run == DryRun::Client {
        let done = done(true);
        return Ok((kind, before.unwrap_or(object), done));
    }
    let mut parameters =
        vec![("fieldManager", args.field_manager.clone()), ("force", args.force_conflicts.to_string())];
    parameters.push(("fieldValidation", "Strict".to_owned()));
    if args.dry_run == DryRun::Server {
        parameters.push(("dryRun", "All".to_owned()));
    }
    let path = format!("{path}{}", query(&parameters));
    let after = connection.put(Method::PATCH, &path, APPLY_PATCH, &object).await;
    let after = after.map_err(|error| explain(error, manifest))?;
    let changed = before.as_ref().is_none_or(|before| !is_same(before, &after));
    let done = done(changed);
    Ok((kind, after, done))
}

fn retrieving(manifest: &Manifest) -> String {
    format!("error when retrieving current configuration of {:?}", manifest.source)
}

/// Whether nothing but bookkeeping differs.
fn is_same(before: &Value, after: &Value) -> bool {
    let version = |object: &Value| text(object, &["metadata", "resourceVersion"]).to_owned();
    if version(before) == version(after) && !version(before).is_empty() {
        return true;
    }
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        object
    };
    bare(before) == bare(after)
}

/// Conflicts say what can be done about them.
fn explain(error: kube::Error, manifest: &Manifest) -> anyhow::Error {
    if let kube::Error::Api(status) = &error
        && status.code == 409
        && status.message.contains("conflict")
    {
        return anyhow!(
            "{}\nSomebody else owns these fields. Leave them out of the manifest, give them the value they have, or take \
             them over with --force-conflicts.",
            status.message
        );
    }
    anyhow::Error::from(error).context(format!("error when applying {:?}", manifest.source))
}

async fn existing(connection: &Connection, path: &str) -> anyhow::Result<Option<Value>> {
    let request = http::Request::get(path).header(http::header::ACCEPT, AS_JSON).body(Vec::new())?;
    match connection.text(request).await {
        Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn create_one(
    connection: &Connection,
    kinds: &Kinds,
    dry_run: DryRun,
    manifest: &Manifest,
    doing: String,
) -> anyhow::Result<(Kind, Value, &'static str)> {
    let (kind, namespace) = of_manifest(manifest, kinds, connection)?;
    let object = placed(manifest, &kind, &namespace)?;
    if dry_run == DryRun::Client {
        return Ok((kind, object, "created"));
    }
    let mut parameters = vec![("fieldManager", "husk".to_owned()), ("fieldValidation", "Strict".to_owned())];
    if dry_run == DryRun::Server {
        parameters.push(("dryRun", "All".to_owned()));
    }
    let path = format!("{}{}", kind.path(Some(&namespace)), query(&parameters));
    let created = connection.put(Method::POST, &path, AS_JSON, &object).await.context(doing)?;
    Ok((kind, created, "created"))
}
