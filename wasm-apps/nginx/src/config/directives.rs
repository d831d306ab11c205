//! Every directive that is known: where it may stand, how many arguments it takes, and whether it has an effect.

use super::error::ConfigError;
use super::tree::Directive;

/// Where a directive stands; a set of bits.
pub(super) type Context = u16;
pub(super) const MAIN: Context = 1;
pub(super) const EVENTS: Context = 1 << 1;
pub(super) const HTTP: Context = 1 << 2;
pub(super) const SERVER: Context = 1 << 3;
pub(super) const LOCATION: Context = 1 << 4;
pub(super) const UPSTREAM: Context = 1 << 5;
pub(super) const SERVER_IF: Context = 1 << 6;
pub(super) const LOCATION_IF: Context = 1 << 7;
pub(super) const LIMIT_EXCEPT: Context = 1 << 8;

/// Where most settings of a request may stand.
const SETTINGS: Context = HTTP | SERVER | LOCATION;
/// The same, and in `if` of a location.
const SETTINGS_IF: Context = SETTINGS | LOCATION_IF;
/// Where requests are rewritten.
const REWRITE: Context = SERVER | LOCATION | SERVER_IF | LOCATION_IF;

/// How a directive is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Ends with `;`, once for each block.
    Once,
    /// Ends with `;`, as often as one likes.
    Many,
    /// Has a block.
    Block,
}
use Form::{Block, Many, Once};

/// Any number of arguments, from one up.
const SOME: (usize, usize) = (1, usize::MAX);

