//! Strategic merge patches, by the rules of Kubernetes' documentation and of its patch library.

use serde_json::{Value, json};

use super::*;

fn pod(patch: &Value, spec: &Value) -> Result<Value, String> {
    let result = strategic_merge_patch(&json!({"spec": spec}), &json!({"spec": patch}), ("", "Pod"));
    result.map(|pod| pod["spec"].clone()).map_err(|error| error.to_string())
}

fn check(kind: (&str, &str), document: &Value, patch: &Value, expected: &Value) {
    let result = strategic_merge_patch(document, patch, kind);
    assert_eq!(result.as_ref(), Ok(expected), "{document} with {patch}");
}

#[test]
fn objects_merge_and_nulls_delete() {
    check(
        ("", "ConfigMap"),
        &json!({"metadata": {"name": "c", "labels": {"a": "1", "b": "2"}}, "data": {"x": "1"}}),
        &json!({"metadata": {"labels": {"a": null, "c": "3"}}, "data": null, "binaryData": {"y": "eA==", "z": null}}),
        &json!({"metadata": {"name": "c", "labels": {"b": "2", "c": "3"}}, "binaryData": {"y": "eA=="}}),
    );
}

#[test]
fn containers_merge_by_name_with_what_is_in_them() {
    let spec = json!({"containers": [
        {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
         "ports": [{"containerPort": 80, "name": "http"}], "args": ["x", "y"],
         "volumeMounts": [{"mountPath": "/a", "name": "v"}]},
        {"name": "b", "image": "2"},
    ]});
    let patch = json!({"containers": [{"name": "a", "image": "3", "args": ["z"],
        "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}, "value": null},
                {"$patch": "delete", "name": "Y"}],
        "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 90}],
        "volumeMounts": [{"mountPath": "/a", "readOnly": true}]}]});
    let expected = json!({"containers": [
        {"name": "a", "image": "3", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
         "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}, {"containerPort": 90}], "args": ["z"],
         "volumeMounts": [{"mountPath": "/a", "name": "v", "readOnly": true}]},
        {"name": "b", "image": "2"},
    ]});
    assert_eq!(pod(&patch, &spec), Ok(expected));
}

/// Each list of the table by the key that its Go type names in `patchMergeKey`.
#[test]
fn lists_merge_by_their_keys() {
    for (kind, path, key) in [
        (("", "Pod"), "spec.containers", "name"),
        (("", "Pod"), "spec.initContainers", "name"),
        (("", "Pod"), "spec.ephemeralContainers", "name"),
        (("", "Pod"), "spec.volumes", "name"),
        (("", "Pod"), "spec.imagePullSecrets", "name"),
        (("", "Pod"), "spec.hostAliases", "ip"),
        (("", "Pod"), "spec.topologySpreadConstraints", "topologyKey"),
        (("", "Pod"), "spec.schedulingGates", "name"),
        (("", "Pod"), "spec.resourceClaims", "name"),
        (("", "Pod"), "status.conditions", "type"),
        (("", "Pod"), "status.podIPs", "ip"),
        (("", "Pod"), "status.hostIPs", "ip"),
        (("", "Pod"), "metadata.ownerReferences", "uid"),
        (("", "Service"), "spec.ports", "port"),
        (("", "Service"), "status.conditions", "type"),
        (("", "Node"), "status.conditions", "type"),
        (("", "Node"), "status.addresses", "type"),
        (("", "Namespace"), "status.conditions", "type"),
        (("", "PersistentVolumeClaim"), "status.conditions", "type"),
        (("", "ServiceAccount"), "secrets", "name"),
        (("apps", "Unknown"), "metadata.ownerReferences", "uid"),
    ] {
        let at = |list: Value| path.rsplit('.').fold(list, |value, name| json!({name: value}));
        let document = at(json!([{key: "1", "x": 1}, {key: "2", "x": 2}]));
        check(
            kind,
            &document,
            &at(json!([{key: "2", "y": 3}])),
            &at(json!([{key: "1", "x": 1}, {key: "2", "x": 2, "y": 3}])),
        );
    }
}

#[test]
fn other_lists_are_replaced() {
    for (kind, path) in [
        (("", "Pod"), "spec.tolerations"),
        (("", "Pod"), "status.containerStatuses"),
        (("", "Pod"), "spec.readinessGates"),
        (("", "Node"), "spec.taints"),
        (("", "Namespace"), "spec.finalizers"),
        (("", "ServiceAccount"), "imagePullSecrets"),
        (("", "PersistentVolumeClaim"), "spec.accessModes"),
        (("", "Endpoints"), "subsets"),
        (("discovery.k8s.io", "EndpointSlice"), "endpoints"),
        (("discovery.k8s.io", "EndpointSlice"), "ports"),
        (("apps", "Unknown"), "spec.containers"),
    ] {
        let at = |list: Value| path.rsplit('.').fold(list, |value, name| json!({name: value}));
        check(kind, &at(json!([{"name": "a", "key": "a"}])), &at(json!([{"name": "b"}])), &at(json!([{"name": "b"}])));
    }
}

