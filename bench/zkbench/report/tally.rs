//! What a thread counts while it loads: histograms of latencies, errors by code.
//!
//! One record in one histogram for each reply of a closed loop, three of an open one.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::load::workload::Kind;

/// Latencies below are not told apart; the three digits kept make it 64 ns up to 131 us.
const LATENCY_NS_MIN: u64 = 64;
/// Latencies above are counted as this.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 3).expect("the bounds are in order")
}

/// Of one kind of request.
#[derive(Clone, Debug)]
pub(crate) struct KindTally {
    /// From due to reply.
    pub(crate) latency: Histogram<u64>,
    /// From sent to reply; only of an open loop.
    pub(crate) service: Histogram<u64>,
    /// Replies that report an error, and requests without a reply, by code.
    pub(crate) errors: BTreeMap<i32, u64>,
}

/// Of one thread, or of all.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    kinds: Vec<KindTally>,
    /// From due to sent: how far the generator and its bound on requests in flight lagged.
    pub(crate) lag: Histogram<u64>,
    /// Requests that were due and never sent, for want of time.
    pub(crate) unsent: u64,
    /// Connections that broke.
    pub(crate) connections_lost: u64,
    /// Attempts to connect that failed.
    pub(crate) connects_failed: u64,
    /// Sessions that the server said are gone.
    pub(crate) sessions_expired: u64,
    /// Connections dropped because of what the server sent.
    pub(crate) protocol_faults: u64,
    /// What the first failed attempt or dropped connection was about.
    pub(crate) first_fault: Option<String>,
}

/// One reply to count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) due: u64,
    pub(crate) sent: u64,
    pub(crate) done: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let kind =
            KindTally { latency: histogram(), service: histogram(), errors: BTreeMap::new() };
        Self {
            kinds: vec![kind; Kind::ALL.len()],
            lag: histogram(),
            unsent: 0,
            connections_lost: 0,
            connects_failed: 0,
            sessions_expired: 0,
            protocol_faults: 0,
            first_fault: None,
        }
    }

    pub(crate) fn kind(&self, kind: Kind) -> &KindTally {
        &self.kinds[kind as usize]
    }

    /// A reply of a closed loop, whose requests are sent when they are due.
    pub(crate) fn record(&mut self, kind: Kind, latency_ns: u64) {
        self.kinds[kind as usize].latency.saturating_record(latency_ns);
    }

    /// A reply of an open loop.
    pub(crate) fn record_due(&mut self, sample: Sample) {
        let kind = &mut self.kinds[sample.kind as usize];
        kind.latency.saturating_record(sample.done.saturating_sub(sample.due));
        kind.service.saturating_record(sample.done.saturating_sub(sample.sent));
        self.lag.saturating_record(sample.sent.saturating_sub(sample.due));
    }

    pub(crate) fn error(&mut self, kind: Kind, code: i32) {
        *self.kinds[kind as usize].errors.entry(code).or_default() += 1;
    }

    pub(crate) fn connect_failed(&mut self, fault: &dyn std::fmt::Display) {
        self.connects_failed += 1;
        self.first_fault.get_or_insert_with(|| fault.to_string());
    }

    pub(crate) fn fault(&mut self, fault: &dyn std::fmt::Display) {
        self.protocol_faults += 1;
        self.first_fault.get_or_insert_with(|| fault.to_string());
    }

    /// Adds what another thread has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            for (to, from) in
                [(&mut mine.latency, &theirs.latency), (&mut mine.service, &theirs.service)]
            {
                to.add(from).expect("all histograms have the same bounds");
            }
            for (code, count) in &theirs.errors {
                *mine.errors.entry(*code).or_default() += count;
            }
        }
        self.lag.add(&other.lag).expect("all histograms have the same bounds");
        self.unsent += other.unsent;
        self.connections_lost += other.connections_lost;
        self.connects_failed += other.connects_failed;
        self.sessions_expired += other.sessions_expired;
        self.protocol_faults += other.protocol_faults;
        if self.first_fault.is_none() {
            self.first_fault.clone_from(&other.first_fault);
        }
    }

    /// Replies without an error, of the kinds that are load.
    pub(crate) fn ok(&self) -> u64 {
        let load = Kind::ALL.into_iter().filter(|kind| kind.is_load());
        load.map(|kind| self.kind(kind).latency.len()).sum()
    }

    /// Errors of every kind.
    pub(crate) fn errors(&self) -> u64 {
        self.kinds.iter().flat_map(|kind| kind.errors.values()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let mut one = Tally::new();
        one.record(Kind::Get, 1_000);
        one.error(Kind::Get, -4);
        let mut two = Tally::new();
        two.record_due(Sample { kind: Kind::Get, due: 10, sent: 1_010, done: 3_010 });
        two.error(Kind::Get, -4);
        two.fault(&"odd");
        one.merge(&two);
        assert_eq!((one.ok(), one.errors()), (2, 2));
        assert_eq!(one.kind(Kind::Get).errors.get(&-4), Some(&2));
        let get = one.kind(Kind::Get);
        assert!(get.latency.max().abs_diff(3_000) < 64, "counted from when it was due");
        assert!(get.service.max().abs_diff(2_000) < 64, "counted from when it was sent");
        assert!(one.lag.max().abs_diff(1_000) < 64);
        assert_eq!(one.first_fault.as_deref(), Some("odd"));
    }

    #[test]
    fn a_latency_out_of_bounds_is_still_counted() {
        let mut tally = Tally::new();
        tally.record(Kind::Set, 0);
        tally.record(Kind::Set, u64::MAX);
        assert_eq!(tally.ok(), 2);
    }
}
