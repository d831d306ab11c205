//! What is posted of which events, with exact counts and times.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn correlator() -> Correlator {
    Correlator::new(&ObjectMeta { name: Some("p".into()), uid: Some("u".into()), ..ObjectMeta::default() })
}

fn event(type_: EventType, reason: &'static str, container: Option<&str>, message: &str) -> EventRecord {
    let field_path = container.map(|name| format!("spec.containers{{{name}}}"));
    EventRecord { type_, reason, message: message.into(), field_path }
}

fn warning(message: &str) -> EventRecord {
    event(EventType::Warning, "Unhealthy", Some("c"), message)
}

/// What is posted of an event at a second: `message xCOUNT FIRST..LAST`.
fn post(correlator: &mut Correlator, seconds: i64, record: EventRecord) -> Option<String> {
    let PostedEvent { record, count, first, last, .. } = correlator.observe(record, at(seconds))?;
    let second = |time: Timestamp| time.as_second() - 1_800_000_000;
    Some(format!("{} x{count} {}..{}", record.message, second(first), second(last)))
}

#[test]
fn identical_events_become_one_that_counts() {
    let mut events = correlator();
    for (seconds, expected) in [(0, "no x1 0..0"), (7, "no x2 0..7"), (700, "no x3 0..700")] {
        assert_eq!(post(&mut events, seconds, warning("no")).as_deref(), Some(expected));
    }
    let names: Vec<_> = (0..2).map(|seconds| events.observe(warning("no"), at(701 + seconds)).unwrap().name).collect();
    assert_eq!(names[0], names[1]);
}

#[test]
fn events_that_differ_in_anything_are_counted_apart() {
    let mut events = correlator();
    let variants = [
        event(EventType::Normal, "BackOff", None, "m"),
        event(EventType::Warning, "BackOff", None, "m"),
        event(EventType::Warning, "Failed", None, "m"),
        event(EventType::Warning, "Failed", Some("a"), "m"),
        event(EventType::Warning, "Failed", Some("b"), "m"),
        event(EventType::Warning, "Failed", Some("b"), "n"),
    ];
    let posted: Vec<_> = variants.into_iter().filter_map(|record| events.observe(record, at(0))).collect();
    assert!(posted.iter().all(|event| event.count == 1), "{posted:#?}");
    let names: BTreeSet<_> = posted.iter().map(|event| &event.name).collect();
    assert_eq!(names.len(), 6, "one time, and yet every name is of its own: {names:?}");
}

#[test]
fn names_are_the_pods_and_the_time_in_nanoseconds() {
    let mut events = correlator();
    let now = Timestamp::from_nanosecond(0x18fa_e27f_85cd_0abc).unwrap();
    assert_eq!(events.observe(warning("a"), now).unwrap().name, "p.18fae27f85cd0abc");
    assert_eq!(events.observe(warning("b"), now).unwrap().name, "p.18fae27f85cd0abd");
}

#[test]
fn a_pod_name_too_long_for_another_part_gives_uuids() {
    let metadata = |uid: &str| ObjectMeta { name: Some("p".repeat(240)), uid: Some(uid.into()), ..Default::default() };
    let name = |uid: &str| Correlator::new(&metadata(uid)).observe(warning("a"), at(0)).unwrap().name;
    assert_eq!(name("u").len(), 36);
    assert_ne!(name("u"), name("v"));
}

/// Nine messages have their own series, all further ones share one whose message is the latest.
#[test]
fn the_tenth_message_of_a_reason_and_all_after_it_are_combined() {
    let mut events = correlator();
    for number in 0..9 {
        let expected = format!("m{number} x1 {number}..{number}");
        assert_eq!(post(&mut events, number, warning(&format!("m{number}"))), Some(expected));
    }
    for (seconds, message, expected) in [
        (9, "m9", "(combined from similar events): m9 x1 9..9"),
        (10, "m10", "(combined from similar events): m10 x2 9..10"),
        (11, "m9", "(combined from similar events): m9 x3 9..11"),
        (12, "m3", "m3 x2 3..12"),
    ] {
        assert_eq!(post(&mut events, seconds, warning(message)).as_deref(), Some(expected));
    }
    let other = event(EventType::Warning, "Failed", Some("c"), "m11");
    assert_eq!(post(&mut events, 13, other).as_deref(), Some("m11 x1 13..13"), "another reason");
}

/// Which container it is makes no difference to what is similar.
#[test]
fn similar_events_of_all_containers_are_combined() {
    let mut events = correlator();
    for number in 0..9 {
        events.observe(event(EventType::Warning, "Failed", Some("a"), &format!("m{number}")), at(0));
    }
    let posted = events.observe(event(EventType::Warning, "Failed", Some("b"), "other"), at(0)).unwrap();
    assert_eq!(posted.record.message, "(combined from similar events): other");
    assert_eq!(posted.record.field_path.as_deref(), Some("spec.containers{b}"));
}

