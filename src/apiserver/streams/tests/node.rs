//! A node whose containers, programs and servers are told in advance.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::support::RuntimeKind;
use crate::apiserver::node_access::{
    AttachRequest, Connection, ExecRequest, LogBytes, LogOptions, NodeAccess, NodeError, PodRef, Session, TerminalSize,
    Usage, Via, Wanted,
};
use crate::base::pipe::{self, PipeReader, PipeWriter};

/// What happened on the node.
#[derive(Debug, Default)]
pub(in crate::apiserver) struct FakeNode {
    pub(super) log_requests: Mutex<Vec<LogOptions>>,
    pub(super) sizes: Arc<Mutex<Vec<TerminalSize>>>,
    pub(super) connections: Mutex<Vec<(u16, Via)>>,
    /// Cancelled when a program that runs forever is given up.
    pub(super) killed: CancellationToken,
    /// What servers on ports were sent, complete.
    pub(super) taken: Arc<Mutex<Vec<String>>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program's own ends of its streams.
struct Program {
    stdin: Option<PipeReader>,
    stdout: PipeWriter,
    stderr: PipeWriter,
}

impl Program {
    async fn print(&self, text: impl Into<Bytes>) {
        // Whoever reads it may be gone.
        let _ = self.stdout.write_all(text.into()).await;
    }

    async fn copy(&self) {
        if let Some(stdin) = &self.stdin {
            while let Ok(Some(bytes)) = stdin.read(usize::MAX).await {
                self.print(bytes).await;
            }
        }
    }

    /// Runs a command to its exit code. `guard` is dropped with it.
    async fn run(self, argv: Vec<String>, guard: DropGuard) -> i32 {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words[..] {
            ["echo", text] => self.print(text.to_owned()).await,
            ["cat"] => self.copy().await,
            ["exit", code] => {
                self.print("bye").await;
                let _ = self.stderr.write_all(Bytes::from_static(b"failed")).await;
                guard.disarm();
                return code.parse().unwrap();
            }
            ["much", megabytes] => {
                for _ in 0..megabytes.parse::<usize>().unwrap() {
                    self.print(vec![b'm'; 1 << 20]).await;
                }
            }
            // It leaves its output open, as one does whose children go on.
            ["leaks"] => {
                self.print("all of it").await;
                std::mem::forget(self);
            }
            ["forever"] => {
                self.print("begun").await;
                std::future::pending::<()>().await;
            }
            _ => panic!("{argv:?}"),
        }
        guard.disarm();
        0
    }
}

impl FakeNode {
    fn session(&self, argv: Vec<String>, wanted: Wanted) -> Session {
        let (stdin, from_stdin) = wanted.stdin.then(|| pipe::pipe(1024)).unzip();
        let (to_stdout, stdout) = pipe::pipe(1024);
        let (to_stderr, stderr) = pipe::pipe(1024);
        let program = Program { stdin: from_stdin, stdout: to_stdout, stderr: to_stderr };
        let (sizes, guard) = (Arc::clone(&self.sizes), self.killed.clone().drop_guard());
        Session {
            stdin,
            stdout: wanted.stdout.then_some(stdout),
            stderr: wanted.stderr.then_some(stderr),
            resize: Box::new(move |size| lock(&sizes).push(size)),
            ended: program.run(argv, guard).boxed(),
        }
    }

    /// What listens on a port.
    fn serve(&self, port: u16, mut io: DuplexStream) -> BoxFuture<'static, ()> {
        let taken = Arc::clone(&self.taken);
        match port {
            // Answers when it has everything.
            80 => async move {
                let mut text = String::new();
                io.read_to_string(&mut text).await.unwrap();
                // The client may be gone.
                let _ = io.write_all(format!("got {text}").as_bytes()).await;
                lock(&taken).push(text);
            }
            .boxed(),
            // Greets and leaves.
            81 => async move { io.write_all(b"hello").await.unwrap() }.boxed(),
            // Sends back what comes.
            _ => async move {
                let (mut reader, mut writer) = tokio::io::split(io);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            }
            .boxed(),
        }
    }
}

impl NodeAccess for FakeNode {
    fn runtime_of_image(&self, _image: &str) -> Option<RuntimeKind> {
        Some(RuntimeKind::Wasm)
    }

    fn logs(&self, _pod: &PodRef, options: LogOptions) -> BoxFuture<'_, Result<LogBytes, NodeError>> {
        lock(&self.log_requests).push(options.clone());
        let pieces = ["one\n", "two\n"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let pieces = futures::stream::iter(pieces);
        let log = if options.follow { pieces.chain(futures::stream::pending()).boxed() } else { pieces.boxed() };
        async { Ok(log) }.boxed()
    }

    fn check_running(&self, pod: &PodRef, container: &str) -> Result<(), NodeError> {
        match (pod.name.as_str(), container) {
            ("web", "app") => Ok(()),
            _ => Err(NodeError::NotRunning(container.to_owned())),
        }
    }

    fn exec(&self, pod: &PodRef, request: ExecRequest) -> BoxFuture<'_, Result<Session, NodeError>> {
        let begun = self.check_running(pod, &request.container).and_then(|()| {
            if request.command == ["missing"] {
                let text = "exec: \"missing\": executable file not found in $PATH";
                return Err(NodeError::Exec(text.to_owned()));
            }
            Ok(self.session(request.command, request.wanted))
        });
        async { begun }.boxed()
    }

    fn attach(&self, pod: &PodRef, request: AttachRequest) -> BoxFuture<'_, Result<Session, NodeError>> {
        let argv = if request.wanted.stdin { vec!["cat".to_owned()] } else { vec!["exit".to_owned(), "3".to_owned()] };
        let begun = self.check_running(pod, &request.container);
        let begun = begun.map(|()| self.session(argv, request.wanted));
        async { begun }.boxed()
    }

    fn connect(&self, _pod: &PodRef, port: u16, via: Via) -> BoxFuture<'_, Result<Connection, NodeError>> {
        lock(&self.connections).push((port, via));
        if port > 8999 {
            return async { Err(NodeError::Connect("connection refused".to_owned())) }.boxed();
        }
        let (client, server) = super::connection();
        let serving = if port == 8080 { super::proxy::serve_http(server) } else { self.serve(port, server) };
        tokio::spawn(serving);
        async { Ok(Box::new(client) as Connection) }.boxed()
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
