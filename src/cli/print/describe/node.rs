//! A Node in words: with its sign of life, the pods that are on it, and what they need of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::pod::quantities;
use super::{Context, Lines, or_none, rfc1123, since};
use crate::api::quantity::Quantity;
use crate::api::requests::{pod_limits, pod_requests};
use crate::cli::print::object::{at, list, text};

/// What belongs to a node, beside itself.
#[derive(Debug)]
pub struct OfNode {
    /// Its lease, if it has one.
    pub lease: Option<Value>,
    /// The pods on it that have not ended.
    pub pods: Vec<Value>,
}

/// Amounts of resources by their names.
type Amounts = BTreeMap<String, Quantity>;

/// Describes a Node.
pub(super) fn node(out: &mut Lines, node: &Value, context: &Context<'_>) {
    out.head(node);
    let roles = sorted_keys(at(node, &["metadata", "labels"])).into_iter();
    let roles: Vec<&str> = roles.filter_map(|key| key.strip_prefix("node-role.kubernetes.io/")).collect();
    out.field(0, "Roles", or_none(&roles.join(",")));
    out.labels(node);
    out.field(0, "CreationTimestamp", &rfc1123(node, &["metadata", "creationTimestamp"]));
    let taint = |taint: &Value| {
        let value = match text(taint, &["value"]) {
            "" => String::new(),
            value => format!("={value}"),
        };
        format!("{}{value}:{}", text(taint, &["key"]), text(taint, &["effect"]))
    };
    let taints: Vec<String> = list(node, &["spec", "taints"]).iter().map(taint).collect();
    out.several(0, "Taints", &taints);
    let cordoned = at(node, &["spec", "unschedulable"]) == Some(&Value::Bool(true));
    out.field(0, "Unschedulable", &cordoned.to_string());
    if let Some(OfNode { lease, .. }) = context.node {
        describe_lease(out, lease.as_ref());
    }
    conditions(out, node);
    out.line(0, "Addresses:");
    for address in list(node, &["status", "addresses"]) {
        out.field(1, text(address, &["type"]), text(address, &["address"]));
    }
    quantities(out, 0, "Capacity", at(node, &["status", "capacity"]));
    quantities(out, 0, "Allocatable", at(node, &["status", "allocatable"]));
    system_info(out, node);
    if let Some(OfNode { pods, .. }) = context.node {
        describe_pods(out, node, pods, context);
    }
}

fn conditions(out: &mut Lines, node: &Value) {
    out.line(0, "Conditions:");
    out.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    out.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in list(node, &["status", "conditions"]) {
        let cells = [
            text(condition, &["type"]).to_owned(),
            text(condition, &["status"]).to_owned(),
            rfc1123(condition, &["lastHeartbeatTime"]),
            rfc1123(condition, &["lastTransitionTime"]),
            text(condition, &["reason"]).to_owned(),
            text(condition, &["message"]).to_owned(),
        ];
        out.line(1, &cells.join(" \t"));
    }
}

fn system_info(out: &mut Lines, node: &Value) {
    out.line(0, "System Info:");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        out.field(1, label, text(node, &["status", "nodeInfo", field]));
    }
}

fn sorted_keys(fields: Option<&Value>) -> Vec<&String> {
    let mut keys: Vec<_> = fields.and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key).collect();
    keys.sort();
    keys
}

fn describe_lease(out: &mut Lines, lease: Option<&Value>) {
    out.line(0, "Lease:");
    let Some(lease) = lease else {
        out.field(1, "HolderIdentity", "<unset>");
        return;
    };
    let unset = |text: String| if text.is_empty() { "<unset>".to_owned() } else { text };
    out.field(1, "HolderIdentity", &unset(text(lease, &["spec", "holderIdentity"]).to_owned()));
    out.field(1, "AcquireTime", &unset(rfc1123(lease, &["spec", "acquireTime"])));
    out.field(1, "RenewTime", &unset(rfc1123(lease, &["spec", "renewTime"])));
}

