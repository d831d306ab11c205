//! Virtual services as their clients see them.

use std::time::Duration;

use super::*;
use crate::net::{LookupConfig, Protocol, Record, UdpSocket, VirtualPort, Zone};

const SERVICE: &str = "10.96.1.1:80";

fn port(protocol: Protocol, backends: Vec<SocketAddr>) -> VirtualPort {
    VirtualPort { ip: "10.96.1.1".parse().unwrap(), protocol, port: 80, backends, affinity: None }
}

/// A switch with so many pods.
fn attach(count: usize) -> Vec<Arc<PodNetwork>> {
    let switch = Switch::new(Egress::Deny);
    (0..count).map(|number| switch.attach(&format!("web-{number}"), None).unwrap()).collect()
}

/// Listeners at port 8080 of the pods, and their addresses.
fn serve(pods: &[Arc<PodNetwork>]) -> (Vec<TcpListener>, Vec<SocketAddr>) {
    let listeners = pods.iter().map(|pod| listen(pod, "0.0.0.0:8080").unwrap()).collect();
    (listeners, pods.iter().map(|pod| at(pod, "POD:8080")).collect())
}

/// Connects to the service and says which of the listeners got the connection.
async fn connects_to(client: &Arc<PodNetwork>, listeners: &[TcpListener]) -> usize {
    let stream = connect(client, SERVICE).await.unwrap();
    assert_eq!(stream.peer, SERVICE.parse().unwrap());
    for (index, listener) in listeners.iter().enumerate() {
        if let Some(accepted) = listener.try_accept().unwrap() {
            assert_eq!(accepted.peer, stream.local);
            assert_eq!(accepted.local, listener_address(listener, &accepted));
            return index;
        }
    }
    panic!("nobody got it");
}

fn listener_address(listener: &TcpListener, accepted: &TcpStream) -> SocketAddr {
    SocketAddr::new(accepted.local.ip(), listener.local_addr().port())
}

#[tokio::test]
async fn connections_go_round_the_backends_at_the_time() {
    let pods = attach(4);
    let (listeners, backends) = serve(&pods[..3]);
    let switch = &pods[0].switch;
    switch.set_services(vec![port(Protocol::Tcp, backends.clone())]);
    let mut seen = [0; 3];
    for _ in 0..9 {
        seen[connects_to(&pods[3], &listeners).await] += 1;
    }
    assert_eq!(seen, [3, 3, 3]);
    switch.set_services(vec![port(Protocol::Tcp, vec![backends[1]])]);
    for _ in 0..3 {
        assert_eq!(connects_to(&pods[3], &listeners).await, 1);
    }
}

#[tokio::test]
async fn a_connection_outlives_the_services() {
    let pods = attach(2);
    let (listeners, backends) = serve(&pods[..1]);
    pods[0].switch.set_services(vec![port(Protocol::Tcp, backends)]);
    let client = connect(&pods[1], SERVICE).await.unwrap();
    let server = listeners[0].accept().await.unwrap();
    pods[0].switch.set_services(Vec::new());
    write(&client, "still there").await;
    assert_eq!(read(&server).await.unwrap(), "still there");
}

#[tokio::test]
async fn a_pod_reaches_itself_through_its_service() {
    let pods = attach(1);
    let (listeners, backends) = serve(&pods);
    pods[0].switch.set_services(vec![port(Protocol::Tcp, backends)]);
    assert_eq!(connects_to(&pods[0], &listeners).await, 0);
}

#[tokio::test]
async fn sockets_of_both_families_and_the_node_reach_a_service() {
    let pods = attach(2);
    let (listeners, backends) = serve(&pods[..1]);
    pods[0].switch.set_services(vec![port(Protocol::Tcp, backends)]);
    let mapped = connect(&pods[1], "[::ffff:10.96.1.1]:80").await.unwrap();
    assert_eq!(mapped.peer, "[::ffff:10.96.1.1]:80".parse().unwrap());
    listeners[0].accept().await.unwrap();
}

