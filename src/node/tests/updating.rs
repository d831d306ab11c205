//! Sources of volumes that change while a pod runs (§12 "Live update").

use super::scene::Scene;

/// Lets the tasks run that bring volumes up to date; they take no time of the clock.
async fn settle(scene: &Scene, done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
    panic!("never happens:\n{:#?}", scene.timeline());
}

/// A change is swapped in whole; what is mounted by subPath, and the container itself, stay as they are.
#[tokio::test(start_paused = true)]
async fn a_change_of_a_config_map_reaches_the_volume_and_nothing_else() {
    let spec = "containers: [{name: c, env: [{name: E, valueFrom: {configMapKeyRef: {name: m, key: a}}}],
        volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /one, subPath: a}]}],
        volumes: [{name: v, configMap: {name: m}}]";
    let scene = Scene::new(spec);
    scene.add_config_map("m", "a: old, b: old");
    let scene = scene.start();
    scene.until("state c Running").await;
    let read = |path| scene.runtime.read("c", path);
    let version = || std::fs::read_link(scene.directory.path().join("pods/u/volumes/kubernetes.io~configmap/v/..data"));
    let before = version().unwrap();
    scene.add_config_map("m", "a: new, c: new");
    scene.sources_changed();
    settle(&scene, || read("/v/c").is_some()).await;
    assert_ne!(version().unwrap(), before);
    assert_eq!((read("/v/a").as_deref(), read("/v/b")), (Some("new"), None));
    assert_eq!(read("/one").as_deref(), Some("old"));
    scene.at(100).await;
    assert_eq!(scene.starts(), ["0 c"], "nothing is restarted");
}

/// What is gone leaves what it had; what was optional fills when it comes.
#[tokio::test(start_paused = true)]
async fn a_source_that_goes_stays_and_an_optional_one_that_comes_fills() {
    let spec = "containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}, {name: o, mountPath: /o}]}],
        volumes: [{name: v, configMap: {name: m}}, {name: o, configMap: {name: later, optional: true}}]";
    let scene = Scene::new(spec);
    scene.add_config_map("m", "a: old");
    let mut scene = scene.start();
    scene.until("state c Running").await;
    scene.remove_config_map("m");
    scene.add_config_map("later", "k: here");
    scene.sources_changed();
    settle(&scene, || scene.runtime.read("c", "/o/k").as_deref() == Some("here")).await;
    assert_eq!(scene.runtime.read("c", "/v/a").as_deref(), Some("old"));
    scene.delete(0);
    scene.end().await;
    assert_eq!(scene.files_left(), [""; 0]);
}

/// §19: edits of labels and annotations reach downward volumes without anybody telling, and without a restart.
#[tokio::test(start_paused = true)]
async fn an_edit_of_a_label_reaches_a_downward_volume() {
    let spec = "containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}],
        volumes: [{name: v, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}]";
    let mut scene = Scene::new(spec).start();
    scene.until("state c Running").await;
    for value in ["one", "two", "three"] {
        scene.edit(|pod| pod.metadata.labels = Some([("app".to_owned(), value.to_owned())].into()));
        let expected = format!("app=\"{value}\"");
        settle(&scene, || scene.runtime.read("c", "/v/l").as_ref() == Some(&expected)).await;
    }
    assert_eq!(scene.starts(), ["0 c"]);
}

/// §12: a volume that failed for want of its source is there as soon as that is, not at the end of its back-off.
#[tokio::test(start_paused = true)]
async fn a_missing_source_that_comes_is_not_waited_for_any_longer() {
    let spec = "containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}],
        volumes: [{name: v, configMap: {name: m}}]";
    let scene = Scene::new(spec).start();
    scene.at(40).await;
    assert_eq!(scene.only(&["event - FailedMount"]).len(), 7, "the next try would be at 63.5");
    scene.add_config_map("m", "a: here");
    scene.sources_changed();
    scene.until("state c Running").await;
    assert_eq!(scene.starts(), ["40 c"]);
    assert_eq!(scene.runtime.read("c", "/v/a").as_deref(), Some("here"));
}

/// §14: a token in a volume is another one when four fifths of its time are over.
#[tokio::test(start_paused = true)]
async fn tokens_are_replaced_while_a_pod_runs() {
    let spec = "containers: [{name: c, volumeMounts: [{name: t, mountPath: /t}]}], \
        volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 600}}]}}]";
    let scene = Scene::new(spec).start();
    scene.until("state c Running").await;
    let read = || scene.runtime.read("c", "/t/token").unwrap();
    assert_eq!(read(), "u at 0");
    scene.at(460).await;
    assert_eq!(read(), "u at 0");
    scene.at(500).await;
    settle(&scene, || read() != "u at 0").await;
    let issued: f64 = read().strip_prefix("u at ").unwrap().parse().unwrap();
    assert!((470.0..=500.0).contains(&issued), "{issued}");
}
