//! What decoding accepts and how it words what it refuses.

use super::*;

/// A pod whose container has `lines` (indented by four) among its fields, starting at line 8.
fn pod(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: a\n{indented}")
}

fn messages(text: &str) -> Vec<String> {
    match decode_documents("pod.yaml", text) {
        Ok(decoded) => panic!("decoded: {decoded:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn decode_one(text: &str) -> Object {
    let decoded = decode_documents("-", text).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(decoded.len(), 1, "{decoded:?}");
    decoded.into_iter().next().unwrap().object
}

fn decode_pod(text: &str) -> k8s_openapi::api::core::v1::Pod {
    match decode_one(text) {
        Object::Pod(pod) => *pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_and_duplicate_fields_are_all_named_with_their_lines() {
    let text = pod("image: x\nfoo: 1\nlivenessProbe:\n  exec:\n    command: [a]\n    periodSeconds: 1\nimage: z");
    let errors = decode_documents("pod.yaml", &text).unwrap_err();
    assert_eq!(
        errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "pod.yaml:9: strict decoding error: unknown field \"spec.containers[0].foo\"",
            "pod.yaml:13: strict decoding error: unknown field \"spec.containers[0].livenessProbe.exec.periodSeconds\"",
            "pod.yaml:14: strict decoding error: duplicate field \"spec.containers[0].image\"",
        ]
    );
    assert_eq!(
        strict_decoding_message(&errors).unwrap(),
        "strict decoding error: unknown field \"spec.containers[0].foo\", \
         unknown field \"spec.containers[0].livenessProbe.exec.periodSeconds\", \
         duplicate field \"spec.containers[0].image\""
    );
}

#[test]
fn the_timing_fields_one_level_too_deep_are_both_named() {
    let errors = messages(include_str!("../../../tests/data/api/10-strict-error.yaml"));
    assert_eq!(
        errors,
        [
            "pod.yaml:14: strict decoding error: unknown field \
             \"spec.containers[0].livenessProbe.exec.initialDelaySeconds\"",
            "pod.yaml:15: strict decoding error: unknown field \"spec.containers[0].livenessProbe.exec.periodSeconds\"",
        ]
    );
}

#[test]
fn values_of_the_wrong_type_are_all_named() {
    for (fields, expected) in [
        (
            "env: [{name: A, value: 1}]",
            "pod.yaml:8: spec.containers[0].env[0].value: cannot unmarshal number 1 into a field of type string; \
             put it in quotes: \"1\"",
        ),
        (
            "env: [{name: A, value: yes}]",
            "pod.yaml:8: spec.containers[0].env[0].value: cannot unmarshal bool yes into a field of type string; \
             put it in quotes: \"yes\"",
        ),
        (
            "command: [sleep, 10]",
            "pod.yaml:8: spec.containers[0].command[1]: cannot unmarshal number 10 into a field of type string; \
             put it in quotes: \"10\"",
        ),
        ("command: sleep", "pod.yaml:8: spec.containers[0].command: cannot unmarshal string into a field of type list"),
        (
            "ports: [{containerPort: '80'}]",
            "pod.yaml:8: spec.containers[0].ports[0].containerPort: cannot unmarshal string into a field of type i32",
        ),
        (
            "ports: [{containerPort: 3000000000}]",
            "pod.yaml:8: spec.containers[0].ports[0].containerPort: cannot unmarshal number 3000000000 into a field \
             of type i32",
        ),
        (
            "ports: [{containerPort: 1.5}]",
            "pod.yaml:8: spec.containers[0].ports[0].containerPort: cannot unmarshal number 1.5 into a field of type \
             i32",
        ),
        ("tty: maybe", "pod.yaml:8: spec.containers[0].tty: cannot unmarshal string into a field of type bool"),
        (
            "resources: {limits: {memory: 64MB}}",
            "pod.yaml:8: spec.containers[0].resources.limits.memory: quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "resources:\n  limits: [1]",
            "pod.yaml:9: spec.containers[0].resources.limits: cannot unmarshal array into a field of type object",
        ),
        (
            "livenessProbe: {tcpSocket: {port: 1.5}}",
            "pod.yaml:8: spec.containers[0].livenessProbe.tcpSocket.port: invalid type: floating point `1.5`, expected \
             IntOrString",
        ),
    ] {
        assert_eq!(messages(&pod(fields)), [expected], "{fields}");
    }
    let several = "stdin: 1\nlivenessProbe: {tcpSocket: {port: 1.5}}\nreadinessProbe: {tcpSocket: {port: {}}}\nbad: 1";
    let errors = messages(&pod(several));
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: p, labels: &labels {app: web}, annotations: {<<: *labels, on: 'yes', 1: one}, creationTimestamp: null}
spec:
  containers:
  - name: a
    image: \"x:y\"
    stdin: yes
    tty: Off
    args:
    - |
      two
      lines
    - 2001-12-14
    resources: {limits: {cpu: 0.5, memory: 1024Ki}, requests: {cpu: 1e3, memory:}}
  volumes:
  - name: v
    secret: {secretName: s, defaultMode: 0644, items: [{key: k, path: p, mode: 256}]}
  terminationGracePeriodSeconds: 30.0
";
    let pod = decode_pod(text);
    let spec = pod.spec.unwrap();
    let container = &spec.containers[0];
    assert_eq!((container.stdin, container.tty), (Some(true), Some(false)));
    assert_eq!(container.args.as_deref().unwrap(), ["two\nlines\n", "2001-12-14"]);
    let resources = container.resources.as_ref().unwrap();
    assert_eq!(resources.limits.as_ref().unwrap()["cpu"].0, "500m");
    assert_eq!(resources.limits.as_ref().unwrap()["memory"].0, "1Mi");
    assert_eq!(resources.requests.as_ref().unwrap()["cpu"].0, "1k");
    assert_eq!(resources.requests.as_ref().unwrap()["memory"].0, "0");
    let secret = spec.volumes.as_ref().unwrap()[0].secret.as_ref().unwrap();
    assert_eq!(secret.default_mode, Some(0o644));
    assert_eq!(secret.items.as_ref().unwrap()[0].mode, Some(0o400));
    assert_eq!(spec.termination_grace_period_seconds, Some(30));
    let annotations = pod.metadata.annotations.unwrap();
    let pairs: Vec<_> = annotations.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("1", "one"), ("app", "web"), ("true", "yes")]);
    assert_eq!(pod.metadata.creation_timestamp, None);
}

