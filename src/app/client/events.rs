//! `husk events`: what has happened, oldest first.

use std::io::Write;

use anyhow::Context;
use serde_json::{Value, json};

use super::connection::{AS_JSON, Connection};
use super::kinds::{Kind, Kinds, query};
use super::output::Output;
use crate::base::clock::Clock;
use crate::cli::events::EventsArgs;
use crate::cli::print::events::{interval, last_seen};
use crate::cli::print::object::{list, text};
use crate::cli::print::table::Columns;

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &EventsArgs) -> anyhow::Result<u8> {
    let output = Output::parse(args.output.as_deref())?;
    let kinds = Kinds::discover(connection).await?;
    let kind = kinds.find("events")?;
    let mut selectors = Vec::new();
    if let Some(about) = &args.about {
        let (kind, name) = about.split_once('/').context("--for must be in resource/name form")?;
        selectors.push(format!("involvedObject.kind={},involvedObject.name={name}", kinds.find(kind)?.kind));
    }
    let namespace = (!args.all_namespaces).then_some(connection.namespace.as_str());
    let mut events = find(connection, kind, namespace, &selectors).await?;
    let wanted = |event: &Value| args.types.iter().any(|wanted| text(event, &["type"]).eq_ignore_ascii_case(wanted));
    events.retain(|event| args.types.is_empty() || wanted(event));
    if let Output::Table { .. } | Output::Columns(_) = output {
        return table(connection, args, &events);
    }
    let out = match output {
        Output::Name => {
            let names = events.into_iter().map(|event| output.object(kind, event, false));
            names.collect::<anyhow::Result<String>>()?
        }
        output => output.object(
            kind,
            json!({"apiVersion": "v1", "items": events, "kind": "EventList", "metadata": {}}),
            false,
        )?,
    };
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(0)
}

/// Events, oldest first.
pub(super) async fn find(
    connection: &Connection,
    kind: &Kind,
    namespace: Option<&str>,
    selectors: &[String],
) -> anyhow::Result<Vec<Value>> {
    let parameters: Vec<_> = selectors.iter().map(|selector| ("fieldSelector", selector.clone())).collect();
    let answer = connection.get(&format!("{}{}", kind.path(namespace), query(&parameters)), AS_JSON).await?;
    let mut events = list(&answer, &["items"]).to_vec();
    events.sort_by_key(last_seen);
    Ok(events)
}

fn table(connection: &Connection, args: &EventsArgs, events: &[Value]) -> anyhow::Result<u8> {
    if events.is_empty() {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", connection.namespace) };
        writeln!(std::io::stderr(), "No events found{place}.")?;
        return Ok(0);
    }
    let now = Clock::system().now();
    let mut rows = Vec::new();
    let with_namespace = |first: &str, rest: [String; 5]| {
        args.all_namespaces.then(|| first.to_owned()).into_iter().chain(rest).collect::<Vec<_>>()
    };
    if !args.no_headers {
        rows.push(with_namespace("NAMESPACE", ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(String::from)));
    }
    rows.extend(events.iter().map(|event| {
        let about = |field| text(event, &["involvedObject", field]);
        let field = |field: &str| text(event, &[field]).to_owned();
        let object = format!("{}/{}", about("kind"), about("name"));
        let message = field("message").trim().to_owned();
        let cells = [interval(event, now), field("type"), field("reason"), object, message];
        with_namespace(text(event, &["metadata", "namespace"]), cells)
    }));
    std::io::stdout().write_all(Columns::default().align(&rows).as_bytes())?;
    Ok(0)
}
