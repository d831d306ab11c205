//! Server-side apply and the ownership of fields, by the rules of Kubernetes' documentation, `managedfields` and
//! `structured-merge-diff`.

use serde_json::json;

use super::*;

const CONFIG_MAP: (&str, &str) = ("", "ConfigMap");
const POD: (&str, &str) = ("", "Pod");

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn manager<'a>(name: &'a str, kind: (&'static str, &'static str), seconds: i64) -> FieldManager<'a> {
    FieldManager { name, subresource: None, kind, time: at(seconds) }
}

fn object(kind: &str, rest: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
    merge_into(&mut object, rest);
    object
}

fn merge_into(object: &mut Value, rest: &Value) {
    json_patch::merge(object, rest);
}

fn config(data: &Value) -> Value {
    object("ConfigMap", &json!({"data": data}))
}

fn apply(who: &str, live: Option<&Value>, applied: &Value, force: bool, seconds: i64) -> Result<Value, String> {
    let kind = if applied["kind"] == "Pod" { POD } else { CONFIG_MAP };
    manager(who, kind, seconds).apply(live, applied, force).map_err(|error| error.to_string())
}

fn update(who: &str, old: Option<&Value>, mut new: Value, seconds: i64) -> Value {
    let kind = if new["kind"] == "Pod" { POD } else { CONFIG_MAP };
    manager(who, kind, seconds).track_update(old, &mut new);
    new
}

/// The entries, shortened to `manager operation[/subresource] second`, with their fields.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let shortened = entries.iter().map(|entry| {
        assert_eq!((&entry["apiVersion"], &entry["fieldsType"]), (&json!("v1"), &json!("FieldsV1")));
        let second = entry.get("time").map_or("-".to_owned(), |time| {
            let time: Timestamp = time.as_str().unwrap().parse().unwrap();
            (time.as_second() - at(0).as_second()).to_string()
        });
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let subresource =
            if text("subresource").is_empty() { String::new() } else { format!("/{}", text("subresource")) };
        (format!("{} {}{subresource} {second}", text("manager"), text("operation")), entry["fieldsV1"].clone())
    });
    shortened.collect()
}

fn owned_by(object: &Value, who: &str) -> Option<Value> {
    owners(object).into_iter().find(|(name, _)| name.starts_with(&format!("{who} "))).map(|(_, fields)| fields)
}

fn plain(object: &Value) -> Value {
    without_managed_fields(object)
}

#[test]
fn whoever_creates_owns_what_is_there() {
    let pod = object(
        "Pod",
        &json!({
            "metadata": {"namespace": "n", "uid": "u", "creationTimestamp": "t", "labels": {"a": "1"}},
            "spec": {
                "containers": [{"name": "c", "image": "i", "resources": {}, "args": ["x"],
                    "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}],
                "volumes": [{"name": "v", "emptyDir": {}}], "nodeSelector": {"a": "b"}, "dnsPolicy": "Default",
                "tolerations": [{"key": "k"}],
            },
            "status": {"phase": "Pending"},
        }),
    );
    let pod = update("kubectl-create", None, pod, 1);
    let item = |below: Value| {
        let mut item = json!({".": {}});
        merge_into(&mut item, &below);
        item
    };
    // What a cluster shows for such a pod; `containers`, `spec` and `metadata` are there before anyone sets them.
    let expected = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {
            "f:containers": {"k:{\"name\":\"c\"}": item(json!({
                "f:args": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                "f:ports": item(json!({
                    "k:{\"containerPort\":53,\"protocol\":\"UDP\"}": item(json!({"f:containerPort": {}, "f:protocol": {}})),
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": item(json!({"f:containerPort": {}})),
                })),
            }))},
            "f:dnsPolicy": {}, "f:nodeSelector": {}, "f:tolerations": {},
            "f:volumes": item(json!({"k:{\"name\":\"v\"}": item(json!({"f:emptyDir": {}, "f:name": {}}))})),
        },
    });
    assert_eq!(owners(&pod), [("kubectl-create Update 1".to_owned(), expected)]);
}

