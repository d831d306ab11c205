//! `exec` and `attach` over SPDY: a stream for each of `error`, `stdin`, `stdout`, `stderr` and `resize`, which the client
//! opens and names in the header `streamtype`.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::terminal::Sizes;
use super::{CHUNK, FINISH_LIMIT, Outcome, Output, STREAM_CREATION_LIMIT, Task, Version, pump};
use crate::apiserver::node_access::{Session, TerminalSize, Wanted};
use crate::apiserver::streams::spdy::{self, Connection, Gone, ResetStatus, Stream};
use crate::base::pipe::{PipeReader, PipeWriter};

/// The streams of a client.
#[derive(Default)]
struct Streams {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Output for Option<Stream> {
    async fn write(&self, bytes: Bytes) -> Result<(), Gone> {
        match self {
            // A client may give up one output and go on with the other.
            Some(stream) => stream.write(bytes).await.or(Ok(())),
            None => Ok(()),
        }
    }

    async fn finish(&self) -> Result<(), Gone> {
        match self {
            Some(stream) => stream.finish().await,
            None => Ok(()),
        }
    }
}

/// Serves a client to its end.
pub(in crate::apiserver::streams) async fn serve<Io>(io: Io, version: Version, task: Task)
where
    Io: AsyncRead + AsyncWrite + Send,
{
    let (mut connection, driver) = spdy::connection(io);
    let conversation = async {
        if converse(&mut connection, version, &task).await.is_ok() {
            // Clients end the connection when they have read everything.
            sleep(FINISH_LIMIT).await;
        }
        connection.close().await;
        // The driver ends now.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = driver.run() => {
            if let Err(error) = result {
                debug!(%error, "a SPDY connection ended");
            }
        }
        () = conversation => {}
    }
}

async fn converse(connection: &mut Connection, version: Version, task: &Task) -> Result<(), Gone> {
    let streams = timeout(STREAM_CREATION_LIMIT, accept(connection, version, task.wanted));
    let streams = streams.await.map_err(|_too_late| Gone)??;
    let outcome = match task.begin().await {
        Ok(session) => attended(&streams, task, session).await?,
        Err(error) => task.failed(&error),
    };
    for output in [&streams.stdout, &streams.stderr] {
        output.finish().await?;
    }
    if let Some(error) = &streams.error {
        if let Some(message) = outcome.message(version.format) {
            error.write(message.into()).await?;
        }
        error.finish().await?;
    }
    Ok(())
}

/// Waits for the streams that the client has announced in its request.
async fn accept(connection: &mut Connection, version: Version, wanted: Wanted) -> Result<Streams, Gone> {
    let Wanted { stdin, stdout, stderr, tty } = wanted;
    let mut missing = [true, stdin, stdout, stderr, tty && version.resizes].into_iter().filter(|one| *one).count();
    let mut streams = Streams::default();
    while missing > 0 {
        let stream = connection.accept().await.ok_or(Gone)?;
        let place = match stream.headers().get("streamtype") {
            Some("error") => Some(&mut streams.error),
            Some("stdin") if stdin => Some(&mut streams.stdin),
            Some("stdout") if stdout => Some(&mut streams.stdout),
            Some("stderr") if stderr => Some(&mut streams.stderr),
            Some("resize") if tty && version.resizes => Some(&mut streams.resize),
            _ => None,
        };
        match place {
            Some(place) if place.is_none() => {
                stream.reply().await?;
                *place = Some(stream);
                missing -= 1;
            }
            _ => stream.reset(ResetStatus::Refused).await?,
        }
    }
    Ok(streams)
}

/// Joins a program to its client until it has ended.
async fn attended(streams: &Streams, task: &Task, session: Session) -> Result<Outcome, Gone> {
    let Session { stdin, stdout, stderr, resize, ended } = session;
    let inputs = async {
        tokio::join!(
            feed(streams.stdin.as_ref().map(Stream::reader), stdin),
            follow_size(streams.resize.as_ref().map(Stream::reader), &*resize),
        );
        // The end of the inputs is not that of the program.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        code = pump((stdout, stderr), ended, (&streams.stdout, &streams.stderr)) => Ok(task.ended(code?)),
        () = inputs => Err(Gone),
    }
}

/// Passes on what the client sends to the program's standard input, which ends with it.
async fn feed(from: Option<&PipeReader>, to: Option<PipeWriter>) {
    let (Some(from), Some(to)) = (from, to) else { return };
    while let Ok(Some(bytes)) = from.read(CHUNK).await {
        if to.write_all(bytes).await.is_err() {
            // The program does not read any more; the client shall not be held up by that.
            from.discard();
            return;
        }
    }
}

async fn follow_size(from: Option<&PipeReader>, resize: &(dyn Fn(TerminalSize) + Send + Sync)) {
    let Some(from) = from else { return };
    let mut sizes = Sizes::default();
    while let Ok(Some(bytes)) = from.read(CHUNK).await {
        if let Some(size) = sizes.push(&bytes) {
            resize(size);
        }
    }
}
