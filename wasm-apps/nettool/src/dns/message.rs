//! Questions and answers as DNS messages, by the `simple-dns` crate.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
    Any,
}

impl Kind {
    /// By its name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "A" => Self::A,
            "AAAA" => Self::Aaaa,
            "CNAME" => Self::Cname,
            "MX" => Self::Mx,
            "NS" => Self::Ns,
            "PTR" => Self::Ptr,
            "SOA" => Self::Soa,
            "SRV" => Self::Srv,
            "TXT" => Self::Txt,
            "ANY" => Self::Any,
            _ => return None,
        })
    }

    fn code(self) -> QTYPE {
        QTYPE::TYPE(match self {
            Self::A => TYPE::A,
            Self::Aaaa => TYPE::AAAA,
            Self::Cname => TYPE::CNAME,
            Self::Mx => TYPE::MX,
            Self::Ns => TYPE::NS,
            Self::Ptr => TYPE::PTR,
            Self::Soa => TYPE::SOA,
            Self::Srv => TYPE::SRV,
            Self::Txt => TYPE::TXT,
            Self::Any => return QTYPE::ANY,
        })
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// The server is the one that decides about the name.
    pub(crate) authoritative: bool,
    /// Too long for UDP: ask again over TCP.
    pub(super) truncated: bool,
    pub(crate) records: Vec<Record>,
}

#[cfg(test)]
impl Answer {
    /// One that fits into a datagram.
    pub(crate) fn for_tests(outcome: Outcome, authoritative: bool, records: Vec<Record>) -> Self {
        Self { outcome, authoritative, truncated: false, records }
    }
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The name exists, with records of this kind or without.
    Found,
    /// There is no such name.
    NoSuchName,
    /// The server's problem, by the usual name.
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Found => "NOERROR",
            Self::NoSuchName => "NXDOMAIN",
            Self::Failed(code) => code,
        })
    }
}

/// One record of an answer, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Address {
        name: String,
        address: IpAddr,
    },
    /// Shown as `name`, what it is, and the text.
    Other {
        name: String,
        label: &'static str,
        text: String,
    },
}

/// A question as a message; `None` for what cannot be a name.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let fits = name.len() <= 253 && !name.split('.').any(str::is_empty);
    let name = Name::new(name).ok().filter(|_| fits)?;
    packet.questions.push(Question::new(name, kind.code(), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// The answer to question `id` in a message, if it is one.
pub(super) fn answer(id: u16, message: &[u8]) -> Option<Answer> {
    let packet = Packet::parse(message).ok()?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let outcome = match packet.rcode() {
        RCODE::NoError => Outcome::Found,
        RCODE::NameError => Outcome::NoSuchName,
        RCODE::FormatError => Outcome::Failed("FORMERR".to_owned()),
        RCODE::ServerFailure => Outcome::Failed("SERVFAIL".to_owned()),
        RCODE::NotImplemented => Outcome::Failed("NOTIMP".to_owned()),
        RCODE::Refused => Outcome::Failed("REFUSED".to_owned()),
        other => Outcome::Failed(format!("{other:?}")),
    };
    Some(Answer {
        outcome,
        authoritative: packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER),
        truncated: packet.has_flags(PacketFlag::TRUNCATION),
        records: packet.answers.iter().filter_map(record).collect(),
    })
}

fn record(record: &ResourceRecord<'_>) -> Option<Record> {
    let name = record.name.to_string();
    let (label, text) = match &record.rdata {
        RData::A(a) => return Some(Record::Address { name, address: Ipv4Addr::from(a.address).into() }),
        RData::AAAA(aaaa) => return Some(Record::Address { name, address: Ipv6Addr::from(aaaa.address).into() }),
        RData::CNAME(target) => ("canonical name", target.0.to_string()),
        RData::NS(target) => ("nameserver", target.0.to_string()),
        RData::PTR(target) => ("name", target.0.to_string()),
        RData::MX(mx) => ("mail exchanger", format!("{} {}", mx.preference, mx.exchange)),
        RData::SRV(srv) => ("service", format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)),
        RData::TXT(txt) => {
            let text = String::try_from(txt.clone()).ok()?;
            ("text", format!("{text:?}"))
        }
        RData::SOA(soa) => ("origin", format!("{}, mail addr = {}, serial = {}", soa.mname, soa.rname, soa.serial)),
        _ => return None,
    };
    Some(Record::Other { name, label, text })
}

/// The name under which an address's own name is found.
pub(crate) fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::{A, CNAME, SRV};

    use super::*;

    fn reply(id: u16, records: Vec<ResourceRecord<'_>>, flags: PacketFlag, code: RCODE) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        packet.set_flags(flags);
        *packet.rcode_mut() = code;
        packet.answers = records;
        packet.build_bytes_vec_compressed().unwrap()
    }

    #[test]
    fn a_question_is_what_the_server_reads() {
        let message = question(7, "a.b", Kind::Srv).unwrap();
        let packet = Packet::parse(&message).unwrap();
        assert_eq!((packet.id(), packet.questions.len()), (7, 1));
        assert_eq!(packet.questions[0].qname.to_string(), "a.b");
        assert_eq!(packet.questions[0].qtype, QTYPE::TYPE(TYPE::SRV));
        assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED));
        assert_eq!(question(7, &"a".repeat(64), Kind::A), None);
        assert_eq!(question(7, &"a.".repeat(200), Kind::A), None);
        assert_eq!(question(7, "a..b", Kind::A), None);
    }

    #[test]
    fn records_are_told_by_name_and_content() {
        let name = || Name::new_unchecked("web.default.svc");
        let of = |rdata| ResourceRecord::new(name(), CLASS::IN, 5, rdata);
        let records = vec![
            of(RData::CNAME(CNAME(Name::new_unchecked("x.y")))),
            of(RData::A(A { address: Ipv4Addr::new(10, 96, 1, 2).into() })),
            of(RData::SRV(SRV { priority: 0, weight: 100, port: 80, target: name() })),
        ];
        let message = reply(3, records, PacketFlag::AUTHORITATIVE_ANSWER, RCODE::NoError);
        let found = answer(3, &message).unwrap();
        assert_eq!((found.outcome, found.authoritative, found.truncated), (Outcome::Found, true, false));
        let name = "web.default.svc".to_owned();
        assert_eq!(
            found.records,
            [
                Record::Other { name: name.clone(), label: "canonical name", text: "x.y".to_owned() },
                Record::Address { name: name.clone(), address: "10.96.1.2".parse().unwrap() },
                Record::Other { name, label: "service", text: "0 100 80 web.default.svc".to_owned() },
            ]
        );
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let message = reply(3, Vec::new(), PacketFlag::TRUNCATION, RCODE::NameError);
        let found = answer(3, &message).unwrap();
        assert!(found.truncated);
        assert_eq!(found.outcome.to_string(), "NXDOMAIN");
        assert_eq!(answer(4, &message), None);
        assert_eq!(answer(3, &question(3, "a", Kind::A).unwrap()), None);
        for end in 0..message.len() {
            assert_eq!(answer(3, &message[..end]), None, "{end}");
        }
    }

    #[test]
    fn addresses_have_names_to_be_asked_for() {
        assert_eq!(reverse("10.96.0.1".parse().unwrap()), "1.0.96.10.in-addr.arpa");
        assert!(reverse("2001:db8::1".parse().unwrap()).starts_with("1.0.0.0.0."));
        assert!(reverse("2001:db8::1".parse().unwrap()).ends_with("8.b.d.0.1.0.0.2.ip6.arpa"));
    }
}
