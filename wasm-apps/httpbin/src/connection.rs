//! One connection: requests one after the other, each answered before the next is read.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use nettool::tasks::{Stream, sleep, spawn};
use wasip2::io::streams::StreamError;

use crate::Server;
use crate::reply::{Body, Reply};
use crate::request::{Framing, Invalid, Request};
use crate::routes;

/// Longest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Longest body of a request.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Longest line that tells a chunk's length.
const MAX_CHUNK_LINE: usize = 1024;
/// How long the next piece of a request may take, and how long a client may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client may take to read the last answer.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes read at a time.
const BLOCK: usize = 16 * 1024;

/// The connection broke or was closed, or the client is too slow.
struct Gone;

impl From<StreamError> for Gone {
    fn from(_: StreamError) -> Self {
        Self
    }
}

/// Why there is no request.
enum NoRequest {
    Gone,
    Invalid(u16),
}

impl From<Gone> for NoRequest {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl From<Invalid> for NoRequest {
    fn from(Invalid(status): Invalid) -> Self {
        Self::Invalid(status)
    }
}

/// Answers requests until the client has no more.
pub(crate) async fn serve(stream: Stream, server: &Server) {
    let mut connection = Connection { stream, read: Vec::new() };
    loop {
        match connection.request().await {
            Ok(request) => {
                let reply = routes::answer(&request, &server.health);
                sleep_if_any(reply.delay).await;
                if server.logs {
                    println!("{} \"{} {} HTTP/1.1\" {}", request.origin, request.method, request.target, reply.status);
                }
                let keep = request.keep_alive && reply.exit.is_none();
                let sent = connection.send(&reply, &request.method, keep).await;
                if let Some(code) = reply.exit {
                    connection.farewell().await;
                    wasip2::cli::exit::exit_with_code(code);
                }
                if sent.is_err() || !keep {
                    return;
                }
            }
            Err(NoRequest::Invalid(status)) => {
                let _gone = connection.send(&Reply::status(status), "", false).await;
                return;
            }
            Err(NoRequest::Gone) => return,
        }
    }
}

/// Tells the client to come back later.
pub(crate) fn refuse(stream: Stream) {
    spawn(async move {
        let head = Reply::status(503).with("Retry-After", "1").head(false);
        let _gone = within(Duration::from_secs(1), stream.write_all(head.as_bytes())).await;
    });
}

async fn sleep_if_any(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

/// The connection, and what was read of it and not used yet.
struct Connection {
    stream: Stream,
    read: Vec<u8>,
}

impl Connection {
    async fn request(&mut self) -> Result<Request, NoRequest> {
        let (mut request, length) = loop {
            let origin = self.stream.peer();
            if let Some(parsed) = Request::parse(&self.read, &origin)? {
                break parsed;
            }
            if self.read.len() > MAX_HEAD {
                return Err(NoRequest::Invalid(431));
            }
            self.more().await?;
        };
        self.read.drain(..length);
        let framing = request.framing()?;
        if request.header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = match framing {
            Framing::Length(length) if length > MAX_BODY => return Err(NoRequest::Invalid(413)),
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
        };
        Ok(request)
    }

    /// Reads some more.
    async fn more(&mut self) -> Result<(), Gone> {
        let reading = poll_fn(|context| self.stream.poll_read(context, BLOCK));
        let bytes = within(PATIENCE, reading).await.ok_or(Gone)??;
        self.read.extend_from_slice(&bytes);
        Ok(())
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Gone> {
        while self.read.len() < length {
            self.more().await?;
        }
        let rest = self.read.split_off(length);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, NoRequest> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| NoRequest::Invalid(400))?;
            if size > MAX_BODY - body.len() {
                return Err(NoRequest::Invalid(413));
            }
            if size == 0 {
                break;
            }
            body.append(&mut self.take(size).await?);
            if !self.line().await?.is_empty() {
                return Err(NoRequest::Invalid(400));
            }
        }
        let mut trailers = 0;
        loop {
            let line = self.line().await?;
            trailers += line.len();
            match line.as_str() {
                "" => return Ok(body),
                _ if trailers > MAX_HEAD => return Err(NoRequest::Invalid(431)),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<String, NoRequest> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.take(end + 1).await?;
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.read.len() > MAX_CHUNK_LINE {
                return Err(NoRequest::Invalid(400));
            }
            self.more().await?;
        }
    }

    /// Ends the connection, and gives the client a moment to take what was sent before it is cut off.
    async fn farewell(&self) {
        self.stream.finish_sending();
        let until_closed = poll_fn(|context| self.stream.poll_read(context, BLOCK).map(|read| read.is_err()));
        let _closed = within(FAREWELL, until_closed).await;
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        Ok(within(PATIENCE, self.stream.write_all(bytes)).await.ok_or(Gone)??)
    }

    async fn send(&self, reply: &Reply, method: &str, keep_alive: bool) -> Result<(), Gone> {
        let mut head = reply.head(keep_alive).into_bytes();
        if !reply.has_body(method) {
            return self.write(&head).await;
        }
        match &reply.body {
            Body::Bytes(bytes) => {
                head.extend_from_slice(bytes);
                self.write(&head).await
            }
            Body::Chunks(chunks) => {
                self.write(&head).await?;
                for chunk in chunks {
                    self.write(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()).await?;
                }
                self.write(b"0\r\n\r\n").await
            }
            Body::Drip { count, pause } => {
                self.write(&head).await?;
                for _ in 0..*count {
                    self.write(b"*").await?;
                    sleep_if_any(*pause).await;
                }
                Ok(())
            }
        }
    }
}

/// What comes of `future`, unless it takes longer than `limit`.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut timer) = (pin!(future), pin!(sleep(limit)));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => timer.as_mut().poll(context).map(|()| None),
    })
    .await
}
