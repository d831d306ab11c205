//! §3: what a sync does, step by step: volumes, sandbox, ephemeral, init, sidecars, apps, and when nothing is left.

use super::check;

const VOLUMES_AND_SANDBOX: &str = r#"
pod containers: [{name: c, image: i}]

§3 (b) the volumes come first
  seen  volumes absent; sandbox absent; first-sync
  do    mount
  phase Pending
  c     ContainerCreating
  /startTime 2027-01-15T08:01:40Z

§3 (b) nothing happens before they are set up
  seen  volumes setting-up; sandbox absent
  do    nothing
  wake  never

§3 (b) volumes that failed are waited for
  seen  volumes failed@105; sandbox absent
  do    nothing
  wake  105

§3 (b) and tried again
  seen  volumes failed@100; sandbox absent
  do    mount

§3.1 a sandbox is made where there is none
  seen  sandbox absent
  do    sandbox
  phase Pending
  c     ContainerCreating

§3.1 nothing starts before it is there
  seen  sandbox creating
  do    nothing
  c     ContainerCreating

§3 a sandbox that failed is tried again after 10 s
  seen  sandbox creating
  then  sandbox failed "no address is free"
  do    nothing
  wake  110
  event Warning FailedCreatePodSandBox pod "Failed to create pod sandbox: no address is free"

§3 and then it is
  seen  sandbox failed@100
  do    sandbox

§3.1 a sandbox that is gone is replaced
  seen  sandbox lost; c: exited:137@95 reason=ContainerStatusUnknown
  do    sandbox
  event Normal SandboxChanged pod "Pod sandbox changed, it will be killed and re-created."

§3.1 under Never not where a container has existed
  with  restartPolicy: Never
  seen  volumes absent; sandbox lost; c: exited:137@95 reason=ContainerStatusUnknown
  do    nothing
  life  Terminated Completed
  phase Failed

§3.1 under Never where none has existed
  with  restartPolicy: Never
  seen  sandbox lost
  do    sandbox

§3.1 not where nothing remains to run; OnFailure leaves out what succeeded
  with  restartPolicy: OnFailure
  seen  volumes absent; sandbox lost; c: exited:0@95
  do    nothing
  life  Terminated Completed
  phase Succeeded

§3.1 OnFailure runs what failed again
  with  restartPolicy: OnFailure
  seen  sandbox lost; c: exited:137@95 reason=ContainerStatusUnknown
  do    sandbox

§12 sources that changed reach the volumes of a running pod
  seen  c: running@50
  then  sources changed
  do    update volumes

§12 but not before they are set up
  seen  volumes setting-up; sandbox absent; sources-changed
  do    nothing
"#;

#[test]
fn volumes_come_first_then_the_sandbox() {
    check(VOLUMES_AND_SANDBOX);
}

const INIT: &str = r#"
pod initContainers: [{name: i, image: x}, {name: j, image: x}], containers: [{name: c, image: x}]

§3.3 no records: start 0
  do    pull i
  phase Pending
  i     PodInitializing
  j     PodInitializing
  c     PodInitializing

§3.3 running: wait
  seen  i: running@90
  do    nothing
  wake  never

§3.3 exit 0: next
  seen  i: exited:0@95
  do    pull j

§3.3 failed: restart
  seen  i: exited:1@95
  do    pull i
  life  Syncing

§3.3 under Always an exit 0 is done all the same
  with  restartPolicy: Always
  seen  i: exited:0@95
  do    pull j

§3.3 failed under OnFailure: restart
  with  restartPolicy: OnFailure
  seen  i: exited:1@95
  do    pull i

§3.3 failed under Never: the pod is killed
  with  restartPolicy: Never
  seen  i: exited:1@95
  do    stop sandbox
  life  Terminating Completed 130

§3.3 out of memory is a failure
  with  restartPolicy: OnFailure
  seen  i: exited:137@95 reason=OOMKilled
  do    pull i

§3.3 an end nobody saw is a failure
  seen  i: exited:137@95 reason=ContainerStatusUnknown
  do    pull i

§3.3 walks backwards: the latest record counts
  seen  j: running@95
  do    nothing

§3.3 the last one exits 0: the apps
  seen  j: exited:0@95
  do    pull c

§3.3 once an app runs initialisation is done, whatever the records say
  seen  i: exited:1@20; j: exited:0@30; c: running@40
  do    nothing
  phase Running

§3.3 also once an app is only created
  seen  i: exited:0@20; j: exited:0@30; c: starting
  do    nothing

§3.3 an app that ended is restarted without init
  seen  i: exited:0@20; j: exited:0@30; c: exited:1@95
  do    pull c

§3.1 a new sandbox restarts from init 0
  seen  epoch 1; i: exited:0@20 epoch=0; j: exited:0@30 epoch=0; c: exited:137@95 epoch=0 reason=ContainerStatusUnknown
  do    pull i

