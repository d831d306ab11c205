//! Questions and answers as bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::*;
use crate::net::{DNS_ADDRESS, PodNetwork, Switch};

const WEB: &str = "web.ns.svc.cluster.local";

fn zone() -> Zone {
    let mut zone = Zone::new("cluster.local");
    zone.add(WEB, Record::Address(Ipv4Addr::new(10, 96, 1, 1)));
    zone.add_pointer(Ipv4Addr::new(10, 96, 1, 1), WEB);
    let service = Record::Service { weight: 100, port: 80, target: WEB.to_owned() };
    zone.add(&format!("_http._tcp.{WEB}"), service);
    zone.add("ext.ns.svc.cluster.local", Record::Alias("example.com".to_owned()));
    zone.add("dns-version.cluster.local", Record::Text("1.1.0".to_owned()));
    for last in 1..=100 {
        zone.add("all.ns.svc.cluster.local", Record::Address(Ipv4Addr::new(10, 88, 0, last)));
    }
    zone
}

fn pod() -> Arc<PodNetwork> {
    let switch = Switch::new(Egress::Deny);
    switch.set_zone(zone());
    switch.attach("p", None).unwrap()
}

fn server_address() -> SocketAddr {
    SocketAddr::new(DNS_ADDRESS.into(), 53)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// Sends bytes as a datagram from the pod; gives what comes back at once.
fn exchange(pod: &Arc<PodNetwork>, bytes: Vec<u8>) -> Option<Message> {
    let socket = pod.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
    socket.try_send(bytes.into(), Some(server_address())).unwrap();
    let datagram = socket.try_recv().unwrap()?;
    assert_eq!(datagram.peer, server_address());
    let message = Message::from_vec(&datagram.bytes).unwrap();
    assert_eq!(message.metadata.message_type, MessageType::Response);
    Some(message)
}

fn ask(name: &str, kind: RecordType) -> Message {
    let message = question(name, kind);
    let answer = exchange(&pod(), message.to_vec().unwrap()).unwrap();
    assert_eq!((answer.metadata.id, &answer.queries), (message.metadata.id, &message.queries));
    answer
}

fn show(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.to_string()).collect()
}

