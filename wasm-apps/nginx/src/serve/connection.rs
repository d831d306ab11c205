//! One client's connection: reads requests, has them answered, and ends it.

use std::future::poll_fn;
use std::mem::take;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use net_tasks::{Stream, Timer, Watch, now};
use nginx::config::{Level, Listening};
use nginx::exchange::{Client, Exchange};
use nginx::http::request::{Parsed, Request, parse};
use nginx::phases::{Outcome, Response, fail, run};

use super::body::Body;
use super::{Service, listing, proxy};

/// Bytes of answers that are gathered while further requests are there.
const MAX_GATHERED: usize = 64 * 1024;
/// How long a client may take to notice that it is not listened to any more.
const LINGER: Duration = Duration::from_secs(5);

/// A client's connection.
pub(crate) struct Connection {
    pub(super) service: Rc<Service>,
    pub(super) stream: Stream,
    pub(super) client: Rc<Client>,
    /// Received, but not used yet.
    pub(super) received: Vec<u8>,
    /// Bytes of it that hold no end of a head.
    scanned: usize,
    /// To be sent.
    pub(super) unsent: Vec<u8>,
    pub(super) timer: Timer,
    quit: Watch,
    address: SocketAddr,
    /// Who answers, and the configuration that says so.
    listening: (u64, Option<Rc<Listening>>),
    requests: u64,
}

/// The connection is of no more use.
#[derive(Debug)]
pub(crate) struct Gone;

/// What reading gave.
pub(super) enum Read {
    /// More bytes.
    More,
    /// The client sends no more, or nothing within its time.
    End,
    TimedOut,
    /// The server is about to end.
    Quit,
}

