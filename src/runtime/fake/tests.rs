//! What tests can make fake containers do.

use tokio::time::{Instant, timeout};

use super::*;
use crate::base::id::{ContainerId, PodUid};
use crate::base::pipe::{PipeReader, pipe};
use crate::net::{Egress, NetError, Switch};
use crate::runtime::ExecRequest;
use crate::vfs::{MountTable, TreeFs};

const SECOND: Duration = Duration::from_secs(1);

/// A runtime, and a pod for its containers.
struct Scene {
    runtime: FakeRuntime,
    sandbox: PodSandbox,
}

impl Scene {
    fn new() -> Self {
        let sandbox = PodSandbox {
            uid: PodUid::random(),
            namespace: "default".to_owned(),
            name: "pod".to_owned(),
            hostname: "pod".to_owned(),
            network: Switch::new(Egress::Deny).attach("pod", None).unwrap(),
            share_process_namespace: false,
            linux: None,
        };
        Self { runtime: FakeRuntime::new(), sandbox }
    }

    /// A container called `app` that follows this script.
    async fn app(&self, script: Script) -> Result<(Arc<dyn Container>, PipeReader), RuntimeError> {
        self.runtime.script("app", script);
        let (stdout, reader) = pipe(64);
        let (stderr, _) = pipe(64);
        let config = ContainerConfig {
            id: ContainerId::random(),
            name: "app".to_owned(),
            attempt: 0,
            argv: Vec::new(),
            env: Vec::new(),
            working_dir: "/".to_owned(),
            mounts: MountTable::builder(TreeFs::in_memory(1024)).build().unwrap(),
            stdin: None,
            stdout,
            stderr,
            tty: false,
            terminal_size: None,
            ports: Vec::new(),
            memory_limit: None,
            cpu_limit_millis: None,
            linux: None,
        };
        Ok((self.runtime.create(&self.sandbox, config).await?, reader))
    }

    async fn running(&self, script: Script) -> Arc<dyn Container> {
        let (app, _stdout) = self.app(script).await.unwrap();
        app.start().await.unwrap();
        app
    }

    fn executed(&self) -> Vec<ExecutedState> {
        self.runtime.executed("app").into_iter().map(|program| program.state).collect()
    }
}

fn exec() -> ExecRequest {
    exec_with_output(64).0
}

fn exec_with_output(room: usize) -> (ExecRequest, PipeReader, PipeReader) {
    let (stdout, stdout_reader) = pipe(room);
    let (stderr, stderr_reader) = pipe(room);
    let request = ExecRequest { argv: vec!["true".to_owned()], stdin: None, stdout, stderr, tty: false };
    (request, stdout_reader, stderr_reader)
}

