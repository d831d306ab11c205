//! `husk wait`: until objects exist, are gone, or are as they should be.

use std::io::Write;
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::connection::{AS_JSON, Connection, describe_error};
use super::files;
use super::kinds::{Kind, Kinds, query};
use super::targets::{self, Target, of_manifest};
use super::watch;
use crate::cli::print::jsonpath;
use crate::cli::print::object::{list, text};
use crate::cli::wait::{WaitArgs, WaitFor};

/// An object that is waited for.
struct Awaited {
    kind: Kind,
    namespace: String,
    name: String,
}

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &WaitArgs) -> anyhow::Result<u8> {
    let kinds = Kinds::discover(connection).await?;
    let awaited = find(connection, args, &kinds).await?;
    let only_deletion = args.conditions.iter().all(|condition| *condition == WaitFor::Delete);
    if awaited.is_empty() && !only_deletion {
        bail!("no matching resources found");
    }
    let mut code = 0;
    for object in &awaited {
        let limit = args.timeout.max(Duration::from_millis(500));
        let waited = tokio::time::timeout(limit, all(connection, &args.conditions, object)).await;
        let told = match waited {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(_) => {
                anyhow!("timed out waiting for the condition on {}/{}", object.kind.plural_word(), object.name)
            }
        };
        code = 1;
        writeln!(std::io::stderr(), "{}", describe_error(&told))?;
    }
    Ok(code)
}

/// Waits for one condition after the other, and tells of each.
async fn all(connection: &Connection, conditions: &[WaitFor], object: &Awaited) -> anyhow::Result<()> {
    for condition in conditions {
        one(connection, condition, object).await?;
        let done = if *condition == WaitFor::Delete { "deleted" } else { "condition met" };
        writeln!(std::io::stdout(), "{}/{} {done}", object.kind.word(), object.name)?;
    }
    Ok(())
}

async fn one(connection: &Connection, condition: &WaitFor, object: &Awaited) -> anyhow::Result<()> {
    let Awaited { kind, namespace, name } = object;
    if !matches!(condition, WaitFor::Create | WaitFor::Delete) {
        // What is not there will not be as it should be.
        connection.get(&kind.object_path(namespace, name), AS_JSON).await?;
    }
    let outcome = watch::until(connection, kind, namespace, name, |found| match (condition, found) {
        (WaitFor::Delete, None) | (WaitFor::Create, Some(_)) => Some(true),
        (WaitFor::Delete, Some(_)) | (WaitFor::Create, None) => None,
        // It went away while it was waited for.
        (_, None) => Some(false),
        (condition, Some(found)) => is_met(condition, found).then_some(true),
    });
    match outcome.await? {
        true => Ok(()),
        false => bail!("{}/{name} was deleted while it was waited for", kind.word()),
    }
}

fn is_met(condition: &WaitFor, object: &Value) -> bool {
    match condition {
        WaitFor::Create => true,
        WaitFor::Delete => false,
        WaitFor::Condition { name, value } => {
            let mut conditions = list(object, &["status", "conditions"]).iter();
            conditions.any(|found| {
                text(found, &["type"]).eq_ignore_ascii_case(name)
                    && text(found, &["status"]).eq_ignore_ascii_case(value)
            })
        }
        WaitFor::Path { path, value } => {
            let found = path.values(object);
            match value {
                Some(value) => found.iter().any(|found| jsonpath::text(found) == *value),
                None => !found.is_empty(),
            }
        }
    }
}

async fn find(connection: &Connection, args: &WaitArgs, kinds: &Kinds) -> anyhow::Result<Vec<Awaited>> {
    let mut awaited = Vec::new();
    if !args.files.filename.is_empty() {
        for manifest in files::read(&args.files)? {
            let (kind, namespace) = of_manifest(&manifest, kinds, connection)?;
            awaited.push(Awaited { kind, namespace, name: manifest.text(&["metadata", "name"]).to_owned() });
        }
        return Ok(awaited);
    }
    for target in targets::parse(&args.resources, kinds, &connection.namespace)? {
        match target {
            Target::Object { kind, namespace, name } => awaited.push(Awaited { kind, namespace, name }),
            Target::All(kind) => {
                if !args.all && args.selector.is_none() && args.field_selector.is_none() {
                    bail!("resource(s) were provided, but no name was specified");
                }
                let selectors = [("labelSelector", &args.selector), ("fieldSelector", &args.field_selector)];
                let parameters: Vec<_> =
                    selectors.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
                let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
                let path = format!("{}{}", kind.path(namespace), query(&parameters));
                let answer = connection.get(&path, AS_JSON).await?;
                awaited.extend(list(&answer, &["items"]).iter().map(|item| Awaited {
                    kind: kind.clone(),
                    namespace: text(item, &["metadata", "namespace"]).to_owned(),
                    name: text(item, &["metadata", "name"]).to_owned(),
                }));
            }
        }
    }
    Ok(awaited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_met_by_status_and_paths() {
        let pod = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        for (condition, met) in [
            ("condition=Ready", true),
            ("condition=ready=false", false),
            ("condition=Other", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}=Failed", false),
            ("jsonpath={.status.podIP}", false),
            ("jsonpath={.status.phase}", true),
        ] {
            assert_eq!(is_met(&condition.parse().unwrap(), &pod), met, "{condition}");
        }
    }
}
