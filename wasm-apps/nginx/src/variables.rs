//! Variables by name, and texts with variables in them.

use std::collections::HashMap;

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `$arg_NAME`: an argument of the query.
    Argument(String),
    /// `$http_NAME`: a header of the request; underscores stand for hyphens.
    Header(String),
    /// `$sent_http_NAME`: a header of the response.
    SentHeader(String),
    /// `$upstream_http_NAME`: a header of a proxied server's response.
    UpstreamHeader(String),
    /// `$cookie_NAME`.
    Cookie(String),
    /// `$1` to `$9`: what a group of the last regular expression matched.
    Capture(usize),
    /// One that the configuration sets: its place in a request's list of them.
    User(usize),
    /// One that nginx itself has.
    Known(Known),
}

macro_rules! known {
    ($($variant:ident = $name:literal,)*) => {
        /// nginx's own variables.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "they are called what they are called in nginx")]
        pub enum Known { $($variant,)* }

        fn known(name: &str) -> Option<Known> {
            match name {
                $($name => Some(Known::$variant),)*
                _ => None,
            }
        }
    };
}

known! {
    Args = "args",
    BodyBytesSent = "body_bytes_sent",
    BytesSent = "bytes_sent",
    Connection = "connection",
    ConnectionRequests = "connection_requests",
    ContentLength = "content_length",
    ContentType = "content_type",
    DocumentRoot = "document_root",
    DocumentUri = "document_uri",
    Host = "host",
    Hostname = "hostname",
    Https = "https",
    IsArgs = "is_args",
    Msec = "msec",
    NginxVersion = "nginx_version",
    Pipe = "pipe",
    ProxyAddXForwardedFor = "proxy_add_x_forwarded_for",
    ProxyHost = "proxy_host",
    ProxyPort = "proxy_port",
    QueryString = "query_string",
    RealpathRoot = "realpath_root",
    RemoteAddr = "remote_addr",
    RemotePort = "remote_port",
    RemoteUser = "remote_user",
    Request = "request",
    RequestFilename = "request_filename",
    RequestLength = "request_length",
    RequestMethod = "request_method",
    RequestTime = "request_time",
    RequestUri = "request_uri",
    Scheme = "scheme",
    ServerAddr = "server_addr",
    ServerName = "server_name",
    ServerPort = "server_port",
    ServerProtocol = "server_protocol",
    Status = "status",
    TimeIso8601 = "time_iso8601",
    TimeLocal = "time_local",
    UpstreamAddr = "upstream_addr",
    UpstreamResponseTime = "upstream_response_time",
    UpstreamStatus = "upstream_status",
    Uri = "uri",
}

/// The variables that a configuration sets, found before any is used.
#[derive(Debug, Default, Clone)]
pub struct Names(HashMap<String, usize>);

impl Names {
    /// The place of a variable that the configuration sets.
    pub fn add(&mut self, name: &str) -> usize {
        let next = self.0.len();
        *self.0.entry(name.to_ascii_lowercase()).or_insert(next)
    }

    /// The place of a variable, if the configuration sets it.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.0.get(&name.to_ascii_lowercase()).copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What a name stands for; `None` if for nothing.
    pub fn find(&self, name: &str) -> Option<Variable> {
        let name = name.to_ascii_lowercase();
        if let Some(place) = self.0.get(&name) {
            return Some(Variable::User(*place));
        }
        if let Ok(number @ 0..=9) = name.parse() {
            return Some(Variable::Capture(number));
        }
        let header = |name: &str| name.replace('_', "-");
        let families = [
            ("arg_", Variable::Argument as fn(String) -> Variable),
            ("http_", Variable::Header),
            ("sent_http_", Variable::SentHeader),
            ("upstream_http_", Variable::UpstreamHeader),
            ("cookie_", Variable::Cookie),
        ];
        if let Some(known) = known(&name) {
            return Some(Variable::Known(known));
        }
        families.into_iter().find_map(|(prefix, family)| {
            let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            Some(family(if prefix.contains("http_") { header(rest) } else { rest.to_owned() }))
        })
    }
}

/// A text with variables in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<Part>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Itself.
    Text(String),
    /// The variable's value.
    Variable(Variable),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// A variable that nobody sets.
    Unknown(String),
    /// `$` without a name, or `${` without `}`.
    Malformed,
}

impl Template {
    /// A text without variables.
    pub fn fixed(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// Finds the variables in a text.
    pub fn parse(text: &str, names: &Names) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(Part::Text(rest[..dollar].to_owned()));
            }
            let after = &rest[dollar + 1..];
            let (name, behind) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or(TemplateError::Malformed)?,
                None if after.starts_with(|next: char| next.is_ascii_digit()) => after.split_at(1),
                None => {
                    let end = after.find(|next: char| !next.is_ascii_alphanumeric() && next != '_');
                    after.split_at(end.unwrap_or(after.len()))
                }
            };
            if name.is_empty() {
                return Err(TemplateError::Malformed);
            }
            let variable = names.find(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            parts.push(Part::Variable(variable));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Its pieces.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The text, if there are no variables in it.
    pub fn as_fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, Names, Part, Template, TemplateError, Variable};

    #[test]
    fn templates_find_their_variables() {
        let mut names = Names::default();
        let place = names.add("mine");
        let template = Template::parse("a${uri}b$mine-$http_x_y$1", &names).unwrap();
        let expected = [
            Part::Text("a".into()),
            Part::Variable(Variable::Known(Known::Uri)),
            Part::Text("b".into()),
            Part::Variable(Variable::User(place)),
            Part::Text("-".into()),
            Part::Variable(Variable::Header("x-y".into())),
            Part::Variable(Variable::Capture(1)),
        ];
        assert_eq!(template.parts(), expected);
        assert_eq!(Template::parse("$nobody", &names), Err(TemplateError::Unknown("nobody".into())));
        assert_eq!(Template::parse("5$", &names), Err(TemplateError::Malformed));
    }
}
