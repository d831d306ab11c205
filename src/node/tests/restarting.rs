//! The agent is killed, and another takes its pod up from what is on disk (§9 "Agent restart").

use std::path::PathBuf;
use std::time::Duration;

use super::scene::Scene;
use crate::runtime::fake::Script;

const UNKNOWN: &str = "ContainerStatusUnknown:137";

fn exits(seconds: u64, code: i32) -> Script {
    Script::exits(Duration::from_secs(seconds), code)
}

impl Scene {
    fn volume_file(&self, file: &str) -> PathBuf {
        self.directory.path().join("pods/u/volumes/kubernetes.io~empty-dir/v").join(file)
    }
}

/// §4, §9: restarted or ended exactly as their policy says.
#[tokio::test(start_paused = true)]
async fn vanished_containers_come_back_as_their_policy_says() {
    for (policy, c, done, phase) in [
        ("Always", format!("Running after {UNKNOWN} (1)"), "Running after ContainerStatusUnknown:137 (2)", "Running"),
        ("OnFailure", format!("Running after {UNKNOWN} (1)"), "Completed:0", "Running"),
        ("Never", UNKNOWN.to_owned(), "Completed:0", "Failed"),
    ] {
        let spec = format!("restartPolicy: {policy}, containers: [{{name: c}}, {{name: done}}]");
        let scene = Scene::new(&spec);
        scene.runtime.script_attempts("done", vec![exits(5, 0), Script::runs_forever()]);
        let mut scene = scene.start();
        scene.at(8).await;
        scene.crash().await;
        scene.take_up();
        scene.at(9).await;
        let shown = (scene.shows("c"), scene.shows("done"), scene.phase());
        assert_eq!(shown, (c, done.to_owned(), phase.to_owned()), "{policy}: {:#?}", scene.timeline());
        let changed = "8 event - SandboxChanged: Pod sandbox changed, it will be killed and re-created.";
        assert_eq!(scene.only(&["event - Sandbox"]), if policy == "Never" { vec![] } else { vec![changed] });
    }
}

/// §3.1: init containers and sidecars run again, in order, and counts go on however often it happens.
#[tokio::test(start_paused = true)]
async fn init_containers_and_sidecars_run_again_and_counts_go_on() {
    let spec = "initContainers: [{name: i}, {name: s, restartPolicy: Always}], containers: [{name: c}]";
    let mut scene = Scene::new(spec).script("i", exits(1, 0)).start();
    for agent in 1..=3 {
        scene.at(agent * 10).await;
        scene.crash().await;
        scene.take_up();
    }
    scene.at(35).await;
    assert_eq!(scene.starts()[9..], ["30 i", "31 s", "31 c"]);
    let counts = ["i", "s", "c"].map(|name| scene.container(name).restart_count);
    assert_eq!((counts, scene.phase().as_str()), ([3, 3, 3], "Running"));
}

/// What volumes on disk have stays, what dead containers had changed of their images goes, and so does all of it with
/// the pod.
#[tokio::test(start_paused = true)]
async fn volumes_survive_and_nothing_else_does() {
    let spec = "securityContext: {fsGroup: 2000}, containers: [{name: c, volumeMounts: [{name: v, mountPath: /v},
        {name: v, mountPath: /sub, subPath: sub}, {name: m, mountPath: /m}, {name: mem, mountPath: /mem}]}],
        volumes: [{name: v, emptyDir: {}}, {name: m, configMap: {name: m}}, {name: mem, emptyDir: {medium: Memory}}]";
    let scene = Scene::new(spec);
    scene.add_config_map("m", "key: one");
    let first = Script::runs_forever().writes("/v/kept", "data").writes("/sub/kept", "too").writes("/mem/lost", "x");
    scene.runtime.script_attempts("c", vec![first, Script::runs_forever()]);
    let mut scene = scene.start();
    scene.until("state c Running").await;
    scene.crash().await;
    let root = scene.directory.path().join("pods/u/containers/dead");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("0"), "what it had changed").unwrap();
    scene.add_config_map("m", "key: two");
    scene.take_up();
    scene.until("state c Running after").await;
    let read = |path| scene.runtime.read("c", path);
    assert_eq!((read("/v/kept").as_deref(), read("/sub/kept").as_deref()), (Some("data"), Some("too")));
    assert_eq!((read("/m/key").as_deref(), read("/mem/lost")), (Some("two"), None));
    assert!(!root.exists());
    #[cfg(unix)]
    assert_eq!(mode(&scene.volume_file("")), 0o2777);
    scene.delete(0);
    scene.end().await;
    assert_eq!(scene.files_left(), [""; 0]);
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o7777
}

