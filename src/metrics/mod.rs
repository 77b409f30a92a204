//! Metrics: each thread writes its own block, a reader merges them.
//!
//! Any thread. A thread asks [`Metrics::recorder`] for its own [`Recorder`] once and keeps it.
//! Recording takes no lock and shares no cache line: one thread writes a block, with plain relaxed
//! stores, so it costs a few nanoseconds. Reading and resetting are for the control thread.
//! INVARIANT: a block has one writer. A reset therefore does not touch blocks: it opens a new
//! generation, in which a block counts only once its own thread has emptied it.

mod block;
mod names;
mod read;
mod summary;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use block::Block;

pub use names::{Advanced, AdvancedSet, Basic, BasicSet, Counter, CounterSet};
pub use read::{Readings, Value};
pub use summary::{Percentiles, Summary};

/// All threads' blocks.
#[derive(Debug, Default)]
pub struct Metrics {
    generation: Arc<AtomicU32>,
    blocks: Mutex<Vec<Arc<Block>>>,
}

impl Metrics {
    /// Metrics that nothing was recorded into yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new thread's own recorder.
    pub fn recorder(&self) -> Recorder {
        let block = Arc::new(Block::new(self.generation.load(Ordering::Relaxed)));
        self.blocks.lock().push(Arc::clone(&block));
        Recorder { generation: Arc::clone(&self.generation), block, one_writer: PhantomData }
    }

    /// `srst`: everything counts from 0 again.
    pub fn reset(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// What all threads have recorded since the last reset; what had a key before still has it.
    pub fn read(&self) -> Readings {
        let mut readings = Readings::default();
        let generation = self.generation.load(Ordering::Relaxed);
        for block in self.blocks.lock().iter() {
            if block.is_of(generation) {
                block.merge_into(&mut readings);
            } else {
                block.name_keys_in(&mut readings);
            }
        }
        readings
    }
}

/// One thread's way to record. It can be sent to its thread, but not shared.
#[derive(Debug)]
pub struct Recorder {
    generation: Arc<AtomicU32>,
    block: Arc<Block>,
    one_writer: PhantomData<Cell<()>>,
}

impl Recorder {
    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        self.block().counters[counter as usize].add(n);
    }

    /// Adds to the counter of `key`.
    pub fn add_keyed(&self, set: CounterSet, key: &str, n: u64) {
        self.block().counter_sets[set as usize].of(key).add(n);
    }

    /// Records a value into a basic summary.
    pub fn record(&self, summary: Basic, value: u64) {
        self.block().basics[summary as usize].record(value);
    }

    /// Records a value into a summary with percentiles.
    pub fn record_advanced(&self, summary: Advanced, value: u64) {
        self.block().advanced[summary as usize].record(value);
    }

    /// Records a value into the basic summary of `key`.
    pub fn record_keyed(&self, set: BasicSet, key: &str, value: u64) {
        self.block().basic_sets[set as usize].of(key).record(value);
    }

    /// Records a value into the summary with percentiles of `key`.
    pub fn record_advanced_keyed(&self, set: AdvancedSet, key: &str, value: u64) {
        self.block().advanced_sets[set as usize].of(key).record(value);
    }

    /// A request, a ping or a four-letter word came in.
    pub fn packets_received(&self, n: u64) {
        self.block().received.add(n);
    }

    /// A reply, a ping or an event went out.
    pub fn packets_sent(&self, n: u64) {
        self.block().sent.add(n);
    }

    /// A request was answered so long after it came: the latency of `srvr`.
    pub fn request_latency_ms(&self, value: u64) {
        self.block().latency.record(value);
    }

    /// A reply of so many bytes was made, its length not counted.
    pub fn response_bytes(&self, value: u64) {
        let block = self.block();
        block.counters[Counter::ResponseBytes as usize].add(value);
        block.responses.record(value);
        block.response_last.store(value);
    }

    /// The block, emptied first if a reset came since it was last written.
    fn block(&self) -> &Block {
        let generation = self.generation.load(Ordering::Relaxed);
        if !self.block.is_of(generation) {
            self.block.clear(generation);
        }
        &self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let metrics = Metrics::new();
        let recorders = [metrics.recorder(), metrics.recorder()];
        std::thread::scope(|scope| {
            for recorder in recorders {
                scope.spawn(move || {
                    for value in 1..=1000 {
                        recorder.add(Counter::CommitCount, 1);
                        recorder.record(Basic::Fsynctime, value);
                        recorder.record_advanced(Advanced::Readlatency, value % 64);
                        recorder.record_keyed(BasicSet::ReadPerNamespace, "a", value);
                        recorder.packets_received(2);
                    }
                });
            }
        });
        let readings = metrics.read();
        assert_eq!(readings.counter(Counter::CommitCount), 2000);
        assert_eq!(readings.packets_received, 4000);
        let fsync = readings.basic(Basic::Fsynctime);
        assert_eq!((fsync.count, fsync.sum, fsync.min(), fsync.max), (2000, 1_001_000, 1, 1000));
        let percentiles = readings.percentiles(Advanced::Readlatency);
        assert_eq!((percentiles.p50, percentiles.p999), (31, 63));
    }

    #[test]
    fn a_reset_counts_from_zero_whoever_writes_next() {
        let metrics = Metrics::new();
        let (busy, idle) = (metrics.recorder(), metrics.recorder());
        busy.add(Counter::SnapCount, 5);
        idle.add(Counter::SnapCount, 7);
        idle.record(Basic::Dbinittime, 3);
        idle.record_keyed(BasicSet::WritePerNamespace, "a", 9);
        metrics.reset();
        let keyed = &metrics.read().basic_sets[BasicSet::WritePerNamespace as usize];
        assert_eq!(keyed.get("a").map(|summary| summary.count), Some(0), "no key is forgotten");
        assert_eq!(metrics.read().counter(Counter::SnapCount), 0, "before anyone wrote");
        busy.add(Counter::SnapCount, 1);
        let readings = metrics.read();
        assert_eq!(readings.counter(Counter::SnapCount), 1);
        assert_eq!(readings.basic(Basic::Dbinittime).count, 0);
        let late = metrics.recorder();
        late.add(Counter::SnapCount, 1);
        assert_eq!(metrics.read().counter(Counter::SnapCount), 2, "a thread that came later");
    }

    #[test]
    fn server_totals_are_kept_apart() {
        let metrics = Metrics::new();
        let recorder = metrics.recorder();
        for (latency, bytes) in [(0, 20), (2, 90), (5, 40)] {
            recorder.request_latency_ms(latency);
            recorder.response_bytes(bytes);
            recorder.packets_sent(1);
        }
        let readings = metrics.read();
        assert_eq!(readings.latency.average_text(), "2.3333");
        assert_eq!((readings.responses.min(), readings.responses.max), (20, 90));
        assert_eq!((readings.response_last, readings.packets_sent), (40, 3));
        assert_eq!(readings.counter(Counter::ResponseBytes), 150);
    }
}
