//! `exec` and `attach` over a WebSocket: channel 0 is standard input, 1 and 2 the outputs, 3 the outcome, 4 the size of
//! the terminal; from v5 on `[255, channel]` ends a channel.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{interval, timeout};

use super::terminal::Sizes;
use super::{FINISH_LIMIT, Outcome, Output, Task, Version, pump};
use crate::apiserver::node_access::{Session, TerminalSize, Wanted};
use crate::apiserver::streams::spdy::Gone;
use crate::apiserver::streams::websocket::{self, Channels, Inbox, Outbox, PING_PERIOD};
use crate::base::pipe::PipeWriter;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// One of the output channels.
struct Channel<'a, Io> {
    outbox: &'a Outbox<Io>,
    number: u8,
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> Output for Channel<'_, Io> {
    async fn write(&self, bytes: Bytes) -> Result<(), Gone> {
        self.outbox.send(self.number, &bytes).await
    }

    /// There is no message for the end of an output: the outcome tells.
    async fn finish(&self) -> Result<(), Gone> {
        Ok(())
    }
}

/// Serves a client to its end.
pub(in crate::apiserver::streams) async fn serve<Io>(io: Io, version: Version, task: Task)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (outbox, mut inbox) = Channels::split(websocket::open(io).await, version.codec);
    let _ = tokio::select! {
        result = converse(&outbox, &mut inbox, version, &task) => result,
        result = ping(&outbox) => result,
    };
}

async fn ping<Io: AsyncRead + AsyncWrite + Unpin>(outbox: &Outbox<Io>) -> Result<(), Gone> {
    let mut pings = interval(PING_PERIOD);
    pings.tick().await;
    loop {
        pings.tick().await;
        outbox.ping().await?;
    }
}

async fn converse<Io>(outbox: &Outbox<Io>, inbox: &mut Inbox<Io>, version: Version, task: &Task) -> Result<(), Gone>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    outbox.send(lowest(task.wanted), &[]).await?;
    let outcome = match task.begin().await {
        Ok(session) => attended(outbox, inbox, version, task, session).await?,
        Err(error) => task.failed(&error),
    };
    if let Some(message) = outcome.message(version.format) {
        outbox.send(ERROR, message.as_bytes()).await?;
    }
    outbox.close().await?;
    // Ending the connection now would reset it as soon as the client's next message comes, and take with it what the
    // client has not read yet (kube-apiserver `conns.finish`).
    let _ = timeout(FINISH_LIMIT, async { while inbox.next().await.is_some() {} }).await;
    Ok(())
}

/// The channel on which an empty message tells the client that the connection stands.
fn lowest(wanted: Wanted) -> u8 {
    match wanted {
        Wanted { stdout: true, .. } => STDOUT,
        Wanted { stderr: true, .. } => STDERR,
        _ => ERROR,
    }
}

/// Joins a program to its client until it has ended.
async fn attended<Io>(
    outbox: &Outbox<Io>,
    inbox: &mut Inbox<Io>,
    version: Version,
    task: &Task,
    session: Session,
) -> Result<Outcome, Gone>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Session { stdin, stdout, stderr, resize, ended } = session;
    let (to_stdout, to_stderr) = (Channel { outbox, number: STDOUT }, Channel { outbox, number: STDERR });
    tokio::select! {
        code = pump((stdout, stderr), ended, (&to_stdout, &to_stderr)) => Ok(task.ended(code?)),
        // Nobody is there any more to have the outcome.
        () = listen(inbox, version, stdin, &*resize) => Err(Gone),
    }
}

/// Takes what the client sends, until it is gone.
async fn listen<Io>(
    inbox: &mut Inbox<Io>,
    version: Version,
    mut stdin: Option<PipeWriter>,
    resize: &(dyn Fn(TerminalSize) + Send + Sync),
) where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut sizes = Sizes::default();
    while let Some((channel, bytes)) = inbox.next().await {
        match channel {
            STDIN => {
                // A program that does not read any more ends its input, not the connection.
                if let Some(writer) = &stdin
                    && writer.write_all(bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            RESIZE => {
                if let Some(size) = sizes.push(&bytes) {
                    resize(size);
                }
            }
            CLOSE if version.closes && bytes.first() == Some(&STDIN) => stdin = None,
            _ => {}
        }
    }
}