/// A deletion that was under way goes on, and one that was not does not begin.
#[tokio::test(start_paused = true)]
async fn a_deletion_in_progress_goes_on_to_its_end() {
    let spec = "containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, emptyDir: {}}]";
    let mut scene = Scene::new(spec).script("c", Script::runs_forever().ignores_term()).start();
    scene.at(5).await;
    scene.delete(30);
    scene.at(10).await;
    scene.crash().await;
    assert!(scene.volume_file("").exists());
    scene.take_up();
    scene.end().await;
    assert_eq!((scene.shows("c").as_str(), scene.phase().as_str()), (UNKNOWN, "Failed"));
    assert_eq!((scene.finished_at("c"), scene.starts().len(), scene.files_left().len()), (10, 1, 0));
}

/// §9: the deadline is the pod's, not the agent's.
#[tokio::test(start_paused = true)]
async fn a_deadline_counts_on_across_agents() {
    for taken_up_at in [15, 25] {
        let mut scene = Scene::new("activeDeadlineSeconds: 20, containers: [{name: c}]").start();
        scene.at(10).await;
        scene.crash().await;
        scene.at(taken_up_at).await;
        scene.take_up();
        scene.end().await;
        assert_eq!((scene.phase().as_str(), scene.status().reason.as_deref()), ("Failed", Some("DeadlineExceeded")));
        assert_eq!(scene.only(&["phase Failed"]), [format!("{} phase Failed", taken_up_at.max(20))]);
        assert_eq!(scene.files_left(), [""; 0]);
    }
}

/// §5: what has ended stays so. What the agent did not come to remove is removed.
#[tokio::test(start_paused = true)]
async fn a_finished_pod_stays_finished_and_leaves_nothing() {
    let spec = "restartPolicy: Never, containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}],
        volumes: [{name: v, emptyDir: {}}]";
    let mut scene = Scene::new(spec).script("c", exits(5, 3)).start();
    scene.end().await;
    let before = scene.status();
    scene.crash().await;
    std::fs::create_dir_all(scene.volume_file("left")).unwrap();
    scene.take_up();
    scene.end().await;
    assert_eq!((scene.status(), scene.starts().len(), scene.files_left().len()), (before, 1, 0));
}

/// The back-off of a crash loop begins anew, its count does not.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_taken_up_with_its_count() {
    let mut scene = Scene::new("containers: [{name: c}]").script("c", exits(1, 1)).start();
    scene.until("state c CrashLoopBackOff").await;
    assert_eq!(scene.container("c").restart_count, 1);
    scene.crash().await;
    scene.take_up();
    scene.at(4).await;
    assert_eq!(scene.starts(), ["0 c", "1 c", "2 c"]);
    assert_eq!(scene.container("c").restart_count, 2);
}

/// An edit that the first agent was told is known to the second.
#[tokio::test(start_paused = true)]
async fn what_was_wanted_last_is_what_is_taken_up() {
    let mut scene = Scene::new("containers: [{name: c}]").start();
    scene.until("state c Running").await;
    scene.edit(|pod| pod.spec.as_mut().unwrap().containers[0].image = Some("busybox:2".to_owned()));
    scene.at(5).await;
    assert_eq!(scene.container("c").restart_count, 1);
    scene.crash().await;
    scene.take_up();
    scene.at(10).await;
    let container = scene.container("c");
    assert_eq!((container.image.as_str(), container.restart_count), ("docker.io/library/busybox:2", 2));
}

/// A pod that the worker failed is not taken up to be run again.
#[tokio::test(start_paused = true)]
async fn a_pod_that_failed_with_its_worker_stays_failed() {
    let mut scene = Scene::new("containers: [{name: c}]").start();
    scene.until("state c Running").await;
    scene.record.breaks.store(true, std::sync::atomic::Ordering::Relaxed);
    scene.delete(30);
    scene.end().await;
    scene.crash().await;
    scene.take_up();
    scene.end().await;
    assert_eq!(scene.status().reason.as_deref(), Some("InternalError"));
    assert_eq!((scene.starts().len(), scene.files_left().len()), (1, 0));
}

