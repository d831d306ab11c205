//! A configuration, ready to be served: everything is resolved, inherited and checked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use regex_lite::Regex;

use crate::locations::Locations;
use crate::script::Script;
use crate::variables::{Names, Template};

/// A whole configuration.
#[derive(Debug)]
pub struct Config {
    /// Whether `daemon off` was said.
    pub foreground: bool,
    /// Where the process's number is written.
    pub pid: String,
    /// Where messages go that belong to no request.
    pub error_log: ErrorLog,
    /// Servers, by where they listen.
    pub listeners: Vec<Rc<Listening>>,
    /// How many variables requests have of their own.
    pub variables: usize,
    /// What to warn of.
    pub warnings: Vec<String>,
    /// Ends after so many requests.
    pub request_limit: Option<u64>,
}

/// The servers at one address.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// The accept queue's length.
    pub backlog: u64,
    /// Who answers for names that are nobody's.
    pub default: Rc<Server>,
    /// Who answers for which name.
    pub names: ServerNames,
}

/// Which server a name belongs to.
#[derive(Debug, Default)]
pub struct ServerNames {
    /// `example.org`
    pub exact: HashMap<String, Rc<Server>>,
    /// `*.example.org` and `.example.org` as `.example.org`, longest first.
    pub suffixes: Vec<(String, Rc<Server>)>,
    /// `www.example.*` as `www.example.`, longest first.
    pub prefixes: Vec<(String, Rc<Server>)>,
    /// `~REGEX`, in the order of the configuration.
    pub regexes: Vec<(Regex, Rc<Server>)>,
}

impl ServerNames {
    /// The server of a name in lower case.
    pub fn find(&self, name: &str) -> Option<&Rc<Server>> {
        let suffix = || self.suffixes.iter().find(|(suffix, _)| name.len() > suffix.len() && name.ends_with(suffix));
        let prefix = || self.prefixes.iter().find(|(prefix, _)| name.len() > prefix.len() && name.starts_with(prefix));
        let regex = || self.regexes.iter().find(|(regex, _)| regex.is_match(name)).map(|(_, server)| server);
        self.exact
            .get(name)
            .or_else(|| suffix().map(|(_, server)| server))
            .or_else(|| prefix().map(|(_, server)| server))
            .or_else(regex)
    }

    /// Whether the name of a request makes no difference.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() && self.regexes.is_empty()
    }
}

/// A `server` block.
#[derive(Debug)]
pub struct Server {
    /// The first of its names.
    pub name: String,
    /// What holds outside of its locations.
    pub settings: Rc<Settings>,
    /// What is done before a location is looked for.
    pub script: Script,
    /// Its locations.
    pub locations: Locations,
    /// Its locations called `@NAME`.
    pub named: HashMap<String, Rc<Location>>,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
    /// Whether `//` is `/`.
    pub merge_slashes: bool,
    /// Whether headers with underscores are kept.
    pub underscores_in_headers: bool,
    /// Where the variables are that regular expressions set.
    pub variables: Rc<Names>,
}

/// A `location` block.
#[derive(Debug)]
pub struct Location {
    /// What it says behind `location` and its modifier.
    pub pattern: String,
    /// What holds in it.
    pub settings: Rc<Settings>,
    /// What is done before anything is looked for.
    pub script: Script,
    /// The locations in it.
    pub nested: Locations,
    /// Only for redirects of the server itself.
    pub internal: bool,
}

/// What inner blocks inherit from outer ones, and may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where files are.
    pub root: Root,
    /// Files that stand for their directory.
    pub index: Rc<[Template]>,
    /// The type of files whose extension is not known.
    pub default_type: Rc<str>,
    /// Types by extension.
    pub types: Rc<HashMap<String, Rc<str>>>,
    /// Whether directories are listed.
    pub autoindex: bool,
    /// Whether listings have sizes in bytes.
    pub autoindex_exact_size: bool,
    /// What is answered instead of errors.
    pub error_pages: Rc<Vec<ErrorPage>>,
    /// Headers added to responses.
    pub add_headers: Rc<Vec<AddedHeader>>,
    /// How long responses may be kept.
    pub expires: Expires,
    /// Where requests are logged.
    pub access_logs: Rc<Vec<AccessLog>>,
    /// Where problems are logged.
    pub error_log: ErrorLog,
    /// Whether files that are not there are worth a line in it.
    pub log_not_found: bool,
    /// How long a connection may be idle; zero: no second request.
    pub keepalive_timeout: Duration,
    /// Requests of one connection.
    pub keepalive_requests: u64,
    /// How long a client may send nothing of a body.
    pub body_timeout: Duration,
    /// How long a client may take nothing.
    pub send_timeout: Duration,
    /// Bytes of a request's body; zero: any number.
    pub max_body: u64,
    /// Whether the version is told.
    pub server_tokens: bool,
    /// Whether responses have an `ETag`.
    pub etag: bool,
    /// How `If-Modified-Since` is understood.
    pub if_modified_since: ModifiedSince,
    /// Whether redirects name the host.
    pub absolute_redirect: bool,
    /// Whether they name the port.
    pub port_in_redirect: bool,
    /// Whether they name the server by its own name.
    pub server_name_in_redirect: bool,
    /// Who may come; the first that fits decides.
    pub access: Rc<Vec<AccessRule>>,
    /// Who may come with other methods than some.
    pub limit_except: Option<Rc<LimitExcept>>,
    /// What to try before giving up.
    pub try_files: Option<Rc<TryFiles>>,
    /// How requests are passed on.
    pub proxy: Rc<ProxySettings>,
    /// What answers requests.
    pub content: Content,
}

