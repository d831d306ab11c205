//! `husk delete`: objects by name, manifest or selector, and waiting until they are gone.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};

use super::connection::{AS_JSON, Connection, describe_error, is_not_found};
use super::files;
use super::kinds::{Kind, Kinds, query};
use super::targets::{self, Target, of_manifest};
use super::watch;
use crate::cli::apply::DryRun;
use crate::cli::delete::DeleteArgs;
use crate::cli::print::object::{list, text};

/// An object to delete.
struct Doomed {
    kind: Kind,
    namespace: String,
    name: String,
}

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &DeleteArgs) -> anyhow::Result<u8> {
    if args.force && args.grace_period.is_some_and(|seconds| seconds > 0) {
        bail!("--force and --grace-period greater than 0 cannot be specified together");
    }
    if args.grace_period == Some(0) && !args.force {
        writeln!(std::io::stderr(), "warning: without --force, containers still get a second to end")?;
    }
    let kinds = Kinds::discover(connection).await?;
    let mut code = 0;
    let doomed = find(connection, args, &kinds).await?;
    if doomed.is_empty() {
        if args.files.filename.is_empty() {
            writeln!(std::io::stdout(), "No resources found")?;
        }
        return Ok(0);
    }
    if args.force {
        writeln!(
            std::io::stderr(),
            "Warning: --force does not wait until containers have ended: they may run on for a moment"
        )?;
    }
    let mut deleted = Vec::new();
    for object in doomed {
        match delete(connection, args, &object).await {
            Ok(Some(uid)) => deleted.push((object, uid)),
            Ok(None) => {}
            Err(error) => {
                code = 1;
                writeln!(std::io::stderr(), "{}", describe_error(&error))?;
            }
        }
    }
    if args.wait && args.dry_run == DryRun::None {
        let all = gone(connection, &deleted);
        match args.timeout.filter(|limit| *limit > Duration::ZERO) {
            Some(limit) => tokio::time::timeout(limit, all).await.context("timed out waiting for the condition")??,
            None => all.await?,
        }
    }
    Ok(code)
}

/// The objects that are meant; of selectors, those that there are.
async fn find(connection: &Connection, args: &DeleteArgs, kinds: &Kinds) -> anyhow::Result<Vec<Doomed>> {
    let mut doomed = Vec::new();
    if !args.files.filename.is_empty() {
        for manifest in files::read(&args.files)? {
            let (kind, namespace) = of_manifest(&manifest, kinds, connection)?;
            doomed.push(Doomed { kind, namespace, name: manifest.text(&["metadata", "name"]).to_owned() });
        }
        return Ok(doomed);
    }
    let selects = args.all || args.selector.is_some() || args.field_selector.is_some();
    for target in targets::parse(&args.resources, kinds, &connection.namespace)? {
        match target {
            Target::Object { .. } if selects => {
                bail!("name cannot be provided when a selector or --all is specified");
            }
            Target::Object { kind, namespace, name } => doomed.push(Doomed { kind, namespace, name }),
            Target::All(_) if !selects => {
                bail!("resource(s) were provided, but no name was specified");
            }
            Target::All(kind) => doomed.extend(selected(connection, args, kind).await?),
        }
    }
    Ok(doomed)
}

async fn selected(connection: &Connection, args: &DeleteArgs, kind: Kind) -> anyhow::Result<Vec<Doomed>> {
    let selectors = [("labelSelector", &args.selector), ("fieldSelector", &args.field_selector)];
    let parameters: Vec<_> = selectors.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    let answer = connection.get(&format!("{}{}", kind.path(namespace), query(&parameters)), AS_JSON).await?;
    let doomed = |item: &Value| Doomed {
        kind: kind.clone(),
        namespace: text(item, &["metadata", "namespace"]).to_owned(),
        name: text(item, &["metadata", "name"]).to_owned(),
    };
    Ok(list(&answer, &["items"]).iter().map(doomed).collect())
}

/// Deletes one and tells so; gives its UID, if there was one.
async fn delete(connection: &Connection, args: &DeleteArgs, object: &Doomed) -> anyhow::Result<Option<String>> {
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": args.cascade.policy()});
    let grace = match (args.now, args.force) {
        (true, _) => Some(1),
        (_, true) => Some(0),
        // Kubernetes' clients delete at once only by force.
        _ => args.grace_period.map(|seconds| seconds.max(1)),
    };
    if let Some(seconds) = grace {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    if args.dry_run == DryRun::Server {
        options["dryRun"] = json!(["All"]);
    }
    let path = object.kind.object_path(&object.namespace, &object.name);
    let answer = if args.dry_run == DryRun::Client {
        connection.get(&path, AS_JSON).await
    } else {
        connection.put(Method::DELETE, &path, AS_JSON, &options).await.map_err(anyhow::Error::from)
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let missing = error.downcast_ref::<kube::Error>().is_some_and(is_not_found);
            return if missing && (args.ignore_not_found || args.all || args.selector.is_some()) {
                Ok(None)
            } else {
                Err(error)
            };
        }
    };
    let word = object.kind.word();
    let line = if args.output.is_some() {
        format!("{word}/{}", object.name)
    } else {
        let done = if args.force { "force deleted" } else { "deleted" };
        let from = if object.kind.namespaced { format!(" from {} namespace", object.namespace) } else { String::new() };
        format!("{word} {:?} {done}{from}{}", object.name, args.dry_run.note())
    };
    writeln!(std::io::stdout(), "{line}")?;
    // The answer is the object, or a Status that has its UID in the details.
    let uid = match text(&answer, &["metadata", "uid"]) {
        "" => text(&answer, &["details", "uid"]),
        uid => uid,
    };
    Ok(Some(uid.to_owned()))
}

/// Waits until none of them is there any more: another object of the same name is none of them.
async fn gone(connection: &Connection, deleted: &[(Doomed, String)]) -> anyhow::Result<()> {
    for (object, uid) in deleted {
        let is_gone = |found: Option<&Value>| match found {
            Some(found) if uid.is_empty() || text(found, &["metadata", "uid"]) == uid => None,
            _ => Some(()),
        };
        watch::until(connection, &object.kind, &object.namespace, &object.name, is_gone).await?;
    }
    Ok(())
}
