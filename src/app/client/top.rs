//! `husk top`: processor and memory in use, as the metrics API tells.

use std::cmp::Reverse;
use std::io::Write;

use serde_json::Value;

use super::connection::{AS_JSON, Connection};
use super::kinds::{query, segment};
use crate::cli::print::object::{at, list, text};
use crate::cli::print::table::Columns;
use crate::cli::top::{TopArgs, TopNodeArgs, TopOf, TopPodArgs};

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// What is used: billionths of a processor, and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Usage {
    nano_cpu: u128,
    bytes: u128,
}

impl Usage {
    fn of(quantities: Option<&Value>) -> Self {
        let amount = |name| quantities.map_or("", |quantities| text(quantities, &[name]));
        Self { nano_cpu: quantity(amount("cpu")), bytes: quantity(amount("memory")) / NANO }
    }

    fn plus(self, other: Self) -> Self {
        Self { nano_cpu: self.nano_cpu + other.nano_cpu, bytes: self.bytes + other.bytes }
    }

    fn cells(self) -> [String; 2] {
        [format!("{}m", self.nano_cpu.div_ceil(1_000_000)), format!("{}Mi", self.bytes >> 20)]
    }
}

const NANO: u128 = 1_000_000_000;

/// A quantity in billionths; nothing if it cannot be read.
fn quantity(text: &str) -> u128 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u128 = text[..end].parse().unwrap_or(0);
    let factor = match &text[end..] {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * 1_000_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        _ => NANO,
    };
    number.saturating_mul(factor)
}

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &TopArgs) -> anyhow::Result<u8> {
    match &args.of {
        TopOf::Pod(args) => pods(connection, args).await,
        TopOf::Node(args) => nodes(connection, args).await,
    }
}

async fn pods(connection: &Connection, args: &TopPodArgs) -> anyhow::Result<u8> {
    let namespace = segment(&connection.namespace);
    let selector = args.selector.iter().map(|labels| ("labelSelector", labels.clone())).collect::<Vec<_>>();
    let path = match &args.name {
        Some(name) => format!("{METRICS}/namespaces/{namespace}/pods/{}", segment(name)),
        None if args.all_namespaces => format!("{METRICS}/pods{}", query(&selector)),
        None => format!("{METRICS}/namespaces/{namespace}/pods{}", query(&selector)),
    };
    let answer = connection.get(&path, AS_JSON).await?;
    let mut pods = if args.name.is_some() { vec![answer] } else { list(&answer, &["items"]).to_vec() };
    if pods.is_empty() {
        let place = if args.all_namespaces { String::new() } else { format!(" in {} namespace", connection.namespace) };
        writeln!(std::io::stderr(), "No resources found{place}.")?;
        return Ok(0);
    }
    let total = |pod: &Value| {
        let containers = list(pod, &["containers"]).iter();
        containers.map(|container| Usage::of(container.get("usage"))).fold(Usage::default(), Usage::plus)
    };
    match args.sort_by.as_deref() {
        Some("cpu") => pods.sort_by_key(|pod| Reverse(total(pod).nano_cpu)),
        Some(_) => pods.sort_by_key(|pod| Reverse(total(pod).bytes)),
        None => {}
    }
    let mut rows = Vec::new();
    if !args.no_headers {
        let headings = [
            (args.all_namespaces, "NAMESPACE"),
            (args.containers, "POD"),
            (true, "NAME"),
            (true, "CPU(cores)"),
            (true, "MEMORY(bytes)"),
        ];
        rows.push(headings.iter().filter(|(shown, _)| *shown).map(|(_, heading)| (*heading).to_owned()).collect());
    }
    for pod in &pods {
        let name = |field| text(pod, &["metadata", field]).to_owned();
        let start: Vec<String> =
            args.all_namespaces.then(|| name("namespace")).into_iter().chain([name("name")]).collect();
        let row = |more: Option<&str>, usage: Usage| {
            start.iter().cloned().chain(more.map(String::from)).chain(usage.cells()).collect::<Vec<_>>()
        };
        if args.containers {
            for container in list(pod, &["containers"]) {
                rows.push(row(Some(text(container, &["name"])), Usage::of(container.get("usage"))));
            }
        } else {
            rows.push(row(None, total(pod)));
        }
    }
    std::io::stdout().write_all(Columns::default().align(&rows).as_bytes())?;
    Ok(0)
}

async fn nodes(connection: &Connection, args: &TopNodeArgs) -> anyhow::Result<u8> {
    let path = |base: &str| match &args.name {
        Some(name) => format!("{base}/nodes/{}", segment(name)),
        None => format!("{base}/nodes"),
    };
    let items = |answer: Value| if args.name.is_some() { vec![answer] } else { list(&answer, &["items"]).to_vec() };
    let metrics = items(connection.get(&path(METRICS), AS_JSON).await?);
    let nodes = items(connection.get(&path("/api/v1"), AS_JSON).await?);
    let mut rows = Vec::new();
    if !args.no_headers {
        rows.push(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"].map(String::from).to_vec());
    }
    for found in &metrics {
        let name = text(found, &["metadata", "name"]);
        let node = nodes.iter().find(|node| text(node, &["metadata", "name"]) == name);
        let room = Usage::of(node.and_then(|node| at(node, &["status", "allocatable"])));
        let used = Usage::of(found.get("usage"));
        let percent = |used: u128, room: u128| match used.saturating_mul(100).checked_div(room) {
            Some(percent) => format!("{percent}%"),
            None => "<unknown>".to_owned(),
        };
        let [cpu, memory] = used.cells();
        rows.push(vec![
            name.to_owned(),
            cpu,
            percent(used.nano_cpu, room.nano_cpu),
            memory,
            percent(used.bytes, room.bytes),
        ]);
    }
    std::io::stdout().write_all(Columns::default().align(&rows).as_bytes())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_read_and_printed() {
        let usage = Usage::of(Some(&json!({"cpu": "11844476n", "memory": "95240Ki"})));
        assert_eq!(usage.cells(), ["12m", "93Mi"]);
        assert_eq!(Usage::of(Some(&json!({"cpu": "2", "memory": "1Gi"}))).cells(), ["2000m", "1024Mi"]);
        assert_eq!(Usage::of(None), Usage::default());
    }
}