#[test]
fn messages_are_forgotten_after_more_than_ten_quiet_minutes() {
    let ten = |gap: i64| {
        let mut events = correlator();
        for number in 0..9 {
            events.observe(warning(&format!("m{number}")), at(0));
        }
        post(&mut events, gap, warning("m9")).unwrap()
    };
    assert_eq!(ten(600), "(combined from similar events): m9 x1 600..600");
    assert_eq!(ten(601), "m9 x1 601..601");
}

#[test]
fn a_combined_series_goes_on_after_a_quiet_time() {
    let mut events = correlator();
    let mut ten = |from: i64, letter: char| {
        let posted = (0..10).filter_map(|number| post(&mut events, from, warning(&format!("{letter}{number}"))));
        posted.collect::<Vec<_>>().pop()
    };
    assert_eq!(ten(0, 'a').as_deref(), Some("(combined from similar events): a9 x1 0..0"));
    assert_eq!(ten(7000, 'b').as_deref(), Some("(combined from similar events): b9 x2 0..7000"));
}

/// 25 at once, then one for every five minutes that have passed; those dropped count nevertheless.
#[test]
fn a_flood_is_cut_to_a_burst_and_a_trickle() {
    let mut events = correlator();
    let posted: Vec<_> = (0..1000).filter_map(|seconds| post(&mut events, seconds, warning("no"))).collect();
    assert_eq!(posted.len(), 25 + 3);
    assert_eq!(posted[24..], ["no x25 0..24", "no x301 0..300", "no x601 0..600", "no x901 0..900"]);
}

#[test]
fn what_is_saved_up_is_never_more_than_a_burst() {
    let mut events = correlator();
    let mut posted = |from| (0..100).filter(|_| post(&mut events, from, warning("no")).is_some()).count();
    assert_eq!([posted(0), posted(299), posted(300), posted(900), posted(1_000_000)], [25, 0, 1, 2, 25]);
}

#[test]
fn a_flood_of_warnings_takes_nothing_from_normal_events() {
    let mut events = correlator();
    for _ in 0..100 {
        events.observe(warning("no"), at(0));
    }
    assert!(events.observe(warning("no"), at(0)).is_none());
    let started = event(EventType::Normal, "Started", Some("c"), "Container started");
    assert_eq!(post(&mut events, 0, started).as_deref(), Some("Container started x1 0..0"));
}

/// A pod with more to tell than is remembered: the series that was quiet for longest starts anew.
#[test]
fn only_so_many_series_are_remembered() {
    let mut events = correlator();
    let container = |number: usize| event(EventType::Warning, "Failed", Some(&format!("c{number}")), "m");
    for number in 0..MAX_SERIES {
        events.observe(container(number), at(number as i64));
    }
    events.observe(container(0), at(300));
    events.observe(container(MAX_SERIES), at(301));
    assert_eq!(events.series.len(), MAX_SERIES);
    let later = |events: &mut Correlator, number| events.observe(container(number), at(1_000_000)).unwrap().count;
    assert_eq!(later(&mut events, 0), 3);
    assert_eq!(later(&mut events, 1), 1);
}

#[test]
fn a_clock_that_goes_back_neither_fills_nor_forgets() {
    let mut events = correlator();
    for _ in 0..25 {
        events.observe(warning("no"), at(1000));
    }
    assert!(events.observe(warning("no"), at(0)).is_none());
    assert!(events.observe(warning("no"), at(299)).is_none());
}

const REASONS: [&str; 3] = ["Unhealthy", "Failed", "BackOff"];

proptest! {
    /// Whatever happens: every event is counted in one series, what is posted tells of a series as it is, and no more
    /// is posted than the budget allows.
    #[test]
    fn every_event_is_new_merged_or_dropped(
        happenings in prop::collection::vec((0..3usize, 0..14u8, any::<bool>(), 0..700i64), 1..200)
    ) {
        let mut events = correlator();
        let mut now = 0;
        let mut posted: BTreeMap<String, PostedEvent> = BTreeMap::new();
        let mut spent = [0i64; 2];
        for (reason, message, is_warning, pause) in &happenings {
            now += pause * i64::from(pause % 7 == 0);
            let type_ = if *is_warning { EventType::Warning } else { EventType::Normal };
            let record = event(type_, REASONS[*reason], None, &format!("m{message}"));
            let Some(event) = events.observe(record.clone(), at(now)) else { continue };
            spent[usize::from(*is_warning)] += 1;
            prop_assert!(event.record.message.ends_with(&record.message));
            prop_assert_eq!(event.last, at(now));
            prop_assert_eq!(event.record.reason, record.reason);
            match posted.get(&event.name) {
                Some(before) => {
                    prop_assert!(event.count > before.count && event.first == before.first);
                    prop_assert_eq!(event.record.type_, before.record.type_);
                }
                None => prop_assert!(event.count > 1 || event.first == event.last),
            }
            posted.insert(event.name.clone(), event);
        }
        let counted: u32 = events.series.values().map(|series| series.count).sum();
        prop_assert_eq!(counted as usize, happenings.len());
        for series in events.series.values() {
            prop_assert!(posted.get(&series.name).is_none_or(|event| event.count <= series.count));
        }
        for events in spent {
            prop_assert!(events <= 25 + now / 300);
        }
    }
}
