//! How a run ended: the exit code, and what is said of each pod that did not succeed.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

/// Exit code of a run in which a pod failed and no container says why.
const EXIT_FAILED: u8 = 1;

/// The exit code of the pods themselves: 0 when all Succeeded, else the code of the container that failed first.
pub(super) fn exit_code(pods: &[Pod]) -> u8 {
    let failed: Vec<&PodStatus> =
        statuses(pods).filter(|status| status.phase.as_deref() != Some("Succeeded")).collect();
    if failed.is_empty() {
        return 0;
    }
    let ended = failed.iter().flat_map(|status| containers(status)).filter_map(|container| {
        let terminated = container.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0)
            .then_some((terminated.finished_at.as_ref().map(|time| time.0), terminated.exit_code))
    });
    ended.min_by_key(|(time, _)| *time).map_or(EXIT_FAILED, |(_, code)| u8::try_from(code).unwrap_or(EXIT_FAILED))
}

/// Why a program run without a manifest ended as it did; nothing if its exit code says it all.
pub(super) fn explain_program(pod: &Pod) -> Vec<String> {
    let terminated =
        pod.status.iter().flat_map(containers).find_map(|container| container.state.as_ref()?.terminated.as_ref());
    if terminated.is_some_and(|end| end.message.is_none() && end.reason.as_deref() == Some("Error")) {
        return Vec::new();
    }
    // The pod and its container have the program's name, and once is enough.
    let prefix = format!("{}/", pod.metadata.name.as_deref().unwrap_or_default());
    explain(pod).iter().map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned()).collect()
}

/// Why a pod is not where it should be, and what to do about it; nothing for one that succeeded.
pub(super) fn explain(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    if status.phase.as_deref() == Some("Succeeded") {
        return Vec::new();
    }
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let own = status.reason.as_ref().map(|reason| {
        format!("{name}: {reason}: {}", status.message.as_deref().unwrap_or("the pod was ended").trim_end())
    });
    let of_containers = containers(status).filter_map(|container| explain_container(name, container));
    own.into_iter().chain(of_containers).collect()
}

fn explain_container(pod: &str, container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let name = &container.name;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        let message = waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        let boring = matches!(reason, "PodInitializing" | "ContainerCreating") && message.is_empty();
        return (!boring).then(|| format!("{pod}/{name}: {reason}{message}{}", remedy(reason, &message)));
    }
    let terminated = state.terminated.as_ref().filter(|terminated| terminated.exit_code != 0)?;
    let reason = terminated.reason.as_deref().unwrap_or("Error");
    let message = terminated.message.as_deref().map(|message| format!(": {}", message.trim_end())).unwrap_or_default();
    let code = terminated.exit_code;
    Some(format!("{pod}/{name}: exited with code {code} ({reason}){message}{}", remedy(reason, &message)))
}

fn remedy(reason: &str, message: &str) -> &'static str {
    match reason {
        "StartError" if ["\"sh\"", "\"/bin/sh\""].iter().any(|shell| message.contains(shell)) => {
            " (built-in images have no shell: name the program itself as the command)"
        }
        "OOMKilled" => " (raise resources.limits.memory)",
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" => " (see `husk image ls`, `husk image import`)",
        _ => "",
    }
}

fn statuses(pods: &[Pod]) -> impl Iterator<Item = &PodStatus> {
    pods.iter().filter_map(|pod| pod.status.as_ref())
}

/// Statuses of init containers, then of app containers.
pub(super) fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(yaml: &str) -> Pod {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn ended(phase: &str, containers: &[(&str, i32, &str)]) -> Pod {
        let statuses: String = containers
            .iter()
            .map(|(name, code, at)| {
                format!(
                    "  - {{name: {name}, image: i, imageID: i, ready: false, restartCount: 0, state: \
                     {{terminated: {{exitCode: {code}, reason: Error, message: \"why\\n\", finishedAt: \"{at}\"}}}}}}\n"
                )
            })
            .collect();
        pod(&format!("metadata: {{name: p}}\nstatus:\n  phase: {phase}\n  containerStatuses:\n{statuses}"))
    }

    #[test]
    fn the_first_failure_gives_the_exit_code() {
        let early = ("a", 3, "2026-01-01T00:00:01Z");
        let late = ("b", 4, "2026-01-01T00:00:02Z");
        let fine = ("c", 0, "2026-01-01T00:00:00Z");
        assert_eq!(exit_code(&[ended("Succeeded", &[fine])]), 0);
        assert_eq!(exit_code(&[ended("Failed", &[late, early, fine])]), 3);
        assert_eq!(exit_code(&[ended("Succeeded", &[fine]), ended("Failed", &[late])]), 4);
        assert_eq!(exit_code(&[ended("Failed", &[fine])]), 1);
        assert_eq!(exit_code(&[]), 0);
    }

    #[test]
    fn failures_are_explained_with_their_message() {
        let lines = explain(&ended("Failed", &[("a", 3, "2026-01-01T00:00:01Z"), ("c", 0, "2026-01-01T00:00:00Z")]));
        assert_eq!(lines, ["p/a: exited with code 3 (Error): why"]);
        assert!(explain(&ended("Succeeded", &[("a", 0, "2026-01-01T00:00:01Z")])).is_empty());
    }
}
