//! Pods in words.

use serde_json::Value;

use super::{Context, Lines, conditions, or_none, rfc1123, scalar, since};
use crate::cli::print::object::{at, list, text};

/// Describes a pod (kubectl `describePod`).
pub(super) fn pod(out: &mut Lines, pod: &Value, context: &Context<'_>) {
    let spec = |field: &str| text(pod, &["spec", field]).to_owned();
    let status = |field: &str| text(pod, &["status", field]).to_owned();
    out.head(pod);
    if let Some(priority) = at(pod, &["spec", "priority"]) {
        out.field(0, "Priority", &scalar(priority));
    }
    out.some(0, "Priority Class Name", &spec("priorityClassName"));
    out.some(0, "Runtime Class Name", &spec("runtimeClassName"));
    out.some(0, "Service Account", &spec("serviceAccountName"));
    match spec("nodeName").as_str() {
        "" => out.field(0, "Node", "<none>"),
        node => out.field(0, "Node", &format!("{node}/{}", status("hostIP"))),
    }
    out.some(0, "Start Time", &rfc1123(pod, &["status", "startTime"]));
    out.labels(pod);
    let phase = status("phase");
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() && phase != "Succeeded" && phase != "Failed" {
        let lasts = since(pod, &["metadata", "deletionTimestamp"], context.now);
        out.field(0, "Status", &format!("Terminating (lasts {lasts})"));
        let grace = at(pod, &["metadata", "deletionGracePeriodSeconds"]).map_or_else(|| "0".to_owned(), scalar);
        out.field(0, "Termination Grace Period", &format!("{grace}s"));
    } else {
        out.field(0, "Status", &phase);
    }
    out.some(0, "Reason", &status("reason"));
    out.some(0, "Message", &status("message"));
    profile(out, 0, at(pod, &["spec", "securityContext"]));
    out.field(0, "IP", &status("podIP"));
    let ips = list(pod, &["status", "podIPs"]);
    if ips.is_empty() {
        out.field(0, "IPs", "<none>");
    } else {
        out.line(0, "IPs:");
        ips.iter().for_each(|ip| out.field(1, "IP", text(ip, &["ip"])));
    }
    let mut owners = list(pod, &["metadata", "ownerReferences"]).iter();
    if let Some(owner) = owners.find(|owner| owner.get("controller") == Some(&Value::Bool(true))) {
        out.field(0, "Controlled By", &format!("{}/{}", text(owner, &["kind"]), text(owner, &["name"])));
    }
    out.some(0, "NominatedNodeName", &status("nominatedNodeName"));
    if let Some(resources) = at(pod, &["spec", "resources"]) {
        out.line(0, "Resources:");
        quantities(out, 1, "Limits", resources.get("limits"));
        quantities(out, 1, "Requests", resources.get("requests"));
    }
    containers(out, pod, "Init Containers", "initContainers", "initContainerStatuses");
    containers(out, pod, "Containers", "containers", "containerStatuses");
    containers(out, pod, "Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses");
    readiness_gates(out, pod);
    conditions(out, pod);
    volumes(out, pod);
    out.some(0, "QoS Class", &status("qosClass"));
    out.pairs(0, "Node-Selectors", at(pod, &["spec", "nodeSelector"]), "=");
    let tolerations: Vec<String> = list(pod, &["spec", "tolerations"]).iter().map(toleration).collect();
    out.several(0, "Tolerations", &tolerations);
}

fn profile(out: &mut Lines, level: usize, security: Option<&Value>) {
    if let Some(profile) = security.and_then(|security| security.get("seccompProfile")) {
        out.field(level, "SeccompProfile", text(profile, &["type"]));
        out.some(level + 1, "LocalhostProfile", text(profile, &["localhostProfile"]));
    }
}

fn readiness_gates(out: &mut Lines, pod: &Value) {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return;
    }
    out.line(0, "Readiness Gates:");
    out.line(1, "Type\tStatus");
    for gate in gates {
        let name = text(gate, &["conditionType"]);
        let mut found = list(pod, &["status", "conditions"]).iter();
        let found = found.find(|condition| text(condition, &["type"]) == name);
        let status = found.map_or("<none>", |condition| text(condition, &["status"]));
        out.line(1, &format!("{name} \t{status} "));
    }
}

