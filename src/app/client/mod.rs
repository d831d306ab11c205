//! The verbs that talk to a server, for people without kubectl: through the `kube` crate, as any client does. What can be
//! typed, and how things are printed, is in `cli`.

mod api_resources;
mod apply;
mod connection;
mod cp;
mod delete;
mod describe;
mod edit;
mod events;
mod exec;
mod explain;
mod files;
mod generate;
mod get;
mod kinds;
mod logs;
mod output;
mod pods;
mod port_forward;
mod targets;
mod terminal;
mod top;
mod wait;
mod watch;

use std::io::Write;

use self::connection::{Connection, describe_error};
use crate::cli::Global;
use crate::cli::verbs::Verb;

async fn act(connection: &Connection, verb: &Verb) -> anyhow::Result<u8> {
    match verb {
        Verb::Apply(args) => apply::apply(connection, args).await,
        Verb::Create(args) => apply::create(connection, args).await,
        Verb::Get(args) => get::run(connection, args).await,
        Verb::Describe(args) => describe::run(connection, args).await,
        Verb::Edit(args) => edit::run(connection, args).await,
        Verb::Logs(args) => logs::run(connection, args).await,
        Verb::Exec(args) => exec::exec(connection, args).await,
        Verb::Attach(args) => exec::attach(connection, args).await,
        Verb::Cp(args) => cp::run(connection, args).await,
        Verb::Explain(args) => explain::run(connection, args).await,
        Verb::ApiResources(args) => api_resources::run(connection, args).await,
        Verb::Version(args) => api_resources::version(connection, args).await,
        Verb::PortForward(args) => port_forward::run(connection, args).await,
        Verb::Events(args) => events::run(connection, args).await,
        Verb::Top(args) => top::run(connection, args).await,
        Verb::Wait(args) => wait::run(connection, args).await,
        Verb::Delete(args) => delete::run(connection, args).await,
    }
}

/// Runs a verb. What fails is told as kubectl tells it, and the exit code is its own.
pub(super) fn run(global: &Global, verb: &Verb) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let connection = Connection::open(global, verb.connection()).await?;
        act(&connection, verb).await
    });
    // Standard input may still be read by a thread that nothing can end.
    runtime.shutdown_background();
    match result {
        Ok(code) => Ok(code),
        // Whoever reads the output may have seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(0),
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "{}", describe_error(&error));
            Ok(1)
        }
    }
}

/// Whether something failed because nobody reads the output any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(is))
}
