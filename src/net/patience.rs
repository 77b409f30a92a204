//! Whether a thread that has nothing to do may stay awake, giving way to others.
//!
//! Where only its own process wants the core it comes back as soon as there is something. Another
//! program that wants it is given a whole slice each time, some milliseconds: who sleeps is woken
//! in its midst, who gives way is not. So after a slice was lost it sleeps for a while.

use std::time::Duration;

use crate::limits::{CROWDED_MS, GIVEN_WAY_US_MAX};

/// See the module. Times are those of one clock.
#[derive(Debug, Default)]
pub(super) struct Patience {
    crowded_until: Duration,
}

impl Patience {
    /// Whether it may stay awake.
    pub(super) fn is_allowed(&self, now: Duration) -> bool {
        now >= self.crowded_until
    }

    /// It gave way at `before` and has the core again; whether it may go on so.
    pub(super) fn came_back(&mut self, before: Duration, now: Duration) -> bool {
        if now.saturating_sub(before) > Duration::from_micros(GIVEN_WAY_US_MAX) {
            self.crowded_until = now + Duration::from_millis(CROWDED_MS);
        }
        self.is_allowed(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_for_a_while_after_the_core_was_taken() {
        let mut patience = Patience::default();
        let mut now = Duration::ZERO;
        assert!(patience.is_allowed(now));
        for _ in 0..10 {
            let before = now;
            now += Duration::from_micros(GIVEN_WAY_US_MAX);
            assert!(patience.came_back(before, now), "its own threads had something to do");
        }
        let lost = now + Duration::from_micros(GIVEN_WAY_US_MAX + 1);
        assert!(!patience.came_back(now, lost));
        assert!(!patience.is_allowed(lost + Duration::from_millis(CROWDED_MS - 1)));
        assert!(patience.is_allowed(lost + Duration::from_millis(CROWDED_MS)));
    }
}
