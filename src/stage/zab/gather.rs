//! Whether a leader lets others finish before it sends.
//!
//! Its shards and learners have more for it under load, and each piece of what it sends costs every
//! learner a wake-up and a flush. So it gives way before it sends, a few times at most while more
//! comes, and what has come goes out in the same piece.

use std::time::Duration;

use crate::clock::Clock;
use crate::limits::{GATHER_PROPOSALS_MIN, GATHER_YIELDS_MAX};
use crate::stage::way::Way;

/// See the module. Times are those of one clock.
pub(super) struct Gather {
    way: Way,
    /// How often it gave way since it last sent.
    yields: usize,
}

impl Gather {
    /// Of a thread that shares its core with a shard and the log thread, or does not.
    pub(super) fn new(shares_core: bool) -> Self {
        Self { way: Way::new(shares_core), yields: 0 }
    }

    /// Whether to give way, with so many proposals in flight.
    pub(super) fn is_worth_it(&self, outstanding: usize, now: Duration) -> bool {
        let is_loaded = outstanding >= GATHER_PROPOSALS_MIN;
        is_loaded && self.yields < GATHER_YIELDS_MAX && self.way.is_open(now)
    }

    /// Gives way; whether there is time to take in what has come.
    pub(super) fn give_way(&mut self, clock: &Clock) -> bool {
        let before = clock.elapsed();
        std::thread::yield_now();
        self.came_back(before, clock.elapsed())
    }

    fn came_back(&mut self, before: Duration, now: Duration) -> bool {
        self.yields += 1;
        self.way.came_back(before, now)
    }

    /// It sends what it has.
    pub(super) fn end(&mut self) {
        self.yields = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GIVEN_WAY_US_MAX;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn it_gives_way_a_few_times_under_load() {
        let mut gather = Gather::new(true);
        assert!(!gather.is_worth_it(GATHER_PROPOSALS_MIN - 1, NOW), "each is waited for");
        for _ in 0..3 {
            for _ in 0..GATHER_YIELDS_MAX {
                assert!(gather.is_worth_it(GATHER_PROPOSALS_MIN, NOW));
                assert!(gather.came_back(NOW, NOW));
            }
            assert!(!gather.is_worth_it(GATHER_PROPOSALS_MIN, NOW), "more may come for ever");
            gather.end();
        }
        assert!(!Gather::new(false).is_worth_it(GATHER_PROPOSALS_MIN, NOW), "nobody is behind it");
    }

    #[test]
    fn what_waited_for_another_program_waits_no_longer() {
        let late = NOW + Duration::from_micros(GIVEN_WAY_US_MAX + 1);
        let mut gather = Gather::new(true);
        assert!(!gather.came_back(NOW, late));
        gather.end();
        assert!(!gather.came_back(NOW, late));
        gather.end();
        assert!(!gather.is_worth_it(GATHER_PROPOSALS_MIN, late), "it stays so");
        assert!(gather.is_worth_it(GATHER_PROPOSALS_MIN, late + NOW));
    }
}
