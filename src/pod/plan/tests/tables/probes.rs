//! §7: what probes lead to: started and ready, kills and their grace, and which of them run when.

use super::check;

const RUNNING_PROBES: &str = r#"
pod containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}]

§7 the probes of a container begin when it runs
  seen c: starting
  then running c/0
  do   probe c/0

§7 those of a sidecar too
  pod  initContainers: [{name: s, image: i, restartPolicy: Always, livenessProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: i}]
  seen s: running@99 probing=not; c: running@99
  do   probe s/0

§7 not before its postStart hook is over (§8: it isn't published Running)
  pod  containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}, lifecycle: {postStart: {sleep: {seconds: 1}}}}]
  seen c: running@99 postStart=running probing=not
  do   nothing

§7 once for each instance
  seen c/1: exited:1@50 -> running@99 probing=not
  do   probe c/1
  c    Running after Error:1 (1) unstarted unready

§7 none for a plain init container
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: running@99
  do   nothing

§7 a container that is started and not ready is asked for its readiness when its status is told
  was  c: running@90
  seen c: running@90
  then probe c/0 startup pass
  do   readiness c/0
  c    Running started unready

§7 before it is started it is not
  was  c: starting
  seen c: running@90
  do   nothing

§7 nor when it is ready
  was  c: running@90 startup+
  seen c: running@90 startup+
  then probe c/0 readiness pass
  do   nothing
  c    Running started ready
  Ready True

§7 readiness failure flips ready and restarts nothing
  was  c: running@90 startup+ readiness+
  seen c: running@90 startup+ readiness+
  then probe c/0 readiness fail
  do   readiness c/0
  c    Running started unready
  Ready False ContainersNotReady "containers with unready status: [c]" @100
  phase Running
  event none

§7 results about another instance count for nothing
  was  same
  seen c/1: exited:1@50 -> running@90 startup+ readiness+
  then probe c/0 liveness fail
  do   nothing
"#;

#[test]
fn probes_run_with_their_container_and_gate_started_and_ready() {
    check(RUNNING_PROBES);
}

const KILLS: &str = r#"
pod containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}, {name: d, image: i}]

§7 a failed liveness probe kills, with the pod's grace
  seen c: running@50 startup+; d: running@50
  then probe c/0 liveness fail
  do   term c/0
  wake 130
  event Normal Killing containers{c} "Container c failed liveness probe, will be restarted"
  life Syncing
  phase Running

§7 a failed startup probe too
  seen c: running@50; d: running@50
  then probe c/0 startup fail
  do   term c/0
  wake 130
  event Normal Killing containers{c} "Container c failed startup probe, will be restarted"

§7 under Never nothing follows, and nothing is said to
  with restartPolicy: Never
  seen c: running@50 startup+; d: running@50
  then probe c/0 liveness fail
  do   term c/0
  event Normal Killing containers{c} "Container c failed liveness probe"

§7 under the container's own Never neither
  pod  containers: [{name: c, image: i, restartPolicy: Never, livenessProbe: {tcpSocket: {port: 1}}}, {name: d, image: i}]
  seen c: running@50; d: running@50
  then probe c/0 liveness fail
  do   term c/0
  event Normal Killing containers{c} "Container c failed liveness probe"

§7 the sidecar's form
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: i}]
  seen s: running@50; c: running@50
  then probe s/0 startup fail
  do   term s/0
  event Normal Killing initContainers{s} "Init container s failed startup probe"

§7 also for liveness
  pod  initContainers: [{name: s, image: i, restartPolicy: Always, startupProbe: {tcpSocket: {port: 1}}, livenessProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: i}]
  seen s: running@50 startup+; c: running@50
  then probe s/0 liveness fail
  do   term s/0
  event Normal Killing initContainers{s} "Init container s failed liveness probe"

§3.4 the first reason counts: another image before liveness
  seen c: running@50 startup+ liveness- image=old; d: running@50
  do   term c/0
  event Normal Killing containers{c} "Container c definition changed, will be restarted"

§3.4 liveness before startup
  seen c: running@50 startup- liveness-; d: running@50
  do   term c/0
  event Normal Killing containers{c} "Container c failed liveness probe, will be restarted"

