//! Files.

use std::rc::Rc;

use super::{Body, Disk, Kind, Next, Outcome, Response, Stat, redirect};
use crate::config::{Level, ModifiedSince};
use crate::exchange::Exchange;
use crate::http::conditional::{Validators, Verdict, etag, judge, range_applies};
use crate::http::range::{self, Range};
use crate::http::uri;
use crate::values::{evaluate, file_path};

/// The file that a request asks for.
pub(super) fn find(exchange: &mut Exchange, disk: &dyn Disk) -> Next {
    if !matches!(exchange.method.as_str(), "GET" | "HEAD") {
        return Next::Status(405);
    }
    let path = file_path(exchange, &exchange.uri);
    if exchange.uri.ends_with('/') {
        return directory(exchange, disk, &path);
    }
    match disk.stat(&path) {
        Ok(stat) if stat.kind == Kind::File => Next::Done(Outcome::Respond(file(exchange, path, stat))),
        Ok(stat) if stat.kind == Kind::Directory => {
            let query = if exchange.args.is_empty() { String::new() } else { format!("?{}", exchange.args) };
            let location = format!("{}/{query}", uri::escape(&exchange.uri));
            Next::Done(Outcome::Respond(Response::redirect(301, location)))
        }
        Ok(_) => Next::Status(404),
        Err(error) => {
            if error.status() != 404 || exchange.settings.log_not_found {
                exchange.log(Level::Error, format!("open() \"{path}\" failed {}", error.explain()));
            }
            Next::Status(error.status())
        }
    }
}

fn directory(exchange: &mut Exchange, disk: &dyn Disk, path: &str) -> Next {
    let settings = Rc::clone(&exchange.settings);
    for index in settings.index.iter() {
        let name = evaluate(index, exchange);
        if name.starts_with('/') {
            return redirect(exchange, &name);
        }
        if disk.stat(&format!("{path}{name}")).is_ok_and(|stat| stat.kind == Kind::File) {
            let uri = format!("{}{name}", exchange.uri);
            return redirect(exchange, &uri);
        }
    }
    match disk.stat(path) {
        Ok(stat) if stat.kind == Kind::Directory && settings.autoindex => Next::Done(Outcome::Listing(path.to_owned())),
        Ok(stat) if stat.kind == Kind::Directory => {
            exchange.log(Level::Error, format!("directory index of \"{path}\" is forbidden"));
            Next::Status(403)
        }
        Ok(_) => Next::Status(404),
        Err(error) => {
            if error.status() != 404 || settings.log_not_found {
                exchange.log(Level::Error, format!("\"{path}\" is not found {}", error.explain()));
            }
            Next::Status(error.status())
        }
    }
}

fn file(exchange: &mut Exchange, path: String, stat: Stat) -> Response {
    let settings = Rc::clone(&exchange.settings);
    let modified = stat.modified.0;
    let tag = settings.etag.then(|| etag(modified, stat.size));
    let mut response = Response {
        content_type: Some(type_of(exchange, &path)),
        modified: Some(modified),
        etag: tag,
        ..Response::new(200, Body::Empty)
    };
    // The page of an error is no copy that a client could have.
    if exchange.error.is_some() {
        response.body = Body::File(path, stat, 0, stat.size);
        return response;
    }
    let validators = Validators { etag: response.etag.as_deref(), modified };
    let (verdict, applies) =
        (judged(exchange, validators, settings.if_modified_since), range_applies(&exchange.request, validators));
    match verdict {
        Verdict::Failed => return Response::page(412),
        Verdict::NotModified => {
            response.status = 304;
            response.content_type = None;
            return response;
        }
        Verdict::Go => {}
    }
    let header = exchange.request.header("range").filter(|_| applies);
    let range = header.map_or(Range::Whole, |header| range::parse(header, stat.size));
    let (start, length) = match range {
        Range::Unsatisfiable => {
            let mut response = Response::page(416);
            response.headers.push(("Content-Range", format!("bytes */{}", stat.size)));
            return response;
        }
        Range::Whole => {
            response.headers.push(("Accept-Ranges", "bytes".to_owned()));
            (0, stat.size)
        }
        Range::Part(start, length) => {
            response.status = 206;
            let last = start + length - 1;
            response.headers.push(("Content-Range", format!("bytes {start}-{last}/{}", stat.size)));
            (start, length)
        }
    };
    response.body = Body::File(path, stat, start, length);
    response
}

fn judged(exchange: &Exchange, validators: Validators<'_>, since: ModifiedSince) -> Verdict {
    judge(&exchange.request, validators, since)
}

/// The type of a file by its name.
pub(super) fn type_of(exchange: &Exchange, path: &str) -> Rc<str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let settings = &exchange.settings;
    let known = name.rsplit_once('.').and_then(|(_, extension)| {
        settings.types.get(extension).or_else(|| settings.types.get(&extension.to_ascii_lowercase()))
    });
    Rc::clone(known.unwrap_or(&settings.default_type))
}
