//! A `curl` for probes and scripts: fetches URLs of http and https. Its progress meter is left out.

mod options;
mod report;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use url::Url;

use self::options::{Options, Output};
use self::report::{Report, head_of_request, head_of_response};
use crate::Failure as Exit;
use crate::http::{
    Failure, Limits, Request, Response, accept_any_certificate, authorization, exchange, file_name, follow, parse,
    resolve, set_authorities,
};

/// Redirections followed unless told otherwise.
const MAX_REDIRECTIONS: u32 = 50;
/// Pause before the first retry; it doubles.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_RETRY_PAUSE: Duration = Duration::from_secs(600);
/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// What went wrong, with curl's number for it.
struct Problem {
    code: u8,
    text: String,
    /// Whether `--retry` is for this; with `true` if only together with `--retry-connrefused`.
    refused: bool,
    passing: bool,
}

impl Problem {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), refused: false, passing: false }
    }
}

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), Exit> {
    let options = Options::parse(arguments).map_err(|error| {
        let text = error.to_string();
        let code = text.trim_start_matches('(').split(')').next().and_then(|code| code.parse().ok()).unwrap_or(2);
        Exit { code, message: text }
    })?;
    let mut last = trust(&options);
    if last.is_ok() {
        for (index, url) in options.urls.iter().enumerate() {
            last = fetch_with_retries(&options, url, options.outputs.get(index));
            if let Err(problem) = &last
                && options.urls.len() > 1
            {
                say(&options, problem);
            }
        }
    }
    last.map_err(|problem| {
        if options.urls.len() < 2 {
            say(&options, &problem);
        }
        Exit::silent(problem.code)
    })
}

fn say(options: &Options, problem: &Problem) {
    if !options.silent || options.show_error {
        eprintln!("curl: ({}) {}", problem.code, problem.text);
    }
}

fn trust(options: &Options) -> Result<(), Problem> {
    if options.insecure {
        accept_any_certificate();
        return Ok(());
    }
    let variable = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(Into::into);
    let path = options.authorities.clone().or_else(|| variable("CURL_CA_BUNDLE")).or_else(|| variable("SSL_CERT_FILE"));
    let Some(path) = path else { return Ok(()) };
    let bad =
        |problem: String| Problem::new(77, format!("error setting certificate file: {}: {problem}", path.display()));
    let pem = fs::read(&path).map_err(|error| bad(crate::http::reason(&error)))?;
    set_authorities(&pem).map_err(bad)
}

fn fetch_with_retries(options: &Options, url: &str, output: Option<&Output>) -> Result<(), Problem> {
    let mut pause = options.retry_delay.unwrap_or(FIRST_RETRY_PAUSE);
    let mut left = options.retries;
    loop {
        match fetch(options, url, output) {
            Err(problem) if left > 0 && (problem.passing || (problem.refused && options.retry_refused)) => {
                if !options.silent {
                    eprintln!("curl: ({}) {}; trying again in {} s", problem.code, problem.text, pause.as_secs());
                }
                left -= 1;
                std::thread::sleep(pause);
                if options.retry_delay.is_none() {
                    pause = (pause * 2).min(LONGEST_RETRY_PAUSE);
                }
            }
            result => return result,
        }
    }
}

fn fetch(options: &Options, url: &str, output: Option<&Output>) -> Result<(), Problem> {
    let started = Instant::now();
    let url = parse(url).map_err(|problem| {
        let unsupported = problem.starts_with("not an http");
        Problem::new(if unsupported { 1 } else { 3 }, format!("URL rejected: {problem}"))
    })?;
    let mut request = request(options, url)?;
    let mut report = Report::default();
    let result = follow_all(options, &mut request, output, started, &mut report);
    if let Some(format) = &options.write_out {
        report.seconds = started.elapsed().as_secs_f64();
        report.url = request.url.to_string();
        print!("{}", report.text(format));
    }
    result
}

/// Sends the request, and those it is redirected to.
fn follow_all(
    options: &Options,
    request: &mut Request,
    output: Option<&Output>,
    started: Instant,
    report: &mut Report,
) -> Result<(), Problem> {
    let file_name = file_name(&request.url);
    loop {
        let mut response = ask(options, request)?;
        report.status = response.status;
        report.content_type = response.header("content-type").unwrap_or_default().to_owned();
        let redirected = matches!(response.status, 301 | 302 | 303 | 307 | 308);
        if options.follow && redirected && response.header("location").is_some() {
            if report.redirections >= options.max_redirections.unwrap_or(MAX_REDIRECTIONS) {
                return Err(Problem::new(47, format!("Maximum ({}) redirects followed", report.redirections)));
            }
            report.redirections += 1;
            if options.include || options.head {
                print!("{}", head_of_response(&response));
            }
            let method_is_given = options.method.is_some();
            follow(request, &response, method_is_given).map_err(|problem| Problem::new(3, problem))?;
            continue;
        }
        if options.fail && response.status >= 400 {
            let text = format!("The requested URL returned error: {}", response.status);
            let passing = matches!(response.status, 408 | 429 | 500 | 502 | 503 | 504);
            return Err(Problem { passing, ..Problem::new(22, text) });
        }
        return save(options, &mut response, output, &file_name, started, report);
    }
}

