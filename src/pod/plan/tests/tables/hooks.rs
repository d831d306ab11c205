//! §8: hooks: what waits for them, what they are bounded by, what follows from their failure.

use super::check;

const POST_START: &str = r#"
pod containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}, lifecycle: {postStart: {exec: {command: [x]}}}}, {name: d, image: i}]

§8 postStart runs right after the start, and the container isn't published Running
  seen c: starting
  then running c/0
  do   postStart c/0
  c    ContainerCreating unstarted unready
  phase Pending

§8 nothing else happens until it is over
  seen c: running@50 postStart=running
  do   nothing
  c    ContainerCreating unstarted unready
  wake never

§8 then the container is, and the next one starts
  seen c: running@50 postStart=running probing=not
  then hook c/0 postStart over
  do   probe c/0; pull d
  c    Running@50 started ready

§8 failure: events, a kill with grace, PostStartHookError
  seen c: running@50 postStart=running probing=not
  then hook c/0 postStart failed "no such file"
  do   term c/0
  c    PostStartHookError "no such file"
  event Warning FailedPostStartHook containers{c} "PostStartHook failed"
  event Normal Killing containers{c} "FailedPostStartHook"
  wake 130

§8 the next one starts when it is through
  seen c: running@50 postStart=failed@98 unstarted:postStart@98 stop=PostStartHook@98/30 term@98
  then exited c/0 143
  do   pull d
  c    PostStartHookError after Error:143

§8 the kill has a preStop hook as any other
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {exec: {command: [x]}}, preStop: {exec: {command: [y]}}}}]
  seen c: running@50 postStart=running
  then hook c/0 postStart failed "no such file"
  do   preStop c/0

§8 and ends as any other
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {exec: {command: [x]}}}}]
  seen c: running@50 postStart=failed@70 unstarted:postStart@70 stop=PostStartHook@70/30 term@70
  do   kill c/0

§8 then policy and back-off: the first restart is immediate
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {exec: {command: [x]}}}}]
  seen c: exited:137@100 postStart=failed@70 unstarted:postStart@70 stop=PostStartHook@70/30 term@70 killed fresh
  do   pull c
  c    PostStartHookError after Error:137
  backoff c 10@100

§8 then they wait
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {exec: {command: [x]}}}}]
  seen c/1: exited:137@80 -> exited:143@99 postStart=failed@98 unstarted:postStart@98 stop=PostStartHook@98/30 term@98 backoff=20@81
  do   nothing
  c    CrashLoopBackOff after Error:143 (1)
  wake 119

§8 under Never it is the end
  pod  restartPolicy: Never, containers: [{name: c, image: i, lifecycle: {postStart: {exec: {command: [x]}}}}]
  seen c: exited:143@99 postStart=failed@98 unstarted:postStart@98 stop=PostStartHook@98/30 term@98
  do   stop sandbox
  c    Error:143
  life Terminating Completed 130

§8 it runs on every restart
  seen c/1: exited:1@50 -> running@99 postStart=pending probing=not; d: running@50
  do   postStart c/1
  was  c: exited:1@50; d: running@50
  c    Error:1

§8 a container that ends by itself ends its hook
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {exec: {command: [x]}}}}]
  seen c: running@50 postStart=running
  then exited c/0 1
  do   cancel postStart c/0; pull c

§8 a sidecar is started once its hook is over
  pod  initContainers: [{name: s, image: i, restartPolicy: Always, lifecycle: {postStart: {exec: {command: [x]}}}}, {name: i, image: i}], containers: [{name: c, image: i}]
  seen s: running@90 postStart=running
  do   nothing
  s    PodInitializing unstarted

§8 then the next one follows
  pod  initContainers: [{name: s, image: i, restartPolicy: Always, lifecycle: {postStart: {exec: {command: [x]}}}}, {name: i, image: i}], containers: [{name: c, image: i}]
  seen s: running@90 postStart=running
  then hook s/0 postStart over
  do   pull i
  s    Running@90 started ready

§8 an http hook met with plain HTTP falls back, and is over
  seen c: running@50 postStart=running; d: running@50
  then hook c/0 postStart warned "request to HTTPS failed"
  do   nothing
  event Warning LifecycleHTTPFallback containers{c} "request to HTTPS failed"
  phase Running
"#;

#[test]
fn a_post_start_hook_is_part_of_the_start() {
    check(POST_START);
}

const WHEN_PRE_STOP: &str = r#"
pod containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}, lifecycle: {preStop: {exec: {command: [x]}}}}]

§8 preStop runs before a deletion's stop
  deleted 30@100
  seen c: running@50
  do   stop probes c/0; preStop c/0
  wake 130

§8 before a probe's
  seen c: running@50 liveness-
  do   preStop c/0

§8 before that for another image
  seen c: running@50 image=old
  do   preStop c/0

§8 before the deadline's
  with activeDeadlineSeconds: 100
  seen c: running@50
  do   stop probes c/0; preStop c/0

§8 before the stop of a sidecar at the end of the pod
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always, lifecycle: {preStop: {exec: {command: [x]}}}}], containers: [{name: c, image: i}]
  seen s: running@50; c: exited:0@100
  do   preStop s/0

§8 not when a container exits itself
  pod  restartPolicy: Never, containers: [{name: c, image: i, lifecycle: {preStop: {exec: {command: [x]}}}}]
  seen c: running@50
  then exited c/0 0
  do   stop sandbox

§8 not for a container that never started
  pod  containers: [{name: c, image: i}, {name: d, image: i, lifecycle: {preStop: {exec: {command: [x]}}}}]
  deleted 30@100
  seen c: running@50; d: unstarted:config@105
  do   term c/0

§9 not at grace 0
  deleted 0@100
  seen c: running@50 probing=readiness
  do   kill c/0

§8 its failure is told, and termination proceeds
  deleted 30@90
  seen terminating Deleted@90/30; c: running@50 probing=readiness stop=Pod@90/30 preStop=running
  then hook c/0 preStop failed "exit code 1"
  do   term c/0
  event Warning FailedPreStopHook containers{c} "PreStopHook failed"
  wake 120

§8 once over, termination proceeds
  deleted 30@90
  seen terminating Deleted@90/30; c: running@50 probing=readiness stop=Pod@90/30 preStop=running
  then hook c/0 preStop over
  do   term c/0
  wake 120

§8 a container that ends meanwhile ends its hook
  deleted 30@90
  seen terminating Deleted@90/30; c: running@50 probing=readiness stop=Pod@90/30 preStop=running
  then exited c/0 0
  do   cancel preStop c/0; stop sandbox

§8 it is run once
  deleted 30@90
  seen terminating Deleted@90/30; c: running@50 probing=readiness stop=Pod@90/30 preStop=running
  do   nothing
  wake 120
"#;

#[test]
fn a_pre_stop_hook_runs_before_every_stop_of_husks() {
    check(WHEN_PRE_STOP);
}
