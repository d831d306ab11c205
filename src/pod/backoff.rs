//! Exponential back-off as values: 10, 20, 40, 80, 160, 300 seconds (client-go v1.36 `flowcontrol.Backoff`, with
//! kubelet's numbers).

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Container;

use super::spec::later;
use crate::base::clock::Timestamp;

/// The first delay.
const INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay.
const MAXIMUM: SignedDuration = SignedDuration::from_secs(300);
/// A delay older than this is forgotten.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The delay in force and when it was last advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay.
    pub delay: SignedDuration,
    /// When it was last advanced.
    pub advanced_at: Timestamp,
}

/// The back-off of one container's restarts, and what it belongs to: with another image or other resources the
/// sequence starts again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartBackoff {
    /// Image and resources of the container.
    pub key: String,
    /// The delay.
    pub backoff: Backoff,
}

impl Backoff {
    /// The delay after another failure, which happened at `event`: the first one, or the double of `previous`.
    pub(super) fn advance(previous: Option<Self>, event: Timestamp, now: Timestamp) -> Self {
        let delay = match previous {
            Some(previous) if !previous.is_forgotten(event) => (previous.delay * 2).min(MAXIMUM),
            _ => INITIAL,
        };
        Self { delay, advanced_at: now }
    }

    /// Until when to wait after something that happened at `event`; `None` if there is nothing to wait for.
    pub(super) fn until(&self, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let until = later(event, self.delay);
        (!self.is_forgotten(event) && now < until).then_some(until)
    }

    fn is_forgotten(&self, event: Timestamp) -> bool {
        event.duration_since(self.advanced_at) > FORGOTTEN_AFTER
    }
}

/// What a container's restart back-off belongs to.
pub(super) fn restart_key(container: &Container) -> String {
    format!("{:?} {:?}", container.image, container.resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn delays_double_up_to_five_minutes() {
        let mut backoff = None;
        let delays: Vec<i64> = (0..8)
            .map(|_| {
                let next = Backoff::advance(backoff, at(0), at(0));
                backoff = Some(next);
                next.delay.as_secs()
            })
            .collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_quiet_time_of_more_than_ten_minutes_starts_over() {
        let backoff = Backoff { delay: SignedDuration::from_secs(80), advanced_at: at(1000) };
        assert_eq!(backoff.until(at(1600), at(1600)), Some(at(1680)));
        assert_eq!(backoff.until(at(1600), at(1680)), None, "waited enough");
        assert_eq!(backoff.until(at(1601), at(1601)), None, "forgotten");
        assert_eq!(Backoff::advance(Some(backoff), at(1600), at(1680)).delay.as_secs(), 160);
        assert_eq!(Backoff::advance(Some(backoff), at(1601), at(1601)).delay.as_secs(), 10);
    }
}
