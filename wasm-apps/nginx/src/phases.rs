//! What is done about a request, phase by phase, as nginx does it: rewriting, finding its location, rewriting there,
//! access, `try_files`, content, and pages for errors.

mod content;
mod response;
mod rewriting;

use std::net::IpAddr;
use std::rc::Rc;

pub use response::{Body, Response};

use crate::config::{Content, ErrorPage, Fallback, Level, Location, ProxyPass};
use crate::exchange::Exchange;
use crate::http::request::BodyLength;
use crate::values::{evaluate, file_path};
use rewriting::Flow;

/// Redirects of one request within the server.
const MAX_REDIRECTS: usize = 10;

/// The files of the server.
pub trait Disk {
    /// What is at a path.
    fn stat(&self, path: &str) -> Result<Stat, DiskError>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What kind of thing.
    pub kind: Kind,
    /// Bytes of a file.
    pub size: u64,
    /// When it was changed: seconds since 1970, and nanoseconds.
    pub modified: (u64, u32),
}

/// What kind of thing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Something else, which is not served.
    Other,
}

/// Why nothing is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// Nothing is there.
    NotFound,
    /// It is none of the server's business.
    Denied,
    /// Anything else.
    Failed,
}

impl DiskError {
    /// The status that says so.
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Denied => 403,
            Self::Failed => 500,
        }
    }

    /// What a system would say.
    pub fn explain(self) -> &'static str {
        match self {
            Self::NotFound => "(2: No such file or directory)",
            Self::Denied => "(13: Permission denied)",
            Self::Failed => "(5: I/O error)",
        }
    }
}

/// What answers a request.
#[derive(Debug)]
pub enum Outcome {
    /// This.
    Respond(Response),
    /// Another server.
    Proxy(Rc<ProxyPass>),
    /// A listing of this directory.
    Listing(String),
    /// Numbers about the server.
    StubStatus,
    /// Nothing: the connection is closed (`return 444`).
    Close,
}

/// Where a request goes next.
enum Next {
    /// There.
    Done(Outcome),
    /// To the location of its path, which has changed.
    Find,
    /// To this location.
    Enter(Rc<Location>),
    /// To the page for this status.
    Status(u16),
}

/// Finds what answers a request.
pub fn run(exchange: &mut Exchange, disk: &dyn Disk) -> Outcome {
    let server = Rc::clone(&exchange.server);
    let next = match rewriting::run(exchange, &server.script, disk) {
        Flow::Done(next) => next,
        Flow::Next { .. } => Next::Find,
    };
    go(exchange, disk, next)
}

/// Finds what answers a request that has failed with `status`.
pub fn fail(exchange: &mut Exchange, disk: &dyn Disk, status: u16) -> Outcome {
    go(exchange, disk, Next::Status(status))
}

fn go(exchange: &mut Exchange, disk: &dyn Disk, mut next: Next) -> Outcome {
    for _ in 0..=MAX_REDIRECTS {
        next = match next {
            Next::Done(outcome) => return outcome,
            Next::Status(status) => error_page(exchange, status),
            Next::Find => find(exchange, disk),
            Next::Enter(location) => enter(exchange, &location, disk),
        };
    }
    if let Next::Done(outcome) = next {
        return outcome;
    }
    let uri = exchange.uri.clone();
    exchange.log(Level::Error, format!("rewrite or internal redirection cycle while processing \"{uri}\""));
    Outcome::Respond(Response::page(500))
}

fn find(exchange: &mut Exchange, disk: &dyn Disk) -> Next {
    let server = Rc::clone(&exchange.server);
    let uri = exchange.uri.clone();
    let Some(found) = server.locations.find(&uri) else {
        exchange.settings = Rc::clone(&server.settings);
        exchange.location = None;
        return if has_room(exchange) { within(exchange, disk) } else { Next::Status(413) };
    };
    if let Some((regex, captures)) = &found.captures {
        rewriting::capture(exchange, regex, captures);
    }
    let location = Rc::clone(found.location);
    if location.internal && !exchange.internal {
        return Next::Status(404);
    }
    enter(exchange, &location, disk)
}

fn enter(exchange: &mut Exchange, location: &Rc<Location>, disk: &dyn Disk) -> Next {
    exchange.settings = Rc::clone(&location.settings);
    exchange.location = Some(Rc::clone(location));
    if !has_room(exchange) {
        return Next::Status(413);
    }
    match rewriting::run(exchange, &location.script, disk) {
        Flow::Done(next) => return next,
        Flow::Next { moved: true } => return Next::Find,
        Flow::Next { moved: false } => {}
    }
    within(exchange, disk)
}