fn containers(out: &mut Lines, pod: &Value, label: &str, field: &str, statuses: &str) {
    let containers = list(pod, &["spec", field]);
    if containers.is_empty() {
        return;
    }
    out.line(0, &format!("{label}:"));
    for container in containers {
        let name = text(container, &["name"]);
        out.line(1, &format!("{name}:"));
        let status = list(pod, &["status", statuses]).iter().find(|status| text(status, &["name"]) == name);
        identity(out, container, status);
        words(out, "Command", list(container, &["command"]));
        words(out, "Args", list(container, &["args"]));
        if let Some(status) = status {
            state(out, "State", status.get("state"));
            let last = status.get("lastState").filter(|state| state.get("terminated").is_some());
            if last.is_some() {
                state(out, "Last State", last);
            }
            let ready = status.get("ready") == Some(&Value::Bool(true));
            out.field(2, "Ready", if ready { "True" } else { "False" });
            out.field(2, "Restart Count", &status.get("restartCount").map_or_else(|| "0".to_owned(), scalar));
        }
        quantities(out, 2, "Limits", at(container, &["resources", "limits"]));
        quantities(out, 2, "Requests", at(container, &["resources", "requests"]));
        for (label, field) in
            [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
        {
            if let Some(found) = container.get(field) {
                out.field(2, label, &probe(found));
            }
        }
        environment(out, pod, container);
        mounts(out, container);
    }
}

fn identity(out: &mut Lines, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        out.field(2, "Container ID", text(status, &["containerID"]));
    }
    out.field(2, "Image", text(container, &["image"]));
    if let Some(status) = status {
        out.field(2, "Image ID", text(status, &["imageID"]));
    }
    let ports = list(container, &["ports"]);
    for (label, field) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let port = |port: &Value| {
            format!("{}/{}", port.get(field).map_or_else(|| "0".to_owned(), scalar), text(port, &["protocol"]))
        };
        let shown: Vec<String> = ports.iter().map(port).collect();
        let label = if shown.len() > 1 { format!("{label}s") } else { label.to_owned() };
        out.field(2, &label, or_none(&shown.join(", ")));
    }
    profile(out, 2, container.get("securityContext"));
}

fn words(out: &mut Lines, label: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    out.line(2, &format!("{label}:"));
    for word in words {
        scalar(word).split('\n').for_each(|line| out.line(3, line));
    }
}

fn state(out: &mut Lines, label: &str, state: Option<&Value>) {
    let part = |name| state.and_then(|state| state.get(name));
    if let Some(running) = part("running") {
        out.field(2, label, "Running");
        out.field(3, "Started", &rfc1123(running, &["startedAt"]));
    } else if let Some(terminated) = part("terminated") {
        out.field(2, label, "Terminated");
        out.some(3, "Reason", text(terminated, &["reason"]));
        out.some(3, "Message", text(terminated, &["message"]));
        out.field(3, "Exit Code", &terminated.get("exitCode").map_or_else(|| "0".to_owned(), scalar));
        if let Some(signal) = terminated.get("signal").filter(|signal| signal.as_i64() != Some(0)) {
            out.field(3, "Signal", &scalar(signal));
        }
        out.field(3, "Started", &rfc1123(terminated, &["startedAt"]));
        out.field(3, "Finished", &rfc1123(terminated, &["finishedAt"]));
    } else {
        out.field(2, label, "Waiting");
        out.some(3, "Reason", part("waiting").map_or("", |waiting| text(waiting, &["reason"])));
    }
}

/// Amounts of resources, under their heading.
pub(super) fn quantities(out: &mut Lines, level: usize, label: &str, quantities: Option<&Value>) {
    let mut amounts: Vec<(&String, &Value)> = quantities.and_then(Value::as_object).into_iter().flatten().collect();
    if amounts.is_empty() {
        return;
    }
    amounts.sort_by_key(|(name, _)| *name);
    out.line(level, &format!("{label}:"));
    amounts.iter().for_each(|(name, amount)| out.field(level + 1, name, &scalar(amount)));
}

