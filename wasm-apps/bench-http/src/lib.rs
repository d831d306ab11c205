//! For the benchmarks: a `wasi:http` handler that serves the files in `/site`, as simply as can be. It is what
//! `wasmtime serve` runs next to the web server.

use std::io::Write;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Handler);

struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let name = if path == "/" { "/index.html" } else { path.as_str() };
        let (status, contents) = match std::fs::read(format!("/site{name}")) {
            Ok(contents) => (200, contents),
            Err(_) => (404, Vec::new()),
        };
        let headers = Fields::new();
        let length = contents.len().to_string().into_bytes();
        for (name, value) in [("content-type", b"text/html".to_vec()), ("content-length", length)] {
            let _valid = headers.append(name, &value);
        }
        let response = OutgoingResponse::new(headers);
        let _valid = response.set_status_code(status);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(response_out, Ok(response));
        if let Ok(mut stream) = body.write() {
            let _sent = stream.write_all(&contents).and_then(|()| Write::flush(&mut stream));
        }
        let _finished = OutgoingBody::finish(body, None);
    }
}
