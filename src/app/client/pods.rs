//! Pods that are named on a command line, and which of their containers is meant.

use std::io::Write;

use anyhow::{bail, ensure};
use serde_json::Value;

use super::connection::{AS_JSON, Connection};
use super::kinds::segment;
use crate::cli::print::object::{list, text};

/// Names the container that is meant when none is.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The path of a pod's object.
pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", segment(namespace), segment(name))
}

/// Gets a pod by `POD` or `pod/POD`.
pub(super) async fn find(connection: &Connection, word: &str) -> anyhow::Result<Value> {
    let name = match word.split_once('/') {
        None => word,
        Some(("pod" | "pods" | "po", name)) => name,
        Some((kind, _)) => bail!("{kind} has no containers: name a pod"),
    };
    ensure!(!name.is_empty(), "a pod's name is missing");
    connection.get(&path(&connection.namespace, name), AS_JSON).await
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
