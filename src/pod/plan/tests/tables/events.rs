//! §15: the events, their types, reasons, texts and what they are about.

use super::check;

const EVENTS: &str = r#"
pod initContainers: [{name: i, image: x}, {name: s, image: x, restartPolicy: Always}], containers: [{name: c, image: x}], ephemeralContainers: [{name: e, image: x}]

§15 Created and Started, without a name
  seen i: exited:0@50; s: running@60; e: running@70; c: starting
  then running c/0
  do   nothing
  event Normal Created containers{c} "Container created"
  event Normal Started containers{c} "Container started"

§15 about an init container
  seen i: starting; e: running@70
  then running i/0
  do   nothing
  event Normal Created initContainers{i} "Container created"
  event Normal Started initContainers{i} "Container started"

§15 about a sidecar
  seen i: exited:0@50; s: starting; e: running@70
  then running s/0
  do   pull c
  event Normal Created initContainers{s} "Container created"
  event Normal Started initContainers{s} "Container started"

§15 about an ephemeral container
  seen i: exited:0@50; s: running@60; e: starting; c: running@70
  then running e/0
  do   nothing
  event Normal Created ephemeralContainers{e} "Container created"
  event Normal Started ephemeralContainers{e} "Container started"

§15 Failed: configuration
  seen i: exited:0@50; s: running@60; e: running@70; c: starting
  then unstarted c/0 config
  do   nothing
  event Warning Failed containers{c} "Error: no such program"

§15 Failed: create
  seen i: exited:0@50; s: running@60; e: running@70; c: starting
  then unstarted c/0 create
  do   nothing
  event Warning Failed containers{c} "Error: no such program"

§15 Failed: start, of what was created
  seen i: exited:0@50; s: running@60; e: running@70; c: starting
  then unstarted c/0 run created
  do   pull c
  event Normal Created containers{c} "Container created"
  event Warning Failed containers{c} "Error: no such program"

§15 an exit is none
  seen i: exited:0@50; s: running@60; e: running@70; c: running@70
  then exited c/0 1
  do   pull c
  event none

§15 BackOff
  seen i: exited:0@50; s: running@60; e: running@70; c: exited:1@95 backoff=10@94
  do   nothing
  event Warning BackOff containers{c} "Back-off restarting failed container c in pod p_ns(u)"

§15 Killing
  deleted 30@100
  seen i: exited:0@50; s: exited:0@95; e: exited:0@90; c: running@70
  do   term c/0
  event Normal Killing containers{c} "Stopping container c"

§15 once
  deleted 30@90
  seen terminating Deleted@90/30; i: exited:0@50; s: exited:0@95; e: exited:0@90; c: running@70 stop=Pod@90/30
  do   term c/0
  event none

§15 Unhealthy
  seen i: exited:0@50; s: running@60; e: running@70; c: running@70
  then report c/0 readiness failed "HTTP probe failed with statuscode: 500"
  do   nothing
  event Warning Unhealthy containers{c} "Readiness probe failed: HTTP probe failed with statuscode: 500"

§7 of a liveness probe
  seen i: exited:0@50; s: running@60; e: running@70; c: running@70
  then report c/0 liveness failed "no"
  do   nothing
  event Warning Unhealthy containers{c} "Liveness probe failed: no"

§7 of a startup probe
  seen i: exited:0@50; s: running@60; e: running@70; c: running@70
  then report s/0 startup failed "no"
  do   nothing
  event Warning Unhealthy initContainers{s} "Startup probe failed: no"

§7 an error counts neither way, and is told
  seen i: exited:0@50; s: running@60; e: running@70; c: running@70
  then report c/0 readiness errored "no such port"
  do   nothing
  event Warning Unhealthy containers{c} "Readiness probe errored and resulted in unknown state: no such port"

§15 ProbeWarning
  seen i: exited:0@50; s: running@60; e: running@70; c: running@70
  then report c/0 liveness warned "Probe terminated redirects, Response body: <a>"
  do   nothing
  event Warning ProbeWarning containers{c} "Liveness probe warning: Probe terminated redirects, Response body: <a>"

§7 not of an instance that is gone
  seen i: exited:0@50; s: running@60; e: running@70; c/1: exited:1@60 -> running@70
  then report c/0 readiness failed "late"
  do   nothing
  event none

§15 FailedMount
  seen volumes setting-up; sandbox absent
  then volumes failed v 'configmap "c" not found'
  do   nothing
  wake 100.5
  event Warning FailedMount pod 'MountVolume.SetUp failed for volume "v" : configmap "c" not found'

§15 FailedCreatePodSandBox
  seen sandbox creating
  then sandbox failed "no address is free"
  do   nothing
  event Warning FailedCreatePodSandBox pod "Failed to create pod sandbox: no address is free"

§15 SandboxChanged
  seen sandbox lost
  do   sandbox
  event Normal SandboxChanged pod "Pod sandbox changed, it will be killed and re-created."

§15 DeadlineExceeded
  with activeDeadlineSeconds: 100
  seen i: exited:0@50; s: exited:0@95; e: exited:0@90; c: exited:1@99
  do   stop sandbox
  event Normal DeadlineExceeded pod "Pod was active on the node longer than the specified deadline"

§15 Evicted, after which containers have as little time as there is
  seen i: exited:0@50; s: exited:0@95; e: exited:0@90; c: running@60
  then evicted "it holds too much. "
  do   term c/0
  event Warning Evicted pod "it holds too much. "
  event Normal Killing containers{c} "Stopping container c"
  wake 102

§15 what a runtime could not do
  seen i: exited:0@50; s: running@60; e: running@60; c: running@60
  then warned c "no control group"
  do   nothing
  event Warning Limited containers{c} "no control group"

§15 a start that was given up is none
  deleted 30@90
  seen terminating Deleted@90/30; i: exited:0@50; s: exited:0@95; e: exited:0@90; c: starting cancelled
  then unstarted c/0 cancelled
  do   stop sandbox
  event none
"#;

#[test]
fn what_happens_is_told_by_events() {
    check(EVENTS);
}
