//! Which path gets which answer.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Builder;
use wasip2::random::random::{get_random_bytes, get_random_u64};

use crate::health::Health;
use crate::reply::{Body, Reply};
use crate::request::Request;
use crate::{auth, echo, range};

/// Longest delay.
const MAX_DELAY: Duration = Duration::from_secs(300);
/// Most random bytes.
const MAX_BYTES: u64 = 100 * 1024;
/// Most lines of a stream.
const MAX_LINES: usize = 100;
/// Most bytes of a drip.
const MAX_DRIP: u64 = 1024 * 1024;
/// Most redirections of one path.
const MAX_REDIRECTIONS: u32 = 100;

const INDEX: &str = include_str!("index.txt");

/// The answer to a request.
pub(crate) fn answer(request: &Request, health: &Health) -> Reply {
    let path = request.path();
    let path: Vec<&str> = path.iter().map(Cow::as_ref).collect();
    if let Some(reply) = health.answer(&path) {
        return reply;
    }
    if request.method == "OPTIONS" {
        let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        return Reply::status(200).with("Allow", methods).with("Access-Control-Allow-Methods", methods);
    }
    let shown = match path.as_slice() {
        [""] => Some(Reply::text(200, INDEX)),
        ["get"] => Some(only("GET", request, || echo::of_get(request).into())),
        ["post"] => Some(only("POST", request, || echo::of_body(request).into())),
        ["put"] => Some(only("PUT", request, || echo::of_body(request).into())),
        ["patch"] => Some(only("PATCH", request, || echo::of_body(request).into())),
        ["delete"] => Some(only("DELETE", request, || echo::of_body(request).into())),
        ["anything", ..] => Some(Reply::json(&echo::of_anything(request).into())),
        ["headers"] => Some(Reply::json(&json!({"headers": echo::headers(request)}))),
        ["ip"] => Some(Reply::json(&json!({"origin": request.origin}))),
        ["user-agent"] => Some(Reply::json(&json!({"user-agent": request.header("user-agent")}))),
        ["basic-auth", user, password] => Some(auth::basic(request, user, password)),
        ["bearer"] => Some(auth::bearer(request)),
        ["cookies", rest @ ..] => auth::cookies(request, rest),
        ["response-headers"] => Some(response_headers(request)),
        _ => None,
    };
    shown.or_else(|| made_up(request, &path)).or_else(|| of_the_container(&path)).unwrap_or_else(not_found)
}

fn not_found() -> Reply {
    Reply::text(404, "not found: / lists the paths\n")
}

fn only(method: &str, request: &Request, shown: impl FnOnce() -> Value) -> Reply {
    if request.method == method || (method == "GET" && request.method == "HEAD") {
        return Reply::json(&shown());
    }
    Reply::status(405).with("Allow", method)
}

/// Answers made to order.
fn made_up(request: &Request, path: &[&str]) -> Option<Reply> {
    Some(match path {
        ["status", codes] => status(codes),
        ["delay", seconds] => match duration(seconds) {
            Some(delay) => Reply { delay, ..Reply::json(&echo::of_anything(request).into()) },
            None => Reply::bad("the delay must be a number of seconds, at most 300"),
        },
        ["redirect" | "relative-redirect" | "absolute-redirect", count] => redirect(request, path[0], count),
        ["redirect-to"] => redirect_to(request),
        ["uuid"] => {
            let bytes = get_random_bytes(16).try_into().unwrap_or_default();
            Reply::json(&json!({"uuid": Builder::from_random_bytes(bytes).into_uuid().to_string()}))
        }
        ["bytes", count] => match count.parse::<u64>() {
            Ok(count) => Reply::new(200, "application/octet-stream", get_random_bytes(count.min(MAX_BYTES))),
            Err(_) => Reply::bad("the count must be a number"),
        },
        ["range", count] => range::answer(request, count),
        ["stream", lines] => stream(request, lines),
        ["drip"] => drip(request).unwrap_or_else(|| {
            Reply::bad("duration and delay must be seconds, at most 300, and numbytes 1 to 1048576")
        }),
        ["base64", "encode", text] => Reply::text(200, &URL_SAFE.encode(text)),
        ["base64", text] | ["base64", "decode", text] => from_base64(text),
        _ => return None,
    })
}

