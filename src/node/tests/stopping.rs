//! Deletion, deadline, grace periods, and what is left behind.

use std::time::Duration;

use super::scene::Scene;
use crate::runtime::Signal;
use crate::runtime::fake::{Call, Script};

fn stops_after(seconds: u64) -> Script {
    Script::runs_forever().exits_on_term(Duration::from_secs(seconds), 0)
}

/// §9: TERM at once, KILL when the grace period is over, to the second.
#[tokio::test(start_paused = true)]
async fn a_container_that_ignores_term_is_killed_when_the_grace_period_ends() {
    let mut scene = Scene::new("containers: [{name: c}]").script("c", Script::runs_forever().ignores_term()).start();
    scene.at(5).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!((scene.shows("c").as_str(), scene.phase().as_str()), ("Error:137", "Failed"));
    assert_eq!(scene.finished_at("c"), 35);
    assert_eq!(scene.only(&["event c Killing"]), ["5 event c Killing: Stopping container c"]);
    let signals = scene.runtime.calls().into_iter().filter(|call| matches!(call, Call::Signal(..)));
    let expected = [Signal::Term, Signal::Kill].map(|signal| Call::Signal("c".to_owned(), signal));
    assert_eq!(signals.collect::<Vec<_>>(), expected);
}

/// §9: one that stops in time is not killed; one that does not catch TERM dies of it.
#[tokio::test(start_paused = true)]
async fn a_container_that_stops_in_time_ends_as_it_likes() {
    for (script, shown, phase, after) in
        [(stops_after(7), "Completed:0", "Succeeded", 7), (Script::runs_forever(), "Error:143", "Failed", 0)]
    {
        let mut scene = Scene::new("containers: [{name: c}]").script("c", script).start();
        scene.at(5).await;
        scene.delete(30);
        scene.end().await;
        assert_eq!((scene.shows("c").as_str(), scene.phase().as_str()), (shown, phase));
        assert_eq!(scene.finished_at("c"), 5 + after);
    }
}

/// A second deletion, as by another Ctrl-C, reaches a stop in progress.
#[tokio::test(start_paused = true)]
async fn a_shorter_grace_period_cuts_a_stop_short() {
    let mut scene = Scene::new("containers: [{name: c}]").script("c", Script::runs_forever().ignores_term()).start();
    scene.at(1).await;
    scene.delete(30);
    scene.at(3).await;
    scene.delete(0);
    scene.end().await;
    assert_eq!((scene.finished_at("c"), scene.shows("c").as_str()), (3, "Error:137"));
}

/// §9: apps first, then sidecars from last to first.
#[tokio::test(start_paused = true)]
async fn sidecars_stop_after_the_apps_in_reverse_order() {
    let spec = "initContainers: [{name: s1, restartPolicy: Always}, {name: s2, restartPolicy: Always}], \
                containers: [{name: a}, {name: b}]";
    let scene = Scene::new(spec).script("s1", stops_after(1)).script("s2", stops_after(1));
    let mut scene = scene.script("a", stops_after(2)).script("b", stops_after(3)).start();
    scene.until("state b Running").await;
    assert_eq!(scene.starts(), ["0 s1", "0 s2", "0 a", "0 b"]);
    scene.at(10).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!(["a", "b", "s2", "s1"].map(|name| scene.finished_at(name)), [12, 13, 14, 15]);
    assert_eq!(scene.phase(), "Succeeded");
}

