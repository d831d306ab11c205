//! `exec` and `attach` over a WebSocket: channel 0 is standard input, 1 and 2 the outputs, 3 the outcome, 4 the size of
//! the terminal; from v5 on `[255, channel]` ends a channel.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{interval, timeout};

use super::terminal::Sizes;
use super::{FINISH_LIMIT, Outcome, Output, Task, Version, pump};
use crate::apiserver::node_access::{NodeError, Session, TerminalSize, Wanted};
use crate::apiserver::streams::spdy::Gone;
use crate::apiserver::streams::websocket::{self, Channels, Inbox, Outbox, PING_PERIOD};
use crate::base::pipe::PipeWriter;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Bytes that a client may send before its program has started; it waits then.
const EARLY_BYTES: usize = 256 * 1024;
/// The same for messages.
const EARLY_MESSAGES: usize = 1024;

/// What a client has sent before its program has started: channels and messages.
type Early = Vec<(u8, Bytes)>;

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
    let (begun, early) = begin(inbox, task).await?;
    let outcome = match begun {
        Ok(session) => attended(outbox, (inbox, early), version, task, session).await?,
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

/// Starts the program while the client is listened to: starting may take until it is compiled, and a client whose pings
/// are not answered meanwhile takes the connection for dead. Gives what the client has sent so far, too.
async fn begin<Io>(inbox: &mut Inbox<Io>, task: &Task) -> Result<(Result<Session, NodeError>, Early), Gone>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut beginning = std::pin::pin!(task.begin());
    let (mut early, mut bytes) = (Early::new(), 0);
    loop {
        tokio::select! {
            biased;
            begun = &mut beginning => return Ok((begun, early)),
            message = inbox.next(), if bytes < EARLY_BYTES && early.len() < EARLY_MESSAGES => {
                let message = message.ok_or(Gone)?;
                bytes += message.1.len();
                early.push(message);
            }
        }
    }
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
    (inbox, early): (&mut Inbox<Io>, Early),
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
        () = listen((inbox, early), version, stdin, &*resize) => Err(Gone),
    }
}

/// Takes what the client sends, until it is gone.
async fn listen<Io>(
    (inbox, early): (&mut Inbox<Io>, Early),
    version: Version,
    mut stdin: Option<PipeWriter>,
    resize: &(dyn Fn(TerminalSize) + Send + Sync),
) where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut sizes = Sizes::default();
    let mut early = early.into_iter();
    loop {
        let Some((channel, bytes)) = (match early.next() {
            Some(message) => Some(message),
            None => inbox.next().await,
        }) else {
            return;
        };
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
