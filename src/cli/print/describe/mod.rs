//! `describe`: an object in words, as kubectl puts them. `pod` has pods, `node` nodes and `others` the rest.

mod node;
mod others;
mod pod;
mod tabs;

use jiff::Timestamp;
use serde_json::Value;

pub use self::node::OfNode;
use self::tabs::tabulate;
use super::events::{ago, interval, time};
use super::object::{at, list, text};

/// What is known of an object beyond itself.
#[derive(Debug)]
pub struct Context<'a> {
    /// What has happened to it, oldest first; nothing if that was not asked for.
    pub events: Option<&'a [Value]>,
    /// Of a service: the addresses behind each of its ports, by the port's name.
    pub endpoints: &'a [(String, Vec<String>)],
    /// Of a node: what belongs to it.
    pub node: Option<&'a OfNode>,
    /// When it is described.
    pub now: Timestamp,
}

/// Describes an object.
pub fn describe(object: &Value, context: &Context<'_>) -> String {
    let mut out = Lines::default();
    match (text(object, &["apiVersion"]), text(object, &["kind"])) {
        ("v1", "Pod") => pod::pod(&mut out, object, context),
        ("v1", "Service") => others::service(&mut out, object, context),
        ("v1", "ConfigMap") => others::config_map(&mut out, object),
        ("v1", "Secret") => others::secret(&mut out, object),
        ("v1", "Namespace") => others::namespace(&mut out, object),
        ("v1", "ServiceAccount") => others::service_account(&mut out, object),
        ("v1", "Node") => node::node(&mut out, object, context),
        ("v1", "PersistentVolumeClaim") => others::claim(&mut out, object),
        _ => others::anything(&mut out, object),
    }
    if let Some(events) = context.events
        && !matches!(text(object, &["kind"]), "Secret" | "Namespace" | "Event")
    {
        describe_events(&mut out, events, context.now);
    }
    tabulate(&out.0)
}

/// Lines with tabs between their columns.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    /// Adds a line, indented by levels.
    fn line(&mut self, level: usize, line: &str) {
        self.0.push_str(&"  ".repeat(level));
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// Adds a name and what it is.
    fn field(&mut self, level: usize, name: &str, value: &str) {
        self.line(level, &format!("{name}:\t{value}"));
    }

    /// The same, unless there is nothing.
    fn some(&mut self, level: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, name, value);
        }
    }

    /// Name and namespace, with which all descriptions begin.
    fn head(&mut self, object: &Value) {
        self.field(0, "Name", text(object, &["metadata", "name"]));
        self.some(0, "Namespace", text(object, &["metadata", "namespace"]));
    }

    /// Labels and annotations.
    fn labels(&mut self, object: &Value) {
        self.pairs(0, "Labels", at(object, &["metadata", "labels"]), "=");
        self.annotations(object);
    }

    /// A line for each pair; they are in order.
    fn pairs(&mut self, level: usize, name: &str, pairs: Option<&Value>, between: &str) {
        let pairs = pairs.and_then(Value::as_object).into_iter().flatten();
        let mut pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}{between}{}", scalar(value))).collect();
        pairs.sort();
        self.several(level, name, &pairs);
    }

    /// A line for each, the first behind the name.
    fn several(&mut self, level: usize, name: &str, values: &[String]) {
        match values.split_first() {
            None => self.field(level, name, "<none>"),
            Some((first, rest)) => {
                self.field(level, name, first);
                for value in rest {
                    self.line(level, &format!("\t{value}"));
                }
            }
        }
    }

    fn annotations(&mut self, object: &Value) {
        /// Longer ones are cut off.
        const WIDTH: usize = 140;
        let pairs = at(object, &["metadata", "annotations"]).and_then(Value::as_object).into_iter().flatten();
        let mut pairs: Vec<(&String, &str)> = pairs
            .filter(|(key, _)| *key != LAST_APPLIED)
            .map(|(key, value)| (key, value.as_str().unwrap_or("")))
            .collect();
        pairs.sort();
        if pairs.is_empty() {
            self.field(0, "Annotations", "<none>");
        }
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            let start = if index == 0 { "Annotations:\t" } else { "\t" };
            let value = value.trim_end_matches('\n');
            if key.len() + value.len() < WIDTH && !value.contains('\n') {
                self.line(0, &format!("{start}{key}: {value}"));
                continue;
            }
            self.line(0, &format!("{start}{key}:"));
            for line in value.lines() {
                let short: String = line.chars().take(WIDTH - 2).collect();
                let dots = if short.len() < line.len() { "..." } else { "" };
                self.line(0, &format!("\t  {short}{dots}"));
            }
        }
    }
}

/// What `kubectl apply` keeps for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A value in a line.
fn scalar(value: &Value) -> String {
    super::jsonpath::text(value)
}

/// A text, or that there is none.
fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// A time as RFC 1123 has it, which is how kubectl prints times here.
fn rfc1123(object: &Value, path: &[&str]) -> String {
    time(object, path).map_or_else(String::new, |time| time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

fn describe_events(out: &mut Lines, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        out.field(0, "Events", "<none>");
        return;
    }
    out.line(0, "Events:");
    out.line(1, "Type\tReason\tAge\tFrom\tMessage");
    out.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let from = match text(event, &["source", "component"]) {
            "" => text(event, &["reportingComponent"]),
            component => component,
        };
        // What a field's path tells of a container is told before the message.
        let message = text(event, &["message"]).trim();
        let cells = [text(event, &["type"]), text(event, &["reason"]), &interval(event, now), from, message];
        out.line(1, &cells.join("\t"));
    }
}

/// The rows of a list of conditions, under their headings.
fn conditions(out: &mut Lines, object: &Value) {
    let conditions = list(object, &["status", "conditions"]);
    if conditions.is_empty() {
        return;
    }
    out.line(0, "Conditions:");
    out.line(1, "Type\tStatus");
    for condition in conditions {
        out.line(1, &format!("{} \t{} ", text(condition, &["type"]), text(condition, &["status"])));
    }
}

/// How long ago an object's time was.
fn since(object: &Value, path: &[&str], now: Timestamp) -> String {
    ago(time(object, path), now)
}
