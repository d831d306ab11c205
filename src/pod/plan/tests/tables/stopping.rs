//! §9: stopping a pod: the arithmetic of its grace period, who is stopped when, and how it comes out.

use std::fmt::Write as _;

use super::check;

/// §9 "Agent grace": the deletion's, else the spec's, else 30 s; a negative one counts as 1.
#[test]
fn the_grace_period_is_the_deletions_or_the_specs() {
    let mut table = String::new();
    for (fields, deletion, kill) in [
        ("", 30, 130),
        ("terminationGracePeriodSeconds: 60,", 60, 160),
        ("terminationGracePeriodSeconds: 60,", 7, 107),
        ("terminationGracePeriodSeconds: 5,", 90, 190),
        ("", 2, 102),
        ("", 1, 102),
        ("", -5, 102),
    ] {
        let _ = writeln!(
            table,
            "§9 {fields} deleted with {deletion}\n pod {fields} containers: [{{name: c, image: i}}]\n deleted {deletion}@100
            seen c: running@50\n do term c/0\n wake {kill}\n event Normal Killing containers{{c}} \"Stopping container c\"\n"
        );
    }
    for (fields, kill) in
        [("", 130), ("terminationGracePeriodSeconds: 7,", 107), ("terminationGracePeriodSeconds: 0,", 100)]
    {
        let (then, wake) =
            if kill == 100 { ("kill c/0".into(), "never".into()) } else { ("term c/0".to_owned(), kill.to_string()) };
        let _ = writeln!(
            table,
            "§9 {fields} at its deadline\n pod activeDeadlineSeconds: 100, {fields} containers: [{{name: c, image: i}}]
            seen c: running@50\n do {then}\n wake {wake}\n life Terminating DeadlineExceeded {kill}\n"
        );
    }
    check(&table);
}

/// §9 "per container": what a hook took is deducted in whole seconds, and 2 s are left at least.
#[test]
fn a_hook_takes_of_the_grace_and_leaves_two_seconds() {
    let mut table = String::new();
    let pod = "pod containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]";
    for (grace, over, kill) in [
        (30, "100", "130"),
        (30, "100.9", "130.9"),
        (30, "110", "130"),
        (30, "110.5", "130.5"),
        (30, "127.9", "130.9"),
        (30, "128", "130"),
        (30, "129", "131"),
        (30, "130", "132"),
        (3, "102", "104"),
        (2, "101", "103"),
        (1, "100.5", "102.5"),
    ] {
        let seen = format!("terminating Deleted@100/{grace}; c: running@50 stop=Pod@100/{grace}");
        let _ = writeln!(
            table,
            "§9 grace {grace}, the hook is over at {over}\n now {over}\n deleted {grace}@100\n {pod}
            seen {seen} preStop=over@{over}\n do term c/0\n wake {kill}\n\n\
            §9 grace {grace}, the hook was over at {over}, before the time\n now {over}.001\n deleted {grace}@100\n {pod}
            seen {seen} preStop=over@{over} term@{over}\n do nothing\n wake {kill}\n\n\
            §9 grace {grace}, the hook was over at {over}, time is up\n now {kill}\n deleted {grace}@100\n {pod}
            seen {seen} preStop=failed@{over} term@{over}\n do kill c/0\n"
        );
    }
    check(&table.replace(".5.001", ".501").replace(".9.001", ".901"));
}

const PRE_STOP: &str = r#"
pod containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
deleted 30@100

§9 a hook that takes all the grace is given up, TERM follows, and 2 s
  now  130
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 preStop=running
  do   cancel preStop c/0; term c/0
  wake 132

§9 then KILL
  now  132
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 preStop=over@130 term@130
  do   kill c/0

§9 a container that ends after KILL has 137
  now  132
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 preStop=over@130 term@130 killed
  then exited c/0 137
  do   stop sandbox
  c    Error:137

§9 KILL is sent once
  now  140
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 preStop=over@130 term@130 killed
  do   nothing
  wake never
"#;

#[test]
fn a_hook_that_never_ends_is_given_up() {
    check(PRE_STOP);
}

