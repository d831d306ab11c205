//! `tcpSocket`: a connection that is made and closed (kubelet v1.36 `probe/tcp`).

use std::sync::Arc;
use std::time::Duration;

use super::check::Outcome;
use super::dial::Address;
use crate::net::PodNetwork;

/// Succeeds if a connection is made within `timeout`.
pub(super) async fn check(address: &Address, network: &Arc<PodNetwork>, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, address.connect(network)).await {
        Ok(Ok(_stream)) => Outcome::Success,
        Ok(Err(failure)) => Outcome::Failure(failure),
        Err(_elapsed) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
    }
}
