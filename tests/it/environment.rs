//! Environment variables, references and expansion.

use crate::support::{Husk, pod};

const OBJECTS: &str = "---
apiVersion: v1
kind: ConfigMap
metadata: {name: cm}
data: {COLOR: blue, SHAPE: round}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {PASSWORD: aHVudGVyMg==}
";

#[test]
fn variables_come_from_everywhere() {
    let husk = Husk::new();
    let more = "envFrom: [{configMapRef: {name: cm}}, {prefix: S_, secretRef: {name: s}}, {configMapRef: {name: absent, optional: true}}]
env:
  - {name: COLOR, value: red}
  - {name: PLAIN, value: 'x=$(COLOR),$(SHAPE),$(UNKNOWN),$$(COLOR)'}
  - {name: KEY, valueFrom: {configMapKeyRef: {name: cm, key: SHAPE}}}
  - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: PASSWORD}}}
  - {name: ABSENT, valueFrom: {configMapKeyRef: {name: cm, key: absent, optional: true}}}
  - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
  - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
resources: {limits: {cpu: 1250m, memory: 64Mi}}";
    let yaml = format!("{}{OBJECTS}", pod("test/p1/print", &["$(COLOR)", "$$(COLOR)", "$(UNKNOWN)"], more));
    let outcome = husk.run(&yaml, &["--no-prefix"]).exits(0);
    assert!(!outcome.stdout.contains("ABSENT"), "{outcome:?}");
    assert!(outcome.stdout.lines().any(|line| line.starts_with("env IP=10.")), "{outcome:?}");
    outcome
        .has("env COLOR=red")
        .has("env SHAPE=round")
        .has("env S_PASSWORD=hunter2")
        .has("env PLAIN=x=red,round,$(UNKNOWN),$(COLOR)")
        .has("env KEY=round")
        .has("env SECRET=hunter2")
        .has("env POD=p")
        .has("env CPU=2")
        .has("env MEMORY=64")
        .has("arg[1] red")
        .has("arg[2] $(COLOR)")
        .has("arg[3] $(UNKNOWN)");
}

#[test]
fn a_missing_reference_keeps_the_container_waiting_and_says_why() {
    let husk = Husk::new();
    let more = "env: [{name: A, valueFrom: {configMapKeyRef: {name: cm, key: nope}}}]";
    let yaml = format!("{}  activeDeadlineSeconds: 1\n{OBJECTS}", pod("test/p1/print", &[], more));
    husk.run(&yaml, &[]).says("couldn't find key nope in ConfigMap default/cm");
    let more = "envFrom: [{secretRef: {name: absent}}]";
    let yaml = format!("{}  activeDeadlineSeconds: 1\n", pod("test/p1/print", &[], more));
    husk.run(&yaml, &[]).says("secret \"absent\" not found");
}

#[test]
fn command_and_args_replace_the_images_own() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
    - {name: both, image: busybox, command: [echo], args: [one, two]}
    - {name: command, image: busybox, command: [echo, three]}
";
    husk.run(yaml, &["--no-prefix"]).exits(0).has("one two").has("three");
}
