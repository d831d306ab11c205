//! `Location` headers of proxied answers: what a pod calls `/x` is below the proxy's own path for the client
//! (apiserver `proxy.Transport.rewriteURL`).

use http::HeaderValue;
use url::Url;

/// The header as the client needs it. `prefix` is the proxy's path without what is passed on, `own` the hosts that the
/// pod goes by, with their port: its address, and what the client has asked for.
pub(super) fn rewrite(location: &HeaderValue, prefix: &str, own: &[&str]) -> Option<HeaderValue> {
    let text = location.to_str().ok()?;
    let path = match (text.strip_prefix('/'), Url::parse(text)) {
        // `//host/path` names another host.
        (Some(rest), _) if !rest.starts_with('/') => text.to_owned(),
        (None, Ok(url)) => {
            let host = url.host_str()?;
            let named = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            if !own.contains(&named.as_str()) {
                return None;
            }
            text.get(text.find(&named)? + named.len()..)?.to_owned()
        }
        _ => return None,
    };
    if path.starts_with(prefix) {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    HeaderValue::from_str(&format!("{prefix}{slash}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_the_pod_leads_through_the_proxy() {
        let prefix = "/api/v1/namespaces/n/pods/p/proxy";
        for (location, expected) in [
            ("/login?next=%2F", Some("/api/v1/namespaces/n/pods/p/proxy/login?next=%2F")),
            ("/dir/", Some("/api/v1/namespaces/n/pods/p/proxy/dir/")),
            ("http://10.88.0.2:8080/a#b", Some("/api/v1/namespaces/n/pods/p/proxy/a#b")),
            ("http://localhost:8001", Some("/api/v1/namespaces/n/pods/p/proxy/")),
            ("http://10.88.0.2/other-port", None),
            ("https://example.com/", None),
            ("//example.com/", None),
            ("relative", None),
            ("", None),
            ("/api/v1/namespaces/n/pods/p/proxy/x", None),
        ] {
            let header = HeaderValue::from_static(location);
            let rewritten = rewrite(&header, prefix, &["10.88.0.2:8080", "localhost:8001"]);
            assert_eq!(rewritten.as_ref().map(|value| value.to_str().unwrap()), expected, "{location}");
        }
    }
}
