//! What a request is about: its path taken apart (kube-apiserver's `RequestInfo`), its verb, and its query.
//!
//! ```text
//!   /api/v1/namespaces/NS/pods/NAME/log        /apis/GROUP/VERSION/namespaces/NS/PLURAL/NAME/SUB
//!   /api/v1/nodes/NAME/status                  /apis/GROUP/VERSION/PLURAL
//!   /api/v1/watch/namespaces/NS/pods/NAME      (of old, for PLURAL?watch=1)
//! ```
//!
//! A segment is decoded once, and one that could be taken for a path is refused, so that what follows handles plain names.

use http::Method;
use http::request::Parts;
use url::form_urlencoded;

use super::status::ApiError;
use crate::api::resources::{self, RESOURCES, ResourceType, Subresource};

/// The most bytes of a path.
const MAX_PATH: usize = 8 * 1024;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A resource, an object, or what is below one.
    Resource(RequestInfo),
    /// Anything else: the decoded segments of the path.
    Other(Vec<String>),
}

/// A request for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// The resource.
    pub resource: &'static ResourceType,
    /// The namespace that the path names.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: Option<String>,
    /// What is below the object.
    pub subresource: Option<&'static Subresource>,
    /// What follows a `proxy` in the path, as it was sent: empty, or beginning with a slash.
    pub rest: String,
    /// The verb, as discovery documents call it.
    pub verb: &'static str,
}

impl RequestInfo {
    /// The namespace, empty where there is none.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The object's name, empty where there is none.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Whether answers to it go on for as long as the client wants.
    pub fn is_long_running(&self) -> bool {
        let streams = ["attach", "exec", "log", "portforward", "proxy"];
        self.verb == "watch" || self.subresource.is_some_and(|subresource| streams.contains(&subresource.name))
    }
}

impl Target {
    /// Takes a request apart.
    ///
    /// # Errors
    /// What is wrong with its path, or that the resource has no such verb.
    pub(super) fn of(request: &Parts, query: &Query) -> Result<Self, ApiError> {
        let path = request.uri.path();
        if path.len() > MAX_PATH {
            return Err(ApiError::bad_request("the path of the request is too long"));
        }
        let raw: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let (group, version, at) = match raw[..] {
            ["api", version, _, ..] if !version.is_empty() => ("", version, 2),
            ["apis", group, version, _, ..] if !version.is_empty() => (group, version, 3),
            _ => return decode_all(&raw).map(Self::Other),
        };
        if raw[at..] == [""] {
            return decode_all(&raw).map(Self::Other);
        }
        if !RESOURCES.iter().any(|resource| (resource.group, resource.version) == (group, version)) {
            return Err(ApiError::no_such_path());
        }
        Self::of_resource((group, version), &raw[at..], request, query)
    }

    fn of_resource(
        (group, version): (&str, &str),
        raw: &[&str],
        request: &Parts,
        query: &Query,
    ) -> Result<Self, ApiError> {
        // The form of old: what is watched is told by the path.
        let (watches, raw) = match raw {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            raw => (false, raw),
        };
        // A namespace is both an object and what others are in.
        let (namespace, raw) = match raw {
            ["namespaces", name, after, ..] if !is_below_namespace(after) => (Some(decode(name)?), &raw[2..]),
            _ => (None, raw),
        };
        let plural = raw.first().copied().unwrap_or_default();
        let resource = resources::find_version(group, version, plural).ok_or_else(ApiError::no_such_path)?;
        if namespace.is_some() && !resource.namespaced {
            return Err(ApiError::no_such_path());
        }
        let name = raw.get(1).filter(|name| !name.is_empty()).map(|name| decode(name)).transpose()?;
        let subresource = match raw.get(2) {
            None | Some(&"") => None,
            Some(name) => Some(resource.subresource(name).ok_or_else(ApiError::no_such_path)?),
        };
        let rest = match raw.get(3..) {
            None | Some([]) => String::new(),
            Some(rest) if subresource.is_some_and(|subresource| subresource.name == "proxy") => {
                format!("/{}", rest.join("/"))
            }
            Some([""]) => String::new(),
            Some(_) => return Err(ApiError::no_such_path()),
        };
        if name.is_some() && resource.namespaced && namespace.is_none() {
            return Err(ApiError::no_such_path());
        }
        let verb = match watches {
            false => verb(&request.method, name.is_some(), query),
            // Nothing but objects can be watched.
            true if subresource.is_some() => return Err(ApiError::no_such_path()),
            true => (request.method == Method::GET).then_some("watch"),
        };
        let verb = verb.ok_or_else(|| ApiError::method_not_allowed(resource))?;
        let verbs = subresource.map_or_else(|| resource.verbs(), |subresource| subresource.verbs);
        // Only reading goes across namespaces.
        let across = resource.namespaced && namespace.is_none() && !["list", "watch"].contains(&verb);
        if across || !verbs.contains(&verb) {
            return Err(ApiError::method_not_allowed(resource));
        }
        Ok(Self::Resource(RequestInfo { resource, namespace, name, subresource, rest, verb }))
    }
}