async fn rest(stream: &PipeReader) -> String {
    let mut text = Vec::new();
    while let Some(bytes) = stream.read(usize::MAX).await.unwrap() {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_container_ends_as_scripted_and_its_output_with_it() {
    let scene = Scene::new();
    let (app, stdout) = scene.app(Script::exits(90 * SECOND, 3).prints("hello\n")).await.unwrap();
    let begun = Instant::now();
    app.start().await.unwrap();
    assert_eq!(app.wait().await.code, 3);
    assert_eq!(begun.elapsed(), 90 * SECOND);
    assert_eq!(rest(&stdout).await, "hello\n");
    let created = Call::Create { name: "app".to_owned(), attempt: 0 };
    let (started, ended) = (Call::Start("app".to_owned()), Call::End("app".to_owned(), 3));
    assert_eq!(scene.runtime.calls(), [created, started, ended]);
}

#[tokio::test(start_paused = true)]
async fn term_ends_delays_or_does_nothing() {
    let cases = [
        (Script::runs_forever(), Some(143)),
        (Script::runs_forever().exits_on_term(5 * SECOND, 0), Some(0)),
        (Script::runs_forever().ignores_term(), None),
    ];
    for (script, expected) in cases {
        let app = Scene::new().running(script).await;
        app.signal(Signal::Term);
        let ended = timeout(60 * SECOND, app.wait()).await.ok();
        assert_eq!(ended.map(|status| status.code), expected);
        app.signal(Signal::Kill);
        assert_eq!(app.wait().await.code, expected.unwrap_or(137));
    }
}

#[tokio::test(start_paused = true)]
async fn execs_follow_their_own_scripts() {
    let scene = Scene::new();
    scene.runtime.script_execs("app", vec![Script::exits(SECOND, 1), Script::exits(Duration::ZERO, 0)]);
    let (app, _stdout) = scene.app(Script::runs_forever()).await.unwrap();
    assert!(matches!(app.exec(exec()).await, Err(RuntimeError::NotRunning(_))));
    app.start().await.unwrap();
    for expected in [1, 0, 0] {
        // Which script comes next does not depend on the record.
        scene.runtime.take_calls();
        assert_eq!(app.exec(exec()).await.unwrap().wait().await.code, expected);
    }
    assert_eq!(scene.executed(), [1, 0, 0].map(ExecutedState::Exited));
    assert_eq!(scene.runtime.executed("app")[0].argv, ["true"]);
}

#[tokio::test(start_paused = true)]
async fn an_exec_prints_more_than_its_pipe_holds_before_it_ends() {
    let scene = Scene::new();
    let long = "0123456789".repeat(10);
    scene.runtime.script_execs("app", vec![Script::exits(SECOND, 1).prints(&long).prints_error("oops")]);
    let app = scene.running(Script::runs_forever()).await;
    let (request, stdout, stderr) = exec_with_output(16);
    let program = app.exec(request).await.unwrap();
    let (stdout, stderr) = tokio::join!(rest(&stdout), rest(&stderr));
    assert_eq!((stdout, stderr.as_str()), (long, "oops"));
    assert_eq!(program.wait().await.code, 1);
}

#[tokio::test(start_paused = true)]
async fn an_exec_is_seen_to_be_killed_by_a_signal_a_drop_or_its_containers_end() {
    let scene = Scene::new();
    scene.runtime.script_execs("app", vec![Script::runs_forever().ignores_term()]);
    let app = scene.running(Script::runs_forever()).await;
    let signalled = app.exec(exec()).await.unwrap();
    let dropped = app.exec(exec()).await.unwrap();
    let left = app.exec(exec()).await.unwrap();
    signalled.signal(Signal::Term);
    assert_eq!(scene.executed(), [ExecutedState::Running; 3]);
    signalled.signal(Signal::Kill);
    drop(dropped);
    assert_eq!(scene.executed(), [ExecutedState::Killed, ExecutedState::Killed, ExecutedState::Running]);
    assert!(scene.runtime.calls().contains(&Call::Drop("app/exec-1".to_owned())));
    app.signal(Signal::Term);
    assert_eq!(left.wait().await.code, 137);
    assert_eq!(scene.executed(), [ExecutedState::Killed; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_exec_that_survives_kill_goes_on() {
    let scene = Scene::new();
    let stubborn = Script::exits(60 * SECOND, 0).survives_kill();
    scene.runtime.script_execs("app", vec![stubborn]);
    let app = scene.running(Script::runs_forever()).await;
    let program = app.exec(exec()).await.unwrap();
    program.signal(Signal::Kill);
    assert_eq!(scene.executed(), [ExecutedState::Running]);
    assert_eq!(program.wait().await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn an_exec_that_cannot_be_created_has_not_started() {
    let scene = Scene::new();
    scene.runtime.script_execs("app", vec![Script::runs_forever().creation_takes(SECOND).fails_to_create("no")]);
    let app = scene.running(Script::runs_forever()).await;
    let begun = Instant::now();
    assert_eq!(app.exec(exec()).await.err().unwrap().to_string(), "no");
    assert_eq!(begun.elapsed(), SECOND);
    assert_eq!(scene.executed(), [ExecutedState::NotStarted]);
}

#[tokio::test(start_paused = true)]
async fn ports_are_open_from_the_scripted_time_to_the_end() {
    let scene = Scene::new();
    let app = scene.running(Script::runs_forever().listens(80).listens_after(81, 10 * SECOND)).await;
    let connect = async |port| scene.sandbox.network.connect_from_node(port).await.map(|_| ());
    assert_eq!(connect(80).await, Ok(()));
    assert_eq!(connect(81).await, Err(NetError::ConnectionRefused));
    sleep(11 * SECOND).await;
    assert_eq!(connect(81).await, Ok(()));
    let stream = scene.sandbox.network.connect_from_node(80).await.unwrap();
    assert_eq!(stream.reader.read(1).await, Ok(None), "the connection is closed");
    app.signal(Signal::Kill);
    app.wait().await;
    // The tasks that hold the listeners have yet to hear of it.
    sleep(SECOND).await;
    assert_eq!(connect(80).await, Err(NetError::ConnectionRefused));
    assert_eq!(connect(81).await, Err(NetError::ConnectionRefused));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_fails_the_start() {
    let scene = Scene::new();
    let _first = scene.running(Script::runs_forever().listens(80)).await;
    let (second, _stdout) = scene.app(Script::runs_forever().listens(80)).await.unwrap();
    assert_eq!(second.start().await.unwrap_err().to_string(), "address already in use");
}

#[tokio::test(start_paused = true)]
async fn updates_are_recorded_and_answered_as_scripted() {
    let scene = Scene::new();
    let app = scene.running(Script::runs_forever()).await;
    let limits = ResourceLimits { memory_bytes: Some(1024), cpu_millis: Some(100) };
    app.update_limits(limits).unwrap();
    assert_eq!(scene.runtime.calls().last(), Some(&Call::Update("app".to_owned(), limits)));
    scene.runtime.script_updates("app", &[Err("no"), Ok(())]);
    assert_eq!(app.update_limits(limits).unwrap_err().to_string(), "no");
    for _ in 0..2 {
        app.update_limits(limits).unwrap();
    }
    app.signal(Signal::Kill);
    assert!(matches!(app.update_limits(limits), Err(RuntimeError::NotRunning(_))));
}

#[tokio::test(start_paused = true)]
async fn failures_and_drops_are_seen() {
    let scene = Scene::new();
    let (broken, _stdout) = scene.app(Script::runs_forever().fails_to_start("no")).await.unwrap();
    assert_eq!(broken.start().await.unwrap_err().to_string(), "no");
    let app = scene.running(Script::runs_forever()).await;
    drop(app);
    assert!(scene.runtime.calls().contains(&Call::Drop("app".to_owned())));
}
