//! Whether a snapshot may be begun: one at a time, and after each a rest.

use std::sync::atomic::{AtomicU64, Ordering};

/// In place of a time: until somebody says otherwise.
const UNDER_WAY: u64 = u64::MAX;

/// Written by whoever begins a snapshot, then by the snapshot thread. Times are microseconds of the
/// server's clock.
#[derive(Debug, Default)]
pub struct SnapshotTurns {
    /// None is begun before.
    rest_until: AtomicU64,
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
}
