//! Tests of deletions: what a request makes of an object, and when it is removed.

use super::*;

const NOW: &str = "2027-01-15T08:00:00Z";

/// Deletes an object and gives what came of it with the metadata that deletions change.
fn delete(object: &str, options: &DeleteOptions) -> (Deletion, Value) {
    let mut object: Value = serde_yaml::from_str(object).unwrap();
    let deletion = begin(&mut object, options, NOW.parse().unwrap());
    let metadata = object["metadata"].as_object().unwrap();
    let shown = ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "finalizers"];
    let shown = metadata.iter().filter(|(key, _)| shown.contains(&key.as_str()));
    (deletion, Value::Object(shown.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

fn check(object: &str, options: &DeleteOptions, deletion: Deletion, metadata: &str) {
    let metadata: Value = serde_yaml::from_str(metadata).unwrap();
    assert_eq!(delete(object, options), (deletion, metadata), "{object} {options:?}");
}

fn grace(seconds: i64) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: Some(seconds), propagation: None }
}

fn policy(propagation: Propagation) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: None, propagation: Some(propagation) }
}

/// §9 "Delete".
#[test]
fn pods_that_run_get_time() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {generation: 1}, spec: {nodeName: node, \
               terminationGracePeriodSeconds: 30}, status: {phase: Running}}";
    let due = |second: u32, grace: u32| {
        format!(
            "{{generation: 2, deletionTimestamp: '2027-01-15T08:00:{second:02}Z', deletionGracePeriodSeconds: {grace}}}"
        )
    };
    check(pod, &DeleteOptions::default(), Deletion::Keep, &due(30, 30));
    check(pod, &grace(5), Deletion::Keep, &due(5, 5));
    check(pod, &grace(-1), Deletion::Keep, &due(1, 1));
    check(pod, &grace(0), Deletion::Remove, &due(0, 0));
    check(&pod.replace("nodeName: node, ", ""), &DeleteOptions::default(), Deletion::Remove, &due(0, 0));
    check(&pod.replace("Running", "Succeeded"), &grace(7), Deletion::Remove, &due(0, 0));
}

#[test]
fn a_deletion_under_way_can_only_become_shorter() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {generation: 2, deletionTimestamp: '2027-01-15T07:59:40Z', \
               deletionGracePeriodSeconds: 30}, spec: {nodeName: node}}";
    let same = "{generation: 2, deletionTimestamp: '2027-01-15T07:59:40Z', deletionGracePeriodSeconds: 30}";
    check(pod, &DeleteOptions::default(), Deletion::Pending, same);
    check(pod, &grace(30), Deletion::Pending, same);
    let shorter = "{generation: 2, deletionTimestamp: '2027-01-15T07:59:15Z', deletionGracePeriodSeconds: 5}";
    check(pod, &grace(5), Deletion::Keep, shorter);
    let none = "{generation: 2, deletionTimestamp: '2027-01-15T07:59:10Z', deletionGracePeriodSeconds: 0}";
    check(pod, &grace(0), Deletion::Remove, none);
    let used_up = pod.replace("Seconds: 30", "Seconds: 0");
    check(&used_up, &DeleteOptions::default(), Deletion::Remove, &same.replace("Seconds: 30", "Seconds: 0"));
}

#[test]
fn finalizers_hold_an_object() {
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {finalizers: [a/b]}}";
    let marked = "deletionTimestamp: '2027-01-15T08:00:00Z', deletionGracePeriodSeconds: 0";
    check(map, &grace(60), Deletion::Keep, &format!("{{finalizers: [a/b], {marked}}}"));
    check("{apiVersion: v1, kind: ConfigMap, metadata: {}}", &grace(60), Deletion::Remove, "{}");
    let again = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{finalizers: [a/b], {marked}}}}}");
    check(&again, &grace(0), Deletion::Pending, &format!("{{finalizers: [a/b], {marked}}}"));
    let pod = "{apiVersion: v1, kind: Pod, metadata: {finalizers: [a/b]}, spec: {nodeName: node}}";
    check(pod, &grace(0), Deletion::Keep, &format!("{{finalizers: [a/b], {marked}}}"));
}

#[test]
fn finalizers_say_what_becomes_of_dependents() {
    use Propagation::{Background, Foreground, Orphan};
    let marked = "deletionTimestamp: '2027-01-15T08:00:00Z', deletionGracePeriodSeconds: 0";
    for (finalizers, propagation, expected) in [
        ("", Background, None),
        ("", Foreground, Some("foregroundDeletion")),
        ("", Orphan, Some("orphan")),
        ("x", Foreground, Some("x, foregroundDeletion")),
        ("orphan", Background, None),
        ("orphan", Foreground, Some("foregroundDeletion")),
    ] {
        let map = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{finalizers: [{finalizers}]}}}}");
        let (deletion, metadata) = match expected {
            Some(finalizers) => (Deletion::Keep, format!("{{finalizers: [{finalizers}], {marked}}}")),
            None if finalizers.is_empty() => (Deletion::Remove, "{finalizers: []}".to_owned()),
            None => (Deletion::Remove, "{}".to_owned()),
        };
        check(&map, &policy(propagation), deletion, &metadata);
    }
    let kept = "{apiVersion: v1, kind: ConfigMap, metadata: {finalizers: [orphan]}}";
    check(kept, &DeleteOptions::default(), Deletion::Keep, &format!("{{finalizers: [orphan], {marked}}}"));
}

#[test]
fn a_namespace_stays_until_its_own_finalizers_are_gone() {
    let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
    let options = DeleteOptions::default();
    assert_eq!(begin(&mut namespace, &options, NOW.parse().unwrap()), Deletion::Keep);
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert_eq!(begin(&mut namespace, &options, NOW.parse().unwrap()), Deletion::Pending);
    assert!(!is_due(&namespace));
    namespace["spec"]["finalizers"] = json!([]);
    assert!(is_due(&namespace));
    assert_eq!(begin(&mut namespace, &options, NOW.parse().unwrap()), Deletion::Remove);
}

#[test]
fn what_nothing_holds_is_due() {
    for (metadata, expected) in [
        ("{}", false),
        ("{deletionTimestamp: t}", true),
        ("{deletionTimestamp: t, deletionGracePeriodSeconds: 0}", true),
        ("{deletionTimestamp: t, deletionGracePeriodSeconds: 30}", false),
        ("{deletionTimestamp: t, finalizers: [a]}", false),
        ("{deletionTimestamp: t, finalizers: []}", true),
        ("{finalizers: []}", false),
    ] {
        let object = format!("{{apiVersion: v1, kind: Pod, metadata: {metadata}}}");
        assert_eq!(is_due(&serde_yaml::from_str(&object).unwrap()), expected, "{metadata}");
    }
}
