//! One thread's metrics.

use std::array;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::names::{Advanced, AdvancedSet, Basic, BasicSet, Counter, CounterSet};
use super::read::Readings;
use super::summary::{AdvancedCell, BasicCell, Tally};
use crate::limits::METRIC_KEYS_MAX;

/// All cells of one thread, on cache lines of their own.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Block {
    generation: AtomicU32,
    pub(super) received: Tally,
    pub(super) sent: Tally,
    pub(super) response_last: Tally,
    pub(super) latency: BasicCell,
    pub(super) responses: BasicCell,
    pub(super) counters: [Tally; Counter::COUNT],
    pub(super) basics: [BasicCell; Basic::COUNT],
    pub(super) advanced: [AdvancedCell; Advanced::COUNT],
    pub(super) counter_sets: [Keyed<Tally>; CounterSet::COUNT],
    pub(super) basic_sets: [Keyed<BasicCell>; BasicSet::COUNT],
    pub(super) advanced_sets: [Keyed<AdvancedCell>; AdvancedSet::COUNT],
}

impl Block {
    pub(super) fn new(generation: u32) -> Self {
        Self {
            generation: AtomicU32::new(generation),
            received: Tally::default(),
            sent: Tally::default(),
            response_last: Tally::default(),
            latency: BasicCell::default(),
            responses: BasicCell::default(),
            counters: array::from_fn(|_| Tally::default()),
            basics: array::from_fn(|_| BasicCell::default()),
            advanced: array::from_fn(|_| AdvancedCell::default()),
            counter_sets: array::from_fn(|_| Keyed::new()),
            basic_sets: array::from_fn(|_| Keyed::new()),
            advanced_sets: array::from_fn(|_| Keyed::new()),
        }
    }

    /// Whether its numbers belong to `generation`.
    pub(super) fn is_of(&self, generation: u32) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Empties it, by its own thread.
    #[cold]
    pub(super) fn clear(&self, generation: u32) {
        let tallies = [&self.received, &self.sent, &self.response_last];
        tallies.into_iter().chain(&self.counters).for_each(|tally| tally.store(0));
        self.latency.clear();
        self.responses.clear();
        self.basics.iter().for_each(BasicCell::clear);
        self.advanced.iter().for_each(AdvancedCell::clear);
        self.counter_sets.iter().flat_map(Keyed::entries).for_each(|(_, tally)| tally.store(0));
        self.basic_sets.iter().flat_map(Keyed::entries).for_each(|(_, cell)| cell.clear());
        self.advanced_sets.iter().flat_map(Keyed::entries).for_each(|(_, cell)| cell.clear());
        self.generation.store(generation, Ordering::Release);
    }

    pub(super) fn merge_into(&self, to: &mut Readings) {
        to.packets_received += self.received.load();
        to.packets_sent += self.sent.load();
        to.response_last = to.response_last.max(self.response_last.load());
        self.latency.merge_into(&mut to.latency);
        self.responses.merge_into(&mut to.responses);
        for (sum, tally) in to.counters.iter_mut().zip(&self.counters) {
            *sum += tally.load();
        }
        for (summary, cell) in to.basics.iter_mut().zip(&self.basics) {
            cell.merge_into(summary);
        }
        for (summary, cell) in to.advanced.iter_mut().zip(&self.advanced) {
            cell.merge_into(summary);
        }
        for (set, keyed) in to.counter_sets.iter_mut().zip(&self.counter_sets) {
            keyed
                .entries()
                .for_each(|(key, tally)| *set.entry(key.into()).or_default() += tally.load());
        }
        for (set, keyed) in to.basic_sets.iter_mut().zip(&self.basic_sets) {
            keyed.entries().for_each(|(key, cell)| {
                cell.merge_into(set.entry(key.into()).or_default());
            });
        }
        for (set, keyed) in to.advanced_sets.iter_mut().zip(&self.advanced_sets) {
            keyed.entries().for_each(|(key, cell)| {
                cell.merge_into(set.entry(key.into()).or_default());
            });
        }
    }

    /// Its keys without its numbers: a reset forgets no key (`AvgMinMaxCounterSet.reset`).
    pub(super) fn name_keys_in(&self, to: &mut Readings) {
        name_keys(&self.counter_sets, &mut to.counter_sets);
        name_keys(&self.basic_sets, &mut to.basic_sets);
        name_keys(&self.advanced_sets, &mut to.advanced_sets);
    }
}

fn name_keys<T: Default, V: Default>(from: &[Keyed<T>], to: &mut [BTreeMap<Box<str>, V>]) {
    for (set, keyed) in to.iter_mut().zip(from) {
        for (key, _) in keyed.entries() {
            set.entry(key.into()).or_default();
        }
    }
}

/// The key of everything past the last slot.
const OTHER: &str = "other";

/// Cells by key, made on first use and kept; a bounded number, the rest shares one.
#[derive(Debug)]
pub(super) struct Keyed<T> {
    slots: Box<[Slot<T>]>,
}

/// Empty until its key is first seen, then fixed.
type Slot<T> = OnceLock<Box<(Box<str>, T)>>;

impl<T: Default> Keyed<T> {
    fn new() -> Self {
        Self { slots: (0..=METRIC_KEYS_MAX).map(|_| OnceLock::new()).collect() }
    }

    /// The cell of `key`.
    pub(super) fn of(&self, key: &str) -> &T {
        let (rest, slots) = self.slots.split_last().expect("at least one slot");
        let start = hash(key) % slots.len();
        let (wrapped, first) = slots.split_at(start);
        for slot in first.iter().chain(wrapped) {
            let entry = slot.get_or_init(|| Box::new((key.into(), T::default())));
            if &*entry.0 == key {
                return &entry.1;
            }
        }
        &rest.get_or_init(|| Box::new((OTHER.into(), T::default()))).1
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &T)> {
        self.slots.iter().filter_map(|slot| slot.get()).map(|entry| (&*entry.0, &entry.1))
    }
}

/// FNV-1a: short keys, and no enemy gains by collisions among at most a few dozen.
fn hash(key: &str) -> usize {
    key.bytes()
        .fold(0x811c_9dc5_usize, |hash, byte| (hash ^ usize::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_past_the_bound_share_one_cell() {
        let keyed = Keyed::<Tally>::new();
        for number in 0..METRIC_KEYS_MAX + 10 {
            keyed.of(&format!("key{number}")).add(1);
        }
        keyed.of("key0").add(1);
        let mut counts: Vec<(&str, u64)> =
            keyed.entries().map(|(key, tally)| (key, tally.load())).collect();
        counts.sort_unstable();
        assert_eq!(counts.len(), METRIC_KEYS_MAX + 1);
        assert!(counts.contains(&("key0", 2)) && counts.contains(&(OTHER, 10)), "{counts:?}");
    }
}