fn status(codes: &str) -> Reply {
    let codes: Option<Vec<u16>> = codes.split(',').map(|code| code.trim().parse().ok()).collect();
    let codes = codes.filter(|codes| codes.iter().all(|code| (200..=599).contains(code)));
    let Some(codes) = codes else { return Reply::bad("the status must be a code from 200 to 599, or several") };
    let index = get_random_u64() % codes.len() as u64;
    let reply = Reply::status(codes[index as usize]);
    match reply.status {
        301 | 302 | 303 | 307 | 308 => reply.with("Location", "/redirect/1"),
        401 => reply.with("WWW-Authenticate", "Basic realm=\"Fake Realm\""),
        _ => reply,
    }
}

/// Seconds, with fractions if need be.
fn duration(text: &str) -> Option<Duration> {
    let seconds = text.trim_end_matches('s').parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= MAX_DELAY)
}

fn redirect(request: &Request, kind: &str, count: &str) -> Reply {
    let count = count.parse::<u32>().ok().filter(|count| (1..=MAX_REDIRECTIONS).contains(count));
    let Some(count) = count else { return Reply::bad("the count must be from 1 to 100") };
    let next = if count == 1 { "/get".to_owned() } else { format!("/{kind}/{}", count - 1) };
    let host = request.header("host").filter(|_| kind == "absolute-redirect");
    Reply::redirect(302, &host.map_or_else(|| next.clone(), |host| format!("http://{host}{next}")))
}

fn redirect_to(request: &Request) -> Reply {
    let status = request.argument("status_code").map_or(Ok(302), |code| code.parse());
    match (request.argument("url"), status) {
        (Some(url), Ok(status)) if (300..=399).contains(&status) => Reply::redirect(status, &url),
        _ => Reply::bad("redirect-to needs ?url=, and a status_code of 300 to 399 if any"),
    }
}

fn stream(request: &Request, lines: &str) -> Reply {
    let Ok(lines) = lines.parse::<usize>() else { return Reply::bad("the count must be a number") };
    let line = |id| {
        let mut shown = echo::of_get(request);
        shown.insert("id".to_owned(), json!(id));
        format!("{}\n", Value::from(shown)).into_bytes()
    };
    let body = Body::Chunks((0..lines.min(MAX_LINES)).map(line).collect());
    Reply { body, ..Reply::new(200, "application/json", "") }
}

/// `?duration=SECONDS&numbytes=N&code=STATUS&delay=SECONDS`, each of them optional.
fn drip(request: &Request) -> Option<Reply> {
    let seconds = |key, default| request.argument(key).map_or(Some(default), |text| duration(&text));
    let (over, delay) = (seconds("duration", Duration::from_secs(2))?, seconds("delay", Duration::ZERO)?);
    let count: u64 = request.argument("numbytes").map_or(Some(10), |text| text.parse().ok())?;
    let status: u16 = request.argument("code").map_or(Some(200), |text| text.parse().ok())?;
    if !(1..=MAX_DRIP).contains(&count) || !(200..=599).contains(&status) {
        return None;
    }
    let body = Body::Drip { count, pause: over.div_f64(count as f64) };
    Some(Reply { delay, body, ..Reply::new(status, "application/octet-stream", "") })
}

fn from_base64(text: &str) -> Reply {
    let decoded = URL_SAFE.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).or_else(|_| STANDARD.decode(text));
    match decoded {
        Ok(bytes) => Reply::new(200, "text/plain; charset=utf-8", bytes),
        Err(_) => Reply::bad("that is no base64"),
    }
}

fn response_headers(request: &Request) -> Reply {
    let wanted = request.query();
    let framing = ["content-length", "transfer-encoding", "connection", "content-type"];
    let allowed =
        wanted.iter().filter(|(name, _)| is_token(name) && !framing.contains(&name.to_ascii_lowercase().as_str()));
    let reply = Reply::json(&echo::object(wanted.clone()));
    allowed.fold(reply, |reply, (name, value)| reply.with(name, value))
}

