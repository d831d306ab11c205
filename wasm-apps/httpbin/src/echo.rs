//! Answers that show the request, as httpbin.org shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::parse;
use serde_json::{Map, Value, json};

use crate::request::Request;

/// `args`, `headers`, `origin` and `url`.
pub(crate) fn of_get(request: &Request) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("args".to_owned(), object(request.query()));
    shown.insert("headers".to_owned(), headers(request));
    shown.insert("origin".to_owned(), json!(request.origin));
    shown.insert("url".to_owned(), json!(url(request)));
    shown
}

/// The same and what the body holds: `data`, `files`, `form` and `json`.
pub(crate) fn of_body(request: &Request) -> Map<String, Value> {
    let mut shown = of_get(request);
    let kind = request.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let form = if is_form { parse(&request.body).into_owned().collect() } else { Vec::new() };
    let data = if is_form { String::new() } else { text_or_base64(&request.body) };
    shown.insert("data".to_owned(), json!(data));
    shown.insert("files".to_owned(), json!({}));
    shown.insert("form".to_owned(), object(form));
    shown.insert("json".to_owned(), serde_json::from_slice(&request.body).unwrap_or(Value::Null));
    shown
}

/// The same and `method`.
pub(crate) fn of_anything(request: &Request) -> Map<String, Value> {
    let mut shown = of_body(request);
    shown.insert("method".to_owned(), json!(request.method));
    shown
}

/// The headers, with their usual capitals.
pub(crate) fn headers(request: &Request) -> Value {
    object(request.headers.iter().map(|(name, value)| (capitalised(name), value.clone())).collect())
}

/// Where the request went, as the client sees it.
fn url(request: &Request) -> String {
    format!("http://{}{}", request.header("host").unwrap_or("localhost"), request.target)
}

/// Pairs as an object; a key that comes again makes a list.
pub(crate) fn object(pairs: Vec<(String, String)>) -> Value {
    let mut object = Map::new();
    for (key, value) in pairs {
        match object.get_mut(&key) {
            None => drop(object.insert(key, Value::String(value))),
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    Value::Object(object)
}

fn capitalised(name: &str) -> String {
    let mut start = true;
    let capital = |letter: char| {
        let shown = if start { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        start = letter == '-';
        shown
    };
    name.chars().map(capital).collect()
}

fn text_or_base64(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("data:application/octet-stream;base64,{}", STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content_type: &str, body: &[u8]) -> Request {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Request {
            method: "POST".to_owned(),
            target: "/post?a=1&b=2&a=3&a=4".to_owned(),
            headers: vec![header("host", "web:81"), header("X-REQUEST-id", "7"), header("content-type", content_type)],
            body: body.to_vec(),
            origin: "10.88.0.1".to_owned(),
            keep_alive: true,
        }
    }

    #[test]
    fn the_request_is_shown() {
        let shown = of_get(&request("text/plain", b""));
        assert_eq!(shown["args"], json!({"a": ["1", "3", "4"], "b": "2"}));
        let headers = json!({"Host": "web:81", "X-Request-Id": "7", "Content-Type": "text/plain"});
        assert_eq!(shown["headers"], headers);
        assert_eq!(shown["url"], json!("http://web:81/post?a=1&b=2&a=3&a=4"));
        assert_eq!(shown["origin"], json!("10.88.0.1"));
    }

    #[test]
    fn the_body_is_shown_as_what_it_is() {
        let form = of_body(&request("application/x-www-form-urlencoded; charset=utf-8", b"x=1+2&y"));
        assert_eq!((&form["form"], &form["data"]), (&json!({"x": "1 2", "y": ""}), &json!("")));
        let json = of_body(&request("application/json", br#"{"x": [1]}"#));
        assert_eq!((&json["json"], &json["data"]), (&json!({"x": [1]}), &json!("{\"x\": [1]}")));
        let binary = of_anything(&request("", b"\xff\x00"));
        assert_eq!(binary["data"], json!("data:application/octet-stream;base64,/wA="));
        assert_eq!((&binary["json"], &binary["method"]), (&Value::Null, &json!("POST")));
    }
}