#[tokio::test]
async fn what_nobody_serves_is_refused() {
    let pods = attach(2);
    let dead = at(&pods[1], "POD:9");
    pods[0].switch.set_services(vec![
        port(Protocol::Tcp, Vec::new()),
        VirtualPort { port: 81, ..port(Protocol::Tcp, vec![dead]) },
        VirtualPort { port: 82, ..port(Protocol::Udp, vec![dead]) },
        VirtualPort { port: 83, ..port(Protocol::Tcp, vec!["10.96.1.1:83".parse().unwrap()]) },
    ]);
    for (target, expected) in [
        ("10.96.1.1:80", NetError::ConnectionRefused),
        ("10.96.1.1:81", NetError::ConnectionRefused),
        ("10.96.1.1:82", NetError::ConnectionRefused),
        ("10.96.1.1:83", NetError::Unreachable),
        ("10.96.1.1:9", NetError::ConnectionRefused),
        ("10.96.1.2:80", NetError::Unreachable),
        ("10.96.0.10:80", NetError::Unreachable),
    ] {
        assert_eq!(connect(&pods[0], target).await.unwrap_err(), expected, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_affinity_a_client_stays_until_it_was_away_for_long() {
    let pods = attach(4);
    let (listeners, backends) = serve(&pods[..2]);
    let switch = &pods[0].switch;
    let sticky = |backends: &[SocketAddr]| {
        vec![VirtualPort { affinity: Some(Duration::from_secs(100)), ..port(Protocol::Tcp, backends.to_vec()) }]
    };
    switch.set_services(sticky(&backends));
    let first = connects_to(&pods[2], &listeners).await;
    let other = connects_to(&pods[3], &listeners).await;
    assert_ne!(first, other);
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(60)).await;
        // The set is told anew, as it is whenever something changes anywhere.
        switch.set_services(sticky(&backends));
        assert_eq!(connects_to(&pods[2], &listeners).await, first);
    }
    tokio::time::advance(Duration::from_secs(101)).await;
    let turns = [connects_to(&pods[2], &listeners).await, connects_to(&pods[3], &listeners).await];
    assert_ne!(turns[0], turns[1], "both were forgotten");
    switch.set_services(sticky(&backends[..1]));
    assert_eq!(connects_to(&pods[2], &listeners).await, 0);
    assert_eq!(connects_to(&pods[3], &listeners).await, 0);
}

fn bind(pod: &Arc<PodNetwork>, address: &str) -> UdpSocket {
    pod.bind_udp(at(pod, address)).unwrap()
}

fn service() -> Option<SocketAddr> {
    Some(SERVICE.parse().unwrap())
}

/// The text that one of the sockets has received, which of them, and from whom.
fn received(sockets: &[UdpSocket]) -> (usize, Bytes, SocketAddr) {
    let found = sockets.iter().enumerate().find_map(|(index, socket)| Some((index, socket.try_recv().unwrap()?)));
    let (index, datagram) = found.unwrap();
    (index, datagram.bytes, datagram.peer)
}

#[tokio::test(start_paused = true)]
async fn datagrams_stay_with_a_backend_whose_answers_show_the_service() {
    let pods = attach(3);
    let servers = [bind(&pods[0], "0.0.0.0:53"), bind(&pods[1], "0.0.0.0:53")];
    let backends = vec![at(&pods[0], "POD:53"), at(&pods[1], "POD:53")];
    let switch = &pods[0].switch;
    switch.set_services(vec![port(Protocol::Udp, backends.clone())]);
    for connected in [false, true] {
        let client = bind(&pods[2], "0.0.0.0:0");
        if connected {
            client.connect(SERVICE.parse().unwrap()).unwrap();
        }
        let peer = service().filter(|_| !connected);
        client.try_send(Bytes::from_static(b"one"), peer).unwrap();
        let (first, _, from) = received(&servers);
        for _ in 0..3 {
            client.try_send(Bytes::from_static(b"more"), peer).unwrap();
            assert_eq!(received(&servers).0, first);
        }
        servers[first].try_send(Bytes::from_static(b"answer"), Some(from)).unwrap();
        assert_eq!(client.try_recv().unwrap().unwrap().peer, SERVICE.parse().unwrap());
    }
    let (one, two) = (bind(&pods[2], "0.0.0.0:0"), bind(&pods[2], "0.0.0.0:0"));
    one.try_send(Bytes::from_static(b"one"), service()).unwrap();
    let first = received(&servers).0;
    two.try_send(Bytes::from_static(b"two"), service()).unwrap();
    assert_ne!(received(&servers).0, first, "every socket has its own turn");
    // The other one is left when its backend is.
    switch.set_services(vec![port(Protocol::Udp, vec![backends[1 - first]])]);
    one.try_send(Bytes::from_static(b"one"), service()).unwrap();
    assert_eq!(received(&servers).0, 1 - first);
}

#[test]
fn a_backend_that_is_asked_directly_answers_as_itself() {
    let pods = attach(2);
    let server = bind(&pods[0], "0.0.0.0:53");
    let backend = at(&pods[0], "POD:53");
    pods[0].switch.set_services(vec![port(Protocol::Udp, vec![backend])]);
    let client = bind(&pods[1], "0.0.0.0:0");
    for target in [SERVICE.parse().unwrap(), backend] {
        client.try_send(Bytes::from_static(b"question"), Some(target)).unwrap();
        let from = server.try_recv().unwrap().unwrap().peer;
        server.try_send(Bytes::from_static(b"answer"), Some(from)).unwrap();
        assert_eq!(client.try_recv().unwrap().unwrap().peer, target);
    }
}

#[test]
fn datagrams_to_nobody_are_lost_and_a_connected_socket_is_told() {
    let pods = attach(1);
    pods[0].switch.set_services(vec![port(Protocol::Udp, Vec::new())]);
    let client = bind(&pods[0], "0.0.0.0:0");
    client.try_send(Bytes::from_static(b"x"), service()).unwrap();
    assert!(client.try_recv().unwrap().is_none());
    client.connect(SERVICE.parse().unwrap()).unwrap();
    client.try_send(Bytes::from_static(b"x"), None).unwrap();
    assert_eq!(client.try_recv().unwrap_err(), NetError::ConnectionRefused);
    let nowhere = client.try_send(Bytes::from_static(b"x"), Some("10.96.1.2:80".parse().unwrap()));
    assert_eq!(nowhere, Err(NetError::Unreachable));
}

#[tokio::test]
async fn a_port_of_the_host_leads_to_a_service() {
    use tokio::io::AsyncReadExt;
    let pods = attach(2);
    let (listeners, backends) = serve(&pods);
    let switch = &pods[0].switch;
    switch.set_services(vec![port(Protocol::Tcp, backends)]);
    let loopback = "127.0.0.1:0".parse().unwrap();
    let published = switch.publish_virtual(Protocol::Tcp, SERVICE.parse().unwrap(), loopback).await.unwrap();
    for listener in &listeners {
        let mut client = tokio::net::TcpStream::connect(published.host_addr()).await.unwrap();
        let server = listener.accept().await.unwrap();
        assert_eq!(server.peer.ip(), switch.node_ip());
        write(&server, "hello").await;
        drop(server);
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
    }
}

#[tokio::test]
async fn names_are_completed_by_the_search_list() {
    let pod = attach(1).remove(0);
    let mut zone = Zone::new("cluster.local");
    for (name, last) in [("web.ns", 1), ("db.other", 2), ("same.ns", 3), ("same.other", 4)] {
        zone.add(&format!("{name}.svc.cluster.local"), Record::Address([10, 96, 1, last].into()));
    }
    zone.add("alias.ns.svc.cluster.local", Record::Alias("db.other.svc.cluster.local".to_owned()));
    zone.add("ext.ns.svc.cluster.local", Record::Alias("example.com".to_owned()));
    pod.switch.set_zone(zone);
    assert_eq!(pod.resolve("web.ns.svc.cluster.local").await, Err(NetError::NameNotFound), "not asked yet");
    let searches = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned).to_vec();
    pod.set_lookups(LookupConfig { servers: vec![crate::net::DNS_ADDRESS.into()], searches, ndots: 5 });
    for (name, expected) in [
        ("web", Some("10.96.1.1")),
        ("WEB", Some("10.96.1.1")),
        ("web.ns", Some("10.96.1.1")),
        ("web.ns.svc", Some("10.96.1.1")),
        ("web.ns.svc.cluster.local", Some("10.96.1.1")),
        ("web.ns.svc.cluster.local.", Some("10.96.1.1")),
        ("db.other", Some("10.96.1.2")),
        ("same", Some("10.96.1.3")),
        ("same.other", Some("10.96.1.4")),
        ("alias", Some("10.96.1.2")),
        ("web.", None),
        ("db", None),
        ("ext", None),
        ("web-0", Some("10.88.0.2")),
        ("example.com", None),
    ] {
        let expected = expected.map(|ip| vec![ip.parse::<IpAddr>().unwrap()]).ok_or(NetError::NameNotFound);
        assert_eq!(pod.resolve(name).await, expected, "{name}");
    }
}

