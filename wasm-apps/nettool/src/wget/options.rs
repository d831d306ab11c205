//! What `wget` can be told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

/// How long the server may take unless told otherwise, as with busybox.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(900);

/// What the arguments say.
pub(super) struct Options {
    pub(super) quiet: bool,
    pub(super) show_headers: bool,
    pub(super) resume: bool,
    pub(super) spider: bool,
    pub(super) any_certificate: bool,
    pub(super) authorities: Option<PathBuf>,
    pub(super) proxy: bool,
    pub(super) output: Option<PathBuf>,
    pub(super) directory: Option<PathBuf>,
    pub(super) log: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) tries: u32,
    pub(super) headers: Vec<(String, String)>,
    pub(super) post: Option<Post>,
    pub(super) agent: String,
    pub(super) urls: Vec<String>,
}

/// Where the body of a POST comes from.
pub(super) enum Post {
    Data(String),
    File(PathBuf),
}

impl Options {
    pub(super) fn parse(arguments: Vec<OsString>) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            quiet: false,
            show_headers: false,
            resume: false,
            spider: false,
            any_certificate: false,
            authorities: None,
            proxy: true,
            output: None,
            directory: None,
            log: None,
            timeout: DEFAULT_TIMEOUT,
            tries: 1,
            headers: Vec::new(),
            post: None,
            agent: "Wget".to_owned(),
            urls: Vec::new(),
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('q') | Long("quiet") => options.quiet = true,
                Short('S') | Long("server-response") => options.show_headers = true,
                Short('c') | Long("continue") => options.resume = true,
                Short('O') | Long("output-document") => options.output = Some(parser.value()?.into()),
                Short('P') | Long("directory-prefix") => options.directory = Some(parser.value()?.into()),
                Short('o') | Long("output-file") => options.log = Some(parser.value()?.into()),
                Short('T') | Long("timeout") => options.timeout = seconds(parser.value()?.parse()?),
                Short('t') | Long("tries") => options.tries = parser.value()?.parse()?,
                Short('U') | Long("user-agent") => options.agent = parser.value()?.string()?,
                Short('Y') | Long("proxy") => options.proxy = parser.value()? != "off",
                Long("spider") => options.spider = true,
                Long("header") => options.headers.push(header(&parser.value()?.string()?)?),
                Long("post-data") => options.post = Some(Post::Data(parser.value()?.string()?)),
                Long("post-file") => options.post = Some(Post::File(parser.value()?.into())),
                Long("no-check-certificate") => options.any_certificate = true,
                Long("ca-certificate") => options.authorities = Some(parser.value()?.into()),
                Value(url) => options.urls.push(url.string()?),
                _ => return Err(argument.unexpected()),
            }
        }
        if options.urls.is_empty() {
            return Err("a URL is needed: wget [-cqS] [-O FILE] [-P DIR] [--header STR] URL...".into());
        }
        Ok(options)
    }
}

/// No limit is what 0 means.
fn seconds(count: u64) -> Duration {
    if count == 0 { Duration::MAX } else { Duration::from_secs(count) }
}

/// `Name: value`.
fn header(line: &str) -> Result<(String, String), lexopt::Error> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("bad header '{line}': it should be 'Name: value'").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split(' ').map(OsString::from).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_found_in_every_usual_form() {
        let options = parse("-qSc -O- --header A:b --header=C:d:e -T 5 -t3 -Y off -U me --post-data= a b").unwrap();
        assert!(options.quiet && options.show_headers && options.resume && !options.proxy && !options.spider);
        assert_eq!(options.output, Some("-".into()));
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(options.headers, [header("A", "b"), header("C", "d:e")]);
        assert_eq!((options.timeout, options.tries, options.agent.as_str()), (Duration::from_secs(5), 3, "me"));
        assert!(matches!(options.post, Some(Post::Data(data)) if data.is_empty()));
        assert_eq!(options.urls, ["a", "b"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let problem = |line| parse(line).err().unwrap();
        assert!(problem("-q").starts_with("a URL is needed"));
        assert_eq!(problem("--header A url"), "bad header 'A': it should be 'Name: value'");
        assert_eq!(problem("--nonsense url"), "invalid option '--nonsense'");
    }
}
