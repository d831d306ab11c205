//! §19 and §18: what changes of a running pod's spec lead to: another image, other resources, a deadline.

use super::check;

const IMAGES: &str = r#"
pod containers: [{name: c, image: i}, {name: d, image: i}]

§19 a running app container is killed with grace, the others are left alone
  seen c: running@50 image=old; d: running@50
  do   term c/0
  wake 130
  event Normal Killing containers{c} "Container c definition changed, will be restarted"
  c    Running started ready image=old:latest
  phase Running

§19 under any policy
  with restartPolicy: Never
  seen c: running@50 image=old; d: running@50
  do   term c/0
  event Normal Killing containers{c} "Container c definition changed, will be restarted"

§19 with preStop
  pod  containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
  seen c: running@50 image=old
  do   preStop c/0
  wake 130

§19 and recreated
  with restartPolicy: Never
  seen c: running@50 image=old stop=DefinitionChanged@95/30 term@95; d: running@50
  then exited c/0 0
  do   pull c
  c    Completed:0
  phase Running

§19 restartCount +1
  seen c/1: exited:0@95 image=old stop=DefinitionChanged@90/30 term@90 -> running@96; d: running@50
  do   nothing
  c    Running after Completed:0 (1) image=i:latest

§19 a sidecar too
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen s: running@50 image=old; c: running@50
  do   term s/0
  event Normal Killing initContainers{s} "Init container s definition changed"

§19 not started yet: the new image is used
  seen c: present:old
  do   pull c

§19 while the old one is pulled
  seen c: pulling:old
  do   nothing

§19 what comes of that is not used
  seen c: pulling:old
  then present c
  do   pull c

§19 the old one could not be pulled: the new one is at once
  seen pulls old 300@90 "not found"; c: unpullable:pull:old@390 shown; d: running@50
  do   pull c

§19 nor was it there, under Never
  seen c: unpullable:never:old@110; d: running@50
  do   pull c
  c    ContainerCreating

§19 first started with the new image it has count 0
  seen c: running@99; d: running@50
  do   nothing
  c    Running image=i:latest

§19 while it starts with the old one it goes on
  seen c: starting image=old
  do   nothing

§19 and is killed when it runs
  seen c: starting image=old; d: running@50
  then running c/0
  do   term c/0

§19 not before its postStart hook is over
  pod  containers: [{name: c, image: i, lifecycle: {postStart: {sleep: {seconds: 1}}}}]
  seen c: running@50 image=old postStart=running
  do   nothing

§19 a crash-looping one starts with the new image at once
  seen c/4: exited:1@98 image=old backoff=300@90 stale-backoff shown; d: running@50
  do   pull c

§19 one that has ended for good stays so
  with restartPolicy: Never
  seen c: exited:0@90 image=old; d: running@50
  do   nothing

§19 a plain init container that runs goes on
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: running@50 image=old
  do   nothing

§19 one that is done is
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: exited:0@50 image=old; c: running@60
  do   nothing

§19 one that failed uses the new image
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i/1: exited:1@80 image=old -> exited:1@99 image=old backoff=300@90 stale-backoff
  do   pull i

§19 a stop in progress goes on as it is
  seen c: running@50 image=old stop=LivenessProbe@90/30 term@90; d: running@50
  do   nothing
  wake 120

§19 a terminating pod ignores it
  deleted 30@90
  seen terminating Deleted@90/30; c: running@50 image=old stop=Pod@90/30 term@90; d: exited:0@95
  do   nothing
  event none

§19 the pull policy isn't recomputed
  pod  containers: [{name: c, image: "i:latest", imagePullPolicy: IfNotPresent}]
  seen c: running@50 image=old stop=DefinitionChanged@90/30 term@90
  then exited c/0 0
  do   pull c
"#;

#[test]
fn another_image_replaces_what_runs() {
    check(IMAGES);
}

const OTHER_FIELDS: &str = r#"
pod containers: [{name: c, image: i}]

§19 a deadline that is set on a running pod counts from its start
  with activeDeadlineSeconds: 120
  seen c: running@50
  do   nothing
  wake 120

§19 and may have passed
  with activeDeadlineSeconds: 90
  seen c: running@50
  do   term c/0
  life Terminating DeadlineExceeded 130

§19 labels and annotations reach volumes, and restart nothing
  seen c: running@50
  then sources changed
  do   update volumes
  event none

§18 an ephemeral container is added
  pod  containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i, targetContainerName: c}]
  seen c: running@50
  do   pull e
  e    ContainerCreating
"#;

#[test]
fn other_changes_restart_nothing() {
    check(OTHER_FIELDS);
}

const RESIZES: &str = r#"
pod containers: [{name: c, image: i, resources: {requests: {cpu: 2}, limits: {cpu: 2}}}, {name: d, image: i}]

§18 in place; what was accepted, and what is
  seen c: running@50 resources={requests: {cpu: 1}, limits: {cpu: 1}}; d: running@50
  do   resize c/0
  PodResizeInProgress True
  /containerStatuses/0/allocatedResources/cpu 2
  /containerStatuses/0/resources/limits/cpu 1
  event Normal ResizeStarted pod 'Pod resize started: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"d","resources":{}}],"generation":1}'

