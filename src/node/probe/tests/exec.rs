//! `exec` probes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{CheckError, Outcome, Scene, errored, failure, scene_with_probe};
use crate::node::probe::exec;
use crate::runtime::fake::{Call, Script};
use crate::runtime::{
    Container, ExecRequest, ExitReason, ExitStatus, ResourceLimits, ResourceUsage, RuntimeError, Signal, TerminalSize,
};

fn exits(seconds: f64, code: i32) -> Script {
    Script::exits(Duration::from_secs_f64(seconds), code)
}

#[tokio::test(start_paused = true)]
async fn the_exit_code_decides_and_the_output_explains() {
    let scene = scene_with_probe("exec: {command: [check]}").await;
    scene.script_execs(vec![exits(0.9, 0).prints("fine"), exits(0.9, 1).prints("no disk\n"), exits(0.0, 137)]);
    for expected in [Ok(Outcome::Success), failure("no disk\n"), failure("")] {
        assert_eq!(scene.check().await.0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_takes_too_long_is_killed() {
    for (timeout, printed) in [("", "1s"), ("timeoutSeconds: 90, ", "1m30s")] {
        let scene = scene_with_probe(&format!("{timeout}exec: {{command: [sleep, '100']}}")).await;
        scene.script_execs(vec![Script::runs_forever().prints("still here")]);
        let (result, took) = scene.check().await;
        assert_eq!(result, failure(&format!("command timed out: \"sleep 100\" timed out after {printed}")));
        assert_eq!(took.as_secs(), if timeout.is_empty() { 1 } else { 90 });
        assert!(scene.runtime.calls().contains(&Call::Drop("c/exec-0".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_cannot_run_makes_the_check_err_after_three_tries() {
    let scene = scene_with_probe("exec: {command: [nope]}").await;
    scene.script_execs(vec![Script::runs_forever().fails_to_create("exec: \"nope\": not found")]);
    assert_eq!(scene.check().await.0, errored("exec: \"nope\": not found"));
    let tries = scene.runtime.calls().iter().filter(|call| matches!(call, Call::Exec(..))).count();
    assert_eq!(tries, 3);
    scene.script_execs(vec![Script::runs_forever().fails_to_create("busy"), exits(0.0, 0)]);
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_a_container_that_has_ended() {
    let scene = scene_with_probe("exec: {command: [check]}").await;
    scene.container.signal(Signal::Kill);
    assert_eq!(scene.check().await.0, Err(CheckError::NotRunning));
    let Scene { container, target, runtime, .. } = scene;
    drop(container);
    assert!(target.process.upgrade().is_none(), "probes do not keep a container alive");
    assert!(!runtime.calls().iter().any(|call| matches!(call, Call::Exec(..))));
}

#[tokio::test(start_paused = true)]
async fn literal_variables_are_expanded_and_others_are_empty() {
    let env = "env: [{name: A, value: '1$(B)'}, {name: F, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]";
    let command = "[check, '$(A)', '<$(F)>', '$(NONE)', '$$(A)']";
    let scene = Scene::new(&format!("{env}, readinessProbe: {{exec: {{command: {command}}}}}")).await;
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    let argv = ["check", "1$(B)", "<>", "$(NONE)", "$(A)"].map(str::to_owned).to_vec();
    assert!(scene.runtime.calls().contains(&Call::Exec("c".to_owned(), argv)));
}

/// A container in which programs print to both streams, exit with 1, and leave their output open.
struct Chatty {
    stdout: Bytes,
    stderr: Bytes,
}

impl Container for Chatty {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async { Ok(()) })
    }

    fn signal(&self, _signal: Signal) {}

    fn resize(&self, _size: TerminalSize) {}

    fn update_limits(&self, _limits: ResourceLimits) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn usage(&self) -> ResourceUsage {
        ResourceUsage::default()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(async move { Ok(Arc::new(Chat { container: self.copy(), request }) as Arc<dyn Container>) })
    }

    fn wait(&self) -> BoxFuture<'_, ExitStatus> {
        Box::pin(std::future::pending())
    }
}

impl Chatty {
    fn copy(&self) -> Self {
        Self { stdout: self.stdout.clone(), stderr: self.stderr.clone() }
    }
}

struct Chat {
    container: Chatty,
    request: ExecRequest,
}

impl Container for Chat {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async { Ok(()) })
    }

    fn signal(&self, _signal: Signal) {}

    fn resize(&self, _size: TerminalSize) {}

    fn update_limits(&self, _limits: ResourceLimits) -> Result<(), RuntimeError> {
        Ok(())
    }

    fn usage(&self) -> ResourceUsage {
        ResourceUsage::default()
    }

    fn exec(&self, _request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(async { Err(RuntimeError::Failed("no".to_owned())) })
    }

    fn wait(&self) -> BoxFuture<'_, ExitStatus> {
        Box::pin(async {
            self.request.stderr.write_all(self.container.stderr.clone()).await.unwrap();
            self.request.stdout.write_all(self.container.stdout.clone()).await.unwrap();
            ExitStatus { code: 1, reason: ExitReason::Exited, message: None }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn standard_output_comes_before_standard_error_and_all_is_kept_to_ten_kibibytes() {
    let long = "x".repeat(1 << 20);
    for (stdout, stderr, expected) in [
        ("out", "err", "outerr".to_owned()),
        (long.as_str(), "err", "x".repeat(10 * 1024)),
        ("out", long.as_str(), format!("out{}", "x".repeat(10 * 1024 - 3))),
    ] {
        let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let container: Arc<dyn Container> = Arc::new(Chatty { stdout: copy(stdout), stderr: copy(stderr) });
        let executed = exec::run(&Arc::downgrade(&container), Vec::new()).await.unwrap();
        assert_eq!(executed.code, 1);
        assert!(executed.output() == expected, "{:.9} {:.9}", stdout, stderr);
    }
}
