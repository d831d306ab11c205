//! §5: the phase, rule by rule, the first that matches.

use super::check;

const INITIALISING: &str = r#"
pod initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}], containers: [{name: a, image: x}, {name: b, image: x}]

§5.1 a plain init container has failed for good
  with  restartPolicy: Never
  seen  terminating Completed@95/30; sandbox stopped; i: exited:1@95
  do    unmount
  phase Failed
  i     Error:1
  a     PodInitializing

§5.1 not before all has stopped
  with  restartPolicy: Never
  was   i: running@90
  seen  i: exited:1@100
  do    stop sandbox
  phase Pending

§5.1 a container's own policy counts
  pod   initContainers: [{name: i, image: x, restartPolicy: Never}], containers: [{name: a, image: x}]
  seen  terminating Completed@95/30; sandbox stopped; i: exited:1@95
  do    unmount
  phase Failed

§5.2 no init container has a status
  do    pull i
  phase Pending

§5.2 one is running
  seen  i: running@90
  do    nothing
  phase Pending

§5.2 one is waiting
  seen  i: unpullable:never@105
  do    nothing
  phase Pending

§5.3 a crash-looping one: the apps are waiting
  seen  i: exited:1@95 backoff=20@94
  do    nothing
  phase Pending
  i     CrashLoopBackOff after Error:1

§5.2 a sidecar that is not started, and no app exists
  seen  i: exited:0@10; s: running@20
  do    nothing
  phase Pending

§5.3 it is started, the apps are waiting
  seen  i: exited:0@10; s: running@20 startup+; a: pulling
  do    nothing
  phase Pending

§5.2 a sidecar that is starting again doesn't count once an app exists
  seen  i: exited:0@10; s/1: exited:1@50 -> running@99; a: running@20; b: running@20
  do    nothing
  phase Running

§5.2 an app of another sandbox is none
  seen  epoch 1; i/1: exited:0@10 epoch=0 -> exited:0@90; s/1: exited:137@80 epoch=0 -> running@95; a: exited:137@80 epoch=0; b: exited:137@80 epoch=0
  do    nothing
  phase Pending

§5.5 but an init container that ended in another sandbox has a status
  seen  epoch 1; i: exited:0@10 epoch=0 pulling; s: exited:137@80 epoch=0; a: exited:137@80 epoch=0; b: exited:137@80 epoch=0
  do    nothing
  phase Running
"#;

#[test]
fn an_initialising_pod_is_pending() {
    check(INITIALISING);
}

const RUNNING: &str = r#"
pod containers: [{name: a, image: x}, {name: b, image: x}]

§5.3 one waits though the other runs
  seen  a: running@50; b: unstarted:config@105
  do    nothing
  phase Pending

§5.3 one waits though the other has ended
  with  restartPolicy: Never
  seen  a: exited:0@50; b: unstarted:config@105
  do    nothing
  phase Pending

§5.3 a sidecar waits though the apps run
  pod   initContainers: [{name: s, image: x, restartPolicy: Always}], containers: [{name: a, image: x}]
  seen  s: unstarted:config@105; a: running@50
  do    nothing
  phase Pending

§5.4 both run
  seen  a: running@50; b: running@60
  do    nothing
  phase Running

§5.4 one runs, the other has ended
  with  restartPolicy: Never
  seen  a: running@50; b: exited:1@60
  do    nothing
  phase Running

§5.4 one runs, the other waits for its restart
  seen  a: running@50; b: exited:1@95 backoff=20@94
  do    nothing
  phase Running

§5.4 a running sidecar keeps the phase
  pod   restartPolicy: Never, initContainers: [{name: s, image: x, restartPolicy: Always}], containers: [{name: a, image: x}]
  was   s: running@10; a: running@20
  seen  s: running@10; a: exited:0@100
  do    term s/0
  phase Running

§5.5 none runs, but one is restartable
  seen  a: exited:0@95 backoff=20@94; b: exited:1@95 backoff=20@94
  do    nothing
  phase Running
  a     CrashLoopBackOff after Completed:0

§5.5 restartable by its own policy
  pod   restartPolicy: Never, containers: [{name: a, image: x, restartPolicy: Always}]
  seen  a: exited:0@95 backoff=20@94
  do    nothing
  phase Running

§5.5 restartable by a rule
  pod   restartPolicy: Never, containers: [{name: a, image: x, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [7]}}]}]
  seen  a: exited:7@95 backoff=20@94
  do    nothing
  phase Running

§5.5 OnFailure, one failed
  with  restartPolicy: OnFailure
  seen  a: exited:0@50; b: exited:1@95 backoff=20@94
  do    nothing
  phase Running
