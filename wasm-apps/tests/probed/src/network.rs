//! Listening, and the plain TCP server.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use lexopt::prelude::*;
use nettool::explain;
use nettool::tasks::{Listener, block_on, sleep, spawn};

use crate::{End, print_line, seconds};

/// Where and when a server listens.
#[derive(Default)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    pub(crate) delay: Duration,
}

impl Listening {
    /// Waits for the time to come, listens, and says so.
    pub(crate) async fn begin(&self) -> Result<Listener, End> {
        sleep(self.delay).await;
        // The unspecified IPv6 address takes IPv4 as well.
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port));
        let listener = Listener::bind(address);
        let listener = listener.map_err(|error| End::Failed(format!("port {}: {}", self.port, explain(error))))?;
        print_line(&format!("listening on port {}", self.port));
        Ok(listener)
    }
}

/// Accepts connections and closes them, for some time or for ever.
pub(crate) fn tcp(parser: &mut lexopt::Parser) -> Result<(), End> {
    let (mut listening, mut close_after) = (Listening::default(), Duration::MAX);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => listening.port = parser.value()?.parse()?,
            Long("delay") => listening.delay = seconds(&parser.value()?.string()?)?,
            Long("close-after") => close_after = seconds(&parser.value()?.string()?)?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    block_on(async {
        let listener = listening.begin().await?;
        spawn(async move {
            // Ends when something is wrong with the listener itself.
            while listener.accept().await.is_ok() {}
        });
        sleep(close_after).await;
        Ok(())
    })
}