/// Where files are.
#[derive(Debug, Clone)]
pub enum Root {
    /// The whole path is appended.
    Root(Template),
    /// What follows so many bytes of the path, the location's own, is appended; `None`: nothing is.
    Alias(Template, Option<usize>),
}

/// What answers the requests of a location.
#[derive(Debug, Clone)]
pub enum Content {
    /// Files.
    Static,
    /// Another server.
    Proxy(Rc<ProxyPass>),
    /// Numbers about this server.
    StubStatus,
}

/// `error_page`
#[derive(Debug)]
pub struct ErrorPage {
    /// For which statuses.
    pub statuses: Vec<u16>,
    /// `=STATUS` instead; `Some(None)`: that of the page.
    pub replacement: Option<Option<u16>>,
    /// A path, a location's `@NAME`, or a URL.
    pub target: Template,
}

/// `add_header`
#[derive(Debug)]
pub struct AddedHeader {
    /// The header's name.
    pub name: String,
    /// Its value.
    pub value: Template,
    /// Whether errors have it too.
    pub always: bool,
}

/// `expires`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// Nothing is said.
    Off,
    /// It has expired.
    Epoch,
    /// It does not expire.
    Max,
    /// Seconds from now; not before now.
    After(i64),
}

/// `if_modified_since`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModifiedSince {
    /// Not at all.
    Off,
    /// The very time.
    Exact,
    /// The time or a later one.
    Before,
}

/// Where lines of a log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(Rc<str>),
}

/// `access_log`
#[derive(Debug)]
pub struct AccessLog {
    /// Where to.
    pub target: LogTarget,
    /// What.
    pub format: Rc<LogFormat>,
    /// Only if this is neither empty nor `0`.
    pub condition: Option<Template>,
}

/// `log_format`
#[derive(Debug)]
pub struct LogFormat {
    /// Its text.
    pub template: Template,
    /// How values are escaped.
    pub escape: Escape,
}

/// `escape=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `\xHH`, and `-` for nothing.
    Default,
    /// As in a JSON string.
    Json,
    /// Not at all.
    None,
}

/// `error_log`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where to.
    pub target: LogTarget,
    /// What is less grave than this is left out.
    pub level: Level,
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are called what they are called in nginx")]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// All of them, gravest first.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("emerg", Self::Emerg),
        ("alert", Self::Alert),
        ("crit", Self::Crit),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("notice", Self::Notice),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
    }
}

/// `allow` and `deny`
#[derive(Debug)]
pub struct AccessRule {
    /// Whether it allows.
    pub allow: bool,
    /// Whom: an address and how many of its bits count; `None`: everybody.
    pub network: Option<(IpAddr, u8)>,
}

/// `limit_except`
#[derive(Debug)]
pub struct LimitExcept {
    /// The methods that are not limited.
    pub methods: Vec<String>,
    /// What holds for others.
    pub settings: Rc<Settings>,
}

/// `try_files`
#[derive(Debug)]
pub struct TryFiles {
    /// Paths; a directory is looked for if it ends with `/`.
    pub paths: Vec<Template>,
    /// What if nothing is there.
    pub otherwise: Fallback,
}

/// The last argument of `try_files`.
#[derive(Debug)]
pub enum Fallback {
    /// Another path, or a location's `@NAME`.
    Path(Template),
    /// `=STATUS`
    Status(u16),
}

/// How requests are passed on.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// `proxy_set_header`; none of `Host` and `Connection`: as by default.
    pub headers: Vec<(String, Template)>,
    /// Whether to speak HTTP/1.1.
    pub http_1_1: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may send nothing.
    pub read_timeout: Duration,
    /// How long it may take nothing.
    pub send_timeout: Duration,
    /// Headers of responses that are not passed on, in lower case.
    pub hide: Vec<String>,
    /// Headers that are, though they are not by default, in lower case.
    pub pass: Vec<String>,
    /// Whether `error_page` is for its errors too.
    pub intercept_errors: bool,
    /// Another method.
    pub method: Option<Template>,
    /// Whether the request's body is passed on.
    pub pass_body: bool,
    /// Whether its headers are.
    pub pass_headers: bool,
    /// How `Location` headers are changed.
    pub redirect: Redirects,
    /// Whether another server is tried after one that failed.
    pub next_upstream: bool,
}

/// `proxy_redirect`
#[derive(Debug, Clone)]
pub enum Redirects {
    /// As `proxy_pass` and the location say.
    Default,
    /// Prefixes, and what to put in their place.
    Replace(Vec<(String, Template)>),
    /// Not at all.
    Off,
}

/// `proxy_pass`
#[derive(Debug)]
pub struct ProxyPass {
    /// As it was written, without variables' values.
    pub url: Template,
    /// Who is asked, if that is known beforehand.
    pub target: Option<ProxyTarget>,
    /// What replaces the location in paths that are passed on.
    pub location: Option<String>,
}

/// A URL, taken apart.
#[derive(Debug, Clone)]
pub struct ProxyTarget {
    /// `HOST[:PORT]` as in the URL.
    pub host: String,
    /// What to put in the place of the location; `None`: the path is passed on as it came.
    pub uri: Option<String>,
    /// The servers.
    pub upstream: Rc<Upstream>,
}

/// Servers that share requests.
#[derive(Debug)]
pub struct Upstream {
    /// Its name or host.
    pub name: String,
    /// At least one.
    pub peers: Vec<Peer>,
    /// How requests have been shared out so far.
    pub turns: std::cell::RefCell<Vec<i64>>,
}

/// One of them.
#[derive(Debug)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// Its share.
    pub weight: i64,
    /// Only asked if no other one answers.
    pub backup: bool,
}
