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
        self.yields += 1;
        self.way.give(clock)
    }

    /// It sends what it has.
    pub(super) fn end(&mut self) {
        self.yields = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_a_few_times_under_load() {
        let (clock, start) = (Clock::start(), Duration::ZERO); // when none was slow yet
        let mut gather = Gather::new(true);
        assert!(!gather.is_worth_it(GATHER_PROPOSALS_MIN - 1, start), "each is waited for");
        for _ in 0..3 {
            for _ in 0..GATHER_YIELDS_MAX {
                gather.way = Way::new(true); // however busy this machine is
                assert!(gather.is_worth_it(GATHER_PROPOSALS_MIN, start));
                gather.give_way(&clock);
            }
            gather.way = Way::new(true);
            assert!(!gather.is_worth_it(GATHER_PROPOSALS_MIN, start), "more may come for ever");
            gather.end();
            assert!(gather.is_worth_it(GATHER_PROPOSALS_MIN, start));
        }
        assert!(
            !Gather::new(false).is_worth_it(GATHER_PROPOSALS_MIN, start),
            "nobody is behind it"
        );
    }

    #[test]
    fn it_does_not_give_way_to_another_program() {
        let mut gather = Gather::new(true);
        let (before, after) = (Duration::from_secs(1), Duration::from_secs(2));
        gather.way.came_back(before, after);
        assert!(gather.is_worth_it(GATHER_PROPOSALS_MIN, after), "once says nothing");
        gather.way.came_back(before, after);
        assert!(!gather.is_worth_it(GATHER_PROPOSALS_MIN, after));
    }
}
