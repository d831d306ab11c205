//! A WASI 0.2 `wasi:http` handler for tests. `/trap` traps, `/hoard` takes memory without end, `/status/N` answers with
//! status N, `/echo` sends the body back, `/count` counts requests this instance has served; everything else is answered
//! with method and path.
//!
//! It is a program with a `main`, and so a command as well, as the frameworks for handlers make them.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Handler);

fn main() {
    panic!("a handler is served, not run");
}

static SERVED: AtomicU32 = AtomicU32::new(0);

struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let method = match request.method() {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            _ => "other",
        };
        let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        match path.split('/').nth(1).unwrap_or_default() {
            "trap" => core::arch::wasm32::unreachable(),
            "status" => {
                let status = path.rsplit('/').next().and_then(|status| status.parse().ok()).unwrap_or(200);
                answer(response_out, status, b"");
            }
            "echo" => answer(response_out, 200, &body_of(&request)),
            "hoard" => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(std::hint::black_box(vec![0xa5_u8; 1024 * 1024]));
                }
            }
            "count" => answer(response_out, 200, format!("{served}\n").as_bytes()),
            _ => answer(response_out, 200, format!("wasi 0.2 {method} {path}\n").as_bytes()),
        }
    }
}

fn body_of(request: &IncomingRequest) -> Vec<u8> {
    let mut contents = Vec::new();
    if let Ok(body) = request.consume()
        && let Ok(mut stream) = body.stream()
    {
        let _ended = stream.read_to_end(&mut contents);
    }
    contents
}

fn answer(response_out: ResponseOutparam, status: u16, contents: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let _valid = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(response_out, Ok(response));
    if let Ok(mut stream) = body.write() {
        let _sent = stream.write_all(contents).and_then(|()| Write::flush(&mut stream));
    }
    let _finished = OutgoingBody::finish(body, None);
}
