//! What husk does with each field of a pod, per runtime: the one table (`table.rs`), the check of a pod against it, and
//! the page made from it. A field that is not in the table is a test failure, never silently ignored.

mod cluster;
mod service;
mod table;

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Container, Pod};
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
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Wasm, Self::Linux];

    /// What a RuntimeClass calls it.
    pub fn handler(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Linux => "linux",
        }
    }

    /// The one that a RuntimeClass means.
    pub fn of_handler(handler: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.handler() == handler)
    }

    /// The one that a pod asks for by annotations, as crun reads them: a handler for WebAssembly, or that every program
    /// is WebAssembly. (`compat-smart` leaves that to the program, as husk does.)
    pub fn of_annotations(pod: &Pod) -> Option<Self> {
        const HANDLERS: [&str; 5] = ["wasm", "wasmtime", "wasmedge", "wasmer", "wamr"];
        let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key).map(String::as_str);
        let has_handler = annotation("run.oci.handler").is_some_and(|handler| HANDLERS.contains(&handler));
        let is_compatible = annotation("module.wasm.image/variant") == Some("compat");
        (has_handler || is_compatible).then_some(Self::Wasm)
    }

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
}

impl Support {
    /// The milder of two: what can be said when either may be meant.
    fn milder(self, other: Self) -> Self {
        let severity = |support: Self| match support {
            Self::Honoured(_) => 0,
            Self::Warned(_) => 1,
            Self::Refused(_) => 2,
        };
        if severity(other) < severity(self) { other } else { self }
    }
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
    /// For `false`.
    False,
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
    /// What `runtime` does; where it is not known, what can be said of both.
    fn support(&self, runtime: Option<RuntimeKind>) -> Support {
        match runtime {
            Some(RuntimeKind::Wasm) => self.wasm,
            Some(RuntimeKind::Linux) => self.linux,
            None => self.wasm.milder(self.linux),
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
            When::False => value.as_bool() == Some(false),
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
    /// The runtime that it is about, if it is about one and that is known.
    pub runtime: Option<RuntimeKind>,
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

/// Tells which runtime an image's programs are for, as far as that is known.
pub type RuntimeOfImage<'a> = dyn Fn(&str) -> Option<RuntimeKind> + 'a;

/// The runtime of each container of a pod, as far as it is known.
struct Runtimes {
    /// Of what the containers share: native as soon as one of them is.
    pod: Option<RuntimeKind>,
    init_containers: Vec<Option<RuntimeKind>>,
    containers: Vec<Option<RuntimeKind>>,
}

impl Runtimes {
    fn of(pod: &Pod, of_image: &RuntimeOfImage<'_>) -> Self {
        let spec = pod.spec.as_ref();
        let class = match spec.and_then(|spec| spec.runtime_class_name.as_deref()) {
            Some(class) => RuntimeKind::of_handler(class),
            None => RuntimeKind::of_annotations(pod),
        };
        let of = |container: &Container| class.or_else(|| of_image(container.image.as_deref().unwrap_or_default()));
        let init_containers: Vec<_> =
            spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten().map(of).collect();
        let containers: Vec<_> = spec.into_iter().flat_map(|spec| &spec.containers).map(of).collect();
        let all = || init_containers.iter().chain(&containers);
        let pod = match class {
            Some(_) => class,
            None if all().any(|runtime| *runtime == Some(RuntimeKind::Linux)) => Some(RuntimeKind::Linux),
            None if all().any(Option::is_none) => None,
            None => Some(RuntimeKind::Wasm),
        };
        Self { pod, init_containers, containers }
    }

    /// That of the container at an index of one of the pod's lists.
    fn at(&self, list: &str, index: usize) -> Option<RuntimeKind> {
        let list = if list == "spec.initContainers" { &self.init_containers } else { &self.containers };
        list.get(index).copied().flatten()
    }
}

/// Looks at every field that `pod` sets. Give it the pod as written: fields that defaulting fills in are not what the
/// user asked for.
pub fn check_support(pod: &Pod, of_image: &RuntimeOfImage<'_>) -> SupportReport {
    let mut report = SupportReport::default();
    let runtimes = Runtimes::of(pod, of_image);
    if let Ok(value) = serde_json::to_value(pod) {
        visit(&value, ("", ""), runtimes.pod, &runtimes, &mut report);
    }
    report
}

/// What a container sets that `runtime` refuses, if it does: to be asked when its image is there.
pub fn refusal_of_container(container: &Container, runtime: RuntimeKind) -> Option<FieldNote> {
    let mut report = SupportReport::default();
    let runtimes = Runtimes { pod: None, init_containers: Vec::new(), containers: Vec::new() };
    if let Ok(value) = serde_json::to_value(container) {
        visit(&value, ("", "spec.containers[*]"), Some(runtime), &runtimes, &mut report);
    }
    report.refusals.into_iter().next()
}

static ROWS_BY_PATH: LazyLock<HashMap<&str, Vec<&Row>>> = LazyLock::new(|| {
    let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in TABLE {
        rows.entry(row.root()).or_default().push(row);
    }
    rows
});

/// Walks down to the fields that have rows. `path` is the concrete one, `pattern` the one rows use.
fn visit(
    value: &Value,
    (path, pattern): (&str, &str),
    runtime: Option<RuntimeKind>,
    runtimes: &Runtimes,
    report: &mut SupportReport,
) {
    let rows = ROWS_BY_PATH.get(pattern).map(Vec::as_slice).unwrap_or_default();
    for row in rows.iter().filter(|row| row.applies(value)) {
        let note = |text| FieldNote { path: path.to_owned(), text, runtime };
        match row.support(runtime) {
            Support::Honoured(_) => {}
            Support::Warned(text) => report.warnings.push(note(text)),
            Support::Refused(text) => report.refusals.push(note(text)),
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
                visit(field, (&join(path), &pattern), runtime, runtimes, report);
            }
        }
        Value::Array(items) => {
            let are_containers = matches!(path, "spec.containers" | "spec.initContainers");
            for (index, item) in items.iter().enumerate() {
                let runtime = if are_containers { runtimes.at(path, index) } else { runtime };
                let (path, pattern) = (format!("{path}[{index}]"), format!("{pattern}[*]"));
                visit(item, (&path, &pattern), runtime, runtimes, report);
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
         - **refused**: the pod is not accepted; the error names the field and the reason.\n\n\
         `[*]` stands for the items of a list, `.**` for everything below. Rows of `spec.containers[*]` hold for init \
         containers as well. Fields that are not set, or set to nothing, never warn.\n\n\
         | Field | For | WebAssembly | Linux |\n| --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let values = match row.when {
            When::Set | When::Present => "any value".to_owned(),
            When::True => "`true`".to_owned(),
            When::False => "`false`".to_owned(),
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
    }
}

#[cfg(test)]
mod tests;
