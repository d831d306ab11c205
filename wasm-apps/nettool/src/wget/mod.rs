//! `wget`, with busybox's options and words: fetches URLs of http and https to files or standard output.
//!
//! Beyond busybox: `-t TRIES` tries again, a moment later, when a connection is refused or the host cannot be reached, which
//! is how to wait for a server that is just starting, and `--ca-certificate FILE` (or `$SSL_CERT_FILE`) says whose
//! certificates count.

mod options;
mod output;
mod progress;

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use url::Url;

use self::options::{Options, Post};
use self::output::{Log, Output};
use self::progress::Progress;
use crate::Failure as Exit;
use crate::http::{
    Failure, Limits, Request, Response, accept_any_certificate, authorization, exchange, file_name, follow, parse,
    reason, resolve, set_authorities,
};

/// Pause between tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Redirections followed.
const MAX_REDIRECTIONS: u32 = 5;
/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), Exit> {
    let options = Options::parse(arguments).map_err(|error| error.to_string())?;
    let mut log = Log::open(&options)?;
    let result = fetch_all(&options, &mut log);
    match result {
        Err(problem) if options.log.is_some() => {
            log.always(&format!("wget: {problem}"));
            Err(Exit::silent(1))
        }
        result => Ok(result?),
    }
}

fn fetch_all(options: &Options, log: &mut Log) -> Result<(), String> {
    trust(options)?;
    let body = match &options.post {
        None => None,
        Some(Post::Data(data)) => Some(data.clone().into_bytes()),
        Some(Post::File(path)) => Some(fs::read(path).map_err(cannot("open", path))?),
    };
    let mut output = Output::default();
    for url in &options.urls {
        fetch(options, parse(url)?, body.clone(), &mut output, log)?;
    }
    Ok(())
}

fn trust(options: &Options) -> Result<(), String> {
    if options.any_certificate {
        accept_any_certificate();
        return Ok(());
    }
    let variable = || std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(Into::into);
    let Some(path) = options.authorities.clone().or_else(variable) else { return Ok(()) };
    let pem = fs::read(&path).map_err(cannot("open", &path))?;
    set_authorities(&pem).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn cannot(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("can't {action} '{path}': {}", reason(&error))
}

/// Fetches one URL and what it redirects to.
fn fetch(options: &Options, url: Url, body: Option<Vec<u8>>, output: &mut Output, log: &mut Log) -> Result<(), String> {
    let mut request = first_request(options, url, body);
    let name = file_name(&request.url);
    for _ in 0..=MAX_REDIRECTIONS {
        let present = if options.resume { Output::present(options, &name)? } else { 0 };
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("range"));
        if present > 0 {
            request.headers.push(("Range".to_owned(), format!("bytes={present}-")));
        }
        let response = answer(options, &request, log)?;
        if options.show_headers {
            log.always(&format!("  {}", response.status_line));
            for (name, value) in &response.headers {
                log.always(&format!("  {name}: {value}"));
            }
        }
        match response.status {
            301 | 302 | 303 | 307 | 308 => follow(&mut request, &response, false)?,
            200..=299 if options.spider => {
                log.say("remote file exists");
                return Ok(());
            }
            206 => return save(options, response, output, &name, present, log),
            200..=299 => return save(options, response, output, &name, 0, log),
            // There is nothing after what is there already.
            416 if present > 0 => {
                log.say("the file is complete already");
                return Ok(());
            }
            _ => return Err(format!("server returned error: {}", response.status_line)),
        }
    }
    Err("too many redirections".to_owned())
}

fn first_request(options: &Options, url: Url, body: Option<Vec<u8>>) -> Request {
    let method = match (&body, options.spider) {
        (Some(_), _) => "POST",
        (None, true) => "HEAD",
        (None, false) => "GET",
    };
    let mut request = Request { method: method.to_owned(), url, headers: options.headers.clone(), body };
    if !request.has_header("user-agent") {
        request.headers.push(("User-Agent".to_owned(), options.agent.clone()));
    }
    if request.body.is_some() && !request.has_header("content-type") {
        let form = "application/x-www-form-urlencoded".to_owned();
        request.headers.push(("Content-Type".to_owned(), form));
    }
    request
}

/// The answer to a request, asked for again while nobody listens there and tries are left.
fn answer(options: &Options, request: &Request, log: &mut Log) -> Result<Response, String> {
    let proxy = proxy(options, &request.url)?;
    let first_hop = proxy.as_ref().unwrap_or(&request.url);
    let addresses = resolve(first_hop).map_err(explain)?;
    let mut request = request.clone();
    if let Some(value) = authorization(&request.url).filter(|_| !request.has_header("authorization")) {
        request.headers.push(("Authorization".to_owned(), value));
    }
    if let Some(value) = proxy.as_ref().and_then(authorization) {
        request.headers.push(("Proxy-Authorization".to_owned(), value));
    }
    if let Some(address) = addresses.first() {
        log.say(&format!("Connecting to {} ({address})", first_hop.host_str().unwrap_or_default()));
    }
    let limits = Limits { connect: Some(options.timeout), read: Some(options.timeout) };
    let mut tries = 1;
    loop {
        match exchange(&request, &addresses, proxy.is_some(), limits) {
            Err(Failure::Connect { refused: true, .. }) if tries < options.tries => tries += 1,
            result => return result.map_err(explain),
        }
        std::thread::sleep(RETRY_PAUSE);
    }
}

fn proxy(options: &Options, url: &Url) -> Result<Option<Url>, String> {
    let variable = std::env::var("http_proxy").ok().filter(|proxy| !proxy.is_empty());
    match variable {
        Some(proxy) if options.proxy && url.scheme() == "http" => parse(&proxy).map(Some),
        _ => Ok(None),
    }
}

fn explain(failure: Failure) -> String {
    match failure {
        Failure::BadAddress(name) => format!("bad address '{name}'"),
        Failure::Connect { address, reason, .. } => {
            format!("can't connect to remote host ({}): {reason}", address.ip())
        }
        Failure::TimedOut => "download timed out".to_owned(),
        Failure::Certificate(host) => format!(
            "can't verify the certificate of '{host}': give its authority with --ca-certificate FILE, or take any with \
             --no-check-certificate"
        ),
        Failure::Tls => "TLS handshake failed: does the server speak https on this port?".to_owned(),
        Failure::Request(problem) => problem,
        Failure::Answer(error) => format!("error getting response: {}", reason(&error)),
    }
}

/// Writes the body after the first `present` bytes of where it belongs.
fn save(
    options: &Options,
    mut response: Response,
    output: &mut Output,
    name: &str,
    present: u64,
    log: &mut Log,
) -> Result<(), String> {
    let mut target = output.target(options, name, present)?;
    log.say(&target.beginning());
    let mut progress = Progress::new(target.name(), present, response.length, !options.quiet && log.is_stderr());
    let mut block = vec![0; BLOCK];
    loop {
        let count = match response.body.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Err("download timed out".to_owned()),
            Err(error) => return Err(format!("error getting response: {}", reason(&error))),
        };
        target.write(&block[..count])?;
        progress.add(count as u64);
    }
    progress.finish();
    log.say(&target.finish()?);
    Ok(())
}
