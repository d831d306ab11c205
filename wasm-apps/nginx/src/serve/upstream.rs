//! Who is asked when a request is passed on.

use std::rc::Rc;

use nginx::config::{Level, Peer, ProxyPass, ProxyTarget, Upstream, split_url};
use nginx::exchange::Exchange;
use nginx::values::evaluate;

/// The servers of a `proxy_pass`; its URL's variables are looked at now.
pub(super) async fn target(exchange: &mut Exchange, pass: &ProxyPass) -> Result<ProxyTarget, u16> {
    if let Some(target) = &pass.target {
        return Ok(target.clone());
    }
    let url = evaluate(&pass.url, exchange);
    let Some((host, uri)) = split_url(&url) else {
        exchange.log(Level::Error, format!("invalid URL prefix in \"{url}\""));
        return Err(500);
    };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    let Some(port) = port else {
        exchange.log(Level::Error, format!("invalid port in upstream \"{host}\""));
        return Err(500);
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let found = match name.parse() {
        Ok(ip) => vec![ip],
        Err(_) => net_tasks::resolve(name).await.unwrap_or_default(),
    };
    if found.is_empty() {
        exchange.log(Level::Error, format!("{name} could not be resolved"));
        return Err(502);
    }
    let peers: Vec<_> =
        found.into_iter().map(|ip| Peer { address: (ip, port).into(), weight: 1, backup: false }).collect();
    let turns = vec![0; peers.len()].into();
    let upstream = Rc::new(Upstream { name: host.to_owned(), peers, turns });
    Ok(ProxyTarget { host: host.to_owned(), uri: uri.map(str::to_owned), upstream })
}

/// The servers in the order in which they are asked: whose turn it is by weight, the others, and the backups.
pub(super) fn order(upstream: &Upstream) -> Vec<usize> {
    let mut turns = upstream.turns.borrow_mut();
    let regular: Vec<usize> = (0..upstream.peers.len()).filter(|&index| !upstream.peers[index].backup).collect();
    let backups = (0..upstream.peers.len()).filter(|&index| upstream.peers[index].backup);
    let total: i64 = regular.iter().map(|&index| upstream.peers[index].weight).sum();
    for &index in &regular {
        turns[index] += upstream.peers[index].weight;
    }
    let mut order = regular;
    order.sort_by_key(|&index| std::cmp::Reverse(turns[index]));
    if let Some(&first) = order.first() {
        turns[first] -= total;
    }
    order.extend(backups);
    order
}
