//! Giving way: to let the other threads of a core go on before one goes on oneself.
//!
//! Where only this process wants the core it comes back soon, and what the others have done
//! meanwhile is done together. Another program that wants it has a whole slice each time: where the
//! core is long in coming back nobody gives way, for longer and longer while that stays so.

use std::time::Duration;

use crate::clock::Clock;
use crate::limits::{COURTESY_PAUSE_MS, GIVEN_WAY_US_MAX, SLOW_WEIGHT, SLOWNESS_MAX};

/// Something that is tried while it costs little.
#[derive(Debug)]
pub(super) struct Trial {
    /// Each time that it cost much adds [`SLOW_WEIGHT`], each other takes 1 away.
    slowness: u32,
    /// From when on it is done.
    from: Duration,
    pause: Duration,
}

impl Trial {
    pub(super) const fn new() -> Self {
        let pause = Duration::from_millis(COURTESY_PAUSE_MS.0);
        Self { slowness: 0, from: Duration::ZERO, pause }
    }

    pub(super) fn is_on(&self, now: Duration) -> bool {
        now >= self.from
    }

    /// It was done, and may have cost much.
    pub(super) fn note(&mut self, now: Duration, is_slow: bool) {
        if !self.is_on(now) {
            return;
        }
        self.slowness =
            if is_slow { self.slowness + SLOW_WEIGHT } else { self.slowness.saturating_sub(1) };
        if self.slowness < SLOWNESS_MAX {
            return;
        }
        let (first, longest) = COURTESY_PAUSE_MS;
        let lasted = now.saturating_sub(self.from);
        let longer = self.pause.saturating_mul(2).min(Duration::from_millis(longest));
        self.pause = if lasted > self.pause { Duration::from_millis(first) } else { longer };
        self.from = now + self.pause;
        self.slowness = 0;
    }
}

/// See the module. Times are those of one clock.
#[derive(Debug)]
pub(super) struct Way(Option<Trial>);

impl Way {
    /// Of a thread that shares its core with those it would give way to; another never does.
    pub(super) fn new(shares_core: bool) -> Self {
        Self(shares_core.then(Trial::new))
    }

    /// Whether to give way.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.0.as_ref().is_some_and(|trial| trial.is_on(now))
    }

    /// Gives way; whether the core came back soon.
    pub(super) fn give(&mut self, clock: &Clock) -> bool {
        let before = clock.elapsed();
        std::thread::yield_now();
        self.came_back(before, clock.elapsed())
    }

    pub(super) fn came_back(&mut self, before: Duration, now: Duration) -> bool {
        let is_soon = now.saturating_sub(before) <= Duration::from_micros(GIVEN_WAY_US_MAX);
        if let Some(trial) = &mut self.0 {
            trial.note(now, !is_soon);
        }
        is_soon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_until_the_core_is_long_in_coming_back() {
        const OWN: Duration = Duration::from_micros(GIVEN_WAY_US_MAX);
        const OTHER: Duration = Duration::from_micros(GIVEN_WAY_US_MAX + 1);
        let mut way = Way::new(true);
        let mut now = Duration::from_secs(1);
        for _ in 0..100 {
            assert!(!way.came_back(now, now + OTHER));
            for _ in 0..SLOW_WEIGHT {
                assert!(way.is_open(now), "now and then it takes long");
                assert!(way.came_back(now, now + OWN));
            }
        }
        way.came_back(now, now + OTHER);
        way.came_back(now, now + OTHER);
        assert!(!way.is_open(now + OTHER), "somebody else wants it");
        now += OTHER + Duration::from_secs(1);
        assert!(way.is_open(now));
    }

    #[test]
    fn with_a_core_of_its_own_it_never_does() {
        let mut way = Way::new(false);
        let second = Duration::from_secs(1);
        assert!(!way.is_open(second));
        way.came_back(second, second * 2);
        assert!(!way.is_open(second * 100));
    }
}
