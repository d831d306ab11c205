//! Pods that are named on a command line, and which of their containers is meant.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::connection::{AS_JSON, Connection};
use super::kinds::{query, segment};
use crate::cli::print::object::{at, list, text};

/// Names the container that is meant when none is.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The path of a pod's object.
pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", segment(namespace), segment(name))
}

/// Gets a pod by `POD`, `pod/POD`, or one that is behind `service/SERVICE`; says which one it chose if there are several.
pub(super) async fn find(connection: &Connection, word: &str) -> anyhow::Result<Value> {
    let name = match word.split_once('/') {
        None => word,
        Some(("pod" | "pods" | "po", name)) => name,
        Some(("service" | "services" | "svc", name)) => {
            let (_, mut pods) = behind_service(connection, name).await?;
            ensure!(!pods.is_empty(), "no pod is behind service {name}");
            let pod = pods.swap_remove(0);
            if !pods.is_empty() {
                let (count, name) = (pods.len() + 1, text(&pod, &["metadata", "name"]));
                writeln!(std::io::stderr(), "Found {count} pods, using pod/{name}")?;
            }
            return Ok(pod);
        }
        Some((kind, _)) => bail!("{kind} has no containers: name a pod, or a service"),
    };
    ensure!(!name.is_empty(), "a pod's name is missing");
    connection.get(&path(&connection.namespace, name), AS_JSON).await
}

/// A service and the pods that it selects: first those that are ready, then others that run, the oldest first.
pub(super) async fn behind_service(connection: &Connection, name: &str) -> anyhow::Result<(Value, Vec<Value>)> {
    let namespace = segment(&connection.namespace);
    let path = format!("/api/v1/namespaces/{namespace}/services/{}", segment(name));
    let service = connection.get(&path, AS_JSON).await?;
    let labels = at(&service, &["spec", "selector"]).and_then(Value::as_object).filter(|labels| !labels.is_empty());
    let labels = labels.with_context(|| format!("invalid service '{name}': Service is defined without a selector"))?;
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let path = format!("/api/v1/namespaces/{namespace}/pods{}", query(&[("labelSelector", pairs.join(","))]));
    let mut pods = list(&connection.get(&path, AS_JSON).await?, &["items"]).to_vec();
    pods.sort_by_key(rank);
    Ok((service, pods))
}

/// Which of several pods is meant: the one of the lowest rank.
fn rank(pod: &Value) -> (bool, bool, String) {
    let runs = text(pod, &["status", "phase"]) == "Running";
    let mut conditions = list(pod, &["status", "conditions"]).iter();
    let ready =
        conditions.any(|condition| text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True");
    (!ready, !runs, text(pod, &["metadata", "creationTimestamp"]).to_owned())
}

/// The names of a pod's containers: init containers, containers, ephemeral ones.
pub(super) fn containers(pod: &Value) -> Vec<String> {
    let fields = ["initContainers", "containers", "ephemeralContainers"];
    let of = |field| list(pod, &["spec", field]).iter().map(|container| text(container, &["name"]).to_owned());
    fields.into_iter().flat_map(of).collect()
}

/// The container that is meant, which the pod has; says on standard error which one it chose.
pub(super) fn choose(pod: &Value, named: Option<&str>, quiet: bool) -> anyhow::Result<String> {
    let all = containers(pod);
    if let Some(named) = named {
        let name = text(pod, &["metadata", "name"]);
        ensure!(all.iter().any(|found| found == named), "container {named} is not valid for pod {name}");
        return Ok(named.to_owned());
    }
    let annotated = text(pod, &["metadata", "annotations", DEFAULT_CONTAINER]);
    if all.iter().any(|found| found == annotated) {
        return Ok(annotated.to_owned());
    }
    let first = list(pod, &["spec", "containers"]).first();
    let Some(first) = first.map(|container| text(container, &["name"]).to_owned()) else {
        bail!("the pod has no containers");
    };
    if all.len() > 1 && !quiet {
        let word = |name: &String| {
            let is_in = |field| list(pod, &["spec", field]).iter().any(|found| text(found, &["name"]) == name);
            match (is_in("initContainers"), is_in("ephemeralContainers")) {
                (true, _) => format!("{name} (init)"),
                (_, true) => format!("{name} (ephem)"),
                _ => name.clone(),
            }
        };
        // Containers first, as people think of them.
        let mut names: Vec<&String> = all.iter().collect();
        names.sort_by_key(|name| word(name).ends_with(')'));
        let names: Vec<String> = names.into_iter().map(word).collect();
        writeln!(std::io::stderr(), "Defaulted container {first:?} out of: {}", names.join(", "))?;
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_several_pods_one_that_is_ready_is_meant() {
        let pod = |phase: &str, ready: &str, created: &str| {
            json!({"metadata": {"creationTimestamp": created},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let mut pods = [pod("Pending", "False", "1"), pod("Running", "False", "2"), pod("Running", "True", "4")];
        pods.sort_by_key(rank);
        let created = pods.iter().map(|pod| text(pod, &["metadata", "creationTimestamp"]));
        assert_eq!(created.collect::<Vec<_>>(), ["4", "2", "1"]);
    }

    #[test]
    fn the_container_that_is_meant() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}],
        }});
        assert_eq!(containers(&pod), ["i", "a", "b"]);
        assert_eq!(choose(&pod, None, true).unwrap(), "a");
        assert_eq!(choose(&pod, Some("i"), true).unwrap(), "i");
        assert_eq!(choose(&pod, Some("x"), true).unwrap_err().to_string(), "container x is not valid for pod p");
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(choose(&pod, None, true).unwrap(), "b");
    }
}