fn probe(probe: &Value) -> String {
    let number = |field| probe.get(field).map_or_else(|| "0".to_owned(), scalar);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    );
    let port = |of: &Value| of.get("port").map_or_else(String::new, scalar);
    if let Some(exec) = probe.get("exec") {
        let command: Vec<String> = list(exec, &["command"]).iter().map(scalar).collect();
        format!("exec [{}] {attributes}", command.join(" "))
    } else if let Some(get) = probe.get("httpGet") {
        let scheme = text(get, &["scheme"]).to_lowercase();
        let path = text(get, &["path"]);
        format!("http-get {scheme}://{}:{}{path} {attributes}", text(get, &["host"]), port(get))
    } else if let Some(socket) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{} {attributes}", text(socket, &["host"]), port(socket))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc <pod>:{} {} {attributes}", port(grpc), text(grpc, &["service"]))
    } else {
        format!("unknown {attributes}")
    }
}

fn environment(out: &mut Lines, pod: &Value, container: &Value) {
    let sources = list(container, &["envFrom"]);
    if !sources.is_empty() {
        out.line(2, "Environment Variables from:");
        for source in sources {
            let (kind, of) = match (source.get("configMapRef"), source.get("secretRef")) {
                (Some(of), _) => ("ConfigMap", of),
                (_, Some(of)) => ("Secret", of),
                (None, None) => continue,
            };
            let prefix = match text(source, &["prefix"]) {
                "" => String::new(),
                prefix => format!(" with prefix '{prefix}'"),
            };
            out.line(3, &format!("{}\t{kind}{prefix}\tOptional: {}", text(of, &["name"]), optional(of)));
        }
    }
    let variables = list(container, &["env"]);
    if variables.is_empty() {
        out.field(2, "Environment", "<none>");
        return;
    }
    out.line(2, "Environment:");
    for variable in variables {
        out.field(3, text(variable, &["name"]), &value_of(pod, variable));
    }
}

fn optional(of: &Value) -> bool {
    of.get("optional") == Some(&Value::Bool(true))
}

fn value_of(pod: &Value, variable: &Value) -> String {
    let Some(from) = variable.get("valueFrom") else {
        return text(variable, &["value"]).replace('\n', "\n        ");
    };
    if let Some(field) = from.get("fieldRef") {
        let path = text(field, &["fieldPath"]);
        let parts: Vec<&str> = path.split('.').collect();
        return format!(" {} ({}:{path})", text(pod, &parts), text(field, &["apiVersion"])).trim_start().to_owned();
    }
    if let Some(resource) = from.get("resourceFieldRef") {
        return format!("({})", text(resource, &["resource"]));
    }
    if let Some(secret) = from.get("secretKeyRef") {
        let (key, name) = (text(secret, &["key"]), text(secret, &["name"]));
        return format!("<set to the key '{key}' in secret '{name}'>\tOptional: {}", optional(secret));
    }
    if let Some(map) = from.get("configMapKeyRef") {
        let (key, name) = (text(map, &["key"]), text(map, &["name"]));
        return format!("<set to the key '{key}' of config map '{name}'>\tOptional: {}", optional(map));
    }
    String::new()
}

fn mounts(out: &mut Lines, container: &Value) {
    let mut mounts: Vec<&Value> = list(container, &["volumeMounts"]).iter().collect();
    if mounts.is_empty() {
        out.field(2, "Mounts", "<none>");
        return;
    }
    mounts.sort_by_key(|mount| text(mount, &["mountPath"]));
    out.line(2, "Mounts:");
    for mount in mounts {
        let read_only = mount.get("readOnly") == Some(&Value::Bool(true));
        let mut flags = vec![if read_only { "ro".to_owned() } else { "rw".to_owned() }];
        match text(mount, &["subPath"]) {
            "" => {}
            path => flags.push(format!("path={path:?}")),
        }
        let (path, name) = (text(mount, &["mountPath"]), text(mount, &["name"]));
        out.line(3, &format!("{path} from {name} ({})", flags.join(",")));
    }
}

