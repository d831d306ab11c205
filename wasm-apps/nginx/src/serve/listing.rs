//! Pages that the server writes itself: directories and its own numbers.

use std::fmt::Write as _;

use nginx::exchange::Exchange;
use nginx::http::date::Parts;
use nginx::http::uri;
use nginx::phases::{Kind, Response, Stat};

use super::Numbers;
use super::disk::Files;

/// Columns that a name may take.
const NAME_WIDTH: usize = 50;

/// A directory, as `autoindex` shows it.
pub(super) fn page(files: &Files, exchange: &Exchange, path: &str) -> Response {
    let Ok(entries) = files.list(path) else { return Response::page(500) };
    let title = escape(&exchange.uri);
    let mut page = format!(
        "<html>\r\n<head><title>Index of {title}</title></head>\r\n<body>\r\n<h1>Index of {title}</h1><hr><pre>\
         <a href=\"../\">../</a>\r\n"
    );
    for (name, stat) in entries {
        line(&mut page, &name, stat, exchange.settings.autoindex_exact_size);
    }
    page.push_str("</pre><hr></body>\r\n</html>\r\n");
    Response::text(200, "text/html".into(), page)
}

fn line(page: &mut String, name: &str, stat: Stat, exact: bool) {
    let slash = if stat.kind == Kind::Directory { "/" } else { "" };
    let full = format!("{name}{slash}");
    let shown = if full.chars().count() > NAME_WIDTH {
        full.chars().take(NAME_WIDTH - 3).collect::<String>() + "..&gt;"
    } else {
        escape(&full)
    };
    let padding = " ".repeat(NAME_WIDTH.saturating_sub(full.chars().count()) + 1);
    let size = match (stat.kind, stat.size) {
        (Kind::Directory | Kind::Other, _) => "-".to_owned(),
        (Kind::File, size) if exact || size < 1024 => size.to_string(),
        (Kind::File, size) if size < 1 << 20 => format!("{}K", size.div_ceil(1024)),
        (Kind::File, size) => format!("{}M", size.div_ceil(1 << 20)),
    };
    // A name with a colon would be taken for a URL.
    let here = if name.contains(':') { "./" } else { "" };
    let href = escape(&uri::escape(&full));
    let time = Parts::new(stat.modified.0).listing();
    let _to_a_string = write!(page, "<a href=\"{here}{href}\">{shown}</a>{padding}{time} {size:>19}\r\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What `stub_status` shows.
pub(super) fn stub_status(numbers: &Numbers) -> Response {
    let (active, accepted, requests) = (numbers.active.get(), numbers.accepted.get(), numbers.requests.get());
    let writing = numbers.writing.get();
    let waiting = active.saturating_sub(writing);
    let text = format!(
        "Active connections: {active} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
         Reading: 0 Writing: {writing} Waiting: {waiting} \n"
    );
    Response::text(200, "text/plain".into(), text)
}
