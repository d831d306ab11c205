//! What husk does with each field of a pod, per runtime: the one table (`table.rs`), the check of a pod against it, and
//! the page made from it. A field that is not in the table is a test failure, never silently ignored.

mod cluster;
mod service;
mod table;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

pub use cluster::check_support_in_cluster;
pub use service::check_service;
pub use table::TABLE;

/// The runtimes that containers run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// WebAssembly.
    Wasm,
    /// Native Linux processes.
    Linux,
}

impl RuntimeKind {
    /// The runtime's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "WebAssembly",
            Self::Linux => "Linux",
        }
    }
}

/// What happens to a field that a pod sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has its effect. The text, if any, says how.
    Honoured(&'static str),
    /// The pod runs, but the field does not do what it says: the text is what that means.
    Warned(&'static str),
    /// The pod is refused, for this reason.
    Refused(&'static str),
    /// The runtime does not exist yet.
    NotYet,
}

/// For which values a row speaks. Empty texts, lists and objects count as not set, except for [`When::Present`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For every value.
    Set,
    /// For every value, even an empty object.
    Present,
    /// For `true`.
    True,
    /// For this text.
    Is(&'static str),
    /// For any other text.
    Not(&'static str),
    /// For texts that begin so.
    Prefix(&'static str),
    /// For maps that have this key.
    Key(&'static str),
    /// For maps that have a key that is not among these.
    KeyOutside(&'static [&'static str]),
}

/// One row of the table. A path has `[*]` for the items of lists; one that ends in `.**` speaks for all that is below.
/// Several rows may have one path, for different values. Rows of `spec.containers[*]` speak for init containers too.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The field.
    pub path: &'static str,
    /// The values it is about.
    pub when: When,
    /// What the wasm runtime does.
    pub wasm: Support,
    /// What the Linux runtime does.
    pub linux: Support,
}

impl Row {
    /// What `runtime` does.
    pub fn support(&self, runtime: RuntimeKind) -> Support {
        match runtime {
            RuntimeKind::Wasm => self.wasm,
            RuntimeKind::Linux => self.linux,
        }
    }

    /// The path without the mark of a subtree.
    fn root(&self) -> &'static str {
        self.path.strip_suffix(".**").unwrap_or(self.path)
    }

    fn applies(&self, value: &Value) -> bool {
        let keys_outside =
            |known: &[&str]| value.as_object().is_some_and(|map| map.keys().any(|key| !known.contains(&key.as_str())));
        match self.when {
            When::Present => true,
            When::Set => !is_empty(value),
            When::True => value.as_bool() == Some(true),
            When::Is(text) => value.as_str() == Some(text),
            When::Not(text) => value.as_str().is_some_and(|value| !value.is_empty() && value != text),
            When::Prefix(prefix) => value.as_str().is_some_and(|value| value.starts_with(prefix)),
            When::Key(key) => value.get(key).is_some(),
            When::KeyOutside(known) => keys_outside(known),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// One field of a pod that is refused, or does not do what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNote {
    /// The field, such as `spec.containers[0].securityContext.privileged`.
    pub path: String,
    /// Why it is refused, or what it means that it is not honoured.
    pub text: &'static str,
}

/// What of a pod is not honoured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupportReport {
    /// Fields because of which the pod cannot run.
    pub refusals: Vec<FieldNote>,
    /// Fields that do not do what they say.
    pub warnings: Vec<FieldNote>,
}

impl fmt::Display for FieldNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.text)
    }
}

/// Looks at every field that `pod` sets. Give it the pod as written: fields that defaulting fills in are not what the
/// user asked for.
pub fn check_support(pod: &Pod, runtime: RuntimeKind) -> SupportReport {
    let mut report = SupportReport::default();
    if let Ok(value) = serde_json::to_value(pod) {
        visit(&value, "", "", runtime, &mut report);
    }
    report
}

static ROWS_BY_PATH: LazyLock<HashMap<&str, Vec<&Row>>> = LazyLock::new(|| {
    let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in TABLE {
        rows.entry(row.root()).or_default().push(row);
    }
    rows
});

/// Walks down to the fields that have rows. `path` is the concrete one, `pattern` the one rows use.
fn visit(value: &Value, path: &str, pattern: &str, runtime: RuntimeKind, report: &mut SupportReport) {
    let rows = ROWS_BY_PATH.get(pattern).map(Vec::as_slice).unwrap_or_default();
    for row in rows.iter().filter(|row| row.applies(value)) {
        match row.support(runtime) {
            Support::Honoured(_) | Support::NotYet => {}
            Support::Warned(text) => report.warnings.push(FieldNote { path: path.to_owned(), text }),
            Support::Refused(text) => report.refusals.push(FieldNote { path: path.to_owned(), text }),
        }
    }
    if !rows.is_empty() {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let join = |parent: &str| if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
                let pattern = match (pattern, name.as_str()) {
                    ("spec", "initContainers") => "spec.containers".to_owned(),
                    _ => join(pattern),
                };
                visit(field, &join(path), &pattern, runtime, report);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &format!("{path}[{index}]"), &format!("{pattern}[*]"), runtime, report);
            }
        }
        _ => {}
    }
}

/// The page `docs/pod-fields.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Pod fields\n\n\
         What husk does with each field of a Pod, per runtime. Generated from the table in \
         `src/api/support/table.rs`: change it there, then run `UPDATE=1 cargo test pod_fields`.\n\n\
         - **yes**: the field has its effect.\n\
         - **warns**: the pod runs and husk says that the field does not do what it should.\n\
         - **refused**: the pod is not accepted; the error names the field and the reason.\n\
         - **not yet**: the runtime does not exist yet.\n\n\
         `[*]` stands for the items of a list, `.**` for everything below. Rows of `spec.containers[*]` hold for init \
         containers as well. Fields that are not set, or set to nothing, never warn.\n\n\
         | Field | For | WebAssembly | Linux |\n| --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let values = match row.when {
            When::Set | When::Present => "any value".to_owned(),
            When::True => "`true`".to_owned(),
            When::Is(text) => format!("`{text}`"),
            When::Not(text) => format!("other than `{text}`"),
            When::Prefix(prefix) => format!("`{prefix}…`"),
            When::Key(key) => format!("key `{key}`"),
            When::KeyOutside(known) => format!("keys other than `{}`", known.join("`, `")),
        };
        let (wasm, linux) = (cell(row.wasm), cell(row.linux));
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {values} | {wasm} | {linux} |", row.path);
    }
    page
}

fn cell(support: Support) -> String {
    match support {
        Support::Honoured("") => "yes".to_owned(),
        Support::Honoured(how) => format!("yes: {how}"),
        Support::Warned(meaning) => format!("warns: {meaning}"),
        Support::Refused(reason) => format!("refused: {reason}"),
        Support::NotYet => "not yet".to_owned(),
    }
}

#[cfg(test)]
mod tests;
