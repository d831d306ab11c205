//! TLS to containers: encrypted, not verified. There is nothing to verify a pod's certificate against (kubelet v1.36
//! `probe/http`: `InsecureSkipVerify`).

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::base::tls::trust_anyone;

/// Makes `stream` a TLS connection to `host`, which is named to the server unless it is an address.
pub(super) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(host: &str, stream: S) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(trust_anyone().map_err(io::Error::other)?).connect(name, stream).await
}

/// Whether the server's answer was no TLS at all.
pub(super) fn is_no_tls(error: &io::Error) -> bool {
    matches!(rustls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// What a failed handshake is called by Go's `crypto/tls`, where it is about TLS at all.
pub(super) fn describe(error: &io::Error) -> Option<String> {
    match rustls_error(error)? {
        rustls::Error::InvalidMessage(_) => Some("tls: first record does not look like a TLS handshake".to_owned()),
        rustls::Error::AlertReceived(alert) => Some(format!("remote error: tls: {}", words(&format!("{alert:?}")))),
        other => Some(format!("tls: {other}")),
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// `HandshakeFailure` as `handshake failure`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
