//! The only file that may read the time.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ids::Millis;

/// The two clocks of a thread: monotonic for deadlines, wall for what goes into txns.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Monotonic time since this clock's start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Monotonic milliseconds since this clock's start.
    pub fn now(&self) -> Millis {
        Millis(i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Monotonic microseconds since this clock's start, for latencies.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Wall-clock milliseconds since 1970; 0 should the clock stand before that.
pub fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_after_this_was_written() {
        assert!(wall() > Millis(1_750_000_000_000));
    }

    #[test]
    fn monotonic_time_never_steps_back() {
        let clock = Clock::start();
        let first = clock.micros();
        assert!(clock.micros() >= first);
    }
}
