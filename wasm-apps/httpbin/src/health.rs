//! Health that can be switched on request, for probes: `/healthz/fail` makes `/healthz` fail until `/healthz/ok`.

use std::cell::Cell;

use crate::reply::Reply;

/// What the probes' paths answer with.
#[derive(Default)]
pub(crate) struct Health {
    failing: [Cell<bool>; CHECKS.len()],
}

/// The checks: each is a path.
const CHECKS: [&str; 3] = ["healthz", "livez", "readyz"];

impl Health {
    /// Answers `/healthz`, `/healthz/fail` and `/healthz/ok`, and so for each check; `None` for other paths.
    pub(crate) fn answer(&self, path: &[&str]) -> Option<Reply> {
        let (check, action) = path.split_first()?;
        let failing = &self.failing[CHECKS.iter().position(|known| known == check)?];
        match action {
            [] => {}
            ["fail"] => failing.set(true),
            ["ok"] => failing.set(false),
            _ => return None,
        }
        Some(match (failing.get(), action) {
            (true, []) => Reply::text(503, "failing\n"),
            (true, _) => Reply::text(200, "will fail\n"),
            (false, _) => Reply::text(200, "ok\n"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_switched_by_itself() {
        let health = Health::default();
        let status = |path: &[&str]| health.answer(path).map(|reply| reply.status);
        assert_eq!(status(&["healthz"]), Some(200));
        assert_eq!(status(&["healthz", "fail"]), Some(200));
        assert_eq!((status(&["healthz"]), status(&["readyz"])), (Some(503), Some(200)));
        assert_eq!(status(&["healthz", "ok"]), Some(200));
        assert_eq!(status(&["healthz"]), Some(200));
        assert_eq!((status(&["healthz", "x"]), status(&["x"]), status(&[])), (None, None, None));
    }
}
