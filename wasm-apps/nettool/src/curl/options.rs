//! What `curl` can be told: what scripts and probes use of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::*;

use crate::http::basic;

/// What the arguments say.
#[derive(Default)]
pub(super) struct Options {
    pub(super) silent: bool,
    pub(super) show_error: bool,
    pub(super) fail: bool,
    pub(super) follow: bool,
    pub(super) include: bool,
    pub(super) head: bool,
    pub(super) insecure: bool,
    pub(super) verbose: bool,
    pub(super) query: bool,
    pub(super) outputs: Vec<Output>,
    pub(super) method: Option<String>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) authorities: Option<PathBuf>,
    pub(super) write_out: Option<String>,
    pub(super) max_time: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) retry_delay: Option<Duration>,
    pub(super) retry_refused: bool,
    pub(super) max_redirections: Option<u32>,
    pub(super) urls: Vec<String>,
}

/// Where a body goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    File(PathBuf),
    /// A file called as the last part of the URL.
    Remote,
}

impl Options {
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Short(letter) => letter.to_string(),
                Long(name) => name.to_owned(),
                Value(url) => {
                    options.urls.push(url.string()?);
                    continue;
                }
            };
            if !options.set_flag(&name) {
                options.set_value(&name, &mut parser)?;
            }
        }
        if options.urls.is_empty() {
            return Err("(2) no URL specified".into());
        }
        Ok(options)
    }

    /// Options without a value; whether it is one.
    fn set_flag(&mut self, name: &str) -> bool {
        match name {
            "s" | "silent" => self.silent = true,
            "S" | "show-error" => self.show_error = true,
            "f" | "fail" => self.fail = true,
            "L" | "location" => self.follow = true,
            "i" | "include" | "show-headers" => self.include = true,
            "I" | "head" => self.head = true,
            "k" | "insecure" => self.insecure = true,
            "v" | "verbose" => self.verbose = true,
            "G" | "get" => self.query = true,
            "O" | "remote-name" => self.outputs.push(Output::Remote),
            "retry-connrefused" | "retry-all-errors" => self.retry_refused = true,
            // What there is no other way of here.
            "N" | "4" | "6" | "q" | "http1.1" | "no-progress-meter" | "no-buffer" | "globoff" => {}
            _ => return false,
        }
        true
    }

    fn set_value(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        let mut header = |name: &str, value: String| self.headers.push((name.to_owned(), value));
        match name {
            "o" | "output" => self.outputs.push(Output::File(parser.value()?.into())),
            "X" | "request" => self.method = Some(parser.value()?.string()?),
            "w" | "write-out" => self.write_out = Some(parser.value()?.string()?),
            "m" | "max-time" => self.max_time = Some(seconds(&parser.value()?.string()?)?),
            "connect-timeout" => self.connect_timeout = Some(seconds(&parser.value()?.string()?)?),
            "cacert" => self.authorities = Some(parser.value()?.into()),
            "retry" => self.retries = parser.value()?.parse()?,
            "retry-delay" => self.retry_delay = Some(seconds(&parser.value()?.string()?)?),
            "max-redirs" => self.max_redirections = Some(parser.value()?.parse()?),
            "url" => self.urls.push(parser.value()?.string()?),
            "A" | "user-agent" => header("User-Agent", parser.value()?.string()?),
            "e" | "referer" => header("Referer", parser.value()?.string()?),
            "b" | "cookie" => header("Cookie", parser.value()?.string()?),
            "u" | "user" => {
                let credentials = parser.value()?.string()?;
                let colon = if credentials.contains(':') { "" } else { ":" };
                header("Authorization", basic(&format!("{credentials}{colon}")));
            }
            "H" | "header" => {
                let line = parser.value()?.string()?;
                let (name, value) = line.split_once(':').ok_or_else(|| format!("(2) bad header '{line}'"))?;
                header(name.trim(), value.trim().to_owned());
            }
            "d" | "data" | "data-ascii" => self.add_data(&parser.value()?.string()?, Lines::Join)?,
            "data-binary" => self.add_data(&parser.value()?.string()?, Lines::Keep)?,
            "data-raw" => self.add_bytes(parser.value()?.string()?.as_bytes()),
            "json" => {
                header("Content-Type", "application/json".to_owned());
                header("Accept", "application/json".to_owned());
                self.add_data(&parser.value()?.string()?, Lines::Keep)?;
            }
            name => {
                let dashes = if name.chars().count() == 1 { "-" } else { "--" };
                return Err(format!("option {dashes}{name}: is unknown").into());
            }
        }
        Ok(())
    }

    /// `text`, or what is in the file that `@file` names.
    fn add_data(&mut self, text: &str, lines: Lines) -> Result<(), lexopt::Error> {
        let Some(path) = text.strip_prefix('@') else {
            self.add_bytes(text.as_bytes());
            return Ok(());
        };
        let path = if path == "-" { Path::new("/dev/stdin") } else { Path::new(path) };
        let mut bytes = fs::read(path).map_err(|_| format!("(26) Failed to open {}", path.display()))?;
        if lines == Lines::Join {
            bytes.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        }
        self.add_bytes(&bytes);
        Ok(())
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        match &mut self.data {
            Some(data) => data.extend([b"&", bytes].concat()),
            None => self.data = Some(bytes.to_vec()),
        }
    }
}

/// What becomes of line ends in a file that is sent.
#[derive(PartialEq, Eq)]
enum Lines {
    Join,
    Keep,
}

fn seconds(text: &str) -> Result<Duration, lexopt::Error> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("(2) '{text}' is not a number of seconds").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(OsString::from).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_of_probes_and_scripts_are_known() {
        let options =
            parse("-fsSL -o /dev/null -w %{http_code} -m 2.5 --retry 3 -H A:b -u u:p -d a=b -d c=d url").unwrap();
        assert!(options.fail && options.silent && options.show_error && options.follow && !options.head);
        assert_eq!(options.outputs, [Output::File("/dev/null".into())]);
        assert_eq!((options.max_time, options.retries), (Some(Duration::from_millis(2500)), 3));
        assert_eq!(options.data.as_deref(), Some(b"a=b&c=d".as_slice()));
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.headers, [header("A", "b"), header("Authorization", "Basic dTpw")]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (line, problem) in [
            ("-s", "(2) no URL specified"),
            ("--nonsense url", "option --nonsense: is unknown"),
            ("-m x url", "(2) 'x' is not a number of seconds"),
            ("-d @/no/such/file url", "(26) Failed to open /no/such/file"),
        ] {
            assert_eq!(parse(line).err().unwrap(), problem, "{line}");
        }
    }
}
