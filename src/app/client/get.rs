//! `husk get`: objects, as tables the server makes or in another form, once or as they change.

use std::io::Write;

use anyhow::bail;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::connection::{AS_JSON, AS_TABLE, Connection, describe_error, is_not_found};
use super::kinds::{Kind, Kinds, query};
use super::output::Output;
use super::targets::{self, Target};
use super::watch;
use crate::cli::get::GetArgs;
use crate::cli::print::jsonpath::{self, Template};
use crate::cli::print::object::{list, text};
use crate::cli::print::table::Columns;

/// What was asked for, read.
struct Query<'a> {
    connection: &'a Connection,
    args: &'a GetArgs,
    output: Output,
    sort_by: Option<Template>,
}

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &GetArgs) -> anyhow::Result<u8> {
    let sort_by = args.sort_by.as_deref().map(|path| Template::parse(&jsonpath::braced(path)));
    let sort_by = sort_by.transpose().map_err(anyhow::Error::msg)?;
    let query = Query { connection, args, output: Output::parse(args.output.as_deref())?, sort_by };
    let kinds = Kinds::discover(connection).await?;
    let targets = targets::of(&args.resources, &args.files, &kinds, connection)?;
    let objects = targets.iter().any(|target| matches!(target, Target::Object { .. }));
    if objects && args.all_namespaces && args.files.filename.is_empty() {
        bail!("a resource cannot be retrieved by name across all namespaces");
    }
    if objects && (args.selector.is_some() || args.field_selector.is_some()) {
        bail!("selectors may not be used when a resource is specified by name");
    }
    if args.watch || args.watch_only {
        return query.watch(&targets).await;
    }
    match query.output {
        Output::Table { wide } => query.tables(&targets, wide).await,
        _ => query.objects(&targets).await,
    }
}

/// A kind's part of the answer.
struct Group {
    kind: Kind,
    headings: Vec<(String, bool)>,
    rows: Vec<Row>,
}

struct Row {
    cells: Vec<String>,
    object: Value,
}

