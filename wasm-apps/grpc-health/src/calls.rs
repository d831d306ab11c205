//! gRPC over one HTTP/2 connection: takes calls apart, and answers them with a message or a status.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use nettool::tasks::Stream;

use crate::health::{Health, decode_request, encode_response};
use crate::transport::Transport;

/// The compression flag and the length before each message.
const MESSAGE_HEAD: usize = 5;

/// Bytes of a request, which holds no more than a service's name.
const MAX_REQUEST: usize = 16 * 1024;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A status other than OK: its number in gRPC's list, and what to say.
type Failure = (u16, &'static str);

const INVALID_ARGUMENT: u16 = 3;
const NOT_FOUND: u16 = 5;
const UNIMPLEMENTED: u16 = 12;

/// Serves a connection until the client closes it.
pub(crate) async fn serve(stream: Stream, health: Rc<Health>) {
    match serve_calls(stream, &health).await {
        Err(error) if !error.is_io() => eprintln!("connection: {error}"),
        // Clients may go away at any time; one that only tests the port does so at once.
        Ok(()) | Err(_) => {}
    }
}

async fn serve_calls(stream: Stream, health: &Health) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(Transport(stream)).await?;
    let mut calls: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    poll_fn(|context| {
        // Taking calls is also what moves the connection's bytes; answering wakes it to send them.
        while let Poll::Ready(accepted) = connection.poll_accept(context) {
            match accepted.transpose()? {
                Some((request, respond)) => calls.push(Box::pin(answer(request, respond, health))),
                None => return Poll::Ready(Ok(())),
            }
        }
        calls.retain_mut(|call| call.as_mut().poll(context).is_pending());
        Poll::Pending
    })
    .await
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, health: &Health) {
    let result = match call(request, health).await {
        Ok(message) => send_message(&mut respond, message),
        Err(Refusal::Grpc(failure)) => send_failure(&mut respond, failure),
        Err(Refusal::Http(status)) => send_head(&mut respond, status, HeaderMap::new(), true).map(|_| ()),
        Err(Refusal::Broken) => {
            respond.send_reset(Reason::CANCEL);
            Ok(())
        }
    };
    if let Err(error) = result {
        eprintln!("call: {error}");
    }
}

/// Why a call has no answer.
enum Refusal {
    /// It is no gRPC call.
    Http(StatusCode),
    Grpc(Failure),
    /// The client broke off.
    Broken,
}

/// Carries out a call and gives the message to answer with.
async fn call(request: Request<RecvStream>, health: &Health) -> Result<Bytes, Refusal> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| value.as_bytes().starts_with(GRPC.as_bytes())) {
        return Err(Refusal::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    match request.uri().path() {
        "/grpc.health.v1.Health/Check" => {}
        "/grpc.health.v1.Health/Watch" => {
            return Err(Refusal::Grpc((UNIMPLEMENTED, "husk's server answers Check only")));
        }
        _ => return Err(Refusal::Grpc((UNIMPLEMENTED, "unknown service or method"))),
    }
    let body = receive(request.into_body()).await?;
    let malformed = Refusal::Grpc((INVALID_ARGUMENT, "not a HealthCheckRequest"));
    let Some(service) = unframe(&body)?.and_then(decode_request) else { return Err(malformed) };
    let Some(status) = health.check(&service) else {
        println!("Check {service:?}: NOT_FOUND");
        return Err(Refusal::Grpc((NOT_FOUND, "unknown service")));
    };
    println!("Check {service:?}: {status}");
    Ok(frame(&encode_response(status)))
}

async fn receive(mut body: RecvStream) -> Result<Vec<u8>, Refusal> {
    let mut received = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes.map_err(|_| Refusal::Broken)?;
        // What was read makes room for more; a stream that is gone needs none.
        let _ = body.flow_control().release_capacity(bytes.len());
        received.extend_from_slice(&bytes);
        if received.len() > MAX_REQUEST {
            return Err(Refusal::Grpc((INVALID_ARGUMENT, "the request is too long")));
        }
    }
    Ok(received)
}

/// The one message of a request; `None` if there is not exactly one.
fn unframe(body: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let Some((head, message)) = body.split_first_chunk::<MESSAGE_HEAD>() else { return Ok(None) };
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err(Refusal::Grpc((UNIMPLEMENTED, "messages must not be compressed")));
    }
    Ok((u32::from_be_bytes(length) as usize == message.len()).then_some(message))
}

fn frame(message: &[u8; 2]) -> Bytes {
    let mut framed = vec![0, 0, 0, 0, 2];
    framed.extend_from_slice(message);
    framed.into()
}

fn send_message(respond: &mut SendResponse<Bytes>, message: Bytes) -> Result<(), h2::Error> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, GRPC);
    let mut body = send_head(respond, StatusCode::OK, headers, false)?;
    body.send_data(message, false)?;
    body.send_trailers(HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from(0))]))
}

fn send_failure(respond: &mut SendResponse<Bytes>, (status, message): Failure) -> Result<(), h2::Error> {
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, GRPC),
        (GRPC_STATUS, HeaderValue::from(status)),
        (GRPC_MESSAGE, HeaderValue::from_static(message)),
    ]);
    send_head(respond, StatusCode::OK, headers, true).map(|_| ())
}

fn send_head(
    respond: &mut SendResponse<Bytes>,
    status: StatusCode,
    headers: HeaderMap,
    is_all: bool,
) -> Result<h2::SendStream<Bytes>, h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    respond.send_response(response, is_all)
}
