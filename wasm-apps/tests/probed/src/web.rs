//! The web server. Each connection is one request:
//!
//! - every path answers 500 as long as there is a file `/fail`;
//! - `/redirect?to=URL` answers 302 to there, and `/status?code=N` answers with that code;
//! - `/headers` answers with the request's own head;
//! - `/slow?ms=N` answers after that time;
//! - `/bytes?count=N` answers with that many bytes;
//! - all others answer with the file of that name below the document root, 404 if there is none; or with `ok` if there
//!   is no document root.
//!
//! Each answer is a line on standard output.

use std::fmt::Write;
use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use lexopt::prelude::*;
use nettool::explain;
use nettool::tasks::{Listener, Stream, block_on, sleep, spawn};
use wasip2::io::streams::StreamError;

use crate::network::Listening;
use crate::{End, print_line, seconds};

/// As long as this file is there, nothing works.
const FAIL: &str = "/fail";

/// How often a file is looked for that may go away.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Bytes read at a time.
const BLOCK: usize = 4096;

#[derive(Default)]
struct Site {
    docroot: Option<PathBuf>,
    print_headers: bool,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

pub(crate) fn serve(parser: &mut lexopt::Parser) -> Result<(), End> {
    let (mut listening, mut site, mut until_missing) = (Listening::default(), Site::default(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => listening.port = parser.value()?.parse()?,
            Long("delay") => listening.delay = seconds(&parser.value()?.string()?)?,
            Long("docroot") => site.docroot = Some(parser.value()?.into()),
            Long("until-missing") => until_missing = Some(PathBuf::from(parser.value()?)),
            Long("print-headers") => site.print_headers = true,
            _ => return Err(argument.unexpected().into()),
        }
    }
    block_on(async {
        let listener = listening.begin().await?;
        spawn(accept_all(listener, Rc::new(site)));
        while until_missing.as_ref().is_none_or(|file| file.exists()) {
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    })
}

async fn accept_all(listener: Listener, site: Rc<Site>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                let site = Rc::clone(&site);
                // Whoever goes away early, as probes that time out do, needs no answer.
                spawn(async move {
                    let _ = site.handle(stream).await;
                });
            }
            Err(error) => print_line(&format!("accept: {}", explain(error))),
        }
    }
}

impl Site {
    async fn handle(&self, stream: Stream) -> Result<(), StreamError> {
        let head = read_head(&stream).await?;
        let mut request_line = head.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (request_line.next().unwrap_or_default(), request_line.next().unwrap_or_default());
        let answer = self.answer(&head, target).await;
        print_line(&format!("{method} {target} {}", answer.status));
        if self.print_headers {
            head.lines().skip(1).for_each(print_line);
        }
        stream.write_all(&answer.encode()).await?;
        stream.finish_sending();
        // Closing with something unread would cut off what the client has not read yet.
        while !poll_fn(|context| stream.poll_read(context, BLOCK)).await?.is_empty() {}
        Ok(())
    }

    async fn answer(&self, head: &str, target: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let number = |name| parameter(query, name).and_then(|value| value.parse().ok()).unwrap_or_default();
        if path == "/slow" {
            sleep(Duration::from_millis(number("ms"))).await;
        }
        if Path::new(FAIL).exists() {
            return Answer::new(500, "failing as told\n");
        }
        match path {
            "/slow" => Answer::new(200, "slow\n"),
            "/redirect" => Answer { location: parameter(query, "to"), ..Answer::new(302, "elsewhere\n") },
            "/status" => Answer::new(u16::try_from(number("code")).unwrap_or(500), "as told\n"),
            "/headers" => Answer::new(200, head),
            "/bytes" => Answer::new(200, "x".repeat(usize::try_from(number("count")).unwrap_or_default())),
            _ => self.file(path),
        }
    }

    fn file(&self, path: &str) -> Answer {
        let Some(docroot) = &self.docroot else { return Answer::new(200, "ok\n") };
        let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
        fs::read(docroot.join(name)).map_or_else(|_| Answer::new(404, "not found\n"), |body| Answer::new(200, body))
    }
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, location: None, body: body.into() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", self.status);
        // Writing to a string cannot fail.
        let _ = write!(head, "Content-Type: text/plain\r\nContent-Length: {}\r\n", self.body.len());
        if let Some(location) = &self.location {
            let _ = write!(head, "Location: {location}\r\n");
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// Reads the request line and the headers, without the empty line.
async fn read_head(stream: &Stream) -> Result<String, StreamError> {
    let mut received = Vec::new();
    loop {
        received.extend(poll_fn(|context| stream.poll_read(context, BLOCK)).await?);
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(&received[..end + 2]).into_owned());
        }
    }
}

/// A parameter of the query, percent-decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut decoded = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        decoded.push(match byte {
            b'%' => u8::try_from(hex(rest.next()?)? * 16 + hex(rest.next()?)?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
