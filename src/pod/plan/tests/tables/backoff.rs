//! §6: the back-off of restarts and of pulls: its numbers, what it is counted from, what resets it, what it says.

use std::fmt::Write as _;

use super::check;

/// §6: 10, 20, 40, 80, 160, 300 s, printed as Go prints durations; each counted from the exit.
#[test]
fn the_delay_doubles_up_to_five_minutes() {
    let mut table = String::new();
    let delays = [(10, "10s"), (20, "20s"), (40, "40s"), (80, "1m20s"), (160, "2m40s"), (300, "5m0s")];
    for (index, (delay, printed)) in delays.iter().enumerate() {
        let next = delays.get(index + 1).map_or(300, |(delay, _)| *delay);
        let (seen, over) = (format!("c/1: exited:1@400 -> exited:1@995 backoff={delay}@900"), 995 + delay);
        let _ = writeln!(
            table,
            "§6 refused for {delay} s\n now 1000\n pod containers: [{{name: c, image: i}}]\n seen {seen}\n do nothing\n wake {over}
            c CrashLoopBackOff \"back-off {printed} restarting failed container=c pod=p_ns(u)\" after Error:1 (1)
            event Warning BackOff containers{{c}} \"Back-off restarting failed container c in pod p_ns(u)\"
            backoff c {delay}@900\n\n\
            §6 and then started; the delay advances\n now {over}\n pod containers: [{{name: c, image: i}}]\n seen {seen} shown
            do pull c\n backoff c {next}@{over}\n"
        );
    }
    check(&table);
}

const RESTARTS: &str = r#"
pod containers: [{name: c, image: i}]

§6 the first restart is immediate
  seen c: exited:1@100 fresh
  do   pull c
  backoff c 10@100

§6 the end is shown before the back-off
  seen c/1: exited:1@50 -> running@60 backoff=10@60
  then exited c/1 1
  do   nothing
  c    Error:1 after Error:1 (1)
  event none
  wake now

§6 which follows at once
  seen c/1: exited:1@50 -> running@60 backoff=10@60
  then exited c/1 1
  again
  do   nothing
  c    CrashLoopBackOff "back-off 10s restarting failed container=c pod=p_ns(u)" after Error:1 (1)
  event Warning BackOff containers{c} "Back-off restarting failed container c in pod p_ns(u)"
  wake 110

§6 a wait is told once
  seen c/1: exited:1@50 -> exited:1@95 backoff=10@60 shown
  do   nothing
  event none
  wake 105

§6 it is counted from the exit
  seen c/1: exited:1@50 -> exited:1@91 backoff=10@90
  do   nothing
  wake 101

§6 so a long run has waited already
  seen c/1: exited:1@40 -> exited:1@90 backoff=10@50
  do   pull c
  backoff c 20@100

§6 exit 0 backs off as well
  seen c/1: exited:0@50 -> exited:0@95 backoff=10@60
  do   nothing
  c    CrashLoopBackOff after Completed:0 (1)

§6 so do init containers
  pod  initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i/1: exited:1@50 -> exited:1@95 backoff=20@60
  do   nothing
  i    CrashLoopBackOff "back-off 20s restarting failed container=i pod=p_ns(u)" after Error:1 (1)
  wake 115
  event Warning BackOff initContainers{i} "Back-off restarting failed container i in pod p_ns(u)"

§6 so do sidecars
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen s/1: exited:0@50 -> exited:0@95 backoff=20@60; c: running@50
  do   nothing
  wake 115

§6 so do starts that failed
  seen c/1: exited:1@50 -> exited:128@95 reason=StartError unstarted:run@95 backoff=20@60
  do   nothing
  c    CrashLoopBackOff after StartError:128 (1)
  wake 115

§6 more than 600 s from the last advance to the exit: the sequence starts again
  now  1301
  seen c/1: exited:1@690 -> exited:1@1301 backoff=160@700
  do   pull c
  backoff c 10@1301

§6 no more than 600 s: it goes on
  now  1300
  seen c/1: exited:1@690 -> exited:1@1300 backoff=160@700
  do   nothing
  wake 1460

§6 another image or other resources: another back-off
  seen c/1: exited:1@80 -> exited:1@99 backoff=160@81 stale-backoff
  do   pull c
  backoff c 10@100

§6 the others go on meanwhile
  pod  containers: [{name: c, image: i}, {name: d, image: i}]
  seen c/1: exited:1@50 -> exited:1@95 backoff=20@60; d: exited:1@95
  do   pull d
  wake 115

