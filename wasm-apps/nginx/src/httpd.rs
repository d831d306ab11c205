//! `httpd` of busybox: `httpd [-f] [-p [ADDRESS:]PORT] [-h DIRECTORY] [-n COUNT]`, a configuration of a few lines.
//! `-n`, husk's own, ends it after COUNT requests.

use std::ffi::OsString;
use std::process::ExitCode;

use lexopt::prelude::*;
use nginx::config::{Config, ConfigError, Source, load_text};

use crate::{Container, serve, serve_config};

/// The types of files.
const TYPES: &str = include_str!("../files/mime.types");

/// What to serve, and where.
struct Options {
    listen: String,
    root: String,
    limit: Option<u64>,
}

/// Serves as the arguments say.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let config = match parse(args).map_err(|error| error.to_string()).and_then(|options| configure(&options)) {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("httpd: {problem}");
            return ExitCode::FAILURE;
        }
    };
    serve::catch_signals();
    serve_config(config, || Err(ConfigError::general("httpd has no configuration to read anew")))
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, lexopt::Error> {
    let mut options = Options { listen: "80".to_owned(), root: ".".to_owned(), limit: None };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next()? {
        match argument {
            // It always stays in the foreground: there is no background to go to.
            Short('f' | 'v') => {}
            Short('p') => options.listen = parser.value()?.string()?,
            Short('h') => options.root = parser.value()?.string()?,
            Short('n') => options.limit = Some(parser.value()?.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

fn configure(options: &Options) -> Result<Config, String> {
    let directory = std::env::var("PWD").unwrap_or_else(|_| "/".to_owned());
    let root = match options.root.strip_prefix('/') {
        Some(_) => options.root.clone(),
        None => format!("{}/{}", directory.trim_end_matches('/'), options.root.trim_start_matches("./")),
    };
    if [&root, &options.listen].iter().any(|text| text.contains(['"', '\\', '$', '\n', ';', '{'])) {
        return Err(format!("bad port '{}' or directory '{root}'", options.listen));
    }
    let text = format!(
        "events {{}} daemon off; error_log stderr; http {{ {TYPES} default_type application/octet-stream; \
         log_format httpd '$remote_addr \"$request\" $status $body_bytes_sent'; access_log /dev/stdout httpd; \
         server {{ listen {}; root \"{}\"; }} }}",
        options.listen,
        root.trim_end_matches("/.")
    );
    let (file, prefix, directives) = (String::new(), "/".to_owned(), String::new());
    let source = Source { file, prefix, directives, error_log: None };
    let mut config = load_text(&Container, &source, &text).map_err(|error| error.message)?.config;
    config.request_limit = options.limit;
    Ok(config)
}
