//! What a pod's resolver functions do: complete a name by the pod's search list and ask the pod's name servers for it.
//! Other servers than the switch's own are asked over the switch, as a guest would ask them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::net::addr::{DNS_ADDRESS, DNS_PORT};
use crate::net::pod::PodCore;
use crate::net::{NetError, Switch, UdpSocket, resolve, udp};

/// How long a server may take to answer, and how often it is asked (resolv.conf(5)).
const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 2;

/// Resolves a name as the pod sees it. Fails with [`NetError::Invalid`] for what cannot be a name at all.
pub(in crate::net) async fn resolve(
    switch: &Arc<Switch>,
    core: &Arc<PodCore>,
    name: &str,
) -> Result<Vec<IpAddr>, NetError> {
    if let Ok(ip) = name.parse() {
        return Ok(vec![ip]);
    }
    let normal = resolve::checked(name)?;
    if let Some(addresses) = core.names.find(&normal) {
        return Ok(addresses);
    }
    let (mut failure, config) = (NetError::NameNotFound, core.names.lookups());
    let absolute = name.ends_with('.');
    for candidate in config.candidates(&normal, absolute) {
        let full = absolute || candidate != normal;
        match ask_servers(switch, core, &config.servers, &candidate, full).await {
            Ok(addresses) => return Ok(addresses),
            Err(NetError::NameNotFound) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Asks one server after the other until one has an answer, be it that there is no such name; without servers, the host.
async fn ask_servers(
    switch: &Arc<Switch>,
    core: &Arc<PodCore>,
    servers: &[IpAddr],
    name: &str,
    full: bool,
) -> Result<Vec<IpAddr>, NetError> {
    if servers.is_empty() {
        return switch.dns().ask_host(name, full).await;
    }
    for server in servers {
        let answer = if *server == IpAddr::V4(DNS_ADDRESS) {
            switch.dns().addresses(name, full).await
        } else {
            ask_other(switch, core, SocketAddr::new(*server, DNS_PORT), name).await
        };
        match answer {
            Err(NetError::NameTemporary) => {}
            answer => return answer,
        }
    }
    Err(NetError::NameTemporary)
}

/// Asks a server for both kinds of addresses.
async fn ask_other(
    switch: &Arc<Switch>,
    core: &Arc<PodCore>,
    server: SocketAddr,
    name: &str,
) -> Result<Vec<IpAddr>, NetError> {
    let failed = |_error| NetError::NameTemporary;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0_u16; 8].into() };
    let name = Name::from_ascii(format!("{name}.")).map_err(|_error| NetError::NameNotFound)?;
    let mut addresses = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let mut question = Message::query();
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(name.clone(), kind));
        // A socket for each question, so that guessing its port is part of forging an answer.
        let socket = udp::bind(switch, core, SocketAddr::new(any, 0)).map_err(failed)?;
        socket.connect(server).map_err(failed)?;
        addresses.extend(exchange(&socket, &question).await?);
    }
    if addresses.is_empty() { Err(NetError::NameNotFound) } else { Ok(addresses) }
}

async fn exchange(socket: &UdpSocket, question: &Message) -> Result<Vec<IpAddr>, NetError> {
    let bytes = question.to_vec().map_err(|_error| NetError::NameTemporary)?;
    for _ in 0..ATTEMPTS {
        socket.try_send(bytes.clone().into(), None).map_err(|_error| NetError::NameTemporary)?;
        if let Ok(answer) = tokio::time::timeout(TIMEOUT, answer_to(socket, question)).await {
            let answer = answer?;
            return match answer.metadata.response_code {
                ResponseCode::NoError => Ok(addresses_in(&answer)),
                ResponseCode::NXDomain => Err(NetError::NameNotFound),
                _ => Err(NetError::NameTemporary),
            };
        }
    }
    Err(NetError::NameTemporary)
}

/// Waits for the answer; what does not belong to the question is passed over.
async fn answer_to(socket: &UdpSocket, question: &Message) -> Result<Message, NetError> {
    loop {
        let datagram = socket.recv().await.map_err(|_refused| NetError::NameTemporary)?;
        match Message::from_vec(&datagram.bytes) {
            Ok(answer) if answer.metadata.id == question.metadata.id && answer.queries == question.queries => {
                return Ok(answer);
            }
            _ => {}
        }
    }
}

/// The addresses in an answer: those of the name, and of what it is an alias of.
fn addresses_in(answer: &Message) -> Vec<IpAddr> {
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    });
    addresses.take(resolve::MAX_ADDRESSES).collect()
}
