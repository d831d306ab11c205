//! Lives from seeds: a number decides on a pod, on everything that happens to it and on all that goes wrong, and rules
//! that are written apart from the planner judge every plan. What a seed finds it finds again:
//!
//! ```text
//! HUSK_SEED=1234 cargo test --lib seeded -- --nocapture    # one life, step by step
//! HUSK_SEEDS=100000 cargo test --lib seeded -- --nocapture # many, with progress and rate; also A..B
//! ```

mod life;
mod pods;
mod published;
mod rules;
mod standing;
mod told;
mod world;

use std::io::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::{Container, Pod};

use life::Life;

/// How many seeds an ordinary run of the tests takes.
const SEEDS: u64 = 300;
/// After how many seeds a long run says how far it is.
const PROGRESS: u64 = 5_000;

/// A container of the spec that is not ephemeral.
fn spec_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}

/// Says something past the capture of the test's output.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// What went wrong in a life, if something did.
fn broken(life: &mut Life) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| life.live())) {
        Ok(kept) => kept.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default())
        }
    }
}

/// The whole story of a seed.
fn story(seed: u64) -> String {
    let mut life = Life::new(seed, true);
    let end = broken(&mut life).map_or("kept all rules".to_owned(), |rule| format!("BROKEN: {rule}"));
    format!(
        "{}---\n{}---\nseed {seed} {end}\nagain: HUSK_SEED={seed} cargo test --lib seeded -- --nocapture\n",
        life.pod(),
        life.timeline()
    )
}

fn seeds() -> Range<u64> {
    let number = |text: &str| text.parse().unwrap_or_else(|error| panic!("HUSK_SEEDS: {text:?}: {error}"));
    match std::env::var("HUSK_SEEDS") {
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => 0..number(&text),
        },
        Err(_) => 0..SEEDS,
    }
}

/// Runs the seeds on all cores; returns the first ones that break a rule.
fn run(seeds: Range<u64>) -> Vec<u64> {
    let (next, done) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let found = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Some(rule) = broken(&mut Life::new(seed, false)) {
                        say(&format!("seed {seed}: {rule}"));
                        found.lock().unwrap().push(seed);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done % PROGRESS == 0 {
                        say(&format!("{done} seeds"));
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// Whatever a pod is like and whatever happens to it, its plans keep the rules.
#[test]
fn every_seed_keeps_the_rules() {
    if let Ok(seed) = std::env::var("HUSK_SEED") {
        let seed = seed.parse().unwrap_or_else(|error| panic!("HUSK_SEED: {seed:?}: {error}"));
        let story = story(seed);
        say(&story);
        assert!(!story.contains("BROKEN"), "seed {seed} breaks a rule");
        return;
    }
    let found = run(seeds());
    if let Some(seed) = found.iter().min() {
        panic!("{} seeds break rules; the first:\n{}", found.len(), story(*seed));
    }
}
