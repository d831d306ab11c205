//! `husk logs`: what containers have printed, of several at once when they are followed.

use std::io::Write;

use anyhow::bail;
use futures::AsyncReadExt;
use futures::future::try_join_all;
use futures::io::AsyncBufReadExt;
use serde_json::Value;

use super::connection::{AS_JSON, Connection, describe_error};
use super::kinds::{query, segment};
use super::pods;
use crate::cli::logs::LogsArgs;
use crate::cli::print::object::{list, text};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Lines of each container when pods were selected by labels and no number was named.
const TAIL_OF_SELECTED: i64 = 10;

/// A container whose log is read.
struct Source {
    path: String,
    prefix: String,
}

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &LogsArgs) -> anyhow::Result<u8> {
    let sources = sources(connection, args).await?;
    if sources.is_empty() {
        writeln!(std::io::stderr(), "No resources found in {} namespace.", connection.namespace)?;
        return Ok(0);
    }
    if args.follow && sources.len() > 1 {
        try_join_all(sources.iter().map(|source| by_lines(connection, source))).await?;
        return Ok(0);
    }
    let several = sources.len() > 1;
    let mut code = 0;
    for source in &sources {
        let read =
            if source.prefix.is_empty() { whole(connection, source).await } else { by_lines(connection, source).await };
        if let Err(error) = read {
            if !several || error.downcast_ref::<kube::Error>().is_none() {
                return Err(error);
            }
            code = 1;
            writeln!(std::io::stderr(), "{}", describe_error(&error))?;
        }
    }
    Ok(code)
}

async fn sources(connection: &Connection, args: &LogsArgs) -> anyhow::Result<Vec<Source>> {
    let pods = match (&args.pod, &args.selector) {
        (Some(pod), _) => vec![pods::find(connection, pod).await?],
        (None, Some(selector)) => {
            let query = query(&[("labelSelector", selector.clone())]);
            let path = format!("/api/v1/namespaces/{}/pods{query}", segment(&connection.namespace));
            list(&connection.get(&path, AS_JSON).await?, &["items"]).to_vec()
        }
        (None, None) => bail!("name a pod, or select pods by their labels with -l"),
    };
    let mut sources = Vec::new();
    for pod in &pods {
        let named = args.container.as_deref().or(args.container_word.as_deref());
        let containers =
            if args.all_containers { pods::containers(pod) } else { vec![pods::choose(pod, named, false)?] };
        sources.extend(containers.iter().map(|container| source(args, pod, container)));
    }
    Ok(sources)
}

fn source(args: &LogsArgs, pod: &Value, container: &str) -> Source {
    let (namespace, name) = (text(pod, &["metadata", "namespace"]), text(pod, &["metadata", "name"]));
    let mut parameters = vec![("container", container.to_owned())];
    for (key, wanted) in [("follow", args.follow), ("previous", args.previous), ("timestamps", args.timestamps)] {
        if wanted {
            parameters.push((key, "true".to_owned()));
        }
    }
    let tail = args.tail.or(args.selector.as_ref().map(|_| TAIL_OF_SELECTED));
    if let Some(lines) = tail.filter(|lines| *lines >= 0) {
        parameters.push(("tailLines", lines.to_string()));
    }
    if let Some(since) = args.since {
        // A part of a second counts as a whole one: nothing that was asked for is left out.
        parameters.push(("sinceSeconds", since.as_millis().div_ceil(1000).max(1).to_string()));
    }
    if let Some(time) = &args.since_time {
        parameters.push(("sinceTime", time.clone()));
    }
    if let Some(bytes) = args.limit_bytes {
        parameters.push(("limitBytes", bytes.to_string()));
    }
    let prefix = if args.prefix { format!("[pod/{name}/{container}] ") } else { String::new() };
    Source { path: format!("{}/log{}", pods::path(namespace, name), query(&parameters)), prefix }
}

/// Passes everything on as it comes.
async fn whole(connection: &Connection, source: &Source) -> anyhow::Result<()> {
    let mut stream = connection.client.request_stream(http::Request::get(&source.path).body(Vec::new())?).await?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut stdout = std::io::stdout();
        stdout.write_all(&buffer[..count])?;
        stdout.flush()?;
    }
}

/// Passes whole lines on: those of several containers do not get mixed up.
async fn by_lines(connection: &Connection, source: &Source) -> anyhow::Result<()> {
    let mut stream = connection.client.request_stream(http::Request::get(&source.path).body(Vec::new())?).await?;
    loop {
        let mut line = source.prefix.clone().into_bytes();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let mut stdout = std::io::stdout();
        stdout.write_all(&line)?;
        stdout.flush()?;
    }
}