impl Query<'_> {
    /// Where a target is, with selectors.
    fn path(&self, target: &Target, more: &[(&str, String)]) -> String {
        let mut parameters = more.to_vec();
        match target {
            Target::Object { kind, namespace, name } => {
                format!("{}{}", kind.object_path(namespace, name), query(&parameters))
            }
            Target::All(kind) => {
                let selectors = [("labelSelector", &self.args.selector), ("fieldSelector", &self.args.field_selector)];
                parameters.extend(selectors.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
                let namespace = (!self.args.all_namespaces).then_some(self.connection.namespace.as_str());
                format!("{}{}", kind.path(namespace), query(&parameters))
            }
        }
    }

    /// Gets every target, and gives what failed in words: it is told after what was found.
    async fn each(
        &self,
        targets: &[Target],
        accept: &str,
        parameters: &[(&str, String)],
        mut found: impl FnMut(&Target, Value),
    ) -> Vec<String> {
        let mut failures = Vec::new();
        for target in targets {
            match self.connection.get(&self.path(target, parameters), accept).await {
                Ok(value) => found(target, value),
                Err(error) if self.args.ignore_not_found && is_gone(&error) => {}
                Err(error) => failures.push(describe_error(&error)),
            }
        }
        failures
    }

    async fn tables(&self, targets: &[Target], wide: bool) -> anyhow::Result<u8> {
        let include = if self.sort_by.is_some() { "Object" } else { "Metadata" };
        let mut groups: Vec<Group> = Vec::new();
        let failures = self
            .each(targets, AS_TABLE, &[("includeObject", include.to_owned())], |target, table| {
                let kind = kind_of(target);
                let (headings, rows) = read_table(&table);
                match groups.iter_mut().find(|group| group.kind == *kind) {
                    Some(group) => group.rows.extend(rows),
                    None => groups.push(Group { kind: kind.clone(), headings, rows }),
                }
            })
            .await;
        groups.retain(|group| !group.rows.is_empty());
        if groups.is_empty() && failures.is_empty() && !self.args.ignore_not_found {
            self.nothing_found(targets)?;
        }
        let several = kinds_in(targets) > 1;
        let mut out = String::new();
        for (index, group) in groups.iter_mut().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            if let Some(path) = &self.sort_by {
                sort(&mut group.rows, path);
            }
            let mut rows = Vec::new();
            if !self.args.no_headers {
                rows.push(self.headings(group, wide));
            }
            rows.extend(group.rows.iter().map(|row| self.row(group, row, wide, several)));
            out.push_str(&Columns::default().align(&rows));
        }
        std::io::stdout().write_all(out.as_bytes())?;
        tell(&failures)
    }

    fn nothing_found(&self, targets: &[Target]) -> anyhow::Result<()> {
        let namespaced = targets.iter().any(|target| kind_of(target).namespaced);
        let told = if namespaced && !self.args.all_namespaces {
            format!("No resources found in {} namespace.", self.connection.namespace)
        } else {
            "No resources found".to_owned()
        };
        Ok(writeln!(std::io::stderr(), "{told}")?)
    }

    fn headings(&self, group: &Group, wide: bool) -> Vec<String> {
        let mut cells = Vec::new();
        if self.args.all_namespaces && group.kind.namespaced {
            cells.push("NAMESPACE".to_owned());
        }
        cells.extend(group.headings.iter().filter(|(_, always)| wide || *always).map(|(name, _)| name.to_uppercase()));
        let label = |label: &String| label.rsplit('/').next().unwrap_or_default().to_uppercase();
        cells.extend(self.args.label_columns.iter().map(label));
        cells.extend(self.args.show_labels.then(|| "LABELS".to_owned()));
        cells
    }

    fn row(&self, group: &Group, row: &Row, wide: bool, with_kind: bool) -> Vec<String> {
        let mut cells = Vec::new();
        if self.args.all_namespaces && group.kind.namespaced {
            cells.push(text(&row.object, &["metadata", "namespace"]).to_owned());
        }
        for ((heading, always), cell) in group.headings.iter().zip(&row.cells) {
            if wide || *always {
                let name = with_kind && heading.eq_ignore_ascii_case("name");
                cells.push(if name { format!("{}/{cell}", group.kind.word()) } else { cell.clone() });
            }
        }
        cells.extend(
            self.args.label_columns.iter().map(|label| text(&row.object, &["metadata", "labels", label]).to_owned()),
        );
        cells.extend(self.args.show_labels.then(|| labels(&row.object)));
        cells
    }

    async fn objects(&self, targets: &[Target]) -> anyhow::Result<u8> {
        let mut found: Vec<(Kind, Value)> = Vec::new();
        let failures = self
            .each(targets, AS_JSON, &[], |target, value| match target {
                Target::Object { kind, .. } => found.push((kind.clone(), value)),
                Target::All(kind) => {
                    let version = kind.api_version();
                    for item in list(&value, &["items"]) {
                        found.push((kind.clone(), with_type(item, &version, &kind.kind)));
                    }
                }
            })
            .await;
        if let Some(path) = &self.sort_by {
            found.sort_by(|(_, one), (_, other)| compare(path, one, other));
        }
        let single = matches!(targets, [Target::Object { .. }]);
        if single && found.is_empty() {
            return tell(&failures);
        }
        let text = match &self.output {
            Output::Name => self.names(&found)?,
            Output::Columns(columns) => {
                let mut rows = if self.args.no_headers { Vec::new() } else { vec![columns.headings()] };
                rows.extend(found.iter().map(|(_, object)| columns.row(object)));
                Columns::default().align(&rows)
            }
            output => {
                let Some(kind) = targets.first().map(kind_of) else { return tell(&failures) };
                let object = if single { found.remove(0).1 } else { as_list(found) };
                output.object(kind, object, self.args.show_managed_fields)?
            }
        };
        std::io::stdout().write_all(text.as_bytes())?;
        tell(&failures)
    }

    fn names(&self, found: &[(Kind, Value)]) -> anyhow::Result<String> {
        let names = found.iter().map(|(kind, object)| self.output.object(kind, object.clone(), false));
        names.collect()
    }

    /// Prints what there is and then every change, until the user has seen enough.
    async fn watch(&self, targets: &[Target]) -> anyhow::Result<u8> {
        let [target] = targets else { bail!("you may only specify a single resource type when watching") };
        let kind = kind_of(target).clone();
        let table = matches!(self.output, Output::Table { .. });
        let accept = if table { AS_TABLE } else { AS_JSON };
        let (columns, headings) = (Columns::default(), Vec::new());
        let mut shown = Shown { query: self, kind: kind.clone(), columns, headings, begun: false };
        let first = self.connection.get(&self.path(target, &[]), accept).await?;
        let mut version = text(&first, &["metadata", "resourceVersion"]).to_owned();
        if !self.args.watch_only {
            let items = match (table, target) {
                (false, Target::All(kind)) => list(&first, &["items"])
                    .iter()
                    .map(|item| with_type(item, &kind.api_version(), &kind.kind))
                    .collect(),
                _ => vec![first],
            };
            for item in items {
                shown.print(item)?;
            }
        }
        let by_name = match target {
            Target::Object { name, .. } => Some(format!("metadata.name={name}")),
            Target::All(_) => None,
        };
        let collection = match target {
            Target::Object { kind, namespace, .. } => kind.path(Some(namespace)),
            Target::All(_) => String::new(),
        };
        loop {
            let mut parameters = vec![("watch", "1".to_owned()), ("resourceVersion", version.clone())];
            let path = match &by_name {
                Some(selector) => {
                    parameters.push(("fieldSelector", selector.clone()));
                    format!("{collection}{}", query(&parameters))
                }
                None => self.path(target, &parameters),
            };
            let mut events = watch::events(self.connection, &path, accept).await?;
            while let Some(event) = events.try_next().await? {
                if event.kind == "ERROR" {
                    bail!("the watch ended: {}", text(&event.object, &["message"]));
                }
                let newer = text(&event.object, &["metadata", "resourceVersion"]);
                if !newer.is_empty() {
                    newer.clone_into(&mut version);
                }
                shown.print(event.object)?;
            }
        }
    }
}

