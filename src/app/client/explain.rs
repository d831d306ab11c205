//! `husk explain`: the server's own description of its types.

use std::io::Write;

use anyhow::{Context, anyhow, bail};

use super::connection::{AS_JSON, Connection};
use super::kinds::{Kind, Kinds};
use crate::cli::explain::ExplainArgs;
use crate::cli::print::explain::Schemas;
use crate::cli::print::object::text;

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &ExplainArgs) -> anyhow::Result<u8> {
    let kinds = Kinds::discover(connection).await?;
    let mut words = args.field.split('.').filter(|word| !word.is_empty());
    let kind = find(&kinds, words.next().context("name a type, such as pod")?, args)?;
    let path: Vec<&str> = words.collect();
    let index = connection.get("/openapi/v3", AS_JSON).await?;
    let group =
        if kind.group.is_empty() { format!("api/{}", kind.version) } else { format!("apis/{}", kind.api_version()) };
    let document = match text(&index, &["paths", &group, "serverRelativeURL"]) {
        "" => bail!("the server describes no types of {}", kind.api_version()),
        url => connection.get(url, AS_JSON).await?,
    };
    let schemas = Schemas::of(&document).context("the server's description has no schemas")?;
    let schema = schemas.kind(&kind.group, &kind.version, &kind.kind);
    let schema = schema.with_context(|| format!("the server does not describe {}", kind.kind))?;
    let told = schemas.explain(schema, &path, args.recursive).map_err(|error| anyhow!(error))?;
    let group = if kind.group.is_empty() { String::new() } else { format!("GROUP:      {}\n", kind.group) };
    let head = format!("{group}KIND:       {}\nVERSION:    {}\n\n", kind.kind, kind.version);
    std::io::stdout().write_all((head + &told).as_bytes())?;
    Ok(0)
}

fn find<'a>(kinds: &'a Kinds, name: &str, args: &ExplainArgs) -> anyhow::Result<&'a Kind> {
    let found = kinds.find(name)?;
    match &args.api_version {
        None => Ok(found),
        Some(version) => {
            let other = kinds.all().iter().find(|kind| kind.plural == found.plural && kind.api_version() == *version);
            other.with_context(|| format!("couldn't find resource for \"{version}, Kind={}\"", found.kind))
        }
    }
}