/// The pods, and what they need together.
fn describe_pods(out: &mut Lines, node: &Value, pods: &[Value], context: &Context<'_>) {
    let room = |name: &str| -> Quantity {
        let of = |field| at(node, &["status", field, name]).and_then(Value::as_str)?.parse().ok();
        of("allocatable").or_else(|| of("capacity")).unwrap_or(Quantity::ZERO)
    };
    let share = |amounts: &Amounts, name: &str| share(amounts.get(name).unwrap_or(&Quantity::ZERO), &room(name), name);
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    out.line(0, &format!("Non-terminated Pods:\t({} in total)", pods.len()));
    out.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    out.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    for pod in pods {
        let typed: Option<Pod> = serde_json::from_value(pod.clone()).ok();
        let spec = typed.and_then(|pod| pod.spec).unwrap_or_default();
        let (own_requests, own_limits) = (pod_requests(&spec), pod_limits(&spec));
        let field = |field: &str| text(pod, &["metadata", field]).to_owned();
        let cells = [
            field("namespace"),
            field("name"),
            String::new(),
            share(&own_requests, "cpu"),
            share(&own_limits, "cpu"),
            share(&own_requests, "memory"),
            share(&own_limits, "memory"),
            since(pod, &["metadata", "creationTimestamp"], context.now),
        ];
        out.line(1, &cells.join("\t"));
        add(&mut requests, own_requests);
        add(&mut limits, own_limits);
    }
    out.line(0, "Allocated resources:");
    out.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    out.line(1, "Resource\tRequests\tLimits");
    out.line(1, "--------\t--------\t------");
    for name in ["cpu", "memory", "ephemeral-storage"] {
        out.line(1, &format!("{name}\t{}\t{}", share(&requests, name), share(&limits, name)));
    }
}

/// An amount, and how much of what there is it is: `100m (5%)`.
fn share(amount: &Quantity, room: &Quantity, name: &str) -> String {
    let count = |quantity: &Quantity| i128::from(if name == "cpu" { quantity.milli_value() } else { quantity.value() });
    let percent = (count(amount) * 100).checked_div(count(room)).unwrap_or(0);
    format!("{amount} ({percent}%)")
}

fn add(to: &mut Amounts, amounts: Amounts) {
    for (name, amount) in amounts {
        let total = to.entry(name).or_insert(Quantity::ZERO);
        *total = total.plus(&amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_are_counted_against_what_the_node_has() {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
        let pod = |name: &str, requests: Value| {
            json!({"metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-05-04T08:00:00Z"},
                "spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": {"cpu": "3"}}}]}})
        };
        let pods = vec![pod("a", json!({"cpu": "500m"})), pod("b", json!({"cpu": "250m", "memory": "64Mi"}))];
        let lease = json!({"spec": {"holderIdentity": "n", "renewTime": "2026-05-04T08:09:55.000000Z"}});
        let of_node = OfNode { lease: Some(lease), pods };
        let now = "2026-05-04T08:10:00Z".parse().unwrap();
        let context = Context { events: None, endpoints: &[], node: Some(&of_node), now };
        let described = super::super::describe(&node, &context);
        for line in [
            "  HolderIdentity:  n",
            "  AcquireTime:     <unset>",
            "  RenewTime:       Mon, 04 May 2026 08:09:55 +0000",
            "Non-terminated Pods:          (2 in total)",
            "  default                     a       500m (25%)    3 (150%)    0 (0%)           0 (0%)         10m",
            "  default                     b       250m (12%)    3 (150%)    64Mi (6%)        0 (0%)         10m",
            "  cpu                750m (37%)  6 (300%)",
            "  memory             64Mi (6%)   0 (0%)",
        ] {
            assert!(described.lines().any(|found| found.trim_end() == line), "{line:?} in\n{described}");
        }
    }
}
