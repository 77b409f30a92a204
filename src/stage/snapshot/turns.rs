//! Whether a snapshot may be begun: one at a time, and after each a rest. And whether one that was
//! begun is wanted any more: a cut of the history it is of does not wait for the rest of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::log::Error;

/// In place of a time: until somebody says otherwise.
const UNDER_WAY: u64 = u64::MAX;

/// Written by whoever begins a snapshot, then by the snapshot thread. Times are microseconds of the
/// server's clock.
#[derive(Debug, Default)]
pub struct SnapshotTurns {
    /// None is begun before.
    rest_until: AtomicU64,
    /// Raised by whoever is about to cut the history, lowered by the snapshot thread once it writes
    /// nothing of that any more: so a later snapshot never meets it.
    is_unwanted: Mutex<bool>,
    became_unwanted: Condvar,
    /// One was begun and given up, and none has been taken in its place.
    is_owed: AtomicBool,
}

impl SnapshotTurns {
    /// Whether one may be begun now.
    pub fn is_free(&self, now: u64) -> bool {
        self.rest_until.load(Ordering::Acquire) <= now
    }

    /// Whether one is being written.
    pub fn is_under_way(&self) -> bool {
        self.rest_until.load(Ordering::Acquire) == UNDER_WAY
    }

    /// One is about to be handed over.
    pub fn begin(&self) {
        self.rest_until.store(UNDER_WAY, Ordering::Release);
    }

    /// It has ended, or was not taken; the next one may be begun at `rest_until`.
    pub fn end(&self, rest_until: u64) {
        self.rest_until.store(rest_until, Ordering::Release);
    }

    /// It was given up before its end: another is due, and may be begun at once.
    pub fn end_unfinished(&self) {
        self.is_owed.store(true, Ordering::Release);
        self.end(0);
    }

    /// Whether one was given up since this was asked.
    pub fn take_owed(&self) -> bool {
        // The load spares the shared line a write with each txn.
        self.is_owed.load(Ordering::Acquire) && self.is_owed.swap(false, Ordering::AcqRel)
    }

    /// Has one that is under way end soon, and those that are begun until [`Self::resume`].
    pub fn give_up(&self) {
        *self.is_unwanted.lock() = true;
        self.became_unwanted.notify_all();
    }

    /// What is begun from here on is wanted.
    pub fn resume(&self) {
        *self.is_unwanted.lock() = false;
    }

    /// For `?` between two steps of writing one.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it is to be given up.
    pub fn check(&self) -> Result<(), Error> {
        if *self.is_unwanted.lock() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Waits so long, or until what is being written is to be given up.
    pub fn pause(&self, time: Duration) {
        let mut is_unwanted = self.is_unwanted.lock();
        self.became_unwanted.wait_while_for(&mut is_unwanted, |unwanted| !*unwanted, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn a_pause_ends_when_the_snapshot_is_given_up() {
        let turns = SnapshotTurns::default();
        std::thread::scope(|scope| {
            scope.spawn(|| turns.pause(LONG));
            turns.give_up();
        });
        turns.pause(LONG); // nor is one begun
        assert!(matches!(turns.check(), Err(Error::Stopped)));
        turns.resume();
        assert!(turns.check().is_ok());
        turns.pause(Duration::ZERO);
    }

    #[test]
    fn one_that_was_given_up_is_owed_once() {
        let turns = SnapshotTurns::default();
        turns.begin();
        assert!(!turns.take_owed());
        turns.end_unfinished();
        assert!(turns.is_free(0), "it needs no rest");
        assert!(turns.take_owed());
        assert!(!turns.take_owed());
    }
}
