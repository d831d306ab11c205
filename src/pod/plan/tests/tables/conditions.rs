//! §5: the conditions, what they say, in which order they are stored and in which they become true.

use super::check;

const READY_TO_START: &str = r#"
pod containers: [{name: c, image: i}]

§5 PodReadyToStartContainers is False without volumes; Initialized is True at once
  seen volumes setting-up; sandbox absent
  do   nothing
  conditions PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled
  PodReadyToStartContainers False
  Initialized True
  Ready False ContainersNotReady "containers with unready status: [c]"
  ContainersReady False ContainersNotReady "containers with unready status: [c]"
  PodScheduled True

§5 with init containers Initialized is False as well
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen volumes failed@110; sandbox absent
  do   nothing
  PodReadyToStartContainers False
  Initialized False ContainersNotInitialized "containers with incomplete status: [i]"
  PodScheduled True

§5 False without a sandbox
  seen sandbox creating
  do   nothing
  PodReadyToStartContainers False

§5 False while the sandbox has no address
  seen sandbox no-ip; c: pulling
  do   nothing
  PodReadyToStartContainers False

§5 True with both
  seen c: pulling
  do   nothing
  PodReadyToStartContainers True
  Ready False ContainersNotReady "containers with unready status: [c]"

§5 False while the sandbox is stopped
  deleted 30@90
  seen terminating Deleted@90/30; sandbox stopping; c: exited:0@95
  do   nothing
  PodReadyToStartContainers False

§5 False on completed pods
  with restartPolicy: Never
  seen terminating Completed@90/30; sandbox stopped; c: exited:0@90
  do   unmount
  PodReadyToStartContainers False

§5 False once the sandbox is gone
  seen sandbox lost; c: exited:137@90
  do   sandbox
  PodReadyToStartContainers False
  /podIP none
"#;

#[test]
fn containers_can_start_once_volumes_and_network_are_there() {
    check(READY_TO_START);
}

const INITIALIZED: &str = r#"
pod initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}}, {name: j, image: x}], containers: [{name: c, image: x}]

§5 Initialized names those that are incomplete, in spec order
  do   pull i
  Initialized False ContainersNotInitialized "containers with incomplete status: [i s j]"

§5 with init containers PodReadyToStartContainers comes before it; what runs is not complete
  seen i: running@90
  do   nothing
  PodReadyToStartContainers True
  Initialized False ContainersNotInitialized "containers with incomplete status: [i s j]"

§5 exit 0 is
  seen i: exited:0@95
  do   pull s
  Initialized False ContainersNotInitialized "containers with incomplete status: [s j]"

§5 a sidecar is by being started
  seen i: exited:0@80; s: running@90 startup+
  do   pull j
  Initialized False ContainersNotInitialized "containers with incomplete status: [j]"

§5 and not before
  seen i: exited:0@80; s: running@90
  do   nothing
  Initialized False ContainersNotInitialized "containers with incomplete status: [s j]"

§5 another exit is not complete
  seen i: exited:1@95 backoff=20@94
  do   nothing
  Initialized False ContainersNotInitialized "containers with incomplete status: [i s j]"

§5 True when all are
  seen i: exited:0@80; s: running@90 startup+; j: exited:0@100
  do   pull c
  Initialized True

§5 a sidecar that falls back takes it away
  seen i: exited:0@80; s/1: exited:1@90 -> running@92; j: exited:0@85
  do   pull c
  Initialized False ContainersNotInitialized "containers with incomplete status: [s]"

§5 but not once an app has run
  seen i: exited:0@80; s/1: exited:1@90 -> running@92; j: exited:0@85; c: running@86
  do   nothing
  Initialized True

§5 Succeeded: PodCompleted
  with restartPolicy: Never
  seen terminating Completed@95/30; sandbox stopped; i: exited:0@80; s: exited:0@99; j: exited:0@85; c: exited:0@95
  do   unmount
  Initialized True PodCompleted

§5 Failed: as it was
  with restartPolicy: Never
  seen terminating Completed@95/30; sandbox stopped; i: exited:1@80
  do   unmount
  Initialized False ContainersNotInitialized "containers with incomplete status: [i s j]"
"#;

#[test]
fn a_pod_is_initialized_by_its_init_containers_or_an_app_that_ran() {
    check(INITIALIZED);
}

const READY: &str = r#"
pod initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always}], containers: [{name: d, image: x}, {name: c, image: x}]

§5 unready containers: sidecars first, then in spec order, plain init containers never
  seen i: running@90
  do   nothing
  ContainersReady False ContainersNotReady "containers with unready status: [s d c]"
  Ready False ContainersNotReady "containers with unready status: [s d c]"

§5 all serve
  seen i: exited:0@50; s: running@60; d: running@70; c: running@70
  do   nothing
  ContainersReady True
  Ready True

§5 a sidecar that doesn't makes the pod unready
  seen i: exited:0@50; s: exited:1@95 backoff=20@94; d: running@70; c: running@70
  do   nothing
  ContainersReady False ContainersNotReady "containers with unready status: [s]"

§5 so does an app
  with restartPolicy: Never
  seen i: exited:0@50; s: running@60; d: running@70; c: exited:0@90
  do   nothing
  Ready False ContainersNotReady "containers with unready status: [c]"

§5 Succeeded: PodCompleted, no message
  with restartPolicy: Never
  seen terminating Completed@95/30; sandbox stopped; i: exited:0@50; s: exited:0@98; d: exited:0@95; c: exited:0@90
  do   unmount
  Ready False PodCompleted
  ContainersReady False PodCompleted

