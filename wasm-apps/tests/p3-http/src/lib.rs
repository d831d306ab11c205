//! A WASI 0.3 `wasi:http` service: answers every request with its method and path.

use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_bindgen, wit_future, wit_stream};

wasip3::http::service::export!(Echo);

struct Echo;

impl wasip3::exports::http::handler::Guest for Echo {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let method = match request.get_method() {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            _ => "other",
        };
        let text = format!("wasi 0.3 {method} {}\n", request.get_path_with_query().unwrap_or_default());
        let (mut body, contents) = wit_stream::new();
        let (trailers, trailers_future) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(contents), trailers_future);
        drop(trailers);
        wit_bindgen::spawn_local(async move {
            let _unsent = body.write_all(text.into_bytes()).await;
        });
        Ok(response)
    }
}
