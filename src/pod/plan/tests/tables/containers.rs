//! §4: what the status of a container says: waiting, running or terminated, what was before, counts, readiness.

use std::fmt::Write as _;

use super::check;

const WAITING: &str = r#"
pod containers: [{name: c, image: i}]

§4 the default reason
  do   pull c
  c    ContainerCreating unstarted unready image=i

§4 with init containers it is another one, for every container
  pod  initContainers: [{name: i, image: i}, {name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  do   pull i
  i    PodInitializing
  s    PodInitializing
  c    PodInitializing

§4 after init it is still the same
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: exited:0@50; c: pulling
  do   nothing
  c    PodInitializing

§4 while the image is pulled
  seen c: pulling
  do   nothing
  c    ContainerCreating

§4 while it starts
  seen c: starting
  do   nothing
  c    ContainerCreating unstarted unready

§4 ErrImagePull, with the error
  seen c: pulling
  then unpullable c pull "not found"
  do   nothing
  c    ErrImagePull "not found"

§4 CreateContainerConfigError
  seen c: starting
  then unstarted c/0 config
  do   nothing
  wake 110
  c    CreateContainerConfigError "no such program"
  phase Pending

§4 CreateContainerError
  seen c: starting
  then unstarted c/0 create
  do   nothing
  wake 110
  c    CreateContainerError "no such program"

§4 RunContainerError: the instance exists, and its end is what was before
  seen c: starting
  then unstarted c/0 run created
  do   pull c
  c    RunContainerError "no such program" after StartError:128 "no such program"
  phase Running

§4 under Never a failed start is the end
  with restartPolicy: Never
  seen c: starting
  then unstarted c/0 run created
  do   stop sandbox
  c    StartError:128 "no such program"

§4 a start failure replaces Terminated, which moves to lastState
  seen c/1: exited:1@60 -> starting
  then unstarted c/1 config
  do   nothing
  c    CreateContainerConfigError after Error:1

§4 a failed pull too
  seen c: exited:1@60 pulling
  then unpullable c pull "not found"
  do   nothing
  c    ErrImagePull "not found" after Error:1

§4 failures that make no instance don't count
  seen c/3: exited:1@50 -> exited:1@60 unstarted:config@105
  do   nothing
  c    CreateContainerConfigError after Error:1 (3)

§4 volumes that fail keep the default reason
  seen volumes setting-up; sandbox absent
  then volumes failed v 'configmap "c" not found'
  do   nothing
  c    ContainerCreating

§4 a sandbox that fails keeps the default reason
  seen sandbox creating
  then sandbox failed "no address is free"
  do   nothing
  c    ContainerCreating

§4 an init container names its reason as well
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: exited:1@95 backoff=40@94
  do   nothing
  i    CrashLoopBackOff after Error:1
  c    PodInitializing
"#;

#[test]
fn a_waiting_container_names_its_reason() {
    check(WAITING);
}

const RUNNING: &str = r#"
pod containers: [{name: c, image: i}]

§4 since when
  seen c: running@40.7
  do   nothing
  c    Running@40 started ready image=i:latest
  /containerStatuses/0/containerID husk://c-0
  /containerStatuses/0/imageID sha256:1

§4 what was before, and how often it was restarted
  seen c/3: exited:1@50 -> running@60
  do   nothing
  c    Running@60 after Error:1@50 (3)
  /containerStatuses/0/lastState/terminated/containerID husk://c-2

§4 the restart is shown once it runs
  was  @95 c: exited:1@95
  seen c: exited:1@95 pulling
  do   nothing
  c    Error:1

§4 so it is while it starts
  was  @95 c: exited:1@95
  seen c/1: exited:1@95 -> starting
  do   nothing
  c    Error:1

§4 a back-off stays shown until the restart is through
  was  @96 c/1: exited:1@80 -> exited:1@95 backoff=10@81
  seen c/1: exited:1@80 -> exited:1@90 pulling shown backoff=20@100
  do   nothing
  c    CrashLoopBackOff after Error:1 (1)

§4 allocated resources and actual ones
  pod  containers: [{name: c, image: i, resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}]
  seen c: running@40
  do   nothing
  /containerStatuses/0/allocatedResources/cpu 100m
  /containerStatuses/0/resources/limits/cpu 200m

§4 volume mounts
  pod  containers: [{name: c, image: i, volumeMounts: [{name: v, mountPath: /v, readOnly: true}]}], volumes: [{name: v}]
  seen c: running@40
  do   nothing
  /containerStatuses/0/volumeMounts/0/mountPath /v
  /containerStatuses/0/volumeMounts/0/readOnly true
  /containerStatuses/0/volumeMounts/0/recursiveReadOnly Disabled
"#;

#[test]
fn a_running_container_says_since_when_and_what_was_before() {
    check(RUNNING);
}

const TERMINATED: &str = r#"
pod restartPolicy: Never, containers: [{name: c, image: i}]

§4 Completed
  seen c: running@40
  then exited c/0 0
  do   stop sandbox
  c    Completed:0@100 unstarted unready
  /containerStatuses/0/state/terminated/startedAt 2027-01-15T08:00:40Z
  /containerStatuses/0/state/terminated/finishedAt 2027-01-15T08:01:40Z
  /containerStatuses/0/state/terminated/containerID husk://c-0

§4 Error, with its message
  seen c: running@40
  then exited c/0 3 Error "no more fuel"
  do   stop sandbox
  c    Error:3 "no more fuel"

§4 OOMKilled
  seen c: running@40
  then exited c/0 137 OOMKilled
  do   stop sandbox
  c    OOMKilled:137

§4 SIGKILL
  seen c: running@40
  then exited c/0 137
  do   stop sandbox
  c    Error:137

§4 SIGTERM that nobody handled
  seen c: running@40
  then exited c/0 143
  do   stop sandbox
  c    Error:143

§4 one that cannot be executed
  seen c: starting
  then unstarted c/0 run created
  do   stop sandbox
  c    StartError:128
  /containerStatuses/0/state/terminated/startedAt none

§4 a restartable one shows Terminated first
  pod  containers: [{name: c, image: i}]
  seen c/1: exited:1@50 -> running@60 backoff=10@60
  then exited c/1 1
  do   nothing
  c    Error:1 after Error:1 (1)
  wake now
"#;

#[test]
fn a_terminated_container_says_how_it_ended() {
    check(TERMINATED);
}

const STARTED_AND_READY: &str = r#"
pod containers: [{name: c, image: i}]

§4 without probes what runs is started and ready
  seen c: running@40
  do   nothing
  c    Running started ready

§4 a startup probe that has not settled
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}}]
  seen c: running@40
  do   nothing
  c    Running unstarted unready

