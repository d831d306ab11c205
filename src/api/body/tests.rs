//! What bodies decode to, and how what is wrong with them is worded.

use serde_json::json;

use super::*;

const POD: GroupVersionKind<'static> = GroupVersionKind { group: "", version: "v1", kind: "Pod" };
const SECRET: GroupVersionKind<'static> = GroupVersionKind { group: "", version: "v1", kind: "Secret" };

fn decode(body: &str) -> Result<DecodedBody, BodyError> {
    decode_body(body.as_bytes(), Some("application/json"), POD)
}

fn decode_yaml(body: &str) -> Result<DecodedBody, BodyError> {
    decode_body(body.as_bytes(), Some("application/yaml; charset=utf-8"), POD)
}

fn refusal(body: &str) -> String {
    decode(body).expect_err(body).to_string()
}

#[test]
fn a_good_pod_comes_through_as_it_is() {
    let pod = json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "a", "labels": {"x": "y"}, "managedFields": [{"fieldsV1": {"f:spec": {"f:a": null}}}]},
        "spec": {
            "containers": [{
                "name": "c",
                "image": "busybox",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
                "livenessProbe": {"httpGet": {"port": "web"}, "periodSeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": 80}},
            }],
            "terminationGracePeriodSeconds": 0,
            "securityContext": {},
        },
    });
    for content_type in [None, Some(""), Some("application/json"), Some("Application/JSON;charset=utf-8")] {
        let decoded = decode_body(pod.to_string().as_bytes(), content_type, POD).unwrap();
        assert_eq!(decoded, DecodedBody { value: pod.clone(), unknown: Vec::new(), duplicates: Vec::new() });
        assert!(decoded.check_strict(POD).is_ok());
    }
    assert_eq!(decode_yaml(&pod.to_string()).unwrap().value, pod);
}

#[test]
fn unknown_and_duplicate_fields_are_told_and_left_out() {
    let body = r#"{"kind":"Pod","apiVersion":"v1","foo":1,"metadata":{"name":"a","name":"b"},"spec":{
        "containers":[{"name":"c"},{"name":"d","imag":"x","env":[{"name":"A","nam":"B"}]}],
        "bar":{"deep":{"unknown":[1,2]}}, "nodeSelector": {"a":"1","a":"2"}}}"#;
    let decoded = decode(body).unwrap();
    let spec = json!({
        "containers": [{"name": "c"}, {"name": "d", "env": [{"name": "A"}]}],
        "nodeSelector": {"a": "2"},
    });
    assert_eq!(decoded.value, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "b"}, "spec": spec}));
    assert_eq!(
        decoded.violations(),
        [
            "unknown field \"foo\"",
            "unknown field \"spec.containers[1].imag\"",
            "unknown field \"spec.containers[1].env[0].nam\"",
            "unknown field \"spec.bar\"",
            "duplicate field \"metadata.name\"",
            "duplicate field \"spec.nodeSelector.a\"",
        ]
    );
    let strict = decode(r#"{"kind":"Pod","apiVersion":"v1","spec":{"foo":1}}"#).unwrap().check_strict(POD);
    assert_eq!(
        strict.unwrap_err().to_string(),
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\""
    );
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    let decoded = decode_yaml(
        "metadata: {name: p, creationTimestamp: null, labels: &l {app: web}, annotations: {<<: *l, yes: 'on'}}\n\
         spec:\n  containers:\n  - name: a\n    stdin: yes\n    resources: {limits: {cpu: 0.5, memory: 1024Ki}}\n  \
         terminationGracePeriodSeconds: 30.0\n  foo: 1\n  foo: 2\n---\nkind: Other\n",
    )
    .unwrap();
    assert_eq!(
        decoded.value,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "web"}, "annotations": {"true": "on", "app": "web"}},
            "spec": {
                "containers": [{"name": "a", "stdin": true, "resources": {"limits": {"cpu": "500m", "memory": "1Mi"}}}],
                "terminationGracePeriodSeconds": 30,
            },
        })
    );
    assert_eq!(decoded.violations(), ["unknown field \"spec.foo\"", "duplicate field \"spec.foo\""]);
}

