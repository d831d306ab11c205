//! Columns of tables: for each kind, what `kubectl get` shows of an object (kube-apiserver v1.36
//! `pkg/printers/internalversion`).

mod cluster;
mod data;
mod network;
mod workloads;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::{Value, json};

use crate::api::resources::ResourceType;
use crate::base::clock::Timestamp;
use crate::pod::print::human_duration;
use crate::store::StoredObject;

/// What a cell without a value shows.
const NONE: &str = "<none>";
/// What a cell shows whose time is not known.
const UNKNOWN: &str = "<unknown>";
/// The most items that a cell lists.
const MAX_LISTED: usize = 3;

/// One column.
struct Column {
    name: &'static str,
    /// `string`, `integer`, `boolean`.
    kind: &'static str,
    /// 0, or 1 for those that only `-o wide` shows.
    priority: u8,
    description: &'static str,
}

const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", priority: 0, description }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", priority: 1, description }
}

/// NAME, which tables of every kind have.
const NAME: Column = text(
    "Name",
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a \
     client to request the generation of an appropriate name automatically.",
);
/// AGE.
const AGE: Column =
    text("Age", "CreationTimestamp is a timestamp representing the server time when this object was created.");

/// How the objects of a kind are shown.
struct Printer {
    columns: &'static [Column],
    row: fn(&StoredObject, Timestamp) -> Option<Vec<Value>>,
}

/// The printers, by group and kind.
static PRINTERS: &[(&str, &str, &Printer)] = &[
    ("", "ConfigMap", &data::CONFIG_MAP),
    ("", "Endpoints", &network::ENDPOINTS),
    ("", "Event", &cluster::EVENT),
    ("", "Namespace", &cluster::NAMESPACE),
    ("", "Node", &cluster::NODE),
    ("", "PersistentVolumeClaim", &data::CLAIM),
    ("", "Pod", &workloads::POD),
    ("", "Secret", &data::SECRET),
    ("", "Service", &network::SERVICE),
    ("", "ServiceAccount", &data::SERVICE_ACCOUNT),
    ("coordination.k8s.io", "Lease", &cluster::LEASE),
    ("discovery.k8s.io", "EndpointSlice", &network::ENDPOINT_SLICE),
    ("node.k8s.io", "RuntimeClass", &cluster::RUNTIME_CLASS),
    ("scheduling.k8s.io", "PriorityClass", &cluster::PRIORITY_CLASS),
];

/// What is shown of kinds that have no printer of their own.
static PLAIN: Printer = Printer { columns: &[NAME, AGE], row: |_, _| None };

fn printer(resource: &'static ResourceType) -> &'static Printer {
    let resource = resource.stored();
    let found = PRINTERS.iter().find(|(group, kind, _)| (*group, *kind) == (resource.group, resource.kind));
    found.map_or(&PLAIN, |(.., printer)| printer)
}

/// `columnDefinitions` of a resource's table.
pub(super) fn definitions(resource: &'static ResourceType) -> Value {
    let defined = printer(resource).columns.iter().map(|column| {
        let format = if column.name == "Name" { "name" } else { "" };
        json!({
            "name": column.name, "type": column.kind, "format": format, "description": column.description,
            "priority": column.priority,
        })
    });
    defined.collect()
}

/// The cells of an object.
pub(super) fn cells(resource: &'static ResourceType, object: &StoredObject, now: Timestamp) -> Vec<Value> {
    let printer = printer(resource);
    (printer.row)(object, now).unwrap_or_else(|| {
        // An object that is not of its kind's type, or of a kind without a printer, still has a name.
        let mut cells = vec![Value::from(""); printer.columns.len()];
        for (cell, column) in cells.iter_mut().zip(printer.columns) {
            match column.name {
                "Name" => *cell = object.name().into(),
                "Age" => *cell = age_of(object, now),
                _ => {}
            }
        }
        cells
    })
}

/// AGE of an object.
fn age_of(object: &StoredObject, now: Timestamp) -> Value {
    let created = object.value()["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
    since(created, now).into()
}

/// How long ago something was.
fn since(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| UNKNOWN.to_owned(), |time| human_duration(now.duration_since(time)))
}

fn age(time: Option<&Time>, now: Timestamp) -> Value {
    since(time.map(|time| time.0), now).into()
}

fn micro(time: Option<&MicroTime>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// Text, or what stands for none.
fn or_none(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or(NONE)
}

/// The first items, and how many there are besides.
fn listed(items: &[String], none: &str) -> String {
    if items.is_empty() {
        return none.to_owned();
    }
    let shown = items[..items.len().min(MAX_LISTED)].join(",");
    match items.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}