type Known = (&'static str, Context, (usize, usize), Form);

/// What this server does.
const EFFECTIVE: &[Known] = &[
    ("absolute_redirect", SETTINGS, (1, 1), Once),
    ("access_log", SETTINGS_IF | LIMIT_EXCEPT, SOME, Many),
    ("add_header", SETTINGS_IF, (2, 3), Many),
    ("alias", LOCATION, (1, 1), Once),
    ("allow", SETTINGS | LIMIT_EXCEPT, (1, 1), Many),
    ("autoindex", SETTINGS, (1, 1), Once),
    ("autoindex_exact_size", SETTINGS, (1, 1), Once),
    ("break", REWRITE, (0, 0), Many),
    ("client_body_timeout", SETTINGS, (1, 1), Once),
    ("client_header_timeout", HTTP | SERVER, (1, 1), Once),
    ("client_max_body_size", SETTINGS, (1, 1), Once),
    ("daemon", MAIN, (1, 1), Once),
    ("default_type", SETTINGS, (1, 1), Once),
    ("deny", SETTINGS | LIMIT_EXCEPT, (1, 1), Many),
    ("error_log", MAIN | SETTINGS, (1, 2), Many),
    ("error_page", SETTINGS_IF, (2, usize::MAX), Many),
    ("etag", SETTINGS, (1, 1), Once),
    ("events", MAIN, (0, 0), Block),
    ("expires", SETTINGS_IF, (1, 2), Once),
    ("http", MAIN, (0, 0), Block),
    ("if", SERVER | LOCATION, SOME, Block),
    ("if_modified_since", SETTINGS, (1, 1), Once),
    ("index", SETTINGS, SOME, Many),
    ("internal", LOCATION, (0, 0), Once),
    ("keepalive_requests", SETTINGS, (1, 1), Once),
    ("keepalive_timeout", SETTINGS, (1, 2), Once),
    ("limit_except", LOCATION, SOME, Block),
    ("listen", SERVER, SOME, Many),
    ("location", SERVER | LOCATION, (1, 2), Block),
    ("log_format", HTTP, (2, usize::MAX), Many),
    ("log_not_found", SETTINGS, (1, 1), Once),
    ("merge_slashes", HTTP | SERVER, (1, 1), Once),
    ("pid", MAIN, (1, 1), Once),
    ("port_in_redirect", SETTINGS, (1, 1), Once),
    ("proxy_connect_timeout", SETTINGS, (1, 1), Once),
    ("proxy_hide_header", SETTINGS, (1, 1), Many),
    ("proxy_http_version", SETTINGS, (1, 1), Once),
    ("proxy_intercept_errors", SETTINGS, (1, 1), Once),
    ("proxy_method", SETTINGS, (1, 1), Once),
    ("proxy_next_upstream", SETTINGS, SOME, Once),
    ("proxy_pass", LOCATION | LOCATION_IF | LIMIT_EXCEPT, (1, 1), Once),
    ("proxy_pass_header", SETTINGS, (1, 1), Many),
    ("proxy_pass_request_body", SETTINGS, (1, 1), Once),
    ("proxy_pass_request_headers", SETTINGS, (1, 1), Once),
    ("proxy_read_timeout", SETTINGS, (1, 1), Once),
    ("proxy_redirect", SETTINGS, (1, 2), Many),
    ("proxy_send_timeout", SETTINGS, (1, 1), Once),
    ("proxy_set_header", SETTINGS, (2, 2), Many),
    ("return", REWRITE, (1, 2), Many),
    ("rewrite", REWRITE, (2, 3), Many),
    ("root", SETTINGS_IF, (1, 1), Once),
    ("send_timeout", SETTINGS, (1, 1), Once),
    ("server", UPSTREAM, SOME, Many),
    ("server_name", SERVER, SOME, Many),
    ("server_name_in_redirect", SETTINGS, (1, 1), Once),
    ("server_tokens", SETTINGS, (1, 1), Once),
    ("set", REWRITE, (2, 2), Many),
    ("stub_status", SERVER | LOCATION, (0, 1), Once),
    ("try_files", SERVER | LOCATION, (2, usize::MAX), Once),
    ("types", SETTINGS, (0, 0), Block),
    ("underscores_in_headers", HTTP | SERVER, (1, 1), Once),
    ("upstream", HTTP, (1, 1), Block),
];

/// What tunes nginx for its own machinery and changes nothing of what this server answers: accepted, without effect.
const TUNING: &[Known] = &[
    ("accept_mutex", EVENTS, (1, 1), Once),
    ("aio", SETTINGS, (1, 1), Once),
    ("client_body_buffer_size", SETTINGS, (1, 1), Once),
    ("client_body_temp_path", SETTINGS, (1, 4), Once),
    ("client_header_buffer_size", HTTP | SERVER, (1, 1), Once),
    ("connection_pool_size", HTTP | SERVER, (1, 1), Once),
    ("directio", SETTINGS, (1, 1), Once),
    ("fastcgi_temp_path", SETTINGS, (1, 4), Once),
    ("gzip_buffers", SETTINGS, (2, 2), Once),
    ("gzip_comp_level", SETTINGS, (1, 1), Once),
    ("gzip_disable", SETTINGS, SOME, Once),
    ("gzip_http_version", SETTINGS, (1, 1), Once),
    ("gzip_min_length", SETTINGS, (1, 1), Once),
    ("gzip_proxied", SETTINGS, SOME, Once),
    ("gzip_types", SETTINGS, SOME, Once),
    ("gzip_vary", SETTINGS, (1, 1), Once),
    ("keepalive", UPSTREAM, (1, 1), Once),
    ("keepalive_requests", UPSTREAM, (1, 1), Once),
    ("keepalive_timeout", UPSTREAM, (1, 1), Once),
    ("large_client_header_buffers", HTTP | SERVER, (2, 2), Once),
    ("lingering_close", SETTINGS, (1, 1), Once),
    ("lingering_time", SETTINGS, (1, 1), Once),
    ("lingering_timeout", SETTINGS, (1, 1), Once),
    ("multi_accept", EVENTS, (1, 1), Once),
    ("open_file_cache", SETTINGS, (1, 3), Once),
    ("open_file_cache_errors", SETTINGS, (1, 1), Once),
    ("open_file_cache_min_uses", SETTINGS, (1, 1), Once),
    ("open_file_cache_valid", SETTINGS, (1, 1), Once),
    ("output_buffers", SETTINGS, (2, 2), Once),
    ("pcre_jit", MAIN, (1, 1), Once),
    ("postpone_output", SETTINGS, (1, 1), Once),
    ("proxy_buffer_size", SETTINGS, (1, 1), Once),
    ("proxy_buffering", SETTINGS, (1, 1), Once),
    ("proxy_buffers", SETTINGS, (2, 2), Once),
    ("proxy_busy_buffers_size", SETTINGS, (1, 1), Once),
    ("proxy_headers_hash_bucket_size", SETTINGS, (1, 1), Once),
    ("proxy_headers_hash_max_size", SETTINGS, (1, 1), Once),
    ("proxy_max_temp_file_size", SETTINGS, (1, 1), Once),
    ("proxy_request_buffering", SETTINGS, (1, 1), Once),
    ("proxy_socket_keepalive", SETTINGS, (1, 1), Once),
    ("proxy_temp_path", SETTINGS, (1, 4), Once),
    ("read_ahead", SETTINGS, (1, 1), Once),
    ("reset_timedout_connection", SETTINGS, (1, 1), Once),
    ("resolver", SETTINGS, SOME, Once),
    ("resolver_timeout", SETTINGS, (1, 1), Once),
    ("scgi_temp_path", SETTINGS, (1, 4), Once),
    ("sendfile", SETTINGS_IF, (1, 1), Once),
    ("sendfile_max_chunk", SETTINGS, (1, 1), Once),
    ("server_names_hash_bucket_size", HTTP, (1, 1), Once),
    ("server_names_hash_max_size", HTTP, (1, 1), Once),
    ("tcp_nodelay", SETTINGS, (1, 1), Once),
    ("tcp_nopush", SETTINGS, (1, 1), Once),
    ("types_hash_bucket_size", SETTINGS, (1, 1), Once),
    ("types_hash_max_size", SETTINGS, (1, 1), Once),
    ("use", EVENTS, (1, 1), Once),
    ("user", MAIN, (1, 2), Once),
    ("uwsgi_temp_path", SETTINGS, (1, 4), Once),
    ("variables_hash_bucket_size", HTTP, (1, 1), Once),
    ("variables_hash_max_size", HTTP, (1, 1), Once),
    ("worker_aio_requests", EVENTS, (1, 1), Once),
    ("worker_connections", EVENTS, (1, 1), Once),
    ("worker_cpu_affinity", MAIN, SOME, Once),
    ("worker_priority", MAIN, (1, 1), Once),
    ("worker_processes", MAIN, (1, 1), Once),
    ("worker_rlimit_core", MAIN, (1, 1), Once),
    ("worker_rlimit_nofile", MAIN, (1, 1), Once),
    ("worker_shutdown_timeout", MAIN, (1, 1), Once),
];

/// Accepted only as `off`, which is how it is without them.
const ONLY_OFF: &[Known] = &[
    ("gzip", SETTINGS_IF, (1, 1), Once),
    ("gzip_static", SETTINGS, (1, 1), Once),
    ("proxy_cache", SETTINGS, (1, 1), Once),
    ("ssi", SETTINGS_IF, (1, 1), Once),
];

/// The block directive `server` of `http`, whose name is a simple directive of `upstream` too.
const SERVER_BLOCK: Known = ("server", HTTP, (0, 0), Block);

/// Whether a directive has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Some,
    None,
}