§3.1 and goes on from there
  seen  epoch 1; i/1: exited:0@20 epoch=0 -> exited:0@95; j: exited:0@30 epoch=0; c: exited:137@90 epoch=0
  do    pull j

§3.3 a failed start of an init container holds up what follows
  seen  i: unstarted:config@105
  do    nothing
  wake  105
  i     CreateContainerConfigError
  j     PodInitializing
"#;

#[test]
fn init_containers_run_one_after_the_other() {
    check(INIT);
}

const SIDECARS: &str = r#"
pod restartPolicy: Never, initContainers: [{name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}, {name: i, image: x}, {name: j, image: x}], containers: [{name: c, image: x}]

§3.3 a sidecar that runs is not started before its startup probe says so
  seen  s: running@90
  do    nothing
  phase Pending
  s     Running unstarted unready

§3.3 the next one starts once it is started; readiness doesn't gate
  was   same
  seen  s: running@90 startup+ readiness-
  do    pull i
  s     Running started unready

§3.3 restarted after exit 0, under Never, while a later one runs
  seen  s: exited:0@95; i: running@90
  do    pull s

§3.3 restarted after exit 1
  seen  s: exited:1@95; i: running@90
  do    pull s

§3.3 restarted when the apps run
  seen  s: exited:1@95; i: exited:0@60; j: exited:0@70; c: running@80
  do    pull s
  phase Running

§3.3 no app is created or runs: the last sidecar has to be started first
  pod   initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: x}]
  seen  i: exited:0@50; s/1: exited:1@90 -> running@95; c: exited:1@99
  do    nothing
  phase Running

§3.3 then they follow
  pod   initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: x}]
  seen  i: exited:0@50; s/1: exited:1@90 -> running@95 startup+; c: exited:1@99
  do    pull c

§3.3 if it has to be restarted it is first
  pod   initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always}], containers: [{name: c, image: x}]
  seen  i: exited:0@50; s: exited:1@95 backoff=20@94; c: exited:1@99
  do    nothing
  wake  115
  c     Error:1

§3.3 beside an app that runs the others are restarted all the same
  pod   initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always}], containers: [{name: c, image: x}, {name: d, image: x}]
  seen  i: exited:0@50; s: exited:1@95 backoff=20@94; c: exited:1@99; d: running@60
  do    pull c
  wake  115

§3.3 killed for its startup probe
  seen  s: running@90 startup-
  do    term s/0

§3.3 killed for its liveness probe, while a later one runs
  seen  s: running@80 startup+ readiness+ liveness-; i: running@90
  do    term s/0

§3.3 killed for another image, while a later one runs
  seen  s: running@80 startup+ readiness+ image=old; i: running@90
  do    term s/0

§3.3 and then restarted
  seen  s: exited:143@99 stop=StartupProbe@98/30 term@98; i: running@90
  do    pull s

§3.3 a sidecar's failing start doesn't hold up the next init container
  seen  s: exited:1@90 unstarted:config@105; i: exited:0@95
  do    pull j
  wake  105

§3.3 a plain init container's failing start does
  seen  s: running@80 startup+ readiness+; i: unstarted:config@105
  do    nothing
  wake  105

§3.3 a failed plain init container kills the pod, sidecars too
  seen  s: running@80 startup+ readiness+ probing=readiness; i: exited:1@95
  do    term s/0
  life  Terminating Completed 130
"#;

#[test]
fn sidecars_start_in_turn_and_are_always_restarted() {
    check(SIDECARS);
}

const APPS: &str = r#"
pod containers: [{name: d, image: x}, {name: c, image: x}]

§3.4 in spec order
  do    pull d

§3.4 pull, then create
  seen  d: present
  do    start d/0

§3.4 one at a time: a pull
  seen  d: pulling
  do    nothing
  wake  never

§3.4 one at a time: a start
  seen  d: starting
  do    nothing

§3.4 then the next
  seen  d: running@99
  do    pull c
  phase Pending
  d     Running started ready
  c     ContainerCreating

§3.4 a failing start doesn't stop the next
  seen  d: unstarted:config@105
  do    pull c
  wake  105

§3.4 a failing pull doesn't stop the next
  pod   containers: [{name: d, image: y}, {name: c, image: x}]
  seen  pulls y 10@95 "not found"; d: unpullable:pull@105
  do    pull c
  d     ImagePullBackOff
  wake  105

§3.4 after that it is tried again
  seen  d: unstarted:config@100; c: running@95
  do    pull d

§3.4 what runs stays
  seen  d: running@50; c: running@50
  do    nothing
  phase Running
  life  Syncing

§3.4 an exited one is restarted beside one that runs
  seen  d: running@50; c: exited:0@95
  do    pull c

