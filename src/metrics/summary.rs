//! The cells of a block, and what they merge into.
//!
//! A cell is written by one thread with relaxed loads and stores and read by any. A reader may see
//! a value half recorded (counted but not yet summed): metrics bear that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// A number one thread adds to.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn add(&self, n: u64) {
        self.store(self.load().wrapping_add(n));
    }

    pub(super) fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Number, sum, least and greatest of values.
#[derive(Debug)]
pub(super) struct BasicCell {
    count: Tally,
    sum: Tally,
    min: Tally,
    max: Tally,
}

impl Default for BasicCell {
    fn default() -> Self {
        let cell = Self {
            count: Tally::default(),
            sum: Tally::default(),
            min: Tally::default(),
            max: Tally::default(),
        };
        cell.clear();
        cell
    }
}

impl BasicCell {
    pub(super) fn record(&self, value: u64) {
        self.count.add(1);
        self.sum.add(value);
        if value < self.min.load() {
            self.min.store(value);
        }
        if value > self.max.load() {
            self.max.store(value);
        }
    }

    pub(super) fn clear(&self) {
        self.count.store(0);
        self.sum.store(0);
        self.min.store(u64::MAX);
        self.max.store(0);
    }

    pub(super) fn merge_into(&self, summary: &mut Summary) {
        summary.count += self.count.load();
        summary.sum = summary.sum.wrapping_add(self.sum.load());
        summary.min = summary.min.min(self.min.load());
        summary.max = summary.max.max(self.max.load());
    }
}

/// Values below it have a bucket each.
const EXACT: u64 = 64;
/// Buckets for each doubling above it: a percentile is off by 3 % at most.
const PER_DOUBLING: usize = 32;
/// Greater values count as this one: 50 days in milliseconds.
const VALUE_MAX: u64 = u32::MAX as u64;
const BUCKETS: usize = 64 + (32 - 6) * PER_DOUBLING;

/// A basic cell with a histogram.
#[derive(Debug)]
pub(super) struct AdvancedCell {
    basic: BasicCell,
    buckets: Box<[AtomicU32]>,
}

impl Default for AdvancedCell {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self { basic: BasicCell::default(), buckets }
    }
}

impl AdvancedCell {
    pub(super) fn record(&self, value: u64) {
        self.basic.record(value);
        let bucket = &self.buckets[bucket_of(value)];
        bucket.store(bucket.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.basic.clear();
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn merge_into(&self, (summary, values): &mut (Summary, Values)) {
        self.basic.merge_into(summary);
        for (number, bucket) in self.buckets.iter().enumerate() {
            let count = bucket.load(Ordering::Relaxed);
            if count > 0 {
                values.add(least_of(number), count);
            }
        }
    }
}

/// Which bucket counts `value`.
fn bucket_of(value: u64) -> usize {
    let value = value.min(VALUE_MAX);
    if value < EXACT {
        return usize::try_from(value).expect("below 64");
    }
    // `value` has `shift + 6` bits; its top six select among the 32 buckets of its doubling.
    let shift = 64 - value.leading_zeros() - 6;
    let top = usize::try_from(value >> shift).expect("six bits");
    64 + (usize::try_from(shift).expect("below 64") - 1) * PER_DOUBLING + (top - PER_DOUBLING)
}

/// The least value a bucket counts.
fn least_of(bucket: usize) -> u64 {
    if bucket < 64 {
        return bucket as u64;
    }
    let shift = (bucket - 64) / PER_DOUBLING + 1;
    let top = (bucket - 64) % PER_DOUBLING + PER_DOUBLING;
    (top as u64) << shift
}

/// Values of all threads, gathered for their percentiles.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(Option<Histogram<u64>>);

impl Values {
    fn add(&mut self, value: u64, count: u32) {
        let histogram = self.0.get_or_insert_with(|| {
            Histogram::new_with_max(VALUE_MAX + 1, 2).expect("bounds fit two digits")
        });
        histogram.saturating_record_n(value, u64::from(count));
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.as_ref().map_or(0, |values| values.value_at_quantile(quantile));
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) }
    }

    /// The value below which `quantile` (0 to 1) of all values lie.
    pub(super) fn quantile(&self, quantile: f64) -> u64 {
        self.0.as_ref().map_or(0, |values| values.value_at_quantile(quantile))
    }
}

/// Below which value half, 95, 99 and 99.9 per cent of all values lie.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// 95 %
    pub p95: u64,
    /// 99 %
    pub p99: u64,
    /// 99.9 %
    pub p999: u64,
}

/// Values of all threads, summed up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The greatest; 0 of none.
    pub max: u64,
    min: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { count: 0, sum: 0, max: 0, min: u64::MAX }
    }
}

impl Summary {
    /// The least; 0 of none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The average, to four decimals; 0 of none.
    #[expect(clippy::cast_precision_loss, reason = "a metric to four decimals")]
    pub fn average(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sum as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }

    /// The average as decimals. COMPAT: Java writes `5.0E-4`, which the parsers of `srvr` do not
    /// read (go-zookeeper's wants digits and a point), and which a fast server would often send.
    pub fn average_text(&self) -> String {
        format!("{:?}", self.average())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_values_without_gap_or_overlap() {
        for value in 1..100_000 {
            let (before, bucket) = (bucket_of(value - 1), bucket_of(value));
            assert!(bucket == before || bucket == before + 1, "{value} leaps to {bucket}");
        }
        let edges = (6..32).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in (0..100_000).chain(edges).chain([VALUE_MAX]) {
            let bucket = bucket_of(value);
            assert!(least_of(bucket) <= value, "{value} is below its bucket {bucket}");
            if bucket + 1 < BUCKETS {
                assert!(value < least_of(bucket + 1), "{value} is above its bucket {bucket}");
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_near_the_truth() {
        let cell = AdvancedCell::default();
        for value in 1..=100_000 {
            cell.record(value);
        }
        let mut merged = <(Summary, Values)>::default();
        cell.merge_into(&mut merged);
        let percentiles = merged.1.percentiles();
        for (found, truth) in
            [(percentiles.p50, 50_000), (percentiles.p95, 95_000), (percentiles.p999, 99_900)]
        {
            assert!(found.abs_diff(truth) * 100 <= truth * 4, "{found} for {truth}");
        }
        assert_eq!(merged.0.max, 100_000);
        assert_eq!(Values::default().percentiles(), Percentiles::default());
    }

    #[test]
    fn averages_have_four_decimals() {
        let cases = [
            (0, 0, "0.0"),
            (8, 47, "5.875"),
            (3, 7, "2.3333"),
            (3, 8, "2.6667"),
            (2000, 1, "0.0005"),
            (10_000, 1, "0.0001"),
            (1, 123_456_789, "123456789.0"),
        ];
        for (count, sum, text) in cases {
            let summary = Summary { count, sum, ..Summary::default() };
            assert_eq!(summary.average_text(), text);
        }
    }
}
