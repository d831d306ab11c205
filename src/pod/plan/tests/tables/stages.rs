//! §9, §3: a deletion in every stage of a pod's life. Nothing starts any more, and what is under way is given up.

use super::check;

const EARLY: &str = r#"
pod containers: [{name: c, image: i}, {name: d, image: i}]
deleted 30@100

§9 before anything
  seen volumes absent; sandbox absent; first-sync
  do   nothing
  life Terminated Deleted
  phase Failed
  c    ContainerStatusUnknown:137

§9 while the volumes are set up: that wait is cancelled
  seen volumes setting-up; sandbox absent
  do   unmount
  life Terminating Deleted 130
  phase Failed

§9 while they can't be
  seen volumes failed@110; sandbox absent
  do   unmount
  phase Failed

§9 while they are torn down
  seen terminating Deleted@100/30; volumes tearing-down; sandbox absent
  do   nothing
  life Terminating Deleted 130
  phase Failed

§9 and they are
  seen terminating Deleted@100/30; volumes tearing-down; sandbox absent
  then volumes torn-down
  do   nothing
  life Terminated Deleted
  phase Failed

§9 before the sandbox
  seen sandbox absent
  do   unmount
  phase Failed

§9 while the sandbox is made
  seen sandbox creating
  do   stop sandbox
  phase Pending

§9 while it can't be
  seen sandbox failed@110
  do   unmount
  phase Failed

§9 while it is stopped
  seen terminating Deleted@100/30; sandbox stopping
  do   nothing

§9 while an image is pulled
  seen c: pulling
  do   stop sandbox
  c    ContainerCreating

§9 while a pull backs off
  seen pulls i 300@90 "not found"; c: unpullable:pull@390 shown; d: shown
  do   stop sandbox
  wake never

§9 once an image is there
  seen c: present
  do   stop sandbox

§9 an image that comes too late starts nothing
  seen terminating Deleted@90/30; sandbox stopping; c: pulling
  then present c
  do   nothing

§9 while a container starts
  seen c: starting
  do   cancel start c/0

§9 its start is given up once
  seen terminating Deleted@90/30; c: starting cancelled
  do   nothing

§9 and is
  seen terminating Deleted@90/30; c: starting cancelled
  then unstarted c/0 cancelled
  do   stop sandbox
  phase Pending
  event none

§9 or was quicker
  seen terminating Deleted@90/30; c: starting cancelled
  then running c/0
  do   term c/0

§9 or was quicker, but later than the grace: there is no time for a hook
  pod  containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
  deleted 30@60
  seen terminating Deleted@60/30; c: starting cancelled
  then running c/0
  do   term c/0
  wake 102

§9 between two starts
  seen c: running@99
  do   term c/0

§9 while one of them starts
  seen c: running@90; d: starting
  do   term c/0; cancel start d/0

§9 after config errors
  seen c: unstarted:config@105; d: unstarted:config@105
  do   stop sandbox
"#;

#[test]
fn a_pod_deleted_before_it_runs_is_taken_down() {
    check(EARLY);
}

const LATE: &str = r#"
pod containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}}]
deleted 30@100

§9 while it runs
  was  c: running@50
  seen c: running@50 probing=readiness
  do   term c/0
  wake 130
  life Terminating Deleted 130
  phase Running

§9 while its postStart hook runs: that is given up
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {sleep: {seconds: 1}}}}]
  seen c: running@99 postStart=running
  do   cancel postStart c/0; term c/0

§9 before its postStart hook
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {sleep: {seconds: 1}}}}]
  seen c: running@99 postStart=pending
  do   term c/0

§9 while it is killed for its liveness probe: that goes on
  seen c: running@50 liveness- probing=readiness stop=LivenessProbe@90/30 term@90
  do   nothing
  wake 120

§9 while it is killed with a probe's longer grace: the deletion's counts
  seen c: running@50 liveness- probing=readiness stop=LivenessProbe@90/600 term@90
  do   nothing
  wake 130

