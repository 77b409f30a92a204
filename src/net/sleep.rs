//! Who wakes whom: the part of sleeping and waking that is only memory.
//!
//! Any thread. A sender first pushes to a queue, then interrupts; a reader first says that it will
//! sleep, then looks at the queue once more. Between the two steps of each stands a sequentially
//! consistent fence, so at least one of them sees the other's first step.
//! INVARIANT: no push is slept through; `tests/loom` runs this file under a model checker.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether a thread sleeps, or is about to.
#[derive(Debug, Default)]
pub struct Sleep {
    sleeping: AtomicBool,
}

impl Sleep {
    /// Reader: before it looks at its queues a last time and waits.
    pub fn begin(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Reader: awake again, nobody needs to wake it.
    pub fn end(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Sender, after its push: whether it is the one that has to wake the reader.
    pub fn interrupt(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load spares the shared line a write while the reader is awake.
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let sleep = Sleep::default();
        assert!(!sleep.interrupt(), "awake at first");
        sleep.begin();
        assert!(sleep.interrupt());
        assert!(!sleep.interrupt(), "the first has seen to it");
        sleep.begin();
        sleep.end();
        assert!(!sleep.interrupt());
    }
}
