//! `husk serve` and `husk stop`: the server's composition, from its entrance to the API.

mod authority;
mod entrance;
mod identity;
mod kubeconfig;
mod listen;
mod private;
mod process;

use std::io::{self, Write};
use std::time::Duration;

use http::StatusCode;
use tracing::info;

use self::entrance::{Entrance, how_to_use};
pub(super) use self::process::find_server;
use self::process::{Places, Stopped};
use super::paths::Paths;
use super::prepare::host_name;
use crate::base::clock::Clock;
use crate::cli::Global;
use crate::cli::serve::ServeArgs;
use crate::cli::stop::StopArgs;
use crate::store::Store;

/// How long requests under way may take once the server is asked to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Runs `husk serve`.
pub(super) fn run(global: &Global, mut args: ServeArgs) -> anyhow::Result<u8> {
    let paths = Paths::new(global)?;
    args.kubeconfig = args.kubeconfig.map(std::path::absolute).transpose()?;
    let places = Places::new(&paths);
    if args.in_background {
        process::leave_terminal();
    } else if args.detach {
        process::detach(&places)?;
        let server = find_server(&paths)?;
        writeln!(io::stdout(), "{}", server.kubeconfig.display())?;
        // Nobody needs to read it.
        let _ = writeln!(io::stderr(), "To use it: {}", how_to_use(&server.kubeconfig));
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(serve(places, args));
    runtime.shutdown_background();
    code
}

async fn serve(places: Places, args: ServeArgs) -> anyhow::Result<u8> {
    let mut entrance = Entrance::prepare(places, &args, &host_name(), Clock::system()).await?;
    let authority = entrance.authority(Store::default())?;
    let api = axum::Router::new().fallback(|| async { StatusCode::NOT_FOUND });
    let front = entrance.open(api, authority)?;
    entrance.announce(&args)?;
    info!(address = %entrance.address(), "the server is ready");
    entrance.wait().await;
    info!("the server was asked to end");
    tokio::select! {
        () = front.close(DRAIN_LIMIT) => {}
        () = entrance.wait_again() => {}
    }
    Ok(0)
}

/// Runs `husk stop`.
pub(super) fn stop(global: &Global, args: StopArgs) -> anyhow::Result<u8> {
    let places = Places::new(&Paths::new(global)?);
    let said = match process::stop(&places, args.timeout)? {
        Stopped::NotRunning => format!("No husk server runs on {}", places.data.display()),
        Stopped::Ended { pid } => format!("The husk server on {} (process {pid}) has ended", places.data.display()),
        Stopped::Killed { pid } => format!(
            "The husk server on {} (process {pid}) did not end within {} s and was killed",
            places.data.display(),
            args.timeout.as_secs()
        ),
    };
    writeln!(io::stderr(), "{said}")?;
    Ok(0)
}