const ORDER: &str = r#"
pod initContainers: [{name: s1, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}, {name: s2, image: i, restartPolicy: Always}, {name: i, image: i}, {name: s3, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}], containers: [{name: a, image: i}, {name: b, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
deleted 30@100

§9 all at once: hooks of all, TERM to the apps, sidecars wait
  seen s1: running@10; s2: running@10; i: exited:0@20; s3: running@30; a: running@40; b: running@40
  do   preStop s1/0; preStop s3/0; term a/0; preStop b/0
  event Normal Killing initContainers{s1} "Stopping container s1"
  event Normal Killing initContainers{s2} "Stopping container s2"
  event Normal Killing initContainers{s3} "Stopping container s3"
  event Normal Killing containers{a} "Stopping container a"
  event Normal Killing containers{b} "Stopping container b"
  wake 130

§9 one app is left: no sidecar has its turn
  now  105
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@101; s2: running@10 stop=Pod@100/30; i: exited:0@20; s3: running@30 stop=Pod@100/30 preStop=over@101; a: exited:0@102; b: running@40 stop=Pod@100/30 preStop=over@101 term@101
  do   nothing
  wake 130

§9 the last app has stopped: the last sidecar's turn, with what is left of the grace
  now  106
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@101; s2: running@10 stop=Pod@100/30; i: exited:0@20; s3: running@30 stop=Pod@100/30 preStop=over@101; a: exited:0@102; b: exited:0@106
  do   term s3/0
  wake 130

§9 while its hook runs no turn makes it stop
  now  106
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@101; s2: running@10 stop=Pod@100/30; i: exited:0@20; s3: running@30 stop=Pod@100/30 preStop=running; a: exited:0@102; b: exited:0@106
  do   nothing
  wake 130

§9 in reverse order: the second
  now  108
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@101; s2: running@10 stop=Pod@100/30; i: exited:0@20; s3: exited:0@108; a: exited:0@102; b: exited:0@106
  do   term s2/0
  wake 130

§9 the first
  now  129
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@101; s2: exited:0@129; i: exited:0@20; s3: exited:0@108; a: exited:0@102; b: exited:0@106
  do   term s1/0
  wake 131

§9 when the grace is over all stop, with 2 s
  now  130
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=running; s2: running@10 stop=Pod@100/30; i: exited:0@20; s3: running@30 stop=Pod@100/30 preStop=over@101; a: running@40 stop=Pod@100/30 term@100; b: exited:0@106
  do   cancel preStop s1/0; term s1/0; term s2/0; term s3/0; kill a/0
  wake 132

§9 a sidecar that had ended holds up none
  now  106
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@101; s2: running@10 stop=Pod@100/30; i: exited:0@20; s3: exited:1@90; a: exited:0@102; b: exited:0@106
  do   term s2/0

§9 nor does a container that was never started
  seen s1: running@10; s2: running@10; i: unstarted:config@105
  do   preStop s1/0; term s2/0
  wake 130

§9 an init container that runs is stopped at once and holds up no sidecar
  seen s1: running@10; s2: running@10; i: running@20
  do   preStop s1/0; term s2/0; term i/0
"#;

#[test]
fn sidecars_wait_for_the_apps_and_for_later_sidecars() {
    check(ORDER);
}

const COMPLETION: &str = r#"
pod restartPolicy: Never, terminationGracePeriodSeconds: 40, initContainers: [{name: s1, image: i, restartPolicy: Always}, {name: s2, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}], containers: [{name: a, image: i}]

§9 completion without deletion has the same order, with the pod's full grace
  seen s1: running@10; s2: running@10; a: exited:0@100
  do   preStop s2/0
  life Terminating Completed 140
  wake 140

§9 the last sidecar
  now  101
  seen terminating Completed@100/40; s1: running@10 stop=Pod@100/40; s2: running@10 stop=Pod@100/40 preStop=over@101; a: exited:0@99
  do   term s2/0
  wake 140

§9 the first
  now  103
  seen terminating Completed@100/40; s1: running@10 stop=Pod@100/40; s2: exited:0@103; a: exited:0@99
  do   term s1/0
  wake 140

§9 when the grace is over both
  now  140
  seen terminating Completed@100/40; s1: running@10 stop=Pod@100/40; s2: running@10 stop=Pod@100/40 preStop=over@101 term@101; a: exited:0@99
  do   term s1/0; kill s2/0
  wake 142

§9 a failed init container stops the sidecars before it alike
  pod  restartPolicy: Never, initContainers: [{name: s1, image: i, restartPolicy: Always}, {name: s2, image: i, restartPolicy: Always}, {name: i, image: i}], containers: [{name: a, image: i}]
  seen s1: running@10; s2: running@10; i: exited:1@100
  do   term s2/0
  life Terminating Completed 130
"#;

#[test]
fn a_completed_pod_stops_its_sidecars_in_the_same_order() {
    check(COMPLETION);
}

const OUTCOMES: &str = r#"
pod initContainers: [{name: s1, image: i, restartPolicy: Always}, {name: s2, image: i, restartPolicy: Always}, {name: s3, image: i, restartPolicy: Always}], containers: [{name: a, image: i}]
deleted 30@100

§9 all exit 0 on SIGTERM: Succeeded
  now  110
  seen terminating Deleted@100/30; sandbox stopped; s1: exited:0@104; s2: exited:0@103; s3: exited:0@102; a: exited:0@101
  do   unmount
  phase Succeeded

§9 a sidecar exits 1: Succeeded
  now  110
  seen terminating Deleted@100/30; sandbox stopped; s1: exited:0@104; s2: exited:1@103; s3: exited:0@102; a: exited:0@101
  do   unmount
  phase Succeeded
  s2   Error:1

§9 a sidecar is killed: Succeeded
  now  135
  seen terminating Deleted@100/30; sandbox stopped; s1: exited:0@131; s2: exited:137@132; s3: exited:0@102; a: exited:0@101
  do   unmount
  phase Succeeded
  s2   Error:137

§9 the app ignores SIGTERM: Failed
  now  135
  seen terminating Deleted@100/30; sandbox stopped; s1: exited:137@132; s2: exited:137@132; s3: exited:137@132; a: exited:137@130
  do   unmount
  phase Failed
  a    Error:137

§9 the app ignores SIGTERM: it is killed, and the sidecars have 2 s
  now  132
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 term@130; s2: running@10 stop=Pod@100/30 term@130; s3: exited:0@131; a: exited:137@130
  do   kill s1/0; kill s2/0

§9 the app's hook outlasts the grace: SIGTERM and 2 s
  pod  containers: [{name: a, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
  now  130
  seen terminating Deleted@100/30; a: running@10 stop=Pod@100/30 preStop=running
  do   cancel preStop a/0; term a/0
  wake 132

§9 which is enough: Succeeded
  pod  containers: [{name: a, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
  now  132
  seen terminating Deleted@100/30; sandbox stopped; a: exited:0@131
  do   unmount
  phase Succeeded

§9 sidecars' hooks that never end: all are given up together
  pod  initContainers: [{name: s1, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}, {name: s2, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}], containers: [{name: a, image: i}]
  now  130
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=running; s2: running@10 stop=Pod@100/30 preStop=running; a: exited:0@101
  do   cancel preStop s1/0; term s1/0; cancel preStop s2/0; term s2/0
  wake 132

§9 and end together
  pod  initContainers: [{name: s1, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}, {name: s2, image: i, restartPolicy: Always, lifecycle: {preStop: {sleep: {seconds: 1}}}}], containers: [{name: a, image: i}]
  now  132
  seen terminating Deleted@100/30; s1: running@10 stop=Pod@100/30 preStop=over@130 term@130; s2: running@10 stop=Pod@100/30 preStop=over@130 term@130; a: exited:0@101
  do   kill s1/0; kill s2/0

§9 deleted during init: Failed
  pod  initContainers: [{name: s1, image: i, restartPolicy: Always}, {name: i, image: i}], containers: [{name: a, image: i}]
  now  110
  seen terminating Deleted@100/30; sandbox stopped; s1: exited:0@102; i: exited:143@101
  do   unmount
  phase Failed
  i    Error:143
  a    PodInitializing
"#;

#[test]
fn a_deleted_pod_comes_out_as_its_apps_do() {
    check(OUTCOMES);
}

const AGAIN: &str = r#"
pod containers: [{name: c, image: i}]

§9 a second deletion with less time
  deleted 3@106
  now  106
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 term@100
  do   nothing
  life Terminating Deleted 109
  wake 109

§9 which is soon over
  deleted 3@106
  now  109
  seen terminating Deleted@100/3 until=109 shortened; c: running@50 stop=Pod@100/30 term@100
  do   kill c/0

§9 not sooner than was planned
  deleted 20@125
  now  125
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 term@100
  do   nothing
  life Terminating Deleted 130
  wake 130

§9 with more time: ignored
  deleted 60@106
  now  106
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 term@100
  do   nothing
  life Terminating Deleted 130
  wake 130

§9 with none: at once
  deleted 0@106
  now  106
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 term@100
  do   kill c/0

§9 with none while the hook runs: at once
  deleted 0@106
  now  106
  pod  containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
  seen terminating Deleted@100/30; c: running@50 stop=Pod@100/30 preStop=running
  do   cancel preStop c/0; kill c/0

§9 a shortened time that ends while the hook runs: TERM, and 2 s
  deleted 3@106
  now  109
  pod  containers: [{name: c, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
  seen terminating Deleted@100/3 until=109 shortened; c: running@50 stop=Pod@100/30 preStop=running
  do   cancel preStop c/0; term c/0
  wake 111

§9 a shortened time lets the sidecars go as well
  deleted 3@106
  now  109
  pod  initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen terminating Deleted@100/3 until=109 shortened; s: running@50 stop=Pod@100/30; c: running@50 stop=Pod@100/30 term@100
  do   term s/0; kill c/0
  wake 111

§9 deleted while it completes, with less time
  deleted 5@110
  now  110
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen terminating Completed@100/30; s: running@50 stop=Pod@100/30 term@100; c: exited:0@100
  do   nothing
  life Terminating Completed 115
  wake 115

§9 deleted while it completes, with more
  deleted 60@110
  now  110
  pod  restartPolicy: Never, initContainers: [{name: s, image: i, restartPolicy: Always}], containers: [{name: c, image: i}]
  seen terminating Completed@100/30; s: running@50 stop=Pod@100/30 term@100; c: exited:0@100
  do   nothing
  wake 130

§9 a finished pod has nothing left to stop
  deleted 30@110
  now  110
  was  terminating Completed@50/30; sandbox stopped; c: exited:0@60
  seen terminated Completed; volumes torn-down; sandbox stopped; c: exited:0@60
  do   nothing
  wake never
"#;

#[test]
fn a_repeated_deletion_can_only_shorten() {
    check(AGAIN);
}

const DEADLINE: &str = r#"
pod activeDeadlineSeconds: 60, terminationGracePeriodSeconds: 10, containers: [{name: c, image: i}]

§9 before the deadline it is what the pod waits for
  now  40
  seen c: running@10
  do   nothing
  wake 60

§9 then containers are stopped with normal grace
  now  60
  was  @50 c: running@10
  seen c: running@10
  do   term c/0
  wake 70
  life Terminating DeadlineExceeded 70
  phase Running
  event Normal DeadlineExceeded pod "Pod was active on the node longer than the specified deadline"
  event Normal Killing containers{c} "Stopping container c"

§9 it is told once
  now  65
  seen terminating DeadlineExceeded@60/10; c: running@10 stop=Pod@60/10 term@60
  do   nothing
  event none

§9 counted from startTime
  now  60
  seen since 20; c: running@30
  do   nothing
  wake 80

§9 it includes init time
  now  60
  pod  activeDeadlineSeconds: 60, initContainers: [{name: i, image: i}], containers: [{name: c, image: i}]
  seen i: running@10
  do   term i/0
  life Terminating DeadlineExceeded 90

§9 and the time before any start
  now  60
  seen volumes setting-up; sandbox absent
  do   unmount
  life Terminating DeadlineExceeded 70

§9 a crash-looping pod too
  now  60
  seen c/1: exited:1@40 -> exited:1@55 backoff=160@41 shown
  do   stop sandbox
  life Terminating DeadlineExceeded 70

§9 it is Failed with reason and message, with real exit codes
  now  65
  seen terminating DeadlineExceeded@60/10; sandbox stopped; c: exited:0@62
  do   unmount
  phase Failed DeadlineExceeded "Pod was active on the node longer than the specified deadline"
  c    Completed:0

§9 the object stays until it is deleted
  now  70
  seen terminating DeadlineExceeded@60/10; sandbox stopped; volumes torn-down; c: exited:0@62
  do   nothing
  life Terminated DeadlineExceeded
"#;

#[test]
fn a_deadline_stops_the_pod_and_fails_it() {
    check(DEADLINE);
}