/// An agent that is asked to end stops what runs as a machine does that is switched off; the next one goes on as policies
/// say, with the exit codes that were seen.
#[tokio::test(start_paused = true)]
async fn a_suspended_pod_goes_on_as_its_policy_says() {
    for (policy, phase, quits, ignores) in [
        ("Always", "Running", "Running after Completed:0 (1)", "Running after Error:137 (1)"),
        ("OnFailure", "Running", "Completed:0", "Running after Error:137 (1)"),
        ("Never", "Failed", "Completed:0", "Error:137"),
    ] {
        let spec = format!(
            "restartPolicy: {policy}, containers: [{{name: quits, lifecycle: {{preStop: {{exec: {{command: [x]}}}}}}}}, \
             {{name: ignores}}]"
        );
        let scene = Scene::new(&spec);
        let quits_at_term = Script::runs_forever().exits_on_term(Duration::from_secs(3), 0);
        scene.runtime.script_attempts("quits", vec![quits_at_term, Script::runs_forever()]);
        scene.runtime.script_attempts("ignores", vec![Script::runs_forever().ignores_term(), Script::runs_forever()]);
        let mut scene = scene.start();
        scene.at(5).await;
        scene.suspend(Duration::from_secs(10)).await;
        assert_eq!((scene.finished_at("quits"), scene.finished_at("ignores")), (8, 15), "{policy}");
        assert_eq!(scene.only(&["event quits Killing"]), [""; 0], "no hook, and no stop that is told");
        assert_eq!(scene.phase(), if policy == "Never" { "Failed" } else { "Running" });
        scene.at(20).await;
        scene.take_up();
        scene.at(21).await;
        let shown = (scene.shows("quits"), scene.shows("ignores"), scene.phase());
        assert_eq!(shown, (quits.to_owned(), ignores.to_owned(), phase.to_owned()), "{policy}");
    }
}

/// The grace period of the pod counts if it is shorter; whoever is in a hurry may say so while it lasts.
#[tokio::test(start_paused = true)]
async fn a_suspension_takes_no_longer_than_it_may() {
    for (grace, limits, ends) in [(4, vec![(5, 10)], 9), (30, vec![(5, 10)], 15), (30, vec![(5, 20), (6, 1)], 7)] {
        let spec = format!("terminationGracePeriodSeconds: {grace}, containers: [{{name: c}}]");
        let scene = Scene::new(&spec).script("c", Script::runs_forever().ignores_term()).start();
        for (at, limit) in limits {
            scene.at(at).await;
            scene.handle().suspend(Duration::from_secs(limit));
        }
        scene.end().await;
        assert_eq!(scene.finished_at("c"), ends);
    }
}

/// What was about to start does not, and is started by the next agent; a deletion in progress ends in the time there is.
#[tokio::test(start_paused = true)]
async fn a_start_or_a_deletion_under_way_is_no_hindrance() {
    let slow = Script::runs_forever().creation_takes(Duration::from_secs(3600));
    let mut scene = Scene::new("containers: [{name: c}]");
    scene.runtime.script_attempts("c", vec![slow, Script::runs_forever()]);
    scene = scene.start();
    scene.at(5).await;
    scene.suspend(Duration::from_secs(10)).await;
    assert_eq!(scene.record.seconds(), 5.0);
    scene.runtime.script("c", Script::runs_forever());
    scene.take_up();
    scene.until("state c Running").await;
    assert_eq!(scene.container("c").restart_count, 0);
    scene.drop_handle();
    let mut scene = Scene::new("containers: [{name: c}]").script("c", Script::runs_forever().ignores_term()).start();
    scene.at(5).await;
    scene.delete(3600);
    scene.at(6).await;
    scene.suspend(Duration::from_secs(10)).await;
    assert_eq!((scene.finished_at("c"), scene.phase().as_str()), (16, "Failed"));
    assert_eq!(scene.files_left(), [""; 0]);
}