/// §9: the deadline counts from the pod's start, init containers included.
#[tokio::test(start_paused = true)]
async fn the_active_deadline_fails_the_pod() {
    let spec = "activeDeadlineSeconds: 20, terminationGracePeriodSeconds: 3, initContainers: [{name: i}], \
                containers: [{name: c}]";
    let scene = Scene::new(spec).script("i", Script::exits(Duration::from_secs(15), 0));
    let scene = scene.script("c", Script::runs_forever().ignores_term()).start();
    scene.end().await;
    assert_eq!((scene.phase().as_str(), scene.status().reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
    assert_eq!(scene.finished_at("c"), 23);
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(scene.only(&["event - "]), [format!("20 event - DeadlineExceeded: {message}")]);
}

/// A start that takes long, as a compilation does, is given up at once.
#[tokio::test(start_paused = true)]
async fn deletion_during_a_slow_creation_takes_no_time() {
    let slow = Script::runs_forever().creation_takes(Duration::from_secs(3600));
    let mut scene = Scene::new("containers: [{name: c}]").script("c", slow).start();
    scene.at(5).await;
    scene.delete(30);
    scene.end().await;
    assert_eq!(scene.only(&["phase"]), ["0 phase Pending", "5 phase Failed"]);
    assert!(!scene.runtime.calls().contains(&Call::Start("c".to_owned())));
    assert_eq!(scene.files_left(), [""; 0]);
}

/// §12, §10: what cannot be set up does not keep the pod from going.
#[tokio::test(start_paused = true)]
async fn pods_that_cannot_start_can_be_deleted() {
    for spec in [
        "containers: [{name: c}], volumes: [{name: v, configMap: {name: missing}}]",
        "containers: [{name: c, image: '127.0.0.1:1/nowhere:1'}]",
        "containers: [{name: c, image: 'Not A Name'}]",
    ] {
        let mut scene = Scene::new(spec).start();
        scene.at(3).await;
        scene.delete(30);
        scene.end().await;
        assert_eq!(scene.only(&["phase"]), ["0 phase Pending", "3 phase Failed"], "{spec}");
        assert_eq!(scene.files_left(), [""; 0], "{spec}");
    }
}

/// A deletion that comes before anything was done still leaves nothing.
#[tokio::test(start_paused = true)]
async fn deletion_right_after_creation_leaves_nothing() {
    let spec = "containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, emptyDir: {}}]";
    let mut scene = Scene::new(spec).start();
    scene.delete(30);
    scene.end().await;
    assert_eq!(scene.phase(), "Failed");
    let mut scene = Scene::new(spec).start();
    scene.until("phase Pending").await;
    scene.delete(30);
    scene.end().await;
    assert_eq!((scene.phase().as_str(), scene.files_left()), ("Failed", Vec::new()));
}

/// What containers wrote, to volumes and to their own roots, goes with the pod.
#[tokio::test(start_paused = true)]
async fn nothing_of_a_pod_stays_on_disk() {
    let spec = "restartPolicy: OnFailure, containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], \
                volumes: [{name: v, emptyDir: {}}]";
    let scene = Scene::new(spec);
    let script = |code| Script::exits(Duration::from_secs(1), code).writes("/own", "x").writes("/v/shared", "y");
    scene.runtime.script_attempts("c", vec![script(1), script(1), script(0)]);
    let scene = scene.start();
    scene.until("state c Running").await;
    let pod = scene.directory.path().join("pods/u");
    assert!(pod.join("volumes/kubernetes.io~empty-dir/v/shared").exists());
    let roots = || std::fs::read_dir(pod.join("containers")).map_or(0, Iterator::count);
    assert_eq!(roots(), 1);
    scene.at(20).await;
    scene.end().await;
    assert_eq!((scene.phase().as_str(), scene.files_left()), ("Succeeded", Vec::new()));
}

/// A dead instance's files go when it dies, not when the pod does.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_does_not_fill_the_disk() {
    let scene = Scene::new("containers: [{name: c}]");
    let scene = scene.script("c", Script::exits(Duration::from_secs(1), 1).writes("/own", "x")).start();
    scene.at(1000).await;
    assert_eq!(scene.starts().len(), 9);
    let containers = scene.directory.path().join("pods/u/containers");
    assert_eq!(std::fs::read_dir(containers).map_or(0, Iterator::count), 0);
}

/// Nobody waits for a pod whose handle is gone, and nothing of it runs, whatever was going on.
#[tokio::test(start_paused = true)]
async fn a_dropped_handle_kills_what_runs() {
    let scene = Scene::new("containers: [{name: a}, {name: b, lifecycle: {postStart: {exec: {command: [x]}}}}]");
    scene.runtime.script_execs("b", vec![Script::runs_forever()]);
    let mut scene = scene.start();
    scene.until("event b Started").await;
    scene.drop_handle();
    scene.at(1).await;
    let mut ends = scene.ends();
    ends.sort();
    assert_eq!(ends, ["a 137", "b 137", "b/exec-0 137"]);
}

/// A container that not even KILL ends holds up the pod's end, but nobody else's.
#[tokio::test(start_paused = true)]
async fn a_container_that_survives_kill_does_not_hide_the_others() {
    let scene = Scene::new("containers: [{name: a}, {name: b}]").script("a", Script::runs_forever().survives_kill());
    let mut scene = scene.script("b", stops_after(1)).start();
    scene.at(5).await;
    scene.delete(10);
    scene.until("state b Completed:0").await;
    scene.at(100).await;
    assert_eq!((scene.shows("a").as_str(), scene.finished_at("b")), ("Running", 6));
    assert!(scene.runtime.calls().contains(&Call::Signal("a".to_owned(), Signal::Kill)));
    assert_eq!(scene.phase(), "Running", "§5: no terminal phase while something runs");
}