#[test]
fn names_of_the_zone_are_answered() {
    let ok = ResponseCode::NoError;
    for (name, kind, code, answers) in [
        ("web.ns.svc.cluster.local.", RecordType::A, ok, &["web.ns.svc.cluster.local. 5 IN A 10.96.1.1"][..]),
        ("WEB.ns.SVC.cluster.local.", RecordType::A, ok, &["WEB.ns.SVC.cluster.local. 5 IN A 10.96.1.1"]),
        ("web.ns.svc.cluster.local.", RecordType::AAAA, ok, &[]),
        ("ns.svc.cluster.local.", RecordType::A, ok, &[]),
        (
            "_http._tcp.web.ns.svc.cluster.local.",
            RecordType::SRV,
            ok,
            &["_http._tcp.web.ns.svc.cluster.local. 5 IN SRV 0 100 80 web.ns.svc.cluster.local."],
        ),
        (
            "1.1.96.10.in-addr.arpa.",
            RecordType::PTR,
            ok,
            &["1.1.96.10.in-addr.arpa. 5 IN PTR web.ns.svc.cluster.local."],
        ),
        ("dns-version.cluster.local.", RecordType::TXT, ok, &["dns-version.cluster.local. 5 IN TXT 1.1.0"]),
        ("db.ns.svc.cluster.local.", RecordType::A, ResponseCode::NXDomain, &[]),
        ("9.9.96.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, &[]),
        ("web.", RecordType::A, ResponseCode::NXDomain, &[]),
        ("example.com.", RecordType::A, ResponseCode::NXDomain, &[]),
        ("example.com.", RecordType::MX, ResponseCode::Refused, &[]),
        (".", RecordType::A, ResponseCode::NXDomain, &[]),
        ("ext.ns.svc.cluster.local.", RecordType::CNAME, ok, &["ext.ns.svc.cluster.local. 5 IN CNAME example.com."]),
    ] {
        let answer = ask(name, kind);
        assert_eq!(
            (answer.metadata.response_code, show(&answer)),
            (code, answers.iter().map(|&a| a.to_owned()).collect()),
            "{name} {kind}"
        );
        let own = name.to_lowercase().ends_with("cluster.local.") || name.contains(".96.10.");
        assert_eq!(answer.metadata.authoritative, own, "{name} {kind}");
        let has_authority = !answer.authorities.is_empty();
        assert_eq!(has_authority, own && (answers.is_empty() || kind == RecordType::CNAME), "{name} {kind}");
    }
}

#[test]
fn what_a_service_record_names_comes_with_its_address() {
    let answer = ask("_http._tcp.web.ns.svc.cluster.local.", RecordType::SRV);
    let additionals: Vec<_> = answer.additionals.iter().map(ToString::to_string).collect();
    assert_eq!(additionals, ["web.ns.svc.cluster.local. 5 IN A 10.96.1.1"]);
}

#[test]
fn questions_that_make_no_sense_are_rejected() {
    let good = question("web.ns.svc.cluster.local.", RecordType::A);
    let bytes = good.to_vec().unwrap();
    let changed = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        message.to_vec().unwrap()
    };
    let cut = bytes[..bytes.len() - 3].to_vec();
    let mut circular = bytes.clone();
    circular.splice(12.., [0xc0, 12, 0, 1, 0, 1]);
    let huge = [&bytes[..], &[0; 60_000]].concat();
    for (what, bytes, expected) in [
        ("nothing", Vec::new(), None),
        ("less than a header", bytes[..11].to_vec(), None),
        ("an answer", changed(&|message| message.metadata.message_type = MessageType::Response), None),
        ("an update", changed(&|message| message.metadata.op_code = OpCode::Update), Some(ResponseCode::NotImp)),
        ("a cut question", cut, Some(ResponseCode::FormErr)),
        ("a name that points at itself", circular, Some(ResponseCode::FormErr)),
        ("too much", huge, Some(ResponseCode::FormErr)),
        ("no question", changed(&|message| message.queries.clear()), Some(ResponseCode::FormErr)),
        (
            "two questions",
            changed(&|message| message.queries.extend(good.queries.clone())),
            Some(ResponseCode::FormErr),
        ),
        (
            "another class",
            changed(&|message| {
                message.queries[0].set_query_class(DNSClass::CH);
            }),
            Some(ResponseCode::Refused),
        ),
        (
            "a transfer",
            changed(&|message| {
                message.queries[0].set_query_type(RecordType::AXFR);
            }),
            Some(ResponseCode::Refused),
        ),
    ] {
        let answer = exchange(&pod(), bytes);
        assert_eq!(answer.map(|answer| answer.metadata.response_code), expected, "{what}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_cut_and_comes_whole_over_a_connection() {
    let pod = pod();
    let mut message = question("all.ns.svc.cluster.local.", RecordType::A);
    let small = exchange(&pod, message.to_vec().unwrap()).unwrap();
    assert!(small.metadata.truncation && small.to_vec().unwrap().len() <= 512);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    let larger = exchange(&pod, message.to_vec().unwrap()).unwrap();
    assert!(larger.metadata.truncation && larger.answers.len() > small.answers.len());
    assert_eq!(larger.max_payload(), 1232);

    let mut stream = pod.connect(None, server_address()).await.unwrap();
    let bytes = message.to_vec().unwrap();
    // Two questions at once, as pipelining clients send them.
    for _ in 0..2 {
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    }
    for _ in 0..2 {
        let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 100);
    }
}

#[test]
fn several_addresses_come_in_turn() {
    let pod = pod();
    let first = |pod| {
        let message = question("all.ns.svc.cluster.local.", RecordType::A);
        show(&exchange(pod, message.to_vec().unwrap()).unwrap())[0].clone()
    };
    assert_ne!(first(&pod), first(&pod));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let pod = pod();
    let mut stream = pod.connect(None, server_address()).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
}