impl Connection {
    pub(super) fn new(service: Rc<Service>, stream: Stream, number: u64, address: SocketAddr) -> Self {
        let peer = stream.peer().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let local = stream.local().unwrap_or(address);
        let client = Rc::new(Client { peer, address: peer.ip().to_canonical().to_string(), local, number });
        let listening = (service.generation(), service.listening(address, local));
        Self {
            quit: service.quit.watch(),
            service,
            stream,
            client,
            received: Vec::new(),
            scanned: 0,
            unsent: Vec::new(),
            timer: Timer::default(),
            address,
            listening,
            requests: 0,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        let _it_ends_either_way = self.requests().await;
        self.service.ended();
    }

    async fn requests(&mut self) -> Result<(), Gone> {
        while let Some(listening) = self.listening() {
            let Some((request, refused)) = self.next_request(&listening).await? else { break };
            // The configuration may have changed while nothing came.
            let listening = self.listening().unwrap_or(listening);
            self.requests += 1;
            if !self.answer(request, refused, &listening).await? {
                break;
            }
        }
        self.send().await
    }

    fn listening(&mut self) -> Option<Rc<Listening>> {
        let generation = self.service.generation();
        if self.listening.0 != generation {
            self.listening = (generation, self.service.listening(self.address, self.client.local));
        }
        self.listening.1.clone()
    }

    /// The next request, and the status it is refused with, if it is. `None`: no more will come.
    async fn next_request(
        &mut self,
        listening: &Listening,
    ) -> Result<Option<(Request, Option<(u16, &'static str)>)>, Gone> {
        let server = &listening.default;
        // Whether the timer runs for a head that has begun, or for one to begin.
        let mut timed = None;
        loop {
            if !self.received.is_empty() {
                match parse(&self.received, self.scanned, server.underscores_in_headers) {
                    Parsed::Whole(request, used) => {
                        self.use_up(used);
                        return Ok(Some((request, None)));
                    }
                    Parsed::Refused(status, request, reason) => {
                        self.received.clear();
                        return Ok(Some((request, Some((status, reason)))));
                    }
                    Parsed::Partial => self.scanned = self.received.len(),
                }
            }
            let begun = !self.received.is_empty();
            if timed.replace(begun) != Some(begun) {
                let idle = !begun && self.requests > 0;
                self.timer.set(if idle { server.settings.keepalive_timeout } else { server.header_timeout });
            }
            self.send().await?;
            match self.receive(self.received.is_empty()).await {
                Read::More => {}
                Read::TimedOut if !self.received.is_empty() => {
                    self.received.clear();
                    return Ok(Some((Request::default(), Some((408, "client timed out")))));
                }
                Read::End | Read::TimedOut | Read::Quit => return Ok(None),
            }
        }
    }

    /// Takes bytes from the front of what was received.
    pub(super) fn use_up(&mut self, count: usize) {
        if count == self.received.len() {
            self.received.clear();
        } else {
            self.received.drain(..count);
        }
        self.scanned = 0;
    }

    /// Waits for more bytes, as long as the timer says; `idle`: a server that ends does not wait for them.
    pub(super) async fn receive(&mut self, idle: bool) -> Read {
        let Self { stream, timer, quit, received, .. } = self;
        poll_fn(|context| {
            if let Poll::Ready(result) = stream.poll_read(context) {
                return Poll::Ready(match result {
                    Ok(bytes) if received.is_empty() => {
                        *received = bytes;
                        Read::More
                    }
                    Ok(bytes) => {
                        received.extend_from_slice(&bytes);
                        Read::More
                    }
                    Err(_) => Read::End,
                });
            }
            if idle && quit.poll(context).is_ready() {
                return Poll::Ready(Read::Quit);
            }
            timer.poll(context).map(|()| Read::TimedOut)
        })
        .await
    }

    /// Sends what has been gathered, as long as the client takes some of it in time.
    pub(super) async fn send(&mut self) -> Result<(), Gone> {
        let unsent = take(&mut self.unsent);
        let result = self.send_bytes(&unsent).await;
        self.unsent = unsent;
        self.unsent.clear();
        result
    }

    pub(super) async fn send_bytes(&self, mut bytes: &[u8]) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        let limit = self.listening.1.as_ref().map_or(LINGER, |listening| listening.default.settings.send_timeout);
        let mut waiting = None;
        poll_fn(|context| {
            while !bytes.is_empty() {
                match self.stream.poll_write(context, bytes) {
                    Poll::Ready(Ok(count)) => {
                        bytes = &bytes[count..];
                        waiting = None;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                    Poll::Pending => {
                        let timer = waiting.get_or_insert_with(|| Timer::after(limit));
                        return timer.poll(context).map(|()| Err(Gone));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Has a request answered; false if it was the last one.
    async fn answer(
        &mut self,
        request: Request,
        refused: Option<(u16, &'static str)>,
        listening: &Listening,
    ) -> Result<bool, Gone> {
        let service = Rc::clone(&self.service);
        let variables = service.config().variables;
        let (mut exchange, aimed) = Exchange::new(request, &self.client, self.requests, listening, variables);
        exchange.times.started = now();
        exchange.times.now = now();
        exchange.times.unix_ms = service.clock.unix_ms();
        let mut body = Body::new(&exchange);
        let outcome = match (refused, aimed) {
            (Some((status, reason)), _) => {
                exchange.log(Level::Info, reason);
                Outcome::Respond(Response::page(status))
            }
            (None, Err(status)) => fail(&mut exchange, &service.files, status),
            (None, Ok(())) => run(&mut exchange, &service.files),
        };
        let mut keep_alive = exchange.request.keep_alive
            && refused.is_none()
            && !service.quit.is_raised()
            && self.requests < exchange.settings.keepalive_requests
            && !exchange.settings.keepalive_timeout.is_zero();
        service.answered();
        keep_alive &= !service.quit.is_raised();
        service.numbers.writing.set(service.numbers.writing.get() + 1);
        let result = self.carry_out(&mut exchange, &mut body, outcome, &mut keep_alive).await;
        service.numbers.writing.set(service.numbers.writing.get() - 1);
        exchange.times.now = now();
        exchange.times.unix_ms = service.clock.unix_ms();
        service.logs.messages(&exchange);
        service.logs.access(&exchange);
        service.logs.keep_up().await;
        result?;
        if keep_alive {
            keep_alive = body.discard(self, &exchange).await;
        }
        if !keep_alive {
            self.send().await?;
            self.close(refused.is_some() || !body.is_done()).await;
        } else if self.unsent.len() > MAX_GATHERED {
            self.send().await?;
        }
        Ok(keep_alive)
    }

    async fn carry_out(
        &mut self,
        exchange: &mut Exchange,
        body: &mut Body,
        mut outcome: Outcome,
        keep_alive: &mut bool,
    ) -> Result<(), Gone> {
        let service = Rc::clone(&self.service);
        loop {
            outcome = match outcome {
                Outcome::Respond(response) => return self.respond(exchange, body, response, keep_alive).await,
                Outcome::Close => {
                    exchange.sent.status = 444;
                    *keep_alive = false;
                    return Err(Gone);
                }
                Outcome::Listing(path) => Outcome::Respond(listing::page(&service.files, exchange, &path)),
                Outcome::StubStatus => Outcome::Respond(listing::stub_status(&service.numbers)),
                Outcome::Proxy(pass) => match proxy::pass(self, exchange, body, &pass, keep_alive).await? {
                    proxy::Passed::Sent => return Ok(()),
                    proxy::Passed::Failed(status) => fail(exchange, &service.files, status),
                },
            };
        }
    }

    /// Ends the connection. If the client may still be sending, it is given time to read the answer.
    async fn close(&mut self, sending: bool) {
        self.stream.finish_sending();
        if sending {
            self.timer.set(LINGER);
            while let Read::More = self.receive(true).await {
                self.received.clear();
            }
        }
    }
}