#[test]
fn null_is_nothing_and_values_take_their_canonical_form() {
    let decoded = decode(
        r#"{"metadata":{"creationTimestamp":null,"labels":{"a":null},"deletionTimestamp":"2026-01-02T03:04:05.9+01:00"},
            "spec":{"containers":[null,{"name":"a","args":[null],"resources":{"limits":{"cpu":1.5,"memory":null}}}],
            "nodeName":null},"status":null}"#,
    )
    .unwrap();
    assert_eq!(
        decoded.value,
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": {"a": ""}, "deletionTimestamp": "2026-01-02T02:04:05Z"},
            "spec": {"containers": [
                {},
                {"name": "a", "args": [""], "resources": {"limits": {"cpu": "1500m", "memory": "0"}}},
            ]},
        })
    );
    let secret = decode_body(br#"{"data":{"a":"YQ=\n=","b":null}}"#, None, SECRET).unwrap();
    assert_eq!(secret.value["data"], json!({"a": "YQ==", "b": ""}));
    let lease = GroupVersionKind { group: "coordination.k8s.io", version: "v1", kind: "Lease" };
    let lease = decode_body(br#"{"spec":{"renewTime":"2026-01-02T03:04:05.123456789Z"}}"#, None, lease).unwrap();
    assert_eq!(lease.value["spec"]["renewTime"], "2026-01-02T03:04:05.123456Z");
}

#[test]
fn values_of_the_wrong_type_are_told_in_gos_words() {
    for (spec, expected) in [
        (
            r#"{"terminationGracePeriodSeconds":"x"}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            r#"{"terminationGracePeriodSeconds":1.5}"#,
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type \
             int64",
        ),
        (
            r#"{"containers":[{"env":[{"name":"A","value":1}]}]}"#,
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ),
        (
            r#"{"containers":{}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            r#"{"containers":["a"]}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container",
        ),
        (
            r#"{"nodeSelector":{"a":true}}"#,
            "json: cannot unmarshal bool into Go struct field PodSpec.spec.nodeSelector of type string",
        ),
        (
            r#"{"nodeSelector":[]}"#,
            "json: cannot unmarshal array into Go struct field PodSpec.spec.nodeSelector of type map[string]string",
        ),
        (
            r#"{"containers":[{"ports":[{"containerPort":3000000000}]}]}"#,
            "json: cannot unmarshal number 3000000000 into Go struct field \
             ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            r#"{"containers":[{"tty":"yes"}]}"#,
            "json: cannot unmarshal string into Go struct field Container.spec.containers.tty of type bool",
        ),
        (
            r#"{"containers":[{"resources":{"limits":{"cpu":"1x"}}}]}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            r#"{"containers":[{"livenessProbe":{"tcpSocket":{"port":true}}}]}"#,
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            r#"{"containers":[{"livenessProbe":{"tcpSocket":{"port":1.5}}}]}"#,
            "json: cannot unmarshal number 1.5 into Go value of type int32",
        ),
        ("7", "json: cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec"),
    ] {
        let expected = format!("Pod in version \"v1\" cannot be handled as a Pod: {expected}");
        assert_eq!(refusal(&format!(r#"{{"spec":{spec}}}"#)), expected, "{spec}");
    }
    assert_eq!(
        refusal(r#"{"metadata":{"creationTimestamp":"yesterday"}}"#),
        "Pod in version \"v1\" cannot be handled as a Pod: parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": \
         cannot parse \"yesterday\""
    );
    let secret = decode_body(br#"{"data":{"a":"a!=="}}"#, None, SECRET).unwrap_err().to_string();
    assert!(secret.ends_with("illegal base64 data at input byte 1"), "{secret}");
}

#[test]
fn bodies_must_be_of_the_kind_that_is_expected() {
    for (body, expected) in [
        (
            r#"{"apiVersion":"v1","kind":"Secret"}"#,
            "Secret in version \"v1\" cannot be handled as a Pod: converting (v1.Secret) to (v1.Pod): unknown conversion",
        ),
        (
            r#"{"apiVersion":"example.com/v1","kind":"Foo"}"#,
            "Foo in version \"v1\" cannot be handled as a Pod: no kind \"Foo\" is registered for version \"example.com/v1\"",
        ),
        (
            r#"{"apiVersion":"v2","kind":"Pod"}"#,
            "Pod in version \"v2\" cannot be handled as a Pod: no kind \"Pod\" is registered for version \"v2\"",
        ),
        (
            "",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: \
             unexpected end of JSON input (<empty>)",
        ),
        (
            "[1]",
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; the body is not an \
             object (5b315d)",
        ),
        (
            r#"{"kind":1}"#,
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; kind is not a string \
             ({\"kind\":1})",
        ),
    ] {
        assert_eq!(refusal(body), expected, "{body}");
    }
    let event = GroupVersionKind { group: "", version: "v1", kind: "Event" };
    let wrong = decode_body(br#"{"apiVersion":"events.k8s.io/v1","kind":"Event"}"#, None, event).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the API version in the data (events.k8s.io/v1) does not match the expected API version (v1)"
    );
    let options = br#"{"apiVersion":"coordination.k8s.io/v1","kind":"DeleteOptions","gracePeriodSeconds":0,"x":1}"#;
    let options = decode_body(options, None, DELETE_OPTIONS).unwrap();
    assert_eq!((options.value["gracePeriodSeconds"].as_i64(), options.unknown.len()), (Some(0), 1));
    let unknown_type = decode_body(b"{}", Some("text/plain"), POD).unwrap_err().to_string();
    assert_eq!(
        unknown_type,
        "the body of the request was in an unknown format - accepted media types include: application/json, \
         application/yaml, application/vnd.kubernetes.protobuf"
    );
}

#[test]
fn hostile_bodies_are_refused_within_bounds() {
    let deep = "[".repeat(100_000);
    assert!(refusal(&deep).len() < 500);
    assert!(decode_yaml(&deep).unwrap_err().to_string().len() < 500);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120));
    assert!(refusal(&deep).contains("nested more than 100 levels deep"), "{}", refusal(&deep));
    let many = format!("{{\"spec\":{{\"containers\":[{}{{}}]}}}}", "{},".repeat(MAX_VALUES));
    assert!(refusal(&many).contains("more than 300000 values"), "{}", refusal(&many));
    let long = format!("{{\"metadata\":{{\"name\":\"{}\"}}}}", "a".repeat(MAX_BODY));
    assert_eq!(decode(&long), Err(BodyError::TooLarge));
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (from, to) in ["ab", "bc", "cd", "de", "ef"].map(|pair| pair.split_at(1)) {
        bomb.push_str(&format!(
            "{to}: &{to} [*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from}]\n"
        ));
    }
    let refused = decode_yaml(&bomb).unwrap_err().to_string();
    assert!(refused.contains("values"), "{refused}");
    let unknown: String = (0..1000).map(|index| format!("\"f{index}\":1,\"f{index}\":2,")).collect();
    let decoded = decode(&format!("{{{unknown}\"spec\":{{}}}}")).unwrap();
    assert_eq!((decoded.unknown.len(), decoded.duplicates.len()), (100, 100));
    for body in [&b"\xff\xfe{}"[..], b"{\"a\":\"\xff\"}", b"\0", b"{\"a\":1}x", b"nul", b"{\"a\":1e999}"] {
        assert!(decode_body(body, None, POD).is_err());
    }
    for body in ["a: .inf", "", "a: !!binary aGk=", "- 1", "? [a]\n: b", "a: *b", "{a: 1", "\u{feff}"] {
        assert!(decode_yaml(body).is_err(), "{body}");
    }
}
