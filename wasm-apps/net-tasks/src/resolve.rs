//! Names of hosts.

use std::net::IpAddr;

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::ErrorCode;

use crate::address::ip_from_wasi;
use crate::reactor::Readiness;

/// The addresses of a host; at least one.
pub async fn resolve(name: &str) -> Result<Vec<IpAddr>, ErrorCode> {
    let lookup = resolve_addresses(&instance_network(), name)?;
    let ready = Readiness::new(lookup.subscribe());
    let mut found = Vec::new();
    loop {
        match lookup.resolve_next_address() {
            Ok(Some(address)) => found.push(ip_from_wasi(address)),
            Ok(None) if found.is_empty() => return Err(ErrorCode::NameUnresolvable),
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => ready.wait().await,
            Err(error) => return Err(error),
        }
    }
}