§18 once
  seen c: running@50 resources={limits: {cpu: 1}} resize=in-progress; d: running@50
  do   nothing
  PodResizeInProgress True
  event none

§18 then it is told
  seen c: running@50 resources={limits: {cpu: 1}} resize=in-progress; d: running@50
  then resized c/0
  do   nothing
  PodResizeInProgress absent
  /containerStatuses/0/resources/limits/cpu 2
  event Normal ResizeCompleted pod 'Pod resize completed: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"d","resources":{}}],"generation":1}'

§18 a sidecar's too, and several at once are one resize
  pod  initContainers: [{name: s, image: i, restartPolicy: Always, resources: {limits: {cpu: 2}}}], containers: [{name: c, image: i, resources: {limits: {cpu: 2}}}]
  seen s: running@50 resources={limits: {cpu: 1}}; c: running@50 resources={limits: {cpu: 1}}
  do   resize s/0; resize c/0
  event Normal ResizeStarted pod 'Pod resize started: {"initContainers":[{"name":"s","resources":{"limits":{"cpu":"2"}}}],"containers":[{"name":"c","resources":{"limits":{"cpu":"2"}}}],"generation":1}'

§18 which is complete when all are
  pod  containers: [{name: c, image: i, resources: {limits: {cpu: 2}}}, {name: d, image: i, resources: {limits: {cpu: 2}}}]
  seen c: running@50 resources={limits: {cpu: 1}} resize=in-progress; d: running@50 resources={limits: {cpu: 1}} resize=in-progress
  then resized c/0
  do   nothing
  PodResizeInProgress True
  event none

§18 another one that begins as it ends
  seen c: running@50 resources={limits: {cpu: 1}} resize=done; d: running@50
  do   resize c/0
  PodResizeInProgress True
  event Normal ResizeStarted pod 'Pod resize started: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"d","resources":{}}],"generation":1}'

§18 that fails
  seen c: running@50 resources={limits: {cpu: 1}} resize=in-progress; d: running@50
  then resized c/0 "below the current usage"
  do   nothing
  wake 110
  PodResizeInProgress True Error "below the current usage"
  /containerStatuses/0/resources/limits/cpu 1
  event Warning ResizeError pod 'Pod resize error: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"d","resources":{}}],"generation":1,"error":"below the current usage"}'

§18 it is retried
  was  same
  seen c: running@50 resources={limits: {cpu: 1}} resize=failed@100; d: running@50
  do   resize c/0
  event none

§18 not before its time
  was  same
  seen c: running@50 resources={limits: {cpu: 1}} resize=failed@105; d: running@50
  do   nothing
  wake 105
  event none

§18 more than the node has: it stays pending, and what was accepted is still the old
  seen node 1500 1073741824; c: running@50 resources={requests: {cpu: 1}, limits: {cpu: 1}}; d: running@50
  do   nothing
  PodResizePending True Infeasible "Node didn't have enough capacity: cpu, requested: 2000, capacity: 1500"
  PodResizeInProgress absent
  /containerStatuses/0/allocatedResources/cpu 1
  /containerStatuses/0/resources/limits/cpu 1
  event Warning ResizeInfeasible pod `Pod resize Infeasible: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"2"}}},{"name":"d","resources":{}}],"generation":1,"error":"Node didn't have enough capacity: cpu, requested: 2000, capacity: 1500"}`

§18 told once
  was  same
  seen node 1500 1073741824; c: running@50 resources={requests: {cpu: 1}, limits: {cpu: 1}}; d: running@50
  do   nothing
  event none

§18 RestartContainer kills
  pod  containers: [{name: c, image: i, resources: {limits: {memory: 2Gi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}]
  seen c: running@50 resources={limits: {memory: 1Gi}}
  do   term c/0
  wake 130
  event Normal Killing containers{c} "Container c resize requires restart, will be restarted"

§18 and restarts, under any policy
  with restartPolicy: Never
  pod  containers: [{name: c, image: i, resources: {limits: {memory: 2Gi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}]
  seen c: running@50 resources={limits: {memory: 1Gi}} stop=Resize@95/30 term@95
  then exited c/0 143
  do   pull c

§18 of the resource that changes
  pod  containers: [{name: c, image: i, resources: {limits: {memory: 2Gi, cpu: 2}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}, {resourceName: cpu, restartPolicy: NotRequired}]}]
  seen c: running@50 resources={limits: {memory: 2Gi, cpu: 1}}
  do   resize c/0

§18 what can't be given restarts nothing
  pod  containers: [{name: c, image: i, resources: {requests: {memory: 2Gi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}]
  seen node 1500 1073741824; c: running@50 resources={requests: {memory: 1Gi}}
  do   nothing
  PodResizePending True Infeasible "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824"

§18 a container that doesn't run takes them when it starts
  seen c: present; d: running@50
  do   start c/0
  PodResizeInProgress absent

§18 a terminating pod isn't resized
  deleted 30@100
  seen c: running@50 resources={limits: {cpu: 1}}; d: exited:0@50
  do   term c/0
"#;

#[test]
fn resources_change_in_place_or_by_a_restart() {
    check(RESIZES);
}
