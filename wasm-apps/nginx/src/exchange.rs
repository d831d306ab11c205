//! One request and what becomes of it.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::config::{Level, Listening, Location, Server, Settings};
use crate::http::request::Request;
use crate::http::uri;

/// Who sent a request, and over which connection.
#[derive(Debug)]
pub struct Client {
    /// The other end.
    pub peer: SocketAddr,
    /// Its address as text.
    pub address: String,
    /// Our end.
    pub local: SocketAddr,
    /// The connection's number.
    pub number: u64,
}

/// Times in nanoseconds of a monotonic clock, and what its beginning was in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// When the request was read.
    pub started: u64,
    /// Now.
    pub now: u64,
    /// Milliseconds since 1970 now.
    pub unix_ms: u64,
}

/// What was sent, for the log.
#[derive(Debug, Default)]
pub struct Sent {
    /// The status.
    pub status: u16,
    /// Bytes of head and body.
    pub bytes: u64,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// The headers that somebody may ask for.
    pub headers: Vec<(String, String)>,
}

/// What a proxied server did, for the log.
#[derive(Debug, Default)]
pub struct Passed {
    /// Who was asked, in turn.
    pub addresses: Vec<String>,
    /// What they said.
    pub statuses: Vec<u16>,
    /// Nanoseconds until then.
    pub times: Vec<u64>,
    /// The headers of the last one.
    pub headers: Vec<(String, String)>,
    /// The host and port of the URL.
    pub host: String,
}

/// A request, what holds for it, and what was done about it.
#[derive(Debug)]
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// Who sent it.
    pub client: Rc<Client>,
    /// Which request of its connection it is.
    pub number: u64,
    /// Who answers.
    pub server: Rc<Server>,
    /// The location it belongs to, once one was found.
    pub location: Option<Rc<Location>>,
    /// What holds for it.
    pub settings: Rc<Settings>,
    /// The method that counts: error pages are fetched with GET.
    pub method: String,
    /// The host asked for, in lower case and without a port.
    pub host: String,
    /// The path, decoded and perhaps rewritten.
    pub uri: String,
    /// The query.
    pub args: String,
    /// Variables that the configuration sets.
    pub user: Vec<String>,
    /// What the last regular expression captured.
    pub captures: Vec<String>,
    /// Whether the server has redirected it itself.
    pub internal: bool,
    /// Whether its path is the target's as it was sent.
    pub untouched: bool,
    /// The error that a page is being fetched for.
    pub error: Option<u16>,
    /// The status that the page's own is replaced with.
    pub replacement: Option<u16>,
    /// Times.
    pub times: Times,
    /// What was sent.
    pub sent: Sent,
    /// What a proxied server did.
    pub passed: Passed,
    /// What there is to log.
    pub messages: Vec<(Level, String)>,
}

impl Exchange {
    /// Begins with a request; the status if it is malformed. Such an exchange is good for answering so.
    pub fn new(
        request: Request,
        client: &Rc<Client>,
        number: u64,
        listening: &Listening,
        variables: usize,
    ) -> (Self, Result<(), u16>) {
        let default = &listening.default;
        let mut exchange = Self {
            client: Rc::clone(client),
            number,
            server: Rc::clone(default),
            location: None,
            settings: Rc::clone(&default.settings),
            method: request.method().to_owned(),
            host: String::new(),
            uri: String::new(),
            args: String::new(),
            user: vec![String::new(); variables],
            captures: Vec::new(),
            internal: false,
            untouched: true,
            error: None,
            replacement: None,
            times: Times::default(),
            sent: Sent::default(),
            passed: Passed::default(),
            messages: Vec::new(),
            request,
        };
        let found = exchange.aim(listening);
        (exchange, found)
    }

    fn aim(&mut self, listening: &Listening) -> Result<(), u16> {
        let Some(target) = uri::parse(self.request.target(), self.server.merge_slashes) else {
            self.log(Level::Info, "client sent invalid request target");
            return Err(400);
        };
        let host = target.host.or_else(|| self.request.header("host")).unwrap_or_default();
        let name = match host.rfind(']') {
            Some(end) => &host[..=end],
            None => host.split(':').next().unwrap_or_default(),
        };
        let host = name.trim_end_matches('.').to_ascii_lowercase();
        let (uri, args) = (target.path, target.args.to_owned());
        if !listening.names.is_empty()
            && let Some(server) = listening.names.find(&host)
        {
            self.server = Rc::clone(server);
            self.settings = Rc::clone(&server.settings);
        }
        (self.host, self.uri, self.args) = (host, uri, args);
        Ok(())
    }

    /// Keeps something for the log.
    pub fn log(&mut self, level: Level, message: impl Into<String>) {
        if level <= self.settings.error_log.level {
            self.messages.push((level, message.into()));
        }
    }

    /// The host that redirects name: the one asked for, else the server's name, else its address.
    pub fn public_host(&self) -> String {
        if self.settings.server_name_in_redirect && !self.server.name.is_empty() {
            return self.server.name.clone();
        }
        match (self.host.as_str(), self.server.name.as_str()) {
            ("", "") => self.client.local.ip().to_string(),
            ("", name) => name.to_owned(),
            (host, _) => host.to_owned(),
        }
    }
}
