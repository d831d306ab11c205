//! Serving HTTP with components that export a `wasi:http` handler: a server on the pod's network, requests handed to
//! instances.
//!
//! ```text
//!  listener ─▶ connection (hyper) ─▶ request ─▶ an idle worker, or a new one ─▶ instance ─▶ response
//! ```
//! The instances are `http_workers`' business. TERM makes the server finish what has begun and exit 0;
//! an instance that runs out of the container's memory ends the container.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::Started;
use super::container_context::ProcessSeed;
use super::http_workers::{PoolControl, WorkerPool};
use super::process::exited;
use crate::net::{NetError, TcpListener, TcpStream};
use crate::runtime::{ExitStatus, RuntimeError, Signal};

/// The port of a server whose container declares none.
const DEFAULT_PORT: u16 = 80;

/// Connections waiting to be accepted.
const BACKLOG: usize = 1024;

/// Connections served at the same time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;

/// How long a client may take to send a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until TERM; a caller that kills the server drops the future, and everything ends with it.
pub(super) async fn serve(
    pool: impl FnOnce(PoolControl) -> WorkerPool,
    seed: ProcessSeed,
    started: Started,
) -> ExitStatus {
    let listener = match listen(&seed) {
        Ok(listener) => listener,
        Err(error) => {
            // Whoever started the process may have stopped waiting.
            let _ = started.send(Err(RuntimeError::Failed(error)));
            return exited(1);
        }
    };
    seed.process.signals().catch(Signal::Term);
    let _ = started.send(Ok(()));
    let killed = CancellationToken::new();
    let _kill_at_the_end = killed.clone().drop_guard();
    let (out_of_memory, mut ran_out) = mpsc::channel(1);
    let pool = Arc::new(pool(PoolControl { killed: killed.clone(), out_of_memory }));
    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            Some(status) = ran_out.recv() => return status,
            () = poll_fn(|context| seed.process.signals().poll_ready(context)) => break,
            accepted = accept(&listener, &free) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            // The pod's network is gone, and the container will be too.
            Err(error) => {
                tracing::debug!(%error, "stopped accepting requests");
                break;
            }
        };
        let connection = serve_connection(Arc::clone(&pool), stream, stop.clone());
        let killed = killed.clone();
        connections.spawn(async move {
            killed.run_until_cancelled(connection).await;
            drop(permit);
        });
    }
    drop(listener);
    stop.cancel();
    connections.close();
    tokio::select! {
        () = connections.wait() => exited(0),
        Some(status) = ran_out.recv() => status,
    }
}

fn listen(seed: &ProcessSeed) -> Result<TcpListener, String> {
    let port = seed.ports().iter().find(|port| !port.udp).map_or(DEFAULT_PORT, |port| port.port);
    // The unspecified IPv6 address takes IPv4 as well.
    let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let listening = seed.network().bind_tcp(address).and_then(|binding| seed.network().listen(binding, BACKLOG));
    listening.map_err(|error| format!("cannot listen on port {port}: {error}"))
}

async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Result<(TcpStream, OwnedSemaphorePermit), NetError> {
    let permit = Arc::clone(free).acquire_owned().await.map_err(|_| NetError::ConnectionAborted)?;
    Ok((listener.accept().await?, permit))
}

async fn serve_connection(pool: Arc<WorkerPool>, stream: TcpStream, stop: CancellationToken) {
    let peer = stream.peer;
    let io = TokioIo::new(stream);
    let service = service_fn(|request| {
        let pool = Arc::clone(&pool);
        async move { Ok::<_, Infallible>(pool.answer(request).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(io, service)
    );
    let result = tokio::select! {
        result = &mut connection => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "connection ended");
    }
}
