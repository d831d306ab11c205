//! `exec`: a program run in the container, for probes and hooks.

use std::sync::Weak;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as ContainerSpec, ExecAction};

use super::check::{CheckError, Outcome};
use crate::base::pipe::{self, PipeReader};
use crate::pod::{command, go_duration};
use crate::runtime::{Container, ExecRequest, RuntimeError};

/// Bytes kept of what a program prints (kubelet v1.36 `probe/exec` `maxReadLength`).
const MAX_OUTPUT: usize = 10 * 1024;

/// A program that has ended, and what it printed.
#[derive(Debug)]
pub(in crate::node) struct Executed {
    /// 0..=255.
    pub(in crate::node) code: i32,
    /// The beginning of its standard output.
    pub(in crate::node) stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub(in crate::node) stderr: Vec<u8>,
}

impl Executed {
    /// Standard output, then standard error, [`MAX_OUTPUT`] bytes at most.
    pub(in crate::node) fn output(&self) -> String {
        let mut output = [self.stdout.as_slice(), self.stderr.as_slice()].concat();
        output.truncate(MAX_OUTPUT);
        String::from_utf8_lossy(&output).into_owned()
    }
}

/// Runs a program in the container and waits for its end. It is killed when the future is dropped.
///
/// # Errors
/// When it cannot be run, or `None` when the container has ended.
pub(in crate::node) async fn run(process: &Weak<dyn Container>, argv: Vec<String>) -> Result<Executed, Option<String>> {
    let (stdout, stdout_reader) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let (stderr, stderr_reader) = pipe::pipe(pipe::DEFAULT_CAPACITY);
    let request = ExecRequest { argv, stdin: None, stdout, stderr, tty: false };
    let container = process.upgrade().ok_or(None)?;
    let started = container.exec(request).await;
    drop(container);
    let program = started.map_err(|error| match error {
        RuntimeError::NotRunning(_) => None,
        error => Some(error.to_string()),
    })?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = {
        let reading = async { tokio::join!(read(&stdout_reader, &mut stdout), read(&stderr_reader, &mut stderr)) };
        tokio::pin!(reading);
        let ended = program.wait();
        tokio::pin!(ended);
        tokio::select! {
            status = &mut ended => status,
            _ = reading => ended.await,
        }
    };
    // What it printed is in the pipes by now, even if a program that it left behind keeps them open.
    take_rest(&stdout_reader, &mut stdout);
    take_rest(&stderr_reader, &mut stderr);
    Ok(Executed { code: status.code, stdout, stderr })
}

/// Reads until there is enough or an end; what is more must not make the program wait.
async fn read(reader: &PipeReader, kept: &mut Vec<u8>) {
    while kept.len() < MAX_OUTPUT {
        match reader.read(MAX_OUTPUT - kept.len()).await {
            Ok(Some(bytes)) => kept.extend_from_slice(&bytes),
            Ok(None) | Err(_) => return,
        }
    }
    reader.discard();
}

fn take_rest(reader: &PipeReader, kept: &mut Vec<u8>) {
    while kept.len() < MAX_OUTPUT {
        match reader.try_read(MAX_OUTPUT - kept.len()) {
            Ok(bytes) => kept.extend_from_slice(&bytes),
            Err(_) => return,
        }
    }
}

/// The check of an exec probe.
#[derive(Debug)]
pub(super) struct ExecCheck {
    argv: Vec<String>,
}

impl ExecCheck {
    /// Expands `$(VAR)` from the literal values in the container's `env`; variables with another source are empty there
    /// (kubelet v1.36 `ExpandContainerCommandOnlyStatic`).
    pub(super) fn new(exec: &ExecAction, container: &ContainerSpec) -> Result<Self, String> {
        let literal = container.env.iter().flatten();
        let env: Vec<_> =
            literal.map(|variable| (variable.name.clone(), variable.value.clone().unwrap_or_default())).collect();
        let words = exec.command.as_deref().unwrap_or_default();
        let argv = command::argv(&[], &[], words, &[], &env).map_err(|error| error.to_string())?;
        Ok(Self { argv })
    }

    /// Runs the program; it passes by exiting with 0 within `timeout`.
    pub(super) async fn check(&self, process: &Weak<dyn Container>, timeout: Duration) -> Result<Outcome, CheckError> {
        match tokio::time::timeout(timeout, run(process, self.argv.clone())).await {
            Ok(Ok(executed)) if executed.code == 0 => Ok(Outcome::Success),
            Ok(Ok(executed)) => Ok(Outcome::Failure(executed.output())),
            Ok(Err(Some(error))) => Err(CheckError::Errored(error)),
            Ok(Err(None)) => Err(CheckError::NotRunning),
            Err(_elapsed) => {
                let command = self.argv.join(" ");
                let after = go_duration(timeout);
                Ok(Outcome::Failure(format!("command timed out: {command:?} timed out after {after}")))
            }
        }
    }
}