§3.4 under Never it stays, and the pod runs on
  with  restartPolicy: Never
  seen  d: running@50; c: exited:1@95
  do    nothing
  phase Running
  life  Syncing

§4 one dead instance is kept: the older one goes as the next starts
  seen  d: running@50; c/1: exited:1@50 -> exited:1@80 present
  do    remove c/0; start c/2

§3.4 a postStart hook is part of the start
  pod   containers: [{name: d, image: x, lifecycle: {postStart: {sleep: {seconds: 9}}}}, {name: c, image: x}]
  seen  d: running@99 postStart=running
  do    nothing

§3.4 the next one follows it
  pod   containers: [{name: d, image: x, lifecycle: {postStart: {sleep: {seconds: 9}}}}, {name: c, image: x}]
  seen  d: running@90
  do    pull c
"#;

#[test]
fn apps_start_one_after_the_other_in_spec_order() {
    check(APPS);
}

const NOTHING_LEFT: &str = r#"
pod restartPolicy: Never, terminationGracePeriodSeconds: 20, initContainers: [{name: s, image: x, restartPolicy: Always}, {name: t, image: x, restartPolicy: Always}], containers: [{name: c, image: x}, {name: d, image: x}]

§3.5 one app still runs: nothing ends
  seen  s: running@10; t: running@10; c: exited:0@50; d: running@20
  do    nothing
  life  Syncing

§3.5 none is left: the sidecars are killed in order, with the pod's grace
  seen  s: running@10; t: running@10; c: exited:0@50; d: exited:3@100
  do    term t/0
  life  Terminating Completed 120
  wake  120
  event Normal Killing initContainers{s} "Stopping container s"
  event Normal Killing initContainers{t} "Stopping container t"

§3.5 one may be restarted: nothing ends
  with  activeDeadlineSeconds: 500
  pod   restartPolicy: OnFailure, initContainers: [{name: s, image: x, restartPolicy: Always}], containers: [{name: c, image: x}, {name: d, image: x}]
  seen  s: running@10; c: exited:0@50; d: exited:3@95 unstarted:config@105
  do    nothing
  life  Syncing
  wake  105

§3.5 one was never started: nothing ends
  seen  s: running@10; t: running@10; c: exited:0@50; d: unpullable:never@105
  do    nothing
  life  Syncing

§3.5 without sidecars the sandbox goes at once
  pod   restartPolicy: Never, containers: [{name: c, image: x}]
  was   c: running@50
  seen  c: exited:0@100
  do    stop sandbox
  phase Running

§3.5 then the volumes
  pod   restartPolicy: Never, containers: [{name: c, image: x}]
  seen  terminating Completed@90/30; sandbox stopped; c: exited:0@90
  do    unmount
  phase Succeeded

§3.5 then it is over
  pod   restartPolicy: Never, containers: [{name: c, image: x}]
  seen  terminating Completed@90/30; sandbox stopped; volumes torn-down; c: exited:0@90
  do    nothing
  life  Terminated Completed
  phase Succeeded
  wake  never
"#;

#[test]
fn a_pod_with_nothing_left_to_run_is_taken_down() {
    check(NOTHING_LEFT);
}

const EPHEMERAL: &str = r#"
pod initContainers: [{name: i, image: x}], containers: [{name: c, image: x}], ephemeralContainers: [{name: f, image: x}, {name: e, image: x}]

§3.2 started before init completes
  seen  i: running@90
  do    pull f

§3.2 one after the other
  seen  i: running@90; f: running@95
  do    pull e

§3.2 never restarted, whatever the policy
  seen  i: exited:0@20; c: running@30; f: exited:1@90; e: exited:0@90
  do    nothing
  f     Error:1
  e     Completed:0

§18 not restarted for another image either
  seen  i: exited:0@20; c: running@30; f: running@90 image=old; e: exited:0@90
  do    nothing

§4 listed by name
  seen  i: running@90; f: running@95; e: running@95
  do    nothing
  /ephemeralContainerStatuses/0/name e
  /ephemeralContainerStatuses/1/name f

§18 they don't affect phase or Ready
  seen  i: exited:0@20; c: running@30; f: exited:1@90; e: unpullable:never@110
  do    nothing
  phase Running
  Ready True
  ContainersReady True

§18 they don't keep a pod from ending
  with  restartPolicy: Never
  seen  i: exited:0@20; c: exited:0@100; f: running@90; e: exited:0@90
  do    term f/0
  life  Terminating Completed 130

§18 nor decide how
  with  restartPolicy: Never
  seen  terminating Completed@90/30; sandbox stopped; i: exited:0@20; c: exited:0@90; f: exited:1@90; e: exited:0@90
  do    unmount
  phase Succeeded
"#;

#[test]
fn ephemeral_containers_join_and_count_for_nothing() {
    check(EPHEMERAL);
}