/// Checks everything that the tables say about a directive at a place; `seen` are the others of its block.
pub(super) fn check(directive: &Directive, context: Context, seen: &[Directive]) -> Result<Effect, ConfigError> {
    let name = directive.name.as_str();
    let tables = [(std::slice::from_ref(&SERVER_BLOCK), Effect::Some), (EFFECTIVE, Effect::Some)];
    let tables = tables.into_iter().chain([(TUNING, Effect::None), (ONLY_OFF, Effect::None)]);
    let mut known = tables
        .flat_map(|(table, effect)| table.iter().filter(|entry| entry.0 == name).map(move |entry| (entry, effect)));
    let mut candidates = known.by_ref().peekable();
    if candidates.peek().is_none() {
        return Err(directive.error(format!("unknown directive \"{name}\"")));
    }
    let Some((&(_, _, (least, most), form), effect)) = candidates.find(|((_, allowed, ..), _)| allowed & context != 0)
    else {
        return Err(directive.error(format!("\"{name}\" directive is not allowed here")));
    };
    match (form, &directive.block) {
        (Block, None) => return Err(directive.error(format!("directive \"{name}\" has no opening \"{{\""))),
        (Once | Many, Some(_)) => {
            return Err(directive.error(format!("directive \"{name}\" is not terminated by \";\"")));
        }
        _ => {}
    }
    if !(least..=most).contains(&directive.args.len()) {
        return Err(directive.error(format!("invalid number of arguments in \"{name}\" directive")));
    }
    if form == Once && seen.iter().any(|other| other.name == name) {
        return Err(directive.error(format!("\"{name}\" directive is duplicate")));
    }
    if ONLY_OFF.iter().any(|entry| entry.0 == name) && directive.arg(0) != "off" {
        return Err(
            directive.error(format!("\"{name} {}\" is not supported here, only \"{name} off\"", directive.arg(0)))
        );
    }
    Ok(effect)
}