fn toleration(toleration: &Value) -> String {
    let field = |name| text(toleration, &[name]);
    let mut out = field("key").to_owned();
    if !field("value").is_empty() {
        out.push_str(&format!("={}", field("value")));
    }
    if !field("effect").is_empty() {
        out.push_str(&format!(":{}", field("effect")));
    }
    // An empty key with Exists tolerates everything.
    if field("operator") == "Exists" && field("value").is_empty() {
        out.push_str(if out.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration.get("tolerationSeconds") {
        out.push_str(&format!(" for {}s", scalar(seconds)));
    }
    out
}

fn volumes(out: &mut Lines, pod: &Value) {
    let volumes = list(pod, &["spec", "volumes"]);
    if volumes.is_empty() {
        out.field(0, "Volumes", "<none>");
        return;
    }
    out.line(0, "Volumes:");
    for volume in volumes {
        out.line(1, &format!("{}:", text(volume, &["name"])));
        source(out, volume);
    }
}

fn source(out: &mut Lines, volume: &Value) {
    let part = |name| volume.get(name);
    let field = |of: &Value, name: &str| of.get(name).map_or_else(String::new, scalar);
    if let Some(dir) = part("emptyDir") {
        out.field(2, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
        out.field(2, "Medium", &field(dir, "medium"));
        let limit = field(dir, "sizeLimit");
        out.field(2, "SizeLimit", if limit.is_empty() { "<unset>" } else { &limit });
    } else if let Some(path) = part("hostPath") {
        out.field(2, "Type", "HostPath (bare host directory volume)");
        out.field(2, "Path", &field(path, "path"));
        out.field(2, "HostPathType", &field(path, "type"));
    } else if let Some(map) = part("configMap") {
        out.field(2, "Type", "ConfigMap (a volume populated by a ConfigMap)");
        out.field(2, "Name", &field(map, "name"));
        out.field(2, "Optional", &optional(map).to_string());
    } else if let Some(secret) = part("secret") {
        out.field(2, "Type", "Secret (a volume populated by a Secret)");
        out.field(2, "SecretName", &field(secret, "secretName"));
        out.field(2, "Optional", &optional(secret).to_string());
    } else if let Some(claim) = part("persistentVolumeClaim") {
        out.field(2, "Type", "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)");
        out.field(2, "ClaimName", &field(claim, "claimName"));
        out.field(2, "ReadOnly", &(claim.get("readOnly") == Some(&Value::Bool(true))).to_string());
    } else if let Some(api) = part("downwardAPI") {
        out.field(2, "Type", "DownwardAPI (a volume populated by information about the pod)");
        out.line(2, "Items:");
        for item in list(api, &["items"]) {
            let from = text(item, &["fieldRef", "fieldPath"]);
            out.line(3, &format!("{from} -> {}", text(item, &["path"])));
        }
    } else if let Some(projected) = part("projected") {
        out.field(2, "Type", "Projected (a volume that contains injected data from multiple sources)");
        list(projected, &["sources"]).iter().for_each(|source| projection(out, source));
    } else {
        let kind = volume.as_object().and_then(|fields| fields.keys().find(|key| *key != "name"));
        out.field(2, "Type", kind.map_or("<unknown>", String::as_str));
    }
}

fn projection(out: &mut Lines, source: &Value) {
    let optional = |of: &Value| of.get("optional").map_or_else(|| "<nil>".to_owned(), scalar);
    if let Some(secret) = source.get("secret") {
        out.field(2, "SecretName", text(secret, &["name"]));
        out.field(2, "SecretOptionalName", &optional(secret));
    } else if let Some(map) = source.get("configMap") {
        out.field(2, "ConfigMapName", text(map, &["name"]));
        out.field(2, "ConfigMapOptional", &optional(map));
    } else if source.get("downwardAPI").is_some() {
        out.field(2, "DownwardAPI", "true");
    } else if let Some(token) = source.get("serviceAccountToken") {
        let seconds = token.get("expirationSeconds").map_or_else(|| "3600".to_owned(), scalar);
        out.field(2, "TokenExpirationSeconds", &seconds);
    }
}
