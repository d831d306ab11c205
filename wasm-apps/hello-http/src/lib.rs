//! The `builtin/hello-http` image: a `wasi:http` handler (WASI 0.2) that greets whoever asks.

use std::io::Write;

use wasip2::cli::environment::get_environment;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Greeter);

struct Greeter;

impl Guest for Greeter {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_else(|| "/".to_owned());
        let greeting = get_environment().into_iter().find(|(name, _)| name == "GREETING").map(|(_, value)| value);
        let text = format!("{} You asked for {path}.\n", greeting.as_deref().unwrap_or("Hello from WebAssembly!"));
        let headers = Fields::new();
        let _valid = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
        let _valid = headers.set("content-length", &[text.len().to_string().into_bytes()]);
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(response_out, Ok(response));
        if let Ok(mut stream) = body.write() {
            let _sent = stream.write_all(text.as_bytes()).and_then(|()| Write::flush(&mut stream));
        }
        let _finished = OutgoingBody::finish(body, None);
    }
}
