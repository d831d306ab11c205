//! What a registry asks for when it refuses a request, and tokens from the servers it sends to (distribution
//! specification, "Token Authentication"; Docker's OAuth 2 variant for refresh tokens).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, GetAll, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::client::{Access, Ask, Body};
use super::config::Endpoint;
use super::credentials::Credentials;
use super::error::{RegistryError, Said};
use super::transport::{self, Transport};

/// Largest answer of a token server.
const MAX_TOKEN: u64 = 1024 * 1024;
/// What token servers know husk by.
const CLIENT_ID: &str = "husk";

/// How a registry wants to be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a token from the server at `realm`.
    Bearer { realm: String, service: String },
    /// With a name and password.
    Basic,
}

impl Challenge {
    /// The best of the challenges of an answer that is understood.
    pub(super) fn find(headers: GetAll<'_, HeaderValue>) -> Option<Self> {
        let mut found = None;
        for header in headers.iter().filter_map(|header| header.to_str().ok()) {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let parameters = parameters(rest);
                let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                if let Some(realm) = get("realm") {
                    return Some(Self::Bearer { realm, service: get("service").unwrap_or_default() });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Self::Basic);
            }
        }
        found
    }
}

/// `key="value"` pairs, separated by commas; values may have commas and escaped quotes within quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, after) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        found.push((key, value));
        rest = after;
    }
    found
}

/// The content of a quoted string whose first quote is gone, and what follows its last one.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// `Authorization: Bearer …`.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(format!("Bearer {token}"))
}

/// `Authorization: Basic …`.
pub(super) fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    sensitive(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A token that is wanted.
pub(super) struct TokenRequest<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) access: Access,
    pub(super) realm: &'a str,
    pub(super) service: &'a str,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl TokenRequest<'_> {
    /// Asks for it; what the token server said, if it refuses the credentials.
    pub(super) async fn fetch(
        &self,
        transport: &Transport,
        credentials: Option<&Credentials>,
    ) -> Result<Result<String, Said>, RegistryError> {
        let url = self.url()?;
        let ask = match credentials {
            Some(Credentials::Identity(token)) => self.refresh(url, token),
            Some(Credentials::Basic { username, password }) => self.get(url, basic(username, password), Some(username)),
            Some(Credentials::Registry(_)) | None => self.get(url, None, None),
        };
        let registry = &self.endpoint.registry;
        let response = transport.once(&ask, None).await.map_err(|cause| cause.at(registry))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => {
                let secrets: Vec<_> = credentials.iter().map(|credentials| credentials.secret()).collect();
                let body = transport::read_bounded(response, MAX_TOKEN).await.unwrap_or_default();
                return Ok(Err(Said::of(&body, &secrets)));
            }
            status => {
                let cause = format!("its token server answered {status}");
                return Err(RegistryError::Unavailable { registry: registry.clone(), cause });
            }
        }
        let body = transport::read_bounded(response, MAX_TOKEN).await.map_err(|cause| cause.at(registry))?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| self.unexpected("its token server's answer is no JSON"))?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if token.is_empty() { Err(self.unexpected("its token server gave no token")) } else { Ok(Ok(token)) }
    }

    /// Where tokens come from. Credentials that go to a registry over TLS go to no token server without.
    fn url(&self) -> Result<Url, RegistryError> {
        let url = Url::parse(self.realm).map_err(|_| self.unexpected("its token server has no valid address"))?;
        let plain_is_fine = self.endpoint.insecure || self.endpoint.is_loopback();
        match url.scheme() {
            "https" => Ok(url),
            "http" if plain_is_fine => Ok(url),
            _ => Err(self.unexpected("its token server is not reached over TLS")),
        }
    }

    fn scope(&self) -> String {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.endpoint.repository)
    }

    fn get(&self, mut url: Url, authorization: Option<HeaderValue>, account: Option<&str>) -> Ask {
        {
            let mut query = url.query_pairs_mut();
            if !self.service.is_empty() {
                query.append_pair("service", self.service);
            }
            query.append_pair("scope", &self.scope());
            if let Some(account) = account {
                query.append_pair("account", account).append_pair("client_id", CLIENT_ID);
            }
        }
        let headers = authorization.map(|value| (AUTHORIZATION, value)).into_iter().collect();
        Ask { method: Method::GET, url, headers, body: Body::Empty, access: self.access, what: "token".to_owned() }
    }

    fn refresh(&self, url: Url, token: &str) -> Ask {
        let scope = self.scope();
        let form = [
            ("grant_type", "refresh_token"),
            ("service", self.service),
            ("client_id", CLIENT_ID),
            ("scope", &scope),
            ("refresh_token", token),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        let body = Body::Bytes(form.into());
        Ask { method: Method::POST, url, headers, body, access: self.access, what: "token".to_owned() }
    }

    fn unexpected(&self, detail: &str) -> RegistryError {
        RegistryError::Unexpected { registry: self.endpoint.registry.clone(), detail: detail.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(headers: &[&str]) -> Option<Challenge> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append("www-authenticate", header.parse().unwrap());
        }
        Challenge::find(map.get_all("www-authenticate"))
    }

    #[test]
    fn challenges_are_read_in_all_their_forms() {
        let bearer =
            |realm: &str, service: &str| Some(Challenge::Bearer { realm: realm.into(), service: service.into() });
        let cases: &[(&[&str], Option<Challenge>)] = &[
            (
                &[r#"Bearer realm="https://a.b/t",service="a.b",scope="repository:x:pull,push""#],
                bearer("https://a.b/t", "a.b"),
            ),
            (&[r#"bearer scope="x,y=z", realm="https://a.b/\"t""#], bearer("https://a.b/\"t", "")),
            (&["Basic realm=x", r#"Bearer realm=https://a.b/t"#], bearer("https://a.b/t", "")),
            (&[r#"Basic realm="a, b""#], Some(Challenge::Basic)),
            (&["Bearer"], None),
            (&["Negotiate"], None),
            (&[r#"Bearer realm="unfinished"#], bearer("unfinished", "")),
            (&[], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(challenge(headers), *expected, "{headers:?}");
        }
    }

    #[test]
    fn tokens_are_not_asked_for_without_tls_unless_that_is_fine() {
        let url = |location: &str, insecure: bool, realm: &str| {
            let endpoint = Endpoint { insecure, ..Endpoint::of(location) };
            TokenRequest { endpoint: &endpoint, access: Access::Pull, realm, service: "" }.url().is_ok()
        };
        assert!(url("a.example/x", false, "https://t.example/"));
        assert!(!url("a.example/x", false, "http://t.example/"));
        assert!(url("a.example/x", true, "http://t.example/"));
        assert!(url("localhost:5000/x", false, "http://localhost:5001/"));
        assert!(!url("a.example/x", true, "file:///etc/passwd"));
    }
}
