//! `wget [-q] [-S] [-O FILE] [-T SECONDS] [-t TRIES] [--header LINE] [--post-data TEXT] [--spider] URL`: fetches one
//! `http://` URL by HTTP/1.1, following redirections. `-O -` writes to standard output. With `-t`, a refused connection
//! is tried again after a moment, which is how to wait for a server that is just starting.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use lexopt::prelude::*;

/// Pause between tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Redirections followed.
const MAX_REDIRECTIONS: u32 = 5;
/// Longest header line.
const MAX_LINE: u64 = 16 * 1024;
/// Most header lines.
const MAX_HEADERS: usize = 256;

#[derive(Default)]
struct Options {
    quiet: bool,
    show_headers: bool,
    spider: bool,
    output: Option<String>,
    timeout: Option<Duration>,
    tries: u32,
    headers: Vec<String>,
    body: Option<String>,
    url: String,
}

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), String> {
    let options = parse(arguments).map_err(|error| error.to_string())?;
    let mut url = options.url.clone();
    for _ in 0..=MAX_REDIRECTIONS {
        match fetch(&options, &url)? {
            None => return Ok(()),
            Some(location) => url = location,
        }
    }
    Err("too many redirections".to_owned())
}

fn parse(arguments: Vec<OsString>) -> Result<Options, lexopt::Error> {
    let mut options = Options { tries: 1, ..Options::default() };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('q') => options.quiet = true,
            Short('S') => options.show_headers = true,
            Short('O') => options.output = Some(parser.value()?.string()?),
            Short('T') => options.timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
            Short('t') => options.tries = parser.value()?.parse()?,
            Long("spider") => options.spider = true,
            Long("header") => options.headers.push(parser.value()?.string()?),
            Long("post-data") => options.body = Some(parser.value()?.string()?),
            Value(url) => options.url = url.string()?,
            _ => return Err(argument.unexpected()),
        }
    }
    if options.url.is_empty() {
        return Err("a URL is needed: wget [-q] [-O FILE] URL".into());
    }
    Ok(options)
}

/// Where a URL points.
struct Target<'a> {
    host: &'a str,
    port: u16,
    path: String,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(format!("only http:// URLs are supported, not {scheme}://")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| format!("bad port '{port}'"))?)
            }
            _ => (authority, 80),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty()
            || (path.clone() + host).contains(|character: char| character.is_ascii_control() || character == ' ')
        {
            return Err(format!("bad url '{url}'"));
        }
        Ok(Self { host, port, path })
    }
}

/// Fetches `url`; where it redirects to, if it does.
fn fetch(options: &Options, url: &str) -> Result<Option<String>, String> {
    let target = Target::parse(url)?;
    let mut connection = connect(options, &target)?;
    send(options, &target, &mut connection)
        .map_err(|error| format!("error sending the request: {}", reason(&error)))?;
    let mut answer = BufReader::new(connection);
    let head = Head::read(&mut answer).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "download timed out".to_owned(),
        _ => format!("error getting response: {}", reason(&error)),
    })?;
    if options.show_headers {
        for line in std::iter::once(&head.status_line).chain(&head.lines) {
            eprintln!("  {line}");
        }
    }
    match head.status {
        301 | 302 | 303 | 307 | 308 => {
            let location = head.value("location").ok_or("redirected to nowhere")?;
            return Ok(Some(match location.strip_prefix('/') {
                Some(path) => format!("http://{}:{}/{path}", target.host, target.port),
                None => location.to_owned(),
            }));
        }
        200..=299 => {}
        _ => return Err(format!("server returned error: {}", head.status_line)),
    }
    if !options.spider {
        let path = options.output.clone().unwrap_or_else(|| default_name(&target.path));
        save(&head, &mut answer, &path).map_err(|error| format!("{path}: {}", reason(&error)))?;
        if !options.quiet && path != "-" {
            eprintln!("'{path}' saved");
        }
    }
    Ok(None)
}

fn default_name(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index.html").to_owned()
}

fn connect(options: &Options, target: &Target<'_>) -> Result<TcpStream, String> {
    let bad_address = || format!("bad address '{}'", target.host);
    let addresses: Vec<_> = (target.host, target.port).to_socket_addrs().map_err(|_| bad_address())?.collect();
    let mut tries = 1;
    loop {
        let mut problem = bad_address();
        let mut refused = false;
        for address in &addresses {
            let connected = match options.timeout {
                Some(timeout) => TcpStream::connect_timeout(address, timeout),
                None => TcpStream::connect(address),
            };
            match connected {
                Ok(connection) => {
                    // A host without receive timeouts just waits longer.
                    let _unsupported = connection.set_read_timeout(options.timeout);
                    return Ok(connection);
                }
                Err(error) => {
                    refused |= error.kind() == ErrorKind::ConnectionRefused;
                    problem = format!("can't connect to remote host ({}): {}", address.ip(), reason(&error));
                }
            }
        }
        if !refused || tries >= options.tries {
            return Err(problem);
        }
        tries += 1;
        std::thread::sleep(RETRY_PAUSE);
    }
}

fn send(options: &Options, target: &Target<'_>, connection: &mut TcpStream) -> io::Result<()> {
    let method = match (&options.body, options.spider) {
        (Some(_), _) => "POST",
        (None, true) => "HEAD",
        (None, false) => "GET",
    };
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.to_owned() };
    let port = if target.port == 80 { String::new() } else { format!(":{}", target.port) };
    let mut request =
        format!("{method} {} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: Wget\r\nConnection: close\r\n", target.path);
    for header in &options.headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if let Some(body) = &options.body {
        request.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    } else {
        request.push_str("\r\n");
    }
    connection.write_all(request.as_bytes())
}

/// The head of an answer.
struct Head {
    status_line: String,
    status: u16,
    lines: Vec<String>,
}

impl Head {
    fn read(answer: &mut impl BufRead) -> io::Result<Self> {
        let status_line = read_line(answer)?;
        let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| invalid("not an HTTP answer"))?;
        let mut lines = Vec::new();
        loop {
            match read_line(answer)? {
                line if line.is_empty() => return Ok(Self { status_line, status, lines }),
                _ if lines.len() == MAX_HEADERS => return Err(invalid("too many headers")),
                line => lines.push(line),
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let parts = self.lines.iter().filter_map(|line| line.split_once(':'));
        parts.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// A line without its end.
fn read_line(answer: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    answer.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\n") {
        Some(text) => Ok(String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text)).into_owned()),
        None if line.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
        None => Err(invalid("line too long or cut off")),
    }
}

fn save(head: &Head, answer: &mut impl BufRead, path: &str) -> io::Result<()> {
    let mut output: Box<dyn Write> = if path == "-" { Box::new(io::stdout()) } else { Box::new(File::create(path)?) };
    if head.value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        copy_chunks(answer, &mut output)?;
    } else if let Some(length) = head.value("content-length") {
        let length: u64 = length.parse().map_err(|_| invalid("bad Content-Length"))?;
        if io::copy(&mut answer.take(length), &mut output)? < length {
            return Err(invalid("connection closed prematurely"));
        }
    } else {
        io::copy(answer, &mut output)?;
    }
    output.flush()
}

fn copy_chunks(answer: &mut impl BufRead, output: &mut dyn Write) -> io::Result<()> {
    loop {
        let line = read_line(answer)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("bad chunk"))?;
        if size == 0 {
            return Ok(());
        }
        if io::copy(&mut answer.by_ref().take(size), output)? < size {
            return Err(invalid("connection closed prematurely"));
        }
        read_line(answer)?;
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

/// What the system says about an error, without Rust's `(os error N)`.
fn reason(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}