#[test]
fn json_and_lists_and_several_documents_decode() {
    let json = r#"{"apiVersion":"v1","kind":"List","metadata":{},"items":[
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"a\/b\n\u00e9 \ud83d\ude00"}},
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}]}"#;
    let decoded = decode_documents("-", json).unwrap();
    assert_eq!(decoded.iter().map(|one| one.object.kind()).collect::<Vec<_>>(), ["ConfigMap", "Namespace"]);
    match &decoded[0].object {
        Object::ConfigMap(config) => assert_eq!(config.data.as_ref().unwrap()["k"], "a/b\né 😀"),
        other => panic!("{other:?}"),
    }
    let yaml = "---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\n\
                apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n...\n";
    let decoded = decode_documents("f.yaml", yaml).unwrap();
    assert_eq!(decoded.iter().map(|one| one.object.name()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(decoded[1].origin.place_of("metadata.name"), "f.yaml:11");
    assert!(decode_documents("-", "").unwrap().is_empty());
    assert!(decode_documents("-", "# only a comment\n").unwrap().is_empty());
}

#[test]
fn all_documents_are_looked_at() {
    let text = "apiVersion: v1\nkind: Pod\nspec: {a: 1}\n---\napiVersion: v1\nkind: Service\nspec: {b: 1}\n";
    assert_eq!(
        messages(text),
        [
            "pod.yaml:3: strict decoding error: unknown field \"spec.a\"",
            "pod.yaml:7: strict decoding error: unknown field \"spec.b\"",
        ]
    );
}

#[test]
fn string_data_goes_into_data_and_wins() {
    let text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: YQ==, b: Yg==}\nstringData: {b: new, c: c}\n";
    match decode_one(text) {
        Object::Secret(secret) => {
            let data = secret.data.unwrap();
            let shown: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.0.as_slice())).collect();
            assert_eq!(shown, [("a", &b"a"[..]), ("b", b"new"), ("c", b"c")]);
            assert_eq!(secret.string_data, None);
        }
        other => panic!("{other:?}"),
    }
    let errors = messages("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: plain!, b: Yg==, c: '?'}\n");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("pod.yaml:4: data.a: expected a base64-encoded string: "), "{errors:?}");
    assert!(!errors[0].contains("plain"), "a secret's content must not be shown: {errors:?}");
}

