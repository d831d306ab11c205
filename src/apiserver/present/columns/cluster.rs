//! Kinds that a cluster has of itself.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Node};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{AGE, Column, NAME, Printer, age, micro, or_none, since, text, wide};

/// What the labels that name a node's roles begin with.
const ROLE_LABEL: &str = "node-role.kubernetes.io/";
/// The label that names the only role.
const OLD_ROLE_LABEL: &str = "kubernetes.io/role";

pub(super) static NAMESPACE: Printer = Printer {
    columns: &[NAME, text("Status", "The status of the namespace"), AGE],
    row: |object, now| {
        let namespace = object.typed::<Namespace>()?;
        let phase = namespace.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        Some(vec![object.name().into(), phase.into(), age(namespace.metadata.creation_timestamp.as_ref(), now)])
    },
};

pub(super) static NODE: Printer = Printer {
    columns: &[
        NAME,
        text("Status", "The status of the node"),
        text("Roles", "The roles of the node"),
        AGE,
        text("Version", "Kubelet Version reported by the node."),
        wide("Internal-IP", "List of addresses reachable to the node."),
        wide("External-IP", "List of addresses reachable to the node."),
        wide("OS-Image", "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy))."),
        wide("Kernel-Version", "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64)."),
        wide(
            "Container-Runtime",
            "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
        ),
    ],
    row: |object, now| {
        let node = object.typed::<Node>()?;
        let info = node.status.as_ref().and_then(|status| status.node_info.clone()).unwrap_or_default();
        let address = |kind: &str| {
            let all = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
            let found = all.into_iter().find(|address| address.type_ == kind);
            or_none(found.map(|address| address.address.as_str())).to_owned()
        };
        let unknown = |text: String| if text.is_empty() { super::UNKNOWN.to_owned() } else { text };
        Some(vec![
            object.name().into(),
            node_status(&node).into(),
            roles(&node).into(),
            age(node.metadata.creation_timestamp.as_ref(), now),
            info.kubelet_version.into(),
            address("InternalIP").into(),
            address("ExternalIP").into(),
            unknown(info.os_image).into(),
            unknown(info.kernel_version).into(),
            unknown(info.container_runtime_version).into(),
        ])
    },
};

/// `Ready,SchedulingDisabled`.
fn node_status(node: &Node) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let status = match ready.map(|condition| condition.status == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    if cordoned { format!("{status},SchedulingDisabled") } else { status.to_owned() }
}

/// `findNodeRoles`.
fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL) {
            Some(role) => Some(role),
            None if key == OLD_ROLE_LABEL => Some(value),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(Some(&roles.join(","))).to_owned()
}

pub(super) static EVENT: Printer = Printer {
    columns: &[
        text("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
        text("Type", "Type of this event (Normal, Warning), new types could be added in the future"),
        text(
            "Reason",
            "This should be a short, machine understandable string that gives the reason for the transition into the \
             object's current status.",
        ),
        text("Object", "The object that this event is about."),
        wide("Subobject", "If referring to a piece of an object instead of an entire object, its path."),
        wide("Source", "The component reporting this event. Should be a short machine understandable string."),
        text("Message", "A human-readable description of the status of this operation."),
        wide("First Seen", "The time at which the event was first recorded."),
        wide("Count", "The number of times this event has occurred."),
        wide("Name", "Name must be unique within a namespace."),
    ],
    row: |object, now| {
        let event = object.typed::<Event>()?;
        let first = event.first_timestamp.as_ref().map(|time| time.0).or_else(|| micro(event.event_time.as_ref()));
        let (last, count) = match &event.series {
            Some(series) => (micro(series.last_observed_time.as_ref()), series.count.unwrap_or_default()),
            None => {
                let last = event.last_timestamp.as_ref().map(|time| time.0).or(first);
                (last, event.count.filter(|count| *count > 0).unwrap_or(1))
            }
        };
        let about = &event.involved_object;
        let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
        let target = match about.name.as_deref().unwrap_or_default() {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        Some(vec![
            since(last, now).into(),
            event.type_.clone().unwrap_or_default().into(),
            event.reason.clone().unwrap_or_default().into(),
            target.into(),
            about.field_path.clone().unwrap_or_default().into(),
            source(&event).into(),
            event.message.as_deref().unwrap_or_default().trim().into(),
            since(first, now).into(),
            count.into(),
            object.name().into(),
        ])
    },
};

/// `component, host`.
fn source(event: &Event) -> String {
    let from = event.source.clone().unwrap_or_default();
    let parts = [
        from.component.or_else(|| event.reporting_component.clone()),
        from.host.or_else(|| event.reporting_instance.clone()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

pub(super) static LEASE: Printer = Printer {
    columns: &[NAME, text("Holder", "holderIdentity contains the identity of the holder of a current lease."), AGE],
    row: |object, now| {
        let lease = object.typed::<Lease>()?;
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        Some(vec![object.name().into(), holder.into(), age(lease.metadata.creation_timestamp.as_ref(), now)])
    },
};

pub(super) static RUNTIME_CLASS: Printer = Printer {
    columns: &[
        NAME,
        text("Handler", "handler specifies the underlying runtime that will be used to handle pods of this class."),
        AGE,
    ],
    row: |object, now| {
        let class = object.typed::<RuntimeClass>()?;
        let age = age(class.metadata.creation_timestamp.as_ref(), now);
        Some(vec![object.name().into(), class.handler.clone().into(), age])
    },
};

pub(super) static PRIORITY_CLASS: Printer = Printer {
    columns: &[
        NAME,
        Column { kind: "integer", ..text("Value", "value represents the integer value of this priority class.") },
        Column {
            kind: "boolean",
            ..text(
                "Global-Default",
                "globalDefault specifies whether this PriorityClass should be considered as the default priority.",
            )
        },
        AGE,
        text("PreemptionPolicy", "preemptionPolicy is the Policy for preempting pods with lower priority."),
    ],
    row: |object, now| {
        let class = object.typed::<PriorityClass>()?;
        Some(vec![
            object.name().into(),
            class.value.unwrap_or_default().into(),
            class.global_default.unwrap_or_default().into(),
            age(class.metadata.creation_timestamp.as_ref(), now),
            class.preemption_policy.clone().unwrap_or_default().into(),
        ])
    },
};