#[test]
fn claims_of_containers_have_no_patch_strategy() {
    let spec = json!({"containers": [{"name": "c", "resources": {"claims": [{"name": "a"}]}}]});
    let patch = json!({"containers": [{"name": "c", "resources": {"claims": [{"name": "b"}]}}]});
    assert_eq!(pod(&patch, &spec), Ok(patch));
}

#[test]
fn directives_in_objects() {
    let spec = json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}});
    let with =
        |security: Value| pod(&json!({"securityContext": security}), &spec).map(|spec| spec["securityContext"].clone());
    assert_eq!(with(json!({"$patch": "replace", "runAsUser": 3})), Ok(json!({"runAsUser": 3})));
    assert_eq!(with(json!({"$patch": "delete"})), Ok(json!({})));
    assert_eq!(with(json!({"$patch": "merge"})), Err("unknown patch type: merge in map: map[$patch:merge]".to_owned()));
    // A directive for what isn't there leaves nothing.
    assert_eq!(pod(&json!({"affinity": {"$patch": "delete"}, "os": {"$patch": "replace"}}), &json!({})), Ok(json!({})));
    check(("", "Pod"), &json!({"kind": "Pod"}), &json!({"$patch": "replace", "spec": {}}), &json!({"spec": {}}));
}

#[test]
fn directives_in_items_of_lists() {
    let names = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let spec = json!({"containers": names(&["a", "b", "c"])});
    let with = |items: Value| pod(&json!({"containers": items}), &spec).map(|spec| spec["containers"].clone());
    assert_eq!(with(json!([{"$patch": "delete", "name": "b"}])), Ok(json!(names(&["a", "c"]))));
    assert_eq!(with(json!([{"name": "x"}, {"$patch": "replace"}])), Ok(json!(names(&["x"]))));
    assert_eq!(with(json!([{"$patch": "replace"}])), Ok(json!([])));
    for (items, error) in [
        (json!([{"$patch": "delete"}]), "map: map[$patch:delete] does not contain declared merge key: name"),
        (json!([{"image": "x"}]), "map: map[image:x] does not contain declared merge key: name"),
        (json!([{"$patch": "merge"}]), "merging lists cannot yet be specified in the patch"),
        (json!([{"$patch": "x", "name": "a"}]), "unknown patch type: x in map: map[$patch:x name:a]"),
        (json!([["a"]]), "lists of lists are not supported"),
        (json!(["a"]), "list element types are not identical"),
    ] {
        assert_eq!(with(items), Err(error.to_owned()));
    }
}

/// "volumes" has the patch strategy `retainKeys`: changing its source clears the old one.
#[test]
fn retain_keys_clears_what_it_does_not_name() {
    let spec = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]});
    let patch = json!({"volumes": [{"name": "v", "$retainKeys": ["hostPath", "name"], "hostPath": {"path": "/x"}}]});
    let expected = json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "emptyDir": {}}]});
    assert_eq!(pod(&patch, &spec), Ok(expected));
    for bad in [json!({"name": "v", "$retainKeys": ["name"], "hostPath": {}}), json!({"name": "v", "$retainKeys": "x"})]
    {
        assert_eq!(pod(&json!({"volumes": [bad]}), &spec), Err("invalid patch format of retainKeys".to_owned()));
    }
    // A volume that isn't there yet arrives without directives.
    let patch = json!({"volumes": [{"name": "n", "$retainKeys": ["name"], "secret": null}]});
    assert_eq!(
        pod(&patch, &json!({"volumes": [{"name": "v"}]})),
        Ok(json!({"volumes": [{"name": "n"}, {"name": "v"}]}))
    );
}

