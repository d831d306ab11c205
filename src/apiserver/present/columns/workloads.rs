//! Pods.

use k8s_openapi::api::core::v1::Pod;

use super::{AGE, NAME, Printer, text, wide};
use crate::pod::print::{PodRow, pod_row};

pub(super) static POD: Printer = Printer {
    columns: &[
        NAME,
        text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        text("Status", "The aggregate status of the containers in this pod."),
        text(
            "Restarts",
            "The number of times the containers in this pod have been restarted and when the last container in this pod \
             has restarted.",
        ),
        AGE,
        wide(
            "IP",
            "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
        ),
        wide("Node", "NodeName indicates in which node this pod is scheduled. Empty if not yet scheduled."),
        wide(
            "Nominated Node",
            "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right \
             away as preemption victims receive their graceful termination periods.",
        ),
        wide(
            "Readiness Gates",
            "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers \
             are ready AND all conditions specified in the readiness gates have status equal to \"True\".",
        ),
    ],
    row: |object, now| {
        let pod = object.typed::<Pod>()?;
        let PodRow { name, ready, status, restarts, age, ip, node, nominated_node, readiness_gates } =
            pod_row(&pod, now);
        let cells = [name, ready, status, restarts, age, ip, node, nominated_node, readiness_gates];
        Some(cells.into_iter().map(Into::into).collect())
    },
};
