//! The time of day, asked of the host once in a while and counted on from there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use net_tasks::now;
use nginx::http::date;
use wasip2::clocks::wall_clock;

/// How long to count on before the host is asked again, in nanoseconds.
const ASK_AFTER: u64 = 5_000_000_000;

/// The time of day.
#[derive(Default)]
pub(crate) struct Clock {
    /// When the host was asked: in nanoseconds of the monotonic clock, and in milliseconds since 1970.
    asked: Cell<Option<(u64, u64)>>,
    /// A second since 1970, and how headers write it.
    written: RefCell<(u64, Rc<str>)>,
}

impl Clock {
    /// Milliseconds since 1970.
    pub(crate) fn unix_ms(&self) -> u64 {
        let now = now();
        match self.asked.get() {
            Some((then, ms)) if now - then < ASK_AFTER => ms + (now - then) / 1_000_000,
            _ => {
                let time = wall_clock::now();
                let ms = time.seconds * 1000 + u64::from(time.nanoseconds / 1_000_000);
                self.asked.set(Some((now, ms)));
                ms
            }
        }
    }

    /// What `Date:` says now.
    pub(crate) fn date(&self) -> Rc<str> {
        let seconds = self.unix_ms() / 1000;
        let mut written = self.written.borrow_mut();
        if written.0 != seconds {
            *written = (seconds, date::format(seconds).into());
        }
        Rc::clone(&written.1)
    }
}