#[test]
fn lists_of_scalars_merge_by_value() {
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    let kind = ("", "ConfigMap");
    check(kind, &finalizers(json!(["a", "b"])), &finalizers(json!(["b", "c"])), &finalizers(json!(["a", "b", "c"])));
    for (patch, expected) in [
        (json!({"$deleteFromPrimitiveList/finalizers": ["a", "x"]}), json!(["b"])),
        (json!({"$setElementOrder/finalizers": ["b", "a"]}), json!(["b", "a"])),
        (
            json!({"$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!(["c", "b"]),
        ),
    ] {
        check(kind, &finalizers(json!(["a", "b"])), &json!({"metadata": patch}), &finalizers(expected));
    }
    check(
        kind,
        &json!({"metadata": {}}),
        &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
        &json!({"metadata": {}}),
    );
    for patch in [json!({"$deleteFromPrimitiveList": ["a"]}), json!({"finalizers": [{"a": 1}]})] {
        assert!(strategic_merge_patch(&finalizers(json!(["a"])), &json!({"metadata": patch}), kind).is_err());
    }
}

/// The order of lists: `$setElementOrder`, else that of the patch, else that of the object
/// (design proposal "preserve order in strategic merge patch").
#[test]
fn order_of_lists() {
    let names = |text: &str| text.chars().map(|name| json!({"name": name.to_string()})).collect::<Vec<_>>();
    for (live, patched, order, expected) in [
        // Without an order, what is new comes first, as the documentation of `kubectl patch` shows.
        ("a", "b", None, "ba"),
        ("abc", "ca", None, "bca"),
        ("ab", "", Some("ba"), "ba"),
        ("abc", "", Some("cb"), "acb"),
        ("abcd", "", Some("ca"), "bcad"),
        ("ab", "x", Some("axb"), "axb"),
        ("ab", "x", Some("abx"), "abx"),
        // An item that somebody else added stays near what it followed.
        ("azb", "x", Some("axb"), "axzb"),
        ("", "ab", Some("ab"), "ab"),
    ] {
        let mut patch = json!({});
        if !patched.is_empty() {
            patch["containers"] = json!(names(patched));
        }
        if let Some(order) = order {
            patch["$setElementOrder/containers"] = json!(names(order));
        }
        let live_spec = if live.is_empty() { json!({}) } else { json!({"containers": names(live)}) };
        assert_eq!(pod(&patch, &live_spec), Ok(json!({"containers": names(expected)})), "{live} {patched} {order:?}");
    }
    let wrong = json!({"containers": names("ab"), "$setElementOrder/containers": names("ba")});
    let error = pod(&wrong, &json!({"containers": names("a")})).unwrap_err();
    assert!(error.starts_with("The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match"), "{error}");
    let nothing = json!({"$setElementOrder/containers": names("a")});
    assert_eq!(pod(&nothing, &json!({})), Ok(json!({})));
    assert!(pod(&json!({"$setElementOrder/tolerations": []}), &json!({})).is_err());
    assert!(pod(&json!({"$setElementOrder": []}), &json!({})).is_err());
}

/// What `kubectl apply` sends when a container, a port and a volume change and an environment variable goes.
#[test]
fn patches_of_kubectl_apply() {
    let spec = json!({
        "containers": [
            {"name": "web", "image": "nginx:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
             "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {}},
            {"name": "sidecar", "image": "x"},
        ],
        "volumes": [{"name": "data", "emptyDir": {}}], "nodeName": "n",
    });
    let patch = json!({
        "$setElementOrder/containers": [{"name": "web"}],
        "$setElementOrder/volumes": [{"name": "data"}],
        "containers": [{
            "$setElementOrder/env": [{"name": "A"}], "$setElementOrder/ports": [{"containerPort": 8080}],
            "env": [{"$patch": "delete", "name": "B"}], "image": "nginx:2", "name": "web",
            "ports": [{"containerPort": 8080}, {"$patch": "delete", "containerPort": 80}],
        }],
        "volumes": [{"$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}, "emptyDir": null, "name": "data"}],
    });
    let expected = json!({
        "containers": [
            {"name": "web", "image": "nginx:2", "env": [{"name": "A", "value": "1"}],
             "ports": [{"containerPort": 8080}], "resources": {}},
            {"name": "sidecar", "image": "x"},
        ],
        "volumes": [{"name": "data", "configMap": {"name": "c"}}], "nodeName": "n",
    });
    assert_eq!(pod(&patch, &spec), Ok(expected));
}

#[test]
fn hostile_patches_are_errors_or_quick() {
    let deep = (0..200).fold(json!(1), |value, _| json!({"a": value}));
    assert!(matches!(strategic_merge_patch(&json!({}), &deep, ("", "Pod")), Err(PatchError::TooLarge(_))));
    for patch in [json!(1), json!([]), json!(null)] {
        assert!(matches!(strategic_merge_patch(&json!({}), &patch, ("", "Pod")), Err(PatchError::Malformed(_))));
    }
    let many = |from: u32| (from..from + 20_000).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>();
    let patch = json!({"containers": many(10_000), "$setElementOrder/containers": many(10_000)});
    assert_eq!(pod(&patch, &json!({"containers": many(0)})).unwrap()["containers"].as_array().unwrap().len(), 30_000);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(json!(null)), any::<bool>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let name = prop_oneof![
                Just("name"),
                Just("containers"),
                Just("spec"),
                Just("metadata"),
                Just("finalizers"),
                Just("volumes"),
                Just("$patch"),
                Just("$retainKeys"),
                Just("$setElementOrder/containers"),
                Just("$deleteFromPrimitiveList/finalizers"),
                Just("env"),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_patch_ends(document in value(), patch in value()) {
            drop(strategic_merge_patch(&document, &patch, ("", "Pod")));
        }

        /// Applied twice, a patch without directives changes nothing more.
        #[test]
        fn patches_are_idempotent(document in value(), patch in value()) {
            prop_assume!(!patch.to_string().contains('$') && !document.to_string().contains('$'));
            if let Ok(once) = strategic_merge_patch(&document, &patch, ("", "Pod")) {
                prop_assert_eq!(strategic_merge_patch(&once, &patch, ("", "Pod")), Ok(once));
            }
        }
    }
}