§3.4 startup before resize
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}}, resources: {limits: {cpu: 2}}, resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]}]
  seen c: running@50 startup- resources={limits: {cpu: 1}}
  do   term c/0
  event Normal Killing containers{c} "Container c failed startup probe, will be restarted"

§7 the probe's own grace
  pod  containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 5}}, {name: d, image: i}]
  seen c: running@50; d: running@50
  then probe c/0 liveness fail
  do   term c/0
  wake 105

§7 which may exceed the pod's
  with terminationGracePeriodSeconds: 10
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 60}}, {name: d, image: i}]
  seen c: running@50; d: running@50
  then probe c/0 startup fail
  do   term c/0
  wake 160

§7 of the probe that failed
  pod  containers: [{name: c, image: i, startupProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 60}, livenessProbe: {tcpSocket: {port: 1}}}, {name: d, image: i}]
  seen c: running@50 startup+; d: running@50
  then probe c/0 liveness fail
  do   term c/0
  wake 130

§7 preStop runs
  pod  containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}, lifecycle: {preStop: {sleep: {seconds: 5}}}}, {name: d, image: i}]
  seen c: running@50; d: running@50
  then probe c/0 liveness fail
  do   preStop c/0
  wake 130

§7 the grace is over: killed
  seen c: running@50 startup+ liveness- stop=LivenessProbe@70/30 term@70; d: running@50
  do   kill c/0

§7 it is once killed that it is restarted
  seen c: running@50 startup+ liveness- stop=LivenessProbe@90/30 term@90; d: running@50
  do   nothing
  wake 120
  c    Running started ready

§3.4 in the same sync
  seen c: running@50 startup+ liveness- stop=LivenessProbe@90/30 term@90; d: running@50
  then exited c/0 137
  do   pull c
  c    Error:137

§7 under Never it stays
  with restartPolicy: Never
  seen c: running@50 startup+ liveness- stop=LivenessProbe@90/30 term@90; d: running@50
  then exited c/0 0
  do   nothing
  c    Completed:0
  life Syncing
"#;

#[test]
fn failed_probes_kill_with_grace() {
    check(KILLS);
}

const SHUTDOWN: &str = r#"
pod initContainers: [{name: s, image: i, restartPolicy: Always, livenessProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}}], containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}}]

§7 an app's liveness and startup probes stop when termination begins; a sidecar's don't
  deleted 30@100
  was  same
  seen s: running@50 readiness+; c: running@50 readiness+
  do   stop probes c/0; term c/0

§7 readiness goes on
  deleted 30@90
  was  s: running@50 readiness+; c: running@50 readiness+
  seen terminating Deleted@90/30; s: running@50 readiness+ stop=Pod@90/30; c: running@50 readiness+ probing=readiness stop=Pod@90/30 term@90
  then probe c/0 readiness fail
  do   readiness c/0
  Ready False ContainersNotReady "containers with unready status: [c]"

§7 a sidecar's liveness has no effect any more
  deleted 30@90
  was  same
  seen terminating Deleted@90/30; s: running@50 readiness+ stop=Pod@90/30; c: running@50 readiness+ probing=readiness stop=Pod@90/30 term@90
  then probe s/0 liveness fail
  do   nothing
  event none

§7 nor an app's that had failed before
  deleted 30@100
  was  same
  seen s: running@50 readiness+; c: running@50 readiness+ liveness- probing=readiness
  do   term c/0
  event Normal Killing initContainers{s} "Stopping container s"
  event Normal Killing containers{c} "Stopping container c"

§7 during a kill for liveness readiness goes on
  pod  containers: [{name: c, image: i, livenessProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 1}}, lifecycle: {preStop: {sleep: {seconds: 5}}}}]
  was  c: running@50 readiness+
  seen c: running@50 readiness+ liveness- stop=LivenessProbe@98/30 preStop=running
  then probe c/0 readiness fail
  do   readiness c/0
  c    Running started unready
"#;

#[test]
fn readiness_probes_outlive_the_others() {
    check(SHUTDOWN);
}
