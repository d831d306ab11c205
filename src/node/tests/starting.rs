//! Order of starts, restarts and their times.

use std::time::Duration;

use super::scene::Scene;
use crate::runtime::fake::{Call, Script};

fn exits(seconds: u64, code: i32) -> Script {
    Script::exits(Duration::from_secs(seconds), code)
}

/// §6, the timeline of a container that runs for 1 s and exits 1.
#[tokio::test(start_paused = true)]
async fn a_crashing_container_restarts_at_the_exact_seconds() {
    let scene = Scene::new("containers: [{name: c}]").script("c", exits(1, 1)).start();
    scene.at(1000).await;
    let times = [0, 1, 12, 33, 74, 155, 316, 617, 918];
    assert_eq!(scene.starts(), times.map(|at| format!("{at} c")));
    let states = scene.only(&["state", "phase"]);
    assert_eq!(
        states[..8],
        [
            "0 phase Pending",
            "0 state c ContainerCreating",
            "0 phase Running",
            "0 state c Running",
            "1 state c Error:1",
            "1 state c Running after Error:1 (1)",
            "2 state c Error:1 after Error:1 (1)",
            "2 state c CrashLoopBackOff after Error:1 (1)",
        ]
    );
    let waiting = scene.container("c").state.unwrap().waiting.unwrap();
    assert_eq!(waiting.message.unwrap(), "back-off 5m0s restarting failed container=c pod=p_ns(u)");
    assert_eq!(scene.phase(), "Running");
}

/// §3 (3), §4: what restarts after which exit.
#[tokio::test(start_paused = true)]
async fn the_restart_policy_decides_what_an_exit_means() {
    for (policy, code, restarts, phase) in [
        ("Always", 0, true, "Running"),
        ("Always", 3, true, "Running"),
        ("OnFailure", 0, false, "Succeeded"),
        ("OnFailure", 3, true, "Running"),
        ("Never", 0, false, "Succeeded"),
        ("Never", 3, false, "Failed"),
    ] {
        let scene = Scene::new(&format!("restartPolicy: {policy}, containers: [{{name: c}}]"));
        let scene = scene.script("c", exits(1, code)).start();
        scene.at(5).await;
        assert_eq!((scene.starts().len() > 1, scene.phase().as_str()), (restarts, phase), "{policy} {code}");
        if !restarts {
            scene.end().await;
            assert_eq!(scene.files_left(), [""; 0], "{policy} {code}");
        }
    }
}

/// §3 (3): init containers one after the other, each to its end, then the app containers in order.
#[tokio::test(start_paused = true)]
async fn init_containers_run_in_order_before_the_apps() {
    let spec = "restartPolicy: Never, initContainers: [{name: i1}, {name: i2}], containers: [{name: b}, {name: a}]";
    let scene = Scene::new(spec).script("i1", exits(3, 0)).script("i2", exits(4, 0)).script("a", exits(1, 0));
    let scene = scene.script("b", exits(2, 0)).start();
    scene.end().await;
    assert_eq!(scene.starts(), ["0 i1", "3 i2", "7 b", "7 a"]);
    assert_eq!(scene.only(&["phase"]), ["0 phase Pending", "7 phase Running", "9 phase Succeeded"]);
}

/// §3 (3): a failed init container is tried again, and never gets past Never.
#[tokio::test(start_paused = true)]
async fn a_failing_init_container_holds_back_or_fails_the_pod() {
    let scene = Scene::new("restartPolicy: OnFailure, initContainers: [{name: i}], containers: [{name: a}]");
    scene.runtime.script_attempts("i", vec![exits(1, 1), exits(1, 1), exits(1, 0)]);
    let scene = scene.script("a", exits(1, 0)).start();
    scene.end().await;
    assert_eq!(scene.starts(), ["0 i", "1 i", "12 i", "13 a"]);
    let scene = Scene::new("restartPolicy: Never, initContainers: [{name: i}], containers: [{name: a}]");
    let scene = scene.script("i", exits(1, 1)).start();
    scene.end().await;
    assert_eq!((scene.starts(), scene.phase()), (vec!["0 i".to_owned()], "Failed".to_owned()));
}

/// §3 (3): a sidecar is started, not finished, before the next; it comes back whatever the policy.
#[tokio::test(start_paused = true)]
async fn sidecars_start_first_and_always_come_back() {
    let spec = "restartPolicy: Never, initContainers: [{name: s, restartPolicy: Always}, {name: i}], \
                containers: [{name: a}]";
    let scene = Scene::new(spec).script("i", exits(1, 0)).script("a", exits(60, 0));
    scene.runtime.script_attempts("s", vec![exits(5, 7), Script::runs_forever()]);
    let scene = scene.start();
    scene.end().await;
    assert_eq!(scene.starts(), ["0 s", "0 i", "1 a", "5 s"]);
    assert_eq!((scene.phase().as_str(), scene.shows("s").as_str()), ("Succeeded", "Error:143 after Error:7 (1)"));
    assert_eq!(scene.finished_at("s"), 61);
}

