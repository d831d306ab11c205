//! https: guests have no TLS of their own, the host's `wasi:http` does it.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use url::Position;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};

use super::{Failure, Limits, Request, Response, find, hide_credentials, host_header};

mod bindings {
    wit_bindgen::generate!({ path: "../../wit/husk-http", world: "guest" });
}

/// No server has to show a certificate that somebody vouches for, from now on.
pub(crate) fn accept_any_certificate() {
    bindings::husk::http::trust::accept_any_certificate();
}

/// Only servers with certificates of these authorities (PEM) count from now on.
pub(crate) fn set_authorities(pem: &[u8]) -> Result<(), String> {
    bindings::husk::http::trust::set_authorities(pem)
}

pub(super) fn exchange(request: &Request, addresses: &[SocketAddr], limits: Limits) -> Result<Response, Failure> {
    let outgoing = outgoing(request)?;
    // A body that is asked for but empty would be sent in chunks.
    let body = match &request.body {
        Some(bytes) => Some((outgoing.body().map_err(|()| unsendable("body"))?, bytes)),
        None => None,
    };
    let answer = handle(outgoing, Some(options(limits)?)).map_err(|error| failure(error, request, addresses))?;
    // The host reports a failed connection by the answer, and then nobody takes the body.
    let sent = body.map_or(Ok(()), |(body, bytes)| send(body, bytes));
    let ready = answer.subscribe();
    let response = loop {
        match answer.get() {
            Some(result) => break result.map_err(|()| unsendable("request"))?,
            None => ready.block(),
        }
    };
    let response = response.map_err(|error| failure(error, request, addresses))?;
    sent?;
    receive(response)
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Failure> {
    let headers = Fields::new();
    let add = |name: &str, value: &str| {
        headers.append(name, value.as_bytes()).map_err(|_| Failure::Request(format!("bad header '{name}'")))
    };
    for (name, value) in &request.headers {
        add(name, value)?;
    }
    if let Some(body) = &request.body
        && !request.has_header("content-length")
    {
        add("Content-Length", &body.len().to_string())?;
    }
    let url = hide_credentials(&request.url);
    let outgoing = OutgoingRequest::new(headers);
    outgoing.set_method(&method(&request.method)).map_err(|()| unsendable("method"))?;
    outgoing.set_scheme(Some(&Scheme::Https)).map_err(|()| unsendable("scheme"))?;
    outgoing.set_authority(Some(host_header(&url))).map_err(|()| unsendable("host"))?;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    outgoing.set_path_with_query(Some(path)).map_err(|()| unsendable("path"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn options(limits: Limits) -> Result<RequestOptions, Failure> {
    let nanoseconds = |limit: Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    let (connect, read) = (limits.connect.map(nanoseconds), limits.read.map(nanoseconds));
    let options = RequestOptions::new();
    let unsupported = |()| unsendable("time limit");
    options.set_connect_timeout(connect).map_err(unsupported)?;
    options.set_first_byte_timeout(read).map_err(unsupported)?;
    options.set_between_bytes_timeout(read).map_err(unsupported)?;
    Ok(options)
}

fn send(body: OutgoingBody, bytes: &[u8]) -> Result<(), Failure> {
    let stream = body.write().map_err(|()| unsendable("body"))?;
    // 4096 is the most that one call takes, by the interface's definition.
    for chunk in bytes.chunks(4096) {
        stream.blocking_write_and_flush(chunk).map_err(|_| Failure::Answer(ErrorKind::BrokenPipe.into()))?;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|_| Failure::Answer(ErrorKind::BrokenPipe.into()))
}

fn unsendable(part: &str) -> Failure {
    Failure::Request(format!("the host does not take the {part}"))
}

fn receive(response: IncomingResponse) -> Result<Response, Failure> {
    let status = response.status();
    // The host does not hand on what the server has called its status.
    let phrase = ::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: Vec<_> =
        response.headers().entries().iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let body = response.consume().map_err(|()| unsendable("answer"))?;
    let stream = body.stream().map_err(|()| unsendable("answer"))?;
    Ok(Response {
        status,
        status_line: format!("HTTP/1.1 {status} {}", phrase.unwrap_or_default()).trim_end().to_owned(),
        length: find(&headers, "content-length").and_then(|length| length.parse().ok()),
        headers,
        body: Box::new(SecureBody { stream, _body: body, _response: response }),
    })
}

/// The fields are dropped in this order: children before parents.
struct SecureBody {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

impl Read for SecureBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.blocking_read(buffer.len() as u64) {
            Ok(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Err(StreamError::Closed) => Ok(0),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                let timeout = matches!(code, Some(ErrorCode::ConnectionReadTimeout));
                Err(if timeout { ErrorKind::TimedOut } else { ErrorKind::ConnectionReset }.into())
            }
        }
    }
}

fn failure(error: ErrorCode, request: &Request, addresses: &[SocketAddr]) -> Failure {
    let host = || request.url.host_str().unwrap_or_default().to_owned();
    let unreachable = |reason: &str, refused| match addresses.first() {
        Some(address) => Failure::Connect { address: *address, reason: reason.to_owned(), refused },
        None => Failure::BadAddress(host()),
    };
    match error {
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => Failure::BadAddress(host()),
        ErrorCode::ConnectionRefused => unreachable("Connection refused", true),
        ErrorCode::DestinationIpUnroutable | ErrorCode::DestinationUnavailable => {
            unreachable("Host is unreachable", true)
        }
        ErrorCode::DestinationIpProhibited => unreachable("Permission denied", false),
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            Failure::TimedOut
        }
        ErrorCode::TlsCertificateError => Failure::Certificate(host()),
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => Failure::Tls,
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            Failure::Answer(ErrorKind::UnexpectedEof.into())
        }
        other => Failure::Answer(io::Error::other(other.to_string())),
    }
}
