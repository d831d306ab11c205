//! What containers print, and what is told of their end.

use std::time::Duration;

use super::scene::Scene;
use crate::runtime::fake::Script;
use crate::runtime::{ExitReason, ExitStatus};

fn exits(seconds: u64, code: i32) -> Script {
    Script::exits(Duration::from_secs(seconds), code)
}

#[tokio::test(start_paused = true)]
async fn the_last_words_come_before_the_end() {
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}]");
    let scene = scene.script("c", exits(2, 0).prints("hello\nbye\n")).start();
    scene.end().await;
    let entries = scene.only(&["log", "state c Completed"]);
    let what: Vec<_> = entries.iter().map(|entry| entry.split_once(' ').unwrap().1).collect();
    assert_eq!(what, ["log c hello\nbye", "log c <end>", "state c Completed:0"]);
}

/// A printer that is stuck, as behind a pager, does not keep the pod from ending: two seconds, and time is not lost.
#[tokio::test(start_paused = true)]
async fn output_that_nobody_takes_does_not_hold_back_the_end() {
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}, {name: d}]").without_printer();
    let scene = scene.script("c", exits(1, 3).prints("x")).script("d", exits(1, 0).prints("y"));
    let scene = scene.start();
    scene.end().await;
    assert_eq!((scene.finished_at("c"), scene.phase().as_str()), (1, "Failed"));
    assert_eq!(scene.only(&["state c Error", "state d Completed", "phase Failed"]).len(), 3);
    let ends = scene.only(&["phase Failed"]);
    assert_eq!(ends, ["3 phase Failed"]);
}

/// A stream that stays open after its container's end is given up, with all that was in it.
#[tokio::test(start_paused = true)]
async fn a_stream_left_open_ends_with_its_container() {
    let scene = Scene::new("restartPolicy: Never, containers: [{name: c}]");
    let scene = scene.script("c", exits(1, 0).prints("all of it").keeps_output_open()).start();
    scene.end().await;
    let entries = scene.only(&["log", "phase Succeeded"]);
    let what: Vec<_> = entries.iter().map(|entry| entry.split_once(' ').unwrap().1).collect();
    assert_eq!(what, ["log c all of it", "log c <end>", "phase Succeeded"]);
    assert_eq!(scene.finished_at("c"), 1);
}

/// §4: the file, wherever it is; the log where the file is empty and the policy says so.
#[tokio::test(start_paused = true)]
async fn termination_messages_are_read_when_a_container_ends() {
    let fallback = "terminationMessagePolicy: FallbackToLogsOnError";
    for (fields, script, expected) in [
        ("", exits(1, 0).writes("/dev/termination-log", "done"), Some("done")),
        ("", exits(1, 1).prints("oh no"), None),
        (fallback, exits(1, 1).prints("oh no"), Some("oh no")),
        (fallback, exits(1, 0).prints("all well"), None),
        (fallback, exits(1, 1).prints("oh no").writes("/dev/termination-log", "done"), Some("done")),
        ("terminationMessagePath: /tmp/why", exits(1, 1).writes("/tmp/why", "elsewhere"), Some("elsewhere")),
        (
            "terminationMessagePath: /v/why, volumeMounts: [{name: v, mountPath: /v}]",
            exits(1, 1).writes("/v/why", "in a volume"),
            Some("in a volume"),
        ),
    ] {
        let spec = format!(
            "restartPolicy: Never, containers: [{{name: c, {fields}}}], volumes: [{{name: v, emptyDir: {{}}}}]"
        );
        let scene = Scene::new(&spec).script("c", script).start();
        scene.end().await;
        assert_eq!(scene.message("c").as_deref(), expected, "{fields}");
    }
}

/// §4: the file is a new one for each instance.
#[tokio::test(start_paused = true)]
async fn a_restarted_container_begins_with_an_empty_message() {
    let scene = Scene::new("restartPolicy: OnFailure, containers: [{name: c}]");
    let first = exits(1, 1).writes("/dev/termination-log", "first");
    scene.runtime.script_attempts("c", vec![first, exits(1, 0)]);
    let scene = scene.start();
    scene.end().await;
    assert_eq!(scene.message("c"), None);
    assert_eq!(scene.container("c").last_state.unwrap().terminated.unwrap().message.as_deref(), Some("first"));
}

/// §4: 12288 bytes for the pod, in equal shares.
#[tokio::test(start_paused = true)]
async fn termination_messages_share_the_room_of_the_pod() {
    let containers: Vec<String> = (0..6).map(|number| format!("{{name: c{number}}}")).collect();
    let scene = Scene::new(&format!("restartPolicy: Never, containers: [{}]", containers.join(", ")));
    for number in 0..6 {
        scene.runtime.script(&format!("c{number}"), exits(1, 0).writes("/dev/termination-log", &"m".repeat(5000)));
    }
    let scene = scene.start();
    scene.end().await;
    let lengths: Vec<usize> = (0..6).map(|number| scene.message(&format!("c{number}")).unwrap().len()).collect();
    assert_eq!(lengths, [2048; 6]);
}

/// What the runtime says of an end comes first; out of memory is a reason of its own.
#[tokio::test(start_paused = true)]
async fn the_runtime_says_why_a_container_ended() {
    for (reason, code, expected) in
        [(ExitReason::Trapped, 134, "Error:134"), (ExitReason::OomKilled, 137, "OOMKilled:137")]
    {
        let status = ExitStatus { code, reason, message: Some("unreachable".to_owned()) };
        let script = Script::runs_forever().ends(Duration::from_secs(1), status).writes("/dev/termination-log", "why");
        let scene = Scene::new("restartPolicy: Never, containers: [{name: c}]").script("c", script).start();
        scene.end().await;
        assert_eq!((scene.shows("c").as_str(), scene.message("c").as_deref()), (expected, Some("unreachable: why")));
    }
}
