//! §11 of the pod semantics, rule by rule.

use super::*;

struct Objects;

impl ConfigSource for Objects {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        let yaml = match (namespace, name) {
            ("ns", "c1") => "{data: {A: c1-a, B: c1-b, R: $(A)}, binaryData: {BIN: AAE=}}",
            ("ns", "c2") => "{data: {A: c2-a}}",
            _ => return None,
        };
        Some(Arc::new(serde_yaml::from_str(yaml).unwrap()))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        ((namespace, name) == ("ns", "s1"))
            .then(|| Arc::new(serde_yaml::from_str("{data: {PASSWORD: aHVudGVyMg==}}").unwrap()))
    }
}

fn services() -> Vec<Arc<Service>> {
    [
        "{metadata: {name: my-db, namespace: ns}, spec: {clusterIP: 10.96.0.9, ports: [{name: sql-x, port: 5432}, {name: m, port: 53, protocol: UDP}]}}",
        "{metadata: {name: headless, namespace: ns}, spec: {clusterIP: None, ports: [{port: 1}]}}",
        "{metadata: {name: other, namespace: elsewhere}, spec: {clusterIP: 10.96.0.8, ports: [{port: 1}]}}",
        "{metadata: {name: kubernetes, namespace: default}, spec: {clusterIP: 'fd00::1', ports: [{name: https, port: 443}]}}",
    ]
    .into_iter()
    .map(|yaml| Arc::new(serde_yaml::from_str(yaml).unwrap()))
    .collect()
}

/// Resolves the environment of a container given as YAML and shows it without what Services add.
fn resolve(container: &str, links: bool) -> Result<Vec<(String, String)>, String> {
    let container: Container = serde_yaml::from_str(container).unwrap();
    let yaml = format!(
        "{{metadata: {{name: p, namespace: ns}}, spec: {{enableServiceLinks: {links}, containers: [{{name: c, resources: {{limits: {{cpu: 1500m}}}}}}]}}}}"
    );
    let pod: Pod = serde_yaml::from_str(&yaml).unwrap();
    let facts = DownwardFacts::default();
    let services = services();
    let context = EnvContext { pod: &pod, source: &Objects, facts: &facts, services: &services };
    variables(&context, &container).map_err(|error| error.to_string())
}