fn request(options: &Options, mut url: Url) -> Result<Request, Problem> {
    let mut body = options.data.clone();
    if options.query
        && let Some(data) = body.take()
    {
        let data = String::from_utf8_lossy(&data).into_owned();
        let query = url.query().map_or_else(|| data.clone(), |query| format!("{query}&{data}"));
        url.set_query(Some(&query));
    }
    let method = match (&options.method, &body) {
        (Some(method), _) => method.clone(),
        (None, _) if options.head => "HEAD".to_owned(),
        (None, Some(_)) => "POST".to_owned(),
        (None, None) => "GET".to_owned(),
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Problem::new(3, format!("bad method '{method}'")));
    }
    let mut request = Request { method, url, headers: Vec::new(), body };
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let defaults = [("User-Agent", "curl/8.0.0"), ("Accept", "*/*")];
    for (name, value) in defaults.into_iter().chain(request.body.is_some().then_some(form)) {
        if !options.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            request.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    // A header without a value leaves out the one that would be sent.
    request.headers.extend(options.headers.iter().filter(|(_, value)| !value.is_empty()).cloned());
    Ok(request)
}

fn ask(options: &Options, request: &Request) -> Result<Response, Problem> {
    let addresses = resolve(&request.url).map_err(|failure| explain(options, request, failure))?;
    let mut sent = request.clone();
    if let Some(value) = authorization(&request.url).filter(|_| !request.has_header("authorization")) {
        sent.headers.push(("Authorization".to_owned(), value));
    }
    if options.verbose {
        eprint!("{}", head_of_request(&sent));
    }
    let limits = Limits { connect: options.connect_timeout.or(options.max_time), read: options.max_time };
    let response = exchange(&sent, &addresses, false, limits).map_err(|failure| explain(options, request, failure))?;
    if options.verbose {
        let head = head_of_response(&response);
        head.lines().for_each(|line| eprintln!("< {line}"));
    }
    Ok(response)
}

fn explain(options: &Options, request: &Request, failure: Failure) -> Problem {
    match failure {
        Failure::BadAddress(name) => {
            Problem { passing: true, ..Problem::new(6, format!("Could not resolve host: {name}")) }
        }
        Failure::Connect { address, reason, refused } => {
            let host = request.url.host_str().unwrap_or_default();
            let text = format!("Failed to connect to {host} port {}: {reason}", address.port());
            Problem { refused, ..Problem::new(7, text) }
        }
        Failure::TimedOut => Problem { passing: true, ..timed_out(options) },
        Failure::Certificate(host) => Problem::new(
            60,
            format!("SSL certificate problem: that of '{host}' is not vouched for; see --cacert FILE and --insecure"),
        ),
        Failure::Tls => Problem::new(35, "TLS connect error: does the server speak https on this port?"),
        Failure::Request(problem) => Problem::new(43, problem),
        Failure::Answer(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Problem::new(52, "Empty reply from server")
        }
        Failure::Answer(error) => Problem::new(56, crate::http::reason(&error)),
    }
}

fn timed_out(options: &Options) -> Problem {
    let limit = options.max_time.or(options.connect_timeout).unwrap_or_default().as_millis();
    Problem::new(28, format!("Operation timed out after {limit} milliseconds"))
}

/// Writes the answer to where it belongs.
fn save(
    options: &Options,
    response: &mut Response,
    output: Option<&Output>,
    file_name: &str,
    started: Instant,
    report: &mut Report,
) -> Result<(), Problem> {
    let mut target = open(output, file_name)?;
    let mut write = |bytes: &[u8]| {
        target.write_all(bytes).and_then(|()| target.flush()).map_err(|_| Problem::new(23, "Failure writing output"))
    };
    if options.include || options.head {
        write(head_of_response(response).as_bytes())?;
    }
    let mut block = vec![0; BLOCK];
    loop {
        let count = match response.body.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Err(timed_out(options)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Problem::new(18, "transfer closed with outstanding read data remaining"));
            }
            Err(error) => return Err(Problem::new(56, crate::http::reason(&error))),
        };
        write(&block[..count])?;
        report.size += count as u64;
        if options.max_time.is_some_and(|limit| started.elapsed() > limit) {
            return Err(timed_out(options));
        }
    }
}

fn open(output: Option<&Output>, file_name: &str) -> Result<Box<dyn Write>, Problem> {
    let path = match output {
        None => return Ok(Box::new(io::stdout())),
        Some(Output::File(path)) if path.as_os_str() == "-" => return Ok(Box::new(io::stdout())),
        Some(Output::File(path)) => path.as_path(),
        Some(Output::Remote) => Path::new(file_name),
    };
    match File::create(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(_) => Err(Problem::new(23, format!("Failed to open the file {}", path.display()))),
    }
}
