//! Passing requests on to other servers, and their responses back.

mod request;
mod response;

use std::time::Duration;

use net_tasks::{Stream, explain, now, within};
use nginx::config::{Level, ProxyPass};
use nginx::exchange::Exchange;
use nginx::http::chunked::encode;
use wasip2::sockets::network::ErrorCode;

use super::body::{Body, BodyError};
use super::connection::{Connection, Gone};
use super::upstream;

/// How a request was passed on.
pub(super) enum Passed {
    /// The response has been sent.
    Sent,
    /// There was none; this is to be answered.
    Failed(u16),
}

/// A connection to another server, with what it has sent and nobody has used.
struct Upstream {
    stream: Stream,
    received: Vec<u8>,
    read_timeout: Duration,
}

/// Why a server gave no response.
enum Failure {
    /// The client has gone.
    Gone,
    /// The server could not be asked, or said nothing: another one may be asked.
    Next(u16),
    /// Nobody else is asked.
    Status(u16),
}

impl Upstream {
    /// Waits for more bytes; false at the end.
    async fn receive(&mut self) -> Result<bool, u16> {
        match within(self.read_timeout, self.stream.read()).await {
            None => Err(504),
            Some(Ok(bytes)) => {
                self.received.extend_from_slice(&bytes);
                Ok(true)
            }
            Some(Err(wasip2::io::streams::StreamError::Closed)) => Ok(false),
            Some(Err(_)) => Err(502),
        }
    }
}

/// Passes a request on.
pub(super) async fn pass(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Body,
    pass: &ProxyPass,
    keep_alive: &mut bool,
) -> Result<Passed, Gone> {
    let target = match upstream::target(exchange, pass).await {
        Ok(target) => target,
        Err(status) => return Ok(Passed::Failed(status)),
    };
    exchange.passed.host.clone_from(&target.host);
    let head = request::head(exchange, pass, &target);
    let had_body = !body.is_done();
    let mut status = 502;
    for index in upstream::order(&target.upstream) {
        let address = target.upstream.peers[index].address;
        let begun = now();
        exchange.passed.addresses.push(address.to_string());
        let asked = ask(connection, exchange, body, address, &head).await;
        exchange.passed.times.push(now() - begun);
        match asked {
            Ok(upstream) => return response::relay(connection, exchange, body, pass, upstream, keep_alive).await,
            Err(Failure::Gone) => return Err(Gone),
            Err(Failure::Status(failed)) => return Ok(Passed::Failed(failed)),
            Err(Failure::Next(failed)) => {
                exchange.passed.statuses.push(failed);
                status = failed;
                // What of the body has been sent cannot be sent again, nor what may have had an effect.
                let again = matches!(exchange.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
                if !exchange.settings.proxy.next_upstream || had_body && body.is_done() || !again {
                    break;
                }
            }
        }
    }
    Ok(Passed::Failed(status))
}

/// Connects to a server, sends the request, and waits for the response to begin.
async fn ask(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &mut Body,
    address: std::net::SocketAddr,
    head: &[u8],
) -> Result<Upstream, Failure> {
    let proxy = std::rc::Rc::clone(&exchange.settings.proxy);
    let connected = within(proxy.connect_timeout, Stream::connect(address)).await;
    let stream = match connected.unwrap_or(Err(ErrorCode::Timeout)) {
        Ok(stream) => stream,
        Err(error) => {
            let (number, text) = explain(error);
            exchange.log(
                Level::Error,
                format!(
                    "connect() failed ({number}: {text}) while connecting to upstream, upstream: \"http://{address}\""
                ),
            );
            return Err(Failure::Next(if error == ErrorCode::Timeout { 504 } else { 502 }));
        }
    };
    let mut upstream = Upstream { stream, received: Vec::new(), read_timeout: proxy.read_timeout };
    let chunked = exchange.request.body == nginx::http::request::BodyLength::Chunked;
    let mut sent = send(&upstream, head, proxy.send_timeout).await;
    while proxy.pass_body && sent.is_ok() && !body.is_done() {
        let piece = match body.next(connection, exchange).await {
            Ok(piece) => piece,
            Err(BodyError::Gone) => return Err(Failure::Gone),
            Err(error) => return Err(Failure::Status(error.status())),
        };
        let mut framed = Vec::new();
        if chunked {
            encode(&piece, &mut framed);
        } else {
            framed = piece;
        }
        sent = send(&upstream, &framed, proxy.send_timeout).await;
    }
    if chunked && proxy.pass_body && sent.is_ok() {
        sent = send(&upstream, nginx::http::chunked::END, proxy.send_timeout).await;
    }
    if let Err(504) = sent {
        return Err(Failure::Next(504));
    }
    // A server may answer, and close, before it has read everything.
    match upstream.receive().await {
        Ok(true) => Ok(upstream),
        Ok(false) | Err(502) => {
            let message = "upstream prematurely closed connection while reading response header from upstream";
            exchange.log(Level::Error, format!("{message}, upstream: \"http://{address}\""));
            Err(Failure::Next(502))
        }
        Err(status) => {
            let message = "upstream timed out (110: Operation timed out) while reading response header from upstream";
            exchange.log(Level::Error, format!("{message}, upstream: \"http://{address}\""));
            Err(Failure::Next(status))
        }
    }
}

async fn send(upstream: &Upstream, bytes: &[u8], limit: Duration) -> Result<(), u16> {
    match within(limit, upstream.stream.write_all(bytes)).await {
        None => Err(504),
        Some(result) => result.map_err(|_| 502),
    }
}
