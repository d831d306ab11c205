//! What of a pod is honoured where there is an API server: all that is honoured without one, and what only lacks somebody
//! who acts on it.

use k8s_openapi::api::core::v1::Pod;

use super::{RuntimeOfImage, SupportReport, check_support};

/// Fields that have their effect, or none that one node could show, once there is a cluster. Each stands for all below it.
const HONOURED: &[&str] = &[
    "metadata",
    "spec.affinity",
    "spec.automountServiceAccountToken",
    "spec.containers[*].stdinOnce",
    "spec.nodeName",
    "spec.nodeSelector",
    "spec.overhead",
    "spec.preemptionPolicy",
    "spec.priority",
    "spec.priorityClassName",
    "spec.readinessGates",
    "spec.schedulerName",
    "spec.schedulingGates",
    "spec.tolerations",
    "spec.topologySpreadConstraints",
    "spec.volumes[*].projected.sources[*].serviceAccountToken",
    // Validation and the server's own rules speak of these.
    "spec.ephemeralContainers",
    "status",
];

/// As [`check_support`], for pods that an API server takes in.
pub fn check_support_in_cluster(pod: &Pod, of_image: &RuntimeOfImage<'_>) -> SupportReport {
    let mut report = check_support(pod, of_image);
    let is_honoured = |path: &str| {
        let pattern = pattern(path);
        HONOURED.iter().any(|field| {
            pattern.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    report.refusals.retain(|note| !is_honoured(&note.path));
    report.warnings.retain(|note| !is_honoured(&note.path));
    report
}

/// The path with `[*]` for every index.
fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => pattern.push_str("[*"),
            _ if inside && character != ']' => {}
            other => pattern.push(other),
        }
        inside = character == '[' || inside && character != ']';
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::support::RuntimeKind;

    #[test]
    fn a_cluster_honours_what_a_single_run_cannot() {
        let check = |spec: &str| {
            let yaml = format!("{{metadata: {{name: p, finalizers: [a/b]}}, spec: {{{spec}}}}}");
            let report = check_support_in_cluster(&serde_yaml::from_str(&yaml).unwrap(), &|_| Some(RuntimeKind::Wasm));
            let paths = |notes: Vec<crate::api::support::FieldNote>| {
                notes.into_iter().map(|note| note.path).collect::<Vec<_>>().join(" ")
            };
            (paths(report.refusals), paths(report.warnings))
        };
        let none = (String::new(), String::new());
        assert_eq!(check("nodeName: node, priorityClassName: p, schedulingGates: [{name: a/b}]"), none);
        let spread = "{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}";
        let once = "containers: [{name: c, stdin: true, stdinOnce: true}]";
        assert_eq!(check(&format!("topologySpreadConstraints: [{spread}], {once}")), none);
        let token = "{projected: {sources: [{serviceAccountToken: {path: t}}]}, name: v}";
        assert_eq!(check(&format!("volumes: [{token}]")), none);
        assert_eq!(check("hostPID: true").0, "spec.hostPID");
        assert_eq!(check("securityContext: {runAsUser: 5}").1, "spec.securityContext.runAsUser");
    }
}
