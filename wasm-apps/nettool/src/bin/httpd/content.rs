//! From a request's target to a file below the root, and to the head of the answer.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An answer: its head, and the file or text that follows.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) length: u64,
    pub(crate) headers: String,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    File(File),
    Text(String),
}

/// Finds what to answer a GET or HEAD of `target` with.
pub(crate) fn answer(root: &Path, target: &str) -> Answer {
    match find(root, target) {
        Ok(answer) => answer,
        Err(status) => error_page(status, ""),
    }
}

/// A small page that names the status.
pub(crate) fn error_page(status: u16, headers: &str) -> Answer {
    let text = format!(
        "<html><head><title>{status} {0}</title></head><body><h1>{status} {0}</h1></body></html>\n",
        phrase(status)
    );
    let headers = format!("Content-Type: text/html\r\n{headers}");
    Answer { status, length: text.len() as u64, headers, body: Body::Text(text) }
}

fn find(root: &Path, target: &str) -> Result<Answer, u16> {
    let target =
        target.strip_prefix("http://").map_or(target, |rest| rest.find('/').map_or("/", |slash| &rest[slash..]));
    let encoded = target.split(['?', '#']).next().unwrap_or_default();
    let decoded = decode(encoded).ok_or(400_u16)?;
    let relative = confine(&decoded).ok_or(400_u16)?;
    let mut path = root.join(&relative);
    let metadata = fs::metadata(&path).map_err(|error| status_of(&error))?;
    if metadata.is_dir() {
        if !decoded.ends_with('/') {
            return Ok(error_page(301, &format!("Location: {encoded}/\r\n")));
        }
        path.push("index.html");
        // A directory without an index is there, but not to be listed.
        if !path.is_file() {
            return Err(403);
        }
    } else if decoded.ends_with('/') {
        return Err(404);
    }
    let file = File::open(&path).map_err(|error| status_of(&error))?;
    let length = file.metadata().map_err(|error| status_of(&error))?.len();
    let headers = format!("Content-Type: {}\r\n", content_type(&path));
    Ok(Answer { status: 200, length, headers, body: Body::File(file) })
}

fn status_of(error: &std::io::Error) -> u16 {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => 404,
        ErrorKind::PermissionDenied => 403,
        _ => 500,
    }
}

/// Percent-decodes; control characters and what is not UTF-8 are refused.
fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?].map(|digit| char::from(digit).to_digit(16));
        bytes.push(u8::try_from(digits[0]? * 16 + digits[1]?).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

/// The path below the root, with `.` and `..` resolved; `None` if it would leave it or does not begin with `/`.
fn confine(path: &str) -> Option<PathBuf> {
    let mut segments = Vec::new();
    for segment in path.strip_prefix('/')?.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            name => segments.push(name),
        }
    }
    Some(segments.iter().collect())
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" | "mjs" => "application/javascript",
        "json" => "application/json",
        "txt" => "text/plain",
        "xml" => "text/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The words that go with a status.
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        _ => "Internal Server Error",
    }
}
