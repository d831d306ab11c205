//! What a user can do about what went wrong, as short advice in the manifest's own words.

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `timeoutSeconds` where a probe has none.
const DEFAULT_TIMEOUT_SECONDS: i32 = 1;
/// What to do when a command is a shell.
const NO_SHELL: &str = "the image has no such shell: name the program itself as the command";

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeName {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeName {
    /// As the messages of events begin.
    pub(super) fn capitalised(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// As it is spoken of.
    pub(super) fn lower(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What to do about a probe that fails so.
pub(super) fn of_probe(name: ProbeName, failure: &str, container: &Container) -> Option<String> {
    let probe = name.of(container)?;
    let field = format!("{}Probe", name.lower());
    let lower = failure.to_lowercase();
    let path = probe.http_get.as_ref().and_then(|get| get.path.as_deref()).unwrap_or("/");
    if needs_shell(failure) {
        return Some(NO_SHELL.to_owned());
    }
    // A gRPC client goes on trying to connect until its time is up.
    if ["connection refused", "failed to connect service"].iter().any(|sign| lower.contains(sign)) {
        let (handler, port) = port(probe, container)?;
        let slow = "if it only starts slowly, raise startupProbe.failureThreshold";
        return Some(match name {
            ProbeName::Startup => format!("nothing listens on port {port}: check {field}.{handler}.port; {slow}"),
            _ => format!("nothing listens on port {port}: check {field}.{handler}.port"),
        });
    }
    if lower.contains("statuscode: 404") {
        return Some(format!("check {field}.httpGet.path, which is {path}"));
    }
    if lower.contains("statuscode: ") {
        return Some(format!("{path} must answer with a status from 200 to 399"));
    }
    if ["timed out", "timeout", "deadline exceeded"].iter().any(|sign| lower.contains(sign)) {
        let seconds = probe.timeout_seconds.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        return Some(format!("raise {field}.timeoutSeconds, which is {seconds}"));
    }
    None
}

/// The handler of a probe that connects, and its port; a name is looked up in the container.
fn port(probe: &Probe, container: &Container) -> Option<(&'static str, String)> {
    let (handler, port) = match probe {
        Probe { http_get: Some(get), .. } => ("httpGet", &get.port),
        Probe { tcp_socket: Some(socket), .. } => ("tcpSocket", &socket.port),
        Probe { grpc: Some(grpc), .. } => return Some(("grpc", grpc.port.to_string())),
        _ => return None,
    };
    let number = match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let found = ports.find(|port| port.name.as_ref() == Some(name));
            found.map_or_else(|| name.clone(), |port| port.container_port.to_string())
        }
    };
    Some((handler, number))
}

/// Whether a program could not be started because it is a shell.
fn needs_shell(message: &str) -> bool {
    ["\"sh\"", "\"/bin/sh\""].iter().any(|shell| message.contains(&format!("exec: {shell}")))
}

/// What to do about a container that waits or has ended for this reason, with this message.
pub(super) fn of_reason(reason: &str, message: &str) -> Option<String> {
    let advice = match reason {
        "StartError" if needs_shell(message) => NO_SHELL,
        "OOMKilled" => "raise resources.limits.memory",
        "ErrImagePull"
        | "RegistryUnavailable"
        | "SignatureValidationFailed"
        | "ImagePullBackOff"
        | "ErrImageNeverPull" => "see `husk image ls`, `husk image import`",
        "PostStartHookError" => "check lifecycle.postStart",
        _ => return of_missing_object(message),
    };
    Some(advice.to_owned())
}

/// What to do about an object that a pod refers to and that is not there, or has not what is asked of it.
pub(super) fn of_missing_object(message: &str) -> Option<String> {
    let kinds =
        [("configmap \"", "ConfigMap"), ("secret \"", "Secret"), ("persistentvolumeclaim \"", "PersistentVolumeClaim")];
    let missing = kinds.iter().find_map(|(beginning, kind)| {
        let (_, rest) = message.split_once(beginning)?;
        let (name, rest) = rest.split_once('"')?;
        rest.starts_with(" not found").then(|| format!("add {kind} {name} to the manifests"))
    });
    let no_key = ["couldn't find key ", "references non-existent "].iter().any(|sign| message.contains(sign));
    missing.or_else(|| no_key.then(|| "add the key to the object's data, or make it optional".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "{name: c, ports: [{name: web, containerPort: 8080}], \
        startupProbe: {tcpSocket: {port: web}, timeoutSeconds: 3}, \
        livenessProbe: {grpc: {port: 50051}}, \
        readinessProbe: {httpGet: {path: /healthz, port: 81}}}";

    #[test]
    fn a_failing_probe_has_a_remedy_in_the_manifests_words() {
        let container: Container = serde_yaml::from_str(CONTAINER).unwrap();
        let refused = "Get \"http://10.0.0.2:81/\": dial tcp 10.0.0.2:81: connect: connection refused";
        for (name, failure, expected) in [
            (ProbeName::Readiness, refused, Some("nothing listens on port 81: check readinessProbe.httpGet.port")),
            (
                ProbeName::Startup,
                refused,
                Some(
                    "nothing listens on port 8080: check startupProbe.tcpSocket.port; if it only starts slowly, raise \
                     startupProbe.failureThreshold",
                ),
            ),
            (ProbeName::Liveness, refused, Some("nothing listens on port 50051: check livenessProbe.grpc.port")),
            (
                ProbeName::Readiness,
                "HTTP probe failed with statuscode: 404",
                Some("check readinessProbe.httpGet.path, which is /healthz"),
            ),
            (
                ProbeName::Readiness,
                "HTTP probe failed with statuscode: 503",
                Some("/healthz must answer with a status from 200 to 399"),
            ),
            (
                ProbeName::Startup,
                "command timed out: \"x\" timed out after 3s",
                Some("raise startupProbe.timeoutSeconds, which is 3"),
            ),
            (
                ProbeName::Liveness,
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                Some("raise livenessProbe.timeoutSeconds, which is 1"),
            ),
            (
                ProbeName::Liveness,
                "timeout: failed to connect service \"10.88.0.2:50051\" within 1s: context deadline exceeded",
                Some("nothing listens on port 50051: check livenessProbe.grpc.port"),
            ),
            (ProbeName::Readiness, "exec: \"sh\": executable file not found in $PATH", Some(NO_SHELL)),
            (ProbeName::Liveness, "service unhealthy (responded with \"NOT_SERVING\")", None),
        ] {
            assert_eq!(of_probe(name, failure, &container).as_deref(), expected, "{failure}");
        }
    }

    #[test]
    fn a_missing_object_is_named() {
        for (message, expected) in [
            (
                "MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found",
                Some("add ConfigMap settings to the manifests"),
            ),
            ("secret \"s\" not found", Some("add Secret s to the manifests")),
            ("persistentvolumeclaim \"data\" not found", Some("add PersistentVolumeClaim data to the manifests")),
            (
                "couldn't find key k in ConfigMap default/settings",
                Some("add the key to the object's data, or make it optional"),
            ),
            ("hostPath type check failed: /x is not a directory", None),
        ] {
            assert_eq!(of_missing_object(message).as_deref(), expected, "{message}");
        }
    }
}