/// Whether it can be a header's name.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Answers that tell of the container, or end it.
fn of_the_container(path: &[&str]) -> Option<Reply> {
    Some(match path {
        ["hostname"] => {
            let file = || std::fs::read_to_string("/etc/hostname").ok();
            let hostname = std::env::var("HOSTNAME").ok().or_else(file).unwrap_or_default();
            Reply::json(&json!({"hostname": hostname.trim()}))
        }
        ["env"] => Reply::json(&json!({"env": echo::object(std::env::vars().collect())})),
        ["exit", code] => match code.parse() {
            Ok(code) => Reply { exit: Some(code), ..Reply::text(200, "bye\n") },
            Err(_) => Reply::bad("the exit code must be from 0 to 255"),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths that need nothing random.
    fn get(target: &str) -> Reply {
        let request = Request { method: "GET".to_owned(), target: target.to_owned(), ..Request::default() };
        answer(&request, &Health::default())
    }

    fn body(reply: &Reply) -> String {
        let Body::Bytes(bytes) = &reply.body else { panic!("{reply:?}") };
        String::from_utf8(bytes.clone()).unwrap()
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn redirections_count_down() {
        for (target, expected) in [
            ("/redirect/3", "/redirect/2"),
            ("/redirect/1", "/get"),
            ("/redirect-to?url=http%3A%2F%2Fx%2F&status_code=307", "http://x/"),
        ] {
            assert_eq!(header(&get(target), "Location"), Some(expected), "{target}");
        }
        assert_eq!(get("/redirect-to?url=x&status_code=307").status, 307);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for target in [
            "/redirect/0",
            "/redirect/101",
            "/redirect-to",
            "/redirect-to?url=x&status_code=200",
            "/delay/301",
            "/delay/-1",
            "/delay/x",
            "/delay/NaN",
            "/delay/inf",
            "/status/99",
            "/status/200,x",
            "/status/600",
            "/drip?numbytes=0",
            "/drip?numbytes=9999999",
            "/drip?duration=1000",
            "/exit/256",
            "/exit/x",
            "/base64/%00",
            "/bytes/x",
            "/stream/x",
        ] {
            assert_eq!(get(target).status, 400, "{target}");
        }
    }

    #[test]
    fn answers_are_made_to_order() {
        assert_eq!(get("/delay/0.25").delay, Duration::from_millis(250));
        assert_eq!(get("/exit/42").exit, Some(42));
        assert_eq!(body(&get("/base64/aGVsbG8")), "hello");
        assert_eq!(body(&get("/base64/encode/hello")), "aGVsbG8=");
        let reply = get("/response-headers?X-A=b%0D%0AC:d&Content-Length=9&a%20b=c");
        assert_eq!(header(&reply, "X-A"), Some("bC:d"));
        assert_eq!(header(&reply, "Content-Length"), None);
        let Body::Chunks(lines) = get("/stream/3").body else { panic!("not a stream") };
        assert_eq!(lines.len(), 3);
        let Body::Drip { count, pause } = get("/drip?numbytes=4&duration=2").body else { panic!("not a drip") };
        assert_eq!((count, pause), (4, Duration::from_millis(500)));
    }

    #[test]
    fn methods_and_paths_are_kept_apart() {
        assert_eq!(header(&get("/post"), "Allow"), Some("POST"));
        assert_eq!((get("/post").status, get("/get").status), (405, 200));
        assert_eq!((get("/nothing").status, get("/cookies/x").status), (404, 404));
    }

    #[test]
    fn the_index_lists_every_path() {
        let index = body(&get("/"));
        for path in ["/status/", "/delay/", "/anything", "/exit/", "/healthz", "/drip", "/redirect/", "/bearer", "/env"]
        {
            assert!(index.contains(path), "{path}");
        }
    }

    #[test]
    fn cookies_and_authentication_are_checked() {
        assert_eq!(get("/basic-auth/u/p").status, 401);
        assert_eq!(get("/bearer").status, 401);
        let mut request =
            Request { method: "GET".to_owned(), target: "/basic-auth/u/p".to_owned(), ..Request::default() };
        request.headers.push(("Authorization".to_owned(), format!("Basic {}", STANDARD.encode("u:p"))));
        request.headers.push(("Cookie".to_owned(), "a=b; c=d".to_owned()));
        assert_eq!(answer(&request, &Health::default()).status, 200);
        "/cookies".clone_into(&mut request.target);
        assert!(body(&answer(&request, &Health::default())).contains("\"a\": \"b\""));
        assert_eq!(header(&get("/cookies/set?a=b"), "Set-Cookie"), Some("a=b; Path=/"));
    }
}