/// Whether what follows a namespace's name belongs to the namespace itself.
fn is_below_namespace(segment: &str) -> bool {
    segment.is_empty() || ["status", "finalize"].contains(&segment)
}

fn verb(method: &Method, named: bool, query: &Query) -> Option<&'static str> {
    Some(match *method {
        Method::GET | Method::HEAD if named => "get",
        Method::GET | Method::HEAD if query.flag("watch") => "watch",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT if named => "update",
        Method::PATCH if named => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => return None,
    })
}

fn decode_all(raw: &[&str]) -> Result<Vec<String>, ApiError> {
    let raw = match raw {
        [rest @ .., ""] => rest,
        raw => raw,
    };
    raw.iter().map(|segment| decode(segment)).collect()
}

/// One segment, decoded. Those that could lead elsewhere are refused (`path.ValidatePathSegmentName`).
fn decode(segment: &str) -> Result<String, ApiError> {
    let refused = || ApiError::bad_request(format!("the path of the request has a bad segment: {segment:?}"));
    let text = percent_decode(segment).ok_or_else(refused)?;
    let good = !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '%', '\0', '\\']);
    if good { Ok(text) } else { Err(refused()) }
}

/// Decodes `%XX`; `None` if something else follows a `%`, or what comes out is not UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            decoded.push(u8::try_from(value).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