/// Whether the request's body is as short as it has to be, as far as that is known.
fn has_room(exchange: &mut Exchange) -> bool {
    let most = exchange.settings.max_body;
    match exchange.request.body {
        BodyLength::Known(length) if most > 0 && length > most && exchange.error.is_none() => {
            exchange.log(Level::Error, format!("client intended to send too large body: {length} bytes"));
            false
        }
        _ => true,
    }
}

/// What is done when the location is known.
fn within(exchange: &mut Exchange, disk: &dyn Disk) -> Next {
    if let Some(limit) = exchange.settings.limit_except.clone()
        && !limit.methods.contains(&exchange.method)
    {
        exchange.settings = Rc::clone(&limit.settings);
    }
    if !allowed(exchange) {
        exchange.log(Level::Error, "access forbidden by rule");
        return Next::Status(403);
    }
    if let Some(next) = try_files(exchange, disk) {
        return next;
    }
    match exchange.settings.content.clone() {
        Content::Proxy(pass) => Next::Done(Outcome::Proxy(pass)),
        Content::StubStatus => Next::Done(Outcome::StubStatus),
        Content::Static => content::find(exchange, disk),
    }
}

fn allowed(exchange: &Exchange) -> bool {
    let peer = exchange.client.peer.ip().to_canonical();
    let rules = &exchange.settings.access;
    rules.iter().find(|rule| rule.network.is_none_or(|network| contains(network, peer))).is_none_or(|rule| rule.allow)
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let same = |left: u128, right: u128, width: u32| {
        let ignored = width - u32::from(bits);
        left.checked_shr(ignored) == right.checked_shr(ignored)
    };
    match (network, address) {
        (IpAddr::V4(left), IpAddr::V4(right)) => same(left.to_bits().into(), right.to_bits().into(), 32),
        (IpAddr::V6(left), IpAddr::V6(right)) => same(left.to_bits(), right.to_bits(), 128),
        _ => false,
    }
}

/// `try_files`; `None` if there is none, or if it has found the request's path.
fn try_files(exchange: &mut Exchange, disk: &dyn Disk) -> Option<Next> {
    let tries = exchange.settings.try_files.clone()?;
    for path in &tries.paths {
        let uri = evaluate(path, exchange);
        let wanted = if uri.ends_with('/') { Kind::Directory } else { Kind::File };
        let path = file_path(exchange, &uri);
        if disk.stat(&path).is_ok_and(|stat| stat.kind == wanted) {
            // The file that was found is served as it is: no location is looked for again.
            exchange.untouched &= exchange.uri == uri;
            exchange.uri = uri;
            return None;
        }
    }
    Some(match &tries.otherwise {
        Fallback::Status(status) => Next::Status(*status),
        Fallback::Path(path) => {
            let target = evaluate(path, exchange);
            redirect(exchange, &target)
        }
    })
}

/// Goes on with another path, or another location by its name.
fn redirect(exchange: &mut Exchange, target: &str) -> Next {
    exchange.internal = true;
    exchange.untouched = false;
    if target.starts_with('@') {
        return match exchange.server.named.get(target) {
            Some(location) => Next::Enter(Rc::clone(location)),
            None => {
                exchange.log(Level::Error, format!("could not find named location \"{target}\""));
                Next::Status(500)
            }
        };
    }
    let (path, args) = target.split_once('?').unwrap_or((target, ""));
    exchange.uri = path.to_owned();
    if target.contains('?') {
        args.clone_into(&mut exchange.args);
    }
    Next::Find
}

fn error_page(exchange: &mut Exchange, status: u16) -> Next {
    let settings = Rc::clone(&exchange.settings);
    let configured = settings.error_pages.iter().find(|page| page.statuses.contains(&status));
    match configured {
        // A page that fails itself is not replaced again.
        Some(page) if exchange.error.is_none() => configured_page(exchange, page, status),
        _ => Next::Done(Outcome::Respond(Response::page(exchange.error.unwrap_or(status)))),
    }
}

fn configured_page(exchange: &mut Exchange, page: &ErrorPage, status: u16) -> Next {
    exchange.error = Some(status);
    exchange.replacement = page.replacement.unwrap_or(Some(status));
    let target = evaluate(&page.target, exchange);
    if target.starts_with('/') || target.starts_with('@') {
        if exchange.method != "HEAD" && target.starts_with('/') {
            "GET".clone_into(&mut exchange.method);
        }
        return redirect(exchange, &target);
    }
    let status = exchange.replacement.filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308)).unwrap_or(302);
    exchange.replacement = None;
    Next::Done(Outcome::Respond(Response::redirect(status, target)))
}
