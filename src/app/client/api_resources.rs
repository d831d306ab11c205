//! `husk api-resources` and `husk version`: what a server has, and what it is.

use std::collections::HashSet;
use std::io::Write;

use serde_json::json;

use super::connection::{AS_JSON, Connection};
use super::kinds::{Kind, Kinds};
use crate::cli::api_resources::{ApiResourcesArgs, VersionArgs};
use crate::cli::print::object;
use crate::cli::print::table::Columns;

/// Runs `husk api-resources`.
pub(super) async fn run(connection: &Connection, args: &ApiResourcesArgs) -> anyhow::Result<u8> {
    let kinds = Kinds::discover(connection).await?;
    let wanted = |kind: &&Kind| {
        args.api_group.as_ref().is_none_or(|group| *group == kind.group)
            && args.namespaced.is_none_or(|namespaced| namespaced == kind.namespaced)
    };
    let mut found: Vec<&Kind> = kinds.all().iter().filter(wanted).collect();
    // Of several versions, the one that the server prefers, which it tells first.
    let mut seen = HashSet::new();
    found.retain(|kind| seen.insert((&kind.group, &kind.plural)));
    found.sort_by_key(|kind| (kind.group.clone(), kind.plural.clone()));
    let wide = match args.output.as_deref() {
        Some("name") => {
            let names: String = found.iter().map(|kind| kind.plural_word() + "\n").collect();
            std::io::stdout().write_all(names.as_bytes())?;
            return Ok(0);
        }
        output => output.is_some(),
    };
    let mut rows = Vec::new();
    if !args.no_headers {
        let headings = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"].map(String::from);
        rows.push(headings.into_iter().chain(wide.then(|| "VERBS".to_owned())).collect());
    }
    rows.extend(found.iter().map(|kind| {
        let cells = [
            kind.plural.clone(),
            kind.short_names.join(","),
            kind.api_version(),
            kind.namespaced.to_string(),
            kind.kind.clone(),
        ];
        cells.into_iter().chain(wide.then(|| kind.verbs.join(","))).collect::<Vec<_>>()
    }));
    std::io::stdout().write_all(Columns::default().align(&rows).as_bytes())?;
    Ok(0)
}

/// Runs `husk version`.
pub(super) async fn version(connection: &Connection, args: &VersionArgs) -> anyhow::Result<u8> {
    let client = env!("CARGO_PKG_VERSION");
    let server = connection.get("/version", AS_JSON).await?;
    let text = match args.output.as_deref() {
        None => format!("Client Version: v{client}\nServer Version: {}\n", object::text(&server, &["gitVersion"])),
        Some(format) => {
            let both = json!({"clientVersion": {"gitVersion": format!("v{client}")}, "serverVersion": server});
            if format == "json" { object::json(&both) } else { object::yaml(&both)? }
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}