/// What a watch has printed so far.
struct Shown<'a> {
    query: &'a Query<'a>,
    kind: Kind,
    columns: Columns,
    /// Of a table, as the server has told them last: in a watch, it tells them once.
    headings: Vec<(String, bool)>,
    begun: bool,
}

impl Shown<'_> {
    fn print(&mut self, object: Value) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        let no_headers = std::mem::replace(&mut self.begun, true) || self.query.args.no_headers;
        let text = match &self.query.output {
            Output::Table { wide } => {
                let (headings, found) = read_table(&object);
                if !headings.is_empty() {
                    self.headings = headings;
                }
                if found.is_empty() {
                    self.begun = no_headers;
                    return Ok(());
                }
                let group = Group { kind: self.kind.clone(), headings: self.headings.clone(), rows: found };
                if !no_headers {
                    rows.push(self.query.headings(&group, *wide));
                }
                rows.extend(group.rows.iter().map(|row| self.query.row(&group, row, *wide, false)));
                self.columns.align(&rows)
            }
            Output::Columns(columns) => {
                if !no_headers {
                    rows.push(columns.headings());
                }
                rows.push(columns.row(&object));
                self.columns.align(&rows)
            }
            output => output.object(&self.kind, object, self.query.args.show_managed_fields)?,
        };
        let mut stdout = std::io::stdout();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }
}

/// Tells what failed; the exit code says whether something did.
fn tell(failures: &[String]) -> anyhow::Result<u8> {
    for failure in failures {
        writeln!(std::io::stderr(), "{failure}")?;
    }
    Ok(u8::from(!failures.is_empty()))
}

fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<kube::Error>().is_some_and(is_not_found)
}

fn kind_of(target: &Target) -> &Kind {
    match target {
        Target::Object { kind, .. } | Target::All(kind) => kind,
    }
}

fn kinds_in(targets: &[Target]) -> usize {
    let mut kinds: Vec<&Kind> = Vec::new();
    for target in targets {
        if !kinds.contains(&kind_of(target)) {
            kinds.push(kind_of(target));
        }
    }
    kinds.len()
}

/// Headings (and whether they are shown in narrow tables, too), and rows.
fn read_table(table: &Value) -> (Vec<(String, bool)>, Vec<Row>) {
    let heading = |column: &Value| {
        (text(column, &["name"]).to_owned(), column.get("priority").and_then(Value::as_i64).unwrap_or(0) == 0)
    };
    let headings = list(table, &["columnDefinitions"]).iter().map(heading).collect();
    let row = |row: &Value| Row {
        cells: list(row, &["cells"]).iter().map(cell).collect(),
        object: row.get("object").cloned().unwrap_or_default(),
    };
    (headings, list(table, &["rows"]).iter().map(row).collect())
}

/// A cell is one line: what would break it is shown as what it is.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "<none>".to_owned(),
        value => jsonpath::text(value),
    };
    text.lines().next().map_or_else(String::new, |first| {
        if first.len() < text.trim_end().len() { format!("{first}...") } else { first.to_owned() }
    })
}

fn labels(object: &Value) -> String {
    let Some(labels) = object.pointer("/metadata/labels").and_then(Value::as_object) else { return "<none>".into() };
    let mut pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={}", jsonpath::text(value))).collect();
    pairs.sort();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

fn sort(rows: &mut [Row], path: &Template) {
    rows.sort_by(|one, other| compare(path, &one.object, &other.object));
}

fn compare(path: &Template, one: &Value, other: &Value) -> std::cmp::Ordering {
    jsonpath::compare(path.values(one).first().copied(), path.values(other).first().copied())
}

/// Items of a list do not say what they are.
fn with_type(item: &Value, api_version: &str, kind: &str) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind});
    if let (Some(to), Some(from)) = (object.as_object_mut(), item.as_object()) {
        to.extend(from.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    object
}

fn as_list(found: Vec<(Kind, Value)>) -> Value {
    let items: Vec<Value> = found.into_iter().map(|(_, object)| object).collect();
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(cell(&json!("a\nb")), "a...");
        assert_eq!(cell(&json!("a\n")), "a");
        assert_eq!(cell(&json!(3)), "3");
        assert_eq!(cell(&Value::Null), "<none>");
    }

    #[test]
    fn labels_are_in_order() {
        assert_eq!(labels(&json!({"metadata": {"labels": {"b": "2", "a": "1"}}})), "a=1,b=2");
        assert_eq!(labels(&json!({"metadata": {}})), "<none>");
    }
}