/// The query of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query; one that begins with `&`, as some clients send it, is as good as any.
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, unless it is empty.
    pub fn filled(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A parameter that is true or false: true if it is there and says nothing else
    /// (apimachinery `Convert_Slice_string_To_bool`).
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// A parameter that is a whole number.
    ///
    /// # Errors
    /// That it is something else.
    pub fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.filled(key) else { return Ok(None) };
        let wrong = |_| ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: &str, uri: &str) -> Result<Target, ApiError> {
        let (parts, ()) = http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        Target::of(&parts, &query)
    }

    /// `VERB RESOURCE NAMESPACE/NAME/SUBRESOURCE REST` of a request.
    fn info(method: &str, uri: &str) -> String {
        match target(method, uri) {
            Ok(Target::Resource(info)) => {
                let subresource = info.subresource.map_or("", |subresource| subresource.name);
                let (namespace, name) = (info.namespace(), info.name());
                format!(
                    "{} {} {namespace}/{name}/{subresource} {}",
                    info.verb,
                    info.resource.group_resource(),
                    info.rest
                )
            }
            Ok(Target::Other(segments)) => format!("other {}", segments.join(" ")),
            Err(error) => error.code.as_u16().to_string(),
        }
    }

    #[test]
    fn paths_name_resources_objects_and_what_is_below() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/pods", "list pods // "),
            ("GET", "/api/v1/pods/", "list pods // "),
            ("GET", "/api/v1/pods?watch=1", "watch pods // "),
            ("GET", "/api/v1/pods?&watch=true", "watch pods // "),
            ("GET", "/api/v1/pods?watch=false", "list pods // "),
            ("GET", "/api/v1/namespaces/n/pods?watch", "watch pods n// "),
            ("GET", "/api/v1/watch/pods", "watch pods // "),
            ("GET", "/api/v1/watch/namespaces/n/pods", "watch pods n// "),
            ("GET", "/api/v1/watch/namespaces/n/pods/p", "watch pods n/p/ "),
            ("GET", "/api/v1/watch/namespaces/n", "watch namespaces /n/ "),
            ("GET", "/apis/coordination.k8s.io/v1/watch/leases", "watch leases.coordination.k8s.io // "),
            (
                "POST",
                "/apis/authentication.k8s.io/v1beta1/selfsubjectreviews",
                "create selfsubjectreviews.authentication.k8s.io // ",
            ),
            ("HEAD", "/api/v1/namespaces/n/pods/p", "get pods n/p/ "),
            ("GET", "/api/v1/namespaces/n/pods/p/log", "get pods n/p/log "),
            ("PUT", "/api/v1/namespaces/n", "update namespaces /n/ "),
            ("PUT", "/api/v1/namespaces/n/finalize", "update namespaces /n/finalize "),
            ("PATCH", "/api/v1/namespaces/n/status", "patch namespaces /n/status "),
            ("GET", "/api/v1/namespaces", "list namespaces // "),
            ("DELETE", "/api/v1/nodes/n", "delete nodes /n/ "),
            ("DELETE", "/api/v1/nodes", "deletecollection nodes // "),
            ("POST", "/apis/coordination.k8s.io/v1/namespaces/n/leases", "create leases.coordination.k8s.io n// "),
            ("GET", "/api/v1/namespaces/n/services/s:http/proxy/a%20b//c?x", "get services n/s:http/proxy /a%20b//c"),
            ("GET", "/api/v1/namespaces/n/services/s/proxy/", "get services n/s/proxy /"),
            ("GET", "/api/v1/namespaces/n/pods/p%2d1", "get pods n/p-1/ "),
            ("POST", "/api/v1/namespaces/n/pods/p/eviction", "create pods n/p/eviction "),
            ("GET", "/version/", "other version"),
            ("GET", "/api/v1/", "other api v1"),
            ("GET", "/apis/events.k8s.io/v1", "other apis events.k8s.io v1"),
            ("GET", "/", "other "),
        ] {
            assert_eq!(info(method, uri), expected, "{method} {uri}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/unicorns", "404"),
            ("GET", "/api/v2/pods", "404"),
            ("GET", "/api/v1/watch", "404"),
            ("GET", "/api/v1/watch/namespaces/n/pods/p/log", "404"),
            ("POST", "/api/v1/watch/pods", "405"),
            ("POST", "/apis/authentication.k8s.io/v1beta1/tokenreviews", "404"),
            ("GET", "/apis/apps/v1/deployments", "404"),
            ("GET", "/api/v1/pods/p", "404"),
            ("GET", "/api/v1/namespaces/n/nodes", "404"),
            ("GET", "/api/v1/namespaces/n/pods/p/nothing", "404"),
            ("GET", "/api/v1/namespaces/n/pods/p/log/more", "404"),
            ("GET", "/api/v1/namespaces/n/pods/%2e%2e", "400"),
            ("GET", "/api/v1/namespaces/n/pods/..", "400"),
            ("GET", "/api/v1/namespaces/n/pods/a%2fb", "400"),
            ("GET", "/api/v1/namespaces/n/pods/a%00b", "400"),
            ("GET", "/api/v1/namespaces/n/pods/a%ffb", "400"),
            ("GET", "/api/v1/namespaces/n/pods/a%zz", "400"),
            ("GET", "/api/v1/namespaces/n/pods/a%2", "400"),
            ("POST", "/api/v1/pods", "405"),
            ("DELETE", "/api/v1/pods", "405"),
            ("PUT", "/api/v1/namespaces/n/pods", "405"),
            ("PUT", "/api/v1/namespaces/n/pods/p/log", "405"),
            ("OPTIONS", "/api/v1/pods", "405"),
            ("GET", "/apis/authentication.k8s.io/v1/tokenreviews", "405"),
            ("DELETE", "/apis/metrics.k8s.io/v1beta1/nodes/n", "405"),
        ] {
            assert_eq!(info(method, uri), expected, "{method} {uri}");
        }
        assert_eq!(info("GET", &format!("/{}", "a".repeat(MAX_PATH))), "400");
    }

    #[test]
    fn queries_are_read_as_kubernetes_reads_them() {
        let query = Query::parse("&watch=&labelSelector=a%3Db+c&limit=5&x=no");
        assert!(query.flag("watch") && query.flag("x") && !query.flag("missing"));
        assert_eq!(query.get("labelSelector"), Some("a=b c"));
        assert_eq!(query.number("limit").unwrap(), Some(5));
        assert!(query.number("x").is_err());
    }
}