#[test]
fn updates_take_what_they_change() {
    let object = update("a", None, config(&json!({"x": "1", "y": "1"})), 1);
    let changed = update("b", Some(&object), config(&json!({"x": "2", "z": "1"})), 2);
    assert_eq!(
        owners(&changed),
        [
            ("a Update 1".to_owned(), json!({"f:data": {}})),
            ("b Update 2".to_owned(), json!({"f:data": {"f:x": {}, "f:z": {}}})),
        ]
    );
    // Nothing changed: not even the time does.
    let mut same = plain(&changed);
    manager("c", CONFIG_MAP, 3).track_update(Some(&changed), &mut same);
    assert_eq!(same, changed);
    // Whoever loses all fields is gone.
    let removed = update("c", Some(&changed), object_without_data(), 4);
    assert_eq!(owners(&removed), []);
}

fn object_without_data() -> Value {
    object("ConfigMap", &json!({}))
}

#[test]
fn subresources_have_entries_of_their_own() {
    let pod = update("a", None, object("Pod", &json!({"spec": {"nodeName": "n"}})), 1);
    let mut with_status = plain(&pod);
    merge_into(
        &mut with_status,
        &json!({"spec": {"nodeName": "m"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    let kubelet = FieldManager { subresource: Some("status"), ..manager("kubelet", POD, 2) };
    // Whatever a client sends as managed fields of a subresource is ignored.
    with_status["metadata"]["managedFields"] = json!([]);
    kubelet.track_update(Some(&pod), &mut with_status);
    assert_eq!(
        owners(&with_status),
        [
            ("a Update 1".to_owned(), json!({"f:spec": {"f:nodeName": {}}})),
            (
                "kubelet Update/status 2".to_owned(),
                json!({"f:status": {
                    "f:phase": {},
                    "f:conditions": {".": {}, "k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}},
                }})
            ),
        ]
    );
}

#[test]
fn clients_may_set_managed_fields() {
    let old = update("a", None, config(&json!({"x": "1"})), 1);
    // Left out, or nonsense: the old ones.
    for listed in [json!(null), json!("x"), json!([{"manager": "b"}])] {
        let mut new = config(&json!({"x": "1"}));
        new["metadata"]["managedFields"] = listed;
        assert_eq!(owners(&update("b", Some(&old), new, 2)), owners(&old));
    }
    // Reset: nobody owns anything, and updates are not tracked until somebody applies.
    for listed in [json!([]), json!([{}])] {
        let mut new = config(&json!({"x": "2"}));
        new["metadata"]["managedFields"] = listed;
        let reset = update("b", Some(&old), new, 2);
        assert_eq!(plain(&reset), reset);
        assert_eq!(owners(&update("b", Some(&reset), config(&json!({"x": "3"})), 3)), []);
        let applied = apply("c", Some(&reset), &config(&json!({"y": "1"})), false, 4).unwrap();
        assert_eq!(
            owners(&applied),
            [
                ("c Apply 4".to_owned(), json!({"f:data": {"f:y": {}}})),
                ("before-first-apply Update 4".to_owned(), json!({"f:data": {".": {}, "f:x": {}}})),
            ]
        );
    }
    // kubectl's move from its own apply to the server's replaces its entries.
    let mut new = plain(&old);
    new["metadata"]["managedFields"] = json!([{
        "manager": "kubectl", "operation": "Apply", "apiVersion": "v1", "time": "2024-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}},
    }]);
    let expected = new.clone();
    assert_eq!(update("kubectl", Some(&old), new, 2), expected);
}

/// `DefaultMaxUpdateManagers`.
#[test]
fn old_updates_become_ancient_changes() {
    let mut object = update("m0", None, config(&json!({"k0": "1"})), 0);
    for n in 1..15 {
        let mut new = plain(&object);
        new["data"][format!("k{n}")] = json!("1");
        object = update(&format!("m{n:02}"), Some(&object), new, n);
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 10);
    let (ancient, fields) = &owners[0];
    assert_eq!(ancient, "ancient-changes Update 5");
    let old = json!({"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}, "f:k4": {}, "f:k5": {}}});
    assert_eq!(fields, &old);
    assert_eq!(owners[9].0, "m14 Update 14");
}

#[test]
fn applying_creates_changes_and_removes() {
    let created = apply("a", None, &config(&json!({"x": "1", "y": "1"})), false, 1).unwrap();
    assert_eq!(plain(&created), config(&json!({"x": "1", "y": "1"})));
    assert_eq!(owners(&created), [("a Apply 1".to_owned(), json!({"f:data": {"f:x": {}, "f:y": {}}}))]);

    // Again: nothing happens, not even to the time.
    assert_eq!(apply("a", Some(&created), &config(&json!({"x": "1", "y": "1"})), false, 2), Ok(created.clone()));

    // Somebody else owns `y`, too, so that it stays when `a` drops it; `x` goes.
    let shared = apply("b", Some(&created), &config(&json!({"y": "1"})), false, 3).unwrap();
    assert_eq!(plain(&shared), plain(&created));
    let dropped = apply("a", Some(&shared), &config(&json!({"z": "1"})), false, 4).unwrap();
    assert_eq!(plain(&dropped)["data"], json!({"y": "1", "z": "1"}));
    assert_eq!(owned_by(&dropped, "a"), Some(json!({"f:data": {"f:z": {}}})));
    assert_eq!(owned_by(&dropped, "b"), Some(json!({"f:data": {"f:y": {}}})));

    // The last owner drops all of it.
    let rest = apply("a", Some(&dropped), &object_without_data(), false, 5).unwrap();
    let empty = apply("b", Some(&rest), &object_without_data(), false, 6).unwrap();
    assert_eq!(empty, object_without_data());
}

#[test]
fn what_others_own_is_not_changed_unless_it_is_taken_over() {
    let live = update("kubectl", None, config(&json!({"a": "1", "b": "1", "c": "1"})), 1);
    let conflict = |data: Value| apply("me", Some(&live), &config(&data), false, 2);
    assert_eq!(
        conflict(json!({"a": "2"})),
        Err("Apply failed with 1 conflict: conflict with \"kubectl\" using v1: .data.a".to_owned())
    );
    let message = "Apply failed with 2 conflicts: conflicts with \"kubectl\" using v1:\n- .data.a\n- .data.b";
    assert_eq!(conflict(json!({"a": "2", "b": "2", "c": "1"})), Err(message.to_owned()));
    // The same value is no conflict: both own it.
    let shared = conflict(json!({"a": "1"})).unwrap();
    assert_eq!(owned_by(&shared, "me"), Some(json!({"f:data": {"f:a": {}}})));
    assert_eq!(owned_by(&shared, "kubectl"), owned_by(&live, "kubectl"));
    let forced = apply("me", Some(&live), &config(&json!({"a": "2"})), true, 2).unwrap();
    assert_eq!(forced["data"]["a"], "2");
    assert_eq!(
        owners(&forced),
        [
            ("me Apply 2".to_owned(), json!({"f:data": {"f:a": {}}})),
            ("kubectl Update 1".to_owned(), json!({"f:data": {".": {}, "f:b": {}, "f:c": {}}})),
        ]
    );

    // Appliers are named without a version, subresources with theirs.
    let applied = apply("other", None, &config(&json!({"a": "1"})), false, 1).unwrap();
    let error = manager("me", CONFIG_MAP, 2).apply(Some(&applied), &config(&json!({"a": "2"})), false).unwrap_err();
    let ApplyError::Conflicts(conflicts) = &error else { panic!("{error}") };
    let causes: Vec<_> = conflicts.iter().map(|conflict| (conflict.message(), conflict.field.as_str())).collect();
    assert_eq!(causes, [("conflict with \"other\"".to_owned(), ".data.a")]);
    let mut pod = object("Pod", &json!({"status": {"podIPs": [{"ip": "1.2.3.4"}], "phase": "Running"}}));
    pod["metadata"]["managedFields"] = json!([{"manager": "kubelet", "operation": "Update", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "subresource": "status", "fieldsV1": {"f:status": {"f:phase": {}}}}]);
    let me = FieldManager { subresource: Some("status"), ..manager("me", POD, 2) };
    let error = me.apply(Some(&pod), &object("Pod", &json!({"status": {"phase": "Failed"}})), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubelet\" with subresource \"status\" using v1: .status.phase"
    );
}

/// Kubernetes' migration: whoever applied client-side as `kubectl` takes over without conflict what the annotation
/// says, as long as nobody changed it since.
#[test]
fn kubectl_takes_over_from_its_own_annotation() {
    let with_annotation = |data: Value, last: &Value| {
        let mut object = config(&data);
        object["metadata"]["annotations"] = json!({LAST_APPLIED: config(last).to_string()});
        object
    };
    let live = update(
        "kubectl-client-side-apply",
        None,
        with_annotation(json!({"a": "1", "b": "changed"}), &json!({"a": "1", "b": "1"})),
        1,
    );
    let mut applied = config(&json!({"a": "2"}));
    let result = apply("kubectl", Some(&live), &applied, false, 2).unwrap();
    assert_eq!(result["data"]["a"], "2");
    let annotation: Value = serde_json::from_str(annotation(&result).unwrap()).unwrap();
    assert_eq!(annotation, applied);
    assert!(apply("somebody", Some(&live), &applied, false, 2).is_err());
    applied["data"]["b"] = json!("2");
    let error = apply("kubectl", Some(&live), &applied, false, 2).unwrap_err();
    assert_eq!(error, "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.b");
}

fn pod(spec: &Value) -> Value {
    object("Pod", &json!({"spec": spec}))
}

#[test]
fn lists_merge_by_all_their_keys() {
    for (field, mine, theirs) in [
        ("containers", json!({"name": "a", "image": "1"}), json!({"name": "b", "image": "1"})),
        (
            "topologySpreadConstraints",
            json!({"topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}),
            json!({"topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway"}),
        ),
        ("hostAliases", json!({"ip": "1", "hostnames": ["x"]}), json!({"ip": "2", "hostnames": ["x"]})),
        ("imagePullSecrets", json!({"name": "a"}), json!({"name": "b"})),
    ] {
        let live = apply("a", None, &pod(&json!({field: [mine]})), false, 1).unwrap();
        let both = apply("b", Some(&live), &pod(&json!({field: [theirs]})), false, 2).unwrap();
        assert_eq!(both["spec"][field], json!([mine, theirs]), "{field}");
        let left = apply("a", Some(&both), &pod(&json!({})), false, 3).unwrap();
        assert_eq!(left["spec"][field], json!([theirs]), "{field}");
    }
    // A port is known by its number and protocol, which is TCP unless it is said.
    let ports = |ports: Value| pod(&json!({"containers": [{"name": "c", "ports": ports}]}));
    let live = apply("a", None, &ports(json!([{"containerPort": 53, "protocol": "TCP"}])), false, 1).unwrap();
    let both = apply(
        "b",
        Some(&live),
        &ports(json!([{"containerPort": 53, "name": "dns"}, {"containerPort": 53, "protocol": "UDP"}])),
        false,
        2,
    )
    .unwrap();
    let expected =
        json!([{"containerPort": 53, "protocol": "TCP", "name": "dns"}, {"containerPort": 53, "protocol": "UDP"}]);
    assert_eq!(both["spec"]["containers"][0]["ports"], expected);
}

#[test]
fn what_is_atomic_has_one_owner() {
    for (spec, other) in [
        (json!({"nodeSelector": {"a": "1"}}), json!({"nodeSelector": {"b": "1"}})),
        (json!({"tolerations": [{"key": "a"}]}), json!({"tolerations": [{"key": "b"}]})),
        (
            json!({"containers": [{"name": "c", "env": [{"name": "e", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]}]}),
            json!({"containers": [{"name": "c", "env": [{"name": "e", "valueFrom": {"fieldRef": {"apiVersion": "v1"}}}]}]}),
        ),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "a", "whenUnsatisfiable": "b", "labelSelector": {"matchLabels": {"a": "1"}}}]}),
            json!({"topologySpreadConstraints": [{"topologyKey": "a", "whenUnsatisfiable": "b", "labelSelector": {"matchLabels": {"b": "1"}}}]}),
        ),
    ] {
        let live = apply("a", None, &pod(&spec), false, 1).unwrap();
        let error = apply("b", Some(&live), &pod(&other), false, 2).unwrap_err();
        assert!(error.starts_with("Apply failed with 1 conflict"), "{error}");
        let forced = apply("b", Some(&live), &pod(&other), true, 2).unwrap();
        assert_eq!(plain(&forced), pod(&other));
    }
    // Objects that are not share their members.
    let live = apply("a", None, &pod(&json!({"securityContext": {"runAsUser": 1}})), false, 1).unwrap();
    let both = apply("b", Some(&live), &pod(&json!({"securityContext": {"fsGroup": 2}})), false, 2).unwrap();
    assert_eq!(both["spec"]["securityContext"], json!({"runAsUser": 1, "fsGroup": 2}));
    let left = apply("a", Some(&both), &pod(&json!({})), false, 3).unwrap();
    assert_eq!(left["spec"], json!({"securityContext": {"fsGroup": 2}}));
}

#[test]
fn conflicts_name_items_by_their_keys() {
    let spec = |image: &str, port: &str| {
        pod(&json!({"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80, "name": port}]}]}))
    };
    let live = update("a", None, spec("1", "http"), 1);
    let error = apply("b", Some(&live), &spec("2", "web"), false, 2).unwrap_err();
    let expected = "Apply failed with 2 conflicts: conflicts with \"a\" using v1:\n\
                    - .spec.containers[name=\"web\"].image\n\
                    - .spec.containers[name=\"web\"].ports[containerPort=80,protocol=\"TCP\"].name";
    assert_eq!(error, expected);
}

#[test]
fn finalizers_are_a_set_and_owners_are_known_by_uid() {
    let with = |finalizers: Value| object("ConfigMap", &json!({"metadata": {"finalizers": finalizers}}));
    let live = apply("a", None, &with(json!(["x/a"])), false, 1).unwrap();
    let both = apply("b", Some(&live), &with(json!(["x/b"])), false, 2).unwrap();
    assert_eq!(both["metadata"]["finalizers"], json!(["x/a", "x/b"]));
    assert_eq!(owned_by(&both, "b"), Some(json!({"f:metadata": {"f:finalizers": {"v:\"x/b\"": {}}}})));
    let left = apply("a", Some(&both), &object_without_data(), false, 3).unwrap();
    assert_eq!(left["metadata"]["finalizers"], json!(["x/b"]));
    let owner = |uid: &str| object("ConfigMap", &json!({"metadata": {"ownerReferences": [{"uid": uid, "name": "n"}]}}));
    let live = apply("a", None, &owner("1"), false, 1).unwrap();
    let both = apply("b", Some(&live), &owner("2"), false, 2).unwrap();
    assert_eq!(both["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    assert_eq!(owned_by(&both, "b"), Some(json!({"f:metadata": {"f:ownerReferences": {"k:{\"uid\":\"2\"}": {}}}})));
}

/// Defaults that the server added belong to nobody; they go with the item that they are in.
#[test]
fn defaults_stay_until_their_item_goes() {
    let two = pod(&json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}));
    let mut live = apply("me", None, &two, false, 1).unwrap();
    merge_into(&mut live, &json!({"spec": {"dnsPolicy": "ClusterFirst"}}));
    live["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    live["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    let one = pod(&json!({"containers": [{"name": "a"}]}));
    let result = apply("me", Some(&live), &one, false, 2).unwrap();
    let expected =
        pod(&json!({"containers": [{"name": "a", "imagePullPolicy": "Always"}], "dnsPolicy": "ClusterFirst"}));
    assert_eq!(plain(&result), expected);
}

/// Shared items stand as the configuration has them, others where they stood between them.
#[test]
fn lists_keep_their_order() {
    let spec = |names: &str| {
        let containers: Vec<_> = names.chars().map(|name| json!({"name": name.to_string()})).collect();
        pod(&json!({"containers": containers}))
    };
    for (live, applied, expected) in [
        ("ab", "ab", "ab"),
        ("ab", "ba", "ba"),
        ("ab", "c", "abc"),
        ("abc", "cb", "acb"),
        ("abc", "xb", "axbc"),
        ("abcde", "eca", "bdeca"),
        ("abc", "cxa", "bcxa"),
        ("a", "xay", "xay"),
    ] {
        let live = update("a", None, spec(live), 1);
        let result = apply("b", Some(&live), &spec(applied), false, 2).unwrap();
        assert_eq!(plain(&result), spec(expected), "{applied} over {live}");
    }
}

#[test]
fn configurations_that_cannot_be_applied() {
    for (applied, error) in [
        (json!([]), "invalid object type: /, Kind="),
        (json!({"apiVersion": "v1", "kind": "Secret"}), "invalid object type: /v1, Kind=Secret"),
        (json!({"apiVersion": "apps/v1", "kind": "Pod"}), "invalid object type: apps/v1, Kind=Pod"),
        (
            json!({"apiVersion": "v2", "kind": "Pod"}),
            "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"managedFields": []}}),
            "metadata.managedFields must be nil",
        ),
        (
            pod(&json!({"containers": [{"name": "a"}, {"name": "a"}]})),
            "failed to create typed patch object (/x; /v1, Kind=Pod): .spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            pod(&json!({"containers": [{"name": "a", "env": {"a": "b"}}]})),
            "failed to create typed patch object (/x; /v1, Kind=Pod): .spec.containers[name=\"a\"].env: expected list, got object",
        ),
        (
            pod(&json!({"containers": ["a"]})),
            "failed to create typed patch object (/x; /v1, Kind=Pod): .spec.containers: element 0: \
             associative list with keys may not have non-map elements",
        ),
    ] {
        let result = manager("me", POD, 1).apply(Some(&pod(&json!({}))), &applied, true);
        assert_eq!(result.map_err(|error| error.to_string()), Err(error.to_owned()));
    }
    let deep = pod(&(0..200).fold(json!(1), |value, _| json!({"a": value})));
    assert!(matches!(manager("me", POD, 1).apply(None, &deep, false), Err(ApplyError::Patch(PatchError::TooLarge(_)))));
}

#[test]
fn managed_fields_survive_reading_and_writing() {
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a/b:c": {}}, "f:finalizers": {"v:\"x\"": {}, "v:1": {}, "v:true": {}}},
        "f:list": {"i:3": {"f:a": {}}, "k:{\"a\":1,\"b\":\"x\\\"y\"}": {".": {}, "f:c": {}}},
    });
    assert_eq!(FieldSet::decode(&fields).unwrap().encode(), fields);
    // Elements of kinds that are not known are dropped; what isn't an element is an error.
    assert_eq!(FieldSet::decode(&json!({"x:a": {}, "f:a": {"y:b": {}}})).unwrap().encode(), json!({"f:a": {}}));
    for bad in [
        json!({"a": {}}),
        json!({"v:": {}}),
        json!({"k:[]": {}}),
        json!({"i:x": {}}),
        json!({"f:a": 1}),
        json!([]),
        json!({"v:{}": {}}),
    ] {
        assert!(FieldSet::decode(&bad).is_err(), "{bad}");
    }
}

