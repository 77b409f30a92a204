//! When requests are due, and which of them count: pure.
//!
//! Times are nanoseconds on the run's clock. An open loop's requests are due by a schedule that
//! takes no notice of the server: a slow reply delays none of those behind it, and each latency is
//! counted from when the request was due, not from when it could be sent.

use clap::ValueEnum;
use ringkeeper::clock::Clock;

use super::workload::Rng;

/// Nanoseconds since the clock's start.
pub(crate) fn now(clock: Clock) -> u64 {
    u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The span of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Window {
    /// Requests are made from here on (warm-up).
    pub(crate) open: u64,
    /// Requests due from here on count.
    pub(crate) start: u64,
    /// No request is made from here on; `u64::MAX` when their number is the bound.
    pub(crate) end: u64,
}

impl Window {
    pub(crate) const fn counts(&self, due: u64) -> bool {
        self.start <= due && due < self.end
    }
}

/// Spacing of an open loop's requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Arrivals {
    /// Evenly spaced.
    Uniform,
    /// As of many independent clients.
    Poisson,
}

/// Due times at a set rate.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    base: u64,
    rate: f64,
    arrivals: Arrivals,
    rng: Rng,
    /// Requests so far.
    count: u64,
    /// Nanoseconds from the base to the next one.
    passed: f64,
}

impl Schedule {
    pub(crate) fn new(rate: f64, arrivals: Arrivals, base: u64, rng: Rng) -> Self {
        Self { base, rate, arrivals, rng, count: 0, passed: 0.0 }
    }

    /// When the next request is due.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run is short")]
    pub(crate) const fn due(&self) -> u64 {
        self.base + self.passed as u64
    }

    /// Goes on to the one after it.
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 requests")]
    pub(crate) fn advance(&mut self) {
        self.count += 1;
        match self.arrivals {
            // By count, not gap by gap: rounding must not add up.
            Arrivals::Uniform => self.passed = self.count as f64 * 1e9 / self.rate,
            Arrivals::Poisson => self.passed += -self.rng.unit().ln() * 1e9 / self.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(rate: f64, arrivals: Arrivals, span: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(rate, arrivals, 1000, Rng::new(1, 1));
        let mut dues = Vec::new();
        while schedule.due() < 1000 + span {
            dues.push(schedule.due());
            schedule.advance();
        }
        dues
    }

    #[test]
    fn a_rate_is_kept_without_drift() {
        let dues = dues(3.0, Arrivals::Uniform, 100_000_000_000);
        assert_eq!(dues.len(), 300);
        assert_eq!(&dues[..3], &[1000, 333_334_333, 666_667_666]);
    }

    #[test]
    fn poisson_arrivals_have_the_same_rate_and_are_not_even() {
        let dues = dues(1000.0, Arrivals::Poisson, 10_000_000_000);
        assert!(dues.len().abs_diff(10_000) < 400, "{}", dues.len());
        let gaps: Vec<_> = dues.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().any(|gap| *gap < 100_000) && gaps.iter().any(|gap| *gap > 3_000_000));
    }

    #[test]
    fn only_what_is_due_in_the_window_counts() {
        let window = Window { open: 0, start: 10, end: 20 };
        for (due, counts) in [(0, false), (9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(window.counts(due), counts);
        }
    }
}
