//! §4, what follows an exit: the restart decision by policy, rule and kind of container, and starting all over.

use std::fmt::Write as _;

use super::check;

/// One row of the decision table: the pod's policy, the container's own fields, and for each kind of end whether
/// another instance follows.
struct Row {
    policy: &'static str,
    fields: &'static str,
    /// Of exit 0, exit 3 and an end by a failed probe (with exit 3).
    restarts: [bool; 3],
}

const fn row(policy: &'static str, fields: &'static str, restarts: [bool; 3]) -> Row {
    Row { policy, fields, restarts }
}

const RESTART_3: &str =
    "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3]}}]";
const RESTART_ALL_BUT_3: &str =
    "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [3]}}]";
const RESTART_5: &str =
    "restartPolicy: OnFailure, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [5]}}]";
const RESTART_0: &str =
    "restartPolicy: OnFailure, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [0, 7]}}]";

const DECISIONS: [Row; 16] = [
    row("Always", "", [true, true, true]),
    row("OnFailure", "", [false, true, true]),
    row("Never", "", [false, false, false]),
    // The container's own policy takes the place of the pod's.
    row("Always", "restartPolicy: Never", [false, false, false]),
    row("OnFailure", "restartPolicy: Never", [false, false, false]),
    row("Never", "restartPolicy: Never", [false, false, false]),
    row("Always", "restartPolicy: OnFailure", [false, true, true]),
    row("OnFailure", "restartPolicy: OnFailure", [false, true, true]),
    row("Never", "restartPolicy: OnFailure", [false, true, true]),
    row("Always", "restartPolicy: Always", [true, true, true]),
    row("OnFailure", "restartPolicy: Always", [true, true, true]),
    row("Never", "restartPolicy: Always", [true, true, true]),
    // The first rule that matches, else the container's policy; kills by probes don't consult rules.
    row("Always", RESTART_3, [false, true, false]),
    row("Always", RESTART_ALL_BUT_3, [true, false, false]),
    row("Always", RESTART_5, [false, true, true]),
    row("Never", RESTART_0, [true, true, true]),
];

/// §4 "Restart decision", "Exit decision": all rows, for an app container that ends.
#[test]
fn policy_rules_and_exit_code_decide_on_a_restart() {
    let mut table = String::new();
    for Row { policy, fields, restarts } in DECISIONS {
        let ends = ["exited:0@99", "exited:3@99", "exited:3@99 stop=LivenessProbe@95/30 term@95"];
        for (end, restarts) in ends.iter().zip(restarts) {
            let (then, life) =
                if restarts { ("pull c", "Syncing") } else { ("stop sandbox", "Terminating Completed 130") };
            let _ = writeln!(
                table,
                "§4 {policy}, {fields}\n with restartPolicy: {policy}\n pod containers: [{{name: c, image: i, {fields}}}]
                seen c: {end}\n do {then}\n life {life}\n"
            );
        }
    }
    check(&table);
}

/// §4 "Restart decision": plain init containers and sidecars.
#[test]
fn init_containers_and_sidecars_have_rows_of_their_own() {
    let mut table = String::new();
    let (done, again, fails) = ("pull c", "pull i", "stop sandbox");
    for (policy, fields, then) in [
        ("Always", "", [done, again]),
        ("OnFailure", "", [done, again]),
        ("Never", "", [done, fails]),
        ("Always", "restartPolicy: Never", [done, fails]),
        ("Never", "restartPolicy: OnFailure", [done, again]),
        ("Always", RESTART_3, [done, again]),
        ("Always", RESTART_ALL_BUT_3, [done, fails]),
        ("Always", "restartPolicy: Always", [again, again]),
        ("OnFailure", "restartPolicy: Always", [again, again]),
        ("Never", "restartPolicy: Always", [again, again]),
    ] {
        for (code, then) in [0, 3].iter().zip(then) {
            let _ = writeln!(
                table,
                "§4 init under {policy}, {fields}, exit {code}\n with restartPolicy: {policy}
                pod initContainers: [{{name: i, image: i, {fields}}}], containers: [{{name: c, image: i}}]
                seen i: exited:{code}@99\n do {then}\n"
            );
        }
    }
    check(&table);
}

const OTHER_ENDS: &str = r#"
pod containers: [{name: c, image: i}]

§4 out of memory is a failure
  with restartPolicy: OnFailure
  seen c: exited:137@95 reason=OOMKilled
  do   pull c

§4 an end nobody saw is a failure
  with restartPolicy: OnFailure
  seen c: exited:137@95 reason=ContainerStatusUnknown
  do   pull c

§4 under Never it stays
  with restartPolicy: Never
  seen c: exited:137@95 reason=ContainerStatusUnknown
  do   stop sandbox

§4 a failed startup probe restarts under OnFailure even what then exits 0
  with restartPolicy: OnFailure
  seen c: exited:0@99 stop=StartupProbe@95/30 term@95
  do   pull c

§4 a failed start counts as an exit: under Never it stays
  with restartPolicy: Never
  seen c: exited:128@95 reason=StartError never-ran unstarted:run@95
  do   stop sandbox

§4 config failures create no instance and are retried under Never
  with restartPolicy: Never
  seen c: unstarted:config@100
  do   pull c

