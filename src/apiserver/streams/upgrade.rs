//! From an HTTP/1.1 request that asks for another protocol to the answer that grants it: which protocols a client offers,
//! which of them is taken, and what it is told if none is.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The subprotocols of SPDY streams that a client offers, and the one it gets.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// Those it could have had.
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// What `Upgrade` says of SPDY.
const SPDY: &str = "SPDY/3.1";
/// The version of WebSockets, the only one there is.
const WEBSOCKET_VERSION: &str = "13";
/// Protocols that are looked at of those a client offers.
const MAX_OFFERED: usize = 32;

/// What a client offers to speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// WebSockets, with one of these subprotocols or, where the list is empty, with none.
    WebSocket {
        /// What the answer is derived from.
        key: String,
        protocols: Vec<String>,
    },
    /// SPDY/3.1, likewise.
    Spdy { protocols: Vec<String> },
}

/// What is spoken from now on, and the answer that says so.
#[derive(Debug, PartialEq)]
pub(super) struct Agreement {
    pub(super) transport: Transport,
    /// The subprotocol; empty if the client offered none.
    pub(super) protocol: &'static str,
    pub(super) headers: HeaderMap,
}

/// What carries the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    Spdy,
}

/// Why there is no agreement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The request is an ordinary one.
    #[error("Upgrade request required")]
    NoUpgrade,
    /// Its WebSocket handshake is wrong.
    #[error("unable to upgrade: {0}")]
    Handshake(&'static str),
    /// Nothing it offers is known.
    #[error(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        offered.join(" "),
        accepted.join(" ")
    )]
    Protocol {
        /// What the client offered.
        offered: Vec<String>,
        /// What it could have.
        accepted: Vec<&'static str>,
    },
}

impl Refusal {
    /// As Kubernetes has it (apimachinery `httpstream.Handshake`, `wsstream`).
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoUpgrade | Self::Handshake(_) => StatusCode::BAD_REQUEST,
            Self::Protocol { .. } => StatusCode::FORBIDDEN,
        }
    }

    /// What a client may learn from beside the text.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Self::Protocol { accepted, .. } = self {
            for protocol in accepted.iter().filter(|protocol| !protocol.is_empty()) {
                headers.append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol));
            }
        }
        headers
    }
}

impl Offer {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// It offers nothing, or something that is no handshake.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        if !list(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return Err(Refusal::NoUpgrade);
        }
        let upgrades = |wanted: &str| list(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case(wanted));
        let offered = |name| list(headers, name).take(MAX_OFFERED).map(str::to_owned).collect();
        if upgrades("websocket") {
            let version = headers.get(SEC_WEBSOCKET_VERSION).and_then(|version| version.to_str().ok());
            if version != Some(WEBSOCKET_VERSION) {
                return Err(Refusal::Handshake("the version of WebSockets is not 13"));
            }
            let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
            let key = key.filter(|key| !key.is_empty()).ok_or(Refusal::Handshake("Sec-WebSocket-Key is missing"))?;
            return Ok(Self::WebSocket { key: key.to_owned(), protocols: offered(&SEC_WEBSOCKET_PROTOCOL) });
        }
        if upgrades(SPDY) {
            return Ok(Self::Spdy { protocols: offered(&STREAM_PROTOCOL) });
        }
        Err(Refusal::NoUpgrade)
    }

    /// Takes the first subprotocol of the client's that is in the list for its transport. An empty one there means that
    /// none is needed.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn agree(self, websocket: &[&'static str], spdy: &[&'static str]) -> Result<Agreement, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        match self {
            Self::WebSocket { key, protocols } => {
                let protocol = choose(protocols, websocket)?;
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
                let accept = accept.map_err(|_not_a_value| Refusal::Handshake("Sec-WebSocket-Key is no key"))?;
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
                if !protocol.is_empty() {
                    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
                }
                Ok(Agreement { transport: Transport::WebSocket, protocol, headers })
            }
            Self::Spdy { protocols } => {
                let protocol = choose(protocols, spdy)?;
                headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
                if !protocol.is_empty() {
                    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
                }
                Ok(Agreement { transport: Transport::Spdy, protocol, headers })
            }
        }
    }
}

/// The first that is offered and known.
fn choose(offered: Vec<String>, accepted: &[&'static str]) -> Result<&'static str, Refusal> {
    let known = |name: &str| accepted.iter().find(|accepted| **accepted == name).copied();
    let found = if offered.is_empty() { known("") } else { offered.iter().find_map(|name| known(name)) };
    found.ok_or_else(|| Refusal::Protocol { offered, accepted: accepted.to_vec() })
}

/// The elements of a header that is a list, over all its lines.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }

    fn websocket(protocols: &'static str) -> HeaderMap {
        headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocols),
        ])
    }

    #[test]
    fn the_clients_first_choice_that_is_known_is_taken() {
        let known = ["v5.channel.k8s.io", "v4.channel.k8s.io", ""];
        for (offered, expected) in [
            ("v5.channel.k8s.io,v4.channel.k8s.io", Some("v5.channel.k8s.io")),
            ("v9.channel.k8s.io, v4.channel.k8s.io, v5.channel.k8s.io", Some("v4.channel.k8s.io")),
            ("", Some("")),
            ("chat", None),
        ] {
            let agreed = Offer::of(&websocket(offered)).unwrap().agree(&known, &[]);
            assert_eq!(agreed.ok().map(|agreement| agreement.protocol), expected, "{offered}");
        }
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn a_websocket_is_granted_as_the_standard_has_it() {
        let agreed = Offer::of(&websocket("v4.channel.k8s.io")).unwrap().agree(&["v4.channel.k8s.io"], &[]).unwrap();
        let expected = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
        ]);
        assert_eq!((agreed.transport, agreed.headers), (Transport::WebSocket, expected));
    }

    #[test]
    fn spdy_clients_name_their_protocols_in_a_header_of_their_own() {
        let request = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ]);
        let offer = Offer::of(&request).unwrap();
        let agreed = offer.clone().agree(&[], &["v3.channel.k8s.io", "v4.channel.k8s.io"]).unwrap();
        assert_eq!((agreed.transport, agreed.protocol), (Transport::Spdy, "v4.channel.k8s.io"));
        assert_eq!(agreed.headers[STREAM_PROTOCOL], "v4.channel.k8s.io");
        let refused = offer.agree(&[], &["portforward.k8s.io"]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "unable to upgrade: unable to negotiate protocol: client supports [v4.channel.k8s.io v3.channel.k8s.io], \
             server accepts [portforward.k8s.io]"
        );
        assert_eq!(
            (refused.status(), refused.headers()[ACCEPTED_PROTOCOLS].as_bytes()),
            (StatusCode::FORBIDDEN, &b"portforward.k8s.io"[..])
        );
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let no_key = {
            let mut request = websocket("");
            request.remove(SEC_WEBSOCKET_KEY);
            request
        };
        let old = {
            let mut request = websocket("");
            request.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
            request
        };
        for (request, expected) in [
            (HeaderMap::new(), "Upgrade request required"),
            (headers(&[("upgrade", "websocket")]), "Upgrade request required"),
            (headers(&[("connection", "upgrade"), ("upgrade", "h2c")]), "Upgrade request required"),
            (no_key, "unable to upgrade: Sec-WebSocket-Key is missing"),
            (old, "unable to upgrade: the version of WebSockets is not 13"),
        ] {
            let refused = Offer::of(&request).unwrap_err();
            assert_eq!((refused.to_string().as_str(), refused.status()), (expected, StatusCode::BAD_REQUEST));
        }
    }
}
