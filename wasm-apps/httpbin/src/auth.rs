//! Answers that depend on who asks: basic and bearer authentication, and cookies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::echo::object;
use crate::reply::Reply;
use crate::request::Request;

/// `/basic-auth/USER/PASSWORD`: 200 for these, else 401.
pub(crate) fn basic(request: &Request, user: &str, password: &str) -> Reply {
    let expected = format!("{user}:{password}");
    if credentials(request, "basic").and_then(decoded).as_deref() == Some(expected.as_bytes()) {
        return Reply::json(&json!({"authenticated": true, "user": user}));
    }
    Reply::status(401).with("WWW-Authenticate", "Basic realm=\"Fake Realm\"")
}

/// `/bearer`: 200 with any token.
pub(crate) fn bearer(request: &Request) -> Reply {
    match credentials(request, "bearer") {
        Some(token) if !token.is_empty() => Reply::json(&json!({"authenticated": true, "token": token})),
        _ => Reply::status(401).with("WWW-Authenticate", "Bearer"),
    }
}

fn credentials<'a>(request: &'a Request, scheme: &str) -> Option<&'a str> {
    let (found, credentials) = request.header("authorization")?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// `/cookies`, `/cookies/set?NAME=VALUE`, `/cookies/set/NAME/VALUE`, `/cookies/delete?NAME`; `None` for other paths.
pub(crate) fn cookies(request: &Request, path: &[&str]) -> Option<Reply> {
    let set = |cookies: &[(String, String)], attributes: &str| {
        let back = Reply::redirect(302, "/cookies");
        cookies
            .iter()
            .fold(back, |reply, (name, value)| reply.with("Set-Cookie", &format!("{name}={value}; Path=/{attributes}")))
    };
    Some(match path {
        [] => Reply::json(&json!({"cookies": object(sent_cookies(request))})),
        ["set"] => set(&request.query(), ""),
        ["set", name, value] => set(&[((*name).to_owned(), (*value).to_owned())], ""),
        ["delete"] => {
            let emptied: Vec<_> = request.query().into_iter().map(|(name, _)| (name, String::new())).collect();
            set(&emptied, "; Max-Age=0")
        }
        _ => return None,
    })
}

fn sent_cookies(request: &Request) -> Vec<(String, String)> {
    let pairs = request.header("cookie").unwrap_or_default().split(';');
    pairs.filter_map(|pair| pair.trim().split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}