§4 create failures too
  with restartPolicy: Never
  seen c: unstarted:create@100
  do   pull c

§4 pull failures too
  with restartPolicy: Never
  seen pulls i 10@90 "not found"; c: unpullable:pull@100
  do   pull c

§4 killed for another image it is restarted under Never
  with restartPolicy: Never
  seen c: exited:0@99 image=old stop=DefinitionChanged@95/30 term@95
  do   pull c

§4 a sidecar killed by its probe is restarted under Never
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen s: exited:0@99 stop=LivenessProbe@95/30 term@95; c: running@50
  do   pull s
"#;

#[test]
fn ends_that_are_no_plain_exits_decide_as_well() {
    check(OTHER_ENDS);
}

const RESTART_ALL: &str = r#"
pod restartPolicy: Never, initContainers: [{name: i, image: x}], containers: [{name: a, image: x, lifecycle: {preStop: {sleep: {seconds: 9}}}}, {name: b, image: x, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}]

§5 the condition is there as soon as such a rule is
  seen i: exited:0@20; a: running@30; b: running@30
  do   nothing
  AllContainersRestarting False

§5 and only then
  pod  containers: [{name: a, image: x}]
  seen a: running@30
  do   nothing
  AllContainersRestarting absent

§4 the rest is killed, without preStop as there is no grace
  seen i: exited:0@20; a: running@30; b: exited:42@99
  do   term a/0
  wake 102
  life Syncing
  AllContainersRestarting True RestartAllContainersStarted @100

§4 the stop has 2 s
  seen restarting-all; i: exited:0@20; a: running@30 stop=RestartAllContainers@99/0 term@99; b: exited:42@99
  do   nothing
  wake 101

§4 then it is a kill
  seen restarting-all; i: exited:0@20; a: running@30 stop=RestartAllContainers@98/0 term@98; b: exited:42@98
  do   kill a/0

§4 another exit code is none of the rule's
  seen i: exited:0@20; a: running@30; b: exited:41@99
  do   nothing

§4 a sidecar's rule counts too
  pod  initContainers: [{name: s, image: x, restartPolicy: Always, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}], containers: [{name: a, image: x}]
  seen s: exited:42@99; a: running@30
  do   term a/0

§4 a plain init container's rule counts too
  pod  initContainers: [{name: s, image: x, restartPolicy: Always}, {name: i, image: x, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: NotIn, values: [0]}}]}], containers: [{name: a, image: x}]
  seen s: running@20; i: exited:1@99
  do   term s/0

§4 the first rule that matches counts
  pod  containers: [{name: a, image: x}, {name: b, image: x, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}, {action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}]
  seen a: running@30; b: exited:42@99
  do   pull b

§4 kills by probes don't consult rules
  seen i: exited:0@20; a: running@30; b: exited:42@99 stop=LivenessProbe@95/30 term@95
  do   nothing
  life Syncing

§18 an ephemeral container is left alone
  pod  containers: [{name: a, image: x}, {name: b, image: x, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}], ephemeralContainers: [{name: e, image: x}]
  seen a: running@30; b: exited:42@99; e: running@50
  do   term a/0

§4 a container being started is not
  seen i: exited:0@20; a: starting; b: exited:42@99
  do   cancel start a/0

§4 nothing is started before all have stopped
  seen restarting-all; i: exited:0@20; a: starting cancelled; b: exited:42@99
  do   nothing
  AllContainersRestarting True RestartAllContainersStarted

§4 when all have stopped their ends give way
  seen restarting-all; i: exited:0@20; a/1: exited:1@30 -> exited:137@100 stop=RestartAllContainers@98/0 term@98 killed; b: exited:42@98
  do   remove a/0
  wake now
  AllContainersRestarting False

§4 and init runs again, the counts go on
  seen restarting-all; i: exited:0@20; a: exited:137@100 stop=RestartAllContainers@98/0 term@98 killed; b: exited:42@98
  again
  do   pull i
  a    RestartingAllContainers:137
  b    RestartingAllContainers:137
  phase Running

§5.2 while init runs the pod is pending again
  seen epoch 1; i/1: exited:137@90 reason=RestartingAllContainers epoch=0 -> running@95; a: exited:137@90 reason=RestartingAllContainers epoch=0; b: exited:137@90 reason=RestartingAllContainers epoch=0
  do   nothing
  phase Pending

§4 one by one
  seen epoch 1; i/1: exited:0@99; a: exited:137@90 reason=RestartingAllContainers epoch=0; b: exited:137@90 reason=RestartingAllContainers epoch=0
  do   pull a

§4 restartCounts +1
  seen epoch 1; i/1: exited:137@90 reason=RestartingAllContainers epoch=0 -> exited:0@92; a/1: exited:137@90 reason=RestartingAllContainers epoch=0 -> running@95; b/1: exited:137@90 reason=RestartingAllContainers epoch=0 -> running@95
  do   nothing
  a    Running after RestartingAllContainers:137 (1)
  b    Running after RestartingAllContainers:137 (1)
  i    Completed:0 after RestartingAllContainers:137 (1)
  phase Running
"#;

#[test]
fn a_rule_may_restart_all_containers() {
    check(RESTART_ALL);
}
