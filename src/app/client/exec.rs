//! `husk exec` and `husk attach`: streams to a process in a container, and the terminal for it.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::connection::Connection;
use super::pods;
use super::terminal::RawTerminal;
use crate::cli::exec::{AttachArgs, ExecArgs};
use crate::cli::print::object::{at, list, text};

/// Bytes on the way in each direction.
const BUFFER: usize = 64 * 1024;

/// Runs `husk exec`.
pub(super) async fn exec(connection: &Connection, args: &ExecArgs) -> anyhow::Result<u8> {
    let pod = pods::find(connection, &args.pod).await?;
    let container = pods::choose(&pod, args.container.as_deref(), args.quiet)?;
    let tty = args.tty && has_terminal(args.stdin)?;
    let api = Api::<Pod>::namespaced(connection.client.clone(), &connection.namespace);
    let name = text(&pod, &["metadata", "name"]);
    let process = api.exec(name, args.command.iter(), &parameters(container, args.stdin, tty)).await?;
    session(process, tty).await
}

/// Runs `husk attach`.
pub(super) async fn attach(connection: &Connection, args: &AttachArgs) -> anyhow::Result<u8> {
    let pod = pods::find(connection, &args.pod).await?;
    let container = pods::choose(&pod, args.container.as_deref(), args.quiet)?;
    let spec = find_container(&pod, &container);
    let has_tty = spec.and_then(|spec| at(spec, &["tty"])).and_then(Value::as_bool) == Some(true);
    if args.tty && !has_tty {
        writeln!(std::io::stderr(), "error: Unable to use a TTY - container {container} did not allocate one")?;
    }
    // A container with a terminal has one output, whatever was asked for.
    let tty = has_tty && args.tty && has_terminal(args.stdin)?;
    if !args.quiet && args.stdin && tty {
        writeln!(std::io::stderr(), "If you don't see a command prompt, try pressing enter.")?;
    }
    let mut parameters = parameters(container, args.stdin, tty);
    parameters.stderr = !has_tty;
    let api = Api::<Pod>::namespaced(connection.client.clone(), &connection.namespace);
    let process = api.attach(text(&pod, &["metadata", "name"]), &parameters).await?;
    session(process, tty).await
}

fn find_container<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = ["initContainers", "containers", "ephemeralContainers"];
    let mut all = fields.into_iter().flat_map(|field| list(pod, &["spec", field]));
    all.find(|container| text(container, &["name"]) == name)
}

/// Whether standard input is a terminal to lend; says so if it is not.
fn has_terminal(stdin: bool) -> anyhow::Result<bool> {
    if stdin && !std::io::stdin().is_terminal() {
        writeln!(std::io::stderr(), "Unable to use a TTY - input is not a terminal or the right kind of file")?;
        return Ok(false);
    }
    Ok(true)
}

fn parameters(container: String, stdin: bool, tty: bool) -> AttachParams {
    AttachParams {
        container: Some(container),
        stdin,
        stdout: true,
        stderr: !tty,
        tty,
        max_stdin_buf_size: Some(BUFFER),
        max_stdout_buf_size: Some(BUFFER),
        max_stderr_buf_size: Some(BUFFER),
    }
}

/// Passes on what comes and goes until the process has ended, and gives its exit code.
async fn session(mut process: AttachedProcess, tty: bool) -> anyhow::Result<u8> {
    let raw = if tty { RawTerminal::enter()? } else { None };
    let sizes = process.terminal_size().map(|sender| tokio::spawn(tell_sizes(sender)));
    let input = process.stdin().map(|stdin| tokio::spawn(pass(tokio::io::stdin(), stdin)));
    let stdout = process.stdout().context("there is no output")?;
    let status = process.take_status().context("there is no status")?;
    let stderr = process.stderr();
    let errors = async {
        match stderr {
            Some(stderr) => pass(stderr, tokio::io::stderr()).await,
            None => Ok(()),
        }
    };
    let (printed, told) = tokio::join!(pass(stdout, tokio::io::stdout()), errors);
    let status = status.await;
    for task in [sizes, input.map(detached)].into_iter().flatten() {
        task.abort();
    }
    drop(raw);
    printed.and(told)?;
    exit_code(status)
}

/// What becomes of passing input on is of no interest.
fn detached(task: tokio::task::JoinHandle<std::io::Result<()>>) -> tokio::task::JoinHandle<()> {
    let abort = tokio_util::task::AbortOnDropHandle::new(task);
    tokio::spawn(async move {
        let _ = abort.await;
    })
}

/// Copies as it comes, and ends the other side's input with this one's.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

/// Tells the terminal's size now and whenever it changes.
async fn tell_sizes(mut sender: futures::channel::mpsc::Sender<TerminalSize>) {
    let Ok(mut changes) = super::terminal::size_changes() else { return };
    loop {
        if let Some((width, height)) = super::terminal::size()
            && sender.send(TerminalSize { width, height }).await.is_err()
        {
            return;
        }
        changes.changed().await;
    }
}

/// The exit code that a final status means.
fn exit_code(status: Option<Status>) -> anyhow::Result<u8> {
    let Some(status) = status else { return Ok(0) };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = codes.find_map(|cause| cause.message.as_ref()?.parse::<i32>().ok());
    match code {
        Some(code) => {
            writeln!(std::io::stderr(), "command terminated with exit code {code}")?;
            // As a shell would see it.
            Ok(u8::try_from(code & 0xff).unwrap_or(1))
        }
        None => {
            let message = status.message.or(status.reason).unwrap_or_default();
            writeln!(std::io::stderr(), "error: {message}")?;
            Ok(1)
        }
    }
}
