//! Programs that are better started soon than run fast: large collections of small tools. Until optimised code of one is
//! there, a compiler without optimisations makes code that runs at a fraction of the speed, in a fraction of the time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::code_cache::{Content, Source};
use super::engine::GuestEngine;
use super::{Host, Loaded, WasmRuntimeConfig, get_or_try_init};

/// Below so many bytes, optimised code is made soon enough.
const LARGE_BYTES: u64 = 2 << 20;

/// How long the optimising compiler waits before it takes the machine's processors: what ends by then needs none of it.
const PAUSE: Duration = Duration::from_secs(2);

/// Starts large tools before optimised code of them is there.
#[derive(Default)]
pub(super) struct QuickStart {
    host: OnceLock<Arc<Host>>,
    /// Programs that are, or were, being optimised.
    optimising: Mutex<HashSet<String>>,
}

impl QuickStart {
    /// The program as it can be had soon; `None` where that is what `optimised` has, or for programs this is not for.
    pub(super) async fn load(
        &self,
        config: &WasmRuntimeConfig,
        source: &Source,
        optimised: &Arc<Host>,
    ) -> Option<Loaded> {
        let id = source.content_id.as_ref().filter(|id| config.tools.iter().any(|layer| id.starts_with(layer)))?;
        if size(source)? < LARGE_BYTES || optimised.cache.is_ready(optimised.engine.engine(), source) {
            return None;
        }
        let made = get_or_try_init(&self.host, || Ok(Host::new(GuestEngine::baseline()?, config)));
        let host = Arc::clone(made.inspect_err(|error| tracing::debug!(%error, "no quick start")).ok()?);
        let program = host.load(source.clone()).await;
        let program = program.inspect_err(|error| tracing::debug!(id, %error, "no quick start")).ok()?;
        if self.optimising.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            let (optimised, source) = (Arc::clone(optimised), source.clone());
            tokio::spawn(async move {
                sleep(PAUSE).await;
                // It fails again, and is told, when it is needed.
                let _ = optimised.load(source).await;
            });
        }
        Some(Loaded { program, host, room: None })
    }
}

fn size(source: &Source) -> Option<u64> {
    match &source.content {
        Content::File(file) => Some(file.stat().ok()?.size),
        #[cfg(test)]
        Content::Bytes(bytes) => Some(bytes.len() as u64),
    }
}
