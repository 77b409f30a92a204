//! The log stage: makes proposals durable, many at a time.
//!
//! Thread: `log`, pinned. Owns: `log::Writer`. In: appends and rolls. Out: "durable up to".
//! Never replies, speaks to peers, or looks inside a txn. Files are made ready off the path
//! (`groundwork`).
//! INVARIANT: `durable` is raised only after a flush that covers it has returned.

mod groundwork;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::error::{ExitCode, Fatal};
use crate::limits::LOG_BATCH_BYTES_MAX;
use crate::log::{Error, Writer};
use crate::metrics::{Basic, Recorder};
use crate::net::Waker;
use crate::stage::queue::{ParkBell, Receiver};
use crate::stage::shared::Shared;
use crate::zab::Proposal;
use groundwork::Groundwork;

/// From the zab thread.
#[derive(Debug)]
pub enum LogAsk {
    /// Log it; make it durable.
    Append(Proposal),
    /// Go on in a new file when it suits: a snapshot holds what came before.
    Roll,
    /// Nothing more comes.
    Stop,
}

/// What the log stage is made of.
pub struct Parts {
    /// What all threads share.
    pub shared: Arc<Shared>,
    /// From the zab thread.
    pub asks: Receiver<LogAsk>,
    /// Rung by the zab thread.
    pub bell: Arc<ParkBell>,
    /// The zxid up to which everything is on the disk.
    pub durable: Arc<AtomicI64>,
    /// Wakes the zab thread.
    pub zab: Waker,
    /// The log.
    pub writer: Writer,
    /// Where segments are made ready.
    pub log_dir: std::path::PathBuf,
    /// Flushes slower than this are worth a line.
    pub flush_warning_ms: u64,
}

/// The log stage.
pub struct LogStage {
    parts: Parts,
    recorder: Recorder,
    groundwork: Groundwork,
}

impl LogStage {
    /// A stage of these parts; starts the thread that makes segments ready.
    pub fn new(parts: Parts) -> Self {
        let recorder = parts.shared.metrics.recorder();
        let groundwork = Groundwork::start(parts.log_dir.clone());
        Self { parts, recorder, groundwork }
    }

    /// Runs until told to stop, or until the disk fails, which ends the process.
    pub fn run(mut self) {
        self.parts.bell.adopt();
        let shared = Arc::clone(&self.parts.shared);
        self.groundwork.order(&mut self.parts.writer); // before the first write needs it
        loop {
            match self.turn() {
                Ok(true) => {
                    let asks = &self.parts.asks;
                    self.parts.bell.wait_unless(None, || !asks.is_empty());
                }
                Ok(false) => {
                    self.groundwork.stop();
                    if let Err(error) = self.parts.writer.close() {
                        shared.fail(Fatal::new(ExitCode::LogFailed, error));
                    }
                    return;
                }
                Err(error) => {
                    shared.fail(Fatal::new(ExitCode::LogFailed, error));
                    return;
                }
            }
        }
    }

    /// One turn of group commit: what queued up during the last flush shares the next. False when
    /// nothing more comes.
    fn turn(&mut self) -> Result<bool, Error> {
        self.groundwork.deliver(&mut self.parts.writer)?;
        let mut goes_on = true;
        let mut bytes = 0;
        while bytes < LOG_BATCH_BYTES_MAX
            && let Some(ask) = self.parts.asks.pop()
        {
            match ask {
                LogAsk::Append(proposal) => {
                    if self.parts.writer.is_short_of_segment(proposal.record.len()) {
                        self.groundwork.wait(&mut self.parts.writer)?;
                    }
                    self.parts.writer.append(proposal.zxid, &proposal.record)?;
                    bytes += proposal.record.len();
                }
                LogAsk::Roll => self.parts.writer.wish_roll(),
                LogAsk::Stop => goes_on = false,
            }
        }
        if bytes > 0 {
            self.flush()?;
        }
        self.groundwork.order(&mut self.parts.writer);
        Ok(goes_on)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let clock = &self.parts.shared.clock;
        let start = clock.micros();
        let report = self.parts.writer.flush()?;
        self.parts.durable.store(report.upto.0, Ordering::Release);
        self.parts.zab.wake();
        let millis = (clock.micros() - start) / 1000;
        self.recorder.record(Basic::Fsynctime, millis);
        self.recorder.record(Basic::SyncProcessorBatchSize, report.records);
        if millis > self.parts.flush_warning_ms {
            let (records, bytes) = (report.records, report.bytes);
            tracing::warn!(
                millis,
                records,
                bytes,
                "a flush of the log was slow; is the disk busy?"
            );
        }
        Ok(())
    }
}
