//! URLs as people type them, and what of them goes into a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::{Position, Url};

/// A URL of the web; a missing scheme is `http`. The error is for the user.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let bad = |_| format!("bad url '{text}'");
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    let url = url.map_err(bad)?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!("not an http or https url: {text}")),
    }
}

/// The `Host` header: a port of its own is part of it.
pub(crate) fn host_header(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// The `Authorization` header for a URL with a user in it.
pub(crate) fn authorization(url: &Url) -> Option<String> {
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    Some(basic(&format!("{}:{}", decoded(user), decoded(password))))
}

/// Basic authentication by `user:password`.
pub(crate) fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// The URL without user and password, as it may be shown and sent.
pub(crate) fn hide_credentials(url: &Url) -> Url {
    let mut shown = url.clone();
    let _has_a_host = shown.set_username("").and_then(|()| shown.set_password(None));
    shown
}

/// Whether another server would get what was meant for this one.
pub(super) fn leads_elsewhere(from: &Url, to: &Url) -> bool {
    from.origin() != to.origin()
}

/// What the resource of a URL is called as a file.
pub(crate) fn file_name(url: &Url) -> String {
    let last = url.path().rsplit('/').next().filter(|name| !name.is_empty() && *name != "." && *name != "..");
    last.unwrap_or("index.html").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_people_type_them() {
        for (text, expected) in [
            ("localhost", "http://localhost/"),
            ("localhost:8080/x?y#z", "http://localhost:8080/x?y#z"),
            ("10.96.0.1:443", "http://10.96.0.1:443/"),
            ("https://[::1]:8443/a b", "https://[::1]:8443/a%20b"),
            ("HTTP://Example.com:80", "http://example.com/"),
        ] {
            assert_eq!(parse(text).unwrap().as_str(), expected, "{text}");
        }
        assert_eq!(parse("ftp://x/").unwrap_err(), "not an http or https url: ftp://x/");
        assert_eq!(parse("http://").unwrap_err(), "bad url 'http://'");
        assert_eq!(parse("http://a b/").unwrap_err(), "bad url 'http://a b/'");
    }

    #[test]
    fn the_host_header_has_a_port_that_is_not_the_schemes_own() {
        for (url, expected) in [("http://a:80/", "a"), ("http://u:p@a:81/x", "a:81"), ("https://[::1]:443/", "[::1]")] {
            assert_eq!(host_header(&parse(url).unwrap()), expected);
        }
    }

    #[test]
    fn a_user_in_the_url_becomes_basic_authentication() {
        let of = |url: &str| authorization(&parse(url).unwrap());
        assert_eq!(of("http://a/"), None);
        assert_eq!(of("http://user:passwd@a/").as_deref(), Some("Basic dXNlcjpwYXNzd2Q="));
        assert_eq!(of("http://u:a%40b+c%26d%3De@a/"), Some(basic("u:a@b+c&d=e")));
        assert_eq!(hide_credentials(&parse("http://u:p@a/x").unwrap()).as_str(), "http://a/x");
    }

    #[test]
    fn a_file_is_called_as_the_last_part_of_the_path() {
        for (url, expected) in [
            ("http://a", "index.html"),
            ("http://a/b/", "index.html"),
            ("http://a/b/c.tar?d=/e", "c.tar"),
            ("http://a/b/..", "index.html"),
            ("http://a/%2e%2e", "index.html"),
        ] {
            assert_eq!(file_name(&parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_server() {
        let elsewhere = |to: &str| leads_elsewhere(&parse("http://a/x").unwrap(), &parse(to).unwrap());
        assert!(!elsewhere("http://a:80/y"));
        assert!(elsewhere("http://a:81/x") && elsewhere("https://a/x") && elsewhere("http://b/x"));
    }
}
