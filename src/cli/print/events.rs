//! Events: when one was seen, and how often.

use jiff::Timestamp;
use serde_json::Value;

use super::object::{at, text};
use crate::pod::print::human_duration;

/// How long ago a time was; `<unknown>` if there is none.
pub fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".to_owned(), |time| human_duration(now.duration_since(time)))
}

/// A time of an object.
pub fn time(object: &Value, path: &[&str]) -> Option<Timestamp> {
    text(object, path).parse().ok()
}

/// When an event was last seen.
pub fn last_seen(event: &Value) -> Option<Timestamp> {
    let paths = [&["series", "lastObservedTime"][..], &["lastTimestamp"], &["eventTime"], &["firstTimestamp"]];
    paths.iter().find_map(|path| time(event, path))
}

/// `5s`, or `5s (x3 over 2m)` of one that was seen several times.
pub fn interval(event: &Value, now: Timestamp) -> String {
    let first = time(event, &["firstTimestamp"]).or_else(|| time(event, &["eventTime"]));
    let count = at(event, &["series", "count"]).or_else(|| event.get("count")).and_then(Value::as_i64).unwrap_or(1);
    let last = ago(last_seen(event), now);
    if count > 1 { format!("{last} (x{count} over {})", ago(first, now)) } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_tell_how_often_they_were_seen() {
        let now = "2026-05-04T08:10:00Z".parse().unwrap();
        let once =
            json!({"firstTimestamp": "2026-05-04T08:09:55Z", "lastTimestamp": "2026-05-04T08:09:55Z", "count": 1});
        assert_eq!(interval(&once, now), "5s");
        let often =
            json!({"firstTimestamp": "2026-05-04T08:05:00Z", "lastTimestamp": "2026-05-04T08:09:00Z", "count": 4});
        assert_eq!(interval(&often, now), "60s (x4 over 5m)");
        assert_eq!(interval(&json!({}), now), "<unknown>");
    }
}