§6 the first restart after a kill by a probe never waits
  seen c: exited:137@99 stop=LivenessProbe@90/30 term@90 backoff=40@80
  do   pull c
  backoff c 40@80

§6 the next one looks at the exit before it: long enough ago
  seen c/1: exited:1@50 -> exited:137@99 stop=LivenessProbe@90/30 term@90 backoff=40@51
  do   pull c
  backoff c 80@100

§6 or not: then the restart waits, from the kill
  seen c/1: exited:1@80 -> exited:137@99 stop=LivenessProbe@90/30 term@90 backoff=40@81
  do   nothing
  c    CrashLoopBackOff after Error:137 (1)
  wake 139

§6 a kill for another image is restarted at once: its back-off is new
  seen c/1: exited:1@98 image=old -> exited:143@99 image=old stop=DefinitionChanged@98/30 term@98 backoff=40@81 stale-backoff
  do   pull c

§6 after the restart of all containers none waits
  seen epoch 1; c/5: exited:137@99 epoch=0 reason=RestartingAllContainers
  do   pull c

§6 a delete doesn't wait
  deleted 30@100
  seen c/1: exited:1@50 -> exited:1@95 backoff=300@60 shown
  do   stop sandbox
"#;

#[test]
fn restarts_wait_for_their_back_off() {
    check(RESTARTS);
}

const PULLS: &str = r#"
pod containers: [{name: c, image: i}, {name: d, image: i}, {name: e, image: other}]

§6 a pull that failed is shown first
  seen c: pulling
  then unpullable c pull "not found"
  do   pull e
  c    ErrImagePull "not found"
  event Warning Failed containers{c} 'Failed to pull image "i": not found'
  event Warning Failed containers{c} "Error: ErrImagePull"

§6 then its back-off: 10 s, for every container with this image, and no other
  seen c: pulling
  then unpullable c pull "not found"
  again
  do   nothing
  c    ImagePullBackOff 'Back-off pulling image "i": ErrImagePull: not found'
  d    ImagePullBackOff 'Back-off pulling image "i": ErrImagePull: not found'
  e    ContainerCreating
  wake 110

§10 told once for each
  seen pulls i 10@95 "not found"; c: unpullable:pull@105; d: shown; e: pulling
  do   nothing
  event Normal BackOff containers{c} 'Back-off pulling image "i"'
  event Warning Failed containers{c} "Error: ImagePullBackOff"

§6 when it is over the pull is tried again
  seen pulls i 10@90 "not found"; c: unpullable:pull@100 shown; e: running@95
  do   pull c
  c    ErrImagePull

§6 another container of this image isn't held up by what it has tried itself
  seen pulls i 10@90 "not found"; c: running@80; d: unpullable:pull@100 shown; e: running@95
  do   pull d
"#;

#[test]
fn pulls_wait_for_the_back_off_of_their_image() {
    check(PULLS);
}

/// §6 "Image pull": 10 s doubling to 300 s, from the last failed attempt; forgotten after 600 s.
#[test]
fn the_delay_of_a_pull_doubles_and_is_forgotten() {
    let mut table = String::new();
    for (before, next) in [
        ("10@900", 20),
        ("20@900", 40),
        ("40@900", 80),
        ("80@900", 160),
        ("160@900", 300),
        ("300@700", 300),
        ("160@400", 300),
        ("160@399", 10),
    ] {
        let _ = writeln!(
            table,
            "§6 a pull fails again after {before}\n now 1000\n pod containers: [{{name: c, image: i}}]
            seen pulls i {before} cause; c: pulling\n then unpullable c pull gone\n again\n do nothing\n wake {}\n",
            1000 + next
        );
    }
    check(&table);
}

/// §6: what a restart back-off belongs to.
#[test]
fn image_and_resources_have_back_offs_of_their_own() {
    let key = |fields: &str| {
        let container = serde_yaml::from_str(&format!("{{name: c, {fields}}}")).unwrap();
        crate::pod::backoff::restart_key(&container)
    };
    let first = key("image: i, resources: {limits: {cpu: 1}}");
    assert_eq!(first, key("image: i, resources: {limits: {cpu: 1}}, args: [x]"));
    assert_ne!(first, key("image: j, resources: {limits: {cpu: 1}}"));
    assert_ne!(first, key("image: i, resources: {limits: {cpu: 2}}"));
    assert_ne!(first, key("image: i"));
}
