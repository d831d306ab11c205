//! The switch's DNS server: answers for its own zone at once, and asks the host for addresses of names outside.
//!
//! Guests reach it over the switch, by UDP and TCP; `PodNetwork::resolve` reaches it directly, so both give the same
//! answers. Questions are hostile: what is read is bounded, and so is what a pod may have under way.

mod message;
mod stub;
mod zone;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;

use self::message::{Carrier, Question, Received};
use self::zone::{End, Found};
use super::resolve::HostResolver;
use super::{Egress, NetError, TcpStream};

pub(super) use stub::resolve;
pub use zone::{Record, Zone};

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);

/// Answers questions.
#[derive(Debug)]
pub(super) struct Server {
    zone: RwLock<Arc<Zone>>,
    host: HostResolver,
    /// Turns lists of addresses, so that clients that take the first one are spread.
    turn: AtomicUsize,
}

/// What became of a question.
enum Outcome {
    /// The answer, if there is anything to say.
    Answer(Option<Vec<u8>>),
    /// The host has to be asked for a name.
    Ask(Question, String),
}

impl Server {
    pub(super) fn new(egress: Egress) -> Self {
        Self { zone: RwLock::default(), host: HostResolver::new(egress), turn: AtomicUsize::new(0) }
    }

    pub(super) fn set_zone(&self, zone: Zone) {
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }

    fn zone(&self) -> Arc<Zone> {
        Arc::clone(&self.zone.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a datagram: at once, or once the host has answered, for which a `place` is needed.
    pub(super) fn answer_datagram(
        server: &Arc<Self>,
        bytes: &[u8],
        place: Option<OwnedSemaphorePermit>,
        reply: impl FnOnce(Bytes) + Send + 'static,
    ) {
        match server.consider(bytes, Carrier::Datagram) {
            Outcome::Answer(answer) => {
                if let Some(answer) = answer {
                    reply(answer.into());
                }
            }
            Outcome::Ask(mut question, name) => {
                let (Some(place), Ok(runtime)) = (place, tokio::runtime::Handle::try_current()) else {
                    question.fail(ResponseCode::ServFail);
                    if let Some(answer) = question.finish() {
                        reply(answer.into());
                    }
                    return;
                };
                let server = Arc::clone(server);
                runtime.spawn(async move {
                    if let Some(answer) = server.ask(question, &name).await {
                        reply(answer.into());
                    }
                    drop(place);
                });
            }
        }
    }

    /// Answers the questions that come over a connection, one after the other, until it ends or is silent for long.
    pub(super) async fn serve(&self, mut stream: TcpStream) {
        while let Ok(Ok(length)) = tokio::time::timeout(IDLE, stream.read_u16()).await {
            let mut question = vec![0; usize::from(length)];
            if !matches!(tokio::time::timeout(IDLE, stream.read_exact(&mut question)).await, Ok(Ok(_))) {
                return;
            }
            let answer = match self.consider(&question, Carrier::Stream) {
                Outcome::Answer(answer) => answer,
                Outcome::Ask(question, name) => self.ask(question, &name).await,
            };
            let Some(answer) = answer else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            let framed = [&length.to_be_bytes()[..], &answer].concat();
            if !matches!(tokio::time::timeout(IDLE, stream.write_all(&framed)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn consider(&self, bytes: &[u8], carrier: Carrier) -> Outcome {
        let mut question = match Question::read(bytes, carrier) {
            Received::Question(question) => question,
            Received::Rejected(answer) => return Outcome::Answer(Some(answer)),
            Received::Noise => return Outcome::Answer(None),
        };
        let zone = self.zone();
        let found = self.look_up(&zone, &question.name, question.kind);
        question.add_records(&found.answers, &found.additionals);
        match found.end {
            End::Here => question.mark_own(zone.domain()),
            End::Nowhere => {
                question.fail(ResponseCode::NXDomain);
                question.mark_own(zone.domain());
            }
            End::Outside(name) if matches!(question.kind, RecordType::A | RecordType::AAAA) => {
                // Names without a dot are completed by who asks; no domain but the host's own has such.
                if self.host.may_ask() && name.contains('.') {
                    return Outcome::Ask(question, name);
                }
                question.fail(ResponseCode::NXDomain);
            }
            // An alias is an answer, even where nothing more can be said about what it stands for.
            End::Outside(_) if !found.answers.is_empty() => {}
            End::Outside(_) => question.fail(ResponseCode::Refused),
        }
        Outcome::Answer(question.finish())
    }

    async fn ask(&self, mut question: Question, name: &str) -> Option<Vec<u8>> {
        match self.host.ask(format!("{name}.")).await {
            Ok(addresses) => question.add_outside(name, &addresses),
            Err(NetError::NameNotFound) => question.fail(ResponseCode::NXDomain),
            Err(_temporary) => question.fail(ResponseCode::ServFail),
        }
        question.finish()
    }

    /// Looks a name up in the zone; several addresses come in another order each time.
    fn look_up(&self, zone: &Zone, name: &str, kind: RecordType) -> Found {
        let mut found = zone.look_up(name, kind);
        let aliases = found.answers.iter().take_while(|(_, record)| matches!(record, Record::Alias(_))).count();
        let addresses = &mut found.answers[aliases..];
        if let Some(by) = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(addresses.len()) {
            addresses.rotate_left(by);
        }
        found
    }

    /// The addresses of a name, from the zone or from the host. The host may complete one that is not `full`.
    async fn addresses(&self, name: &str, full: bool) -> Result<Vec<IpAddr>, NetError> {
        let zone = self.zone();
        let found = self.look_up(&zone, name, RecordType::A);
        match found.end {
            End::Here | End::Nowhere => {
                let addresses: Vec<IpAddr> = zone::addresses(&found.answers).collect();
                if addresses.is_empty() { Err(NetError::NameNotFound) } else { Ok(addresses) }
            }
            End::Outside(outside) => self.ask_host(&outside, full || outside != name).await,
        }
    }

    /// The addresses the host knows of a name, if egress allows asking.
    async fn ask_host(&self, name: &str, full: bool) -> Result<Vec<IpAddr>, NetError> {
        if !self.host.may_ask() {
            return Err(NetError::NameNotFound);
        }
        self.host.ask(if full { format!("{name}.") } else { name.to_owned() }).await
    }
}

#[cfg(test)]
mod tests;