§4 a startup probe that passed
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}}]
  seen c: running@40 startup+
  do   nothing
  c    Running started ready

§4 a readiness probe that has not settled
  pod  containers: [{name: c, image: i, readinessProbe: {tcpSocket: {port: 1}}}]
  was  same
  seen c: running@40
  do   nothing
  c    Running started unready

§4 a readiness probe that succeeds
  pod  containers: [{name: c, image: i, readinessProbe: {tcpSocket: {port: 1}}}]
  seen c: running@40 readiness+
  do   nothing
  c    Running started ready

§4 a readiness probe that fails
  pod  containers: [{name: c, image: i, readinessProbe: {tcpSocket: {port: 1}}}]
  was  same
  seen c: running@40 readiness-
  do   nothing
  c    Running started unready

§4 ready needs started
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}}]
  seen c: running@40 readiness+
  do   nothing
  c    Running unstarted unready

§4 what has ended is neither, even after exit 0
  pod  containers: [{name: c, image: i}, {name: d, image: i}]
  with restartPolicy: Never
  seen c: exited:0@90; d: running@50
  do   nothing
  c    Completed:0 unstarted unready

§4 the next instance starts with nothing
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}}]
  seen c/1: exited:1@90 startup+ readiness+ -> running@95
  do   nothing
  c    Running after Error:1 (1) unstarted unready

§4 a plain init container is ready by exit 0, and then not started
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: exited:0@90; c: running@95
  do   nothing
  i    Completed:0 unstarted ready

§4 not by running, nor by another exit
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: exited:1@95 unstarted:config@105
  do   nothing
  i    CreateContainerConfigError after Error:1 unstarted unready

§4 a running plain init container is not ready
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: running@95
  do   nothing
  i    Running unready

§4 a sidecar is ready as an app is
  pod  initContainers: [{name: s, image: i, restartPolicy: Always}, {name: t, image: i, restartPolicy: Always, readinessProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: i}]
  was  same
  seen s: running@95; t: running@95; c: running@95
  do   nothing
  s    Running started ready
  t    Running started unready

§4 and not by exit 0
  pod  initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen s: exited:0@95 unstarted:create@105; c: running@95
  do   nothing
  s    CreateContainerError after Completed:0 unstarted unready
"#;

#[test]
fn started_and_ready_follow_probes_and_ends() {
    check(STARTED_AND_READY);
}

const LISTS: &str = r#"
§4 app containers are listed by name, init containers as in the spec
  pod  initContainers: [{name: z, image: i}, {name: y, image: i}], containers: [{name: d, image: i}, {name: c, image: i}]
  seen z: exited:0@10; y: exited:0@20; c: running@30; d: running@30
  do   nothing
  /initContainerStatuses/0/name z
  /initContainerStatuses/1/name y
  /containerStatuses/0/name c
  /containerStatuses/1/name d

§4 a plain container that never started has no IDs
  pod  containers: [{name: c, image: i}]
  do   pull c
  /containerStatuses/0/containerID none
  /containerStatuses/0/restartCount 0
"#;

#[test]
fn containers_are_listed_in_order() {
    check(LISTS);
}

/// §4 "Termination message": the pod's total of 12288 bytes is split evenly.
#[test]
fn termination_messages_share_what_a_pod_may_have() {
    let mut table = String::new();
    for (containers, length, shown) in
        [(1, 4096, 4096), (2, 4096, 4096), (3, 4096, 4096), (4, 4096, 3072), (4, 100, 100)]
    {
        let names: Vec<String> = (0..containers).map(|index| format!("c{index}")).collect();
        let specs: Vec<String> = names.iter().map(|name| format!("{{name: {name}, image: i}}")).collect();
        let ends: Vec<String> =
            names.iter().map(|name| format!("{name}: exited:1@9 message={}", "x".repeat(length))).collect();
        let _ = writeln!(
            table,
            "§4 {containers} messages of {length}\n with restartPolicy: Never\n pod containers: [{}]\n seen {}
            do stop sandbox\n c0 Error:1 \"{}\"\n",
            specs.join(", "),
            ends.join("; "),
            "x".repeat(shown)
        );
    }
    check(&table);
}
