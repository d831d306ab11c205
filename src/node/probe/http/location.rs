//! Where a request goes, written as Go writes it: what is given stays as it is, a default port included.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;
use url::Url;

use super::super::dial::Address;
use crate::net::PodNetwork;

/// A URL, and where its host is.
#[derive(Debug, Clone)]
pub(super) struct Location {
    https: bool,
    address: Address,
    authority: String,
    path: PathAndQuery,
}

impl Location {
    /// The location of an action: `path` may have a query, and need not begin with a slash.
    pub(super) fn new(https: bool, address: Address, path: &str) -> Result<Self, String> {
        let authority = address.to_string();
        Ok(Self { https, address, authority, path: parse_path(path)? })
    }

    /// The place that a redirect from here names.
    ///
    /// # Errors
    /// When there is no such place, as Go's client says it.
    pub(super) fn join(&self, reference: &str, network: &PodNetwork) -> Result<Self, String> {
        let no_place = |why: &dyn fmt::Display| format!("failed to parse Location header {reference:?}: {why}");
        let base = Url::parse(&self.to_string()).map_err(|error| no_place(&error))?;
        let url = base.join(reference).map_err(|error| no_place(&error))?;
        let https = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("unsupported protocol scheme {other:?}")),
        };
        let path = parse_path(&url[url::Position::BeforePath..url::Position::AfterQuery])?;
        if !Self::is_absolute(reference) && !reference.starts_with("//") {
            return Ok(Self { path, ..self.clone() });
        }
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        let as_written = reference.parse::<Uri>().ok();
        let authority =
            as_written.as_ref().and_then(Uri::authority).map_or_else(|| url.authority(), |given| given.as_str());
        let authority = authority.rsplit('@').next().unwrap_or_default().to_owned();
        Ok(Self { https, address: Address::new(Some(host), port, network), authority, path })
    }

    /// Whether a reference is a whole URL.
    pub(super) fn is_absolute(reference: &str) -> bool {
        Url::parse(reference).is_ok()
    }

    /// The same place without TLS.
    pub(super) fn over_http(self) -> Self {
        Self { https: false, ..self }
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The host without port or brackets.
    pub(super) fn hostname(&self) -> String {
        self.address.hostname()
    }

    /// Host and port as written.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn path(&self) -> &PathAndQuery {
        &self.path
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// A path with its query as it is sent; what a request line cannot hold is escaped.
fn parse_path(text: &str) -> Result<PathAndQuery, String> {
    let rooted = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    if rooted.is_ascii()
        && let Ok(path) = rooted.parse()
    {
        return Ok(path);
    }
    let escaped = Url::parse("http://pod").and_then(|base| base.join(&rooted));
    let escaped = escaped.map_err(|error| format!("parse {text:?}: {error}"))?;
    let path = escaped[url::Position::BeforePath..url::Position::AfterQuery].parse();
    path.map_err(|error| format!("parse {text:?}: {error}"))
}
