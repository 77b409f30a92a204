//! What all threads recorded, and its names and values for whoever prints them.

use std::collections::BTreeMap;
use std::fmt;

use super::names::{Advanced, AdvancedSet, Basic, BasicSet, Counter, CounterSet};
use super::summary::{Percentiles, Summary, Values};

/// A value under its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(i64),
    /// A number with decimals, even if they are 0.
    Real(f64),
}

/// As Java prints them: a whole number bare, any other with a decimal point.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => f.write_str(&java_double(*value)),
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// COMPAT: `Double.toString`: plain from 0.001 up to ten million, else with an exponent.
pub(super) fn java_double(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        Some(_) | None => text,
    }
}

/// All threads' metrics at one time.
#[derive(Clone, Debug)]
pub struct Readings {
    /// Packets from clients.
    pub packets_received: u64,
    /// Packets to clients.
    pub packets_sent: u64,
    /// Milliseconds from a request's coming to its answer.
    pub latency: Summary,
    /// Bytes of replies.
    pub responses: Summary,
    /// Bytes of one of the latest replies.
    pub response_last: u64,
    pub(super) counters: [u64; Counter::COUNT],
    pub(super) basics: [Summary; Basic::COUNT],
    pub(super) advanced: Box<[(Summary, Values)]>,
    pub(super) counter_sets: [BTreeMap<Box<str>, u64>; CounterSet::COUNT],
    pub(super) basic_sets: [BTreeMap<Box<str>, Summary>; BasicSet::COUNT],
    pub(super) advanced_sets: [BTreeMap<Box<str>, (Summary, Values)>; AdvancedSet::COUNT],
}

impl Default for Readings {
    fn default() -> Self {
        Self {
            packets_received: 0,
            packets_sent: 0,
            latency: Summary::default(),
            responses: Summary::default(),
            response_last: 0,
            counters: [0; Counter::COUNT],
            basics: [Summary::default(); Basic::COUNT],
            advanced: vec![Default::default(); Advanced::COUNT].into(),
            counter_sets: Default::default(),
            basic_sets: Default::default(),
            advanced_sets: Default::default(),
        }
    }
}

impl Readings {
    /// A counter's value.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// A basic summary.
    pub fn basic(&self, summary: Basic) -> Summary {
        self.basics[summary as usize]
    }

    /// The basic half of a summary with percentiles.
    pub fn advanced(&self, summary: Advanced) -> Summary {
        self.advanced[summary as usize].0
    }

    /// A summary's percentiles.
    pub fn percentiles(&self, summary: Advanced) -> Percentiles {
        self.advanced[summary as usize].1.percentiles()
    }

    /// Below which value `quantile` (0 to 1) of a summary's values lie.
    pub fn quantile(&self, summary: Advanced, quantile: f64) -> u64 {
        self.advanced[summary as usize].1.quantile(quantile)
    }

    /// Every metric by name, as `mntr` has them (without its prefix): counters, then summaries.
    pub fn for_each(&self, mut sink: impl FnMut(&str, Value)) {
        for counter in Counter::ALL {
            sink(counter.name(), self.counter(*counter).into());
        }
        for (set, values) in CounterSet::ALL.iter().zip(&self.counter_sets) {
            for (key, value) in values {
                sink(&format!("{key}_{}", set.name()), (*value).into());
            }
        }
        for summary in Basic::ALL {
            basic_lines(summary.name(), &self.basic(*summary), &mut sink);
        }
        for (summary, (basic, values)) in Advanced::ALL.iter().zip(&self.advanced) {
            advanced_lines(summary.name(), basic, values, &mut sink);
        }
        for (set, summaries) in BasicSet::ALL.iter().zip(&self.basic_sets) {
            for (key, summary) in summaries {
                basic_lines(&format!("{key}_{}", set.name()), summary, &mut sink);
            }
        }
        for (set, summaries) in AdvancedSet::ALL.iter().zip(&self.advanced_sets) {
            for (key, (basic, values)) in summaries {
                advanced_lines(&format!("{key}_{}", set.name()), basic, values, &mut sink);
            }
        }
    }
}

fn basic_lines(name: &str, summary: &Summary, sink: &mut impl FnMut(&str, Value)) {
    sink(&format!("avg_{name}"), Value::Real(summary.average()));
    sink(&format!("min_{name}"), summary.min().into());
    sink(&format!("max_{name}"), summary.max.into());
    sink(&format!("cnt_{name}"), summary.count.into());
    sink(&format!("sum_{name}"), summary.sum.into());
}

fn advanced_lines(
    name: &str,
    summary: &Summary,
    values: &Values,
    sink: &mut impl FnMut(&str, Value),
) {
    basic_lines(name, summary, sink);
    let Percentiles { p50, p95, p99, p999 } = values.percentiles();
    for (prefix, value) in [("p50", p50), ("p95", p95), ("p99", p99), ("p999", p999)] {
        sink(&format!("{prefix}_{name}"), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn doubles_print_as_java_prints_them() {
        let cases = [
            (0.0, "0.0"),
            (5.875, "5.875"),
            (-1.0, "-1.0"),
            (0.001, "0.001"),
            (0.0005, "5.0E-4"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (12_345_678.25, "1.234567825E7"),
        ];
        for (value, text) in cases {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn every_metric_has_its_lines_even_when_nothing_happened() {
        let mut lines = 0;
        Metrics::new().read().for_each(|name, value| {
            lines += 1;
            let zero = if name.starts_with("avg_") { "0.0" } else { "0" };
            assert_eq!(value.to_string(), zero, "{name}");
        });
        assert_eq!(lines, Counter::COUNT + Basic::COUNT * 5 + Advanced::COUNT * 9);
    }

    #[test]
    fn sets_print_their_key_before_their_name() {
        let metrics = Metrics::new();
        let recorder = metrics.recorder();
        recorder.record_keyed(BasicSet::ReadPerNamespace, "fe", 70);
        recorder.add_keyed(CounterSet::QuotaExceededErrorPerNamespace, "fe", 2);
        recorder.record_advanced_keyed(AdvancedSet::AckLatency, "2", 9);
        let mut found = Vec::new();
        metrics.read().for_each(|name, value| {
            if name.contains("fe_") || name.starts_with("p99_2_") {
                found.push(format!("{name} {value}"));
            }
        });
        assert_eq!(
            found,
            [
                "fe_quota_exceeded_error_per_namespace 2",
                "avg_fe_read_per_namespace 70.0",
                "min_fe_read_per_namespace 70",
                "max_fe_read_per_namespace 70",
                "cnt_fe_read_per_namespace 1",
                "sum_fe_read_per_namespace 70",
                "p99_2_ack_latency 9",
            ]
        );
    }
}
