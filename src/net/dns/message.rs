//! DNS messages: from bytes to a question that can be answered, and back, within what fits.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as ResourceRecord, RecordType};

use super::zone::Record;

/// The longest message that is read as a question: no name, with all that may stand around it, is longer.
const MAX_QUESTION: usize = 4096;

/// The longest answer in a datagram for who asks for no more.
const PLAIN_DATAGRAM: u16 = 512;

/// The longest answer in a datagram for anybody: what passes unfragmented nearly everywhere (DNS flag day 2020).
const MAX_DATAGRAM: u16 = 1232;

/// The longest answer over a connection.
pub(super) const MAX_STREAM: u16 = u16::MAX;

/// Seconds for which records of the zone, and that something is not in it, may be kept (CoreDNS's default).
const TTL: u32 = 5;

/// Seconds for which what comes from outside may be kept.
const OUTSIDE_TTL: u32 = 30;

/// How a question arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Datagram,
    Stream,
}

/// What a message turned out to be.
pub(super) enum Received {
    /// A question.
    Question(Question),
    /// Something that can only be rejected, and with what.
    Rejected(Vec<u8>),
    /// Nothing that deserves an answer.
    Noise,
}

/// A question, and the answer to it as it comes about.
pub(super) struct Question {
    answer: Message,
    /// In lower case, without the dot at the end.
    pub(super) name: String,
    pub(super) kind: RecordType,
    limit: usize,
}

impl Question {
    /// Reads a message.
    pub(super) fn read(bytes: &[u8], carrier: Carrier) -> Received {
        // Who can't send a header, or sends answers, would only send more.
        let Some((id, flags)) = header(bytes).filter(|(_, flags)| flags & 0x80 == 0) else { return Received::Noise };
        let reject = |operation, code| {
            let message = Message::error_msg(id, operation, code);
            message.to_vec().map_or(Received::Noise, Received::Rejected)
        };
        let operation = OpCode::from_u8((flags >> 3) & 0x0f);
        if operation != OpCode::Query {
            return reject(operation, ResponseCode::NotImp);
        }
        if bytes.len() > MAX_QUESTION {
            return reject(operation, ResponseCode::FormErr);
        }
        let Ok(query) = Message::from_vec(bytes) else { return reject(operation, ResponseCode::FormErr) };
        let [question] = &query.queries[..] else { return reject(operation, ResponseCode::FormErr) };
        if question.query_class() != DNSClass::IN || question.query_type() == RecordType::AXFR {
            return reject(operation, ResponseCode::Refused);
        }
        Received::Question(Self::of(&query, question, carrier))
    }

    fn of(query: &Message, question: &Query, carrier: Carrier) -> Self {
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        let mut limit = if carrier == Carrier::Stream { MAX_STREAM } else { PLAIN_DATAGRAM };
        if let Some(theirs) = &query.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_DATAGRAM);
            answer.set_edns(edns);
            limit = limit.max(theirs.max_payload().min(MAX_DATAGRAM));
        }
        let mut name = question.name().to_ascii().to_ascii_lowercase();
        if name.ends_with('.') {
            name.pop();
        }
        Self { answer, name, kind: question.query_type(), limit: usize::from(limit) }
    }

    /// Adds what the zone knows, from the name on that was asked for.
    pub(super) fn add_records(&mut self, answers: &[(String, Record)], additionals: &[(String, Record)]) {
        // The name is given back in the letters it was asked for.
        let asked = self.answer.queries.first().map(|query| query.name().clone());
        let own = self.name.clone();
        let owner = |name: &String| if *name == own { asked.clone() } else { Name::from_ascii(dotted(name)).ok() };
        for (name, record) in answers {
            self.answer.answers.extend(owner(name).and_then(|owner| resource(owner, record)));
        }
        for (name, record) in additionals {
            self.answer.additionals.extend(owner(name).and_then(|owner| resource(owner, record)));
        }
    }

    /// Adds addresses that `name`, outside, has.
    pub(super) fn add_outside(&mut self, name: &str, addresses: &[IpAddr]) {
        let Ok(owner) = Name::from_ascii(dotted(name)) else { return };
        let data = addresses.iter().filter_map(|ip| match (ip, self.kind) {
            (IpAddr::V4(ip), RecordType::A) => Some(RData::A(A(*ip))),
            (IpAddr::V6(ip), RecordType::AAAA) => Some(RData::AAAA(AAAA(*ip))),
            _ => None,
        });
        let records = data.map(|data| ResourceRecord::from_rdata(owner.clone(), OUTSIDE_TTL, data));
        self.answer.answers.extend(records);
    }

    /// Says that the answer is the zone's own: with its start of authority where there is nothing to be told.
    pub(super) fn mark_own(&mut self, domain: &str) {
        self.answer.metadata.authoritative = true;
        let has_data = self.answer.answers.iter().any(|record| record.record_type() != RecordType::CNAME);
        if !has_data && let Some(authority) = start_of_authority(domain) {
            self.answer.add_authority(authority);
        }
    }

    /// Sets the outcome.
    pub(super) fn fail(&mut self, code: ResponseCode) {
        self.answer.metadata.response_code = code;
    }

    /// The bytes of the answer, without what does not fit.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        loop {
            let bytes = self.answer.to_vec().ok()?;
            if bytes.len() <= self.limit {
                return Some(bytes);
            }
            if !self.answer.additionals.is_empty() {
                self.answer.additionals.clear();
            } else if self.answer.answers.is_empty() {
                return None;
            } else {
                self.answer.metadata.truncation = true;
                let half = self.answer.answers.len() / 2;
                self.answer.answers.truncate(half);
            }
        }
    }
}

/// A message's number and the byte with its kind and operation.
fn header(bytes: &[u8]) -> Option<(u16, u8)> {
    let head = bytes.first_chunk::<12>()?;
    Some((u16::from_be_bytes([head[0], head[1]]), head[2]))
}

fn dotted(name: &str) -> String {
    format!("{name}.")
}

fn resource(owner: Name, record: &Record) -> Option<ResourceRecord> {
    let name = |text: &str| Name::from_ascii(dotted(text)).ok();
    let data = match record {
        Record::Address(ip) => RData::A(A(*ip)),
        Record::Alias(target) => RData::CNAME(CNAME(name(target)?)),
        Record::Service { weight, port, target } => RData::SRV(SRV::new(0, *weight, *port, name(target)?)),
        Record::Pointer(target) => RData::PTR(PTR(name(target)?)),
        Record::Text(text) => RData::TXT(TXT::new(vec![text.clone()])),
    };
    Some(ResourceRecord::from_rdata(owner, TTL, data))
}

/// As CoreDNS's: nobody transfers the zone, so its number says nothing.
fn start_of_authority(domain: &str) -> Option<ResourceRecord> {
    let name = |prefix: &str| Name::from_ascii(format!("{prefix}{domain}.")).ok();
    let data = SOA::new(name("ns.dns.")?, name("hostmaster.")?, 1, 7200, 1800, 86_400, TTL);
    Some(ResourceRecord::from_rdata(name("")?, TTL, RData::SOA(data)))
}