#[test]
fn references_resolve_in_order() {
    let cases: &[(&str, &str, Result<&str, &str>)] = &[
        (
            "later envFrom wins",
            "envFrom: [{configMapRef: {name: c1}}, {configMapRef: {name: c2}}]",
            Ok("A=c2-a B=c1-b R=$(A)"),
        ),
        ("prefix", "envFrom: [{prefix: P_, secretRef: {name: s1}}]", Ok("P_PASSWORD=hunter2")),
        ("missing envFrom", "envFrom: [{configMapRef: {name: no}}]", Err("configmap \"no\" not found")),
        ("missing secret", "envFrom: [{secretRef: {name: no}}]", Err("secret \"no\" not found")),
        ("optional envFrom", "envFrom: [{configMapRef: {name: no, optional: true}}]", Ok("")),
        ("env overrides envFrom", "envFrom: [{configMapRef: {name: c2}}]\nenv: [{name: A, value: x}]", Ok("A=x")),
        (
            "expansion sees envFrom and earlier env",
            "envFrom: [{configMapRef: {name: c2}}]\nenv: [{name: X, value: $(A)}, {name: Y, value: $(X)-$(Z)}, {name: Z, value: z}]",
            Ok("A=c2-a X=c2-a Y=c2-a-$(Z) Z=z"),
        ),
        (
            "valueFrom is not expanded",
            "env: [{name: A, value: a}, {name: X, valueFrom: {configMapKeyRef: {name: c1, key: R}}}, {name: Y, value: $(X)}]",
            Ok("A=a X=$(A) Y=$(A)"),
        ),
        (
            "service variables are known to expansion",
            "env: [{name: X, value: $(KUBERNETES_SERVICE_PORT)}]",
            Ok("X=443"),
        ),
        (
            "missing key",
            "env: [{name: X, valueFrom: {configMapKeyRef: {name: c1, key: no}}}]",
            Err("couldn't find key no in ConfigMap ns/c1"),
        ),
        (
            "missing secret key",
            "env: [{name: X, valueFrom: {secretKeyRef: {name: s1, key: no}}}]",
            Err("couldn't find key no in Secret ns/s1"),
        ),
        (
            "missing object",
            "env: [{name: X, valueFrom: {secretKeyRef: {name: no, key: no}}}]",
            Err("secret \"no\" not found"),
        ),
        (
            "optional missing key is not set",
            "env: [{name: X, valueFrom: {configMapKeyRef: {name: c1, key: no, optional: true}}}, {name: Y, value: $(X)}]",
            Ok("Y=$(X)"),
        ),
        ("empty value", "env: [{name: X}, {name: Y, value: ''}]", Ok("X= Y=")),
        ("later duplicate wins", "env: [{name: X, value: '1'}, {name: X, value: $(X)2}]", Ok("X=12")),
        ("fieldRef", "env: [{name: X, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", Ok("X=p")),
        ("resourceFieldRef", "env: [{name: X, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]", Ok("X=2")),
        (
            "fileKeyRef",
            "env: [{name: X, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]",
            Err("environment variable \"X\" uses fileKeyRef, which is not supported"),
        ),
    ];
    for (rule, fields, expected) in cases {
        let shown = resolve(&format!("name: c\n{fields}"), false).map(|variables| {
            let own = variables.iter().filter(|(name, _)| !name.starts_with("KUBERNETES"));
            own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(shown.as_deref().map_err(String::as_str), *expected, "{rule}");
    }
}

#[test]
fn services_of_the_namespace_show_as_variables() {
    let shown: Vec<String> =
        resolve("name: c", true).unwrap().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = "KUBERNETES_SERVICE_HOST=fd00::1 KUBERNETES_SERVICE_PORT=443 KUBERNETES_SERVICE_PORT_HTTPS=443 \
        KUBERNETES_PORT=tcp://[fd00::1]:443 KUBERNETES_PORT_443_TCP=tcp://[fd00::1]:443 \
        KUBERNETES_PORT_443_TCP_PROTO=tcp KUBERNETES_PORT_443_TCP_PORT=443 KUBERNETES_PORT_443_TCP_ADDR=fd00::1 \
        MY_DB_SERVICE_HOST=10.96.0.9 MY_DB_SERVICE_PORT=5432 MY_DB_SERVICE_PORT_SQL_X=5432 MY_DB_SERVICE_PORT_M=53 \
        MY_DB_PORT=tcp://10.96.0.9:5432 MY_DB_PORT_5432_TCP=tcp://10.96.0.9:5432 MY_DB_PORT_5432_TCP_PROTO=tcp \
        MY_DB_PORT_5432_TCP_PORT=5432 MY_DB_PORT_5432_TCP_ADDR=10.96.0.9 MY_DB_PORT_53_UDP=udp://10.96.0.9:53 \
        MY_DB_PORT_53_UDP_PROTO=udp MY_DB_PORT_53_UDP_PORT=53 MY_DB_PORT_53_UDP_ADDR=10.96.0.9";
    assert_eq!(shown, expected.split_whitespace().collect::<Vec<_>>());
    let without_links = resolve("name: c", false).unwrap();
    assert!(without_links.iter().all(|(name, _)| name.starts_with("KUBERNETES_")), "{without_links:?}");
    assert!(!without_links.is_empty());
}

#[test]
fn the_process_also_gets_the_images_variables() {
    let pairs = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Vec<_>>();
    let all = with_image(&pairs(&[("LANG", "C"), ("A", "image")]), "h", &pairs(&[("A", "spec")]));
    assert_eq!(all, pairs(&[("PATH", DEFAULT_PATH), ("HOSTNAME", "h"), ("LANG", "C"), ("A", "spec")]));
    let all = with_image(&pairs(&[("PATH", "/bin")]), "h", &pairs(&[("HOSTNAME", "mine")]));
    assert_eq!(all, pairs(&[("PATH", "/bin"), ("HOSTNAME", "mine")]));
}

/// Each variable names the one before twice: without a limit this comes to a gigabyte.
#[test]
fn an_environment_that_explodes_is_refused() {
    let doubled = (1..30).map(|n| format!(", {{name: V{n}, value: $(V{})$(V{})}}", n - 1, n - 1)).collect::<String>();
    let container = format!("name: c\nenv: [{{name: V0, value: xx}}{doubled}]");
    let said = resolve(&container, false).unwrap_err();
    assert_eq!(said, "argument list too long: the environment comes to more than 2097152 bytes");
}
