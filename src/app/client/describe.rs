//! `husk describe`: objects in words, with what belongs to them.

use std::io::Write;

use anyhow::bail;
use serde_json::Value;

use super::connection::{AS_JSON, Connection, describe_error, is_not_found};
use super::events;
use super::kinds::{Kind, Kinds, query, segment};
use super::targets::{self, Target};
use crate::base::clock::Clock;
use crate::cli::describe::DescribeArgs;
use crate::cli::print::describe::{Context, OfNode, describe};
use crate::cli::print::object::{list, text};

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &DescribeArgs) -> anyhow::Result<u8> {
    let kinds = Kinds::discover(connection).await?;
    let targets = targets::of(&args.resources, &args.files, &kinds, connection)?;
    let (mut code, mut first) = (0, true);
    for target in &targets {
        match find(connection, args, target).await {
            Ok(objects) => {
                for object in objects {
                    let separator = if std::mem::take(&mut first) { "" } else { "\n\n" };
                    let described = one(connection, args, &kinds, &object).await?;
                    std::io::stdout().write_all(format!("{separator}{described}").as_bytes())?;
                }
            }
            Err(error) => {
                code = 1;
                writeln!(std::io::stderr(), "{}", describe_error(&error))?;
            }
        }
    }
    if first && code == 0 {
        let place =
            if args.all_namespaces { String::new() } else { format!(" in {} namespace.", connection.namespace) };
        writeln!(std::io::stderr(), "No resources found{place}")?;
    }
    Ok(code)
}

/// The objects that are meant: one, those whose names begin so, or all.
async fn find(connection: &Connection, args: &DescribeArgs, target: &Target) -> anyhow::Result<Vec<Value>> {
    match target {
        Target::Object { .. } if args.selector.is_some() => {
            bail!("selectors may not be used when a resource is specified by name")
        }
        Target::Object { kind, namespace, name } => {
            match connection.get(&kind.object_path(namespace, name), AS_JSON).await {
                Ok(object) => Ok(vec![object]),
                Err(error) if error.downcast_ref::<kube::Error>().is_some_and(is_not_found) => {
                    let mut objects = all(connection, kind, Some(namespace), &[]).await?;
                    objects.retain(|object| text(object, &["metadata", "name"]).starts_with(name.as_str()));
                    if objects.is_empty() { Err(error) } else { Ok(objects) }
                }
                Err(error) => Err(error),
            }
        }
        Target::All(kind) => {
            let selector: Vec<_> = args.selector.iter().map(|labels| ("labelSelector", labels.clone())).collect();
            all(connection, kind, (!args.all_namespaces).then_some(connection.namespace.as_str()), &selector).await
        }
    }
}

async fn all(
    connection: &Connection,
    kind: &Kind,
    namespace: Option<&str>,
    selector: &[(&str, String)],
) -> anyhow::Result<Vec<Value>> {
    let answer = connection.get(&format!("{}{}", kind.path(namespace), query(selector)), AS_JSON).await?;
    let typed = |item: &Value| {
        let mut object = item.clone();
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.clone().into();
        object
    };
    Ok(list(&answer, &["items"]).iter().map(typed).collect())
}

async fn one(connection: &Connection, args: &DescribeArgs, kinds: &Kinds, object: &Value) -> anyhow::Result<String> {
    let events = if args.show_events { Some(events_of(connection, kinds, object).await?) } else { None };
    let is_service = text(object, &["kind"]) == "Service" && text(object, &["apiVersion"]) == "v1";
    let endpoints = if is_service { endpoints(connection, object).await? } else { Vec::new() };
    let is_node = text(object, &["kind"]) == "Node" && text(object, &["apiVersion"]) == "v1";
    let node = if is_node { Some(of_node(connection, text(object, &["metadata", "name"])).await?) } else { None };
    let now = Clock::system().now();
    let context = Context { events: events.as_deref(), endpoints: &endpoints, node: node.as_ref(), now };
    Ok(describe(object, &context))
}

/// What belongs to a node, as far as one may see it.
async fn of_node(connection: &Connection, name: &str) -> anyhow::Result<OfNode> {
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}", segment(name));
    let selector = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
    let pods = format!("/api/v1/pods{}", query(&[("fieldSelector", selector)]));
    let pods = connection.get(&pods, AS_JSON).await?;
    Ok(OfNode { lease: connection.get(&lease, AS_JSON).await.ok(), pods: list(&pods, &["items"]).to_vec() })
}

async fn events_of(connection: &Connection, kinds: &Kinds, object: &Value) -> anyhow::Result<Vec<Value>> {
    let mut selector = format!(
        "involvedObject.kind={},involvedObject.name={}",
        text(object, &["kind"]),
        text(object, &["metadata", "name"])
    );
    // A node's events do not name its UID.
    let namespace = Some(text(object, &["metadata", "namespace"])).filter(|namespace| !namespace.is_empty());
    if namespace.is_some() {
        selector.push_str(&format!(",involvedObject.uid={}", text(object, &["metadata", "uid"])));
    }
    events::find(connection, kinds.find("events")?, namespace, &[selector]).await
}

/// The ready addresses behind each port of a service.
async fn endpoints(connection: &Connection, service: &Value) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let name = text(service, &["metadata", "name"]);
    let namespace = segment(text(service, &["metadata", "namespace"]));
    let selector = query(&[("labelSelector", format!("kubernetes.io/service-name={name}"))]);
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices{selector}");
    let slices = connection.get(&path, AS_JSON).await?;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for slice in list(&slices, &["items"]) {
        let ready = list(slice, &["endpoints"])
            .iter()
            .filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)));
        let addresses: Vec<&str> =
            ready.flat_map(|endpoint| list(endpoint, &["addresses"])).filter_map(Value::as_str).collect();
        for port in list(slice, &["ports"]) {
            let Some(number) = port.get("port").and_then(Value::as_u64) else { continue };
            let shown = addresses.iter().map(|address| match address.contains(':') {
                true => format!("[{address}]:{number}"),
                false => format!("{address}:{number}"),
            });
            let name = text(port, &["name"]);
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.extend(shown),
                None => found.push((name.to_owned(), shown.collect())),
            }
        }
    }
    Ok(found)
}