§5 Failed: PodFailed, no message
  with restartPolicy: Never
  seen terminating Completed@95/30; sandbox stopped; i: exited:0@50; s: exited:0@98; d: exited:1@95; c: exited:0@90
  do   unmount
  Ready False PodFailed
  ContainersReady False PodFailed

§7 deletion doesn't itself make Ready False
  deleted 30@90
  seen terminating Deleted@90/30; i: exited:0@50; s: running@60 stop=Pod@90/30; d: running@70 stop=Pod@90/30 term@90; c: running@70 stop=Pod@90/30 term@90
  do   nothing
  Ready True
"#;

#[test]
fn a_pod_is_ready_when_apps_and_sidecars_are() {
    check(READY);
}

const GATES: &str = r#"
pod readinessGates: [{conditionType: g}, {conditionType: h}], containers: [{name: c, image: i}]

§5 a gate without its condition
  seen   c: running@50
  object conditions: [{type: h, status: 'True'}]
  do     nothing
  Ready  False ReadinessGatesNotReady 'corresponding condition of pod readiness gate "g" does not exist.'
  ContainersReady True

§5 a gate that is not True
  seen   c: running@50
  object conditions: [{type: h, status: 'True'}, {type: g, status: 'False'}]
  do     nothing
  Ready  False ReadinessGatesNotReady 'the status of pod readiness gate "g" is not "True", but False'

§5 an unknown one isn't True either
  seen   c: running@50
  object conditions: [{type: h, status: 'True'}, {type: g, status: Unknown}]
  do     nothing
  Ready  False ReadinessGatesNotReady 'the status of pod readiness gate "g" is not "True", but Unknown'

§5 several
  seen   c: running@50
  object conditions: [{type: h, status: 'False'}]
  do     nothing
  Ready  False ReadinessGatesNotReady 'corresponding condition of pod readiness gate "g" does not exist., the status of pod readiness gate "h" is not "True", but False'

§5 all met
  seen   c: running@50
  object conditions: [{type: h, status: 'True'}, {type: g, status: 'True'}]
  do     nothing
  Ready  True
  conditions h g PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled

§5 ContainersReady comes before the gates
  object conditions: [{type: h, status: 'True'}, {type: g, status: 'True'}]
  do     pull c
  Ready  False ContainersNotReady "containers with unready status: [c]"
"#;

#[test]
fn readiness_gates_are_asked_after_the_containers() {
    check(GATES);
}

const STORED: &str = r#"
pod containers: [{name: c, image: i, restartPolicy: Always, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [9]}}], resources: {requests: {memory: 2Gi}}}]

§5 foreign ones, resize ones, DisruptionTarget, kubelet's own
  object conditions: [{type: g, status: 'True'}, {type: DisruptionTarget, status: 'True'}, {type: h, status: 'True'}]
  seen   node 1000 1073741824; c: running@50 resources={requests: {memory: 1Gi}}
  do     nothing
  conditions g h PodResizePending DisruptionTarget PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled AllContainersRestarting

§5 what kubelet owns is its own to say
  object conditions: [{type: Ready, status: 'False', reason: Mine}]
  seen   c: running@50
  do     nothing
  Ready  True

§5 lastTransitionTime moves only when the status flips
  was    @60 c: running@50
  seen   c: running@50
  do     nothing
  Ready  True @60
  PodScheduled True @60

§5 and then it does
  was    @60 c: running@50
  seen   c: exited:1@99 backoff=20@98
  do     nothing
  Ready  False ContainersNotReady "containers with unready status: [c]" @100
  PodReadyToStartContainers True @60

§5 not with another reason
  was    @60 c: pulling
  seen   terminating Completed@95/30; sandbox stopped; c: exited:1@95
  do     unmount
  Ready  False PodFailed @60

§5 whole seconds
  now    100.9
  seen   c: running@50
  do     nothing
  Ready  True @100

§5 generation is copied to each
  seen   c: running@50
  do     nothing
  /observedGeneration 1
  /conditions/2/observedGeneration 1
"#;

#[test]
fn conditions_are_stored_in_order_with_the_time_of_their_last_change() {
    check(STORED);
}

const OTHER_FIELDS: &str = r#"
pod containers: [{name: c, image: i}]

§5 startTime is the first sync
  seen volumes absent; sandbox absent; first-sync
  do   mount
  /startTime 2027-01-15T08:01:40Z
  /hostIP 192.0.2.1
  /hostIPs/0/ip 192.0.2.1
  /podIP none

§5 and immutable
  was  @60 c: running@50
  seen c: running@50
  do   nothing
  /startTime 2027-01-15T08:01:00Z

§5 podIP comes with the sandbox
  seen c: pulling
  do   nothing
  /podIP 10.0.0.2
  /podIPs/0/ip 10.0.0.2

§5 with hostNetwork it is the node's
  with hostNetwork: true
  seen c: pulling
  do   nothing
  /podIP 192.0.2.1

§13 it is kept across restarts of containers
  seen c: exited:1@95 backoff=20@94
  do   nothing
  /podIP 10.0.0.2

§13 and cleared after termination
  deleted 30@90
  seen terminating Deleted@90/30; sandbox stopped; c: exited:0@95
  do   unmount
  /podIP none
  /hostIP 192.0.2.1

§18 QoS
  seen c: running@50
  do   nothing
  /qosClass BestEffort

§1 computed once and kept
  object qosClass: Burstable
  seen c: running@50
  do   nothing
  /qosClass Burstable
"#;

#[test]
fn addresses_start_time_and_class_are_said_once_they_are_known() {
    check(OTHER_FIELDS);
}