"#;

#[test]
fn a_pod_runs_while_something_runs_or_will() {
    check(RUNNING);
}

const OVER: &str = r#"
pod containers: [{name: a, image: x}, {name: b, image: x}]

§5.5 Never, all exit 0
  with  restartPolicy: Never
  seen  terminating Completed@95/30; sandbox stopped; a: exited:0@50; b: exited:0@95
  do    unmount
  phase Succeeded

§5.5 Never, one fails
  with  restartPolicy: Never
  seen  terminating Completed@95/30; sandbox stopped; a: exited:0@50; b: exited:1@95
  do    unmount
  phase Failed

§5.5 OnFailure, all exit 0
  with  restartPolicy: OnFailure
  seen  terminating Completed@95/30; sandbox stopped; a: exited:0@50; b: exited:0@95
  do    unmount
  phase Succeeded

§5.5 all has ended but the sandbox is there still
  with  restartPolicy: Never
  was   a: exited:0@50; b: running@60
  seen  terminating Completed@95/30; sandbox stopping; a: exited:0@50; b: exited:0@95
  do    nothing
  phase Running

§5.5 deleted: policies are ignored, all exit 0
  deleted 30@90
  seen  terminating Deleted@90/30; sandbox stopped; a: exited:0@95; b: exited:0@95
  do    unmount
  phase Succeeded

§5.5 deleted: policies are ignored, one fails
  deleted 30@90
  seen  terminating Deleted@90/30; sandbox stopped; a: exited:0@95; b: exited:137@95
  do    unmount
  phase Failed

§5.5 deleted: one had exited 0 and one was crash-looping
  deleted 30@90
  seen  terminating Deleted@90/30; sandbox stopped; a: exited:0@95; b: exited:1@80 backoff=20@81 shown
  do    unmount
  phase Failed
  b     Error:1

§5 sidecar exits don't matter
  pod   restartPolicy: Never, initContainers: [{name: s, image: x, restartPolicy: Always}], containers: [{name: a, image: x}]
  seen  terminating Completed@90/30; sandbox stopped; s: exited:137@95; a: exited:0@90
  do    unmount
  phase Succeeded

§5 a failed app does, whatever the sidecar
  pod   restartPolicy: Never, initContainers: [{name: s, image: x, restartPolicy: Always}], containers: [{name: a, image: x}]
  seen  terminating Completed@90/30; sandbox stopped; s: exited:0@95; a: exited:1@90
  do    unmount
  phase Failed

§5 deleted before any start
  deleted 30@100
  seen  volumes absent; sandbox absent
  do    nothing
  phase Failed
  life  Terminated Deleted

§5 deleted while the image is pulled
  deleted 30@90
  seen  terminating Deleted@90/30; sandbox stopped; a: pulling
  do    unmount
  phase Failed

§5 deleted between the starts
  deleted 30@90
  seen  terminating Deleted@90/30; sandbox stopped; a: exited:0@95
  do    unmount
  phase Failed
  b     ContainerStatusUnknown:137 "The container could not be located when the pod was terminated"

§5 the deadline forces Failed
  with  activeDeadlineSeconds: 50
  seen  terminating DeadlineExceeded@50/30; sandbox stopped; a: exited:0@60; b: exited:0@60
  do    unmount
  phase Failed DeadlineExceeded "Pod was active on the node longer than the specified deadline"

§5 so does an eviction
  seen  terminating Evicted@50/1; sandbox stopped; a: exited:0@60; b: exited:0@60
  do    unmount
  phase Failed Evicted ""

§5 but not before all has stopped
  with  activeDeadlineSeconds: 50
  was   @40 a: running@30; b: running@30
  seen  terminating DeadlineExceeded@50/60; a: running@30 stop=Pod@50/60 term@50; b: exited:0@60
  do    nothing
  phase Running

§5 a terminal phase stays
  was   terminating DeadlineExceeded@50/30; sandbox stopped; a: exited:0@60; b: exited:0@60
  seen  terminated DeadlineExceeded; volumes torn-down; sandbox stopped; a: exited:0@60; b: exited:0@60
  do    nothing
  phase Failed DeadlineExceeded "Pod was active on the node longer than the specified deadline"

§5 also when it is deleted afterwards
  deleted 30@100
  was   terminating Completed@50/30; sandbox stopped; a: exited:0@60; b: exited:0@60
  seen  terminated Completed; volumes torn-down; sandbox stopped; a: exited:0@60; b: exited:0@60
  do    nothing
  phase Succeeded
  life  Terminated Completed
"#;

#[test]
fn a_pod_succeeds_or_fails_once_all_has_stopped() {
    check(OVER);
}
