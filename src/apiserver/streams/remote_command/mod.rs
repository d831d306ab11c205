//! `exec` and `attach`: the streams of a program, over SPDY or a WebSocket, to the client and back.
//!
//! Both transports do the same: first the client's streams are there, then the program is started (or attached to), its
//! streams are joined to the client's, and when it has ended the error channel says how. An error on the way to it is
//! told there too, for by then the client has its upgrade. Kubernetes does it in this order.

mod spdy;
mod status;
mod terminal;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub(super) use self::spdy::serve as serve_spdy;
use self::status::{Outcome, StatusFormat};
pub(super) use self::websocket::serve as serve_websocket;
use super::spdy::Gone;
use super::websocket::Codec;
use crate::apiserver::node_access::{AttachRequest, ExecRequest, NodeAccess, NodeError, PodRef, Session, Wanted};
use crate::base::pipe::PipeReader;

/// Bytes of output moved at once.
const CHUNK: usize = 32 * 1024;
/// How long a client has to open its streams (kubelet `DefaultStreamCreationTimeout`).
const STREAM_CREATION_LIMIT: Duration = Duration::from_secs(30);
/// How long an output that stays open after its program's end may be silent before it counts as ended too.
const LINGER: Duration = Duration::from_secs(1);
/// How long a client that was told the outcome may take to read what is under way to it, and to end the connection.
const FINISH_LIMIT: Duration = Duration::from_secs(300);

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Its name, as clients offer it.
    pub(super) name: &'static str,
    format: StatusFormat,
    codec: Codec,
    /// Whether terminals have a stream for their size.
    resizes: bool,
    /// Whether a message can end a channel.
    closes: bool,
}

const V4: Version = Version {
    name: "v4.channel.k8s.io",
    format: StatusFormat::Json,
    codec: Codec::Binary,
    resizes: true,
    closes: false,
};
const V3: Version = Version { name: "v3.channel.k8s.io", format: StatusFormat::Text, ..V4 };

/// What is spoken over SPDY, in any order; without a name, as the first one.
pub(super) const SPDY_VERSIONS: &[Version] = &[
    Version { name: "v5.channel.k8s.io", ..V4 },
    V4,
    V3,
    Version { name: "v2.channel.k8s.io", resizes: false, ..V3 },
    Version { name: "channel.k8s.io", resizes: false, ..V3 },
    Version { name: "", resizes: false, ..V3 },
];

/// What is spoken over WebSockets.
pub(super) const WEBSOCKET_VERSIONS: &[Version] = &[
    Version { name: "v5.channel.k8s.io", closes: true, ..V4 },
    V4,
    Version { name: "v4.base64.channel.k8s.io", codec: Codec::Base64, ..V4 },
    V3,
    Version { name: "v2.channel.k8s.io", ..V3 },
    Version { name: "channel.k8s.io", ..V3 },
    Version { name: "base64.channel.k8s.io", codec: Codec::Base64, ..V3 },
    Version { name: "", ..V3 },
];

/// What a client asks for.
pub(super) struct Task {
    pub(super) node: Arc<dyn NodeAccess>,
    pub(super) pod: PodRef,
    pub(super) container: String,
    pub(super) wanted: Wanted,
    pub(super) what: Verb,
}

/// Which way to a program.
pub(super) enum Verb {
    /// Run this command.
    Exec(Vec<String>),
    /// Attach to what runs.
    Attach,
}

impl Task {
    /// Starts the program, or attaches to it.
    async fn begin(&self) -> Result<Session, NodeError> {
        let (container, wanted) = (self.container.clone(), self.wanted);
        match &self.what {
            Verb::Exec(command) => {
                let request = ExecRequest { container, command: command.clone(), wanted };
                self.node.exec(&self.pod, request).await
            }
            Verb::Attach => self.node.attach(&self.pod, AttachRequest { container, wanted }).await,
        }
    }

    /// The outcome when a program was not reached.
    fn failed(&self, error: &NodeError) -> Outcome {
        Outcome::Error(match (error, &self.what) {
            // Kubernetes' API server meets these two before there is a stream to the node (spdy `Negotiate`).
            (NodeError::NoPod | NodeError::NotRunning(_), _) => format!("unable to upgrade connection: {error}"),
            (_, Verb::Exec(_)) => format!("error executing command in container: {error}"),
            (_, Verb::Attach) => format!("error attaching to container: {error}"),
        })
    }

    /// The outcome of one that has ended. Attaching is no failure, whatever becomes of the program.
    fn ended(&self, code: i32) -> Outcome {
        match self.what {
            Verb::Exec(_) if code != 0 => Outcome::ExitCode(code),
            Verb::Exec(_) | Verb::Attach => Outcome::Success,
        }
    }
}

/// Where a program's output goes.
trait Output: Sync {
    async fn write(&self, bytes: Bytes) -> Result<(), Gone>;
    /// Nothing more comes.
    async fn finish(&self) -> Result<(), Gone>;
}

/// Passes a program's output on until the program has ended and all of it was taken; gives the exit code.
async fn pump(
    (stdout, stderr): (Option<PipeReader>, Option<PipeReader>),
    ended: BoxFuture<'static, i32>,
    (to_stdout, to_stderr): (&impl Output, &impl Output),
) -> Result<i32, Gone> {
    let over = CancellationToken::new();
    let end = async {
        let code = ended.await;
        over.cancel();
        Ok(code)
    };
    let (code, (), ()) = futures::try_join!(end, pass_on(stdout, to_stdout, &over), pass_on(stderr, to_stderr, &over))?;
    Ok(code)
}

async fn pass_on(from: Option<PipeReader>, to: &impl Output, over: &CancellationToken) -> Result<(), Gone> {
    if let Some(from) = from {
        loop {
            let read = tokio::select! {
                biased;
                read = from.read(CHUNK) => read,
                () = lingered(over) => break,
            };
            let Ok(Some(bytes)) = read else { break };
            to.write(bytes).await?;
        }
    }
    to.finish().await
}

async fn lingered(over: &CancellationToken) {
    over.cancelled().await;
    tokio::time::sleep(LINGER).await;
}