/// Answers questions as a name server at port 53 of a pod would, `192.0.2.<count>` for the first names and then that there
/// is no such name.
async fn serve_names(pod: Arc<PodNetwork>, known: &'static str) {
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::{RData, Record, RecordType, rdata::A};
    let socket = pod.bind_udp("0.0.0.0:53".parse().unwrap()).unwrap();
    while let Ok(datagram) = socket.recv().await {
        let mut answer = Message::from_vec(&datagram.bytes).unwrap().into_response();
        let query = answer.queries[0].clone();
        if query.name().to_ascii() != known {
            answer.metadata.response_code = ResponseCode::NXDomain;
        } else if query.query_type() == RecordType::A {
            let address = RData::A(A::new(192, 0, 2, 7));
            answer.add_answer(Record::from_rdata(query.name().clone(), 1, address));
        }
        let mut forged = answer.clone();
        forged.metadata.id = forged.metadata.id.wrapping_add(1);
        forged.answers.clear();
        for message in [forged, answer] {
            socket.try_send(message.to_vec().unwrap().into(), Some(datagram.peer)).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_can_have_servers_of_its_own() {
    let pods = attach(3);
    let server = tokio::spawn(serve_names(Arc::clone(&pods[0]), "db.corp."));
    tokio::task::yield_now().await;
    let (client, silent) = (&pods[2], pods[1].ips()[0]);
    let _silent = bind(&pods[1], "0.0.0.0:53");
    for servers in [vec![pods[0].ips()[0]], vec![silent, pods[0].ips()[0]]] {
        client.set_lookups(LookupConfig { servers, searches: vec!["corp".to_owned()], ndots: 1 });
        assert_eq!(client.resolve("db").await, Ok(vec!["192.0.2.7".parse().unwrap()]));
        assert_eq!(client.resolve("db.corp.").await, Ok(vec!["192.0.2.7".parse().unwrap()]));
        assert_eq!(client.resolve("no").await, Err(NetError::NameNotFound));
    }
    client.set_lookups(LookupConfig { servers: vec![silent], ..LookupConfig::default() });
    assert_eq!(client.resolve("db.corp").await, Err(NetError::NameTemporary));
    server.abort();
}

/// As the Service of the API server does: the agent itself is behind it.
#[tokio::test]
async fn a_service_may_lead_to_the_agent() {
    let (client, other) = pods();
    let switch = &client.switch;
    let listener = switch.listen_on_node(6443, 16).unwrap();
    assert_eq!(switch.listen_on_node(6443, 16).map(drop), Err(NetError::AddressInUse));
    let node = SocketAddr::new(switch.node_ip(), 6443);
    switch.set_services(vec![port(Protocol::Tcp, vec![node])]);
    for (pod, address) in [(&client, SERVICE.to_owned()), (&other, node.to_string())] {
        let stream = connect(pod, &address).await.unwrap();
        write(&stream, "request").await;
        let accepted = listener.accept().await.unwrap();
        assert_eq!((accepted.peer.ip(), accepted.local), (pod.ips()[0], node));
        assert_eq!(read(&accepted).await.as_deref(), Some(&b"request"[..]));
    }
    drop(listener);
    assert_eq!(connect(&client, SERVICE).await.map(drop), Err(NetError::ConnectionRefused));
}