#[test]
fn other_kinds_are_refused_with_advice() {
    for (text, expected) in [
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            "pod.yaml:2: kind \"Deployment\" of apiVersion \"apps/v1\" is not understood: the kinds of apiVersion v1 \
             that are: Pod, ConfigMap, Secret, PersistentVolumeClaim, Service, Endpoints, ServiceAccount, Namespace, and List of \
             these; write the template of the Deployment as a Pod",
        ),
        ("apiVersion: v2\nkind: Pod\n", "pod.yaml:2: no kind \"Pod\" in apiVersion \"v2\": use apiVersion v1"),
        ("kind: Pod\n", "pod.yaml:1: apiVersion is missing: a document must say its apiVersion and kind"),
        ("apiVersion: v1\n", "pod.yaml:1: kind is missing: a document must say its apiVersion and kind"),
        ("- a\n", "pod.yaml:1: a document must be an object with apiVersion and kind"),
        ("just text\n", "pod.yaml:1: a document must be an object with apiVersion and kind"),
    ] {
        assert_eq!(messages(text), [expected]);
    }
}

#[test]
fn broken_yaml_names_its_line() {
    for text in
        ["a: [1, 2\n", "a: b: c\n", "\ta: 1\n", "a: 'x\n", "? {a: b}\n: c\n", "*nothing\n", "a: !ruby/object x\n"]
    {
        let errors = messages(text);
        assert!(errors[0].starts_with("pod.yaml:"), "{text:?}: {errors:?}");
    }
    assert!(messages("apiVersion: v1\nkind: Pod\n---\na: [\n").len() == 1);
}

#[test]
fn hostile_documents_are_refused_quickly() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_block: String = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let previous = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    let mut merge_bomb = "a0: &a0 {x: 1}\n".to_owned();
    for level in 1..30 {
        let previous = vec![format!("*a{}", level - 1); 10].join(",");
        merge_bomb.push_str(&format!("a{level}: &a{level} {{<<: [{previous}], k{level}: [{previous}]}}\n"));
    }
    let long_aliases = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), "*a,".repeat(100_000));
    let many_duplicates = format!("apiVersion: v1\nkind: Pod\nspec: {{{}}}\n", "a: 1,".repeat(100_000));
    let wide = format!("a: [{}]", "1,".repeat(1_200_000));
    let long_key = format!("{}: 1\n", "k".repeat(100_000));
    let cyclic = "a: &a [*a]\n".to_owned();
    let huge = "x".repeat(yaml::MAX_TEXT_BYTES + 1);
    let many_errors = format!(
        "apiVersion: v1\nkind: Pod\nspec: {{containers: [{}]}}\n",
        "{livenessProbe: {tcpSocket: {port: 1.5}}},".repeat(2_000)
    );
    for (name, text) in [
        ("deep", deep),
        ("deep block", deep_block),
        ("aliases", bomb),
        ("merges", merge_bomb),
        ("long aliases", long_aliases),
        ("many duplicates", many_duplicates),
        ("long explicit key", format!("? {}\n: 1\n", "k".repeat(2_000))),
        ("wide", wide),
        ("long key", long_key),
        ("cyclic", cyclic),
        ("huge", huge),
        ("many errors", many_errors),
    ] {
        assert!(!messages(&text).is_empty(), "{name}");
    }
}

proptest::proptest! {
    /// Whatever the text, decoding answers: it neither panics nor hangs.
    #[test]
    fn any_text_is_answered(text in "[-a-z0-9:{}\\[\\],&*!|>'\"# \n\t%?~<.\u{e9}\u{feff}]{0,200}") {
        let _ = decode_documents("-", &text);
        let pod = format!("apiVersion: v1\nkind: Pod\nspec: {text}\n");
        let _ = decode_documents("-", &pod);
    }

    /// A quantity that reads prints in a form that reads as the same amount.
    #[test]
    fn any_quantity_survives_printing(text in "[+-]?[0-9]{0,12}[.]?[0-9]{0,12}(e[+-]?[0-9]{1,2}|[numkMGTPE]|[KMGTPE]i)?") {
        if let Ok(quantity) = text.parse::<crate::api::quantity::Quantity>() {
            let printed = quantity.to_string();
            proptest::prop_assert_eq!(printed.parse::<crate::api::quantity::Quantity>(), Ok(quantity), "{}", printed);
        }
    }
}
