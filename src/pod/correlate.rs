//! What becomes of the events recorded about a pod before they are posted: repeats are counted, similar ones combined,
//! and what is still too much is dropped (client-go v1.36 `tools/record/events_cache.go`, `EventCorrelator`, with the
//! defaults the kubelet runs it with).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::plan::{EventRecord, EventType};
use crate::base::clock::Timestamp;

/// From this many different messages on, events of one type and reason are combined (`defaultAggregateMaxEvents`).
const COMBINED_FROM: usize = 10;
/// Seconds without an event of a type and reason after which its messages are forgotten
/// (`defaultAggregateIntervalInSeconds`).
const FORGOTTEN_AFTER_SECONDS: i64 = 600;
/// Events of one type that may be posted at once (`defaultSpamBurst`).
const BURST: i32 = 25;
/// How long it takes until one more may be posted (the inverse of `defaultSpamQPS`).
const REFILL: SignedDuration = SignedDuration::from_secs(300);
/// Series that are remembered. client-go remembers 4096 for all pods of a node together.
const MAX_SERIES: usize = 256;
/// Longest name of an object, in bytes.
const MAX_NAME: usize = 253;

/// An event as it is posted: the latest of a series of events that tell the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedEvent {
    /// The event itself. In a series of combined events the message is that of the latest, and says so.
    pub record: EventRecord,
    /// `metadata.name` of the series.
    pub name: String,
    /// How many events the series has, those that were dropped included.
    pub count: u32,
    /// When the series began.
    pub first: Timestamp,
    /// When this event happened.
    pub last: Timestamp,
}

/// Decides what is posted of the events that one source records about one pod.
#[derive(Debug)]
pub struct Correlator {
    pod: String,
    uid: String,
    groups: BTreeMap<Group, Messages>,
    series: BTreeMap<SeriesKey, Series>,
    normal: Budget,
    warning: Budget,
    /// Nanoseconds that went into the last name.
    last_name: i128,
}

/// Events that differ by message only. What part of the pod they are about makes no difference here.
type Group = (bool, &'static str);

/// The messages of a group.
#[derive(Debug)]
struct Messages {
    /// Those with a series of their own.
    known: BTreeSet<String>,
    last: Timestamp,
}

/// What the events of a series have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SeriesKey {
    /// All but the time.
    Same { group: Group, field_path: Option<String>, message: String },
    /// The group.
    Combined(Group),
}

#[derive(Debug)]
struct Series {
    name: String,
    count: u32,
    first: Timestamp,
    last: Timestamp,
}

impl Correlator {
    /// For events about the pod with this metadata, none of which has been seen yet.
    pub fn new(pod: &ObjectMeta) -> Self {
        Self {
            pod: pod.name.clone().unwrap_or_default(),
            uid: pod.uid.clone().unwrap_or_default(),
            groups: BTreeMap::new(),
            series: BTreeMap::new(),
            normal: Budget::full(),
            warning: Budget::full(),
            last_name: 0,
        }
    }

    /// Takes in an event that happened at `now`; gives what to post of it, or nothing if it is one too many.
    pub fn observe(&mut self, record: EventRecord, now: Timestamp) -> Option<PostedEvent> {
        let type_ = record.type_;
        let (record, key) = self.combine(record, now);
        let event = self.count(record, key, now);
        let budget = match type_ {
            EventType::Normal => &mut self.normal,
            EventType::Warning => &mut self.warning,
        };
        budget.spend(now).then_some(event)
    }

    /// Finds the series of an event, and combines it with others if its group has too many messages
    /// (`EventAggregator.EventAggregate`).
    fn combine(&mut self, record: EventRecord, now: Timestamp) -> (EventRecord, SeriesKey) {
        let group = (record.type_ == EventType::Warning, record.reason);
        let fresh = || Messages { known: BTreeSet::new(), last: now };
        let messages = self.groups.entry(group).or_insert_with(fresh);
        if now.duration_since(messages.last) > SignedDuration::from_secs(FORGOTTEN_AFTER_SECONDS) {
            *messages = fresh();
        }
        messages.last = now;
        if !messages.known.contains(&record.message) {
            // One message always has to go then; client-go takes any, here it is the new one.
            if messages.known.len() + 1 >= COMBINED_FROM {
                let message = format!("(combined from similar events): {}", record.message);
                return (EventRecord { message, ..record }, SeriesKey::Combined(group));
            }
            messages.known.insert(record.message.clone());
        }
        let (field_path, message) = (record.field_path.clone(), record.message.clone());
        (record, SeriesKey::Same { group, field_path, message })
    }

    /// Counts an event in its series (`eventLogger.eventObserve`).
    fn count(&mut self, record: EventRecord, key: SeriesKey, now: Timestamp) -> PostedEvent {
        let mut series = self.series.remove(&key).unwrap_or_else(|| {
            self.make_room();
            Series { name: self.new_name(now), count: 0, first: now, last: now }
        });
        series.count = series.count.saturating_add(1);
        series.last = now;
        let event =
            PostedEvent { record, name: series.name.clone(), count: series.count, first: series.first, last: now };
        self.series.insert(key, series);
        event
    }

    /// Forgets the series that has been quiet for longest if there are as many as may be.
    fn make_room(&mut self) {
        if self.series.len() < MAX_SERIES {
            return;
        }
        let quietest = self.series.iter().min_by_key(|(_, series)| series.last).map(|(key, _)| key.clone());
        if let Some(key) = quietest {
            self.series.remove(&key);
        }
    }

    /// A name nothing else has (client-go `tools/record/util` `GenerateEventName`).
    fn new_name(&mut self, now: Timestamp) -> String {
        // Events of one plan happen at the same time.
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        let name = format!("{}.{:x}", self.pod, self.last_name);
        if name.len() <= MAX_NAME {
            return name;
        }
        let mut bytes = [0; 16];
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.uid.as_bytes()).update(&self.last_name.to_be_bytes()).finalize_xof().fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// What one source may still post about one pod (`EventSourceObjectSpamFilter`, a token bucket; `getSpamKey` counts
/// Normal and Warning events apart).
#[derive(Debug)]
struct Budget {
    /// One [`REFILL`] is worth one event.
    saved: SignedDuration,
    at: Timestamp,
}

impl Budget {
    fn full() -> Self {
        Self { saved: REFILL * BURST, at: Timestamp::MIN }
    }

    /// Whether an event may be posted now; pays for it if so.
    fn spend(&mut self, now: Timestamp) -> bool {
        let since = now.duration_since(self.at).max(SignedDuration::ZERO);
        self.saved = self.saved.saturating_add(since).min(REFILL * BURST);
        self.at = now;
        let enough = self.saved >= REFILL;
        if enough {
            self.saved -= REFILL;
        }
        enough
    }
}

#[cfg(test)]
mod tests;
