//! What clients can bring about as often as they like is logged at a bounded rate.

use crate::ids::Millis;
use crate::limits::COMPLAINT_INTERVAL_MS;

/// When one was last logged, and how many were not.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<Millis>,
    withheld: u64,
}

impl Complaints {
    /// How many were not logged since the last one that was; `None` if this one is not, either.
    pub(super) fn next(&mut self, now: Millis) -> Option<u64> {
        let due = Millis(now.0 - COMPLAINT_INTERVAL_MS);
        if self.last.is_some_and(|last| last > due) {
            self.withheld += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_an_interval_is_logged_and_says_how_many_were_not() {
        let mut complaints = Complaints::default();
        let times = [(0, Some(0)), (1, None), (COMPLAINT_INTERVAL_MS - 1, None)];
        let later = [(COMPLAINT_INTERVAL_MS, Some(2)), (2 * COMPLAINT_INTERVAL_MS, Some(0))];
        for (now, withheld) in times.into_iter().chain(later) {
            assert_eq!(complaints.next(Millis(now)), withheld, "at {now}");
        }
    }
}
