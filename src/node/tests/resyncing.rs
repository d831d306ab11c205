//! Reports that are lost on their way are made good.

use std::time::Duration;

use super::scene::Scene;
use crate::node::WhichEvent;
use crate::pod::Event;
use crate::runtime::fake::Script;

/// Whatever report is lost, once, the pod gets where it should, a resync later.
#[tokio::test(start_paused = true)]
async fn a_lost_report_costs_no_more_than_a_resync() {
    let spec = "restartPolicy: Never, containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}],
        volumes: [{name: v, emptyDir: {}}]";
    let lost: [(&str, WhichEvent); 5] = [
        ("volumes ready", |event| matches!(event, Event::VolumesReady)),
        ("image", |event| matches!(event, Event::ImagePresent { .. })),
        ("started", |event| matches!(event, Event::ContainerStarted { .. })),
        ("exited", |event| matches!(event, Event::ContainerExited { .. })),
        ("volumes torn down", |event| matches!(event, Event::VolumesTornDown)),
    ];
    for (what, which) in lost {
        let scene = Scene::new(spec).script("c", Script::exits(Duration::from_secs(5), 0));
        scene.lose(which);
        let scene = scene.start();
        scene.end().await;
        assert_eq!((scene.phase().as_str(), scene.files_left().len()), ("Succeeded", 0), "{what}");
        assert_eq!(scene.starts().len(), 1, "{what}");
        // kubelet resyncs every 60 s and up to half as much later.
        let resynced = scene.record.seconds() - 5.0;
        assert!((55.0..=90.0).contains(&resynced), "{what} took {resynced} s: {:#?}", scene.timeline());
    }
}

/// The same for a hook, which holds up what follows it.
#[tokio::test(start_paused = true)]
async fn a_lost_end_of_a_hook_is_made_good() {
    let spec = "containers: [{name: c, lifecycle: {postStart: {exec: {command: [x]}}}}, {name: d}]";
    let scene = Scene::new(spec);
    scene.lose(|event| matches!(event, Event::HookFinished { .. }));
    let scene = scene.start();
    scene.until("state d Running").await;
    let resynced = scene.record.seconds();
    assert!((60.0..=90.0).contains(&resynced), "{:#?}", scene.timeline());
    assert_eq!((scene.shows("c").as_str(), scene.runtime.executed("c").len()), ("Running", 1));
}

/// What was reported of one start is no answer to the next, though that has the same number.
#[tokio::test(start_paused = true)]
async fn an_old_report_is_not_told_of_something_new() {
    let scene = Scene::new("containers: [{name: c}]").script("c", Script::runs_forever().fails_to_create("no"));
    let scene = scene.start();
    scene.at(5).await;
    scene.runtime.script("c", Script::runs_forever().creation_takes(Duration::from_secs(300)));
    scene.until("state c Running").await;
    assert_eq!(scene.starts(), ["310 c"]);
    assert_eq!(scene.only(&["event c Failed"]).len(), 1, "{:#?}", scene.timeline());
}

/// Where nothing is lost, telling everything again changes nothing.
#[tokio::test(start_paused = true)]
async fn resyncs_of_a_pod_that_is_well_go_unnoticed() {
    let spec = "containers: [{name: c}, {name: d}], volumes: [{name: v, emptyDir: {}}]";
    let scene = Scene::new(spec).script("d", Script::exits(Duration::from_secs(100), 1)).start();
    scene.at(99).await;
    let seen = scene.timeline();
    assert!(seen.iter().all(|entry| entry.starts_with("0 ")), "{seen:#?}");
    scene.at(150).await;
    assert_eq!(scene.starts(), ["0 c", "0 d", "100 d"]);
    let told = scene.timeline().len();
    scene.at(199).await;
    assert_eq!(scene.timeline().len(), told);
}