#[test]
fn times_alone_are_no_change() {
    let old = apply("a", None, &config(&json!({"x": "1"})), false, 1).unwrap();
    let mut new = apply("a", None, &config(&json!({"x": "1"})), false, 9).unwrap();
    keep_times_if_unchanged(&old, &mut new);
    assert_eq!(new, old);
    let mut new = apply("a", None, &config(&json!({"x": "2"})), false, 9).unwrap();
    keep_times_if_unchanged(&old, &mut new);
    assert_eq!(owners(&new)[0].0, "a Apply 9");
}

/// Long lists and long names cost no more than their length, within reason.
#[test]
fn large_objects_are_quick() {
    let long = "k".repeat(100_000);
    let many: Map<_, _> = (0..5000).map(|n| (n.to_string(), json!("1"))).collect();
    let other: Map<_, _> = (0..5000).map(|n| (n.to_string(), json!("2"))).collect();
    let live = update("a", None, object("ConfigMap", &json!({"data": many, &long: {"a": many}})), 1);
    let error = apply("b", Some(&live), &object("ConfigMap", &json!({"data": other, &long: {"a": other}})), false, 2)
        .unwrap_err();
    assert!(error.starts_with("Apply failed with 10000 conflicts:") && error.len() < 200_000);
    let containers = |from: usize| (from..from + 2000).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>();
    let live = update("a", None, pod(&json!({"containers": containers(0)})), 1);
    let result = apply("b", Some(&live), &pod(&json!({"containers": containers(1000)})), false, 2).unwrap();
    assert_eq!(result["spec"]["containers"].as_array().unwrap().len(), 3000);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Pods with some of a few fields. Lists are not empty, as in objects that were decoded.
    fn spec() -> impl Strategy<Value = Value> {
        let env = prop::collection::btree_map("[a-c]", "[12]", 1..3).prop_map(|env| {
            json!(env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>())
        });
        let args = "[ab]".prop_map(|arg| json!([arg]));
        let container = ("[12]", prop::option::of(env), prop::option::of(args));
        let containers = prop::collection::btree_map("[abc]", container, 1..3);
        let containers = containers.prop_map(Vec::from_iter).prop_shuffle().prop_map(|containers| {
            let item = |(name, (image, env, args))| {
                with(json!({"name": name, "image": image}), [("env", env), ("args", args)])
            };
            json!(containers.into_iter().map(item).collect::<Vec<_>>())
        });
        let selector = prop::collection::btree_map("[ab]", "[12]", 1..3).prop_map(|selector| json!(selector));
        let security = (0..2).prop_map(|user| json!({"runAsUser": user}));
        (prop::option::of(containers), prop::option::of(selector), prop::option::of(security)).prop_map(
            |(containers, selector, security)| {
                let fields = [("containers", containers), ("nodeSelector", selector), ("securityContext", security)];
                let spec = with(json!({}), fields);
                if spec == json!({}) { object("Pod", &json!({})) } else { pod(&spec) }
            },
        )
    }

    fn with<const N: usize>(mut object: Value, fields: [(&str, Option<Value>); N]) -> Value {
        for (name, value) in fields {
            if let Some(value) = value {
                object[name] = value;
            }
        }
        object
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Applied again, a configuration changes nothing.
        #[test]
        fn applying_is_idempotent(live in spec(), before in spec(), applied in spec()) {
            let live = update("a", None, live, 1);
            let live = apply("b", Some(&live), &before, true, 2).unwrap();
            let once = apply("b", Some(&live), &applied, true, 3).unwrap();
            prop_assert_eq!(apply("b", Some(&once), &applied, false, 4), Ok(once));
        }

        /// Whoever is alone gets what was applied, whatever was applied before; empty lists are not told from none.
        #[test]
        fn a_single_applier_gets_what_it_applies(before in spec(), applied in spec()) {
            let first = apply("a", None, &before, false, 1).unwrap();
            let second = apply("a", Some(&first), &applied, false, 2).unwrap();
            let rule = Rule::of(rules::of_kind("", "Pod"));
            let comparison = values::compare(&plain(&second), &applied, rule);
            prop_assert!(comparison.changed().is_empty(), "{:?}", comparison);
        }

        /// What one applies is never taken by another who does not insist, and never lost to its dropping things.
        #[test]
        fn appliers_do_not_hurt_each_other(mine in spec(), first in spec(), second in spec()) {
            let live = apply("me", None, &mine, false, 1).unwrap();
            let Ok(shared) = apply("other", Some(&live), &first, false, 2) else { return Ok(()) };
            let Ok(result) = apply("other", Some(&shared), &second, false, 3) else { return Ok(()) };
            let again = apply("me", Some(&result), &mine, false, 4).unwrap();
            let comparison = values::compare(&result, &again, Rule::of(rules::of_kind("", "Pod")));
            let managed = FieldSet::of_path(&["metadata", "managedFields"]);
            prop_assert!(comparison.changed().difference(&managed).is_empty(), "{:?}", comparison);
            prop_assert!(comparison.removed.is_empty(), "{:?}", comparison);
        }

        /// The owners of an object own nothing that isn't there, and everything that is there has one.
        #[test]
        fn everything_has_an_owner(old in spec(), new in spec(), applied in spec()) {
            let old = update("a", None, old, 1);
            let new = update("b", Some(&old), new, 2);
            let object = apply("c", Some(&new), &applied, true, 3).unwrap();
            let rule = Rule::of(rules::of_kind("", "Pod"));
            let there = values::fields(&plain(&object), rule);
            let mut all = FieldSet::default();
            for entry in entries::decode(object.pointer("/metadata/managedFields")).unwrap() {
                all.union(entry.fields);
            }
            prop_assert!(owned(&there).difference(&all).is_empty());
            prop_assert!(all.difference(&there.with_objects()).is_empty(), "{all:?}");
        }

        /// Any two objects differ in what the comparison says, and nothing else.
        #[test]
        fn comparisons_are_complete(old in spec(), new in spec()) {
            let rule = Rule::of(rules::of_kind("", "Pod"));
            let comparison = values::compare(&old, &new, rule);
            let fields = values::fields(&new, rule);
            prop_assert!(comparison.changed().difference(&fields.clone().with_objects()).is_empty());
            prop_assert!(comparison.removed.intersection(&fields).is_empty());
            let same = comparison.changed().is_empty() && comparison.removed.is_empty();
            prop_assert!(!same || merge::merged(&old, &new, rule) == new);
        }
    }
}
