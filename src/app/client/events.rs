//! `husk events`: what has happened, oldest first, and what happens.

use std::io::Write;

use anyhow::{Context, bail};
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::connection::{AS_JSON, Connection};
use super::kinds::{Kind, Kinds, query};
use super::output::Output;
use super::watch;
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
    let (mut events, version) = listed(connection, kind, namespace, &selectors).await?;
    events.retain(|event| is_wanted(args, event));
    let mut shown = Shown { args, kind, output, columns: Columns::default(), begun: false };
    if !args.watch {
        return shown.all(connection, events);
    }
    for event in events {
        shown.print(event)?;
    }
    watch(connection, namespace, &selectors, version, shown).await
}

fn is_wanted(args: &EventsArgs, event: &Value) -> bool {
    let is = |wanted: &String| text(event, &["type"]).eq_ignore_ascii_case(wanted);
    args.types.is_empty() || args.types.iter().any(is)
}

/// Goes on with what happens, until the user has seen enough.
async fn watch(
    connection: &Connection,
    namespace: Option<&str>,
    selectors: &[String],
    mut version: String,
    mut shown: Shown<'_>,
) -> anyhow::Result<u8> {
    loop {
        let mut parameters = vec![("watch", "1".to_owned()), ("resourceVersion", version.clone())];
        parameters.extend(selectors.iter().map(|selector| ("fieldSelector", selector.clone())));
        let path = format!("{}{}", shown.kind.path(namespace), query(&parameters));
        let mut changes = watch::events(connection, &path, AS_JSON).await?;
        while let Some(change) = changes.try_next().await? {
            if change.kind == "ERROR" {
                bail!("the watch ended: {}", text(&change.object, &["message"]));
            }
            let newer = text(&change.object, &["metadata", "resourceVersion"]);
            newer.clone_into(&mut version);
            if change.kind != "DELETED" && is_wanted(shown.args, &change.object) {
                shown.print(change.object)?;
            }
        }
    }
}

/// Events, oldest first.
pub(super) async fn find(
    connection: &Connection,
    kind: &Kind,
    namespace: Option<&str>,
    selectors: &[String],
) -> anyhow::Result<Vec<Value>> {
    Ok(listed(connection, kind, namespace, selectors).await?.0)
}

/// Events, oldest first, and the version of their list.
async fn listed(
    connection: &Connection,
    kind: &Kind,
    namespace: Option<&str>,
    selectors: &[String],
) -> anyhow::Result<(Vec<Value>, String)> {
    let parameters: Vec<_> = selectors.iter().map(|selector| ("fieldSelector", selector.clone())).collect();
    let answer = connection.get(&format!("{}{}", kind.path(namespace), query(&parameters)), AS_JSON).await?;
    let mut events = list(&answer, &["items"]).to_vec();
    events.sort_by_key(last_seen);
    Ok((events, text(&answer, &["metadata", "resourceVersion"]).to_owned()))
}

/// What was printed so far, and how.
struct Shown<'a> {
    args: &'a EventsArgs,
    kind: &'a Kind,
    output: Output,
    columns: Columns,
    begun: bool,
}

impl Shown<'_> {
    /// Prints all that there is.
    fn all(&mut self, connection: &Connection, events: Vec<Value>) -> anyhow::Result<u8> {
        let out = match &self.output {
            Output::Table { .. } | Output::Columns(_) if events.is_empty() => {
                let namespace = &connection.namespace;
                let place = if self.args.all_namespaces { String::new() } else { format!(" in {namespace} namespace") };
                writeln!(std::io::stderr(), "No events found{place}.")?;
                return Ok(0);
            }
            Output::Table { .. } | Output::Columns(_) => self.rows(&events),
            Output::Name => {
                let names = events.into_iter().map(|event| self.output.object(self.kind, event, false));
                names.collect::<anyhow::Result<String>>()?
            }
            output => {
                let list = json!({"apiVersion": "v1", "items": events, "kind": "EventList", "metadata": {}});
                output.object(self.kind, list, false)?
            }
        };
        std::io::stdout().write_all(out.as_bytes())?;
        Ok(0)
    }

    /// Prints one.
    fn print(&mut self, event: Value) -> anyhow::Result<()> {
        let out = match &self.output {
            Output::Table { .. } | Output::Columns(_) => self.rows(&[event]),
            output => output.object(self.kind, event, false)?,
        };
        let mut stdout = std::io::stdout();
        stdout.write_all(out.as_bytes())?;
        Ok(stdout.flush()?)
    }

    fn rows(&mut self, events: &[Value]) -> String {
        let now = Clock::system().now();
        let mut rows = Vec::new();
        let with_namespace = |first: &str, rest: [String; 5]| {
            self.args.all_namespaces.then(|| first.to_owned()).into_iter().chain(rest).collect::<Vec<_>>()
        };
        if !std::mem::replace(&mut self.begun, true) && !self.args.no_headers {
            let headings = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(String::from);
            rows.push(with_namespace("NAMESPACE", headings));
        }
        rows.extend(events.iter().map(|event| {
            let about = |field| text(event, &["involvedObject", field]);
            let field = |field: &str| text(event, &[field]).to_owned();
            let object = format!("{}/{}", about("kind"), about("name"));
            let message = field("message").trim().to_owned();
            let cells = [interval(event, now), field("type"), field("reason"), object, message];
            with_namespace(text(event, &["metadata", "namespace"]), cells)
        }));
        self.columns.align(&rows)
    }
}