§9 killed then, it isn't restarted
  seen terminating Deleted@100/30; c: running@50 liveness- probing=readiness stop=LivenessProbe@90/30 term@90
  then exited c/0 143
  do   stop sandbox
  c    Error:143

§9 after a kill for its liveness probe, before the restart
  seen c: exited:143@99 stop=LivenessProbe@90/30 term@90
  do   stop sandbox
  c    Error:143

§9 during the pull for a restart
  was  c: exited:1@99
  seen c: exited:1@99 pulling
  do   stop sandbox
  c    Error:1

§9 in CrashLoopBackOff: it shows its end again
  was  @99 c: exited:1@98 backoff=10@60
  seen c: exited:1@98 backoff=10@60 shown
  do   stop sandbox
  c    Error:1
  wake never

§9 when all has ended
  with restartPolicy: Never
  seen c: exited:0@100
  do   stop sandbox
  life Terminating Deleted 130

§9 when it is completing
  with restartPolicy: Never
  seen terminating Completed@95/30; sandbox stopping; c: exited:0@95
  do   nothing
  life Terminating Completed 125

§9 when its sandbox is gone
  seen volumes absent; sandbox lost; c: exited:137@90 reason=ContainerStatusUnknown
  do   nothing
  life Terminated Deleted
  phase Failed

§9 an ephemeral container is stopped like the others
  pod  containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i}]
  seen c: running@50; e: running@60
  do   term c/0; term e/0

§9 while resources are changed
  pod  containers: [{name: c, image: i, resources: {limits: {cpu: 2}}}]
  seen c: running@50 resources={limits: {cpu: 1}} resize=in-progress
  do   term c/0

§9 with another image: ignored
  seen c: running@50 image=old probing=readiness
  do   term c/0
  event Normal Killing containers{c} "Stopping container c"
"#;

#[test]
fn a_running_pod_that_is_deleted_is_stopped() {
    check(LATE);
}

const INIT: &str = r#"
pod initContainers: [{name: s, image: i, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}, {name: i, image: i}], containers: [{name: a, image: i}, {name: b, image: i, restartPolicy: Never, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [42]}}]}]
deleted 30@100

§9 while the sidecar has not started
  seen s: running@90
  do   term s/0

§9 while init runs
  seen s: running@50 startup+; i: running@90
  do   term s/0; term i/0

§9 while init backs off
  seen s: running@50 startup+; i: exited:1@95 backoff=20@94 shown
  do   term s/0
  i    Error:1

§9 between init and apps
  seen s: running@50 startup+; i: exited:0@100
  do   term s/0

§9 what init left undone is nobody's failure but the pod's
  seen terminating Deleted@90/30; sandbox stopped; s: exited:0@95; i: exited:143@91
  do   unmount
  phase Failed
  a    PodInitializing

§9 the init container whose turn it was has an end that nobody saw, later ones none
  seen terminating Deleted@90/30; sandbox stopped; s: pulling
  do   unmount
  phase Failed
  s    ContainerStatusUnknown:137 "The container could not be located when the pod was terminated"
  i    PodInitializing
  a    PodInitializing

§9 while all containers are restarted: what is being killed goes on
  seen restarting-all; s: running@50 stop=RestartAllContainers@99/0 term@99; i: exited:0@60; a: running@70 stop=RestartAllContainers@99/0 term@99; b: exited:42@99
  do   nothing
  wake 101
  life Terminating Deleted 130

§9 and is not restarted
  seen terminating Deleted@100/30; restarting-all; s: exited:143@99; i: exited:0@60; a: running@70 stop=RestartAllContainers@99/0 term@99; b: exited:42@99
  then exited a/0 143
  do   stop sandbox

§9 an exit that would restart all containers doesn't while the pod stops
  seen terminating Deleted@90/30; s: running@50 startup+ stop=Pod@90/30; i: exited:0@60; a: running@70 stop=Pod@90/30 term@90; b: running@70 stop=Pod@90/30 term@90
  then exited b/0 42
  do   nothing
"#;

#[test]
fn a_pod_deleted_during_init_or_restart_is_stopped() {
    check(INIT);
}
