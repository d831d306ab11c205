//! Which container of a pod a request is about, and which instance of it.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use crate::apiserver::ApiError;

/// The container a client names, or the only one there is (registry/core/pod `validateContainer`).
///
/// # Errors
/// There is no such container, or more than one to choose from.
pub(super) fn choose(pod: &Pod, named: &str) -> Result<String, ApiError> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let init = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()).map(|container| &container.name);
    let own = spec.iter().flat_map(|spec| &spec.containers).map(|container| &container.name);
    let ephemeral = spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let all: Vec<&str> =
        init.chain(own.clone()).chain(ephemeral.map(|container| &container.name)).map(String::as_str).collect();
    if !named.is_empty() {
        let found = all.contains(&named).then(|| named.to_owned());
        return found
            .ok_or_else(|| ApiError::bad_request(format!("container {named} is not valid for pod {pod_name}")));
    }
    let own: Vec<_> = own.collect();
    match own[..] {
        [only] => Ok(only.clone()),
        [] => Err(ApiError::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        _ => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            all.join(" ")
        ))),
    }
}

/// The number of the instance whose log is asked for, counting restarts (kubelet v1.36 `validateContainerLogStatus`): the
/// one that runs, else the last one that has ended; with `previous`, the one that ended before the current one.
///
/// # Errors
/// There is no such instance.
pub(super) fn instance(pod: &Pod, container: &str, previous: bool) -> Result<u32, ApiError> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let what = format!("container {container:?} in pod {pod_name:?}");
    let status = status_of(pod, container).ok_or_else(|| ApiError::bad_request(format!("{what} is not available")))?;
    let none = ContainerState::default();
    let (state, last) = (status.state.as_ref().unwrap_or(&none), status.last_state.as_ref().unwrap_or(&none));
    let last_ended = last.terminated.as_ref().is_some_and(has_run);
    let count = u32::try_from(status.restart_count).unwrap_or(0);
    // While a container waits, the count is that of the instance which has ended.
    let last_instance = if state.waiting.is_some() { count } else { count.saturating_sub(1) };
    let terminated = || Err(ApiError::bad_request(format!("{what} is terminated")));
    match (&state.running, &state.terminated, &last.terminated, &state.waiting) {
        _ if previous && last_ended => Ok(last_instance),
        _ if previous => Err(ApiError::bad_request(format!("previous terminated {what} not found"))),
        (Some(_), ..) => Ok(count),
        (_, Some(end), ..) if has_run(end) => Ok(count),
        (_, Some(_), ..) | (_, _, Some(_), _) if last_ended => Ok(last_instance),
        (_, Some(_), ..) | (_, _, Some(_), _) => terminated(),
        (_, _, _, Some(waiting)) => {
            let reason = match waiting.reason.as_deref().unwrap_or_default() {
                "ErrImagePull" => "image can't be pulled",
                "ImagePullBackOff" => "trying and failing to pull image",
                reason => reason,
            };
            Err(ApiError::bad_request(format!("{what} is waiting to start: {reason}")))
        }
        _ => Err(ApiError::bad_request(format!("{what} is waiting to start - no logs yet"))),
    }
}

/// Whether an end is that of an instance, and not of an attempt to make one.
fn has_run(end: &ContainerStateTerminated) -> bool {
    end.container_id.as_deref().is_some_and(|id| !id.is_empty())
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let own = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    let mut all = own.chain(init).chain(status.ephemeral_container_statuses.iter().flatten());
    all.find(|status| status.name == container)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value, statuses: Value) -> Pod {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": {"containerStatuses": statuses}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_container_is_named_or_the_only_one() {
        let one = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}), json!([]));
        let two = pod(
            json!({
                "initContainers": [{"name": "i"}],
                "containers": [{"name": "c"}, {"name": "d"}],
                "ephemeralContainers": [{"name": "e"}],
            }),
            json!([]),
        );
        let none = pod(json!({"containers": []}), json!([]));
        for (pod, named, expected) in [
            (&one, "", Ok("c")),
            (&one, "i", Ok("i")),
            (&two, "e", Ok("e")),
            (&two, "x", Err("container x is not valid for pod p")),
            (&two, "", Err("a container name must be specified for pod p, choose one of: [i c d e]")),
            (&none, "", Err("a container name must be specified for pod p")),
        ] {
            let chosen = choose(pod, named).map_err(|error| error.message);
            assert_eq!(chosen.as_deref().map_err(String::as_str), expected, "{named}");
        }
    }

    #[test]
    fn the_instance_follows_from_the_status() {
        let ended = json!({"terminated": {"exitCode": 1, "containerID": "wasm://1"}});
        let lost = json!({"terminated": {"exitCode": 137}});
        let waits = |reason: &str| json!({"waiting": {"reason": reason}});
        let running = json!({"running": {}});
        let not_found = Err("previous terminated container \"c\" in pod \"p\" not found");
        for (state, last, count, current, previous) in [
            (running.clone(), json!({}), 0, Ok(0), not_found),
            (running, ended.clone(), 3, Ok(3), Ok(2)),
            (ended.clone(), json!({}), 0, Ok(0), not_found),
            (ended.clone(), ended.clone(), 1, Ok(1), Ok(0)),
            (lost.clone(), ended.clone(), 1, Ok(0), Ok(0)),
            (lost.clone(), json!({}), 0, Err("container \"c\" in pod \"p\" is terminated"), not_found),
            (waits("CrashLoopBackOff"), ended, 2, Ok(2), Ok(2)),
            (waits("CrashLoopBackOff"), lost, 2, Err("container \"c\" in pod \"p\" is terminated"), not_found),
            (
                waits("ContainerCreating"),
                json!({}),
                0,
                Err("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
                not_found,
            ),
            (
                waits("ErrImagePull"),
                json!({}),
                0,
                Err("container \"c\" in pod \"p\" is waiting to start: image can't be pulled"),
                not_found,
            ),
            (
                waits("ImagePullBackOff"),
                json!({}),
                0,
                Err("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
                not_found,
            ),
            (json!({}), json!({}), 0, Err("container \"c\" in pod \"p\" is waiting to start - no logs yet"), not_found),
        ] {
            let status = json!([{"name": "c", "state": state, "lastState": last, "restartCount": count,
                "image": "", "imageID": "", "ready": false}]);
            let pod = pod(json!({"containers": [{"name": "c"}]}), status);
            for (asks_previous, expected) in [(false, current), (true, previous)] {
                let found = instance(&pod, "c", asks_previous).map_err(|error| error.message);
                assert_eq!(found.as_ref().copied().map_err(String::as_str), expected, "{state} {last} {asks_previous}");
            }
        }
        let unknown = instance(&pod(json!({"containers": [{"name": "c"}]}), json!([])), "c", false).unwrap_err();
        assert_eq!(unknown.message, "container \"c\" in pod \"p\" is not available");
    }
}