/// §4: what a start that fails counts for.
#[tokio::test(start_paused = true)]
async fn a_container_that_cannot_be_created_does_not_count_as_started() {
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}]");
    let scene = scene.script("c", Script::runs_forever().fails_to_create("no room")).start();
    scene.at(25).await;
    assert_eq!(scene.shows("c"), "CreateContainerError");
    assert_eq!(
        scene.only(&["event c Failed"]),
        ["0 event c Failed: Error: no room", "10 event c Failed: Error: no room", "20 event c Failed: Error: no room"]
    );
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}]");
    let scene = scene.script("c", Script::runs_forever().fails_to_start("no program")).start();
    scene.end().await;
    assert_eq!((scene.shows("c").as_str(), scene.phase().as_str()), ("StartError:128", "Failed"));
    assert!(scene.message("c").unwrap().ends_with("no program"));
}

/// §4, §11: a variable's missing source holds the container back until it is there.
#[tokio::test(start_paused = true)]
async fn a_config_error_heals_when_the_config_map_appears() {
    let spec = "restartPolicy: Never, containers: [{name: c, env: [{name: A, \
                valueFrom: {configMapKeyRef: {name: settings, key: a}}}]}]";
    let scene = Scene::new(spec).script("c", exits(1, 0)).start();
    scene.at(15).await;
    let waiting = scene.container("c").state.unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.unwrap(), "CreateContainerConfigError");
    assert_eq!(waiting.message.unwrap(), "configmap \"settings\" not found");
    assert_eq!((scene.phase().as_str(), scene.container("c").restart_count), ("Pending", 0));
    scene.add_config_map("settings", "a: b");
    scene.end().await;
    assert_eq!((scene.starts(), scene.phase()), (vec!["20 c".to_owned()], "Succeeded".to_owned()));
}

/// §12: volumes are tried again after 0.5 s, then ever more rarely, and no container starts before.
#[tokio::test(start_paused = true)]
async fn a_failing_volume_heals_when_its_source_appears() {
    let spec = "restartPolicy: Never, containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}], \
                volumes: [{name: v, configMap: {name: settings}}]";
    let scene = Scene::new(spec).script("c", exits(1, 0)).start();
    scene.at(4).await;
    let message = "event - FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found";
    let failures = ["0", "0.5", "1.5", "3.5"].map(|at| format!("{at} {message}"));
    assert_eq!(scene.only(&["event"]), failures);
    assert_eq!(scene.shows("c"), "ContainerCreating");
    scene.add_config_map("settings", "a: b");
    scene.end().await;
    assert_eq!((scene.starts(), scene.phase()), (vec!["7.5 c".to_owned()], "Succeeded".to_owned()));
    assert_eq!(scene.files_left(), [""; 0]);
}

/// §10: an image that is nowhere backs off, and other containers start meanwhile. A registry that does not answer is
/// asked four times within 3.5 s.
#[tokio::test(start_paused = true)]
async fn a_missing_image_backs_off() {
    let scene = Scene::new("containers: [{name: a, image: '127.0.0.1:1/nowhere:1'}, {name: b}]").start();
    scene.at(60).await;
    assert_eq!(scene.starts(), ["3.5 b"]);
    let message = "event a Failed: Failed to pull image \"127.0.0.1:1/nowhere:1\": RegistryUnavailable: ";
    let failures: Vec<_> =
        scene.only(&[message]).iter().map(|entry| entry.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(failures, ["3.5", "17", "40.5"]);
    assert_eq!((scene.shows("a").as_str(), scene.phase().as_str()), ("ImagePullBackOff", "Pending"));
}

/// §17: who must not be root is not started as root.
#[tokio::test(start_paused = true)]
async fn run_as_non_root_refuses_root() {
    let root = Scene::new("securityContext: {runAsNonRoot: true}, containers: [{name: c}]").start();
    root.until("state c CreateContainerConfigError").await;
    assert_eq!(
        root.container("c").state.unwrap().waiting.unwrap().message.unwrap(),
        "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"
    );
    let user = Scene::new("securityContext: {runAsNonRoot: true, runAsUser: 1000}, containers: [{name: c}]").start();
    user.until("state c Running").await;
    assert!(user.runtime.calls().contains(&Call::Start("c".to_owned())));
}
